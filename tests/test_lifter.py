"""The embedded regressor: features over time, prediction, adaptation scopes, shipped weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.geometry import (
    Camera,
    full_translation,
    mirror_pose,
    procrustes_align,
    project,
    ray_rotation,
    root_align,
    square_boxes,
)
from semtta.hmr import features as features_module
from semtta.hmr.base import Batch
from semtta.hmr.features import (
    FEATURES,
    OFFSETS,
    lifter_features,
    ray_side,
    window_index,
)
from semtta.hmr.lifter import Lifter, LifterSettings, load_lifter, save_lifter
from semtta.keypoints import Keypoints2D, Track
from semtta.shipped import asset
from semtta.skeletons import BODY25, BODY27, LIMB12

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tools are not installed

from tools.training.landmark_noise import BROAD, NoiseModel  # noqa: E402
from tools.training.synthetic import BROAD_VIEW, MotionPool, Synthesizer  # noqa: E402

CAMERA = Camera(1000.0, (500.0, 400.0))
LIMBS = BODY27.indices(LIMB12.joints)
HIPS = BODY27.indices(("left_hip", "right_hip"))
SMALL = LifterSettings(embed=32, width=48, blocks=2)


def make_track(points: torch.Tensor, times: torch.Tensor | None = None) -> Track:
    """A perfect detector's track of camera-frame landmarks (T, 27, 3)."""
    count = len(points)
    xy = project(points, CAMERA.focal, torch.tensor(CAMERA.center))
    low, high = xy.amin(1), xy.amax(1)
    margin = 0.05 * (high - low)
    return Track(
        id=1,
        frames=torch.arange(count),
        times=torch.arange(count) / 30 if times is None else times,
        boxes=torch.cat((low - margin, high + margin), dim=-1),
        keypoints=Keypoints2D(xy, torch.ones(count, 27), BODY27),
        landmarks3d=root_align(points, HIPS),
        conf3d=torch.ones(count, 27),
    )


def walking(body, frames: int = 45) -> torch.Tensor:
    """(T, 27, 3) a person who walks on the spot, three metres away, seen half from the side."""
    phase = torch.arange(frames) / 30 * 2 * np.pi * 0.9
    angles = torch.zeros(frames, 24, 3)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        hip, knee = (1, 4) if side == "left" else (2, 5)
        shoulder, elbow = (16, 18) if side == "left" else (17, 19)
        swing = sign * torch.sin(phase)
        angles[:, hip, 0] = -0.45 * swing
        bend = torch.sin(phase + (0 if sign > 0 else np.pi) + 1.2).clamp_min(0)
        angles[:, knee, 0] = 0.15 + 0.8 * bend
        angles[:, shoulder, 2] = -sign * 1.25
        angles[:, elbow, 1] = -sign * 0.4
    rotmats = roma.rotvec_to_rotmat(angles)
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    turn = turn @ roma.rotvec_to_rotmat(torch.tensor([0.0, 0.8, 0.0]))
    rotmats[:, 0] = turn @ rotmats[:, 0]
    points = body.landmarks(rotmats, torch.zeros(frames, 10), BODY27)
    return points + torch.tensor([0.3, 0.1, 3.5])


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def track(body) -> Track:
    return make_track(walking(body))


def predict(model, inputs):
    return model(Batch(torch.arange(len(inputs)), inputs))


def test_features_made_block_by_block_are_those_of_all_frames(track, monkeypatch):
    whole = lifter_features(track, CAMERA)
    monkeypatch.setattr(features_module, "_BLOCK", 7)
    assert len(whole) > 14 and torch.equal(lifter_features(track, CAMERA), whole)


def test_features_have_one_row_per_frame_and_do_not_depend_on_place_in_image(track):
    features = lifter_features(track, CAMERA)
    assert features.shape == (len(track), len(OFFSETS), FEATURES)
    moved = Camera(CAMERA.focal, (CAMERA.center[0] + 5, CAMERA.center[1] - 7))
    shift = torch.tensor([5.0, -7.0])
    same = Track(
        1, track.frames, track.times, track.boxes + shift.repeat(2),
        Keypoints2D(track.keypoints.xy + shift, track.keypoints.conf, BODY27),
        track.landmarks3d, track.conf3d,
    )  # fmt: skip
    assert torch.allclose(lifter_features(same, moved), features, atol=1e-4)


