"""HMR (SPIN, CycleAdapt, DynaBOA): official outputs, file formats, hostile files, crops."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from golden_weights import rule_weights
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import nn

from semtta.checkpoints import read_weights
from semtta.errors import SemttaError
from semtta.hmr import load_model
from semtta.hmr.base import Batch, CropSpec, HumanMeshRegressor
from semtta.hmr.hmr import (
    CYCLEADAPT_CROP,
    DYNABOA_CROP,
    HMR,
    SPIN_CROP,
    load_hmr,
)
from semtta.hmr.hmr2 import HMR2
from semtta.hmr.iterative import read_mean_params
from semtta.hmr.preprocess import (
    crop_image,
    crop_pixels,
    normalize,
    person_squares,
    square_to_crop,
)

GOLDEN = Path(__file__).parent / "golden"
INITIAL = ("init_pose", "init_shape", "init_cam")


def near(ours, official, atol=1e-4):
    ours, official = torch.as_tensor(ours), torch.as_tensor(official)
    torch.testing.assert_close(ours.detach().to(official.dtype), official, atol=atol, rtol=0)


def weights_of(name: str) -> dict[str, torch.Tensor]:
    return rule_weights(json.loads((GOLDEN / name / "meta.json").read_text())["keys"])


@pytest.fixture(scope="module")
def spin_weights():
    return weights_of("spin_hmr")


@pytest.fixture(scope="module")
def group_weights():
    return weights_of("cycleadapt_hmrnet")


@pytest.fixture(scope="module")
def hollow(group_weights):
    """Weights of which every tensor is one stored number, so that its file is small."""
    return {
        key: torch.tensor(0.01 * (i % 7)).expand(value.shape)
        for i, (key, value) in enumerate(group_weights.items())
    }


@pytest.fixture(scope="module")
def images():
    noise = np.random.RandomState(0).standard_normal((2, 3, 224, 224))
    return torch.from_numpy(noise.astype(np.float32))


@pytest.fixture(scope="module")
def spin(spin_weights, tmp_path_factory):
    """SPIN's own file: the weights under 'model' beside an optimizer and an order of samples."""
    path = tmp_path_factory.mktemp("spin") / "model_checkpoint.pt"
    torch.save({
        "model": spin_weights, "epoch": 3, "batch_idx": 1, "batch_size": 64,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 5e-5}]},
        "dataset_perm": np.arange(5), "total_step_count": 12,
    }, path)  # fmt: skip
    yield load_hmr(path)
    path.unlink()


@pytest.fixture(scope="module")
def cycleadapt(group_weights, tmp_path_factory):
    """A file saved from a wrapped network, with the prefix on every key."""
    path = tmp_path_factory.mktemp("cycleadapt") / "basemodel.pt"
    torch.save({"model": {f"module.{k}": v for k, v in group_weights.items()}}, path)
    yield load_hmr(path)
    path.unlink()


# --- agreement with the official networks ---------------------------------------------------


def test_spin_matches_the_official_network(spin, images):
    z = np.load(GOLDEN / "spin_hmr" / "out.npz")
    with torch.no_grad():
        prediction, features = spin.regress_with_features(images)
    near(prediction.rotmats, z["rotmat"])
    near(prediction.betas, z["betas"])
    near(prediction.cam, z["cam"])
    near(features[5], z["avgpool"])
    near(features[1][:, :8, :4, :4], z["layer1_corner"])


def test_group_norm_matches_the_official_networks(cycleadapt, images):
    """CycleAdapt (six numbers, translation) and DynaBOA (rotations, camera, features)."""
    z = np.load(GOLDEN / "cycleadapt_hmrnet" / "out.npz")
    with torch.no_grad():
        prediction, features = cycleadapt.regress_with_features(images)
    official = torch.from_numpy(z["pose6d"]).view(2, 24, 3, 2)
    near(prediction.rotmats, roma.special_gramschmidt(official))
    near(prediction.betas, z["betas"])
    near(prediction.cam[:, 1:], z["trans"][:, :2])
    depth = 2 * 5000 / (224 * prediction.cam[:, 0] + 1e-9)
    torch.testing.assert_close(depth, torch.from_numpy(z["trans"][:, 2]), atol=0, rtol=1e-5)
    near(features[5], z["avgpool"])
    near(features[1][:, :8, :4, :4], z["layer1_corner"])

    z = np.load(GOLDEN / "dynaboa_hmr" / "out.npz")
    near(prediction.rotmats, z["rotmat"])
    near(prediction.cam, z["cam"])
    near(features[5], z["feat5"])
    near(features[12], z["feat12"])
    assert [f.shape[1] for f in features] == [64, 256, 512, 1024, 2048, 2048] + 9 * [1024]


