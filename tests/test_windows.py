"""A long track in windows: no seams, nothing held but one window, and a stopped run goes on."""

from dataclasses import replace
from itertools import pairwise

import pytest
import roma
import torch
from test_adapter import CAMERA, adapter, same, tiny_model, walker
from test_people_chosen import video
from test_resume import identical, maker, store  # noqa: F401

from semtta.body import load_body
from semtta.config import load_config
from semtta.config_schema import WindowConfig
from semtta.errors import SemttaError
from semtta.geometry import full_translation, weak_perspective
from semtta.hmr.base import Prediction
from semtta.output.summary import summary
from semtta.skeletons import BODY27
from semtta.tta.adapter import Adapter
from semtta.tta.view import View
from semtta.tta.windows import Windows, _crossfade, _prediction, short_seams, window_rows

SHORT = ("window.frames=40", "window.overlap=10")  # of 70 frames two of 40
CLOSED = ("closing.filter=spline", "closing.path=track", "shape.mode=track")


def alike(a, b):
    return same(a, b) and all(torch.equal(getattr(a, k), getattr(b, k))
                              for k in ("trans", "landmarks2d"))  # fmt: skip


# ---------------------------------------------------------------------- which frames


@pytest.mark.parametrize("count", [31, 40, 41, 69, 70, 71, 103, 1000])
def test_windows_cover_a_track_and_share_frames_with_their_neighbours(count):
    windows = window_rows(count, WindowConfig(frames=40, overlap=10))
    assert (windows[0].start, windows[-1].stop) == (0, count)
    assert all(before.stop - after.start == 10 for before, after in pairwise(windows))
    lengths = [rows.stop - rows.start for rows in windows]
    assert max(lengths) <= 40 and max(lengths) - min(lengths) <= 1
    assert len(windows) == (1 if count <= 40 else -(-(count - 10) // 30))
    in_windows = torch.zeros(count)
    for rows in windows:
        in_windows[rows] += 1
    assert in_windows.max() <= 2


def test_a_track_of_one_window_is_adapted_as_ever():
    track, texts = walker(40), ["walk"] * 40
    once, windowed = (adapter(*CLOSED, *more, "evidence.heldout=0.1").adapt(track, CAMERA, texts)
                      for more in ((), SHORT))  # fmt: skip
    assert alike(once.adapted, windowed.adapted) and alike(once.base, windowed.base)
    assert once.history == windowed.history
    assert torch.equal(once.evidence.xy, windowed.evidence.xy)


# ---------------------------------------------------------------------- no seams


def test_without_epochs_windows_are_the_network_as_it_is():
    """But for the last second, which a window does not see: there the neighbour counts more."""
    track = walker(150)
    whole = adapter(*CLOSED, "optimizer.epochs=0").adapt(track, CAMERA)
    parts = adapter(*CLOSED, "optimizer.epochs=0", "window.frames=100", "window.overlap=30")
    result = parts.adapt(track, CAMERA)
    assert same(result.base, result.adapted) and not result.history
    off = roma.rotmat_geodesic_distance(result.base.rotmats, whole.base.rotmats)
    assert off[:50].max() < 1e-3 and off[100:].max() < 1e-3 and 1e-3 < off.max() < 0.05
    torch.testing.assert_close(result.base.trans, whole.base.trans, atol=0.02, rtol=0)


def test_every_frame_is_there_once_and_the_body_is_one():
    track = walker(70)
    result = adapter(*CLOSED, *SHORT, "evidence.heldout=0.1").adapt(track, CAMERA, ["walk"] * 70)
    assert torch.equal(result.track.frames, track.frames)
    assert torch.equal(result.detections.xy, track.keypoints.xy)
    assert len(result.labels) == len(result.boxes) == len(result.similarity) == 70
    assert torch.equal(result.adapted.betas, result.adapted.betas[:1].expand(70, 10))
    assert [entry["window"] for entry in result.history] == [1, 1, 2, 2]
    assert result.heard is not None and result.sigma == 0.35 and result.heldout.count > 0
    assert result.provenance["config"]["window"]["frames"] == 40
    assert "adapted in 2 windows" in summary(result, {})


def test_the_motion_goes_over_from_one_window_to_the_next_without_a_step():
    """The weights of two windows differ; where they meet nothing moves faster than elsewhere."""
    track = walker(70, hidden=False)
    learns = ("optimizer.epochs=6", "optimizer.lr=3e-3", "closing.filter=none")
    result = adapter(*SHORT, *learns).adapt(track, CAMERA)
    whole = adapter(*learns).adapt(track, CAMERA)
    meet = slice(29, 41)  # and a frame on either side of what is shared

    def fastest(motion, rows):
        turned = roma.rotmat_geodesic_distance(motion.rotmats[1:], motion.rotmats[:-1])
        return turned.mean(1)[rows].max(), motion.trans.diff(dim=0).norm(dim=1)[rows].max()

    for value, usual in zip(fastest(result.adapted, meet), fastest(whole.adapted, slice(None))):
        assert value < 1.5 * usual


def test_a_told_height_is_that_of_all_windows():
    told = adapter(*CLOSED, *SHORT, "shape.height=1.6")
    result = told.adapt(walker(70), CAMERA)
    for motion in (result.base, result.adapted):
        assert torch.equal(motion.betas, result.base.betas[:1].expand(70, 10))


# ---------------------------------------------------------------------- memory, progress, resume


def test_one_window_is_held_at_a_time():
    """The network reads at most a window, and nothing of a run is left when the next begins."""
    made, seen, held = adapter(*SHORT), [], []
    usual = made.model.forward
    made.model.forward = lambda batch: (seen.append(int(batch.frames.max())), usual(batch))[1]

    def fit(part, said, hear):
        run = made._fitted(part, CAMERA, said, hear, None)
        held.append(len(run.inputs))
        return run

    windows = Windows(made.model, made.body, CAMERA, made.config, fit)
    parts = windows.parts(walker(130), [None] * 130, lambda *told: None)
    assert held == [40] * 4 and max(seen) == 39
    assert all(not part.adapted.rotmats.requires_grad for part in parts)
    assert [int(part.track.frames[0]) for part in parts] == [0, 30, 60, 90]


def test_progress_counts_the_epochs_of_all_windows():
    told = []
    adapter(*SHORT).adapt(walker(70), CAMERA, progress=lambda *said: told.append(said))
    epochs = [(done, total, values["window"]) for stage, done, total, values in told
              if stage == "adapt"]  # fmt: skip
    assert epochs == [(1, 4, "1/2"), (2, 4, "1/2"), (3, 4, "2/2"), (4, 4, "2/2")]


def test_a_stopped_run_goes_on_at_the_next_window(maker, tmp_path, monkeypatch):  # noqa: F811
    texts = ["walk"] * 100
    made = Adapter(maker.model, config=load_config("default", []), body=maker.body)
    made.config = replace(maker.config, window=WindowConfig(40, 10))
    made._networks = maker._networks
    track = walker(100)
    people = replace(video(track), times=track.times)
    whole = made.run(people, texts)[0]
    usual, fitted = Adapter._fitted, []

    def counted(self, track, *rest):
        if len(fitted) == 5:  # three windows of the run that measures, two of the other one
            raise KeyboardInterrupt
        fitted.append(len(track))
        return usual(self, track, *rest)

    monkeypatch.setattr(Adapter, "_fitted", counted)
    with pytest.raises(KeyboardInterrupt):
        made.run(people, texts, store=store(tmp_path, made))
    fitted.clear()
    heard, kept = [], store(tmp_path, made)
    again = made.run(people, texts, store=kept, progress=lambda stage, *rest: heard.append(
        rest[-1].get("text", "")))[0]  # fmt: skip
    assert len(fitted) == 1
    assert any("2 of 3 windows are those of an earlier run" in text for text in heard)
    identical(whole, again)
    kept.clear()
    assert list((tmp_path / "adapted").iterdir()) == []


def test_a_window_is_not_taken_for_a_finished_track(maker, tmp_path):  # noqa: F811
    track, texts = walker(40), ["walk"] * 40
    result = maker.adapt(track, CAMERA, texts)
    kept = store(tmp_path, maker)
    kept.put(track, CAMERA, texts, result, window=True)
    assert kept.get(track, CAMERA, texts) is None
    identical(result, kept.get(track, CAMERA, texts, window=True))


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("window.frames=100",), "at least three times window.overlap"),
        (("window.frames=200", "mode=online"), "online has windows of its own"),
        (("window.frames=200", "model.name=result"), "a result is refined as a whole"),
        (("window.frames=10",), "window.frames"),
    ],
)
def test_windows_that_cannot_be_are_refused(settings, says):
    with pytest.raises(SemttaError, match=says):
        load_config("default", settings)


