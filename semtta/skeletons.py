"""Skeletons as data: joint names, edges and left/right flips; joints are matched by name.

Two families share some names but not their anatomy. ``SMPL24`` names the joints of the body
model. Every other skeleton names *landmarks* as 2D detectors draw them (COCO, OpenPose,
BlazePose): their hips are wider apart than SMPL's hip centres, so ``body.landmarks`` knows how
to find each of them on the mesh. Left and right are the person's own. The orders as a table:
``docs/conventions.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from semtta.errors import SemttaError


@dataclass(frozen=True)
class Skeleton:
    """Named joints in a fixed order.

    Args:
        name: how configs and files call it.
        joints: unique joint names.
        edges: pairs of joint names, for drawing.
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.joints)}

    def __contains__(self, joint: str) -> bool:
        return joint in self._position

    def index(self, joint: str) -> int:
        """Position of a joint; raises ``SemttaError`` with the skeleton's name if it has none."""
        if joint not in self._position:
            raise SemttaError(f"skeleton '{self.name}' has no joint '{joint}'.")
        return self._position[joint]

    def indices(self, joints) -> list[int]:
        return [self.index(joint) for joint in joints]

    @cached_property
    def flip(self) -> tuple[int, ...]:
        """Permutation that exchanges left and right."""

        def other(name: str) -> str:
            if name.startswith("left_"):
                return "right_" + name[5:]
            if name.startswith("right_"):
                return "left_" + name[6:]
            return name

        return tuple(self._position.get(other(name), i) for i, name in enumerate(self.joints))

    def edge_indices(self) -> list[tuple[int, int]]:
        return [(self.index(a), self.index(b)) for a, b in self.edges]


_LIMB_EDGES = (
    ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"), ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"), ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"), ("left_hip", "right_hip"), ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
)  # fmt: skip
_FEET_EDGES = (
    ("left_ankle", "left_heel"), ("left_heel", "left_big_toe"), ("left_ankle", "left_big_toe"),
    ("right_ankle", "right_heel"), ("right_heel", "right_big_toe"),
    ("right_ankle", "right_big_toe"),
)  # fmt: skip
_FACE_EDGES = (
    ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
)  # fmt: skip
_HAND_EDGES = (
    ("left_wrist", "left_index"), ("left_wrist", "left_pinky"), ("left_wrist", "left_thumb"),
    ("right_wrist", "right_index"), ("right_wrist", "right_pinky"),
    ("right_wrist", "right_thumb"),
)  # fmt: skip

SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

_SMPL_JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
SMPL24 = Skeleton(
    "smpl24",
    _SMPL_JOINTS,
    tuple((_SMPL_JOINTS[p], _SMPL_JOINTS[i]) for i, p in enumerate(SMPL_PARENTS) if p >= 0),
)

_SIDES = ("shoulder", "elbow", "wrist", "pinky", "index", "thumb", "hip", "knee", "ankle",
          "heel", "big_toe")  # fmt: skip
_BLAZE_BODY = tuple(f"{side}_{part}" for part in _SIDES for side in ("left", "right"))
BLAZEPOSE33 = Skeleton(
    "blazepose33",
    ("nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye",
     "right_eye_outer", "left_ear", "right_ear", "left_mouth", "right_mouth", *_BLAZE_BODY),
    _LIMB_EDGES + _FEET_EDGES + _FACE_EDGES + _HAND_EDGES,
)  # fmt: skip
# BlazePose's landmarks that a body mesh can say where they are: the library's own 2D evidence.
BODY27 = Skeleton(
    "body27",
    ("nose", "left_eye", "right_eye", "left_ear", "right_ear", *_BLAZE_BODY),
    _LIMB_EDGES + _FEET_EDGES + _FACE_EDGES + _HAND_EDGES,
)
COCO17 = Skeleton(
    "coco17",
    ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
     "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
     "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    _LIMB_EDGES + _FACE_EDGES,
)  # fmt: skip
_OPENPOSE = ("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
             "left_elbow", "left_wrist")  # fmt: skip
