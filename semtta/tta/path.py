"""The path of a person in front of the camera, solved over the whole track.

Frame by frame, a body's distance is whatever makes it as large as it looks: an error of one
percent in size is ten centimetres at ten metres, and a person who leaves the picture seems to fly
away. Over time a person has inertia. The translations of all frames minimise at once

    sum_t sum_j w_tj rho(|project(landmark_tj + p_t) - y_tj| / s_t) + sum_t rho(|a_t| / a)

with the acceleration a_t of the path, which is expected to be small along the ray, where a picture
says least, and is left to the picture across it. rho is Cauchy's: a jump or a fall costs little
more than a start, and a wrong detection pulls little.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import solveh_banded
from torch import Tensor

from semtta.config_schema import ClosingConfig
from semtta.geometry import Camera
from semtta.geometry.spline import difference_rows

_ROUNDS = 20  # of the Gauss-Newton method, at most
_SETTLED = 1e-4  # metres
_LOOSE = 1e-8  # 1/m^2: what holds a frame that nothing else holds
_NEAREST = 0.05  # metres in front of the camera
_BAND = 8  # super-diagonals: two frames of three numbers, and two
_KNEE = 2.0  # deviations of the evidence at which it counts half
_FALL = 3.0  # usual accelerations at which one counts half


def solve_path(
    landmarks: Tensor,
    start: Tensor,
    target: Tensor,
    weight: Tensor,
    times: Tensor,
    camera: Camera,
    config: ClosingConfig,
) -> Tensor:
    """Translations of all frames.

    Args:
        landmarks: (T, J, 3) metres, camera axes, without translation.
        start: (T, 3) metres, frame by frame.
        target: (T, J, 2) 2D evidence, image pixels.
        weight: (T, J) in [0, 1] how much a landmark counts.
        times: (T,) seconds.
        camera: of the image.
        config: ``along`` and ``across``: usual accelerations, m/s^2; ``noise``: of a frame's 2D
            evidence, as a share of the person's height in it.
    Returns: (T, 3) metres; ``start`` if the evidence shows nobody in two frames."""
    if int(((weight > 0).sum(1) >= 2).sum()) < 2:
        return start
    path = start.double().clone()
    body, weight, target = landmarks.double(), weight.double(), target.double()
    tall = (body[..., 1].amax(1) - body[..., 1].amin(1)) * camera.focal / path[:, 2]
    scale = config.noise * tall.clamp_min(1.0)
    # A frame's joints err together: it is one look, however many of them it shows.
    weight = weight / weight.shape[1] ** 0.5
    rows = difference_rows(times.double().numpy(), 2)  # none of two frames
    for _ in range(_ROUNDS):
        hessian, gradient = _evidence(body + path[:, None], target, weight, scale, camera)
        step = _step(path.numpy(), hessian, gradient, rows, config)
        path = path + torch.from_numpy(step)
        path[:, 2] = path[:, 2].clamp_min(2 * _NEAREST)
        if np.abs(step).max() < _SETTLED:
            break
    return path.to(start)


def _evidence(points: Tensor, target: Tensor, weight: Tensor, scale: Tensor, camera: Camera):
    """Hessian (T, 3, 3) and gradient (T, 3) of the 2D term at points (T, J, 3)."""
    z = points[..., 2].clamp_min(_NEAREST)
    flat = points[..., :2] / z[..., None]
    center = points.new_tensor(camera.center)
    off = (flat * camera.focal + center - target) / scale[:, None, None]
    share = weight / (1 + (off**2).sum(-1) / _KNEE**2)
    jacobian = points.new_zeros(*z.shape, 2, 3)
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = 1.0
    jacobian[..., 2] = -flat
    jacobian = jacobian * (camera.focal / (z * scale[:, None]))[..., None, None]
    hessian = torch.einsum("tj,tjab,tjac->tbc", share, jacobian, jacobian)
    gradient = torch.einsum("tj,tjab,tja->tb", share, jacobian, off)
    return hessian.numpy(), gradient.numpy()


def _step(path, hessian, gradient, rows, config: ClosingConfig) -> np.ndarray:
    """Gauss-Newton step (T, 3) of evidence and motion: one banded system."""
    frames = len(path)
    bands = np.zeros((_BAND + 1, 3 * frames))  # upper form: the last row is the diagonal
    right = gradient.copy()

    def add(row: int, column: int, blocks: np.ndarray) -> None:
        """Blocks (N, 3, 3) at frames ``row``..., ``column``... of the upper half."""
        for a in range(3):
            for b in range(3):
                i, j = 3 * row + a, 3 * column + b
                if j >= i:
                    bands[_BAND - (j - i), j : j + 3 * len(blocks) : 3] += blocks[:, a, b]

    add(0, 0, hessian + _LOOSE * np.eye(3))
    acceleration, metric = _motion(path, rows, config)
    pull = np.einsum("tab,tb->ta", metric, acceleration)
    for i in range(3):
        right[i : frames - 2 + i] += rows[:, i : i + 1] * pull
        for j in range(i, 3):
            add(i, j, (rows[:, i] * rows[:, j])[:, None, None] * metric)
    return solveh_banded(bands, -right.reshape(-1)).reshape(frames, 3)


def _motion(path, rows, config: ClosingConfig) -> tuple[np.ndarray, np.ndarray]:
    """Accelerations (T - 2, 3) and what they cost, (T - 2, 3, 3)."""
    acceleration = sum(rows[:, i : i + 1] * path[i : len(path) - 2 + i] for i in range(3))
    ray = F.normalize(torch.from_numpy(path[1:-1])).numpy()
    ahead = (acceleration * ray).sum(1)
    aside = np.linalg.norm(acceleration - ahead[:, None] * ray, axis=1)

    def cost(amount, usual):
        return 1 / (usual**2 * (1 + (amount / (_FALL * usual)) ** 2))

    along, across = cost(ahead, config.along), cost(aside, config.across)
    outer = ray[:, :, None] * ray[:, None, :]
    metric = across[:, None, None] * np.eye(3) + (along - across)[:, None, None] * outer
    return acceleration, metric
