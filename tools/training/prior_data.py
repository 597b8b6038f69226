"""Batches of labelled motion for the prior: sampling, augmentation, corruption, adversaries.

Everything works on rotation matrices (B, 60, 24, 3, 3) in torch, driven by one generator, so
that a seed fixes the training.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.geometry.rotations import columns_to_rotmat, mirror_pose, rotmat_to_columns
from semtta.motion.encoder import joint_positions
from semtta.skeletons import SMPL24
from tools.training import procedural
from tools.training.motions import (
    LOWER_BODY,
    UPPER_BODY,
    Clip,
    mirror_text,
    remove_yaw,
    rest_joints,
)

LENGTH = 60
PROCEDURAL_FRAMES = 80
# Joints whose mean posture differs between recordings and the generator but hardly ever carries
# the action: a procedural motion borrows it from a recorded one.
STYLE = SMPL24.indices(["spine1", "spine2", "spine3", "neck", "head", "left_collar",
                        "right_collar", "left_ankle", "right_ankle", "left_foot", "right_foot",
                        "left_wrist", "right_wrist"])  # fmt: skip
# Walking is what most videos show, and the case that the gate must judge best.
BOOST = {"walk": 2.0, "walk slowly": 1.3, "walk fast": 1.3, "run": 1.3, "jump": 1.3}
ENDS = SMPL24.indices(["left_knee", "right_knee", "left_ankle", "right_ankle", "left_elbow",
                       "right_elbow", "left_wrist", "right_wrist"])  # fmt: skip


def _side(side: str, parts: Sequence[str]) -> list[int]:
    return SMPL24.indices([f"{side}_{part}" for part in parts])


LEG, ARM = ("hip", "knee", "ankle", "foot"), ("collar", "shoulder", "elbow", "wrist")
GROUPS: dict[str, list[int]] = {
    "legs": list(LOWER_BODY),
    "upper": list(UPPER_BODY),
    "all": list(range(1, 24)),
    "left leg": _side("left", LEG),
    "right leg": _side("right", LEG),
    "arms": _side("left", ARM) + _side("right", ARM),
    "left arm": _side("left", ARM),
    "right arm": _side("right", ARM),
}
LEG_GROUPS = ("legs", "left leg", "right leg")
# What an action is made of: destroying the rest of the body costs it less.
_LEG_WORDS = ("walk", "run", "march", "sneak", "stumble", "climb", "jump", "hop", "kick", "sit",
              "squat", "kneel", "stand up", "stand with", "balance", "zombie", "crawl", "spin",
              "turn around", "dance", "kata", "lie", "fall", "get up")  # fmt: skip
_ARM_WORDS = ("throw", "punch", "box", "sword", "shield", "gun", "bow", "wave", "raise", "cheer",
              "arms", "clap", "point", "hands", "traffic", "signals", "dribble", "drink", "phone",
              "wash", "stretch", "push", "dance", "kata", "crawl", "jacks")  # fmt: skip


def uses(label: str) -> tuple[bool, bool]:
    """Whether the action is made with the legs, with the arms (both if neither is named)."""
    legs = any(word in label for word in _LEG_WORDS)
    arms = any(word in label for word in _ARM_WORDS)
    return (legs or not arms), (arms or not legs)


@dataclass
class Pool:
    """Labelled frames to draw windows from.

    ``frames`` (N, 24, 3, 3), ``trans`` (N, 3); entry k is ``frames[start[k] : start[k] +
    length[k]]`` with label ``label[k]``; the first ``real`` entries were recorded, the others are
    procedural. ``weight`` is the probability of each entry. ``means`` (C, 24, 3, 3): postures of
    the recorded entries.
    """

    labels: list[str]
    frames: Tensor
    trans: Tensor
    start: Tensor
    length: Tensor
    label: Tensor
    weight: Tensor
    real: int
    means: Tensor

    def __post_init__(self) -> None:
        known = {name: i for i, name in enumerate(self.labels)}
        self.mirrored = torch.tensor([known.get(mirror_text(n), known[n]) for n in self.labels])
        self.legs = torch.tensor([uses(n)[0] for n in self.labels])
        self.arms = torch.tensor([uses(n)[1] for n in self.labels])
        self.rest = torch.from_numpy(rest_joints())


def recorded(clips: Sequence[Clip], labels: Collection[str]) -> list[Clip]:
    """Clips that a pool takes: named and at least 36 frames long."""
    return [c for c in clips if c.label in labels and len(c) >= 36]


def build_pool(clips: Sequence[Clip], labels: list[str], per_action: int, seed: int,
               real_share: float = 0.6) -> Pool:  # fmt: skip
    """Recorded clips and procedural performances."""
    rng = np.random.default_rng(seed)
    index = {name: i for i, name in enumerate(labels)}
    taken = recorded(clips, index)
    made = [(index[name], procedural.perform(name, rng, PROCEDURAL_FRAMES))
            for name in procedural.ACTIONS if name in index for _ in range(per_action)]  # fmt: skip
    frames = [m.rotmats for m in taken] + [m.rotmats for _, m in made]
    trans = np.concatenate([m.trans for m in taken] + [m.trans for _, m in made])
    label = torch.tensor([index[c.label] for c in taken] + [i for i, _ in made])
    length = torch.tensor([len(f) for f in frames])
    real = len(taken)
    weight = torch.zeros(len(frames), dtype=torch.float64)
    for part, share in ((slice(0, real), real_share), (slice(real, None), 1 - real_share)):
        # the square root of a label's footage: rare labels come up often, but not each clip of them
        seconds = length[part].double().clamp(max=600) / 30
        total = torch.zeros(len(labels), dtype=torch.float64).index_add(0, label[part], seconds)
        chance = seconds / total[label[part]] * total[label[part]].clamp(4, 150).sqrt()
        chance = chance * torch.tensor([BOOST.get(labels[i], 1.0) for i in label[part].tolist()])
        weight[part] = share * chance / chance.sum()
    stacked = torch.from_numpy(np.concatenate(frames))
    means = torch.stack([_mean_rotation(torch.from_numpy(c.rotmats)) for c in taken])
    trans = torch.from_numpy(trans).float()
    first = length.cumsum(0) - length
    return Pool(labels, stacked, trans, first, length, label, weight, real, means)


def _mean_rotation(rotmats: Tensor) -> Tensor:
    return columns_to_rotmat(rotmat_to_columns(rotmats.mean(-4 if rotmats.dim() > 4 else 0)))


def orthonormal(matrices: Tensor) -> Tensor:
    return columns_to_rotmat(rotmat_to_columns(matrices))


@dataclass(frozen=True)
class Drawn:
    """Windows of a pool: ``rotmats`` (B, 60, 24, 3, 3) and ``trans`` (B, 60, 3) in the axes of
    their clips, ``label`` (B,) and ``entry`` (B,) of the pool."""

    rotmats: Tensor
    trans: Tensor
    label: Tensor
    entry: Tensor


def draw(pool: Pool, count: int, generator: torch.Generator,
         only: Tensor | None = None) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Windows (count, 60, 24, 3, 3) whose roots face +z in the first frame, and their labels."""
    drawn = draw_windows(pool, count, generator, only)
    return torch.from_numpy(remove_yaw(drawn.rotmats.numpy())), drawn.label


