"""CC-SSL: Learning from Synthetic Animals (Mu et al. 2020), consistency-constrained self-training.

An estimator of the source labels the target's images itself: what it says of one image under
several turns and scales must agree, and the surer half counts. It learns them on a further view
beside the source, and labels anew after every round; joints are let in by and by.

Read here: the views' keypoints are carried over as points, not as warped maps; a round is an
epoch. Not here: the check against the next frame of a video (Lucas-Kanade), since a target of
photographs has none, and the four-stage hourglass: every method has the same network.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from semtta.pose2d.estimator import Estimator
from semtta.pose2d.losses import squared_error
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, make_optimizer
from semtta.pose2d.teachers import consensus, locate, still_copy, surest

REACH = 0.05  # of the crop: views that differ by more do not agree


class CCSSL:
    """The strategy: labels of the last round's model, learnt by this round's."""

    source_free = False

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        self.model, self.config = estimator, config
        self.labeller = still_copy(estimator)
        self.networks = (estimator,)
        self.views = 1 + config.cc_ssl.views
        self.optimizers = [make_optimizer(config, [estimator.backbone], [estimator])]
        self.gauges: dict[str, float] = {}
        self._steps = 0

    def phases(self, domains: Domains) -> Iterator[Phase]:
        settings, spec, reduction = self.config.cc_ssl, self.model.spec, self.config.loss
        share = settings.first + (settings.last - settings.first) * domains.progress
        with torch.no_grad():
            found = [locate(self.labeller, view) for view in domains.target[1:]]
            points, confidence = consensus(
                [p for p, _ in found], [h for _, h in found], list(domains.affines[1:]),
                domains.affines[0], REACH * spec.size,
            )  # fmt: skip
            wanted, weight = spec.encode(points, surest(confidence, share))
        self.gauges = {"confidence": float(confidence.mean())}
        maps = self.model(domains.source)
        pseudo = squared_error(self.model(domains.target[0]), wanted, weight, reduction)
        yield (
            {
                "sup": squared_error(maps, domains.truth, domains.weight, reduction),
                "pseudo": settings.weight * pseudo,
            },
            self.optimizers,
        )

    def after_step(self) -> None:
        self._steps += 1
        if self._steps % self.config.optimizer.iterations == 0:  # a new round
            self.labeller = still_copy(self.model)
