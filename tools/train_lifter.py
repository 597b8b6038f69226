"""Train the embedded regressor on motion seen through random cameras.

    python tools/train_lifter.py --motions motion_lite_30fps.npz --out semtta/assets/hmr/lifter.pt
    python tools/train_lifter.py --motions motion_lite_30fps.npz --preset narrow --steps 1500 \
        --out semtta/assets/hmr/lifter_narrow.pt

``broad`` is the default model. ``narrow`` stands for a model pre-trained on a laboratory data
set: it has only seen people walk and stand before level cameras and a precise detector, which
leaves something to adapt. The number of steps and the seed determine the result.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.landmark_noise import HIPS
from semtta.geometry import Camera, full_translation, procrustes_align, project, root_align
from semtta.hmr.base import Batch, Prediction
from semtta.hmr.features import lifter_features
from semtta.hmr.lifter import Lifter, save_lifter
from semtta.skeletons import BODY27, LIMB12
from tools.training.landmark_noise import BROAD, NARROW
from tools.training.motions import Clip, load_clips
from tools.training.synthetic import (
    BROAD_VIEW,
    NARROW_VIEW,
    Example,
    MotionPool,
    Synthesizer,
    SyntheticTrack,
)

LIMBS = BODY27.indices(LIMB12.joints)
NARROW_ACTIONS = ("walk", "walk slowly", "stand still")
_PLANE = Camera(1.0, (0.0, 0.0))  # boxes and points in the normalised image plane


@dataclass(frozen=True)
class Recipe:
    """Training settings: number of steps, windows a step, learning rate, seed."""

    steps: int
    batch: int = 256
    lr: float = 1e-3
    seed: int = 0


def joint_weights() -> Tensor:
    """(24,) how much each rotation counts; hands are not observed."""
    weights = torch.ones(24)
    weights[0] = 3.0
    weights[[1, 2, 4, 5, 16, 17, 18, 19]] = 1.5
    weights[[22, 23]] = 0.1
    return weights


def losses(prediction: Prediction, example: Example, body, weights: Tensor) -> dict[str, Tensor]:
    """Weighted terms: 3D landmarks about the hips (m), rotations, 2D in half box sides, shape."""
    truth = example.points
    points = body.landmarks(prediction.rotmats, prediction.betas, BODY27)
    place = full_translation(prediction.cam, example.box, _PLANE)
    origin = torch.zeros(2)
    plane = project(points + place[:, None], 1.0, origin)
    true_plane = project(truth, 1.0, origin)
    error2d = (plane - true_plane).abs() / example.box[:, None, 2:] * 2
    rotation = (prediction.rotmats - example.rotmats).abs().mean((-1, -2))
    return {
        "landmarks": 15 * (root_align(points, HIPS) - root_align(truth, HIPS)).abs().mean(),
        "rotations": 3 * (rotation * weights).mean(),
        "plane": 6 * error2d.clamp_max(1.0).mean(),
        "betas": 0.03 * (prediction.betas - example.betas).square().mean(),
    }


def limb_errors(points: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """MPJPE about the hips and PA-MPJPE per joint, (T, 27, 3) twice -> (T, 12) twice, mm."""
    points, truth = root_align(points, HIPS)[:, LIMBS], root_align(truth, HIPS)[:, LIMBS]
    aligned = procrustes_align(points, truth)
    return 1000 * (points - truth).norm(dim=-1), 1000 * (aligned - truth).norm(dim=-1)


def acceleration_error(points: Tensor, truth: Tensor) -> Tensor:
    """Mean acceleration error of the limb joints about the hips, mm/frame^2."""
    points, truth = root_align(points, HIPS)[:, LIMBS], root_align(truth, HIPS)[:, LIMBS]
    return 1000 * (points - truth).diff(n=2, dim=0).norm(dim=-1).mean()


@torch.no_grad()
def evaluate(model: Lifter, tracks: list[SyntheticTrack], body) -> dict[str, float]:
    """Means over whole synthetic tracks, through the features that users' videos pass."""
    every, aligned, hidden, hidden_aligned, acceleration = [], [], [], [], []
    for item in tracks:
        inputs = lifter_features(item.track, item.camera)
        prediction = model(Batch(torch.arange(len(inputs)), inputs))
        points = body.landmarks(prediction.rotmats, prediction.betas, BODY27)
        error, error_aligned = limb_errors(points, item.points)
        missing = item.track.keypoints.conf[:, LIMBS] == 0
        every.append(error.mean())
        aligned.append(error_aligned.mean())
        hidden.append(error[missing])
        hidden_aligned.append(error_aligned[missing])
        acceleration.append(acceleration_error(points, item.points))
    return {
        "mpjpe": float(torch.stack(every).mean()),
        "pa": float(torch.stack(aligned).mean()),
        "hidden": float(torch.cat(hidden).mean()),
        "hidden_pa": float(torch.cat(hidden_aligned).mean()),
        "accel": float(torch.stack(acceleration).mean()),
    }


