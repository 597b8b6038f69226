"""How motion is named, part by part: windows, chances over time, names with their spans."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_denoiser_network import motion

from semtta.errors import SemttaError
from semtta.geometry import geodesic_degrees
from semtta.motion.retrieval import (
    Retrieval,
    _first_after,
    decode,
    prior_hashes,
    raw_features,
    runs,
    windows,
)
from semtta.shipped import asset, file_sha256


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
    found, middles = windows(rotations_about_z(0.5 * (times - 7)), times)
    shown = min(seconds, 59 / 30)
    assert middles == pytest.approx([7 + start + shown / 2 for start in starts], abs=1e-6)
    for window, start in zip(found, starts, strict=True):
        wanted = (start + torch.arange(60, dtype=torch.float64) / 30).clamp(max=seconds)
        assert geodesic_degrees(window, rotations_about_z(0.5 * wanted)).max() < 0.1
    late, _ = windows(rotations_about_z(0.5 * (times - 7)), times + 1e5)  # after a day
    torch.testing.assert_close(late, found, atol=1e-4, rtol=0)


def rotations_about_z(angle: torch.Tensor) -> torch.Tensor:
    """(T,) radians -> (T, 24, 3, 3)."""
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = (angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one)
    return torch.stack(rows, -1).unflatten(-1, (3, 3))[:, None].expand(-1, 24, -1, -1).float()


@pytest.mark.parametrize("states, switch", [(3, 0.1), (2, 0.3), (4, 0.02)])
def test_chances_over_time_are_those_of_all_sequences_together(states, switch):
    evidence = torch.randn(5, states, generator=torch.Generator().manual_seed(states))
    chance = torch.zeros(5, states, dtype=torch.float64)
    best = (-np.inf, None)
    for path in itertools.product(range(states), repeat=5):
        log = sum(float(evidence[i, s]) for i, s in enumerate(path))
        for a, b in zip(path, path[1:]):
            log += np.log(1 - switch if a == b else switch / (states - 1))
        best = max(best, (log, path))
        chance[torch.arange(5), list(path)] += np.exp(log)
    found, posterior = decode(evidence, switch)
    assert tuple(found.tolist()) == best[1]
    wanted = (chance / chance.sum(1, keepdim=True)).float()
    torch.testing.assert_close(posterior, wanted, atol=1e-5, rtol=0)


def test_one_name_alone_is_certain():
    path, chance = decode(torch.randn(4, 1), 0.02)
    assert path.tolist() == [0] * 4 and (chance == 1).all()


# ------------------------------------------------------------------ features


def test_a_feature_is_a_linear_map_of_what_both_priors_make_of_an_upright_root(retrieval):
    poses = motion("a", 3, 60)
    upright = poses.clone()
    upright[:, :, 0] = torch.eye(3)
    raw = torch.cat([prior.embed_motion(upright) for prior in retrieval.priors], 1)
    torch.testing.assert_close(raw_features(retrieval.priors, poses), raw)
    mapped = raw @ retrieval.matrix[:-1] + retrieval.matrix[-1]
    feature = F.normalize(mapped, dim=1)
    torch.testing.assert_close(retrieval.embed(poses), feature, atol=1e-5, rtol=0)
    similarity = feature @ retrieval.features.T
    torch.testing.assert_close(retrieval.similarity(poses), similarity, atol=1e-5, rtol=0)


def test_an_exemplar_has_the_mean_feature_of_its_motions(retrieval):
    poses = motion("b", 3, 60)
    extended = retrieval.with_exemplars({"Walk": poses})
    own = F.normalize(retrieval.embed(poses).mean(0), dim=0)
    torch.testing.assert_close(extended.features[-1], own)
    kept = [i for i, name in enumerate(retrieval.names) if name != "walk"]
    assert extended.names == (*(retrieval.names[i] for i in kept), "Walk")
    assert torch.equal(extended.features[:-1], retrieval.features[kept])
    assert retrieval.with_exemplars({}) is retrieval


# ------------------------------------------------------------------ names


class Told(Retrieval):
    """Knows the cosines of its windows."""

    def similarity(self, motion):
        assert len(motion) == len(self.features)
        return self.features


def told(similarity: torch.Tensor, temperature: float = 0.1) -> Told:
    names = tuple("abcdefgh"[: similarity.shape[1]])
    return Told((), names, similarity, torch.zeros(0), temperature)


def test_names_meet_between_the_middles_of_their_windows():
    frames = 118  # 3.9 s: five windows, their middles from 0.98 s to 2.92 s
    times = 2 + torch.arange(frames, dtype=torch.float64) / 30
    similarity = torch.zeros(5, 7)
    similarity[:3, 1], similarity[3:, 4] = 1.0, 1.0
    similarity[:, 6] = 0.5
    first, second = told(similarity).name(motion("c", frames), times)
    # between the third window's middle at 1.95 s and the fourth's at 2.43 s
    assert (first.start, first.stop, second.start, second.stop) == (0, 66, 66, 118)
    assert (first.text, second.text) == ("b", "e")
    weight = (117 / 30 / 2) / 5  # five windows of two seconds tell as much as fit into four
    _, posterior = decode(weight * (similarity / 0.1).log_softmax(-1), 0.02)
    chance = posterior[:3].mean(0)
    assert first.confidence == pytest.approx(float(chance[1]))
    assert second.confidence == pytest.approx(float(posterior[3:, 4].mean()))
    assert first.others[0] == ("g", pytest.approx(float(chance[6])))
    assert len(first.others) == 4 and "b" not in dict(first.others)
    values = [value for _, value in first.others]
    assert values == sorted(values, reverse=True)
    assert _first_after(times, float(times[9])) == 9  # on the border it belongs to the later


def test_a_later_stretch_is_counted_from_the_start_of_the_track():
    times = torch.arange(40, dtype=torch.float64) / 30
    times[20:] += 3
    similarity = torch.tensor([[0.2, 0.1, 0.0]])
    found = told(similarity).name(motion("d", 40), times)
    assert [(n.start, n.stop, n.text) for n in found] == [(0, 20, "a"), (20, 40, "a")]
    # one window, however short, counts as one
    wanted = (similarity[0] / 0.1).softmax(0)
    assert found[1].confidence == pytest.approx(float(wanted[0]))
    assert [name for name, _ in found[1].others] == ["b", "c"]


# ------------------------------------------------------------------ files


def test_a_file_belongs_to_the_shipped_priors_by_their_hashes():
    files = [asset(f"motion/prior_{name}.pt") for name in ("align", "gate")]
    assert prior_hashes() == [file_sha256(file) for file in files]


def test_a_matrix_that_is_none_or_of_another_space_is_refused(tmp_path, retrieval):
    with np.load(asset("motion/retrieval.npz")) as file:
        good = {key: file[key] for key in file.files}
    for change, words in (
        ({"matrix": good["matrix"][0]}, "its matrix is none"),
        ({"matrix": good["matrix"][:, :-1]}, "another dictionary"),
        ({"temperature": np.array("warm")}, "^retrieval file .* cannot be read"),
    ):
        np.savez(tmp_path / "x.npz", **(good | change))
        with pytest.raises(SemttaError, match=words):
            Retrieval.load(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", **(good | {"temperature": np.array(0.5)}))
    other = Retrieval.load(tmp_path / "x.npz")
    assert other.temperature == 0.5 and other.names == retrieval.names
