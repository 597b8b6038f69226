"""Evaluation protocols as data: which joints, which root, which body, which frames, which box.

A number without its protocol means nothing: on one and the same prediction they differ by
millimetres. The protocol's name is stored and printed with every number. Joints are named, and
names are looked up in the regressor's skeleton, so that left and right cannot be exchanged by an
index.
"""

from __future__ import annotations

from dataclasses import dataclass

from semtta.errors import SemttaError
from semtta.skeletons import SMPL24, Skeleton

# Rows 25-43 of 4D-Humans' 44 joints = the 19 rows of SMPL_to_J19.pkl.
J19 = Skeleton(
    "j19",
    ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
     "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
     "neck", "head_top", "pelvis", "thorax", "spine", "jaw", "head"),
)  # fmt: skip
# Raw order of MPI-INF-3DHP's test annotations, in the names of the H36M regressor: what the set
# calls "head" is the regressor's jaw (SPIN pairs them so).
MPI17 = Skeleton(
    "mpi17",
    ("head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
     "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip",
     "left_knee", "left_ankle", "pelvis", "spine", "jaw"),
)  # fmt: skip

# The LSP joints in the order of SPIN's H36M_TO_J14 = [6,5,4,1,2,3,16,15,14,11,12,13,8,10].
LSP14 = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head_top",
)  # fmt: skip
_LSP17 = (*LSP14, "pelvis", "spine", "jaw")
_HIPS = ("right_hip", "left_hip")


@dataclass(frozen=True)
class Protocol:
    """How a prediction on one data set is measured.

    Args:
        name: printed with every number.
        data: name of the data set.
        joints: what is averaged over, names in the regressor's skeleton.
        roots: joints whose mean is subtracted from each side before MPJPE.
        regressor: where the joints come from: "smpl24" the body's own joints, "h36m" the 17 rows
            of J_regressor_h36m, "j19" the 19 rows of SMPL_to_J19.
        truth: "gendered" or "neutral" SMPL body with the set's parameters, or the field of the
            set that holds annotated joints. The prediction is always on the neutral body.
        frames: names of the data set's frame masks that must all hold.
        box: what the person's box is, in words.
        box_scale: side of the square crop over the larger side of that box, *in total*: a
            network's own ``CropSpec.box_scale`` is divided out, see ``bench.datasets``.
        mesh: vertices are compared after subtracting the joints' "root", or "unaligned", or None
            = there is no true mesh.
        per_second: also report the acceleration error in m/s² (× fps²).
        drop_ends: leave out the first and the last acceleration of a track.
        splits: of the data set that belong to it.
        used_by: who prints numbers by it, and where it is written down.
        departs: what is not reproduced here, empty if nothing.
    """

    name: str
    data: str
    joints: tuple[str, ...]
    roots: tuple[str, ...]
    regressor: str
    truth: str
    frames: tuple[str, ...]
    box: str
    used_by: str
    box_scale: float = 1.2
    mesh: str | None = "root"
    per_second: bool = False
    drop_ends: bool = False
    splits: tuple[str, ...] = ("test",)
    departs: str = ""

    @property
    def annotated(self) -> bool:
        """Whether the truth is annotated joints instead of a body."""
        return self.truth not in ("gendered", "neutral")

    def describe(self) -> str:
        """One sentence for beneath a table."""
        truth = f"field {self.truth}" if self.annotated else f"{self.truth} SMPL"
        regressors = {"smpl24": "SMPL's own joints", "h36m": "H36M regressor", "j19": "J19 rows"}
        root = "mean of " + " and ".join(self.roots) if len(self.roots) > 1 else self.roots[0]
        text = (
            f"{self.name}: {len(self.joints)} joints ({regressors[self.regressor]}), root = "
            f"{root.replace('_', ' ')}, truth = {truth}, frames: {' and '.join(self.frames)}, "
            f"box = {self.box} x {self.box_scale:g}; as {self.used_by}."
        )
        return f"{text} Not reproduced: {self.departs}." if self.departs else text


