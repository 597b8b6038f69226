"""CLIFF and CameraHMR, which are told where their crops lie: official outputs, crops, cameras.

The golden files hold what the authors' classes answer, small and with weights of a recipe; their
released files were not to be had.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from golden_weights import hmr2_images, hmr2_weights, noise
from torch import Tensor, nn

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.geometry import (
    Camera,
    full_translation,
    keypoint_boxes,
    plane_boxes,
    project,
    weak_perspective,
)
from semtta.hmr.base import Batch, Prediction
from semtta.hmr.camerahmr import CameraHMR, load_camerahmr
from semtta.hmr.cliff import CLIFF, CLIFFSettings, box_info, load_cliff
from semtta.hmr.hmr2 import HMR2Settings
from semtta.hmr.hrnet import HRNetSettings
from semtta.hmr.preprocess import crop_image, person_squares
from semtta.skeletons import BODY27
from semtta.tta.view import View

GOLDEN = Path(__file__).parent / "golden"
MEANS = {
    "init_pose": np.tile([1, 0, 0, 1, 0, 0], 24), "init_shape": 0, "init_cam": np.array([0.9, 0, 0])
}  # fmt: skip
# Fewer layers than the authors', the widths that their code fixes.
SMALL_CLIFF = CLIFFSettings(hrnet=HRNetSettings(8, 1, (1, 1, 1)))
SMALL_CAMERAHMR = HMR2Settings(48, 2, 4, 1024, 2, 4, 16, 96)
ENCODERS = ("resnet50", "hrnet48")


def near(ours, official, atol=1e-5):
    """Within a share of the largest number."""
    official = torch.as_tensor(official)
    atol *= max(1.0, float(official.abs().max()))
    torch.testing.assert_close(ours.detach().to(official.dtype), official, atol=atol, rtol=0)


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def cliff_weights(shapes: dict) -> dict[str, Tensor]:
    """Weights that depend on their names alone."""
    weights = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.zeros((), dtype=torch.long)
            continue
        value = noise(key, *shape)
        if key.endswith("running_var"):
            value = np.abs(0.02 * value) + 0.5
        elif len(shape) == 4:
            value = value / np.sqrt(np.prod(shape[1:]))
        else:
            start = 1 if len(shape) == 1 and key.endswith("weight") else MEANS.get(key, 0)
            value = start + 0.02 * value
        weights[key] = torch.from_numpy(np.asarray(value, np.float32))
    return weights


@pytest.fixture(scope="module")
def cliff():
    """With an HRNet: its ResNet is that of HMR, which has golden files of its own."""
    with torch.device("meta"):
        model = CLIFF("hrnet48", SMALL_CLIFF).eval()
    model.load_state_dict(cliff_weights(shapes_of(model)), assign=True)
    return model


@pytest.fixture(scope="module")
def camerahmr():
    with torch.device("meta"):
        model = CameraHMR(SMALL_CAMERAHMR).eval()
    model.load_state_dict(hmr2_weights(shapes_of(model)), assign=True)
    return model


def asked(z) -> tuple[Batch, Tensor, Camera]:
    """Two crops of a picture as the golden files have them: batch, squares, camera."""
    width, height = z["size"]
    camera = Camera(float(z["focal"]), (width / 2, height / 2))
    squares = torch.from_numpy(z["squares"])
    return Batch(torch.arange(2), hmr2_images(2), plane_boxes(squares, camera)), squares, camera


# --- agreement with the official networks ---------------------------------------------------


def test_cliff_matches_the_official_network(cliff):
    z = np.load(GOLDEN / "cliff" / "out.npz")
    batch, squares, camera = asked(z)
    with torch.no_grad():
        near(cliff.encoder.pooled(batch.inputs[..., 32:-32])[:, ::16], z["features"])
        prediction = cliff(batch)
    for name in ("rotmats", "betas", "cam"):
        near(getattr(prediction, name), z[name])
    near(full_translation(prediction.cam.abs(), squares, camera), z["trans"])


@pytest.mark.parametrize("encoder, count, signature", [
    ("resnet50", 331, 712559735), ("hrnet48", 1967, 451834347),
])  # fmt: skip
def test_the_released_cliffs_have_the_keys_of_the_authors(encoder, count, signature):
    with torch.device("meta"):
        shapes = shapes_of(CLIFF(encoder))
    lines = "\n".join(f"{key} {shapes[key]}" for key in sorted(shapes))
    assert (len(shapes), zlib.crc32(lines.encode())) == (count, signature)
    assert shapes["fc1.weight"] == (1024, 2208)


def test_camerahmr_matches_the_official_network(camerahmr):
    z = np.load(GOLDEN / "camerahmr" / "out.npz")
    batch, squares, camera = asked(z)
    with torch.no_grad():
        prediction = camerahmr(batch)
        elsewhere = camerahmr(Batch(batch.frames, batch.inputs, 1.1 * batch.boxes))
    for name in ("rotmats", "betas", "cam"):
        near(getattr(prediction, name), z[name])
    near(full_translation(prediction.cam, squares, camera), z["trans"])
    assert (elsewhere.cam - prediction.cam).abs().max() > 1e-4  # it reads its boxes


def test_camerahmr_has_hmr2s_keys_and_a_token_of_160_numbers():
    with torch.device("meta"):
        shapes = shapes_of(CameraHMR())
    assert len(shapes) == 503
    assert shapes["smpl_head.transformer.to_token_embedding.weight"] == (1024, 160)


def test_cliffs_crops_match_the_official_ones():
    z = np.load(GOLDEN / "cliff" / "out.npz")
    image = np.random.RandomState(25).uniform(0, 255, (96, 128, 3)).astype(np.uint8)
    image = np.kron(image, np.ones((5, 5, 1), np.uint8))
    squares = person_squares(torch.from_numpy(z["boxes"]), CLIFF.crop)
    near(squares, z["box_squares"], atol=1e-6)
    crops = torch.stack([crop_image(image, square, CLIFF.crop) for square in squares])
    near(crops[..., 32:-32][..., ::8, ::8], z["crop_8"], atol=1e-6)
    black = crop_image(np.zeros_like(image), squares[0], CLIFF.crop)
    assert torch.equal(crops[..., :32], black.expand(3, -1, -1, -1)[..., :32])


# --- what they are told agrees with what is seen --------------------------------------------


BODY_AT = torch.tensor([[0.6, -0.3, 3.0], [-1.2, 0.4, 5.5]])
CAMERA = Camera(1100.0, (640.0, 360.0))


def standing() -> tuple[Prediction, Tensor]:
    """Two bodies that face the camera, without a place: prediction, landmarks (2, 27, 3)."""
    rotmats = torch.eye(3).repeat(2, 24, 1, 1)
    rotmats[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ roma.rotvec_to_rotmat(
        torch.tensor([0.0, 0.7, 0.0])
    )
    nowhere = Prediction(rotmats, torch.zeros(2, 10), torch.zeros(2, 3))
    return nowhere, load_body().landmarks(rotmats, nowhere.betas, BODY27)


@pytest.mark.parametrize("crop", [CLIFF.crop, CameraHMR.crop])
def test_a_body_in_front_of_the_camera_is_where_its_crop_says(crop):
    """The way from a place to s, tx, ty in the crop and back, by the authors' formulas."""
    body, landmarks = standing()
    points = landmarks + BODY_AT[:, None]
    pixels = project(points, CAMERA.focal, torch.tensor(CAMERA.center), eps=0)
    boxes = keypoint_boxes(pixels, torch.ones(2, 27))
    squares = person_squares(boxes, crop)
    s, tx, ty = weak_perspective(BODY_AT, squares, CAMERA).T

    # Weak perspective is what a pinhole sees at the depth of the body's origin: x and y there, in
    # half sides of the crop, are s (x + tx) and s (y + ty).
    (x, y, side), (cx, cy), f = squares.T, CAMERA.center, CAMERA.focal
    for shift in torch.tensor([[0.0, 0.0, 0.0], [0.4, -0.7, 0.0]]):
        seen = project((BODY_AT + shift)[:, None], f, torch.tensor(CAMERA.center), eps=0)[:, 0]
        place = 2 * (seen - squares[:, :2]) / side[:, None]
        told = torch.stack((s * (shift[0] + tx), s * (shift[1] + ty)), dim=-1)
        torch.testing.assert_close(place, told, atol=1e-5, rtol=0)

    # convert_to_full_img_cam of CameraHMR, cam_crop2full of CLIFF
    full = torch.stack(
        (tx + 2 * (x - cx) / (s * side), ty + 2 * (y - cy) / (s * side), 2 * f / (s * side)), -1
    )
    torch.testing.assert_close(full, BODY_AT, atol=1e-5, rtol=1e-5)

    # What the network is told: with the crop's own s, tx, ty it gives the place without pixels.
    told = plane_boxes(squares, CAMERA)
    torch.testing.assert_close(told, torch.stack(((x - cx) / f, (y - cy) / f, side / f), dim=-1))
    depth = 2 / (s * told[:, 2])
    again = torch.stack((tx + told[:, 0] * depth, ty + told[:, 1] * depth, depth), dim=-1)
    torch.testing.assert_close(again, BODY_AT, atol=1e-5, rtol=1e-5)

    # And the adapter's eye sees the body where the camera did.
    view = View(load_body(), CAMERA, squares, crop, BODY27)
    answer = Prediction(body.rotmats, body.betas, torch.stack((s, tx, ty), dim=-1))
    frames = torch.arange(2)
    torch.testing.assert_close(view.translation(answer, frames), BODY_AT, atol=1e-5, rtol=1e-5)
    found = view.project(answer, frames, landmarks)
    torch.testing.assert_close(found, pixels, atol=0.1, rtol=0)


