"""bn_only with a discriminator on the pooled features (DANN, Ganin & Lempitsky 2015).

It is CLIP2Pose without text (Eq. 9, 10 alone): the empty row of its Tables 4 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from semtta.pose2d.adversary import Discriminator, adversarial_loss, warm_up
from semtta.pose2d.clip2pose import Described, Model, estimator_of
from semtta.pose2d.losses import squared_error
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, describe_both, make_optimizer


class Adversarial:
    """One loss, one optimiser, gradient reversal."""

    views = 1
    source_free = False

    def __init__(self, model: Model, config: Pose2DConfig):
        self.model, self.config = model, config
        self.networks = (model,)
        backbone = estimator_of(model).backbone
        self.discriminator = Discriminator(
            backbone.channels[-1], config.adversary.hidden, bounded=config.bn == "frozen"
        ).to(next(model.parameters()).device)
        self.optimizers = [make_optimizer(config, [backbone], [model, self.discriminator])]
        self.gauges: dict[str, float] = {}

    def phases(self, domains: Domains) -> Iterator[Phase]:
        source, target = describe_both(self.model, domains, self.config.bn)
        yield self.losses(domains, source, target), self.optimizers

    def losses(self, domains: Domains, source: Described, target: Described) -> dict[str, Tensor]:
        """The terms of a step's loss, weighted."""
        supervised = squared_error(source.maps, domains.truth, domains.weight, self.config.loss)
        return {"sup": supervised, "adv": self.adversary(domains, source, target)}

    def adversary(self, domains: Domains, source: Described, target: Described) -> Tensor:
        """L_adv (Eq. 9, 10), weighted; the reversal warms up over the whole training."""
        settings = self.config.adversary
        strength = warm_up(domains.progress, 1.0, settings.alpha) if settings.alpha else 1.0
        loss, right = adversarial_loss(self.discriminator, source.pooled, target.pooled, strength)
        self.gauges = {"discriminator": right}
        return settings.weight * loss

    def after_step(self) -> None:
        pass
