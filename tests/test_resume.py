"""A run that is stopped goes on behind the tracks that it had finished, to the same bits."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_adapter import CAMERA, adapter, tiny_model, walker
from test_cli import run  # noqa: F401
from test_many import QUICK, clip, detector, motions, same_motions  # noqa: F401
from test_people_chosen import video

from semtta.cache import Cache
from semtta.errors import SemttaError
from semtta.jobs.kept import KeptTracks
from semtta.motion.user_dictionary import UserDictionary
from semtta.output.exact import exact_arrays, read_exact
from semtta.tta import outcome
from semtta.tta.adapter import Adapter

ASKED = {"video": "v", "own files": "f"}
TEXTS = ["walk"] * 40


def store(folder, maker, heard=None, asked=ASKED, added=None):
    added = added or UserDictionary()
    announce = (lambda text: None) if heard is None else heard.append
    return KeptTracks(Cache(folder), asked, maker, added, announce)


def parts(result):
    """Everything in a result, flat."""
    track, evidence = result.track, result.evidence
    numbers = [track.frames, track.times, track.boxes, track.keypoints.xy, track.keypoints.conf,
               track.landmarks3d, track.conf3d, result.boxes, result.similarity,
               result.gate_similarity, evidence.xy, evidence.present, evidence.weight,
               evidence.filled_in, evidence.known, evidence.raw.xy, evidence.raw.conf]  # fmt: skip
    unshown = result.heldout
    numbers += [None, None] if unshown is None else [unshown.base, unshown.adapted]
    for motion in (result.base, result.adapted):
        numbers += [getattr(motion, name) for name in motion.__dataclass_fields__]
    plain = (track.id, result.camera, result.camera.origin, result.heard, result.labels,
             result.sigma, json.dumps(result.history), json.dumps(result.provenance))  # fmt: skip
    return numbers, plain


def identical(a, b):
    (one, plain), (other, also) = parts(a), parts(b)
    for x, y in zip(one, other, strict=True):
        if x is None or y is None:
            assert x is y
        else:
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x.numpy(), y.numpy())
    assert plain == also


@pytest.fixture
def maker(monkeypatch):
    monkeypatch.setattr(outcome, "provenance", lambda *given: {"made": [1.5, None, "x"]})
    return adapter("evidence.heldout=0.1", model=tiny_model())


@pytest.mark.parametrize("texts", [TEXTS, [None] * 40])
def test_a_result_survives_exactly(maker, tmp_path, texts):
    result = maker.adapt(replace(walker(40), landmarks3d=None, conf3d=None), CAMERA, texts)
    result.history[-1]["nothing"] = float("nan")
    np.savez(tmp_path / "r.npz", **exact_arrays(result, "this"))
    identical(result, read_exact(tmp_path / "r.npz", "this"))
    with pytest.raises(SemttaError, match="another question"):
        read_exact(tmp_path / "r.npz", "that")


def test_a_stopped_run_goes_on_and_nothing_differs(maker, tmp_path, monkeypatch):
    people = video(walker(40, id=1), walker(38, id=2, seed=1), walker(36, id=3, seed=2))
    whole = maker.run(people, TEXTS, tracks="all")
    usual, made = Adapter._adapt, []

    def counted(self, track, *rest):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(track.id)
        return usual(self, track, *rest)

    monkeypatch.setattr(Adapter, "_adapt", counted)
    with pytest.raises(KeyboardInterrupt):
        maker.run(people, TEXTS, tracks="all", store=store(tmp_path, maker))
    made.clear()
    heard: list[str] = []
    kept = store(tmp_path, maker, heard)
    again = maker.run(people, TEXTS, tracks="all", store=kept)
    assert made == [3]
    assert [text.split(" was adapted by an earlier run")[0] for text in heard] == [
        "track 1", "track 2"]  # fmt: skip
    for one, other in zip(whole, again, strict=True):
        identical(one, other)
    kept.clear()
    assert list((tmp_path / "adapted").iterdir()) == []


def test_only_the_very_same_request_is_answered(maker, tmp_path, monkeypatch):
    track = walker(40)
    result = maker.adapt(track, CAMERA, TEXTS)
    store(tmp_path, maker).put(track, CAMERA, TEXTS, result)
    found = store(tmp_path, maker).get(track, CAMERA, TEXTS)
    assert found is not None
    moved = replace(track, keypoints=replace(track.keypoints, xy=track.keypoints.xy + 1e-4))
    kept = store(tmp_path, maker)
    assert kept.get(moved, CAMERA, TEXTS) is None
    assert kept.get(track, replace(CAMERA, focal=1001.0), TEXTS) is None
    assert kept.get(track, CAMERA, [*TEXTS[:-1], None]) is None
    others = [
        store(tmp_path, maker, asked=ASKED | {"video": "w"}),
        store(tmp_path, maker, asked=ASKED | {"own files": "g"}),
        store(tmp_path, maker, added=UserDictionary(("hop",))),
        store(tmp_path, maker, added=UserDictionary(("hop",), {}, {"hop": torch.zeros(1)})),
    ]
    monkeypatch.setattr("semtta.jobs.kept.provenance", lambda *given: {"torch": "other"})
    others.append(store(tmp_path, maker))
    assert len({other._path(other._asked(track, CAMERA, TEXTS)) for other in others}) == 5
    assert all(other.get(track, CAMERA, TEXTS) is None for other in others)


def test_a_damaged_track_is_adapted_anew_and_said(maker, tmp_path):
    people = video(walker(40))
    before = maker.run(people, TEXTS, store=store(tmp_path, maker))
    (path,) = (tmp_path / "adapted").iterdir()
    path.write_bytes(path.read_bytes()[:500])
    heard: list[str] = []
    (again,) = maker.run(people, TEXTS, store=store(tmp_path, maker, heard))
    assert len(heard) == 1 and "damaged or of another version" in heard[0]
    identical(before[0], again)
    (tmp_path / "file").write_text("")
    maker.run(people, TEXTS, store=store(tmp_path / "file", maker, heard))
    assert "could not be kept for a run that goes on" in heard[1]


def test_ctrl_c_in_the_command_keeps_detections_and_finished_tracks(
    run, tmp_path, detector, monkeypatch  # noqa: F811
):  # fmt: skip
    clip(tmp_path / "a.mp4")
    words = ("adapt", "a.mp4", "--track", "all", "--label", "walk", *QUICK)
    assert run(*words, "-o", "whole", "--no-cache")[0] == 0
    usual = Adapter._adapt

    def interrupted(self, track, *rest):
        if track.id == 2:
            raise KeyboardInterrupt
        return usual(self, track, *rest)

    detector.clear()
    with monkeypatch.context() as patched:
        patched.setattr(Adapter, "_adapt", interrupted)
        code, _, err = run(*words, "-o", "o")
    assert code == 130 and not (tmp_path / "o").exists()
    assert err.splitlines()[-1] == (
        "semtta: stopped; the people found and every finished track are kept, the same command "
        "goes on."
    )
    code, out, err = run(*words, "-o", "o")
    said = " ".join((out + err).split())
    assert code == 0 and detector == ["a.mp4"]
    assert "track 1 was adapted by an earlier run" in said and "track 2 was" not in said
    assert len(motions(tmp_path / "o")) == 2
    same_motions(tmp_path / "whole", tmp_path / "o")
