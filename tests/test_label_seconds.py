"""Ranges in seconds: in every form of label file, at every frame rate, and as they are written."""

from __future__ import annotations

import json

import pytest
import torch

from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.labels import Labels, LabelSpan, load_labels, save_labels
from semtta.motion.retrieval import runs
from semtta.skeletons import COCO17


def track(count: int, fps: float) -> Track:
    """A person in every frame of a video."""
    points = Keypoints2D(torch.zeros(count, 17, 2), torch.ones(count, 17), COCO17)
    frames = torch.arange(count)
    boxes = torch.tensor([[0.0, 0, 1, 1]]).expand(count, 4)
    return Track(1, frames, frames.double() / fps, boxes, points)


@pytest.mark.parametrize(
    "data",
    [
        {"labels": [{"text": "walk", "start": 0, "end": 1.5}, {"text": "sit", "start": 1.5}]},
        [{"text": "walk", "end": 1.5}, {"text": "sit", "start": 1.5}],
        [[0, 1.5, "walk"], [1.5, 4, "sit"]], [["walk", 0, "0:01.5"], ["sit", 1.5, 4]],
        {"unit": "seconds", "labels": [{"text": "walk", "end": 1.5},
                                         {"text": "sit", "start": 1.5}]},
        {"labels": [{"text": "walk", "end_ms": 1500}, {"text": "sit", "start_ms": 1500}]},
        "0\t1.5\twalk\n1.5\t4\tsit\n", "start_s,duration,label\n0,1.5,walk\n1.5,2.5,sit\n",
        {"frame_ann": {"labels": [{"raw_label": "walk", "start_t": 0, "end_t": 1.5},
                                  {"raw_label": "sit", "start_t": 1.5, "end_t": 4}]}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("fps", [12, 30, 60])
def test_every_form_takes_seconds_whatever_the_frame_rate(tmp_path, data, fps):
    name = "l.txt" if isinstance(data, str) else "l.json"
    (tmp_path / name).write_text(data if isinstance(data, str) else json.dumps(data))
    labels = load_labels(tmp_path / name)
    assert labels.unit == "seconds"
    change = round(1.5 * fps)
    at = track(4 * fps, fps)
    assert labels.for_track(at) == ["walk"] * change + ["sit"] * (4 * fps - change)
    labels.check(4 * fps, 4.0)


@pytest.mark.parametrize("fps", [12, 29.97, 30, 60, 120])
def test_frames_as_seconds_are_the_same_frames_and_hold_at_other_rates(tmp_path, fps):
    count = int(6 * fps)
    times = (torch.arange(count) / fps).tolist()
    cuts = [0, count // 3, count // 3 + 1, count - 1, count]
    spans = [LabelSpan(f"action {a}", a, b) for a, b in zip(cuts, cuts[1:])]
    counted = Labels((*spans,), fps=fps)
    said = counted.in_seconds(times, count / fps)
    assert said.unit == "seconds" and said.fps is None and said.in_seconds([], 0.0) is said
    save_labels(tmp_path / "l.json", said)
    read = load_labels(tmp_path / "l.json")
    assert read.spans == said.spans
    at = track(count, fps)
    assert read.for_track(at) == counted.for_track(at)
    for other in (12, 25, 60):  # encoded anew
        texts = read.for_track(track(6 * other, other))
        moment = texts.index(spans[2].text) / other
        assert abs(moment - times[cuts[2]]) < 1 / other + 1e-3
    assert Labels((LabelSpan("walk"),)).in_seconds(times, 6.0).spans == (LabelSpan("walk"),)


def test_seconds_follow_the_times_of_a_variable_rate():
    times = torch.tensor([0.0, 0.1, 0.2, 0.7, 1.2, 1.3], dtype=torch.float64)
    counted = Labels((LabelSpan("walk", 0, 3), LabelSpan("sit", 3, 6)))
    said = counted.in_seconds(times.tolist(), 1.4)
    assert [(s.start, s.end) for s in said.spans] == [(0.0, 0.7), (0.7, 1.4)]
    evenly = track(14, 10)
    assert said.for_track(evenly) == ["walk"] * 7 + ["sit"] * 7


@pytest.mark.parametrize("fps", [12, 30, 60])
def test_the_shortest_run_that_shows_something_is_a_time(fps):
    """0.3 s, be they 4 frames or 18."""
    for seconds, shown in ((0.2, 0), (0.5, 1)):
        times = torch.arange(round(seconds * fps) + 1).double() / fps
        assert len(runs(times)) == shown


def test_whole_numbers_without_a_unit_stay_frames(tmp_path):
    (tmp_path / "l.json").write_text('{"labels": [{"text": "walk", "start": 1, "end": 4.0}]}')
    labels = load_labels(tmp_path / "l.json")
    assert labels.unit == "frames" and not labels.unit_said
    (tmp_path / "l.json").write_text('[{"text": "walk", "end": 0.5}]')
    assert "have fractions and were read as seconds" in load_labels(tmp_path / "l.json").notes[1]
    (tmp_path / "l.json").write_text('[{"text": "walk", "end_frame": 0.5}]')
    with pytest.raises(SemttaError, match="no whole frame"):
        load_labels(tmp_path / "l.json")
