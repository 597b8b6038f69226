"""What `semtta pose2d adapt` leaves behind is 2D evidence of `semtta adapt`."""

from __future__ import annotations

import json

import torch
from test_adapter import walker
from test_check import QUICK, video  # noqa: F401
from test_cli import run  # noqa: F401

from semtta.output.load import load_result
from semtta.pose2d.checkpoint import load_checkpoint
from semtta.pose2d.clip2pose import Clip2Pose
from semtta.pose2d.detect import estimate_track
from semtta.shipped import file_sha256
from semtta.skeletons import LIMB12

SMALL = ("estimator.size=64", "estimator.deconv=8", "source.count=4", "optimizer.epochs=1",
         "optimizer.iterations=2", "optimizer.batch=2", "target.boxes=whole")  # fmt: skip


def test_an_adapted_estimator_is_the_evidence_of_an_adaptation(run, video, tmp_path):  # noqa: F811
    code, _, told = run("pose2d", "adapt", video, *SMALL, "-o", "net", "--quiet")
    assert code == 0, told
    model = tmp_path / "net" / "model.pt"
    assert isinstance(load_checkpoint(model), Clip2Pose)
    # so short a training is sure of nothing: whatever it says is taken
    code, _, told = run("adapt", video, *QUICK, "evidence.min_confidence=0", "--no-cache",
                        "--estimator", model, "--no-overlay", "--no-page", "-o", "out")  # fmt: skip
    assert code == 0, told
    (track,) = load_result(tmp_path / "out").tracks
    theirs = estimate_track(model, video, walker(40, hidden=False)).keypoints.to_skeleton(LIMB12)
    ours = track.track.keypoints.to_skeleton(LIMB12)
    assert theirs.conf.max() > 0 and torch.allclose(ours.conf, theirs.conf, atol=1e-4)
    seen = theirs.conf > 0
    assert (ours.xy - theirs.xy)[seen].abs().max() < 0.05
    # the base's fit moved towards it, and the result says where it came from
    assert not torch.equal(track.base.rotmats, track.adapted.rotmats)
    assert file_sha256(model)[:8] in json.dumps(
        json.loads((tmp_path / "out" / "report.json").read_text("utf8"))
    )
