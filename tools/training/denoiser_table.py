"""What the denoiser is worth on held-out subjects, beside Gaussian filters and simple fills."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import roma
import torch
from torch import Tensor

from semtta.geometry import gaussian_smooth, geodesic_degrees
from semtta.motion.denoiser import denoise_track, fit_video
from semtta.motion.denoiser_net import MotionDenoiser, fill_unseen
from semtta.motion.denoiser_windows import FPS
from semtta.skeletons import SMPL24, SMPL_PARENTS
from tools.training import motions
from tools.training.corruption import LEGS, Corruptor, Noise, slow_noise

log = logging.getLogger("train_denoiser")
_DEPTHS: list[list[int]] = [[0]]
while sum(map(len, _DEPTHS)) < 24:
    _DEPTHS.append([j for j in range(24) if SMPL_PARENTS[j] in _DEPTHS[-1]])
# Joints whose position the hidden leg rotations decide.
_LEG_POINTS = SMPL24.indices(["left_knee", "right_knee", "left_ankle", "right_ankle"])
WALKS = ("walk", "walk slowly", "walk fast", "walk backwards")


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
    """One held-out sequence and what a regressor would have said about it."""

    label: str | None
    clean: Tensor  # (T, 24, 3, 3)
    noisy: Tensor
    seen: Tensor  # (T, 24)

    @property
    def times(self) -> Tensor:
        return torch.arange(len(self.clean), dtype=torch.float64) / FPS


def filled(case: Case) -> Tensor:
    """Linear interpolation over what was not seen."""
    x = fill_unseen(case.noisy.flatten(-2)[None], case.seen[None])[0]
    return roma.special_procrustes(x.unflatten(-1, (3, 3)))


def blurred(rotmats: Tensor, frames: float) -> Tensor:
    times = torch.arange(len(rotmats), dtype=torch.float64) / FPS
    return gaussian_smooth(rotmats, times, frames / FPS)


def noise_cases(clips: list, generator: torch.Generator) -> list[Case]:
    """60-frame windows with 4 degrees of jitter, 5 of slow drift and masked runs of frames."""
    corruptor = Corruptor(generator)
    cases = []
    for clip in clips:
        for window in motions.windows(clip, 60, 40):
            clean = torch.from_numpy(clip.rotmats[window])
            jitter = 4 * corruptor.normal(60, 24, 3)
            drift = 5 * slow_noise(corruptor.normal(1, 60, 24, 3), 8.0)[0]
            noisy = clean @ roma.rotvec_to_rotmat(torch.deg2rad(jitter + drift))
            seen = torch.ones(60, 24)
            if float(corruptor.uniform(1)) < 0.6:
                span = corruptor.integer(4, 15)
                start = corruptor.integer(0, 60 - span)
                seen[start : start + span] = 0
            cases.append(Case(clip.label, clean, noisy, seen))
    return cases


def hidden_leg_cases(clips: list, generator: torch.Generator, per_clip: int = 1) -> list[Case]:
    """Up to 160 frames, both legs hidden for 30-50 % of them (there the input is their mean)."""
    noise = Noise((3.0, 4.0), (4.0, 5.0), (0.0, 2.0), clean=0.0, faint=0.0, half=0.0)
    corruptor = Corruptor(generator, noise)
    cases = []
    for clip in clips:
        for _ in range(per_clip):
            length = min(160, len(clip))
            first = corruptor.integer(0, len(clip) - length)
            clean = torch.from_numpy(clip.rotmats[first : first + length])
            noisy = corruptor.add_noise(clean[None])[0]
            span = int(length * float(corruptor.uniform(1, low=0.3, high=0.5)))
            start = corruptor.integer(0, length - span)
            seen = torch.ones(length, 24)
            seen[start : start + span, LEGS] = 0
            guess = roma.special_procrustes(clean[:, LEGS].mean(0))
            wobble = torch.deg2rad(3 * slow_noise(corruptor.normal(1, length, len(LEGS), 3), 4.0))
            guess = guess @ roma.rotvec_to_rotmat(wobble[0])
            noisy[start : start + span, LEGS] = guess[start : start + span]
            cases.append(Case(clip.label, clean, noisy, seen))
    return cases


def noise_row(cases: list[Case], method: Callable[[Case], Tensor], rest: Tensor) -> str:
    """Angle, MPJPE (on masked frames) and acceleration error of a method."""
    angle, error, masked, acceleration = [], [], [], []
    for case in cases:
        out = method(case)
        a, b = forward_kinematics(out, rest), forward_kinematics(case.clean, rest)
        distance = 1000 * (a - b).norm(dim=-1)
        angle.append(geodesic_degrees(out, case.clean).mean())
        error.append(distance.mean())
        if (case.seen < 0.5).any():
            masked.append(distance[case.seen.amin(1) < 0.5].mean())
        second = (a - b).diff(dim=0).diff(dim=0)
        acceleration.append(1000 * second.norm(dim=-1).mean())
    numbers = [
        float(torch.stack(x).mean()) if x else float("nan")
        for x in (angle, error, masked, acceleration)
    ]
    text = "angle {:5.2f} deg  MPJPE {:5.1f} mm (masked {:5.1f})  accel {:5.1f} mm/frame^2"
    return text.format(*numbers)


def hidden_row(
    cases: list[Case], method: Callable[[Case], Tensor], rest: Tensor
) -> tuple[str, float]:
    """Error of hidden knees and ankles, and in the pelvis' frame; of hidden rotations; of all."""
    hidden, local, visible, angle, acceleration = [], [], [], [], []
    for case in cases:
        out = method(case)
        a, b = forward_kinematics(out, rest), forward_kinematics(case.clean, rest)
        distance = 1000 * (a - b).norm(dim=-1)
        rows = case.seen[:, LEGS[0]] < 0.5
        hidden.append(distance[rows][:, _LEG_POINTS].mean())
        turn = case.clean[:, 0] @ out[:, 0].transpose(-1, -2)
        inside = 1000 * (a @ turn.transpose(-1, -2) - b).norm(dim=-1)
        local.append(inside[rows][:, _LEG_POINTS].mean())
        visible.append(distance.mean())
        angle.append(geodesic_degrees(out[rows][:, LEGS], case.clean[rows][:, LEGS]).mean())
        acceleration.append(1000 * (a - b).diff(dim=0).diff(dim=0).norm(dim=-1).mean())
    numbers = [float(torch.stack(x).mean()) for x in (hidden, local, angle, visible, acceleration)]
    text = "hidden {:5.1f} mm, from the pelvis {:5.1f} mm, {:4.1f} deg  all {:5.1f}  accel {:5.1f}"
    return text.format(*numbers), numbers[1]


