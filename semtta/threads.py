"""Threads of the CPU: what they share, and what they do side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_ALLOWED: ContextVar[int | None] = ContextVar("threads that the caller of a run has", default=None)


def allowed_threads() -> int:
    """How many threads a run may use: those that PyTorch had when it began."""
    return _ALLOWED.get() or torch.get_num_threads()


@contextmanager
def threads_for(shared: bool, device: torch.device) -> Iterator[None]:
    """The threads that one operation of PyTorch takes on the CPU: one, or the caller's number.

    On one, the last digits do not hang on the machine, and nobody waits for a thread whose core is
    busy. Small operations are faster so (a network that reads landmarks adapts to 100 frames in
    2.9 s on one thread, 3.8 s on two); of large ones several are done side by side, each by one of
    the :func:`allowed_threads`.

    Args:
        shared: whether operations share the caller's threads instead."""
    if device.type != "cpu":
        yield
        return
    before, allowed = torch.get_num_threads(), _ALLOWED.get()
    _ALLOWED.set(allowed_threads())
    if not shared:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _ALLOWED.set(allowed)


def spinning_note(shared: bool, device: torch.device) -> str:
    """A sentence where threads that share operations would spin while they wait; "" otherwise.

    On a busy machine they take the time of those that they wait for: a step on two threads then
    takes twice as long as on one, where threads that sleep lose nothing. OpenMP reads the policy
    when PyTorch is loaded, so the ``semtta`` command sets it and the library can only say so.

    Args:
        shared: as of :func:`threads_for`."""
    if not shared or device.type != "cpu" or torch.get_num_threads() == 1:
        return ""
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE":
        return ""
    return (
        f"PyTorch's {torch.get_num_threads()} threads spin while they wait, which makes steps much "
        "slower on a machine that is also busy: set OMP_WAIT_POLICY=PASSIVE before Python starts, "
        "call torch.set_num_threads(1), or do without dropout (optimizer.train_mode=false)."
    )
