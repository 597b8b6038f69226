"""The training loop: batches of two domains, phases of a strategy, rates, statistics.

It knows what a strategy is, but none of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import reduce
from operator import add

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from semtta.engine import Progress, autocast, cosine_lr, resolve_precision
from semtta.errors import SemttaError
from semtta.pose2d.augment import NO_CHANGE
from semtta.pose2d.clip2pose import Model, estimator_of
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.samples import Batch, KeypointSet, cut_batch, shuffled
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Strategy


def run_loop(
    strategy: Strategy, batches: Batches, config: Pose2DConfig,
    evaluate: Callable[[nn.Module], dict[str, float]] | None, progress: Progress,
) -> list[dict[str, float]]:  # fmt: skip
    """Train a strategy's networks; numbers of each epoch, as in :class:`Fitted`."""
    settings, device = config.optimizer, batches.device
    precision = resolve_precision(settings.precision, device, images=True)
    total, history = settings.epochs * settings.iterations, []
    for epoch in range(settings.epochs):
        for network in strategy.networks:
            train_mode(network, config)
        begun, losses = time.perf_counter(), []
        for i in range(settings.iterations):
            step = epoch * settings.iterations + i
            rate = learning_rate(step, config)
            for optimizer in strategy.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate * group["factor"]
            domains = batches.next(step, step / total)
            losses.append(take_step(strategy, domains, device, precision))
            progress("training", step + 1, total, {"loss": sum(losses[-1].values())})
        seconds = time.perf_counter() - begun
        history.append(means(losses) | strategy.gauges | {
            "epoch": epoch, "lr": rate,
            "images_per_second": settings.iterations * batches.images / seconds,
        })  # fmt: skip
        if epoch + 1 == settings.epochs and config.bn == "adabn" and batches.target is not None:
            target_statistics(strategy.model, batches)
        if evaluate is not None:
            history[-1].update(evaluate(strategy.model.eval()))
    return history


def train_mode(network: Model, config: Pose2DConfig) -> None:
    """Train mode, except for batch norms that the settings hold still."""
    network.train()
    if config.bn == "frozen":
        for norm in batch_norms(network):
            norm.eval()
    if config.freeze_backbone:  # for good: no gradient moves its weights, no batch its statistics
        estimator_of(network).backbone.eval()


@torch.no_grad()
def target_statistics(model: nn.Module, batches: Batches) -> None:
    """Running statistics of all batch norms over the target alone (AdaBN, Li et al. 2016)."""
    assert batches.target is not None
    norms = batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    model.train()
    for crops in batches.once(batches.target):
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


class Batches:
    """Batches of both domains on the device; the same numbers for the same seed.

    Args:
        source: None for a source-free method.
        target: None for one that reads no target.
        views: of each target image.
    """

    def __init__(
        self, source: KeypointSet | None, target: KeypointSet | None, views: int,
        estimator: Estimator, config: Pose2DConfig,
    ):  # fmt: skip
        self.source, self.config, self.estimator = source, config, estimator
        self.target = target if views else None
        self.views = views
        self._rng = np.random.default_rng([config.seed, 1])
        self._target_rng = np.random.default_rng([config.seed, 2])
        batch = config.optimizer.batch
        if source is not None:
            self._source_order = shuffled(len(source), batch, self._rng)
        if self.target is not None:
            self._target_order = shuffled(len(self.target), batch, self._target_rng)
        self.images = batch * ((source is not None) + (self.target is not None))
        cv2.setNumThreads(1)  # crops are cut on several threads already

    @property
    def device(self) -> torch.device:
        return next(self.estimator.parameters()).device

    def next(self, step: int, progress: float) -> Domains:
        """What step ``step`` sees, ``progress`` of the training being done."""
        images, truth, weight = self._labelled()
        target, affines = [], []
        if self.target is not None:
            order = next(self._target_order)
            for _ in range(self.views):
                view = self._cut(self.target, order, self._target_rng)
                target.append(self._ready(view.images))
                affines.append(view.affine.to(self.device))
        return Domains(images, truth, weight, tuple(target), tuple(affines), progress, step)

    def _labelled(self) -> tuple[Tensor, Tensor, Tensor]:
        spec, device = self.estimator.spec, self.device
        if self.source is None:
            joints, side = len(spec.joints), spec.map_size
            sizes = ((0, 3, spec.size, spec.size), (0, joints, side, side), (0, joints))
            return tuple(torch.zeros(size, device=device) for size in sizes)  # type: ignore[return-value]
        source = self._cut(self.source, next(self._source_order), self._rng)
        truth, weight = spec.encode(source.xy, source.weight)
        return self._ready(source.images), truth.to(device), weight.to(device)

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


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
