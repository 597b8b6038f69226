"""Rows of a benchmark as tables: on the terminal, as Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from semtta.bench.options import MOCAP
from semtta.bench.statistics import ALL, FEWEST_GROUPS, RESAMPLES
from semtta.bench.table_files import TableSpec

HEADINGS = {
    "mpjpe_mm": "MPJPE", "pa_mpjpe_mm": "PA-MPJPE", "mpvpe_mm": "MPVPE",
    "mpjpe_occluded_mm": "MPJPE hidden", "pa_mpjpe_occluded_mm": "PA hidden",
    "accel_mm": "accel", "accel_m_s2": "accel m/s²", "abs_accel_mm": "accel in space",
    "depth_jitter_mm": "depth jitter", "foot_slide_mm": "foot slide",
    "range_percent": "range %", "range_least_percent": "least limb %",
    "range_base_percent": "range of base %", "leg_swing_percent": "leg swing %",
    "step_error_hz": "step Hz",
    "named": "named", "named_true": "truth named", "label_similarity": "label similarity",
    "filled": "filled", "similarity": "similarity",
    "gate_similarity": "gate", "reprojection_px": "2D px", "labelled": "labelled",
    "heldout": "held out", "heldout_legs": "legs", "heldout_arm": "arm",
    "heldout_random": "random", "heldout_visible": "visible (fit)",
    "ms_per_frame": "ms/frame", "tracks": "tracks",
}  # fmt: skip
_SHARES = ("filled", "labelled", "named", "named_true")
_COMPARED = ("mpjpe_mm", "pa_mpjpe_mm", "heldout_legs", "heldout_arm", "heldout_random")


@dataclass(frozen=True)
class View:
    """A table as text.

    Args:
        title: one line.
        headings, rows: cells.
        notes: sentences beneath it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def rich(self) -> Table:
        """For the terminal; the notes are for beneath it. Intervals go on a line of their own."""
        table = Table(title=escape(self.title), title_justify="left")
        for i, heading in enumerate(self.headings):
            table.add_column(
                escape(heading.replace(" ", "\n")),
                justify="left" if i < 3 else "right",
                no_wrap=True,
            )
        for row in self.rows:
            cells = (cell.replace(" [", "\n[", 1) for cell in row[3:])
            table.add_row(*map(escape, (*row[:3], *cells)))
        return table

    def markdown(self) -> str:
        align = ["---"] * 3 + ["---:"] * (len(self.headings) - 3)
        lines = [self.headings, align, *self.rows]
        table = "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)
        notes = "\n".join(f"* {note}" for note in self.notes)
        return f"**{self.title}**\n\n{table}\n\n{notes}\n"


def view_table(summary: Sequence[dict], spec: TableSpec, notes: Sequence[str] = ()) -> View:
    """The table of a summary: one line per model, level and method, over all seeds.

    Args:
        summary: of ``summarise_rows``, grouped as the table is.
        notes: more sentences for beneath it: the benchmark's limits, failed tracks."""
    final = [row for row in summary if _is_final(row)]
    reference = printed_reference(final, spec)
    columns = [c for c in spec.columns if any(row.get(c) is not None for row in final)]
    compared = [metric for metric in _COMPARED if metric in columns] if reference else []
    headings = ("model", spec.group_by, "method", *(HEADINGS[c] for c in columns),
                *(f"{HEADINGS[m]} vs {reference}" for m in compared))  # fmt: skip
    rows = []
    for row in final:
        cells = [cell(row, column) for column in columns]
        cells += [versus_cell(row, reference, metric) for metric in compared]
        rows.append((row["model"], _value(row, spec.group_by), row["method"], *cells))
    protocol = ", ".join(
        dict.fromkeys(f"{row['data']}, protocol {row['protocol']}" for row in final)
    )
    notes = (*reading_notes(final, columns), *filter(None, (spec.note, *notes)))
    return View(f"{spec.title} ({protocol})", headings, tuple(rows), notes)


def printed_reference(rows: Sequence[dict], spec: TableSpec) -> str | None:
    """The last of the table's references that was run."""
    methods = {row["method"] for row in rows}
    present = [name for name in spec.references if name in methods]
    return present[-1] if present and len(methods) > 1 else None