def test_windows_are_seconds_not_frames():
    slow, fast = torch.arange(60) / 30, torch.arange(120) / 60
    index_slow, offset_slow, present_slow = window_index(slow)
    index_fast, offset_fast, present_fast = window_index(fast)
    assert (index_fast[40] == 2 * index_slow[20]).all()
    assert torch.allclose(offset_fast[40], offset_slow[20], atol=1e-6)
    assert present_slow[20].all() and present_fast[40].all()
    assert not present_slow[0][torch.tensor(OFFSETS) < 0].any()  # nothing before the first frame


def test_irregular_times_and_gaps():
    times = torch.tensor([0.0, 0.03, 0.07, 0.5, 0.55, 0.6, 3.0])
    index, offset, present = window_index(times)
    assert (index[:, 0] == torch.arange(7)).all() and present[:, 0].all()
    assert torch.allclose(times[index] - times[:, None], offset, atol=1e-6)
    assert present[6].sum() == 1  # alone in its neighbourhood
    wanted = torch.tensor(OFFSETS)
    assert ((offset - wanted).abs() <= wanted.abs() / 2 + 1e-3)[present].all()


def test_one_frame_track(track):
    single = make_track(project_back(track)[:1])
    features = lifter_features(single, CAMERA)
    prediction = predict(load_lifter(asset("hmr/lifter.pt")), features)
    assert features.shape[0] == 1 and torch.isfinite(prediction.rotmats).all()


def project_back(track: Track) -> torch.Tensor:
    return track.landmarks3d + torch.tensor([0.0, 0.0, 3.5])


def test_ray_rotation_turns_the_axis_onto_the_ray():
    center = torch.tensor([[0.0, 0.0], [0.4, -0.3], [-1.5, 2.0]])
    turn = ray_rotation(center)
    eye = torch.eye(3).expand_as(turn)
    assert torch.allclose(turn @ turn.mT, eye, atol=1e-6)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(3), atol=1e-6)
    ray = torch.nn.functional.normalize(torch.cat((center, torch.ones(3, 1)), dim=1), dim=1)
    assert torch.allclose(turn[..., 2], ray, atol=1e-6)


def test_untrained_output_is_an_upright_person_in_the_box(track, body):
    torch.manual_seed(0)
    prediction = predict(Lifter(SMALL), lifter_features(track, CAMERA))
    boxes = square_boxes(track.boxes, Lifter.crop.box_scale)
    place = full_translation(prediction.cam, boxes, CAMERA)
    joints = body.joints(prediction.rotmats, prediction.betas) + place[:, None]
    xy = project(joints, CAMERA.focal, torch.tensor(CAMERA.center))
    assert (joints[..., 2] > 0.5).all()
    offset = (xy.mean(1) - boxes[:, :2]).abs() / boxes[:, 2:]
    assert (offset < 0.25).all()
    head, foot = xy[:, 15, 1], xy[:, 10, 1]
    assert (foot > head).all()


def test_everything_missing_is_finite(track):
    count = len(track)
    blind = Track(
        1, track.frames, track.times, track.boxes,
        Keypoints2D(torch.zeros(count, 27, 2), torch.zeros(count, 27), BODY27),
    )  # fmt: skip
    prediction = predict(load_lifter(asset("hmr/lifter.pt")), lifter_features(blind, CAMERA))
    for value in (prediction.rotmats, prediction.betas, prediction.cam):
        assert torch.isfinite(value).all()


def test_missing_numbers_are_never_read(track):
    conf, conf3d = track.keypoints.conf.clone(), track.conf3d.clone()
    conf[3:20, 8], conf3d[5:9] = 0, 0
    xy, space = track.keypoints.xy.clone(), track.landmarks3d.clone()

    def features(xy, space):
        keypoints = Keypoints2D(xy, conf, BODY27)
        given = Track(1, track.frames, track.times, track.boxes, keypoints, space, conf3d)
        return lifter_features(given, CAMERA)

    reference = features(xy, space)
    xy, space = xy.clone(), space.clone()
    xy[3:20, 8], space[5:9] = 1e6, float("nan")
    assert torch.equal(features(xy, space), reference)


