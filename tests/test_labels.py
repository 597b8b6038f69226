import json
import re
import time

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from semtta.cli import app
from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.labels import Labels, LabelSpan, as_labels, load_labels, save_labels
from semtta.skeletons import COCO17


def track(count=10, start=0, id=1):
    points = Keypoints2D(torch.zeros(count, 17, 2), torch.ones(count, 17), COCO17)
    frames = torch.arange(start, start + count)
    boxes = torch.tensor([[0.0, 0, 1, 1]]).expand(count, 4)
    return Track(id, frames, frames / 25.0, boxes, points)


def write(tmp_path, data):
    path = tmp_path / "labels.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_the_smallest_file_labels_the_whole_video(tmp_path):
    labels = load_labels(write(tmp_path, {"labels": [{"text": "walking"}]}))
    assert labels.for_track(track()) == ["walking"] * 10


def test_ranges_are_half_open_and_frames_are_those_of_the_video(tmp_path):
    data = {"labels": [{"text": "walk", "start": 2, "end": 6}, {"text": "sit", "start": 6}]}
    texts = load_labels(write(tmp_path, data)).for_track(track(count=6, start=3))
    assert texts == ["walk"] * 3 + ["sit"] * 3


def test_seconds_and_tracks(tmp_path):
    data = {"unit": "seconds", "labels": [{"text": "walk", "end": 0.2, "track": 2}]}
    labels = load_labels(write(tmp_path, data))
    assert labels.for_track(track(id=1)) == [None] * 10
    assert labels.for_track(track(id=2)) == ["walk"] * 5 + [None] * 5


def test_a_text_or_a_list_will_do():
    assert as_labels("walking").for_track(track(3)) == ["walking"] * 3
    assert as_labels([None, "a", "b"]).for_track(track(3)) == [None, "a", "b"]
    assert as_labels(None) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "not valid JSON"),
        ([], "must be an object"),
        ({"labels": [{"txt": "walk"}]}, "entry 1.*did you mean 'text'"),
        ({"label": []}, "list 'labels'"),
        ({"labels": [], "units": "frames"}, "did you mean 'unit'"),
        ({"labels": [{"text": " "}]}, "entry 1.*empty"),
        ({"labels": [{"text": "a", "start": 5, "end": 5}]}, "entry 1.*not after"),
        ({"labels": [{"text": "a", "start": -1}]}, "negative"),
        ({"labels": [{"text": "a", "end": 5}, {"text": "b", "start": 4}]}, "1.*2.*overlap"),
        ({"labels": [{"text": "a"}, {"text": "b"}]}, "overlap"),
        ({"labels": [{"text": "a", "start": "x"}]}, "must be a number"),
        ({"labels": [{"text": "a", "confidence": 2}]}, "confidence"),
        ({"labels": [{"text": "a", "track": 0}]}, "track"),
        ({"labels": ["walk"]}, "entry 1"),
        ({"version": 2, "labels": []}, "version"),
        ({"labels": [{"text": "a", "others": "b"}]}, "entry 1.*others"),
        ({"labels": [{"text": "a", "source": 3}]}, "entry 1.*source"),
        ({"labels": [], "fps": 0}, "fps must be positive"),
        ("[" * 100_000, "nested too deeply"),
        ('{"labels": [{"text": "a", "start": 1%s}]}' % ("0" * 400), "entry 1: start must be a num"),
        ('{"labels": [], "fps": 1%s}' % ("0" * 400), "fps must be a number"),
        ('{"labels": [{"text": "a", "text": "b"}]}', "'text' stands twice in the entry 'b'"),
        ('{"labels": [{"text": "a"}], "labels": []}', "'labels' stands twice"),
        ('{"labels": [{"text": "a\\ud800"}]}', "entry 1: the text .* half ones"),
        ({"labels": [{"text": "a\x1b[31m"}]}, "entry 1: the text .* control characters"),
        ({"labels": [{"text": "walk " * 200}]}, "entry 1: the text is 999 characters long"),
        ({"labels": [{"text": "a", "end": 1.6}]}, "end 1.6 is no whole frame.*seconds"),
        ({"labels": [{"text": "a", "start": 4}, {"text": "b", "end": 5, "track": 2}]}, "overlap"),
    ],
)
def test_a_wrong_file_gets_one_sentence_that_names_the_entry(tmp_path, data, words):
    with pytest.raises(SemttaError, match=words):
        load_labels(write(tmp_path, data))


def test_editors_may_mark_a_file_as_utf8_but_other_encodings_are_named(tmp_path):
    path = tmp_path / "labels.json"
    path.write_bytes(b'\xef\xbb\xbf{"labels": [{"text": "walk"}]}')
    assert load_labels(path).spans[0].text == "walk"
    path.write_bytes('{"labels": [{"text": "gehe \u00fcber"}]}'.encode("latin-1"))
    with pytest.raises(SemttaError, match="not encoded as UTF-8"):
        load_labels(path)


