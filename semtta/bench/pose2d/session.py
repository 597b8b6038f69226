"""One run of a table: plan, compute what is missing, report.

Tables share a folder and its rows: a training that two tables ask for is done once, whatever each
of them calls it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from semtta.bench.pose2d.plan import MODES, Job, plan
from semtta.bench.pose2d.report import write_report
from semtta.bench.pose2d.runner import PoseRunner
from semtta.bench.pose2d.tables import PoseTable
from semtta.bench.rows import append_row, read_rows, sole_writer, write_rows
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.files import check_writable
from semtta.work import check_engine, run_tasks

ROWS = "rows.jsonl"


@dataclass(frozen=True)
class PoseOptions:
    """What is to be run.

    Args:
        mode: ``paper`` (the sets of ``roots``), ``open`` or ``quick``.
        overrides: ``key=value`` for every training.
        assets: ``key=value`` of the user's files, before what a method says.
        methods: only these rows; empty = all.
        stage1: folder of estimators that methods go on from.
        target: of open data, instead of the mode's own.
    """

    mode: str
    output: Path
    stage1: Path
    seeds: int = 5
    roots: tuple[tuple[str, Path], ...] = ()
    overrides: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    engine: str = "local"
    workers: int | None = None
    wheel: str | None = None
    target: str | None = None
    report_only: bool = False


def run_table(
    table: PoseTable, options: PoseOptions, progress: Progress = silent
) -> tuple[str, int]:
    """Compute what is missing and write the table.

    Returns: its Markdown, and how many rows failed. Raises ``SemttaError`` for anything wrong with
    options, settings or files; nothing is computed then."""
    if options.mode not in MODES or options.seeds < 1:
        raise SemttaError("--seeds must be at least 1.")
    check_engine(options.engine, options.workers)
    tasks = plan(table, options.mode, range(options.seeds), options.overrides, options.methods,
                 options.assets, options.target)  # fmt: skip
    path = options.output / ROWS
    if options.report_only:
        rows = _known(path, tasks)
        if not rows:
            raise SemttaError(f"nothing to report: no rows of this table in '{options.output}'.")
        return write_report(options.output, table, options.mode, rows), _failures(rows)
    runner = PoseRunner(dict(options.roots), options.stage1, options.wheel)
    for job in _missing(tasks, _known(path, tasks)):
        runner.check(job)
    check_writable(options.output)
    options.output.mkdir(parents=True, exist_ok=True)
    with sole_writer(options.output):
        _compute(tasks, runner, options, path, progress)
        rows = _known(path, tasks)
        return write_report(options.output, table, options.mode, rows), _failures(rows)


def _compute(
    tasks: list[list[Job]], runner: PoseRunner, options: PoseOptions, path: Path, progress: Progress
) -> None:
    """Each row is on disk before the next is looked at; rows of other settings and tables stay."""
    todo = {id(job) for job in _missing(tasks, _known(path, tasks))}
    left = [[job for job in task if id(job) in todo] for task in tasks]
    total, done = sum(map(len, tasks)), sum(map(len, tasks)) - len(todo)
    if todo:
        write_rows(path, read_rows(path))  # without a line that a killed run left unfinished
    progress("bench", done, total, {})
    for row in run_tasks([task for task in left if task], runner, options.engine, options.workers):
        append_row(path, row)
        done += 1
        progress("bench", done, total, {"summary": f"{row['method']} {_found(row)}"})


def _found(row: dict) -> str:
    """What a row says in a word: PCK, or what needs no labels where nobody labelled the target."""
    if "pck" not in row:
        return "failed"
    value = row["pck"]["0.05"]["All"]
    if value is not None:
        return f"{value:.1f}"
    target = next(iter(row["mirrored"]))  # before what is only measured
    return f"mirrored {row['mirrored'][target]:.1f}"


def _same(row: dict) -> tuple:
    """What makes two rows the same training and measurement."""
    return tuple(row[name] for name in ("level", "item", "seed", "settings"))


def _known(path: Path, tasks: list[list[Job]]) -> list[dict]:
    """The rows of these jobs that are there, under their names, in the order of the jobs."""
    stored: dict[tuple, dict] = {}
    for row in read_rows(path):
        if "error" not in row or _same(row) not in stored:
            stored[_same(row)] = row
    heads = [job.head() for task in tasks for job in task]
    return [stored[_same(head)] | head for head in heads if _same(head) in stored]


def _missing(tasks: list[list[Job]], rows: list[dict]) -> list[Job]:
    """Jobs without a row, or with that of a failure."""
    done = {_same(row) for row in rows if "error" not in row}
    return [job for task in tasks for job in task if _same(job.head()) not in done]


def _failures(rows: list[dict]) -> int:
    return sum("error" in row for row in rows)
