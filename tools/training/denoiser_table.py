"""What the masked motion model is worth on performers that training has not seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import roma
import torch
from torch import Tensor

from semtta.bench.mocap_split import load_split
from semtta.bench.mocap_windows import SHORTEST
from semtta.geometry import gaussian_smooth, geodesic_degrees
from semtta.motion.denoiser import complete_track
from semtta.motion.denoiser_input import FPS, fill_unseen
from semtta.motion.denoiser_net import WINDOW, MotionDenoiser
from semtta.skeletons import SMPL24, SMPL_PARENTS
from tools.training import motions
from tools.training.corruption import ARMS, LEGS, LOWER_LEGS, Corruptor, slow_noise

log = logging.getLogger("train_denoiser")
_DEPTHS: list[list[int]] = [[0]]
while sum(map(len, _DEPTHS)) < 24:
    _DEPTHS.append([j for j in range(24) if SMPL_PARENTS[j] in _DEPTHS[-1]])
_LIMBS = SMPL24.indices([f"{side}_{part}" for part in ("knee", "ankle", "elbow", "wrist")
                         for side in ("left", "right")])  # fmt: skip
_ENDS = SMPL24.indices(["left_wrist", "right_wrist", "left_ankle", "right_ankle"])
_ONE_LEG = [j for j in LEGS if SMPL24.joints[j].startswith("right")]
_ONE_ARM = [j for j in ARMS if SMPL24.joints[j].startswith("right")]
# What is hidden, and for which share of the frames.
MASKS: dict[str, tuple[list[int], float]] = {
    "legs, 40 % of the frames": (LEGS, 0.4),
    "arm, 75 % of the frames": (_ONE_ARM, 0.75),
    "legs, whole clip": (LEGS, 1.0),
    "one leg, whole clip": (_ONE_LEG, 1.0),
    "lower legs, whole clip": (LOWER_LEGS, 1.0),
    "arms, whole clip": (ARMS, 1.0),
    "one arm, whole clip": (_ONE_ARM, 1.0),
}
_LONGEST = 160  # frames of a case


def forward_kinematics(rotmats: Tensor, rest: Tensor) -> Tensor:
    """(..., 24, 3, 3) local rotations, (24, 3) rest joints -> (..., 24, 3) metres, pelvis at 0."""
    world, position = [None] * 24, [None] * 24
    for level in _DEPTHS:
        if level == [0]:
            world[0] = rotmats[..., 0, :, :]
            position[0] = torch.zeros_like(world[0][..., 0])
            continue
        parents = [SMPL_PARENTS[j] for j in level]
        frames = torch.stack([world[p] for p in parents], dim=-3)
        offset = (rest[level] - rest[parents])[..., None]
        moved = (frames @ offset)[..., 0] + torch.stack([position[p] for p in parents], dim=-2)
        turned = frames @ rotmats[..., level, :, :]
        for i, j in enumerate(level):
            world[j], position[j] = turned[..., i, :, :], moved[..., i, :]
    return torch.stack(position, dim=-2)


@dataclass(frozen=True)
class Case:
    """One sequence of a new performer, and what a regressor would have said about it."""

    label: str
    clean: Tensor  # (T, 24, 3, 3)
    noisy: Tensor
    seen: Tensor  # (T, 24)
    trans: Tensor  # (T, 3) as a camera sees it

    @property
    def times(self) -> Tensor:
        return torch.arange(len(self.clean), dtype=torch.float64) / FPS


Method = Callable[[Case], Tensor]


def held_out(path: Path, side: str = "dev") -> list:
    """Clips of a side with the action that the split calls them."""
    clips = [clip for clip in motions.load_clips(path, side) if len(clip) >= SHORTEST]
    split = load_split()
    known = [split.find(clip.name) for clip in clips]
    return [(clip, entry.action if entry else clip.label or clip.text)
            for clip, entry in zip(clips, known)]  # fmt: skip


def hidden_cases(clips: list, mask: str, generator: torch.Generator) -> list[Case]:
    """True visible rotations; hidden ones are guessed to be the clip's mean, wobbling."""
    joints, share = MASKS[mask]
    corruptor = Corruptor(generator)
    cases = []
    for clip, action in clips:
        length = min(_LONGEST, len(clip))
        first = corruptor.integer(0, len(clip) - length)
        part = slice(first, first + length)
        clean, trans = torch.from_numpy(clip.rotmats[part]), torch.from_numpy(clip.trans[part])
        span = round(length * share)
        start = corruptor.integer(0, length - span)
        rows = slice(start, start + span)
        seen, noisy = torch.ones(length, 24), clean.clone()
        seen[rows, joints] = 0
        guess = roma.special_procrustes(clean[:, joints].mean(0))
        wobble = torch.deg2rad(3 * slow_noise(corruptor.normal(1, length, len(joints), 3), 4.0))
        noisy[rows, joints] = (guess @ roma.rotvec_to_rotmat(wobble[0]))[rows]
        camera = torch.tensor([1.0, -1.0, 4.0]) * corruptor.uniform(1, low=0.5, high=1.5)
        cases.append(Case(action, clean, noisy, seen, trans - trans[:1] + camera))
    return cases


