"""Data sets in their official layouts: reading, 2D evidence, boxes, labels, checks, bad files."""

import importlib.util
import io
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_sets as sets
import torch
from hostile import flipped, hostile
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from semtta.bench.check import check, check_table
from semtta.bench.datasets import evidence as evidence_module
from semtta.bench.datasets import open_dataset
from semtta.bench.datasets.evidence import box_overlap, match
from semtta.bench.datasets.files import numbers
from semtta.bench.datasets.threedpw import THREEDPW
from semtta.bench.protocols import PROTOCOLS
from semtta.body import load_body
from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.geometry import ray_rotation
from semtta.hmr.base import CropSpec
from semtta.hmr.images import read_crops
from semtta.hmr.preprocess import person_squares
from semtta.keypoints import Keypoints2D, Track
from semtta.reading import reading
from semtta.skeletons import BODY25, COCO17, COCO18
from semtta.tta.adapter import Adapter
from semtta.video import read_frames

HAS_H5PY = importlib.util.find_spec("h5py") is not None
needs_h5py = pytest.mark.skipif(not HAS_H5PY, reason="h5py is not installed")


@pytest.fixture(autouse=True)
def nothing_of_the_user(tmp_path, monkeypatch):
    """No body, regressor or checkpoint but the ones a test writes."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for variable in ("SEMTTA_BODY_MODELS", "SEMTTA_CHECKPOINTS"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "empty"))


@pytest.fixture
def bodies(tmp_path):
    return sets.write_bodies(tmp_path / "bodies")


@pytest.fixture
def neutral(bodies):
    return load_body("smpl", search=bodies)


def open_3dpw(root, bodies, **options):
    return open_dataset("3dpw", root, body_models=bodies, **options)


# --- every set: the truth itself has no error ---------------------------------------------


def test_3dpw(tmp_path, bodies, neutral):
    truth, camera = sets.write_3dpw(tmp_path)
    bench = pickle.loads(pickle.dumps(open_3dpw(tmp_path, bodies)))
    assert (bench.name, bench.protocol) == ("3dpw", "spin14")
    assert "spin14: 14 joints" in bench.limits and "OpenPose" in bench.limits
    items = bench.items()
    assert [item.name for item in items] == ["walk_00_p0", "walk_00_p1"]
    assert {item.sequence for item in items} == {item.group for item in items} == {"walk_00"}
    # person 1 is male (equal to neutral), person 0 female (0.9 times)
    sample = pickle.loads(pickle.dumps(bench.load(items[1])))
    numbers = sample.truth.score(sets.motion(truth[1], camera), neutral)
    assert numbers["frames"] == 8 and max(numbers["mpjpe_mm"], numbers["mpvpe_mm"]) < 0.01
    assert sample.truth.score(sets.motion(truth[1]), neutral)["mpjpe_mm"] > 10  # world, not camera
    other = bench.load(items[0]).truth.score(sets.motion(truth[0], camera), neutral)
    assert other["mpjpe_mm"] > 10 and other["pa_mpjpe_mm"] < 0.01
    track = sample.track
    assert track.id == 2 and track.keypoints.skeleton == COCO18 and len(track) == 8
    np.testing.assert_allclose(track.keypoints.xy, sets.figure(8, 18, 4)[..., :2], rtol=1e-6)
    assert sample.camera.focal == 61 and sample.camera.center == (32, 24)
    assert sample.labels == [None] * 8
    torch.testing.assert_close(track.times, torch.arange(8).double() / 30)


@needs_h5py
def test_3dhp(tmp_path, neutral, bodies):
    pose = sets.write_3dhp(tmp_path)
    bench = open_dataset("3dhp", tmp_path, body_models=bodies)
    (item,) = bench.items()
    sample = bench.load(item)
    assert item.name == "TS1" and sample.track.frames.tolist() == [1, 2, 3, 4, 5, 6]
    assert sample.truth.score(sets.motion(pose), neutral)["mpjpe_mm"] < 0.02
    # intrinsics come from the annotations
    assert sample.camera.focal == pytest.approx(1500, rel=1e-6)
    assert sample.camera.center == pytest.approx((1024, 1030), rel=1e-6)
    assert sample.video.names[1] == "img_000001.jpg" and sample.video.names[0] is None


@needs_h5py
def test_3dhp_counts_valid_frames_with_all_joints_inside(tmp_path, bodies):
    sets.write_3dhp(tmp_path)
    import h5py

    with h5py.File(tmp_path / "mpi_inf_3dhp_test_set/TS1/annot_data.mat", "a") as file:
        file["valid_frame"][1] = 0
        file["annot2"][3, 0, 5] = [2048, 100]  # just outside
    bench = open_dataset("3dhp", tmp_path, body_models=bodies)
    assert bench.load(bench.items()[0]).track.frames.tolist() == [1, 3, 5, 6]


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("protocol", ["ego24", "ego14"])
def test_egobody(tmp_path, bodies, neutral, short, protocol):
    if short:
        pose, to_camera = sets.write_egobody_short(tmp_path), None
    else:
        pose, to_camera = sets.write_egobody(tmp_path)
    bench = open_dataset("egobody", tmp_path, protocol, body_models=bodies)
    (item,) = bench.items()
    sample = bench.load(item)
    assert item.name == sets.EGO_NAME and sample.camera.focal == 60
    # dropped frames stay dropped
    assert sample.track.frames.tolist() == list(sets.EGO_FRAMES)
    names = sample.video.names
    assert names[103] is names[104] is None and names[105].endswith("_frame_00105.jpg")
    assert sample.video.folder == tmp_path / "egocentric_color" / sets.EGO_NAME / (
        "2021-09-07-155421/PV"
    )
    numbers = sample.truth.score(sets.motion(pose, to_camera), neutral)
    assert numbers["pa_mpjpe_mm"] < 0.01 and numbers["frames"] == 5
    # the interactee is a woman; the male body equals the neutral one
    assert numbers["mpjpe_mm"] > 10
    male = replace(sample.truth, truth=replace(sample.truth.truth, gender="male"))
    assert male.score(sets.motion(pose, to_camera), neutral)["mpjpe_mm"] < 0.02
    assert sample.track.keypoints.skeleton == BODY25
    # box 0.2 x 200 = 40 px, times 1.2
    torch.testing.assert_close(sample.track.boxes[0], torch.tensor([6.0, -4, 54, 44]))


def test_emdb(tmp_path, bodies, neutral):
    good = np.array([True, True, False, True, True, True])
    pose, camera = sets.write_emdb(tmp_path, good_frames_mask=good)
    bench = open_dataset("emdb", tmp_path, body_models=bodies)
    (item,) = bench.items()
    sample = bench.load(item)
    assert item.name == "P1_09_outdoor_walk" and sample.track.frames.tolist() == [0, 1, 3, 4, 5]
    numbers = sample.truth.score(sets.motion(pose[good], camera), neutral)
    assert numbers["mpjpe_mm"] < 0.01 and numbers["accel_m_s2"] < 0.1 and numbers["frames"] == 5
    torch.testing.assert_close(sample.track.boxes[0], torch.tensor([8.0, 5, 32, 41]))
    with pytest.raises(SemttaError, match="no EMDB track of this split"):
        open_dataset("emdb", tmp_path, body_models=bodies, split="emdb2").items()


# --- frames, boxes ------------------------------------------------------------------------


def test_only_valid_frames_count(tmp_path, bodies, neutral):
    valid = np.array([1, 1, 0, 1, 0, 1, 1, 1])
    truth, camera = sets.write_3dpw(tmp_path, campose_valid=[np.ones(8), valid])
    sample = open_3dpw(tmp_path, bodies).load(open_3dpw(tmp_path, bodies).items()[1])
    assert sample.track.frames.tolist() == [0, 1, 3, 5, 6, 7]
    prediction = sets.motion(truth[1][valid > 0], camera)
    assert sample.truth.score(prediction, neutral)["frames"] == 6
    assert sample.video.names[2] is None and sample.video.names[3] == "image_00003.jpg"


def test_frame_rules_of_the_protocols(tmp_path, bodies):
    figure = sets.figure(8, 18, 4).transpose(0, 2, 1)
    figure[2, 2] = 0  # nothing seen
    figure[4, 2, 2:8] = 0.3  # 6 of 12 limb joints left: not more than six
    figure[5, 2, 2:7] = 0.3  # 7 left
    sets.write_3dpw(tmp_path, poses2d=[figure, figure], campose_valid=[np.ones(8)] * 2)
    frames = {}
    for protocol in ("spin14", "vibe14", "official24"):
        bench = open_3dpw(tmp_path, bodies, protocol=protocol, split="test")
        frames[protocol] = bench.load(bench.items()[0]).track.frames.tolist()
    assert frames["spin14"] == list(range(8))
    assert frames["official24"] == [0, 1, 3, 4, 5, 6, 7]
    assert frames["vibe14"] == [0, 1, 3, 5, 6, 7]


def test_official24_takes_all_three_splits(tmp_path, bodies):
    for split in ("train", "validation", "test"):
        sets.write_3dpw(tmp_path, split=split, images=False)
    assert len(open_3dpw(tmp_path, bodies, protocol="official24").items()) == 6
    assert len(open_3dpw(tmp_path, bodies).items()) == 2


@pytest.mark.parametrize("model_scale", [1.0, 1.1, 1.2])
def test_the_protocols_box_is_enlarged_once_whatever_the_network(tmp_path, bodies, model_scale):
    sets.write_3dpw(tmp_path)
    bench = open_3dpw(tmp_path, bodies).fitted(model_scale, 0.4)
    sample = bench.load(bench.items()[0])
    squares = person_squares(sample.track.boxes, CropSpec(box_scale=model_scale))
    xy = sets.figure(8, 18, 3)[..., :2]
    extent = (xy.max(1) - xy.min(1)).max(1)
    np.testing.assert_allclose(squares[:, 2], 1.2 * extent, rtol=1e-4)
    np.testing.assert_allclose(squares[:, :2], (xy.max(1) + xy.min(1)) / 2, rtol=1e-4)


def test_image_models_read_the_folder(tmp_path, bodies):
    sets.write_3dpw(tmp_path, campose_valid=[np.array([0, 0, 0, 1, 1, 0, 1, 0])] * 2)
    bench = open_3dpw(tmp_path, bodies)
    sample = bench.load(bench.items()[0])
    spec = CropSpec(size=8, box_scale=1.0)
    squares = torch.tensor([[32.0, 24, 20]]).expand(3, 3)
    crops = read_crops(sample.video, sample.track, squares, spec, torch.device("cpu"))
    levels = crops.pixels.float().mean((1, 2, 3)).tolist()
    assert levels == pytest.approx([30, 40, 60], abs=3)
    (tmp_path / "imageFiles/walk_00/image_00004.jpg").unlink()
    with pytest.raises(SemttaError, match="image_00004.jpg' does not exist"):
        read_crops(sample.video, sample.track, squares, spec, torch.device("cpu"))


# --- 2D evidence --------------------------------------------------------------------------


def openpose(folder: Path, frames) -> Path:
    folder.mkdir(parents=True)
    for i, people in enumerate(frames):
        content = {"people": [{"pose_keypoints_2d": p.ravel().tolist()} for p in people]}
        (folder / f"image_{i:05d}_keypoints.json").write_text(json.dumps(content))
    return folder


def test_2d_poses_beside_the_set_are_matched_by_their_box(tmp_path, bodies):
    sets.write_3dpw(tmp_path)
    right, wrong = sets.figure(8, 25, 11), sets.figure(8, 25, 12)
    wrong[..., 0] += 30
    openpose(tmp_path / "op" / "walk_00", [[wrong[t], right[t]][:: 1 if t % 2 else -1]
                                          for t in range(8) if t != 5] )  # fmt: skip
    # frame 5 was left out, so its file holds frame 6: the last frame has nobody
    bench = open_3dpw(tmp_path, bodies, poses2d=tmp_path / "op")
    sample = bench.load(bench.items()[0])
    assert len(sample.track) == 8 and sample.track.keypoints.skeleton == BODY25
    np.testing.assert_allclose(sample.track.keypoints.xy[:5], right[:5, :, :2], rtol=1e-5)
    assert (sample.track.keypoints.conf[7] == 0).all()
    assert "brought by the user" in bench.limits


def test_one_file_per_track_or_sequence(tmp_path, bodies):
    sets.write_3dpw(tmp_path)
    (tmp_path / "poses").mkdir()
    figure = sets.figure(8, 17, 11)
    items = [{"image_id": f"image_{t:05d}.jpg", "keypoints": figure[t].ravel().tolist()}
             for t in range(8)]  # fmt: skip
    (tmp_path / "poses" / "walk_00_p1.json").write_text(json.dumps(items))
    bench = open_3dpw(tmp_path, bodies, poses2d=tmp_path / "poses")
    first, second = bench.items()
    assert bench.load(second).track.keypoints.skeleton == COCO17
    with pytest.raises(SemttaError, match="has no walk_00, walk_00.json or walk_00.npz"):
        bench.load(first)
    with pytest.raises(SemttaError, match="no folder"):
        open_3dpw(tmp_path, bodies, poses2d=tmp_path / "nowhere").load(first)


def test_our_detector_is_matched_and_its_3d_turned(tmp_path, bodies, monkeypatch):
    sets.write_3dpw(tmp_path)
    bench = open_3dpw(tmp_path, bodies, poses2d="detect")
    plain = open_3dpw(tmp_path, bodies).fitted(1.2, 0.4)
    item = plain.items()[0]
    boxes = plain.load(item).track.boxes
    shifted = boxes + torch.tensor([4.0, 2, 4, 2])
    found = Track(
        1, torch.arange(1, 8), torch.arange(1, 8) / 30, shifted[1:],
        Keypoints2D(torch.rand(7, 17, 2), torch.full((7, 17), 0.5), COCO17),
        torch.randn(7, 17, 3), torch.full((7, 17), 0.7),
    )  # fmt: skip
    monkeypatch.setattr(evidence_module, "_detected", lambda images: [found])
    sample = bench.load(item)
    assert (sample.track.keypoints.conf[0] == 0).all() and (sample.track.conf3d[0] == 0).all()
    torch.testing.assert_close(sample.track.keypoints.xy[1:], found.keypoints.xy)
    # the same 3D points in the axes of the camera, from either box
    focal, center = sample.camera.focal, torch.tensor(sample.camera.center)

    def axes(box):
        return ray_rotation(((box[:, :2] + box[:, 2:]) / 2 - center) / focal)[:, None]

    there = (axes(shifted[1:]) @ found.landmarks3d[..., None])[..., 0]
    here = (axes(boxes[1:]) @ sample.track.landmarks3d[1:, ..., None])[..., 0]
    torch.testing.assert_close(here, there, atol=1e-5, rtol=0)


def test_overlap_and_strangers(tmp_path, bodies):
    a, b = torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 0, 3, 2])
    assert float(box_overlap(a, b)) == pytest.approx(1 / 3)
    assert float(box_overlap(a, a + 5)) == 0
    sets.write_3dpw(tmp_path)
    recording = THREEDPW.read(tmp_path, open_3dpw(tmp_path, bodies).items()[0],
                              PROTOCOLS["spin14"])  # fmt: skip
    far = Track(1, torch.arange(8), torch.arange(8) / 30, recording.boxes + 100,
                Keypoints2D(torch.zeros(8, 17, 2), torch.ones(8, 17), COCO17))  # fmt: skip
    assert (match([far], recording).keypoints.conf == 0).all()


def test_labels_from_a_folder_or_one_file(tmp_path, bodies):
    sets.write_3dpw(tmp_path)
    folder = tmp_path / "labels"
    (folder / "walk_00").mkdir(parents=True)
    spans = {"labels": [{"start": 2, "end": 5, "text": "walk"}]}
    (folder / "walk_00" / "labels.json").write_text(json.dumps(spans))
    (folder / "walk_00_p1.json").write_text(json.dumps({"labels": [{"text": "wave"}]}))
    bench = open_3dpw(tmp_path, bodies, labels=folder)
    first, second = bench.items()
    assert (first.label, second.label) == ("walk", "wave")
    assert bench.load(first).labels == [None, None, "walk", "walk", "walk", None, None, None]
    assert bench.load(second).labels == ["wave"] * 8
    assert bench.load(second).wrong_label == "sit on a chair"
    (tmp_path / "texts.json").write_text(json.dumps({"walk_00": "sit down"}))
    bench = open_3dpw(tmp_path, bodies, labels=tmp_path / "texts.json")
    sample = bench.load(bench.items()[1])
    assert sample.labels == ["sit down"] * 8 and sample.wrong_label == "walk"
    unsure = {"labels": [{"text": "wave", "confidence": 0.3}]}
    (folder / "walk_00_p1.json").write_text(json.dumps(unsure))
    bench = open_3dpw(tmp_path, bodies, labels=folder)
    assert bench.items()[1].label is None and bench.load(second).labels == [None] * 8
    assert bench.fitted(1.2, 0.2).load(second).labels == ["wave"] * 8
    late = {"labels": [{"text": "wave", "start": 5, "end": 900}]}
    (folder / "walk_00_p1.json").write_text(json.dumps(late))
    with pytest.raises(SemttaError, match="past the end"):
        bench.load(second)
    bench = open_3dpw(tmp_path, bodies, labels=tmp_path / "texts.json")
    for content, words in (("[1]", "must be an object"), ('{"walk_00": 3}', "must be a text")):
        (tmp_path / "texts.json").write_text(content)
        with pytest.raises(SemttaError, match=words):
            bench.items()


# --- what is missing ----------------------------------------------------------------------


def states(data, root, bodies, protocol=None):
    return {(f.what, f.state) for f in check(data, root, bodies, protocol)}


def test_check_of_a_complete_set(tmp_path, bodies):
    sets.write_emdb(tmp_path)
    table, complete = check_table("emdb", tmp_path, bodies)
    assert not complete  # 1 of 17 sequences
    assert ("emdb1: images", "ok") in states("emdb", tmp_path, bodies)
    sets.write_egobody(tmp_path / "ego")
    table, complete = check_table("egobody", tmp_path / "ego", bodies)
    assert complete and "ego24" in table.title and table.row_count >= 5


def test_check_tells_what_is_missing(tmp_path, bodies):
    sets.write_3dpw(tmp_path)
    found = states("3dpw", tmp_path, bodies)
    assert ("test: annotations", "missing") in found  # 1 of 24
    assert {("test: images", "ok"), ("h36m_regressor", "ok"), ("SMPL male", "ok")} <= found
    (tmp_path / "imageFiles/walk_00/image_00003.jpg").unlink()
    (bodies / "SMPL_FEMALE.npz").unlink()
    (bodies / "J_regressor_h36m.npy").unlink()
    (bodies / "SMPL_to_J19.pkl").unlink()
    (tmp_path / "sequenceFiles/test/broken.pkl").write_bytes(b"\x80\x02}q")
    rows = check("3dpw", tmp_path, bodies)
    found = {(row.what, row.state) for row in rows}
    assert {("test: images", "missing"), ("SMPL female", "missing"),
            ("h36m_regressor", "missing"), ("j19_regressor", "optional")} <= found  # fmt: skip
    assert any("walk_00 (7 of 8)" in row.detail for row in rows)
    assert any("broken.pkl" in row.detail for row in rows)
    assert ("SMPL female", "optional") in states("3dpw", tmp_path, bodies, "vibe14")
    assert ("j19_regressor", "missing") in states("3dpw", tmp_path, bodies, "hmr2_14")


@pytest.mark.parametrize("data", ["3dpw", "3dhp", "egobody", "emdb"])
@pytest.mark.parametrize("there", [False, True])
def test_check_raises_nothing_for_an_empty_or_absent_folder(tmp_path, data, there):
    table, complete = check_table(data, tmp_path if there else tmp_path / "nowhere")
    assert not complete and table.row_count > 3


def test_check_says_which_leg_comes_first_and_refuses_others(tmp_path):
    folder = sets.write_bodies(tmp_path / "right", "right")
    details = {row.what: row for row in check("3dpw", tmp_path, folder)}
    assert "right leg first" in details["h36m_regressor"].detail
    np.save(folder / "J_regressor_h36m.npy", -sets.rows_on(sets.H36M_ROWS))
    details = {row.what: row for row in check("3dpw", tmp_path, folder)}
    assert details["h36m_regressor"].state == "missing"
    assert "right side of body" in details["h36m_regressor"].detail


# --- hostile input ------------------------------------------------------------------------


def test_unknown_names():
    for arguments, words in (
        (("4dpw", "."), "unknown data set '4dpw'; known: 3dpw"),
        (("3dpw", ".", "ego24"), "no protocol 'ego24'"),
    ):
        with pytest.raises(SemttaError, match=words):
            open_dataset(*arguments)
    with pytest.raises(SemttaError, match="no split 'dev'; use train, validation, test"):
        open_dataset("3dpw", ".", split="dev")
    with pytest.raises(SemttaError, match="must be positive"):
        open_dataset("3dpw", ".", model_box_scale=0)


def test_missing_folders_bodies_and_regressors(tmp_path, bodies):
    for data, words in (("3dpw", "sequenceFiles"), ("3dhp", "TS1 ... TS6"),
                        ("egobody", "data_splits.csv"), ("emdb", "_data.pkl")):  # fmt: skip
        with pytest.raises(SemttaError, match="no folder"):
            open_dataset(data, tmp_path / "nowhere", body_models=bodies).items()
        with pytest.raises(SemttaError, match=words):
            open_dataset(data, tmp_path, body_models=bodies).items()
    sets.write_3dpw(tmp_path)
    with pytest.raises(SemttaError, match="needs J_regressor_h36m.npy or"):
        open_dataset("3dpw", tmp_path).items()
    only = sets.write_bodies(tmp_path / "only", genders=("neutral", "male"))
    with pytest.raises(SemttaError, match="no SMPL body for gender 'female'"):
        open_3dpw(tmp_path, only).items()
    assert len(open_3dpw(tmp_path, only, protocol="vibe14").items()) == 2  # neutral only


NAN = np.full((8, 72), np.nan)
BAD_3DPW = {
    "nan": ({"poses": [NAN, NAN]}, "'poses' of person 0 holds NaN"),
    "shape": ({"poses2d": [np.zeros((8, 18, 3))] * 2}, r"'poses2d' .* \(8, 18, 3\), expected"),
    "count": ({"campose_valid": [np.ones(7)] * 2}, "'campose_valid' of person 0 has shape"),
    "text": ({"poses": [["a"] * 8] * 2}, "'poses' of person 0 does not hold numbers"),
    "gender": ({"genders": ["x", "m"]}, "no m or f for person 0"),
    "short": ({"betas": []}, "'betas' has no entry of person 0"),
    "betas": ({"betas": [np.zeros(5)] * 2}, "'betas' of person 0 has shape"),
    "camera": ({"cam_intrinsics": np.eye(4)}, "'cam_intrinsics'"),
    "invisible": ({"poses2d": [np.zeros((8, 3, 18))] * 2}, "person 0 has no 2D joints"),
    "focal": ({"cam_intrinsics": np.zeros((3, 3))}, "walk_00_p0 has the focal length 0"),
    "no frame": ({"campose_valid": [np.zeros(8)] * 2}, "has no frame with campose_valid"),
}


@pytest.mark.parametrize("case", BAD_3DPW)
def test_bad_3dpw(tmp_path, bodies, case):
    changes, words = BAD_3DPW[case]
    sets.write_3dpw(tmp_path, images=False, **changes)
    bench = open_3dpw(tmp_path, bodies)
    with pytest.raises(SemttaError, match=words) as caught:
        bench.load(bench.items()[0])
    assert "walk_00" in str(caught.value)


@pytest.mark.parametrize("case", ["cut", "list", "empty", "nobody", "code", "missing key"])
def test_bad_pickles(tmp_path, bodies, case):
    sets.write_3dpw(tmp_path, images=False)
    file = tmp_path / "sequenceFiles/test/walk_00.pkl"
    evil = type("Evil", (), {"__reduce__": lambda self: (exec, ("raise SystemExit",))})
    contents = {
        "cut": file.read_bytes()[:500], "list": pickle.dumps([1, 2]), "empty": b"",
        "nobody": pickle.dumps({"poses": []}), "code": pickle.dumps({"poses": evil()}),
        "missing key": pickle.dumps({"sequence": "walk"}),
    }  # fmt: skip
    file.write_bytes(contents[case])
    with pytest.raises(SemttaError, match="walk_00.pkl"):
        open_3dpw(tmp_path, bodies).items()


@pytest.fixture(scope="module")
def whole_sets(tmp_path_factory):
    """Data sets whose files are damaged one at a time."""
    root = tmp_path_factory.mktemp("sets")
    sets.write_3dpw(root / "3dpw", images=False)
    sets.write_egobody_short(root / "egobody")
    files = {
        "3dpw": root / "3dpw/sequenceFiles/test/walk_00.pkl",
        "egobody": root / "egobody/annotation_egocentric_smpl_npz/egocapture_test_smpl.npz",
    }
    if HAS_H5PY:
        sets.write_3dhp(root / "3dhp")
        files["3dhp"] = next((root / "3dhp").rglob("annot_data.mat"))
    return {name: (root / name, file, file.read_bytes()) for name, file in files.items()}


@hostile
@given(st.data())
def test_a_damaged_file_of_a_set_is_a_finding_and_one_sentence(whole_sets, data):
    name = data.draw(st.sampled_from(sorted(whole_sets)))
    root, file, content = whole_sets[name]
    file.write_bytes(data.draw(flipped(content)))
    try:
        assert all(row.detail.isprintable() for row in check(name, root))
        bench = open_dataset(name, root)
        with reading(root, "as FolderBenchmark does"):
            items = bench.data.items(root, bench.splits[0])
            for item in items:
                bench.data.read(root, item, bench.rules)
    except SemttaError as error:
        assert str(error).isprintable()
    finally:
        file.write_bytes(content)


def test_lists_that_a_pickle_repeats_are_not_unrolled():
    laughs = [0.0] * 10
    for _ in range(9):
        laughs = [laughs] * 10
    with pytest.raises(SemttaError, match="does not hold numbers"):
        numbers(laughs, (None,), "x")


def test_an_array_outside_of_the_file_is_not_read(tmp_path, bodies):
    h5py = pytest.importorskip("h5py")
    sets.write_3dhp(tmp_path)
    file = next(tmp_path.rglob("annot_data.mat"))
    with h5py.File(file, "r+") as content:
        del content["annot2"]
        content["annot2"] = h5py.ExternalLink("other.h5", "annot2")
    bench = open_dataset("3dhp", tmp_path, body_models=bodies)
    with pytest.raises(SemttaError, match="annot2"):
        bench.load(bench.items()[0])


def test_check_reads_what_a_run_would_read(tmp_path, bodies):
    sets.write_3dpw(tmp_path, poses=[np.zeros((8, 72)), np.zeros((8, 66))])
    rows = check("3dpw", tmp_path, bodies)
    assert any("'poses' of person 1 has shape (8, 66)" in row.detail for row in rows)
    sets.write_3dpw(tmp_path, genders=["f", "x"])
    assert any("no m or f for person 1" in row.detail for row in check("3dpw", tmp_path, bodies))
    sets.write_egobody_short(tmp_path / "ego")
    file = tmp_path / "ego" / "annotation_egocentric_smpl_npz" / "egocapture_test_smpl.npz"
    with np.load(file) as content:
        np.savez(file, **{**content, "gender": ["f"]})
    rows = check("egobody", tmp_path / "ego", bodies)
    assert any("'gender' has 1 entries, expected 5" in row.detail for row in rows)


def test_damaged_bodies_and_regressors_end_the_run_at_once(tmp_path, bodies):
    sets.write_3dpw(tmp_path)
    for name, what in (("SMPL_FEMALE.npz", "SMPL female"), ("J_regressor_h36m.npy", None)):
        whole = (bodies / name).read_bytes()
        (bodies / name).write_bytes(b"PK")
        with pytest.raises(SemttaError, match=name):
            open_3dpw(tmp_path, bodies).items()
        if what:
            rows = {row.what: row for row in check("3dpw", tmp_path, bodies)}
            assert rows[what].state == "missing" and name in rows[what].detail
        (bodies / name).write_bytes(whole)
    assert len(open_3dpw(tmp_path, bodies).items()) == 2


def test_a_missing_folder_of_2d_poses_ends_the_run_at_once(tmp_path, bodies):
    sets.write_3dpw(tmp_path)
    with pytest.raises(SemttaError, match="poses2d: there is no folder"):
        open_3dpw(tmp_path, bodies, poses2d=tmp_path / "nowhere").items()


@needs_h5py
def test_bad_3dhp(tmp_path, bodies):
    bench = open_dataset("3dhp", tmp_path, body_models=bodies)
    for changes, words in (
        ({"annot2": np.zeros((6, 1, 17, 3))}, "'annot2' has shape"),
        ({"annot3": None}, "cannot be read: it has no 'annot3'"),
        ({"annot3": np.full((6, 1, 17, 3), np.nan)}, "'annot3' holds NaN"),
        ({"annot3": np.zeros((6, 1, 17, 3))}, "not in front of the camera"),
        ({"valid_frame": np.zeros((6, 1))}, "has no frame with valid_frame"),
    ):
        sets.write_3dhp(tmp_path, **changes)
        with pytest.raises(SemttaError, match=words):
            bench.load(bench.items()[0])
    (tmp_path / "mpi_inf_3dhp_test_set/TS1/annot_data.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(SemttaError, match="annot_data.mat.* cannot be read"):
        bench.load(bench.items()[0])


def test_3dhp_without_h5py_says_what_to_install(tmp_path, bodies, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    folder = tmp_path / "mpi_inf_3dhp_test_set" / "TS1"
    folder.mkdir(parents=True)
    (folder / "annot_data.mat").write_bytes(b"")
    bench = open_dataset("3dhp", tmp_path, body_models=bodies)
    with pytest.raises(SemttaError, match=r"pip install 'semtta\[bench\]'"):
        bench.load(bench.items()[0])
    assert ("package h5py", "missing") in states("3dhp", tmp_path, bodies)
    table, complete = check_table("3dhp", tmp_path, bodies)
    printed = io.StringIO()
    Console(file=printed, width=200).print(table)
    assert not complete and "semtta[bench]" in printed.getvalue()


def test_bad_egobody(tmp_path, bodies):
    sets.write_egobody(tmp_path)
    bench = open_dataset("egobody", tmp_path, body_models=bodies)
    (item,) = bench.items()
    date = tmp_path / "egocentric_color" / sets.EGO_NAME / "2021-09-07-155421"
    calibration = tmp_path / "calibrations" / sets.EGO_NAME / "cal_trans/holo_to_kinect12.json"
    bodies_of = tmp_path / "smpl_interactee_test" / sets.EGO_NAME / "body_idx_1" / "results"
    for file, content, words in (
        (bodies_of / "frame_00101" / "000.pkl", b"\x80", "EgoBody body .*cannot be read"),
        (date / "2021-09-07-155421_pv.txt", b"1,2,3,4\n5,6\n", "file of camera poses"),
        (calibration, b'{"trans": [[2, 0, 0, 0]]}', "'trans' has shape"),
        (calibration, json.dumps({"trans": (2 * np.eye(4)).tolist()}).encode(), "no rigid motion"),
        (date / "keypoints.npz", b"PK", "EgoBody keypoint file .*cannot be read"),
        (tmp_path / "data_info_release.csv", b"recording_name\n", "no usable row"),
    ):
        before = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(SemttaError, match=words):
            bench.load(item)
        file.write_bytes(before)
    # a frame without a body is left out, without bodies there is no track
    (bodies_of / "frame_00101" / "000.pkl").unlink()
    assert bench.load(item).track.frames.tolist() == [100, 102, 105, 106]
    for frame in sets.EGO_FRAMES:
        (bodies_of / f"frame_{frame:05d}" / "000.pkl").unlink(missing_ok=True)
    with pytest.raises(SemttaError, match="no frame with image, camera and body"):
        bench.load(item)


def test_bad_emdb(tmp_path, bodies):
    bench = open_dataset("emdb", tmp_path, body_models=bodies)
    for changes, words in (
        ({"gender": "robot"}, "'gender' is 'robot'"),
        ({"kp2d": np.zeros((6, 17, 2))}, "'kp2d' has shape"),
        ({"good_frames_mask": np.zeros(6, bool)}, "has no frame with good_frames"),
        ({"smpl": {}}, "has no 'betas'"),
        ({"camera": None}, "has no 'width'"),
        ({"emdb1": np.array([True, False])}, "'emdb1' has shape"),
    ):
        sets.write_emdb(tmp_path, **changes)
        with pytest.raises(SemttaError, match=words):
            bench.load(bench.items()[0])


def test_nan_in_frames_that_do_not_count_is_no_obstacle(tmp_path, bodies):
    good = np.array([True, False, True, True, True, True])
    kp2d = sets.figure(6, 24)[..., :2]
    kp2d[1] = np.nan
    sets.write_emdb(tmp_path, good_frames_mask=good, kp2d=kp2d)
    bench = open_dataset("emdb", tmp_path, body_models=bodies)
    assert bench.load(bench.items()[0]).track.frames.tolist() == [0, 2, 3, 4, 5]
    sets.write_emdb(tmp_path, kp2d=kp2d)  # now it counts
    with pytest.raises(SemttaError, match="'kp2d' holds NaN"):
        bench.load(bench.items()[0])


def test_frames_of_a_sample_are_read_only_where_they_count(tmp_path, bodies):
    sets.write_3dpw(tmp_path, campose_valid=[np.array([0, 1, 1, 1, 1, 1, 1, 1])] * 2)
    bench = open_3dpw(tmp_path, bodies)
    images = [image for _, _, image in read_frames(bench.load(bench.items()[0]).video)]
    assert images[0].max() == 0 and images[7].mean() == pytest.approx(70, abs=3)


def test_a_track_goes_through_adaptation_and_is_measured(tmp_path, bodies, neutral):
    sets.write_3dpw(tmp_path)
    bench = open_3dpw(tmp_path, bodies)
    sample = bench.load(bench.items()[0])
    adapter = Adapter(config=load_config(overrides=["strategy=frozen", "device=cpu"]), body=neutral)
    result = adapter.adapt(sample.track, sample.camera, sample.labels, video=sample.video)
    numbers = sample.truth.score(result.adapted, adapter.body.cpu())
    assert numbers["frames"] == 8 and 0 < numbers["pa_mpjpe_mm"] < numbers["mpjpe_mm"]
    assert result.provenance["video"]["name"] == "walk_00"
