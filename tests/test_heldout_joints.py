"""Detections that the fit is not shown: which they are, that they leave no trace, what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_adapter import CAMERA, adapter, walker

from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D
from semtta.output.load import load_result
from semtta.skeletons import BODY27, H36M17
from semtta.tta import adapter as adapters
from semtta.tta import second_run
from semtta.tta.heldout import draw_heldout, heldout_errors, judged, limb_members

HELD = "evidence.heldout=0.1"


def points(frames=300, skeleton=BODY27):
    return Keypoints2D(torch.rand(frames, len(skeleton), 2), torch.ones(frames, len(skeleton)),
                       skeleton)  # fmt: skip


def drawn(seen, share=0.1, seed=0, fps=30.0):
    return draw_heldout(seen, torch.arange(len(seen.xy)) / fps, share, seed)


def test_whole_limbs_go_for_a_quarter_of_a_second_all_over_the_track():
    heldout = drawn(points())
    limbs = limb_members(BODY27)
    assert len(limbs) == 4
    parts = torch.stack([heldout[:, limb].all(1) for limb in limbs])
    assert torch.equal(parts, torch.stack([heldout[:, limb].any(1) for limb in limbs]))
    assert sorted(parts.sum(1).tolist()) == [24, 32, 32, 32]  # every limb as often, nearly
    shares = zip(parts.sum(1).tolist(), limbs, strict=True)
    assert heldout.sum() == sum(n * len(limb) for n, limb in shares)  # no hip, shoulder or head
    assert parts.sum(0).max() == 1  # one limb at a time
    starts = (parts.int().diff(dim=1, prepend=torch.zeros(4, 1, dtype=torch.int)) == 1).nonzero()
    assert len(starts) == 15  # of eight frames each
    assert sorted((starts[:, 1] // 20).tolist()) == list(range(15))  # one in each fifteenth


@pytest.mark.parametrize(("fps", "length"), [(12, 3), (60, 15)])
def test_stretches_are_as_long_in_seconds_whatever_the_rate(fps, length):
    heldout = drawn(points(40 * length), fps=fps)
    knee = heldout[:, BODY27.index("left_knee")].int()
    starts = int((knee.diff(prepend=torch.zeros(1, dtype=torch.int)) == 1).sum())
    assert starts and int(knee.sum()) == starts * length


def test_only_what_the_detector_was_sure_of_is_held_out():
    seen = points()
    seen.conf[:, BODY27.index("left_knee")] = 0.4
    seen.conf[:, BODY27.index("right_big_toe")] = 0.0
    seen.conf[:150, BODY27.index("right_wrist")] = 0.0
    heldout = drawn(seen)
    assert not heldout[:, BODY27.index("left_ankle")].any()
    assert not heldout[:, BODY27.index("right_big_toe")].any()
    assert not heldout[:150, BODY27.index("right_elbow")].any()
    assert heldout[:, BODY27.index("right_elbow")].any()


def test_what_is_drawn_follows_from_detections_and_seed_alone():
    seen = points()
    torch.manual_seed(1)
    first = drawn(seen)
    torch.manual_seed(2)
    assert torch.equal(first, drawn(seen))
    assert not torch.equal(first, drawn(seen, seed=1))


def test_short_tracks_and_bodies_without_limbs_keep_everything():
    assert not drawn(points(19)).any()
    assert not drawn(points(30), 0.05, fps=60).any()  # not even one stretch is a twentieth
    assert not drawn(points(), share=0).any()
    lone = points()
    assert not draw_heldout(lone, torch.arange(300) / 30, 0.0, 0).any()
    assert drawn(points(skeleton=H36M17)).any()


def test_knees_ankles_elbows_and_wrists_judge():
    seen = points()
    heldout = drawn(seen)
    measured = judged(heldout, seen)
    assert measured.sum() == 15 * 8 * 2
    assert not measured[:, BODY27.index("left_big_toe")].any()
    off = seen.xy + torch.tensor([3.0, 4.0])
    errors = heldout_errors(heldout, seen, seen.xy, off)
    assert errors.count == 240 and errors.mean == pytest.approx((0.0, 5.0), abs=1e-5)
    rows = heldout.any(1).nonzero()[:, 0]
    assert len(errors.stretches) == 15 and torch.allclose(errors.changes(), torch.tensor(5.0))
    assert errors.at(rows).count == 240 and errors.at((~heldout.any(1)).nonzero()[:, 0]) is None
    assert heldout_errors(torch.zeros_like(heldout), seen, seen.xy, off) is None


def measured(track, *overrides, model=None):
    """A result that was measured by what was held out of a second run."""
    return adapter(HELD, *overrides, model=model).adapt(track, CAMERA, ["walk"] * len(track))


@pytest.mark.parametrize("told", [(), ("shape.height=1.9", "shape.mode=track")])
def test_what_is_measured_never_saw_the_detections_that_measure_it(told, monkeypatch):
    """Detections elsewhere there, and the run that is measured is the same to the bit."""
    track = walker()
    heldout = draw_heldout(track.keypoints, track.times, 0.1, 0)
    moved = track.keypoints.xy + 50.0 * heldout[..., None]
    other = replace(track, keypoints=replace(track.keypoints, xy=moved))
    learnt = []
    usual = adapters.Adapter._fitted

    def watched(self, *arguments):
        run = usual(self, *arguments)
        learnt.append([run.first.rotmats, run.first.cam, run.latest.rotmats, run.latest.cam])
        return run

    monkeypatch.setattr(adapters.Adapter, "_fitted", watched)
    first, second = measured(track, *told), measured(other, *told)
    one, _, two, _ = learnt  # of the runs that are measured, which come first
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert second.heldout.mean[1] > first.heldout.mean[1] + 10
    assert not torch.equal(first.adapted.rotmats, second.adapted.rotmats)  # it saw them


def test_what_is_handed_out_does_not_depend_on_being_measured():
    track = walker()
    result, plain = measured(track), adapter().adapt(track, CAMERA, ["walk"] * 70)
    for motion in ("base", "adapted"):
        assert torch.equal(getattr(result, motion).rotmats, getattr(plain, motion).rotmats)
        assert torch.equal(getattr(result, motion).trans, getattr(plain, motion).trans)
    assert torch.equal(result.evidence.xy, plain.evidence.xy)
    assert plain.heldout is None
    base, adapted = result.heldout.mean
    assert base != adapted
    rows = torch.arange(10, 40)
    part = result.at(rows).heldout
    assert torch.equal(part.adapted.nan_to_num(-1), result.heldout.adapted[rows].nan_to_num(-1))


def test_without_epochs_base_and_adapted_err_alike():
    base, adapted = measured(walker(hidden=False), "optimizer.epochs=0").heldout.mean
    assert base == adapted


def test_base_and_adapted_are_measured_whatever_is_handed_out():
    found, kept = (measured(walker(), f"select={which}") for which in ("adapted", "base"))
    assert kept.heldout.mean == found.heldout.mean


def test_a_second_run_that_fails_costs_the_measure_only(monkeypatch):
    notes = []

    def broken(run):
        raise SemttaError("the motion is not finite.")

    monkeypatch.setattr(second_run, "motions", broken)
    result = adapter(HELD).adapt(
        walker(), CAMERA, progress=lambda stage, done, total, values: notes.append(values)
    )
    assert result.heldout is None and bool(result.adapted.rotmats.isfinite().all())
    said = [values["text"] for values in notes if "held-out" in str(values.get("text"))]
    assert said == ["track 1 could not be measured by held-out joints: the motion is not finite."]


def test_a_saved_result_knows_it_again(tmp_path):
    result = adapter(HELD, "optimizer.epochs=1").adapt(walker(), CAMERA)
    saved = load_result(result.save(tmp_path / "out")).track(1)
    assert saved.heldout.count == result.heldout.count
    assert saved.heldout.mean == pytest.approx(result.heldout.mean)
    path = tmp_path / "out" / "track-01.npz"
    arrays = dict(np.load(path))
    arrays["heldout_base_px"] = -arrays["heldout_base_px"]
    np.savez(path, **arrays)
    with pytest.raises(Exception, match="do not belong together"):
        load_result(tmp_path / "out")
