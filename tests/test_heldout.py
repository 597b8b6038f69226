"""Detections that are taken away leave no trace, and are asked for exactly."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_adapter import CAMERA, walker
from test_cli import run  # noqa: F401

from semtta.bench import heldout
from semtta.bench.heldout import HeldoutBenchmark, HeldoutTruth, Person, find_videos, open_heldout
from semtta.bench.heldout_masks import hide
from semtta.bench.methods import find_methods
from semtta.bench.runner import TrackRunner, plan
from semtta.bench.statistics import summarise_rows
from semtta.bench.table_files import load_table
from semtta.bench.tables import view_table
from semtta.config_schema import CameraConfig
from semtta.errors import SemttaError, SemttaWarning
from semtta.geometry import ray_rotation
from semtta.labels import Labels, LabelSpan
from semtta.labels.beside import labels_beside
from semtta.people import TrackedVideo, pipeline
from semtta.shipped import asset
from semtta.skeletons import BODY27, LIMB12
from semtta.video import probe

LEGS = BODY27.indices(f"{s}_{p}" for s in ("left", "right") for p in ("knee", "ankle"))
FEET = BODY27.indices(f"{s}_{p}" for s in ("left", "right") for p in ("heel", "big_toe"))


def tall(count=70):
    return walker(count, hidden=False)


def test_gone_takes_both_legs_and_feet_throughout():
    hidden = hide(tall(), "gone", "a", CAMERA)
    conf = hidden.track.keypoints.conf
    assert not conf[:, LEGS + FEET].any() and not hidden.track.conf3d[:, LEGS + FEET].any()
    rest = [j for j in range(27) if j not in LEGS + FEET]
    assert bool((conf[:, rest] > 0).all()) and bool(hidden.classes["legs"][:, LEGS].all())
    assert not hidden.classes["legs"][:, rest].any()  # hips are seen, feet are no judges


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_mix_takes_the_promised_shares(name):
    hidden = hide(tall(100), "mix", name, CAMERA)
    legs, arm, random = (hidden.classes[kind] for kind in ("legs", "arm", "random"))
    assert legs[:, LEGS].all(1).sum() == 40 and legs.any(1).sum() == 40
    assert arm.any(1).sum() == 40 and arm.any(0).sum() == 2  # elbow and wrist of one side
    starts = torch.where(legs.any(1))[0]
    assert starts[-1] - starts[0] == 39  # in one piece
    limbs = BODY27.indices(LIMB12.joints)
    free = (~(legs | arm))[:, limbs].sum()
    assert 0.045 * free < random.sum() < 0.065 * free + 5
    assert not (legs & arm).any() and not (random & (legs | arm)).any()
    # one class per detection, and what is left is what the methods see
    seen = hidden.track.keypoints.conf > 0
    assert torch.equal(hidden.classes["visible"], seen & (hidden.classes["visible"] | seen)
                       & torch.tensor([j in limbs for j in range(27)]))  # fmt: skip


def test_masks_follow_from_the_name_alone():
    a, again, b = (hide(tall(), "mix", name, CAMERA).classes for name in ("a", "a", "b"))
    assert all(torch.equal(a[kind], again[kind]) for kind in a)
    assert not torch.equal(a["legs"], b["legs"]) or not torch.equal(a["random"], b["random"])


@pytest.mark.parametrize("which", ["mix", "gone"])
def test_what_was_taken_away_cannot_be_seen_in_what_is_left(which):
    track = tall()
    taken = hide(track, which, "a", CAMERA)
    gone = taken.track.keypoints.conf == 0
    points = track.keypoints
    generator = torch.Generator().manual_seed(1)
    elsewhere = torch.where(gone[..., None], 900 * torch.rand(70, 27, 2, generator=generator),
                            points.xy)  # fmt: skip
    space = torch.where(gone[..., None], torch.randn(70, 27, 3, generator=generator),
                        track.landmarks3d)  # fmt: skip
    other = hide(replace(track, keypoints=replace(points, xy=elsewhere), landmarks3d=space),
                 which, "a", CAMERA)  # fmt: skip
    for field in ("boxes", "landmarks3d", "conf3d"):
        assert torch.equal(getattr(taken.track, field), getattr(other.track, field))
    assert torch.equal(taken.track.keypoints.xy, other.track.keypoints.xy)
    assert torch.equal(taken.track.keypoints.conf, other.track.keypoints.conf)
    shrunk = (taken.track.boxes[:, 3] - taken.track.boxes[:, 1]) / (
        track.boxes[:, 3] - track.boxes[:, 1])  # fmt: skip
    assert shrunk.min() < 0.7  # the box no longer tells how far the legs reached


def test_the_detectors_3d_points_the_same_way_from_the_new_boxes():
    track, taken = tall(), hide(tall(), "gone", "a", CAMERA).track

    def turned(which):
        center = which.boxes.new_tensor(CAMERA.center)
        middle = (which.boxes[:, :2] + which.boxes[:, 2:]) / 2
        return which.landmarks3d @ ray_rotation((middle - center) / CAMERA.focal).mT

    left = taken.conf3d > 0
    assert not torch.allclose(taken.landmarks3d[left], track.landmarks3d[left], atol=1e-3)
    assert torch.allclose(turned(taken)[left], turned(track)[left], atol=1e-5)


def test_the_score_is_the_distance_in_percent_of_the_height():
    track = tall()
    hidden = hide(track, "mix", "a", CAMERA)
    xy = track.keypoints.xy
    sides = (xy.amax(1) - xy.amin(1)).amax(-1)
    assert hidden.height == pytest.approx(float(sides.median()))
    guess = xy.clone()
    guess[hidden.classes["legs"]] += torch.tensor([0.03, 0.04]) * hidden.height
    guess[hidden.classes["visible"]] += torch.tensor([0.0, 0.01]) * hidden.height
    numbers = hidden.score(BODY27, guess)
    assert numbers["heldout_legs"] == pytest.approx(5, abs=1e-3)
    assert numbers["heldout_arm"] == pytest.approx(0, abs=1e-4)
    assert numbers["heldout_visible"] == pytest.approx(1, abs=1e-3)
    legs, arm, random = (hidden.classes[k].sum() for k in ("legs", "arm", "random"))
    assert numbers["heldout"] == pytest.approx(float(5 * legs / (legs + arm + random)), abs=1e-3)
    assert hide(track, "gone", "a", CAMERA).score(BODY27, xy)["heldout_arm"] is None


def test_detections_that_were_not_sure_are_taken_away_but_judge_nobody():
    track = tall()
    conf = track.keypoints.conf.clone()
    conf[:, LEGS[0]] = 0.3
    hidden = hide(
        replace(track, keypoints=replace(track.keypoints, conf=conf)), "gone", "a", CAMERA
    )
    assert not hidden.track.keypoints.conf[:, LEGS[0]].any()
    assert not hidden.classes["legs"][:, LEGS[0]].any() and hidden.classes["legs"].any()


def bench(labels=None, count=2):
    people = [Person(f"clip-p{i}", asset("demo/cam02_occluded.mp4"), tall(), labels, CAMERA)
              for i in range(count)]  # fmt: skip
    return HeldoutBenchmark(tuple(people), draws=2)


def test_items_are_people_levels_and_masks_and_gone_has_one_mask():
    items = bench().items()
    assert len({item.name for item in items}) == len(items) == 6
    assert {item.group for item in items} == {"clip-p0", "clip-p1"}
    sample = bench().load(items[0])
    assert isinstance(sample.truth, HeldoutTruth) and sample.labels == [None] * 70
    assert items[0].level == "mix" and items[2].level == "gone"


def test_labels_below_the_settings_confidence_count_as_none():
    spans = (LabelSpan("walking", 0, 40), LabelSpan("jumping", 40, 70, confidence=0.2))
    fitted = bench(Labels(spans)).fitted(1.0, 0.4)
    labels = fitted.load(fitted.items()[0]).labels
    assert labels == ["walking"] * 40 + [None] * 30


def test_rows_of_other_labels_are_not_taken_for_these():
    def told(text):
        return bench(Labels((LabelSpan(text),))).inputs

    assert told("walking") == told("walking") != told("running") != bench().inputs


def test_a_run_measures_the_model_as_it_is_and_filtered():
    benchmark = bench(count=1)
    methods = find_methods(["frozen", "frozen+gauss"])
    tasks = plan(benchmark, benchmark.items(), ["lifter"], methods, [0])
    runner = TrackRunner(benchmark)
    done = [runner(job) for task in tasks for job in task]
    assert not [row["error"] for row in done if "error" in row]
    summary = summarise_rows(done, ("frozen",))
    frozen, filtered = (next(r for r in summary if (r["method"], r["level"]) == (m, "mix"))
                        for m in ("frozen", "frozen+gauss"))  # fmt: skip
    assert 0 < frozen["heldout_legs"] < 100 and frozen["pa_mpjpe_mm"] is None
    assert filtered["heldout_legs"] != frozen["heldout_legs"]  # its 2D is filtered too
    text = view_table(summary, load_table("heldout")).markdown()
    assert "legs vs frozen" in text and "% of the person's height" in text


def rows(ratios):
    out = []
    for i, ratio in enumerate(ratios):
        for method, factor in (("frozen", 1.0), ("ours", ratio)):
            out.append({
                "data": "heldout", "protocol": "p", "model": "m", "level": "mix", "method": method,
                "seed": 0, "item": f"i{i}", "group": f"g{i // 2}", "frames": 10 * (i + 1),
                "heldout_legs": factor * (i + 1), "heldout": factor * (i + 1),
            })  # fmt: skip
    return out


def test_changes_are_paired_log_ratios_over_people_and_harm_is_counted():
    ratios = [0.5, 0.5, 2.0, 2.0, 1.05, 1.05, 0.8, 0.8, 1.2, 1.2]
    summary = summarise_rows(rows(ratios), ("frozen",))
    change = summary[-1]["versus"]["frozen"]["heldout_legs"]
    assert change["percent"] == pytest.approx(100 * (np.exp(np.log(ratios).mean()) - 1))
    assert (change["better"], change["harmed"], change["of"]) == (4, 4, 10)
    assert change["ci95"][0] < change["percent"] < change["ci95"][1]
    few = summarise_rows(rows(ratios[:8]), ("frozen",))[-1]  # four people: no interval
    assert few["versus"]["frozen"]["heldout_legs"]["ci95"] is None


def test_folders_are_searched_and_what_is_no_video_is_refused(tmp_path):
    for name in ("b.mp4", "a.MOV", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "copy.mp4").write_bytes(b"b.mp4")
    found = find_videos([tmp_path, tmp_path / "b.mp4"])
    assert [path.name for path in found.values()] == ["a.MOV", "b.mp4"]
    with pytest.raises(SemttaError, match="no video"):
        find_videos([tmp_path / "gone.mp4"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SemttaError, match="holds no video"):
        find_videos([tmp_path / "empty"])
    with pytest.raises(SemttaError):
        open_heldout([tmp_path / "b.mp4"], cache=tmp_path / "cache")


def test_who_cannot_be_judged_is_named(tmp_path, monkeypatch):
    clip = asset("demo/cam02_occluded.mp4")
    short, small = walker(20, hidden=False), tall()
    points = small.keypoints
    small = replace(
        small, id=2, keypoints=replace(points, xy=points.xy / 10), boxes=small.boxes / 10
    )
    tracks = [short, small, replace(tall(), id=3)]
    found = TrackedVideo(probe(clip), tracks, torch.arange(70) / 30.0)
    monkeypatch.setattr(heldout, "tracked_once", lambda *_, **settings: found)
    with pytest.warns(SemttaWarning) as said:
        people = open_heldout([clip], cache=tmp_path).people
    text = " ".join(str(w.message) for w in said)
    assert [person.track.id for person in people] == [3]
    info = probe(clip)
    assert people[0].camera.focal == math.hypot(info.width, info.height)  # guessed
    with pytest.warns(SemttaWarning):
        told = open_heldout([clip], cache=tmp_path, camera=CameraConfig(focal=900.0))
    assert told.people[0].camera.focal == 900
    assert "person 1" in text and "20 frames" in text and "person 2" in text and "pixels" in text
    found = TrackedVideo(probe(clip), tracks[:1], torch.arange(20) / 30.0)
    with pytest.warns(SemttaWarning), pytest.raises(SemttaError, match="nobody"):
        open_heldout([clip], cache=tmp_path)


def test_one_video_without_people_does_not_end_a_run_over_many(tmp_path, monkeypatch):
    shutil.copy(asset("demo/cam02_occluded.mp4"), tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes() + b"\0")

    def found(video, *_, **settings):
        if video.name == "b.mp4":
            raise SemttaError(f"nobody was found in '{video}'.")
        return TrackedVideo(probe(video), [tall()], torch.arange(70) / 30.0)

    monkeypatch.setattr(heldout, "tracked_once", found)
    with pytest.warns(SemttaWarning, match="'b.mp4' is left out: nobody was found"):
        people = open_heldout([tmp_path], cache=tmp_path / "cache").people
    assert [person.video.name for person in people] == ["a.mp4"]
    with pytest.raises(SemttaError, match="nobody was found"):
        open_heldout([tmp_path / "b.mp4"], cache=tmp_path / "cache")


def test_labels_lie_beside_the_video_or_in_a_folder(tmp_path):
    video = tmp_path / "clip.mp4"
    assert labels_beside(video) is None
    (tmp_path / "clip.labels.json").write_text('{"labels": [{"text": "walking"}]}')
    assert labels_beside(video).spans[0].text == "walking"
    (tmp_path / "other").mkdir()
    assert labels_beside(video, tmp_path / "other") is None
    file = tmp_path / "all.json"
    file.write_text('{"labels": [{"text": "running"}]}')
    assert labels_beside(video, file).spans[0].text == "running"


def test_the_command_judges_a_video_and_goes_on_where_it_stopped(run, tmp_path, monkeypatch):  # noqa: F811
    """From the words to the table: a label beside the video, people detected once."""
    calls = []

    def fake(video, **settings):
        calls.append(video)
        return TrackedVideo(probe(video), [tall()], torch.arange(70) / 30.0)

    monkeypatch.setattr(pipeline, "track_video", fake)
    shutil.copy(asset("demo/cam02_occluded.mp4"), tmp_path / "clip.mp4")
    (tmp_path / "clip.labels.json").write_text('{"labels": [{"text": "walk"}]}')
    words = ("bench", "--data", "heldout", tmp_path, "--methods", "frozen", "--workers", "1",
             "-o", tmp_path / "out")  # fmt: skip
    for _ in range(2):
        code, _, err = run(*words)
        assert code == 0, err
    assert len(calls) == 1
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").open()]
    assert {(row["level"], row["method"]) for row in rows} == {
        (level, method) for level in ("mix", "gone") for method in ("frozen", "frozen+gauss")
    }
    assert all(row["label"] == "walk" and row["named"] in (0.0, 1.0) for row in rows)
    assert all(row["heldout_legs"] > 0 for row in rows)
    table = (tmp_path / "out" / "table.md").read_text()
    assert "% of the person's height" in table and "below about 3 mm" in table


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "heldout", "no.mp4"], "no video 'no.mp4'"),
        (["--data", "beam", "no.mp4"], "videos belong to --data heldout"),
        (["--data", "beam", "--masks", "2"], "--masks belongs to --data heldout"),
        (["--data", "heldout", "--masks", "0"], "--masks must be at least 1"),
        (["--data", "heldout", "--split", "test"], "--split belongs to"),
    ],
)
def test_a_wrong_word_is_one_sentence(run, tmp_path, arguments, words):  # noqa: F811
    code, _, err = run("bench", *arguments, "-o", tmp_path / "out")
    assert code == 2 and words in " ".join(err.split()) and "Traceback" not in err
    assert not (tmp_path / "out").exists()
