"""The equations behind the path of a person, term by term and where they balance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_closing import CAMERA, SETTINGS, person, seen, shaking, solve

from semtta.geometry import Camera
from semtta.geometry.spline import difference_rows
from semtta.tta import path as paths
from semtta.tta.path import solve_path

CENTER = torch.tensor(CAMERA.center).double()


def evidence_cost(points, target, weight, scale, focal=CAMERA.focal):
    """Cauchy's of the distances in deviations, half at two; behind the camera nothing is seen."""
    z = points[..., 2:].clamp_min(0.05)
    off = (points[..., :2] / z * focal + CENTER - target) / scale[:, None, None]
    return (weight * 2 * (off.square().sum(-1) / 4).log1p()).sum()


def motion_cost(path, times, config):
    """Cauchy's of the accelerations along the ray and across it, half at three usual ones."""
    rows = torch.from_numpy(difference_rows(times.numpy(), 2))
    acceleration = sum(rows[:, i : i + 1] * path[i : len(path) - 2 + i] for i in range(3))
    ray = torch.nn.functional.normalize(path[1:-1].detach(), dim=1)
    ahead = (acceleration * ray).sum(1)
    aside = (acceleration - ahead[:, None] * ray).norm(dim=1)
    return sum(
        4.5 * (amount / (3 * usual)).square().log1p().sum()
        for amount, usual in ((ahead, config.along), (aside, config.across))
    )


@pytest.mark.parametrize("focal", [1000.0, 400.0])
def test_the_path_is_where_picture_and_inertia_balance(focal):
    landmarks, path, times = person(30)
    start, camera = shaking(path), Camera(focal, CAMERA.center)
    generator = torch.Generator().manual_seed(2)
    points = landmarks + path[:, None]
    noise = 0.008 * focal * torch.randn(30, 20, 2, generator=generator)
    pixels = points[..., :2] / points[..., 2:] * focal + CENTER + noise
    weight = torch.rand(30, 20, generator=generator)
    config = replace(SETTINGS, along=2.0, across=5.0, noise=0.02)
    found = solve_path(landmarks, start.double(), pixels, weight, times, camera, config)
    found.requires_grad_()
    tall = (landmarks[..., 1].amax(1) - landmarks[..., 1].amin(1)) * focal / start[:, 2]
    moved, weight = landmarks + found[:, None], weight / 20**0.5
    picture = evidence_cost(moved, pixels, weight, 0.02 * tall, focal)
    inertia = motion_cost(found, times, config)
    pulls = [torch.autograd.grad(cost, found)[0] for cost in (picture, inertia)]
    assert (pulls[0] + pulls[1]).norm() < 0.005 * pulls[0].norm() > 0
    assert (found.detach() - path).norm(dim=1).mean() < 0.3


def test_the_picture_s_pull_is_the_slope_of_its_cost_and_its_hold_that_of_the_residuals():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(3, 5, 3, generator=generator).double() - 0.5 + torch.tensor([0.2, 0.1, 3])
    target = 500 + 300 * torch.rand(3, 5, 2, generator=generator).double()
    weight, scale = torch.rand(3, 5, generator=generator).double(), torch.tensor([40.0, 60, 90])
    hessian, gradient = paths._evidence(points, target, weight, scale.double(), CAMERA)
    shift = torch.zeros(3, 3).double().requires_grad_()
    evidence_cost(points + shift[:, None], target, weight, scale).backward()
    np.testing.assert_allclose(gradient, shift.grad.numpy(), rtol=1e-6)

    def residuals(shift):
        moved = points[1] + shift
        return ((moved[:, :2] / moved[:, 2:] * CAMERA.focal + CENTER - target[1]) / 60).flatten()

    slopes = torch.autograd.functional.jacobian(residuals, torch.zeros(3).double())
    off = residuals(torch.zeros(3)).view(5, 2)
    share = (weight[1] / (1 + off.square().sum(1) / 4)).repeat_interleave(2)
    np.testing.assert_allclose(hessian[1], slopes.T @ (share[:, None] * slopes), rtol=1e-6)


