"""One run of a benchmark from options to files: plan, compute what is missing, report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from semtta.bench.benchmark import Benchmark, Item
from semtta.bench.methods import METHODS, Method, find_methods
from semtta.bench.options import DEFAULT_METHODS, MOCAP, Options, check_options, inputs, overrides
from semtta.bench.report import Outcome, stored_header, write_report
from semtta.bench.rows import (
    append_row,
    read_rows,
    row_key,
    sole_writer,
    without_superseded,
    write_rows,
)
from semtta.bench.runner import Task, TrackRunner, missing, plan
from semtta.bench.statistics import weighted_mean
from semtta.bench.table_files import TableSpec, load_table
from semtta.config import load_config
from semtta.config_schema import CameraConfig
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.tta.used_files import used_files
from semtta.work import check_engine, run_tasks

CONTROL = "frozen+gauss"
ROWS, SUPERSEDED = "rows.jsonl", "superseded.jsonl"


def run_session(
    options: Options, progress: Progress = silent, benchmark: Benchmark | None = None
) -> Outcome:
    """Compute what is missing and write the tables.

    Args:
        benchmark: instead of the one that ``options.data`` names.
    Raises: ``SemttaError`` for anything wrong with the options, the files or the settings;
        nothing is computed then."""
    check_options(options)
    check_engine(options.engine, options.workers)
    spec = table_spec(options)
    if options.report_only:
        rows = own_rows(options.output, benchmark.name if benchmark else options.data)
        return report_again(options, spec, rows)
    benchmark = benchmark or open_benchmark(options, progress)
    items = select_items(benchmark, options)
    tasks = plan(
        benchmark, items, spec.models, spec.methods, range(options.seeds),
        overrides(options), inputs(options) | getattr(benchmark, "inputs", {}),
        options.body_models,
    )  # fmt: skip
    runner = TrackRunner(benchmark, options.body_models)
    # Networks are tried before the folder is made, and rows are read again once it is ours.
    runner.check(missing(tasks, _done(own_rows(options.output, benchmark.name))))
    make_folder(options.output)
    with sole_writer(options.output):
        rows = finish(tasks, runner, options, progress)
        files = {"files": files_of(tasks, options)}
        return write_report(options, spec, rows, benchmark.limits, files)


def files_of(tasks: list[Task], options: Options) -> dict[str, dict[str, str]]:
    """Hashes of the user's own files by model, for the summary."""
    files: dict[str, dict[str, str]] = {}
    for job in tasks[0]:
        used = used_files(job.config, options.body_models)
        files.setdefault(job.model, {}).update(used)
    return files


def own_rows(folder: Path, data: str) -> list[dict]:
    """The rows in a folder; raises ``SemttaError`` if they are another benchmark's."""
    rows = read_rows(folder / ROWS)
    others = sorted({row["data"] for row in rows} - {data})
    if others:
        raise SemttaError(
            f"'{folder}' holds results of {', '.join(others)}, not of {data}; choose another "
            "folder with -o."
        )
    return rows


def finish(
    tasks: list[Task], runner: TrackRunner, options: Options, progress: Progress
) -> list[dict]:
    """All rows of the tasks: those of earlier runs, and what was missing.

    Rows of the same runs under other settings move to ``SUPERSEDED``, and come back from there
    when their settings do: nothing that was computed is thrown away."""
    path, attic = options.output / ROWS, options.output / SUPERSEDED
    wanted = {row_key(job.head()) for task in tasks for job in task}
    before, put_away = own_rows(options.output, runner.benchmark.name), read_rows(attic)
    back = [row for row in put_away if row_key(row) in wanted]
    stored = {row_key(row): row for row in without_superseded([*back, *before], wanted)}
    leaving = _done([row for row in before if row_key(row) not in stored])
    if leaving:
        write_rows(attic, (_done(put_away) | leaving).values())
    done = _done(stored.values())
    todo = missing(tasks, done)
    if todo or leaving or back:
        write_rows(path, stored.values())  # without a line that a killed run left unfinished
    rows = [row for key, row in done.items() if key in wanted]
    if todo:
        rows += compute(todo, runner, options, path, rows, progress)
        write_rows(path, read_rows(path))
    return rows


def _done(rows: Iterable[dict]) -> dict[tuple, dict]:
    """Rows by key, without those of failed runs."""
    return {row_key(row): row for row in rows if "error" not in row}


def report_again(options: Options, spec: TableSpec, rows: list[dict]) -> Outcome:
    """Tables of the rows that are there; how they came about stays as it was written down."""
    if options.models:
        rows = [row for row in rows if row["model"] in options.models]
    if not rows:
        raise SemttaError(f"nothing to report: no rows in '{options.output}'.")
    spec = replace(spec, models=tuple(dict.fromkeys(row["model"] for row in rows)))
    if not options.methods and not options.table:
        ordered = sorted(rows, key=lambda row: row.get("order", 0))
        names = dict.fromkeys(row["method"] for row in ordered)
        known = [name for name in METHODS if name in names]
        own = [Method(name) for name in names if name not in METHODS]
        spec = replace(spec, methods=(*(METHODS[name] for name in known), *own))
    header = stored_header(options.output)
    return write_report(options, spec, rows, header.get("limits", ""), header)


