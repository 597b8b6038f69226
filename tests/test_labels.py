import json
import re
import time

import cv2
import numpy as np
import pytest
import torch
from hostile import flipped, hostile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from semtta.cli import app
from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.labels import Labels, LabelSpan, as_labels, load_labels, save_labels
from semtta.labels.coverage import coverage, remarks
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
        (
            {"unit": "frames", "labels": [{"text": "a", "end": 1.6}]},
            "end 1.6 is no whole frame.*seconds",
        ),
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


# ---------------------------------------------------------------------- other people's files


def spans(path):
    return [(s.start, s.end, s.text) for s in load_labels(path).spans]


WALK_SIT = [(0, 48, "walking"), (48, 96, "sit down")]


@pytest.mark.parametrize("data", [
    [[0, 48, "walking"], [48, 96, "sit down"]],
    [{"start": 0, "end": 48, "text": "walking"}, {"start": 48, "end": 96, "text": "sit down"}],
    [{"start_frame": 0, "end_frame": 48, "label": "walking"},
     {"startFrame": 48, "endFrame": 96, "action": "sit down"}],
    {"labels": [{"begin": 0, "stop": 48, "name": "walking"},
                {"from": 48, "to": 96, "caption": "sit down"}]},
    {"labels": [{"first_frame": 0, "last_frame": 47, "label": "walking"},
                {"first_frame": 48, "last_frame": 95, "label": "sit down"}]},
])  # fmt: skip
def test_json_that_is_nearly_ours(tmp_path, data):
    labels = load_labels(write(tmp_path, data))
    assert [(s.start, s.end, s.text) for s in labels.spans] == WALK_SIT
    assert labels.unit == "frames" and labels.unit_said == ("rame" in json.dumps(data))


def test_a_bare_list_of_texts_is_one_for_each_frame(tmp_path):
    labels = load_labels(write(tmp_path, ["walk", None, "sit"]))
    assert labels.for_track(track(4)) == ["walk", None, "sit", None]
    assert "3 texts were read as one for each frame" in labels.notes[0]


def test_keys_that_say_seconds_are_believed(tmp_path):
    data = {"labels": [{"start_s": 0, "end_s": 0.2, "text": "a"}]}
    assert load_labels(write(tmp_path, data)).for_track(track()) == ["a"] * 5 + [None] * 5
    data["labels"][0] = {"start_ms": 0, "end_ms": 200, "text": "a"}
    assert load_labels(write(tmp_path, data)).for_track(track()) == ["a"] * 5 + [None] * 5
    with pytest.raises(SemttaError, match="frames in one place and seconds in another"):
        load_labels(write(tmp_path, data | {"unit": "frames"}))
    twice = {"labels": [{"start": 0, "start_frame": 2, "text": "a"}]}
    with pytest.raises(SemttaError, match="entry 1: two keys give the start"):
        load_labels(write(tmp_path, twice))


@pytest.mark.parametrize(("name", "text", "unit"), [
    ("l.csv", "start,end,text\n0,48,walking\n48,96,sit down\n", "frames"),
    ("l.csv", "\ufeffStart Frame;End Frame;Label\r\n0;48;walking\r\n48;96;sit down\r\n", "frames"),
    ("l.tsv", "action\tbegin\tstop\nwalking\t0\t48\nsit down\t48\t96\n", "frames"),
    ("l.csv", "# my labels\n0,48,walking\n48,96,sit down", "frames"),
    ("l.txt", "0 48 walking\n48 96 sit down\n", "frames"),
    ("l.txt", "0\t48.0\twalking\n48\t96.0\tsit down\n", "frames"),
    ("l.csv", "id,first_frame,last_frame,name\n7,0,47,walking\n8,48,95,sit down\n", "frames"),
    ("l.csv", "start_s,end_s,label\n0,48,walking\n48,96,sit down", "seconds"),
    ("l.csv", "start_time,end_time,label\n0:00,0:48,walking\n0:48,0:01:36,sit down", "seconds"),
    ("l.csv", "start,end,text\n00:00:00.000,00:00:48.000,walking\n0:48,1:36,sit down", "seconds"),
    ("l.csv", "start;duration;text\n0,0;48,00;walking\n48;48;sit down", "frames"),
    ("l.csv", "start_ms,end_ms,text\n0,48000,walking\n48000,96000,sit down", "seconds"),
    ("l.csv", "start_frame,end_frame,start_s,text\n0,48,0,walking\n48,96,1.6,sit down", "frames"),
    ("l.csv", "sep=;\nstart;end;text;conf\n0;48;walking;95%\n48;96;sit down;0.5", "frames"),
    ("l.csv", "#start,end,text\n0,48,walking\n# a remark\n48,96,sit down", "frames"),
    ("l.csv", 'start,end,text,label\n0,48,walking,w\n48,96,"sit down",s\n\n', "frames"),
])  # fmt: skip
def test_tables(tmp_path, name, text, unit):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert spans(tmp_path / name) == WALK_SIT
    assert load_labels(tmp_path / name).unit == unit


