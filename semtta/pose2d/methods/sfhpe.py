"""SFHPE: Source-free Domain Adaptive Human Pose Estimation (Peng et al. 2023).

Three models, and no image of the source: the source model as it came, the target model that
learns, and an intermediate one between them.

1. Source-protect: the target model learns what the source model and the intermediate one say
   together, on another view; what both are unsure of is noise and left out.
2. Target-relevant, in a space of probabilities that is less sparse than heat maps, here the two
   distributions of each map along x and along y: contrast between joints (a joint is like itself
   in the intermediate model and unlike the other joints) and information maximisation (each
   distribution sharp, their mean over images wide).

Its description names these parts but not how they are weighed, nor what the intermediate model is:
here a mean teacher of the target model; weights are settings. Our reading.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.pose2d.estimator import Estimator
from semtta.pose2d.heatmaps import decode
from semtta.pose2d.losses import squared_error
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, make_optimizer
from semtta.pose2d.teachers import follow, move, still_copy, surest

_SHARPNESS = 10.0  # of maps, whose peaks are 1, before they become probabilities


class SFHPE:
    """The strategy. The estimator is the intermediate model and is kept; its copy learns."""

    views = 2
    source_free = True

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        self.model, self.config = estimator, config
        self.source, self.student = still_copy(estimator), copy.deepcopy(estimator)
        self.networks = (self.model, self.student)
        self.optimizers = [make_optimizer(config, [self.student.backbone], [self.student])]
        self.gauges: dict[str, float] = {}

    def phases(self, domains: Domains) -> Iterator[Phase]:
        settings, spec = self.config.sfhpe, self.model.spec
        first, second = domains.target
        with torch.no_grad():
            together = (self.source(first).float() + self.model(first).float()) / 2
            cells, height = decode(together, spec.refine)
            points = move(spec.to_pixels(cells), *domains.affines)
            wanted, weight = spec.encode(points, surest(height, settings.share))
            other = spatial(self.model(second))
        maps = self.student(second)
        own = spatial(maps)
        self.gauges = {"confidence": float(height.mean())}
        losses = {
            "protect": squared_error(maps, wanted, weight, self.config.loss),
            "contrast": settings.contrast * contrast(own, other, settings.temperature),
            "information": settings.information * information(own),
        }
        yield losses, self.optimizers

    def after_step(self) -> None:
        follow(self.model, self.student, self.config.sfhpe.momentum)


def spatial(maps: Tensor) -> Tensor:
    """(B, K, H, W) heat maps -> (B, K, 2, S) distributions along x and y, S = H = W."""
    maps = _SHARPNESS * maps.float()
    return torch.stack((maps.amax(-2), maps.amax(-1)), 2).softmax(-1)


def contrast(own: Tensor, other: Tensor, temperature: float) -> Tensor:
    """InfoNCE over the joints of each image: joint k of one model is joint k of the other."""
    a, b = (F.normalize(x.flatten(2), dim=-1) for x in (own, other))
    scores = a @ b.mT / temperature  # (B, K, K)
    every = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape[:2])
    return F.cross_entropy(scores.flatten(0, 1), every.flatten())


def information(own: Tensor) -> Tensor:
    """Entropy of each distribution minus that of the mean over images, in nats."""

    def entropy(p: Tensor) -> Tensor:
        return -(p * p.clamp_min(1e-12).log()).sum(-1).mean()

    return entropy(own) - entropy(own.mean(0))
