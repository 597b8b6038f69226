"""RegDA: Regressive Domain Adaptation for Unsupervised Keypoint Detection (Jiang et al. 2021).

A second head is trained to disagree with the first one on target images, the features to make
both agree. Keypoints live in a small space, so "disagree" is made concrete: the second head moves
towards places where *other* joints are predicted (the false maps). Each step has three phases:

A. everything learns the source; the second head also follows the first one there (margin);
B. the second head alone: towards the false maps on the target;
C. the features alone: so that the second head gives the first one's maps on the target.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from semtta.pose2d.adversary import reverse_gradient, warm_up
from semtta.pose2d.estimator import Estimator, last_layer
from semtta.pose2d.losses import kl_divergence, pseudo_maps
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, make_optimizer

_WARM_UP = 1000  # steps


class RegDA:
    """The strategy; batch norms see the domains one after the other, as in the authors' code."""

    views = 1
    source_free = False

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        self.model, self.config = estimator, config
        self.networks = (estimator,)
        width, joints = estimator.spec.deconv, len(estimator.spec.joints)
        device = next(estimator.parameters()).device
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            last_layer(width, joints),
        ).to(device)  # fmt: skip
        with torch.no_grad():
            for parameter in estimator.head.parameters():
                parameter.mul_(config.regda.scale)
        # the deconvolutions learn as slowly as the backbone
        self._features = make_optimizer(config, [estimator.backbone, estimator.upsampling])
        self._first = make_optimizer(config, rest=[estimator.head])
        self._second = make_optimizer(config, rest=[self.second])
        self.optimizers = [self._features, self._first, self._second]
        self.gauges: dict[str, float] = {}

    def _maps(self, images: Tensor, strength: float = 1.0) -> tuple[Tensor, Tensor]:
        """Both heads' maps; gradients from the second into the features are scaled."""
        f = self.model.upsampling(self.model.features(images)[-1])
        # reversed twice = only scaled
        scaled = reverse_gradient(reverse_gradient(f, strength), 1.0)
        return self.model.head(f), self.second(scaled)

    def phases(self, domains: Domains) -> Iterator[Phase]:
        settings, sigma = self.config.regda, self.model.spec.sigma
        strength = settings.strength * warm_up(domains.step, _WARM_UP)
        first, second = self._maps(domains.source, strength)
        true, _ = pseudo_maps(first, sigma)
        yield (
            {
                "sup": kl_divergence(first, domains.truth, domains.weight),
                "margin": settings.margin * kl_divergence(second, true, domains.weight),
            },
            self.optimizers,
        )

        target = domains.target[0]
        first, second = self._maps(target, strength)
        true, false = pseudo_maps(first, sigma)
        every = torch.ones_like(true[..., 0, 0])
        yield {"false": settings.trade_off * kl_divergence(second, false, every)}, [self._second]

        first, second = self._maps(target, strength)
        true, _ = pseudo_maps(first, sigma)
        agreement = kl_divergence(second, true, every)
        self.gauges = {"disparity": float(agreement.detach())}
        yield {"true": settings.trade_off * agreement}, [self._features]

    def after_step(self) -> None:
        pass
