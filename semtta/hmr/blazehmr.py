"""The shipped network that reads images: BlazePose's landmark network, then the lifter.

Image crop -> landmarks in the image and in metres, and how sure -> the lifter's features -> SMPL.
Every step has a gradient, so that adaptation can move the weights that see the pixels. A frame's
own landmarks come from its pixels anew each time; those of its neighbours, which the lifter reads
too, stay as the network saw them before adaptation: frames then do not depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.hmr.base import Batch, CropSpec, Prediction
from semtta.hmr.features import BOX_SCALE, FEATURES, OFFSETS, window_features
from semtta.hmr.landmarker import GRID, POINTS, Landmarker, load_landmarker, read_out
from semtta.hmr.lifter import Lifter, load_lifter
from semtta.hmr.looks import PLACE, LandmarkCrops, read_looks, unpacked
from semtta.keypoints import Track
from semtta.skeletons import BLAZEPOSE33, BODY27
from semtta.video import VideoSource

_BODY = torch.tensor(BLAZEPOSE33.indices(BODY27.joints))
_FLIP = list(BODY27.flip)
# What adaptation of the last part keeps of a frame.
_KEPT = ((864, 8, 8), (POINTS, GRID, GRID), (PLACE,), (len(OFFSETS), FEATURES))
_SEEN = 0.5  # visibility and flag from which a landmark counts fully, as in people.gating
_LEAST = 0.3  # confidence below which it is missing


class BlazeHMR(nn.Module):
    """``HumanMeshRegressor`` that reads crops of a person and what :mod:`semtta.hmr.looks` puts
    beside them.

    Args:
        landmarker: crops -> landmarks.
        lifter: landmarks -> SMPL.
    """

    robust: float | None = 0.05
    parallel = True
    frame_mb = {"all": (60.0, 0.0), "norm": (60.0, 0.0), "last": (2.2, 0.84), "head": (0.1, 0.02)}
    # The unit of the 2D loss is the lifter's; the landmark network cuts its own crops of 256.
    crop = CropSpec(reads="image", size=224, box_scale=BOX_SCALE, camera="full",
                    mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # fmt: skip

    def __init__(self, landmarker: Landmarker, lifter: Lifter):
        super().__init__()
        self.landmarker, self.lifter = landmarker, lifter
        self.sha256 = lifter.sha256

    def prepare(self, video: VideoSource, track: Track, camera: Camera) -> LandmarkCrops:
        """What :meth:`forward` reads for every frame of a track."""
        return read_looks(video, track, camera, self.crop, self.look)

    def forward(self, batch: Batch) -> Prediction:
        """inputs (B, ...) of :func:`semtta.hmr.looks.unpacked` -> prediction for the B frames."""
        return self._lift(self._features(batch.inputs))

    def look(self, images: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Landmarks of crops (B, 3, 256, 256) RGB in [0, 1]; see :func:`landmarks`."""
        points, world, flag = self.landmarker(images)
        return landmarks(points, world, flag, places)

    def _features(self, inputs: Tensor) -> Tensor:
        """(B, W, FEATURES), of which the own frame's come from its pixels."""
        images, places, window = unpacked(inputs)
        return _with_own(self.landmarker.outputs(images), places, window)

    def _lift(self, features: Tensor) -> Prediction:
        with torch.autocast(features.device.type, enabled=False):
            frames = torch.arange(len(features), device=features.device)
            return self.lifter(Batch(frames, features))

    def split(self, scope: str) -> tuple[Callable, Callable] | None:
        """The layers that ``parameter_groups(scope)`` leaves alone, and the rest of a batch."""
        if scope == "head":
            return self._features, self._after_features
        if scope == "last":
            return self._trunk, self._after_trunk
        return None

    def _after_features(self, batch: Batch) -> Prediction:
        return self._lift(batch.inputs)

    def _trunk(self, inputs: Tensor) -> Tensor:
        """(B, ...): features and heat-maps of the landmark network, place and window."""
        images, places, window = unpacked(inputs)
        parts = (*self.landmarker.trunk(images), places, window)
        return torch.cat([x.float().flatten(1) for x in parts], dim=1)

    def _after_trunk(self, batch: Batch) -> Prediction:
        sizes = [math.prod(shape) for shape in _KEPT]
        parts = batch.inputs.split(sizes, dim=1)
        deep, heatmaps, places, window = (x.unflatten(1, s) for x, s in zip(parts, _KEPT))
        outputs = (*self.landmarker.tail(deep), heatmaps)
        return self._lift(_with_own(outputs, places, window))

    def parameter_groups(self, scope: str) -> list[nn.Parameter]:
        """Parameters that adaptation may move.

        Args:
            scope: "all"; "last" = the landmark network's last part (not its heat-maps) and the
                lifter; "head" = the lifter; "norm" = the lifter's layer norms and the biases of the
                landmark network's convolutions, which hold the shifts of its folded norms."""
        net = self.landmarker
        modules: dict[str, list[nn.Module]] = {
            "all": [self],
            "last": [net.neck, net.body, net.points, net.world, net.flag, self.lifter],
            "head": [self.lifter],
        }
        if scope == "norm":
            shifts = [p for name, p in net.named_parameters() if name.endswith(".bias")]
            return [*shifts, *self.lifter.parameter_groups("norm")]
        if scope not in modules:
            raise SemttaError(f"unknown scope '{scope}'; known: all, last, head, norm.")
        return [p for module in modules[scope] for p in module.parameters()]


