"""Errors of joints and meshes against the official code and against hand-computed numbers."""

import math

import pytest
import torch

from semtta.bench.metrics import (
    acceleration_errors,
    aligned_joint_errors,
    correct_keypoints,
    foot_slide,
    joint_errors,
    steadiness,
    summarise,
    vertex_errors,
)

FOURTEEN = [1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16]


@pytest.fixture
def joints(golden):
    z = golden("functions/metrics.npz")
    return z["pred17"] / 1000, z["gt17"] / 1000, z


def test_agrees_with_the_official_code_of_the_field(joints):
    predicted, truth, z = joints
    plain = joint_errors(predicted, truth, [0])[:, FOURTEEN].mean(1)
    torch.testing.assert_close(plain, z["cycleadapt_mpjpe"], atol=1e-6, rtol=0)
    torch.testing.assert_close(plain, z["spin_mpjpe"], atol=1e-6, rtol=0)
    assert float(plain.mean()) == pytest.approx(193.27704, abs=1e-4)
    # frame 3 is mirrored: a reflection must not be allowed to fit
    aligned = aligned_joint_errors(predicted[:, FOURTEEN], truth[:, FOURTEEN]).mean(1)
    torch.testing.assert_close(aligned, z["cycleadapt_pa_mpjpe"], atol=1e-6, rtol=0)
    torch.testing.assert_close(aligned, z["spin_pa_mpjpe"], atol=1e-6, rtol=0)
    acceleration = acceleration_errors(predicted, truth, [0])[:, FOURTEEN].mean(1)
    torch.testing.assert_close(acceleration, z["cycleadapt_accel"], atol=1e-6, rtol=0)


def test_agrees_with_hmr2s_evaluator(golden):
    z = golden("hmr2/hmr2_preproc_golden.npz")
    a, b = z["evA"].double(), z["evB"].double()  # already centred
    plain = vertex_errors(a, b).mean(1)
    torch.testing.assert_close(plain.float(), z["mpjpe_mm"], atol=1e-3, rtol=0)
    aligned = aligned_joint_errors(a, b).mean(1)
    torch.testing.assert_close(aligned.float(), z["pa_mpjpe_mm"], atol=1e-3, rtol=0)


def test_a_mirrored_pose_is_not_forgiven():
    truth = torch.randn(6, 14, 3)
    mirrored = truth * torch.tensor([-1.0, 1.0, 1.0])
    assert aligned_joint_errors(mirrored, truth).mean(1).min() > 100
    turned = 2 * truth @ torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + 3
    assert aligned_joint_errors(turned, truth).max() < 1e-3


def test_vertices_with_and_without_root():
    mesh = torch.randn(4, 50, 3)
    moved = mesh + torch.tensor([0.0, 0.1, 0.0])
    assert vertex_errors(moved, mesh).mean().item() == pytest.approx(100, abs=1e-3)
    roots = torch.zeros(4, 3), torch.tensor([0.0, -0.1, 0.0]).expand(4, 3)
    assert vertex_errors(moved, mesh, *roots).max() < 1e-3


def test_acceleration_does_not_cross_gaps():
    truth = torch.zeros(7, 2, 3)
    predicted = truth.clone()
    predicted[:, 1, 0] = torch.tensor([0.0, 0, 0, 1, 1, 1, 1])  # a step of one metre
    whole = acceleration_errors(predicted, truth, [0])
    assert whole.shape == (5, 2) and whole[:, 1].tolist() == [0, 1000, 1000, 0, 0]
    frames = torch.tensor([0, 1, 2, 5, 6, 7, 8])  # the step falls into the gap
    assert acceleration_errors(predicted, truth, [0], frames)[:, 1].tolist() == [0, 0, 0]
    for count in (1, 2):  # no triple at all
        few = (x[:count] for x in (predicted, truth))
        assert acceleration_errors(*few, [0], frames[:count]).shape == (0, 2)


def test_pck_counts_present_joints_strictly_within_the_threshold():
    truth = torch.full((3, 3, 2), 64.0)
    predicted = truth.clone()
    predicted[:, 0, 0] += torch.tensor([4.9, 5.0, 9.9])
    size = torch.tensor([100.0, 100.0, 200.0])
    present = torch.tensor([[True, True, False]] * 3)
    for share in (correct_keypoints(predicted, truth, size, present, 0.05),
                  correct_keypoints(predicted, truth, size, present)):  # fmt: skip
        assert share[:2].tolist() == pytest.approx([2 / 3, 1.0]) and math.isnan(share[2])
    assert correct_keypoints(predicted, truth, size, present, 0.0495)[0] == pytest.approx(1 / 3)


