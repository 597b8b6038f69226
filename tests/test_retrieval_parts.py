"""How motion is named, part by part: windows, chances over time, names with their spans."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_denoiser_network import motion

from semtta.motion.landmark_encoder import FRAME, Landmarks, landmark_features
from semtta.motion.retrieval import (
    Retrieval,
    _first_after,
    decode,
    family_shares,
    reliability_inputs,
    runs,
    seen_from_all_sides,
    windows,
)
from semtta.skeletons import BODY27


@pytest.fixture(scope="module")
def retrieval():
    return Retrieval.load()


# ------------------------------------------------------------------ time


def test_a_run_of_three_tenths_of_a_second_shows_something_and_a_shorter_one_nothing():
    times = torch.cat((torch.arange(7) * 0.05, 5 + torch.arange(7) * 0.0499, torch.tensor([9.0])))
    assert runs(times.double()) == [slice(0, 7)]
    assert runs(torch.tensor([0.0, 0.15, 0.3], dtype=torch.float64)) == [slice(0, 3)]


@pytest.mark.parametrize(
    "seconds, starts",
    [(0.5, [0]), (59 / 30, [0]), (59 / 30 + 0.2, [0]), (59 / 30 + 0.3, [0, 0.3]),
     (59 / 30 + 1.0, [0, 0.5, 1.0]), (59 / 30 + 1.2, [0, 0.6, 1.2])],
)  # fmt: skip
def test_windows_of_two_seconds_lie_about_half_a_second_apart(seconds, starts):
    times = 7 + torch.linspace(0, seconds, 100, dtype=torch.float64)
    found, middles = windows(times)
    shown = min(seconds, 59 / 30)
    assert middles == pytest.approx([7 + start + shown / 2 for start in starts], abs=1e-6)
    for window, start in zip(found, starts, strict=True):
        wanted = (start + torch.arange(60, dtype=torch.float64) / 30).clamp(max=seconds)
        assert (window * seconds / 99 - wanted).abs().max() < 0.06 * seconds / 99
    late, _ = windows(times + 1e5)  # after a day
    torch.testing.assert_close(late, found, atol=1e-4, rtol=0)


@pytest.mark.parametrize("states, switch", [(3, 0.1), (2, 0.3), (4, 0.02)])
def test_the_names_over_time_are_the_likeliest_of_all_sequences(states, switch):
    evidence = torch.randn(5, states, generator=torch.Generator().manual_seed(states))
    best = (-math.inf, None)
    for path in itertools.product(range(states), repeat=5):
        log = sum(float(evidence[i, s]) for i, s in enumerate(path))
        for a, b in zip(path, path[1:]):
            log += math.log(1 - switch if a == b else switch / (states - 1))
        best = max(best, (log, path))
    assert tuple(decode(evidence, switch).tolist()) == best[1]
    assert decode(torch.randn(4, 1), 0.02).tolist() == [0] * 4


# ------------------------------------------------------------------ what is read of landmarks


def test_a_detector_sees_a_person_from_the_front_first_and_then_from_all_sides():
    standing = torch.eye(3).expand(1, 4, 24, 3, 3)
    seen = seen_from_all_sides(standing)
    assert seen.xy.shape == (8, 4, 27, 2) and seen.space.shape == (8, 4, 27, 3)
    left, right, nose = BODY27.indices(["left_shoulder", "right_shoulder", "nose"])
    x = seen.xy[:, 0, left, 0] - seen.xy[:, 0, right, 0]
    assert x[0] > 0 and x[4] < 0 and (x[2].abs() < x[0] / 4)  # his left is to the right
    assert (seen.xy[:, 0, nose, 1] < 0).all() and seen.space[0, 0, nose, 2] < 0  # up, and near
    away = (seen.space[0] - seen.space[4]).norm(dim=-1)
    assert away.max() > 0.5  # another side
    low, high = seen.xy.amin(2), seen.xy.amax(2)
    assert torch.allclose(seen.box[..., :2], (low + high) / 2)


def test_what_is_read_does_not_depend_on_where_the_person_stands_or_how_large_he_looks():
    seen = seen_from_all_sides(motion("a", 1, 60))
    moved = Landmarks(
        3 * seen.xy + 0.4, seen.conf, seen.space, seen.conf3d,
        torch.cat((3 * seen.box[..., :2] + 0.4, 3 * seen.box[..., 2:]), -1),
    )  # fmt: skip
    found, other = landmark_features(seen), landmark_features(moved)
    assert found.shape == (8, 60, FRAME)
    torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-4)


def test_3d_is_turned_to_the_camera_and_the_turn_is_told():
    rotmats = motion("b", 1, 60)
    rotmats[:, :, 0] = torch.eye(3)
    seen = seen_from_all_sides(rotmats)
    features = landmark_features(seen)
    space = features[..., 27 * 4 : 27 * 7].unflatten(-1, (27, 3))
    left, right = BODY27.indices(["left_hip", "right_hip"])
    assert (space[..., left, 0] > space[..., right, 0]).all()
    for side in range(8):  # the same person, wherever the camera was
        torch.testing.assert_close(space[side], space[0], atol=2e-3, rtol=0)
    turn = features[:, 0, -2:]
    assert torch.allclose(turn.norm(dim=1), torch.ones(8), atol=1e-4)
    assert torch.unique(turn.mul(10).round(), dim=0).shape[0] == 8


def test_what_is_missing_is_not_read():
    seen = seen_from_all_sides(motion("c", 1, 60)).at(slice(0, 1))
    conf, conf3d = seen.conf.clone(), seen.conf3d.clone()
    conf[0, 20:40, 5] = 0
    conf3d[0, :, 7] = 0
    wild = Landmarks(seen.xy.clone(), conf, seen.space.clone(), conf3d, seen.box)
    plain = landmark_features(wild)
    wild.xy[0, 20:40, 5], wild.space[0, :, 7] = 1e4, -1e4
    assert torch.equal(landmark_features(wild), plain) and plain.isfinite().all()
    none = torch.zeros_like(conf)
    nothing = Landmarks(seen.xy, none, seen.space, none, seen.box)
    read = landmark_features(nothing)
    assert not read[..., : 27 * 9].any() and not read[..., -2:].any()


def test_an_exemplar_has_the_mean_feature_of_its_motions_from_all_sides(retrieval):
    poses = motion("b", 3, 60)
    extended = retrieval.with_exemplars({"Walk": poses})
    own = F.normalize(retrieval.embed(seen_from_all_sides(poses)).mean(0), dim=0)
    torch.testing.assert_close(extended.features[-1], own)
    kept = [i for i, name in enumerate(retrieval.names) if name != "walk"]
    assert extended.names == (*(retrieval.names[i] for i in kept), "Walk")
    assert torch.equal(extended.features[:-1], retrieval.features[kept])
    assert retrieval.with_exemplars({}) is retrieval


# ------------------------------------------------------------------ names


class Told(Retrieval):
    """Knows the cosines of its windows."""

    def similarity(self, seen):
        assert len(seen.xy) == len(self.features)
        return self.features


SURE = torch.tensor([0.1, 0.2, 0.3, -1.0])


def told(similarity: torch.Tensor, temperature: float = 0.1) -> Told:
    names = tuple("abcdefgh"[: similarity.shape[1]])
    return Told(None, names, names, similarity, temperature, SURE)


def nobody(count: int) -> Landmarks:
    joints = torch.zeros(count, 27)
    flat, deep = joints[..., None].expand(-1, -1, 2), joints[..., None].expand(-1, -1, 3)
    return Landmarks(flat, joints, deep, joints, torch.ones(count, 3))


def test_names_meet_between_the_middles_of_their_windows():
    frames = 118  # 3.9 s: five windows, their middles from 0.98 s to 2.92 s
    times = 2 + torch.arange(frames, dtype=torch.float64) / 30
    similarity = torch.zeros(5, 7)
    similarity[:3, 1], similarity[3:, 4] = 1.0, 0.9
    similarity[:, 6] = 0.5
    first, second = told(similarity).name(nobody(frames), times)
    # between the third window's middle at 1.95 s and the fourth's at 2.43 s
    assert (first.start, first.stop, second.start, second.stop) == (0, 66, 66, 118)
    assert (first.text, second.text) == ("b", "e")
    for named, cosine, row in ((first, 1.0, 0), (second, 0.9, 3)):
        share = float((similarity[row] / 0.1).softmax(0).max())
        other = float((similarity[row] / 0.1).softmax(0).sort().values[-2])
        logit = 0.1 * 4 * cosine + 0.2 * 4 * share + 0.3 * 4 * (share - other) - 1
        assert named.confidence == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)
        assert named.others[0][0] == "g" and len(named.others) == 4
        assert named.text not in dict(named.others)
        values = [value for _, value in named.others]
        assert values == sorted(values, reverse=True)
    assert second.confidence < first.confidence
    assert _first_after(times, float(times[9])) == 9  # on the border it belongs to the later


def test_a_family_shares_what_its_names_have_and_is_called_by_its_first():
    similarity = torch.tensor([[0.5, 0.5, 0.52, 0.1]])
    families = ("a", "a", "c", "d")
    share, kinds = family_shares(similarity, 0.1, families)
    torch.testing.assert_close(share, (similarity / 0.1).softmax(1))
    torch.testing.assert_close(
        kinds[0], torch.stack((share[0, :2].sum(), share[0, 2], share[0, 3]))
    )
    retrieval = replace(told(similarity), families=families)
    (found,) = retrieval.name(nobody(40), torch.arange(40, dtype=torch.float64) / 30)
    assert found.text == "a" and [name for name, _ in found.others] == ["c", "d"]
    surely = replace(told(torch.tensor([[0.3, 0.5, 0.2, 0.1]])), families=families)
    (found,) = surely.name(nobody(40), torch.arange(40, dtype=torch.float64) / 30)
    assert found.text == "b"  # one of the family, and surely
    wanted = torch.tensor([[2.0, 4 * kinds[0, 0], 4 * (kinds[0, 0] - kinds[0, 1]), 1.0]])
    torch.testing.assert_close(reliability_inputs(similarity, 0.1, families), wanted)
    wanted = torch.tensor([[2.08, 4 * kinds[0, 1], 4 * (kinds[0, 1] - kinds[0, 0]), 1.0]])
    torch.testing.assert_close(reliability_inputs(similarity, 0.1, families, 1), wanted)


def test_a_later_stretch_is_counted_from_the_start_of_the_track():
    times = torch.arange(40, dtype=torch.float64) / 30
    times[20:] += 3
    similarity = torch.tensor([[0.2, 0.1, 0.0]])
    found = told(similarity).name(nobody(40), times)
    assert [(n.start, n.stop, n.text) for n in found] == [(0, 20, "a"), (20, 40, "a")]
    assert [name for name, _ in found[1].others] == ["b", "c"]
