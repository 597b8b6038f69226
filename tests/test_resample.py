"""Stretches of a track without gaps, and rotations at other frame times."""

from __future__ import annotations

import pytest
import roma
import torch

from semtta.motion.resample import fractional_index, resample_positions, stretches


def about_z(*angles: float) -> torch.Tensor:
    angles = torch.tensor(angles, dtype=torch.float64)
    return roma.rotvec_to_rotmat(torch.stack((0 * angles, 0 * angles, angles), -1))


def angle_of(rotmats: torch.Tensor) -> list[float]:
    return pytest.approx(roma.rotmat_to_rotvec(rotmats)[..., 2].flatten().tolist(), abs=1e-6)


@pytest.mark.parametrize(
    "times, parts",
    [([], []), ([3.0], [(0, 1)]), ([0.0, 0.25, 0.5], [(0, 3)]),
     ([0.0, 0.2500001], [(0, 1), (1, 2)]),
     ([0.0, 0.1, 1.0, 1.1, 1.2, 2.0], [(0, 2), (2, 5), (5, 6)])],
)  # fmt: skip
def test_a_track_is_cut_where_more_than_a_quarter_of_a_second_is_missing(times, parts):
    found = stretches(torch.tensor(times, dtype=torch.float64))
    assert found == [slice(*part) for part in parts]


def test_between_frames_rotations_turn_evenly():
    frames = about_z(0.0, 0.4, 1.0)
    grid = torch.tensor([[0.0, 0.25], [1.5, 2.0]], dtype=torch.float64)
    assert [[0.0, 0.1], [0.7, 1.0]] == [angle_of(row) for row in resample_positions(frames, grid)]
    joints = frames[:, None, None].expand(3, 2, 5, 3, 3)
    found = resample_positions(joints, grid)
    assert found.shape == (2, 2, 2, 5, 3, 3)
    assert torch.equal(found[:, :, 1, 4], resample_positions(frames, grid))


def test_positions_within_a_thousandth_of_a_frame_are_that_frame():
    frames = about_z(0.0, 0.4, 1.0)
    near = resample_positions(frames, torch.tensor([1.0009, 0.0, 2.0], dtype=torch.float64))
    assert torch.equal(near, frames[[1, 0, 2]])
    one = resample_positions(frames, torch.tensor([1.0011], dtype=torch.float64))
    assert angle_of(one) == [0.4 + 0.6 * 0.0011]


def test_times_have_places_between_frames_and_none_beyond_them():
    times = torch.tensor([1.0, 2.0, 4.0, 4.5], dtype=torch.float64)
    wanted = torch.tensor([0.0, 1.0, 1.5, 2.5, 4.125, 4.5, 9.0], dtype=torch.float64)
    found = fractional_index(times, wanted)
    assert found.tolist() == [0, 0, 0.5, 1.25, 2.25, 3, 3]
    assert fractional_index(times[:1], wanted).tolist() == [0] * 7
    assert fractional_index(times[:2], wanted[:3]).tolist() == [0, 0, 0.5]


@pytest.mark.parametrize("off, snaps", [(0.049, True), (-0.049, True), (0.051, False)])
def test_times_that_are_rounded_meet_their_frame(off, snaps):
    times = torch.arange(4).double() / 30
    found = float(fractional_index(times, times[1:2] + off / 30))
    assert found == 1 if snaps else found == pytest.approx(1 + off)
