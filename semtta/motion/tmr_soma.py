"""The numbers of NVIDIA's TMR-SOMA: places and velocities of SOMA's 30 joints.

SMPL's rotations move SOMA's bones: both skeletons rest in a T-pose with y up, facing +z, so a bone
of SOMA takes the world rotation of the SMPL joint at its beginning. Lengths are SOMA's own. What
is off by this is that SMPL's arms rest a little lower and its spine has other joints; a threshold
is calibrated on motions that went the same way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion.tmr_features import SOMA, TMRFeatures, planted_path
from semtta.motion.world_axes import TO_Y_UP
from semtta.skeletons import SMPL24, SMPL_PARENTS

_SIDE = (("Shoulder", "Chest", "collar"), ("Arm", "Shoulder", "shoulder"),
         ("ForeArm", "Arm", "elbow"), ("Hand", "ForeArm", "wrist"),
         ("HandThumbEnd", "Hand", "hand"), ("HandMiddleEnd", "Hand", "hand"))  # fmt: skip
_LEG = (("Leg", "Hips", "hip"), ("Shin", "Leg", "knee"), ("Foot", "Shin", "ankle"),
        ("ToeBase", "Foot", "foot"))  # fmt: skip


def _of(side: str, parts: tuple) -> tuple[tuple[str, str, str], ...]:
    middle = ("Chest", "Hips")
    return tuple((side + name, parent if parent in middle else side + parent,
                  f"{side.lower()}_{smpl}") for name, parent, smpl in parts)  # fmt: skip


# Joint, its parent, and the SMPL joint whose rotation it has. Names and order are kimodo's.
JOINTS: tuple[tuple[str, str, str], ...] = (
    ("Hips", "", "pelvis"), ("Spine1", "Hips", "spine1"), ("Spine2", "Spine1", "spine2"),
    ("Chest", "Spine2", "spine3"), ("Neck1", "Chest", "neck"), ("Neck2", "Neck1", "neck"),
    ("Head", "Neck2", "head"), ("Jaw", "Head", "head"), ("LeftEye", "Head", "head"),
    ("RightEye", "Head", "head"), *_of("Left", _SIDE), *_of("Right", _SIDE), *_of("Left", _LEG),
    *_of("Right", _LEG),
)  # fmt: skip
NAMES = tuple(name for name, _, _ in JOINTS)
PARENTS = tuple(NAMES.index(parent) if parent else -1 for _, parent, _ in JOINTS)
_DRIVERS = SMPL24.indices([smpl for _, _, smpl in JOINTS])
_FEET = [NAMES.index(name) for name in ("LeftFoot", "LeftToeBase", "RightFoot", "RightToeBase")]
_RIGHT_HIP, _LEFT_HIP = NAMES.index("RightLeg"), NAMES.index("LeftLeg")
_SLOW, _LOW = 0.15, 0.10  # metres a second, metres, of a foot on the ground


class SomaFeatures(TMRFeatures):
    """186 numbers a frame; see :data:`~semtta.motion.tmr_features.SOMA`.

    Args:
        mean, std: (186,).
        skeleton: (30, 3) metres, the joints of SOMA's T-pose.
        fps: frame rate of what will be read; None = 30.
    """

    layout = SOMA
    bones: Tensor

    def __init__(self, mean: Tensor, std: Tensor, skeleton: Tensor, fps: float | None = None):
        super().__init__(mean, std, fps)
        skeleton = skeleton.float()
        if tuple(skeleton.shape) != (len(NAMES), 3) or not _is_t_pose(skeleton):
            raise SemttaError("SOMA's skeleton must be 30 joints in metres, in a T-pose with y up "
                              "and the left hand on +x; give kimodo's somaskel30.")  # fmt: skip
        self.register_buffer("bones", skeleton - skeleton[[max(p, 0) for p in PARENTS]])

    def raw(self, rotmats: Tensor) -> Tensor:
        return self.of_joints(self._grounded(self.joints(rotmats)))

    def joints(self, rotmats: Tensor) -> Tensor:
        """(S, T, 24, 3, 3), the root's with z up -> (S, T, 30, 3) metres from the pelvis, y up."""
        world = _world_rotations(rotmats)
        place: list[Tensor] = [rotmats.new_zeros(*rotmats.shape[:2], 3)]
        for joint, parent in enumerate(PARENTS[1:], 1):
            place.append(place[parent] + world[_DRIVERS[parent]] @ self.bones[joint])
        return torch.stack(place, -2)

    def _grounded(self, joints: Tensor) -> Tensor:
        """Joints in a world where the motion starts over the origin at heading 0."""
        angle = _heading(joints)[:, 0]
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        back = torch.stack((cos, zero, -sin, zero, zero + 1, zero, sin, zero, cos), -1)
        joints = joints @ back.unflatten(-1, (3, 3)).mT[:, None]
        return joints + planted_path(joints, self.layout.up)[:, :, None]

    def of_joints(self, joints: Tensor) -> Tensor:
        """(S, T, 30, 3) metres in the world, y up -> (S, T, 186)."""
        root = joints[:, :, 0]
        heading = _heading(joints)
        plane = torch.tensor([1.0, 0.0, 1.0]).to(joints)
        local = joints[:, :, 1:] - (root * plane)[:, :, None]
        velocity = joints.diff(dim=1) * self.fps
        velocity = torch.cat((velocity, velocity[:, -1:]), 1)
        down = (velocity[:, :, _FEET].norm(dim=-1) < _SLOW) & (joints[:, :, _FEET, 1] < _LOW)
        return torch.cat((root, heading.cos()[..., None], heading.sin()[..., None],
                          local.flatten(2), velocity.flatten(2), down.to(joints)), -1)  # fmt: skip


def _heading(joints: Tensor) -> Tensor:
    """(S, T) angle about y in which the hips face; 0 is +z, a quarter turn +x."""
    across = joints[:, :, _RIGHT_HIP] - joints[:, :, _LEFT_HIP]
    return torch.atan2(across[..., 2], -across[..., 0])


def _world_rotations(rotmats: Tensor) -> list[Tensor]:
    """Of SMPL's joints, each (S, T, 3, 3), y up; the root's is given with z up."""
    world = [TO_Y_UP["+z"].to(rotmats) @ rotmats[:, :, 0]]
    for joint in range(1, len(SMPL_PARENTS)):
        world.append(world[SMPL_PARENTS[joint]] @ rotmats[:, :, joint])
    return world


def _is_t_pose(skeleton: Tensor) -> bool:
    """Whether head, feet and hands are where those of a grown person in a T-pose are."""
    x, y, _ = F.normalize(skeleton, dim=-1).unbind(-1)
    at = {name: NAMES.index(name) for name in ("Head", "LeftFoot", "RightFoot", "LeftHand",
                                               "RightHand")}  # fmt: skip
    upright = y[at["Head"]] > 0.9 and y[at["LeftFoot"]] < -0.9 and y[at["RightFoot"]] < -0.9
    spread = x[at["LeftHand"]] > 0.7 and x[at["RightHand"]] < -0.7
    return bool(upright and spread and 0.3 < float(skeleton[at["Head"]].norm()) < 1.2)
