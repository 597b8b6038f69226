"""A body fitted to joints in 3D, for results whose own body is another one."""

from __future__ import annotations

import roma
import torch
from torch import Tensor

from semtta.body import Body
from semtta.geometry import columns_to_rotmat
from semtta.skeletons import SMPL24, Skeleton

_STEPS, _RATE = 240, 0.06
_BLOCK = 200  # frames at a time
_REST = 4e-4  # m^2, weight of a joint's turn (squared, of the matrix) beside squared distances
_STIFF = ("spine1", "spine2", "spine3", "left_collar", "right_collar", "left_foot", "right_foot",
          "left_hand", "right_hand", "neck")  # fmt: skip
_STIFFER = 4.0  # of joints that few points speak of
_SHAPE = 1e-4  # m^2, of a beta, squared
_TRUNK = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")


def fit_body(points: Tensor, skeleton: Skeleton, body: Body) -> tuple[Tensor, Tensor, Tensor]:
    """The pose, shape and place in which a body's landmarks come nearest to points.

    Args:
        points: (T, J, 3) metres, camera frame; of one person.
        skeleton: names of the J points; the body must know them, hips and shoulders among them.
    Returns: rotations (T, 24, 3, 3), betas (T, 10), the same in all frames, and trans (T, 3)."""
    blocks, betas = [], None
    for block in points.split(_BLOCK):  # the shape is that of the first block
        rotmats, betas, trans = _fit(block, skeleton, body, betas)
        blocks.append((rotmats, trans))
    assert betas is not None
    return (torch.cat([rotmats for rotmats, _ in blocks]), betas.expand(len(points), 10).clone(),
            torch.cat([trans for _, trans in blocks]))  # fmt: skip


def _fit(points: Tensor, skeleton: Skeleton, body: Body, shape: Tensor | None):
    count = len(points)
    columns = torch.eye(3)[:, :2].mT.reshape(6).repeat(count, 24, 1)
    columns[:, 0] = _trunk_turn(points, skeleton, body)[..., :2].mT.flatten(1)
    columns.requires_grad_(True)
    betas = torch.zeros(1, 10) if shape is None else shape
    betas.requires_grad_(shape is None)
    stiff = torch.ones(24)
    stiff[SMPL24.indices(_STIFF)] = _STIFFER
    stiff[0] = 0.0
    optimizer = torch.optim.Adam([columns, betas] if shape is None else [columns], lr=_RATE)
    with torch.enable_grad():
        for step in range(_STEPS):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * (1 - step / _STEPS) + 1e-3
            optimizer.zero_grad()
            rotmats = columns_to_rotmat(columns)
            off = points - body.landmarks(rotmats, betas.expand(count, 10), skeleton)
            off = off - off.mean(1, keepdim=True)
            turned = ((rotmats - torch.eye(3)) ** 2).sum((-2, -1)) * stiff
            loss = (off**2).sum((1, 2)).mean() + _REST * turned.sum(1).mean()
            (loss + _SHAPE * (betas**2).sum()).backward()
            optimizer.step()
    rotmats, betas = columns_to_rotmat(columns.detach()), betas.detach()
    found = body.landmarks(rotmats, betas.expand(count, 10), skeleton)
    return rotmats, betas, (points - found).mean(1)


def _trunk_turn(points: Tensor, skeleton: Skeleton, body: Body) -> Tensor:
    """(T, 3, 3) the turn of hips and shoulders against the body at rest."""
    picked = skeleton.indices(_TRUNK)
    rest = body.landmarks(torch.eye(3).expand(24, 3, 3), torch.zeros(10), skeleton)[picked]
    rest = rest - rest.mean(0)
    there = points[:, picked] - points[:, picked].mean(1, keepdim=True)
    return roma.special_procrustes(there.mT @ rest)
