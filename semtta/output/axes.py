"""From the camera's axes to those of other programs; all are set out in ``docs/conventions.md``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semtta.tta.result import World

# x right, y up, z towards the camera. Half a turn about x: all that is known of a camera that may
# move and be held in any way.
_HALF_TURN = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
# y up -> z up: x right, y away from the camera.
_Z_FROM_Y_UP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Axes:
    """Where a motion goes on its way out of the camera's frame.

    Args:
        turn: (3, 3) rotation from camera axes.
        shift: (3,) metres, added after it.
    """

    turn: Tensor
    shift: Tensor

    def points(self, points: Tensor) -> Tensor:
        """(..., 3) metres in camera axes, moved."""
        return points @ self.turn.T.to(points) + self.shift.to(points)

    def rotmats(self, rotmats: Tensor) -> Tensor:
        """(T, 24, 3, 3) SMPL rotations, the global orientation turned."""
        rotmats = rotmats.clone()
        rotmats[:, 0] = self.turn.to(rotmats) @ rotmats[:, 0]
        return rotmats


def y_up(world: World | None) -> Axes:
    """BVH, TRC, OBJ, PLY, GLB and the page: upright with the floor at y = 0 where the world is
    known, else the camera's frame after half a turn about x."""
    if world is None:
        return Axes(_HALF_TURN, torch.zeros(3))
    return Axes(world.rotation, torch.tensor([0.0, -world.ground, 0.0]))


def z_up(world: World | None) -> Axes:
    """AMASS: the same with y away from the camera and z up."""
    axes = y_up(world)
    return Axes(_Z_FROM_Y_UP @ axes.turn, _Z_FROM_Y_UP @ axes.shift)
