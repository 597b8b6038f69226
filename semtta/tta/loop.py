"""The epochs of one run: steps, a full pass, the strategy's turn, numbers for the log."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semtta.config_schema import OptimizerConfig
from semtta.tta.divergence import diverged, finite, numbers_of
from semtta.tta.heard import note_gate
from semtta.tta.run import Run
from semtta.tta.schedule import learning_rate
from semtta.tta.steps import accumulate_gradient
from semtta.tta.strategy import Frozen, Strategy


def fine_tune(
    run: Run,
    strategy: Strategy,
    parameters: list[nn.Parameter],
    base: Sequence[Tensor] | None = None,
) -> None:
    """All epochs of one run; ``run.latest``, ``run.evidence`` and ``run.history`` move on.

    Args:
        run: ``first`` and ``latest`` are there.
        strategy: draws frames, says what the loss is and what follows an epoch.
        parameters: of the model, those that learn.
        base: weights that ``optimizer.anchor`` draws back to; None = as they are now.
    Raises ``SemttaError`` as soon as anything is not finite."""
    config = run.config.optimizer
    strategy.begin(run)
    note_gate(run, strategy)
    if isinstance(strategy, Frozen):
        return
    optimizer = _adam(parameters, config, run.device)
    start = base or [weight.detach().clone() for weight in parameters] if config.anchor else []
    for epoch in range(config.epochs):
        lr = learning_rate(config, epoch)
        for group in optimizer.param_groups:
            group["lr"] = lr
        run.model.train(config.train_mode)
        sums: dict[str, float] = {}
        steps = 0
        for draw in strategy.batches(run, epoch):
            optimizer.zero_grad()
            terms = accumulate_gradient(run, strategy, draw, config.chunk)
            values = {name: float(value) for name, value in terms.items()}
            if not all(map(math.isfinite, values.values())):
                raise diverged(run, epoch, "the loss is")
            optimizer.step()
            pull_back(parameters, start, config.anchor)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value
            steps += 1
        run.latest = run.predict_all()
        if not finite(*parameters, *numbers_of(run.latest)):
            raise diverged(run, epoch, "the prediction is")
        numbers = strategy.end_epoch(run, epoch)
        note_gate(run, strategy)
        if not finite(run.evidence.xy, run.evidence.weight):
            raise diverged(run, epoch, "the evidence is")
        means = {f"loss_{name}": value / steps for name, value in sums.items()}
        run.history.append(
            {"epoch": epoch + 1, "lr": lr, "steps": steps}
            | means
            | {"loss": sum(means.values()), "reprojection_px": _pixel_error(run)}
            | numbers
        )
        run.progress("adapt", epoch + 1, config.epochs, run.history[-1])


def _adam(
    parameters: list[nn.Parameter], config: OptimizerConfig, device: torch.device
) -> torch.optim.Adam:
    mean, square = config.betas
    return torch.optim.Adam(
        parameters, betas=(mean, square),
        fused=device.type in ("cpu", "cuda"),  # a quarter of a small network's step
    )  # fmt: skip


@torch.no_grad()
def pull_back(weights: Sequence[Tensor], start: Sequence[Tensor], share: float) -> None:
    """A soft reset: w <- w + share (w0 - w), in place; what many steps ago taught fades.

    Args:
        weights: that learn; start: as they were before the first step, none = leave them.
        share: of the way back, in [0, 1]; at 1 they are what they were, bit for bit."""
    for weight, was in zip(weights, start):
        weight.lerp_(was, share)


def _pixel_error(run: Run) -> float:
    """Mean distance of the projection to the detections, image pixels."""
    detected = run.evidence.detected  # none at all: the mean of nothing is NaN
    distance = (run.project_all(run.latest) - run.evidence.raw.xy).norm(dim=-1)
    return float(distance[detected].mean())
