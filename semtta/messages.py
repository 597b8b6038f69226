"""What the command line prints: consoles that no file can steer, and progress bars."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import progress as rich_progress
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from semtta.errors import SemttaWarning, printable

if TYPE_CHECKING:  # PyTorch is not imported to say a word
    from semtta.engine import Progress

_TITLES = {"people": "people and 2D", "measure": "held-out joints"}


class SafeConsole(Console):
    """A console to which texts and names from strangers' files may go: what would steer the
    terminal is written out as an escape. The library's own colours come from markup."""

    def render_str(self, text: str, **settings):
        return super().render_str(printable(text, newlines=True), **settings)


out = SafeConsole()


def to_stderr() -> Console:
    """The console for what is no result; made anew, for whoever has exchanged ``sys.stderr``."""
    return SafeConsole(stderr=True)


def say(text: str, quiet: bool = False) -> None:
    """A plain sentence of what was asked for, on stdout: nothing in it is markup."""
    if not quiet:
        out.print(text, highlight=False, markup=False, soft_wrap=True)


def tell(text: str, quiet: bool = False) -> None:
    """A plain sentence on what is being done, on stderr."""
    if not quiet:
        to_stderr().print(text, highlight=False, markup=False, soft_wrap=True)


def show_announcements() -> None:
    """From now on, what readers announce is a note on stderr, like the notes of the bars."""
    usual = warnings.showwarning

    def show(message, category, *rest, **named) -> None:
        if issubclass(category, SemttaWarning):
            to_stderr().print(f"[yellow]note:[/yellow] {escape(str(message))}", highlight=False,
                              soft_wrap=True)  # fmt: skip
        else:
            usual(message, category, *rest, **named)

    warnings.showwarning = show


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Progress]:
    """A progress callback that draws one bar per stage on stderr, with ETA and the current loss."""
    if quiet:
        yield lambda stage, done, total, values: None
        return
    console = to_stderr()
    bars = rich_progress.Progress(
        TextColumn("{task.description:14s}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        console=console,
    )  # fmt: skip
    tasks: dict[str, rich_progress.TaskID] = {}

    def update(stage: str, done: int, total: int | None, values: dict) -> None:
        if stage == "note":
            console.print(f"[yellow]note:[/yellow] {escape(values['text'])}", highlight=False,
                          soft_wrap=True)  # fmt: skip
            return
        bars.start()  # not before there is something to draw
        if stage not in tasks or (done <= 1 and bars.tasks[tasks[stage]].finished):
            tasks[stage] = bars.add_task(_TITLES.get(stage, stage), total=total, note="")
        note = escape(printable(values.get("summary", "")))
        if "loss" in values:
            note = f"loss {values['loss']:.3f}"
        if "similarity" in values:
            note += f", similarity {values['similarity']:.2f}"
        if "window" in values and note:
            note = f"window {values['window']}, {note}"
        bars.update(tasks[stage], completed=done, total=total, note=note)

    try:
        yield update
    finally:
        if tasks:
            bars.stop()
