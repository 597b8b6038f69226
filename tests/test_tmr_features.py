"""Numbers of TMR's family against loops written from the releases' own descriptions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from tmr_by_hand import REST, Y_TO_Z, by_hand, soma_world
from tmr_release import SIZES, human_skeleton, soma_skeleton, statistics

from semtta.errors import SemttaError
from semtta.motion.tmr_features import (
    HUMANML,
    LAYOUTS,
    MOTIONFIX,
    SOMA,
    MotionFixFeatures,
    planted_path,
)
from semtta.motion.tmr_humanml import HumanMLFeatures
from semtta.motion.tmr_soma import SomaFeatures


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def motion(frames: int, seed: int = 0, count: int = 2) -> torch.Tensor:
    """Somebody who turns, bends and waves, standing along z; (count, frames, 24, 3, 3) double."""
    rng = np.random.RandomState(seed)
    time = np.linspace(0, 2, frames)[None, :, None, None]
    swing = rng.standard_normal((count, 1, 24, 3)) * 0.35
    vectors = swing * np.sin(2 * time + rng.rand(count, 1, 24, 3) * 6)
    local = (
        Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(count, frames, 24, 3, 3)
    )
    yaw = Rotation.from_euler("y", np.linspace(0.4, 1.7, frames)[:, None]).as_matrix()
    local[:, :, 0] = Y_TO_Z @ yaw @ local[:, :, 0]
    return torch.from_numpy(local)


def built(name: str, fps: float | None = None):
    mean, std = (value.double() for value in statistics(name))
    if name == "motionfix":
        made = MotionFixFeatures(mean, std, REST, fps)
    elif name == "soma":
        made = SomaFeatures(mean, std, soma_skeleton(), fps)
    else:
        made = HumanMLFeatures(mean, std, torch.from_numpy(human_skeleton()), REST, fps)
    return made.double()


# ------------------------------------------------------------------ equal to it


@pytest.mark.parametrize("name", SIZES)
def test_raw_numbers_are_those_of_the_loops(name):
    made = built(name)
    motions = motion(round(2 * made.fps))
    raw = made.raw(motions)
    for i in range(len(motions)):
        wanted = torch.from_numpy(by_hand(name, motions[i], made.fps))
        assert raw[i].shape == wanted.shape
        for block, where in made.layout.slices.items():
            difference = (raw[i] - wanted)[:, where].abs().max()
            assert difference < 1e-5, (block, float(difference))


@pytest.mark.parametrize("name", SIZES)
def test_numbers_are_normalised_as_the_release_does(name):
    made = built(name)
    motions = motion(round(2 * made.fps))
    mean, std = (value.double().numpy() for value in statistics(name))
    scale = np.sqrt(std**2 + 1e-5) if name == "soma" else std + 1e-12
    wanted = (made.raw(motions).numpy() - mean) / scale
    assert np.abs(made(motions).numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize("name", SIZES)
def test_the_gradient_reaches_the_pose(name):
    made = built(name)
    motions = motion(round(2 * made.fps), count=1).requires_grad_(True)
    (made(motions) ** 2).sum().backward()
    assert motions.grad.isfinite().all()
    reached = motions.grad.abs().amax((0, 1, 3, 4))
    ends = {"motionfix": (), "soma": (10, 11), "humanml3d": (10, 11, 15)}[name]  # move no joint
    assert {j for j in range(20) if reached[j] == 0} == set(ends)
    step, joint = 1e-6, 4
    moved = motions.detach().clone()
    moved[0, 20, joint, 0, 1] += step
    slope = ((made(moved) ** 2).sum() - (made(motions.detach()) ** 2).sum()) / step
    assert slope == pytest.approx(float(motions.grad[0, 20, joint, 0, 1]), rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("name", SIZES)
def test_neither_heading_nor_place_matters(name):
    made = built(name)
    motions = motion(round(2 * made.fps))
    turned = motions.clone()
    turned[:, :, 0] = roma.rotvec_to_rotmat(torch.tensor([0, 0, 2.1]).double()) @ motions[:, :, 0]
    assert (made(turned) - made(motions)).abs().max() < 1e-5


def test_a_frame_rate_of_its_own_changes_velocities_only():
    motions = motion(40)
    slow, fast = built("soma", 20.0).raw(motions), built("soma", 40.0).raw(motions)
    where = SOMA.slices["velocities"]
    assert (2 * slow[..., where] - fast[..., where]).abs().max() < 1e-9
    assert torch.equal(slow[..., :92], fast[..., :92])
    assert (built("soma").fps, built("motionfix").fps, built("humanml3d").fps) == (30, 30, 20)


# ------------------------------------------------------------------ and back again


def test_rotations_come_back_from_motionfix():
    motions = motion(60, count=1)
    parts = MOTIONFIX.split(built("motionfix").raw(motions))
    rows = torch.cat((parts["root"], parts["body"]), -1).unflatten(-1, (22, 2, 3))
    third = torch.linalg.cross(rows[..., 0, :], rows[..., 1, :])
    back = torch.cat((rows, third[..., None, :]), -2)
    assert (back[:, :, 1:] - motions[:, :, 1:22]).abs().max() < 1e-6
    facing = back[0, 0, 0, :, 2]
    assert torch.atan2(facing[1], facing[0]) == pytest.approx(math.atan2(-0.4, 0.2))
    turn = back[0, :, 0] @ motions[0, :, 0].mT  # all frames alike, about z
    assert (turn - turn[0]).abs().max() < 1e-6 and turn[0, 2, 2] == pytest.approx(1)


def test_places_come_back_from_soma():
    motions = motion(60, count=1)
    parts = SOMA.split(built("soma").raw(motions))
    joints = torch.cat((torch.zeros(1, 60, 1, 3), parts["joints"].unflatten(-1, (29, 3))), 2)
    joints = joints + parts["root"][:, :, None] * torch.tensor([1.0, 0, 1])
    joints[:, :, 0, 1] = parts["root"][..., 1]
    wanted = soma_world(motions[0].numpy(), soma_skeleton().numpy())[0]
    assert (joints[0] - torch.from_numpy(wanted)).abs().max() < 1e-6
    assert parts["heading"].norm(dim=-1).sub(1).abs().max() < 1e-6
    assert parts["root"][0, 0, [0, 2]].abs().max() < 1e-9 and parts["heading"][0, 0, 0] > 0.999999


def test_layouts_are_those_of_the_releases():
    assert set(LAYOUTS) == {135, 186, 263}
    assert MOTIONFIX.slices == {"step": slice(0, 3), "body": slice(3, 129), "root": slice(129, 135)}
    assert SOMA.slices == {
        "root": slice(0, 3), "heading": slice(3, 5), "joints": slice(5, 92),
        "velocities": slice(92, 182), "contacts": slice(182, 186)
    }  # fmt: skip
    assert list(HUMANML.slices.values()) == [
        slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 67), slice(67, 193), slice(193, 259),
        slice(259, 263)
    ]  # fmt: skip


# ------------------------------------------------------------------ the path


def test_who_walks_goes_where_the_feet_say():
    foot = torch.zeros(1, 4, 2, 3).double()
    foot[0, :, 0] = torch.tensor([[0.2, -1, 0], [0.1, -1, 0], [0.0, -0.9, 0], [-0.1, -0.8, 0]])
    foot[0, :, 1] = torch.tensor([[0.0, -0.5, 0], [0.1, -0.8, 0], [0.2, -1, 0], [0.1, -1, 0]])
    path = planted_path(foot, "y")[0]
    wanted = torch.tensor([[0, 1, 0], [0.1, 1, 0], [0.2, 1, 0], [0.3, 1, 0]])
    # from the second frame to the third the first foot is lower in both together
    assert (path - wanted).abs().max() < 1e-6
    assert (planted_path(foot[..., [0, 2, 1]], "z")[0] - wanted[:, [0, 2, 1]]).abs().max() < 1e-6


# ------------------------------------------------------------------ what does not fit


@pytest.mark.parametrize("name", SIZES)
def test_statistics_that_do_not_fit_are_refused(name):
    mean, std = statistics(name)
    kind = type(built(name))
    skeleton = {"motionfix": (REST,), "soma": (soma_skeleton(),),
                "humanml3d": (torch.from_numpy(human_skeleton()), REST)}[name]  # fmt: skip
    for wrong in ((mean[:-1], std), (mean, std[:-1]), (mean * torch.nan, std), (mean, std / 0)):
        with pytest.raises(SemttaError, match=f"must be {SIZES[name]} finite numbers"):
            kind(*wrong, *skeleton)
    with pytest.raises(SemttaError, match="not positive"):
        kind(mean, -std, *skeleton)
    constant = std.clone()
    constant[7] = 0
    if name == "soma":
        assert kind(mean, constant, *skeleton).scale[7] == pytest.approx(1e-5**0.5)
    else:
        with pytest.raises(SemttaError, match="not positive"):
            kind(mean, constant, *skeleton)


def test_people_who_stand_along_another_axis_are_refused():
    mean, std = statistics("motionfix")
    mean[129:] = torch.tensor([0.9, 0, 0, 0, 0.9, 0])  # as in a world with y up
    with pytest.raises(SemttaError, match="do not stand along z"):
        MotionFixFeatures(mean, std, REST)


@pytest.mark.parametrize("change", [
    lambda s: s[:29], lambda s: s * 100, lambda s: s[:, [0, 2, 1]], lambda s: -s,
    lambda s: s * torch.tensor([0.0, 1, 1]), lambda s: s * torch.nan,
])  # fmt: skip
def test_another_skeleton_than_somas_is_refused(change):
    with pytest.raises(SemttaError, match="T-pose"):
        SomaFeatures(*statistics("soma"), change(soma_skeleton()))


@pytest.mark.parametrize("change, message", [
    (lambda s: s[:21], "at least 22"), (lambda s: s[:, :2], "at least 22"),
    (lambda s: s[0], "at least 22"), (lambda s: s * 100, "lengths of a person"),
    (lambda s: s * 0, "lengths of a person"), (lambda s: s * torch.nan, "lengths of a person"),
])  # fmt: skip
def test_another_skeleton_than_humanml3ds_is_refused(change, message):
    skeleton = change(torch.from_numpy(human_skeleton()))
    with pytest.raises(SemttaError, match=message):
        HumanMLFeatures(*statistics("humanml3d"), skeleton, REST)
