"""Adaptation steps of CycleAdapt's official code, repeated by the strategy.

Network, body, camera, losses and optimiser are tested one by one elsewhere; here they have to
agree together, over three steps in which every error would reach the next one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from golden_weights import noise, rule_weights
from test_body import synthetic_arrays
from torch import Tensor

from semtta.body import load_body, regress
from semtta.config import load_config
from semtta.engine import make_generator, silent
from semtta.geometry import Camera, crop_translation
from semtta.hmr.base import Prediction
from semtta.hmr.hmr import HMR
from semtta.keypoints import Keypoints2D, Track
from semtta.motion import mdnet
from semtta.motion.mdnet import MDNet, MDNetSmoother
from semtta.skeletons import SMPL24
from semtta.tta import losses
from semtta.tta.cycleadapt import CycleAdapt, Targets
from semtta.tta.evidence import Evidence
from semtta.tta.run import Run
from semtta.tta.steps import accumulate_gradient
from semtta.tta.strategy import Draw, Networks
from semtta.tta.view import View

GOLDEN = Path(__file__).parent / "golden"
META = json.loads((GOLDEN / "cycleadapt_step" / "meta.json").read_text())
# Names of the official losses here.
OURS = {"proj": "reprojection", "pose": "smoothing", "shape": "shape"}
FACE = [331, 2802, 6262, 3489, 3990]  # nose, eyes, ears: CycleAdapt's own choice of vertices


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def wanted():
    with np.load(GOLDEN / "cycleadapt_step" / "out.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """The crop is the whole picture, so that its pixels are those of the official projection."""
    path = tmp_path_factory.mktemp("body") / "synthetic.npz"
    np.savez(path, **synthetic_arrays())
    boxes = torch.tensor([[112.0, 112.0, 224.0]]).repeat(4, 1)
    camera = Camera(5000.0, (112.0, 112.0))
    return OfficialView(load_body(path), camera, boxes, HMR("group").crop, SMPL24)


@pytest.fixture(scope="module")
def weights():
    """The official start: random weights, mean parameters, and a decoder that moves little."""
    meta = json.loads((GOLDEN / "cycleadapt_hmrnet" / "meta.json").read_text())
    weights = rule_weights(meta["keys"])
    r = np.random.RandomState(2)
    pose = np.tile([1.0, 0, 0, 1, 0, 0], 24)
    pose[:6] = [1, 0, 0, -1, 0, 0]
    means = {
        "init_pose": pose + 0.05 * r.standard_normal(144),
        "init_shape": 0.1 * r.standard_normal(10),
        "init_cam": np.array([0.9, 0, 0]),
    }
    weights |= {key: torch.from_numpy(value[None]).float() for key, value in means.items()}
    for layer in ("decpose", "decshape", "deccam"):
        for part in ("weight", "bias"):
            weights[f"{layer}.{part}"] *= 0.05
    return weights


def images() -> Tensor:
    numbers = np.random.RandomState(100).standard_normal((4, 3, 224, 224))
    return torch.from_numpy(numbers.astype(np.float32))


class OfficialView(View):
    """Joints as CycleAdapt takes them: from the posed mesh, with five vertices of the face."""

    def mesh(self, prediction: Prediction) -> Tensor:
        return self.body.vertices(prediction.rotmats, prediction.betas)

    def landmarks(self, prediction: Prediction) -> Tensor:
        vertices = self.mesh(prediction)
        return torch.cat((regress(vertices, self.body.joint_regressor), vertices[:, FACE]), 1)


def what_is_stored(view: OfficialView, frames: Tensor, prediction: Prediction) -> dict[str, Tensor]:
    """A prediction of some frames in the terms of the golden file."""
    landmarks = view.landmarks(prediction)
    trans = crop_translation(prediction.cam, view.crop.size, view.crop.focal)
    return {
        "joint_cam": landmarks - landmarks[:, :1],
        "shape": prediction.betas,
        "rotmat": prediction.rotmats.flatten(1),
        "joint_proj": view.project(prediction, frames, landmarks),
        "trans": trans,
        "verts_64": (view.mesh(prediction) + trans[:, None])[:, ::108],
    }


class Watched(CycleAdapt):
    """The strategy, and what it predicted of each chunk of the step."""

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        self.chunks.append(what_is_stored(run.view, draw.frames, prediction))
        return super().loss(run, draw, prediction)


def near(ours: Tensor, official: Tensor, atol: float = 1e-4, rtol: float = 0.0) -> None:
    torch.testing.assert_close(ours.detach(), official, atol=atol, rtol=rtol)


def check_step(step: int, seen: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """What one step predicted."""
    stored = {key[3:]: value for key, value in wanted.items() if key.startswith(f"s{step}_")}
    for name in ("joint_cam", "shape", "rotmat"):
        near(seen[name], stored[name])
    for name in ("joint_proj", "trans", "verts_64"):  # pixels, and metres far from the camera
        near(seen[name], stored[name], rtol=1e-5)
    rotvec = stored.pop("pose").view(4, 24, 3)
    near(seen["rotmat"], roma.rotvec_to_rotmat(rotvec).flatten(1))
    assert stored.keys() == seen.keys()  # nothing stored was left unchecked


def gradient_tolerance(name: str, step: int) -> float:
    """Relative. The first layers' gradients nearly cancel in a random network: even float64 is
    0.2 % from the stored ones after the first step."""
    early = name.startswith(("bn1", "layer1"))
    return 5e-3 if early and step else 1e-3


@pytest.mark.slow
def test_three_steps_of_the_regressor(weights, view, wanted):
    """The first two at once, the last in chunks that do not divide the batch."""
    model = HMR("group").eval()
    model.load_state_dict(weights)
    config = load_config("cycleadapt", ["optimizer.train_mode=false", "smoothing.kind=none"])
    known = torch.ones(29, dtype=torch.bool)
    present = wanted["j2d_valid"] > 0
    evidence = Evidence(
        wanted["j2d"], present, present.float(), torch.zeros(4, 29, dtype=torch.long), known, None
    )
    frames = torch.arange(4)
    nobody = Keypoints2D(torch.zeros(4, 24, 2), torch.zeros(4, 24), SMPL24)
    whole = torch.tensor([[0.0, 0.0, 224.0, 224.0]]).repeat(4, 1)
    track = Track(1, frames, frames / 30, whole, nobody)
    run = Run(
        model=model, view=view, track=track, inputs=images(), evidence=evidence,
        labels=[None] * 4, config=config, generator=make_generator(0), progress=silent,
    )  # fmt: skip
    run.first = run.latest = run.predict_all()
    strategy = Watched(Networks())
    strategy.begin(run)
    rotmats = roma.rotvec_to_rotmat(wanted["md_aa"].view(4, 24, 3))
    targets = Targets(rotmats, wanted["md_shape"])  # what the denoiser stage hands over
    draw = Draw(frames=frames, count=torch.ones(4))
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.Adam(
        model.parameter_groups("all"), lr=META["lr"], betas=tuple(config.optimizer.betas)
    )
    seen = []
    for step, expected in enumerate(META["steps"]):
        strategy.targets = targets if step else None  # the first cycle has none
        optimizer.zero_grad(set_to_none=True)
        strategy.chunks = []
        terms = accumulate_gradient(run, strategy, draw, 3 if step == 2 else None)
        optimizer.step()
        assert len(strategy.chunks) == (2 if step == 2 else 1)
        seen.append({k: torch.cat([c[k] for c in strategy.chunks]) for k in strategy.chunks[0]})

        check_step(step, seen[-1], wanted)
        for name, weight in META["weights_loss"].items():
            found = float(terms.get(OURS[name], 0.0))
            assert found == pytest.approx(weight * expected[name], rel=1e-5)
        assert float(losses.total(terms)) == pytest.approx(expected["loss"], rel=1e-5)
        for name, norm in expected["grad_norm"].items():
            tolerance = gradient_tolerance(name, step)
            assert float(parameters[name].grad.norm()) == pytest.approx(norm, rel=tolerance), name
        for name, total in expected["param_sum"].items():
            found = float(parameters[name].detach().double().sum())
            assert found == pytest.approx(total, abs=1e-4), name
    near(strategy.stale.rotmats.flatten(1), wanted["s2_rotmat"])  # kept from the last step
    with pytest.raises(AssertionError):  # the tolerances tell one step from the next
        check_step(1, seen[2], wanted)


def test_three_steps_of_the_motion_denoiser(wanted, monkeypatch):
    """Through the smoother that the strategy fits, with the official draw of hidden frames."""
    net = MDNet()
    net.load_state_dict({
        key: torch.from_numpy(0.02 * noise(key, *value.shape) + np.float32(key.endswith("alpha")))
        for key, value in net.state_dict().items()
    })  # fmt: skip
    rotvec = np.random.RandomState(102).standard_normal((98, 24, 3)) * 0.5
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(rotvec)).float()
    hidden = wanted["md_mask"] < 0.5
    monkeypatch.setattr(mdnet, "draw_hidden", lambda count, generator: hidden)
    in_order = next(
        seed for seed in range(100)
        if torch.randperm(2, generator=make_generator(seed)).tolist() == [0, 1]
    )  # fmt: skip
    times = torch.arange(98) / 30 + (torch.arange(98) >= 49)  # a gap: two windows of 49
    smoother = MDNetSmoother(net, times, steps=1)
    windows = rotmats[..., :2].reshape(2, 49, 144)
    for expected in META["md_losses"]:
        out = smoother.net(windows * ~hidden[..., None]).detach()
        found = smoother.fit(rotmats, torch.ones(98, 24), make_generator(in_order), META["lr"])
        assert found == [pytest.approx(expected, abs=1e-6)]
    near(out[:, ::8], wanted["md_out_last"])