@pytest.mark.parametrize(("text", "unit"), [
    ("start,end,label_id,label\n0,48,3,walking\n48,96,4,sit down", "frames"),
    ("start,end,label,label_name\n0,48,3,walking\n48,96,4,sit down", "frames"),
    ("start,end,label_type,label\n0,48,a,walking\n48,96,b,sit down", "frames"),
    ("label_color,start_x,start,end,action\nred,1,0,48,walking\nred,1,48,96,sit down", "frames"),
    ("start_min,end_min,label\n0,.8,walking\n.8,1.6,sit down", "seconds"),
    ("start (min),end (min),label\n0,0.8,walking\n0:48,1.6,sit down", "seconds"),
    ("start_time_ms,end_time_ms,label\n0,48000,walking\n48000,96000,sit down", "seconds"),
    ("Begin Time - msec\tEnd Time - msec\tx\tLabel\n0\t48000\t\twalking\n48000\t96000\t\tsit down",
     "seconds"),
    ("Begin Time - hh:mm:ss.ms;End Time - hh:mm:ss.ms;Label\n00:00:00.0;00:00:48.0;walking\n"
     "00:00:48.0;00:01:36.0;sit down", "seconds"),
    ("Begin Time - ss.msec;End Time - ss.msec;Label\n0.0;48.0;walking\n48.0;96.0;sit down",
     "seconds"),
    ("start_\u00b5s,end_\u00b5s,text\n0,48000000,walking\n48000000,96000000,sit down", "seconds"),
    ("start_time_frames,end_time_frames,text\n0,48,walking\n48,96,sit down", "frames"),
    ("Observation id,Total length,Subject,Behavior,Behavior type,Start (s),Stop (s),Duration (s),"
     "Image index start,Image index stop\no,100,No focal subject,walking,STATE,0,48,48,NA,NA\n"
     "o,100,No focal subject,sit down,STATE,48,96,48,NA,NA", "seconds"),
    ("start;end;text\n0;48,0;walking\n48,00;96;sit down", "frames"),
    ('start,last,text\n0:00,0:48,walking\n0:48,1:36,sit down', "seconds"),
])  # fmt: skip
def test_tables_of_other_programs(tmp_path, text, unit):
    (tmp_path / "l.csv").write_text(text, encoding="utf-8")
    found = load_labels(tmp_path / "l.csv")
    assert [s.text for s in found.spans] == ["walking", "sit down"] and found.unit == unit
    assert np.allclose([(s.start, s.end) for s in found.spans], [(0, 48), (48, 96)])


@pytest.mark.parametrize(("text", "end"), [
    ('start,end,text\n0,"1,024,000",walk', 1024000), ('start,end,text\n0.5,"1,024",walk', 1024),
    ('start_frame,end_frame,text\n0,"1,024",walk', 1024), ("s;e;t\n", None),
    ("start;end;text\n0,5;1,024;walk", 1.024), ("start;end;text\n0;1.024,5;walk", 1024.5),
    ("start,end,text\n0,1.024,walk", 1.024), ('start;end;text\n0,000;1,024;walk', 1.024),
])  # fmt: skip
def test_what_a_comma_means_is_decided_by_the_column(tmp_path, text, end):
    (tmp_path / "l.csv").write_text(text)
    if end is None:
        with pytest.raises(SemttaError):
            load_labels(tmp_path / "l.csv")
    else:
        assert load_labels(tmp_path / "l.csv").spans[0].end == end


