"""Networks that read images, adapted to a real clip: checkpoint, crops, loop and result together.

The weights are random, so nothing here is about accuracy.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import hmr2_weights, rule_weights
from test_adapter import walker
from torch import nn

from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.geometry import Camera, default_focal, keypoint_boxes, project
from semtta.hmr import load_model
from semtta.hmr.hmr2 import HMR2, HMR2Settings
from semtta.hmr.images import ImageCrops, one_ahead, read_crops
from semtta.hmr.preprocess import crop_pixels, normalize, person_squares
from semtta.keypoints import Keypoints2D, Track
from semtta.shipped import asset
from semtta.skeletons import BODY27, COCO17
from semtta.tta.adapter import Adapter
from semtta.tta.result import Motion, Result
from semtta.video import read_frames

GOLDEN = Path(__file__).parent / "golden"
CLIP = asset("demo/cam02_occluded.mp4")
WIDTH, HEIGHT, FPS, LENGTH = 1088, 1920, 60.0, 100
CAMERA = Camera(default_focal(WIDTH, HEIGHT), ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
FRAMES = 12
# The paper's settings, without the networks that its users bring; detections stay what they are,
# so that a falling 2D loss can only come from the model.
SETTINGS = (
    "device=cpu", "optimizer.precision=fp32", "smoothing.kind=gaussian", "evidence.update=none",
    "evidence.fill=false", "optimizer.chunk=4", "optimizer.epochs=3",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


def person(count: int = FRAMES, first: int = 0, step: int = 1) -> Track:
    """A walker in the middle of the clip's picture, as a COCO detector would see it in every
    ``step``-th frame."""
    landmarks = walker(count, hidden=False).landmarks3d
    points = landmarks + torch.tensor([0.2, 0.1, 5.0])
    xy = project(points, CAMERA.focal, torch.tensor(CAMERA.center))
    conf = torch.full((count, len(BODY27)), 0.9)
    conf[count // 3 : count // 2, BODY27.indices(["right_knee", "right_ankle"])] = 0
    keypoints = Keypoints2D(xy, conf, BODY27).to_skeleton(COCO17)
    frames = first + step * torch.arange(count)
    boxes = keypoint_boxes(keypoints.xy, keypoints.conf)
    return Track(1, frames, frames / FPS, boxes, keypoints)


def adapt(model: nn.Module, *overrides: str, track: Track | None = None, video=CLIP) -> Result:
    config = load_config("paper_hmr", [*SETTINGS, *overrides])
    return Adapter(model, config=config).adapt(track or person(), CAMERA, video=video)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def same_state(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def same(a: Motion, b: Motion) -> bool:
    names = ("rotmats", "betas", "trans", "cam", "landmarks2d")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def falls(result: Result) -> bool:
    """Whether the 2D loss was smaller in every epoch than in the one before."""
    values = [epoch["loss_reprojection"] for epoch in result.history]
    return all(b < a for a, b in zip(values, values[1:]))


@pytest.fixture(scope="module")
def hmr(tmp_path_factory):
    """SPIN's file with random weights, read the way a user reads it."""
    weights = rule_weights(json.loads((GOLDEN / "spin_hmr" / "meta.json").read_text())["keys"])
    for key in [key for key in weights if key.startswith("dec")]:
        weights[key] *= 0.05
    pose = torch.eye(3)[:, :2].flatten().repeat(24)
    pose[3] = -1.0  # the body's y up, the camera's y down
    weights["init_pose"], weights["init_shape"] = pose[None], torch.zeros(1, 10)
    weights["init_cam"] = torch.tensor([[0.9, 0.0, 0.0]])
    path = tmp_path_factory.mktemp("spin") / "model_checkpoint.pt"
    torch.save({"model": weights, "dataset_perm": np.arange(3), "epoch": 1}, path)
    yield load_model("hmr", checkpoint=path)
    path.unlink()


@pytest.fixture(scope="module")
def hmr2():
    model = HMR2(HMR2Settings.tiny())
    shapes = json.loads((GOLDEN / "hmr2" / "hmr2_tiny_keys.json").read_text())
    model.load_state_dict(hmr2_weights(shapes))
    model.smpl_head.init_body_pose[0, :6] = torch.tensor([1.0, 0, 0, 0, -1, 0])
    return model.eval()


# --- HMR ------------------------------------------------------------------------------------


def test_hmr_adapts_its_regressor_to_a_clip(hmr):
    before = state(hmr)
    first, second = (adapt(hmr, "model.trainable=head", "optimizer.lr=2e-5") for _ in range(2))
    assert falls(first) and len(first.history) == 3
    assert first.history[-1]["reprojection_px"] < 0.999 * first.history[0]["reprojection_px"]
    assert "loss_smoothing" in first.history[-1] and "loss_alignment" not in first.history[-1]
    assert same(first.base, second.base) and same(first.adapted, second.adapted)
    assert first.history == second.history
    assert not same(first.base, first.adapted)
    assert same_state(hmr, before) and not hmr.training


def test_hmr_adapts_all_its_layers_to_a_clip(hmr):
    before = state(hmr)
    settings = ("optimizer.epochs=2", "optimizer.coverage=1", "optimizer.chunk=2")
    result = adapt(hmr, *settings, track=person(3))
    assert falls(result)
    assert not same(result.base, result.adapted)
    assert same_state(hmr, before)