def train(model: Lifter, maker: Synthesizer, body, recipe: Recipe, tracks, report) -> None:
    """Optimise in place; ``report(text)`` gets log lines."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=1e-3, fused=True)
    weights, begin = joint_weights(), time.time()
    for step in range(recipe.steps):
        warm = min(1.0, (step + 1) / 200)
        cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        optimizer.param_groups[0]["lr"] = recipe.lr * warm * (0.01 + 0.99 * cosine)
        example = maker.windows(recipe.batch)
        half = step < 0.85 * recipe.steps  # precision matters when errors have become small
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            prediction = model(Batch(torch.arange(recipe.batch), example.inputs))
        terms = losses(prediction, example, body, weights)
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 250 == 0 or step + 1 == recipe.steps:
            parts = " ".join(f"{k} {v.item():.3f}" for k, v in terms.items())
            scores = " ".join(f"{k} {v:.1f}" for k, v in evaluate(model, tracks, body).items())
            report(f"{step + 1} {time.time() - begin:.0f}s {parts} | held out: {scores}", model)


def is_laboratory(clip: Clip) -> bool:
    return clip.label in ("walk", "walk slowly", "stand still")


def held_out(path: Path, body, narrow: bool, count: int = 24) -> list[SyntheticTrack]:
    """Tracks of subjects that training never sees, the same for every preset's kind."""
    clips = [c for c in load_clips(path, "dev") if len(c) >= 75]
    if narrow:
        clips = [clip for clip in clips if is_laboratory(clip)]
    clips = [clips[i] for i in torch.linspace(0, len(clips) - 1, min(count, len(clips))).long()]
    view, noise = (NARROW_VIEW, NARROW) if narrow else (BROAD_VIEW, BROAD)
    pool = MotionPool.build(clips, seed=1, performances=0)
    maker = Synthesizer(pool, body, view, noise, torch.Generator().manual_seed(1))
    return maker.tracks(clips, 75)


def make_synthesizer(path: Path, body, narrow: bool, seed: int) -> Synthesizer:
    clips = load_clips(path, "train")
    generator = torch.Generator().manual_seed(seed)
    if narrow:
        clips = [clip for clip in clips if is_laboratory(clip)]
        pool = MotionPool.build(clips, seed, NARROW_ACTIONS)
        return Synthesizer(pool, body, NARROW_VIEW, NARROW, generator)
    return Synthesizer(MotionPool.build(clips, seed), body, BROAD_VIEW, BROAD, generator)


def run(arguments, body) -> None:
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    narrow = arguments.preset == "narrow"
    maker = make_synthesizer(arguments.motions, body, narrow, arguments.seed)
    tracks = held_out(arguments.motions, body, narrow)
    model = Lifter()
    recipe = Recipe(arguments.steps, seed=arguments.seed)

    def report(text: str, model: Lifter) -> None:
        print(text, flush=True)
        save_lifter(model, arguments.out)

    count = sum(p.numel() for p in model.parameters())
    frames = len(maker.pool.rotmats)
    print(f"{arguments.preset}: {frames} frames, {count / 1e6:.2f} M weights, {recipe}", flush=True)
    train(model, maker, body, recipe, tracks, report)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=Path, required=True, help="clip file (.npz), 30 fps")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", choices=("broad", "narrow"), default="broad")
    parser.add_argument("--steps", type=int, default=5500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(argv)


if __name__ == "__main__":
    from semtta.body import load_body

    run(parse(), load_body())
