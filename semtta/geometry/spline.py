"""Smoothing splines over time: what is slow stays as it is, what trembles goes."""

from __future__ import annotations

import math

import numpy as np
import roma
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

_ORDER = 3  # of the derivative that is kept small: a sharp edge between slow and fast


def difference_rows(times: np.ndarray, order: int) -> np.ndarray:
    """Coefficients of derivatives by divided differences.

    Args:
        times: (T,) seconds, increasing; need not be even.
        order: of the derivative.
    Returns: (T - order, order + 1); row t belongs to the values t to t + order."""
    rows = np.ones((len(times), 1))
    for k in range(1, order + 1):
        span = (times[k:] - times[:-k])[:, None] / k
        longer = np.zeros((len(rows) - 1, k + 1))
        longer[:, :-1] -= rows[:-1] / span
        longer[:, 1:] += rows[1:] / span
        rows = longer
    return rows


def spline_smooth(values: Tensor, times: Tensor, cutoff: float) -> Tensor:
    """The curve that is near the values and whose third derivative is small (Whittaker-Henderson).

    A movement at ``cutoff`` keeps half its amplitude, one at half of it 98 %. Nothing is delayed,
    and the frame rate need not be even.

    Args:
        values: (T, D).
        times: (T,) seconds, increasing.
        cutoff: Hz.
    Returns: (T, D); the values themselves if there are fewer than five."""
    frames = len(values)
    if frames <= _ORDER + 1:
        return values
    seconds = times.double().numpy()
    rows = difference_rows(seconds, _ORDER)
    step = float(np.median(np.diff(seconds)))
    # A sine of frequency f has a third difference of (2 sin(pi f step) / step)^3 its amplitude.
    gain = (2 * math.sin(math.pi * min(cutoff * step, 0.5)) / step) ** (2 * _ORDER)
    bands = np.zeros((_ORDER + 1, frames))  # upper form: the last row is the diagonal
    bands[_ORDER] = 1.0
    for i in range(_ORDER + 1):
        for j in range(i, _ORDER + 1):
            product = rows[:, i] * rows[:, j] / gain
            bands[_ORDER - (j - i), j : j + len(product)] += product
    smooth = solveh_banded(bands, values.double().numpy())
    return torch.from_numpy(smooth).to(values)


def spline_rotations(rotmats: Tensor, times: Tensor, cutoff: float) -> Tensor:
    """Rotations (T, J, 3, 3) through :func:`spline_smooth`, entry by entry, and back to SO(3)."""
    flat = spline_smooth(rotmats.double().flatten(1), times, cutoff)
    return roma.special_procrustes(flat.unflatten(1, rotmats.shape[1:])).to(rotmats)