def test_summary_of_a_track():
    truth = torch.randn(5, 4, 3, dtype=torch.float64)
    predicted = truth.clone()
    predicted[2, 3] += torch.tensor([0.0, 0.03, 0.04])  # 50 mm, one of 20 joint-frames
    hidden = torch.zeros(5, 4, dtype=torch.bool)
    hidden[2, 3] = hidden[0, 1] = True
    numbers = summarise(predicted, truth, [0], hidden)
    assert numbers["frames"] == 5 and numbers["occluded"] == 2
    assert numbers["mpjpe_mm"] == pytest.approx(50 / 20)
    assert numbers["mpjpe_occluded_mm"] == pytest.approx(25)
    assert 0 < numbers["pa_mpjpe_mm"] < 2 * numbers["mpjpe_mm"]
    assert numbers["accel_mm"] == pytest.approx((50 + 100 + 50) / 12)
    without = summarise(predicted, truth, [0])
    assert without["occluded"] == 0 and without["mpjpe_occluded_mm"] is None
    assert summarise(predicted[:2], truth[:2], [0])["accel_mm"] is None


def test_steadiness_is_of_the_whole_person_before_the_camera():
    truth = torch.zeros(7, 3, 3)
    truth[:, 2, 2] = torch.tensor([0.0, 0, 2, 0, 0, 0, 0])  # no root
    placed = truth.clone()
    placed[3, :, 0] += 0.5  # all jump aside for a frame
    placed[:, :2, 2] += torch.tensor([0.0, 0, 0, 0, 0, 1, 1])[:, None]  # a step in depth, roots too
    truth[:, 0, 2] += torch.tensor([0.0, 0.4, 0, 0, 0, 0, 0])  # half of the root
    numbers = steadiness(placed, truth, [0, 1])
    aside, step = [0, 0.5, 1, 0.5, 0], [0, 0, 0, 1, -1]
    shaken = [-0.8, 0.4, 0, 0, 0]
    wrong = sum(math.hypot(x, z - w) for x, z, w in zip(aside, step, shaken))
    wrong += sum(map(math.hypot, aside, step)) + sum(aside)
    assert numbers["abs_accel_mm"] == pytest.approx(1000 * wrong / 15, rel=1e-5)
    assert numbers["depth_jitter_mm"] == pytest.approx(1000 * 2 / 5)
    assert numbers["true_depth_jitter_mm"] == pytest.approx(1000 * 0.6 / 5)
    frames = torch.tensor([0, 1, 2, 3, 4, 9, 10])  # the step falls into the gap
    gap = steadiness(placed, truth, [0, 1], frames)
    assert gap["depth_jitter_mm"] == 0
    assert gap["true_depth_jitter_mm"] == pytest.approx(1000 * 0.6 / 3)
    for few in (1, 2):
        nothing = steadiness(placed[:few], truth[:few], [0], frames[:few])
        assert nothing == steadiness(placed[:few], truth[:few], [0])
        assert set(nothing.values()) == {None} and nothing.keys() == numbers.keys()
    summary = summarise(placed, truth, [0, 1], placed=placed, frames=frames)
    assert {key: summary[key] for key in gap} == gap
    assert not gap.keys() & summarise(placed, truth, [0, 1]).keys()


def test_foot_slide_counts_steps_of_a_resting_foot():
    truth = torch.zeros(10, 3, 3)
    truth[5:, 1, 0] = torch.arange(5) * 0.1  # one ankle walks off, at 3 m/s
    placed = truth.clone()
    placed[:, 1, 2] += torch.arange(10) * 0.004  # 4 mm a frame
    placed[:, 2, 2] += torch.arange(10) * 0.002
    placed[:, 0] += torch.randn(10, 3)  # no ankle
    expected = (5 * 4 + 9 * 2) / 14
    assert foot_slide(placed, truth, [1, 2], 30.0) == pytest.approx(expected, abs=1e-4)
    # from 0.1 m per frame to 0.1 m per 30 frames: slow enough for all
    slow = foot_slide(placed, truth, [1, 2], 1.0)
    assert slow > expected
    for speed, rests in ((0.14, True), (0.16, False)):  # m/s
        walk = torch.arange(10.0)[:, None, None] * torch.tensor([speed / 30, 0, 0]).expand(3, 3)
        assert (foot_slide(placed, walk, [1, 2], 30.0) is not None) == rests
    gap = torch.tensor([0, 1, 2, 3, 4, 9, 10, 11, 12, 13])
    placed[5:, 2] += 1.0  # while nobody looked
    assert foot_slide(placed, truth, [2], 30.0, gap) == pytest.approx(2, abs=1e-4)
    assert foot_slide(placed, truth + torch.arange(10)[:, None, None], [1], 30.0) is None
    assert foot_slide(placed[:1], truth[:1], [1], 30.0) is None
