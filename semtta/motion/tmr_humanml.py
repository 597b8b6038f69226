"""The numbers of TMR on HumanML3D (Guo et al. 2022): joints, bones, velocities, contacts.

HumanML3D makes them of joint positions alone. Every motion is first given the bone lengths of one
person, keeping the directions of the bones; rotations are the shortest ones from a bone's rest
direction to its own, so a twist about a bone is not told.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion.encoder import joint_positions
from semtta.motion.tmr_features import HUMANML, TMRFeatures, planted_path
from semtta.motion.world_axes import TO_Y_UP
from semtta.skeletons import SMPL_PARENTS

_JOINTS = 22  # of SMPL, without the hands
# Chains along which HumanML3D turns rotations into local ones. The first of each is seen from the
# root, in the arms too, although they hang on the spine.
_CHAINS = ((2, 5, 8, 11), (1, 4, 7, 10), (3, 6, 9, 12, 15), (14, 17, 19, 21), (13, 16, 18, 20))
# Direction in which the bone that ends in a joint points at rest.
_UP, _DOWN, _LEFT, _RIGHT, _FORWARD = (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1)
_REST = (_LEFT, _RIGHT, _UP, _DOWN, _DOWN, _UP, _DOWN, _DOWN, _UP, _FORWARD, _FORWARD, _UP, _LEFT,
         _RIGHT, _FORWARD, _DOWN, _DOWN, _DOWN, _DOWN, _DOWN, _DOWN)  # fmt: skip
_LEG = (5, 8)  # ends of the bones whose lengths tell how much smaller a person is
_HIPS, _SHOULDERS = (2, 1), (17, 16)  # right, left
_FEET = (7, 10, 8, 11)
_STILL = 0.002  # square metres a frame
_SMOOTH = 20.0  # frames, standard deviation of the smoothed heading
_REACH = 80  # frames, four of them, where SciPy's filter ends


class HumanMLFeatures(TMRFeatures):
    """263 numbers a frame, one frame fewer than the motion has; see
    :data:`~semtta.motion.tmr_features.HUMANML`.

    Args:
        mean, std: (263,).
        skeleton: (J >= 22, 3) metres, joints of the person whose bone lengths all motions get.
        rest: (24, 3) metres, joints of the unposed body that the rotations are put on.
        fps: frame rate of what will be read; None = 20.
    """

    layout = HUMANML
    lengths: Tensor
    rest: Tensor

    def __init__(self, mean: Tensor, std: Tensor, skeleton: Tensor, rest: Tensor,
                 fps: float | None = None):  # fmt: skip
        super().__init__(mean, std, fps)
        if skeleton.dim() != 2 or len(skeleton) < _JOINTS or skeleton.shape[1] != 3:
            raise SemttaError("HumanML3D's skeleton must be joints (J, 3), at least 22, not "
                              f"{tuple(skeleton.shape)}.")  # fmt: skip
        bones = skeleton[1:_JOINTS] - skeleton[list(SMPL_PARENTS[1:_JOINTS])]
        lengths = bones.float().norm(dim=-1)
        if not (lengths > 0.01).all() or not (lengths < 1.0).all():
            raise SemttaError("the bones of HumanML3D's skeleton must have the lengths of a "
                              "person's in metres.")  # fmt: skip
        self.register_buffer("lengths", lengths)
        self.register_buffer("rest", rest)

    def raw(self, rotmats: Tensor) -> Tensor:
        root = TO_Y_UP["+z"].to(rotmats) @ rotmats[:, :, 0]
        joints = (root[:, :, None] @ joint_positions(rotmats, self.rest)[..., None])[..., 0]
        path = planted_path(joints, self.layout.up)
        return self.of_joints(joints[:, :, :_JOINTS] + path[:, :, None])

    def of_joints(self, joints: Tensor) -> Tensor:
        """(S, T, 22, 3) metres in the world, y up -> (S, T-1, 263)."""
        joints = self._canonical(self._resized(joints))
        # HumanML3D takes left and right hip for each other here, though not in _canonical
        facing = _facing(joints, hips=-1)
        forward = F.normalize(_smoothing(joints.shape[1]).to(joints) @ facing, dim=-1)
        heading = torch.atan2(forward[..., 0], forward[..., 2])  # of +z, about y
        heading = torch.cat((torch.zeros_like(heading[:, :1]), heading[:, 1:]), 1)
        back = _about_y(-heading)
        half = (heading[:, :-1] - heading[:, 1:]) / 2
        turn = torch.atan2(half.sin(), half.cos().abs())  # the arcsine, with a finite slope
        step = joints.diff(dim=1)
        travel = (back[:, 1:] @ step[:, :, 0, :, None])[..., 0]
        plane = torch.tensor([1.0, 0.0, 1.0]).to(joints)
        local = (joints - joints[:, :, :1] * plane) @ back.mT
        velocity = step @ back[:, :-1].mT
        still = ((step**2).sum(-1)[..., list(_FEET)] < _STILL).to(joints)
        parts = (turn[..., None], travel[..., [0, 2]], local[:, :-1, 0, 1:2],
                 local[:, :-1, 1:].flatten(2), _columns(joints, back)[:, :-1],
                 velocity.flatten(2), still)  # fmt: skip
        return torch.cat(parts, -1)

    def _resized(self, joints: Tensor) -> Tensor:
        """The same directions, the skeleton's lengths; the path is scaled with the legs."""
        bones = joints[:, :, 1:] - joints[:, :, list(SMPL_PARENTS[1:_JOINTS])]
        legs = [joint - 1 for joint in _LEG]
        scale = self.lengths[legs].sum() / bones[:, 0, legs].norm(dim=-1).sum(-1)
        bones = F.normalize(bones, dim=-1) * self.lengths[:, None]
        place = [joints[:, :, 0] * scale[:, None, None]]
        for joint in range(1, _JOINTS):
            place.append(place[SMPL_PARENTS[joint]] + bones[:, :, joint - 1])
        return torch.stack(place, 2)

    @staticmethod
    def _canonical(joints: Tensor) -> Tensor:
        """On the floor, over the origin and facing +z in the first frame."""
        lowest = joints[..., 1].flatten(1).amin(1)
        start = torch.stack((joints[:, 0, 0, 0], lowest, joints[:, 0, 0, 2]), -1)
        facing = _facing(joints[:, :1])[:, 0]
        back = _about_y(-torch.atan2(facing[:, 0], facing[:, 2]))
        return (joints - start[:, None, None]) @ back.mT[:, None]


