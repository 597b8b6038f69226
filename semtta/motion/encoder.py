"""Two motion encoders, unlike on purpose: 60 frames of 24 rotations -> a unit text feature.

The alignment loss pulls a prediction towards what its encoder likes, so that encoder can no
longer judge the result. ``AlignEncoder`` reads rotations and serves the loss; ``GateEncoder``
reads joint positions, speeds and how the body moves about, was trained on other folds and against
motions optimised to please the first, and serves the gate.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.motion.movement import MOVEMENT
from semtta.skeletons import SMPL_PARENTS

LENGTH = 60


class AlignEncoder(nn.Module):
    """Transformer over patches of frames; input is the 6D form (first two columns).

    Args:
        dim: size of the text feature.
        width, layers, heads: of the transformer (pre-norm, GELU, feed-forward 2x).
        patch: frames per token; must divide 60.
    """

    def __init__(self, dim: int, width: int = 160, layers: int = 4, heads: int = 4, patch: int = 5):
        super().__init__()
        self.patch = patch
        self.inlet = nn.Linear(24 * 6 * patch, width)
        self.position = nn.Parameter(torch.randn(LENGTH // patch + 1, width) * 0.02)
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, 0, "gelu",
                                           batch_first=True, norm_first=True)  # fmt: skip
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.outlet = nn.Linear(width, dim)

    def forward(self, rotmats: Tensor, movement: Tensor | None = None) -> Tensor:
        """(S, 60, 24, 3, 3) local rotations, root first -> (S, dim) unit features; how the body
        moves about is not read."""
        columns = rotmats[..., :2].transpose(-1, -2)  # (S, 60, 24, 2, 3)
        tokens = self.inlet(columns.unflatten(1, (-1, self.patch)).flatten(2))
        tokens = torch.cat((self.query.expand(len(tokens), 1, -1), tokens), 1) + self.position
        return F.normalize(self.outlet(self.norm(self.body(tokens)[:, 0])))


class GateEncoder(nn.Module):
    """Dilated temporal convolutions over root-relative joint positions and velocities.

    The global rotation is not read at all; how the body moves about comes apart from it, or not at
    all. Positions come from forward kinematics with the fixed rest joints stored in the
    checkpoint, so the encoder knows nothing of body shape.

    Args:
        dim: size of the text feature.
        width: channels.
        dilations: of the residual blocks, at 15 frames a second.
        moving: whether it reads :func:`semtta.motion.movement.body_movement`, too.
    """

    rest: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, width: int = 128, dilations: tuple[int, ...] = (1, 2, 4, 8, 1),
                 moving: bool = False):  # fmt: skip
        super().__init__()
        self.moving = moving
        self.register_buffer("rest", torch.zeros(24, 3))
        self.register_buffer("mean", torch.zeros(2 * 69))
        self.register_buffer("std", torch.ones(2 * 69))
        channels = 2 * 69 + (MOVEMENT if moving else 0)
        self.tower = Tower(channels, dim, width, dilations)

    def features(self, rotmats: Tensor) -> Tensor:
        """(S, T, 24, 3, 3) -> (S, T, 138): positions of joints 1-23 in metres, then velocities."""
        positions = joint_positions(rotmats, self.rest)[..., 1:, :].flatten(2)
        velocities = positions[:, 1:] - positions[:, :-1]
        velocities = torch.cat((velocities[:, :1], velocities), 1)
        return torch.cat((positions, velocities), -1)

    def forward(self, rotmats: Tensor, movement: Tensor | None = None) -> Tensor:
        """Unit features (S, dim).

        Args:
            rotmats: (S, 60, 24, 3, 3) local rotations, root first (ignored).
            movement: (S, 60, 13); None = not told."""
        x = (self.features(rotmats) - self.mean) / self.std
        if self.moving:
            if movement is None:
                movement = x.new_zeros(*x.shape[:2], MOVEMENT)
            x = torch.cat((x, movement), -1)
        return self.tower(x)


class Tower(nn.Module):
    """Dilated convolutions over 60 frames of anything, pooled over time to a unit feature.

    Args:
        channels: of a frame.
        dim: size of the feature.
        width, dilations: of the residual blocks, at half of the frame rate.
    """

    def __init__(self, channels: int, dim: int, width: int, dilations: tuple[int, ...]):
        super().__init__()
        self.inlet = nn.Conv1d(channels, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(_ConvBlock(width, d) for d in dilations)
        self.outlet = nn.Sequential(nn.LayerNorm(3 * width), nn.Linear(3 * width, 2 * width),
                                    nn.GELU(), nn.Linear(2 * width, dim))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(S, T, channels) -> (S, dim)."""
        x = F.gelu(self.inlet(x.transpose(1, 2)))
        for block in self.blocks:
            x = block(x)
        pooled = torch.cat((x.mean(-1), (x.var(-1) + 1e-4).sqrt(), x.amax(-1)), 1)
        return F.normalize(self.outlet(pooled))


class _ConvBlock(nn.Module):
    """Residual block; normalised over channels only, so that amplitude over time survives."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.mix(F.gelu(self.spread(y)))


def joint_positions(rotmats: Tensor, rest: Tensor) -> Tensor:
    """Root-relative joints (..., 24, 3) in metres, as if the global rotation were identity.

    Args:
        rotmats: (..., 24, 3, 3) local rotations; index 0 is ignored.
        rest: (24, 3) joints of the unposed body.
    """
    bones = rest - rest[[max(parent, 0) for parent in SMPL_PARENTS]]
    zero = rotmats.new_zeros(rotmats.shape[:-3] + (3,))
    position: list[Tensor] = [zero]
    world: list[Tensor | None] = [None]
    for joint in range(1, 24):
        parent = SMPL_PARENTS[joint]
        turn = world[parent]
        local = rotmats[..., joint, :, :]
        bone = bones[joint] if turn is None else (turn @ bones[joint])
        position.append(position[parent] + bone)
        world.append(local if turn is None else turn @ local)
    return torch.stack(position, -2)


def sinusoids(length: int, width: int) -> Tensor:
    """(length, width) sine and cosine of a place in a sequence, in turns (Vaswani et al. 2017)."""
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angle = torch.arange(length)[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)
