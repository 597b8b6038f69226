"""docs/images/results.png: the table of the README as a picture, by `python tools/plot_results.py`.

Needs matplotlib, which nothing else here does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1]))

from semtta.files import whole_file
from tools.make_results import ROOT, main_rows, read_runs

METHODS = {
    "frozen": ("network as it is", "#b9bdc6"),
    "cycleadapt": ("CycleAdapt", "#e0a458"),
    "semtta": ("semtta", "#3a78c2"),
}
PANELS = {
    ("mocap", "lifter-narrow"): "Motion capture, network trained on walking only",
    ("mocap", "lifter"): "Motion capture, network trained broadly",
    ("beam", "lifter-narrow"): "Real video (4 clips a level), trained on walking only",
    ("beam", "lifter"): "Real video (4 clips a level), trained broadly",
}
LEVELS = {
    "mocap": ("medium", "gone"),
    "beam": ("clean", "occluded", "legs", "patch"),
}
METRIC = "pa_mpjpe_mm"


def draw(rows: dict[tuple[str, str, str], dict[str, dict]]) -> plt.Figure:
    """Bars of PA-MPJPE by level; whiskers are 95 % intervals over groups of dependent tracks."""
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(2, 2, figsize=(10, 5.6), sharey="row", layout="constrained")
    for axis, ((data, model), title) in zip(axes.flat, PANELS.items()):
        shown = {level: rows.get((data, model, level), {}) for level in LEVELS[data]}
        panel(axis, {level: row for level, row in shown.items() if row})
        axis.set_title(title, fontsize=10, loc="left")
    for axis in axes[:, 0]:
        axis.set_ylabel("PA-MPJPE, mm")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(METHODS), frameon=False)
    return figure


def panel(axis: plt.Axes, levels: dict[str, dict[str, dict]]) -> None:
    methods = [m for m in METHODS if any(m in rows for rows in levels.values())]
    width = 0.8 / len(methods)
    for i, method in enumerate(methods):
        label, color = METHODS[method]
        for x, rows in enumerate(levels.values()):
            if method not in rows:
                continue
            value, place = rows[method][METRIC], x + (i - (len(methods) - 1) / 2) * width
            interval = rows[method]["ci95"].get(METRIC)
            error = None
            if interval is not None:
                error = [[value - interval[0]], [interval[1] - value]]
            bar = axis.bar(place, value, width * 0.94, color=color, yerr=error,
                           error_kw={"lw": 0.9, "ecolor": "#444"},
                           label=None if x else label)  # fmt: skip
            axis.bar_label(bar, fmt="%.0f", label_type="center", fontsize=9,
                           color="white" if method == "semtta" else "#222")  # fmt: skip
    axis.set_xticks(range(len(levels)), levels)
    axis.set_xlim(-0.6, max(1, len(levels) - 1) + 0.6)
    axis.tick_params(axis="x", length=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "results.png")
    options = parser.parse_args()
    figure = draw(main_rows(read_runs(options.results)))
    with whole_file(options.output) as temporary:
        figure.savefig(temporary, dpi=130)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