@pytest.mark.parametrize(("text", "words"), [
    ('start,end,text\n0,"1,024",walk', "'1,024' may be a fraction or thousands"),
    ("begin_ms;end_ms;text\n0;1.024;walk", "'1.024' may be a fraction or thousands"),
    ("start_frame;end_frame;text\n0;1.000;walk", "'1.000' may be a fraction or thousands"),
    ("0,5,walk\n5,9,3", "line 2: the text '3' is a number"),
    ("start;end;text\n0.5;1,5;walk", "end must be a number|start must be a number"),
    ("start,end,label\n0,5,3\n5,9,4", "'label' holds numbers"),
    ("start,end,label_id\n0,5,3\n", "no column 'text'"),
    ("start,end,label,label\n0,5,a,b\n", "two columns 'label'"),
    ("start_sample,end_sample,label\n0,5,a\n", "unit that is not known"),
    ("start (%),end (%),label\n0,5,a\n", "unit that is not known"),
    ("start_ms_frame,end_ms_frame,label\n0,5,a\n", "unit that is not known"),
    ("start (mm:ss),end (mm:ss),label\n0.10,5.30,a\n", "time as h:mm:ss, but is none"),
    ("start (hh:mm),end (hh:mm),label\n0:10,5:30,a\n", "unit that is not known"),
    ("start_s,end_s,label\n0:10,0:75,a\n", "end must be a number, not '0:75'"),
    ("subject,start,end,label\nAnna,0,5,a\nBob,0,5,b\n", "'subject' names people"),
])  # fmt: skip
def test_a_table_that_could_mean_two_things_is_refused(tmp_path, text, words):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(SemttaError, match=words):
        load_labels(tmp_path / "l.csv")


@pytest.mark.parametrize("data", [
    {"labels": [{"start": "0:00", "end": "0:48", "text": "walking"},
                {"start": "0:48", "end": "0:01:36", "text": "sit down"}]},
    {"labels": [{"start": "0", "end": "48", "text": "walking"},
                {"start": "48", "end": "96", "text": "sit down"}]},
    {"segments": [{"segment": [0, 48], "label": "walking"},
                  {"segment": [48, 96], "label": "sit down"}]},
    {"annotations": [{"range_ms": [0, 48000], "behavior": "walking"},
                     {"range_ms": [48000, 96000], "behavior": "sit down"}]},
    {"labels": [{"start_min": 0, "end_min": 0.8, "text": "walking"},
                {"start_min": 0.8, "end_min": 1.6, "text": "sit down"}]},
    {"labels": [{"start": 0, "duration": 48, "text": "walking"},
                {"start": 48, "duration": 48, "text": "sit down"}]},
    {"unit": "seconds", "labels": [{"start": 0, "last": 48, "text": "walking"},
                                   {"start": 48, "last": 96, "text": "sit down"}]},
    [["walking", 0, 48], ["sit down", 48, 96]],
    [["0:00", "0:48", "walking"], ["0:48", "1:36", "sit down"]],
])  # fmt: skip
def test_json_of_other_programs(tmp_path, data):
    found = load_labels(write(tmp_path, data))
    assert [s.text for s in found.spans] == ["walking", "sit down"]
    assert np.allclose([(s.start, s.end) for s in found.spans], [(0, 48), (48, 96)])
    assert found.unit == (
        "seconds" if re.search(r"\d:\d|ms|min|unit", json.dumps(data)) else "frames"
    )


@pytest.mark.parametrize(("entry", "words"), [
    ({"start": "1,024", "text": "a"}, "start must be a number, not '1,024'"),
    ({"start": "soon", "text": "a"}, "start must be a number"),
    ({"start_frame": "0:05", "text": "a"}, "said to be frames but is a time"),
    ({"start_sample": 4, "text": "a"}, "unit that is not known"),
    ({"segment": [0, 5], "start": 1, "text": "a"}, "two keys give the start|keep 'start'"),
    ({"start": 0, "end": 4, "duration": "x", "text": "a"}, "duration must be a number"),
])  # fmt: skip
def test_json_that_could_mean_two_things_is_refused(tmp_path, entry, words):
    with pytest.raises(SemttaError, match=words):
        load_labels(write(tmp_path, {"labels": [entry]}))


