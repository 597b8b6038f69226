"""A result as the very numbers that it holds, for a run that goes on later.

Not for users: ``output.write`` writes rotations as vectors, which others read and which are not
quite the matrices that they came from.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from semtta.files import Arrays
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D
from semtta.motion.phrase_reader import Reading
from semtta.people.track_files import LARGEST, read_track, tensor, track_arrays, track_head
from semtta.reading import read_npz, reading
from semtta.tta.evidence import Evidence
from semtta.tta.heldout import HeldoutErrors
from semtta.tta.result import Heard, Motion, Result

FORMAT = 3
_WHAT = "kept track"
_MOTION = {"rotmats": ("T", 24, 3, 3), "betas": ("T", 10), "trans": ("T", 3), "cam": ("T", 3),
           "landmarks2d": ("T", "J", 2), "trans_raw": ("T", 3)}  # fmt: skip
_EVIDENCE = {"xy": (("T", "J", 2), "f"), "present": (("T", "J"), "b"), "weight": (("T", "J"), "f"),
             "filled_in": (("T", "J"), "i"), "known": (("J",), "b")}  # fmt: skip
_HELDOUT = ("base", "adapted")
_PER_FRAME = ("similarity", "gate_similarity", "base_share")


def exact_arrays(result: Result, asked: str) -> Arrays:
    """A result that has no world yet as named arrays.

    Args:
        asked: what it answers, for :func:`read_exact`."""
    head = {
        "format": FORMAT, "asked": asked, "track": track_head(result.track),
        "camera": [result.camera.focal, *result.camera.center, result.camera.origin],
        "heard": None if result.heard is None else _said(result.heard),
        "labels": result.labels, "sigma": result.sigma, "history": result.history,
        "provenance": result.provenance,
    }  # fmt: skip
    arrays: Arrays = {"head": np.array(json.dumps(head)), "crops": result.boxes.numpy()}
    arrays |= track_arrays(result.track, "track_")
    for name, motion in (("base", result.base), ("adapted", result.adapted)):
        arrays |= {f"{name}_{f.name}": getattr(motion, f.name).numpy() for f in fields(motion)}
    arrays |= {f"evidence_{name}": getattr(result.evidence, name).numpy() for name in _EVIDENCE}
    arrays |= {"raw_xy": result.detections.xy.numpy(), "raw_conf": result.detections.conf.numpy()}
    if result.heldout is not None:
        arrays |= {f"heldout_{n}": getattr(result.heldout, n).numpy() for n in _HELDOUT}
    for name in _PER_FRAME:
        if (values := getattr(result, name)) is not None:
            arrays[name] = values.cpu().numpy()
    return arrays


def _said(heard: Heard) -> dict:
    readings = {text: [r.kind, list(r.names), float(r.nearness)]
                for text, r in heard.readings.items()}  # fmt: skip
    return {"seconds": heard.seconds, "step": heard.step, "readings": readings,
            "opened": sorted(heard.opened)}  # fmt: skip


def _heard(said: dict) -> Heard:
    readings = {str(text): Reading(str(text), str(kind), tuple(map(str, names)), float(nearness))
                for text, (kind, names, nearness) in said["readings"].items()}  # fmt: skip
    opened = frozenset(map(str, said["opened"]))
    return Heard(float(said["seconds"]), float(said["step"]), readings, opened)


def read_exact(path: Path, asked: str) -> Result:
    """The result that answers ``asked``, bit for bit as it was.

    Raises ``SemttaError`` for a file that is damaged, of another version or answers another."""
    arrays = read_npz(path, _WHAT, limit=LARGEST)
    with reading(path, _WHAT):
        head = json.loads(str(arrays["head"]))
        if head["format"] != FORMAT or head["asked"] != asked:
            raise ValueError("it is of another version, or answers another question")
        track = read_track(arrays, "track_", head["track"])
        sizes = {"T": len(track), "J": len(track.keypoints.skeleton)}

        def take(name: str, shape: tuple, kind: str = "f"):
            return tensor(arrays[name], tuple(sizes.get(n, n) for n in shape), kind)

        def motion(prefix: str) -> Motion:
            return Motion(**{n: take(f"{prefix}_{n}", shape) for n, shape in _MOTION.items()})

        labels = [None if text is None else str(text) for text in head["labels"]]
        if len(labels) != len(track):
            raise ValueError("its labels are not one for each frame")
        parts = {name: take(f"evidence_{name}", *rest) for name, rest in _EVIDENCE.items()}
        heldout = None
        if "heldout_base" in arrays:
            heldout = HeldoutErrors(*(take(f"heldout_{n}", ("T", "J")) for n in _HELDOUT))
        raw = Keypoints2D(
            take("raw_xy", ("T", "J", 2)), take("raw_conf", ("T", "J")), track.keypoints.skeleton
        )
        *numbers, origin = head["camera"]
        focal, *center = map(float, numbers)
        return Result(
            track=track, base=motion("base"), adapted=motion("adapted"),
            camera=Camera(focal, (center[0], center[1]), str(origin)),
            boxes=take("crops", ("T", 3)),
            evidence=Evidence(**parts, raw=raw), labels=labels,
            sigma=None if head["sigma"] is None else float(head["sigma"]),
            history=list(head["history"]), provenance=dict(head["provenance"]),
            heldout=heldout, heard=None if head["heard"] is None else _heard(head["heard"]),
            **{name: take(name, ("T",)) if name in arrays else None for name in _PER_FRAME},
        )  # fmt: skip
