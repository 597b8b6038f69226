"""How bad the detectors were that the lifters were trained with.

The form of the errors is the benchmark's (``semtta.bench.landmark_noise``); the strengths of
``BROAD`` are those of the library's own detector (``tools/measure_detector.py``). Beside it stands
what is only trained on: limbs that are never found, and backs taken for fronts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import roma
import torch
from torch import Tensor

from semtta.bench import landmark_noise as bench
from semtta.bench.landmark_groups import HIPS, LIMB_BONES, PARENTS, PATHS, SHOULDERS
from semtta.bench.landmark_noise import NoiseModel, Observation, Random
from semtta.skeletons import BODY27

_FLIP = list(BODY27.flip)
_LEG = ("knee", "ankle", "heel", "big_toe")
_WRISTS = BODY27.indices(("left_wrist", "right_wrist"))  # ends of the forearms
_ENOUGH = 6  # landmarks that a box is drawn around


@dataclass(frozen=True)
class TrainingNoise(NoiseModel):
    """A detector, seen from the side of training.

    Args:
        gone: probability that a limb, or more, is missing in every frame of the window.
        tight: probability that the box is then drawn around what is left.
        exchanged: probability that for some time a back is taken for a front: left and right
            exchanged, and the depth of all 3D with them.
        flat: range of the share of their true depth that limbs are given, their lengths kept.
        shank: range of what is added to the shanks' depth, share of their length (positive: the
            ankles are put too far away).
        toes: range of what is added to the toes' depth beyond the heels', metres.
        foot: range of the scale of the feet's depth.
        forearm: error of the forearms' depth beyond other bones', share of their length.
        turn: standard deviation of what the whole body is turned by about the vertical, rad.
    """

    gone: float = 0.0
    tight: float = 0.85
    exchanged: float = 0.0
    flat: tuple[float, float] = (1.0, 1.0)
    shank: tuple[float, float] = (0.0, 0.0)
    toes: tuple[float, float] = (0.0, 0.0)
    foot: tuple[float, float] = (1.0, 1.0)
    forearm: float = 0.0
    turn: float = 0.0


# On renders and on the clean beam clips alike the detector says 0.4 to 0.6 of a limb's true depth
# without making it shorter, puts ankles too far away (beam: by a quarter of the shank) and toes too
# near. What is left scatters by 0.16 of a leg bone's length, 0.21 of an upper arm's and 0.30 of a
# forearm's on beam (renders: 0.11, 0.14, 0.18, 0.29), the trunk by 10 degrees in tilt and 12 to 19
# in yaw. ``depth`` is more than that, for limbs are flattened with their errors; other detectors
# may say all of the depth.
BROAD = TrainingNoise(
    pixel=0.009, limb_offset=0.07, depth=0.25, flip=0.05, tilt=0.16, depth_scale=(0.7, 1.15),
    scale=(0.87, 1.13), space=0.015, no_space=0.1, stranger=0.04, gone=0.25, exchanged=0.03,
    flat=(0.4, 1.05), shank=(-0.1, 0.4), toes=(-0.1, 0.0), foot=(0.2, 1.0), forearm=0.2, turn=0.17,
)  # fmt: skip
NARROW = TrainingNoise(
    pixel=0.003, limb_offset=0.0, misplaced=0.0, definition=0.0, depth=0.05, flip=0.0, tilt=0.03,
    depth_scale=(0.95, 1.05), scale=(0.97, 1.03), space=0.004, hidden=0.05, blink=0.02,
    no_space=0.02, stranger=0.0, box=(1.05, 1.25), box_shift=0.03,
)  # fmt: skip


def observe(points: Tensor, random: Random, noise: NoiseModel) -> Observation:
    """What a detector says about landmarks (B, W, 27, 3) metres in the camera frame."""
    seen, batch = bench.observe(points, random, noise), len(points)
    if not isinstance(noise, TrainingNoise):
        return seen
    space = _legs(_flatten(seen.space, random, noise), random, noise)
    if noise.turn:
        angle = noise.turn * (random.normal(batch, 1, 1) + 0.3 * random.wander(0.4, batch, 1))
        turn = roma.rotvec_to_rotmat(angle * torch.tensor([0.0, 1.0, 0.0]))
        space = space @ turn.mT
    seen = replace(seen, space=space)
    if noise.exchanged:
        seen = _exchange(seen, random, noise)
    return _take_away(seen, random, noise) if noise.gone else seen


def _flatten(space: Tensor, random: Random, noise: TrainingNoise) -> Tensor:
    """Limbs that lean too little in depth, all of them about alike."""
    batch, low_high = len(space), noise.flat
    neck = space[..., SHOULDERS, :].mean(2, keepdim=True)
    tree = torch.cat((space, neck), dim=2)
    parent = torch.cat((tree, torch.zeros_like(neck)), dim=2)[:, :, PARENTS]
    bones = tree - parent
    share = random.uniform(*low_high, batch, 1, 1) * torch.exp(
        0.2 * (low_high[1] - low_high[0]) * random.normal(batch, 1, len(PARENTS))
    )
    depth = torch.where(LIMB_BONES, share * bones[..., 2], bones[..., 2])
    if noise.forearm:
        lean = 0.8 * random.normal(batch, 1, 2) + 0.6 * random.wander(0.3, batch, 2)
        far = bones[..., _WRISTS, :].norm(dim=-1) * lean
        depth[..., _WRISTS] = depth[..., _WRISTS] + noise.forearm * far
    turned = torch.cat((bones[..., :2], depth[..., None]), dim=-1)
    length, now = bones.norm(dim=-1), turned.norm(dim=-1)
    turned = turned * (length / now.clamp_min(1e-4))[..., None]
    return (PATHS @ turned)[:, :, : space.shape[2]]


def _legs(space: Tensor, random: Random, noise: TrainingNoise) -> Tensor:
    """What is wrong with the depth of lower legs in the same way in all frames."""
    batch = len(space)
    depth = space[..., 2].clone()
    for side in ("left", "right"):
        knee, ankle, heel, toe = BODY27.indices(f"{side}_{p}" for p in _LEG)
        length = (space[..., ankle, :] - space[..., knee, :]).norm(dim=-1)
        away = random.uniform(*noise.shank, batch, 1) * length
        foot = (depth[..., toe] - depth[..., heel]) * random.uniform(*noise.foot, batch, 1)
        depth[..., ankle] += away
        depth[..., heel] += away
        depth[..., toe] = depth[..., heel] + foot + random.uniform(*noise.toes, batch, 1)
    return torch.cat((space[..., :2], depth[..., None]), dim=-1)


def _exchange(seen: Observation, random: Random, noise: TrainingNoise) -> Observation:
    batch = len(seen.xy)
    wrong = random.chance(noise.exchanged, batch, 1) & random.interval(batch, 0.3)
    pointwise, each = wrong[..., None], wrong[..., None, None]
    mirrored = seen.space[:, :, _FLIP] * torch.tensor([1.0, 1.0, -1.0])
    return replace(
        seen,
        xy=torch.where(each, seen.xy[:, :, _FLIP], seen.xy),
        conf=torch.where(pointwise, seen.conf[:, :, _FLIP], seen.conf),
        space=torch.where(each, mirrored, seen.space),
        conf3d=torch.where(pointwise, seen.conf3d[:, :, _FLIP], seen.conf3d),
    )


def _take_away(seen: Observation, random: Random, noise: TrainingNoise) -> Observation:
    """A limb or more out of every frame; boxes then mostly of what is left."""
    batch = len(seen.xy)
    gone = random.chance(noise.gone, batch, 1) & random.group(batch)
    gone &= ~(random.chance(0.5, batch, 1) & torch.isin(torch.arange(27), torch.tensor(HIPS)))
    conf = seen.conf * ~gone[:, None]
    enough = (conf > 0).sum(-1) >= _ENOUGH
    tight = (gone.any(-1, keepdim=True) & random.chance(noise.tight, batch, 1)) & enough
    room = random.uniform(1.0, 1.3, batch, 1, 1)
    left = (conf > 0)[..., None]
    low = torch.where(left, seen.xy, torch.inf).amin(2)
    high = torch.where(left, seen.xy, -torch.inf).amax(2)
    box = torch.cat(((low + high) / 2, (high - low).amax(-1, keepdim=True) * room), dim=-1)
    box = torch.where(tight[..., None], box, seen.box)
    return replace(seen, conf=conf, conf3d=seen.conf3d * ~gone[:, None], box=box)
