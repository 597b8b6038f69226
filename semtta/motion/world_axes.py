"""Which way is up in a file of motion, and in which unit it measures, where the file says neither.

People stand most of the time, and on the ground: both are seen from where the pelvis is and how it
is turned. What is concluded is announced; what contradicts every conclusion is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.errors import SemttaError, announce

# (3, 3) from a world with that axis up to one with y up
TO_Y_UP = {
    "+y": torch.eye(3),
    "+z": torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "-y": torch.diag(torch.tensor([1.0, -1, -1])),  # a camera's
}
_UPRIGHT = 0.7  # cosine between pelvis and vertical
_SOME, _MOST = 0.2, 0.5  # shares of the frames
_STANDING = (0.5, 1.4)  # metres of a pelvis above the ground
_LYING = (0.0, 0.4)
_FASTEST = 20.0  # metres a second
_HIGHEST = 20.0  # metres of a pelvis from the origin, along the vertical
_UNITS = {"centimetres": 0.01, "millimetres": 0.001}


def up_axis(path: Path, root: Tensor, trans: np.ndarray) -> str:
    """The axis that points up, of ``TO_Y_UP``; AMASS' +z unless people stand along another.

    Args:
        path: for messages.
        root: (N, 3, 3) rotations of the pelvis in the file's world.
        trans: (N, 3) of the pelvis."""
    pelvis = root[:, :, 1]  # its own up
    share = {name: float((pelvis @ turn[1] > _UPRIGHT).double().mean())
             for name, turn in TO_Y_UP.items()}  # fmt: skip
    best = max(share, key=share.__getitem__)
    if share["+z"] > _SOME or best == "+z":
        if share["+z"] <= _SOME:
            announce(f"'{path}': the person stands in few frames; +z is taken to be up.")
        return "+z"
    heights = {name: float(np.median(trans @ turn[1].numpy())) for name, turn in TO_Y_UP.items()}
    lies = _within(heights["+z"], _LYING) and not _within(heights[best], _STANDING)
    if share[best] > _MOST and not lies:
        announce(f"'{path}' does not say which axis is up; the person in it stands along {best}, "
                 "which is taken to be up.")  # fmt: skip
        return best
    announce(f"'{path}' does not say which axis is up, and the person in it does not stand along "
             "+z; that is taken to be up: add up_axis ('y' or 'z') if it is not.")  # fmt: skip
    return "+z"


def in_metres(path: Path, trans: np.ndarray, fps: float) -> np.ndarray:
    """Places of a pelvis (N, 3), y up, in metres if another unit makes them a person's.

    Raises ``SemttaError`` if no unit does."""
    if not np.isfinite(trans).all():
        raise SemttaError(f"'{path}': its translations hold NaN or infinite numbers.")
    if _plausible(trans, fps):
        return trans
    for name, unit in _UNITS.items():
        scaled = trans * np.float32(unit)
        if _plausible(scaled, fps) and _within(float(np.median(scaled[:, 1])), _STANDING):
            announce(f"'{path}': its translations are taken to be {name}.")
            return scaled
    raise SemttaError(f"'{path}': its translations must be in metres; they are none of a "
                      f"person (up to {np.abs(trans).max():.0f} m, {_speed(trans, fps):.0f} "
                      "m/s).")  # fmt: skip


def _plausible(trans: np.ndarray, fps: float) -> bool:
    return bool(_speed(trans, fps) < _FASTEST and abs(np.median(trans[:, 1])) < _HIGHEST)


def _speed(trans: np.ndarray, fps: float) -> float:
    """Metres a second in all but the fastest frames."""
    steps = np.linalg.norm(np.diff(trans.astype(np.float64), axis=0), axis=1)
    return float(np.quantile(steps, 0.95) * fps) if len(steps) else 0.0


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
