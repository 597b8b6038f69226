"""Finding and following people."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from semtta.errors import SemttaError
from semtta.people import gating, masking, pipeline
from semtta.people.blazepose import CROP, BlazePose, Landmarks, Roi, crop, refine, roi_from_points
from semtta.people.fusion import COCO_IN_BODY, Fused, Looks, agreement, fuse, viterbi
from semtta.people.movenet import MoveNet, decode, letterbox
from semtta.people.pipeline import track_video
from semtta.people.rois import roi_track
from semtta.people.tracker import Detections, box_iou, link, suppress_duplicates
from semtta.shipped import asset
from semtta.skeletons import BLAZEPOSE33, BODY27, COCO17
from semtta.video import read_frames, write_video

# A standing person in a unit box, COCO-17, seen from the front.
FIGURE = np.array(
    [[0.5, 0.08], [0.53, 0.06], [0.47, 0.06], [0.57, 0.08], [0.43, 0.08], [0.65, 0.22],
     [0.35, 0.22], [0.75, 0.37], [0.25, 0.37], [0.8, 0.5], [0.2, 0.5], [0.6, 0.52],
     [0.4, 0.52], [0.61, 0.74], [0.39, 0.74], [0.62, 0.95], [0.38, 0.95]]
)  # fmt: skip


def person_at(x, y=50.0, width=60.0, height=160.0, score=0.8):
    """(box, score, keypoints, confidences) of a figure whose box begins at x, y."""
    xy = FIGURE * [width, height] + [x, y]
    return np.array([x, y, x + width, y + height]), score, xy, np.full(17, score)


def frame_of(*people) -> Detections:
    if not people:
        return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 2)), np.zeros((0, 17)))
    return Detections(*(np.stack(part) for part in zip(*people)))


def positions(chain, detections):
    return np.array([detections[t].boxes[n, 0] for t, n in zip(chain.frames, chain.picks)])


# --- tracker -----------------------------------------------------------------------------------


def test_iou():
    a = np.array([[0, 0, 2, 2.0]])
    b = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6.0]])
    np.testing.assert_allclose(box_iou(a, b), [[1, 1 / 3, 0]])


def test_people_who_cross_keep_their_identity():
    times = np.arange(60) / 30
    left, right = 40 + 120 * times, 280 - 120 * times
    # Detections come in no particular order.
    detections = [
        frame_of(*(people if t % 2 else people[::-1]))
        for t, people in enumerate(zip(map(person_at, left), (person_at(x, 58) for x in right)))
    ]
    chains = link(detections, times)
    assert [len(c) for c in chains] == [60, 60]
    starts = {round(positions(c, detections)[0]): positions(c, detections) for c in chains}
    np.testing.assert_allclose(starts[40], left)
    np.testing.assert_allclose(starts[280], right)


def test_short_gap_is_bridged_and_long_gap_is_not():
    times = np.arange(90) / 30
    for missing, expected in ((15, 1), (45, 2)):
        gone = range(20, 20 + missing)
        detections = [frame_of() if t in gone else frame_of(person_at(50)) for t in range(90)]
        assert len(link(detections, times, keep_seconds=1.0)) == expected


def test_gap_is_measured_in_seconds():
    for fps in (10, 60):
        times = np.arange(6 * fps) / fps
        detections = [frame_of() if 2 <= t < 3.5 else frame_of(person_at(50)) for t in times]
        assert len(link(detections, times, keep_seconds=1.0)) == 2
        assert len(link(detections, times, keep_seconds=2.0)) == 1


def test_weak_detections_continue_but_do_not_begin():
    times = np.arange(20) / 30
    weak = [frame_of(person_at(50, score=0.15)) for _ in times]
    assert link(weak, times) == []
    begun = [frame_of(person_at(50, score=0.8)), *weak[1:]]
    assert [len(c) for c in link(begun, times)] == [20]


def test_duplicates_are_dropped_but_not_people_who_overlap():
    people = frame_of(person_at(50, score=0.5), person_at(52, score=0.8), person_at(85, score=0.6))
    kept = suppress_duplicates(people)
    assert sorted(kept.boxes[:, 0]) == [52, 85]
    assert len(suppress_duplicates(frame_of())) == 0


# --- networks ----------------------------------------------------------------------------------


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_letterbox_and_decode_agree_on_coordinates():
    image = noise(200, 120)
    canvas, scale = letterbox(image, 256)
    assert canvas.shape[0] % 32 == 0 and canvas.shape[1] % 32 == 0
    row = np.zeros((1, 56), np.float32)
    # The image's last pixel centre, as the network would name it.
    x, y = (np.array([119, 199]) + 0.5) * scale - 0.5
    row[0, :51] = np.tile([y / canvas.shape[0], x / canvas.shape[1], 0.5], 17)
    found = decode(row, canvas.shape[:2], scale)
    np.testing.assert_allclose(found.xy[0], np.tile([119, 199], (17, 1)), atol=1e-3)


@pytest.mark.parametrize("shape", [(200, 120), (90, 300), (31, 17)])
def test_movenet_runs_on_any_shape(shape):
    found = MoveNet(128, threads=1)(noise(*shape), min_score=0.0)
    assert len(found) == 6
    assert found.xy.shape == (6, 17, 2) and np.isfinite(found.xy).all()
    assert ((found.conf >= 0) & (found.conf <= 1)).all()


def test_blazepose_runs_and_mirrors():
    net, image = BlazePose(threads=1), noise(240, 320)
    roi = Roi(np.array([160.0, 120.0]), 200.0, 0.3)
    first = net([image, image], [roi, roi], [False, True])
    assert first.xy.shape == (2, 33, 2) and first.world.shape == (2, 33, 3)
    # Looking at the mirror image with the mirrored ROI must give the mirrored answer.
    other = Roi(np.array([319 - 160.0, 120.0]), 200.0, -0.3)
    second = net([np.ascontiguousarray(image[:, ::-1])], [other], [True])
    back = second.xy[0, list(BLAZEPOSE33.flip)] * [-1, 1] + [319, 0]
    np.testing.assert_allclose(back, first.xy[0], atol=1.5)
    turned = second.world[0, list(BLAZEPOSE33.flip)] * [-1, 1, 1]
    np.testing.assert_allclose(turned, first.world[0], atol=0.02)


def test_roi_turns_the_person_upright():
    roi = roi_from_points(np.array([100.0, 100.0]), np.array([140.0, 100.0]))  # head to the right
    assert roi.angle == pytest.approx(np.pi / 2)
    to_image = roi.to_image()
    top_of_crop = to_image[:, :2] @ [CROP / 2, 0] + to_image[:, 2]
    np.testing.assert_allclose(top_of_crop, [150, 100], atol=1e-9)


def test_crop_shows_what_the_map_says():
    image = np.zeros((200, 200, 3), np.uint8)
    image[80:90, 120:130] = 255
    roi = Roi(np.array([125.0, 85.0]), 64.0, 0.7)
    view = crop(image, roi)
    assert view[CROP // 2, CROP // 2].min() > 200 and view[0, 0].max() == 0


def test_heatmap_refinement():
    heat = np.full((1, 3, 64, 64), -20.0, np.float32)
    heat[0, :2, 30, 41] = 5
    xy = np.array([[[160.0, 124.0], [10.0, 10.0], [-50.0, 700.0]]])
    out = refine(xy, heat)
    np.testing.assert_allclose(out[0, 0], [41 * 4, 30 * 4], atol=1e-3)  # moved to the peak
    np.testing.assert_allclose(out[0, 1:], xy[0, 1:])  # peak too far, point outside


# --- regions of interest -----------------------------------------------------------------------


def test_one_bad_frame_does_not_move_the_roi():
    times = np.arange(31) / 30
    xy = np.tile(FIGURE * [60, 160] + [50, 50], (31, 1, 1))
    boxes = np.tile([50.0, 50, 110, 210], (31, 1))
    steady = roi_track(xy, np.ones((31, 17)), boxes, times)
    xy[15] += 300  # another person's keypoints
    shaken = roi_track(xy, np.ones((31, 17)), boxes, times)
    assert np.linalg.norm(shaken[15].center - steady[15].center) < 5
    assert shaken[15].size == pytest.approx(steady[15].size, rel=0.05)


def test_roi_without_any_keypoint_covers_the_box():
    boxes = np.array([[50.0, 50, 110, 210]])
    roi = roi_track(np.zeros((1, 17, 2)), np.zeros((1, 17)), boxes, np.zeros(1))[0]
    np.testing.assert_allclose(roi.center, [80, 130])
    assert roi.angle == 0 and roi.size > 160


# --- fusion ------------------------------------------------------------------------------------


def body_points(frames=20):
    xy = np.zeros((27, 2))
    xy[COCO_IN_BODY] = FIGURE * [60, 160] + [50, 50]
    for part, joint in (("heel", "ankle"), ("big_toe", "ankle"), ("pinky", "wrist"),
                        ("index", "wrist"), ("thumb", "wrist")):  # fmt: skip
        for side in ("left_", "right_"):
            xy[BODY27.index(side + part)] = xy[BODY27.index(side + joint)] + [0, 4]
    return np.tile(xy, (frames, 1, 1))


def looks_like(xy, world=None):
    """Four agreeing looks."""
    frames = len(xy)
    world = np.zeros((frames, 27, 3)) if world is None else world
    return Looks(
        np.repeat(xy[:, None], 4, 1),
        np.ones((frames, 4, 27)),
        np.repeat(world[:, None], 4, 1),
        np.ones((frames, 4)),
    )


def test_exchanged_sides_are_mended():
    xy, size = body_points(), np.full(20, 98.0)
    world = np.concatenate([xy / 100, np.zeros((20, 27, 1))], -1)
    flip = list(BODY27.flip)
    wrong, wrong_world = xy.copy(), world.copy()
    wrong[5:15], wrong_world[5:15] = xy[5:15][:, flip], world[5:15][:, flip]
    fused = fuse(looks_like(wrong, wrong_world), xy[:, COCO_IN_BODY], np.ones((20, 17)), size)
    np.testing.assert_allclose(fused.xy, xy, atol=1e-6)
    np.testing.assert_allclose(fused.world, world, atol=1e-6)


def test_continuity_outvotes_a_short_slip_of_movenet():
    xy, size = body_points(), np.full(20, 98.0)
    said = xy[:, COCO_IN_BODY].copy()
    said[9:11] = said[9:11][:, list(COCO17.flip)]
    fused = fuse(looks_like(xy), said, np.ones((20, 17)), size)
    np.testing.assert_allclose(fused.xy, xy, atol=1e-6)


def test_a_look_that_went_astray_is_outvoted():
    xy, size = body_points(), np.full(20, 98.0)
    looks = looks_like(xy)
    looks.xy[:, 2] += 200
    fused = fuse(looks, xy[:, COCO_IN_BODY], np.ones((20, 17)), size)
    np.testing.assert_allclose(fused.xy, xy, atol=0.1)


def test_agreement_without_sure_joints_is_silent():
    xy = body_points(1)
    off = agreement(xy, xy[:, COCO_IN_BODY] + 50, np.full((1, 17), 0.1), np.ones(1))
    np.testing.assert_allclose(off, 0)


def test_viterbi_prefers_few_changes():
    unary = np.array([[0, 1], [0, 1], [1, 0.9], [0, 1], [1, 0], [1, 0], [1, 0.0]])
    step = np.tile(0.5 * (1 - np.eye(2)), (7, 1, 1))
    assert viterbi(unary, step).tolist() == [0, 0, 0, 0, 1, 1, 1]


# --- gating ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [30, 60])
def test_hysteresis_ignores_blinks_and_follows_real_changes(fps):
    times = np.arange(4 * fps) / fps
    belief = np.full((len(times), 2), 0.9)
    blink = (times > 1.0) & (times < 1.05)
    belief[blink] = 0.2
    belief[(times >= 2) & (times < 3), 0] = 0.0
    seen = gating.hysteresis(belief, times)
    assert seen[:, 1].all()
    assert np.abs(np.diff(seen[:, 0].astype(int))).sum() == 2
    assert not seen[(times > 2.1) & (times < 2.9), 0].any()
    assert seen[times < 1.9, 0].all()


def test_hysteresis_needs_a_good_reason_to_begin():
    times = np.arange(60) / 30
    assert not gating.hysteresis(np.full((60, 1), 0.4), times).any()
    belief = np.full((60, 1), 0.4)
    belief[20:30] = 0.9
    assert gating.hysteresis(belief, times).all()  # stays while above the lower threshold


def fused_like(xy, spread=0.005):
    frames = len(xy)
    return Fused(xy, np.ones((frames, 27)), np.full((frames, 27), spread),
                 np.zeros((frames, 27, 3)), np.ones(frames))  # fmt: skip


def gated(fused, conf=None, hidden=None, said=None, image_size=(400, 300)):
    frames = len(fused.xy)
    said = body_points(frames)[:, COCO_IN_BODY] if said is None else said
    return gating.gate(
        fused,
        said,
        np.full((frames, 17), 0.8) if conf is None else conf,
        np.tile([50.0, 50, 110, 210], (frames, 1)),
        np.zeros((frames, 27), bool) if hidden is None else hidden,
        np.arange(frames) / 30,
        image_size,
    )


def test_agreeing_networks_are_believed():
    out = gated(fused_like(body_points()))
    assert (out.conf > 0.5).all() and (out.conf3d > 0.5).all()
    np.testing.assert_allclose(out.xy, body_points(), atol=1e-6)


def test_wavering_landmark_is_missing_and_takes_its_foot_along():
    fused = fused_like(body_points())
    ankle, toe = BODY27.index("left_ankle"), BODY27.index("left_big_toe")
    fused.spread[:, ankle] = 0.2
    conf = np.full((20, 17), 0.8)
    conf[:, COCO17.index("left_ankle")] = 0.02
    out = gated(fused, conf)
    assert (out.conf[:, [ankle, toe]] == 0).all()
    assert (out.conf[:, BODY27.index("left_knee")] > 0).all()


def test_sure_movenet_replaces_a_wavering_landmark():
    fused = fused_like(body_points())
    wrist = BODY27.index("right_wrist")
    fused.spread[:, wrist] = 0.2
    fused.xy[:, wrist] += 80
    out = gated(fused)
    assert (out.conf[:, wrist] > 0).all()
    np.testing.assert_allclose(out.xy[:, wrist], body_points()[:, wrist], atol=1e-6)


def test_landmark_on_another_body_needs_consent():
    hidden = np.zeros((20, 27), bool)
    elbow = BODY27.index("left_elbow")
    hidden[:, elbow] = True
    conf = np.full((20, 17), 0.8)
    conf[:, COCO17.index("left_elbow")] = 0.05
    assert (gated(fused_like(body_points()), conf, hidden).conf[:, elbow] == 0).all()
    assert (gated(fused_like(body_points()), None, hidden).conf[:, elbow] > 0).all()


def test_outside_the_image_is_missing():
    out = gated(fused_like(body_points()), image_size=(400, 190))
    y = body_points()[0, :, 1]
    assert (out.conf[:, y > 190] == 0).all() and (out.conf[:, y < 185] > 0).all()


def test_3d_is_not_trusted_on_another_person():
    said = body_points()[:, COCO_IN_BODY] + [90, 0]  # MoveNet sees the person elsewhere
    out = gated(fused_like(body_points()), said=said)
    assert (out.conf3d == 0).all()


def test_single_frame_gating():
    out = gated(fused_like(body_points(1)))
    assert (out.conf > 0).all() and out.boxes.shape == (1, 4)


# --- masking -----------------------------------------------------------------------------------


def test_painting_covers_the_person_only():
    image = np.zeros((300, 400, 3), np.uint8)
    box, _, xy, conf = person_at(50)
    masking.paint_over(image, box, xy, conf)
    for joint in xy.round().astype(int):
        assert image[joint[1], joint[0], 0] == 128
    assert image[:, 200:].max() == 0
    on = masking.on_body(np.array([xy[13], [300.0, 100.0]]), box, xy, conf)
    assert on.tolist() == [True, False]


# --- whole pipeline ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 10])
def test_video_without_people_is_an_error(tmp_path, count):
    frames = [np.full((96, 128, 3), 90, np.uint8)] * count
    path = write_video(tmp_path / "empty.mp4", frames, 30, (128, 96))
    with pytest.raises(SemttaError, match="nobody was found"):
        track_video(path, detect_size=128, threads=1)


class FakeMoveNet:
    """Sees one person walking to the right, and in every frame a weak ghost."""

    def __init__(self, *_):
        self.count = 0

    def __call__(self, image):
        self.count += 1
        return frame_of(person_at(40 + 2 * self.count), person_at(250, score=0.15))


class FakeBlazePose:
    """Finds the person wherever the crop is."""

    def __init__(self, *_):
        pass

    def __call__(self, images, rois, flips):
        spread = np.zeros((len(rois), 33, 2))
        spread += np.stack([roi.center for roi in rois])[:, None]
        ones = np.ones((len(rois), 33))
        return Landmarks(spread, ones, ones, np.zeros((len(rois), 33, 3)), ones[:, 0],
                         spread[:, 0], spread[:, 0])  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 10])
def test_one_person_in_a_short_video(tmp_path, monkeypatch, count):
    monkeypatch.setattr(pipeline, "MoveNet", FakeMoveNet)
    monkeypatch.setattr(pipeline, "BlazePose", FakeBlazePose)
    frames = [np.full((240, 320, 3), 90, np.uint8)] * count
    path = write_video(tmp_path / "clip.mp4", frames, 25, (320, 240))
    ticks = []
    found = track_video(path, progress=lambda done, total: ticks.append((done, total)))
    (track,) = found.tracks
    assert track.id == 1 and track.frames.tolist() == list(range(count))
    assert len(found.times) == count and torch.equal(track.times, found.times)
    assert track.keypoints.skeleton is BODY27
    assert track.landmarks3d.shape == (count, 27, 3) and track.conf3d.shape == (count, 27)
    assert ticks[-1] == (2 * count, 2 * count) and ticks == sorted(ticks)


def test_passers_by_of_a_few_frames_are_dropped(tmp_path, monkeypatch):
    class Brief(FakeMoveNet):
        def __call__(self, image):
            people = super().__call__(image)
            brief = person_at(200, score=0.8)
            return frame_of(person_at(40 + 2 * self.count), brief) if self.count < 3 else people[:1]

    monkeypatch.setattr(pipeline, "MoveNet", Brief)
    monkeypatch.setattr(pipeline, "BlazePose", FakeBlazePose)
    frames = [np.full((240, 320, 3), 90, np.uint8)] * 12
    path = write_video(tmp_path / "clip.mp4", frames, 25, (320, 240))
    assert len(track_video(path).tracks) == 1


def test_import_is_cheap():
    code = "import sys, semtta.people; print('onnxruntime' in sys.modules, 'cv2' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def demo_truth():
    """(100, 12, 2) pixels and (100, 12) occluded flags of the demo clip, and joint names."""
    with np.load(asset("demo/beam_truth.npz")) as truth:
        camera = list(truth["cam_names"]).index("cam02")
        rotation, _ = cv2.Rodrigues(truth["R"][camera])
        points = truth["joints3d"].reshape(-1, 3).astype(float)
        lens = (truth["K"][camera], truth["dist"][camera])
        uv, _ = cv2.projectPoints(points, rotation, truth["t"][camera], *lens)
        affine = truth["affine_single_to_multi"][camera]
        uv = (uv[:, 0] @ affine[:, :2].T + affine[:, 2]).reshape(100, 12, 2)
        return uv, truth["occluded"][camera], truth["joint_names"].tolist()


@pytest.mark.slow
def test_real_clip_with_a_hidden_ankle(tmp_path):
    """Every fifth frame of a real clip in which somebody hides the man's right ankle for a
    while; truth by triangulation of four cameras (good to about 5 px)."""
    images = [image for _, _, image in read_frames(asset("demo/cam02_occluded.mp4"))][::5]
    height, width = images[0].shape[:2]
    path = write_video(tmp_path / "clip.mp4", images, 12, (width, height))
    track = track_video(path, max_people=1).tracks[0]
    assert len(track) >= 0.9 * len(images)

    uv, hidden, names = (v[::5] if isinstance(v, np.ndarray) else v for v in demo_truth())
    joints, frames = BODY27.indices(names), track.frames.numpy()
    error = np.linalg.norm(track.keypoints.xy[:, joints].numpy() - uv[frames], axis=-1)
    seen, hidden = track.keypoints.conf[:, joints].numpy() > 0, hidden[frames]
    assert seen[~hidden].mean() > 0.95
    assert np.median(error[seen & ~hidden]) < 12
    assert np.quantile(error[seen & ~hidden], 0.95) < 40
    ankle = names.index("right_ankle")
    assert hidden[:, ankle].sum() >= 3
    assert seen[hidden[:, ankle], ankle].mean() < 0.5
