"""One optimiser step: the whole batch at once, or piece after piece at the memory of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from semtta.engine import threaded_map
from semtta.hmr.base import Prediction
from semtta.tta import losses
from semtta.tta.run import Run
from semtta.tta.strategy import Draw, Strategy

# What is to be differentiated, and the gradients there; None = of a scalar.
Roots = tuple[list[Tensor], list[Tensor] | None]


def accumulate_gradient(
    run: Run, strategy: Strategy, draw: Draw, chunk: int | None
) -> dict[str, Tensor]:
    """Add the gradient of a draw's loss to the model's parameters.

    With ``chunk`` each of the run's workers holds one chunk's activations at a time, and the
    gradient is the same: in one pass where the loss is a sum over frames, in two where it couples
    them. Exact only while no layer couples frames: batch statistics must be off, for pieces dropout
    as well (``optimizer.train_mode: false``).

    Args:
        chunk: frames of a piece; None = the run's, all held where the loss couples them.
    Returns: the loss terms, detached."""
    size = chunk or run.pieces.size
    if size is None or len(draw.frames) <= size:
        return _one_pass(run, strategy, draw, [draw])
    if not strategy.couples(run, draw):
        return _one_pass(run, strategy, draw, draw.split(size))
    return _through_predictions(run, strategy, draw, size, held=chunk is None)


def _one_pass(run: Run, strategy: Strategy, draw: Draw, parts: list[Draw]) -> dict[str, Tensor]:
    """Each part's loss, a mean over its frames, counts as much as it has of the frames."""
    found: list[dict[str, Tensor]] = [{} for _ in parts]

    def roots(i: int, prediction: Prediction) -> Roots:
        share = parts[i].count.sum() / draw.count.sum()
        terms = {k: share * t for k, t in strategy.loss(run, parts[i], prediction).items()}
        found[i] = {name: term.detach() for name, term in terms.items()}
        return [losses.total(terms)] if terms else [], None

    _learn(run, [part.frames for part in parts], roots)
    sums: dict[str, Tensor] = {}
    for terms in found:
        for name, term in terms.items():
            sums[name] = sums[name] + term if name in sums else term
    return sums


def _through_predictions(
    run: Run, strategy: Strategy, draw: Draw, size: int, held: bool
) -> dict[str, Tensor]:
    """Predict all frames, take d(loss)/d(prediction), then feed each piece its slice.

    Args:
        held: whether all pieces keep their activations; else each runs again with graph, and the
            price is one more forward pass."""
    frames = draw.frames.split(size)
    kept: list[Prediction] | None = None
    if held:
        kept = list(threaded_map(run.forward, frames, run.pieces.workers))
        whole = Prediction.cat(kept)
    else:
        whole = run.predict(frames)
    leaves = [x.detach().requires_grad_(True) for x in (whole.rotmats, whole.betas, whole.cam)]
    terms = strategy.loss(run, draw, Prediction(*leaves))
    if not terms:
        return {}
    found = torch.autograd.grad(losses.total(terms), leaves, allow_unused=True)
    gradients = [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves)]
    slices = list(zip(*(gradient.split(size) for gradient in gradients)))

    def roots(i: int, prediction: Prediction) -> Roots:
        pairs = zip((prediction.rotmats, prediction.betas, prediction.cam), slices[i])
        free = [pair for pair in pairs if pair[0].requires_grad]  # a told shape is not
        return [x for x, _ in free], [gradient for _, gradient in free]

    _learn(run, frames, roots, kept)
    return {name: value.detach() for name, value in terms.items()}


def _learn(
    run: Run,
    frames: Sequence[Tensor],
    roots: Callable[[int, Prediction], Roots],
    kept: list[Prediction] | None = None,
) -> None:
    """Add to the model's parameters the gradient of what follows from each piece's prediction, in
    the order of the pieces, whichever worker is first.

    Args:
        frames: (B,) of each piece.
        roots: of a piece, by its number, and its prediction.
        kept: predictions that are there already."""
    workers = min(run.pieces.workers, len(frames))
    if workers == 1:
        for i, prediction in enumerate(kept or run.forward_each(frames)):
            outputs, gradients = roots(i, prediction)
            if outputs:
                torch.autograd.backward(outputs, gradients)
        return
    weights = [weight for weight in run.model.parameters() if weight.requires_grad]

    def gradient(i: int) -> Sequence[Tensor | None]:
        prediction = run.forward(frames[i]) if kept is None else kept[i]
        outputs, gradients = roots(i, prediction)
        if not outputs:
            return ()
        return torch.autograd.grad(outputs, weights, gradients, allow_unused=True)

    for found in threaded_map(gradient, range(len(frames)), workers):
        for weight, value in zip(weights, found):
            if value is None:
                continue
            if weight.grad is None:  # laid out as the weight, which a fused optimiser relies on
                weight.grad = torch.zeros_like(weight)
            weight.grad.add_(value)
