"""What an adaptation method is: four hooks around a loop that the Adapter owns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from semtta.hmr.base import Prediction
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


class Strategy(Protocol):
    """A test-time adaptation method; its state belongs to one run and is built per video."""

    def begin(self, run: Run) -> None:
        """First look at the whole track; ``run.first`` and ``run.latest`` are there."""
        ...

    def batches(self, run: Run, epoch: int) -> Iterator[Draw]:
        """The optimiser steps of one epoch (from 0)."""
        ...

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        """Named terms, already weighted."""
        ...

    def end_epoch(self, run: Run, epoch: int) -> dict[str, float]:
        """After the epoch's full pass (``run.latest``): move the evidence, report numbers."""
        ...


class Frozen:
    """No adaptation: the control in every table."""

    def begin(self, run: Run) -> None:
        return None

    def batches(self, run: Run, epoch: int) -> Iterator[Draw]:
        return iter(())

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        return {}

    def end_epoch(self, run: Run, epoch: int) -> dict[str, float]:
        return {}
