"""What must be true of the method, on a small random network and a synthetic track."""

import copy
import math
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import roma
import torch
from torch import nn

from semtta.body import load_body
from semtta.config import load_config
from semtta.engine import silent
from semtta.errors import SemttaError
from semtta.geometry import Camera, keypoint_boxes, project
from semtta.hmr.lifter import Lifter, LifterSettings
from semtta.keypoints import Keypoints2D, Track
from semtta.skeletons import BODY27
from semtta.tta import people
from semtta.tta.adapter import Adapter
from semtta.tta.evidence import Evidence
from semtta.tta.fit import begin_run
from semtta.tta.people import select_tracks

CAMERA = Camera(1000.0, (320.0, 240.0))
PLAIN = ("closing.filter=none", "closing.path=frames", "shape.mode=per_frame",
         "optimizer.epochs=2", "optimizer.coverage=2", "smoothing.kind=none",
         "evidence3d.weight=0", "optimizer.lr=1e-3", "evidence.heldout=0")  # fmt: skip


class TinyPrior(nn.Module):
    """A frozen random projection: enough to see where gradients and gates go."""

    fps, length, sigma = 30.0, 60, 0.5

    def __init__(self, similarity=None):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("weight", torch.randn(24 * 9, 8, generator=generator))
        self.constant = similarity

    def embed_text(self, labels):
        return torch.eye(8)[[len(label) % 8 for label in labels]]

    def embed_motion(self, rotmats):
        features = rotmats.flatten(2).mean(1) @ self.weight
        features = nn.functional.normalize(features, dim=-1)
        if self.constant is None:
            return features
        rest = math.sqrt(1 - self.constant**2) * torch.eye(8)[7]
        return 0 * features + self.constant * torch.eye(8)[4] + rest  # cosine to "walk"

    def exemplar_root(self, label):
        return torch.eye(3).expand(60, 3, 3)

    def matched(self, label):
        return 0.8


def tiny_model():
    torch.manual_seed(3)
    return Lifter(LifterSettings(embed=16, width=32, blocks=1))


