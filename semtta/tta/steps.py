"""One optimiser step: the whole batch at once, or in two passes at the memory of one chunk."""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.hmr.base import Prediction
from semtta.tta import losses
from semtta.tta.run import Run
from semtta.tta.strategy import Draw, Strategy


def accumulate_gradient(
    run: Run, strategy: Strategy, draw: Draw, chunk: int | None
) -> dict[str, Tensor]:
    """Add the gradient of a draw's loss to the model's parameters.

    The loss couples frames (alignment, divisors), the network does not. So with ``chunk``: predict
    all frames without graph, take d(loss)/d(prediction), then run chunk after chunk again with
    graph and feed each its slice. The gradient is the same, one chunk's activations are held at a
    time, and the price is one more forward pass. Exact only while no layer couples frames: batch
    statistics and dropout must be off (``optimizer.train_mode: false``).

    Args:
        chunk: frames held with their activations; None = all.
    Returns: the loss terms, detached."""
    frames = draw.frames
    if chunk is None or len(frames) <= chunk:
        terms = strategy.loss(run, draw, run.forward(frames))
        if terms:
            losses.total(terms).backward()
        return {name: value.detach() for name, value in terms.items()}

    parts = frames.split(chunk)
    with torch.no_grad():
        whole = Prediction.cat(list(run.forward_each(parts)))
    leaves = [x.detach().requires_grad_(True) for x in (whole.rotmats, whole.betas, whole.cam)]
    terms = strategy.loss(run, draw, Prediction(*leaves))
    if not terms:
        return {}
    found = torch.autograd.grad(losses.total(terms), leaves, allow_unused=True)
    gradients = [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves)]
    slices = zip(*(gradient.split(chunk) for gradient in gradients))
    for part, gradient in zip(run.forward_each(parts), slices):
        pairs = zip((part.rotmats, part.betas, part.cam), gradient)
        free = [pair for pair in pairs if pair[0].requires_grad]  # a told shape is not
        torch.autograd.backward([x for x, _ in free], [g for _, g in free])
    return {name: value.detach() for name, value in terms.items()}
