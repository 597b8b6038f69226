"""VIBE's motion discriminator (Kocabas et al. 2020): does a window of body motion look real?

Two GRU layers, attention over time, one score without sigmoid. Names are those of VIBE's file.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights

LENGTH = 16  # frames of VIBE's windows
_INPUT = 69  # axis-angle of 23 joints, without the root
_WHAT = "a file with VIBE's motion discriminator"


class _Attention(nn.Module):
    """Weights over time, (B, T, D) -> (B, D)."""

    def __init__(self, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        for out in (size, size, 1):
            layers += [nn.Linear(size, out), nn.Tanh(), nn.Dropout(0.2)]
        self.attention = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return (self.attention(x).softmax(1) * x).sum(1)


class MotionDiscriminator(nn.Module):
    """(B, T, 69) axis-angle of the body without global rotation -> (B, 1) score, 1 = real.

    Args:
        hidden: width of the GRU and of the attention, 1024 in VIBE.
    """

    def __init__(self, hidden: int = 1024):
        super().__init__()
        self.gru = nn.GRU(_INPUT, hidden, num_layers=2, batch_first=True)
        self.attention = _Attention(hidden)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, motion: Tensor) -> Tensor:
        return self.fc(self.attention(self.gru(motion)[0]))


def load_discriminator(path: str | Path) -> MotionDiscriminator:
    """From VIBE's checkpoint, which keeps it under ``disc_motion_state_dict``, or its bare weights.

    Raises ``SemttaError`` if the file is missing, damaged or something else."""
    weights = read_weights(path, _WHAT, known="gru.weight_ih_l0")
    with torch.device("meta"):
        net = MotionDiscriminator()
    return load_strictly(net, weights, path, _WHAT)
