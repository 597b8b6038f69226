"""The names of the methods, and where each is made."""

from __future__ import annotations

from collections.abc import Callable

from semtta.pose2d.estimator import Estimator
from semtta.pose2d.methods.ad_clip import ADCLIP
from semtta.pose2d.methods.adversarial import Adversarial
from semtta.pose2d.methods.cc_ssl import CCSSL
from semtta.pose2d.methods.clip2pose import clip2pose_method
from semtta.pose2d.methods.clip2pose_mt import Clip2PoseTeacher
from semtta.pose2d.methods.mdam import MDAM
from semtta.pose2d.methods.pda import PDA
from semtta.pose2d.methods.regda import RegDA
from semtta.pose2d.methods.sfhpe import SFHPE
from semtta.pose2d.methods.supervised import Supervised
from semtta.pose2d.methods.uniframe import UniFrame
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Strategy

METHODS: dict[str, Callable[[Estimator, Pose2DConfig], Strategy]] = {
    "source_only": Supervised,
    "bn_only": Supervised,
    "adversarial": Adversarial,
    "clip2pose": clip2pose_method,
    "cc_ssl": CCSSL,
    "mdam": MDAM,
    "regda": RegDA,
    "uniframe": UniFrame,
    "sfhpe": SFHPE,
    "ad_clip": ADCLIP,
    "pda": PDA,
    "clip2pose_mt": Clip2PoseTeacher,
}


def make_strategy(estimator: Estimator, config: Pose2DConfig) -> Strategy:
    """The strategy that the settings name, around an estimator."""
    estimator.backbone.requires_grad_(not config.freeze_backbone)
    return METHODS[config.strategy](estimator, config)
