"""The labelled source alone, and the control of every method that shows images of both domains.

``source_only``
    The labelled source alone.
``bn_only``
    The same, while target images pass the network and move the statistics of its batch norms:
    whatever shows images of both domains does that much.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from semtta.pose2d.estimator import Estimator
from semtta.pose2d.losses import squared_error
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, make_optimizer


class Supervised:
    """The strategy of both."""

    source_free = False

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        self.model, self.config = estimator, config
        self.networks = (estimator,)
        self.views = 1 if config.strategy == "bn_only" else 0
        self.optimizers = [make_optimizer(config, [estimator.backbone], [estimator])]
        self.gauges: dict[str, float] = {}

    def phases(self, domains: Domains) -> Iterator[Phase]:
        images = domains.source
        if self.views and self.config.bn == "joint":
            maps = self.model(torch.cat((images, domains.target[0])))[: len(images)]
        else:
            maps = self.model(images)
            if self.views and self.config.bn == "separate":
                with torch.no_grad():
                    self.model(domains.target[0])
        loss = squared_error(maps, domains.truth, domains.weight, self.config.loss)
        yield {"sup": loss}, self.optimizers

    def after_step(self) -> None:
        pass