def test_cliff_is_told_what_its_authors_tell_it():
    """``demo.py``: the centre's distance from the picture's middle and the side, scaled."""
    squares = torch.tensor([[300.0, 200.0, 400.0], [900.0, 500.0, 264.0]])
    x, y, side = squares.T
    (cx, cy), f = CAMERA.center, CAMERA.focal
    official = torch.stack(
        ((x - cx) / f * 2.8, (y - cy) / f * 2.8, (side - 0.24 * f) / (0.06 * f)), dim=-1
    )
    ours = box_info(plane_boxes(squares, CAMERA))
    torch.testing.assert_close(ours, official, atol=1e-5, rtol=1e-5)
    assert ours[1, 2].abs() < 1e-5  # a side of 0.24 focal lengths is the usual one


def test_a_network_that_reads_boxes_is_not_asked_without_them(camerahmr):
    tiny = CLIFF("resnet50", CLIFFSettings.tiny())
    for model, name in ((camerahmr, "CameraHMR"), (tiny, "CLIFF")):
        with pytest.raises(SemttaError, match=f"{name} reads where its crops lie"):
            model(Batch(torch.arange(2), hmr2_images(2)))


def test_margins_of_the_crop_are_not_seen(camerahmr):
    images = hmr2_images(1).requires_grad_()
    for model in (CLIFF("resnet50", CLIFFSettings.tiny()).eval(), camerahmr):
        prediction = model(Batch(torch.arange(1), images, torch.tensor([[0.1, 0.0, 0.2]])))
        loss = prediction.cam.sum() + prediction.betas.sum()
        (gradient,) = torch.autograd.grad(loss, images)
        assert gradient[..., :32].abs().max() == 0 and gradient[..., -32:].abs().max() == 0
        assert gradient[..., 32:-32].abs().max() > 0


