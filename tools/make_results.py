"""docs/results.md and the table of results_summary.md, from the committed JSON in docs/results/.

    semtta bench --data mocap --motions AMASS/ --table table1 --seeds 3 -o out/
    cp out/summary.json docs/results/mocap_table1.json
    python tools/make_results.py

``docs/results/*.json`` are ``summary.json`` files of `semtta bench`; ``published.json`` holds what
others published. With --check nothing is written; the exit code says whether all is up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from semtta.bench.statistics import ALL
from semtta.bench.table_files import TableSpec
from semtta.bench.tables import versus_cell, view_table
from semtta.files import whole_file

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- results: begin, made by tools/make_results.py -->", "<!-- results: end -->"
LONG = 100  # lines
SUMMARY_METHODS = ("frozen", "frozen+gauss", "2d+smooth", "cycleadapt", "paper", "semtta")
INTRO = """# Results

Made by `python tools/make_results.py` from the JSON files in `docs/results/`, which
`semtta bench` wrote; do not edit. Each table says what was run, by which protocol, and what its
numbers do not show. Numbers of other tables are not comparable where the protocol, the 2D source,
the base model or the body differ. Errors are in mm. `accel` is the error of the joints' second
differences about the root, `accel in space` that of the joints where the motion puts them in front
of the camera (mm per frame²); `foot slide` is how far an ankle moves per frame while the true one
is slower than 0.15 m/s; `leg swing %` is how far a hidden ankle moves about its hip, the true one
being 100, and `step Hz` the error of the frequency of the legs; `named` is how often an
independent judge calls the motion by its right name, `truth named` the true motion, and
`label similarity` what it finds of the label in it, from -1 to 1. Tables without these were made
before they were measured.

Repeatability: every job computes on one thread, so the same machine gives the same numbers whatever
else it does. On another machine rows of the model as it is repeat exactly, adapted rows to 0.8
mm and those of hidden joints to 1.5 mm (the default table of mocap on two machines): smaller
differences between adapted rows mean nothing.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results.md")
    parser.add_argument("--summary", type=Path, default=ROOT / "docs" / "results_summary.md")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    args = parser.parse_args(arguments)
    runs = read_runs(args.results)
    published = read_json(args.results / "published.json")
    pages = {args.output: results_page(runs, published)}
    summary = args.summary.read_text(encoding="utf-8")
    if runs:
        pages[args.summary] = between_markers(summary, summary_table(runs))
    stale = [path for path, text in pages.items() if not _same(path, text)]
    if args.check:
        for path in stale:
            print(f"{path} is out of date: run python tools/make_results.py")
        return 1 if stale else 0
    for path in stale:
        with whole_file(path) as temporary:
            temporary.write_text(pages[path], encoding="utf-8")
        print(f"wrote {path}")
    return 0


def read_runs(folder: Path) -> dict[str, dict]:
    """Summaries by file name; other files are passed over."""
    runs = {}
    for path in sorted(folder.glob("*.json")):
        data = read_json(path)
        if isinstance(data, dict) and "protocol" in data and data.get("rows"):
            runs[path.stem] = data
    return runs