def test_a_text_that_no_file_could_hold_is_refused_before_the_work():
    with pytest.raises(SemttaError, match="half ones"):
        as_labels("walk\udcff")


def test_an_entry_for_each_frame_of_a_long_video_is_read_at_once(tmp_path):
    entries = [{"text": "a", "start": i, "end": i + 1} for i in range(20_000)]
    path = write(tmp_path, {"labels": entries + [{"text": "b", "start": 7, "end": 8}]})
    began = time.process_time()
    with pytest.raises(SemttaError, match="entries 8 .* and 20001 .* overlap"):
        load_labels(path)
    assert time.process_time() - began < 5


def test_entries_of_several_people_may_lie_at_the_same_time(tmp_path):
    a, b = ({"text": "a", "track": k, "start": 0, "end": 9} for k in (1, 2))
    everyone = {"text": "c", "start": 9}
    assert len(load_labels(write(tmp_path, {"labels": [everyone, b, a]})).spans) == 3


def test_ranges_past_the_end_of_the_video_are_refused(tmp_path):
    labels = load_labels(write(tmp_path, {"labels": [{"text": "a", "end": 11}]}))
    labels.check(11, 1.0)
    with pytest.raises(SemttaError, match="entry 1.*past the end"):
        labels.check(10, 1.0)
    with pytest.raises(SemttaError, match="cannot be read"):
        load_labels(tmp_path / "absent.json")


def test_what_is_written_reads_the_same_and_is_one_line_an_entry(tmp_path):
    spans = (
        LabelSpan("gehen, \u00fcber", 0, 30, 1, "prior", 0.25, ("run", "sit")),
        LabelSpan("walk", 30, 61, 1, "some-model", 0.5),
        LabelSpan("walk"),
    )
    path = tmp_path / "l.json"
    for labels in (Labels(spans[:2], fps=29.97), Labels(spans[2:]), Labels(spans[:2], "seconds")):
        save_labels(path, labels)
        read = load_labels(path)
        assert (read.spans, read.unit, read.fps) == (labels.spans, labels.unit, labels.fps)
        assert len(path.read_text().splitlines()) == len(labels.spans) + 2
    assert [p.name for p in tmp_path.iterdir()] == ["l.json"]
    with pytest.raises(SemttaError, match="cannot be written"):
        save_labels(tmp_path / "absent" / "l.json", labels)


def test_a_template_that_was_not_filled_in_names_the_entry(tmp_path):
    path = tmp_path / "l.json"
    save_labels(path, Labels((LabelSpan("walk", 0, 3, 1), LabelSpan("", 3, 9, 1))))
    with pytest.raises(SemttaError, match="entry 2.*delete the entry"):
        load_labels(path)


def test_unsure_labels_count_as_none():
    unsure, other = (LabelSpan("a", 0, 2, confidence=0.4), LabelSpan("other", 4, 6, confidence=0))
    labels = Labels((unsure, LabelSpan("b", 2, 4), other))
    assert labels.confident(0.5).for_track(track(6)) == [None, None, "b", "b", None, None]
    assert labels.confident(0.0).for_track(track(6)) == ["a", "a", "b", "b", None, None]


def test_frames_counted_at_another_rate_are_refused():
    labels = Labels((LabelSpan("a", 0, 50),), fps=25)
    labels.check(100, 4.0)
    with pytest.raises(SemttaError, match="25 frames a second, but the video has 30"):
        labels.check(120, 4.0)


# ---------------------------------------------------------------------- semtta label


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--template", "--dry-run"), "say who labels"),
        (("--dry-run", "--provider", "prior"), "sends nothing"),
        (("--template", "-o", "folder", "--overwrite"), "'folder' is a folder"),
        (("--template", "-o", "absent/l.json"), "no folder 'absent'"),
        (("--template", "-o", "file/l.json"), "no folder 'file'"),
        (("--dry-run", "-o", "file", "--overwrite"), "'file' is a file"),
        (("--provider", "openai", "--model", "m", "--max-requests", "-1"), "max_requests"),
        (("--provider", "prior", "--dictionary", "my #1: [names].txt"), "my #1: \\[names\\].txt"),
    ],
)
def test_what_is_wrong_with_a_label_command_is_said_before_the_work(
    tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    frames = tmp_path / "frames"
    frames.mkdir()
    cv2.imwrite(str(frames / "0.png"), np.zeros((60, 80, 3), np.uint8))
    result = CliRunner().invoke(app, ["label", "frames", *arguments])
    assert isinstance(result.exception, SemttaError), result.output
    assert re.search(words, str(result.exception)), result.exception
    assert (tmp_path / "file").read_text() == "mine" and not any((tmp_path / "folder").iterdir())


def test_a_read_only_folder_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the owner of a machine may write
    result = CliRunner().invoke(app, ["label", "v.mp4", "--template", "-o", f"{tmp_path}/l.json"])
    assert "read-only" in str(result.exception)
