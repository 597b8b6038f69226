"""Motion seen through random cameras by an imperfect detector: training data of the lifter.

    pool = MotionPool.build(load_clips(path, "train"), seed=0)
    maker = Synthesizer(pool, body, BROAD_VIEW, BROAD, torch.Generator().manual_seed(0))
    example = maker.windows(256)          # features, box, and the truth of the middle frames

``tracks`` makes whole tracks in pixels for evaluation through the library's own code path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.bench.landmark_noise import NoiseModel, Random
from semtta.geometry import Camera, mirror_pose
from semtta.hmr.features import OFFSETS, window_features
from semtta.keypoints import Keypoints2D, Track
from semtta.motion.motion_files import FPS
from semtta.skeletons import BODY27
from tools.training import procedural
from tools.training.landmark_noise import observe
from tools.training.motions import ARMS, LOWER_BODY, Clip

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # body axes (y up) -> camera axes (y down)
_WANTED = torch.tensor(OFFSETS)
# Frame rates of videos; most are near 30.
_RATES = torch.tensor([30.0, 30.0, 30.0, 25.0, 24.0, 60.0, 50.0, 15.0, 12.0, 10.0])


@dataclass(frozen=True)
class ViewModel:
    """Which people and cameras are seen.

    Args:
        pitch, roll: ranges of the camera's angles, degrees (pitch > 0 looks down).
        distance: range, metres.
        azimuth, elevation: largest angle of the person off the optical axis, degrees.
        betas: standard deviation of the shape.
        pose: largest standard deviation of constant joint offsets, rad.
        splice: probability that arms (and, apart from them, legs) come from another motion.
    """

    pitch: tuple[float, float] = (-35.0, 45.0)
    roll: float = 30.0
    distance: tuple[float, float] = (1.2, 9.0)  # phones are near
    azimuth: float = 25.0
    elevation: float = 30.0  # and upright
    betas: float = 1.0
    pose: float = 0.25
    splice: float = 0.3


BROAD_VIEW = ViewModel()
NARROW_VIEW = ViewModel(
    pitch=(-5.0, 5.0), roll=0.0, distance=(3.0, 6.0), azimuth=15.0, elevation=5.0, betas=0.7,
    pose=0.03, splice=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class MotionPool:
    """Many motions end to end.

    ``rotmats`` (N, 24, 3, 3), ``trans`` (N, 3); frame i belongs to the motion that occupies
    ``first[i]`` to ``last[i]``; ``weight`` (N,) is the chance to be drawn.
    """

    rotmats: Tensor
    trans: Tensor
    first: Tensor
    last: Tensor
    weight: Tensor

    @staticmethod
    def build(
        clips: Sequence[Clip],
        seed: int,
        actions: Sequence[str] = tuple(procedural.ACTIONS),
        performances: int = 6,
        frames: int = 100,
        procedural_share: float = 0.4,
        mixtures: int = 0,
    ) -> MotionPool:
        """Pool of recorded clips, of ``performances`` random ones of every action, and of
        ``mixtures``: arms of one action over the legs of another, and one action into the next."""
        rng = np.random.default_rng(seed)
        motions = [(clip.rotmats, clip.trans, len(clip) ** 0.6) for clip in clips]
        recorded = sum(weight for *_, weight in motions)
        played = [procedural.perform(name, rng, frames)
                  for name in actions for _ in range(performances)]  # fmt: skip
        for _ in range(mixtures):
            upper, lower = (str(rng.choice(n)) for n in (procedural.UPPER, procedural.LOWER))
            played.append(procedural.compose(upper, lower, rng, frames))
            played.append(procedural.chain(rng.choice(actions, 2).tolist(), rng, frames))
        share = 1.0
        if motions and played:
            share = procedural_share / (1 - procedural_share) * recorded / len(played)
        motions += [(p.rotmats, p.trans, share) for p in played]
        lengths = torch.tensor([len(rotmats) for rotmats, *_ in motions])
        ends = lengths.cumsum(0)
        weights = torch.tensor([w for *_, w in motions], dtype=torch.float64) / lengths
        return MotionPool(
            rotmats=torch.from_numpy(np.concatenate([m[0] for m in motions])).float(),
            trans=torch.from_numpy(np.concatenate([m[1] for m in motions])).float(),
            first=(ends - lengths).repeat_interleave(lengths),
            last=(ends - 1).repeat_interleave(lengths),
            weight=weights.float().repeat_interleave(lengths),
        )


@dataclass(frozen=True)
class Example:
    """B training windows: what the lifter reads, and the truth of each window's own frame.

    ``inputs`` (B, W, FEATURES), ``box`` (B, 3) normalised plane, ``rotmats`` (B, 24, 3, 3)
    camera frame, ``betas`` (B, 10), ``points`` (B, 27, 3) landmarks, metres, camera frame.
    """

    inputs: Tensor
    box: Tensor
    rotmats: Tensor
    betas: Tensor
    points: Tensor


@dataclass(frozen=True)
class SyntheticTrack:
    """A synthetic track with its truth: ``points`` (T, 27, 3) and ``rotmats`` in the camera."""

    name: str
    track: Track
    camera: Camera
    points: Tensor
    rotmats: Tensor


class Synthesizer:
    """Draws examples; one generator, so a seed gives the same examples again.

    Args:
        pool: motions.
        body: ``semtta.body`` model; only ``landmarks(rotmats, betas, skeleton)`` is used.
        view: people and cameras.
        noise: the detector.
        generator: source of all randomness.
    """

    def __init__(self, pool: MotionPool, body, view: ViewModel, noise: NoiseModel,
                 generator: torch.Generator):  # fmt: skip
        self.pool, self.body, self.view, self.noise = pool, body, view, noise
        self.generator = generator
        self.random = Random(torch.tensor(OFFSETS), generator)

    @torch.no_grad()
    def windows(self, batch: int) -> Example:
        """B windows of B / 2 performances, each seen by two cameras (posing is the slow part)."""
        batch //= 2
        own = torch.multinomial(self.pool.weight, batch, replacement=True, generator=self.generator)
        offsets, exists = self._offsets(batch)
        tempo = self.random.uniform(0.8, 1.25, batch, 1)  # people are faster and slower
        index, present = self._neighbours(own, (offsets * tempo * FPS).round().long())
        rotmats, trans, betas = self._people(index)
        points = self.landmarks(rotmats, betas)
        rotmats, trans, betas, points, offsets, present = (
            torch.cat((x, x)) for x in (rotmats, trans, betas, points, offsets, present & exists)
        )
        rotmats, points = self.seen_by_cameras(rotmats, trans, points, self.random)
        seen = observe(points, self.random, self.noise)
        present = present & ~self._lost(2 * batch)
        inputs = window_features(
            seen.xy, seen.conf, seen.space, seen.conf3d, seen.box[:, 0], offsets, present
        )
        return Example(inputs, seen.box[:, 0], rotmats[:, 0], betas, points[:, 0])

    @torch.no_grad()
    def tracks(
        self, clips: Sequence[Clip], frames: int, focal: float = 1000.0
    ) -> list[SyntheticTrack]:
        """One track per clip, from its middle, with truth, in an image around (500, 500)."""
        camera = Camera(focal, (500.0, 500.0))
        random = Random(torch.arange(frames) / FPS, self.generator)
        out = []
        for clip in clips:
            start = max(0, (len(clip) - frames) // 2)
            part = slice(start, start + frames)
            rotmats = torch.from_numpy(clip.rotmats[part]).float()[None]
            trans = torch.from_numpy(clip.trans[part]).float()[None]
            betas = self.view.betas * random.normal(1, 10)
            points = self.landmarks(rotmats, betas)
            rotmats, points = self.seen_by_cameras(rotmats, trans, points, random, frames // 2)
            seen = observe(points, random, self.noise)
            center = points.new_tensor(camera.center)
            low = (seen.box[0, :, :2] - seen.box[0, :, 2:] / 2) * focal + center
            high = (seen.box[0, :, :2] + seen.box[0, :, 2:] / 2) * focal + center
            track = Track(
                id=1, frames=torch.arange(frames), times=torch.arange(frames) / FPS,
                boxes=torch.cat((low, high), dim=-1),
                keypoints=Keypoints2D(seen.xy[0] * focal + center, seen.conf[0], BODY27),
                landmarks3d=seen.space[0], conf3d=seen.conf3d[0],
            )  # fmt: skip
            out.append(SyntheticTrack(clip.name, track, camera, points[0], rotmats[0]))
        return out

    def _offsets(self, batch: int) -> tuple[Tensor, Tensor]:
        """(B, W) seconds to the frames nearest to the wanted ones in videos of all rates, and
        whether those are near enough (the rule of ``features.window_index``)."""
        rate = _RATES[self.random.choice(len(_RATES), batch, 1)]
        offsets = (_WANTED * rate).round() / rate
        uneven = self.random.chance(0.1, batch, 1) * (_WANTED.abs() > 0.05)  # frames are dropped
        offsets = offsets + uneven * self.random.uniform(-0.3, 0.3, batch, len(_WANTED)) * _WANTED
        exists = (offsets - _WANTED).abs() <= _WANTED.abs() / 2 + 1e-4
        return offsets, exists

    def _neighbours(self, own: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the windows, and which lie in the motion."""
        wanted = own[:, None] + steps
        inside = (wanted >= self.pool.first[own, None]) & (wanted <= self.pool.last[own, None])
        return torch.where(inside, wanted, own[:, None]), inside

    def _lost(self, batch: int) -> Tensor:
        """(B, W) frames that are not there: videos begin, end and have gaps."""
        begin, end = (self.random.chance(0.08, batch, 1) for _ in range(2))
        first, last = -self.random.uniform(0, 1, batch, 1), self.random.uniform(0, 1, batch, 1)
        lost = (begin & (first > _WANTED)) | (end & (last < _WANTED))
        lost |= self.random.chance(0.03, batch, len(_WANTED))
        lost[:, 0] = False
        return lost

    def _people(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Poses, translations and shapes of the windows, varied."""
        batch, random, view = len(index), self.random, self.view
        rotmats, trans = self.pool.rotmats[index], self.pool.trans[index]
        for joints in (ARMS, LOWER_BODY):
            other = rotmats[torch.randperm(batch, generator=self.generator)]
            take = random.chance(view.splice, batch)[:, None, None, None, None]
            rotmats[:, :, list(joints)] = torch.where(
                take, other[:, :, list(joints)], rotmats[:, :, list(joints)]
            )
        flip = random.chance(0.5, batch)
        rotmats = torch.where(flip[:, None, None, None, None], mirror_pose(rotmats), rotmats)
        trans = torch.where(flip[:, None, None], trans * torch.tensor([-1.0, 1.0, 1.0]), trans)
        level = random.uniform(0.0, view.pose, batch, 1, 1)
        level = torch.where(random.chance(0.2, batch, 1, 1), 1.7 * level, level)
        offset = level * random.normal(batch, 24, 3)
        offset[:, 0] *= 0.5
        offset[:, 22:] = 0.0  # hands are not observed beyond the wrist's rotation
        rotmats = rotmats @ roma.rotvec_to_rotmat(offset)[:, None]
        return rotmats, trans, view.betas * random.normal(batch, 10)

    def seen_by_cameras(
        self, rotmats: Tensor, trans: Tensor, points: Tensor, random: Random, own: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Poses and landmarks in random cameras; in frame ``own`` the pelvis is where asked."""
        batch, view = len(rotmats), self.view
        usual = random.chance(0.5, batch)
        middle = sum(view.pitch) / 2
        pitch = torch.where(
            usual,
            middle + 0.15 * (view.pitch[1] - view.pitch[0]) * random.normal(batch),
            random.uniform(*view.pitch, batch),
        )
        roll = torch.where(
            random.chance(0.65, batch),
            0.2 * view.roll * random.normal(batch),
            random.uniform(-view.roll, view.roll, batch),
        )
        axis = torch.eye(3)
        turn = roma.rotvec_to_rotmat(roll.deg2rad()[:, None] * axis[2])
        turn = turn @ roma.rotvec_to_rotmat(pitch.deg2rad()[:, None] * axis[0]) @ FLIP
        turn = turn @ roma.rotvec_to_rotmat(random.uniform(-math.pi, math.pi, batch, 1) * axis[1])
        distance = torch.exp(
            random.uniform(math.log(view.distance[0]), math.log(view.distance[1]), batch, 1)
        )
        x = random.uniform(-1.0, 1.0, batch, 1) * math.tan(math.radians(view.azimuth))
        y = random.uniform(-1.0, 1.0, batch, 1) * math.tan(math.radians(view.elevation))
        ray = torch.nn.functional.normalize(torch.cat((x, y, torch.ones_like(x)), dim=-1), dim=-1)
        moved = (trans - trans[:, own : own + 1]) @ turn.mT
        sway = random.wander(0.5, batch, 3)  # a camera that does not stand still
        moved = moved + 0.03 * (sway - sway[:, own : own + 1])
        translation = (distance * ray)[:, None] + moved
        translation[..., 2] = translation[..., 2].clamp_min(1.0)
        root = turn[:, None] @ rotmats[:, :, 0]
        rotmats = torch.cat((root[:, :, None], rotmats[:, :, 1:]), dim=2)
        return rotmats, points @ turn.mT[:, None] + translation[:, :, None]

    def landmarks(self, rotmats: Tensor, betas: Tensor) -> Tensor:
        """(B, W, 24, 3, 3), (B, 10) -> (B, W, 27, 3)."""
        batch, frames = rotmats.shape[:2]
        betas = betas[:, None].expand(-1, frames, -1).reshape(batch * frames, -1)
        points = self.body.landmarks(rotmats.flatten(0, 1), betas, BODY27)
        return points.view(batch, frames, len(BODY27), 3)
