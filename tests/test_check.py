"""``semtta check``: methods side by side, judged by detections that none of them was shown."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_adapter import CAMERA, adapter, walker
from test_cli import refused, run  # noqa: F401
from test_many import clip

from semtta.jobs import check as job
from semtta.jobs.check import NAMES, check_video
from semtta.output.measures import distances
from semtta.people import TrackedVideo
from semtta.tta.heldout import HeldoutErrors
from semtta.video import probe

QUICK = ("optimizer.epochs=1", "optimizer.coverage=1", "smoothing.kind=gaussian",
         "gate.source=current", "evidence.fill_source=prediction")  # fmt: skip
NAN = float("nan")


def found_in(track):
    def track_video(path, **settings):
        times = torch.arange(len(track)).double() / 30
        return TrackedVideo(probe(path), [track], times)

    return track_video


@pytest.fixture
def video(tmp_path, monkeypatch):
    """A clip of 40 frames and who is in it."""
    path = clip(tmp_path / "clip.mp4", count=40)
    monkeypatch.setattr("semtta.tta.people.track_video", found_in(walker(40, hidden=False)))
    return path


def test_every_method_is_judged_by_the_same_detections(video):
    rows = check_video(video, "default", QUICK, "walk")
    assert [row.method for row in rows] == list(NAMES.values())
    assert len({row.joint_frames for row in rows}) == 1 and rows[0].joint_frames >= 32
    base = rows[0]
    assert base.change == 0 and base.heldout_px > 0
    for row in rows:
        assert row.heldout_px - base.heldout_px == pytest.approx(row.change, abs=1e-3)
    assert rows[1].jitter_mm < base.jitter_mm  # what a filter is for
    assert rows[2].fit_px not in (base.fit_px, rows[1].fit_px)
    assert [row.method for row in check_video(video, "default", QUICK)] == list(NAMES.values())[:4]


def test_the_table_is_printed_and_kept_where_asked(run, video, tmp_path):  # noqa: F811
    code, said, _ = run("check", video, *QUICK, "--label", "walk", "-o", "table.json", "--no-cache")
    assert code == 0 and "base, filtered" in said and "held out, px" in said
    rows = json.loads((tmp_path / "table.json").read_text())
    assert [row["method"] for row in rows] == list(NAMES.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "table.json"]
    code, _, told = run("check", video, *QUICK, "-o", "table.json")
    assert code == 2 and "--overwrite" in told


def test_the_base_may_be_a_result(run, video, tmp_path):  # noqa: F811
    result = adapter("optimizer.epochs=1").adapt(walker(40, hidden=False), CAMERA)
    result.save(tmp_path / "made")
    code, said, told = run("check", video, "--result", "made/track-01.npz", *QUICK, "--no-cache",
                           "-o", "table.json")  # fmt: skip
    assert code == 0, told
    base = json.loads((tmp_path / "table.json").read_text())[0]
    off = float(distances(result.adapted, result).nanmean())  # of all, held out or not
    assert base["fit_px"] == pytest.approx(off, rel=0.1)


def test_a_track_that_is_too_short_to_hold_anything_out_is_refused(run, tmp_path, monkeypatch):  # noqa: F811
    clip(tmp_path / "short.mp4", count=15)
    monkeypatch.setattr("semtta.tta.people.track_video", found_in(walker(15)))
    refused(run("check", "short.mp4", *QUICK, "--no-cache", "--quiet"), "nothing to judge by")


def test_options_that_exclude_each_other_are_refused(run, video):  # noqa: F811
    refused(run("check", video, "--label", "a", "--labels", "b.json"), "not both")
    refused(run("check", video, "--result", "x.npz", "--model", "hmr"), "not both")


def test_a_stretch_is_one_sample():
    held = torch.full((12, 4), NAN)
    held[1:4, :2] = 1.0
    held[4:6, 2:] = 2.0
    held[9:10, :2] = 3.0
    errors = HeldoutErrors(held, held + 1)
    assert errors.stretches == [slice(1, 4), slice(4, 6), slice(9, 10)]
    assert job._change(errors) == (pytest.approx(1.0), None)  # three say nothing of chance
    held[11, 3] = 0.0
    change, spread = job._change(
        replace(errors, base=held, adapted=held + torch.arange(12)[:, None])
    )
    means = torch.tensor([2.0, 4.5, 9.0, 11.0])
    assert spread == pytest.approx(float(means.std()), rel=1e-5)  # two standard errors of four
    assert change == pytest.approx(float(np.average(means, weights=[6, 4, 2, 1])), rel=1e-5)
