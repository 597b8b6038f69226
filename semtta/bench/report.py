"""A finished run as files: table.md, summary.json, per_sequence.csv."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import semtta
from semtta.bench.methods import Method
from semtta.bench.options import Options, command_line, inputs
from semtta.bench.rows import write_text
from semtta.bench.statistics import common_tracks, summarise_rows
from semtta.bench.table_files import TableSpec
from semtta.bench.tables import View, sequence_csv, view_table
from semtta.output.files import clean


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: tables, one sentence per kind of failure, the rows."""

    views: tuple[View, ...]
    failures: tuple[str, ...]
    rows: tuple[dict, ...]


def write_report(
    options: Options, spec: TableSpec, rows: list[dict], limits: str, stored: dict | None = None
) -> Outcome:
    """Write table.md, summary.json and per_sequence.csv, all sorted.

    Args:
        stored: parts of the summary's header that hold instead of what the options say."""
    order = {method.name: i for i, method in enumerate(spec.methods)}
    rows = sorted(
        (row for row in rows if row["method"] in order),
        key=lambda r: (str(r["model"]), order[r["method"]], r["item"], r["seed"]),
    )
    failures = _failures(rows)
    remarks = [*_left_out(rows), *_without_text(rows, spec)]
    summary = summarise_rows(rows, spec.references, by=spec.group_by)
    view = view_table(summary, spec, [limits, *remarks, *failures])
    header = {
        "title": spec.title, "table": spec.name, "note": spec.note,
        "data": rows[0]["data"] if rows else options.data,
        "protocol": rows[0]["protocol"] if rows else "", "limits": limits,
        "group_by": spec.group_by, "columns": spec.columns, "references": spec.references,
        "version": semtta.__version__, "seeds": sorted({row["seed"] for row in rows}),
        "command": command_line(options), "models": spec.models,
        "overrides": options.overrides, "inputs": inputs(options), "files": {},
        "remarks": remarks, "failures": failures,
        "methods": [_described(method) for method in spec.methods],
        "rows": summary,
    }  # fmt: skip
    header |= stored or {}
    text = json.dumps(clean(header), indent=1, ensure_ascii=False) + "\n"
    write_text(options.output / "summary.json", text)
    write_text(options.output / "table.md", view.markdown())
    by_sequence = summarise_rows(rows, (), by="sequence", resamples=1)
    write_text(options.output / "per_sequence.csv", sequence_csv(by_sequence))
    return Outcome((view,), tuple(failures), tuple(rows))


def stored_header(folder: Path) -> dict:
    """What an earlier report in a folder says of how its rows were made; empty without one."""
    try:
        data = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        header = {name: data[name] for name in ("limits", "command", "overrides", "inputs")}
        return header | {"files": data.get("files", {})}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _described(method: Method) -> dict:
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


def _without_text(rows: list[dict], spec: TableSpec) -> list[str]:
    """A sentence where methods that read labels were given none."""
    reading = {method.name for method in spec.methods if method.label in ("right", "wrong")}
    measured = [row for row in rows if row["method"] in reading and "error" not in row]
    if not measured or any(row.get("labelled") for row in measured):
        return []
    names = ", ".join(dict.fromkeys(row["method"] for row in measured))
    return [f"No labels were there (--labels): {names} ran without any text."]


def _left_out(rows: list[dict]) -> list[str]:
    sentences = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        lost = {row["item"] for row in mine} - {row["item"] for row in common_tracks(mine)}
        if lost:
            sentences.append(f"{model}: {len(lost)} tracks left out that not every method has.")
    return sentences
