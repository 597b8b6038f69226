"""Does the gate open for the right label and stay shut for a wrong one?

    python tools/evaluate_gate.py --motions motion_lite_30fps.npz

Held-out motion seen by virtual cameras through the training's detector model; both legs hidden
for 30-50 % of the time. Each track is adapted with its own label, with a wrong one and without.
Prints how many of the missing joints were filled, and the errors on all and on hidden joints.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from semtta.bench.metrics import summarise
from semtta.body import load_body
from semtta.config import load_config
from semtta.keypoints import Keypoints2D, Track
from semtta.skeletons import BODY27, LIMB12
from semtta.tta.adapter import Adapter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tools are not installed

from tools.training.landmark_noise import BROAD  # noqa: E402
from tools.training.motions import load_clips  # noqa: E402
from tools.training.synthetic import (  # noqa: E402
    BROAD_VIEW,
    MotionPool,
    Synthesizer,
    SyntheticTrack,
)

LEGS = [f"{s}_{p}" for s in ("left", "right") for p in ("knee", "ankle", "heel", "big_toe")]
LIMBS = [BODY27.index(joint) for joint in LIMB12.joints]
HIPS = LIMB12.indices(["left_hip", "right_hip"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--walks", type=int, default=12)
    parser.add_argument("--others", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", default="default")
    parser.add_argument("--model", default="lifter")
    parser.add_argument("--methods", default="frozen,none,right,wrong")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()

    clips = [c for c in load_clips(args.motions, "val") if len(c) >= args.frames and c.label]
    walks = [c for c in clips if c.label == "walk"][: args.walks]
    others = one_per_label([c for c in clips if c.label != "walk"])[: args.others]
    table = Table(title="held-out motion, legs hidden 30-50 % of the time")
    for heading in ("motion", "label given", "tracks", "filled", "gate similarity", "MPJPE",
                    "PA", "hidden MPJPE", "hidden PA", "accel"):  # fmt: skip
        table.add_column(heading)
    for name, group in (("walk", walks), ("other", others)):
        tracks = [hide_legs(t, args.seed + i) for i, t in enumerate(make_tracks(group, args))]
        for method in args.methods.split(","):
            rows = [evaluate(t, clip, method, args) for t, clip in zip(tracks, group, strict=True)]
            table.add_row(name, method, str(len(rows)), *(mean(rows, i) for i in range(7)))
    Console(width=140).print(table)


def one_per_label(clips: list) -> list:
    seen: dict[str, object] = {}
    for clip in clips:
        seen.setdefault(clip.label, clip)
    return list(seen.values())


def make_tracks(clips: list, args) -> list[SyntheticTrack]:
    noise = replace(BROAD, **{f: 0.0 for f in BROAD.__dataclass_fields__ if f.startswith("p_")})
    generator = torch.Generator().manual_seed(args.seed)
    pool = MotionPool.build(clips, seed=args.seed)
    return Synthesizer(pool, load_body(), BROAD_VIEW, noise, generator).tracks(clips, args.frames)


def hide_legs(synthetic: SyntheticTrack, seed: int) -> SyntheticTrack:
    """Both legs missing in 2D and 3D for one stretch of 30-50 % of the frames."""
    generator = torch.Generator().manual_seed(seed)
    track, count = synthetic.track, len(synthetic.track)
    length = int(count * (0.3 + 0.2 * torch.rand(1, generator=generator).item()))
    first = int(torch.randint(0, count - length + 1, (1,), generator=generator))
    conf, conf3d = track.keypoints.conf.clone(), track.conf3d.clone()
    for part in (conf, conf3d):
        part[first : first + length, BODY27.indices(LEGS)] = 0
    points = Keypoints2D(track.keypoints.xy, conf, BODY27)
    hidden = Track(track.id, track.frames, track.times, track.boxes, points,
                   track.landmarks3d, conf3d)  # fmt: skip
    return replace(synthetic, track=hidden)


def evaluate(synthetic: SyntheticTrack, clip, method: str, args) -> tuple:
    overrides = list(args.overrides) + [f"model.name={args.model}", f"seed={args.seed}"]
    label = clip.label
    if method == "frozen":
        overrides.append("strategy=frozen")
    if method == "wrong":
        label = "sit on a chair" if clip.label.startswith("walk") else "walk"
    labels = None if method in ("none", "frozen") else [label] * len(synthetic.track)
    adapter = Adapter(config=load_config(args.config, overrides))
    result = adapter.adapt(synthetic.track, synthetic.camera, labels)
    joints = adapter.body.landmarks(result.adapted.rotmats, result.adapted.betas, LIMB12)
    hidden = synthetic.track.keypoints.conf[:, LIMBS] == 0
    truth = synthetic.points[:, LIMBS]
    numbers = summarise(joints, truth, HIPS, hidden)
    centre = lambda x: x - x[:, HIPS].mean(1, keepdim=True)  # noqa: E731
    hidden_mpjpe = 1000 * float((centre(joints) - centre(truth)).norm(dim=-1)[hidden].mean())
    gate = result.gate_similarity
    gate = None if gate is None else float(gate.nanmean())
    filled = result.evidence.filled_share() if labels else None
    if args.verbose:
        print(f"{synthetic.name:28s} {clip.label:28s} {method:6s} filled {filled} gate {gate} "
              f"hidden {hidden_mpjpe:.0f}")  # fmt: skip
    return (filled, gate, numbers["mpjpe_mm"], numbers["pa_mpjpe_mm"], hidden_mpjpe,
            numbers["pa_mpjpe_occluded_mm"], numbers["accel_mm"])  # fmt: skip


def mean(rows: list[tuple], column: int) -> str:
    values = [row[column] for row in rows if row[column] is not None]
    if not values:
        return "-"
    average = sum(values) / len(values)
    return f"{average:.2f}" if column < 2 else f"{average:.1f}"


if __name__ == "__main__":
    main()
