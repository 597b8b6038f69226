"""Motion as the embedded regressor tells it, which is what the motion model has to complete.

Clips are seen through random cameras by the lifters' imperfect detector, and the frozen lifter
says what it makes of them: its errors where limbs are seen, its guesses where they are not, and
its path of the pelvis, beside the truth. Guesses that are drawn at random are worse than these,
and a model that has met no others throws good ones away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.geometry import columns_to_rotmat, full_translation, rotmat_to_columns, square_boxes
from semtta.hmr.base import Batch
from semtta.hmr.features import BOX_SCALE, lifter_features
from semtta.hmr.lifter import Lifter
from semtta.motion.denoiser_net import WINDOW
from semtta.skeletons import BODY27
from semtta.tta.run import seen_rotations
from tools.training import motions, procedural
from tools.training.landmark_noise import BROAD
from tools.training.motions import Clip
from tools.training.synthetic import BROAD_VIEW, MotionPool, Synthesizer

FRAMES = 75  # of a track: windows begin anywhere in it
_CONFIDENT = 0.1  # evidence.min_confidence of the shipped settings
_PLAYED = 0.5  # share of tracks of procedural motion


@dataclass(frozen=True)
class Told:
    """N tracks of ``FRAMES`` frames, rotations as their first two columns in half precision.

    ``said`` and ``true`` (N, T, 24, 6) camera frame, ``seen`` (N, T, 24), ``trans`` (N, T, 3) the
    pelvis as the lifter has it, metres.
    """

    said: Tensor
    true: Tensor
    seen: Tensor
    trans: Tensor

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Windows: said, seen, trans, true as the network reads them."""
        rows = torch.randint(len(self.said), (count, 1), generator=generator)
        first = torch.randint(FRAMES - WINDOW + 1, (count, 1), generator=generator)
        at = first + torch.arange(WINDOW)
        said, true = (columns_to_rotmat(x[rows, at].float()) for x in (self.said, self.true))
        return said, self.seen[rows, at].float(), self.trans[rows, at], true

    def save(self, path: Path) -> None:
        torch.save(vars(self), path)

    @staticmethod
    def load(path: Path) -> Told:
        return Told(**torch.load(path, weights_only=True))


def stretches(clips: Sequence[Clip], count: int, rng: np.random.Generator) -> list[Clip]:
    """Random stretches of recorded clips and procedural performances, half of them mirrored."""
    long = [clip for clip in clips if len(clip) >= FRAMES]
    weights = np.array([len(clip) ** 0.6 for clip in long])
    out = []
    for _ in range(count):
        if rng.random() < _PLAYED:
            made = procedural.perform(str(rng.choice(procedural.ACTIONS)), rng, FRAMES)
            clip = replace(long[0], rotmats=made.rotmats[:FRAMES], trans=made.trans[:FRAMES])
        else:
            clip = long[rng.choice(len(long), p=weights / weights.sum())]
            first = int(rng.integers(len(clip) - FRAMES + 1))
            part = slice(first, first + FRAMES)
            clip = replace(clip, rotmats=clip.rotmats[part], trans=clip.trans[part])
        if rng.random() < 0.5:
            clip = replace(clip, rotmats=motions.mirror(clip.rotmats),
                           trans=motions.mirror_trans(clip.trans))  # fmt: skip
        out.append(clip)
    return out


@torch.no_grad()
def tell(lifter: Lifter, clips: Sequence[Clip], body, count: int, seed: int) -> Told:
    """Let the lifter tell ``count`` stretches of clips; the seed determines the result."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pool = MotionPool.build(clips[:1], seed, performances=0)
    maker = Synthesizer(pool, body, BROAD_VIEW, BROAD, generator)
    parts: list[tuple[Tensor, ...]] = []
    for clip in stretches(clips, count, rng):
        (item,) = maker.tracks([clip], FRAMES)
        inputs = lifter_features(item.track, item.camera)
        prediction = lifter(Batch(torch.arange(FRAMES), inputs))
        boxes = square_boxes(item.track.boxes, BOX_SCALE)
        detected = item.track.keypoints.conf >= _CONFIDENT
        parts.append((
            rotmat_to_columns(prediction.rotmats).half(), rotmat_to_columns(item.rotmats).half(),
            seen_rotations(detected, BODY27).bool(),
            full_translation(prediction.cam, boxes, item.camera),
        ))  # fmt: skip
    return Told(*(torch.stack(part) for part in zip(*parts)))