def walker(count=70, hidden=True, seed=0, id=1, fps=30.0):
    """A swinging body in front of the camera, its right leg hidden for a while."""
    generator = torch.Generator().manual_seed(seed)
    phase = torch.arange(count) / fps * 2 * math.pi
    rotvec = 0.05 * torch.randn(1, 24, 3, generator=generator).repeat(count, 1, 1)
    rotvec[:, 1, 0] += 0.5 * phase.sin()
    rotvec[:, 2, 0] -= 0.5 * phase.sin()
    rotmats = roma.rotvec_to_rotmat(rotvec)
    rotmats[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ rotmats[:, 0]
    landmarks = load_body().landmarks(rotmats, torch.zeros(count, 10), BODY27)
    points = landmarks + torch.tensor([0.1, 0.0, 4.0])
    xy = project(points, CAMERA.focal, torch.tensor(CAMERA.center))
    conf = torch.ones(count, 27)
    if hidden:
        legs = BODY27.indices(["right_knee", "right_ankle", "right_heel", "right_big_toe"])
        conf[count // 3 : count // 2, legs] = 0
    boxes = keypoint_boxes(xy, conf)
    frames = torch.arange(count)
    hips = BODY27.indices(["left_hip", "right_hip"])
    centred = landmarks - landmarks[:, hips].mean(1, keepdim=True)
    return Track(id, frames, frames / fps, boxes, Keypoints2D(xy, conf, BODY27), centred, conf)


def begin(runner, track, camera, texts, progress=silent, video=None):
    """The state of an adapter's run in which nothing has been predicted."""
    return begin_run(runner.model, runner.body, track.to(runner.device), camera, texts,
                     runner.config, progress, video)  # fmt: skip


def adapter(*overrides, prior=None, gate=None, model=None):
    config = load_config("default", [*PLAIN, *overrides])
    prior = prior or TinyPrior()
    return Adapter(model or tiny_model(), config=config, prior=prior, gate_prior=gate or prior)


def same(a, b):
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("rotmats", "betas", "cam"))


def test_without_epochs_the_result_is_the_frozen_model_bit_for_bit():
    for override in ("optimizer.epochs=0", "strategy=frozen"):
        result = adapter(override).adapt(walker(), CAMERA, ["walk"] * 70)
        assert same(result.base, result.adapted) and not result.history


def test_adaptation_moves_the_projection_towards_the_evidence():
    result = adapter("optimizer.epochs=6", "alignment.weight=0").adapt(walker(), CAMERA)
    detected = result.evidence.detected
    error = [
        (m.landmarks2d - result.detections.xy).norm(dim=-1)[detected].mean()
        for m in (result.base, result.adapted)
    ]
    assert error[1] < 0.8 * error[0]
    losses = [epoch["loss_reprojection"] for epoch in result.history]
    assert losses[-1] < losses[0]


def test_two_runs_with_one_seed_are_identical_and_another_seed_is_not():
    track, labels = walker(150), ["walk"] * 150
    first, second = (adapter().adapt(track, CAMERA, labels) for _ in range(2))
    assert same(first.adapted, second.adapted) and first.history == second.history
    other = adapter("seed=1").adapt(track, CAMERA, labels)
    assert not same(first.adapted, other.adapted)


def test_videos_do_not_influence_each_other_and_the_model_is_left_as_it_was():
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    shared = adapter(model=model)
    shared.adapt(walker(seed=5), CAMERA, ["walk"] * 70)
    after_another = shared.adapt(walker(), CAMERA, ["walk"] * 70)
    alone = adapter(model=tiny_model()).adapt(walker(), CAMERA, ["walk"] * 70)
    assert same(after_another.adapted, alone.adapted)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_model_is_restored_when_a_run_is_stopped():
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())

    def stop(stage, done, total, values):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner = adapter(model=model)
        runner.adapt(walker(), CAMERA, None, progress=stop)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_with_alpha_one_and_a_closed_gate_the_evidence_never_changes():
    result = adapter("evidence.alpha=1", "gate.sigma=1").adapt(walker(), CAMERA, ["walk"] * 70)
    raw = result.detections
    present = raw.conf > 0
    assert torch.equal(result.evidence.present, present)
    assert torch.equal(result.evidence.xy[present], raw.xy[present])


def test_the_gate_decides_which_frames_are_filled():
    settings = ("evidence.fill_from_epoch=0", "alignment.weight=0", "gate.source=current")
    opened = adapter(*settings, prior=TinyPrior(0.9)).adapt(walker(), CAMERA, ["walk"] * 70)
    closed = adapter(*settings, prior=TinyPrior(0.1)).adapt(walker(), CAMERA, ["walk"] * 70)
    assert opened.evidence.filled_share() == 1.0
    assert closed.evidence.filled_share() == 0.0
    # An independent gate overrules the prior that pulls.
    overruled = adapter(*settings, prior=TinyPrior(0.9), gate=TinyPrior(0.1))
    assert overruled.adapt(walker(), CAMERA, ["walk"] * 70).evidence.filled_share() == 0.0


def test_a_detection_at_the_scale_counts_half_and_filled_joints_keep_their_weight():
    track = walker(8)
    known = load_body().has_landmarks(BODY27)
    evidence = Evidence.from_keypoints(track.keypoints, known, 0.1)
    knee, ankle = BODY27.indices(["right_knee", "right_ankle"])
    gate = torch.ones(8, dtype=torch.bool)
    evidence.fill(track.keypoints.xy + 500.0, gate, 1, torch.full((8,), 0.7))
    expected = track.keypoints.xy.clone()
    expected[:, 0, 0] += 20.0
    expected[:, ankle, 0] += 60.0
    evidence.doubt(expected, torch.full((8,), 400.0), 0.05)
    assert torch.allclose(evidence.weight[:, 0], torch.tensor(0.5))
    filled = evidence.filled_in[:, knee] > 0
    assert filled.any() and (evidence.weight[filled, knee] == 0.7).all()
    assert torch.allclose(evidence.weight[~filled, ankle], torch.tensor(0.1))


