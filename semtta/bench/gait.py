"""What the legs do over time, which no mean of distances shows: how far they swing, how often.

A leg that nobody saw and that hangs in its mean pose can have a lower position error than one that
walks out of step. These numbers tell the two apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from semtta.skeletons import LIMB12

_HIPS = LIMB12.indices(["left_hip", "right_hip"])
_ANKLES = LIMB12.indices(["left_ankle", "right_ankle"])
_FEWEST = 15  # hidden frames of a leg, below which half a step may be all there is
_SWINGS = 0.05  # metres RMS that a true leg must move for its swing to be a number
_PERIODS = 1.5  # that the clip must hold for a step frequency
_CLEAR = 0.5  # share of the true signal's energy that its frequency must explain
_SLOWEST, _FASTEST = 0.4, 4.0  # strides a second: a stroll, a sprint
_GRID = 200  # frequencies looked at


def legs_over_time(
    predicted: Tensor, truth: Tensor, hidden: Tensor, fps: float, frames: Tensor | None = None
) -> dict[str, float | None]:
    """``leg_swing_percent`` and ``step_error_hz`` of LIMB12 joints; see the two functions.

    Args:
        predicted, truth: (T, 12, 3) metres, the same axes.
        hidden: (T, 12) bool.
        fps, frames: as for :func:`step_error`."""
    return {
        "leg_swing_percent": leg_swing(predicted, truth, hidden, _HIPS, _ANKLES),
        "step_error_hz": step_error(predicted, truth, _ANKLES, fps, frames),
    }


def leg_swing(
    predicted: Tensor, truth: Tensor, hidden: Tensor, hips: list[int], ankles: list[int]
) -> float | None:
    """Movement of hidden ankles about their hips, in percent of the true movement.

    Args:
        predicted, truth: (T, J, 3) metres, the same axes.
        hidden: (T, J) bool, joints without evidence.
        hips, ankles: two joints each, the same side at the same place.
    Returns: mean over the legs that are hidden for 15 frames or more and truly move, of the RMS
        distance of the ankle from its mean place in those frames; 100 is right, 0 is a leg that
        hangs still. None where no leg is hidden so long."""
    shares = []
    for hip, ankle in zip(hips, ankles, strict=True):
        frames = hidden[:, ankle]
        if int(frames.sum()) < _FEWEST:
            continue
        true = _spread(truth[frames, ankle] - truth[frames, hip])
        if true > _SWINGS:
            shares.append(_spread(predicted[frames, ankle] - predicted[frames, hip]) / true)
    return 100 * sum(shares) / len(shares) if shares else None


def step_error(
    predicted: Tensor, truth: Tensor, ankles: list[int], fps: float, frames: Tensor | None = None
) -> float | None:
    """How wrong the frequency of the legs is, in strides a second.

    Args:
        predicted, truth: (T, J, 3) metres, the same axes.
        ankles: the two joints whose distance from each other swings.
        fps: frames a second.
        frames: (T,) frame numbers, if some are missing between them.
    Returns: absolute difference of the frequencies that explain most of the distance between the
        ankles, along the direction in which the true ones swing; None where the truth has no clear
        frequency or the clip is too short for one."""
    times = torch.arange(len(truth)) if frames is None else frames
    times = times.double() / fps
    apart = (truth[:, ankles[0]] - truth[:, ankles[1]]).double()
    apart = apart - apart.mean(0)
    if len(times) < 4 or _spread(apart) < _SWINGS:
        return None
    direction = torch.linalg.svd(apart, full_matrices=False).Vh[0]
    true, clear = _frequency(apart @ direction, times)
    if clear < _CLEAR or float(times[-1] - times[0]) * true < _PERIODS:
        return None
    ours = (predicted[:, ankles[0]] - predicted[:, ankles[1]]).double() @ direction
    return abs(_frequency(ours, times)[0] - true)


def _spread(points: Tensor) -> float:
    """RMS distance of (T, 3) points from their mean."""
    return float((points - points.mean(0)).square().sum(-1).mean().sqrt())


def _frequency(signal: Tensor, times: Tensor) -> tuple[float, float]:
    """Hz of the sine that explains most of a signal (T,) at its times, and its share of the energy.

    Least squares at each of many frequencies: frames may be missing, and a second of walking is
    too short for a Fourier transform's steps."""
    signal = signal - signal.mean()
    energy = float(signal.square().sum())
    if energy < 1e-12:
        return 0.0, 0.0
    best = (0.0, 0.0)
    for hertz in torch.linspace(_SLOWEST, _FASTEST, _GRID).tolist():
        phase = 2 * math.pi * hertz * times
        waves = torch.stack((phase.sin(), phase.cos(), torch.ones_like(phase)), -1)
        fitted = waves @ torch.linalg.lstsq(waves, signal[:, None]).solution
        share = 1 - float((signal[:, None] - fitted).square().sum()) / energy
        if share > best[1]:
            best = (hertz, share)
    return best
