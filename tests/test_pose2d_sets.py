"""Keypoint data sets from small copies of their official layouts; crops and views."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hostile import flipped, hostile
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from semtta.errors import SemttaError
from semtta.pose2d.augment import NO_CHANGE, Augmentation, View, apply_look
from semtta.pose2d.layouts import LAYOUTS, coco_set, load_set, read_boxes
from semtta.pose2d.readers import _image_plane
from semtta.pose2d.runs import open_set
from semtta.pose2d.samples import Entry, KeypointSet, cut_batch, cut_crop, shuffled
from semtta.pose2d.settings import DataConfig
from semtta.pose2d.skeletons import BODY16, HAND21
from semtta.pose2d.unlabelled import unlabelled_set
from semtta.skeletons import SMPL24
from semtta.video import write_video

RNG = np.random.default_rng(0)


def picture(path: Path, width: int = 64, height: int = 64, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((height, width, 3), value, np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def joint(entry: Entry, name: str, skeleton=BODY16) -> list[float]:
    return entry.xy[skeleton.index(name)].tolist()


# ------------------------------------------------------------------------------ bodies


def write_surreal(root: Path) -> np.ndarray:
    points = 10 + np.arange(48.0).reshape(24, 2)
    for split in ("train", "val", "test"):
        for run in range(3):
            name = f"{split}{run}.png"
            picture(root / split / f"run{run}" / name)
            write(root / split / f"run{run}.json", [{"name": name, "keypoint2d": points.tolist()}])
    return points


def test_surreal_in_both_conventions(tmp_path):
    points = write_surreal(tmp_path)
    ours, theirs = (load_set(kind, tmp_path, "test") for kind in ("surreal", "surreal_regda"))
    assert len(ours) == 3 and ours.labelled == 48
    at = SMPL24.index
    # mirrored pictures: what SMPL calls left is on the person's right
    assert joint(ours.entries[0], "right_ankle") == points[at("left_ankle")].tolist()
    assert joint(ours.entries[0], "right_shoulder") == points[at("left_shoulder")].tolist()
    assert joint(theirs.entries[0], "right_shoulder") == points[at("left_collar")].tolist()
    assert joint(theirs.entries[0], "thorax") == points[at("spine3")].tolist()
    same = [n for n in BODY16.joints if "shoulder" not in n and n != "thorax"]
    for name in same:
        assert joint(ours.entries[0], name) == joint(theirs.entries[0], name)
    assert cut_crop(ours.entries[0], 64, NO_CHANGE).image.shape == (64, 64, 3)


def test_lsp_counts_hidden_joints_the_other_way_round(tmp_path):
    joints = np.zeros((3, 14, 6))
    joints[0], joints[1] = np.arange(14)[:, None], np.arange(6)[None]
    joints[2, 3, 0] = 1  # hidden
    savemat(tmp_path / "joints.mat", {"joints": joints})
    for i in range(6):
        picture(tmp_path / "images" / f"im{i + 1:04d}.jpg", 40, 60)
    every = load_set("lsp", tmp_path)
    assert len(every) == 6
    assert [len(load_set("lsp", tmp_path, s)) for s in ("train", "test")] == [3, 3]
    weight = every.entries[0].weight
    assert weight[BODY16.index("left_hip")] == 0 and weight.sum() == 13
    assert weight[BODY16.indices(["pelvis", "thorax"])].sum() == 0
    assert every.entries[5].weight.sum() == 14
    assert joint(every.entries[4], "head_top") == [13, 4]
    # the whole image, edges repeated: (20, 30) is its middle
    crop = cut_crop(every.entries[0], 120, NO_CHANGE)
    assert np.allclose(crop.xy[BODY16.index("right_ankle")], [59.5 - 2 * 19.5, 59.5 - 2 * 29.5])
    with pytest.raises(SemttaError, match="LSP-Extended|lsp_extended"):
        savemat(tmp_path / "joints.mat", {"joints": np.zeros((14, 3, 2))})
        load_set("lsp", tmp_path)


def test_lsp_extended_is_laid_out_otherwise(tmp_path):
    joints = np.zeros((14, 3, 3))
    joints[:, 0], joints[:, 1] = np.arange(14)[:, None], 7
    joints[:, 2] = 1
    joints[0, :, 0] = [0, -5, 0]  # not labelled
    joints[:8, 2, 1] = 0  # six joints are too few
    savemat(tmp_path / "joints.mat", {"joints": joints})
    found = load_set("lsp_extended", tmp_path)
    assert [e.name for e in found.entries] == ["im00001.jpg", "im00003.jpg"]
    assert found.entries[0].weight[BODY16.index("right_ankle")] == 0
    assert found.entries[0].square[2] == pytest.approx(12 * 1.4)


def write_h36m(root: Path, subjects, frames=10) -> None:
    joints = (np.arange(51.0).reshape(17, 3) * 10).tolist()
    for subject in subjects:
        stem = root / "annotations" / f"Human36M_subject{subject}"
        rows = [{"file_name": f"s{subject}/{f}.jpg", "cam_idx": 1, "action_idx": 2,
                 "subaction_idx": 1, "frame_idx": f, "width": 1000, "height": 1002}
                for f in range(frames)]  # fmt: skip
        write(Path(f"{stem}_data.json"), {"images": rows})
        write(Path(f"{stem}_joint_3d.json"), {"2": {"1": {str(f): joints for f in range(frames)}}})
        write(Path(f"{stem}_camera.json"), {"1": {"R": np.eye(3).tolist(), "t": [0, 0, 4000],
                                                  "f": [1000, 1000], "c": [500, 400]}})  # fmt: skip


def test_human36m_is_projected_and_thinned(tmp_path):
    write_h36m(tmp_path, (1, 5, 6, 7, 8, 9, 11))
    test = load_set("human36m", tmp_path, "test")
    assert len(test) == 4 and len({e.name for e in test.entries}) == 4  # frames 0 and 5 of two
    entry = test.entries[0]

    def place(i):
        x, y, z = np.arange(51.0).reshape(17, 3)[i] * 10 + [0, 0, 4000]
        return np.array([x / z * 1000 + 500, y / z * 1000 + 400])

    assert np.allclose(joint(entry, "right_ankle"), place(3))
    assert np.allclose(joint(entry, "thorax"), (place(14) + place(11)) / 2)
    assert np.allclose(joint(entry, "left_wrist"), place(13))
    left, upper = entry.square[:2] - entry.square[2] / 2 + 0.5
    assert left >= 0 and upper >= 0 and float(entry.square[2]).is_integer()
    (tmp_path / "annotations/Human36M_subject9_camera.json").unlink()
    with pytest.raises(SemttaError, match="subject9_camera"):
        load_set("human36m", tmp_path, "test")


# ------------------------------------------------------------------------------- hands


def test_rhd_takes_large_free_visible_hands_and_makes_them_left(tmp_path):
    def hand(x, y, side, visible=21):
        points = np.zeros((21, 3))
        points[:, :2] = [x, y] + side * RNG.uniform(size=(21, 2))
        points[0, :2], points[1, :2] = [x, y], [x + side, y + side]
        points[:visible, 2] = 1
        return points

    content = {
        0: {"uv_vis": np.vstack([hand(10, 10, 100), hand(200, 200, 100)])},
        1: {"uv_vis": np.vstack([hand(10, 10, 50), hand(150, 10, 100, 16)])},  # small; hidden
        2: {"uv_vis": np.vstack([hand(10, 10, 100), hand(30, 30, 100)])},  # overlapping
    }
    folder = tmp_path / "RHD_published_v2" / "training"
    folder.mkdir(parents=True)
    with open(folder / "anno_training.pickle", "wb") as file:
        pickle.dump(content, file, protocol=2)
    found = load_set("rhd", tmp_path)
    assert [(e.name, e.mirror) for e in found.entries] == [
        ("00000.png, left hand", False), ("00000.png, right hand", True),
    ]  # fmt: skip
    left = content[0]["uv_vis"]
    assert joint(found.entries[0], "thumb_1", HAND21) == left[4, :2].tolist()  # tips come first
    assert joint(found.entries[0], "little_4", HAND21) == left[17, :2].tolist()
    with open(folder / "anno_training.pickle", "wb") as file:
        pickle.dump({0: Path("/x")}, file)
    with pytest.raises(SemttaError, match="annotation file"):
        load_set("rhd", tmp_path)


def test_mirroring_moves_joints_with_the_picture():
    image = np.zeros((50, 80, 3), np.uint8)
    image[20:24, 10:14] = 255
    xy = np.full((21, 2), 11.5)
    xy[:, 1] = 21.5
    entries = [Entry(image, np.array([39.5, 24.5, 80]), xy, np.ones(21), mirror=m)
               for m in (False, True)]  # fmt: skip
    for entry, x in zip(entries, (11.5, 79 - 11.5)):
        crop = cut_crop(entry, 80, NO_CHANGE)
        assert crop.xy[0, 0] == pytest.approx(x)
        assert crop.image[round(crop.xy[0, 1]), round(x)].min() > 200


def test_h3d_without_objects(tmp_path):
    rows = [{"name": f"part1/{i}.jpg", "keypoint2d": np.zeros((21, 2)).tolist(),
             "without_object": int(i % 2 == 0)} for i in range(20)]  # fmt: skip
    write(tmp_path / "H3D_crop" / "annotation.json", rows)
    train, test = (load_set("h3d", tmp_path, s) for s in ("train", "test"))
    assert (len(train), len(test)) == (8, 2)
    names = {e.name for e in train.entries} | {e.name for e in test.entries}
    assert len(names) == 10 and all(int(n[6:-4]) % 2 == 0 for n in names)


def test_versions_of_a_freihand_photo_stay_together(tmp_path):
    xyz = [(RNG.normal(0, 0.05, (21, 3)) + [0, 0, 0.6]).tolist() for _ in range(10)]
    k = [[480, 0, 112], [0, 480, 112], [0, 0, 1]]
    write(tmp_path / "training_xyz.json", xyz)
    write(tmp_path / "training_K.json", [k] * 10)
    train, test = (load_set("freihand", tmp_path, s) for s in ("train", "test"))
    photo = [{int(e.name[:-4]) % 10 for e in s.entries} for s in (train, test)]
    assert not photo[0] & photo[1] and (len(train), len(test)) == (32, 8)
    assert all(e.mirror for e in test.entries)
    i = int(test.entries[0].name[:-4]) % 10
    x, y, z = xyz[i][5]
    assert np.allclose(joint(test.entries[0], "index_1", HAND21), [480 * x / z + 112,
                                                                    480 * y / z + 112])  # fmt: skip
    write(tmp_path / "training_K.json", [k] * 9)
    with pytest.raises(SemttaError, match="10 hands but 9 cameras"):
        load_set("freihand", tmp_path)


def test_wholebody_hands(tmp_path):
    points = np.concatenate([np.arange(42.0).reshape(21, 2), np.ones((21, 1))], 1)
    points[3, 2] = 0
    row = {"image_id": 4, "lefthand_valid": True, "lefthand_kpts": points.ravel().tolist(),
           "lefthand_box": [10, 20, 30, 40], "righthand_valid": False}  # fmt: skip
    write(tmp_path / "annotations" / "coco_wholebody_val_v1.0.json",
          {"images": [{"id": 4, "file_name": "4.jpg"}], "annotations": [row]})  # fmt: skip
    found = load_set("wholebody_hands", tmp_path, "val")
    (entry,) = found.entries
    assert entry.weight.sum() == 20 and entry.square.tolist() == [25, 40, 60]
    assert entry.image == tmp_path / "val2017" / "4.jpg" and not entry.mirror


# ---------------------------------------------------------------------- COCO, hostility


def coco(names, triples, bbox=(0, 0, 64, 64)):
    row = {"id": 3, "image_id": 1, "category_id": 1, "keypoints": np.ravel(triples).tolist()}
    if bbox:
        row["bbox"] = list(bbox)
    return {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [row],
            "categories": [{"id": 1, "keypoints": list(names)}]}  # fmt: skip


def test_a_coco_folder_is_matched_by_name(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    names = ("nose", "left_wrist", "right_wrist")
    write(tmp_path / "annotations.json", coco(names, [[1, 2, 2], [3, 4, 1], [5, 6, 0]]))
    (entry,) = coco_set(tmp_path, BODY16).entries
    assert joint(entry, "left_wrist") == [3, 4] and entry.weight.sum() == 1
    # a box of the whole image cuts the whole image, pixel for pixel
    assert np.allclose(cut_crop(entry, 64, NO_CHANGE).xy[BODY16.index("left_wrist")], [3, 4])
    with pytest.raises(SemttaError, match="no splits"):
        load_set("coco", tmp_path, "val")
    write(tmp_path / "annotations.json", coco(names, [[1, 2, 2], [3, 4, 1], [23, 4, 1]], None))
    assert coco_set(tmp_path, BODY16).entries[0].square[2] == pytest.approx(22 * 1.5)


def turn(path: Path) -> None:
    """Give a JPEG the EXIF tag of a camera held upright (orientation 6)."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    exif = b"Exif\0\0MM\x00*\x00\x00\x00\x08\x00\x01" + entry + bytes(4)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])


