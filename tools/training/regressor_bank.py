"""What the shipped regressors make of known motion: training pairs for the denoiser.

    python -m tools.training.regressor_bank --motions motion_lite_30fps.npz --out bank.npz

Windows of training motion are seen by random cameras through the lifter's training detector, legs
hidden for a while in half of them, and predicted by a shipped lifter: as it is, or fine-tuned on
the window's 2D evidence for a few epochs, which is what the denoiser meets in an adaptation.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.bench.landmark_noise import Random, observe
from semtta.body import load_body
from semtta.config import load_config
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D, Track
from semtta.motion.denoiser_net import WINDOW
from semtta.motion.motion_files import FPS
from semtta.skeletons import BODY27
from semtta.tta.adapter import Adapter
from semtta.tta.run import seen_rotations
from tools.training.landmark_noise import BROAD
from tools.training.synthetic import BROAD_VIEW, Synthesizer

_LEGS = BODY27.indices(
    f"{side}_{part}" for side in ("left", "right")
    for part in ("knee", "ankle", "heel", "big_toe")
)  # fmt: skip
_ONLY_2D = ("alignment.weight=0", "evidence.fill=false", "evidence.update=none")
# How a window is predicted, and how often: a shipped model, as it is or after some epochs.
_WAYS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.2, ("model.name=lifter", "strategy=frozen")),
    (0.2, ("model.name=lifter-narrow", "strategy=frozen")),
    (0.2, ("model.name=lifter", *_ONLY_2D, "optimizer.epochs=3", "optimizer.lr=1e-4")),
    (0.4, ("model.name=lifter-narrow", *_ONLY_2D, "optimizer.epochs=5", "optimizer.lr=1e-4")),
)


@dataclass(frozen=True)
class Bank:
    """N windows: predictions and truth (N, 60, 24, 3, 3), seen (N, 60, 24), text (N, D)."""

    predicted: Tensor
    truth: Tensor
    seen: Tensor
    text: Tensor

    @classmethod
    def load(cls, path: Path) -> Bank:
        with np.load(path) as file:
            parts = [torch.from_numpy(file[key].astype(np.float32))
                     for key in ("predicted", "truth", "seen", "text")]  # fmt: skip
        return cls(*parts)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """(noisy, seen, clean, text) of ``count`` windows."""
        which = torch.randint(0, len(self.truth), (count,), generator=generator)
        return self.predicted[which], self.seen[which], self.truth[which], self.text[which]


def predict_windows(poses: Tensor, text: Tensor, seed: int) -> dict[str, np.ndarray]:
    """Predictions of windows (N, 60, 24, 3, 3) of motion in body axes, as arrays of a bank."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    random = Random(torch.arange(WINDOW) / FPS, generator)
    maker = Synthesizer(None, load_body(), BROAD_VIEW, BROAD, generator)
    adapters = [Adapter(config=load_config("default", way)) for _, way in _WAYS]
    rows: dict[str, list[np.ndarray]] = {"predicted": [], "truth": [], "seen": [], "text": []}
    for pose, feature in zip(poses, text):
        way = int(torch.multinomial(torch.tensor([p for p, _ in _WAYS]), 1, generator=generator))
        track, camera, truth = _look(maker, pose[None], random)
        result = adapters[way].adapt(track, camera)
        detected = result.evidence.detected
        seen = seen_rotations(detected, track.keypoints.skeleton)
        parts = (result.adapted.rotmats, truth, seen, feature)
        for key, value in zip(rows, parts):
            rows[key].append(value.numpy().astype(np.float16))
    return {key: np.stack(values) for key, values in rows.items()}


def _look(maker: Synthesizer, pose: Tensor, random: Random) -> tuple[Track, Camera, Tensor]:
    """A window seen by a random camera: track, camera, true rotations in the camera."""
    trans = 0.3 * random.wander(1.0, 1, 3)  # in place, more or less
    points = maker._landmarks(pose, BROAD_VIEW.betas * random.normal(1, 10))
    rotmats, points = maker._cameras(pose.clone(), trans, points, random, WINDOW // 2)
    seen = observe(points, random, BROAD)
    camera = Camera(1000.0, (500.0, 500.0))
    low, high = (seen.box[0, :, :2] + s * seen.box[0, :, 2:] / 2 for s in (-1, 1))
    conf, conf3d = seen.conf[0].clone(), seen.conf3d[0].clone()
    if bool(random.chance(0.5)):
        length = int(WINDOW * random.uniform(0.2, 1.1).clamp(max=1))
        first = int(random.choice(WINDOW - length + 1))
        for part in (conf, conf3d):
            part[first : first + length, _LEGS] = 0
    track = Track(
        id=1, frames=torch.arange(WINDOW), times=torch.arange(WINDOW).double() / FPS,
        boxes=torch.cat((low, high), dim=-1) * camera.focal + camera.center[0],
        keypoints=Keypoints2D(seen.xy[0] * camera.focal + camera.center[0], conf, BODY27),
        landmarks3d=seen.space[0], conf3d=conf3d,
    )  # fmt: skip
    return track, camera, rotmats[0]


def main() -> None:
    from semtta.motion.text import TextEncoder
    from tools.train_denoiser import build_library, restyle
    from tools.training.corruption import Corruptor

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(args.seed)
    library = build_library(args.motions, args.seed, TextEncoder.load())
    poses, text = library.draw(args.windows, generator)
    poses = restyle(poses, Corruptor(generator))
    began, parts = time.time(), []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(predict_windows, poses[i : i + 20], text[i : i + 20], args.seed + i)
                for i in range(0, args.windows, 20)]  # fmt: skip
        for job in jobs:
            parts.append(job.result())
            done = 20 * len(parts)
            print(f"{done} of {args.windows} windows, {time.time() - began:.0f} s", flush=True)
    np.savez(args.out, **{key: np.concatenate([p[key] for p in parts]) for key in parts[0]})


if __name__ == "__main__":
    main()
