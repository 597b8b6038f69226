"""Train the embedded regressor on motion seen through random cameras.

    python tools/train_lifter.py --motions FOLDER --minutes 40 --out semtta/assets/hmr/lifter.pt
    python tools/train_lifter.py --motions FOLDER --minutes 10 --preset narrow \
        --out semtta/assets/hmr/lifter_narrow.pt

``broad`` is the default model. ``narrow`` stands for a model pre-trained on a laboratory data
set: it has only seen people walk and stand before level cameras and a precise detector, which
leaves something to adapt. Performers are those of the training side of ``mocap``'s split; the
scores in the log are of its dev side. With ``--steps`` the number of steps and the seed determine
the result; with ``--minutes`` the learning rate follows the clock. A run that was interrupted
goes on from the ``.state`` file beside ``--out``.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import defaultdict
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
from tools.training.views import HINGES, bone_directions, facing, flexion, turned_by

LIMBS = BODY27.indices(LIMB12.joints)
NARROW_ACTIONS = ("walk", "walk slowly", "stand still")
_PLANE = Camera(1.0, (0.0, 0.0))  # boxes and points in the normalised image plane


@dataclass(frozen=True)
class Recipe:
    """Training settings: how long (steps, or minutes if given), windows a step, learning rate."""

    steps: int
    minutes: float | None = None
    batch: int = 256
    lr: float = 1e-3
    seed: int = 0

    def done(self, step: int, seconds: float) -> float:
        """Share of the training that lies behind, 0 to 1."""
        if self.minutes is None:
            return min(step / self.steps, 1.0)
        return min(seconds / 60 / self.minutes, 1.0)


def joint_weights() -> Tensor:
    """(24,) how much each rotation counts; hands are not observed."""
    weights = torch.ones(24)
    weights[0] = 3.0
    weights[[1, 2, 4, 5, 16, 17, 18, 19]] = 1.5
    weights[[22, 23]] = 0.1
    return weights


def losses(prediction: Prediction, example: Example, body, weights: Tensor) -> dict[str, Tensor]:
    """Weighted terms: 3D landmarks about the hips (m), rotations, 2D in half box sides, shape; and
    what depth decides, which the others hardly see: the bend of hinges, bones' lean in depth,
    where the pelvis faces."""
    truth = example.points
    points = body.landmarks(prediction.rotmats, prediction.betas, BODY27)
    place = full_translation(prediction.cam, example.box, _PLANE)
    origin = torch.zeros(2)
    plane = project(points + place[:, None], 1.0, origin)
    true_plane = project(truth, 1.0, origin)
    error2d = (plane - true_plane).abs() / example.box[:, None, 2:] * 2
    rotation = (prediction.rotmats - example.rotmats).abs().mean((-1, -2))
    bend, depth = limb_losses(points, truth)
    return {
        "landmarks": 15 * (root_align(points, HIPS) - root_align(truth, HIPS)).abs().mean(),
        "rotations": 3 * (rotation * weights).mean(),
        "plane": 6 * error2d.clamp_max(1.0).mean(),
        "betas": 0.03 * (prediction.betas - example.betas).square().mean(),
        "bend": 2 * bend,
        "depth": 2 * depth,
        "facing": 0.5 * facing_loss(prediction.rotmats[:, 0], example.rotmats[:, 0]),
    }


def limb_losses(points: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Means over knees and elbows of (B, 27, 3): error of the bend, as the chord between the two
    bones' directions (0 straight, 2 folded), and of the bones' depth over their length."""
    bend, depth = [], []
    for hinge in HINGES:
        upper, lower = bone_directions(points, hinge)
        true_upper, true_lower = bone_directions(truth, hinge)
        chord, true_chord = (lower - upper).norm(dim=-1), (true_lower - true_upper).norm(dim=-1)
        bend.append((chord - true_chord).abs())
        for one, other in ((upper, true_upper), (lower, true_lower)):
            depth.append((one - other)[..., 2].abs())
    return torch.stack(bend).mean(), torch.stack(depth).mean()