def landmarks(
    points: Tensor, world: Tensor, flag: Tensor, places: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the landmark network says, in ``BODY27`` and the axes of the picture.

    Args:
        points, world, flag: of ``Landmarker.forward``.
        places: (B, 33), see :func:`semtta.hmr.looks.unpacked`; a map that mirrors tells that left
            and right are exchanged in the crop.
    Returns: ``xy`` (B, 27, 2) normalised image plane, ``conf`` (B, 27), ``space`` (B, 27, 3)
        metres, ``conf3d`` (B, 27)."""
    body = _BODY.to(points.device)
    maps, known = places.split((6, places.shape[1] - 6), dim=1)
    linear, shift = maps.unflatten(1, (2, 3)).split((2, 1), dim=-1)
    mirrored = torch.linalg.det(linear)[:, None, None] < 0
    points, world = points[:, body], world[:, body]
    points, world = (torch.where(mirrored, x[:, _FLIP], x) for x in (points, world))
    xy = points[..., :2] @ linear.mT + shift.mT
    turn = linear / linear[..., :1].norm(dim=-2, keepdim=True)
    space = torch.cat((world[..., :2] @ turn.mT, world[..., 2:]), dim=-1)
    sure = (points[..., 2].sigmoid() / _SEEN).clamp_max(1.0)
    conf = sure * (flag.sigmoid() / _SEEN).clamp_max(1.0)[:, None]
    conf = torch.where((conf >= _LEAST) & (known > 0), conf, 0.0)
    return xy, conf, space, conf


def _with_own(outputs: tuple[Tensor, Tensor, Tensor, Tensor], places: Tensor, window: Tensor):
    """Windows (B, W, FEATURES) whose own frame is what the network's outputs say now."""
    with torch.autocast(window.device.type, enabled=False):
        points, world, flag = read_out(*outputs)
        xy, conf, space, conf3d = (x[:, None] for x in landmarks(points, world, flag, places))
        now = window.new_zeros(len(window), 1)
        box, present = window[:, 0, -3:], torch.ones_like(now, dtype=torch.bool)
        own = window_features(xy, conf, space, conf3d, box, now, present)
        return torch.cat((own, window[:, 1:]), dim=1)


def load_blazehmr(lifter: Path) -> BlazeHMR:
    """The shipped landmark network before a lifter's checkpoint, float32 on the CPU, in eval mode.

    Raises ``SemttaError`` if the lifter's file is missing, damaged or of another kind."""
    return BlazeHMR(load_landmarker(), load_lifter(lifter)).eval()
