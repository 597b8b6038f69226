"""Naming motion: on one held-out recorded walk, and on what was made for the purpose."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.labels.changes import motion_segments
from semtta.motion.landmark_encoder import Landmarks
from semtta.motion.retrieval import Named, Retrieval, decode, seen_from_all_sides, windows
from semtta.shipped import asset
from semtta.skeletons import COCO17
from semtta.tta.labelling import retrieved_labels

GOLDEN = Path(__file__).parent / "golden" / "walk_heldout.npz"


@pytest.fixture(scope="module")
def retrieval():
    return Retrieval.load()


@pytest.fixture(scope="module")
def walk():
    with np.load(GOLDEN) as file:
        return roma.rotvec_to_rotmat(torch.from_numpy(file["pose"].astype(np.float32)))


def seen(motion: torch.Tensor, side: int = 0) -> Landmarks:
    """What a perfect detector says of a motion (T, 24, 3, 3) seen from one of eight sides."""
    return seen_from_all_sides(motion[None]).at(side)


def test_a_walk_is_called_a_walk_from_every_side(retrieval, walk):
    for side in range(8):
        (found,) = retrieval.name(seen(walk, side), torch.arange(60) / 30)
        assert (found.start, found.stop) == (0, 60)
        assert found.text.startswith("walk"), (side, found)
    assert found.others and found.others[0][1] <= 1


def test_the_frame_rate_does_not_matter(retrieval, walk):
    (slow,) = retrieval.name(seen(walk[::2]), torch.arange(30) / 15)
    assert slow.text.startswith("walk")


def test_two_actions_one_after_the_other_are_cut_between_them(retrieval, walk):
    still = walk[:1].repeat(150, 1, 1, 1)
    still[:, 1:] = torch.eye(3)
    # a T-pose held for five seconds, then a walk, from the side
    motion = torch.cat((still, walk, walk, walk, walk))
    found = retrieval.name(seen(motion, 2), torch.arange(len(motion)) / 30)
    assert found[0].start == 0 and found[-1].stop == len(motion)
    assert all(a.stop == b.start and a.text != b.text for a, b in zip(found, found[1:]))
    assert not found[0].text.startswith("walk") and found[-1].text.startswith("walk")
    assert abs(found[-1].start - 150) <= 30


def test_gaps_are_not_bridged_and_very_short_runs_have_no_name(retrieval, walk):
    times = torch.arange(60) / 30
    times[30:] += 5
    found = retrieval.name(seen(walk), times)
    assert [(n.start, n.stop) for n in found] == [(0, 30), (30, 60)]
    assert retrieval.name(seen(walk[:5]), times[:5]) == []


def test_who_does_what_has_no_name_is_named_without_confidence(retrieval):
    g = torch.Generator().manual_seed(0)
    odd = roma.rotvec_to_rotmat(0.8 * torch.randn(1, 24, 3, generator=g)).repeat(60, 1, 1, 1)
    (found,) = retrieval.name(seen(odd), torch.arange(60) / 30)
    assert found.confidence < load_config().labels.min_confidence, found


def test_an_exemplar_is_found_by_its_motion(retrieval, walk):
    g = torch.Generator().manual_seed(0)
    odd = roma.rotvec_to_rotmat(0.5 * torch.randn(1, 1, 24, 3, generator=g)).repeat(1, 60, 1, 1, 1)
    extended = retrieval.with_exemplars({"hold an odd pose": odd})
    assert extended.names == (*retrieval.names, "hold an odd pose")
    for side in range(8):
        (found,) = extended.name(seen(odd[0], side), torch.arange(60) / 30)
        assert found.text == "hold an odd pose"
    (found,) = extended.name(seen(walk), torch.arange(60) / 30)
    assert found.text.startswith("walk")
    own = retrieval.with_exemplars({"WALK": odd})
    assert "walk" not in own.names and len(own.names) == len(own.features) == len(retrieval.names)


def test_a_foreign_file_is_one_sentence(tmp_path, retrieval):
    path = tmp_path / "x.pt"
    good = torch.load(asset("motion/retrieval.pt"), weights_only=True)
    state = good["state"]
    broken = {**state, "std": state["std"] * float("nan")}
    for change, words in (
        ({"labels": good["labels"][::-1]}, "another dictionary"),
        ({"format": "semtta-retrieval-1"}, "is not a retrieval file .*make it anew"),
        ({"features": good["features"][:, :-1]}, "cannot be read.*do not fit"),
        ({"reliability": [1.0]}, "cannot be read.*do not fit"),
        ({"families": good["families"][1:]}, "cannot be read.*do not fit"),
        ({"families": ["a", *good["families"][1:]]}, "cannot be read.*do not fit"),
        ({"temperature": "warm"}, "retrieval file .* cannot be read"),
        ({"temperature": -1.0}, "cannot be read.*do not fit"),
        ({"state": {k: v for k, v in state.items() if k != "mean"}}, "lacks 'mean'"),
        ({"state": broken}, "'std' is not finite"),
    ):
        torch.save(good | change, path)
        with pytest.raises(SemttaError, match=words):
            Retrieval.load(path)
    path.write_bytes(b"no")
    with pytest.raises(SemttaError):
        Retrieval.load(path)
    torch.save(good | {"temperature": 0.5}, path)
    other = Retrieval.load(path)
    assert other.temperature == 0.5 and other.names == retrieval.names


def test_windows_cover_a_run_and_pad_a_short_one():
    grid, middle = windows(torch.arange(180).double() / 30)
    assert grid.shape == (9, 60) and len(middle) == 9
    assert torch.equal(grid[0], torch.arange(60).double())
    assert torch.equal(grid[-1], torch.arange(120, 180).double())
    grid, middle = windows(torch.arange(20).double() / 30)
    assert grid[0].tolist() == [*range(20), *[19] * 40] and len(middle) == 1


def test_decoding_ignores_a_short_doubt_and_follows_a_lasting_change():
    evidence = torch.zeros(12, 3)
    evidence[:6, 0] = evidence[6:, 1] = 2.0
    doubt = evidence.clone()
    doubt[2] = torch.tensor([0.0, 0.0, 1.0])
    for given in (evidence, doubt):
        assert decode(given, 0.02).tolist() == [0] * 6 + [1] * 6
    assert decode(torch.tensor([[1.0, 2.0]]), 0.02).tolist() == [1]


# ---------------------------------------------------------------------- segments from 2D


def track(xy, times=None, conf=None):
    count = len(xy)
    times = torch.arange(count) / 30 if times is None else times
    boxes = torch.tensor([0.0, 0, 100, 200]).expand(count, 4)
    conf = torch.ones(count, 17) if conf is None else conf
    return Track(1, torch.arange(count), times, boxes, Keypoints2D(xy, conf, COCO17))


def swinging(count, size, seed=0):
    g = torch.Generator().manual_seed(seed)
    rest = torch.tensor([50.0, 100.0]) + 30 * torch.randn(17, 2, generator=g)
    phase = 2 * torch.pi * torch.arange(count)[:, None, None] / 30
    swing = size * torch.randn(17, 2, generator=g) * phase.sin()
    return rest + swing + torch.randn(count, 17, 2, generator=g)


def test_a_regular_movement_has_no_cut_and_two_are_cut_where_they_meet():
    assert motion_segments(track(swinging(180, 15))) == [(0, 180)]
    two = torch.cat((swinging(120, 20), swinging(120, 1)))
    (first, second) = motion_segments(track(two))
    assert first[0] == 0 and second == (first[1], 240) and abs(first[1] - 120) < 15
    postures = torch.cat((swinging(120, 5, 1), swinging(120, 5, 2)))
    (first, second) = motion_segments(track(postures))
    assert abs(first[1] - 120) < 15


def test_segments_cover_every_position_even_with_gaps_and_missing_joints():
    g = torch.Generator().manual_seed(0)
    times = torch.arange(600) / 30
    times[400:] += 2
    conf = (torch.rand(600, 17, generator=g) > 0.3).float()
    conf[:, 3] = 0
    found = motion_segments(track(swinging(600, 15), times, conf))
    assert found[0][0] == 0 and found[-1][1] == 600
    assert all(a[1] == b[0] for a, b in zip(found, found[1:]))
    assert 400 in [start for start, _ in found]
    assert max(b - a for a, b in found) <= 8 * 30 + 3
    assert motion_segments(track(swinging(1, 1))) == [(0, 1)]


# ---------------------------------------------------------------------- in benchmarks


def test_where_texts_come_from_changes_only_the_hash_of_methods_that_ask():
    from semtta.bench.methods import METHODS, settings_hash

    def hashes(name):
        method = METHODS[name]
        given = (), ("labels.min_confidence=0.1",)
        return [settings_hash(method, method.config("lifter", g), {}) for g in given]

    assert len(set(hashes("semtta"))) == 1 and len(set(hashes("semtta-auto"))) == 2


def test_spans_count_frames_of_the_video_and_end_behind_the_last():
    from test_adapter import CAMERA, walker

    track = walker(40)
    track = dataclasses.replace(track, id=7, frames=100 + 3 * torch.arange(40))
    others = tuple((name, 0.1) for name in "abcd")

    class Names:
        def name(self, seen, times):
            assert seen.xy.shape == (40, 27, 2) and torch.equal(times, track.times)
            return [Named(0, 10, "walk", 0.7, others), Named(10, 40, "sit", 0.6)]

    first, second = retrieved_labels(Names(), track, CAMERA)
    assert (first.text, first.start, first.end) == ("walk", 100, 128)
    assert (second.text, second.start, second.end) == ("sit", 130, 218)
    assert (first.track, first.source, first.confidence) == (7, "prior", 0.7)
    assert first.others == ("a", "b", "c") and second.others == ()


def test_a_benchmark_runs_with_retrieved_labels(tmp_path):
    from bench_fake import FakeBenchmark, run

    run(tmp_path, FakeBenchmark(), methods=("semtta-auto",), limit=1)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    (line,) = [line for line in lines if '"semtta-auto"' in line]
    assert '"labelled": 0.0' in line and "error" not in line  # six frames say nothing