def read_json(path: Path):
    """Content of a file; ends the program with a sentence if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"'{path}' is not readable JSON ({error}); copy it again from its run.")


def spec_of(run: dict) -> TableSpec:
    return TableSpec(
        title=run["title"], note=run["note"], columns=tuple(run["columns"]),
        group_by=run["group_by"], references=tuple(run["references"]), name=run["table"],
    )  # fmt: skip


def results_page(runs: dict[str, dict], published: dict) -> str:
    """Our runs, each followed by what is published on the same question."""
    parts = [INTRO]
    left = dict(published["tables"])
    for name, run in runs.items():
        notes = [run["limits"], *run.get("remarks", ()), *run["failures"]]
        view = view_table(run["rows"], spec_of(run), notes)
        heading = f"## {run['title']}: {run['data']}"
        parts.append(f"{heading}\n\n{run_lines(name, run)}\n\n{folded(view.markdown())}")
        if run["table"] in left:
            parts.append(published_table(left.pop(run["table"])))
    parts.append(f"## Published numbers\n\nNot ours. {published['source']}.\n")
    if len(left) < len(published["tables"]):
        parts.append("Those on a question that was run above stand there.\n")
    parts += [published_table(table) for table in left.values()]
    return "\n".join(parts).rstrip() + "\n"


def folded(table: str) -> str:
    """A table too long to scroll past, behind a line to click on."""
    rows = table.count("\n")
    if rows < LONG:
        return table
    return f"<details><summary>{rows} lines</summary>\n\n{table.rstrip()}\n\n</details>\n"


def run_lines(name: str, run: dict) -> str:
    """What was run, and how each of its methods differs from its settings file."""
    lines = [
        f"`{run['command']}` (semtta {run['version']}, [{name}.json](results/{name}.json))",
        "",
    ]
    lines += ["| method | settings | with | label |", "|---|---|---|---|"]
    for method in run["methods"]:
        settings = method["settings"]
        if isinstance(settings, dict):
            settings = ", ".join(dict.fromkeys(settings[m] for m in run["models"] if m in settings))
        extra = " ".join(f"`{item}`" for item in method["overrides"])
        if method["filter"] != "none":
            extra += f" filtered over time ({method['filter']})"
        lines.append(f"| {method['name']} | {settings} | {extra.strip()} | {method['label']} |")
    return "\n".join(lines)


def published_table(table: dict) -> str:
    """A table of somebody else's."""
    head = "| | " + " | ".join(table["columns"]) + " |"
    align = "|---|" + "---:|" * len(table["columns"])
    rows = [
        f"| {name} | " + " | ".join("-" if v is None else f"{v:.1f}" for v in values) + " |"
        for name, *values in table["rows"]
    ]
    note = f"\n{table['note']}\n" if table["note"] else ""
    return "\n".join([f"**{table['title']}** (published)\n", head, align, *rows, note])


def main_runs(runs: dict[str, dict]) -> list[dict]:
    """Runs by level of the table ``table1`` or ``table2``, or of no named table: each of their
    lines appears once. Not those of a benchmark's first form, which is kept for comparison."""
    return [
        run for run in runs.values()
        if run["table"] in ("", "table1", "table2") and run["group_by"] == "level"
        and run["data"] != "mocap-v1"
    ]  # fmt: skip


def main_rows(runs: dict[str, dict]) -> dict[tuple[str, str, str], dict[str, dict]]:
    """Benchmark, model and level -> method -> its row."""
    shown: dict[tuple[str, str, str], dict[str, dict]] = {}
    for run in main_runs(runs):
        final = [row for row in run["rows"] if not row["single_seed"]]
        levels = {row["level"] for row in final}
        for row in final:
            if row["level"] != ALL or len(levels) == 1:
                key = (run["data"], row["model"], row["level"] or "-")
                shown.setdefault(key, {})[row["method"]] = row
    return shown


def summary_table(runs: dict[str, dict]) -> str:
    """One line per benchmark, model and level; the methods that matter most side by side."""
    shown = main_rows(runs)
    limits = {}
    for run in main_runs(runs):
        tracks = max(row["tracks"] for row in run["rows"] if not row["single_seed"])
        limits[run["data"]] = (
            f"`{run['data']}`: protocol {run['protocol']}; {tracks} tracks, random seeds: "
            f"{len(run['seeds'])}. {run['limits']}"
        )
    methods = [m for m in SUMMARY_METHODS if any(m in line for line in shown.values())]
    head = ["benchmark", "model", "level", *methods, "semtta vs cycleadapt, PA"]
    lines = [head, ["---"] * 3 + ["---:"] * (len(head) - 3)]
    for key, line in shown.items():
        cells = [_three(line[m]) if m in line else "-" for m in methods]
        change = versus_cell(line.get("semtta", {}), "cycleadapt", "pa_mpjpe_mm")
        lines.append([*key, *cells, change])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "\n".join(f"* {text}" for text in limits.values())
    return (
        f"{table}\n\nMPJPE / PA-MPJPE / PA-MPJPE of hidden joints, mm; brackets: 95 % interval, "
        "paired bootstrap over groups of dependent tracks. All tables, with intervals: "
        f"[results.md](results.md).\n\n{notes}"
    )


def _three(row: dict) -> str:
    values = (row[c] for c in ("mpjpe_mm", "pa_mpjpe_mm", "pa_mpjpe_occluded_mm"))
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values)


def between_markers(text: str, table: str) -> str:
    """The text with what stands between the markers replaced."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        sys.exit(f"the summary needs one line '{BEGIN}' and, after it, one line '{END}'.")
    return text[: text.index(BEGIN) + len(BEGIN)] + f"\n\n{table}\n\n" + text[text.index(END) :]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
