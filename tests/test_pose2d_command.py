"""`semtta pose2d`, its settings, and an estimator as 2D evidence for a video."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from semtta.body import load_body
from semtta.commands.pose2d import app
from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.pose2d import runs, synth
from semtta.pose2d.checkpoint import load_checkpoint, save_checkpoint
from semtta.pose2d.detect import estimate_keypoints, estimate_track, load_body_estimator
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.pose2d.settings import (
    Pose2DConfig,
    check_settings,
    load_settings,
    settings_yaml,
    shipped_settings,
)
from semtta.pose2d.skeletons import BODY16
from semtta.pose2d.synth import write_renders
from semtta.pose2d.unlabelled import track_set
from semtta.skeletons import COCO17
from semtta.video import write_video

SMALL = ["estimator.size=64", "estimator.deconv=8", "source.count=6", "optimizer.epochs=1",
         "optimizer.iterations=2", "optimizer.batch=2", "target.boxes=whole"]  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


def run(*words) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


# ------------------------------------------------------------------------------ settings


def test_shipped_settings_load_and_the_papers_are_the_papers():
    assert {"pose2d_body", "pose2d_body_literal", "pose2d_cpu", "pose2d_hand"} <= set(
        shipped_settings()
    )
    body, hand, cpu = (load_settings(name) for name in ("pose2d_body", "pose2d_hand", "pose2d_cpu"))
    for config in (body, hand):
        o, c = config.optimizer, config.clip2pose
        assert (o.name, o.lr, o.momentum, o.weight_decay) == ("sgd", 1e-4, 0.9, 1e-4)
        assert (o.epochs, o.iterations, o.batch, o.milestones) == (70, 500, 32, [45, 60])
        assert (c.text, c.image_tokens, c.graph_layers, c.alignment_weight) == ("clip", 10, 3, 0.3)
        assert config.estimator.backbone == "resnet101" and config.loss == "sum"
        assert config.estimator.spec().map_size == 64
    assert (body.estimator.skeleton, hand.estimator.skeleton) == ("body16", "hand21")
    assert hand.augment.rotation == 180 and cpu.clip2pose.text == "builtin"


def test_settings_are_checked(tmp_path):
    config = load_settings("pose2d_cpu", ["optimizer.lr=0.5", "smoke=true"])
    assert config.optimizer.lr == 0.5 and config.optimizer.iterations == 30
    path = tmp_path / "mine.yaml"
    path.write_text(settings_yaml(load_settings("pose2d_body")))
    assert load_settings(path) == load_settings("pose2d_body")
    for word, hint in (("optimizer.lrr=1", "optimizer.lr"), ("zzz=1", "unknown"),
                       ("strategy=magic", "strategy"), ("optimizer.lr=x", "optimizer.lr"),
                       ("optimizer.batch=1", "at least 2"), ("augment.scale=[2,1]", "scale"),
                       ("uniframe.style=2", "between"), ("estimator.size=100", "32"),
                       ("bn=none", "bn"), ("optimizer.lr=nan", "optimizer.lr"),
                       ("seed=-1", "seed"), ("source.kind=lspp", "source.kind"),
                       ("augment.rotation=.inf", "rotation"), ("augment.shear=90", "shear"),
                       ("augment.scale=[1,.inf]", "scale"), ("augment.blur=.nan", "blur"),
                       ("clip2pose.image_tokens=-1", "image_tokens"),
                       ("lr", "key=value")):  # fmt: skip
        with pytest.raises(SemttaError, match=hint):
            load_settings("pose2d_cpu", [word])
    with pytest.raises(SemttaError, match="one after the other"):
        load_settings("pose2d_cpu", ["strategy=regda", "bn=joint"])
    with pytest.raises(SemttaError, match="no settings"):
        load_settings("pose2d_cat")
    path.write_text("a: [")
    with pytest.raises(SemttaError, match="YAML"):
        load_settings(path)
    assert check_settings(Pose2DConfig()).strategy == "clip2pose"


# ------------------------------------------------------------------------------ commands


@pytest.mark.slow
def test_render_train_adapt_eval(tmp_path):
    renders, first, second = tmp_path / "renders", tmp_path / "train", tmp_path / "adapt"
    assert "6 renders" in run("render", "--count", 6, "--size", 64, "-o", renders)
    with pytest.raises(SemttaError, match="overwrite"):
        run("render", "--count", 6, "--size", 64, "-o", renders)

    source = ["source.kind=coco", f"source.root={renders}"]
    assert "images/s" in run("train", *SMALL, *source, "-o", first)
    with pytest.raises(SemttaError, match="overwrite"):
        run("train", *SMALL, *source, "-o", first)
    assert json.loads((first / "history.json").read_text())[0]["sup"] > 0

    frames = [np.full((48, 64, 3), 30 * i, np.uint8) for i in range(3)]
    video = write_video(tmp_path / "v.mp4", frames, 25, (64, 48))
    run("adapt", video, *SMALL, *source, "--checkpoint", first / "model.pt", "-o", second,
        "--boxes", "whole", "--quiet")  # fmt: skip
    model = load_checkpoint(second / "model.pt")
    assert type(model).__name__ == "Clip2Pose"
    with pytest.raises(SemttaError, match="adapted already"):
        run("adapt", video, *SMALL, "--checkpoint", second / "model.pt", "-o", tmp_path / "x")

    text = run("eval", second / "model.pt", "--root", renders, "--pck", "0.05,0.2")
    assert "Ankle" in text and "@0.05" in text and "@0.2" in text and "adapt" in text
    models = [f"one={first / 'model.pt'}", f"one={second / 'model.pt'}", second / "model.pt"]
    text = run("eval", *models, "--root", renders, "--pck", "0.2", "--markdown")
    both, alone = (line.split("|") for line in text.strip().splitlines()[-2:])
    assert both[1].strip() == "one" and " ± " in both[-2]
    assert alone[1].strip() == "adapt" and float(alone[-2]) >= 0
    text = run("eval", first / "model.pt", "--root", renders, "--aggregation", "regda")
    assert "'regda'" in text


@pytest.mark.slow
def test_smoke(tmp_path):
    """The shipped settings the whole way: renders, training, checkpoint; the loss falls."""
    fewer = ["source.count=16", "optimizer.batch=4", "optimizer.iterations=12", "estimator.size=64"]
    run("train", "--config", "pose2d_cpu", "smoke=true", *fewer, "-o", tmp_path / "out")
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert history[-1]["sup"] < 16 * np.pi * 1.5**2  # of maps that are zero
    assert load_checkpoint(tmp_path / "out" / "model.pt").spec.backbone == "efficientnet_lite0"


def test_wrong_commands_say_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "synthetic_set", lambda *_, **__: pytest.fail("rendered"))
    model = save_checkpoint(tmp_path / "m.pt", Estimator(EstimatorSpec(
        "body16", "efficientnet_lite0", 64, 8)))  # fmt: skip
    cases = [
        (("train", *SMALL, "source.kind=surreal", "-o", tmp_path / "a"), "needs its folder"),
        (("train", *SMALL, "source.kind=lsp", "source.root=/absent", "-o", tmp_path / "a"),
         "no folder"),
        (("train", *SMALL, "--imagenet", tmp_path / "no.pth", "-o", tmp_path / "a"), "ImageNet"),
        (("train", *SMALL, "source.split=flat", "-o", tmp_path / "a"), "no part 'flat'"),
        (("render", "--hands", "oil"), "photo or flat"),
        (("adapt", *SMALL, "-o", tmp_path / "a"), "needs its folder"),
        (("adapt", tmp_path / "absent.mp4", *SMALL, "-o", tmp_path / "a"), "exist"),
        (("eval", model, "--root", tmp_path), "annotations.json"),
        (("eval", model, "--data", "frames", "--root", tmp_path), "no labels"),
        (("eval", model, "--pck", "five"), "--pck"),
        (("eval", model, "--aggregation", "mean"), "--aggregation"),
        (("eval", model, "--data", "renders", "--aggregation", "regda", "--refine", "none"),
         "without refinement"),
        (("eval", tmp_path / "absent.pt"), "there is no file"),
        (("render", "--count", 0), "--count"),
        (("train", "--config", "nothing"), "no settings"),
        (("train", *SMALL, "strategy=clip2pose", "-o", tmp_path / "a"), "needs a target"),
        (("train", *SMALL, "-o", model / "a"), "cannot be written"),
        (("eval", model), "--root"),
        (("eval", model, "--data", "cocoa", "--root", tmp_path), "unknown data set"),
        (("render", "--seed", -1), "--seed"),
    ]  # fmt: skip
    for words, message in cases:
        with pytest.raises(SemttaError, match=message):
            run(*words)
    assert not (tmp_path / "a" / "model.pt").exists()


def test_what_fails_fails_before_anything_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("SEMTTA_CHECKPOINTS", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(runs, "open_set", lambda *_: pytest.fail("opened"))
    for words, message in (((), "target.root"), (("absent",), "target.root"),
                           ((".", "clip2pose.text=clip"), "CLIP"),
                           ((".", "--clip", "no.pt"), "no.pt")):  # fmt: skip
        with pytest.raises(SemttaError, match=message):
            run("adapt", *words, *SMALL, "-o", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_folders_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    renders = write_renders("r", 2, 0, 64, load_body("cc0"))
    for name in ("0123", "no", "[läufe] #2: a=b"):
        renders = renders.rename(name)
        run("train", *SMALL, "source.kind=coco", "--source", name, "-o", f"out/{name}", "--quiet")
        assert {p.name for p in Path("out", name).iterdir()} == {"model.pt", "history.json"}


def test_renders_replace_renders_whole_and_other_files_never(tmp_path, monkeypatch):
    renders = tmp_path / "r"
    run("render", "--count", 5, "--size", 64, "-o", renders, "--quiet")
    run("render", "--count", 3, "--size", 64, "-o", renders, "--overwrite", "--quiet")
    assert len(list((renders / "images").iterdir())) == 3

    def stop(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(synth, "render_people", stop)
    before = (renders / "annotations.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_renders(renders, 3, 1, 64, load_body("cc0"), overwrite=True)
    assert (renders / "annotations.json").read_bytes() == before
    assert len(list((renders / "images").iterdir())) == 3
    assert list(tmp_path.iterdir()) == [renders]

    for name, text in (("annotations.json", '{"images": []}'), ("images/000000.jpg", "mine")):
        own = tmp_path / name.replace("/", "-") / name
        own.parent.mkdir(parents=True)
        own.write_text(text)
        with pytest.raises(SemttaError, match="other files"):
            run("render", "--count", 2, "-o", tmp_path / name.replace("/", "-"), "--overwrite")
        assert own.read_text() == text


def test_the_split_for_testing_is_measured_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "open_set", lambda data, *_: data.split)
    wanted = {"rhd": "evaluation", "freihand": "test", "wholebody_hands": "val", "lsp": "all",
              "surreal": "test", "coco": None}  # fmt: skip
    assert {k: runs.labelled_set(k, tmp_path, None, 64, "hand21") for k in wanted} == wanted
    assert runs.labelled_set("rhd", tmp_path, "training", 64, "hand21") == "training"


def test_settings_are_shown():
    assert "pose2d_cpu" in run("config")
    assert "alignment_weight: 0.3" in run("config", "pose2d_cpu")


# ------------------------------------------------------------------------------ evidence


class Dot(Estimator):
    """Finds the brightest pixel of a crop, for every joint."""

    def __init__(self):
        super().__init__(EstimatorSpec("body16", "efficientnet_lite0", 64, 8, sigma=1.5,
                                       subpixel=True))  # fmt: skip

    def forward(self, images):
        bright = images.mean(1)
        index = (bright == bright.flatten(1).amax(1)[:, None, None]).float()
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        total = index.sum((1, 2))
        at = torch.stack([(index * x).sum((1, 2)) / total, (index * y).sum((1, 2)) / total], -1)
        maps, _ = self.spec.encode(at[:, None].expand(-1, 16, -1), torch.ones(len(at), 16))
        return 0.8 * maps


@pytest.fixture
def clip(tmp_path):
    """Forty frames with a moving dot, and its places."""
    places, frames = [], []
    for i in range(40):
        x, y = 60 + 3 * i, 90 + i
        image = np.full((160, 240, 3), 20, np.uint8)
        cv2.circle(image, (x, y), 3, (250, 250, 250), -1)
        places.append([x, y])
        frames.append(image)
    for i, frame in enumerate(frames):
        name = tmp_path / "frames" / f"{i}.png"
        name.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(name), frame)
    return tmp_path / "frames", torch.tensor(places).float()


def test_keypoints_are_image_pixels(clip):
    video, places = clip
    frames = torch.arange(0, 40, 2)
    boxes = torch.cat([places[frames] - torch.tensor([30.0, 50]),
                       places[frames] + torch.tensor([44.0, 40])], 1)  # fmt: skip
    found = estimate_keypoints(Dot(), video, frames, boxes)
    assert found.skeleton == BODY16 and found.xy.shape == (20, 16, 2)
    assert (found.xy - places[frames, None]).abs().max() < 1.5
    assert 0.6 < found.conf.min() <= found.conf.max() <= 0.81
    # what adaptation reads: limbs by name
    limbs = found.to_skeleton(COCO17)
    assert (limbs.conf[:, COCO17.index("left_knee")] > 0).all()
    assert (limbs.conf[:, COCO17.index("nose")] == 0).all()
    with pytest.raises(SemttaError, match="ends before"):
        estimate_keypoints(Dot(), video, torch.tensor([39, 45]), boxes[:2])
    with pytest.raises(SemttaError, match="boxes"):
        estimate_keypoints(Dot(), video, frames, boxes[:2])


def test_a_track_with_evidence_of_a_checkpoint(clip, tmp_path):
    video, places = clip
    frames = torch.arange(5)
    nothing = Keypoints2D(torch.zeros(5, 17, 2), torch.zeros(5, 17), COCO17)
    boxes = torch.cat([places[:5] - 40, places[:5] + 40], 1)
    track = Track(2, frames, frames / 25, boxes, nothing, torch.zeros(5, 17, 3),
                  torch.zeros(5, 17))  # fmt: skip
    spec = EstimatorSpec("body16", "efficientnet_lite0", 64, 8)
    model = save_checkpoint(tmp_path / "m.pt", Estimator(spec))
    found = estimate_track(model, video, track)
    assert found.id == 2 and found.keypoints.skeleton == BODY16 and found.landmarks3d is None
    again = estimate_track(load_body_estimator(model), video, track)
    assert torch.equal(again.keypoints.xy, found.keypoints.xy)
    hands = save_checkpoint(tmp_path / "h.pt", Estimator(
        EstimatorSpec("hand21", "efficientnet_lite0", 64, 8)))  # fmt: skip
    with pytest.raises(SemttaError, match="hand21"):
        estimate_track(hands, video, track)
    logits = save_checkpoint(tmp_path / "r.pt", Estimator(spec), Pose2DConfig(strategy="regda"))
    with pytest.raises(SemttaError, match="RegDA"):
        estimate_track(logits, video, track)
    crops = track_set(video, [track], BODY16, 64)
    assert len(crops) == 5 and crops.entries[3].name.endswith("frame 3, person 2")