def draw_windows(pool: Pool, count: int, generator: torch.Generator,
                 only: Tensor | None = None) -> Drawn:  # fmt: skip
    """Windows at random starts and speeds 0.8-1.25.

    Half of them are mirrored. Clips shorter than a window are slowed down to 0.7 at most, then
    their last frame repeats."""
    weight = pool.weight if only is None else pool.weight * only
    k = torch.multinomial(weight, count, replacement=True, generator=generator)
    u = torch.rand(4, count, generator=generator)
    speed = (0.8 + 0.45 * u[0]).minimum(((pool.length[k] - 1) / (LENGTH - 1)).clamp(min=0.7))
    room = (pool.length[k] - 1 - speed * (LENGTH - 1)).clamp(min=0)
    at = (u[1] * room)[:, None] + speed[:, None] * torch.arange(LENGTH)
    at = at.minimum((pool.length[k] - 1)[:, None].float())
    low = at.floor().long()
    share = (at - low)[..., None]
    high = (low + 1).minimum(pool.length[k][:, None] - 1)
    before, after = pool.start[k][:, None] + low, pool.start[k][:, None] + high
    trans = torch.lerp(pool.trans[before], pool.trans[after], share)
    share = share[..., None, None]
    rotmats = orthonormal(pool.frames[before] * (1 - share) + pool.frames[after] * share)
    styled = (k >= pool.real) & (u[2] < 0.7)
    if styled.any():
        rotmats[styled] = _borrow_style(pool, rotmats[styled], generator)
        rotmats[styled] = _borrow_sway(pool, rotmats[styled], generator)
    flipped = u[3] < 0.5
    rotmats[flipped] = mirror_pose(rotmats[flipped])
    trans[flipped] = trans[flipped] * torch.tensor([-1.0, 1.0, 1.0])
    label = torch.where(flipped, pool.mirrored[pool.label[k]], pool.label[k])
    return Drawn(rotmats, trans, label, k)


