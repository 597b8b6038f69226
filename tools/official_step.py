"""What one step of CycleAdapt's released code computes, for the clock only; and ours beside it.

Written from the paper and from what is known of the released step: GroupNorm ResNet-50 in fp32 with
dropout on, the whole SMPL mesh, joints regressed from it, five losses (one of weight zero is
computed all the same), backward, Adam, predictions kept. Timings do not depend on values, so
weights, body and pictures are random; SMPL's sizes are true, its numbers are not in here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor

from semtta.body import load_body
from semtta.body.lbs import KinematicTree, skin
from semtta.config import load_config
from semtta.engine import make_generator, resolve_precision, silent
from semtta.geometry import Camera, crop_translation, project
from semtta.hmr.base import Batch
from semtta.hmr.hmr import HMR
from semtta.keypoints import Keypoints2D, Track
from semtta.skeletons import BODY27, SMPL_PARENTS
from semtta.threads import threads_for
from semtta.tta.cycleadapt import CycleAdapt, Targets
from semtta.tta.evidence import Evidence
from semtta.tta.pieces import pieces_for
from semtta.tta.run import Run
from semtta.tta.steps import accumulate_gradient
from semtta.tta.strategy import Draw, Networks
from semtta.tta.view import View

VERTICES, POSE_DIRECTIONS, FACE, MIXTURE = 6890, 207, 5, 8
_LR, _BETAS = 1e-6, (0.5, 0.9)


def official_step(batch: int, device: torch.device) -> Callable[[], None]:
    """One step on ``batch`` frames, as the released code computes it."""
    torch.manual_seed(0)
    model = HMR("group").to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), _LR, betas=_BETAS)
    images = torch.randn(batch, 3, 224, 224, device=device)
    joints = 24 + FACE
    pixels = 224 * torch.rand(batch, joints, 2, device=device)
    pose, shape = torch.randn(batch, 24, 3, 3, device=device), torch.randn(batch, 10, device=device)
    mesh = _Mesh(device)
    precision = torch.eye(69, device=device).repeat(MIXTURE, 1, 1)
    means = torch.zeros(MIXTURE, 69, device=device)
    center = torch.full((2,), 112.0, device=device)
    kept: list[Tensor] = []

    def step() -> None:
        optimizer.zero_grad()
        found = model(Batch(torch.arange(batch, device=device), images))
        vertices, marks = mesh.of(found.rotmats, found.betas)
        place = crop_translation(found.cam, 224, 5000.0)
        seen = project(marks + place[:, None], 5000.0, center)
        off = found.rotmats[:, 1:, :, :1].flatten(1)[:, None] - means  # 69 numbers of the pose
        prior = (off[..., None, :] @ precision @ off[..., None]).amin(1).mean()
        loss = (
            0.1 * (seen - pixels).abs().mean() + (found.rotmats - pose).abs().mean()
            + 0.001 * (found.betas - shape).abs().mean() + 0.0 * prior
            + 0.0 * found.betas.square().mean()
        )  # fmt: skip
        loss.backward()
        optimizer.step()
        kept[:] = [x.detach().cpu() for x in (found.rotmats, found.betas, vertices)]

    return step


def our_step(
    batch: int, precision: str, chunk: int | None, device: torch.device
) -> Callable[[], None]:
    """The same step as ``strategy: cycleadapt`` takes it, of the same network and losses, with
    dropout at rest: in pieces, on as many threads as PyTorch now has."""
    torch.manual_seed(0)
    model = HMR("group").to(device).eval()
    settings = ["optimizer.train_mode=false", "smoothing.kind=none",
                f"optimizer.precision={precision}",
                f"optimizer.chunk={'null' if chunk is None else chunk}"]  # fmt: skip
    config = load_config("cycleadapt", settings)
    frames = torch.arange(batch, device=device)
    boxes = torch.tensor([[112.0, 112.0, 224.0]], device=device).repeat(batch, 1)
    points = Keypoints2D(224 * torch.rand(batch, 27, 2, device=device),
                         torch.ones(batch, 27, device=device), BODY27)  # fmt: skip
    squares = torch.tensor([[0.0, 0.0, 224.0, 224.0]], device=device).repeat(batch, 1)
    view = View(load_body().to(device), Camera(5000.0, (112.0, 112.0)), boxes, model.crop, BODY27)
    known = torch.ones(27, dtype=torch.bool, device=device)
    run = Run(
        model=model, view=view, track=Track(1, frames, frames / 30, squares, points),
        inputs=torch.randn(batch, 3, 224, 224, device=device),
        evidence=Evidence.from_keypoints(points, known, 0.3), labels=[None] * batch, config=config,
        generator=make_generator(0), progress=silent,
        precision=resolve_precision(precision, device, images=True),
        pieces=pieces_for(model, config, device),
    )  # fmt: skip
    run.first = run.latest = run.predict_all()
    strategy = CycleAdapt(Networks())
    strategy.begin(run)
    strategy.targets = Targets(torch.randn(batch, 24, 3, 3, device=device),
                               torch.randn(batch, 10, device=device))  # fmt: skip
    fused = device.type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(model.parameters(), _LR, betas=_BETAS, fused=fused)
    draw = Draw(frames, torch.ones(batch, device=device))

    def step() -> None:
        with threads_for(False, device):
            optimizer.zero_grad()
            accumulate_gradient(run, strategy, draw, chunk)
            optimizer.step()

    return step


def table(
    what: str, batches: Sequence[int], device: torch.device, steps: int, clock: Callable[[], float]
) -> Iterator[str]:
    """Lines of Markdown: ms per frame and step, and in brackets the ratio to the official step.

    Args:
        what: is measured, and where."""
    yield f"One step of CycleAdapt, {what}, PyTorch {torch.__version__}: ms per frame (ratio).\n"
    for i, batch in enumerate(batches):
        found = compare(batch, device, steps, clock)
        if not i:
            yield "| batch | " + " | ".join(found) + " |\n" + "|--:" * (len(found) + 1) + "|"
        cells = (f"{ms:.2f} ({ratio:.2f})" for ms, ratio in found.values())
        yield f"| {batch} | " + " | ".join(cells) + " |"


def compare(
    batch: int, device: torch.device, steps: int, clock: Callable[[], float]
) -> dict[str, tuple[float, float]]:
    """Ms per frame and step of each way, and the median ratio to the official one.

    The ways take turns, so that what else a machine does falls on all of them.

    Args:
        steps: timed ones of each, after one to warm up.
        clock: seconds."""
    ways = {
        "official fp32": official_step(batch, device),
        "ours fp32": our_step(batch, "fp32", None, device),
        "ours bf16": our_step(batch, "bf16", None, device),
        "ours bf16, chunks of 8": our_step(batch, "bf16", 8, device),
    }
    times = _timed(ways, steps, clock)
    return {
        name: (1000 * min(taken) / batch, median(ratios(taken, times["official fp32"])))
        for name, taken in times.items()
    }


def beside_a_busy_core(
    batch: int, device: torch.device, steps: int, clock: Callable[[], float]
) -> Iterator[str]:
    """Lines: how our bf16 step compares with the official one, step by step, while another process
    keeps a core busy.

    Args: as of :func:`compare`."""
    ways = {"official": official_step(batch, device), "ours": our_step(batch, "bf16", None, device)}
    with _busy_core():
        times = _timed(ways, steps, clock)
    found = ratios(times["ours"], times["official"])
    yield f"Ours bf16 / official fp32, batch {batch}, beside a process that keeps a core busy:"
    yield " ".join(f"{ratio:.2f}" for ratio in found)
    yield f"{sum(ratio <= 0.5 for ratio in found)} of {steps} are at most 0.5."


def ratios(taken: list[float], official: list[float]) -> list[float]:
    return [ours / theirs for ours, theirs in zip(taken, official, strict=True)]


def _timed(
    ways: dict[str, Callable[[], None]], steps: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each step, after one to warm up; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(steps + 1):
        for name, step in ways.items():
            start = clock()
            step()
            if turn:
                times[name].append(clock() - start)
    return times


@contextmanager
def _busy_core() -> Iterator[None]:
    """Another process that never rests."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


class _Mesh:
    """A body of SMPL's sizes."""

    def __init__(self, device: torch.device):
        random = lambda *shape: 0.01 * torch.randn(*shape, device=device)  # noqa: E731
        self.template, self.shapes = random(VERTICES, 3), random(VERTICES * 3, 10)
        self.poses = random(VERTICES * 3, POSE_DIRECTIONS)
        self.regressor = random(24, VERTICES)
        self.weights = torch.rand(VERTICES, 24, device=device).softmax(1)
        self.tree = KinematicTree(SMPL_PARENTS)

    def of(self, rotmats: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """(B, V, 3) vertices, and (B, 29, 3) joints regressed from them with some of the face."""
        shaped = self.template + (betas @ self.shapes.T).unflatten(1, (VERTICES, 3))
        rest = self.regressor @ shaped
        turned = (rotmats[:, 1:] - torch.eye(3, device=rotmats.device)).flatten(1)
        points = shaped + (turned @ self.poses.T).unflatten(1, (VERTICES, 3))
        rotations, positions = self.tree.chain(rotmats, rest)
        vertices = skin(rotations, positions, rest, points, self.weights)
        return vertices, torch.cat((self.regressor @ vertices, vertices[:, :FACE]), 1)
