"""Rows of a table as Markdown: ours, mean ± sd of seeds, and the published ones beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from semtta.bench.pose2d.sets import SIZES
from semtta.bench.pose2d.tables import PoseTable
from semtta.files import whole_file
from semtta.pose2d.evaluate import headings, spread
from semtta.pose2d.skeletons import grouped_skeleton

MAIN = "0.05"
PUBLISHED = "*as published*"
_ABOUT = (
    "PCK@0.05 in per cent, counted over the whole test set, *All* the mean of the joints that "
    "count; last iteration; mean ± standard deviation over seeds."
)
_PUBLISHED = (
    "Lines *as published* are CLIP2Pose's own figures, quoted, not computed: another way of "
    "averaging, which it does not name."
)
_MIRRORED = (
    "*mirrored* needs no labels: joints that are found at the same place (0.05 of the crop) in the "
    "mirror image, which no method learns from. A network may also be wrong in the same way twice."
)
_OPEN = {
    "open": "Open data: renders to {}, a small network, a few hundred "
            "steps after a stage 1 for every method. A ranking at this size, not the paper's.",
    "quick": "Quick: a hundred steps of a tiny network on renders and {}. That it "
             "runs and has the shape of the table is all that these numbers say.",
}  # fmt: skip
_TARGETS = {"body16": {"open": "four clips of one man on a beam", "quick": "one shipped clip"},
            "hand21": dict.fromkeys(_OPEN, "hands of another renderer")}  # fmt: skip


def report(table: PoseTable, mode: str, rows: Sequence[dict]) -> str:
    """The whole table as Markdown, of rows in the order of their pairs."""
    lines = [f"## {table.title}", "", _ABOUT]
    for pair in dict.fromkeys(row["item"] for row in rows):
        mine = [row for row in rows if row["item"] == pair]
        lines += ["", f"**{pair}**", "", *_pair_table(table, pair, mine)]
    notes = [
        table.note,
        _MIRRORED if _mirrored(rows) else "",
        _PUBLISHED if mode == "paper" and table.published else "",
    ]
    if mode in _OPEN:
        notes.append(_OPEN[mode].format(_TARGETS[table.skeleton][mode]))
    notes += [f"{m.name}: {m.reading}" for m in table.methods if m.reading]
    notes += [f"{m.name} is left out: {m.left_out}" for m in table.methods if m.left_out]
    errors = {f"failed: {r['method']}, {r['item']}, seed {r['seed']}: {r['error']}"
              for r in rows if "error" in r}  # fmt: skip
    return "\n".join([*lines, "", *(f"* {n}" for n in (*notes, *sorted(errors)) if n), ""])


def _mirrored(rows: Sequence[dict]) -> list[str]:
    """Sets on which the answers to mirror images were compared."""
    shares = [item for row in rows for item in row.get("mirrored", {}).items()]
    return list(dict.fromkeys(name for name, share in shares if share is not None))


def _pair_table(table: PoseTable, pair: str, rows: Sequence[dict]) -> list[str]:
    columns = headings(grouped_skeleton(table.skeleton))
    also = list(dict.fromkeys(name for row in rows for name in row.get("also", ())))
    mirrored = _mirrored(rows)
    heads = [*columns, *(f"All, {s}" for s in also), *(f"mirrored, {s}" for s in mirrored)]
    lines = ["| method | seeds | " + " | ".join(heads) + " |",
             "|---|---:|" + "---:|" * len(heads)]  # fmt: skip
    published = table.published.get(pair, {})
    for method in table.methods:
        found = [r for r in rows if r["method"] == method.name and "pck" in r]
        cells = [spread([r["pck"][MAIN][c] for r in found]) for c in columns]
        cells += [spread([r["also"][s][MAIN]["All"] for r in found if s in r.get("also", ())])
                  for s in also]  # fmt: skip
        cells += [spread([r["mirrored"][s] for r in found if s in r.get("mirrored", ())])
                  for s in mirrored]  # fmt: skip
        if not method.left_out:
            lines.append(f"| {method.name} | {len(found)} | {' | '.join(cells)} |")
        if method.name in published:
            numbers = published[method.name]
            told = ["-"] * (len(columns) - len(numbers)) + [f"{n:.1f}" for n in numbers]
            lines.append(f"| {method.name}, {PUBLISHED} | | {' | '.join(told)} |")
    return lines


def summary(table: PoseTable, mode: str, rows: Sequence[dict]) -> dict:
    """The same for programs: pair -> method -> column -> mean, sd and seeds."""
    columns = headings(grouped_skeleton(table.skeleton))
    found: dict = {}
    for row in rows:
        if "pck" in row:
            found.setdefault(row["item"], {}).setdefault(row["method"], []).append(row)
    numbers = {
        pair: {
            method: {
                a: {c: [r["pck"][a][c] for r in mine] for c in columns} for a in mine[0]["pck"]
            }
            for method, mine in methods.items()
        }
        for pair, methods in found.items()
    }
    return {"table": table.name, "mode": mode, "values_by_seed": numbers,
            "mirrored_by_seed": {
                pair: {m: [r.get("mirrored") for r in mine] for m, mine in methods.items()}
                for pair, methods in found.items()
            },
            "published": {p: {m: list(v) for m, v in r.items()}
                          for p, r in table.published.items()} if mode == "paper" else {},
            "steps": SIZES[mode].steps if mode in SIZES else None}  # fmt: skip


def write_report(folder: Path, table: PoseTable, mode: str, rows: Sequence[dict]) -> str:
    """``TABLE.md`` and ``TABLE.json``; returns the first."""
    text = report(table, mode, rows)
    about = json.dumps(summary(table, mode, rows), indent=1, ensure_ascii=False)
    files = {f"{table.name}.md": text, f"{table.name}.json": about + "\n"}
    for name, content in files.items():
        with whole_file(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return text
