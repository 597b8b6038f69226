"""Rendered hands: a left hand within its limits, labels on it, two styles, the same by seed."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from semtta.bench.pose2d.plan import plan
from semtta.bench.pose2d.session import PoseOptions, run_table
from semtta.bench.pose2d.sets import open_images
from semtta.bench.pose2d.tables import load_pose_table
from semtta.body.hand import load_hand
from semtta.commands.pose2d import app
from semtta.errors import SemttaError
from semtta.pose2d import synth_hand
from semtta.pose2d.layouts import coco_set
from semtta.pose2d.runs import labelled_set, open_set
from semtta.pose2d.settings import DataConfig
from semtta.pose2d.skeletons import HAND21
from semtta.pose2d.synth_hand import STYLES, hand_set, render_hands
from semtta.pose2d.synth_hand_pose import finger_angles, random_hand, random_view

SIZE = 64
TIPS = HAND21.indices([f"{f}_4" for f in ("thumb", "index", "middle", "ring", "little")])


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def renders():
    return {style: list(render_hands(8, 3, SIZE, style)) for style in STYLES}


def turn_by(vector):
    return cv2.Rodrigues(np.asarray(vector, float))[0]


def posed(bends=0.0):
    """The mean hand with all finger joints bent by so much from straight, radians."""
    hand, rotations = load_hand(), np.tile(np.eye(3), (17, 1, 1))
    for row, (axis, bend) in enumerate(zip(hand.flexion, hand.bends)):
        rotations[2 + row] = turn_by(axis * (bends - bend))
    return hand.posed(rotations, np.zeros(6))


# ------------------------------------------------------------------------------ the hand


def test_it_is_a_left_hand_of_a_hands_size():
    hand = load_hand()
    vertices, points, rest = hand.posed(np.tile(np.eye(3), (17, 1, 1)), np.zeros(6))
    assert np.allclose(vertices, hand.vertices) and np.allclose(rest, hand.vertices)
    assert np.allclose(points[0], 0) and points[9, 0] == pytest.approx(0, abs=1e-6)
    assert 0.16 < np.linalg.norm(points[12]) < 0.21  # wrist to the end of the middle finger
    # seen from the palm's side (z to the viewer, y up) a left hand's thumb is on the left
    assert points[4, 0] < points[5, 0] < points[9, 0] < points[13, 0] < points[17, 0]
    assert points[4, 2] > 0.02
    distances = np.linalg.norm(vertices[None] - points[:, None], axis=2).min(1)
    assert distances[TIPS].max() < 1e-9 and distances.max() < 0.025


def test_the_mesh_is_closed_and_its_outside_is_outside():
    hand = load_hand()
    edges = np.concatenate([hand.faces[:, [0, 1]], hand.faces[:, [1, 2]], hand.faces[:, [2, 0]]])
    assert {tuple(e) for e in edges} == {tuple(e) for e in edges[:, ::-1]}
    assert len({tuple(e) for e in edges}) == len(edges)
    a, b, c = (hand.vertices[hand.faces[:, i]] for i in range(3))
    assert 3e-4 < np.einsum("ij,ij->", a, np.cross(b, c)) / 6 < 1.2e-3  # cubic metres, outwards


def test_bends_are_counted_from_straight_and_lead_into_the_palm():
    straight, bent = posed()[1], posed(0.9)[1]
    for finger in range(1, 5):
        chain = straight[1 + 4 * finger : 5 + 4 * finger]
        bones = np.diff(chain, axis=0)
        bones /= np.linalg.norm(bones, axis=1)[:, None]
        assert (bones[0] @ bones[1:].T > 0.985).all()  # 10 degrees, sideways ones included
        assert (bent[4 + 4 * finger] - chain[3])[2] > 0.03
    towards = straight[17] - straight[4]  # the thumb goes to the little finger's knuckle
    assert (bent[4] - straight[4]) @ towards / np.linalg.norm(towards) > 0.03


def test_shapes_change_what_they_say():
    hand, still = load_hand(), np.tile(np.eye(3), (17, 1, 1))

    def middle(k):
        _, points, _ = hand.posed(still, np.eye(6)[k])
        return np.linalg.norm(points[12] - points[9])

    _, mean, _ = hand.posed(still, np.zeros(6))
    assert middle(4) > np.linalg.norm(mean[12] - mean[9]) + 0.004
    man, woman = (hand.posed(still, s * np.eye(6)[0])[1] for s in (1, -1))
    assert np.linalg.norm(man[9]) > np.linalg.norm(woman[9]) + 0.005


def test_poses_stay_within_the_limits_of_the_joints():
    rng = np.random.default_rng(0)
    bends, spreads = map(np.degrees, zip(*(finger_angles(rng) for _ in range(200))))
    low, high = bends.min(0), bends.max(0)  # of fingers and joints
    assert (low[1:] > [-20.1, -0.1, -0.1]).all() and (high[1:] < [85.1, 105.1, 70.1]).all()
    assert (low[0] > [-18.1, -5.1, -12.1]).all() and (high[0] < [22.1, 50.1, 70.1]).all()
    assert (high - low)[1:, 1].min() > 90 and np.abs(spreads).max() <= 14
    assert (np.diff(spreads[:, 1:], axis=1) <= 0).all()  # fingers do not cross
    rotations, betas = random_hand(load_hand(), rng)
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3)) and len(betas) == 6
    rotation, distance = random_view(rng)
    assert np.linalg.det(rotation) == pytest.approx(1) and 0.3 < distance < 1.2


# ------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("style", STYLES)
def test_a_render_depends_on_style_seed_and_number_alone(renders, style):
    again = list(render_hands(2, 3, SIZE, style, first=5, workers=1))
    for a, b in zip(renders[style][5:7], again):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.xy, b.xy)
        assert np.array_equal(a.seen, b.seen)
    other = next(render_hands(1, 4, SIZE, style))
    assert not np.array_equal(other.image, renders[style][0].image)


def test_styles_look_different(renders):
    def noise(style):  # of the corners, where no hand is: what does not follow the neighbours
        images = np.stack([r.image[:12, :12].astype(float) for r in renders[style]])
        return np.abs(np.diff(images, axis=2)).mean()

    assert all(r.image.shape == (SIZE, SIZE, 3) for rs in renders.values() for r in rs)
    images = {style: np.stack([r.image for r in rs]) for style, rs in renders.items()}
    assert images["photo"].std() > 30 and images["flat"].std() > 20
    assert not np.array_equal(images["photo"], images["flat"]) and noise("flat") > 3


@pytest.mark.parametrize("style", STYLES)
def test_labels_lie_on_the_hand(style, monkeypatch):
    def alone(layer, style, rng):
        alpha = np.repeat(255 * layer[..., 3:], 3, 2).astype(np.uint8)
        return alpha, np.zeros(alpha.shape[:2], bool)

    monkeypatch.setattr(synth_hand, "_composed", alone)
    inside = total = 0
    for render in render_hands(10, 8, 96, style):
        cells = render.xy.round().astype(int)
        shown = ((cells >= 0) & (cells < 96)).all(1)
        assert shown.sum() >= 19
        inside += (render.image[cells[shown, 1], cells[shown, 0], 0] > 60).sum()
        total += shown.sum()
        assert render.seen[~shown].sum() == 0
    assert inside / total > 0.97


def picture(monkeypatch, heading: float, bends: float):
    """A bare hand, fingers up, turned by so many radians from palm to camera."""
    rotations = np.tile(np.eye(3), (17, 1, 1))
    hand = load_hand()
    for row, (axis, bend) in enumerate(zip(hand.flexion, hand.bends)):
        rotations[2 + row] = turn_by(axis * (bends - bend))
    view = np.diag([1.0, -1.0, -1.0]) @ turn_by([0, heading, 0])
    monkeypatch.setattr(synth_hand, "random_hand", lambda *_: (rotations, np.zeros(6)))
    monkeypatch.setattr(synth_hand, "random_view", lambda _: (view, 0.6))
    return next(render_hands(1, 0, 96, "flat"))


def test_what_the_camera_sees_is_said(monkeypatch):
    palm = picture(monkeypatch, 0.0, 0.1)
    assert palm.seen.sum() >= 20
    assert palm.xy[4, 0] < palm.xy[20, 0] and palm.xy[12, 1] < palm.xy[0, 1]
    edge = picture(monkeypatch, np.pi / 2, 0.1)
    assert 4 < edge.seen.sum() < 17  # fingers behind fingers
    back, front = (picture(monkeypatch, heading, 1.3) for heading in (np.pi, 0.0))
    assert not back.seen[TIPS[1:]].any() and front.seen[TIPS[1:]].sum() >= 3  # of a fist


def test_what_lies_in_front_hides(monkeypatch):
    def covered(layer, style, rng):
        return np.zeros((*layer.shape[:2], 3), np.uint8), np.ones(layer.shape[:2], bool)

    monkeypatch.setattr(synth_hand, "_composed", covered)
    assert not next(render_hands(1, 0, SIZE)).seen.any()


# ------------------------------------------------------------------------------ as data


def test_in_memory_and_on_disk(tmp_path, renders):
    made = hand_set(2, 3, SIZE)
    assert made.skeleton == HAND21 and made.labelled == 42
    assert np.array_equal(made.entries[1].image, renders["photo"][1].image)
    words = ["render", "--hands", "flat", "--count", "3", "--size", str(SIZE), "--seed", "3"]
    result = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "r")])
    assert result.exit_code == 0, result.output
    found = coco_set(tmp_path / "r", HAND21)
    rows = json.loads((tmp_path / "r" / "annotations.json").read_text("utf8"))["annotations"]
    for entry, row, render in zip(found.entries, rows, renders["flat"], strict=False):
        labelled = entry.weight > 0
        assert np.abs(entry.xy - render.xy)[labelled].max() < 0.02 and labelled.sum() > 15
        assert ((np.array(row["keypoints"][2::3]) == 2) == render.seen).all()
    assert len(found) == 3


def test_what_is_not_rendered_is_said():
    with pytest.raises(SemttaError, match="photo or flat, not 'oil'"):
        open_set(DataConfig("renders", split="oil", count=1), "hand21", SIZE)
    with pytest.raises(SemttaError, match="no part 'flat'"):
        open_set(DataConfig("renders", split="flat", count=1), "body16", SIZE)
    with pytest.raises(SemttaError, match="not 'oil'"):
        labelled_set("renders", None, "oil", SIZE, "hand21")


def test_tables_of_hands_run_on_open_data(tmp_path):
    table, one = load_pose_table("table3"), ("Source only",)
    job = plan(table, "open", [0], methods=one)[0][0]
    assert (job.pair.source, job.pair.measured, job.also) == ("renders", "hands_flat", ())
    with pytest.raises(SemttaError, match="must be hands_flat, a folder of labelled images"):
        plan(table, "open", [0], methods=one, target="beam")
    source = DataConfig("renders", count=3)
    parts = [open_images("hands_flat", part, "hand21", SIZE, source, {}) for part in
             ("train", "test")]  # fmt: skip
    assert [len(p) for p in parts] == [3, 3]
    assert not np.array_equal(parts[0].entries[0].image, parts[1].entries[0].image)
    few = ("source.count=4", "optimizer.iterations=1", "optimizer.batch=2")
    text, failed = run_table(table, PoseOptions("quick", tmp_path / "out", tmp_path / "stage1",
                             seeds=1, workers=1, overrides=few, methods=one))  # fmt: skip
    assert failed == 0, text
    assert "renders → hands_flat" in text and "| Source only | 1 |" in text and "MCP" in text
