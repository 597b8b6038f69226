"""What a landmark detector gets wrong together: groups of BODY27 landmarks, and their bones."""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.skeletons import BODY27


def _groups() -> list[list[int]]:
    """Sets of landmarks that vanish together; repeated ones are more likely."""
    left_arm = BODY27.indices(f"left_{p}" for p in ("elbow", "wrist", "pinky", "index", "thumb"))
    left_leg = BODY27.indices(f"left_{p}" for p in ("knee", "ankle", "heel", "big_toe"))
    right_arm = [BODY27.flip[i] for i in left_arm]
    right_leg = [BODY27.flip[i] for i in left_leg]
    shoulders = BODY27.indices(("left_shoulder", "right_shoulder"))
    hips = BODY27.indices(("left_hip", "right_hip"))
    feet = left_leg[1:] + right_leg[1:]
    face = list(range(5))
    limbs = [left_arm, right_arm, left_arm[1:], right_arm[1:], left_leg, right_leg,
             left_leg[1:], right_leg[1:]]  # fmt: skip
    legs = left_leg + right_leg
    sides = [
        [shoulders[0], hips[0], *left_arm, *left_leg],
        [shoulders[1], hips[1], *right_arm, *right_leg],
    ]
    upper = face + shoulders + left_arm + right_arm
    return [*limbs, legs, legs, legs, legs + hips, feet, face, *sides, left_arm + right_arm, upper]


GROUPS = _groups()
_PARENT = {
    "nose": "neck", "eye": "nose", "ear": "nose", "shoulder": "neck", "elbow": "shoulder",
    "wrist": "elbow", "pinky": "wrist", "index": "wrist", "thumb": "wrist", "hip": "root",
    "knee": "hip", "ankle": "knee", "heel": "ankle", "big_toe": "ankle", "neck": "root",
}  # fmt: skip
# Size of the 2D error of each kind of landmark over that of a usual one.
_SPREAD = {"nose": 0.8, "eye": 0.8, "ear": 0.9, "shoulder": 1.0, "hip": 1.3, "elbow": 1.0,
           "wrist": 1.1, "knee": 1.0, "ankle": 1.0, "heel": 1.1, "big_toe": 1.3, "pinky": 1.5,
           "index": 1.5, "thumb": 1.4}  # fmt: skip
SPREAD = torch.tensor([_SPREAD[n.split("_", 1)[-1] if "_" in n else n] for n in BODY27.joints])
HIPS = BODY27.indices(("left_hip", "right_hip"))
SHOULDERS = BODY27.indices(("left_shoulder", "right_shoulder"))


def _bone_paths() -> tuple[list[int], Tensor]:
    """Parent of each of the 28 points (27 landmarks, neck; -1 = root) and the sum along paths."""
    names = [*BODY27.joints, "neck"]
    parents = []
    for name in names:
        side, _, part = name.partition("_")
        parent = _PARENT[part or side]
        if parent in ("neck", "root", "nose"):
            parents.append(-1 if parent == "root" else names.index(parent))
        else:
            parents.append(names.index(f"{side}_{parent}"))
    paths = torch.zeros(len(names), len(names))
    for i in range(len(names)):
        j = i
        while j >= 0:
            paths[i, j] = 1.0
            j = parents[j]
    return parents, paths


PARENTS, PATHS = _bone_paths()
# Landmarks drawn differently by different detectors, and the point they are moved towards.
MOVED = BODY27.indices(f"{s}_{p}" for p in ("hip", "knee", "elbow", "shoulder")
                        for s in ("left", "right"))  # fmt: skip
TOWARDS = BODY27.indices(f"{s}_{p}" for p in ("knee", "ankle", "wrist", "elbow")
                          for s in ("left", "right"))  # fmt: skip
LIMB_BONES = torch.tensor(
    [any(p in n for p in ("elbow", "wrist", "knee", "ankle")) for n in (*BODY27.joints, "neck")]
)
