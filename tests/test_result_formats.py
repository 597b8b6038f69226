"""Other programs' results: every layout is recognised by its content and read as it was meant."""

import bz2
import gzip
import lzma
import zlib

import numpy as np
import pytest
import result_files as files
import torch
from result_files import FOCAL, HEIGHT, WIDTH, person

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.hmr.results import FORMATS, read_result
from semtta.hmr.results.sam3d import _PLACES, SKELETON

A, B = person(seed=0), person(seed=1, frames=3, first=2)
BARE = person(seed=0, hands=False)
CAMERA = Camera(FOCAL, (WIDTH / 2, HEIGHT / 2))
# name -> writer, people who are in the file (hands at rest where the body has none), format
WRITTEN = {
    "gvhmr": (lambda d: files.gvhmr(d / "a.bin", BARE), [BARE], "gvhmr"),
    "wham": (lambda d: files.wham(d / "a.bin", {0: A, 7: B}), [A, B], "wham"),
    "wham api": (lambda d: files.wham_api(d / "a.bin", A), [A], "wham"),
    "phalp": (lambda d: files.phalp(d / "a.bin", {3: A, 5: B}), [A, B], "phalp"),
    "tram": (lambda d: files.tram(d / "t", A), [A], "tram"),
    "prompthmr": (lambda d: files.prompthmr(d / "a.bin", {1: BARE, 2: person(
        seed=1, frames=3, first=2, hands=False)}, 6), [BARE, person(
            seed=1, frames=3, first=2, hands=False)], "prompthmr"),
    "vibe": (lambda d: files.vibe(d / "a.bin", {1: A, 2: B}), [A, B], "vibe"),
    "pare": (lambda d: files.vibe(d / "a.bin", {1: A}, matrices=True), [A], "vibe"),
    "romp": (lambda d: files.romp(d / "a.npz", {4: A, 6: B}), [A, B], "romp"),
    "romp without -t": (lambda d: files.romp(d / "a.npz", {4: A}, ids=False), [A], "romp"),
    "cliff": (lambda d: files.cliff(d / "a.npz", {0: A, 1: B}, 6), [A, B], "cliff"),
    "glamr": (lambda d: files.glamr(d / "a.bin", B, 6), [B], "glamr"),
    "own": (lambda d: files.own(d / "a.npz", A), [A], "own"),
    "amass": (lambda d: files.amass(d / "a.npz", BARE), [BARE], "amass"),
}  # fmt: skip
WITH_WORLD = ("gvhmr", "wham", "wham api", "tram", "prompthmr", "glamr")
WITHOUT_PLACE = ("wham api", "amass")
WITH_FOCAL = ("gvhmr", "tram", "prompthmr", "glamr", "own")


def close(found, true, within=2e-4):
    assert torch.is_tensor(found)
    assert tuple(found.shape) == np.shape(true)
    assert np.abs(found.numpy() - true).max() < within


@pytest.mark.parametrize("name", WRITTEN)
def test_motion_frames_and_people(tmp_path, name):
    write, people, kind = WRITTEN[name]
    result = read_result(write(tmp_path), video_frames=6)
    assert result.format == kind
    assert [track.id for track in result.tracks] == list(range(1, len(people) + 1))
    for track, true in zip(result.tracks, people):
        assert track.frames.tolist() == true.frames.tolist()
        close(track.rotmats, true.rotmats)
        close(track.betas, true.betas)
        if name not in WITHOUT_PLACE:
            close(track.translation(CAMERA), true.trans, 2e-3)
        assert (track.world is not None) == (name in (*WITH_WORLD, "amass"))


@pytest.mark.parametrize("name", WITH_WORLD)
def test_world_motion(tmp_path, name):
    write, people, _ = WRITTEN[name]
    for track, true in zip(read_result(write(tmp_path)).tracks, people):
        close(track.world.orient, true.world_orient)
        if name == "glamr":  # its translation is the pelvis itself
            pelvis = np.einsum("tij,tj->ti", true.turn, true.trans) + true.shift
            close(track.world.trans, pelvis)
        else:
            close(track.world.trans, true.world_trans, 5e-3)


