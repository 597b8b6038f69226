"""Human mesh regressors: networks that know nothing of adaptation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from semtta.engine import undisturbed
from semtta.errors import SemttaError
from semtta.geometry import Camera, square_boxes
from semtta.hmr.base import Batch, CropSpec, HumanMeshRegressor, Prediction
from semtta.keypoints import Track
from semtta.shipped import asset
from semtta.user_files import find_user_file, require_user_file

if TYPE_CHECKING:
    from semtta.body import Body
    from semtta.hmr.images import ImageCrops
    from semtta.video import VideoSource

# Cauchy scale of the 2D loss, share of the crop, where the first predictions are near the truth.
ROBUST = {"lifter": 0.05}
LIFTERS = {"lifter": "hmr/lifter.pt", "lifter-narrow": "hmr/lifter_narrow.pt"}
PIXELS = "blazehmr"  # the shipped network that reads images
MODELS = (*LIFTERS, PIXELS, "hmr", "hmr2", "camerahmr", "cliff")
RESULT = "result"  # no network of its own: a result of any program, and what corrects it

__all__ = [
    "MODELS", "RESULT", "Batch", "CropSpec", "HumanMeshRegressor", "Prediction", "load_model",
    "prepare_inputs",
]  # fmt: skip


@undisturbed(torch.device("cpu"), seed=0)
def load_model(
    name: str = "lifter",
    checkpoint: str | Path | None = None,
    mean_params: str | Path | None = None,
    crop: str | None = None,
) -> nn.Module:
    """A regressor in eval mode on the CPU.

    Args:
        name: ``lifter`` (broad), ``lifter-narrow`` (walking and standing, level cameras: the
            stand-in for a network from one laboratory's data), ``blazehmr`` (shipped, reads
            images: a landmark network and the lifter), ``hmr`` (SPIN, CycleAdapt, BOA, DynaBOA),
            ``hmr2`` (4D-Humans), ``camerahmr``, ``cliff`` (ResNet-50 or HRNet-W48) or ``result``
            (what a program has found already).
        checkpoint: the weights; shipped networks need none (``blazehmr`` takes a lifter's), those
            of others are also looked for under their usual names (``semtta.user_files``). Of
            ``result`` the result itself.
        mean_params: SPIN's ``smpl_mean_params.npz``, for ``hmr`` and ``cliff`` checkpoints without
            them.
        crop: whose crops an ``hmr`` checkpoint was trained on, where its keys do not tell: see
            ``semtta.hmr.hmr.load_hmr``."""
    if name not in (*MODELS, RESULT):
        raise SemttaError(f"unknown model '{name}'; known: {', '.join((*MODELS, RESULT))}.")
    if crop is not None and name != "hmr":
        raise SemttaError(f"a choice of crops belongs to the model 'hmr', not to '{name}'.")
    if name in LIFTERS:
        from semtta.hmr.lifter import load_lifter

        model = load_lifter(Path(checkpoint) if checkpoint else asset(LIFTERS[name])).eval()
        model.robust = ROBUST.get(name)
        return model
    if name == PIXELS:
        from semtta.hmr.blazehmr import load_blazehmr

        return load_blazehmr(Path(checkpoint) if checkpoint else asset(LIFTERS["lifter"]))
    if name == RESULT:
        from semtta.hmr.refiner import make_refiner
        from semtta.hmr.results import read_result

        if checkpoint is None:
            raise SemttaError("the model 'result' needs a result: model.checkpoint, or --result.")
        return make_refiner(read_result(checkpoint))
    path = require_user_file(name, checkpoint)
    if name == "hmr2":
        from semtta.hmr.hmr2 import load_hmr2

        return load_hmr2(path)
    if name == "camerahmr":
        from semtta.hmr.camerahmr import load_camerahmr

        return load_camerahmr(path)
    means = mean_params or find_user_file("mean_params")
    if name == "cliff":
        from semtta.hmr.cliff import load_cliff

        return load_cliff(path, means)
    from semtta.hmr.hmr import load_hmr

    return load_hmr(path, means, crop)


def prepare_inputs(
    model: HumanMeshRegressor,
    track: Track,
    camera: Camera,
    video: VideoSource | None = None,
    body: Body | None = None,
) -> tuple[Tensor | ImageCrops, Tensor]:
    """What a model reads for every frame of a track, computed once per video.

    Args:
        model: a regressor; its ``crop`` says what it reads.
        track: detected person.
        camera: intrinsics of the image.
        video: the file, for models that read images.
        body: whose parameters a result has, for models that read those.
    Returns: inputs, indexed by positions in the track, and square crops (T, 3), image pixels."""
    if model.crop.reads == "keypoints":
        from semtta.hmr.features import lifter_features

        return lifter_features(track, camera), square_boxes(track.boxes, model.crop.box_scale)
    if model.crop.reads == "parameters":
        from semtta.hmr.refiner import Refiner
        from semtta.hmr.refiner_inputs import refiner_inputs
        from semtta.hmr.result_base import on_body
        from semtta.hmr.result_match import check_fit

        if not isinstance(model, Refiner) or body is None:
            raise SemttaError("this model reads a result: give the body that its betas belong to.")
        base = on_body(model.result, model.person(track), body, camera)
        check_fit(base, track, camera, body, model.result.path)
        squares = square_boxes(track.boxes, model.crop.box_scale)
        return refiner_inputs(base, track, camera, body), squares
    if video is None:
        raise SemttaError("this model reads images: give the path of the video beside its track.")
    prepare = getattr(model, "prepare", None)
    if prepare is not None:
        squares = square_boxes(track.boxes, model.crop.box_scale)
        return prepare(video, track, camera), squares
    from semtta.hmr.images import read_crops
    from semtta.hmr.preprocess import person_squares

    squares = person_squares(track.boxes, model.crop)
    return read_crops(video, track, squares, model.crop, track.boxes.device), squares