COCO18 = Skeleton(
    "coco18",
    _OPENPOSE + ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee",
                 "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear"),
    _LIMB_EDGES + _FACE_EDGES,
)  # fmt: skip
BODY25 = Skeleton(
    "body25",
    _OPENPOSE + ("mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee",
                 "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
                 "left_big_toe", "left_small_toe", "left_heel", "right_big_toe",
                 "right_small_toe", "right_heel"),
    _LIMB_EDGES + _FEET_EDGES + _FACE_EDGES,
)  # fmt: skip
# Orders that other programs write, named as they call them. Joints that no body mesh can place
# (top of the head, thorax) are read and not used.
_FEET = tuple(f"{side}_{part}" for side in ("left", "right")
              for part in ("big_toe", "small_toe", "heel"))  # fmt: skip
BODY25B = Skeleton(
    "body25b",
    (*COCO17.joints, "upper_neck", "head_top", *_FEET),
    _LIMB_EDGES + _FEET_EDGES + _FACE_EDGES,
)
HALPE26 = Skeleton(
    "halpe26",
    (*COCO17.joints, "head_top", "neck", "mid_hip", "left_big_toe", "right_big_toe",
     "left_small_toe", "right_small_toe", "left_heel", "right_heel"),
    _LIMB_EDGES + _FEET_EDGES + _FACE_EDGES,
)  # fmt: skip
COCO23 = Skeleton(
    "coco23", (*COCO17.joints, *_FEET), _LIMB_EDGES + _FEET_EDGES + _FACE_EDGES
)  # body and feet of COCO-WholeBody
H36M17 = Skeleton(
    "h36m17",
    ("mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
     "spine", "thorax", "chin", "head_top", "left_shoulder", "left_elbow", "left_wrist",
     "right_shoulder", "right_elbow", "right_wrist"),
    _LIMB_EDGES,
)  # fmt: skip
MPII16 = Skeleton(
    "mpii16",
    ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "mid_hip",
     "thorax", "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder",
     "left_shoulder", "left_elbow", "left_wrist"),
    _LIMB_EDGES,
)  # fmt: skip
MPI15 = Skeleton(
    "mpi15",
    ("head_top", *_OPENPOSE[1:], "right_hip", "right_knee", "right_ankle", "left_hip",
     "left_knee", "left_ankle", "chest"),
    _LIMB_EDGES,
)  # fmt: skip
# The twelve limb joints on which the open benchmarks report.
LIMB12 = Skeleton(
    "limb12",
    ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
     "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
     "right_ankle"),
    _LIMB_EDGES,
)  # fmt: skip

SKELETONS = {
    s.name: s
    for s in (SMPL24, BLAZEPOSE33, BODY27, COCO17, COCO18, COCO23, BODY25, BODY25B, HALPE26,
              H36M17, MPII16, MPI15, LIMB12)
}  # fmt: skip

# Which SMPL joints a landmark tells about: hidden landmark = unseen rotation of the joint that
# moves it. Used to weight smoothing and completion by what was seen.
MOVED_BY = {
    "left_hip": "left_knee", "right_hip": "right_knee", "left_knee": "left_ankle",
    "right_knee": "right_ankle", "left_ankle": "left_big_toe", "right_ankle": "right_big_toe",
    "left_foot": "left_big_toe", "right_foot": "right_big_toe", "left_shoulder": "left_elbow",
    "right_shoulder": "right_elbow", "left_elbow": "left_wrist", "right_elbow": "right_wrist",
    "left_wrist": "left_index", "right_wrist": "right_index", "left_hand": "left_index",
    "right_hand": "right_index",
}  # fmt: skip

# SMPL joints of both arms, whose rotations move a landmark.
ARMS = SMPL24.indices(
    [f"{side}_{part}" for side in ("left", "right")
     for part in ("shoulder", "elbow", "wrist", "hand")]
)  # fmt: skip


def skeleton(name: str) -> Skeleton:
    """Skeleton by name; raises ``SemttaError`` naming those that exist."""
    if name not in SKELETONS:
        raise SemttaError(f"unknown skeleton '{name}'; known: {', '.join(sorted(SKELETONS))}.")
    return SKELETONS[name]
