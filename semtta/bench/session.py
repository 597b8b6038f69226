"""One run of a benchmark from options to files: plan, compute what is missing, report."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import semtta
from semtta.bench.benchmark import Benchmark, Item
from semtta.bench.engines import run_tasks
from semtta.bench.methods import METHODS, find_methods
from semtta.bench.rows import (
    append_row,
    read_rows,
    row_key,
    without_superseded,
    write_rows,
    write_text,
)
from semtta.bench.runner import Task, TrackRunner, missing, plan
from semtta.bench.statistics import summarise_rows, weighted_mean
from semtta.bench.table_files import TableSpec, load_table
from semtta.bench.tables import View, sequence_csv, view_table
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.output.files import clean

DEFAULT_METHODS = ("frozen", "frozen+gauss", "2d+smooth", "cycleadapt", "semtta")
CONTROL = "frozen+gauss"
# Betas and joints of the shipped body are not SMPL's: these sets need the real file.
NEEDS_SMPL = ("3dpw", "3dhp", "egobody", "emdb")


@dataclass(frozen=True)
class Options:
    """What the command was told; see ``semtta bench --help``."""

    data: str
    output: Path
    root: Path | None = None
    motions: Path | None = None
    wheel: Path | None = None
    split: str | None = None
    levels: tuple[str, ...] = ()
    protocol: str | None = None
    methods: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    seeds: int = 1
    labels: Path | None = None
    poses2d: str | None = None
    body_models: Path | None = None
    table: str | None = None
    engine: str = "local"
    workers: int | None = None
    limit: int | None = None
    report_only: bool = False
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: tables, one sentence per kind of failure, the rows."""

    views: tuple[View, ...]
    failures: tuple[str, ...]
    rows: tuple[dict, ...]


def run_session(
    options: Options, progress: Progress = silent, benchmark: Benchmark | None = None
) -> Outcome:
    """Compute what is missing and write the tables.

    Args:
        benchmark: instead of the one that ``options.data`` names.
    Raises: ``SemttaError`` for anything wrong with the options, the files or the settings;
        nothing is computed then."""
    spec = table_spec(options)
    path = options.output / "rows.jsonl"
    if options.report_only:
        rows = read_rows(path)
        if not rows:
            raise SemttaError(f"nothing to report: no rows in '{options.output}'.")
        limits = _stored_limits(options.output)
        return write_report(options, spec, rows, limits)
    benchmark = benchmark or open_benchmark(options)
    items = select_items(benchmark, options)
    tasks = plan(
        benchmark, items, spec.models, spec.methods, range(options.seeds),
        overrides(options), inputs(options),
    )  # fmt: skip
    wanted = {row_key(job.head()) for task in tasks for job in task}
    stored = without_superseded(read_rows(path), wanted)
    done = {row_key(row): row for row in stored if "error" not in row}
    todo = missing(tasks, done)
    rows = [row for key, row in done.items() if key in wanted]
    if todo:
        runner = TrackRunner(benchmark, options.body_models)
        runner.check(todo)
        make_folder(options.output)
        write_rows(path, stored)  # also cuts off a line that a killed run left unfinished
        rows += compute(todo, runner, options, path, rows, progress)
        write_rows(path, read_rows(path))
    return write_report(options, spec, rows, benchmark.limits)


def table_spec(options: Options) -> TableSpec:
    """The table with what the options say instead."""
    spec = load_table(options.table) if options.table else TableSpec(title="Methods")
    methods = spec.methods
    if options.methods or not methods:
        methods = tuple(find_methods(options.methods or DEFAULT_METHODS, spec.methods))
    if CONTROL not in [m.name for m in methods]:
        methods = (METHODS[CONTROL], *methods)
    # The base model comes first, and beside it, filtered over time, the control.
    first = {"frozen": 0, CONTROL: 1}
    methods = tuple(sorted(methods, key=lambda m: first.get(m.name, 2)))
    return replace(spec, methods=methods, models=options.models or spec.models)