def test_other_skeletons_are_matched_by_name(track):
    evidence = track.keypoints.to_skeleton(BODY25)
    other = Track(1, track.frames, track.times, track.boxes, evidence)
    features = lifter_features(other, CAMERA)
    full = lifter_features(track, CAMERA)
    wrist, pinky = BODY27.index("left_wrist"), BODY27.index("left_pinky")
    assert torch.equal(features[..., 2 * wrist], full[..., 2 * wrist])
    assert (features[..., 2 * pinky] == 0).all()


def test_wrong_3d_shape_is_a_clear_error(track):
    with pytest.raises(SemttaError, match="3D landmarks"):
        space = torch.zeros(45, 17, 3)
        given = Track(1, track.frames, track.times, track.boxes, track.keypoints, space)
        lifter_features(given, CAMERA)


def test_walk_is_recovered_by_the_shipped_weights(track, body):
    model = load_lifter(asset("hmr/lifter.pt"))
    with torch.no_grad():
        prediction = predict(model, lifter_features(track, CAMERA))
    points = body.landmarks(prediction.rotmats, prediction.betas, BODY27)
    points = root_align(points, HIPS)[:, LIMBS]
    truth = track.landmarks3d[:, LIMBS]
    error = 1000 * (points - truth).norm(dim=-1).mean()
    aligned = 1000 * (procrustes_align(points, truth) - truth).norm(dim=-1).mean()
    assert error < 40 and aligned < 32
    boxes = square_boxes(track.boxes, model.crop.box_scale)
    place = full_translation(prediction.cam, boxes, CAMERA)
    assert ((place[:, 2] - 3.5).abs() < 0.6).all()


def test_narrow_weights_are_shipped_and_differ(track):
    features = lifter_features(track, CAMERA)
    broad, narrow = (load_lifter(asset(f"hmr/lifter{n}.pt")) for n in ("", "_narrow"))
    assert narrow.settings == broad.settings and narrow.sha256 != broad.sha256
    with torch.no_grad():
        one, two = (predict(m, features).rotmats for m in (broad, narrow))
    angle = torch.rad2deg(roma.rotmat_geodesic_distance(one[:, 1:20], two[:, 1:20])).mean()
    assert 0.5 < angle < 30  # both know how to walk


def test_mirrored_person_gives_about_the_mirrored_pose(track):
    """Mirror the image about the optical axis and exchange left and right."""
    centered = Camera(CAMERA.focal, (500.0, 400.0))
    flip = list(BODY27.flip)
    xy = track.keypoints.xy[:, flip] * torch.tensor([-1.0, 1.0]) + torch.tensor([1000.0, 0.0])
    x0, y0, x1, y1 = track.boxes.unbind(1)
    boxes = torch.stack((1000 - x1, y0, 1000 - x0, y1), dim=1)
    mirrored = Track(
        1, track.frames, track.times, boxes, Keypoints2D(xy, track.keypoints.conf, BODY27),
        track.landmarks3d[:, flip] * torch.tensor([-1.0, 1.0, 1.0]), track.conf3d,
    )  # fmt: skip
    model = load_lifter(asset("hmr/lifter.pt"))
    with torch.no_grad():
        one = predict(model, lifter_features(track, centered)).rotmats
        two = mirror_pose(predict(model, lifter_features(mirrored, centered)).rotmats)
    assert torch.rad2deg(roma.rotmat_geodesic_distance(one[:, :20], two[:, :20])).mean() < 10


def test_save_and_load(tmp_path: Path, track):
    model = Lifter(SMALL)
    save_lifter(model, tmp_path / "small.pt")
    loaded = load_lifter(tmp_path / "small.pt")
    assert loaded.settings == SMALL and len(loaded.sha256) == 64
    features = lifter_features(track, CAMERA)
    betas, expected = predict(loaded, features).betas, predict(model, features).betas
    assert torch.allclose(betas, expected, atol=2e-2)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None, "other", "short", "nan"])
def test_bad_files_are_clear_errors(tmp_path: Path, content):
    path = tmp_path / "bad.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "other":
        torch.save({"weights": {}}, path)
    elif content == "short":
        save_lifter(Lifter(SMALL), path)
        path.write_bytes(path.read_bytes()[:3000])
    elif content == "nan":
        model = Lifter(SMALL)
        torch.nn.init.constant_(model.head.bias, float("nan"))
        save_lifter(model, path)
    with pytest.raises(SemttaError, match="bad.pt"):
        load_lifter(path)


