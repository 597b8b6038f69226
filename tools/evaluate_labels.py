"""How often retrieval names what people do, whether the gate agrees, and if both err together.

    python tools/evaluate_labels.py --motions FOLDER --split dev      # tracks of mocap
    python tools/evaluate_labels.py CLIPS                             # NAME.mp4, NAME.labels.json

Each track has one label. *Right* is its name, one that the same motion may carry, or its family
(``tools/training/phrases.py``). Of clips the gate is asked as well, in a run with the right label,
in one with a wrong one (that of another clip, drawn by the name), and in one with what retrieval
said.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.mocap import open_mocap  # noqa: E402
from semtta.config import load_config  # noqa: E402
from semtta.geometry import Camera  # noqa: E402
from semtta.keypoints import Track  # noqa: E402
from semtta.labels import load_labels  # noqa: E402
from semtta.motion.dictionary import Dictionary  # noqa: E402
from semtta.motion.retrieval import Retrieval  # noqa: E402
from semtta.tta.adapter import Adapter  # noqa: E402
from semtta.tta.gated import open_frames  # noqa: E402
from semtta.tta.labelling import retrieved_labels  # noqa: E402
from semtta.tta.people import find_people, select_tracks  # noqa: E402
from tools.training.phrases import family, synonyms  # noqa: E402

_THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass
class Row:
    """One track: the right name, what retrieval said, and where the gate opened (share)."""

    item: str
    truth: str
    said: str = ""
    confidence: float = 0.0
    gate: dict[str, float] | None = None

    @property
    def right(self) -> bool:
        return is_right(self.said, self.truth)


def is_right(said: str, truth: str) -> bool:
    return said in synonyms(truth) or family(said) == family(truth)


def longest(retrieval: Retrieval, track: Track, camera: Camera) -> tuple[str, float]:
    """The name that holds longest."""
    spans = retrieved_labels(retrieval, track, camera)
    span = max(spans, key=lambda s: s.end - s.start)
    return span.text, span.confidence


def benchmark_rows(retrieval: Retrieval, args: argparse.Namespace) -> Iterator[Row]:
    dictionary = Dictionary.load()
    benchmark = open_mocap(args.motions, args.split, levels=(args.level,), cameras=args.cameras)
    for item in benchmark.items()[: args.limit]:
        known = dictionary.find(item.label or "")
        if known is not None:
            sample = benchmark.load(item)
            yield Row(item.name, dictionary.labels[known],
                      *longest(retrieval, sample.track, sample.camera))  # fmt: skip


def clip_rows(retrieval: Retrieval, folders: Sequence[Path], gate: bool) -> Iterator[Row]:
    clips = [p for folder in folders for p in sorted(folder.glob("*.mp4"))]
    texts = {p: load_labels(p.with_suffix(".labels.json")).spans[0].text for p in clips}
    adapter = Adapter(config=load_config("default", ["evidence.heldout=0"]))
    dictionary = Dictionary.load()
    for path, text in texts.items():
        tracked = find_people(path)
        track = select_tracks(tracked, "largest")[0]
        camera = adapter.camera(tracked.info.width, tracked.info.height, tracked.info.source)
        row = Row(path.stem, dictionary.nearest(text), *longest(retrieval, track, camera))
        others = sorted({t for t in texts.values()
                         if not is_right(dictionary.nearest(t), row.truth)})  # fmt: skip
        if gate and others:
            wrong = others[zlib.crc32(path.stem.encode()) % len(others)]
            row.gate = {kind: opened(adapter, track, camera, label)
                        for kind, label in (("right", text), ("wrong", wrong),
                                            ("retrieved", row.said))}  # fmt: skip
        yield row


def opened(adapter: Adapter, track: Track, camera: Camera, label: str) -> float:
    """Share of the frames in which the gate is open at the end."""
    frames = open_frames(adapter.adapt(track, camera, [label] * len(track)))
    return 0.0 if frames is None else float(frames.float().mean())


def report(rows: Sequence[Row], console: Console) -> None:
    table = Table(title="retrieval, and the share of frames in which the gate opens")
    for heading in ("track", "right name", "said", "confidence", "", "right", "wrong", "retrieved"):
        table.add_column(heading)
    for row in rows:
        gate = [f"{row.gate[k]:.2f}" for k in ("right", "wrong", "retrieved")] if row.gate else []
        table.add_row(row.item, row.truth, row.said, f"{row.confidence:.2f}",
                      "right" if row.right else "", *gate)  # fmt: skip
    console.print(table)
    kept = Table(title="labels.min_confidence")
    for heading in ("at least", "kept", "right of them"):
        kept.add_column(heading, justify="right")
    for low in _THRESHOLDS:
        sure = [row for row in rows if row.confidence >= low]
        right = f"{sum(row.right for row in sure)} of {len(sure)}" if sure else "-"
        kept.add_row(f"{low:.1f}", f"{len(sure) / len(rows):.2f}", right)
    console.print(kept)
    judged = [row for row in rows if row.gate]
    if judged:
        for kind in ("right", "wrong"):
            count = sum(row.gate[kind] > 0 for row in judged)
            console.print(f"gate open with the {kind} label: {count} of {len(judged)}")
        mistaken = [row for row in judged if not row.right]
        count = sum(row.gate["retrieved"] > 0 for row in mistaken)
        console.print(f"gate open with a wrong name of retrieval: {count} of {len(mistaken)}")
        errors = np.array([[not row.right, row.gate["right"] == 0] for row in judged], float)
        if errors.std(0).all():
            console.print(f"correlation of their errors: {np.corrcoef(errors.T)[0, 1]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="*", help="folders")
    parser.add_argument("--motions", type=Path)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--level", default="medium")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--limit", type=int, default=None, help="only the first N tracks")
    parser.add_argument("--no-gate", action="store_true")
    parser.add_argument("--retrieval", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    retrieval = Retrieval.load(args.retrieval)
    if args.clips:
        rows = list(clip_rows(retrieval, args.clips, not args.no_gate))
    elif args.motions:
        rows = list(benchmark_rows(retrieval, args))
    else:
        parser.error("give folders of clips, or --motions")
    report(rows, Console(width=130))


if __name__ == "__main__":
    main()