def withheld(case: Case) -> Tensor:
    """The input without guesses: interpolated, or the rest pose where a joint is never seen."""
    x = fill_unseen(case.noisy.flatten(-2)[None], case.seen[None])[0].unflatten(-1, (3, 3))
    never = (case.seen < 0.5).all(0)[None, :, None, None]
    return torch.where(never, torch.eye(3), roma.special_procrustes(x))


def blurred(case: Case, frames: float = 2.0) -> Tensor:
    return gaussian_smooth(case.noisy, case.times, frames / FPS)


def completed(
    denoiser: MotionDenoiser, *, root: bool = True, guess: bool = True, words: dict | None = None
) -> Method:
    """The model's targets, told of the root's movement or not, of a guess or not, of a label."""

    def method(case: Case) -> Tensor:
        text = None if words is None else words[case.label]
        given = case.noisy if guess else withheld(case)
        trans = case.trans if root else None
        return complete_track(denoiser, given, case.times, case.seen, text, trans=trans)[0]

    return method


def joints_of(rotmats: Tensor, rest: Tensor) -> Tensor:
    """Joints (T, 24, 3) in mm as the pelvis sees them."""
    upright = torch.eye(3).expand_as(rotmats[:, :1])
    return 1000 * forward_kinematics(torch.cat((upright, rotmats[:, 1:]), dim=1), rest)


def hidden_error(case: Case, out: Tensor, rest: Tensor) -> float:
    """Mean error of the knees, ankles, elbows and wrists that hidden rotations move, mm."""
    return float(hidden_errors(joints_of(out, rest), joints_of(case.clean, rest), case.seen).mean())


