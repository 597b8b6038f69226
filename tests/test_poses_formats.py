"""What every program writes comes back as the joints that went in."""

import json
import os
import pickle
import time
import zlib
from pathlib import Path

import numpy as np
import poses_files as files
import pytest
import torch
from poses_files import CLIP, CLIP_SIZE
from traced import traced

from semtta import joblib_pickles
from semtta.errors import SemttaError
from semtta.people.formats import FORMATS, Source, recognise
from semtta.people.poses2d import Poses2DOptions, understand
from semtta.skeletons import COCO17
from semtta.video import VideoInfo

INFO = VideoInfo(Path("clip.mp4"), *CLIP_SIZE, 60.0, 100)
DATA = Path(__file__).parent / "data" / "poses2d"


def read(path, **options):
    return understand(path, INFO, None, Poses2DOptions(**options))


def arrays(path, **named):
    np.savez(path, **named)
    return path


def saved(path, content):
    torch.save(content, path)
    return path


def npy(path, content):
    np.save(path, content)
    return path


# name -> (format that it is recognised as, skeleton, writer(folder) -> path)
WRITTEN = {
    "openpose": ("openpose", "body25", lambda d: files.openpose(d / "op", files.body25(CLIP))),
    "openpose, old keys": ("openpose", "body25", lambda d: files.openpose(
        d / "op", files.body25(CLIP), key="pose_keypoints")),
    "pose2sim, 17": ("openpose", "coco17", lambda d: files.openpose(d / "op", CLIP)),
    "pose2sim, 26": ("openpose", "halpe26", lambda d: files.openpose(
        d / "op", files.padded(CLIP, 26))),
    "pose2sim, 133": ("openpose", "coco23", lambda d: files.openpose(
        d / "op", files.padded(CLIP, 133))),
    "openpose, 135": ("openpose", "body25b", lambda d: files.openpose(
        d / "op", files.padded(CLIP, 135))),
    "comfyui": ("openpose", "body25", lambda d: files.comfyui(d / "p.json", files.body25(CLIP))),
    "alphapose --format open": ("openpose", "coco18", lambda d: files.alphapose_form(
        d / "a.json", files.body25(CLIP)[:, [*range(8), *range(9, 19)]])),
    "alphapose --format cmu": ("openpose", "coco18", lambda d: files.alphapose_form(
        d / "a.json", files.body25(CLIP)[:, [*range(8), *range(9, 19)]], "bodies", "joints")),
    "coco": ("coco", "coco17", lambda d: files.coco(d / "c.json", CLIP, image=None)),
    "alphapose": ("coco", "coco17", lambda d: files.coco(d / "c.json", CLIP, idx=[[0.0], [0.0]])),
    "coco, 136": ("coco", "halpe26", lambda d: files.coco(d / "c.json", files.padded(CLIP, 136))),
    "coco annotations": ("coco", "coco17", lambda d: files.coco_annotations(d / "c.json", CLIP)),
    "mmpose inferencer": ("mmpose", "coco17", lambda d: files.mmpose_list(d / "m.json", CLIP)),
    "mmpose demo": ("mmpose", "coco17", lambda d: files.mmpose_demo(d / "m.json", CLIP)),
    "mmpose images": ("mmpose", "coco17", lambda d: files.mmpose_folder(d / "m", CLIP)),
    "ultralytics": ("ultralytics", "coco17", lambda d: files.ultralytics(d / "u.json", CLIP)),
    "ultralytics, shares": ("ultralytics", "coco17", lambda d: files.ultralytics(
        d / "u.json", CLIP, CLIP_SIZE)),
    "ultralytics, text": ("ultralytics", "coco17", lambda d: files.ultralytics_text(
        d / "labels", CLIP)),
    "ultralytics, bare text": ("ultralytics", "coco17", lambda d: files.ultralytics_text(
        d / "labels", CLIP, ending="")),
    "pifpaf": ("pifpaf", "coco17", lambda d: files.pifpaf(d / "p.json", CLIP)),
    "pifpaf from 1": ("pifpaf", "coco17", lambda d: files.pifpaf(d / "p.jsonl", CLIP, first=1)),
    "pifpaf images": ("pifpaf", "coco17", lambda d: files.pifpaf_folder(d / "p", CLIP)),
    "easy_vitpose": ("easy-vitpose", "coco17", lambda d: files.easy_vitpose(d / "e.json", CLIP)),
    "mediapipe": ("mediapipe", "blazepose33", lambda d: files.mediapipe(d / "m.json", CLIP)),
    "mediapipe, python": ("mediapipe", "blazepose33", lambda d: files.mediapipe(
        d / "m.json", CLIP, key="pose_landmarks")),
    "deeplabcut": ("deeplabcut", "coco17", lambda d: files.deeplabcut(d / "d.csv", CLIP)),
    "deeplabcut, many": ("deeplabcut", "coco17", lambda d: files.deeplabcut(
        d / "d.csv", CLIP, individual="ind1")),
    "deeplabcut, names": ("deeplabcut", "body27", lambda d: files.deeplabcut(
        d / "d.csv", CLIP, [n.title().replace("_", "") + ("" if i else " tip")
                            for i, n in enumerate(files.NAMES)])),
    "phalp": ("phalp", "body25", lambda d: files.phalp(d / "p.pkl", CLIP)),
    "vitpose npy": ("arrays", "coco17", lambda d: npy(d / "v.npy", CLIP)),
    "vitpose pt": ("arrays", "coco17", lambda d: saved(d / "v.pt", torch.from_numpy(CLIP))),
    "pt of a dictionary": ("arrays", "coco17", lambda d: saved(
        d / "v.pt", {"keypoints": torch.from_numpy(CLIP)})),
    "npz of keypoints": ("arrays", "coco17", lambda d: arrays(
        d / "v.npz", keypoints=CLIP[..., :2], scores=CLIP[..., 2])),
    "own npz": ("arrays", "coco17", lambda d: arrays(
        d / "v.npz", xy=CLIP[..., :2], conf=CLIP[..., 2], skeleton="coco17")),
}  # fmt: skip


