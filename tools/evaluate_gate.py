"""Does the gate open for the right label and stay shut for a wrong one?

    python tools/evaluate_gate.py --motions motion_lite_30fps.npz

Tracks of the mocap benchmark's dev split (of its first form), each adapted with its own label, with
a wrong one and without. Prints how many of the missing joints were filled, and the errors on all
and on hidden joints, for walking and for everything else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from semtta.bench.benchmark import Sample
from semtta.bench.mocap import open_mocap
from semtta.config import load_config
from semtta.tta.adapter import Adapter

METHODS = ("frozen", "none", "right", "wrong")
ERRORS = ("mpjpe_mm", "pa_mpjpe_mm", "mpjpe_occluded_mm", "pa_mpjpe_occluded_mm", "accel_mm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--level", default="medium")
    parser.add_argument("--tracks", type=int, default=12, help="most of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", default="default")
    parser.add_argument("--model", default="lifter")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    benchmark = open_mocap(
        args.motions, args.split, levels=(args.level,), cameras=1, name="mocap-v1"
    )
    table = Table(title=f"{benchmark.protocol}, {args.split}, {args.level}")
    for heading in ("motion", "label given", "tracks", "filled", "gate similarity", "MPJPE",
                    "PA", "hidden MPJPE", "hidden PA", "accel"):  # fmt: skip
        table.add_column(heading)
    items = [item for item in benchmark.items() if item.label]
    walks = [item for item in items if item.label.startswith("walk")]
    others = [item for item in items if item not in walks]
    for name, group in (("walk", walks), ("other", others)):
        samples = [benchmark.load(item) for item in group[: args.tracks]]
        for method in args.methods.split(","):
            rows = [evaluate(sample, method, args) for sample in samples]
            keys = ("filled", "gate", *ERRORS)
            table.add_row(name, method, str(len(rows)), *(mean(rows, key) for key in keys))
    Console(width=140).print(table)


def evaluate(sample: Sample, method: str, args: argparse.Namespace) -> dict:
    """One track adapted in one way: errors, share of missing joints filled, gate's similarity."""
    overrides = [*args.overrides, f"model.name={args.model}", f"seed={args.seed}"]
    if method == "frozen":
        overrides.append("strategy=frozen")
    label = {"right": sample.item.label, "wrong": sample.wrong_label}.get(method)
    labels = [label] * len(sample.track) if label else None
    adapter = Adapter(config=load_config(args.config, overrides))
    result = adapter.adapt(sample.track, sample.camera, labels)
    row = sample.truth.score(result.adapted, adapter.body)
    gate = result.gate_similarity
    row["gate"] = None if gate is None else float(gate.nanmean())
    row["filled"] = result.evidence.filled_share() if labels else None
    if args.verbose:
        print(f"{sample.item.name:30s} {method:6s} {label or '-':28s} filled {row['filled']} "
              f"gate {row['gate']} hidden {row['mpjpe_occluded_mm']}")  # fmt: skip
    return row


def mean(rows: list[dict], key: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    if not values:
        return "-"
    return f"{sum(values) / len(values):.{2 if key in ('filled', 'gate') else 1}f}"


if __name__ == "__main__":
    main()
