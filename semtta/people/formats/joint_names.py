"""Joint names as people write them ("LShoulder", "left-knee", "hip_r") and this library's own."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from semtta.skeletons import BODY27, SKELETONS, Skeleton

_PARTS = {
    "eye": "eye", "ear": "ear", "shoulder": "shoulder", "shldr": "shoulder", "elbow": "elbow",
    "wrist": "wrist", "hip": "hip", "knee": "knee", "ankle": "ankle", "heel": "heel",
    "bigtoe": "big_toe", "toe": "big_toe", "hallux": "big_toe", "smalltoe": "small_toe",
    "pinky": "pinky", "index": "index", "thumb": "thumb",
}  # fmt: skip
_MIDDLE = {"nose": "nose", "neck": "neck", "midhip": "mid_hip", "pelvis": "mid_hip"}
_LEFT, _RIGHT = ("left", "l"), ("right", "r")
# Joints without which the names say too little of a body.
_NEEDED = ("shoulder", "hip", "knee", "elbow")


def canonical(name: str) -> str | None:
    """This library's name of a joint, None if it has none."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", str(name))
    words = re.sub(r"^([LR])(?=[A-Z][a-z])", r"\1 ", words)
    parts = [w for w in re.split(r"[^a-zA-Z]+", words.lower()) if w]
    sides = [w for w in parts if w in (*_LEFT, *_RIGHT)]
    rest = "".join(w for w in parts if w not in (*_LEFT, *_RIGHT))
    if not sides:
        return _MIDDLE.get(rest)
    if len(sides) > 1 or rest not in _PARTS:
        return None
    return f"{'left' if sides[0] in _LEFT else 'right'}_{_PARTS[rest]}"


def named_skeleton(names: Sequence[str]) -> Skeleton | None:
    """A skeleton of these joints in this order; None if they do not name a body's limbs.

    Points whose name says nothing here keep it and are not used."""
    known = [canonical(name) for name in names]
    sides = {name for name in known if name}
    if not all(f"{s}_{part}" in sides for part in _NEEDED for s in ("left", "right")):
        return None
    used: set[str] = set()
    joints = []
    for i, name in enumerate(known):
        if name is None or name in used:
            name = f"unknown_{i}"
        used.add(name)
        joints.append(name)
    for skeleton in SKELETONS.values():
        if skeleton.joints == tuple(joints):
            return skeleton
    edges = tuple(edge for edge in BODY27.edges if set(edge) <= used)
    return Skeleton("as named in the file", tuple(joints), edges)


def by_name(points: np.ndarray, names: Sequence[str | None], target: Skeleton) -> np.ndarray:
    """(J, 3) in the order of a skeleton, of points (N, 3) whose names are given."""
    out = np.zeros((len(target), 3))
    for point, name in zip(points, names):
        if name is not None and name in target:
            out[target.index(name)] = point
    return out
