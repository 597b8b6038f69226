"""One optimiser step: the whole batch at once, or chunk after chunk at the memory of one."""

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

    With ``chunk`` one chunk's activations are held at a time, and the gradient is the same: in one
    pass where the loss is a sum over frames, in two where it couples them. Exact only while no
    layer couples frames: batch statistics must be off, for two passes dropout as well
    (``optimizer.train_mode: false``).

    Args:
        chunk: frames held with their activations; None = all.
    Returns: the loss terms, detached."""
    if chunk is None or len(draw.frames) <= chunk:
        return _one_pass(run, strategy, draw, [draw])
    if strategy.couples(run, draw):
        return _two_passes(run, strategy, draw, chunk)
    return _one_pass(run, strategy, draw, draw.split(chunk))


def _one_pass(run: Run, strategy: Strategy, draw: Draw, parts: list[Draw]) -> dict[str, Tensor]:
    """Each part's loss, a mean over its frames, counts as much as it has of the frames."""
    sums: dict[str, Tensor] = {}
    for part, prediction in zip(parts, run.forward_each([part.frames for part in parts])):
        share = part.count.sum() / draw.count.sum()
        terms = {k: share * term for k, term in strategy.loss(run, part, prediction).items()}
        if terms:
            losses.total(terms).backward()
        for name, term in terms.items():
            sums[name] = sums[name] + term.detach() if name in sums else term.detach()
    return sums


def _two_passes(run: Run, strategy: Strategy, draw: Draw, chunk: int) -> dict[str, Tensor]:
    """Predict all frames without graph, take d(loss)/d(prediction), then run chunk after chunk
    again with graph and feed each its slice: the price is one more forward pass."""
    parts = draw.frames.split(chunk)
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
