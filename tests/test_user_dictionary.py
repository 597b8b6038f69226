"""The user's own names: lines of the file, windows of an exemplar, what a prior makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from semtta.errors import SemttaError
from semtta.motion import user_dictionary
from semtta.motion.motion_files import list_motions, read_motion
from semtta.motion.user_dictionary import ExtendedPrior, UserDictionary


@pytest.fixture
def load(tmp_path):
    def read(text: str) -> UserDictionary:
        (tmp_path / "names.txt").write_text(text, encoding="utf-8")
        return UserDictionary.load(tmp_path / "names.txt")

    return read


def turning(path, frames: int):
    """A person who turns about, looks up a little and bends a knee more and more."""
    poses = np.zeros((frames, 24, 3))
    yaw = Rotation.from_rotvec(np.linspace((0, 0.3, 0), (0, 9, 0), frames))
    poses[:, 0] = (yaw * Rotation.from_euler("x", 0.2)).as_rotvec()
    poses[:, 4, 0] = np.linspace(0, 1, frames)
    np.savez(path, poses=poses, trans=np.tile((0, 0.9, 0), (frames, 1)), fps=30.0, up_axis="y")
    return path


# Lines --------------------------------------------------------------------------------------------


def test_a_name_goes_before_a_phrase_and_a_later_phrase_before_an_earlier(load):
    added = load("walk up: climb, , go\nclimb # mine\nrun 2:go\n\n  # nothing\n")
    assert added.names == ("walk up", "climb", "run 2") and not added.motions
    assert added.phrases == {"climb": "walk up", "go": "run 2"}
    assert [added.resolve(text) for text in ("CLIMB", "go ", "Walk  UP", "Sit")] == [
        "climb", "run 2", "walk up", "Sit"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, said",
    [("\n\n12: walk", "line 3: the name is missing"), (": a", "line 1: the name is missing"),
     ("#\nwalk\nrun\n Walk :a", "line 4: 'Walk' stands there twice"),
     ("Other", "'other' is the answer"),
     ("x @ y.npz", "line 1: there is no motion file '.*y.npz'")],
)  # fmt: skip
def test_a_line_that_is_wrong_is_named(load, text, said):
    with pytest.raises(SemttaError, match=said):
        load(text)


def test_two_hundred_motions_are_read(load, monkeypatch):
    monkeypatch.setattr(user_dictionary, "_windows", lambda path, where: path.name)
    lines = [f"name{i} a @ {i}.npz" for i in range(200)]
    added = load("\n".join([*lines, "one more"]))
    assert len(added.motions) == 200 and added.motions["name7 a"] == "7.npz"
    with pytest.raises(SemttaError, match="line 201: 200 motions at most are read"):
        load("\n".join([*lines, "one more @ 200.npz"]))


# Windows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames, count", [(15, 1), (60, 1), (74, 1), (75, 2), (660, 40)])
def test_windows_of_two_seconds_begin_every_half_second(load, tmp_path, frames, count):
    path = turning(tmp_path / "m.npz", frames)
    windows = load(f"turn @ {path.name}").motions["turn"]
    whole = torch.from_numpy(read_motion(list_motions(path)[0]).rotmats)
    assert windows.shape == (count, 60, 24, 3, 3) and windows.dtype == torch.float32
    for k, window in enumerate(windows):
        rows = (15 * k + torch.arange(60)).clamp_max(frames - 1)
        assert torch.equal(window[:, 1:], whole[rows, 1:])
        turn = window[:, 0] @ whole[rows, 0].mT  # one turn about the vertical for all frames
        torch.testing.assert_close(turn, turn[:1].expand(60, 3, 3), atol=1e-5, rtol=0)
        torch.testing.assert_close(turn[0, 1], torch.tensor([0.0, 1, 0]), atol=1e-5, rtol=0)
    forward = windows[:, 0, 0, :, 2]
    assert forward[:, 0].abs().max() < 1e-5 and forward[:, 2].min() > 0.9


def test_a_motion_of_less_than_half_a_second_is_too_short(load, tmp_path):
    turning(tmp_path / "m.npz", 14)
    with pytest.raises(SemttaError, match="line 1: the motion '.*m.npz' is shorter than half a"):
        load("turn @ m.npz")


# Prior --------------------------------------------------------------------------------------------


class Prior(nn.Module):
    """A motion's feature is the mean rotation of a knee; a text's a number of its letters."""

    fps, length, sigma, dictionary = 30.0, 60, 0.3, "shipped"

    def __init__(self):
        super().__init__()
        self.register_buffer("features", torch.zeros(1))

    def embed_motion(self, rotmats):
        return nn.functional.normalize(roma.rotmat_to_rotvec(rotmats[:, :, 4]).mean(1), dim=-1)

    def embed_text(self, labels):
        rows = [torch.tensor([0.0, 0, len(label)]) for label in labels]
        return torch.stack(rows) if rows else torch.zeros(0, 3)

    def exemplar_root(self, label):
        return f"root of {label}"

    def matched(self, label):
        return len(label) / 100


@pytest.fixture
def extended():
    motion = torch.eye(3).repeat(4, 60, 24, 1, 1)
    rotvec = torch.tensor([[1.0, 0, 0], [1, 0.5, 0], [1, 0, 0.2], [1, -0.1, 0]])
    motion[:, :, 4] = roma.rotvec_to_rotmat(rotvec)[:, None]
    motion[:, :, 0] = roma.rotvec_to_rotmat(torch.arange(12.0).reshape(4, 3) / 10)[:, None]
    added = UserDictionary(("spin", "hop"), {"twirl": "spin", "jump up": "hop"}, {"spin": motion})
    return ExtendedPrior(Prior(), added), motion


def test_a_name_with_a_motion_is_the_mean_direction_of_its_windows(extended):
    prior, motion = extended
    rows = prior.embed_motion(motion)
    mean = rows.mean(0) / rows.mean(0).norm()
    found = prior.embed_text(["run", "TWIRL", "spin", "jump up"])
    assert found[[0, 3], 2].tolist() == [3, 3]  # other names by their words, phrases by their name
    torch.testing.assert_close(found[1:3], mean.expand(2, 3))
    assert prior.embed_text([]).shape == (0, 3)
    assert prior.matched("twirl") == pytest.approx(0.9 * float((rows @ mean).min()))
    assert prior.matched("jump up") == 0.03 and prior.matched("sit still") == 0.09


def test_everything_else_is_the_priors(extended):
    prior, motion = extended
    assert torch.equal(prior.exemplar_root("twirl"), motion[2, :, 0])
    assert prior.exemplar_root("jump up") == "root of hop" and prior.resolve("Jump up") == "hop"
    assert (prior.fps, prior.length, prior.sigma, prior.dictionary) == (30, 60, 0.3, "shipped")
