"""Every kind of human mesh regressor, small and with random weights: one list for the tests.

A new network is one more :class:`Kind`; ``test_regressor_conformance.py`` then holds it to what all
of them promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from test_refiner import person, result_of
from torch import Tensor, nn

from semtta.body import load_body
from semtta.hmr.blazehmr import BlazeHMR
from semtta.hmr.camerahmr import CameraHMR, load_camerahmr
from semtta.hmr.cliff import CLIFF, CLIFFSettings, load_cliff
from semtta.hmr.features import OFFSETS
from semtta.hmr.hmr import HMR, HMRSettings, load_hmr
from semtta.hmr.hmr2 import HMR2, HMR2Settings, load_hmr2
from semtta.hmr.landmarker import load_landmarker
from semtta.hmr.lifter import Lifter, LifterSettings, load_lifter
from semtta.hmr.refiner import Refiner, RefinerSettings
from semtta.keypoints import Track
from semtta.skeletons import BODY27

FRAMES = 6
LIFTER, REFINER = LifterSettings(16, 32, 1), RefinerSettings(16, 32, 1)
UPSIDE_DOWN = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # the body's y up, the camera's down


@dataclass(frozen=True)
class Kind:
    """One kind of regressor.

    Args:
        name: in the names of tests.
        models: what ``load_model`` calls it.
        make: a small one.
        load: from a file; None = there is no file of its weights.
        file: what the file holds, given the weights.
        released: the same of the released size, to be made on the meta device; None = ``make``.
        ends: parameters that make the answer, so that they stay small.
        packed: reads rows that it prepares itself, not images as they are.
    """

    name: str
    models: tuple[str, ...]
    make: Callable[[], nn.Module]
    load: Callable[[Path], nn.Module] | None = None
    file: Callable[[dict[str, Tensor]], dict] = lambda weights: {"model": weights}
    released: Callable[[], nn.Module] | None = None
    ends: tuple[str, ...] = ("decpose", "decshape", "deccam")
    packed: bool = False

    def build(self) -> nn.Module:
        """In eval mode, with weights that are random, the same each time, and matter all."""
        torch.manual_seed(0)
        model = self.make().eval()
        with torch.no_grad():
            for name, value in model.named_parameters():
                if name.split(".")[-2] in self.ends:
                    value.copy_(0.02 * torch.randn_like(value) + 0.2 * value)
                elif value.dim() == 1:  # norms
                    value.add_(0.05 * torch.randn_like(value))
            for name, value in model.named_buffers():
                if name.endswith("running_mean"):
                    value.normal_(std=0.1)
                elif name.endswith("running_var"):
                    value.uniform_(0.5, 1.5)
                elif name.endswith("init_pose"):
                    value[0, :6] = UPSIDE_DOWN[:, :2].flatten()
                elif name.endswith("init_body_pose"):
                    value[0, :6] = UPSIDE_DOWN[:, :2].T.flatten()
        return model


def lifter_file(weights: dict[str, Tensor]) -> dict:
    return {"kind": "lifter", "format": 2, "offsets": list(OFFSETS), "settings": asdict(LIFTER),
            "weights": weights}  # fmt: skip


def lightning(weights: dict[str, Tensor]) -> dict:
    return {"state_dict": weights, "epoch": 1}


def parallel(weights: dict[str, Tensor]) -> dict:
    return {"model": {f"module.{key}": value for key, value in weights.items()}}


def walk() -> Track:
    """Somebody in front of ``test_adapter.CAMERA``, seen in 2D and 3D."""
    track, truth = person(frames=range(FRAMES))
    landmarks = load_body().landmarks(truth.rotmats, truth.betas, BODY27)
    hips = BODY27.indices(["left_hip", "right_hip"])
    centred = landmarks - landmarks[:, hips].mean(1, keepdim=True)
    return replace(track, landmarks3d=centred, conf3d=track.keypoints.conf)


def refiner() -> Refiner:
    """Of a result a little off what :func:`walk` shows."""
    return Refiner(result_of(person(frames=range(FRAMES), off=0.05)[1]), REFINER)


def blazehmr() -> BlazeHMR:
    """The landmark network as it is shipped, before a small lifter."""
    return BlazeHMR(load_landmarker(), Lifter(LIFTER))


KINDS = (
    Kind("lifter", ("lifter", "lifter-narrow"), partial(Lifter, LIFTER), load_lifter, lifter_file,
         released=Lifter, ends=()),
    Kind("result", ("result",), refiner, ends=("head",)),
    Kind("blazehmr", ("blazehmr",), blazehmr, ends=(), packed=True),
    Kind("hmr-batch", ("hmr",), partial(HMR, "batch", settings=HMRSettings.tiny()),
         partial(load_hmr, settings=HMRSettings.tiny()), released=partial(HMR, "batch")),
    Kind("hmr-group", ("hmr",), partial(HMR, "group", settings=HMRSettings.tiny()),
         partial(load_hmr, settings=HMRSettings.tiny()), parallel, partial(HMR, "group")),
    Kind("hmr2", ("hmr2",), partial(HMR2, HMR2Settings.tiny()),
         partial(load_hmr2, settings=HMR2Settings.tiny()), lightning, HMR2),
    Kind("camerahmr", ("camerahmr",), partial(CameraHMR, HMR2Settings.tiny()),
         partial(load_camerahmr, settings=HMR2Settings.tiny()), lightning, CameraHMR),
    Kind("cliff-resnet50", ("cliff",), partial(CLIFF, "resnet50", CLIFFSettings.tiny()),
         partial(load_cliff, settings=CLIFFSettings.tiny()), parallel, partial(CLIFF, "resnet50")),
    Kind("cliff-hrnet48", ("cliff",), partial(CLIFF, "hrnet48", CLIFFSettings.tiny()),
         partial(load_cliff, settings=CLIFFSettings.tiny()), parallel, partial(CLIFF, "hrnet48")),
)  # fmt: skip
