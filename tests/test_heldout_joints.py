"""Detections that the fit is not shown: which they are, that they leave no trace, what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_adapter import CAMERA, adapter, walker

from semtta.keypoints import Keypoints2D
from semtta.output.load import load_result
from semtta.skeletons import BODY27, H36M17, SMPL24
from semtta.tta import adapter as adapters
from semtta.tta import aside
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
    """(base, adapted) held-out errors and what was predicted where nothing was shown."""
    return adapter(HELD, *overrides, model=model).adapt(track, CAMERA, ["walk"] * len(track))


def test_neither_fit_nor_network_feels_what_is_held_out(monkeypatch):
    """Other detections there, and all that comes out of the adaptation is the same to the bit: only
    the measure is another, and what the network says when it is shown everything in the end."""
    track = walker()
    heldout = measured(track).evidence.heldout
    moved = track.keypoints.xy + 50.0 * heldout[..., None]
    other = replace(track, keypoints=replace(track.keypoints, xy=moved))
    learnt = []
    usual = aside.put_back

    def seen_at_the_end(run, was):
        learnt.append([p.detach().clone() for p in run.model.parameters()])
        learnt[-1] += [run.first.rotmats, run.latest.rotmats, run.latest.cam]
        return usual(run, was)

    monkeypatch.setattr(adapters, "put_back", seen_at_the_end)
    first, second = measured(track), measured(other)
    assert all(torch.equal(a, b) for a, b in zip(*learnt, strict=True))
    assert second.heldout.mean[1] > first.heldout.mean[1] + 10
    shown = adapter().adapt(other, CAMERA, ["walk"] * 70)  # and without, they do
    assert not torch.equal(shown.adapted.rotmats, second.adapted.rotmats)


def test_a_told_body_does_not_feel_it_either(monkeypatch):
    track = walker()
    told = ("shape.height=1.9", "shape.mode=track")
    heldout = measured(track, *told).evidence.heldout
    moved = track.keypoints.xy + 50.0 * heldout[..., None]
    other = replace(track, keypoints=replace(track.keypoints, xy=moved))
    seen = []
    usual = aside.put_back

    def at_the_end(run, was):
        seen.append([run.first.cam, run.first.betas, run.latest.cam, run.latest.rotmats])
        return usual(run, was)

    monkeypatch.setattr(adapters, "put_back", at_the_end)
    measured(track, *told), measured(other, *told)
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_what_is_handed_out_was_shown_everything():
    track = walker(hidden=False)
    result = measured(track, "optimizer.epochs=0")
    plain = adapter("optimizer.epochs=0").adapt(track, CAMERA, ["walk"] * 70)
    assert torch.equal(result.base.rotmats, plain.base.rotmats)
    assert torch.equal(result.adapted.rotmats, plain.base.rotmats)
    assert result.heldout.mean[0] == result.heldout.mean[1]
    result = measured(track)
    assert torch.equal(result.base.rotmats, plain.base.rotmats)
    evidence = result.evidence
    assert evidence.heldout.any() and evidence.detected[:, evidence.known].all()
    assert torch.equal(evidence.xy[evidence.heldout], track.keypoints.xy[evidence.heldout])
    rows = torch.arange(10, 40)
    assert torch.equal(result.at(rows).evidence.heldout, evidence.heldout[rows])


def test_without_a_share_nothing_is_held_out():
    result = adapter("evidence.heldout=0").adapt(walker(), CAMERA)
    assert result.heldout is None and result.evidence.heldout is None


def test_a_limb_is_not_held_in_the_end_for_what_was_only_held_out():
    """Half a second held out beside an occlusion does not make that longer."""
    seen = walker(120, hidden=False)
    leg = BODY27.indices(["right_knee", "right_ankle", "right_heel", "right_big_toe"])
    seen.keypoints.conf[40:80, leg] = 0
    maker = adapter("evidence.heldout=0.2", "hold.after=0.2", "optimizer.lr=1e-2")
    result = maker.adapt(seen, CAMERA)
    knee, ankle = BODY27.index("right_knee"), BODY27.index("right_ankle")
    rows = result.evidence.heldout[:, ankle] & (seen.keypoints.conf[:, knee] > 0)
    assert rows.any()
    hip = SMPL24.index("right_hip")
    base, adapted = result.base.rotmats[rows, hip], result.adapted.rotmats[rows, hip]
    assert not torch.allclose(base, adapted, atol=1e-6)


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