def _borrow_style(pool: Pool, rotmats: Tensor, generator: torch.Generator) -> Tensor:
    """Move the mean posture of spine, neck, collars, feet and wrists to a recorded clip's."""
    own = _mean_rotation(rotmats)[:, None, STYLE]
    pick = torch.randint(len(pool.means), (len(rotmats),), generator=generator)
    wanted = pool.means[pick][:, None, STYLE]
    out = rotmats.clone()
    out[:, :, STYLE] = wanted @ own.transpose(-1, -2) @ rotmats[:, :, STYLE]
    return out


def _borrow_sway(pool: Pool, rotmats: Tensor, generator: torch.Generator) -> Tensor:
    """Add a part of what some recorded person does about his mean posture.

    Without it a generated motion is known by its smoothness, and real ones are never taken for
    what only the generator shows."""
    count = len(rotmats)
    only = torch.arange(len(pool.length)) < pool.real
    long = only & (pool.length >= LENGTH)
    k = torch.multinomial(pool.weight * long, count, True, generator=generator)
    u = torch.rand(2, count, generator=generator)
    first = pool.start[k] + (u[0] * (pool.length[k] - LENGTH + 1)).long()
    other = pool.frames[first[:, None] + torch.arange(LENGTH)]
    about = roma.rotmat_to_rotvec(_mean_rotation(other)[:, None].mT @ other)
    size = about.norm(dim=-1).amax(1, keepdim=True).clamp_min(1e-6)[..., None]
    about = about * (size.clamp_max(0.35) / size) * (0.5 * u[1])[:, None, None, None]
    about[:, :, 0] *= 0.5
    return rotmats @ roma.rotvec_to_rotmat(about)


def replace_roots(rotmats: Tensor, label: Tensor, roots: Tensor,
                  generator: torch.Generator) -> Tensor:  # fmt: skip
    """Own root (40 %), the label's exemplar (20 %), another label's (25 %) or identity (15 %).

    In use the root is always the exemplar of the label in question, right or wrong, so an
    encoder must not take it for evidence.
    """
    u = torch.rand(len(rotmats), generator=generator)
    other = torch.randint(len(roots), (len(rotmats),), generator=generator)
    out = rotmats.clone()
    same, wrong, none = (u >= 0.4) & (u < 0.6), (u >= 0.6) & (u < 0.85), u >= 0.85
    out[same, :, 0] = roots[label[same]]
    out[wrong, :, 0] = roots[other[wrong]]
    out[none, :, 0] = torch.eye(3)
    return out


def perturb(rotmats: Tensor, generator: torch.Generator, offset: float = 9.0, drift: float = 6.0,
            jitter: float = 0.12) -> Tensor:  # fmt: skip
    """Constant joint offsets and slow drift (degrees), then jitter on the 6D form."""
    b = len(rotmats)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    constant = randn(b, 1, 24, 3) * offset * rand(b, 1, 1, 1) * 1.4
    rate, phase = 0.1 + 0.9 * rand(b, 1, 24, 3), 6.28 * rand(b, 1, 24, 3)
    time = (torch.arange(LENGTH) / 30.0)[None, :, None, None]
    slow = torch.sin(6.28 * rate * time + phase) * drift * 1.4
    slow = slow * rand(b, 1, 24, 3) * rand(b, 1, 1, 1)
    out = rotmats @ roma.rotvec_to_rotmat(torch.deg2rad(constant + slow))
    amount = jitter * rand(b, 1, 1, 1) ** 2
    amount = torch.where(rand(b, 1, 1, 1) < 0.25, torch.full_like(amount, 0.8 * jitter), amount)
    out = rotmat_to_columns(out)
    return columns_to_rotmat(out + amount * randn(b, LENGTH, 24, 6))


