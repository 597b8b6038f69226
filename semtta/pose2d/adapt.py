"""A labelled source, an unlabelled target, a method: what a user calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.pose2d.clip2pose import Model
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.loop import Batches, run_loop
from semtta.pose2d.methods.registry import make_strategy
from semtta.pose2d.samples import KeypointSet
from semtta.pose2d.settings import SOURCE_FREE, Pose2DConfig


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

    def fit(
        self,
        source: KeypointSet | None,
        target: KeypointSet | None = None,
        *,
        evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
        progress: Progress = silent,
    ) -> Fitted:
        """Train on the source, adapting to the target; labels of the target are not read.

        Args:
            source: labelled; not looked at by a source-free method, which may be given None.
            target: the domain to adapt to; None only for ``source_only``.
            evaluate: called with the model after every epoch, for the history.

        Raises ``SemttaError`` if the sets do not fit the estimator or a loss is not finite.
        """
        if self.config.strategy in SOURCE_FREE:
            source = None
        self._check(source, target)
        torch.manual_seed(self.config.seed)
        strategy = make_strategy(self.estimator, self.config)
        batches = Batches(source, target, strategy.views, self.estimator, self.config)
        history = run_loop(strategy, batches, self.config, evaluate, progress)
        return Fitted(strategy.model.eval(), history)

    def _check(self, source: KeypointSet | None, target: KeypointSet | None) -> None:
        wanted, strategy = self.estimator.spec.joints, self.config.strategy
        for images in (source, target):
            if images is not None and images.skeleton != wanted:
                raise SemttaError(f"the set '{images.name}' has skeleton '{images.skeleton.name}', "
                                  f"but the estimator '{wanted.name}'.")  # fmt: skip
        if source is None and strategy not in SOURCE_FREE:
            raise SemttaError(f"strategy '{strategy}' needs a source.")
        if source is not None and not source.labelled:
            raise SemttaError(f"the source '{source.name}' has no labelled joint.")
        if target is None and strategy != "source_only":
            raise SemttaError(f"strategy '{strategy}' needs a target.")
        if self.config.optimizer.batch < 2:
            raise SemttaError("optimizer.batch must be at least 2: batch norm needs two images.")
