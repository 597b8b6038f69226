"""What is kept for later runs: never trusted, never too much, never half written."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_adapter import walker
from test_people_chosen import Heard

from semtta.cache import ADAPTED, DETECTIONS, Cache
from semtta.errors import SemttaError
from semtta.files import write_npz
from semtta.keypoints import Keypoints2D
from semtta.people import TrackedVideo, pipeline, tracked_once
from semtta.people import cache as people_cache
from semtta.people.track_files import read_tracked
from semtta.skeletons import Skeleton
from semtta.tta import people
from semtta.video import ImageSequence, content_hash, probe, write_video

MADE_ANEW = "damaged or of another version"


def clip(path, count=12, shade=90):
    return write_video(path, [np.full((64, 48, 3), shade, np.uint8)] * count, 30, (48, 64))


def same_tracks(a, b):
    for name in ("frames", "times", "boxes", "landmarks3d", "conf3d"):
        one, other = getattr(a, name), getattr(b, name)
        if one is None or other is None:
            assert one is other
        else:
            assert torch.equal(one, other) and one.dtype == other.dtype
    assert torch.equal(a.keypoints.xy, b.keypoints.xy) and a.id == b.id
    assert torch.equal(a.keypoints.conf, b.keypoints.conf)
    assert a.keypoints.skeleton == b.keypoints.skeleton


@pytest.fixture
def detector(monkeypatch):
    """Finds three people in everything; ``calls`` are the sizes and numbers it was asked for."""
    calls = []

    def track_video(video, *, detect_size, max_people, progress=None):
        calls.append((detect_size, max_people))
        info = replace(probe(video), notes=("the video is odd.",))
        tracks = [walker(9, id=1), walker(12, id=2, seed=1), walker(7, id=3)]
        return TrackedVideo(info, tracks[:max_people], torch.arange(12).double() / 30)

    monkeypatch.setattr(pipeline, "track_video", track_video)
    return calls


# ---------------------------------------------------------------------- detections


def test_nobody_is_looked_for_twice_in_the_same_pictures(detector, tmp_path):
    kept, heard = Cache(tmp_path / "c"), Heard()
    video = clip(tmp_path / "a.mp4")
    first = people.find_people(video, "all", progress=heard, cache=kept)
    assert heard == ["the video is odd."]
    video = video.rename(tmp_path / "renamed.mp4")
    again = people.find_people(video, "all", progress=heard, cache=kept)
    assert detector == [("auto", None)]
    assert "people that an earlier run found" in heard[1] and heard[2] == "the video is odd."
    assert again.info.path == video and again.info.notes == first.info.notes
    assert torch.equal(again.times, first.times)
    for one, other in zip(first.tracks, again.tracks, strict=True):
        same_tracks(one, other)
    alone = people.find_people(video, "largest", cache=kept)  # of whom everybody was found
    assert len(detector) == 1 and [track.id for track in alone.tracks] == [1]


def test_other_pictures_or_settings_are_looked_at(detector, tmp_path):
    kept, video = Cache(tmp_path / "c"), clip(tmp_path / "a.mp4")
    for path, size, most in (
        (video, 448, 1), (video, 448, None), (video, 512, None),
        (clip(tmp_path / "b.mp4", shade=91), 448, 1),
    ):  # fmt: skip
        tracked_once(path, kept, detect_size=size, max_people=most)
    assert detector == [(448, 1), (448, None), (512, None), (448, 1)]


def test_the_key_follows_settings_code_and_networks(monkeypatch):
    key = people_cache.detector_key
    first = key(448)
    assert first == key(448) != key(512)
    for name in ("file_sha256", "_version"):
        key.cache_clear()
        with monkeypatch.context() as changed:
            changed.setattr(people_cache, name, lambda what: "changed")
            assert key(448) != first
    key.cache_clear()


@pytest.mark.parametrize("damage", ["cut", "foreign", "version", "other", "pickle", "size"])
def test_a_file_that_is_not_what_it_should_be_is_made_anew_and_said(detector, tmp_path, damage):
    kept, video, heard = Cache(tmp_path / "c"), clip(tmp_path / "a.mp4"), []
    before = tracked_once(video, kept, detect_size=448)
    (path,) = (tmp_path / "c" / DETECTIONS).iterdir()
    with np.load(path) as file:
        arrays = dict(file)
    head = json.loads(str(arrays["head"]))
    if damage == "version":
        head["format"] = 2
    elif damage == "other":
        head["said"]["video"] = "0" * 64
    elif damage == "size":
        head["video"]["width"] = 50
    arrays["head"] = np.array(json.dumps(head))
    if damage == "pickle":
        arrays["0_xy"] = np.array([{"code": "run"}], dtype=object)
    np.savez(path, **arrays)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "foreign":
        np.savez(path, x=np.zeros(3))
    again = tracked_once(video, kept, detect_size=448, announce=heard.append)
    assert len(detector) == 2 and len(heard) == 1 and MADE_ANEW in heard[0]
    same_tracks(before.tracks[0], again.tracks[0])
    tracked_once(video, kept, detect_size=448)
    assert len(detector) == 2


def test_a_cache_that_cannot_be_written_stops_nobody(detector, tmp_path):
    (tmp_path / "file").write_text("")
    heard: list[str] = []
    found = tracked_once(clip(tmp_path / "a.mp4"), Cache(tmp_path / "file"), detect_size=448,
                         announce=heard.append)  # fmt: skip
    assert len(found.tracks) == 3 and "could not be kept" in heard[0] and len(heard) == 1


def test_what_was_not_used_for_longest_goes(tmp_path):
    kept = Cache(tmp_path, limit=2500)

    def put(name, kind=DETECTIONS, size=1000):
        kept.keep(kept.path(kind, name), lambda file: file.write(bytes(size)))

    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "paid.npz").write_bytes(bytes(5000))  # another kind: never touched
    put("a"), put("b", ADAPTED)
    for age, (name, kind) in enumerate((("b", ADAPTED), ("a", DETECTIONS)), 1):
        os.utime(kept.path(kind, name), (age, age))
    unfinished = tmp_path / DETECTIONS / ".0123.npz"
    unfinished.write_bytes(b"")
    kept.used(kept.path(ADAPTED, "b"))  # now a is the older one
    put("c")
    left = {path.stem for path in tmp_path.rglob("*.npz")}
    assert left == {"b", "c", "paid", ".0123"}
    os.utime(unfinished, (1, 1))  # of a run that was killed long ago
    put("d", size=3000)  # larger than all that may be kept
    assert {path.stem for path in tmp_path.rglob("*.npz")} == {"paid"}


def test_the_users_cache_is_where_and_as_large_as_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SEMTTA_CACHE", str(tmp_path))
    assert Cache.of_user() == Cache(tmp_path, 1_000_000_000)
    monkeypatch.setenv("SEMTTA_CACHE_MB", "2.5")
    assert Cache.of_user().limit == 2_500_000
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("SEMTTA_CACHE_MB", wrong)
        with pytest.raises(SemttaError, match=f"SEMTTA_CACHE_MB.*not '{wrong}'"):
            Cache.of_user()


def test_the_content_of_a_folder_of_images_is_all_of_it(tmp_path):
    from semtta.video import open_images

    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(b"picture %d" % number)
    first = content_hash(tmp_path)
    assert content_hash(open_images(tmp_path, 25)) != first == content_hash(str(tmp_path))
    dropped = ImageSequence(tmp_path, ("1.png", None, "2.png"))
    assert len({first, content_hash(dropped)}) == 2
    (tmp_path / "2.png").write_bytes(b"picture 3")  # of the same size
    assert content_hash(tmp_path) != first
    with pytest.raises(SemttaError, match="absent.mp4"):
        content_hash(tmp_path / "absent.mp4")


# ---------------------------------------------------------------------- tracks in files


def tracked(video, *tracks):
    return TrackedVideo(probe(video), list(tracks), torch.arange(12).double() / 30)


def test_a_tracked_video_survives_the_file(tmp_path):
    own = Skeleton("mine", ("knee", "toe"), (("knee", "toe"),))
    points = Keypoints2D(torch.rand(2, 2, 2), torch.rand(2, 2), own)
    plain = replace(walker(2, id=7), keypoints=points, landmarks3d=None, conf3d=None)
    gaps = replace(walker(3), frames=torch.tensor([0, 4, 9]))
    before = tracked(clip(tmp_path / "a.mp4"), gaps, plain)
    assert before.save(tmp_path / "sub" / "t.npz") == tmp_path / "sub" / "t.npz"
    after = TrackedVideo.load(tmp_path / "sub" / "t.npz")
    assert after.info == before.info and torch.equal(after.times, before.times)
    for one, other in zip(before.tracks, after.tracks, strict=True):
        same_tracks(one, other)
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["t.npz"]
    moved = (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    assert TrackedVideo.load(tmp_path / "sub" / "t.npz", moved).info.path == moved
    clip(tmp_path / "a.mp4", shade=10)
    with pytest.raises(SemttaError, match="is not the video"):
        TrackedVideo.load(tmp_path / "sub" / "t.npz")


@pytest.mark.parametrize(("name", "change"), [
    ("0_frames", lambda a: a + 5), ("0_frames", lambda a: a[::-1]), ("times", lambda a: -a),
    ("0_times", lambda a: a * np.nan), ("0_xy", lambda a: a[:, :1]), ("0_conf", lambda a: a + 2),
    ("0_boxes", lambda a: a[:, :3]), ("0_landmarks3d", lambda a: a.astype(int)),
    ("head", lambda a: np.array("{}")), ("head", lambda a: np.array("[" * 100_000)),
])  # fmt: skip
def test_a_damaged_file_of_tracks_is_one_sentence(tmp_path, name, change):
    path = tracked(clip(tmp_path / "a.mp4"), walker(9)).save(tmp_path / "t.npz")
    with np.load(path) as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name])
    with open(path, "wb") as file:
        write_npz(file, arrays)
    with pytest.raises(SemttaError) as caught:
        read_tracked(path)
    assert len(str(caught.value)) < 500


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_damage_to_a_file_of_tracks_is_a_sentence_or_tracks(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damaged-tracks"
    folder.mkdir(exist_ok=True)
    whole = folder / "whole.npz"
    if not whole.exists():
        tracked(clip(folder / "a.mp4"), walker(3)).save(whole)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = Path(folder / "t.npz")
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        read_tracked(path)
    except SemttaError:
        pass
