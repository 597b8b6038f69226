"""Methods to which the caller's state of PyTorch does not matter."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from semtta.engine import undisturbed


def alone(method: Callable) -> Callable:
    """A method of what has a ``device`` and a ``config``, in the state that a run needs; the
    caller's neither matters to it nor changes."""

    @wraps(method)
    def undisturbed_method(self, *arguments, **named):
        with undisturbed(self.device, self.config.seed):
            return method(self, *arguments, **named)

    return undisturbed_method
