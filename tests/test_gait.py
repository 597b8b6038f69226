import math

import pytest
import torch

from semtta.bench.gait import leg_swing, step_error

HIPS, ANKLES = [0, 1], [2, 3]


def walk(hertz=1.0, swing=0.3, frames=60, fps=30.0, phase=0.0):
    """(T, 4, 3): two hips at rest, two ankles that swing against each other along z."""
    t = torch.arange(frames) / fps
    wave = swing * torch.sin(2 * math.pi * hertz * t + phase)
    joints = torch.zeros(frames, 4, 3)
    joints[:, [0, 2], 0], joints[:, [1, 3], 0] = 0.1, -0.1
    joints[:, 2:, 1] = 0.8
    joints[:, 2, 2], joints[:, 3, 2] = wave, -wave
    return joints


def legs(frames=60, joints=(2, 3)):
    hidden = torch.zeros(frames, 4, dtype=torch.bool)
    hidden[:, list(joints)] = True
    return hidden


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.4])
def test_a_leg_that_swings_less_says_how_much_less(share):
    found = leg_swing(walk(swing=0.3 * share), walk(), legs(), HIPS, ANKLES)
    assert found == pytest.approx(100 * share, abs=1e-3)


def test_the_swing_is_about_the_hip_and_of_hidden_legs_only():
    moved = walk() + torch.linspace(0, 5, 60)[:, None, None]  # the whole person walks away
    assert leg_swing(moved, walk(), legs(), HIPS, ANKLES) == pytest.approx(100, abs=1e-3)
    still = walk()
    still[:, 3, 2] = 0  # the right leg hangs
    assert leg_swing(still, walk(), legs(joints=(2,)), HIPS, ANKLES) == pytest.approx(100)
    assert leg_swing(still, walk(), legs(joints=(3,)), HIPS, ANKLES) == pytest.approx(0, abs=1e-4)
    assert leg_swing(still, walk(), legs(), HIPS, ANKLES) == pytest.approx(50, abs=1e-3)


def test_only_hidden_frames_count():
    hidden = legs()
    hidden[30:] = False
    wrong_later = walk()
    wrong_later[30:, 2:, 2] = 0
    assert leg_swing(wrong_later, walk(), hidden, HIPS, ANKLES) == pytest.approx(100)


def test_there_is_no_swing_where_nothing_is_hidden_or_nothing_moves():
    assert leg_swing(walk(), walk(), legs(joints=()), HIPS, ANKLES) is None
    short = legs()
    short[14:] = False
    assert leg_swing(walk(), walk(), short, HIPS, ANKLES) is None
    assert leg_swing(walk(), walk(swing=0.0), legs(), HIPS, ANKLES) is None


@pytest.mark.parametrize("hertz", [0.8, 1.0, 1.7])
@pytest.mark.parametrize("phase", [0.0, 1.1])
def test_a_wrong_step_frequency_is_measured_whatever_the_phase(hertz, phase):
    found = step_error(walk(hertz, phase=phase), walk(1.2), ANKLES, 30.0)
    assert found == pytest.approx(abs(hertz - 1.2), abs=0.03)


def test_frames_that_are_missing_do_not_change_the_frequency():
    kept = torch.tensor([i for i in range(90) if i % 5 or i > 60])
    ours, truth = walk(0.9, frames=90)[kept], walk(1.4, frames=90)[kept]
    assert step_error(ours, truth, ANKLES, 30.0, kept) == pytest.approx(0.5, abs=0.03)
    assert step_error(ours, truth, ANKLES, 30.0) != pytest.approx(0.5, abs=0.03)


def test_truth_without_steps_has_no_step_error():
    noise = walk()
    noise[:, 2:] += torch.randn(60, 2, 3, generator=torch.Generator().manual_seed(0))
    assert step_error(walk(), noise, ANKLES, 30.0) is None
    assert step_error(walk(), walk(swing=0.01), ANKLES, 30.0) is None
    assert step_error(walk(frames=20), walk(0.9, frames=20), ANKLES, 30.0) is None  # half a stride
    assert step_error(walk(swing=0.0), walk(1.0), ANKLES, 30.0) == pytest.approx(1.0, abs=0.03)
