"""Importing users' own 2D poses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from semtta.errors import SemttaError
from semtta.people import load_poses2d
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
    np.testing.assert_allclose(track.keypoints.xy[0], pose(133, 50)[:17, :2], atol=1e-3)


def test_overshooting_confidence_is_clipped(tmp_path):
    values = pose(17, 50)
    values[0, 2], values[1, 2] = 1.07, -0.01
    entry = {"image_id": 0, "keypoints": values.reshape(-1).tolist()}
    (track,) = load_poses2d(coco(tmp_path / "r.json", [entry]), INFO)
    assert track.keypoints.conf[0, 0] == 1 and track.keypoints.conf[0, 1] == 0


def nan_first(values):
    return [float("nan"), *values[1:]]


BAD_COCO = {
    "joint count": ([item(0, 5) | {"keypoints": [1.0] * 60}], r"entry 0.*60 numbers"),
    "not numbers": ([item(0, 5) | {"keypoints": ["a"] * 51}], "entry 0.*not numbers"),
    "nan": ([item(0, 5), item(1, 5) | {"keypoints": nan_first([1.0] * 51)}], "entry 1.*NaN"),
    "confidence": ([item(0, 5) | {"keypoints": [50.0] * 51}], "entry 0.*50"),
    "past the end": ([item(0, 5), item(20, 5)], "entry 1.*frame 20.*count from 0"),
    "negative frame": ([item(-1, 5)], "entry 0.*frame -1"),
    "twice": ([item(0, 5, idx=1), item(0, 90, idx=1)], "entry 1.*twice"),
    "half named": ([item(0, 5, idx=1), item(0, 90)], "1 of 2"),
    "no frame": ([item("portrait.jpg", 5)], "no frame number"),
    "box": ([item(0, 5, bbox=[1, 2, -3, 4])], "entry 0.*box"),
    "keys": ([{"image_id": 0}], "entry 0.*keypoints"),
    "not a list": ({"annotations": []}, "list of detections"),
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
    with pytest.raises(SemttaError, match="person 0.*30 numbers"):
        load_poses2d(openpose(tmp_path / "a", [[pose(10, 50)]]), INFO)
    with pytest.raises(SemttaError, match="coco18.*body25"):
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
    "boxes": ({"boxes": np.zeros((5, 4))}, "row 0.*box"),
    "objects": ({"xy": np.array([{}], object)}, "cannot be read"),
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
