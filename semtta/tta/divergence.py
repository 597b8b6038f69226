"""What is not finite is no result: a broken network and a run that diverged are told apart."""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.hmr.base import Prediction
from semtta.tta.result import Motion
from semtta.tta.run import Run


def finite(*tensors: Tensor) -> bool:
    """Whether all numbers are."""
    # extremes carry what is not finite: a tenth of the time of looking at every number
    return all(bool(torch.stack(x.aminmax()).isfinite().all()) for x in tensors if x.numel())


def numbers_of(found: Prediction | Motion) -> tuple[Tensor, ...]:
    """The tensors that a prediction or a motion consists of."""
    return tuple(vars(found).values())


def check_base(run: Run, found: Prediction | Motion) -> None:
    """Raise ``SemttaError`` if the model, as it came, predicts what is no number."""
    if not finite(*numbers_of(found)):
        raise SemttaError(
            f"track {run.track.id}: {type(run.model).__name__} predicts values that are not finite "
            "before any adaptation; its checkpoint is damaged, or belongs to another network."
        )


def diverged(run: Run, epoch: int, what: str) -> SemttaError:
    """The error of an adaptation that ran away.

    Args:
        epoch: from 0.
        what: is not finite any more."""
    return SemttaError(
        f"track {run.track.id}: the adaptation diverged in epoch {epoch + 1} ({what} not finite); "
        f"lower optimizer.lr (now {run.config.optimizer.lr:g})."
    )