def test_an_image_that_is_not_as_it_was_annotated_is_refused(tmp_path):
    """What is turned by its EXIF tag, or was resized, has its joints elsewhere."""
    file = picture(tmp_path / "images" / "a.jpg", 100, 60)
    content = coco(("left_wrist",), [[95, 10, 2]], (0, 0, 100, 60))
    content["images"][0] |= {"width": 100, "height": 60}
    write(tmp_path / "annotations.json", content)
    entry = coco_set(tmp_path, BODY16).entries[0]
    assert cut_crop(entry, 64, NO_CHANGE).weight.sum() == 1
    turn(file)
    with pytest.raises(SemttaError, match="100 x 60 pixels, but .*a.jpg' has 60 x 100: its EXIF"):
        cut_crop(entry, 64, NO_CHANGE)
    with pytest.raises(SemttaError, match="EXIF"):
        coco_set(tmp_path, BODY16).cached(64)
    picture(file, 50, 30)
    with pytest.raises(SemttaError, match="has 50 x 30: it was resized"):
        cut_crop(entry, 64, NO_CHANGE)
    content["images"][0] |= {"width": 0, "height": None}  # some programs leave them out
    write(tmp_path / "annotations.json", content)
    assert coco_set(tmp_path, BODY16).entries[0].size is None


