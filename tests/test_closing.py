"""What a finished motion passes: nothing slow is lost, what trembles goes, bodies do not fly."""

import math
from dataclasses import replace

import numpy as np
import pytest
import roma
import test_adapter as adapters  # its small track
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semtta.config import load_config
from semtta.config_schema import ClosingConfig
from semtta.engine import silent
from semtta.geometry import Camera, geodesic_degrees, project
from semtta.geometry.spline import difference_rows, spline_rotations, spline_smooth
from semtta.keypoints import Keypoints2D
from semtta.tta import closing
from semtta.tta.path import solve_path

CAMERA = Camera(1000.0, (640.0, 360.0))
SETTINGS = ClosingConfig()


def wave(frequency, times):
    return torch.sin(2 * torch.pi * frequency * times)[:, None]


def amplitude(values, frequency, times):
    """Of a sine, away from the ends."""
    phase = 2 * torch.pi * frequency * times
    inside = slice(len(times) // 5, -len(times) // 5)
    base = torch.stack((phase.sin(), phase.cos()), 1)[inside]
    return float(torch.linalg.lstsq(base, values[inside]).solution.norm())


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0, 119.88])
def test_half_is_left_at_the_cutoff_and_all_below(fps):
    times = torch.arange(int(6 * fps)).double() / fps
    for frequency, least, most in ((6, 0.49, 0.51), (3, 0.97, 1), (1, 0.999, 1.001), (11, 0, 0.11)):
        if frequency < 0.45 * fps:
            left = amplitude(spline_smooth(wave(frequency, times), times, 6.0), frequency, times)
            assert least <= left <= most, (fps, frequency, left)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_steady_acceleration_is_left_alone_whatever_the_frame_rate(seed):
    """Values that are quadratic in time, at uneven times, come back exactly: no lag, no droop."""
    generator = torch.Generator().manual_seed(seed)
    times = (torch.rand(40, generator=generator).double() * 0.05 + 0.01).cumsum(0)
    a, b, c = torch.randn(3, 5, generator=generator).double()
    values = a + b * times[:, None] + c * times[:, None] ** 2
    assert (spline_smooth(values, times, 6.0) - values).abs().max() < 1e-6


def test_few_frames_and_rotations():
    times = torch.arange(60).double() / 30
    few = torch.randn(4, 3)
    assert torch.equal(spline_smooth(few, times[:4], 6.0), few)
    five = torch.randn(5, 3)
    assert (spline_smooth(five, times[:5], 6.0) - five).abs().max() > 0.01
    slow, noise = torch.arange(30).double() / 10, torch.randn(30, 2)
    highest = spline_smooth(noise, slow, 5.0)  # of 10 frames a second
    assert torch.equal(spline_smooth(noise, slow, 6.0), highest)
    assert not torch.equal(spline_smooth(noise, slow, 4.9), highest)
    turn = torch.stack((0.8 * wave(1, times)[:, 0], 0 * times, 0.3 * times), 1)[:, None]
    true = roma.rotvec_to_rotmat(turn).float()
    noise = torch.randn(60, 1, 3, generator=torch.Generator().manual_seed(0)) * 0.04
    noisy = true @ roma.rotvec_to_rotmat(noise)
    smooth = spline_rotations(noisy, times, 6.0)
    assert (smooth @ smooth.mT - torch.eye(3)).abs().max() < 1e-5
    assert geodesic_degrees(smooth, true).mean() < 0.72 * geodesic_degrees(noisy, true).mean()
    shaken = [geodesic_degrees(r[1:], r[:-1]).diff(dim=0).abs().mean() for r in (smooth, noisy)]
    assert shaken[0] < 0.5 * shaken[1]


def test_divided_differences_are_derivatives_of_polynomials_at_uneven_times():
    times = np.array([0.0, 0.1, 0.15, 0.4, 0.5, 0.53, 0.9])
    for order in (1, 2, 3):
        rows = difference_rows(times, order)
        windows = np.lib.stride_tricks.sliding_window_view(times, order + 1)
        assert rows.shape == windows.shape
        for power in range(order + 1):
            derivative = math.factorial(order) if power == order else 0
            np.testing.assert_allclose((rows * windows**power).sum(1), derivative, atol=1e-9)


# The path -----------------------------------------------------------------------------------------


def person(frames=60, depth=5.0):
    """Landmarks of somebody who walks past, where they are, and when."""
    generator = np.random.default_rng(0)
    body = generator.uniform([-0.3, -0.9, -0.2], [0.3, 0.9, 0.2], (20, 3))
    times = torch.arange(frames).double() / 30
    sway = 0.05 * np.sin(6 * times.numpy())[:, None, None] * generator.normal(size=(1, 20, 3))
    landmarks = torch.from_numpy(body + sway).float()
    path = torch.stack((0.8 * times - 0.8, 0 * times, depth + 0.3 * times), 1).float()
    return landmarks, path, times


