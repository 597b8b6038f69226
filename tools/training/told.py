"""Labelled motion as the library tells it: what priors and retrieval meet on real video.

A detector's errors, a camera somewhere, a frame rate, the lifter's own errors, and what the motion
model makes of limbs that are hidden: windows of two seconds that went through all of it, each with
its label. Whoever learns from clean motion alone takes a frontal walk for standing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from semtta.bench.landmark_noise import Observation, Random
from semtta.body import load_body
from semtta.geometry import Camera, columns_to_rotmat, full_translation, rotmat_to_columns
from semtta.hmr import load_model
from semtta.hmr.base import Batch
from semtta.hmr.features import BOX_SCALE, window_features, window_index
from semtta.motion.denoiser import load_denoiser, without_unseen
from semtta.motion.resample import fractional_index, resample_positions
from semtta.skeletons import BODY27
from semtta.tta.run import seen_rotations
from tools.training.landmark_noise import BROAD, observe
from tools.training.motions import load_clips
from tools.training.phrases import PHRASES
from tools.training.prior_data import LENGTH, Drawn, Pool, build_pool, draw_windows, recorded
from tools.training.synthetic import BROAD_VIEW, Synthesizer

PERFORMANCES = 30  # of each procedural action among what is told
COUNT = {"train": 20000, "dev": 2400}
SEED = {"train": 1, "dev": 2}
_RATES = (30.0, 30.0, 30.0, 25.0, 24.0, 60.0, 15.0, 12.0)  # of videos
_BATCH = 32
_GRID = torch.arange(LENGTH, dtype=torch.float64) / 30


@dataclass
class Told:
    """N windows, float16, 60 frames at 30 fps.

    ``predicted``, ``completed`` (N, 60, 24, 6) columns of the rotations in camera axes; ``path``
    (N, 60, 3) pelvis, metres; ``xy`` (N, 60, 27, 2) and ``box`` (N, 60, 3) normalised plane,
    ``space`` (N, 60, 27, 3), ``conf`` and ``conf3d`` (N, 60, 27) of the detector; ``label`` (N,);
    ``entry`` (N,) of the pool, whose first ones are the recorded ``clips``.
    """

    predicted: Tensor
    completed: Tensor
    path: Tensor
    xy: Tensor
    box: Tensor
    space: Tensor
    conf: Tensor
    conf3d: Tensor
    label: Tensor
    entry: Tensor
    clips: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: Tensor) -> Told:
        return Told(*(getattr(self, name)[index] for name in _TENSORS), self.clips)

    def motion(self, index: Tensor, completed: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (B, 60, 24, 3, 3), of some windows completed ones, and paths (B, 60, 3)."""
        columns = torch.where(completed[:, None, None, None], self.completed[index],
                              self.predicted[index])  # fmt: skip
        return columns_to_rotmat(columns.float()), self.path[index].float()

    def kept(self, clips: Collection[str]) -> Told:
        """Without recorded clips of other names; what is procedural stays."""
        return self[torch.nonzero(~self._outside(clips))[:, 0]]

    def left_out(self, clips: Collection[str]) -> Told:
        """The other part of :meth:`kept`."""
        return self[torch.nonzero(self._outside(clips))[:, 0]]

    def _outside(self, clips: Collection[str]) -> Tensor:
        other = torch.tensor([name not in clips for name in self.clips])
        return (self.entry < len(other)) & other[self.entry.clamp_max(len(other) - 1)]

    def __add__(self, other: Told) -> Told:
        parts = (torch.cat((getattr(self, n), getattr(other, n))) for n in _TENSORS)
        return Told(*parts)


_TENSORS = [field.name for field in fields(Told) if field.name != "clips"]