def _track(
    denoiser: MotionDenoiser, text: Callable | None = None, gaussian: float = 1.0
) -> Callable:
    def method(case: Case) -> Tensor:
        label = None if text is None else text(case)
        return denoise_track(
            denoiser, case.noisy, case.times, case.seen, label, gaussian=gaussian / FPS
        )

    return method


def _fitted(denoiser: MotionDenoiser, steps: int, lr: float, seed: int) -> Callable:
    def method(case: Case) -> Tensor:
        own = copy.deepcopy(denoiser)
        generator = torch.Generator().manual_seed(seed)
        fit_video(own, case.noisy, case.times, case.seen, steps=steps, lr=lr, generator=generator)
        return _track(own)(case)

    return method


def held_out(path: Path) -> list:
    return [c for c in motions.load_clips(path, "dev") if c.source != "kaykit" and len(c) >= 60]


def print_tables(denoiser: MotionDenoiser, path: Path, encoder, seed: int) -> None:
    """Log every table."""
    clips = held_out(path)
    rest = torch.from_numpy(motions.rest_joints())
    generator = torch.Generator().manual_seed(seed + 1000)
    cases = noise_cases(clips, generator)
    log.info("\n4 deg jitter + 5 deg drift + masked runs, %d held-out windows", len(cases))
    log.info("noisy + linear fill    %s", noise_row(cases, filled, rest))
    for sigma in (1, 2, 3, 4):
        log.info("Gaussian %d frames      %s", sigma,
                 noise_row(cases, lambda c, s=sigma: blurred(filled(c), s), rest))  # fmt: skip
    for sigma in (0.0, 0.5, 1.0, 1.5, 2.0):
        log.info("denoiser + Gauss %.1f   %s", sigma,
                 noise_row(cases, _track(denoiser, None, sigma), rest))  # fmt: skip
    calm = [Case(c.label, c.clean, c.clean, torch.ones_like(c.seen)) for c in cases]
    log.info("clean, denoiser        %s", noise_row(calm[::4], _track(denoiser, None, 0.0), rest))
    for name, group in groups(clips).items():
        hidden = hidden_leg_cases(group, generator)
        title = f"legs hidden 30-50 %, {len(hidden)} held-out {name}"
        hidden_table(title, hidden, denoiser, encoder, rest, seed)