def test_a_checkpoint_of_another_format_is_refused_in_one_sentence(tmp_path: Path):
    path = tmp_path / "old.pt"
    save_lifter(Lifter(SMALL), path)
    content = torch.load(path, weights_only=True)
    torch.save(content | {"format": 1}, path)
    with pytest.raises(SemttaError, match="another version") as caught:
        load_lifter(path)
    assert str(caught.value).count(". ") == 0


def test_depth_that_the_detector_saw_passes_an_untrained_network(body, track):
    torch.manual_seed(0)
    with torch.no_grad():
        prediction = predict(Lifter(SMALL), lifter_features(track, CAMERA))
    points = body.landmarks(prediction.rotmats, prediction.betas, BODY27)

    def bend(points: torch.Tensor) -> torch.Tensor:
        hip, knee, ankle = (points[:, BODY27.index(f"left_{n}")] for n in ("hip", "knee", "ankle"))
        return torch.cosine_similarity(knee - hip, ankle - knee, dim=-1).acos()

    shown, said = bend(track.landmarks3d), bend(points)
    assert shown.max() > 0.8 and said.max() > 0.75 * shown.max()
    assert torch.corrcoef(torch.stack((shown, said)))[0, 1] > 0.95
    blind = Track(track.id, track.frames, track.times, track.boxes, track.keypoints)
    with torch.no_grad():
        prediction = predict(Lifter(SMALL), lifter_features(blind, CAMERA))
    assert bend(body.landmarks(prediction.rotmats, prediction.betas, BODY27)).max() < 0.3


PERFECT = NoiseModel(
    pixel=0, limb_offset=0, misplaced=0, definition=0, depth=0, flip=0, tilt=0,
    depth_scale=(1, 1), scale=(1, 1), space=0, hidden=0, blink=0, no_space=0, stranger=0,
    box=(1, 1), box_shift=0,
)  # fmt: skip


def synthesizer(body, noise: NoiseModel, seed: int) -> Synthesizer:
    pool = MotionPool.build([], seed=0, actions=("walk", "jump"), performances=2)
    generator = torch.Generator().manual_seed(seed)
    return Synthesizer(pool, body, BROAD_VIEW, noise, generator)


def test_synthetic_windows_repeat_with_the_seed(body):
    first, again, other = (synthesizer(body, BROAD, s).windows(8) for s in (3, 3, 4))
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.points, again.points)
    assert not torch.equal(first.inputs, other.inputs)
    assert torch.isfinite(first.inputs).all()


def test_synthetic_truth_fits_its_rotations_and_the_perfect_detector(body):
    example = synthesizer(body, PERFECT, 0).windows(32)
    points = body.landmarks(example.rotmats, example.betas, BODY27)
    shift = example.points - points
    assert torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-4)  # one translation
    assert (example.points[..., 2] > 0.2).all()
    own = example.inputs[:, 0]
    xy = own[:, :54].unflatten(1, (27, 2)) * (ray_side(example.box) / 2)[:, None, None]
    rays = torch.cat((xy, torch.ones(32, 27, 1)), dim=-1) @ ray_rotation(example.box[:, :2]).mT
    expected = example.points[..., :2] / example.points[..., 2:]
    assert torch.allclose(rays[..., :2] / rays[..., 2:], expected, atol=1e-3)
    space = own[:, 54:135].unflatten(1, (27, 3)) @ ray_rotation(example.box[:, :2]).mT
    assert torch.allclose(space, root_align(example.points, HIPS), atol=0.02)


def test_detector_model_hides_and_misplaces_landmarks(body):
    example = synthesizer(body, BROAD, 1).windows(256)
    conf = example.inputs[..., 135:162]
    missing = (conf == 0).float().mean()
    assert 0.1 < missing < 0.5
    space = example.inputs[:, 0, 54:135].unflatten(1, (27, 3)) @ ray_rotation(example.box[:, :2]).mT
    truth = root_align(example.points, HIPS)[:, LIMBS]
    seen = (example.inputs[:, 0, 162:189] > 0)[:, LIMBS].all(1)
    aligned = procrustes_align(space[seen][:, LIMBS], truth[seen])
    error = 1000 * (aligned - truth[seen]).norm(dim=-1).mean()
    assert 50 < error < 130  # as bad as real monocular detectors, and no worse