@pytest.mark.parametrize("case", WRITTEN)
def test_joints_come_back(tmp_path, case):
    family, bones, write = WRITTEN[case]
    path = write(tmp_path)
    assert recognise(Source.open(path)) == family
    found = read(path)
    assert (found.format, found.skeleton.name) == (family, bones)
    (track,) = found.tracks
    assert track.frames.tolist() == list(range(100))
    back = track.keypoints.to_skeleton(COCO17)
    seen = back.conf.numpy() > 0
    lost = np.zeros_like(seen)
    lost[:, 0] = case == "deeplabcut, names"  # whose "Nose tip" is no joint that is known
    there = (CLIP[..., 2] > 0) | (family == "phalp")  # which projects every joint
    assert np.array_equal(seen, there & ~lost)
    # A share of the picture is known to half a pixel: programs differ in where pixel 0 is.
    assert np.abs(back.xy.numpy() - CLIP[..., :2]).max(-1)[seen & (CLIP[..., 2] > 0)].max() < 0.51
    if family != "phalp" and "annotations" not in case:  # they have no confidences
        np.testing.assert_allclose(back.conf.numpy()[seen], CLIP[..., 2][seen], atol=1e-3)


def test_every_family_is_tried():
    assert {family for family, _, _ in WRITTEN.values()} == set(FORMATS)


@pytest.mark.parametrize(("name", "family", "bones"), [
    ("phalp_joblib.pkl", "phalp", "body25"), ("tracking_results.pth", "phalp", "coco17"),
    ("deeplabcut.h5", "deeplabcut", "coco17"),
])  # fmt: skip
def test_what_joblib_and_pandas_themselves_wrote(name, family, bones):
    if name.endswith("h5"):
        pytest.importorskip("h5py")
    found = read(DATA / name)
    (track,) = found.tracks
    assert (found.format, found.skeleton.name, len(track)) == (family, bones, 6)
    off = track.keypoints.to_skeleton(COCO17).xy.numpy() - CLIP[:6, :, :2]
    seen = track.keypoints.to_skeleton(COCO17).conf.numpy() > 0
    assert np.abs(off)[seen].max() < 0.1 and seen.mean() > 0.9