def gaussian_over_time(matrices: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of (B, T, ...) over T with repeated ends; not orthonormalised."""
    reach = int(3 * sigma) + 1
    offsets = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    t = matrices.shape[1]
    index = (torch.arange(t)[:, None] + offsets).clamp(0, t - 1)
    mix = torch.zeros(t, t).index_put(
        (torch.arange(t)[:, None].expand_as(index), index), (kernel / kernel.sum()).expand(t, -1),
        accumulate=True)  # fmt: skip
    return torch.einsum("ts,bs...->bt...", mix, matrices)


def collapse(rotmats: Tensor, joints: Sequence[int], kind: str, generator: torch.Generator,
             sigma: float = 12.0) -> Tensor:  # fmt: skip
    """One kind of loss of motion on the given joints: freeze, mean, smooth or shuffle."""
    out = rotmats.clone()
    part = rotmats[:, :, joints]
    if kind == "freeze":
        frame = int(torch.randint(LENGTH, (), generator=generator))
        part = part[:, frame : frame + 1].expand_as(part)
    elif kind == "mean":
        part = _mean_rotation(part)[:, None].expand_as(part)
    elif kind == "smooth":
        part = orthonormal(gaussian_over_time(part, sigma))
    else:
        block = int(torch.randint(1, 9, (), generator=generator))
        count = -(-LENGTH // block)
        order = torch.randperm(count, generator=generator)
        index = (order[:, None] * block + torch.arange(block)).flatten()
        part = part[:, index[index < LENGTH]]
    out[:, :, joints] = part
    return out


def corrupt(pool: Pool, rotmats: Tensor, label: Tensor,
            generator: torch.Generator) -> tuple[Tensor, Tensor]:  # fmt: skip
    """A destroyed copy of each motion and how far its similarity to the label must drop, 0-0.9.

    Collapsed limbs (freeze, mean, Gaussian smoothing of 6-16 frames, shuffled time) and chimeras
    (legs or upper body of another action). The drop grows with how far the end joints moved, and
    is small where the destroyed limbs do not make the action.
    """
    out = rotmats.clone()
    names = list(GROUPS)
    share = torch.tensor([0.34, 0.08, 0.26, 0.08, 0.08, 0.08, 0.04, 0.04])
    matters = torch.ones(len(rotmats))
    for i in range(len(rotmats)):
        group = names[int(torch.multinomial(share, 1, generator=generator))]
        u = float(torch.rand((), generator=generator))
        joints = GROUPS[group]
        leg = group in LEG_GROUPS
        if group != "all" and not (pool.legs if leg else pool.arms)[label[i]]:
            matters[i] = 0.3
        if u < 0.22 and group in ("legs", "upper"):
            j = int(torch.randint(len(rotmats), (), generator=generator))
            out[i, :, joints] = rotmats[j, :, joints]
            matters[i] *= float(label[i] != label[j])
            continue
        kind = ("freeze", "mean", "smooth", "smooth", "shuffle")[int(u * 997) % 5]
        sigma = 6 + 10 * float(torch.rand((), generator=generator))
        out[i] = collapse(rotmats[i : i + 1], joints, kind, generator, sigma)[0]
    moved = (joint_positions(out, pool.rest) - joint_positions(rotmats, pool.rest))[:, :, ENDS]
    moved = moved.norm(dim=-1).mean(1).topk(2, dim=1).values.mean(1)  # metres, two worst joints
    return out, 0.9 * matters * ((moved - 0.05) / 0.13).clamp(0, 1)


def optimise_towards(embed: Callable[[Tensor], Tensor], rotmats: Tensor, root: Tensor,
                     target: Tensor, steps: Sequence[int], lr: float = 2e-2,
                     smooth: float = 0.0) -> list[Tensor]:  # fmt: skip
    """What an alignment loss makes of a motion when nothing holds it back.

    Adam on the 6D form of the local rotations of (B, 60, 24, 3, 3) to raise the cosine of
    ``embed`` with ``target`` (B, D), the root replaced by ``root`` (B, 60, 3, 3); ``smooth``
    weighs the squared acceleration. Returns the motions after each number of ``steps``.
    """
    columns = rotmat_to_columns(rotmats[:, :, 1:]).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([columns], lr)
    taken = []
    for step in range(1, max(steps) + 1):
        posed = torch.cat((root[:, :, None], columns_to_rotmat(columns)), 2)
        loss = (1 - (embed(posed) * target).sum(-1)).sum()
        if smooth:
            bend = columns[:, 2:] - 2 * columns[:, 1:-1] + columns[:, :-2]
            loss = loss + smooth * bend.square().mean((1, 2, 3)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in steps:
            with torch.no_grad():
                taken.append(torch.cat((root[:, :, None], columns_to_rotmat(columns)), 2))
    return taken