def test_regress_is_what_the_frozen_model_predicts(hmr):
    """The same crops by hand; ``read_crops`` keeps them as half-precision pixels."""
    track = person(4, first=2, step=30)
    squares = person_squares(track.boxes, hmr.crop)
    wanted = track.frames.tolist()
    images = [image for index, _, image in read_frames(CLIP) if index in wanted]
    crops = [crop_pixels(image, square, hmr.crop) for image, square in zip(images, squares)]
    inputs = normalize(torch.from_numpy(np.stack(crops)).half(), hmr.crop)
    with torch.no_grad():
        by_hand = hmr.regress(inputs)
    raw = ("shape.mode=per_frame", "closing.filter=none", "closing.path=frames")
    result = adapt(hmr, "strategy=frozen", *raw, track=track)
    assert not result.history and same(result.base, result.adapted)
    assert torch.equal(result.boxes, squares)
    for name in ("rotmats", "betas", "cam"):
        ours, theirs = getattr(by_hand, name), getattr(result.base, name)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
        assert (ours[1:] - theirs[:-1]).abs().max() > 5e-6  # other frames, other predictions


# --- crops on their way to the device -------------------------------------------------------


def crops(device: str) -> ImageCrops:
    squares = torch.tensor([[500.0, 900.0, 700.0 + 10 * i] for i in range(FRAMES)])
    return read_crops(CLIP, person(), squares, HMR2.crop, torch.device(device))


def test_crops_in_chunks_are_the_crops():
    cut = crops("cpu")
    chunks = [torch.tensor([3, 1]), torch.tensor([], dtype=torch.long), torch.tensor([1, 0, 11])]
    for chunk, inputs in zip(chunks, cut.prefetch(chunks), strict=True):
        assert torch.equal(inputs, cut[chunk]) and len(inputs) == len(chunk)
    assert (cut[torch.tensor([3])] - cut[torch.tensor([1])]).abs().max() > 0.1


def test_the_next_chunk_is_started_before_one_is_handed_out():
    log = []
    start = lambda i: log.append(f"start {i}") or i  # noqa: E731
    finish = lambda i: log.append(f"finish {i}") or 10 * i  # noqa: E731
    for result in one_ahead(range(3), start, finish):
        log.append(f"use {result}")
    assert log == [
        "start 0", "start 1", "finish 0", "use 0", "start 2", "finish 1", "use 10", "finish 2",
        "use 20",
    ]  # fmt: skip
    assert list(one_ahead([], start, finish)) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_crops_on_their_own_stream_arrive_whole():
    here, there = crops("cpu"), crops("cuda")
    assert there.pixels.is_pinned()
    chunks = torch.randint(0, FRAMES, (40, 64)).unbind()
    work = torch.randn(2048, 2048, device="cuda")
    for chunk, inputs in zip(chunks, there.prefetch([c.cuda() for c in chunks]), strict=True):
        for _ in range(5):
            work = (work @ work).tanh()  # keeps the caller's stream busy
        torch.testing.assert_close(inputs.cpu(), here[chunk], atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("scope", ["all", "head"])
def test_hmr2_adapts_on_a_gpu_as_on_the_cpu(hmr2, scope, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    settings = ("optimizer.lr=2e-4", f"model.trainable={scope}", "optimizer.epochs=1")
    here = adapt(hmr2, *settings)
    there = adapt(hmr2, *settings, "device=cuda")
    hmr2.cpu()
    torch.testing.assert_close(there.base.rotmats, here.base.rotmats, atol=2e-3, rtol=0)
    torch.testing.assert_close(there.adapted.landmarks2d, here.adapted.landmarks2d, atol=2, rtol=0)


# --- HMR2.0 ---------------------------------------------------------------------------------


def test_hmr2_adapts_to_a_clip_in_chunks_or_at_once(hmr2):
    before = state(hmr2)
    result = adapt(hmr2, "optimizer.lr=2e-4")
    assert falls(result) and len(result.adapted.rotmats) == FRAMES
    assert torch.isfinite(result.adapted.landmarks2d).all()
    assert same_state(hmr2, before)
    whole = adapt(hmr2, "optimizer.lr=2e-4", "optimizer.chunk=null")
    ours, theirs = result.adapted, whole.adapted
    torch.testing.assert_close(ours.rotmats, theirs.rotmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.landmarks2d, theirs.landmarks2d, atol=0.02, rtol=0)
    assert (ours.landmarks2d - result.base.landmarks2d).abs().max() > 2  # pixels


# --- input that does not fit ----------------------------------------------------------------


def test_without_the_video_one_sentence_says_what_is_missing(hmr2):
    before = state(hmr2)
    with pytest.raises(SemttaError, match="reads images: give the path of the video") as error:
        adapt(hmr2, video=None)
    assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")
    assert same_state(hmr2, before)


def test_a_track_longer_than_the_video_is_refused(hmr2):
    track = person(4, first=LENGTH - 3)  # its last frame is one beyond the clip
    with pytest.raises(SemttaError, match=f"has {LENGTH} frames, but track 1 goes on to {LENGTH}"):
        adapt(hmr2, track=track)
    with pytest.raises(SemttaError, match="missing.mp4"):
        adapt(hmr2, video="missing.mp4")
    last = person(4, first=LENGTH - 4)
    assert len(adapt(hmr2, "strategy=frozen", track=last).base.rotmats) == 4


def test_a_model_in_training_mode_is_left_in_it(hmr2):
    hmr2.train()
    adapt(hmr2, "model.trainable=head", "optimizer.epochs=1")
    assert hmr2.training
    hmr2.eval()
