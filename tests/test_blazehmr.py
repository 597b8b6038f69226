"""The shipped network that reads images: equal to its ONNX file, differentiable, adaptable."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.geometry import Camera, default_focal, keypoint_boxes
from semtta.hmr import Batch, load_model, prepare_inputs
from semtta.hmr import landmarker as lm
from semtta.hmr.features import FEATURES, OFFSETS
from semtta.hmr.looks import PLACE, track_rois, unpacked
from semtta.hmr.onnx_weights import convolutions
from semtta.keypoints import Keypoints2D, Track
from semtta.people.blazepose import BlazePose, crop, refine
from semtta.shipped import asset
from semtta.skeletons import BLAZEPOSE33, BODY27, COCO17
from semtta.tta.adapter import Adapter
from semtta.video import read_frames

CLIP = asset("demo/cam02_occluded.mp4")
WIDTH, HEIGHT, FPS = 1088, 1920, 60.0
CAMERA = Camera(default_focal(WIDTH, HEIGHT), ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
POINTS = np.load(Path(__file__).parent / "data" / "demo_clip_coco17.npz")["points"]
SCOPES = ("all", "last", "head", "norm")


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


def man(frames) -> Track:
    """The man of the clip as a COCO detector saw him."""
    frames = torch.as_tensor(frames)
    points = torch.from_numpy(POINTS[frames.numpy()]).float()
    keypoints = Keypoints2D(points[..., :2], points[..., 2].clamp(0, 1), COCO17)
    boxes = keypoint_boxes(keypoints.xy, keypoints.conf)
    return Track(1, frames, frames / FPS, boxes, keypoints)


@pytest.fixture(scope="module")
def model():
    return load_model("blazehmr")


@pytest.fixture(scope="module")
def crops(model):
    return prepare_inputs(model, man(range(4)), CAMERA, CLIP)[0]


@pytest.fixture(scope="module")
def both():
    """Real crops, and what onnxruntime says of them: landmarks, flag, heat-maps, world."""
    track = man([0, 20, 55, 99])
    wanted = dict(zip(track.frames.tolist(), track_rois(track)))
    images = [crop(x, wanted[i]) for i, _, x in read_frames(CLIP) if i in wanted]
    names = ["landmarks", "flag", "heatmaps", "world"]
    return np.stack(images), BlazePose().session.run(names, {"image": np.stack(images)})


# --- the landmark network -----------------------------------------------------------------------


def test_the_module_says_what_the_onnx_file_says(both):
    images, (points, flag, heatmaps, world) = both
    net = lm.load_landmarker()
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        ours = net.outputs(x)
        refined = net(x)[0][..., :2]
    points = points.reshape(-1, 39, 5)
    assert np.abs(ours[0].numpy() - points)[..., :3].max() < 1e-4 * lm.SIZE
    assert np.abs(ours[0].numpy() - points)[..., 3:].max() < 1e-3  # logits
    assert np.abs(ours[1].flatten(1).numpy() - world).max() < 1e-4
    assert np.abs(ours[2].sigmoid().numpy() - flag[:, 0]).max() < 1e-5
    assert np.abs(ours[3].numpy() - heatmaps).max() < 1e-5 * np.abs(heatmaps).max()
    theirs = refine(points[..., :2].astype(float), heatmaps)
    assert np.abs(refined.numpy() - theirs).max() < 1e-4 * lm.SIZE
    assert not np.allclose(theirs, points[..., :2], atol=0.1)  # the heat-maps did something


def test_refined_points_follow_the_maps_and_others_stay():
    maps = torch.full((1, 3, 64, 64), -20.0)
    maps[0, 0, 10, 21], maps[0, 1, 10, 21] = 5.0, 5.0
    maps.requires_grad_()
    xy = torch.tensor([[[80.0, 44.0], [200.0, 44.0], [-9.0, 44.0]]], requires_grad=True)
    out = lm.refine(xy, maps)
    assert torch.allclose(out[0, 0], torch.tensor([84.0, 40.0]), atol=1e-3)
    assert torch.equal(out[0, 1:], xy[0, 1:])
    out.sum().backward()
    assert xy.grad.abs().sum(-1).gt(0).tolist() == [[False, True, True]]
    assert maps.grad[0, 0].abs().sum() > 0 and maps.grad[0, 1:].abs().sum() == 0


def test_every_convolution_of_the_file_has_its_place():
    net = lm.load_landmarker()
    order = net.in_file_order()
    assert len(order) == len(set(map(id, order))) == len(convolutions(asset(lm.FILE)))
    assert {id(p) for layer in order for p in layer.parameters()} == set(map(id, net.parameters()))


def test_a_file_that_is_no_network_is_one_sentence(tmp_path):
    for name, content in (("empty", b""), ("text", b"no network"), ("cut", Path(
            asset(lm.FILE)).read_bytes()[:5000])):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SemttaError, match="cannot be read as an ONNX network"):
            convolutions(tmp_path / name)


# --- what it reads ------------------------------------------------------------------------------


def test_inputs_are_the_detectors_crops_and_its_landmarks_lie_in_the_picture(model, crops):
    track, net = man(range(4)), BlazePose()
    images, places, window = unpacked(crops[torch.arange(4)])
    assert images.shape == (4, 3, 256, 256) and window.shape == (4, len(OFFSETS), FEATURES)
    assert places.shape == (4, PLACE)
    rois = track_rois(track)
    frames = [x for i, _, x in read_frames(CLIP) if i < 4]
    assert np.array_equal(
        crops.pixels.numpy(), np.stack([crop(f, r) for f, r in zip(frames, rois)])
    )
    theirs = net(frames, rois, [False] * 4)
    with torch.no_grad():
        xy, conf, space, _ = model.look(images, places)
    body = BLAZEPOSE33.indices(BODY27.joints)
    pixels = xy * CAMERA.focal + torch.tensor(CAMERA.center)
    assert np.abs(pixels.numpy() - theirs.xy[:, body]).max() < 0.05
    assert np.abs(space.numpy() - theirs.world[:, body]).max() < 1e-3
    assert conf.min() >= 0 and conf.max() <= 1


def test_a_mirrored_crop_means_the_same_person(model, crops):
    """Pixels, map and sides are mirrored together: the landmarks stay nearly where they are."""
    images, places, _ = unpacked(crops[torch.arange(2)])
    mirror = torch.tensor([[-1.0, 0, 256], [0, 1, 0], [0, 0, 1]])
    turned = (places[:, :6].unflatten(1, (2, 3)) @ mirror).flatten(1)
    with torch.no_grad():
        plain = model.look(images, places)
        other = model.look(images.flip(-1), torch.cat((turned, places[:, 6:]), dim=1))
    size = 1.0  # of the man in the plane, about half a unit
    assert (plain[0] - other[0]).norm(dim=-1).median() < 0.02 * size
    assert (plain[2] - other[2]).norm(dim=-1).median() < 0.08


def test_where_it_follows_somebody_else_another_crop_is_taken(model):
    """Frame 50: a woman stands in front, and the plain crop shows her to the network."""
    track = man([50])
    places = unpacked(prepare_inputs(model, track, CAMERA, CLIP)[0][torch.tensor([0])])[1]
    full = track_rois(track)[0].size / 256 / CAMERA.focal
    linear = places[0, :6].view(2, 3)[:, :2]
    assert math.sqrt(abs(float(torch.linalg.det(linear)))) < 0.9 * full
    inputs = prepare_inputs(model, track, CAMERA, CLIP)[0][torch.tensor([0])]
    images, places, _ = unpacked(inputs)
    with torch.no_grad():
        xy = model.look(images, places)[0] * CAMERA.focal + torch.tensor(CAMERA.center)
    wanted = track.keypoints.to_skeleton(BODY27)
    off = (xy - wanted.xy).norm(dim=-1)[wanted.conf > 0.3]
    assert off.median() < 0.05 * (track.boxes[0, 3] - track.boxes[0, 1])


def test_what_the_evidence_calls_hidden_is_not_believed(model):
    track = man([0])
    knee = COCO17.index("left_knee")
    conf = track.keypoints.conf.clone()
    conf[0, knee] = 0
    hidden = replace(track, keypoints=replace(track.keypoints, conf=conf))
    crops = prepare_inputs(model, hidden, CAMERA, CLIP)[0]
    images, places, _ = unpacked(crops[torch.tensor([0])])
    with torch.no_grad():
        said = model.look(images, places)[1]
    assert said[0, BODY27.index("left_knee")] == 0 < said[0, BODY27.index("right_knee")]
    assert said[0, BODY27.index("left_heel")] > 0  # COCO does not know it


# --- the regressor ------------------------------------------------------------------------------


def test_it_predicts_a_standing_man_near_his_landmarks(model, crops):
    track = man(range(4))
    result = Adapter(model, config=load_config("default", ["strategy=frozen", "device=cpu"]))
    base = result.adapt(track, CAMERA, video=CLIP).base
    seen = base.landmarks2d
    off = (seen - track.keypoints.xy).norm(dim=-1)[:, COCO17.indices(["left_hip", "right_ankle"])]
    assert off.mean() < 0.06 * float((track.boxes[:, 3] - track.boxes[:, 1]).mean())


def test_gradients_are_those_of_finite_differences(model, crops):
    model = copy.deepcopy(model).double()
    inputs = crops[torch.tensor([0])].double()

    def value() -> torch.Tensor:
        out = model._features(inputs)
        return (out[:, 0] * torch.linspace(-1, 1, FEATURES, dtype=torch.double)).sum()

    net = model.landmarker
    layers = (net.stem, net.stages[1][0].spread, net.body[3].mix, net.world, net.heatmaps)
    value().backward()
    weights, grads = zip(*((layer.weight.data, layer.weight.grad) for layer in layers))
    places = [np.unravel_index(int(g.abs().argmax()), g.shape) for g in grads]
    slopes = [float(g[place]) for g, place in zip(grads, places)]
    least = min(map(abs, slopes))
    assert least > 0
    # one weight of each layer moves by what should change the value as much as any other's does
    steps, sides = [1e-6 * least / slope for slope in slopes], []
    kept = [float(weight[place]) for weight, place in zip(weights, places)]
    for sign in (1, -1):
        for weight, place, middle, step in zip(weights, places, kept, steps):
            weight[place] = middle + sign * step
        with torch.no_grad():
            sides.append(float(value()))
    assert (sides[0] - sides[1]) / (2e-6 * least) == pytest.approx(len(layers), abs=0.02)


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_learns_in_all_its_tensors(model, crops, scope):
    chosen = model.parameter_groups(scope)
    ids = {id(p) for p in chosen}
    assert len(ids) == len(chosen)
    model.zero_grad()
    frames = torch.arange(2)
    out = model(Batch(frames, crops[frames]))
    weights = torch.linspace(-1, 1, out.rotmats.numel()).view_as(out.rotmats)
    ((out.rotmats * weights).sum() + out.cam.sum() + out.betas.sum()).backward()
    moved = {id(p) for p in model.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    flags = set(map(id, model.landmarker.flag.parameters()))  # sure of the man: no slope
    assert ids - flags <= moved
    model.zero_grad()


def test_scopes_lie_inside_each_other(model):
    groups = {scope: set(map(id, model.parameter_groups(scope))) for scope in SCOPES}
    assert groups["head"] == set(map(id, model.lifter.parameters()))
    assert groups["head"] < groups["last"] < groups["all"] == set(map(id, model.parameters()))
    assert groups["norm"] < groups["all"]
    with pytest.raises(SemttaError, match="unknown scope 'some'"):
        model.parameter_groups("some")


@pytest.mark.parametrize("scope", ["head", "last"])
def test_kept_prefixes_change_nothing(model, crops, scope):
    inputs = crops[torch.arange(4)]
    prefix, rest = model.split(scope)
    with torch.no_grad():
        whole = model(Batch(torch.arange(4), inputs))
        parts = rest(Batch(torch.arange(len(inputs)), prefix(inputs)))
        kept = prefix(inputs[:1])
    for name in ("rotmats", "betas", "cam"):
        assert torch.allclose(getattr(whole, name), getattr(parts, name), atol=1e-4)
    assert kept.numel() * 4 / 2**20 == pytest.approx(model.frame_mb[scope][1], rel=0.25)
    assert model.split("all") is None and model.split("norm") is None


def test_bf16_moves_landmarks_by_little(model, crops):
    inputs = crops[torch.arange(2)]
    with torch.no_grad():
        full = model(Batch(torch.arange(2), inputs))
        with torch.autocast("cpu", torch.bfloat16):
            half = model(Batch(torch.arange(2), inputs))
    assert not torch.equal(full.rotmats, half.rotmats)
    assert (full.rotmats - half.rotmats).abs().mean() < 0.02


# --- adaptation ---------------------------------------------------------------------------------


def adapt(model, *overrides: str):
    # the paper's rate makes the first steps too large for a network without norms
    settings = ("device=cpu", "optimizer.epochs=2", "optimizer.lr=5e-6", "smoothing.kind=gaussian",
                *overrides)  # fmt: skip
    return Adapter(model, config=load_config("paper_image", settings)).adapt(
        man(range(0, 6, 2)), CAMERA, video=CLIP
    )


def test_it_adapts_in_chunks_as_at_once_and_is_put_back(model):
    before = copy.deepcopy(model.state_dict())
    chunked, whole = (adapt(model, f"optimizer.chunk={n}") for n in (2, 64))
    assert torch.allclose(chunked.adapted.rotmats, whole.adapted.rotmats, atol=1e-4)
    assert torch.allclose(chunked.base.rotmats, whole.base.rotmats, atol=1e-5)
    assert (whole.adapted.rotmats - whole.base.rotmats).abs().max() > 1e-3
    losses = [epoch["loss_reprojection"] for epoch in whole.history]
    assert losses[1] < losses[0]
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not model.training


def test_the_papers_settings_are_the_papers():
    image, lifter = load_config("paper_image"), load_config("paper_lifter")
    assert (image.model.name, image.model.trainable) == ("blazehmr", "all")
    assert image.optimizer.chunk is not None
    same = replace(image, model=lifter.model, optimizer=replace(image.optimizer, chunk=None))
    assert same == lifter