def make_folder(folder: Path) -> None:
    """A folder that exists afterwards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemttaError(f"output '{folder}' cannot be written: {error.strerror}.") from None


def open_benchmark(options: Options) -> Benchmark:
    """The benchmark that the options name; raises ``SemttaError`` if its files are missing."""
    if options.data == "beam":
        from semtta.bench.beam import open_beam

        return _with_protocol(open_beam(options.wheel), options)
    if options.data == "mocap":
        from semtta.bench.mocap import open_mocap

        if options.motions is None:
            raise SemttaError("--data mocap needs --motions: a folder of AMASS npz or BVH files.")
        return _with_protocol(open_mocap(options.motions, options.split or "test"), options)
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


def overrides(options: Options) -> list[str]:
    """``key=value`` for all methods, with the body that the data set needs."""
    for item in options.overrides:
        key = item.split("=", 1)[0]
        for taken, option in (("model.name", "--model"), ("seed", "--seeds")):
            if key == taken:
                raise SemttaError(f"'{item}': say it with {option}.")
    body = ["body.name=smpl"] if options.data in NEEDS_SMPL else []
    return [*body, *options.overrides]


def inputs(options: Options) -> dict[str, str]:
    """What else a result depends on: a change of these is computed anew."""
    chosen = {"split": options.split, "poses2d": options.poses2d, "labels": options.labels}
    return {name: str(value) for name, value in chosen.items() if value is not None}


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


def write_report(options: Options, spec: TableSpec, rows: list[dict], limits: str) -> Outcome:
    """Write table.md, summary.json and per_sequence.csv, all sorted."""
    order = {method.name: i for i, method in enumerate(spec.methods)}
    rows = sorted(
        (row for row in rows if row["method"] in order),
        key=lambda r: (str(r["model"]), order[r["method"]], r["item"], r["seed"]),
    )
    failures = _failures(rows)
    left_out = _left_out(rows)
    summary = summarise_rows(rows, spec.references, by=spec.group_by)
    notes = [limits, *left_out, *failures] if limits else [*left_out, *failures]
    view = view_table(summary, spec, notes)
    header = {
        "title": spec.title, "table": spec.name, "note": spec.note,
        "data": rows[0]["data"] if rows else options.data,
        "protocol": rows[0]["protocol"] if rows else "", "limits": limits,
        "group_by": spec.group_by, "columns": spec.columns, "references": spec.references,
        "version": semtta.__version__, "seeds": sorted({row["seed"] for row in rows}),
        "command": command_line(options), "models": spec.models,
        "overrides": options.overrides, "inputs": inputs(options), "failures": failures,
        "methods": [_described(method) for method in spec.methods],
        "rows": summary,
    }  # fmt: skip
    text = json.dumps(clean(header), indent=1, ensure_ascii=False) + "\n"
    write_text(options.output / "summary.json", text)
    write_text(options.output / "table.md", view.markdown())
    by_sequence = summarise_rows(rows, (), by="sequence", resamples=1)
    write_text(options.output / "per_sequence.csv", sequence_csv(by_sequence))
    return Outcome((view,), tuple(failures), tuple(rows))


def command_line(options: Options) -> str:
    """The command that makes these numbers, with placeholders for paths on this machine."""
    words = ["semtta bench", f"--data {options.data}"]
    words += [f"--{name} PATH" for name in ("root", "motions", "wheel", "labels")
              if getattr(options, name) is not None]  # fmt: skip
    for name, value in (("table", options.table), ("methods", ",".join(options.methods)),
                        ("model", ",".join(options.models)), ("levels", ",".join(options.levels)),
                        ("protocol", options.protocol), ("poses2d", options.poses2d),
                        ("split", options.split), ("limit", options.limit)):  # fmt: skip
        if value:
            words.append(f"--{name} {value}")
    return " ".join([*words, f"--seeds {options.seeds}", *options.overrides])


def _described(method) -> dict:
    return {
        "name": method.name, "settings": method.settings, "overrides": list(method.overrides),
        "label": method.label, "filter": method.filter,
    }  # fmt: skip


def _failures(rows: list[dict]) -> list[str]:
    """One sentence per reason: which tracks, by which methods."""
    reasons: dict[str, tuple[dict, dict]] = {}
    for row in rows:
        if "error" in row:
            items, methods = reasons.setdefault(row["error"], ({}, {}))
            items[row["item"]], methods[row["method"]] = None, None
    sentences = []
    for reason, (items, methods) in reasons.items():
        names = sorted(items)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        sentences.append(f"{', '.join(names[:3])}{more} ({', '.join(methods)}): {reason}")
    return sorted(sentences)


def _left_out(rows: list[dict]) -> list[str]:
    from semtta.bench.statistics import common_tracks

    sentences = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        lost = {row["item"] for row in mine} - {row["item"] for row in common_tracks(mine)}
        if lost:
            sentences.append(f"{model}: {len(lost)} tracks left out that not every method has.")
    return sentences


def _stored_limits(folder: Path) -> str:
    try:
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))["limits"]
    except (OSError, ValueError, KeyError):
        return ""


def _so_far(rows: list[dict]) -> str:
    """PA-MPJPE by method, over what is done."""
    parts = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mean = weighted_mean([r for r in rows if r["method"] == method], "pa_mpjpe_mm")
        if mean is not None:
            parts.append(f"{method} {mean:.1f}")
    return "PA mm: " + ", ".join(parts) if parts else ""
