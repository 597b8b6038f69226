"""Who is adapted, by what labels, and what is said on the way: whole runs on made-up videos."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_adapter import CAMERA, PLAIN, TinyPrior, adapter, same, spoilt, tiny_model, walker
from test_cycleadapt_strategies import dropping_model
from torch import nn

from semtta.body import load_body
from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.labels import Labels, LabelSpan
from semtta.people import Poses2DOptions, TrackedVideo
from semtta.tta import adapter as adapters
from semtta.tta import fit, outcome, people
from semtta.tta.adapter import Adapter
from semtta.tta.divergence import finite
from semtta.tta.provenance import provenance
from semtta.video.info import VideoInfo

STILL = "optimizer.epochs=0"


def video(*tracks, fps=30.0, notes=()):
    info = VideoInfo(Path("clip.mp4"), 640, 480, fps, None, notes)
    return TrackedVideo(info, list(tracks), torch.arange(40) / fps)


@pytest.fixture(autouse=True)
def _no_file(monkeypatch):
    """The made-up videos have no file whose hash could be taken."""
    monkeypatch.setattr(outcome, "provenance", lambda *given: {"of": given})


class Heard(list):
    """What was told as notes."""

    def __call__(self, stage, done, total, values):
        if stage == "note":
            assert (done, total) == (0, None)
            self.append(values["text"])


@cache
def still(*overrides):
    """An adapter that learns nothing; a run leaves it as it was."""
    return adapter(STILL, *overrides)


def run(found, labels=None, *overrides, heard=None, **given):
    return still(*overrides).run(
        found, labels, progress=Heard() if heard is None else heard, **given
    )


# ---------------------------------------------------------------------- who


def test_the_largest_is_adapted_unless_others_are_named():
    two = video(walker(9, id=4), walker(12, id=2))
    for which, ids in ((None, [4]), ("largest", [4]), ("all", [4, 2]), (2, [2]), ("2", [2])):
        given = {} if which is None else {"tracks": which}
        results = run(two, **given)
        assert [result.track.id for result in results] == ids
        assert results[0].camera == CAMERA.__class__(800.0, (319.5, 239.5))
    with pytest.raises(SemttaError, match=r"no track '3'; this video has 4, 2 \(or: largest, all"):
        run(two, tracks=3)


def test_a_path_is_tracked_as_the_settings_say_and_what_was_tracked_is_taken(monkeypatch):
    asked = []

    def find_people(*given, model):
        asked.append(given)
        return video(walker(9))

    monkeypatch.setattr(adapters, "find_people", find_people)
    heard, own = Heard(), Poses2DOptions(skeleton="coco17")
    settings = ("detector.size=320", "evidence.min_confidence=0.2")
    run("clip.mp4", None, *settings, heard=heard, poses2d="poses.json", tracks="all")
    run("clip.mp4", None, *settings, heard=heard, poses2d_options=own)
    usual = Poses2DOptions(min_confidence=0.2)
    assert asked == [("clip.mp4", "all", "poses.json", heard, 320, usual),
                     ("clip.mp4", "largest", None, heard, 320, own)]  # fmt: skip
    with pytest.raises(SemttaError, match="poses2d goes with the path of a video"):
        run(video(walker(9)), poses2d="poses.json")


@pytest.mark.parametrize(("poses", "which", "notes"), [
    (None, "largest", ["odd"]), (None, "all", ["odd"]), ("p.json", "1", ["said", "odd"])
])  # fmt: skip
def test_people_are_detected_or_read_and_the_others_counted(poses, which, notes, monkeypatch):
    heard, ticks, asked = Heard(), [], {}
    found = video(walker(9, id=1), walker(12, id=2), walker(8, id=3), notes=("odd",))

    def track_video(path, **settings):
        asked.update(settings, path=path)
        settings["progress"](3, 7)
        return found

    def tracks_from_file(path, file, options, announce, size):
        asked.update(path=path, file=file, options=options, size=size)
        announce("said")
        return found

    def progress(*now):
        ticks.append(now) if now[0] != "note" else heard(*now)

    monkeypatch.setattr(people, "track_video", track_video)
    monkeypatch.setattr(people, "tracks_from_file", tracks_from_file)
    options = Poses2DOptions()
    assert people.find_people("a.mp4", which, poses, progress, options=options) is found
    assert asked["path"] == "a.mp4"
    if poses is None:
        assert ticks == [("people", 3, 7, {})] and asked["detect_size"] == "auto"
        assert asked["max_people"] == (1 if which == "largest" else None)
    else:
        assert (asked["file"], asked["options"], asked["size"]) == (poses, options, "auto")
    left = {"all": [], "largest": ["20 frames belong to 2 other"], "1": ["20 frames belong to 2"]}
    assert len(heard) == len(notes) + len(left[which]) and heard[: len(notes)] == notes
    assert all(text.startswith(begins) for text, begins in zip(heard[len(notes) :], left[which]))


# ---------------------------------------------------------------------- labels


def spans(*tracks):
    return Labels(tuple(LabelSpan("walk", track=track) for track in tracks), name="l.json")


def test_labels_must_name_somebody_who_is_adapted():
    chosen = [walker(5, id=2), walker(5, id=1)]
    for named in ((), (None,), (1,), (2, 7), (7, None)):
        people.check_tracks(spans(*named), chosen)
    with pytest.raises(SemttaError, match=r"l\.json names track 7, 9 only, but track 1, 2 is"):
        people.check_tracks(spans(9, 7), chosen)
    with pytest.raises(SemttaError, match="names track 7 only"):
        run(video(walker(9, id=1)), spans(7))


def test_each_person_gets_the_texts_of_their_own_frames_and_is_told_how_many():
    two, heard = video(walker(9, id=1), walker(12, id=2)), Heard()
    labels = Labels((LabelSpan("walk", 2, 5, 1), LabelSpan("sit", None, None, 2)))
    first, second = run(two, labels, heard=heard, tracks="all")
    assert first.labels == [None] * 2 + ["walk"] * 3 + [None] * 4
    assert second.labels == ["sit"] * 12
    assert heard == ["track 1: labels cover 3 of 9 frames.",
                     "track 2: labels cover 12 of 12 frames."]  # fmt: skip
    assert run(two, "walk")[0].labels == ["walk"] * 9
    assert run(two)[0].labels == [None] * 9


def test_labels_are_held_against_the_length_of_the_video():
    for fps, end, fits in ((30.0, 1.33, True), (30.0, 1.4, False), (10.0, 4.0, True),
                           (10.0, 4.2, False)):  # fmt: skip
        found, labels = video(walker(9), fps=fps), Labels((LabelSpan("walk", 0.0, end),), "seconds")
        if fits:
            run(found, labels)
        else:
            with pytest.raises(SemttaError):
                run(found, labels)
    with pytest.raises(SemttaError):
        run(video(walker(9)), Labels((LabelSpan("walk", 0, 41),)))


def test_unsure_labels_count_as_none_and_it_is_said():
    heard = Heard()
    labels = Labels((LabelSpan("walk", 0, 4, confidence=0.39), LabelSpan("sit", 4, 9)),
                    notes=("read so",))  # fmt: skip
    (result,) = run(video(walker(9)), labels, heard=heard)
    assert result.labels == [None] * 4 + ["sit"] * 5
    assert heard[:2] == ["read so", "1 of 2 labels are below labels.min_confidence (0.4) and count "
                         "as none."]  # fmt: skip
    (result,) = run(video(walker(9)), labels, "labels.min_confidence=0.3")
    assert result.labels == ["walk"] * 4 + ["sit"] * 5


def test_labels_go_with_the_frames_of_a_track():
    runner = still()
    with pytest.raises(SemttaError, match="one label per frame; run takes one text"):
        runner.adapt(walker(4), CAMERA, "walk")
    with pytest.raises(SemttaError, match="5 labels for a track of 4 frames"):
        runner.adapt(walker(4), CAMERA, ["walk"] * 5)
    assert runner.adapt(walker(4), CAMERA).labels == [None] * 4


def test_texts_are_looked_at_by_every_prior_that_is_there():
    class Deaf(TinyPrior):
        def embed_text(self, labels):
            raise SemttaError(f"cannot read {labels}")

    labels = Labels((LabelSpan("walk", 0, 4), LabelSpan("sit", 4, 6), LabelSpan("sit", 6, 9),
                     LabelSpan("mumble", 9, 10, confidence=0.1)))  # fmt: skip
    for networks in ({"prior": Deaf()}, {"gate": Deaf()}):
        runner = adapter(**networks)
        with pytest.raises(SemttaError, match=r"cannot read \['sit', 'walk'\]"):
            runner.check_texts(labels)
        runner.check_texts(Labels())
    Adapter(tiny_model(), config=load_config("default", PLAIN)).check_texts(labels)  # no prior


# ---------------------------------------------------------------------- what is done and kept


def test_what_would_not_fit_is_said_of_each_track(monkeypatch):
    asked, heard = [], Heard()

    def memory_note(config, model, frames, fps):
        asked.append((frames, fps))
        return "too much" if frames > 10 else None

    monkeypatch.setattr(adapters, "memory_note", memory_note)
    run(video(walker(9, id=1), walker(12, id=2), fps=25.0), heard=heard, tracks="all")
    assert asked == [(9, 25.0), (12, 25.0)] and heard == ["too much"]


def test_a_room_is_looked_for_with_everybody_in_it(monkeypatch):
    asked = []

    def in_world(results, body, everybody, progress, source):
        asked.append((len(results), [track.id for track in everybody], source))
        return results

    monkeypatch.setattr(adapters, "in_world", in_world)
    two = video(walker(9, id=1), walker(12, id=2))
    run(two)
    assert not asked
    run(two, None, "camera.motion=static")
    still("camera.motion=static").adapt(walker(6, id=3), CAMERA, video="b.mp4")
    assert asked == [(1, [1, 2], Path("clip.mp4")), (1, [3], "b.mp4")]


def test_a_result_says_what_it_was_made_of():
    runner = adapter("gate.sigma=0.3", "optimizer.epochs=1")
    track = walker(70, id=5)
    result = runner.adapt(track, CAMERA, ["walk"] * 70, video="b.mp4")
    assert result.track.id == 5 and result.sigma == pytest.approx(0.3)
    assert result.similarity.shape == result.gate_similarity.shape == (70,)
    assert result.provenance == {"of": (runner.config, runner.model, runner.body, "fp32", "b.mp4")}
    assert result.boxes.shape == (70, 3) and len(result.history) == 1
    assert still().adapt(track, CAMERA).sigma is None


def test_a_track_with_a_few_labels_has_them_read(monkeypatch):
    labelled, real = [], adapters.load_networks

    def load_networks(config, texts, given, device):
        labelled.append(texts)
        return real(config, texts, given, device)

    monkeypatch.setattr(adapters, "load_networks", load_networks)
    runner = adapter("optimizer.epochs=1", "alignment.weight=1")
    some = runner.adapt(walker(70), CAMERA, ["walk"] * 62 + [None] * 8)
    assert some.similarity[:62].isfinite().all() and some.similarity[62:].isnan().all()
    none = runner.adapt(walker(70), CAMERA, [None] * 70)
    assert none.similarity is None and labelled == [True, False]


def test_precision_follows_what_the_model_reads(monkeypatch):
    asked = []
    monkeypatch.setattr(fit, "resolve_precision",
                        lambda *given: asked.append(given) or "fp32")  # fmt: skip
    runner = adapter(STILL, "optimizer.precision=auto")
    runner.adapt(walker(4), CAMERA)
    assert asked == [("auto", runner.device, False)]  # keypoints, no image


def test_layers_that_stay_are_run_once_whatever_mode_the_model_came_in(monkeypatch):
    results, calls = [], []
    for training in (True, False):
        model = dropping_model()

        def prefix(inputs, model=model):
            calls.append((len(inputs), model.training))
            return inputs

        def rest(batch, model=model):
            return model(batch)

        model.split = lambda scope, prefix=prefix, rest=rest: (prefix, rest)
        model.train(training)
        results.append(adapter("optimizer.epochs=2", model=model).adapt(walker(30), CAMERA))
        assert model.training == training
    assert same(results[0].base, results[1].base) and same(results[0].adapted, results[1].adapted)
    assert calls == [(30, False)] * 2


def test_a_motion_that_overflows_was_broken_before_or_diverged():
    with pytest.raises(SemttaError, match="before any adaptation"):
        adapter(STILL, model=spoilt(0, 1e38)).adapt(walker(9), CAMERA)
    calls, model = [], tiny_model()
    model.register_forward_pre_hook(lambda *given: calls.append(1))
    settings = ("optimizer.epochs=2", "evidence.update=none", "evidence.fill=false")
    adapter(*settings, model=model).adapt(walker(9), CAMERA)
    last = spoilt(len(calls) - 1, 1e38)  # only what the adapted model says in the end
    with pytest.raises(SemttaError, match=r"diverged in epoch 2 \(the motion is not finite\)"):
        adapter(*settings, model=last).adapt(walker(9), CAMERA)


def test_one_number_that_is_none_spoils_all():
    good, nan = torch.ones(3), torch.tensor([1.0, float("nan")])
    assert finite() and finite(good, good)
    assert not finite(nan) and not finite(good, nan, good) and not finite(good / 0)


def test_a_part_of_a_result_is_cut_in_its_track_as_well():
    result = still().adapt(walker(12), CAMERA)
    part, rows = result.at(torch.tensor([1, 8])), [1, 8]
    for name in ("frames", "times", "boxes", "landmarks3d", "conf3d"):
        assert torch.equal(getattr(part.track, name), getattr(result.track, name)[rows])
    assert torch.equal(part.track.keypoints.xy, result.track.keypoints.xy[rows])
    for name in ("xy", "present", "weight", "filled_in"):
        assert torch.equal(getattr(part.evidence, name), getattr(result.evidence, name)[rows])
    assert torch.equal(part.boxes, result.boxes[rows]) and part.similarity is None
    assert torch.equal(part.adapted.trans, result.adapted.trans[rows])
    assert torch.equal(part.detections.conf, result.detections.conf[rows])


def test_networks_that_were_given_are_used_and_none_is_read_twice(monkeypatch):
    reads = []

    def load_networks(config, labelled, given, device):
        reads.append((labelled, given.prior, given.gate_prior, given.denoiser))
        return replace(given, denoiser="read")

    monkeypatch.setattr(adapters, "load_networks", load_networks)
    prior, gate = TinyPrior(), TinyPrior()
    runner = Adapter(tiny_model(), config=load_config("default", PLAIN), prior=prior,
                     gate_prior=gate)  # fmt: skip
    for labelled in (False, True):
        runner.load_networks(labelled)
    assert reads == [(False, prior, gate, None), (True, prior, gate, "read")]
    given = nn.Linear(1, 1)
    config = load_config("default", PLAIN)
    Adapter(tiny_model(), config=config, denoiser=given).load_networks(True)
    assert reads[-1][3] is given


def test_the_settings_name_the_model_and_the_body(monkeypatch):
    asked = []

    def load_model(*given):
        asked.append(given)
        return tiny_model()

    monkeypatch.setattr(adapters, "load_model", load_model)
    config = load_config("default", [*PLAIN, "model.checkpoint=mine.pt"])
    shipped = load_body()

    def load(name, gender):
        asked.append((name, gender))
        return shipped

    monkeypatch.setattr(adapters, "load_body", load)
    Adapter(config=config)
    body = SimpleNamespace(to=lambda device: "moved")
    assert Adapter("lifter", config=config, body=body).body == "moved"
    model, shape = config.model, config.body
    assert asked == [(model.name, "mine.pt", model.mean_params, model.crop),
                     (shape.name, shape.gender), ("lifter",)]  # fmt: skip


def test_provenance_names_every_file_and_version(tmp_path, monkeypatch):
    config, body = load_config("default", ["device=cpu"]), adapter().body
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not a video, but bytes")
    made = provenance(config, tiny_model(), body, "fp32", clip)
    assert made["video"]["name"] == "clip.mp4" and len(made["video"]["sha256"]) == 64
    assert made["model"]["name"] == "Lifter" and made["config"]["seed"] == config.seed
    assert set(made["packages"]) >= {"torch", "numpy", "scipy", "roma"}
    assert made["packages"]["torch"] == torch.__version__
    assert made["body"] == {"name": body.name, "sha256": body.sha256}
    assert made["device"] == "cpu" and made["precision"] == "fp32"
    assert {"motion/prior_align.pt", "motion/denoiser.pt"} <= set(made["shipped"])
    monkeypatch.setitem(provenance.__globals__, "ASSETS", ("motion/denoiser.pt", "no/such.pt"))
    made = provenance(config, tiny_model(), body, "fp32", None)
    assert made["video"] is None and set(made["shipped"]) == {"motion/denoiser.pt"}
