import math

import pytest
import roma
import torch

from semtta.motion.resample import resample_positions
from semtta.tta.segments import _shared_out, draw_batches, find_segments, lone_poses
from semtta.tta.smoothing import window_mean


def segments(labels, fps=30.0, frames=None, stride=1):
    count = len(labels)
    frames = torch.arange(count) if frames is None else frames
    return find_segments(frames, frames / fps, labels, fps=30.0, length=60, stride=stride)


def test_every_window_of_sixty_frames_is_a_segment():
    found = segments(["walk"] * 100)
    assert len(found) == 41 and not found.loose
    nothing = segments([None] * 100).grid
    assert nothing.shape == (0, 60) and nothing.dtype == found.grid.dtype
    assert all(len(window) == 60 for window in found.windows)
    assert torch.equal(found.windows[5], torch.arange(5, 65))


def test_at_another_frame_rate_a_segment_still_lasts_two_seconds():
    found = segments(["walk"] * 200, fps=60.0)
    assert len(found.windows[0]) == 119
    assert torch.equal(found.grid[0], torch.arange(0, 119, 2).double())
    slow = segments(["walk"] * 60, fps=15.0)
    assert torch.allclose(slow.grid[0], torch.arange(60).double() / 2)


def test_segments_neither_cross_labels_nor_gaps():
    found = segments(["a"] * 70 + ["b"] * 65)
    assert {found.labels[i] for i, w in enumerate(found.windows) if w[0] < 70} == {"a"}
    assert all(w[-1] < 70 or w[0] >= 70 for w in found.windows)
    frames = torch.cat((torch.arange(70), torch.arange(78, 143)))  # 0.3 s without a pose
    found = segments(["a"] * 135, frames=frames)
    assert len(found) == 17
    assert all(w[-1] < 70 or w[0] >= 70 for w in found.windows)


def test_poses_of_every_second_frame_are_one_run():
    frames = torch.arange(45) * 2
    for labels in (["walking"] * 45, [None] * 45):
        found = find_segments(frames, frames / 30.0, labels, fps=30, length=60, stride=5)
        assert len(found.loose) == (labels[0] is None) and len(found) == 4 * (labels[0] is not None)
        generator = torch.Generator().manual_seed(0)
        batches = draw_batches(
            found, torch.ones(len(found)), batch_segments=1, coverage=8, generator=generator
        )
        assert len(batches) == 12  # and not one for each frame and look
    found = find_segments(frames, frames / 30.0, ["walking"] * 45, fps=30, length=60, stride=5)
    assert {len(window) for window in found.windows} == {31}


def test_only_time_makes_a_gap():
    thinned = torch.tensor([i for i in range(150) if i % 3 != 2])  # 20 of 30 frames a second
    found = segments(["a"] * 100, frames=thinned)
    assert not found.loose and {len(w) for w in found.windows} <= {40, 41}
    for lost in range(1, 9):  # poses in a row
        frames = torch.arange(140) + lost * (torch.arange(140) >= 70)
        across = [w for w in segments(["a"] * 140, frames=frames).windows if w[0] < 70 <= w[-1]]
        assert bool(across) == ((lost + 1) / 30 <= 0.25)
    at_60 = torch.arange(200) + 10 * (torch.arange(200) >= 100)  # twice the poses, the same time
    assert any(w[0] < 100 <= w[-1] for w in segments(["a"] * 200, fps=60.0, frames=at_60).windows)


@pytest.mark.parametrize("fps", [4.0, 5.0, 12.0])
def test_few_poses_a_second_still_show_a_movement(fps):
    found = segments(["a"] * 40, fps=fps)
    assert not found.loose and not lone_poses(torch.arange(40) / fps)
    assert {len(w) for w in found.windows} == {math.ceil(59 / 30 * fps) + 1}


@pytest.mark.parametrize("labels", [["a"] * 45, [None] * 45])
def test_poses_too_far_apart_are_fitted_one_by_one_with_a_word(labels):
    times = torch.arange(45) * 0.5
    found = find_segments(torch.arange(45), times, labels, fps=30.0, length=60)
    assert not len(found) and len(found.loose) == 1 and len(found.loose[0]) == 45
    generator = torch.Generator().manual_seed(0)
    batches = draw_batches(
        found, torch.zeros(0), batch_segments=1, coverage=8, generator=generator
    )  # fmt: skip
    assert len(batches) < 100  # not one for each pose and look
    assert "45 of 45 poses" in lone_poses(times)