def _facing(joints: Tensor, hips: int = 1) -> Tensor:
    """(S, T, 3) level: where shoulders and hips face, the latter counted ``hips`` times."""
    across = (joints[:, :, _HIPS[0]] - joints[:, :, _HIPS[1]]) * hips
    across = F.normalize(across + joints[:, :, _SHOULDERS[0]] - joints[:, :, _SHOULDERS[1]], dim=-1)
    return torch.stack((across[..., 2], torch.zeros_like(across[..., 0]), -across[..., 0]), -1)


def _smoothing(frames: int) -> Tensor:
    """(T, T): the Gaussian over time that HumanML3D smooths headings with, ends repeated."""
    reach = torch.arange(-_REACH, _REACH + 1)
    weight = torch.exp(-0.5 * (reach / _SMOOTH) ** 2)
    index = (torch.arange(frames)[:, None] + reach).clamp(0, frames - 1)
    share = (weight / weight.sum()).expand(frames, -1)
    return torch.zeros(frames, frames).scatter_add(1, index, share)


def _about_y(angle: Tensor) -> Tensor:
    """(...,) radians -> (..., 3, 3)."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    flat = torch.stack((cos, zero, sin, zero, zero + 1, zero, -sin, zero, cos), -1)
    return flat.unflatten(-1, (3, 3))


def _columns(joints: Tensor, root: Tensor) -> Tensor:
    """(S, T, 126): first two columns of the local rotations of bones 1-21.

    Args:
        root: (S, T, 3, 3), from the world into the heading's axes, as HumanML3D has it."""
    bones = F.normalize(joints[:, :, 1:] - joints[:, :, list(SMPL_PARENTS[1:_JOINTS])], dim=-1)
    world = _shortest(torch.tensor(_REST).to(joints), bones)
    local: dict[int, Tensor] = {}
    for chain in _CHAINS:
        before = root
        for joint in chain:
            own = world[:, :, joint - 1]
            local[joint] = before.mT @ own
            before = own
    stacked = torch.stack([local[joint] for joint in range(1, _JOINTS)], 2)
    return stacked[..., :2].transpose(-1, -2).flatten(2)


def _shortest(start: Tensor, end: Tensor) -> Tensor:
    """The shortest rotations between unit vectors (..., 3); any half turn for opposite ones."""
    axis = torch.linalg.cross(start.expand_as(end), end)
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))
    share = 1 / (1 + (start * end).sum(-1)).clamp_min(1e-6)
    return torch.eye(3).to(end) + skew + share[..., None, None] * (skew @ skew)