# --- files ----------------------------------------------------------------------------------


def test_cliffs_file_tells_its_encoder_and_may_lack_the_mean_parameters(tmp_path):
    tiny, path, means = CLIFFSettings.tiny(), tmp_path / "cliff.pt", tmp_path / "means.npz"
    for encoder in ENCODERS:
        weights = {f"module.{k}": v for k, v in CLIFF(encoder, tiny).state_dict().items()}
        torch.save({"model": weights, "epoch": 3}, path)
        assert type(load_cliff(path, settings=tiny).encoder) is type(CLIFF(encoder, tiny).encoder)
        bare = {k: v for k, v in weights.items() if ".init_" not in k}
        torch.save({"model": bare}, path)
        with pytest.raises(SemttaError, match="holds no mean parameters.*smpl_mean_params.npz"):
            load_cliff(path, settings=tiny)
        np.savez(means, pose=np.ones(144), shape=np.full(10, 0.5), cam=np.array([0.8, 0, 0]))
        near(load_cliff(path, means, tiny).init_cam, torch.tensor([[0.8, 0, 0]]))
    with pytest.raises(ValueError, match="'resnet50' or 'hrnet48'"):
        CLIFF("resnet18")


def test_what_lies_beside_camerahmr_in_its_file_is_left_out(tmp_path):
    tiny, path = HMR2Settings.tiny(), tmp_path / "camerahmr.ckpt"
    weights = CameraHMR(tiny).state_dict()
    beside = ("smpl_head.deckp.weight", "cam_model.fc.bias", "smpl.shapedirs", "smpl_gt_male.faces")
    torch.save({"state_dict": {**weights, **{k: torch.zeros(2, 2) for k in beside}}}, path)
    loaded = load_camerahmr(path, tiny)
    assert all(torch.equal(loaded.state_dict()[k], v) for k, v in weights.items())
    hmr2 = weights | {"smpl_head.transformer.to_token_embedding.weight": torch.zeros(64, 1)}
    torch.save({"state_dict": hmr2}, path)
    with pytest.raises(SemttaError, match=r"to_token_embedding\.weight' is \(64, 1\), not"):
        load_camerahmr(path, tiny)
