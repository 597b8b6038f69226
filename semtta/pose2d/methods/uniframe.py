"""UniFrame: A Unified Framework for Domain Adaptive Pose Estimation (Kim et al. 2022).

A mean teacher names keypoints on one view of a target image; the student finds them on another
view, where one that the teacher is sure of may be covered. Each domain is sometimes shown in the
other's style. The teacher is what is kept; its batch norms see the target alone.

Two things are simpler than theirs: style is transferred on the pixels (mean and spread of each
colour channel, AdaIN without a network), since the weights of their style network are not shipped,
and for each image on its own; and the teacher's keypoints are carried from view to view as points,
not as warped maps.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from semtta.engine import make_generator
from semtta.pose2d.clip2pose import Model, estimator_of
from semtta.pose2d.losses import squared_error
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, make_optimizer
from semtta.pose2d.teachers import follow, locate, move, surest

_COVER = 20 / 256  # side of a covering patch, share of the crop


class UniFrame:
    """The strategy. The given model is the teacher; the student, which learns, is its copy."""

    views = 2
    source_free = False

    def __init__(self, model: Model, config: Pose2DConfig):
        self.model, self.config = model, config
        self.student = copy.deepcopy(model)
        self.networks = (self.model, self.student)
        backbone = estimator_of(self.student).backbone
        self.optimizers = [make_optimizer(config, [backbone], [self.student])]
        self.gauges: dict[str, float] = {}
        self._generator = make_generator(config.seed)

    def phases(self, domains: Domains) -> Iterator[Phase]:
        settings, spec = self.config.uniframe, self.model.spec
        first, second = domains.target
        source = self._restyled(domains.source, first)
        with torch.no_grad():
            points, height = locate(self.model, self._restyled(first, domains.source))
        points = move(points, domains.affines[0], domains.affines[1])
        # the share of all joints of the batch that the teacher is surest of
        wanted, weight = spec.encode(points, surest(height, settings.mask_ratio))
        second = self._covered(second, points, height)
        self.gauges = {"confidence": float(height.mean())}
        yield self.losses(domains, source, second, wanted, weight), self.optimizers

    def losses(
        self, domains: Domains, source: Tensor, target: Tensor, wanted: Tensor, weight: Tensor
    ) -> dict[str, Tensor]:
        """The terms of a step's loss, of images as the student sees them, weighted."""
        reduction = self.config.loss
        maps = self.student(source)
        supervised = squared_error(maps, domains.truth, domains.weight, reduction)
        consistent = squared_error(self.student(target), wanted, weight, reduction)
        return {"sup": supervised, "consistency": self.config.uniframe.weight * consistent}

    def after_step(self) -> None:
        follow(self.model, self.student, self.config.uniframe.momentum)

    def _restyled(self, images: Tensor, style: Tensor) -> Tensor:
        """Some images with the colour statistics of images of the other domain."""
        chosen = torch.rand(len(images), generator=self._generator) < self.config.uniframe.style
        other = style[torch.randint(len(style), (len(images),), generator=self._generator)]
        chosen = chosen.to(images.device)[:, None, None, None]
        return torch.where(chosen, restyle(images, other), images)

    def _covered(self, images: Tensor, points: Tensor, height: Tensor) -> Tensor:
        """Some images with one confident joint hidden by a piece from elsewhere in the image."""
        settings = self.config.uniframe
        sure = height.cpu() >= settings.confident
        chosen = torch.rand(len(images), generator=self._generator) < settings.occlude
        corners = torch.rand(len(images), 2, generator=self._generator)
        size = images.shape[-1]
        side = round(_COVER * size)
        images = images.clone()
        for b in (chosen & sure.any(1)).nonzero()[:, 0].tolist():
            joint = torch.multinomial(sure[b].float(), 1, generator=self._generator)[0]
            x, y = (points[b, joint] - side / 2).round().clamp(0, size - side).int().tolist()
            u, v = (corners[b] * (size - side + 1)).int().tolist()
            piece = images[b, :, v : v + side, u : u + side].clone()
            images[b, :, y : y + side, x : x + side] = piece
        return images


def restyle(images: Tensor, style: Tensor) -> Tensor:
    """(B, 3, S, S) images with each channel's mean and spread taken from style images."""
    std, mean = torch.std_mean(images, dim=(2, 3), keepdim=True)
    new_std, new_mean = torch.std_mean(style, dim=(2, 3), keepdim=True)
    return (images - mean) / (std + 1e-5) * new_std + new_mean
