"""Joint rotations read directly off 3D landmarks: what a detector says of depth, as a pose.

Each bone gives a frame of axes and each joint the turn between two of them; nothing is learnt.
What landmarks do not show (how a trunk's turn spreads over the spine, collars, hands) is spread
evenly or left at rest. Landmarks are ``BODY27``, in any axes; the pelvis' rotation is in those.
"""

from __future__ import annotations

import roma
import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.skeletons import BODY27, SMPL24

# Joints that landmarks tell something about.
_READ = ("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
         "left_ankle", "right_ankle", "spine3", "neck", "head", "left_shoulder", "right_shoulder",
         "left_elbow", "right_elbow")  # fmt: skip
READ = SMPL24.indices(_READ)
# Bones of both sides, their usual lengths in metres, and what moves with their lower ends.
_LIMBS = {("hip", "knee"): (0.385, ("knee", "ankle", "heel", "big_toe")),
          ("knee", "ankle"): (0.43, ("ankle", "heel", "big_toe")),
          ("shoulder", "elbow"): (0.26, ("elbow", "wrist", "pinky", "index", "thumb")),
          ("elbow", "wrist"): (0.235, ("wrist", "pinky", "index", "thumb"))}  # fmt: skip
_SIDES = ("left", "right")
_ENDS = torch.tensor([BODY27.indices(f"{s}_{n}" for n in bone) for bone in _LIMBS for s in _SIDES])
_USUAL = torch.tensor([length for length, _ in _LIMBS.values() for _ in _SIDES])
_TRUNK = 0.48  # metres between the middles of hips and shoulders
BONES = len(_ENDS)
_MOVED = torch.zeros(len(BODY27), BONES)  # which bones a landmark hangs on
for _i, (_, _ends) in enumerate(_LIMBS.values()):
    for _k, _side in enumerate(_SIDES):
        _MOVED[BODY27.indices(f"{_side}_{name}" for name in _ends), 2 * _i + _k] = 1.0
_OUTLINE = 0.6  # share of a bone's depth that is taken from how short it looks; measured
_STRAIGHT = 0.2  # sine of a hinge's bend below which its axis is rather taken from the bone's swing
_EYE = torch.eye(3)


def read_pose(points: Tensor, conf: Tensor) -> tuple[Tensor, Tensor]:
    """Local rotations that the landmarks show.

    Args:
        points: (..., 27, 3) metres.
        conf: (..., 27) in [0, 1], 0 = missing.
    Returns: rotations (..., 16, 3, 3) of the joints ``READ``, the identity where nothing is known,
        and (..., 16) how well: the least confidence of the landmarks that they hang on."""
    axes, known = _trunk(points, conf)
    pelvis, chest, whole = axes["pelvis"], axes["chest"], known["pelvis"]
    found = {"pelvis": (pelvis, whole)}
    back, neck = _share(pelvis.mT @ chest, 3), _share(chest.mT @ axes["head"], 2)
    found |= {f"spine{i}": (back, whole) for i in (1, 2, 3)}
    found |= {name: (neck, known["head"]) for name in ("neck", "head")}
    for side in ("left", "right"):
        found |= _limb(points, conf, "leg", side, pelvis, whole)
        found |= _limb(points, conf, "arm", side, chest, whole)
    rotations = torch.stack([found[name][0] for name in _READ], dim=-3)
    trust = torch.stack([found[name][1] for name in _READ], dim=-1)
    # landmarks that coincide give no axes
    x, y, z = rotations.unbind(-1)
    trust = trust * ((torch.linalg.cross(x, y) * z).sum(-1) > 0.5)
    return torch.where((trust > 0)[..., None, None], rotations, _EYE.to(rotations)), trust


def outlined(points: Tensor, conf3d: Tensor, plane: Tensor, conf: Tensor) -> tuple[Tensor, Tensor]:
    """Limbs turned as the picture shows them.

    Detectors' 3D leans limbs towards the picture's plane without shortening them, while their 2D
    is right. Here a limb's direction in the plane is the 2D's; its depth is in part the 3D's, and
    in part what the 2D's length leaves of the bone's, on the side that the 3D says. Lengths stay.

    Args:
        points, conf3d: (..., 27, 3), (..., 27) 3D, z away from the camera.
        plane, conf: (..., 27, 2), (..., 27) 2D in any unit.
    Returns: points, and (..., 8) how much of its length a bone does not show, 0 where unknown."""
    first, second = _ENDS.T
    known = torch.minimum(conf3d, conf)[..., _ENDS].amin(-1) > 0
    bones, flat = (x[..., second, :] - x[..., first, :] for x in (points, plane))
    long, seen = bones.norm(dim=-1), flat.norm(dim=-1)
    unit = torch.where(known, seen / _USUAL.to(seen), 0.0).amax(-1)  # 2D units in a metre
    unit = torch.maximum(unit, _trunk_height(plane, conf) / _TRUNK)[..., None].clamp_min(1e-6)
    shown = (seen / (_USUAL.to(seen) * unit)).clamp_max(1.0)
    said = bones[..., 2] / long.clamp_min(1e-6)
    deep = _root(1 - shown.square()) * torch.where(said < 0, -1.0, 1.0)
    deep = (_OUTLINE * deep + (1 - _OUTLINE) * said).clamp(-1, 1)
    across = F.normalize(flat, dim=-1) * _root(1 - deep.square())[..., None]
    turned = torch.cat((across, deep[..., None]), dim=-1) * long[..., None]
    moved = _MOVED.to(points) @ torch.where(known[..., None], turned - bones, 0.0)
    return points + moved, torch.where(known, 1 - shown, 0.0)


