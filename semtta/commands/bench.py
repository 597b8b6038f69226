"""``semtta bench``: its options, and what it does with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape
from rich.text import Text

from semtta.bench.options import DEFAULT_METHODS, MOCAP, NEEDS_SMPL, Options
from semtta.commands.options import BodyModels, is_setting
from semtta.errors import SemttaError, printable
from semtta.messages import SafeConsole, out, progress_bars
from semtta.process import if_stopped

DATA = (*NEEDS_SMPL, "beam", *MOCAP, "heldout")
_DEFAULT = ",".join(DEFAULT_METHODS)


def bench(
    arguments: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="[check DATA] [VIDEO]... [key=value]...",
            help="`check 3dpw --root PATH` says what is missing; videos or folders of them for "
            "--data heldout; settings for all methods, e.g. optimizer.epochs=2.",
        ),
    ] = None,
    data: Annotated[Optional[str], typer.Option(help=", ".join(DATA) + ".")] = None,
    root: Annotated[Optional[Path], typer.Option(help="Folder of a data set.")] = None,
    motions: Annotated[
        Optional[Path], typer.Option(help="Motion capture for --data mocap: folder or npz.")
    ] = None,
    wheel: Annotated[Optional[Path], typer.Option(help="Package file for --data beam.")] = None,
    split: Annotated[
        Optional[str], typer.Option(help="dev or test (mocap, default test), or the data set's.")
    ] = None,
    levels: Annotated[Optional[str], typer.Option(help="Only these, by comma.")] = None,
    frames: Annotated[
        Optional[int], typer.Option(help="For --data mocap: longest track, frames. Default: 75.")
    ] = None,
    protocol: Annotated[Optional[str], typer.Option(help="Named protocol of a data set.")] = None,
    methods: Annotated[
        Optional[str], typer.Option(help=f"By comma; default {_DEFAULT}, or the table's.")
    ] = None,
    model: Annotated[
        Optional[str],
        typer.Option(
            help="lifter, lifter-narrow, blazehmr, hmr, hmr2, camerahmr, cliff; several by comma."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0.")] = 1,
    labels: Annotated[Optional[Path], typer.Option(help="Labels of a data set's videos.")] = None,
    poses2d: Annotated[Optional[str], typer.Option(help="2D source of a data set.")] = None,
    body_models: BodyModels = None,
    masks: Annotated[
        Optional[int], typer.Option(help="For --data heldout: how many for each person.")
    ] = None,
    degrade: Annotated[
        Optional[str],
        typer.Option(help="For --data beam: make the pictures worse, as dark:2 (of 3)."),
    ] = None,
    estimator: Annotated[
        Optional[Path],
        typer.Option(help="For --data beam: checkpoint of semtta pose2d, instead of the detector."),
    ] = None,
    table: Annotated[
        Optional[str], typer.Option(help="A named table (see --list), or a YAML path.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray (RAY_ADDRESS).")] = "local",
    workers: Annotated[Optional[int], typer.Option(help="Default: the number of cores.")] = None,
    limit: Annotated[Optional[int], typer.Option(help="Only the first N tracks.")] = None,
    output: Annotated[
        Optional[Path], typer.Option("-o", "--output", help="Folder; goes on where it stopped.")
    ] = None,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Tables of what is there; computes nothing.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Known methods and tables, then stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Base, CycleAdapt and semtta on a benchmark with truth; resumes where it was stopped."""
    console = out
    words = list(arguments or [])
    if list_:
        _list_known(console)
        return
    if words[:1] == ["check"]:
        _check(words[1:], data, root, body_models, protocol, console)
        return
    from semtta.bench.session import run_session

    if seeds < 1 or (limit is not None and limit < 1):
        raise SemttaError("--seeds and --limit must be at least 1.")
    if masks is not None and masks < 1:
        raise SemttaError("--masks must be at least 1.")
    if data is None:
        raise SemttaError(f"say which benchmark: --data {'|'.join(DATA)}.")
    options = Options(
        data=_known(data), root=root, motions=motions, wheel=wheel, split=split,
        levels=_names(levels), protocol=protocol, methods=_names(methods), models=_names(model),
        seeds=seeds, labels=labels, poses2d=poses2d, body_models=body_models, table=table,
        engine=engine, workers=workers, limit=limit, report_only=report_only,
        output=output or Path("semtta-out") / "bench" / (f"{data}-{Path(table).stem}" if table
                                                         else data),
        overrides=tuple(word for word in words if is_setting(word)), masks=masks,
        degrade=degrade, estimator=estimator, frames=frames,
        videos=tuple(Path(word) for word in words if not is_setting(word)),
    )  # fmt: skip

    kept = f"what is done is kept in {options.output}, the same command goes on"
    with if_stopped(kept), progress_bars(quiet) as progress:
        outcome = run_session(options, progress)
    for view in outcome.views:
        _print_view(view, console, outcome.failures)
    console.print(
        f"Results in [bold]{escape(str(options.output))}[/bold]: table.md, summary.json, "
        "per_sequence.csv, rows.jsonl.", highlight=False,
    )  # fmt: skip
    if outcome.failures:
        raise typer.Exit(1)


def _print_view(view, console: SafeConsole, failures: Sequence[str]) -> None:
    """A table that does not fit runs over the edge: a number cut off would be no number."""
    table = view.rich()
    width = SafeConsole(width=10_000).measure(table).maximum
    SafeConsole(width=max(console.width, width)).print(table)
    for note in view.notes:
        start = Text("failed: ", "red") if note in failures else Text()
        console.print(start + Text(printable(note)), soft_wrap=True)


def _known(data: str) -> str:
    if data not in DATA:
        raise SemttaError(f"no benchmark '{data}'; known are {', '.join(DATA)}.")
    return data


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _check(
    words: list[str], data: str | None, root, body_models, protocol, console: SafeConsole
) -> None:
    name = words[0] if words else data
    if name is None or len(words) > 1:
        raise SemttaError("say which data set: `semtta bench check 3dpw --root PATH`.")
    if _known(name) not in NEEDS_SMPL:
        raise SemttaError(
            f"'{name}' has no folder to check; `check` is for {', '.join(NEEDS_SMPL)}."
        )
    if root is None:
        raise SemttaError(f"say where it is: `semtta bench check {name} --root PATH`.")
    from semtta.bench.check import check_table

    table, whole = check_table(name, root, body_models, protocol)
    console.print(table)
    if not whole:
        raise typer.Exit(1)


def _list_known(console: SafeConsole) -> None:
    from semtta.bench.methods import METHODS
    from semtta.bench.table_files import load_table, shipped_tables

    for name in shipped_tables():
        spec = load_table(name)
        methods = ", ".join(method.name for method in spec.methods)
        console.print(
            f"[bold]{name:17s}[/bold] {spec.title}: {methods}", highlight=False, soft_wrap=True
        )
    console.print(
        "[bold]methods          [/bold] " + ", ".join(METHODS), highlight=False, soft_wrap=True
    )
