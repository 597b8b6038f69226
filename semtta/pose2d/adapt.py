"""The training loop: a labelled source, an unlabelled target, a strategy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from semtta.engine import Progress, autocast, cosine_lr, resolve_precision, silent
from semtta.errors import SemttaError
from semtta.pose2d.augment import NO_CHANGE
from semtta.pose2d.clip2pose import Model
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.samples import Batch, KeypointSet, cut_batch, shuffled
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategies import Domains, Strategy, make_strategy


@dataclass(frozen=True)
class Fitted:
    """What a training leaves.

    Args:
        model: images -> heat maps, in eval mode: after the *last* epoch. Choosing the epoch by
            the target's labels, as is often done, reads labels that nobody has.
        history: numbers of each epoch: mean losses, gauges, rate, images per second, and what
            ``evaluate`` returned.
    """

    model: Model
    history: list[dict[str, float]] = field(default_factory=list)


class DomainAdapter:
    """Fits an estimator to a target domain.

    Args:
        estimator: is changed in place.
        config: strategy, optimiser, augmentation; the paper's values if None.
    """

    def __init__(self, estimator: Estimator, config: Pose2DConfig | None = None):
        self.estimator = estimator
        self.config = config or Pose2DConfig()
        self.device = next(estimator.parameters()).device

    def fit(
        self,
        source: KeypointSet,
        target: KeypointSet | None = None,
        *,
        evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
        progress: Progress = silent,
    ) -> Fitted:
        """Train on the source, adapting to the target; labels of the target are not read.

        Args:
            source: labelled.
            target: the domain to adapt to; None only for ``source_only``.
            evaluate: called with the model after every epoch, for the history.

        Raises ``SemttaError`` if the sets do not fit the estimator or a loss is not finite.
        """
        self._check(source, target)
        settings = self.config.optimizer
        torch.manual_seed(self.config.seed)
        strategy = make_strategy(self.estimator, self.config)
        batches = _Batches(source, target, strategy.views, self.estimator, self.config)
        precision = resolve_precision(settings.precision, self.device, images=True)
        total, history = settings.epochs * settings.iterations, []
        for epoch in range(settings.epochs):
            for network in strategy.networks:
                network.train()
                if self.config.bn == "frozen":
                    for norm in _batch_norms(network):
                        norm.eval()
            begun, losses = time.perf_counter(), []
            for i in range(settings.iterations):
                step = epoch * settings.iterations + i
                rate = learning_rate(step, self.config)
                for optimizer in strategy.optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = rate * group["factor"]
                domains = batches.next(step, step / total)
                losses.append(take_step(strategy, domains, self.device, precision))
                mean = sum(losses[-1].values())
                progress("training", step + 1, total, {"loss": mean})
            seconds = time.perf_counter() - begun
            history.append(_means(losses) | strategy.gauges | {
                "epoch": epoch, "lr": rate,
                "images_per_second": settings.iterations * batches.images / seconds,
            })  # fmt: skip
            if epoch + 1 == settings.epochs and self.config.bn == "adabn" and target is not None:
                self._statistics_of(target, strategy.model, batches)
            if evaluate is not None:
                history[-1].update(evaluate(strategy.model.eval()))
        return Fitted(strategy.model.eval(), history)

    def _check(self, source: KeypointSet, target: KeypointSet | None) -> None:
        wanted = self.estimator.spec.joints
        for images in (source, target):
            if images is not None and images.skeleton != wanted:
                raise SemttaError(f"the set '{images.name}' has skeleton '{images.skeleton.name}', "
                                  f"but the estimator '{wanted.name}'.")  # fmt: skip
        if not source.labelled:
            raise SemttaError(f"the source '{source.name}' has no labelled joint.")
        if target is None and self.config.strategy != "source_only":
            raise SemttaError(f"strategy '{self.config.strategy}' needs a target.")
        if self.config.optimizer.batch < 2:
            raise SemttaError("optimizer.batch must be at least 2: batch norm needs two images.")

    @torch.no_grad()
    def _statistics_of(self, images: KeypointSet, model: nn.Module, batches: _Batches) -> None:
        """Running statistics of all batch norms over one set alone (AdaBN, Li et al. 2016)."""
        norms = _batch_norms(model)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean
        model.train()
        for crops in batches.once(images):
            model(crops)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def take_step(
    strategy: Strategy, domains: Domains, device: torch.device, precision: str
) -> dict[str, float]:
    """All phases of one step; returns their losses."""
    values: dict[str, float] = {}
    phases = strategy.phases(domains)
    while True:
        with autocast(device, precision):
            losses, optimizers = next(phases, (None, ()))
        if losses is None:
            break
        total = reduce(add, losses.values())
        values |= {name: float(loss.detach()) for name, loss in losses.items()}
        if not torch.isfinite(total.detach()):
            raise SemttaError(f"the loss is not finite at step {domains.step} ({values}); lower "
                              "optimizer.lr.")  # fmt: skip
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        for optimizer in optimizers:
            optimizer.step()
    strategy.after_step()
    return values


def learning_rate(step: int, config: Pose2DConfig) -> float:
    """Rate at a step, before the factors of parameter groups."""
    settings = config.optimizer
    epoch = step // settings.iterations
    if settings.schedule == "cosine":
        total = settings.epochs * settings.iterations
        return cosine_lr(step, total, settings.lr, 0.02 * settings.lr)
    if settings.schedule == "inverse":
        return settings.lr * (1 + 1e-4 * step) ** -0.75
    return settings.lr * 0.1 ** sum(epoch >= milestone for milestone in settings.milestones)


class _Batches:
    """Batches of both domains on the device; the same numbers for the same seed."""

    def __init__(
        self, source: KeypointSet, target: KeypointSet | None, views: int, estimator: Estimator,
        config: Pose2DConfig,
    ):  # fmt: skip
        self.source, self.config, self.estimator = source, config, estimator
        self.target = target if views else None
        self.views = views
        self._rng = np.random.default_rng([config.seed, 1])
        self._target_rng = np.random.default_rng([config.seed, 2])
        batch = config.optimizer.batch
        self._source_order = shuffled(len(source), batch, self._rng)
        if self.target is not None:
            self._target_order = shuffled(len(self.target), batch, self._target_rng)
        self.images = batch * (1 + (self.target is not None))
        cv2.setNumThreads(1)  # crops are cut on several threads already

    def next(self, step: int, progress: float) -> Domains:
        """What step ``step`` sees, ``progress`` of the training being done."""
        spec = self.estimator.spec
        source = self._cut(self.source, next(self._source_order), self._rng)
        device = next(self.estimator.parameters()).device
        truth, weight = spec.encode(source.xy, source.weight)
        target, affines = [], []
        if self.target is not None:
            order = next(self._target_order)
            for _ in range(self.views):
                view = self._cut(self.target, order, self._target_rng)
                target.append(self._ready(view.images))
                affines.append(view.affine.to(device))
        return Domains(self._ready(source.images), truth.to(device), weight.to(device),
                       tuple(target), tuple(affines), progress, step)  # fmt: skip

    def once(self, images: KeypointSet) -> Iterator[Tensor]:
        """Every image once, unchanged, in batches of at least two."""
        count, batch = len(images), max(2, self.config.optimizer.batch)
        for start in range(0, count, batch):
            order = np.arange(start, min(start + batch, count))
            order = order if len(order) > 1 else np.repeat(order, 2)
            size = self.estimator.spec.size
            crops = cut_batch(images, order, size, [NO_CHANGE] * len(order))
            yield self._ready(crops.images)

    def _cut(self, images: KeypointSet, order: np.ndarray, rng: np.random.Generator) -> Batch:
        views = [self.config.augment.draw(rng) for _ in order]
        size, workers = self.estimator.spec.size, self.config.optimizer.workers
        return cut_batch(images, order, size, views, workers)

    def _ready(self, images: Tensor) -> Tensor:
        return prepare(images, self.estimator)


def prepare(images: Tensor, estimator: Estimator) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) normalised for an estimator, on its device."""
    device = next(estimator.parameters()).device
    x = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
    backbone = estimator.backbone
    mean, std = (x.new_tensor(v)[:, None, None] for v in (backbone.mean, backbone.std))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def _batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