def table_spec(options: Options) -> TableSpec:
    """The table with what the options say instead."""
    table = options.table or ("heldout" if options.data == "heldout" else None)
    spec = load_table(table) if table else TableSpec(title="Methods")
    methods = spec.methods
    if options.methods or not methods:
        methods = tuple(find_methods(options.methods or DEFAULT_METHODS, spec.methods))
    if CONTROL not in [m.name for m in methods]:
        methods = (METHODS[CONTROL], *methods)
    # The base model comes first, and beside it, filtered over time, the control.
    first = {"frozen": 0, CONTROL: 1}
    methods = tuple(sorted(methods, key=lambda m: first.get(m.name, 2)))
    models = tuple(dict.fromkeys(options.models or spec.models))
    return replace(spec, methods=methods, models=models)


def make_folder(folder: Path) -> None:
    """A folder that exists afterwards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemttaError(f"output '{folder}' cannot be written: {error.strerror}.") from None


def open_benchmark(options: Options, progress: Progress = silent) -> Benchmark:
    """The benchmark that the options name; raises ``SemttaError`` if its files are missing."""
    if options.data == "heldout":
        from semtta.bench.heldout import open_heldout

        return _with_protocol(
            open_heldout(
                options.videos,
                options.labels,
                draws=options.masks or 1,
                camera=_told_camera(options),
                progress=progress,
            ),
            options,
        )
    if options.data == "beam":
        from semtta.bench.beam import open_beam
        from semtta.bench.degrade import degradation

        worse = None if options.degrade is None else degradation(options.degrade)
        beam = open_beam(options.wheel, degrade=worse, estimator=options.estimator)
        return _with_protocol(beam, options)
    if options.data in MOCAP:
        from semtta.bench.mocap import FRAMES, open_mocap

        if options.motions is None:
            raise SemttaError(
                f"--data {options.data} needs --motions: a folder of AMASS npz or BVH files."
            )
        benchmark = open_mocap(
            options.motions, options.split or "test", frames=options.frames or FRAMES,
            levels=options.levels, name=options.data,
        )  # fmt: skip
        return _with_protocol(benchmark, options)
    from semtta.bench.datasets import open_dataset

    if options.root is None:
        raise SemttaError(f"--data {options.data} needs --root: the folder of the data set.")
    return open_dataset(
        options.data, options.root, protocol=options.protocol, poses2d=options.poses2d,
        labels=options.labels, body_models=options.body_models, split=options.split,
    )  # fmt: skip


def _with_protocol(benchmark: Benchmark, options: Options) -> Benchmark:
    """An open benchmark has one protocol; raise ``SemttaError`` if another is wanted."""
    name = benchmark.protocol.split(":", 1)[0]
    if options.protocol not in (None, name):
        raise SemttaError(f"{benchmark.name} has one protocol, {name}, not '{options.protocol}'.")
    return benchmark


def _told_camera(options: Options) -> CameraConfig:
    """Of the user's own videos; every other benchmark knows its cameras."""
    told = [item for item in options.overrides if item.startswith("camera.")]
    return load_config("default", told).camera


def select_items(benchmark: Benchmark, options: Options) -> list[Item]:
    """The items of the wanted levels, the first ``limit`` of them."""
    items = benchmark.items()
    known = list(dict.fromkeys(item.level for item in items))
    unknown = [level for level in options.levels if level not in known]
    if unknown:
        raise SemttaError(f"no level '{unknown[0]}' in {benchmark.name}; it has "
                          f"{', '.join(filter(None, known)) or 'only one'}.")  # fmt: skip
    items = [item for item in items if not options.levels or item.level in options.levels]
    if not items:
        raise SemttaError(f"{benchmark.name} has no tracks with these options.")
    return items[: options.limit]


def compute(
    tasks: list[Task],
    runner: TrackRunner,
    options: Options,
    path: Path,
    before: list[dict],
    progress: Progress,
) -> list[dict]:
    """Run the tasks; each row is on disk before the next is looked at."""
    total = len(before) + sum(map(len, tasks))
    rows: list[dict] = []
    progress("bench", len(before), total, {"summary": _so_far(before)})
    for row in run_tasks(tasks, runner, options.engine, options.workers):
        append_row(path, row)
        rows.append(row)
        numbers = {"summary": _so_far([*before, *rows])}
        progress("bench", len(before) + len(rows), total, numbers)
    return rows


def _so_far(rows: list[dict]) -> str:
    """The main error by method, over what is done."""
    metric, unit = "pa_mpjpe_mm", "PA mm"
    if any(row.get("heldout") is not None for row in rows):
        metric, unit = "heldout", "held out %"
    parts = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mean = weighted_mean([r for r in rows if r["method"] == method], metric)
        if mean is not None:
            parts.append(f"{method} {mean:.1f}")
    return f"{unit}: " + ", ".join(parts) if parts else ""
