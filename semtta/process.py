"""What the command line does to its own process, and the library never: signals, what is said when
they stop it, other libraries' words."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = {128 + getattr(signal, name): name for name in ("SIGTERM", "SIGHUP")
           if hasattr(signal, name)}  # fmt: skip
_KEPT = "kept_by_semtta"  # attribute of what stops a run


@contextmanager
def stoppable() -> Iterator[None]:
    """A request to end the process ends it as Ctrl-C does: what it has begun is cleaned up.

    Raises ``SystemExit`` with one of the codes ``STOPPED`` inside the block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread have signals
        return

    def stop(number: int, frame) -> None:
        for other in before:  # the clean-up is not to be stopped
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    # What is ignored, as under nohup, stays ignored.
    numbers = [code - 128 for code in STOPPED]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def if_stopped(kept: str) -> Iterator[None]:
    """What of a block is kept if it is stopped, and how to go on: ``cli`` says it.

    Args:
        kept: the middle of a sentence; one inside another counts."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.__dict__.setdefault(_KEPT, kept)
        raise


def kept_if_stopped(stop: BaseException | None) -> str:
    """What :func:`if_stopped` said of the block that was stopped."""
    nothing = "no unfinished result was kept, the same command starts anew"
    return nothing if stop is None else stop.__dict__.get(_KEPT, nothing)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Only semtta speaks: no warnings, no log lines, and nothing that a C library (libjpeg,
    FFmpeg, onnxruntime) writes past Python to file descriptor 2.

    Errors are exceptions and are not touched. All is heard in Python's development mode:
    ``PYTHONDEVMODE=1 semtta …``."""
    if sys.flags.dev_mode:
        yield
        return
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), _own_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def _own_stderr() -> Iterator[None]:
    """Python's ``sys.stderr`` keeps its goal, file descriptor 2 leads nowhere."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError):  # there is no stderr
        yield
        return
    ours, nowhere = sys.stderr, os.open(os.devnull, os.O_WRONLY)
    if _writes_to_2(ours):
        sys.stderr = open(
            kept, "w", 1, encoding=ours.encoding, errors="backslashreplace", closefd=False
        )
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        sys.stderr = ours
        os.close(nowhere)
        os.close(kept)


def _writes_to_2(stream) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, AttributeError):  # one in memory
        return False