@pytest.mark.slow
def test_an_invented_limb_pulls_less_on_a_regressor_that_starts_near():
    track = walker(45, hidden=False)
    leg, inside = BODY27.indices(["left_ankle", "left_heel", "left_big_toe"]), slice(12, 34)
    truth = track.keypoints.xy[inside, leg[0]].clone()
    track.keypoints.xy[inside, leg, 1] -= 0.4 * track.boxes[inside, 3:]
    errors, weights = {}, {}
    for robust in ("auto", "0.05", "null"):
        settings = (f"evidence.robust={robust}", "optimizer.epochs=3", "evidence3d.weight=0")
        run = Adapter("lifter", config=load_config("default", settings)).adapt(track, CAMERA)
        off = run.adapted.landmarks2d[inside, leg[0]] - truth
        errors[robust] = float(off.norm(dim=-1).mean())
        weights[robust] = run.evidence.weight
    assert errors["auto"] == errors["0.05"] < 0.97 * errors["null"]
    assert weights["auto"][inside, leg[0]].mean() < 0.9 * weights["auto"][:12].mean()
    assert weights["null"][track.keypoints.conf > 0][:100].eq(1).all()


def test_only_2d_is_plain_fine_tuning():
    """lambda 2 = 0, no smoothing, no evidence update: exactly Adam on the 2D loss."""
    track = walker()
    result = adapter("alignment.weight=0", "evidence.update=none", "evidence.fill=false").adapt(
        track, CAMERA, None
    )
    assert {k for e in result.history for k in e if k.startswith("loss_")} == {"loss_reprojection"}

    model, body = tiny_model(), load_body()
    from semtta.engine import cosine_lr, make_generator
    from semtta.geometry import full_translation
    from semtta.hmr import prepare_inputs
    from semtta.hmr.base import Batch
    from semtta.tta.segments import draw_batches, find_segments

    config = load_config("default", [*PLAIN])
    inputs, boxes = prepare_inputs(model, track, CAMERA)
    visible = (track.keypoints.conf > 0).float()[..., None]
    segments = find_segments(track.frames, track.times, [None] * 70, fps=30.0, length=60)
    generator = make_generator(config.seed)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.5, 0.9))
    for epoch in range(2):
        optimizer.param_groups[0]["lr"] = cosine_lr(epoch, 2, 1e-3, config.optimizer.min_lr)
        for batch in draw_batches(
            segments, torch.zeros(0), batch_segments=config.optimizer.batch_segments,
            coverage=2, generator=generator,
        ):  # fmt: skip
            frames = torch.cat([positions for positions, _ in batch])
            p = model(Batch(frames, inputs[frames]))
            points = body.landmarks(p.rotmats, p.betas, BODY27)
            points = points + full_translation(p.cam, boxes[frames], CAMERA)[:, None]
            uv = project(points, CAMERA.focal, torch.tensor(CAMERA.center))
            error = (uv - track.keypoints.xy[frames]).abs() * visible[frames]
            loss = 0.1 * (error * (224 / boxes[frames, 2])[:, None, None]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        expected = model(Batch(torch.arange(70), inputs))
    assert torch.allclose(result.adapted.rotmats, expected.rotmats, atol=2e-5)
    assert torch.allclose(result.adapted.cam, expected.cam, atol=2e-5)


def test_alignment_reaches_local_rotations_only():
    from semtta.tta.segments import find_segments
    from semtta.tta.semtta import Meaning

    track = walker()
    segments = find_segments(track.frames, track.times, ["walk"] * 70, fps=30.0, length=60)
    meaning = Meaning.of(TinyPrior(), segments, torch.device("cpu"), None)
    rotmats = roma.random_rotmat((70, 24)).requires_grad_(True)
    which = torch.tensor([0, 4])
    meaning.similarity(segments.resample(rotmats, which), which).sum().backward()
    assert rotmats.grad[:, 0].abs().sum() == 0 and rotmats.grad[:60, 1:].abs().sum() > 0
    assert torch.isfinite(rotmats.grad).all()


def test_alignment_raises_the_similarity():
    settings = ("alignment.weight=50", "alignment.from_epoch=0", "optimizer.epochs=4",
                "reprojection.weight=0", "alignment.target=one")  # fmt: skip
    result = adapter(*settings).adapt(walker(), CAMERA, ["walk"] * 70)
    values = [epoch["similarity"] for epoch in result.history]
    assert values[-1] > values[0] + 0.02


def test_without_labels_there_is_no_alignment_and_every_frame_is_still_adapted():
    result = adapter().adapt(walker(), CAMERA, None)
    assert result.similarity is None and result.sigma is None
    assert "loss_alignment" not in result.history[0]
    moved = (result.adapted.rotmats - result.base.rotmats).abs().amax((1, 2, 3))
    assert (moved > 0).all()


def test_the_shape_of_the_first_look_holds_the_body_where_the_latest_lets_it_go():
    drift = {}
    for target in ("first", "window"):
        settings = ("smoothing.kind=gaussian", "smoothing.shape_weight=1", "optimizer.epochs=4")
        result = adapter(f"smoothing.shape_target={target}", *settings).adapt(walker(), CAMERA)
        change = result.adapted.betas.mean(0) - result.base.betas.mean(0)
        drift[target] = float(change.norm())
    assert drift["first"] < 0.5 * drift["window"]


@pytest.mark.parametrize("kind", ["gaussian", "denoiser"])
@pytest.mark.parametrize("count", [1, 10, 70])
def test_short_videos_and_every_smoother_run(kind, count):
    result = adapter(f"smoothing.kind={kind}", "smoothing.from_epoch=1").adapt(
        walker(count, hidden=count > 5), CAMERA, ["walk"] * count
    )
    assert "loss_smoothing" not in result.history[0] and "loss_smoothing" in result.history[1]
    assert torch.isfinite(result.adapted.rotmats).all()
    assert len(result.adapted.rotmats) == count


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_two_passes_in_chunks_give_the_gradient_of_the_whole_batch(chunk):
    """The loss couples frames, the network does not: the two passes are exact."""
    from semtta.tta.semtta import Semtta
    from semtta.tta.steps import accumulate_gradient
    from semtta.tta.strategy import Networks

    gradients = []
    for size in (None, chunk):
        runner = adapter(
            "alignment.from_epoch=0", "alignment.weight=1", "alignment.reach=all",
            "smoothing.kind=gaussian", "optimizer.batch_segments=2", "evidence3d.weight=1",
        )  # fmt: skip
        run = begin(runner, walker(90), CAMERA, ["walk"] * 90, lambda *_: None)
        run.first = run.latest = run.predict_all()
        strategy = Semtta(Networks(TinyPrior(), TinyPrior()))
        strategy.begin(run)
        draw = next(iter(strategy.batches(run, 0)))
        terms = accumulate_gradient(run, strategy, draw, size)
        assert {"reprojection", "alignment", "smoothing", "landmarks3d"} <= set(terms)
        gradients.append(torch.cat([p.grad.flatten() for p in runner.model.parameters()]))
    difference = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert gradients[0].norm() > 0 and difference < 1e-5


def test_scopes_move_only_what_they_name():
    model = tiny_model()
    names = {id(p): name for name, p in model.named_parameters()}
    everything = {names[id(p)] for p in model.parameter_groups("all")}
    head = {names[id(p)] for p in model.parameter_groups("head")}
    assert everything == set(names.values()) and head < everything
    result = adapter("model.trainable=head").adapt(walker(), CAMERA)
    assert not same(result.base, result.adapted)
    with pytest.raises(SemttaError):
        model.parameter_groups("middle")


# ---------------------------------------------------------------------- what is no number


def spoilt(count, value=math.nan):
    """A regressor whose answers are ``value`` from its ``count``-th call on."""
    model = tiny_model()
    forward, calls = model.forward, iter(range(10_000))

    def counting(batch):
        out = forward(batch)
        factor = value if next(calls) >= count else 1.0
        return type(out)(out.rotmats, out.betas, out.cam * factor)

    model.forward = counting
    model.split = lambda scope: None
    return model


@pytest.mark.parametrize("strategy", ["semtta", "cycleadapt", "frozen"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_that_predicts_no_numbers_is_named_before_it_adapts(strategy, value):
    stages = []
    with pytest.raises(SemttaError, match="track 1: .* before any adaptation.*checkpoint"):
        adapter(f"strategy={strategy}", "smoothing.fit_steps=0", model=spoilt(0, value)).adapt(
            walker(), CAMERA, progress=lambda *values: stages.append(values)
        )
    assert not stages


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("strategy", ["semtta", "cycleadapt"])
def test_a_run_whose_loss_or_prediction_is_no_number_diverged(strategy, count):
    model = spoilt(count)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SemttaError, match=r"track 1: .*diverged in epoch \d .*optimizer.lr"):
        adapter(f"strategy={strategy}", "smoothing.fit_steps=0", model=model).adapt(
            walker(), CAMERA
        )
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_one_term_that_is_no_number_is_a_loss_that_diverged(monkeypatch):
    nothing = torch.tensor(math.nan, requires_grad=True)
    monkeypatch.setattr("semtta.tta.losses.shape_smoothing_loss", lambda *given: nothing * 1)
    smoothing = ("smoothing.kind=gaussian", "smoothing.weight=1", "smoothing.from_epoch=0")
    with pytest.raises(SemttaError, match=r"diverged in epoch 1 \(the loss is not finite\)"):
        adapter(*smoothing).adapt(walker(), CAMERA)


def test_a_diverging_run_says_so():
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    runner = adapter(model=model)
    runner.config.optimizer.lr = 1e30  # more than the settings allow
    with pytest.raises(SemttaError, match="diverged in epoch 1.*lower optimizer.lr"):
        runner.adapt(walker(), CAMERA)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


# ---------------------------------------------------------------------- the caller's state


@contextmanager
def odd_state():
    """PyTorch as a caller may have it."""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


def state_of_torch():
    return (
        torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled(),
        torch.get_rng_state().tolist(), torch.initial_seed(), np.random.get_state()[1].tolist(),
        random.getstate(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, odd_state])
def test_the_state_around_a_run_neither_matters_nor_changes(context, precision):
    settings = (f"optimizer.precision={precision}", "smoothing.kind=gaussian",
                "optimizer.train_mode=true", "model.trainable=all")  # fmt: skip
    expected = adapter(*settings).adapt(walker(20), CAMERA, ["walk"] * 20)
    runner = adapter(*settings)
    torch.manual_seed(77)
    track = walker(20)
    with context():
        before = state_of_torch()
        result = runner.adapt(track, CAMERA, ["walk"] * 20)
        assert state_of_torch() == before
    assert same(result.adapted, expected.adapted) and result.history == expected.history
    assert torch.equal(result.adapted.trans, expected.adapted.trans)


def test_landmarks_are_read_on_one_thread_whatever_the_caller_has():
    before, results, seen = torch.get_num_threads(), [], set()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(adapter("smoothing.kind=gaussian").adapt(
                walker(20), CAMERA, progress=lambda *_: seen.add(torch.get_num_threads()))
            )  # fmt: skip
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert seen == {1} and same(results[0].adapted, results[1].adapted)
    assert [r.provenance["threads"] for r in results] == [1, 1]


def test_everything_may_be_made_inside_the_odd_state():
    config = load_config("default", PLAIN)
    expected = Adapter("lifter", config=config).adapt(walker(9), CAMERA)
    for context in (torch.inference_mode, odd_state):
        with context():
            before = state_of_torch()
            from semtta.hmr import load_model

            for model in ("lifter", load_model("lifter")):
                track = walker(9) if context is torch.inference_mode else TRACK
                result = Adapter(model, config=config).adapt(track, CAMERA)
                assert same(result.adapted, expected.adapted)
            assert state_of_torch() == before


TRACK = walker(9)


def test_a_network_that_cannot_learn_is_refused():
    with torch.inference_mode():
        model = tiny_model()
    with pytest.raises(SemttaError, match="inference_mode"):
        adapter(model=model)


def test_a_module_that_is_no_regressor_is_refused():
    with pytest.raises(SemttaError, match="Linear is no human mesh regressor"):
        Adapter(nn.Linear(2, 2))


def test_threads_may_share_an_adapter_and_a_model():
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    tracks = [walker(20, seed=seed, id=seed) for seed in range(4)]
    expected = [adapter(model=tiny_model()).adapt(t, CAMERA, ["walk"] * 20) for t in tracks]
    shared, others = adapter(model=model), adapter(model=model)
    with ThreadPoolExecutor(4) as pool:
        runs = [
            pool.submit(runner.adapt, t, CAMERA, ["walk"] * 20)
            for t, runner in zip(tracks, (shared, others, shared, others))
        ]
        results = [run.result() for run in runs]
    for result, wanted in zip(results, expected):
        assert same(result.adapted, wanted.adapted) and result.history == wanted.history
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_settings_made_in_python_are_looked_at():
    config = load_config("default", PLAIN)
    config.seed = -1
    with pytest.raises(SemttaError, match="seed"):
        Adapter(tiny_model(), config=config)


@pytest.mark.parametrize(
    ("override", "size", "good"),
    [("camera.focal=100", (1920, 1080), True), ("camera.focal=50", (1920, 1080), False),
     ("camera.focal=1e6", (1920, 1080), False), ("camera.center=[-500,3000]", (640, 480), True),
     ("camera.center=[-5000,0]", (640, 480), False), ("camera.center=[0,1e6]", (640, 480), False)],
)  # fmt: skip
def test_a_camera_must_be_able_to_have_taken_the_picture(override, size, good):
    runner = adapter(override)
    if good:
        assert runner.camera(*size).focal > 0
        return
    with pytest.raises(SemttaError, match=override.split("=")[0]):
        runner.camera(*size)


def test_a_camera_nobody_described_looks_from_the_middle_with_the_diagonal_as_focal_length():
    assert adapter().camera(640, 480) == Camera(800.0, (319.5, 239.5))
    told = adapter("camera.focal=900", "camera.center=[300,200]").camera(640, 480)
    assert told == Camera(900.0, (300.0, 200.0))


@pytest.mark.parametrize(("which", "most"), [("largest", 1), ("all", None), ("4", None)])
def test_one_person_is_looked_for_where_one_is_wanted(which, most, monkeypatch):
    asked, said = {}, []
    tracks = [walker(9, id=1), walker(9, id=4)]
    found = SimpleNamespace(info=SimpleNamespace(notes=["odd"]), tracks=tracks)

    def track_video(video, **settings):
        asked.update(settings)
        return found

    monkeypatch.setattr(people, "track_video", track_video)
    assert people.find_people("clip.mp4", which, progress=lambda *now: said.append(now[3])) is found
    assert asked["max_people"] == most
    left = {"text": "9 frames belong to 1 other tracks, which are not adapted; --track all takes "
            "them."}  # fmt: skip
    assert said == [{"text": "odd"}, *([left] if which != "all" else [])]


def test_labels_must_fit_and_tracks_must_exist():
    with pytest.raises(SemttaError, match="3 labels"):
        adapter().adapt(walker(), CAMERA, ["walk"] * 3)

    class Video:
        tracks = [walker(id=1), walker(id=4)]

    assert [t.id for t in select_tracks(Video, "all")] == [1, 4]
    assert select_tracks(Video, "4")[0].id == 4
    with pytest.raises(SemttaError, match="no track '7'.*1, 4"):
        select_tracks(Video, 7)