def test_single_poses_between_movements_are_no_segments_and_no_word():
    times = torch.cat((torch.arange(70) / 30, torch.tensor([3.0, 4.0]), 5 + torch.arange(70) / 30))
    found = find_segments(torch.arange(142), times, ["a"] * 142, fps=30.0, length=60)
    assert [run.tolist() for run in found.loose] == [[70, 71]]
    assert not lone_poses(times) and not lone_poses(times[:1])


@pytest.mark.parametrize("labels", [
    ["a"] * 5, [None] * 5, ["a"] * 160 + [None] * 90, [None] * 300,
    (["a"] * 61 + [None]) * 4, ["a", None] * 20,
])  # fmt: skip
@pytest.mark.parametrize("steps", [1, 7])
def test_an_exact_number_of_steps_whatever_the_track(labels, steps):
    found = segments(labels)
    generator = torch.Generator().manual_seed(0)
    seen = []
    for _ in range(60):
        batches = draw_batches(
            found, torch.ones(len(found)), batch_segments=4, coverage=0.01, steps=steps,
            generator=generator,
        )  # fmt: skip
        assert [len(batch) for batch in batches] == [4] * steps
        seen += [frames for batch in batches for frames, _ in batch]
    assert torch.cat(seen).unique().numel() == len(labels)  # nothing is left out for ever
    without = sum(labels[i] is None for f in seen for i in f.tolist())
    share = without / sum(map(len, seen))
    assert abs(share - labels.count(None) / len(labels)) < 0.12


def test_short_and_unlabelled_runs_are_left_over_but_never_lost():
    found = segments(["a"] * 70 + [None] * 30 + ["b"] * 20)
    covered = torch.cat(found.windows).unique().numel() + sum(len(r) for r in found.loose)
    assert covered == 120
    assert set(found.labels) == {"a"}


def test_a_video_shorter_than_a_segment_repeats_its_last_frame_for_the_prior():
    found = segments(["a"] * 10)
    assert len(found) == 1 and torch.equal(found.windows[0], torch.arange(10))
    assert (found.grid[0, 9:] == 9).all() and found.grid.shape == (1, 60)
    one = segments(["a"])  # shows no movement that a text could speak of
    assert not len(one) and torch.equal(one.loose[0], torch.arange(1))


# Eight poses a second and a prior that looks for one: every number below is exact in binary.
def eighths(times, **changes):
    times = torch.tensor(times) / 8
    given = {"fps": 8.0, "length": 9, **changes}
    return find_segments(torch.arange(len(times)), times, ["a"] * len(times), **given)


@pytest.mark.parametrize(("last", "fits"), [(8.0, True), (7.5, True), (7.4, False), (7.0, False)])
def test_a_segment_may_lack_half_a_frame_of_the_prior(last, fits):
    long = [1.0 * t for t in range(9)]
    short = [20.0 + t for t in range(8)] + [20 + last]  # behind a gap
    found = eighths(long + short)
    assert [len(run) for run in found.loose] == ([] if fits else [9])
    assert len(found) == 1 + fits


def test_the_last_start_leaves_all_but_half_a_frame():
    for end, starts in ((8.5, [0, 1]), (8.4, [0]), (9.0, [0, 1])):
        found = eighths([*[1.0 * t for t in range(9)], end])
        assert [int(window[0]) for window in found.windows] == starts


def test_windows_are_a_stride_apart_and_the_last_one_ends_the_run():
    found = segments(["a"] * 100 + ["b"] * 62, stride=7)
    assert [int(w[0]) for w in found.windows] == [0, 7, 14, 21, 28, 35, 40, 100, 102]
    assert [int(w[-1]) for w in found.windows][-3:] == [99, 159, 161]
    assert len(found) == len(found.labels) and found.labels.count("b") == 2
    assert len(segments(["a"] * 70)) == 11 == len(segments(["a"] * 70, stride=1))
    times = torch.arange(70) / 30
    usual = find_segments(torch.arange(70), times, ["a"] * 70, fps=30.0, length=60)
    assert len(usual) == 11


@pytest.mark.parametrize("fps", [15.0, 24.0, 25.0, 30.0, 60.0])
def test_a_window_holds_the_frames_that_its_grid_lies_between(fps):
    found = segments([None] * 3 + ["a"] * 130, fps=fps)
    assert len(found) > 5
    for window, grid in zip(found.windows, found.grid, strict=True):
        assert int(window[0]) == grid[0] and int(window[-1]) == grid[-1].ceil()
        assert torch.equal(window, torch.arange(int(window[0]), int(window[-1]) + 1))
    away = found.grid - found.grid[:, :1] - torch.arange(60) * fps / 30
    assert away[:, :-1].abs().max() < 0.06  # a frame's number snaps to it


