"""How well held-out detections rank methods as the true 3D error does, and what `select` would do.

    semtta bench --data mocap --motions PATH --split dev --levels medium,gone --model lifter \
        --methods frozen,2d,cycleadapt,semtta-nolabel evidence.heldout=0.15 -o FOLDER
    python -m tools.measure_heldout FOLDER/rows.jsonl

Rows of any benchmark with 3D truth will do.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.rows import read_rows

ERRORS = ("mpjpe_mm", "pa_mpjpe_mm")
HARM = 5.0  # mm by which a track must get worse to be counted


def by_track(rows: list[dict]) -> dict[tuple, dict[str, dict]]:
    """Rows by track and model, then by method; filters have no held-out error of their own."""
    tracks: dict[tuple, dict[str, dict]] = defaultdict(dict)
    for row in rows:
        if row.get("heldout_px") is not None and "gauss" not in row["method"]:
            tracks[row["item"], row["model"], row["seed"]][row["method"]] = row
    return {key: methods for key, methods in tracks.items() if "frozen" in methods}


def agreement(tracks: dict[tuple, dict[str, dict]], measure: str, error: str) -> float:
    """Spearman's rank correlation over the methods of a track, mean over tracks."""
    found = []
    for methods in tracks.values():
        pairs = [(row[measure], row[error]) for row in methods.values()]
        if len(pairs) > 2 and all(value is not None for pair in pairs for value in pair):
            found.append(spearmanr(*zip(*pairs, strict=True)).statistic)
    return float(np.nanmean(found))


def harm(tracks: dict[tuple, dict[str, dict]], method: str, error: str) -> str:
    """What a method does to its tracks as it is, and with the base where nothing held out got
    better."""
    kept = [m for m in tracks.values() if method in m]
    change = np.array([m[method][error] - m["frozen"][error] for m in kept])
    better = np.array([m[method]["heldout_px"] < m[method]["heldout_base_px"] for m in kept])
    chosen = np.where(better, change, 0.0)
    worse, left = int((change > HARM).sum()), int((chosen > HARM).sum())
    return (f"mean {change.mean():+.1f} mm, {worse} of {len(kept)} worse by > {HARM:.0f} mm; "
            f"base where held-out is no better: {chosen.mean():+.1f} mm, {left}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rows", type=Path, nargs="+")
    given = parser.parse_args()
    rows = [row for path in given.rows for row in read_rows(path) if "error" not in row]
    tracks = by_track(rows)
    print(f"{len(tracks)} tracks")
    for error in ERRORS:
        held = agreement(tracks, "heldout_px", error)
        print(f"{error}: agreement of the held-out error {held:.2f}")
        for method in sorted({name for m in tracks.values() for name in m} - {"frozen"}):
            print(f"  {method:16} {harm(tracks, method, error)}")


if __name__ == "__main__":
    main()
