"""What a frame-wise regressor does to a motion: jitter, drift, bias, and limbs it cannot see.

Turns clean windows into training input for the denoiser. Everything is drawn from one
``torch.Generator``, so a seed repeats a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from semtta.geometry import columns_to_rotmat, rotmat_to_columns
from semtta.motion.denoiser_input import fill_unseen
from semtta.skeletons import SMPL24


def _limbs(*parts: str, sides: tuple[str, ...] = ("left", "right")) -> list[int]:
    return SMPL24.indices([f"{side}_{part}" for part in parts for side in sides])


_LEG, _ARM = ("hip", "knee", "ankle", "foot"), ("shoulder", "elbow", "wrist", "hand")
LEGS = _limbs(*_LEG)
LOWER_LEGS = _limbs("knee", "ankle", "foot")
ARMS = _limbs(*_ARM)
# Rotations that go unseen together, and how often.
HIDDEN_GROUPS: tuple[tuple[list[int], float], ...] = (
    (LEGS, 0.27),
    (_limbs(*_LEG, sides=("left",)), 0.10),
    (_limbs(*_LEG, sides=("right",)), 0.10),
    (LOWER_LEGS, 0.13),
    (ARMS, 0.08),
    (_limbs(*_ARM, sides=("left",)), 0.06),
    (_limbs(*_ARM, sides=("right",)), 0.06),
    ([0, *LEGS], 0.05),
    (list(range(24)), 0.15),
)


# Limbs that stay hidden for a whole window, as legs behind a table do.
WHOLE_GROUPS: tuple[tuple[list[int], float], ...] = (
    (LEGS, 0.34),
    (_limbs(*_LEG, sides=("left",)), 0.08),
    (_limbs(*_LEG, sides=("right",)), 0.08),
    (LOWER_LEGS, 0.18),
    (ARMS, 0.12),
    (_limbs(*_ARM, sides=("left",)), 0.1),
    (_limbs(*_ARM, sides=("right",)), 0.1),
)
WHOLE = 0.48  # share of windows with one of them


@dataclass(frozen=True)
class Noise:
    """Ranges (low, high) of the standard deviation per axis, degrees."""

    jitter: tuple[float, float] = (2.0, 6.0)
    drift: tuple[float, float] = (3.0, 8.0)
    bias: tuple[float, float] = (0.0, 4.0)
    clean: float = 0.2  # share of windows without any noise
    faint: float = 0.2  # share of windows with a fifth of it
    half: float = 0.2  # share of windows with half of it


class Corruptor:
    """Draws corruptions for batches of windows."""

    def __init__(self, generator: torch.Generator, noise: Noise = Noise()):
        self.generator = generator
        self.noise = noise

    def __call__(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, 24, 3, 3) -> predictions of the same shape and seen (B, T, 24)."""
        batch, length = clean.shape[:2]
        noisy = self.add_noise(clean)
        seen = self._hide(batch, length)
        guess = self._guess(noisy, clean, seen)
        return torch.where((seen > 0)[..., None, None], noisy, guess), self._soften(seen)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def integer(self, low: int, high: int) -> int:
        """Uniform in [low, high]."""
        return int(torch.randint(low, high + 1, (1,), generator=self.generator))

    def add_noise(self, clean: Tensor) -> Tensor:
        """Jitter, drift and bias on (B, T, 24, 3, 3)."""
        n = self.noise
        batch, length = clean.shape[:2]
        jitter = self.uniform(batch, 1, 1, 1, low=n.jitter[0], high=n.jitter[1])
        jitter = jitter * self.uniform(batch, 1, 24, 1, low=0.5, high=1.5)
        total = jitter * self.normal(batch, length, 24, 3)
        drift = self.uniform(batch, 1, 1, 1, low=n.drift[0], high=n.drift[1])
        width = (4.0, 8.0, 8.0, 16.0)[self.integer(0, 3)]
        total = total + drift * slow_noise(self.normal(batch, length, 24, 3), width)
        bias = self.uniform(batch, 1, 1, 1, low=n.bias[0], high=n.bias[1])
        total = total + bias * self.normal(batch, 1, 24, 3)
        kind = self.uniform(batch, 1, 1, 1)
        scale = torch.ones_like(kind)
        scale[kind < n.clean + n.faint + n.half] = 0.5
        scale[kind < n.clean + n.faint] = 0.2
        scale[kind < n.clean] = 0.0
        return clean @ roma.rotvec_to_rotmat(torch.deg2rad(total * scale))

    def _hide(self, batch: int, length: int) -> Tensor:
        """Binary seen (B, T, 24): spans of limbs, whole windows, scattered frames."""
        seen = torch.ones(batch, length, 24)
        shares = torch.tensor([share for _, share in HIDDEN_GROUPS])
        for b in range(batch):
            kind = float(self.uniform(1))
            if kind < 0.08:  # as in masked reconstruction: half of the frames
                seen[b, self.uniform(length) < 0.5] = 0
                seen[b, length // 2] = 0
                continue
            if kind < 0.18:  # a flickering detector
                seen[b] = (self.uniform(length, 24) > self.uniform(1, high=0.25)).float()
            if float(self.uniform(1)) < WHOLE / 0.92:
                chances = torch.tensor([share for _, share in WHOLE_GROUPS])
                pick = int(torch.multinomial(chances, 1, generator=self.generator))
                seen[b, :, WHOLE_GROUPS[pick][0]] = 0
                events = (0, 0, 0, 1)[self.integer(0, 3)]
            else:
                events = (0, 1, 1, 1, 1, 2)[self.integer(0, 5)]
            picks = torch.multinomial(shares, max(events, 1), True, generator=self.generator)
            for pick in picks[:events].tolist():
                joints = HIDDEN_GROUPS[pick][0]
                if len(joints) == 24:
                    span = self.integer(4, 15)
                else:
                    span = self.integer(5, 55)
                start = self.integer(-span // 3, length - span + span // 3)
                rows = torch.arange(max(start, 0), min(start + span, length))
                seen[b, rows[:, None], torch.tensor(joints)] = 0
        return seen

    def _guess(self, noisy: Tensor, clean: Tensor, seen: Tensor) -> Tensor:
        """What a regressor says about a limb it does not see: mean-ish, frozen, standing, somebody
        else's, or nothing: the rest pose, not even wobbling."""
        batch, length = clean.shape[:2]
        middle = roma.special_gramschmidt(clean.mean(1, keepdim=True)[..., :2])
        index = torch.arange(length)[None, :, None].expand_as(seen)
        last = torch.where(seen > 0, index, -1).cummax(1).values[..., None, None]
        frozen = noisy.gather(1, last.clamp_min(0).expand_as(noisy))
        frozen = torch.where(last < 0, middle, frozen)
        standing = torch.eye(3).expand_as(noisy).clone()
        standing[:, :, 0] = noisy[:, :, 0]
        other = noisy.roll(1, 0).clone()
        other[:, :, 0] = noisy[:, :, 0]
        linear = columns_to_rotmat(fill_unseen(rotmat_to_columns(noisy), seen))
        kind = self.uniform(batch, 1, 1, 1, 1)
        guess = torch.where(kind < 0.8, other, linear)
        for below, choice in ((0.7, standing), (0.55, frozen), (0.4, middle)):
            guess = torch.where(kind < below, choice, guess)
        # some of the truth shines through, as in a regressor that has learned what goes together
        share = self.uniform(batch, 1, 1, 1, 1) * self.uniform(batch, 1, 1, 1, 1)
        share = share * (self.uniform(batch, 1, 1, 1, 1) < 0.5)
        mixed = roma.special_gramschmidt(torch.lerp(guess, noisy, share)[..., :2])
        wobble = torch.deg2rad(3 * slow_noise(self.normal(batch, length, 24, 3), 4.0))
        mixed = mixed @ roma.rotvec_to_rotmat(wobble)
        nothing = self.uniform(batch, 1, 1, 1, 1) < 0.2
        return torch.where(nothing, standing, mixed)

    def _soften(self, seen: Tensor) -> Tensor:
        """Confidences instead of zeros and ones, and ramps at the edges, for half of a batch."""
        batch, length = seen.shape[:2]
        padded = torch.nn.functional.pad(seen.transpose(1, 2), (2, 2), mode="replicate")
        ramped = torch.nn.functional.avg_pool1d(padded, 5, stride=1).transpose(1, 2)
        soft = torch.minimum(seen, ramped) * self.uniform(batch, 1, 24, low=0.6, high=1.0)
        return torch.where(self.uniform(batch, 1, 1) < 0.5, soft, seen)


def slow_noise(white: Tensor, width: float) -> Tensor:
    """Gaussian-filtered noise over dim 1, scaled to unit variance; ``width`` in frames."""
    frame = torch.arange(float(white.shape[1]))
    kernel = torch.exp(-0.5 * ((frame[:, None] - frame) / width) ** 2)
    kernel = kernel / kernel.square().sum(1, keepdim=True).sqrt()
    return torch.einsum("ts,bs...->bt...", kernel, white)
