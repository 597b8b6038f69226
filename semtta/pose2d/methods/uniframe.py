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
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.heatmaps import decode
from semtta.pose2d.losses import squared_error
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, make_optimizer

_COVER = 20 / 256  # side of a covering patch, share of the crop


class UniFrame:
    """The strategy. The estimator is the teacher; the student, which learns, is its copy."""

    views = 2
    source_free = False

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        self.model, self.config = estimator, config
        self.student = copy.deepcopy(estimator)
        self.networks = (self.model, self.student)
        self.optimizers = [make_optimizer(config, [self.student.backbone], [self.student])]
        self.gauges: dict[str, float] = {}
        self._generator = make_generator(config.seed)

    def phases(self, domains: Domains) -> Iterator[Phase]:
        settings, spec = self.config.uniframe, self.model.spec
        first, second = domains.target
        source = self._restyled(domains.source, first)
        with torch.no_grad():
            points, height = self.locate(self._restyled(first, domains.source))
        points = move(points, domains.affines[0], domains.affines[1])
        # the share of all joints of the batch that the teacher is surest of
        least = height.flatten().quantile(1 - settings.mask_ratio)
        wanted, weight = spec.encode(points, (height >= least).float())
        second = self._covered(second, points, height)
        self.gauges = {"confidence": float(height.mean())}
        supervised = squared_error(self.student(source), domains.truth, domains.weight,
                                   self.config.loss)  # fmt: skip
        consistent = squared_error(self.student(second), wanted, weight, self.config.loss)
        yield {"sup": supervised, "consistency": settings.weight * consistent}, self.optimizers

    def locate(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's keypoints (B, K, 2), pixels of the view, and their heights (B, K)."""
        spec = self.model.spec
        cells, height = decode(self.model(images).float(), spec.refine)
        return spec.to_pixels(cells), height

    @torch.no_grad()
    def after_step(self) -> None:
        keep = self.config.uniframe.momentum
        pairs = zip(self.model.parameters(), self.student.parameters(), strict=True)
        for mean, value in pairs:
            mean.lerp_(value, 1 - keep)

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


def move(points: Tensor, from_view: Tensor, to_view: Tensor) -> Tensor:
    """Pixels of one view (B, K, 2) -> pixels of another, by affines (B, 2, 3) from the crop."""
    inverse = torch.linalg.inv(from_view[..., :2])
    crop = (points - from_view[:, None, :, 2]) @ inverse.mT
    return crop @ to_view[..., :2].mT + to_view[:, None, :, 2]
