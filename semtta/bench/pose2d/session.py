"""One run of a table: plan, compute what is missing, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from semtta.bench.pose2d.plan import MODES, Job, plan
from semtta.bench.pose2d.report import write_report
from semtta.bench.pose2d.runner import PoseRunner
from semtta.bench.pose2d.tables import PoseTable
from semtta.bench.rows import append_row, read_rows, row_key, sole_writer, write_rows
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
    """Each row is on disk before the next is looked at; rows of other settings stay."""
    before = _known(path, tasks)
    todo = {row_key(job.head()) for job in _missing(tasks, before)}
    left = [[job for job in task if row_key(job.head()) in todo] for task in tasks]
    total, done = sum(map(len, tasks)), sum(map(len, tasks)) - len(todo)
    if todo:
        write_rows(path, read_rows(path))  # without a line that a killed run left unfinished
    progress("bench", done, total, {})
    for row in run_tasks([task for task in left if task], runner, options.engine, options.workers):
        append_row(path, row)
        done += 1
        value = row["pck"]["0.05"]["All"] if "pck" in row else float("nan")
        progress("bench", done, total, {"summary": f"{row['method']} {value:.1f}"})


def _known(path: Path, tasks: list[list[Job]]) -> list[dict]:
    """The rows of these jobs that are there, in the order of the jobs."""
    stored = {row_key(row): row for row in read_rows(path)}
    keys = [row_key(job.head()) for task in tasks for job in task]
    return [stored[key] for key in keys if key in stored]


def _missing(tasks: list[list[Job]], rows: list[dict]) -> list[Job]:
    """Jobs without a row, or with that of a failure."""
    done = {row_key(row) for row in rows if "error" not in row}
    return [job for task in tasks for job in task if row_key(job.head()) not in done]


def _failures(rows: list[dict]) -> int:
    return sum("error" in row for row in rows)