_3DPW_BOX = "extent of the set's 2D joints"


def _3dhp(name: str, joints: tuple[str, ...], truth: str, used_by: str) -> Protocol:
    return Protocol(
        name, "3dhp", joints, ("pelvis",), "h36m", truth, ("valid_frame", "all_joints_in_image"),
        "extent of the 17 joints of annot2", used_by, mesh=None,
    )  # fmt: skip


def _ego(name: str, joints: tuple[str, ...], regressor: str, used_by: str) -> Protocol:
    return Protocol(
        name, "egobody", joints, ("pelvis",), regressor, "gendered", ("valid",),
        "the set's centre and scale", used_by,
    )  # fmt: skip


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "spin14", "3dpw", LSP14, ("pelvis",), "h36m", "gendered", ("campose_valid",),
            _3DPW_BOX, "SPIN, BOA, DynaBOA (box x 1.0 there) and, by lineage, CycleAdapt",
            departs="CycleAdapt's own boxes and 2D file, and its zeroed betas where any |beta| > 3",
        ),
        Protocol(
            "vibe14", "3dpw", LSP14, _HIPS, "h36m", "neutral", ("seven_limb_joints",),
            _3DPW_BOX, "VIBE", mesh="unaligned",
            departs="its boxes smoothed over time (1.1 x the diagonal), and chunks of 16 frames",
        ),
        Protocol(
            "wham14", "3dpw", LSP14, _HIPS, "h36m", "gendered", ("seven_limb_joints",),
            _3DPW_BOX, "WHAM, GVHMR", per_second=True, drop_ends=True,
            departs="its frame mask, a file of its own (VIBE's rule stands in), and flip-test",
        ),
        Protocol(
            "hmr2_14", "3dpw", (*J19.joints[:13], "head"), ("pelvis",), "j19", "gendered",
            ("campose_valid",), _3DPW_BOX, "4D-Humans (ids 25-37 and 43 of 44, root 39), TokenHMR",
            departs="the 3D keypoints of its own npz (computed here from the set's parameters)",
        ),
        Protocol(
            "official24", "3dpw", SMPL24.joints, ("pelvis",), "smpl24", "gendered",
            ("campose_valid", "has_2d"), _3DPW_BOX, "3dpw-eval, ROMP", mesh=None,
            splits=("train", "validation", "test"),
        ),
        _3dhp("3dhp17", _LSP17, "annot3", "BOA, DynaBOA"),
        _3dhp("3dhp17_univ", _LSP17, "univ_annot3", "SPIN, DAPA"),
        _3dhp("3dhp14", LSP14, "annot3", "14-joint variant of BOA"),
        _3dhp("3dhp14_univ", LSP14, "univ_annot3", "14-joint variant of SPIN"),
        _ego("ego24", SMPL24.joints, "smpl24", "EgoBody's challenge table, EgoHMR"),
        _ego("ego14", LSP14, "h36m", "14-joint variant for comparison"),
        Protocol(
            "emdb24", "emdb", SMPL24.joints, ("left_hip", "right_hip"), "smpl24", "gendered",
            ("good_frames",), "the set's bounding boxes", "EMDB, WHAM, TRAM, GVHMR",
            per_second=True, splits=("emdb1",), departs="jitter and joint-angle error",
        ),
    )
}  # fmt: skip
DEFAULT_PROTOCOLS = {"3dpw": "spin14", "3dhp": "3dhp17", "egobody": "ego24", "emdb": "emdb24"}


def get_protocol(name: str | None, data: str) -> Protocol:
    """Protocol of a data set by name, None for its usual one.

    Raises ``SemttaError`` naming those that the data set has."""
    known = [p.name for p in PROTOCOLS.values() if p.data == data]
    name = name or DEFAULT_PROTOCOLS[data]
    if name not in known:
        raise SemttaError(f"data set '{data}' has no protocol '{name}'; use {', '.join(known)}.")
    return PROTOCOLS[name]
