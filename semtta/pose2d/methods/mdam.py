"""MDAM: From Synthetic to Real, unsupervised domain adaptation for animal pose (Li & Lee 2021).

1. A domain classifier on feature maps of several scales, behind a gradient reversal.
2. Labels of the target from an estimator of the source (CC-SSL's check) for the beginning, from a
   mean teacher for the end: the old ones fade out as the new ones fade in.
3. MixUp of labelled and self-labelled images.

Read here: the classifiers read the backbone's last three maps. Theirs reads one of a refinement
network, on top of a four-stage hourglass, whose own outputs are distilled in an inner loop; every
method here has the same network without refinement, so that there is no inner loop.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.engine import make_generator
from semtta.pose2d.adversary import reverse_gradient, warm_up
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.losses import squared_error
from semtta.pose2d.methods.cc_ssl import REACH
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, make_optimizer
from semtta.pose2d.teachers import consensus, follow, locate, move, still_copy, surest

_WIDTH = 128  # channels of a classifier


class MDAM:
    """The strategy. The estimator is the mean teacher and is kept; its copy learns."""

    views = 3  # one to be learnt, two that must agree
    source_free = False

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        self.model, self.config = estimator, config
        self.student, self.first = copy.deepcopy(estimator), still_copy(estimator)
        self.networks = (self.model, self.student)
        device = next(estimator.parameters()).device
        self.judges = nn.ModuleList(map(_judge, estimator.backbone.channels[1:])).to(device)
        self.optimizers = [make_optimizer(config, [self.student.backbone],
                                          [self.student, self.judges])]  # fmt: skip
        self.gauges: dict[str, float] = {}
        self._generator = make_generator(config.seed)

    def phases(self, domains: Domains) -> Iterator[Phase]:
        settings, reduction = self.config.mdam, self.config.loss
        old, new = self._labels(domains)
        source, target = (self.student.features(x) for x in (domains.source, domains.target[0]))
        found = self.student.maps(target[-1])
        supervised = squared_error(
            self.student.maps(source[-1]), domains.truth, domains.weight, reduction
        )
        losses = {
            "sup": supervised,
            "old": (1 - domains.progress) * squared_error(found, *old, reduction),
            "new": domains.progress * settings.weight * squared_error(found, *new, reduction),
            "adv": settings.adversary * self._adversary(source, target, domains.progress),
        }
        if settings.mixup:
            losses["mixup"] = self._mixed(domains, old)
        yield losses, self.optimizers

    @torch.no_grad()
    def _labels(self, domains: Domains) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Maps and weights of the first estimator and of the mean teacher."""
        spec, share = self.model.spec, self.config.mdam.share
        views, affines = domains.target, domains.affines
        found = [locate(self.first, view) for view in views[1:]]
        points, sure = consensus([p for p, _ in found], [h for _, h in found], list(affines[1:]),
                                 affines[0], REACH * spec.size)  # fmt: skip
        taught, height = locate(self.model, views[1])
        taught = move(taught, affines[1], affines[0])
        self.gauges = {"confidence": float(height.mean())}
        return (spec.encode(points, surest(sure, share)),
                spec.encode(taught, surest(height, share)))  # fmt: skip

    def _adversary(self, source: tuple, target: tuple, progress: float) -> Tensor:
        """Cross-entropy of all scales, each place of a map telling its domain."""
        strength, losses = warm_up(progress, 1.0, 10.0), []
        for judge, a, b in zip(self.judges, source[1:], target[1:], strict=True):
            for maps, label in ((a, 1.0), (b, 0.0)):
                logits = judge(reverse_gradient(maps.float(), strength))
                losses.append(F.binary_cross_entropy_with_logits(
                    logits, torch.full_like(logits, label)))  # fmt: skip
        return torch.stack(losses).mean()

    def _mixed(self, domains: Domains, old: tuple[Tensor, Tensor]) -> Tensor:
        """Source images with a share of target images in them, their maps in the same share."""
        count = min(len(domains.source), len(old[0]))
        alpha = self.config.mdam.mixup
        beta = torch.distributions.Beta(alpha, alpha)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=self._generator)))
            kept = float(beta.sample())
        kept = max(kept, 1 - kept)
        images = kept * domains.source[:count] + (1 - kept) * domains.target[0][:count]
        wanted = kept * domains.truth[:count] + (1 - kept) * old[0][:count]
        # a joint counts where both images have it
        weight = domains.weight[:count] * old[1][:count]
        return squared_error(self.student(images), wanted, weight, self.config.loss)

    def after_step(self) -> None:
        follow(self.model, self.student, self.config.mdam.momentum)


def _judge(channels: int) -> nn.Sequential:
    """(B, C, H, W) -> logits (B, 1, H, W) of "source"."""
    return nn.Sequential(
        nn.Conv2d(channels, _WIDTH, 3, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(_WIDTH, 1, 1),
    )  # fmt: skip