def step_weights(weights: dict) -> dict:
    """A random network with a plausible start and a quiet regressor."""
    r = np.random.RandomState(2)
    pose = np.tile([1.0, 0, 0, 1, 0, 0], 24)
    pose[:6] = [1, 0, 0, -1, 0, 0]
    pose = pose + 0.05 * r.standard_normal(144)
    start = (pose, 0.1 * r.standard_normal(10), [0.9, 0, 0])
    quiet = {k: 0.05 * v if k.startswith("dec") else v for k, v in weights.items()}
    means = {k: torch.tensor(np.array(v))[None].float() for k, v in zip(INITIAL, start)}
    return {**quiet, **means}


# --- what adaptation asks of a regressor ----------------------------------------------------


def test_each_lineage_brings_its_crop(spin, cycleadapt):
    assert isinstance(spin, HumanMeshRegressor) and isinstance(cycleadapt, HumanMeshRegressor)
    assert (spin.crop, cycleadapt.crop) == (SPIN_CROP, CYCLEADAPT_CROP)
    assert (spin.crop.reads, spin.crop.size, spin.crop.camera) == ("image", 224, "crop")
    assert len(spin.sha256) == 64 and spin.sha256 != cycleadapt.sha256


def test_a_lineage_that_the_keys_do_not_tell_is_named(hollow, tmp_path):
    path = tmp_path / "basemodel.pt"
    torch.save({"model": hollow}, path)
    assert load_hmr(path).crop == CYCLEADAPT_CROP
    assert load_model("hmr", path, crop="dynaboa").crop == DYNABOA_CROP
    assert load_model("hmr", path, crop="boa").crop == SPIN_CROP
    with pytest.raises(SemttaError, match="unknown crop 'vibe'; known: spin, boa"):
        load_hmr(path, crop="vibe")
    with pytest.raises(SemttaError, match="belongs to the model 'hmr', not to 'lifter'"):
        load_model("lifter", crop="spin")


def test_training_mode_turns_on_dropout_but_never_batch_statistics(spin, images):
    before = {k: v.clone() for k, v in spin.named_buffers()}
    batch = Batch(torch.arange(2), images)
    with torch.no_grad():
        calm, again = spin(batch), spin(batch)
        assert torch.equal(calm.rotmats, again.rotmats)
        pooled = spin.features(images)[5]
        spin.train()
        try:
            shaken, features = spin.regress_with_features(images)
        finally:
            spin.eval()
    assert torch.equal(features[5], pooled)
    assert not torch.equal(features[6], features[7])  # fc1 and its dropout
    assert not torch.allclose(shaken.rotmats, calm.rotmats, atol=1e-3)
    assert all(torch.equal(v, before[k]) for k, v in spin.named_buffers())


def test_scopes_are_the_layers_they_are_named_after(cycleadapt):
    named = {id(p): name for name, p in cycleadapt.named_parameters()}
    counts = {}
    for scope in ("all", "last", "head", "norm"):
        chosen = {named[id(p)] for p in cycleadapt.parameter_groups(scope)}
        counts[scope] = len(chosen)
        if scope in ("last", "head"):
            assert all(n.startswith(("layer4.", "fc", "dec")) for n in chosen)
        if scope == "norm":
            assert all(".bn" in n or n.startswith("bn") or ".downsample.1." in n for n in chosen)
    assert counts == {"all": 169, "last": 40, "head": 10, "norm": 106}


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["bare", "state_dict", "hmr_state_dict"])
def test_weights_are_found_wherever_they_lie(entry, hollow, tmp_path):
    path = tmp_path / "hmr.pt"
    torch.save(hollow if entry == "bare" else {entry: hollow, "epoch": 1}, path)
    loaded = load_hmr(path).state_dict()
    assert loaded.keys() == hollow.keys()
    assert all(torch.equal(loaded[k], v) for k, v in hollow.items())


def test_mean_parameters_come_from_the_checkpoint_else_from_spins_file(hollow, tmp_path):
    path, means = tmp_path / "hmr.pt", tmp_path / "smpl_mean_params.npz"
    torch.save({k: v for k, v in hollow.items() if k not in INITIAL}, path)
    with pytest.raises(SemttaError, match="smpl_mean_params.npz"):
        load_hmr(path)
    pose = np.tile([1.0, 0, 0, 1, 0, 0], 24)
    np.savez(means, pose=pose, shape=np.full(10, 0.5), cam=np.array([0.9, 0, 0]))
    model = load_hmr(path, means)
    near(model.init_shape, torch.full((1, 10), 0.5))
    near(model.init_pose, torch.from_numpy(pose).float()[None])
    torch.save(hollow, path)
    near(load_hmr(path, means).init_shape, hollow["init_shape"], atol=0)

    np.savez(means, pose=pose[:72], shape=np.zeros(10), cam=np.zeros(3))
    with pytest.raises(SemttaError, match="'pose' must hold 144"):
        read_mean_params(means)
    means.write_bytes(b"not a zip")
    with pytest.raises(SemttaError, match="is not SPIN's smpl_mean_params.npz"):
        read_mean_params(means)
    with pytest.raises(SemttaError, match="there is no file of mean parameters"):
        read_mean_params(tmp_path / "absent.npz")


