"""What a method is to the loop, and what several share; they stand above, in ``methods``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from semtta.pose2d.clip2pose import Clip2Pose, Described, Model
from semtta.pose2d.settings import Pose2DConfig


@dataclass(frozen=True)
class Domains:
    """What one step sees, on the device.

    Args:
        source: (B, 3, S, S) normalised images; none at all for a source-free method.
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
        source_free: whether it is shown no image of the source.
        optimizers: all of them; the loop sets their rates.
        gauges: numbers of the last step, for the log.
    """

    views: int
    source_free: bool
    optimizers: list[Optimizer]
    gauges: dict[str, float]

    @property
    def model(self) -> Model: ...

    @property
    def networks(self) -> Sequence[Model]: ...

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
