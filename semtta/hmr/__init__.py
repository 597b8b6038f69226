"""Human mesh regressors: networks that know nothing of adaptation."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.geometry import Camera, square_boxes
from semtta.hmr.base import Batch, CropSpec, HumanMeshRegressor, Prediction
from semtta.keypoints import Track
from semtta.shipped import asset

MODELS = {"lifter": "hmr/lifter.pt", "lifter-narrow": "hmr/lifter_narrow.pt"}

__all__ = [
    "MODELS", "Batch", "CropSpec", "HumanMeshRegressor", "Prediction", "load_model",
    "prepare_inputs",
]  # fmt: skip


def load_model(name: str = "lifter", checkpoint: str | Path | None = None) -> nn.Module:
    """A regressor in eval mode on the CPU.

    Args:
        name: ``lifter`` (broad) or ``lifter-narrow`` (walking and standing, level cameras: the
            stand-in for a network from one laboratory's data).
        checkpoint: instead of the shipped weights."""
    if name not in MODELS:
        raise SemttaError(f"unknown model '{name}'; known: {', '.join(MODELS)}.")
    from semtta.hmr.lifter import load_lifter

    return load_lifter(Path(checkpoint) if checkpoint else asset(MODELS[name])).eval()


def prepare_inputs(model: nn.Module, track: Track, camera: Camera) -> tuple[Tensor, Tensor]:
    """What a model reads for every frame of a track, computed once per video.

    Args:
        model: a regressor; its ``crop`` says what it reads.
        track: detected person.
        camera: intrinsics of the image.
    Returns: inputs (T, ...) and the square crops (T, 3) in image pixels."""
    boxes = square_boxes(track.boxes, model.crop.box_scale)
    if model.crop.reads != "keypoints":
        raise SemttaError(f"a model that reads '{model.crop.reads}' needs the frames of the video.")
    from semtta.hmr.features import lifter_features

    return lifter_features(track, camera), boxes