def test_a_step_solves_the_equations_of_all_frames_at_once():
    generator = np.random.default_rng(0)
    frames, times = 6, np.cumsum(generator.uniform(0.02, 0.05, 6))
    path = generator.normal(size=(frames, 3)) * 0.1 + [0.5, 0.2, 4.0]
    half = generator.normal(size=(frames, 3, 3))
    hessian, gradient = half @ half.transpose(0, 2, 1), generator.normal(size=(frames, 3))
    rows = difference_rows(times, 2)
    found = paths._step(path, hessian, gradient, rows, SETTINGS)
    acceleration, metric = paths._motion(path, rows, SETTINGS)
    dense = np.zeros((4, 3, frames, 3))
    for t in range(4):
        for i in range(3):
            dense[t, :, t + i] = rows[t, i] * np.eye(3)
    right = gradient + np.einsum("tafb,tac,tc->fb", dense, metric, acceleration)
    whole = np.einsum("tafb,tac,tcgd->fbgd", dense, metric, dense)
    for t in range(frames):
        whole[t, :, t] += hessian[t] + 1e-8 * np.eye(3)
    size = 3 * frames
    expected = -np.linalg.solve(whole.reshape(size, size), right.reshape(size))
    np.testing.assert_allclose(found, expected.reshape(frames, 3), rtol=1e-6)


def test_what_nothing_else_holds_is_held_loosely():
    pull = np.array([[1e-8, 2e-8, 3e-8], [0, 0, 0]])
    nothing = paths._step(np.ones((2, 3)), np.zeros((2, 3, 3)), pull,
                          difference_rows(np.array([0.0, 0.1]), 2), SETTINGS)  # fmt: skip
    np.testing.assert_allclose(nothing, [[-1, -2, -3], [0, 0, 0]])


def test_a_few_usual_accelerations_cost_half_as_much_along_the_ray_as_across():
    times = np.arange(3) / 10
    path = np.array([[0.0, 0.0, 4.0]]) + 0.5 * np.array([[4.0, 0.0, 6.0]]) * (times**2)[:, None]
    path -= path[1] - [0.0, 0.0, 4.0]  # the middle on the optical axis
    config = replace(SETTINGS, along=2.0, across=4.0)
    acceleration, metric = paths._motion(path, difference_rows(times, 2), config)
    np.testing.assert_allclose(acceleration, [[4.0, 0.0, 6.0]])
    across = 1 / (4**2 * (1 + (4 / 12) ** 2))
    along = 1 / (2**2 * (1 + (6 / 6) ** 2))  # at three usual ones, half
    np.testing.assert_allclose(metric[0], np.diag([across, across, along]), atol=1e-12)


def test_two_landmarks_in_two_frames_place_a_path_and_less_do_not():
    landmarks, path, times = person(20)
    pixels, start = seen(landmarks, path), shaking(path)
    two = torch.zeros(20, 20)
    two[4, 3:5] = two[15, 8:10] = 1
    found = solve(landmarks, start, pixels, two, times)
    assert (found - path)[[4, 15]].abs().max() < 0.05
    assert (found[4:16].diff(n=2, dim=0)).abs().max() < 0.01  # straight in between
    for lost in ((4, 3), (15, 9)):
        less = two.clone()
        less[lost] = 0
        assert solve(landmarks, start, pixels, less, times) is start
    single = torch.zeros(20, 20)
    single[:, 0] = 1
    assert solve(landmarks, start, pixels, single, times) is start
    assert torch.equal(start, shaking(path))


def test_people_may_be_near_but_not_at_the_lens():
    landmarks, path, times = person(20, depth=1.6)
    found = solve(landmarks, shaking(path, 0.05), seen(landmarks, path), torch.ones(20, 20), times)
    assert (found - path).abs().max() < 0.01
    huge = CENTER.float() + 1e5 * torch.randn(20, 20, 2, generator=torch.Generator().manual_seed(0))
    near = solve(0.01 * landmarks, path, huge, torch.ones(20, 20), times)
    assert float(near[:, 2].min()) == pytest.approx(0.1) and near.isfinite().all()
