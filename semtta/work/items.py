"""One function for many items, on any engine: what came of each, and which failed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from semtta.errors import SemttaError
from semtta.work.engines import check_engine, run_tasks


@dataclass(frozen=True)
class Outcome:
    """What came of one item.

    Args:
        item: as it was given.
        value: what the function returned; None if it failed.
        error: one sentence; empty if it did not fail.
        trace: where an error came from that is nobody's input but a bug; else empty.
    """

    item: Any
    value: Any = None
    error: str = ""
    trace: str = ""

    @property
    def ok(self) -> bool:
        return not self.error


def map_items(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    engine: str = "local",
    workers: int | None = None,
    finished: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """``function(item)`` of every item; one that fails stops no other.

    Values are the same, bit for bit, with any engine and number of workers: each computes on one
    thread. An item at which a worker died, whatever killed it, is done again by another, three
    times at most; so what the function writes must be whole or absent (``semtta.files``). Ctrl-C
    and SIGTERM stop all workers and are passed on.

    Args:
        function: defined in a module, no lambda: it, the items and what it returns are pickled
            unless there is one worker. It hears no Ctrl-C in a worker of its own, and prints
            nothing: what is to be said belongs into what it returns.
        engine: ``local`` (this process for one worker, else one process each) or ``ray``: the
            cluster at ``RAY_ADDRESS``, or one started here. Its nodes see the same files under the
            same paths; a node that is lost costs the items that it was at, which are done again.
        workers: default the number of cores (of the cluster), of this machine one if it has a GPU;
            never more than there are items.
        finished: told each outcome as it comes, in this process; what it raises ends the run.
    Returns: outcomes in the order of the items. Raises ``SemttaError`` for an engine that there is
    not, and if workers cannot live at all."""
    check_engine(engine, workers)
    if not items:
        return []
    if len(items) == 1:
        workers = 1  # on this machine, that needs no other process
    elif workers is not None:
        workers = min(workers, len(items))
    found: dict[int, Outcome] = {}
    tasks = [[_Piece(number, item)] for number, item in enumerate(items)]
    with closing(run_tasks(tasks, _Guarded(function), engine, workers)) as answers:
        for answer in answers:
            outcome = Outcome(items[answer.number], answer.value, answer.error, answer.trace)
            found[answer.number] = outcome
            if finished is not None:
                finished(outcome)
    return [found[number] for number in range(len(items))]


class _Answer(NamedTuple):
    """An outcome without its item, which need not travel back."""

    number: int
    value: Any = None
    error: str = ""
    trace: str = ""


@dataclass(frozen=True, eq=False)
class _Piece:
    number: int
    item: Any

    def failed(self, reason: str) -> _Answer:
        return _Answer(self.number, error=reason)


@dataclass(frozen=True)
class _Guarded:
    """The function, with its errors as answers."""

    function: Callable[[Any], Any]

    def __call__(self, piece: _Piece) -> _Answer:
        try:
            return _Answer(piece.number, self.function(piece.item))
        except SemttaError as error:
            return piece.failed(str(error))
        except Exception as error:  # one bad item must not end a run of hours
            said = " ".join(f"{type(error).__name__}: {error}".split())
            return _Answer(piece.number, error=said, trace=traceback.format_exc())