def groups(clips: list) -> dict[str, list]:
    """Held-out clips by how far they are from the training's: see the limits in ``motions``."""
    walks = [c for c in clips if c.label in WALKS]
    return {
        "walks (performer may be in training)": [c for c in walks if c.subject.startswith("cmuX")],
        "walks of numbered performers": [c for c in walks if not c.subject.startswith("cmuX")],
        "salsa dances (partner is in training)": [c for c in clips if c.label == "salsa dance"],
        "other actions": [c for c in clips if c.label not in (None, "salsa dance", *WALKS)],
    }


def never_seen(case: Case) -> Case:
    """The same with the legs hidden in every frame, their guess repeated."""
    hidden = case.noisy[case.seen[:, LEGS[0]] < 0.5][:, LEGS]
    noisy, seen = case.noisy.clone(), case.seen.clone()
    noisy[:, LEGS] = hidden[torch.arange(len(noisy)) % len(hidden)]
    seen[:, LEGS] = 0
    return Case(case.label, case.clean, noisy, seen)


def hidden_table(title: str, cases: list[Case], denoiser: MotionDenoiser, encoder, rest: Tensor,
                 seed: int) -> None:  # fmt: skip
    """Completion of hidden legs: simple fills, the denoiser, its adaptation, its label."""
    log.info("\n%s", title)
    rows = {
        "regressor's guess": lambda c: c.noisy,
        "guess + Gaussian 2": lambda c: blurred(c.noisy, 2),
        "linear fill + Gaussian 2": lambda c: blurred(filled(c), 2),
        "denoiser, no label": _track(denoiser),
        "denoiser, guess withheld": lambda c: _track(denoiser)(replace(c, noisy=filled(c))),
        "denoiser, fitted 20 x 1e-5": _fitted(denoiser, 20, 1e-5, seed),
        "denoiser, fitted 20 x 5e-5": _fitted(denoiser, 20, 5e-5, seed),
    }
    if encoder is not None:
        names = sorted({c.label for c in cases} | {"sit on a chair", "salsa dance", "walk"})
        table = dict(zip(names, encoder.encode(names).float()))

        def wrong(case: Case) -> Tensor:
            return table["salsa dance" if case.label in WALKS else "walk"]

        rows["denoiser, label"] = _track(denoiser, lambda c: table[c.label])
        rows["denoiser, salsa / walk"] = _track(denoiser, wrong)
        rows["denoiser, sit on a chair"] = _track(denoiser, lambda c: table["sit on a chair"])
    base = None
    for name, method in rows.items():
        text, value = hidden_row(cases, method, rest)
        base = value if base is None else base
        log.info("%-27s %s  (%+.0f %%)", name, text, 100 * (value / base - 1))
    always = [never_seen(case) for case in cases]
    guess, base = hidden_row(always, rows["guess + Gaussian 2"], rest)
    text, value = hidden_row(always, rows["denoiser, no label"], rest)
    log.info("%-27s %s  (%+.0f %%)", "legs never seen: guess", guess, 0.0)
    log.info("%-27s %s  (%+.0f %%)", "legs never seen: denoiser", text, 100 * (value / base - 1))