@pytest.mark.parametrize("name", WITH_FOCAL)
def test_intrinsics(tmp_path, name):
    write, people, _ = WRITTEN[name]
    result = read_result(write(tmp_path))
    for track, true in zip(result.tracks, people):
        assert track.intrinsics.shape == (len(true.frames), 3, 3)
        assert (track.intrinsics[:, 0, 0] == FOCAL).all()
        assert track.camera(1, 1).focal == FOCAL
    assert result.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("name", ["vibe", "romp", "phalp"])
def test_the_picture_follows_from_weak_perspectives(tmp_path, name):
    size = read_result(WRITTEN[name][0](tmp_path)).size
    assert np.allclose(size, (WIDTH, HEIGHT), atol=0.5)


def test_smplx_is_said_and_its_shape_held_out(tmp_path):
    for name in ("gvhmr", "prompthmr"):
        result = read_result(WRITTEN[name][0](tmp_path))
        track = result.tracks[0]
        assert track.smplx and any("SMPL-X" in remark for remark in result.remarks)
        assert (track.rotmats[:, 22:] == torch.eye(3)).all()
        assert not track.shape().any() and track.shape(smplx_as_smpl=True).any()
    assert not read_result(WRITTEN["wham"][0](tmp_path)).tracks[0].smplx


def test_detections_in_the_file(tmp_path):
    points = read_result(WRITTEN["prompthmr"][0](tmp_path)).tracks[0].keypoints
    assert points.skeleton.name == "body25" and (points.xy == 50).all()
    points = read_result(WRITTEN["own"][0](tmp_path)).tracks[0].keypoints
    assert points.skeleton.joints == ("left_knee", "right_knee") and (points.conf == 0.5).all()
    assert read_result(WRITTEN["phalp"][0](tmp_path)).tracks[0].keypoints is None


def test_one_person_or_the_one_that_is_named(tmp_path):
    result = read_result(WRITTEN["wham"][0](tmp_path))
    assert result.track(2).key == 7
    with pytest.raises(SemttaError, match="several people.*--track"):
        result.track()
    with pytest.raises(SemttaError, match="no person 9"):
        result.track(9)
    assert read_result(WRITTEN["gvhmr"][0](tmp_path)).track().id == 1


def test_people_without_identity_are_followed(tmp_path):
    result = read_result(files.romp(tmp_path / "a.npz", {4: A, 6: B}, ids=False))
    assert [track.frames.tolist() for track in result.tracks] == [list(range(6)), [2, 3, 4]]
    assert any("who is who" in remark for remark in result.remarks)


def test_a_folder_of_own_tracks(tmp_path):
    for number, who in ((1, A), (4, B)):
        files.own(tmp_path / f"track-{number:02d}.npz", who, number)
    (tmp_path / "config.yaml").write_text("body: {name: smpl, gender: neutral}")
    result = read_result(tmp_path)
    assert [track.id for track in result.tracks] == [1, 4] and not result.remarks
    close(result.track(4).trans, B.trans)
    assert result.track(1).rest == pytest.approx(tuple(files.PELVIS))
    assert len(result.sha256) == 64
    files.own(tmp_path / "track-07.npz", B, 4)
    with pytest.raises(SemttaError, match="two of one person"):
        read_result(tmp_path)


def test_gaps_and_filled_frames(tmp_path):
    gappy = person(frames=4)
    gappy.frames[2:] += 5
    track = read_result(files.wham(tmp_path / "a.pkl", {0: gappy})).track()
    assert track.frames.tolist() == [0, 1, 7, 8]
    remarks = read_result(WRITTEN["glamr"][0](tmp_path)).remarks
    assert any("1 of its frames" in remark for remark in remarks)
    phalp = read_result(WRITTEN["phalp"][0](tmp_path))
    assert any("6 entries" in remark for remark in phalp.remarks)


def test_a_camera_that_is_not_there_is_said(tmp_path):
    path = files.tram(tmp_path / "t", A)
    (tmp_path / "t" / "camera.npy").unlink()
    result = read_result(path)
    assert result.track().world is None and result.track().focal is None
    assert any("camera.npy" in remark for remark in result.remarks)


def test_files_of_another_video(tmp_path):
    path = WRITTEN["gvhmr"][0](tmp_path)
    for frames in (5, 12):
        with pytest.raises(SemttaError, match="another video.*GVHMR"):
            read_result(path, video_frames=frames)
    with pytest.raises(SemttaError, match="frames up to 5, the video only 4"):
        read_result(WRITTEN["vibe"][0](tmp_path), video_frames=4)
    assert read_result(WRITTEN["vibe"][0](tmp_path), video_frames=400)