def test_a_network_of_any_camera_goes_through_windows():
    """A metric camera's translation is kept as it is; the tiny network has a full one."""
    model = tiny_model()
    result = adapter(*SHORT, "optimizer.epochs=0", model=model).adapt(walker(70), CAMERA)
    model.crop = replace(model.crop, camera="metric")
    metric = adapter(*SHORT, "optimizer.epochs=0", "closing.path=frames", model=model)
    moved = metric.adapt(walker(70), CAMERA)
    torch.testing.assert_close(moved.base.trans, result.base.cam)  # what cam says is the place


def test_a_window_that_had_other_crops_says_the_same_place():
    whole = adapter("optimizer.epochs=0", "closing.path=frames").adapt(walker(20), CAMERA)
    view = View(load_body(), CAMERA, whole.boxes, tiny_model().crop, BODY27)
    part = whole.at(torch.arange(5, 15))
    found = _prediction(part.base, part, view, whole.track.frames)
    assert torch.equal(found.cam, part.base.cam)  # the same crops: the same bits
    crops = part.boxes + torch.tensor([30.0, -20.0, 40.0])
    cam = weak_perspective(full_translation(part.base.cam, part.boxes, CAMERA), crops, CAMERA)
    other = replace(part, base=replace(part.base, cam=cam), boxes=crops)
    found = _prediction(other.base, other, view, whole.track.frames)
    torch.testing.assert_close(found.cam, part.base.cam, atol=1e-4, rtol=1e-4)
    assert (found.cam - cam).abs().max() > 0.01