def test_whole_body_hands_know_the_size_of_their_image(tmp_path):
    picture(tmp_path / "val2017" / "a.jpg", 60, 100)
    hand = np.concatenate((RNG.uniform(10, 50, (21, 2)), np.full((21, 1), 2)), 1)
    row = {"image_id": 1, "lefthand_valid": True, "righthand_valid": False,
           "lefthand_kpts": hand.ravel().tolist(), "lefthand_box": [10, 10, 40, 40]}  # fmt: skip
    write(tmp_path / "annotations" / "coco_wholebody_val_v1.0.json",
          {"images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 60}],
           "annotations": [row]})  # fmt: skip
    with pytest.raises(SemttaError, match="EXIF"):
        cut_crop(load_set("wholebody_hands", tmp_path, "val").entries[0], 64, NO_CHANGE)


@hostile
@given(st.sampled_from([
    json.dumps(coco(("left_wrist",), [[1, 2, 2]])).encode(),
    json.dumps([{"name": "a.png", "keypoint2d": [[1, 2]] * 24}]).encode(),
    pickle.dumps({0: {"uv_vis": np.full((42, 3), 5.0)}}, protocol=2),
]).flatmap(flipped))  # fmt: skip
def test_a_damaged_annotation_file_is_read_or_refused_in_one_sentence(tmp_path, data):
    (tmp_path / "training").mkdir(exist_ok=True)
    for name in ("annotations.json", "annotation.json", "joints.mat", "b.json",
                 "training/anno_training.pickle"):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    kinds = ("coco", "h3d", "lsp", "rhd")
    reads = [partial(load_set, kind, tmp_path) for kind in kinds]
    for read in [*reads, partial(read_boxes, tmp_path / "b.json")]:
        try:
            read()
        except SemttaError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "valid JSON"), ("[]", "COCO"), ('{"annotations": []}', "COCO"),
     (json.dumps(coco(("left_wrist",), [[1, 2, 2], [3, 4, 1]])), "names 1"),
     (json.dumps(coco(("tail",), [[1, 2, 2]])), "no joint"),
     (json.dumps({**coco(("left_wrist",), [[1, 2, 2]]), "annotations": []}), "no images"),
     (json.dumps(coco(("left_wrist",), ["a", "b", "c"])), "COCO"),
     (json.dumps(coco(("left_wrist",), [[10**400, 2, 2]])), "COCO"), ("[" * 100000, "JSON")],
)  # fmt: skip
def test_broken_annotations_are_named(tmp_path, content, message):
    (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(SemttaError, match=message):
        coco_set(tmp_path, BODY16)


@pytest.mark.parametrize("kind", [*LAYOUTS, "coco"])
def test_an_empty_folder_is_no_data_set(tmp_path, kind):
    with pytest.raises(SemttaError, match="does not exist"):
        load_set(kind, tmp_path)
    with pytest.raises(SemttaError, match="no folder"):
        load_set(kind, tmp_path / "absent")


def test_wrong_names_and_joint_counts(tmp_path):
    with pytest.raises(SemttaError, match="unknown data set"):
        load_set("mpii", tmp_path)
    with pytest.raises(SemttaError, match="no split"):
        load_set("lsp", tmp_path, "dev")
    write_surreal(tmp_path)
    write(tmp_path / "train" / "run1.json", [{"name": "x.png", "keypoint2d": [[1, 2]]}])
    with pytest.raises(SemttaError, match="run1.json"):
        load_set("surreal", tmp_path)
    write(tmp_path / "train" / "run1.json", {"name": 3})
    with pytest.raises(SemttaError, match="run1.json"):
        load_set("surreal", tmp_path)


def test_missing_and_torn_images_are_named_when_they_are_needed(tmp_path):
    write_surreal(tmp_path)
    found = load_set("surreal", tmp_path)
    (tmp_path / "train" / "run0" / "train0.png").write_bytes(b"torn")
    with pytest.raises(SemttaError, match="train0.png"):
        cut_crop(found.entries[0], 64, NO_CHANGE)
    with pytest.raises(SemttaError, match="train0.png"):
        found.cached(32)
    # a set that is not held in memory would come upon it in the middle of a training
    (tmp_path / "train" / "run0" / "train0.png").unlink()
    with pytest.raises(SemttaError, match=r"lacks 1 of its images.*train0\.png"):
        open_set(DataConfig("surreal", str(tmp_path), cache=False), "body16", 64)
    with pytest.raises(SemttaError, match="body16.* 'hand21'"):
        open_set(DataConfig("surreal", str(tmp_path)), "hand21", 64)


def test_nothing_is_seen_from_behind():
    with np.errstate(all="raise"):
        seen = _image_plane(np.array([[2.0, 4, 2], [2, 4, -2], [2, 4, 0]]))
    assert seen[0].tolist() == [1, 2] and np.isnan(seen[1:]).all()


def test_joints_outside_the_crop_have_no_weight():
    xy = np.zeros((16, 2))
    xy[0], xy[1], xy[2] = [-3, 5], [500, 5], [np.nan, 5]
    crop = cut_crop(Entry(np.zeros((64, 64, 3), np.uint8), None, xy, np.ones(16)), 64, NO_CHANGE)
    assert not crop.weight[:3].any() and crop.weight[3:].all() and np.isfinite(crop.xy).all()
    for square, message in (([1, np.nan, 3], "no crop"), ([4, 4, 1e9], "no crop"),
                            ([90, 4, 20], "outside its image")):  # fmt: skip
        entry = Entry(
            np.zeros((8, 8, 3), np.uint8), np.array(square), xy, np.ones(16), name="a.png"
        )
        with pytest.raises(SemttaError, match=rf"a\.png.* {message}"):
            cut_crop(entry, 64, NO_CHANGE)
    # the box of a tracker may have left the image
    assert cut_crop(replace(entry, weight=np.zeros(16)), 64, NO_CHANGE).image.shape == (64, 64, 3)
    with pytest.raises(SemttaError, match="joints"):
        KeypointSet("x", BODY16, [Entry(np.zeros((8, 8, 3)), None, xy[:3], np.ones(3))])


# --------------------------------------------------------------------- frames and views


def test_unlabelled_images_of_any_size(tmp_path):
    for i, (w, h) in enumerate([(40, 80), (80, 40), (33, 33)]):
        picture(tmp_path / "f" / f"{i}.png", w, h, 50 * i)
    found = unlabelled_set(tmp_path / "f", BODY16, 64)
    assert len(found) == 3 and found.labelled == 0
    batch = cut_batch(found, [0, 1, 2], 64, [NO_CHANGE] * 3, workers=2)
    assert batch.images.shape == (3, 64, 64, 3)
    assert batch.images.float().mean((1, 2, 3)).tolist() == [0, 50, 100]
    boxes = {f"{i}.png": [0, 0, 20, 30] for i in range(3)}
    write(tmp_path / "boxes.json", boxes)
    found = unlabelled_set(tmp_path / "f", BODY16, 64, str(tmp_path / "boxes.json"))
    assert found.entries[0].square.tolist() == [10, 15, 30]
    write(tmp_path / "boxes.json", {"0.png": [0, 0, 20, 30]})
    with pytest.raises(SemttaError, match=r"1\.png"):
        unlabelled_set(tmp_path / "f", BODY16, 64, str(tmp_path / "boxes.json"))
    write(tmp_path / "boxes.json", {"0.png": [0, 0, 0, 30]})
    with pytest.raises(SemttaError, match="x0 < x1"):
        unlabelled_set(tmp_path / "f", BODY16, 64, str(tmp_path / "boxes.json"))
    (tmp_path / "g").mkdir()
    with pytest.raises(SemttaError, match="no images"):
        unlabelled_set(tmp_path / "g", BODY16, 64)
    with pytest.raises(SemttaError, match="'peple' is none"):
        unlabelled_set(tmp_path / "f", BODY16, 64, "peple")
    with pytest.raises(SemttaError, match="exist"):
        unlabelled_set(tmp_path / "absent.mp4", BODY16, 64)


def test_frames_of_a_video_keep_a_margin_for_views(tmp_path):
    frames = [np.full((48, 64, 3), 40 * i, np.uint8) for i in range(3)]
    path = write_video(tmp_path / "v.mp4", frames, 25, (64, 48))
    found = unlabelled_set(path, HAND21, 64)
    assert len(found) == 3 and found.entries[0].image.shape == (80, 80, 3)
    whole = cut_crop(found.entries[2], 64, NO_CHANGE)
    assert abs(float(whole.image.mean()) - 80) < 4
    opened = open_set(DataConfig("frames", str(path)), "hand21", 64)  # and when held in memory
    assert opened.entries[0].image.shape == (80, 80, 3)


def test_a_view_moves_joints_and_pixels_alike():
    rng = np.random.default_rng(3)
    image = np.zeros((128, 128, 3), np.uint8)
    point = np.array([70.0, 50.0])
    cv2.circle(image, (70, 50), 4, (255, 255, 255), -1)
    entry = Entry(image, None, np.tile(point, (16, 1)), np.ones(16))
    for _ in range(10):
        view = Augmentation(colour=0, blur=0).draw(rng)
        crop = cut_crop(entry, 64, view)
        y, x = np.nonzero(crop.image[..., 0] > 128)
        assert np.allclose([x.mean(), y.mean()], crop.xy[0], atol=0.7)
        base = cut_crop(entry, 64, NO_CHANGE).xy[0]
        assert np.allclose(crop.affine[:, :2] @ base + crop.affine[:, 2], crop.xy[0], atol=1e-3)


def test_looks():
    image = np.full((4, 4, 3), 100, np.uint8)
    assert apply_look(image, NO_CHANGE) is image
    brighter = apply_look(image, View(bias=20, gain=(1, 1, 2)))
    assert brighter[0, 0].tolist() == [120, 120, 92]


def test_every_image_comes_once_before_any_comes_again():
    order = shuffled(10, 4, np.random.default_rng(0))
    first = np.concatenate([next(order) for _ in range(5)])
    assert sorted(first[:10]) == list(range(10)) and sorted(first[10:]) == list(range(10))
    assert next(shuffled(1, 3, np.random.default_rng(0))).tolist() == [0, 0, 0]
