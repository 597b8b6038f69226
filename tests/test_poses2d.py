"""Importing users' own 2D poses."""

import json
import shutil
from pathlib import Path

import numpy as np
import poses_files as files
import pytest
import torch
from poses_files import CLIP, CLIP_SIZE

from semtta.errors import SemttaError
from semtta.people import load_poses2d
from semtta.people.poses2d import Poses2DOptions, understand
from semtta.people.tracker import Detections
from semtta.skeletons import COCO17
from semtta.video import VideoInfo

INFO = VideoInfo(Path("clip.mp4"), 640, 480, 25.0, 20)


def pose(joints, x, seed=0):
    """(J, 3) fixed random figure 60 x 160 px whose corner is at x, 100; confidence 0.9."""
    points = np.random.default_rng(seed).uniform(0, 1, (joints, 2)) * [60, 160] + [x, 100]
    return np.concatenate([points, np.full((joints, 1), 0.9)], 1)


def openpose(folder, people_per_frame):
    folder.mkdir(exist_ok=True)
    for t, people in enumerate(people_per_frame):
        content = {"people": [{"pose_keypoints_2d": p.reshape(-1).tolist()} for p in people]}
        (folder / f"clip_{t:012d}_keypoints.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("joints, name", [(25, "body25"), (18, "coco18")])
def test_openpose_people_are_followed(tmp_path, joints, name):
    frames = [[pose(joints, 300 - 3 * t), pose(joints, 40 + 3 * t)][:: 1 if t % 2 else -1]
              for t in range(20)]  # fmt: skip
    tracks = load_poses2d(openpose(tmp_path / "op", frames), INFO)
    assert [len(t) for t in tracks] == [20, 20]
    assert all(t.keypoints.skeleton.name == name for t in tracks)
    starts = sorted(t.keypoints.xy[0, :, 0].min().item() for t in tracks)
    for track in tracks:
        moves = track.keypoints.xy[:, 0, 0].diff()
        assert torch.allclose(moves.abs(), torch.full((19,), 3.0), atol=1e-3)
        assert (moves > 0).all() or (moves < 0).all()  # no exchange of identities
    assert starts[0] < 110 < starts[1]
    assert torch.allclose(tracks[0].times, torch.arange(20).double() / 25)


def test_openpose_empty_frames_make_gaps(tmp_path):
    frames = [[pose(25, 50)] if t not in (3, 4) else [] for t in range(10)]
    (track,) = load_poses2d(openpose(tmp_path / "op", frames), INFO)
    assert track.frames.tolist() == [0, 1, 2, 5, 6, 7, 8, 9]


def test_openpose_zeros_are_missing(tmp_path):
    person = pose(25, 50)
    person[7] = 0
    (track,) = load_poses2d(openpose(tmp_path / "op", [[person]]), INFO)
    assert track.keypoints.conf[0, 7] == 0 and track.boxes[0, 0] > 30


def coco(file, items):
    file.write_text(json.dumps(items))
    return file


def item(t, x, **more):
    return {"image_id": t, "category_id": 1, "keypoints": pose(17, x).reshape(-1).tolist(),
            "score": 1.0, **more}  # fmt: skip


def test_coco_with_identities(tmp_path):
    items = [item(f"{t:06d}.jpg", 50 + 200 * i, idx=i, box=[50 + 200 * i, 100, 60, 160])
             for t in range(5) for i in (0, 1)]  # fmt: skip
    tracks = load_poses2d(coco(tmp_path / "alpha.json", items), INFO)
    assert [len(t) for t in tracks] == [5, 5]
    assert tracks[0].boxes[0].tolist() in ([50, 100, 110, 260], [250, 100, 310, 260])


def test_coco_without_identities(tmp_path):
    items = [item(t, x) for t in range(6) for x in (50, 300)]
    assert [len(t) for t in load_poses2d(coco(tmp_path / "r.json", items), INFO)] == [6, 6]


def test_whole_body_is_cut_to_coco(tmp_path):
    long = {"image_id": 0, "keypoints": pose(133, 50).reshape(-1).tolist()}
    (track,) = load_poses2d(coco(tmp_path / "whole.json", [long]), INFO)
    assert track.keypoints.skeleton.name == "coco23"  # body and feet
    np.testing.assert_allclose(track.keypoints.xy[0], pose(133, 50)[:23, :2], atol=1e-3)


def test_overshooting_confidence_is_clipped(tmp_path):
    values = pose(17, 50)
    values[0, 2], values[1, 2] = 1.07, -0.01
    entry = {"image_id": 0, "keypoints": values.reshape(-1).tolist()}
    (track,) = load_poses2d(coco(tmp_path / "r.json", [entry]), INFO)
    assert track.keypoints.conf[0, 0] == 1 and track.keypoints.conf[0, 1] == 0


BAD_COCO = {
    "joint count": ([item(0, 5) | {"keypoints": [1.0] * 60}], "entry 0.*20 points"),
    "not numbers": ([item(0, 5) | {"keypoints": ["a"] * 51}], "entry 0.*not numbers"),
    "nan": ([item(0, 5) | {"keypoints": [float("nan"), 1.0, 1.0] * 17}], "entry 0.*NaN"),
    "confidence": ([item(0, 5) | {"keypoints": [50.0] * 51}], "entry 0.*50"),
    "past the end": ([item(0, 5), item(20, 5)], "entry 1.*frame 20.*count from 0"),
    "negative frame": ([item(-1, 5)], "entry 0.*frame -1"),
    "no frame": ([item("portrait.jpg", 5)], "no frame number"),
    "box": ([item(0, 5, bbox=[1, 2, 3])], "entry 0.*box has 4 numbers"),
    "keys": ([{"image_id": 0}], "entry 0.*keypoints"),
    "not a list": ({"annotations": []}, "not recognised"),
    "empty": ([], "nobody"),
    "all missing": ([item(0, 5) | {"keypoints": [0.0] * 51}], "nobody"),
}


@pytest.mark.parametrize("case", BAD_COCO)
def test_bad_coco(tmp_path, case):
    items, message = BAD_COCO[case]
    with pytest.raises(SemttaError, match=message) as caught:
        load_poses2d(coco(tmp_path / "bad.json", items), INFO)
    assert "bad.json" in str(caught.value)


def test_bad_openpose(tmp_path):
    with pytest.raises(SemttaError, match="person 0.*10 points"):
        load_poses2d(openpose(tmp_path / "a", [[pose(10, 50)]]), INFO)
    with pytest.raises(SemttaError, match="18 points.*25"):
        load_poses2d(openpose(tmp_path / "b", [[pose(25, 50)], [pose(18, 50)]]), INFO)
    with pytest.raises(SemttaError, match="frame 20"):
        load_poses2d(openpose(tmp_path / "c", [[pose(25, 50)]] * 21), INFO)
    (tmp_path / "d").mkdir()
    with pytest.raises(SemttaError, match="no .json"):
        load_poses2d(tmp_path / "d", INFO)
    (tmp_path / "d" / "x_0_keypoints.json").write_text('{"people": [')
    with pytest.raises(SemttaError, match="x_0_keypoints"):
        load_poses2d(tmp_path / "d", INFO)


def arrays(file, **changes):
    data = {"xy": np.stack([pose(17, 50 + t)[:, :2] for t in range(5)]),
            "conf": np.full((5, 17), 0.7), "skeleton": np.array("coco17")}  # fmt: skip
    data |= changes
    np.savez(file, **{k: v for k, v in data.items() if v is not None})
    return file


def test_arrays(tmp_path):
    boxes = np.tile([40.0, 90, 120, 270], (5, 1))
    file = arrays(tmp_path / "p.npz", frames=np.array([2, 3, 4, 8, 19]), boxes=boxes)
    times = torch.arange(20).double() / 10
    (track,) = load_poses2d(file, INFO, times)
    assert track.frames.tolist() == [2, 3, 4, 8, 19]
    assert torch.allclose(track.times, track.frames.double() / 10)
    assert torch.equal(track.boxes, torch.tensor(boxes).float())


BAD_ARRAYS = {
    "missing": ({"conf": None}, "lacks conf"),
    "skeleton": ({"skeleton": np.array("octopus")}, "octopus"),
    "joints": ({"skeleton": np.array("body25")}, "body25"),
    "frames": ({"frames": np.array([0, 1, 1, 2, 3])}, "increasing"),
    "past the end": ({"frames": np.arange(16, 21)}, "row 4.*frame 20"),
    "nan": ({"xy": np.full((5, 17, 2), np.nan)}, "row 0.*NaN"),
    "confidence": ({"conf": np.full((5, 17), 88.0)}, "row 0.*88"),
    "boxes": ({"boxes": np.zeros((5, 3))}, "'boxes' is .5, 3."),
    "objects": ({"xy": np.array([{}], object)}, "'xy' is a pickled object"),
    "text": ({"xy": np.array("abc")}, "does not hold numbers"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(tmp_path, case):
    changes, message = BAD_ARRAYS[case]
    with pytest.raises(SemttaError, match=message):
        load_poses2d(arrays(tmp_path / "bad.npz", **changes), INFO)


def test_unknown_kinds(tmp_path):
    (tmp_path / "poses.txt").write_text("1 2 3")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    for name in ("poses.txt", "broken.npz", "nowhere.json"):
        with pytest.raises(SemttaError, match=name):
            load_poses2d(tmp_path / name, INFO)


# What is guessed is right or said ----------------------------------------------------------------

CLIP_INFO = VideoInfo(Path("clip.mp4"), *CLIP_SIZE, 60.0, 100)


def understood(path, info=CLIP_INFO, times=None, **options):
    return understand(path, info, times, Poses2DOptions(**options))


def said(found, *words):
    return any(all(word in note for word in words) for note in found.notes)


@pytest.mark.parametrize("names", [
    "{:06d}_cam2_keypoints", "frame{}_keypoints2d", "frame_{:04d}_rot90", "vid01_frame{}_0.97",
    "2024-05-01_cam1_{:012d}_keypoints", "take3_{:03d}_pose2",
])  # fmt: skip
def test_the_frame_is_the_number_that_differs(tmp_path, names):
    found = understood(files.openpose(tmp_path / "op", files.body25(CLIP), names))
    assert found.tracks[0].frames.tolist() == list(range(100))


def test_names_that_leave_the_frame_open_are_refused(tmp_path):
    names = [f"a{i}_b{(7 * i) % 100}" for i in range(100)]  # both differ, both without gaps
    items = [item(name, 5) for name in names]
    with pytest.raises(SemttaError, match="which number.*cannot be told"):
        understood(coco(tmp_path / "r.json", items))


def test_two_files_of_one_frame_are_refused(tmp_path):
    folder = files.openpose(tmp_path / "op", files.body25(CLIP[:5]))
    shutil.copy(folder / "clip_000000000003_keypoints.json",
                folder / "other_000000000003_keypoints.json")  # fmt: skip
    with pytest.raises(SemttaError, match="clip_000000000003.*other_000000000003.*frame 3"):
        understood(folder)


@pytest.mark.parametrize("first", [0, 1])
def test_counting_from_0_and_from_1(tmp_path, first):
    found = understood(files.coco(tmp_path / "r.json", CLIP, "{:06d}.jpg", first))
    assert found.tracks[0].frames.tolist() == list(range(100))
    assert said(found, "counted from 1") == (first == 1)


def test_results_named_after_images_belong_to_those_images(tmp_path):
    """The first image is 000001.jpg, and the last has no result."""
    images = [f"{i:06d}.jpg" for i in range(1, 101)]
    for path in (files.openpose(tmp_path / "op", files.body25(CLIP[:99]), "{:06d}_keypoints",
                                first=1),
                 files.coco(tmp_path / "a.json", CLIP[:99], "{:06d}.jpg", 1),
                 files.openpose(tmp_path / "b", files.body25(CLIP[:99]), "take_{}_keypoints",
                                first=1)):  # fmt: skip
        found = understand(path, CLIP_INFO, images=images)
        assert found.tracks[0].frames.tolist() == list(range(99))


def test_the_first_number_can_be_said(tmp_path):
    path = files.coco(tmp_path / "r.json", CLIP[:40], "{:06d}.jpg", 1)
    assert said(understood(path), "counted from 1", "--poses2d-first")
    for first in (0, 1):
        found = understood(path, first=first)
        assert found.tracks[0].frames[0] == 1 - first


@pytest.mark.parametrize(("scale", "option"), [
    (np.divide(1, CLIP_SIZE), "unit"), (np.divide(0.5, CLIP_SIZE), None)
])  # fmt: skip
def test_shares_of_the_picture_are_refused_or_scaled_when_told(tmp_path, scale, option):
    points = CLIP * [*scale, 1]
    for path in (files.coco(tmp_path / "c.json", points),
                 files.openpose(tmp_path / "op", files.body25(points)),
                 files.mmpose_list(tmp_path / "m.json", points)):  # fmt: skip
        with pytest.raises(SemttaError, match="shares of a picture.*--poses2d-size unit"):
            understood(path)
        if option:
            found = understood(path, size=option)
            xy = found.tracks[0].keypoints.to_skeleton(COCO17).xy.numpy()
            assert np.abs(xy - CLIP[..., :2])[CLIP[..., 2] > 0].max() < 0.6


def test_signed_shares(tmp_path):
    points = CLIP.copy()
    points[..., :2] = points[..., :2] / CLIP_SIZE * 2 - 1
    path = files.openpose(tmp_path / "op", files.body25(points))
    with pytest.raises(SemttaError, match="--poses2d-size signed"):
        understood(path)
    xy = understood(path, size="signed").tracks[0].keypoints.to_skeleton(COCO17).xy.numpy()
    assert np.abs(xy - CLIP[..., :2])[CLIP[..., 2] > 0].max() < 0.6


def test_points_outside_the_picture_are_refused_or_scaled_when_told(tmp_path):
    path = files.coco(tmp_path / "c.json", CLIP * [2, 2, 1])
    with pytest.raises(SemttaError, match="outside the picture of 1088x1920"):
        understood(path)
    xy = understood(path, size="2176x3840").tracks[0].keypoints.xy.numpy()
    assert np.abs(xy - CLIP[..., :2]).max() < 0.01
    for wrong in ("2176", "axb", "0x5"):
        with pytest.raises(SemttaError, match="--poses2d-size"):
            understood(path, size=wrong)


def test_a_file_that_says_another_size_is_refused(tmp_path):
    path = files.coco_annotations(tmp_path / "c.json", CLIP, size=(544, 960))
    with pytest.raises(SemttaError, match="544x960.*1088x1920"):
        understood(path)


def test_scores_that_are_no_probabilities(tmp_path):
    for most, name in ((1.9, "a.json"), (7.0, "b.json")):
        found = understood(files.coco(tmp_path / name, CLIP * [1, 1, most]))
        conf = found.tracks[0].keypoints.conf.numpy()
        assert said(found, "taken as scores", "RTMPose") and conf.max() == 1
        assert np.abs(conf - np.clip(CLIP[..., 2], 0, 1)).max() < 0.05


def test_25_points_in_the_order_that_makes_a_body(tmp_path):
    b25b = files.padded(CLIP, 25)
    b25b[:, 17:, 2] = 0
    assert understood(files.openpose(tmp_path / "a", b25b)).skeleton.name == "body25b"
    assert understood(files.openpose(tmp_path / "b", files.body25(CLIP))).skeleton.name == "body25"
    told = understood(tmp_path / "a", skeleton="BODY_25B")
    assert told.skeleton.name == "body25b" and not told.notes
    assert said(understood(tmp_path / "a", skeleton="body25"), "make no body")


def test_17_points_of_human36m(tmp_path):
    order = [None, 12, 14, 16, 11, 13, 15, None, None, None, None, 5, 7, 9, 6, 8, 10]
    h36m = np.stack([CLIP[:, [11, 12]].mean(1) if j is None else CLIP[:, j] for j in order], 1)
    h36m[:, [7, 8, 9, 10], 2] = 0.5
    np.save(tmp_path / "h.npy", h36m)
    for options in ({}, {"skeleton": "h36m"}):
        found = understood(tmp_path / "h.npy", **options)
        assert found.skeleton.name == "h36m17"
        xy = found.tracks[0].keypoints.to_skeleton(COCO17).xy.numpy()
        assert np.abs(xy - CLIP[..., :2])[:, 5:].max() < 0.01
    with pytest.raises(SemttaError, match="unknown skeleton 'octopus'"):
        understood(tmp_path / "h.npy", skeleton="octopus")


def test_a_faint_wrist_far_away_moves_nobody(tmp_path):
    clean = understood(files.coco(tmp_path / "a.json", CLIP)).tracks
    points = CLIP.copy()
    points[20, 9] = 6300, 4700, 0.02
    (track,) = understood(files.coco(tmp_path / "b.json", points)).tracks
    assert torch.equal(track.frames, clean[0].frames)
    least = understood(files.coco(tmp_path / "c.json", CLIP), min_confidence=0.3).tracks[0]
    assert (track.boxes - least.boxes).abs().max() < 60  # without that wrist, not to it
    assert track.boxes[20, 2] < CLIP_SIZE[0]
    points[20, 9, 2] = 0.9  # sure, but nowhere near the picture
    found = understood(files.coco(tmp_path / "d.json", points))
    assert (
        said(found, "1 points lie farther outside")
        and (found.tracks[0].boxes - least.boxes).abs().max() < 60
    )


@pytest.mark.parametrize("box", [[10, 10, 0, 30], [0, 0, -1, -1], [9e3, 9e3, 50, 90],
                                 [1e400, 0, 1, 1]])  # fmt: skip
def test_a_bad_box_is_replaced_counted_and_named(tmp_path, box):
    items = [item(t, 50, bbox=[50, 100, 60, 160]) for t in range(20)]
    items[7]["bbox"] = box
    found = understand(coco(tmp_path / "r.json", items), INFO)
    (track,) = found.tracks
    assert len(track) == 20 and said(found, "1 of 20 rows", "entry 7")
    assert (track.boxes[7] - track.boxes[8]).abs().max() < 40


def test_one_bad_row_is_counted_and_named(tmp_path):
    items = [item(t, 50) for t in range(20)]
    items[4]["keypoints"][0] = float("nan")
    items[5]["keypoints"][3:5] = [-1, -1]
    found = understand(coco(tmp_path / "r.json", items), INFO)
    (track,) = found.tracks
    assert said(found, "1 of 20 rows hold NaN", "entry 4") and len(track) == 20
    assert track.keypoints.conf[4, 0] == 0 and track.keypoints.conf[5, 1] == 0


def test_identities_that_are_none_are_tracked(tmp_path):
    """AlphaPose writes 0 for everybody, nested or not, or leaves it out for some."""
    for i, idx in enumerate(([0, 0], [[[0.0], [0.0]]] * 2, [1, None])):
        items = [item(t, x) | ({} if who is None else {"idx": who})
                 for t in range(6) for x, who in zip((50, 300), idx)]  # fmt: skip
        found = understand(coco(tmp_path / f"{i}.json", items), INFO)
        assert [len(track) for track in found.tracks] == [6, 6] and said(found, "tracked")


def test_somebody_unseen_for_long_stays_one_person(tmp_path):
    items = [item(t, 50 + t) for t in range(20) if not 5 <= t < 15]
    slow = VideoInfo(Path("clip.mp4"), 640, 480, 5.0, 20)
    found = understand(coco(tmp_path / "r.json", items), slow)
    assert [len(track) for track in found.tracks] == [10] and said(found, "the same one")
    items = [item(t, 50 if t < 10 else 500) for t in range(20)]
    found = understand(coco(tmp_path / "s.json", items), slow)
    assert [len(t) for t in found.tracks] == [10, 10] and said(found, "in frame 10")


# Against the picture -----------------------------------------------------------------------------


def seen_by_detector(points, shift=0):
    """Looks of a detector that sees the man where he is."""

    def looks(frames):
        found = {}
        for frame in frames:
            person = points[min(max(frame + shift, 0), len(points) - 1)]
            low, high = person[:, :2].min(0), person[:, :2].max(0)
            found[frame] = Detections(np.concatenate([low, high])[None], np.ones(1),
                                      person[None, :, :2], person[None, :, 2])  # fmt: skip
        return found

    return looks


def turned(points, how):
    x, y, conf = points[..., 0], points[..., 1], points[..., 2]
    width, height = CLIP_SIZE
    xy = {"half": (x / 2, y / 2), "narrow": (x * 0.75, y), "mirror": (width - 1 - x, y),
          "180": (width - 1 - x, height - 1 - y)}[how]  # fmt: skip
    return np.stack([*xy, conf], -1)


@pytest.mark.parametrize(("how", "words"), [
    ("half", "stretched by 2.00 x 2.00.*544x960"), ("narrow", "stretched by 1.33 x 1.00"),
    ("mirror", "mirrored"), ("180", "180 degrees"),
])  # fmt: skip
def test_points_of_another_picture_are_found_out(tmp_path, how, words):
    path = files.coco(tmp_path / "c.json", turned(CLIP, how))
    with pytest.raises(SemttaError, match=words):
        understand(path, CLIP_INFO, looks=seen_by_detector(CLIP))


@pytest.mark.parametrize("how", ["90", "270"])
def test_points_of_the_unturned_picture_are_found_out(tmp_path, how):
    points = CLIP * [0.8, 0.8, 1]  # so that they lie within a square picture, turned or not
    side = 1088
    x, y = points[..., 0], points[..., 1]
    xy = (y, side - 1 - x) if how == "90" else (side - 1 - y, x)
    path = files.coco(tmp_path / "c.json", np.stack([*xy, points[..., 2]], -1))
    info = VideoInfo(Path("clip.mp4"), side, side, 60.0, 100)
    with pytest.raises(SemttaError, match=f"turned by {how} degrees"):
        understand(path, info, looks=seen_by_detector(points))


def test_right_points_pass_in_silence_and_strange_ones_are_said(tmp_path):
    path = files.coco(tmp_path / "c.json", CLIP)
    assert not understand(path, CLIP_INFO, looks=seen_by_detector(CLIP)).notes
    noisy = CLIP + np.random.default_rng(0).normal(0, 12, CLIP.shape) * [1, 1, 0]
    assert not understand(path, CLIP_INFO, looks=seen_by_detector(noisy)).notes
    elsewhere = CLIP[:, ::-1].copy() + [300, -200, 0]
    found = understand(path, CLIP_INFO, looks=seen_by_detector(elsewhere))
    assert said(found, "elsewhere", "8 of 8")
    assert not understand(path, CLIP_INFO, looks=lambda frames: {}).notes


@pytest.mark.parametrize("first", [0, 1])
def test_the_picture_tells_where_counting_begins(tmp_path, first):
    """Numbers 1 to 60 of 100 frames: of the second frame on, or of the first on."""
    points = CLIP[1 - first : 61 - first]
    path = files.coco(tmp_path / "c.json", points, "{:06d}.jpg", 1)
    found = understand(path, CLIP_INFO, looks=seen_by_detector(CLIP))
    assert found.tracks[0].frames.tolist() == list(range(1 - first, 61 - first))
    assert not said(found, "--poses2d-first")


def test_counting_is_not_certain_from_names_alone(tmp_path):
    """The first person appears in frame 39 of 100: images are counted from 1, or from 0."""
    for first in (0, 1):
        path = files.coco(tmp_path / f"{first}.json", CLIP[39:89], "{}.jpg", 39 + first)
        found = understand(path, CLIP_INFO, looks=seen_by_detector(CLIP))
        assert found.tracks[0].frames.tolist() == list(range(39, 89))
        assert said(understood(path), "--poses2d-first")


def test_frames_without_anybody_tell_where_counting_begins(tmp_path):
    folder = files.openpose(tmp_path / "op", files.body25(CLIP), first=1)
    for t in range(1, 6):
        files.save(folder / f"clip_{t:012d}_keypoints.json", {"people": []})
    found = understood(folder)
    assert found.tracks[0].frames.tolist() == list(range(5, 100)) and said(found, "from 1")


def test_images_and_results_with_shifted_numbers(tmp_path):
    """Images 000001.jpg on, results 1.jpg to 99.jpg: the same names, or counted from 0?"""
    images = [f"{i:06d}.jpg" for i in range(1, 101)]
    for first in (0, 1):
        path = files.coco(tmp_path / f"{first}.json", CLIP[1 - first : 100 - first], "{}.jpg", 1)
        found = understand(path, CLIP_INFO, images=images, looks=seen_by_detector(CLIP))
        assert found.tracks[0].frames[0] == 1 - first


def test_identities_that_change_places_are_none(tmp_path):
    """Numbers anew in each frame, as programs without a tracker give them."""
    items = [item(t, x, idx=(i + t // 7) % 2)
             for t in range(20) for i, x in enumerate((50, 300))]  # fmt: skip
    found = understand(coco(tmp_path / "r.json", items), INFO)
    assert said(found, "change places")
    for track in found.tracks:
        assert len(track) == 20 and track.keypoints.xy[:, 0, 0].diff().abs().max() < 1


def test_one_missing_row_is_no_other_quantity(tmp_path):
    items = [item(t, 50) for t in range(20)]
    items[9]["keypoints"] = [-1.0] * 51
    items[4]["keypoints"][2] = 99.0
    found = understand(coco(tmp_path / "r.json", items), INFO)
    assert len(found.tracks[0]) == 19 and said(found, "1 of 340 points", "impossible")


def test_boxes_of_two_corners(tmp_path):
    items = [item(t, 50, bbox=[50, 100, 110, 260]) for t in range(20)]
    found = understand(coco(tmp_path / "r.json", items), INFO)
    assert said(found, "two corners")
    assert found.tracks[0].boxes[0].tolist() == [50, 100, 110, 260]


def test_part_of_a_video_is_said(tmp_path):
    found = understood(files.coco(tmp_path / "r.json", CLIP[::2], None))
    assert said(found, "nobody in the frames 50 to 99 of 100")


@pytest.mark.parametrize(("change", "words"), [
    (lambda p: p * [0.9375, 1, 1], "stretched by 1.07 x 1.00"),
    (lambda p: np.stack([p[..., 0], CLIP_SIZE[1] - 1 - p[..., 1], p[..., 2]], -1), "upside down"),
    (lambda p: p[..., [1, 0, 2]] * [0.8, 0.8, 1], "x and y are exchanged"),
])  # fmt: skip
def test_subtler_changes_of_the_picture(tmp_path, change, words):
    path = files.coco(tmp_path / "c.json", change(CLIP))
    with pytest.raises(SemttaError, match=words):
        understand(path, CLIP_INFO, looks=seen_by_detector(CLIP))
