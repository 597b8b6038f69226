"""What an adaptation method is: four hooks around a loop that the Adapter owns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from semtta.hmr.base import Prediction
from semtta.motion.dictionary import Dictionary
from semtta.motion.prior import MotionPrior
from semtta.tta.run import Run


@dataclass(frozen=True)
class Draw:
    """The frames of one optimiser step.

    Args:
        frames: (B,) distinct positions in the track; each is predicted once.
        count: (B,) how often each frame was drawn.
        segments: segment indices drawn (with repeats), empty without alignment.
        rows: for each drawn segment, its frames as rows of the prediction.
    """

    frames: Tensor
    count: Tensor
    segments: tuple[int, ...] = ()
    rows: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, drawn: Sequence[tuple[Tensor, int]], device: torch.device) -> Draw:
        """From pieces of the track: their positions, and the segment they are or -1."""
        stacked = torch.cat([positions for positions, _ in drawn])
        frames, inverse, count = stacked.unique(return_inverse=True, return_counts=True)
        rows = inverse.split([len(positions) for positions, _ in drawn])
        whole = [i for i, (_, segment) in enumerate(drawn) if segment >= 0]
        return cls(
            frames=frames.to(device),
            count=count.to(device, torch.float32),
            segments=tuple(drawn[i][1] for i in whole),
            rows=tuple(rows[i] for i in whole),
        )

    def split(self, size: int) -> list[Draw]:
        """The same frames in pieces of ``size``, of which no segment is known."""
        return [Draw(*pair) for pair in zip(self.frames.split(size), self.count.split(size))]


@dataclass(frozen=True)
class Networks:
    """What strategies read beside the regressor; each says in ``reads`` what it wants.

    Args:
        prior: motion-text model that pulls; None turns alignment and gate off.
        gate_prior: the one that the gate reads; the same object in the paper.
        denoiser: of ``smoothing.kind``.
        exemplars: the dictionary with one motion per label.
    """

    prior: MotionPrior | None = None
    gate_prior: MotionPrior | None = None
    denoiser: nn.Module | None = None
    exemplars: Dictionary | None = None


class Strategy(Protocol):
    """A test-time adaptation method; its state belongs to one run and is built per video.

    ``reads`` names the fields of ``Networks`` it uses."""

    reads: tuple[str, ...]

    def __init__(self, networks: Networks): ...

    def begin(self, run: Run) -> None:
        """First look at the whole track; ``run.first`` and ``run.latest`` are there."""
        ...

    def batches(self, run: Run, epoch: int) -> Iterator[Draw]:
        """The optimiser steps of one epoch (from 0)."""
        ...

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        """Named terms, already weighted."""
        ...

    def couples(self, run: Run, draw: Draw) -> bool:
        """Whether this loss of a draw is more than the mean over its frames of what each says.

        Where it is not, pieces of a draw may be asked for their ``loss`` in several threads."""
        ...

    def end_epoch(self, run: Run, epoch: int) -> dict[str, float]:
        """After the epoch's full pass (``run.latest``): move the evidence, report numbers."""
        ...


class Frozen:
    """No adaptation: the control in every table."""

    reads: tuple[str, ...] = ()

    def __init__(self, networks: Networks | None = None):
        pass

    def begin(self, run: Run) -> None:
        return None

    def batches(self, run: Run, epoch: int) -> Iterator[Draw]:
        return iter(())

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        return {}

    def couples(self, run: Run, draw: Draw) -> bool:
        return False

    def end_epoch(self, run: Run, epoch: int) -> dict[str, float]:
        return {}