def seen(landmarks, path, noise=0.0, seed=0):
    pixels = project(landmarks + path[:, None], CAMERA.focal, torch.tensor(CAMERA.center))
    generator = torch.Generator().manual_seed(seed)
    return pixels + noise * torch.randn(pixels.shape, generator=generator)


def shaking(path, amount=0.1):
    """Paths as a regressor gives them, frame by frame: metres off along the ray."""
    factor = 1 + amount * torch.randn(len(path), 1, generator=torch.Generator().manual_seed(1))
    return path * factor


def solve(landmarks, start, pixels, weight, times, **changes):
    return solve_path(landmarks, start, pixels, weight, times, CAMERA, replace(SETTINGS, **changes))


def test_the_path_is_found_from_exact_evidence_whatever_the_start():
    landmarks, path, times = person()
    for start in (shaking(path), path * 0.5, path + torch.tensor([0.0, 0.0, 6.0])):
        found = solve(landmarks, start, seen(landmarks, path), torch.ones(60, 20), times)
        assert (found - path).abs().max() < 0.01


def test_noise_in_2d_does_not_shake_the_depth():
    landmarks, path, times = person()
    pixels = seen(landmarks, path, noise=6.0)
    found = solve(landmarks, shaking(path), pixels, torch.ones(60, 20), times)
    free = {"along": 1e4, "across": 1e4}
    alone = solve(landmarks, shaking(path), pixels, torch.ones(60, 20), times, **free)
    jitter = [float(p[:, 2].diff(n=2).abs().mean()) for p in (found, alone)]
    assert jitter[0] < 0.05 * jitter[1] and (found - path).norm(dim=-1).mean() < 0.1
    error = [float((seen(landmarks, p) - pixels).norm(dim=-1).mean()) for p in (found, alone)]
    assert error[0] < 1.05 * error[1]  # at hardly any cost in the picture


def test_somebody_who_leaves_the_picture_does_not_fly_away():
    landmarks, path, times = person()
    weight = torch.ones(60, 20)
    weight[50:, 3:] = 0  # three joints are left, and they are badly seen
    pixels = seen(landmarks, path)
    pixels[50:, :3] += 25 * torch.randn(10, 3, 2, generator=torch.Generator().manual_seed(3))
    start = path.clone()
    start[50:, 2] += torch.linspace(0, 4, 10)  # what the frames say one by one
    found = solve(landmarks, start, pixels, weight, times)
    assert (found - path)[50:, 2].abs().max() < 0.4
    weight[50:] = 0
    assert (solve(landmarks, start, pixels, weight, times) - path)[50:, 2].abs().max() < 0.4


def test_a_jump_stays_a_jump():
    landmarks, path, times = person()
    height = 0.5 * torch.clamp(1 - ((times - 1) / 0.3) ** 2, min=0).float()
    path[:, 1] -= height  # 11 m/s^2 up and down, across the ray
    path[:, 2] += 0.4 * torch.sigmoid((times - 1.2).float() * 25)  # and half a metre back at once
    found = solve(landmarks, path, seen(landmarks, path, noise=2.0), torch.ones(60, 20), times)
    top = float(found[:, 1].max() - found[:, 1].min())
    assert 0.97 < top / float(path[:, 1].max() - path[:, 1].min()) < 1.03
    assert (found - path)[:, 2].abs().max() < 0.15


def test_a_wrong_detection_and_a_frame_without_any_hardly_matter():
    landmarks, path, times = person()
    pixels, weight = seen(landmarks, path), torch.ones(60, 20)
    pixels[20:24, :4] += 300
    weight[30:36] = 0
    found = solve(landmarks, shaking(path, 0.03), pixels, weight, times)
    assert (found - path).abs().max() < 0.06


def test_without_evidence_the_frames_stay_where_they_are():
    landmarks, path, times = person()
    weight = torch.zeros(60, 20)
    assert torch.equal(solve(landmarks, path, seen(landmarks, path), weight, times), path)
    for count in (1, 2, 3):
        found = solve(landmarks[:count], path[:count], seen(landmarks, path)[:count],
                      torch.ones(count, 20), times[:count])  # fmt: skip
        assert (found - path[:count]).abs().max() < 0.01


def test_settings_that_leave_everything_as_it_was():
    """shape per frame, no filter, path frame by frame: the model's own motion, bit for bit."""
    from semtta.tta.adapter import Adapter

    off = ["shape.mode=per_frame", "closing.filter=none", "closing.path=frames"]
    track, still = adapters.walker(40), ["optimizer.epochs=0"]
    plain, closed = (
        Adapter(adapters.tiny_model(), config=load_config("default", [*still, *more]))
        for more in (off, [])
    )
    raw, done = plain.adapt(track, adapters.CAMERA).base, closed.adapt(track, adapters.CAMERA)
    assert torch.equal(raw.trans, raw.trans_raw) and torch.equal(done.base.trans_raw, raw.trans)
    assert (done.base.betas == done.base.betas[0]).all()
    for name in ("rotmats", "betas", "trans", "landmarks2d"):
        assert torch.equal(getattr(done.base, name), getattr(done.adapted, name))
        assert not torch.equal(getattr(done.base, name), getattr(raw, name))


