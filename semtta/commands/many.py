"""``semtta adapt`` with several videos: what is done with them, and what is said at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from semtta.errors import SemttaError
from semtta.messages import SafeConsole, out, progress_bars, to_stderr
from semtta.process import if_stopped

if TYPE_CHECKING:  # everything heavy is imported when a command runs
    from semtta.jobs.many import AdaptEach
    from semtta.work import Outcome


def adapt_each(
    each: AdaptEach,
    sources: Sequence[Path],
    *,
    output: Path | None,
    engine: str,
    workers: int | None,
    quiet: bool,
) -> None:
    """Adapt to all videos that are named; exit code 1 if some failed.

    Args:
        each: what is done with each of them."""
    from semtta.files import check_writable
    from semtta.jobs.many import Item, adapt_many
    from semtta.jobs.sources import find_sources, output_folders
    from semtta.labels import as_labels
    from semtta.video import cut_video
    from semtta.work import check_engine

    check_engine(engine, workers)
    videos, notes = find_sources(sources)
    cut_video(videos[0], each.start, each.end)  # what no video could have is said once
    folders = output_folders(videos, output or Path("semtta-out"))
    check_writable(folders[0].parent)
    if each.label is not None:
        as_labels(each.label)
    if each.labels is not None and not each.labels.exists():
        raise SemttaError(f"label file or folder '{each.labels}' does not exist.")
    if each.asked.labeller == "vlm":
        most = each.asked.config.labels.max_requests
        notes.append(f"labels.max_requests={most} holds for each of the {len(videos)} videos.")
    items = [Item(*pair) for pair in zip(videos, folders, strict=True)]
    kept = f"finished videos are kept in {folders[0].parent}, the same command goes on"
    with if_stopped(kept), progress_bars(quiet) as progress:
        for text in notes:
            progress("note", 0, None, {"text": text})
        outcomes = adapt_many(each, items, engine=engine, workers=workers, progress=progress)
    errors = {outcome.error for outcome in outcomes}
    if len(errors) == 1 and not any(o.ok or o.trace for o in outcomes):
        raise SemttaError(errors.pop())  # of what is common to all, as of one video
    if not quiet:
        _print_table(outcomes, each.dry_run)
    _print_failures(outcomes)
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


def _print_table(outcomes: Sequence[Outcome], dry_run: bool) -> None:
    from rich.table import Table

    table = Table()
    for heading in ("video", "tracks", "frames", "labelled", "2D error, px", "seconds", "result"):
        table.add_column(heading, justify="left" if heading in ("video", "result") else "right")
    for outcome in outcomes:
        name = escape(outcome.item.video.name)
        if not outcome.ok:
            table.add_row(name, "", "", "", "", "", "[red]failed[/red]")
            continue
        done = outcome.value
        where = escape(str(outcome.item.folder)) + (" (finished before)" if done.before else "")
        error = "-" if done.error_px is None else f"{done.error_px:.1f}"
        numbers = [str(done.tracks), str(done.frames), str(done.labelled), error]
        if dry_run:
            numbers, where = (
                [""] * 4,
                "finished before" if done.before else "everything is in place",
            )
        table.add_row(name, *numbers, f"{done.seconds:.0f}", where)
    width = SafeConsole(width=10_000).measure(table).maximum  # a path cut off would be none
    SafeConsole(width=max(out.width, width)).print(table)


def _print_failures(outcomes: Sequence[Outcome]) -> None:
    console = to_stderr()
    failed = [outcome for outcome in outcomes if not outcome.ok]
    for outcome in failed:
        sentence = f"{outcome.item.video}: {outcome.error}"
        console.print(f"[red]failed:[/red] {escape(sentence)}", highlight=False, soft_wrap=True)
    for outcome in failed:
        if outcome.trace:  # nobody's input but a bug
            console.print(outcome.trace, highlight=False, markup=False, soft_wrap=True)
    if failed:
        console.print(f"semtta: {len(failed)} of {len(outcomes)} videos failed; the same command "
                      "tries them again.", highlight=False, soft_wrap=True)  # fmt: skip