def test_phalp_is_said_to_be_no_detection(tmp_path):
    assert any("not detections" in n for n in read(files.phalp(tmp_path / "p.pkl", CLIP)).notes)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["p.pkl", "p.pth"])
def test_a_pickle_runs_nothing(tmp_path, name):
    content = {"a": {"frame_id": Evil(tmp_path / "pwned"), "keypoints": np.ones((3, 17, 3))}}
    (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(SemttaError, match=name):
        read(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_points_without_confidence_count_where_they_are(tmp_path):
    points = CLIP[..., :2].copy()
    points[3, 4] = 0
    points[5, 6] = np.nan
    found = read(npy(tmp_path / "v.npy", points))
    conf = found.tracks[0].keypoints.conf
    assert conf[3, 4] == 0 and conf[5, 6] == 0 and conf.sum() == 1698
    assert any("no confidences" in note for note in found.notes)


def test_several_people_in_arrays_are_tracked(tmp_path):
    other = CLIP + [250, 0, 0]
    found = read(npy(tmp_path / "v.npy", np.stack([CLIP, other], 1)))
    assert [len(track) for track in found.tracks] == [100, 100]


def test_an_array_of_another_length_is_said(tmp_path):
    notes = read(npy(tmp_path / "v.npy", CLIP[:90])).notes
    assert any("90 entries" in note and "100" in note for note in notes)


def test_names_of_joints_that_say_no_body_are_refused(tmp_path):
    path = files.deeplabcut(tmp_path / "d.csv", CLIP, [f"point{i}" for i in range(17)])
    with pytest.raises(SemttaError, match="do not name left and right"):
        read(path)


def test_the_ultralytics_classes_beside_people_are_left_out(tmp_path):
    path = files.ultralytics(tmp_path / "u.json", CLIP)
    frames = json.loads(path.read_text())
    ball = {"name": "ball", "class": 32, "box": {"x1": 1, "y1": 1, "x2": 5, "y2": 5}}
    files.save(path, [[*frame, ball] for frame in frames])
    assert len(read(path).tracks) == 1


def test_a_format_can_be_named(tmp_path):
    path = files.coco(tmp_path / "c.json", CLIP)
    assert read(path, format="coco").format == "coco"
    with pytest.raises(SemttaError, match="c.json"):
        read(path, format="openpose")
    with pytest.raises(SemttaError, match="unknown format 'kinect'; known: openpose"):
        read(path, format="kinect")


def test_what_is_no_pose_is_not_recognised(tmp_path):
    for name, content in (("a.json", {"hello": 1}), ("b.json", [1, 2, 3]), ("c.json", "x")):
        with pytest.raises(SemttaError, match=f"{name}.*not recognised"):
            read(files.save(tmp_path / name, content))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SemttaError, match="t.csv.*not recognised"):
        read(tmp_path / "t.csv")


def test_hidden_files_between_the_results_are_none(tmp_path):
    folder = files.openpose(tmp_path / "op", files.body25(CLIP))
    (folder / "._clip_000000000000_keypoints.json").write_bytes(b"\0\5\x16\7")
    (folder / ".DS_Store").write_bytes(b"\0")
    for file in list(folder.glob("clip*"))[:3]:
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(read(folder).tracks[0]) == 100


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path):
    folder = files.openpose(tmp_path / "op", files.body25(CLIP[:3]))
    os.mkfifo(folder / "clip_000000000009_keypoints.json")
    with pytest.raises(SemttaError, match="pipe"):
        read(folder)


class Lying:
    """A dtype whose state claims plain numbers and hides pointers to objects."""

    def __reduce__(self):
        state = (3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 0)
        return (np.dtype, ("V8", False, True), state)


class Pointers:
    def __reduce__(self):
        make = np.empty(0).__reduce__()[0]
        return (make, (np.ndarray, (0,), b"b"), (1, (3, 17, 3), Lying(), False, b"A" * 8 * 153))