def facing_loss(root: Tensor, truth: Tensor) -> Tensor:
    """1 - cosine between where pelvises (B, 3, 3) face, 0 to 2."""
    return (1 - (root[..., 2] * truth[..., 2]).sum(-1)).mean()


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
    """Means over whole synthetic tracks, through the features that users' videos pass; of knees,
    elbows and facing the median error in degrees."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    for item in tracks:
        inputs = lifter_features(item.track, item.camera)
        prediction = model(Batch(torch.arange(len(inputs)), inputs))
        points = body.landmarks(prediction.rotmats, prediction.betas, BODY27)
        error, error_aligned = limb_errors(points, item.points)
        missing = item.track.keypoints.conf[:, LIMBS] == 0
        found["mpjpe"].append(error.flatten())
        found["pa"].append(error_aligned.flatten())
        found["hidden"].append(error[missing])
        found["hidden_pa"].append(error_aligned[missing])
        found["accel"].append(acceleration_error(points, item.points)[None])
        for hinge in HINGES:
            off = (flexion(points, hinge) - flexion(item.points, hinge)).abs()
            found[hinge].append(off.flatten())
        yaws = (facing(r[:, 0]) for r in (prediction.rotmats, item.rotmats))
        found["facing"].append(turned_by(*yaws))
    medians = (*HINGES, "facing")
    return {name: float(torch.cat(v).nanmedian() if name in medians else torch.cat(v).mean())
            for name, v in found.items()}  # fmt: skip


class Training:
    """A model on its way: steps, and the state from which an interrupted run goes on."""

    def __init__(self, model: Lifter, maker: Synthesizer, body, recipe: Recipe):
        self.model, self.maker, self.body, self.recipe = model, maker, body, recipe
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=recipe.lr, weight_decay=1e-3, fused=True
        )
        self.weights, self.step, self.seconds = joint_weights(), 0, 0.0

    @property
    def done(self) -> float:
        return self.recipe.done(self.step, self.seconds)

    def advance(self) -> dict[str, Tensor]:
        """One step; returns its terms."""
        begin, recipe, done = time.monotonic(), self.recipe, self.done
        warm = min(1.0, (self.step + 1) / 200)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        self.optimizer.param_groups[0]["lr"] = recipe.lr * warm * (0.01 + 0.99 * cosine)
        example = self.maker.windows(recipe.batch)
        half = done < 0.85  # precision matters when errors have become small
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            prediction = self.model(Batch(torch.arange(recipe.batch), example.inputs))
        terms = losses(prediction, example, self.body, self.weights)
        self.optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.seconds += time.monotonic() - begin
        return terms

    def save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.maker.generator.get_state(),
            "at": (self.step, self.seconds),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.maker.generator.set_state(state["random"])
        self.step, self.seconds = state["at"]


def train(training: Training, tracks, report, every: int = 250) -> None:
    """Optimise in place; ``report(text)`` gets log lines."""
    while training.done < 1:
        terms = training.advance()
        if training.step % every == 0 or training.done == 1:
            parts = " ".join(f"{k} {v.item():.3f}" for k, v in terms.items())
            scores = evaluate(training.model, tracks, training.body)
            scores = " ".join(f"{k} {v:.1f}" for k, v in scores.items())
            report(f"{training.step} {training.seconds:.0f}s {parts} | dev: {scores}")


def is_laboratory(clip: Clip) -> bool:
    return clip.label in ("walk", "walk slowly", "stand still")


def held_out(path: Path, body, narrow: bool, count: int = 24) -> list[SyntheticTrack]:
    """Tracks of the dev side's performers, the same for every preset's kind."""
    clips = [c for c in load_clips(path, side="dev") if len(c) >= 75]
    if narrow:
        clips = [clip for clip in clips if is_laboratory(clip)]
    clips = [clips[i] for i in torch.linspace(0, len(clips) - 1, min(count, len(clips))).long()]
    view, noise = (NARROW_VIEW, NARROW) if narrow else (BROAD_VIEW, BROAD)
    pool = MotionPool.build(clips, seed=1, performances=0)
    maker = Synthesizer(pool, body, view, noise, torch.Generator().manual_seed(1))
    return maker.tracks(clips, 75)


def make_synthesizer(path: Path, body, narrow: bool, seed: int) -> Synthesizer:
    clips = load_clips(path, side="train")
    generator = torch.Generator().manual_seed(seed)
    if narrow:
        clips = [clip for clip in clips if is_laboratory(clip)]
        pool = MotionPool.build(clips, seed, NARROW_ACTIONS)
        return Synthesizer(pool, body, NARROW_VIEW, NARROW, generator)
    pool = MotionPool.build(clips, seed, mixtures=150)
    return Synthesizer(pool, body, BROAD_VIEW, BROAD, generator)


def run(arguments, body) -> None:
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    narrow = arguments.preset == "narrow"
    maker = make_synthesizer(arguments.motions, body, narrow, arguments.seed)
    tracks = held_out(arguments.motions, body, narrow)
    recipe = Recipe(arguments.steps, arguments.minutes, seed=arguments.seed)
    training = Training(Lifter(), maker, body, recipe)
    state = arguments.out.with_suffix(".state")
    count = sum(p.numel() for p in training.model.parameters())
    frames = len(maker.pool.rotmats)
    print(f"{arguments.preset}: {frames} frames, {count / 1e6:.2f} M weights, {recipe}")
    print(f"{maker.noise}", flush=True)
    if state.exists():
        training.resume(state)
        print(f"goes on from step {training.step}", flush=True)

    def report(text: str) -> None:
        print(text, flush=True)
        save_lifter(training.model, arguments.out)
        training.save(state)

    train(training, tracks, report)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=Path, required=True, help="file or folder, 30 fps")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", choices=("broad", "narrow"), default="broad")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--minutes", type=float, help="instead of steps: how long to train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(argv)


if __name__ == "__main__":
    from semtta.body import load_body

    run(parse(), load_body())