def _root(x: Tensor) -> Tensor:
    """Square root, 0 below zero; there its slope is 0 too, where PyTorch's is infinite."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)


def _trunk_height(plane: Tensor, conf: Tensor) -> Tensor:
    """(...,) distance between the middles of hips and shoulders, 0 where unknown."""
    hips, shoulders = (BODY27.indices(f"{s}_{n}" for s in _SIDES) for n in ("hip", "shoulder"))
    height = (plane[..., shoulders, :].mean(-2) - plane[..., hips, :].mean(-2)).norm(dim=-1)
    return torch.where(conf[..., hips + shoulders].amin(-1) > 0, height, 0.0)


def _trunk(points: Tensor, conf: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Axes of pelvis, chest and head (x to the left, y up, z ahead), and how well known."""

    def at(name: str) -> Tensor:
        return points[..., BODY27.index(name), :]

    def sure(*names: str) -> Tensor:
        return conf[..., BODY27.indices(names)].amin(-1)

    hips, shoulders = ("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")
    ears = ("left_ear", "right_ear")
    up = (at(shoulders[0]) + at(shoulders[1]) - at(hips[0]) - at(hips[1])) / 2
    ahead = at("nose") - (at(ears[0]) + at(ears[1])) / 2
    across = at(ears[0]) - at(ears[1])
    known = sure(*hips, *shoulders)
    head = _axes(across, torch.linalg.cross(ahead, across))
    turns = {
        "pelvis": _axes(at(hips[0]) - at(hips[1]), up),
        "chest": _axes(at(shoulders[0]) - at(shoulders[1]), up),
        "head": head,
    }
    return turns, {"pelvis": known, "chest": known,
                   "head": torch.minimum(known, sure("nose", *ears))}  # fmt: skip


def _limb(
    points: Tensor, conf: Tensor, limb: str, side: str, parent: Tensor, above: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Local rotations of hip, knee and ankle, or of shoulder and elbow, and how well known."""
    leg = limb == "leg"
    names = ("hip", "knee", "ankle") if leg else ("shoulder", "elbow", "wrist")
    index = BODY27.indices(f"{side}_{name}" for name in names)
    top, middle, end = (points[..., i, :] for i in index)
    sign = 1.0 if side == "left" else -1.0
    rest = points.new_tensor([0.0, -1.0, 0.0] if leg else [sign, 0.0, 0.0])
    hinge = points.new_tensor([1.0, 0.0, 0.0] if leg else [0.0, 1.0, 0.0])
    upper, lower = F.normalize(middle - top, dim=-1), F.normalize(end - middle, dim=-1)
    swung = parent @ _swing(rest, (parent.mT @ upper[..., None])[..., 0]) @ hinge
    axis = torch.linalg.cross(upper, lower) * (1.0 if leg else -sign) + _STRAIGHT * swung
    high, low = (_hinged(bone, axis, leg, sign) for bone in (upper, lower))
    sure = torch.minimum(above, conf[..., index[:2]].amin(-1))
    found = {f"{side}_{names[0]}": (parent.mT @ high, sure)}
    sure = torch.minimum(sure, conf[..., index[2]])
    found[f"{side}_{names[1]}"] = (high.mT @ low, sure)
    if leg:
        foot = BODY27.indices((f"{side}_heel", f"{side}_big_toe"))
        ahead = points[..., foot[1], :] - points[..., foot[0], :]
        turned = _axes(low[..., 0], torch.linalg.cross(ahead, low[..., 0]))
        sure = torch.minimum(sure, conf[..., foot].amin(-1))
        found[f"{side}_ankle"] = (low.mT @ turned, sure)
    return found


def _axes(x: Tensor, y: Tensor) -> Tensor:
    """Right-handed axes (..., 3, 3): the first along x, the second as near to y as it can be."""
    x = F.normalize(x, dim=-1)
    z = F.normalize(torch.linalg.cross(x, y.expand_as(x)), dim=-1)
    return torch.stack((x, torch.linalg.cross(z, x), z), dim=-1)


def _hinged(bone: Tensor, axis: Tensor, leg: bool, sign: float) -> Tensor:
    """Axes of a bone whose hinge lies along ``axis``: a leg hangs along -y and bends about x, an
    arm lies along +-x and bends about y."""
    if not leg:
        return _axes(sign * bone, axis)
    y = -bone
    z = F.normalize(torch.linalg.cross(axis, y), dim=-1)
    return torch.stack((torch.linalg.cross(y, z), y, z), dim=-1)


def _swing(rest: Tensor, bone: Tensor) -> Tensor:
    """Shortest turn (..., 3, 3) from one unit vector to others."""
    axis = torch.linalg.cross(rest.expand_as(bone), bone)
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    k = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))
    cosine = (rest * bone).sum(-1)[..., None, None]
    return _EYE.to(bone) + k + k @ k / (1 + cosine).clamp_min(1e-2)


def _share(turn: Tensor, parts: int) -> Tensor:
    """The turn that, made ``parts`` times, is this one."""
    return roma.rotvec_to_rotmat(roma.rotmat_to_rotvec(turn) / parts)
