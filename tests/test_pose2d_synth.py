"""Labelled renders: the same by seed, labels on the person, readable as a data set."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.geometry.raster import front_faces, rasterize
from semtta.pose2d import synth
from semtta.pose2d import synth_look as look
from semtta.pose2d import synth_scene as scene
from semtta.pose2d.augment import NO_CHANGE
from semtta.pose2d.layouts import coco_set
from semtta.pose2d.samples import cut_crop
from semtta.pose2d.skeletons import BODY16
from semtta.pose2d.synth import _joints, _landmarks, render_people, synthetic_set, write_renders
from semtta.pose2d.synth_pose import random_poses, random_view


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)  # the networks here are too small to be shared


SIZE = 64


@pytest.fixture(scope="module")
def body():
    return load_body("cc0")


@pytest.fixture(scope="module")
def renders(body):
    return list(render_people(12, 3, SIZE, body))


def test_a_render_depends_on_seed_and_number_alone(body, renders):
    again = list(render_people(2, 3, SIZE, body, first=7, workers=1))
    for a, b in zip(renders[7:9], again):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.xy, b.xy)
    other = next(render_people(1, 4, SIZE, body))
    assert not np.array_equal(other.image, renders[0].image)


def test_processes_make_the_same_pictures(body, renders, monkeypatch):
    # one process does both parts: a second one would only import everything again
    monkeypatch.setattr(synth, "ProcessPoolExecutor", lambda _, **kw: ProcessPoolExecutor(1, **kw))
    made = synthetic_set(17, 3, SIZE, body, processes=2)  # sixteen and one
    assert len(made) == 17
    for entry, render in zip(made.entries, renders):
        assert np.array_equal(entry.image, render.image) and np.array_equal(entry.xy, render.xy)


def test_pictures_differ_and_joints_lie_in_them(renders):
    images = np.stack([r.image for r in renders])
    assert images.dtype == np.uint8 and images.shape == (12, SIZE, SIZE, 3)
    assert images.std() > 30 and images.reshape(12, -1).std(0).mean() > 20
    xy = np.stack([r.xy for r in renders])
    assert np.isfinite(xy).all() and ((xy > -0.15 * SIZE) & (xy < 1.15 * SIZE)).all()
    extent = (xy.max(1) - xy.min(1)).max(1) / SIZE
    assert (extent > 0.6).all() and (extent < 0.95).all()


def test_labels_lie_on_the_person(body, monkeypatch):
    # paint the person white on black, without anything in front
    monkeypatch.setattr(scene, "random_background", lambda size, rng: np.zeros((size, size, 3)))
    monkeypatch.setattr(scene, "shade", lambda normals, rgb, rng: np.full_like(rgb, 255))
    monkeypatch.setattr(scene, "occlude", lambda image, rng: None)
    monkeypatch.setattr(scene, "photograph", lambda image, rng: image.astype(np.uint8))
    inside, total = 0, 0
    for render in render_people(12, 8, 128, body):
        cells = render.xy.round().astype(int)
        seen = ((cells >= 0) & (cells < 128)).all(1)
        inside += (render.image[cells[seen, 1], cells[seen, 0], 0] > 60).sum()
        total += seen.sum()
    assert inside / total > 0.97


def test_left_is_the_persons_left(body):
    pose, betas = torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 10)
    crown = body.vertices(pose, betas)[:, _landmarks(body)[1]]
    joints = _joints(body, pose, betas, crown)[0]
    for part in ("wrist", "elbow", "shoulder", "hip", "knee", "ankle"):
        left, right = joints[BODY16.indices([f"left_{part}", f"right_{part}"])]
        assert left[0] > 0 > right[0]
    heights = joints[BODY16.indices(["pelvis", "thorax", "upper_neck", "head_top"]), 1]
    assert (heights.diff() > 0).all()


def test_poses_and_views():
    rng = np.random.default_rng(0)
    pose = random_poses(40, rng)
    assert pose.shape == (40, 24, 3, 3)
    assert torch.allclose(pose @ pose.mT, torch.eye(3).expand(40, 24, 3, 3), atol=1e-5)
    up = []
    for _ in range(50):
        rotation, distance = random_view(rng)
        assert np.linalg.det(rotation) == pytest.approx(1) and 2 < distance < 7.1
        up.append((rotation @ [0, 1, 0])[1])
    assert np.mean(up) < -0.9  # heads are up, and y points down


def test_clothes_end_where_they_should(body):
    marks, _ = _landmarks(body)
    rest = body.v_template.numpy()
    rng = np.random.default_rng(1)
    for _ in range(10):
        outfit = look.random_outfit(marks, rng)
        part = look.regions(rest, marks, outfit)
        hands = np.abs(rest[:, 0]) > marks.wrist_x + 0.05
        assert (part[hands] == look.SKIN).all()
        assert (part == look.HAIR).sum() > 20 and (part == look.BOTTOM).sum() > 50
        assert outfit.bare == ((part == look.TOP).sum() == 0)
        assert rest[part == look.BOTTOM, 1].max() < marks.shoulder - 0.15
        assert look.colours(rest, part, outfit).shape == (len(rest), 3)


def test_the_nearest_surface_is_drawn():
    def square(z, value):
        corners = np.array([[2, 2], [2, 8], [8, 8], [8, 2]], float)
        return corners, np.full(4, 1 / z), np.full((4, 1), value)

    parts = [square(2.0, 5.0), square(1.0, 7.0)]
    points, depth, values = (np.concatenate(x) for x in zip(*parts))
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    front = front_faces(points, faces, np.ones(8, bool))
    assert len(front) == 4
    for order in (front, front[::-1]):
        place, value = rasterize(points, order, depth, values, 10, 10)
        assert sorted(place) == [y * 10 + x for y in range(2, 8) for x in range(2, 8)]
        assert np.allclose(value, 7)


def test_written_renders_are_a_data_set(tmp_path, body, renders):
    folder = write_renders(tmp_path / "r", 3, 3, SIZE, body)
    found = coco_set(folder, BODY16)
    assert len(found) == 3
    for entry, render in zip(found.entries, renders):
        crop = cut_crop(entry, SIZE, NO_CHANGE)
        seen = crop.weight > 0
        assert seen.sum() >= 12 and np.abs(crop.xy - render.xy)[seen].max() < 0.02
        assert np.abs(crop.image.astype(int) - render.image).mean() < 12  # JPEG
    assert not list(folder.glob(".*"))
    memory = synthetic_set(2, 3, SIZE, body)
    assert np.array_equal(memory.entries[1].image, renders[1].image)


def test_a_body_without_a_face_is_refused(body):
    import copy

    other = copy.copy(body)
    other.vertex_ids = {}
    with pytest.raises(SemttaError, match="eyes"):
        next(render_people(1, 0, SIZE, other))
