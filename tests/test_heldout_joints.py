"""Detections that the fit is not shown: which they are, that they leave no trace, what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_adapter import CAMERA, adapter, walker

from semtta.keypoints import Keypoints2D
from semtta.output.load import load_result
from semtta.skeletons import BODY27, H36M17
from semtta.tta import adapter as adapter_module
from semtta.tta.heldout import draw_heldout, heldout_errors, judged, limb_members

HELD = "evidence.heldout=0.1"


def points(frames=300, skeleton=BODY27):
    return Keypoints2D(torch.rand(frames, len(skeleton), 2), torch.ones(frames, len(skeleton)),
                       skeleton)  # fmt: skip


def drawn(seen, share=0.1, seed=0, fps=30.0):
    return draw_heldout(seen, torch.arange(len(seen.xy)) / fps, share, seed)


def test_whole_limbs_go_for_a_third_of_a_second_all_over_the_track():
    heldout = drawn(points())
    limbs = limb_members(BODY27)
    assert len(limbs) == 4
    parts = torch.stack([heldout[:, limb].all(1) for limb in limbs])
    assert torch.equal(parts, torch.stack([heldout[:, limb].any(1) for limb in limbs]))
    assert parts.sum(1).tolist() == [30, 30, 30, 30]  # every limb as often
    assert heldout.sum() == sum(30 * len(limb) for limb in limbs)  # no hip, shoulder or head
    assert parts.sum(0).max() == 1  # one limb at a time
    starts = (parts.int().diff(dim=1, prepend=torch.zeros(4, 1, dtype=torch.int)) == 1).nonzero()
    assert len(starts) == 12  # of ten frames each
    assert sorted(starts[:, 1] // 25) == list(range(12))  # one in each twelfth of the track


@pytest.mark.parametrize(("fps", "length"), [(10, 3), (60, 20)])
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
    assert not drawn(points(), share=0).any()
    lone = points()
    assert not draw_heldout(lone, torch.arange(300) / 30, 0.0, 0).any()
    assert drawn(points(skeleton=H36M17)).any()


def test_knees_ankles_elbows_and_wrists_judge():
    seen = points()
    heldout = drawn(seen)
    measured = judged(heldout, seen)
    assert measured.sum() == 4 * 30 * 2
    assert not measured[:, BODY27.index("left_big_toe")].any()
    off = seen.xy + torch.tensor([3.0, 4.0])
    errors = heldout_errors(heldout, seen, seen.xy, off)
    assert errors.count == 240 and errors.mean == pytest.approx((0.0, 5.0), abs=1e-5)
    rows = heldout.any(1).nonzero()[:, 0]
    assert errors.at(rows).count == 240 and errors.at((~heldout.any(1)).nonzero()[:, 0]) is None
    assert heldout_errors(torch.zeros_like(heldout), seen, seen.xy, off) is None


def test_the_fit_does_not_feel_what_is_held_out(monkeypatch):
    """Other detections there, and the result is the same to the bit: only the measure is another.
    (What the network reads is not held out, so it is given the same here.)"""
    track = walker()
    first = adapter(HELD, "evidence.fill=true").adapt(track, CAMERA, ["walk"] * 70)
    moved = track.keypoints.xy + 50.0 * first.evidence.heldout[..., None]
    other = replace(track, keypoints=replace(track.keypoints, xy=moved))
    given = adapter_module.prepare_inputs
    monkeypatch.setattr(adapter_module, "prepare_inputs", lambda model, _, *rest: given(
        model, track, *rest))  # fmt: skip
    second = adapter(HELD, "evidence.fill=true").adapt(other, CAMERA, ["walk"] * 70)
    for name in ("rotmats", "betas", "trans", "landmarks2d"):
        assert torch.equal(getattr(first.adapted, name), getattr(second.adapted, name))
    assert second.heldout.mean[1] > first.heldout.mean[1] + 10
    shown = adapter().adapt(other, CAMERA, ["walk"] * 70)  # and without, it does
    assert not torch.equal(shown.adapted.rotmats, second.adapted.rotmats)


def test_without_a_share_nothing_is_held_out():
    result = adapter().adapt(walker(), CAMERA)
    assert result.heldout is None and not result.evidence.heldout.any()
    assert torch.equal(result.evidence.seen, result.evidence.detected)


def test_what_is_held_out_is_missing_from_the_evidence_but_was_seen():
    result = adapter(HELD).adapt(walker(), CAMERA)
    evidence = result.evidence
    assert evidence.heldout.any() and not (evidence.heldout & evidence.detected).any()
    assert torch.equal(evidence.seen, result.detections.conf > 0)
    assert evidence.filled_share() == 0
    assert torch.equal(evidence.xy[evidence.heldout], result.detections.xy[evidence.heldout])
    rows = torch.arange(10, 40)
    assert torch.equal(result.at(rows).evidence.heldout, evidence.heldout[rows])


def test_a_saved_result_knows_it_again(tmp_path):
    result = adapter(HELD, "optimizer.epochs=1").adapt(walker(), CAMERA)
    saved = load_result(result.save(tmp_path / "out")).track(1)
    assert torch.equal(saved.evidence.heldout, result.evidence.heldout)
    assert saved.heldout.count == result.heldout.count
    assert saved.heldout.mean == pytest.approx(result.heldout.mean)
    path = tmp_path / "out" / "track-01.npz"
    arrays = dict(np.load(path))
    arrays["heldout_base_px"] = -arrays["heldout_base_px"]
    np.savez(path, **arrays)
    with pytest.raises(Exception, match="do not belong together"):
        load_result(tmp_path / "out")