def test_somebody_on_the_head_is_said(tmp_path):
    over = person()
    over.rotmats[:, 0] = files.TURN @ over.rotmats[:, 0]
    result = read_result(files.wham(tmp_path / "a.pkl", {0: over}))
    assert any("upside down" in remark for remark in result.remarks)
    over.trans[:2, 2] = -1
    result = read_result(files.wham(tmp_path / "a.pkl", {0: over}))
    assert any("behind the camera in 2 of 6" in remark for remark in result.remarks)


@pytest.mark.parametrize("name", ["gvhmr", "wham", "vibe", "glamr"])
def test_the_pelvis_is_the_same_point_on_every_body(tmp_path, name):
    write, people, _ = WRITTEN[name]
    track = read_result(write(tmp_path)).tracks[0]
    rest = torch.tensor([0.1, -0.2, 0.3])
    trans = track.trans_for(rest, CAMERA)
    close(track.trans_from(trans, rest), people[0].trans, 2e-3)
    assert torch.allclose(trans + rest, track.pelvis(CAMERA), atol=1e-6)
    height = {"gvhmr": -0.3514, "glamr": 0.0}.get(name, -0.2233)  # below each body's origin
    assert float((track.pelvis(CAMERA) - track.translation(CAMERA))[0, 1]) == pytest.approx(height)


def test_compressed_pickles(tmp_path):
    path = WRITTEN["wham"][0](tmp_path)
    plain = path.read_bytes()
    for pack in (zlib.compress, gzip.compress, bz2.compress, lzma.compress):
        path.write_bytes(pack(plain))
        assert len(read_result(path).tracks) == 2


def mhr(rotmats, trans):
    """(T, 70, 3) where the body's own landmarks stand for MHR's, the fingers at the wrists."""
    body = load_body("cc0")
    pose = torch.from_numpy(rotmats).float()
    found = body.landmarks(pose, torch.zeros(len(pose), 10), SKELETON)
    found = found + torch.tensor(trans)[:, None]
    points = found[:, -1:].repeat(1, 70, 1).double()
    points[:, list(_PLACES.values())] = found.double()
    return points.numpy()


@pytest.mark.parametrize("layout", ["one npz", "frames in an npz", "lists in a pickle"])
def test_a_body_fitted_to_sam3d(tmp_path, monkeypatch, layout):
    count = 1 if layout == "one npz" else 3
    near = 0.025
    if layout != "lists in a pickle":  # whether it is read, not how well it is fitted
        monkeypatch.setattr("semtta.hmr.results.fit._STEPS", 25)
        near = 0.12
    true = person(frames=count, seed=3)
    trunk = [3, 6, 9, 10, 11, 12, 13, 14, 15, 22, 23]  # of which 70 joints say little
    true.rotmats[:, trunk] = files.tilted(true.rotmats[:, trunk], 0.3)
    rows = [files.sam3d_row(p) for p in mhr(true.rotmats, true.trans.astype(np.float32))]
    path = tmp_path / "a.out"
    if layout == "one npz":
        with open(path, "wb") as file:
            np.savez(file, **{k: v for k, v in rows[0].items() if v is not None})
    elif layout == "frames in an npz":
        with open(path, "wb") as file:
            np.savez(file, **{k: np.stack([row[k] for row in rows])
                              for k in rows[0] if k != "mask"})  # fmt: skip
    else:
        files.dumped(path, [[row] for row in rows])
    result = read_result(path)
    track = result.track()
    assert result.format == "sam3d" and track.frames.tolist() == list(range(count))
    body = load_body("cc0")
    joints = body.joints(track.rotmats, track.betas) + track.trans[:, None]
    wanted = body.joints(torch.from_numpy(true.rotmats).float(), torch.zeros(count, 10))
    wanted = wanted + torch.from_numpy(true.trans).float()[:, None]
    assert (joints - wanted).norm(dim=-1).mean() < near
    assert np.allclose(track.center.numpy(), [WIDTH / 2, HEIGHT / 2], atol=0.1)
    assert any("MHR" in remark for remark in result.remarks)


def test_every_format_says_its_name():
    assert len({module.TITLE for module in FORMATS.values()}) == len(FORMATS)
