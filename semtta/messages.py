"""Progress bars for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from semtta import engine

_TITLES = {"people": "people and 2D"}


@contextmanager
def progress_bars(quiet: bool, console: Console) -> Iterator[engine.Progress]:
    """A progress callback that draws one bar per stage, with ETA and the current loss."""
    if quiet:
        yield engine.silent
        return
    bars = Progress(
        TextColumn("{task.description:14s}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        console=console,
    )  # fmt: skip
    tasks: dict[str, int] = {}

    def update(stage: str, done: int, total: int | None, values: dict) -> None:
        if stage == "note":
            console.print(f"[yellow]note:[/yellow] {escape(values['text'])}", highlight=False)
            return
        if stage not in tasks or (done <= 1 and bars.tasks[tasks[stage]].finished):
            tasks[stage] = bars.add_task(_TITLES.get(stage, stage), total=total, note="")
        note = values.get("summary", "")
        if "loss" in values:
            note = f"loss {values['loss']:.3f}"
        if "similarity" in values:
            note += f", similarity {values['similarity']:.2f}"
        bars.update(tasks[stage], completed=done, total=total, note=note)

    with bars:
        yield update