def told_windows(path: Path, motions: Path, side: str, say: Callable[[str], None] = print) -> Told:
    """The windows of one side of the split: of a file, which is made if there is none."""
    clips = load_clips(motions, side)
    if not path.exists():
        made = PERFORMANCES if side == "train" else 0
        share = 0.6 if made else 1.0
        pool = build_pool(clips, list(PHRASES), made, SEED[side], share)
        told = Teller(pool, SEED[side]).tell(COUNT[side], say)
        path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: getattr(told, name) for name in _TENSORS}, path)
    told = Told(**torch.load(path, weights_only=True))
    told.clips = tuple(clip.name for clip in recorded(clips, PHRASES))
    return told


class Teller:
    """Makes told windows of a pool's motion; a seed gives the same ones again."""

    def __init__(self, pool: Pool, seed: int, model: str = "lifter"):
        self.pool = pool
        self.generator = torch.Generator().manual_seed(seed)
        self.maker = Synthesizer(None, load_body(), BROAD_VIEW, BROAD, self.generator)
        self.model, self.denoiser = load_model(model).eval(), load_denoiser()

    @torch.no_grad()
    def tell(self, count: int, say: Callable[[str], None] = print) -> Told:
        """``count`` windows, rounded up to whole batches."""
        parts, began = [], time.time()
        for i in range(-(-count // _BATCH)):
            parts.append(self._batch(draw_windows(self.pool, _BATCH, self.generator)))
            if (i + 1) % 50 == 0:
                say(f"{(i + 1) * _BATCH} of {count} windows, {time.time() - began:.0f} s")
        return Told(*(torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS))

    def _batch(self, drawn: Drawn) -> Told:
        rate = _RATES[int(torch.randint(len(_RATES), (), generator=self.generator))]
        times = torch.arange(round(rate * float(_GRID[-1])) + 1, dtype=torch.float64) / rate
        at = fractional_index(_GRID, times)
        poses = torch.stack([resample_positions(x, at) for x in drawn.rotmats])
        trans = drawn.trans[:, at.round().long()]
        random = Random(times.float(), self.generator)
        points = self.maker.landmarks(poses, BROAD_VIEW.betas * random.normal(len(poses), 10))
        _, points = self.maker.seen_by_cameras(poses, trans, points, random, len(times) // 2)
        seen = observe(points, random, BROAD)
        return self._told(seen, times, drawn)

    def _told(self, seen: Observation, times: Tensor, drawn: Drawn) -> Told:
        batch = len(seen.xy)
        index, offsets, present = window_index(times)
        box = seen.box * seen.box.new_tensor([1.0, 1.0, BOX_SCALE])
        rows = window_features(
            *(x[:, index].flatten(0, 1) for x in (seen.xy, seen.conf, seen.space, seen.conf3d)),
            box.flatten(0, 1), offsets.repeat(batch, 1), present.repeat(batch, 1),
        )  # fmt: skip
        out = self.model(Batch(torch.arange(len(rows)), rows))
        path = full_translation(out.cam, box.flatten(0, 1), Camera(1.0, (0.0, 0.0)))
        rotmats, path = out.rotmats.unflatten(0, (batch, -1)), path.unflatten(0, (batch, -1))
        at = fractional_index(times, _GRID)
        near = at.round().long()
        rotmats = torch.stack([resample_positions(x, at) for x in rotmats])
        path = torch.lerp(path[:, at.floor().long()], path[:, at.ceil().long()],
                          (at - at.floor()).float()[:, None])  # fmt: skip
        shown = torch.stack([seen_rotations(x > 0, BODY27) for x in seen.conf[:, near]])
        completed, _ = self.denoiser.complete(without_unseen(rotmats, shown), shown, None, path)
        columns = (rotmat_to_columns(x) for x in (rotmats, completed))
        rest = (path, seen.xy[:, near], seen.box[:, near], seen.space[:, near],
                seen.conf[:, near], seen.conf3d[:, near])  # fmt: skip
        return Told(*(x.half() for x in (*columns, *rest)), drawn.label, drawn.entry)
