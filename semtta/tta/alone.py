"""Methods to which the caller's state of PyTorch does not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import torch

from semtta.config import Config
from semtta.engine import undisturbed
from semtta.hmr.base import HumanMeshRegressor
from semtta.threads import threads_for
from semtta.tta.pieces import in_one_piece


@contextmanager
def own_state(model: HumanMeshRegressor, device: torch.device, config: Config) -> Iterator[None]:
    """The state of PyTorch that a run of a model needs, with its threads; the caller's comes
    back."""
    shared = in_one_piece(model, config)
    with undisturbed(device, config.seed), threads_for(shared, device):
        yield


def alone(method: Callable) -> Callable:
    """A method of an adapter in :func:`own_state`; the caller's neither matters to it nor
    changes."""

    @wraps(method)
    def in_own_state(self, *arguments, **named):
        with own_state(self.model, self.device, self.config):
            return method(self, *arguments, **named)

    return in_own_state
