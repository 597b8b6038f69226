"""How the body moves about: in its own axes, whatever the camera."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from test_denoiser_network import motion

from semtta.motion.encoder import GateEncoder
from semtta.motion.movement import MOVEMENT, body_movement
from semtta.tta.segments import find_segments

AWAY = torch.tensor([0.0, 0.0, 5.0])
UPRIGHT = torch.eye(3).expand(1, 60, 3, 3)


def straight(velocity, frames=60):
    """(1, T, 3): a path at a steady velocity, metres per second."""
    return (torch.arange(float(frames)) / 30)[None, :, None] * torch.tensor(velocity) + AWAY


def test_a_steady_walk_has_its_speed_along_the_axis_it_goes():
    for axis in range(3):
        velocity = [0.0, 0.0, 0.0]
        velocity[axis] = 1.5
        found = body_movement(UPRIGHT, straight(velocity))[0, 20:40]
        for scale in (0, 3):
            wanted = torch.tensor(velocity).expand(20, 3)
            torch.testing.assert_close(found[:, scale : scale + 3], wanted, atol=0.02, rtol=0)
        assert (found[:, 9] == 1).all() and found[:, 10:].abs().max() < 1e-5


def test_whoever_is_turned_about_reads_alike_from_any_camera():
    root = motion("a", 2, 60)[:, :, 0]
    path = 0.3 * torch.randn(2, 60, 3, generator=torch.Generator().manual_seed(0)).cumsum(1) / 10
    path = path + AWAY
    camera = roma.rotvec_to_rotmat(torch.tensor([0.3, 2.0, -0.4]))
    found = body_movement(root, path)
    turned = body_movement(camera @ root, path @ camera.T)
    torch.testing.assert_close(found, turned, atol=1e-3, rtol=1e-3)
    assert found.shape == (2, 60, MOVEMENT)


def test_a_spin_is_read_in_radians_per_second_and_bounded():
    angle = torch.arange(60) / 30 * math.pi
    spin = roma.rotvec_to_rotmat(angle[:, None] * torch.tensor([0.0, 1.0, 0.0]))[None]
    found = body_movement(spin, straight([0.0, 0.0, 0.0]))[0, 10:50, 10:]
    wanted = torch.tensor([0.0, math.pi, 0.0]).expand(40, 3)
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0)
    wild = body_movement(motion("b", 1, 60)[:, :, 0], straight([0.0, 0.0, 0.0]))[..., 10:]
    assert wild.norm(dim=-1).max() <= 4 * math.pi + 1e-3


def test_where_nothing_is_told_nothing_is_read():
    assert not body_movement(motion("c", 2, 60)[:, :, 0], torch.zeros(2, 60, 3)).any()


def test_the_gate_reads_it_and_takes_none_for_zeros():
    torch.manual_seed(0)
    gate, rotmats = GateEncoder(8, width=16, moving=True).eval(), motion("d", 1, 60)
    moved = body_movement(rotmats[:, :, 0], straight([0.0, 0.0, 1.5]))
    assert torch.equal(gate(rotmats), gate(rotmats, torch.zeros_like(moved)))
    assert (gate(rotmats, moved) - gate(rotmats)).abs().max() > 1e-3
    still = GateEncoder(8, width=16).eval()
    assert torch.equal(still(rotmats, moved), still(rotmats))


@pytest.mark.parametrize("fps", [30, 15])
def test_a_segments_path_is_its_frames_linear_between_them(fps):
    times = torch.arange(3 * fps) / fps
    segments = find_segments(torch.arange(len(times)), times, ["walk"] * len(times), fps=30,
                             length=60, stride=5)  # fmt: skip
    path = torch.stack((times, 2 * times, times**2), -1)
    which = torch.tensor([0, len(segments) - 1])
    found = segments.resample_path(path, which)
    wanted = torch.stack([times[segments.windows[i][0]] + torch.arange(60) / 30 for i in which])
    torch.testing.assert_close(found[..., 0], wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[..., 1], 2 * wanted, atol=1e-4, rtol=0)
    assert (found[..., 2] - wanted**2).abs().max() < 1 / fps**2