def test_a_segment_resampled_alone_is_that_of_the_track():
    found = segments(["a"] * 20 + ["b"] * 100, fps=25.0)
    rotmats = roma.random_rotmat((120, 2))
    everything = found.resample(rotmats)
    assert everything.shape == (len(found), 60, 2, 3, 3)
    for index in (0, 7):
        alone = found.resample_window(rotmats[found.windows[index]], index)
        assert torch.allclose(alone, everything[index], atol=1e-5)
        assert torch.equal(found.resample(rotmats, torch.tensor([index]))[0], everything[index])


def test_how_many_frames_last_as_long_as_a_segment():
    for fps, count in ((30.0, 60), (60.0, 119), (20.0, 40)):
        assert segments(["a"] * 70, fps=fps).frames_per_window == count
    assert segments(["a"]).frames_per_window == 60


def test_four_poses_a_second_are_one_run():
    times = torch.arange(12) / 4
    found = find_segments(torch.arange(12), times, ["a"] * 12, fps=30.0, length=60)
    assert not found.loose and {len(window) for window in found.windows} == {9}


def test_a_value_for_each_segment_and_no_other():
    found = segments(["a"] * 62)
    with pytest.raises(ValueError):
        found.best_per_frame(torch.zeros(2), 62)
    assert found.best_per_frame(torch.ones(3), 64).isnan().tolist() == [False] * 62 + [True] * 2


def test_resampling_is_exact_at_frames_and_halfway_in_between():
    turn = roma.rotvec_to_rotmat(torch.tensor([[0.0, 0, 0], [0, 0, 1.0]]))[:, None]
    at = resample_positions(turn, torch.tensor([[0.0, 0.5, 1.0]]))
    assert torch.allclose(roma.rotmat_to_rotvec(at[0, :, 0])[:, 2], torch.tensor([0, 0.5, 1.0]))
    assert torch.equal(at[0, 0], turn[0])


def test_the_gradient_reaches_the_rotations_through_resampling():
    rotvec = torch.randn(10, 2, 3, requires_grad=True)
    resample_positions(roma.rotvec_to_rotmat(rotvec), torch.tensor([[0.3, 4.5]])).sum().backward()
    assert torch.isfinite(rotvec.grad).all()
    assert rotvec.grad[[0, 1, 4, 5]].abs().sum() > 0 and rotvec.grad[7].abs().sum() == 0


def test_draws_follow_the_weights_and_cover_what_is_left_over():
    found = segments(["a"] * 160 + [None] * 50)
    weights = torch.zeros(len(found))
    weights[7] = 1.0
    seed = torch.Generator().manual_seed(0)
    batches = draw_batches(found, weights, batch_segments=4, coverage=2, generator=seed)
    draws = [draw for batch in batches for draw in batch]
    assert max(len(batch) for batch in batches) <= 4
    segment_draws = [i for _, i in draws if i >= 0]
    assert segment_draws.count(7) >= len(segment_draws) - 1
    assert len(segment_draws) == round(2 * 160 / 60)
    loose = torch.cat([p for p, i in draws if i < 0])
    assert torch.equal(loose.unique(), torch.arange(160, 210))


def drawn(labels, weights=None, seed=0, **settings):
    """Draws of one epoch: first and last frame of each, and its segment."""
    found = segments(labels)
    settings = {"batch_segments": 4, "coverage": 1, **settings}
    weights = torch.ones(len(found)) if weights is None else weights
    generator = torch.Generator().manual_seed(seed)
    batches = draw_batches(found, weights, generator=generator, **settings)
    draws = [(int(f[0]), int(f[-1]), i) for batch in batches for f, i in batch]
    return draws, [len(batch) for batch in batches], generator


def test_a_long_run_that_is_left_over_is_cut_evenly_and_each_part_seen():
    for coverage, counts in ((0.01, (1, 1, 1)), (1, (1, 1, 1)), (2, (2, 1, 1)), (2.3, (2, 2, 1))):
        draws, sizes, _ = drawn(["a"] * 60 + [None] * 130, coverage=coverage)
        parts = [(60, 119), (95, 154), (130, 189)]
        found = tuple(sum(draw[:2] == part for draw in draws) for part in parts)
        assert found == counts and sum(i >= 0 for *_, i in draws) == max(1, round(coverage))
        assert max(sizes) <= 4 and min(sizes[:-1], default=4) == 4
    assert sorted(drawn([None] * 121)[0]) == [(0, 59, -1), (30, 89, -1), (61, 120, -1)]
    assert drawn([None] * 60)[0] == [(0, 59, -1)]