def reading_notes(rows: Sequence[dict], columns: Sequence[str] = ()) -> list[str]:
    """What one has to know to read the numbers."""
    if not rows:
        return ["Nothing was measured."]
    seeds = sorted({str(row["seed"]) for row in rows})
    tracks = sorted({row["tracks"] for row in rows})
    groups = sorted({row["groups"] for row in rows})
    heldout = any(row.get("heldout") is not None for row in rows)
    unit = "% of the person's height" if heldout else "mm"
    notes = [
        f"Errors in {unit}, lower is better; means over all frames of all tracks, hidden joints "
        "over all hidden joint-frames; every method on the same frames. "
        f"Tracks: {_span(tracks)}, in {_span(groups)} groups that intervals resample; "
        f"random seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}."
    ]
    if any(str(row["seed"]).startswith("mean") for row in rows):
        notes.append("Seeds are averaged first: brackets do not tell how seeds differ.")
    if any(row["versus"] for row in rows):
        how = ", mean of paired log-ratios over people" if heldout else ""
        harmed = "; more than 10 % worse on so many" if heldout else ""
        notes.append(f"vs: change in percent{how} (tracks on which it is lower / tracks{harmed}).")
    if any(row["ci95"] for row in rows):
        notes.append(
            f"Brackets: 95 % interval, {RESAMPLES} bootstrap resamples of groups of dependent "
            f"tracks ({_span(groups)}); differences paired."
        )
    if any(not row["ci95"] for row in rows):
        notes.append(
            f"No interval where there are fewer than {FEWEST_GROUPS} independent groups of tracks."
        )
    if "ms_per_frame" in columns:
        notes.append("ms/frame: wall time of the adaptation, one thread, beside other workers.")
    return notes


def cell(row: dict, column: str) -> str:
    """A number with its interval."""
    value = row.get(column)
    if value is None:
        return "-"
    if column in _SHARES:
        return f"{100 * value:.0f} %"
    if column == "tracks":
        return str(value)
    digits = 2 if "similarity" in column or column.endswith("_hz") else 1
    bounds = row["ci95"].get(column) if row.get("ci95") else None
    tail = f" [{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]" if bounds else ""
    return f"{value:.{digits}f}{tail}"


def versus_cell(row: dict, reference: str | None, metric: str) -> str:
    """The change against a reference in percent, on how many tracks it is better, interval."""
    change = row.get("versus", {}).get(reference, {}).get(metric)
    if not change or change["percent"] is None:
        return "-"
    bounds = change["ci95"]
    tail = f" [{bounds[0]:+.1f}, {bounds[1]:+.1f}]" if bounds else ""
    harmed = f"; {change['harmed']} worse" if metric.startswith("heldout") else ""
    return f"{change['percent']:+.1f} % ({change['better']}/{change['of']}{harmed}){tail}"


def sequence_csv(summary: Sequence[dict]) -> str:
    """Means per sequence as CSV, from a summary by sequence; without intervals."""
    names = ("data", "protocol", "model", "sequence", "method", "seed", "tracks", "frames")
    numbers = [c for c in (*HEADINGS,) if c != "tracks"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *numbers])
    for row in summary:
        if _is_final(row):
            values = [row.get(c) for c in numbers]
            head = [row.get(name, ALL) for name in names]
            writer.writerow([*head, *("" if v is None else f"{v:.4f}" for v in values)])
    return text.getvalue()


def _value(row: dict, group_by: str) -> str:
    """What a row is about, of motion capture with how many people and clips stand behind it."""
    value = row.get(group_by) or "-"
    if row["data"] not in MOCAP or "clips" not in row:
        return value
    return f"{value} ({_of(row['groups'], 'performer')}, {_of(row['clips'], 'clip')})"


def _of(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _is_final(row: dict) -> bool:
    """Over all seeds: rows of single seeds carry no comparison."""
    return not row.get("single_seed", False)


def _span(numbers: Sequence[int]) -> str:
    low, high = numbers[0], numbers[-1]
    return str(low) if low == high else f"{low} to {high}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
