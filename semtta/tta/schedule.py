"""Learning rates per epoch: the paper's cosine, and CycleAdapt's warm-up before it."""

from __future__ import annotations

import math

from semtta.config_schema import OptimizerConfig
from semtta.engine import cosine_lr


def warmup_cosine_lr(epoch: int, epochs: int, lr: float, min_lr: float, warmup: int = 3) -> float:
    """CycleAdapt's schedule: linear for ``warmup`` epochs, then cosine to ``min_lr`` in the last.

    As in its code, the cosine passes ``lr`` one epoch after the warm-up, so that the epoch between
    them lies a little above (5.15e-5 for 5e-5 over 13 epochs).

    Args:
        epoch: from 0."""
    warmup = min(warmup, epochs - 1)
    if epoch < warmup:
        return lr * (epoch + 1) / warmup
    length = epochs - 1 - warmup
    if length == 0:
        return lr if warmup == 0 else min_lr
    share = lambda k: 0.5 * (1 + math.cos(math.pi * k / length))  # noqa: E731
    # With a single epoch after the peak there is none to pass ``lr`` in.
    peak = (lr - min_lr) / (share(1) if length > 1 else 1.0)
    return min_lr + peak * share(epoch - warmup)


def learning_rate(config: OptimizerConfig, epoch: int, lr: float | None = None) -> float:
    """The rate of an epoch (from 0), by ``optimizer.schedule``.

    Args:
        lr: the highest rate, default ``config.lr``; CycleAdapt's denoiser has its own."""
    schedule = {"cosine": cosine_lr, "warmup_cosine": warmup_cosine_lr}[config.schedule]
    return schedule(epoch, config.epochs, config.lr if lr is None else lr, config.min_lr)