def test_json_lines(tmp_path):
    path = tmp_path / "l.jsonl"
    rows = [
        {"start": 0, "end": 48, "text": "walking"},
        {"start": 48, "end": 96, "text": "sit down"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert spans(path) == WALK_SIT
    path.write_text(json.dumps({"labels": rows}))
    assert spans(path) == WALK_SIT
    path.write_text(json.dumps(rows[0]))
    assert spans(path) == WALK_SIT[:1]
    path.write_text(json.dumps(rows[0]) + "\n{")
    with pytest.raises(SemttaError, match="line 2 is not valid JSON"):
        load_labels(path)


@pytest.mark.parametrize(("name", "text", "words"), [
    ("l.json", "[" + "[]," * 11_000_000 + "[]]", "has 31 MiB"),
    ("l.json", "[" + "[]," * 2_000_000 + "[]]", "2000001 entries"),
    ("l.json", "[" + '"a",' * 1_900_000 + '"a"]', "1900001 entries"),
    ("l.json", '{"labels": [' + '{"text": "a"},' * 500_000 + "{}]}", "500001 entries"),
    ("l.csv", "0,1,a\n" * 150_000, "150000 entries"), ("l.csv", "\n" * 8_000_000 + "a", "00 lines"),
    ("l.csv", "," * 8_000_000, "1000 columns"), ("l.jsonl", "[]\n" * 2_000_000, "100000 lines"),
])  # fmt: skip
def test_label_files_are_small(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    began = time.process_time()
    with pytest.raises(SemttaError, match=words):
        load_labels(tmp_path / name)
    assert time.process_time() - began < 8


def test_seconds_with_fractions_need_no_unit_and_are_said(tmp_path):
    (tmp_path / "audacity.txt").write_text("0.000000\t0.200000\twalk\n")
    labels = load_labels(tmp_path / "audacity.txt")
    assert labels.for_track(track()) == ["walk"] * 5 + [None] * 5
    assert "read as seconds" in labels.notes[0]


def test_a_line_for_each_frame_with_people_and_confidences(tmp_path):
    (tmp_path / "l.csv").write_text("frame,track,label,score\n0,1,walk,0.9\n1,1,,\n2,1,sit,0.8\n")
    labels = load_labels(tmp_path / "l.csv")
    assert labels.for_track(track(4)) == ["walk", None, "sit", None]
    assert labels.spans[0].confidence == 0.9 and labels.spans[0].track == 1


@pytest.mark.parametrize(("text", "words"), [
    ("", "is empty"), ("walking\n", "no column 'text'; it needs"), ("a,b\n1,2\n", "'text'"),
    ("text\nwalk\n", "no column 'start'"), ("start,text\n0,walk\n", "no column 'end'"),
    ("0,walk\n", "no table of labels"), ("start,end,text\n0,x,walk\n", "line 2: end must be a num"),
    ("start,end,text\n0,5,\n", "line 2: the text is missing"), ("0,5,a\n4,9,b\n", "overlap"),
    ("start_s,end_frame,text\n0,5,walk\n", "frames in one place and seconds in another"),
    ("start,end,text\n5,2,walk\n", "line 2 .*not after"),
])  # fmt: skip
def test_a_table_that_is_none_gets_one_sentence(tmp_path, text, words):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(SemttaError, match=words):
        load_labels(tmp_path / "l.csv")


def babel(frame=None, seq=("walk",)):
    def row(text, *times):
        said = {"raw_label": text.upper(), "proc_label": text}
        return said | dict(zip(("start_t", "end_t"), times))

    parts = None if frame is None else {"labels": [row(*entry) for entry in frame]}
    return {"babel_sid": 7, "dur": 9.0, "frame_ann": parts,
            "seq_ann": {"labels": [row(text) for text in seq]}}  # fmt: skip


def test_babel_parts_before_the_whole_and_the_shorter_of_two_that_overlap(tmp_path):
    data = babel([("walk", 0, 6.0), ("transition", 1, 2), ("wave", 2.0, 3.0), ("sit", 5, 9)])
    labels = load_labels(write(tmp_path, {"7": data}))
    assert labels.unit == "seconds" and labels.spans[0].source == "BABEL"
    assert spans(tmp_path / "labels.json") == [
        (0, 2, "walk"), (2, 3, "wave"), (3, 5, "walk"), (5, 9, "sit"),
    ]  # fmt: skip
    assert "shorter" in " ".join(labels.notes) and "1 transitions" in " ".join(labels.notes)
    whole = load_labels(write(tmp_path, babel()))
    assert whole.for_track(track(3)) == ["walk"] * 3
    with pytest.raises(SemttaError, match="2 sequences"):
        load_labels(write(tmp_path, {"7": data, "8": data}))
    with pytest.raises(SemttaError, match="frame_ann 1 .*no range"):
        load_labels(write(tmp_path, babel([("walk", 3, 1)])))


# ---------------------------------------------------------------------- what labels leave out


def said(tmp_path, data, frames=100, fps=25.0):
    labels = load_labels(write(tmp_path, data))
    labels.check(frames, frames / fps)
    texts = labels.for_track(track(frames))
    return " ".join([*remarks(labels, frames, frames / fps), coverage(texts, track(frames))])


def test_seconds_that_were_read_as_frames_are_asked_about(tmp_path):
    entries = [{"start": 0, "end": 1, "text": "walking"}, {"start": 1, "end": 2, "text": "stand"}]
    text = said(tmp_path, {"labels": entries})
    assert "labels cover 2 of 100 frames" in text and 'add "unit": "seconds"' in text
    assert "end by 2 of 100 frames, and the video has 4 seconds" in text
    assert "unit" not in said(tmp_path, {"unit": "frames", "labels": entries})
    assert "labels cover 50 of" in said(tmp_path, {"unit": "seconds", "labels": entries})
    (tmp_path / "l.csv").write_text("start,end,text\n0,2,walk\n")
    assert "call the columns start_s" in remarks(load_labels(tmp_path / "l.csv"), 100, 4.0)[0]
    long = [{"start": 0, "end": 60, "text": "walking"}]
    assert said(tmp_path, {"labels": long}) == "track 1: labels cover 60 of 100 frames."
    with pytest.raises(SemttaError, match='reaches 60 seconds.*unit must be "frames"'):
        said(tmp_path, {"unit": "seconds", "labels": long})


def test_ends_that_were_meant_to_be_included_are_explained(tmp_path):
    inclusive = [[0, 47, "walking"], [48, 99, "sit"]]
    text = said(tmp_path, inclusive)
    assert "cover 98 of 100" in text and "no label holds for frame 47, 99; add 1" in text
    assert "add 1" in said(tmp_path, [[0, 99, "walking"]])
    for right in ([[0, 48, "a"], [48, 100, "b"]], [[0, 20, "a"], [50, 70, "b"]], ["a", None] * 50):
        assert "add 1" not in said(tmp_path, right)


# ---------------------------------------------------------------------- files and texts


def test_the_name_of_a_file_is_never_a_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("0 5 walk\n")
    (tmp_path / "walking").write_text('{"labels": [{"text": "run"}]}')
    for name in ("labels.txt", "walking", tmp_path / "labels.txt"):
        assert as_labels(name).spans[0].text in ("walk", "run")
    absent = ("walk.csv", "a/walking", "walk.JSON", "clip.mp4", "C:\\walk")
    for name in absent:
        with pytest.raises(SemttaError, match="there is no such file"):
            as_labels(name)
        with pytest.raises(SemttaError, match="frame 1: .*name of a file"):
            as_labels(["walk", name])
    with pytest.raises(SemttaError, match='goes with --label "run fast"'):
        load_labels("run fast")
    assert as_labels("walk fast").spans[0].text == "walk fast"
    for wrong in ({"walk": 1}, b"walk", 3):
        with pytest.raises(SemttaError, match="labels must be a label file, one text"):
            as_labels(wrong)


@pytest.mark.parametrize(("option", "value", "words"), [
    ("--labels", "walking", '--label "walking"'), ("--label", "walk.json", "no such file"),
])  # fmt: skip
def test_the_command_tells_texts_from_files(tmp_path, monkeypatch, option, value, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "0.png"), np.zeros((60, 80, 3), np.uint8))
    result = CliRunner().invoke(app, ["adapt", "frames", option, value])
    assert isinstance(result.exception, SemttaError) and words in str(result.exception)


def test_pipes_and_folders_are_no_label_files(tmp_path):
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    for name, words in (("endless.json", "device"), (".", "folder")):
        with pytest.raises(SemttaError, match=words):
            load_labels(tmp_path / name)


SEEDS = [
    json.dumps({"unit": "seconds", "fps": 30, "labels": [{"text": "a", "start": 0, "end": 1}]}),
    json.dumps([[0, 4, "walk"], [4, 9, "run"]]), json.dumps(["walk", None]),
    json.dumps(babel([("walk", 0, 6.0), ("wave", 2.0, 3.0)])),
    "start_s,end_s,text\n0,1.5,walk\n1.5,0:03,run\n", "0\t4\twalk\n", "frame;label\n0;walk\n",
]  # fmt: skip


@hostile
@given(
    st.sampled_from([seed.encode() for seed in SEEDS]).flatmap(flipped),
    st.sampled_from(["json", "csv"]),
)
def test_a_damaged_label_file_is_read_or_refused_in_one_sentence(tmp_path, data, ending):
    path = tmp_path / f"l.{ending}"
    path.write_bytes(data)
    try:
        labels = load_labels(path)
        labels.for_track(track())
        assert all(isinstance(text, str) for text in remarks(labels, 10, 0.4))
        labels.check(10, 0.4)
    except SemttaError as error:
        assert str(error).isprintable()


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


@pytest.mark.parametrize("count", [1, 99, 101])
def test_another_number_of_texts_than_frames_is_refused(count, tmp_path):
    (tmp_path / "l.json").write_text(json.dumps(["walk"] * count))
    for labels in (as_labels(["walk"] * count), load_labels(tmp_path / "l.json")):
        with pytest.raises(SemttaError, match=f"has {count} texts, .* the video has 100 frames"):
            labels.check(100, 4.0)
    if count == 99:  # of a part of the video only those are needed
        as_labels(["walk"] * count).check(100, 4.0, least=60)
