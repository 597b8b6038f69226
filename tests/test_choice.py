"""Base or adapted: what held-out detections decide, and how one turns into the other."""

import math

import pytest
import roma
import torch
from test_adapter import CAMERA, adapter, same, walker

from semtta.errors import SemttaError
from semtta.geometry import geodesic_degrees
from semtta.tta import outcome
from semtta.tta.choice import base_share
from semtta.tta.heldout import HeldoutErrors

NAN = float("nan")


def errors(changes, frames=None, length=8):
    """A stretch every 25 frames, in each of which base is 10 pixels off and adapted as told."""
    frames = frames or 25 * len(changes)
    base = torch.full((frames, 8), NAN)
    adapted = base.clone()
    for i, change in enumerate(changes):
        rows = slice(25 * i + 5, 25 * i + 5 + length)
        joints = slice(2 * (i % 4), 2 * (i % 4) + 2)
        base[rows, joints], adapted[rows, joints] = 10.0, 10.0 + change
    return HeldoutErrors(base, adapted)


def share(measured, mode="auto", frames=None):
    times = torch.arange(frames or len(measured.base)) / 30
    return base_share(measured, times, mode)


def test_the_base_stays_where_the_adapted_motion_did_no_better():
    assert (share(errors([-1, -2, -1, -1])) == 0).all()
    assert (share(errors([1, 2, 1, 1])) == 1).all()
    assert (share(errors([3, -1, -1, 0])) == 1).all()  # together they decide, by their mean
    assert (share(errors([2, 1, 3])) == 0).all()  # too few decide nothing


def test_a_long_track_is_decided_part_by_part_without_a_jump():
    kept = share(errors([-1] * 4 + [2] * 4 + [-1] * 4))
    middle = len(kept) // 2
    assert kept[:80].eq(0).all() and kept[-80:].eq(0).all() and kept[middle] == 1
    assert kept.diff().abs().max() < 0.1  # half a second from one to the other
    assert (kept > 0.5).sum() == pytest.approx(100, abs=3)


def test_the_settings_may_say_so_whatever_was_measured():
    assert (share(errors([5, 5]), "adapted") == 0).all()
    assert (share(errors([-5, -5]), "base") == 1).all()
    assert (base_share(None, torch.arange(40) / 30, "auto") == 0).all()


def run_with(monkeypatch, kept, *overrides, frames=70):
    monkeypatch.setattr(outcome, "base_share", lambda *given: kept)
    return adapter("optimizer.lr=1e-2", *overrides).adapt(walker(frames), CAMERA)


def test_all_of_one_is_that_one_to_the_bit(monkeypatch):
    plain = adapter("optimizer.lr=1e-2").adapt(walker(), CAMERA)
    none = run_with(monkeypatch, torch.zeros(70))
    assert same(none.adapted, plain.adapted) and none.base_share is None
    whole = run_with(monkeypatch, torch.ones(70))
    assert same(whole.adapted, plain.base)
    assert torch.equal(whole.adapted.landmarks2d, plain.base.landmarks2d)


def test_in_between_every_joint_turns_evenly_from_one_to_the_other(monkeypatch):
    plain = adapter("optimizer.lr=1e-2").adapt(walker(), CAMERA)
    kept = torch.linspace(0, 1, 70)
    result = run_with(monkeypatch, kept)
    whole = geodesic_degrees(plain.adapted.rotmats, plain.base.rotmats)
    gone = geodesic_degrees(plain.adapted.rotmats, result.adapted.rotmats)
    assert torch.allclose(gone, kept[:, None] * whole, atol=0.1)
    valid = result.adapted.rotmats @ result.adapted.rotmats.mT
    assert torch.allclose(valid, torch.eye(3).expand_as(valid), atol=1e-5)
    assert torch.equal(result.adapted.betas, plain.adapted.betas)
    assert torch.equal(result.adapted.rotmats[-1], plain.base.rotmats[-1])
    assert torch.equal(result.base_share, kept)
    between = torch.lerp(plain.adapted.trans, plain.base.trans, kept[:, None])
    assert torch.allclose(
        result.adapted.trans, between, rtol=0.05, atol=0.01
    )  # but for the body's size


def test_of_a_base_with_another_body_the_adapted_one_stands_where_it_stood(monkeypatch):
    """Another shape is not put at the base's distance: the picture would show it elsewhere."""
    free = ("shape.mode=track", "smoothing.shape_weight=0", "optimizer.lr=3e-2")
    kept = torch.cat((torch.ones(35), torch.zeros(35)))
    result = run_with(monkeypatch, kept, *free)
    base, handed = result.base, result.adapted
    assert (handed.betas[0] - base.betas[0]).abs().max() > 0.3
    off = (handed.landmarks2d - base.landmarks2d)[:35].norm(dim=-1)
    tall = base.landmarks2d[:35].amax(1) - base.landmarks2d[:35].amin(1)
    assert float(off.mean()) < 0.02 * float(tall.amax(1).mean())
    assert torch.equal(handed.rotmats[:35], base.rotmats[:35])


def test_auto_says_what_it_needs(capsys):
    with pytest.raises(SemttaError, match="it needs evidence.heldout"):
        adapter("select=auto", "evidence.heldout=0")
    told = []
    maker = adapter("select=auto", "evidence.heldout=0.05")
    maker.adapt(walker(40), CAMERA, progress=lambda stage, *rest: told.append((stage, *rest)))
    notes = [values["text"] for stage, _, _, values in told if stage == "note"]
    assert any("for select=auto to decide" in text for text in notes)


def test_what_is_handed_out_lies_where_its_landmarks_do(monkeypatch):
    result = run_with(monkeypatch, torch.linspace(0, 1, 70))
    from semtta.body import load_body
    from semtta.geometry import project

    motion = result.adapted
    points = load_body().landmarks(motion.rotmats, motion.betas, result.detections.skeleton)
    pixels = project(points + motion.trans[:, None], CAMERA.focal, torch.tensor(CAMERA.center))
    assert torch.allclose(pixels, motion.landmarks2d, atol=1e-2)


def test_a_base_that_is_true_is_not_made_worse():
    """The walker's own motion as the base, and a fit that pulls it elsewhere."""
    track = walker(120, hidden=False)
    harmful = ("optimizer.lr=3e-2", "evidence.heldout=0.2", "reprojection.weight=0",
               "smoothing.kind=gaussian", "smoothing.weight=50", "smoothing.sigma=1",
               "gate.source=current", "evidence.fill_source=prediction")  # fmt: skip
    worse = adapter(*harmful, "select=adapted").adapt(track, CAMERA)
    assert worse.heldout.mean[1] > worse.heldout.mean[0]
    safe = adapter(*harmful, "select=auto").adapt(track, CAMERA)
    off = (worse.adapted.rotmats - worse.base.rotmats).abs().max()
    kept = (safe.adapted.rotmats - safe.base.rotmats).abs().max()
    assert off > 0.01 and kept < off and safe.base_share.max() == 1
    turn = roma.rotmat_geodesic_distance(safe.adapted.rotmats, safe.base.rotmats)
    assert float(turn.mean()) < math.pi / 2
