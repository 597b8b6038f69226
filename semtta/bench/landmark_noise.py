"""A model of what a landmark detector gets wrong: for the mocap benchmark and for training.

True landmarks go in, what a detector with confidences and a gate would have said comes out. The
errors are shaped like those of monocular detectors: in 2D a bias per landmark, slow drift, jitter
and limbs put in the wrong place; in 3D a tilted, squeezed body whose limbs lean wrongly in depth
(the one thing an image does not show) while the outline stays right. Everything is a function of
time, so that the same code corrupts the short windows of training and whole test sequences.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from semtta.bench.landmark_groups import (
    GROUPS,
    HIPS,
    LIMB_BONES,
    MOVED,
    PARENTS,
    PATHS,
    SHOULDERS,
    SPREAD,
    TOWARDS,
)
from semtta.geometry import ray_rotation
from semtta.skeletons import BODY27


@dataclass(frozen=True)
class NoiseModel:
    """How bad a detector is.

    Args:
        pixel: 2D error of a usual landmark, share of the person's size.
        jitter: the part of it that changes from frame to frame, over its size.
        limb_offset: size of a misplaced limb's 2D offset, share of the person's size.
        misplaced: probability of a misplaced limb.
        definition: how far along the body hips, knees, elbows and shoulders are drawn from
            where the body model has them, share of the next bone's length.
        depth: error of a bone's depth, share of the bone's length (its length is kept).
        flip: probability that a limb bone's depth has the wrong sign.
        tilt: standard deviation of the body's rotation about the camera's x axis, rad; the
            other axes have 0.7 of it.
        depth_scale, scale: ranges of the 3D landmarks' scale along the view, and overall.
        space: 3D drift, metres.
        hidden: probability that some limb is hidden for a part of the time.
        blink: largest share of landmarks that come and go one by one.
        no_space: probability that the 3D landmarks are missing (whole body, a part of the time).
        stranger: probability that the 3D landmarks are for some time those of somebody else.
        box: range of the box's side over the person's extent.
        box_shift: largest shift of the box, share of its side.
    """

    pixel: float = 0.008
    jitter: float = 0.5
    limb_offset: float = 0.07
    misplaced: float = 0.2
    definition: float = 0.06
    depth: float = 0.25
    flip: float = 0.04
    tilt: float = 0.15
    depth_scale: tuple[float, float] = (0.7, 1.2)
    scale: tuple[float, float] = (0.85, 1.15)
    space: float = 0.015
    hidden: float = 0.5
    blink: float = 0.15
    no_space: float = 0.15
    stranger: float = 0.06
    box: tuple[float, float] = (0.95, 1.5)
    box_shift: float = 0.08


@dataclass(frozen=True)
class Observation:
    """What the detector said: B people, W frames each.

    ``xy`` (B, W, 27, 2) normalised image plane, ``conf`` (B, W, 27), ``space`` (B, W, 27, 3)
    metres, hip-centred, ``conf3d`` (B, W, 27), ``box`` (B, W, 3) square box, normalised plane.
    """

    xy: Tensor
    conf: Tensor
    space: Tensor
    conf3d: Tensor
    box: Tensor


class Random:
    """Random numbers over time from one generator.

    Args:
        times: (W,) seconds, the moments that drift is asked for.
        generator: source of all randomness.
    """

    def __init__(self, times: Tensor, generator: torch.Generator):
        self.times = times
        self.generator = generator
        self._factors: dict[float, Tensor] = {}

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def chance(self, probability: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator) < probability

    def choice(self, count: int, *shape: int) -> Tensor:
        return torch.randint(count, shape, generator=self.generator)

    def wander(self, scale: float, batch: int, *shape: int) -> Tensor:
        """(B, W, ...) unit Gaussian process over time with the given time scale, seconds."""
        if scale not in self._factors:
            distance = (self.times[:, None] - self.times[None]).double() / scale
            kernel = torch.exp(-0.5 * distance.square()) + 1e-4 * torch.eye(len(distance))
            self._factors[scale] = torch.linalg.cholesky(kernel).float()
        noise = self.normal(batch, len(self.times), *shape)
        return torch.einsum("uw,bw...->bu...", self._factors[scale], noise)

    def interval(self, batch: int, whole: float = 0.4) -> Tensor:
        """(B, W) a stretch of time that may begin or end in between, or covers all of it."""
        low, high = float(self.times.min()), float(self.times.max())
        length = high - low + 1e-3
        center = self.uniform(low - 0.3 * length, high + 0.3 * length, batch, 1)
        half = self.uniform(0.05, 0.6, batch, 1) * length
        inside = (self.times - center).abs() <= half
        return inside | self.chance(whole, batch, 1)

    def group(self, batch: int) -> Tensor:
        """(B, 27) members of a random group of landmarks."""
        members = torch.zeros(len(GROUPS), len(BODY27), dtype=torch.bool)
        for i, group in enumerate(GROUPS):
            members[i, group] = True
        return members[self.choice(len(GROUPS), batch)]


def observe(points: Tensor, random: Random, noise: NoiseModel) -> Observation:
    """What a detector says about landmarks.

    Args:
        points: (B, W, 27, 3) true BODY27 landmarks, metres, camera frame.
        random: source of noise, made for the W moments.
        noise: how bad the detector is."""
    points = _redefine(points, random, noise)
    true_xy = points[..., :2] / points[..., 2:].clamp_min(0.3)
    low, high = true_xy.amin(2), true_xy.amax(2)
    size = (high - low).amax(-1)  # (B, W) the person's extent
    hidden = _hidden(true_xy, low, size, random, noise)
    xy, error = _plane(true_xy, size.mean(1), random, noise)
    conf = _confidence(error, random) * ~hidden
    conf3d = conf * ~_space_missing(hidden, random, noise)
    space = _space(points, (low + high) / 2, random, noise)
    box = _boxes(true_xy, xy, conf, random, noise)
    return Observation(xy, conf, space, conf3d, box)


def _redefine(points: Tensor, random: Random, noise: NoiseModel) -> Tensor:
    """Landmarks as this detector's annotators understood them; left and right alike."""
    batch = len(points)
    share = noise.definition * random.normal(batch, 1, len(MOVED) // 2, 1)
    bones = points[..., TOWARDS, :] - points[..., MOVED, :]
    points = points.clone()
    points[..., MOVED, :] += share.repeat_interleave(2, dim=2) * bones
    return points


def _plane(xy: Tensor, size: Tensor, random: Random, noise: NoiseModel) -> tuple[Tensor, Tensor]:
    """2D landmarks with errors, and the size of the error that a detector could know of."""
    batch, _, joints, _ = xy.shape
    level = noise.pixel * random.uniform(0.4, 1.8, batch, 1, 1) * SPREAD
    drift = 0.8 * random.normal(batch, 1, joints, 2) + 0.8 * random.wander(0.25, batch, joints, 2)
    jitter = noise.jitter * random.normal(*xy.shape)
    offset = level[..., None] * (drift + jitter)
    known = level.expand(xy.shape[:3]) * 0.5
    for _ in range(2):
        wrong = random.chance(noise.misplaced / 2, batch, 1) & random.interval(batch, 0.2)
        wrong = wrong[..., None] & random.group(batch)[:, None]
        share = random.wander(0.3, batch, 1, 2) + 0.4 * random.wander(0.2, batch, joints, 2)
        shift = noise.limb_offset * share * wrong[..., None]
        offset = offset + shift
        known = known + shift.norm(dim=-1)
    return xy + offset * size[:, None, None, None], known


def _confidence(error: Tensor, random: Random) -> Tensor:
    """Confidences that fall with the error, but not reliably; some detectors always say 1."""
    batch, frames, joints = error.shape
    base = random.uniform(0.75, 1.0, batch, 1, 1) - 0.06 * random.normal(batch, 1, joints).abs()
    honesty = random.uniform(0.0, 7.0, batch, 1, 1)
    conf = base - honesty * error + 0.05 * random.wander(0.15, batch, joints)
    conf = conf.clamp(0.05, 1.0)
    return torch.where(random.chance(0.15, batch, 1, 1), torch.ones_like(conf), conf)


def _hidden(xy: Tensor, low: Tensor, size: Tensor, random: Random, noise: NoiseModel) -> Tensor:
    """(B, W, 27) landmarks that the gate declares missing."""
    batch, frames, joints, _ = xy.shape
    blink = random.uniform(0.0, noise.blink, batch, 1, 1) * random.chance(0.7, batch, 1, 1)
    # a smooth process under a threshold: landmarks stay away for several frames
    process = 0.7 * random.wander(0.2, batch, joints) + 0.7 * random.normal(batch, frames, joints)
    hidden = process > torch.special.ndtri((1 - blink).clamp_max(1 - 1e-5))
    for probability in (noise.hidden, 0.3 * noise.hidden):
        gone = random.chance(probability, batch, 1) & random.interval(batch)
        hidden = hidden | (gone[..., None] & random.group(batch)[:, None])
    # the image's border: below, or at either side of the person
    cut = random.chance(0.3 * noise.hidden, batch, 1, 1)
    axis = random.chance(0.7, batch).long()
    along = (xy - low[:, :, None]) / size[..., None, None]
    along = torch.gather(along, -1, axis[:, None, None, None].expand(batch, frames, joints, 1))
    border = random.uniform(0.2, 0.9, batch, 1, 1) + 0.1 * random.wander(0.5, batch, 1)
    return hidden | (cut & (along[..., 0] > border))


def _space_missing(hidden: Tensor, random: Random, noise: NoiseModel) -> Tensor:
    """(B, W, 27) landmarks without 3D although their 2D may be there."""
    batch = len(hidden)
    whole = random.chance(0.5 * noise.no_space, batch, 1)
    part = random.chance(0.5 * noise.no_space, batch, 1) & random.interval(batch, 0.0)
    limb = random.chance(0.7 * noise.no_space, batch, 1) & random.interval(batch)
    return (whole | part)[..., None] | (limb[..., None] & random.group(batch)[:, None])


def _space(points: Tensor, center: Tensor, random: Random, noise: NoiseModel) -> Tensor:
    """3D landmarks with errors, in the axes of the camera that looks at the person.

    Detectors see a crop, so their axes are those of each frame's crop (``center`` (B, W, 2),
    normalised plane), not of the image's."""
    batch, frames, joints, _ = points.shape
    local = points @ ray_rotation(center)
    hips = local[..., HIPS, :].mean(2, keepdim=True)
    neck = local[..., SHOULDERS, :].mean(2, keepdim=True)
    tree = torch.cat((local, neck), dim=2) - hips
    parent = torch.cat((tree, torch.zeros_like(hips)), dim=2)[:, :, PARENTS]
    bones = tree - parent
    length = bones.norm(dim=-1)
    lean = 0.8 * random.normal(batch, 1, joints + 1) + 0.6 * random.wander(0.3, batch, joints + 1)
    flip = random.chance(noise.flip, batch, 1, joints + 1) & LIMB_BONES
    depth = torch.where(flip, -bones[..., 2], bones[..., 2])
    level = random.uniform(0.4, 1.6, batch, 1, 1)
    depth = depth + noise.depth * level * lean * length
    bones = torch.cat((bones[..., :2], depth[..., None]), dim=-1)
    length = length * torch.exp(0.25 * noise.depth * random.normal(batch, 1, joints + 1))
    bones = bones * (length / bones.norm(dim=-1).clamp_min(1e-4))[..., None]
    space = (PATHS @ bones)[:, :, :joints]
    squeeze = torch.ones(batch, 1, 1, 3)
    squeeze[..., 2] = random.uniform(*noise.depth_scale, batch, 1, 1)
    space = space * squeeze * random.uniform(*noise.scale, batch, 1, 1, 1)
    space = space @ _tilt(random, batch, noise.tilt).mT
    wobble = random.wander(0.2, batch, joints, 3) + 0.5 * random.normal(batch, frames, joints, 3)
    wobble = wobble * torch.tensor([0.7, 0.7, 1.8]) * random.uniform(0.3, 1.5, batch, 1, 1, 1)
    space = space + noise.space * wobble * SPREAD[:, None]
    stranger = random.chance(noise.stranger, batch, 1) & random.interval(batch, 0.1)
    space = torch.where(stranger[..., None, None], space.roll(1, 0), space)
    return space - space[..., HIPS, :].mean(2, keepdim=True)


def _tilt(random: Random, batch: int, tilt: float) -> Tensor:
    """(B, W, 3, 3) the whole body turned by a constant and a little drift."""
    axes = torch.tensor([1.0, 0.7, 0.4]) * tilt
    vector = random.normal(batch, 1, 3) + 0.3 * random.wander(0.4, batch, 3)
    return roma.rotvec_to_rotmat(axes * vector)


def _boxes(true_xy: Tensor, xy: Tensor, conf: Tensor, random: Random, noise: NoiseModel) -> Tensor:
    """(B, W, 3) boxes of the whole person or of what is seen of them, imprecise."""
    batch = len(xy)
    seen = conf > 0
    enough = seen.sum(-1) >= 8
    use_seen = (random.chance(0.5, batch, 1) & enough)[..., None, None]
    keep = torch.where(use_seen, seen[..., None], torch.ones_like(seen)[..., None])
    extent = torch.where(use_seen, xy, true_xy)
    low = extent.masked_fill(~keep, torch.inf).amin(2)
    high = extent.masked_fill(~keep, -torch.inf).amax(2)
    side = (high - low).amax(-1, keepdim=True)
    side = side * random.uniform(*noise.box, batch, 1, 1)
    side = side * torch.exp(0.02 * random.wander(0.3, batch, 1))
    shift = random.uniform(-noise.box_shift, noise.box_shift, batch, 1, 2)
    center = (low + high) / 2 + side * (shift + 0.01 * random.wander(0.3, batch, 2))
    return torch.cat((center, side), dim=-1)