def test_where_two_windows_meet_one_goes_over_into_the_other_little_by_little():
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.6, 0.0]))
    a = Prediction(torch.eye(3).expand(12, 24, 3, 3), torch.zeros(12, 10), torch.zeros(12, 3))
    b = Prediction(turn.expand(12, 24, 3, 3), torch.ones(12, 10), torch.ones(12, 3))
    found = _crossfade(a, b)
    angle = roma.rotmat_geodesic_distance(found.rotmats[:, 0], torch.eye(3))
    for value, whole in ((angle, 0.6), (found.cam[:, 0], 1.0), (found.betas[:, 0], 1.0)):
        steps = torch.cat((torch.zeros(1), value, torch.tensor([whole]))).diff()
        assert steps.min() > 0 and steps.max() < 0.15 * whole


def test_seams_shorter_than_the_prior_reads_are_said():
    track, config = walker(70), WindowConfig(frames=40, overlap=10)
    said = short_seams(track, config)
    assert "share 0.3 s" in said and "window.overlap=60" in said and "at least 180" in said
    assert short_seams(track, WindowConfig(frames=200, overlap=60)) == ""


def test_a_result_is_refined_as_a_whole_whatever_its_settings_are_called():
    model = tiny_model()
    model.crop = replace(model.crop, reads="parameters")
    with pytest.raises(SemttaError, match="as a whole"):
        adapter(*SHORT, model=model)
