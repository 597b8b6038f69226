"""What every human mesh regressor is to the rest of the library.

Axes, rotations and both kinds of camera: ``docs/conventions.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from semtta.errors import SemttaError


@dataclass(frozen=True)
class CropSpec:
    """How a checkpoint wants to see a person, and through which camera it answers.

    Args:
        reads: "image" (normalised RGB crops), "keypoints" (a detector's landmarks) or "parameters"
            (a result that is there already, and the landmarks).
        size: side of the square crop, crop pixels; also the unit of the 2D loss.
        box_scale: side of the crop over the larger side of the person's box.
        camera: "full" = the full image's camera (CLIFF, lifter), "crop" = a camera of the crop
            with ``focal`` crop pixels (HMR, SPIN, CycleAdapt), "metric" = the full image's, where
            ``Prediction.cam`` is the translation itself (a result keeps every bit of its own).
        focal: crop pixels, used by camera "crop" only.
        mean, std: image normalisation, RGB in [0, 1].
    """

    reads: str = "image"
    size: int = 224
    box_scale: float = 1.0
    camera: str = "crop"
    focal: float = 5000.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Batch:
    """What a regressor reads for B frames of one track.

    Args:
        frames: (B,) positions in the track (not frame numbers of the video).
        inputs: (B, ...) as the model's ``CropSpec.reads`` says: images (B, 3, H, W) or features.
        boxes: (B, 3) where the square crops lie before the camera (``geometry.plane_boxes``), for
            models that want to know; None = nobody said.
    """

    frames: Tensor
    inputs: Tensor
    boxes: Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """A regressor's answer for B crops.

    Args:
        rotmats: (B, 24, 3, 3) SMPL rotations, global orientation first, in the camera frame
            (x right, y down, z forward).
        betas: (B, 10) shape.
        cam: (B, 3) weak perspective s, tx, ty in the crop; of a "metric" camera, metres.
    """

    rotmats: Tensor
    betas: Tensor
    cam: Tensor

    def __getitem__(self, index) -> Prediction:
        return Prediction(self.rotmats[index], self.betas[index], self.cam[index])

    @classmethod
    def cat(cls, parts: list[Prediction]) -> Prediction:
        """Predictions of consecutive batches as one."""
        names = ("rotmats", "betas", "cam")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@runtime_checkable
class HumanMeshRegressor(Protocol):
    """An ``nn.Module`` that maps a batch to SMPL parameters; built by ``hmr.load_model``."""

    crop: CropSpec

    def forward(self, batch: Batch) -> Prediction: ...

    def parameter_groups(self, scope: str) -> list[nn.Parameter]:
        """Parameters that adaptation may move: scope ``all | last | head | norm``."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """All of them, as every module has them."""
        ...

    # Optional: ``split(scope)`` returns what adaptation leaves alone, inputs -> tensor, and the
    # rest, which is called as the model is, with a ``Batch`` whose inputs are that tensor; the
    # first is then run once per video. ``frame_mb`` says for each scope what a frame holds in fp32,
    # MiB: for the backward pass, and as the first's result.
    # ``parallel = True`` says that several threads may call ``forward`` at once, each with its own
    # frames: nothing that a call computes is kept on the module. Else one thread does, on the CPU.
    # ``robust`` is what ``evidence.robust=auto`` means: the share of the crop at which a detection
    # counts half, where the network's first predictions can be held against it; None = never.
    # ``prepare(video, track, camera)`` is for one that cuts its crops itself: it returns what
    # ``forward`` reads, indexed by positions in the track.


def parameters_of(groups: Mapping[str, Sequence[nn.Module]], scope: str) -> list[nn.Parameter]:
    """Parameters of the modules that a network has under a scope.

    Raises ``SemttaError`` for a scope that is none."""
    if scope not in groups:
        raise SemttaError(f"unknown scope '{scope}'; known: {', '.join(groups)}.")
    return [p for module in groups[scope] for p in module.parameters()]


def boxes_of(batch: Batch, who: str) -> Tensor:
    """(B, 3) where the crops lie; raises ``SemttaError`` if nobody said."""
    if batch.boxes is None:
        raise SemttaError(f"{who} reads where its crops lie: give the batch's boxes.")
    return batch.boxes


def check_images(images: Tensor, size: int, who: str) -> None:
    """Raise ``SemttaError`` for anything but images (B, 3, size, size)."""
    if images.dim() != 4 or tuple(images.shape[1:]) != (3, size, size):
        raise SemttaError(
            f"{who} reads images of shape (B, 3, {size}, {size}), not {tuple(images.shape)}."
        )
