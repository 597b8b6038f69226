"""Base and adapted on a benchmark with truth, as a table.

    pip download --no-deps pose2sim==0.10.0
    python tools/benchmark.py --data beam --wheel pose2sim-0.10.0-py3-none-any.whl

Tracks every clip once (kept in --cache), then runs each method on the same tracks. Prints a
table per clip and means, and writes --json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from semtta.bench.beam import PROTOCOL, beam_truth
from semtta.bench.beam_clips import HOW_TO_GET, Clip, unpack_clips
from semtta.config import load_config
from semtta.geometry import Camera, default_focal, gaussian_smooth
from semtta.people import TrackedVideo, track_video
from semtta.tta.adapter import Adapter
from semtta.tta.result import Motion

NO_TEXT = ["alignment.weight=0", "evidence.fill=false"]
METHODS: dict[str, list[str]] = {
    "frozen": ["strategy=frozen"],
    "frozen+gauss": ["strategy=frozen"],
    "2d": [*NO_TEXT, "evidence.update=none", "smoothing.kind=none", "evidence3d.weight=0"],
    "2d+gauss": [*NO_TEXT, "evidence.update=none", "smoothing.kind=gaussian",
                 "evidence3d.weight=0"],
    "2d+smooth": [*NO_TEXT, "evidence.update=none"],
    "2d+smooth+align": ["evidence.fill=false", "evidence.update=none"],
    "2d+smooth+align+ema": ["evidence.fill=false"],
    "semtta": [],
}  # fmt: skip
COLUMNS = ("pa_mpjpe_mm", "mpjpe_mm", "pa_mpjpe_occluded_mm", "accel_mm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["beam"], default="beam")
    parser.add_argument("--wheel", type=Path, required=True, help=f"get it: {HOW_TO_GET}")
    parser.add_argument("--cache", type=Path, default=Path("semtta-out/beam"))
    parser.add_argument("--methods", default="frozen,frozen+gauss,2d+smooth,semtta")
    parser.add_argument("--models", default="lifter,lifter-narrow")
    parser.add_argument("--config", default="default")
    parser.add_argument("--label", default="walking on a balance beam")
    parser.add_argument("--guess-focal", action="store_true", help="ignore the calibration")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    clips = unpack_clips(args.wheel, args.cache)
    rows = []
    for clip in clips:
        tracked = tracked_clip(clip, args.cache)
        for model in args.models.split(","):
            for method in args.methods.split(","):
                for seed in range(args.seeds):
                    rows.append(run(clip, tracked, model, method, seed, args))
    report(rows, args)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def tracked_clip(clip: Clip, cache: Path) -> TrackedVideo:
    """2D evidence of a clip, computed once and kept."""
    path = cache / f"{clip.name}.tracks.pt"
    if path.is_file():
        return torch.load(path, weights_only=False)
    start = time.time()
    tracked = track_video(clip.path)
    print(f"{clip.name}: {len(tracked.times) / (time.time() - start):.1f} frames/s for 2D")
    torch.save(tracked, path)
    return tracked


def run(clip: Clip, tracked: TrackedVideo, model: str, method: str, seed: int, args) -> dict:
    """One row: a method on the largest track of a clip."""
    truth = beam_truth(clip.camera, clip.variant == "occluded")
    config = load_config(
        args.config,
        [*args.overrides, *METHODS[method], f"model.name={model}", f"seed={seed}"],
    )
    camera = truth.camera
    if args.guess_focal:
        width, height = tracked.info.width, tracked.info.height
        camera = Camera(default_focal(width, height), ((width - 1) / 2, (height - 1) / 2))
    track = tracked.tracks[0]
    labels = [args.label] * len(track)
    adapter = Adapter(config=config)
    start = time.time()
    result = adapter.adapt(track, camera, labels)
    motion: Motion = result.adapted
    if method == "frozen+gauss":
        smooth = gaussian_smooth(motion.rotmats, track.times, 2 / 60)
        motion = Motion(smooth, motion.betas, motion.trans, motion.cam, motion.landmarks2d)
    last = result.history[-1] if result.history else {}
    return {
        "data": "beam", "protocol": PROTOCOL, "clip": clip.name, "level": clip.variant,
        "model": model, "method": method, "seed": seed, "frames": len(track),
        "seconds": time.time() - start,
        "similarity": last.get("similarity"), "gate_similarity": last.get("gate_similarity"),
        "filled": last.get("filled"),
    } | truth.score(motion, adapter.body, track.frames)  # fmt: skip


def report(rows: list[dict], args) -> None:
    """Means per model, method and level, and the worst clip against frozen."""
    console = Console(width=150)
    table = Table(title=f"beam, {PROTOCOL}", caption=__doc__.splitlines()[0])
    for heading in ("model", "level", "method", *COLUMNS, "PA per camera", "s", "filled", "gate"):
        table.add_column(heading)
    keys = list(dict.fromkeys((r["model"], r["level"], r["method"]) for r in rows))
    for model, level, method in sorted(keys, key=lambda k: (k[0], k[1])):
        mine = [r for r in rows if (r["model"], r["level"], r["method"]) == (model, level, method)]
        cells = [mean(mine, column) for column in COLUMNS]
        cameras = sorted({r["clip"] for r in mine})
        per_camera = [mean([r for r in mine if r["clip"] == c], "pa_mpjpe_mm") for c in cameras]
        table.add_row(
            model, level, method, *cells, " ".join(per_camera), mean(mine, "seconds"),
            mean(mine, "filled", 2), mean(mine, "gate_similarity", 2),
        )  # fmt: skip
    console.print(table)
    console.print(
        "One subject, one motion of 1.67 s, four dependent views; truth triangulated from the same "
        "detector family's 2D, error about 17 mm."
    )


def mean(rows: list[dict], key: str, digits: int = 1) -> str:
    values = [r[key] for r in rows if r[key] is not None]
    return f"{sum(values) / len(values):.{digits}f}" if values else "-"


if __name__ == "__main__":
    main()