# Whole motions ------------------------------------------------------------------------------------


def closed(*overrides, conf=None):
    """The closed motion of a frozen prediction, what it came of, and its view."""
    track = adapters.walker(12, hidden=False)
    if conf is not None:
        points = Keypoints2D(track.keypoints.xy, conf, track.keypoints.skeleton)
        track = replace(track, keypoints=points)
    runner = adapters.adapter(*overrides)
    begun = adapters.begin(runner, track, adapters.CAMERA, [None] * 12, silent, None)
    raw = begun.predict_all()
    config = runner.config
    motion = closing.closed_motion(raw, begun.view, begun.evidence, track.times, config)
    return motion, raw, begun


def test_the_path_is_solved_from_confident_detections_alone():
    conf = 0.25 + 0.75 * torch.rand(12, 27, generator=torch.Generator().manual_seed(0))
    motion, raw, begun = closed("closing.path=track", "evidence.min_confidence=0.5", conf=conf)
    weight = torch.where(conf >= 0.5, conf, 0.0) * begun.evidence.known
    landmarks = begun.view.landmarks(raw)
    start = begun.view.translation(raw, torch.arange(12))
    expected = solve_path(landmarks, start, begun.track.keypoints.xy, weight, begun.track.times,
                          adapters.CAMERA, begun.config.closing)  # fmt: skip
    torch.testing.assert_close(motion.trans, expected)
    torch.testing.assert_close(motion.trans_raw, start)
    assert not torch.allclose(expected, start, atol=1e-3)
    points = landmarks + expected[:, None]
    pixels = points[..., :2] / points[..., 2:] * adapters.CAMERA.focal + torch.tensor(
        adapters.CAMERA.center
    )
    torch.testing.assert_close(motion.landmarks2d, pixels, atol=0.1, rtol=0)


def test_what_was_filled_in_does_not_place_the_path():
    conf = torch.ones(12, 27)
    conf[:, ::2] = 0
    motion, raw, begun = closed("closing.path=track", conf=conf)
    evidence = begun.evidence
    evidence.fill(evidence.raw.xy + 300, torch.ones(12).bool(), 1, torch.ones(12))
    again = closing.closed_motion(raw, begun.view, evidence, begun.track.times, begun.config)
    torch.testing.assert_close(again.trans, motion.trans)


@pytest.mark.parametrize("mode", ["track", "per_frame"])
def test_a_track_has_one_body_or_one_for_each_frame(mode):
    motion, raw, _ = closed(f"shape.mode={mode}", "closing.filter=none", "closing.path=frames")
    one = raw.betas.median(0).values.expand(12, 10)
    torch.testing.assert_close(motion.betas, one if mode == "track" else raw.betas)
    assert torch.equal(motion.rotmats, raw.rotmats) and torch.equal(motion.cam, raw.cam)
    if mode == "per_frame":
        assert torch.equal(motion.trans, motion.trans_raw)


def test_whoever_gets_the_shape_of_the_track_stays_where_the_picture_shows_him():
    """With bodies of very different sizes in turn: one body, put where each of them was seen."""
    track = adapters.walker(12, hidden=False)
    runner = adapters.adapter("closing.filter=none", "closing.path=frames", "shape.mode=track")
    begun = adapters.begin(runner, track, adapters.CAMERA, [None] * 12, silent, None)
    raw, frames = begun.predict_all(), torch.arange(12)
    sizes = torch.zeros(12, 10)
    sizes[:, 0] = torch.linspace(-2, 2, 12)
    raw = replace(raw, betas=sizes)
    motion = closing.closed_motion(raw, begun.view, begun.evidence, track.times, begun.config)
    was = begun.view.project(raw, frames, begun.view.landmarks(raw))
    tall = (was[..., 1].amax(1) - was[..., 1].amin(1))[:, None]
    assert ((motion.landmarks2d - was).norm(dim=-1) < 0.02 * tall).all()
    other = replace(raw, betas=motion.betas)
    unmoved = begun.view.project(other, frames, begun.view.landmarks(other))
    assert ((unmoved - was).norm(dim=-1).amax(1) > 0.05 * tall[:, 0])[[0, -1]].all()
    further = motion.trans[:, 2] / motion.trans_raw[:, 2]
    assert (further.diff() < 0).all() and further[0] > 1.1 and further[-1] < 0.9
