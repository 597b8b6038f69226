"""How often retrieval names held-out motion rightly, and what its confidence is worth.

    python tools/evaluate_labels.py --motions motion_lite_30fps.npz

Windows of the true motion of held-out subjects (the file's val split), then tracks of the mocap
benchmark's first form as the regressor predicts them. Top-1 and top-5 over all (micro) and as the
mean over names (macro); names that one and the same motion may carry count as right.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.mocap import open_mocap  # noqa: E402
from semtta.bench.mocap_windows import v1_side  # noqa: E402
from semtta.config import load_config  # noqa: E402
from semtta.motion.retrieval import Retrieval  # noqa: E402
from semtta.tta.adapter import Adapter  # noqa: E402
from tools.training.motions import load_clips, windows  # noqa: E402
from tools.training.phrases import synonyms  # noqa: E402

_THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Scored:
    """One motion: its name, the names from the likeliest on, the confidence of the first."""

    truth: str
    ranked: list[str]
    confidence: float

    def right(self, among: int = 1) -> bool:
        return any(name in synonyms(self.truth) for name in self.ranked[:among])


def true_windows(retrieval: Retrieval, motions: Path, split: str) -> list[Scored]:
    """Every window of two seconds, half a second apart, of the val clips."""
    dictionary = retrieval.priors[0].dictionary
    rows = []
    for clip in load_clips(motions):
        known = dictionary.find(clip.label or "")
        if known is None or split not in ("all", v1_side(clip.subject)):
            continue
        cut = [torch.from_numpy(clip.rotmats[w]) for w in windows(clip, 60, 15)]
        if cut:
            similarity = retrieval.similarity(torch.stack(cut).float())
            rows += [_scored(retrieval, dictionary.labels[known], s) for s in similarity]
    return rows


def _scored(retrieval: Retrieval, truth: str, similarity: Tensor) -> Scored:
    chance = (similarity / retrieval.temperature).softmax(-1)
    order = chance.argsort(descending=True)[:5].tolist()
    return Scored(truth, [retrieval.names[i] for i in order], float(chance[order[0]]))


def predicted_tracks(retrieval: Retrieval, args: argparse.Namespace) -> list[Scored]:
    """The name that holds longest in each track of the benchmark."""
    dictionary = retrieval.priors[0].dictionary
    benchmark = open_mocap(
        args.motions, args.split, levels=(args.level,), cameras=args.cameras, name="mocap-v1"
    )
    overrides = [f"model.name={args.model}"]
    if args.prediction == "frozen":
        overrides.append("strategy=frozen")
    adapter = Adapter(config=load_config("default", overrides))
    rows = []
    for item in benchmark.items()[: args.limit]:
        known = dictionary.find(item.label or "")
        if known is None:
            continue
        sample = benchmark.load(item)
        rotmats = sample.truth.rotmats
        if args.prediction != "true":
            rotmats = adapter.adapt(sample.track, sample.camera).adapted.rotmats
        found = max(retrieval.name(rotmats, sample.track.times), key=lambda n: n.stop - n.start)
        ranked = [found.text, *(name for name, _ in found.others)]
        rows.append(Scored(dictionary.labels[known], ranked, found.confidence))
    return rows


def report(title: str, rows: list[Scored], console: Console) -> None:
    table = Table(title=title)
    for heading in ("name", "count", "top-1", "top-5"):
        table.add_column(heading, justify="left" if heading == "name" else "right")
    per_name = []
    for name in sorted({row.truth for row in rows}):
        own = [row for row in rows if row.truth == name]
        per_name.append(tuple(np.mean([row.right(k) for row in own]) for k in (1, 5)))
        table.add_row(name, str(len(own)), *(f"{value:.2f}" for value in per_name[-1]))
    macro = np.mean(per_name, axis=0)
    micro = [np.mean([row.right(k) for row in rows]) for k in (1, 5)]
    table.add_row("all, micro", str(len(rows)), *(f"{value:.3f}" for value in micro))
    table.add_row("all, macro", str(len(per_name)), *(f"{value:.3f}" for value in macro))
    console.print(table)
    kept = Table(title="labels.min_confidence")
    for heading in ("at least", "kept", "right of them"):
        kept.add_column(heading, justify="right")
    for low in _THRESHOLDS:
        sure = [row for row in rows if row.confidence >= low]
        right = f"{np.mean([row.right() for row in sure]):.2f}" if sure else "-"
        kept.add_row(f"{low:.1f}", f"{len(sure) / len(rows):.2f}", right)
    console.print(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--split", default="all", help="dev, test or all of the held-out subjects")
    parser.add_argument("--level", default="medium")
    parser.add_argument("--model", default="lifter")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--limit", type=int, default=None, help="only the first N tracks")
    parser.add_argument(
        "--prediction",
        default="frozen",
        choices=("frozen", "adapted", "true"),
        help="the base model's, after adaptation without text, or the truth's",
    )
    parser.add_argument("--retrieval", type=Path, default=None)
    parser.add_argument("--uncorrected", action="store_true", help="the gate's prior alone")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console = Console(width=100)
    retrieval = Retrieval.load(args.retrieval)
    if args.uncorrected:
        size = retrieval.features.shape[1]
        plain = torch.cat((torch.zeros(size, size), torch.eye(size), torch.zeros(1, size)))
        retrieval = replace(retrieval, matrix=plain)
    report(f"true motion, windows of 2 s, val subjects ({args.split})",
           true_windows(retrieval, args.motions, args.split), console)  # fmt: skip
    report(f"mocap {args.level}, {args.split}, {args.model}, {args.prediction}",
           predicted_tracks(retrieval, args), console)  # fmt: skip


if __name__ == "__main__":
    main()