def test_counters_that_old_versions_did_not_save_are_not_missed(spin_weights, tmp_path):
    path = tmp_path / "old.pt"
    old = {
        key: torch.tensor(0.5).expand(value.shape)
        for key, value in spin_weights.items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save({"model": old}, path)
    assert len(load_hmr(path).state_dict()) == 331


def test_old_file_format_is_read(hollow, tmp_path):
    path = tmp_path / "legacy.pt"
    content = {"model": hollow, "dataset_perm": np.arange(3)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    near(load_hmr(path).deccam.weight, hollow["deccam.weight"], atol=0)


def broken(weights: dict, case: str) -> dict:
    weights = dict(weights)
    if case == "missing":
        del weights["layer3.2.conv2.weight"]
    elif case == "unknown":
        weights["decpose_extra.weight"] = torch.zeros(1)
    elif case == "shape":
        weights["decshape.weight"] = torch.zeros(11, 1024)
    elif case == "nan":
        weights["fc1.bias"] = torch.full((1024,), torch.nan)
    elif case == "other":
        weights = {"encoder.weight": torch.zeros(3)}
    return weights


@pytest.mark.parametrize(
    "case, message",
    [
        ("missing", r"it lacks 'layer3\.2\.conv2\.weight'; give the official file\.$"),
        ("unknown", r"it has the unknown tensor 'decpose_extra\.weight'; give"),
        ("shape", r"'decshape\.weight' is \(11, 1024\), not \(10, 1024\)"),
        ("nan", "'fc1.bias' is not finite"),
        ("other", r"it lacks .* more and it has the unknown tensor 'encoder\.weight'"),
    ],
)
def test_weights_that_do_not_fit_are_named(case, message, hollow, tmp_path):
    path = tmp_path / "hmr.pt"
    torch.save({"model": broken(hollow, case)}, path)
    with pytest.raises(SemttaError, match=message):
        load_hmr(path)


def test_files_that_are_no_checkpoints(hollow, tmp_path):
    path = tmp_path / "hmr.pt"
    with pytest.raises(SemttaError, match="there is no file"):
        load_hmr(path)
    for content in (b"", b"<html>quota exceeded</html>", pickle.dumps({"a": 1}, protocol=2)):
        path.write_bytes(content)
        with pytest.raises(SemttaError, match="damaged or not an HMR"):
            load_hmr(path)
    torch.save([1, 2], path)
    with pytest.raises(SemttaError, match="holds a list"):
        load_hmr(path)
    torch.save({"model": hollow}, path)
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(SemttaError, match="damaged or not an HMR"):
        load_hmr(path)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_file_is_never_run(new_format, tmp_path):
    path, trace = tmp_path / "hmr.pt", tmp_path / "trace"
    state = nn.Linear(1, 1).state_dict()  # an OrderedDict with an attribute of its own
    content = {"model": state, "extra": Malicious(trace), Malicious(trace): [{1, 2}, b"3"]}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    assert read_weights(path, "a file").keys() == {"weight", "bias"}
    assert not trace.exists()


def test_a_scripted_program_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/constants.pkl", b"")
        archive.writestr("model/data.pkl", b"")
    with pytest.raises(SemttaError, match="TorchScript"):
        load_hmr(path)


# --- crops ----------------------------------------------------------------------------------


def test_crop_matches_cycleadapt():
    z = np.load(GOLDEN / "functions" / "crop.npz")
    image = np.random.RandomState(25).uniform(0, 255, (96, 128, 3)).astype(np.uint8)
    x, y, width, height = torch.from_numpy(z["bbox"])
    square = person_squares(torch.stack((x, y, x + width, y + height)), CYCLEADAPT_CROP)
    pixels = crop_pixels(image, square, CYCLEADAPT_CROP)
    near(torch.from_numpy(pixels[::8, ::8]), z["cycleadapt_patch_8"], atol=1e-3)
    mean, std = (np.array(v) for v in (CYCLEADAPT_CROP.mean, CYCLEADAPT_CROP.std))
    normal = torch.from_numpy((pixels / 255 - mean) / std).permute(2, 0, 1).float()
    near(crop_image(image, square, CYCLEADAPT_CROP), normal, atol=1e-5)


def test_crop_matches_dynaboa():
    """Also the rounding of points that its 2D labels go through: centre and corner of the box."""
    z = np.load(GOLDEN / "functions" / "crop.npz")
    image = np.random.RandomState(25).uniform(0, 255, (96, 128, 3)).astype(np.uint8)
    x, y, width, height = torch.from_numpy(z["bbox"])
    square = person_squares(torch.stack((x, y, x + width, y + height)), DYNABOA_CROP)
    near(crop_pixels(image, square, DYNABOA_CROP)[::8, ::8], z["dynaboa_crop_8"])
    points = square_to_crop(square.tolist(), 224) @ [[40, 5], [45, 10], [1, 1]]
    assert (points[:2].astype(int).T + 1).tolist() == z["dynaboa_transform_pts"][[0, 3]].tolist()


@pytest.mark.parametrize("square", [(200.3, 150.2, 300.8), (-20.0, 310.5, 533.3)])
def test_rounded_crops_are_blurred_where_they_shrink(square):
    """As skimage resizes, written with scipy."""
    image = np.random.RandomState(4).randint(0, 256, (300, 400, 3)).astype(np.uint8)
    x, y, side = square
    padded = np.pad(image, ((600, 600), (600, 600), (0, 0))).astype(np.float64)
    left, right, top, bottom = (int(v) for v in (x - side / 2, x + side / 2, y - side / 2,
                                                 y + side / 2))  # fmt: skip
    part = padded[top + 600 : bottom + 600, left + 600 : right + 600]
    size = DYNABOA_CROP.size
    sigmas = [(n / size - 1) / 2 for n in part.shape[:2]]
    part = gaussian_filter(part, (*sigmas, 0), mode="mirror")
    places = [(np.arange(size) + 0.5) * n / size - 0.5 for n in part.shape[:2]]
    grid = np.meshgrid(*places, np.arange(3), indexing="ij")
    wanted = map_coordinates(part, grid, order=1, mode="mirror")
    near(crop_pixels(image, torch.tensor(square), DYNABOA_CROP), wanted, atol=2e-2)


def test_squares_follow_each_lineage():
    tall, wide = torch.tensor([[10.0, 20, 40, 120], [0, 0, 90, 60]])
    assert person_squares(tall, SPIN_CROP).tolist() == pytest.approx([25, 70, 120])
    assert person_squares(tall, CropSpec()).tolist() == [25, 70, 100]
    assert person_squares(wide, CYCLEADAPT_CROP).tolist() == [45, 30, 90]
    assert person_squares(wide, HMR2.crop).tolist() == [45, 30, 120]  # grown to 3:4


@pytest.mark.parametrize("center", [(400.0, 300.0), (5.0, 590.0)])
def test_strong_shrinking_is_blurred_as_if_the_whole_frame_was(center):
    image = np.random.RandomState(3).randint(0, 256, (600, 800, 3)).astype(np.uint8)
    square = torch.tensor([*center, 900.0])
    spec = replace(HMR2.crop, size=128)
    sigma = (900 / 128 / 2 - 1) / 2
    whole = gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest")
    near(
        torch.from_numpy(crop_pixels(image, square, spec)),
        crop_pixels_of_blurred(whole.astype(np.float32), square, spec.size),
        atol=2e-2,
    )


def crop_pixels_of_blurred(image: np.ndarray, square: torch.Tensor, size: int) -> torch.Tensor:
    """Bilinear samples by PyTorch, black outside."""
    x, y, side = square.tolist()
    steps = (torch.arange(size) - size / 2) * side / size
    across, down = (steps + x + 0.5) / image.shape[1], (steps + y + 0.5) / image.shape[0]
    grid = torch.stack(torch.meshgrid(2 * down - 1, 2 * across - 1, indexing="ij")[::-1], -1)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    sampled = torch.nn.functional.grid_sample(planes, grid[None].float(), align_corners=False)
    return sampled[0].permute(1, 2, 0)


def test_crop_outside_the_frame_is_black_and_bad_boxes_are_refused():
    image = np.full((60, 80, 3), 200, np.uint8)
    for spec in (SPIN_CROP, HMR2.crop):
        far = crop_image(image, torch.tensor([-5000.0, 30.0, 300.0]), spec)
        near(far, normalize(torch.zeros(spec.size, spec.size, 3), spec), atol=1e-6)
    with pytest.raises(SemttaError, match="cannot cut a crop"):
        crop_image(image, torch.tensor([30.0, torch.nan, 40.0]), SPIN_CROP)
    with pytest.raises(SemttaError, match="far larger than the image"):
        crop_image(image, torch.tensor([30.0, 30.0, 1e6]), SPIN_CROP)
    with pytest.raises(SemttaError, match="frames must be"):
        crop_image(image[..., 0], torch.tensor([30.0, 30.0, 40.0]), SPIN_CROP)


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="'batch' or 'group'"):
        HMR("layer")