def test_arrays_of_pointers_are_never_made(tmp_path):
    """numpy would follow 0x4141414141414141."""
    content = {"1": {"frame_id": np.arange(3), "keypoints": Pointers()}}
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(SemttaError, match="p.pkl"):
        read(tmp_path / "p.pkl")


def test_pickles_that_unfold_are_refused_at_once(tmp_path, monkeypatch):
    """A pickle of many steps at a fiftieth of the limit, which takes seconds as it is shipped."""
    assert joblib_pickles._STEPS <= 5_000_000
    monkeypatch.setattr(joblib_pickles, "_STEPS", 100_000)
    nested = [0.0] * 10
    for _ in range(9):
        nested = [nested] * 10
    bombs = {
        "lists.pkl": (
            pickle.dumps({"1": {"frame_id": nested, "keypoints": nested}}),
            "more numbers than a file holds",
        ),
        "empty.pkl": (
            zlib.compress(b"\x80\x04(" + b"]" * 1_000_000 + b"l."),
            "too many objects",
        ),
    }
    for name, (data, words) in bombs.items():
        (tmp_path / name).write_bytes(data)
        start = time.process_time()
        with pytest.raises(SemttaError, match=f"{name}.*{words}"):
            read(tmp_path / name)
        assert time.process_time() - start < (20 if traced() else 5)


def test_a_view_that_claims_more_than_the_file_has(tmp_path):
    path = saved(tmp_path / "v.pt", torch.ones(1, 1, 1).expand(2_000_000, 17, 3))
    with pytest.raises(SemttaError, match="300000"):
        read(path)
    wide = arrays(tmp_path / "w.npz", keypoints=np.zeros((400_000, 17, 3), np.uint8))
    with pytest.raises(SemttaError, match="300000"):
        read(wide)


def test_forms_of_tensors(tmp_path):
    for i, content in enumerate((
        torch.from_numpy(CLIP).to(torch.float64).requires_grad_(),
        list(torch.from_numpy(CLIP)), torch.from_numpy(CLIP)[None],
    )):  # fmt: skip
        (track,) = read(saved(tmp_path / f"{i}.pt", content)).tracks
        assert np.abs(track.keypoints.xy.numpy() - CLIP[..., :2]).max() < 0.01


def test_a_third_number_that_is_a_depth_is_no_confidence(tmp_path):
    depth = CLIP.copy()
    depth[..., 2] = np.random.default_rng(0).uniform(-0.45, 0.45, CLIP.shape[:2])
    with pytest.raises(SemttaError, match="is the third number a depth"):
        read(npy(tmp_path / "v.npy", depth))
    content = json.loads(files.mmpose_list(tmp_path / "m.json", CLIP).read_text())
    for frame in content:
        for instance in frame["instances"]:
            instance["keypoints"] = [[*point, 0.3] for point in instance["keypoints"]]
    with pytest.raises(SemttaError, match="keypoints in 3D"):
        read(files.save(tmp_path / "m.json", content))


def test_mediapipes_four_numbers(tmp_path):
    marks = np.zeros((100, 33, 4))
    at = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
    marks[:, at, :2], marks[:, at, 3] = CLIP[..., :2], CLIP[..., 2]
    marks[..., 2] = -0.2
    back = read(npy(tmp_path / "v.npy", marks)).tracks[0].keypoints.to_skeleton(COCO17)
    assert np.abs(back.xy.numpy() - CLIP[..., :2])[CLIP[..., 2] > 0].max() < 0.01


def test_json_of_plain_lists(tmp_path):
    apart = {"keypoints": CLIP[..., :2].tolist(), "scores": CLIP[..., 2].tolist()}
    for content in (CLIP.tolist(), {"keypoints": CLIP.tolist()}, apart):
        assert len(read(files.save(tmp_path / "a.json", content)).tracks[0]) == 100


def test_what_is_no_frame_in_a_folder_is_left_out(tmp_path):
    folder = files.openpose(tmp_path / "op", files.body25(CLIP))
    files.save(folder / "meta.json", {"net": "368x656"})
    found = read(folder)
    assert len(found.tracks[0]) == 100 and any("meta.json" in note for note in found.notes)
