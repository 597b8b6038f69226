"""Fit what names an action from a regressor's prediction: ``semtta label --provider prior``.

    python tools/train_retrieval.py --motions motion_lite_30fps.npz

A regressor's errors move the motion priors' features: legs that swing too little read as standing,
bent knees as kicks. Windows of training motion are seen by random cameras through the lifter's
training detector and predicted by the shipped lifters; a ridge regression then maps the two
priors' features of truth and prediction alike to the feature of the window's name. The temperature
that turns similarities into confidences is fitted on windows left out of it.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.landmark_noise import Random, observe  # noqa: E402
from semtta.body import load_body  # noqa: E402
from semtta.config import load_config  # noqa: E402
from semtta.files import whole_file
from semtta.geometry import Camera  # noqa: E402
from semtta.keypoints import Keypoints2D, Track  # noqa: E402
from semtta.motion import load_prior  # noqa: E402
from semtta.motion.retrieval import prior_hashes, raw_features  # noqa: E402
from semtta.skeletons import BODY27  # noqa: E402
from semtta.tta.adapter import Adapter  # noqa: E402
from tools.training.landmark_noise import BROAD  # noqa: E402
from tools.training.motions import load_clips  # noqa: E402
from tools.training.prior_data import build_pool, draw  # noqa: E402
from tools.training.synthetic import BROAD_VIEW, Synthesizer  # noqa: E402

_MODELS = ("lifter", "lifter", "lifter", "lifter-narrow")  # in turn
_LEFT_OUT = 5  # every fifth window fits the temperature
_LENGTH = 60  # frames of a window
_LEGS = BODY27.indices(
    [f"{s}_{p}" for s in ("left", "right") for p in ("knee", "ankle", "heel", "big_toe")]
)


def predicted_windows(
    motions: Path, labels: list[str], count: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions and truth (N, 60, 24, 3, 3) in camera axes, label indices (N,)."""
    generator = torch.Generator().manual_seed(seed)
    pool = build_pool(load_clips(motions, "train"), labels, per_action=6, seed=seed)
    poses, label = draw(pool, count, generator)
    random = Random(torch.arange(_LENGTH) / 30.0, generator)
    maker = Synthesizer(None, load_body(), BROAD_VIEW, BROAD, generator)
    adapters = {
        name: Adapter(config=load_config("default", [f"model.name={name}", "strategy=frozen"]))
        for name in set(_MODELS)
    }
    predicted, truth = [], []
    began = time.time()
    for i in range(count):
        track, camera, true = look(maker, poses[i : i + 1], random)
        result = adapters[_MODELS[i % len(_MODELS)]].adapt(track, camera)
        predicted.append(result.base.rotmats)
        truth.append(true)
        if (i + 1) % 200 == 0:
            print(f"{i + 1} of {count} windows, {time.time() - began:.0f} s", flush=True)
    return torch.stack(predicted), torch.stack(truth), label


def look(maker: Synthesizer, pose: Tensor, random: Random) -> tuple[Track, Camera, Tensor]:
    """A window (1, 60, 24, 3, 3) seen by a random camera, its legs hidden for a while in half of
    the cases: track, camera, true rotations in the camera."""
    trans = 0.3 * random.wander(1.0, 1, 3)  # in place, more or less
    points = maker._landmarks(pose, BROAD_VIEW.betas * random.normal(1, 10))
    rotmats, points = maker._cameras(pose.clone(), trans, points, random, _LENGTH // 2)
    seen = observe(points, random, BROAD)
    camera = Camera(1000.0, (500.0, 500.0))
    low, high = (seen.box[0, :, :2] + s * seen.box[0, :, 2:] / 2 for s in (-1, 1))
    conf, conf3d = seen.conf[0].clone(), seen.conf3d[0].clone()
    if bool(random.chance(0.5)):
        length = int(_LENGTH * random.uniform(0.2, 1.1).clamp(max=1))
        first = int(random.choice(_LENGTH - length + 1))
        for part in (conf, conf3d):
            part[first : first + length, _LEGS] = 0
    track = Track(
        id=1, frames=torch.arange(_LENGTH), times=torch.arange(_LENGTH).double() / 30,
        boxes=torch.cat((low, high), dim=-1) * camera.focal + camera.center[0],
        keypoints=Keypoints2D(seen.xy[0] * camera.focal + camera.center[0], conf, BODY27),
        landmarks3d=seen.space[0], conf3d=conf3d,
    )  # fmt: skip
    return track, camera, rotmats[0]


def ridge(x: Tensor, y: Tensor, weight: Tensor, strength: float) -> Tensor:
    """(D + 1, E): weighted least squares with a constant, shrunk towards zero."""
    x = F.pad(x, (0, 1), value=1.0).double()
    weighted = x * weight.double()[:, None]
    gram = x.T @ weighted + strength * torch.eye(x.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram, weighted.T @ y.double()).float()


def temperature(similarity: Tensor, label: Tensor) -> float:
    """The one that makes the right names of left-out windows most likely."""
    grid = torch.logspace(-2, 0, 60)
    loss = [F.cross_entropy(similarity / t, label) for t in grid]
    return float(grid[int(torch.stack(loss).argmin())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("semtta/assets/motion/retrieval.npz"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    priors = (load_prior("embedded"), load_prior("embedded-gate"))
    names = list(priors[0].dictionary.labels)
    predicted, truth, label = predicted_windows(args.motions, names, args.windows, args.seed)
    target = priors[0].features[label]
    weight = 1 / torch.bincount(label, minlength=len(names)).clamp_min(1).sqrt()[label]
    seen, true = raw_features(priors, predicted), raw_features(priors, truth)
    left_out = torch.arange(len(label)) % _LEFT_OUT == 0

    def fit(rows: Tensor) -> Tensor:
        x, y = torch.cat((seen[rows], true[rows])), target[rows].repeat(2, 1)
        return ridge(x, y, weight[rows].repeat(2), args.strength)

    def similarity(matrix: Tensor, x: Tensor) -> Tensor:
        return F.normalize(F.pad(x, (0, 1), value=1.0) @ matrix, dim=-1) @ priors[0].features.T

    matrix = fit(~left_out)
    heat = temperature(similarity(matrix, seen[left_out]), label[left_out])
    for name, x in (("predicted", seen), ("true", true)):
        hit = (similarity(matrix, x[left_out]).argmax(1) == label[left_out]).float().mean()
        print(f"left-out windows, {name}: top-1 {hit:.3f}; temperature {heat:.3f}")
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, labels=np.array(names), matrix=fit(label >= 0).half().numpy(),
        temperature=np.float32(heat), priors=np.array(prior_hashes()),
        windows=np.int64(args.windows), seed=np.int64(args.seed),
    )  # fmt: skip
    with whole_file(args.out) as temporary:
        temporary.write_bytes(buffer.getvalue())
    print(f"{args.out}: {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    main()
