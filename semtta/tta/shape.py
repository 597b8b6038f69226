"""One body per person: the shape of a track, and what another size does to where one stands.

In 2D a larger body is one that is farther away. So whoever gets another shape is moved along the
viewing ray until the picture shows it as large as before; what its proportions change is left to
the adaptation and to the path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semtta.body import Body
from semtta.body.shape_files import check_body, read_betas
from semtta.body.stature import shape_of
from semtta.config_schema import ShapeConfig
from semtta.hmr.base import Prediction


@dataclass(frozen=True)
class Worn:
    """One shape for all frames of a track, in place of those that were predicted.

    Args:
        betas: (10,).
        scale: (T,) how much larger it is than the predicted ones.
        shift: (T, 3) metres that keep the pelvis on its ray, see :func:`worn`.
        metric: whether the camera of a prediction is a translation in metres.
    """

    betas: Tensor
    scale: Tensor
    shift: Tensor
    metric: bool

    def put_on(self, prediction: Prediction, frames: Tensor) -> Prediction:
        """A prediction of some positions in the track, of this shape, as large in the picture."""
        cam, scale, shift = prediction.cam, self.scale[frames, None], self.shift[frames]
        if self.metric:
            cam = scale * cam + shift
        else:
            cam = torch.cat((cam[:, :1] / scale, scale * cam[:, 1:] + shift[:, :2]), 1)
        betas = self.betas.expand_as(prediction.betas).contiguous()
        return Prediction(prediction.rotmats, betas, cam)


def track_shape(betas: Tensor) -> Tensor:
    """(T, 10) of single frames -> (10,) of the track: the median, which a few bad frames leave
    alone."""
    return betas.contiguous().median(0).values  # PyTorch's is wrong of an expanded tensor


def worn(body: Body, predicted: Tensor, betas: Tensor, metric: bool) -> Worn:
    """A shape in place of the predicted ones.

    A body of pelvis p at rest and place t is scaled about the camera: s (p + t) = p' + t'. The
    scale is that of least squares between the rest skeletons about their pelvises.

    Args:
        predicted: (T, 10) betas.
        betas: (10,).
        metric: whether the model's camera is a translation in metres; a weak perspective has no
            depth of the pelvis, which is some millimetres."""
    rest = torch.eye(3).expand(24, 3, 3).to(predicted)
    old, new = body.joints(rest, predicted), body.joints(rest, betas.to(predicted))
    about, other = old - old[:, :1], new - new[:1]
    scale = (about * other).sum((1, 2)) / (about**2).sum((1, 2))
    shift = scale[:, None] * old[:, 0] - new[0]
    return Worn(betas.to(predicted), scale, shift, metric)


def told_shape(config: ShapeConfig, body: Body, predicted: Tensor) -> Tensor | None:
    """(10,) the shape that the settings tell: betas of a file, else the track's, and of all shapes
    of the height and the mass the nearest to them. None = they tell none.

    Args:
        predicted: (T, 10) betas of the frozen model.
    Raises ``SemttaError`` for a file that holds none, and where the body has no such person."""
    if (config.betas, config.height, config.mass) == (None, None, None):
        return None
    betas = track_shape(predicted) if config.betas is None else read_betas(config.betas)
    return shape_of(body, betas.to(predicted), config.height, config.mass)


def shared_shape(config: ShapeConfig, people: int) -> str:
    """A sentence where one told shape would be that of several people; "" otherwise."""
    told = [key for key in ("betas", "height", "mass") if getattr(config, key) is not None]
    if not told or people < 2:
        return ""
    return (f"shape.{told[0]} is one person's, and all {people} people get it; adapt each alone "
            "(--track) if they differ.")  # fmt: skip


def check_shape(config: ShapeConfig, body: Body) -> None:
    """Raise ``SemttaError``, before any work, for a shape that cannot be or is another body's."""
    if config.betas is not None:
        check_body(config.betas, body)
    told_shape(config, body, torch.zeros(1, 10))