def hidden_errors(joints: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    """Distances (N,) of the knees, ankles, elbows and wrists that hidden rotations move, of joints
    (T, 24, 3) about the pelvis whose rotations (T, 24) are seen or not."""
    moved = torch.zeros_like(seen, dtype=torch.bool)
    for joint in range(1, 24):
        parent = SMPL_PARENTS[joint]
        moved[:, joint] = moved[:, parent] | ((seen[:, parent] < 0.5) & (parent != 0))
    return (joints - truth).norm(dim=-1)[:, _LIMBS][moved[:, _LIMBS]]


def print_tables(
    denoiser: MotionDenoiser,
    path: Path,
    encoder,
    seed: int,
    side: str = "dev",
    brief: bool = False,
) -> None:
    """Log every table, or what ranks networks (``brief``)."""
    clips, rest = held_out(path, side), torch.from_numpy(motions.rest_joints())
    cases = {mask: hidden_cases(clips, mask, torch.Generator().manual_seed(seed + 1000))
             for mask in MASKS}  # fmt: skip
    methods = {
        "guess": lambda case: case.noisy,
        "guess + Gaussian 2": blurred,
        "completed": completed(denoiser),
        "root not told": completed(denoiser, root=False),
        "guess withheld": completed(denoiser, guess=False),
    }
    if brief:
        methods = {name: methods[name] for name in ("guess", "completed")}
    elif encoder is not None:
        actions = sorted({action for _, action in clips})
        words = dict(zip(actions, encoder.encode(actions).float()))
        methods["with its label"] = completed(denoiser, words=words)
    log.info("\nHidden limbs from true visible ones, %d clips of %s performers: knees, ankles, "
             "elbows, wrists, mm from the pelvis", len(clips), side)  # fmt: skip
    log.info("%-26s %s", "", "  ".join(f"{name:>18s}" for name in methods))
    found, totals = {}, []
    for mask, group in cases.items():
        for name, method in methods.items():
            found[mask, name] = [hidden_error(case, method(case), rest) for case in group]
        totals.append([_mean(found[mask, name]) for name in methods])
        log.info("%-26s %s", mask, "  ".join(f"{value:18.1f}" for value in totals[-1]))
    log.info("%-26s %s", "mean", "  ".join(f"{_mean(v):18.1f}" for v in zip(*totals)))
    _by_action(found, [action for _, action in clips])
    _reliability(denoiser, [case for group in cases.values() for case in group])
    _swing(denoiser, clips, rest, seed)


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def _by_action(found: dict[tuple[str, str], list[float]], actions: list[str]) -> None:
    log.info("\nThe same by action, whole clip: guess -> completed")
    for action in sorted(set(actions)):
        rows = [i for i, other in enumerate(actions) if other == action]
        text = []
        for mask in ("legs", "arms"):
            pair = [_mean(found[f"{mask}, whole clip", name][i] for i in rows)
                    for name in ("guess", "completed")]  # fmt: skip
            text.append("{} {:6.1f} -> {:6.1f}".format(mask, *pair))
        log.info("%-28s (%2d clips) %s", action, len(rows), "   ".join(text))


def _errors(denoiser: MotionDenoiser, cases: list[Case]) -> tuple[Tensor, Tensor]:
    """Deviations that the network claims for hidden rotations, and their errors, radians."""
    claimed, found = [], []
    for case in cases:
        for first in range(0, max(len(case.clean) - WINDOW, 0) + 1, 30):
            part = torch.arange(first, first + WINDOW).clamp(max=len(case.clean) - 1)
            with torch.no_grad():
                out, deviation = denoiser.complete(
                    case.noisy[None, part], case.seen[None, part], None, case.trans[None, part]
                )
            hidden = case.seen[None, part] < 0.5
            hidden[:, len(case.clean) - first :] = False  # repeated frames
            hidden[..., SMPL24.indices(["left_hand", "right_hand"])] = False  # nobody moves these
            error = torch.deg2rad(geodesic_degrees(out, case.clean[None, part]))
            claimed.append(deviation[hidden])
            found.append(error[hidden])
    return torch.cat(claimed), torch.cat(found)


def calibrate(denoiser: MotionDenoiser, path: Path, seed: int) -> None:
    """Scale the deviations so that they are right on average on the performers of the dev side."""
    clips = held_out(path)
    generator = torch.Generator().manual_seed(seed + 2000)
    cases = [case for mask in MASKS for case in hidden_cases(clips, mask, generator)]
    claimed, found = _errors(denoiser, cases)
    ratio = found.square().mean().sqrt() / (3 * claimed.square()).mean().sqrt()
    denoiser.calibration.mul_(ratio)
    log.info("deviations times %.3f", float(denoiser.calibration))


def _reliability(denoiser: MotionDenoiser, cases: list[Case]) -> None:
    """Errors beside what was claimed, by fifths of the claim."""
    claimed, found = _errors(denoiser, cases)
    claimed = 3**0.5 * claimed
    log.info("\nReliability of the certainty, hidden rotations: claimed -> found, degrees RMS")
    order = claimed.argsort()
    for part in order.chunk(5):
        pair = [float(torch.rad2deg(x[part].square().mean().sqrt())) for x in (claimed, found)]
        log.info("%6.1f -> %5.1f", *pair)
    ranks = torch.stack((claimed.argsort().argsort(), found.argsort().argsort())).double()
    log.info("rank correlation %.2f", float(torch.corrcoef(ranks)[0, 1]))


def _swing(denoiser: MotionDenoiser, clips: list, rest: Tensor, seed: int) -> None:
    """Movement of seen wrists and ankles, out over in, in the four fastest clips."""
    rows = []
    for clip, action in clips:
        clean = torch.from_numpy(clip.rotmats[:_LONGEST])
        points = joints_of(clean, rest)[:, _ENDS]
        rows.append((float(points.diff(dim=0).norm(dim=-1).mean()), action, clean, points))
    rows.sort(key=lambda row: -row[0])
    corruptor = Corruptor(torch.Generator().manual_seed(seed + 3000))
    log.info("\nSwing of seen wrists and ankles, out / in (L wrist, R wrist, L ankle, R ankle)")
    for _, action, clean, points in rows[:4]:
        noise = torch.deg2rad(4 * corruptor.normal(*clean.shape[:2], 3))
        times, seen = torch.arange(len(clean)) / FPS, torch.ones(clean.shape[:2])
        text = []
        for given in (clean, clean @ roma.rotvec_to_rotmat(noise)):
            moved = joints_of(complete_track(denoiser, given, times, seen)[0], rest)[:, _ENDS]
            text.append(" ".join(f"{x:.3f}" for x in slope(moved, points)))
        log.info("%-20s clean input %s   4 degrees of jitter %s", action, *text)


def slope(out: Tensor, true: Tensor) -> list[float]:
    """How far points (T, J, 3) move for each metre that they should: 1 = neither slowed nor
    thrown about; noise averages out of it."""
    a, b = (x - x.mean(0) for x in (out, true))
    return ((a * b).sum((0, 2)) / b.square().sum((0, 2))).tolist()