def test_left_over_runs_are_cut_as_long_as_the_longest_segment():
    draws, *_ = drawn(["a"] * 10 + [None] * 50 + ["b"] * 20)
    assert sorted((a, b) for a, b, i in draws if i < 0) == [(10, 29), (25, 44), (40, 59)]


def test_overlapping_segments_are_drawn_as_often_as_their_frames_come_by():
    for coverage, count in ((1, 2), (3, 5), (6, 10), (0.01, 1)):  # 100 frames of windows of 60
        assert len(drawn(["a"] * 100, coverage=coverage)[0]) == count


def test_without_any_weight_every_segment_may_be_drawn():
    weights = torch.full((11,), -1.0)  # more alike than one
    draws, *_ = drawn(["a"] * 70, weights, coverage=200)
    counts = torch.tensor([i for *_, i in draws]).bincount(minlength=11)
    assert counts.min() > 5


def test_few_draws_may_leave_out_every_segment_but_not_for_ever():
    seen = [[i for *_, i in drawn(["a"] * 61 + [None] * 1800, seed=seed, steps=1)[0]]
            for seed in range(60)]  # fmt: skip
    hits = sum(i >= 0 for draws in seen for i in draws)
    assert any(max(draws) < 0 for draws in seen) and 2 <= hits <= 20  # of 240, a 31st


def test_only_the_generator_decides_what_is_drawn():
    labels, found = ["a"] * 70 + [None] * 300, []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append([drawn(labels, **settings)[0] for settings in ({"steps": 5}, {"coverage": 2})])
    assert found[0] == found[1]
    assert drawn(labels, seed=1, steps=5)[0] != found[0][0]


def test_chance_is_asked_for_nothing_that_is_certain():
    for settings in ({"steps": 1, "batch_segments": 3}, {"coverage": 3}):
        *_, generator = drawn([None] * 60, **settings)
        alone = torch.Generator().manual_seed(0)
        torch.randperm(3, generator=alone)
        assert torch.equal(generator.get_state(), alone.get_state())


def test_what_is_shared_out_adds_up_and_chance_has_the_remainder_only():
    generator = torch.Generator().manual_seed(0)
    assert _shared_out(8, [1.0, 2.0, 1.0], generator) == [2, 4, 2]
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())
    shares = torch.tensor([_shared_out(10, [3.0, 2.4, 4.6], generator) for _ in range(300)])
    assert shares.sum(1).eq(10).all() and shares[:, 0].eq(3).all()
    assert shares.amin(0).tolist() == [3, 2, 4] and shares.amax(0).tolist() == [3, 3, 5]
    assert shares.double().mean(0).tolist() == pytest.approx([3, 2.4, 4.6], abs=0.1)


def test_gate_covers_every_frame_of_a_passing_segment():
    found = segments(["a"] * 80)
    gate = torch.zeros(len(found), dtype=torch.bool)
    gate[3] = True
    frames = found.frames_of(gate, 80)
    assert torch.equal(torch.nonzero(frames)[:, 0], torch.arange(3, 63))
    best = found.best_per_frame(torch.arange(len(found)).float(), 80)
    assert best[0] == 0 and best[79] == len(found) - 1 and best[30] == 20


def test_window_mean_is_the_mean_of_windows_then_of_windows_that_cover_a_frame():
    values = torch.randn(12, 3)
    windows = values.unfold(0, 5, 1).mean(-1)
    slow = torch.stack(
        [torch.stack([windows[k] for k in range(8) if k <= t < k + 5]).mean(0) for t in range(12)]
    )
    assert torch.allclose(window_mean(values, 5), slow, atol=1e-5)
    assert torch.allclose(window_mean(values, 49), values.mean(0).expand(12, 3), atol=1e-5)


def test_some_of_the_segments_leave_the_rest_of_the_track_over():
    found = segments(["walk"] * 70 + ["sit"] * 70, stride=5)
    sits = torch.tensor([label == "sit" for label in found.labels])
    some = found.only(sits)
    assert set(some.labels) == {"sit"} and len(some) == int(sits.sum()) == len(some.grid)
    assert [run.tolist() for run in some.loose] == [list(range(70))]
    assert torch.equal(some.grid, found.grid[sits])
    middle = found.only(torch.arange(len(found)) == 1)  # frames 5 to 64
    assert [(int(run[0]), int(run[-1])) for run in middle.loose] == [(0, 4), (65, 139)]
    assert found.only(torch.ones_like(sits)) is found
    none = found.only(torch.zeros_like(sits))
    assert len(none) == 0 and [run.tolist() for run in none.loose] == [list(range(140))]
