"""The names of the methods, and where each is made."""

from __future__ import annotations

from collections.abc import Callable

from semtta.pose2d.estimator import Estimator
from semtta.pose2d.methods.adversarial import Adversarial
from semtta.pose2d.methods.clip2pose import clip2pose_method
from semtta.pose2d.methods.regda import RegDA
from semtta.pose2d.methods.supervised import Supervised
from semtta.pose2d.methods.uniframe import UniFrame
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Strategy

METHODS: dict[str, Callable[[Estimator, Pose2DConfig], Strategy]] = {
    "source_only": Supervised,
    "bn_only": Supervised,
    "adversarial": Adversarial,
    "clip2pose": clip2pose_method,
    "regda": RegDA,
    "uniframe": UniFrame,
}


def make_strategy(estimator: Estimator, config: Pose2DConfig) -> Strategy:
    """The strategy that the settings name, around an estimator."""
    estimator.backbone.requires_grad_(not config.freeze_backbone)
    return METHODS[config.strategy](estimator, config)
