"""What a result can do by itself: be saved, read back, exported and drawn."""

from dataclasses import replace

import pytest
import torch
from page_results import video_of, waving
from test_exports import made

from semtta.body import load_body
from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.geometry import geodesic_degrees
from semtta.output.load import load_result
from semtta.tta.result import Result
from semtta.video import probe, video_hash

BODY = load_body()


def told(result, clip=None):
    """With what an adapter would write down."""
    from dataclasses import asdict

    said = {"config": asdict(load_config()), "body": {"name": BODY.name, "sha256": BODY.sha256}}
    if clip is not None:
        said["video"] = {"name": clip.name, "sha256": video_hash(clip)}
    return replace(result, provenance=said)


def same(a, b):
    for one, other in ((a.base, b.base), (a.adapted, b.adapted)):
        assert float(geodesic_degrees(one.rotmats, other.rotmats).max()) < 0.01
        for name in ("betas", "trans", "trans_raw", "cam", "landmarks2d"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    assert torch.equal(a.track.frames, b.track.frames) and torch.equal(a.evidence.xy, b.evidence.xy)
    assert (a.labels, a.history, a.provenance) == (b.labels, b.history, b.provenance)


def test_a_result_is_saved_and_read_back(tmp_path):
    result = told(made(kept=[0, 1, 2, 5, 6, 9]))
    assert result.save(tmp_path / "r") == tmp_path / "r"
    found = Result.load(tmp_path / "r")
    same(result, found)
    assert found.fps == pytest.approx(30, abs=1e-3)
    assert load_result(tmp_path / "r").load_body().sha256 == BODY.sha256
    assert not (tmp_path / "r" / "overlay.mp4").exists()
    with pytest.raises(SemttaError, match="--overwrite"):
        result.save(tmp_path / "r")
    found.save(tmp_path / "again")
    same(found, Result.load(tmp_path / "again", 1))
    assert load_config(str(tmp_path / "again" / "config.yaml")) == load_config()
    with pytest.raises(SemttaError, match="no track 2"):
        Result.load(tmp_path / "r", 2)
    with pytest.raises(SemttaError, match="does not exist"):
        Result.load(tmp_path / "absent")


def test_several_tracks_must_be_named(tmp_path):
    from test_exports import saved

    one = told(made())
    folder = saved(tmp_path / "r", one, replace(one, track=replace(one.track, id=2)))
    assert Result.load(folder, 2).track.id == 2
    with pytest.raises(SemttaError, match="holds tracks 1, 2; say which one"):
        Result.load(folder)


def test_a_result_is_exported_as_from_its_folder(tmp_path):
    result = told(made(betas=torch.randn(10)))
    result.save(tmp_path / "r")
    written = result.export("bvh,joints", tmp_path / "x")
    assert sorted(path.name for path in written) == [
        "track-01.bvh", "track-01_joints.csv", "track-01_joints.json"]  # fmt: skip
    Result.load(tmp_path / "r").export("bvh", tmp_path / "y", body=BODY)
    one, other = ((tmp_path / name / "track-01.bvh").read_text() for name in "xy")
    assert one.split("MOTION")[0] == other.split("MOTION")[0]
    with pytest.raises(SemttaError, match="--overwrite"):
        result.export("bvh", tmp_path / "x")
    with pytest.raises(SemttaError, match="no format 'fbx'"):
        result.export("fbx", tmp_path / "x")


def test_a_result_is_drawn_over_its_own_video_only(tmp_path):
    clip = video_of(12, tmp_path / "clip.mp4")
    result = told(waving(), clip)
    path = result.render(tmp_path / "o.mp4", clip, scale=0.1, layout="adapted")
    assert (probe(path).width, probe(path).height) == (128, 72) and probe(path).frames == 12
    other = video_of(11, tmp_path / "other.mp4")
    for wrong in (lambda: result.render(tmp_path / "p.mp4", other),
                  lambda: result.save(tmp_path / "s", video=other)):  # fmt: skip
        with pytest.raises(SemttaError, match="is not the video that this result was made from"):
            wrong()
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "other.mp4", "o.mp4"}


def test_a_result_that_does_not_know_its_body_must_be_given_one(tmp_path):
    bare = replace(made(), provenance={})
    with pytest.raises(SemttaError, match="does not say which body"):
        bare.save(tmp_path / "r")
    bare.save(tmp_path / "r", body=BODY)
    assert load_result(tmp_path / "r").body == "cc0"
    other = told(made())
    other.provenance["body"]["sha256"] = "0" * 64
    with pytest.raises(SemttaError, match="made with another body"):
        other.export("bvh", tmp_path / "x")
