"""The two skeletons on which domain-adaptive 2D pose is reported, with their groups of joints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.skeletons import Skeleton


@dataclass(frozen=True)
class GroupedSkeleton(Skeleton):
    """A skeleton whose results are reported by groups of joints.

    Args:
        groups: (heading, joints) in the order of the paper's tables.
        counted: the joints behind the column "All".
    """

    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counted: tuple[str, ...] = ()

    @cached_property
    def group_indices(self) -> dict[str, list[int]]:
        """Heading -> joint indices, "All" last."""
        named = {heading: self.indices(joints) for heading, joints in self.groups}
        return named | {"All": self.indices(self.counted)}

    def adjacency(self) -> Tensor:
        """(K, K) symmetric normalised adjacency with self-loops, D^-1/2 (A + I) D^-1/2 (Eq. 4)."""
        a = torch.eye(len(self))
        for i, j in self.edge_indices():
            a[i, j] = a[j, i] = 1.0
        d = a.sum(1).rsqrt()
        return d[:, None] * a * d

    def words(self) -> list[str]:
        """The joints' names as a text tower reads them: "left knee"."""
        return [name.replace("_", " ") for name in self.joints]


_BODY = ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis",
         "thorax", "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder",
         "left_shoulder", "left_elbow", "left_wrist")  # fmt: skip
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_HEADINGS = ("Sld", "Elb", "Wrist", "Hip", "Knee", "Ankle")


def _pair(part: str) -> tuple[str, str]:
    return f"right_{part}", f"left_{part}"


# MPII's sixteen joints in MPII's order; a tree that holds them all, since the paper's adjacency
# is printed nowhere and the edges drawn by RegDA leave pelvis and thorax alone.
BODY16 = GroupedSkeleton(
    "body16",
    _BODY,
    (("right_ankle", "right_knee"), ("right_knee", "right_hip"), ("right_hip", "pelvis"),
     ("left_hip", "pelvis"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
     ("pelvis", "thorax"), ("thorax", "upper_neck"), ("upper_neck", "head_top"),
     ("right_wrist", "right_elbow"), ("right_elbow", "right_shoulder"),
     ("right_shoulder", "thorax"), ("left_shoulder", "thorax"),
     ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist")),
    groups=tuple((heading, _pair(part)) for heading, part in zip(_HEADINGS, _LIMBS)),
    counted=tuple(joint for part in _LIMBS for joint in _pair(part)),
)  # fmt: skip

_FINGERS = ("thumb", "index", "middle", "ring", "little")
_HAND = ("wrist", *(f"{finger}_{i}" for finger in _FINGERS for i in range(1, 5)))
_KNUCKLES = ("MCP", "PIP", "DIP", "Fin")  # of the thumb: one joint further down each

# Twenty-one joints of a hand, each finger from its base to its tip (OpenPose's order).
HAND21 = GroupedSkeleton(
    "hand21",
    _HAND,
    tuple(
        ("wrist" if i == 1 else f"{finger}_{i - 1}", f"{finger}_{i}")
        for finger in _FINGERS
        for i in range(1, 5)
    ),
    groups=tuple(
        (heading, tuple(f"{finger}_{i}" for finger in _FINGERS))
        for i, heading in enumerate(_KNUCKLES, 1)
    ),
    counted=_HAND,
)

GROUPED = {skeleton.name: skeleton for skeleton in (BODY16, HAND21)}


def grouped_skeleton(name: str) -> GroupedSkeleton:
    """``body16`` or ``hand21``; raises ``SemttaError`` for another name."""
    if name not in GROUPED:
        raise SemttaError(f"unknown skeleton '{name}'; use {' or '.join(GROUPED)}.")
    return GROUPED[name]
