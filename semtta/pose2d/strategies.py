"""What a strategy is to the loop of ``adapt``, and the four that share one way of training.

``source_only``
    The labelled source alone.
``bn_only``
    The same, while target images pass the network and move the statistics of its batch norms.
    The control: whatever shows images of both domains does that much.
``adversarial``
    bn_only + a discriminator on the pooled features (Eq. 9, 10 without text).
``clip2pose``
    The paper's method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from semtta.pose2d.clip2pose import (
    Clip2Pose,
    Described,
    Discriminator,
    Model,
    adversarial_loss,
    collapse_gauge,
    objective,
    warm_up,
)
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.losses import squared_error
from semtta.pose2d.prompts import PromptSpec
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.text import embed_words, make_tower


@dataclass(frozen=True)
class Domains:
    """What one step sees, on the device.

    Args:
        source: (B, 3, S, S) normalised images.
        truth, weight: (B, K, H, W) heat maps and (B, K) of the source.
        target: views of the same target images, each (B, 3, S, S); none without a target.
        affines: for each view (B, 2, 3) from the crop to the view, pixels.
        progress: share of the training that is done, 0-1.
        step: number of the step.
    """

    source: Tensor
    truth: Tensor
    weight: Tensor
    target: tuple[Tensor, ...]
    affines: tuple[Tensor, ...]
    progress: float
    step: int


Phase = tuple[dict[str, Tensor], Sequence[Optimizer]]


class Strategy(Protocol):
    """A way of adapting.

    Attributes:
        model: images -> heat maps, what is kept at the end.
        networks: those that are in train mode while it trains, the model among them.
        views: how many views of a target image it wants; 0 = it reads no target.
        optimizers: all of them; the loop sets their rates.
        gauges: numbers of the last step, for the log.
    """

    views: int
    optimizers: list[Optimizer]
    gauges: dict[str, float]

    @property
    def model(self) -> Model: ...

    @property
    def networks(self) -> Sequence[nn.Module]: ...

    def phases(self, domains: Domains) -> Iterator[Phase]:
        """Losses and the optimisers that learn from them, one after the other in a step."""
        ...

    def after_step(self) -> None:
        """What follows the last phase of a step."""
        ...


def make_optimizer(
    config: Pose2DConfig, backbone: Sequence[nn.Module] = (), rest: Sequence[nn.Module] = ()
) -> Optimizer:
    """One optimiser over modules; what is frozen is left out.

    Args:
        backbone: what learns at its own rate, ``optimizer.backbone_lr_mult``.
        rest: everything else; may contain the backbone."""
    settings = config.optimizer
    slow = [p for module in backbone for p in module.parameters() if p.requires_grad]
    known = {id(p) for p in slow}
    fast = [p for module in rest for p in module.parameters()
            if p.requires_grad and id(p) not in known]  # fmt: skip
    factors = ((slow, settings.backbone_lr_mult), (fast, 1.0))
    groups = [{"params": p, "lr": settings.lr * f, "factor": f} for p, f in factors if p]
    if settings.name == "adam":
        return torch.optim.Adam(groups, weight_decay=0.0)
    return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov,
                           weight_decay=settings.weight_decay)  # fmt: skip


def describe(model: Model, images: Tensor) -> Described:
    """Heat maps and pooled features, with directions and embeddings where there is text."""
    if isinstance(model, Clip2Pose):
        return model.describe(images)
    z = model.features(images)[-1]
    pooled = z.float().mean((2, 3))
    nothing = pooled[:, :0]
    return Described(model.maps(z), pooled, nothing, nothing)


def describe_both(model: Model, domains: Domains, bn: str) -> tuple[Described, Described]:
    """Source and target through the model: in one batch, or one after the other."""
    source, target = domains.source, domains.target[0]
    if bn == "joint":
        return describe(model, torch.cat((source, target))).split(len(source))
    if isinstance(model, Clip2Pose):
        first, second = model.describe_each(source, target)
        return first, second
    return describe(model, source), describe(model, target)


class Supervised:
    """source_only and bn_only."""

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


class Adversarial:
    """adversarial and clip2pose: one loss, one optimiser, gradient reversal."""

    views = 1

    def __init__(self, model: Model, config: Pose2DConfig):
        self.model, self.config = model, config
        self.networks = (model,)
        estimator = model.estimator if isinstance(model, Clip2Pose) else model
        channels = estimator.backbone.channels[-1]
        device = next(model.parameters()).device
        self.discriminator = Discriminator(
            channels, config.adversary.hidden, bounded=config.bn == "frozen"
        ).to(device)
        self.optimizers = [
            make_optimizer(config, [estimator.backbone], [model, self.discriminator])
        ]
        self.gauges: dict[str, float] = {}

    def phases(self, domains: Domains) -> Iterator[Phase]:
        config = self.config
        source, target = describe_both(self.model, domains, config.bn)
        alpha = config.adversary.alpha
        strength = warm_up(domains.progress, 1.0, alpha) if alpha else 1.0
        adversary, right = adversarial_loss(
            self.discriminator, source.pooled, target.pooled, strength
        )
        self.gauges = {"discriminator": right}
        if isinstance(self.model, Clip2Pose):
            everything = torch.cat((source.embedding, target.embedding))
            self.gauges["same_text"] = collapse_gauge(everything)
            losses = objective(
                source, target, domains.truth, domains.weight, adversary,
                config.adversary.weight, config.clip2pose.alignment_weight, config.loss,
            )  # fmt: skip
        else:
            losses = {
                "sup": squared_error(source.maps, domains.truth, domains.weight, config.loss),
                "adv": config.adversary.weight * adversary,
            }
        yield losses, self.optimizers

    def after_step(self) -> None:
        pass


def make_clip2pose(estimator: Estimator, config: Pose2DConfig) -> Clip2Pose:
    """The paper's model around an estimator; the random parts depend on the seed alone."""
    settings = config.clip2pose
    dtype = torch.bfloat16 if settings.text_precision == "bf16" else torch.float32
    tower, words = make_tower(settings.text, settings.layers, settings.clip, config.seed, dtype)
    names = None
    if settings.names and words is not None:
        names = embed_words(words, estimator.spec.joints.words())
    spec = PromptSpec(settings.image_tokens, settings.graph_layers, settings.gate_bias)
    device = next(estimator.parameters()).device
    return Clip2Pose(estimator, tower, spec, names).to(device)


def make_strategy(estimator: Estimator, config: Pose2DConfig) -> Strategy:
    """The strategy that the settings name, around an estimator."""
    from semtta.pose2d.regda import RegDA
    from semtta.pose2d.uniframe import UniFrame

    estimator.backbone.requires_grad_(not config.freeze_backbone)
    if config.strategy in ("source_only", "bn_only"):
        return Supervised(estimator, config)
    if config.strategy == "adversarial":
        return Adversarial(estimator, config)
    if config.strategy == "clip2pose":
        return Adversarial(make_clip2pose(estimator, config), config)
    return (RegDA if config.strategy == "regda" else UniFrame)(estimator, config)
