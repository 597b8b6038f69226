"""A part of a video: its frames keep their numbers and times wherever it is read."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from page_results import result_folder, video_of, waving
from sound_files import flash_and_tone, flash_time, tone_time
from test_cli import refused, run, write_poses  # noqa: F401 - run is a fixture
from test_overlay_sound import AT_30, overlay
from test_page import Reader

from semtta.errors import SemttaError
from semtta.output.page.clip import small_clip
from semtta.output.page.saved import page_of_result
from semtta.people import TrackedVideo, track_video
from semtta.shipped import asset
from semtta.tta.adapter import Adapter
from semtta.video import (
    ImageSequence,
    content_hash,
    cut_video,
    probe,
    read_frames,
    read_through,
    video_hash,
)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return video_of(14, tmp_path_factory.mktemp("cut") / "clip.mp4")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(6):
        cv2.imwrite(str(folder / f"{i:02d}.png"), np.full((40, 60, 3), 20 * i, np.uint8))
    return ImageSequence(folder, tuple(f"{i:02d}.png" for i in range(6)), 10.0)


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (3, 9, range(3, 9)),
        ("3", None, range(3, 14)),
        (None, "9", range(9)),
        ("0.1s", "0.3 s", range(3, 9)),  # frames 3 and 9 are at these very times
        ("0:00.1", "0:0:00.3", range(3, 9)),
        (np.int64(13), 14, range(13, 14)),
        ("0.11s", 6, range(4, 6)),
        (0, "0.4667s", range(14)),
    ],
)
def test_only_these_frames_are_read_as_the_whole_video_has_them(video, start, end, frames):
    cut, whole = cut_video(video, start, end), list(read_frames(video))
    found = list(read_frames(cut))
    assert [index for index, _, _ in found] == list(frames)
    for index, seconds, image in found:
        assert seconds == whole[index][1] and (image == whole[index][2]).all()
    through = list(read_through(cut))
    assert [s for _, s, _ in through] == [s for _, s, _ in whole[: frames.stop]]
    assert [image is None for _, _, image in through] == [
        i < frames.start for i in range(frames.stop)
    ]
    assert probe(cut).frames == 14 and probe(cut).source == cut
    assert video_hash(cut) == video_hash(video)


def test_clocks_are_read_as_hours_minutes_seconds(video):
    assert cut_video(video, "1:02.5", None).start.seconds == 62.5
    assert cut_video(video, "01:00:00", "2:00:00.25").end.seconds == 7200.25
    assert cut_video(video, None, None) == video


def test_a_part_of_images_reads_no_others(images):
    (images.folder / "00.png").rename(images.folder / "gone")
    try:
        cut = cut_video(replace(images, names=("01.png", *images.names[1:])), "0.2s", 4)
        assert [(i, s) for i, s, _ in read_frames(cut)] == [(2, 0.2), (3, pytest.approx(0.3))]
    finally:
        (images.folder / "gone").rename(images.folder / "00.png")


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (14, None, "from frame 14 to its end lies outside '.*', which has 14 frames .0.4667 sec"),
        ("9s", None, "from 9s to its end lies outside"),
        (2, 15, "from frame 2 to frame 15 lies outside"),
        (None, "0.6s", "from the first frame to 0.6s lies outside"),
        (9, "0.2s", "lies outside"),  # ends before it begins, in another unit
        (9, 9, "ends at frame 9, not after its start at frame 9"),
        ("4s", "2s", "ends at 2s"),
        ("walk", None, "start 'walk' is neither a frame"),
        (None, "-3", "end '-3' is neither"),
        (1.5, None, "start '1.5' is neither"),
        (True, None, "neither"),
        ("9" * 400, None, "neither"),
        ("1:2", None, "neither"),  # seconds of a clock have two digits
        ("٣", None, "neither"),
    ],
)
def test_a_range_outside_the_video_is_refused_with_its_length(video, start, end, words):
    with pytest.raises(SemttaError, match=words):
        list(read_frames(cut_video(video, start, end)))


def test_it_is_refused_before_the_work_and_not_by_a_wrong_claim(video, images, monkeypatch):
    with pytest.raises(SemttaError, match="which has 14 frames"):
        probe(cut_video(video, 2, 15))
    with pytest.raises(SemttaError, match="which has 6 frames"):
        probe(cut_video(images, 6, None))
    monkeypatch.setattr("semtta.video.decode._Video._claim", lambda self: 5)
    assert probe(cut_video(video, 8, 14)).frames == 14  # the file was read to know
    monkeypatch.setattr("semtta.video.decode._Video._claim", lambda self: 90)
    with pytest.raises(SemttaError, match="which has 14 frames"):
        list(read_frames(cut_video(video, 2, 15)))  # found when its end is reached


def test_a_part_has_no_part(video):
    with pytest.raises(SemttaError, match="a part of a video already"):
        cut_video(cut_video(video, 2, None), 3, None)


# ------------------------------------------------------------------ people, labels


def test_only_the_range_is_looked_at_and_numbers_stay():
    clip = asset("demo/cam02_occluded.mp4")
    done = []
    found = track_video(clip, start=6, end=12, detect_size=256, max_people=1,
                        progress=lambda n, total: done.append((n, total)))  # fmt: skip
    (track,) = found.tracks
    assert track.frames.tolist() == list(range(6, 12))
    assert torch.allclose(track.times, torch.arange(6, 12).double() / probe(clip).fps, atol=1e-3)
    assert len(found.times) == 12 and found.info.cut is not None
    assert done[-1] == (18, 18)  # 12 frames gone through, then 6 looked at closely
    frames, seconds = found.length  # of the whole video
    assert frames == probe(clip).frames and seconds == pytest.approx(frames / found.info.fps, 0.02)


def test_a_tracked_video_is_not_cut_again(video):
    tracked = TrackedVideo(probe(video), [waving().track], torch.arange(14) / 30)
    with pytest.raises(SemttaError, match="as do start and end"):
        Adapter().run(tracked, start=3)


def test_the_command_adapts_to_the_range_and_says_so(run, tmp_path, video):  # noqa: F811
    write_poses(tmp_path / "p.npz", frames=14)
    labels = {"unit": "frames", "labels": [{"start": 0, "end": 7, "text": "walk"},
                                           {"start": 7, "end": 14, "text": "sit"}]}  # fmt: skip
    (tmp_path / "l.json").write_text(json.dumps(labels))
    common = ("adapt", video, "--poses2d", "p.npz", "optimizer.epochs=1")
    code, out, err = run(*common, "--labels", "l.json", "--start", "5", "--end", "0.4s", "-o", "o")
    assert code == 0, err
    assert "track 1: 7 frames (5 to 11)" in out and "labels cover 7 of 7 frames" in out
    with np.load("o/track-01.npz") as z:
        assert z["frames"].tolist() == list(range(5, 12))
        assert np.allclose(z["times"], np.arange(5, 12) / 30, atol=1e-3)
        assert z["labels"].tolist() == ["walk"] * 2 + ["sit"] * 5
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["range"] == {"start": "5", "end": "0.4s"}
    assert probe("o/overlay.mp4").frames == 7
    data = Reader((tmp_path / "o" / "result.html").read_text()).data
    assert data["begin"] == 5 and len(data["times"]) == 12
    refused(run(*common, "--start", "20", "-o", "p"), "which has 14 frames (0.4667 seconds)")
    late = {"unit": "frames", "labels": [{"start": 0, "end": 15, "text": "walk"}]}
    (tmp_path / "l.json").write_text(json.dumps(late))
    refused(
        run(*common, "--labels", "l.json", "--end", "8", "-o", "p"), "past the end of the video"
    )
    assert not (tmp_path / "p").exists()
    code, _, err = run("label", video, "--poses2d", "p.npz", "--template", "--start", "5",
                       "--unit", "frames", "-o", "t.json")  # fmt: skip
    (span,) = json.loads((tmp_path / "t.json").read_text())["labels"]
    assert code == 0 and (span["start"], span["end"]) == (5, 14), err


def test_poses_without_anybody_in_the_range(run, tmp_path, video):  # noqa: F811
    write_poses(tmp_path / "p.npz", frames=5)
    code, _, err = run("adapt", video, "--poses2d", "p.npz", "--start", "8")
    assert code == 2 and "'p.npz' has nobody in the range of" in err


# ------------------------------------------------------------------ outputs


def test_the_overlay_of_a_part_keeps_step_with_its_sound(tmp_path):
    source = flash_and_tone(tmp_path / "clip.mp4", AT_30, 1, (0, 2))
    path, said = overlay(cut_video(source, 15, "1.5s"), tmp_path)
    times = [seconds for _, seconds, _ in read_frames(path)]
    assert len(times) == 30 and times[0] == 0 and not said
    assert flash_time(path) == pytest.approx(0.5, abs=0.01)
    assert tone_time(path) == pytest.approx(0.5, abs=0.05)


def test_the_clip_of_a_page_begins_with_the_range(tmp_path, video):
    clip = small_clip(cut_video(video, 4, 9))
    (tmp_path / "a.mp4").write_bytes(clip.mp4)
    seen = [(seconds, image.mean()) for _, seconds, image in read_frames(tmp_path / "a.mp4")]
    assert clip.begin == 4 and len(clip.times) == 9 and len(seen) == 5
    assert np.allclose([s for s, _ in seen], np.arange(5) / 30, atol=1e-3)
    assert abs(seen[0][1] - (4 * 16 + 16)) < 8  # the fifth frame's grey


def test_a_page_made_later_shows_the_range_too(tmp_path, video):
    folder = result_folder(tmp_path / "out", [waving(range(4, 9))], video)
    report = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps(report | {"range": {"start": "4", "end": "9"}}))
    data = Reader(page_of_result(folder, video=video).read_text()).data
    assert data["begin"] == 4 and len(data["times"]) == 9
    assert "frames 4 to 8 of the video" in data["subtitle"]
    (folder / "report.json").write_text(json.dumps(report | {"range": {"start": 4}}))
    with pytest.raises(SemttaError, match="range that is none"):
        page_of_result(folder, video=video)


def test_what_is_kept_of_a_part_is_not_taken_for_another(tmp_path, video):
    cuts = [video, cut_video(video, 4, 9), cut_video(video, 4, None), cut_video(video, "4s", 9)]
    assert len({content_hash(part) for part in cuts}) == 4
    tracked = TrackedVideo(probe(cuts[1]), [waving(range(4, 9)).track], torch.arange(9.0).double())
    found = TrackedVideo.load(tracked.save(tmp_path / "t.npz"))
    assert found.info == tracked.info and found.info.cut == cuts[1]
    assert TrackedVideo.load(tmp_path / "t.npz", video).info.cut == cuts[1]
