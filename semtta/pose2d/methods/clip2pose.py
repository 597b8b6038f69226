"""CLIP2Pose as a strategy: its model, losses and equations are in ``semtta.pose2d.clip2pose``."""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.pose2d.clip2pose import Clip2Pose, Described, collapse_gauge, objective
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.methods.adversarial import Adversarial
from semtta.pose2d.prompts import PromptSpec
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains
from semtta.pose2d.text import embed_words, make_tower


def clip2pose_method(estimator: Estimator, config: Pose2DConfig) -> Adversarial:
    """The strategy; without SDP there is no text, and what is left is ``adversarial``."""
    if not config.clip2pose.sdp:
        return Adversarial(estimator, config)
    return Clip2PoseMethod(make_clip2pose(estimator, config), config)


class Clip2PoseMethod(Adversarial):
    """The paper's method: one loss, one optimiser, gradient reversal."""

    def losses(self, domains: Domains, source: Described, target: Described) -> dict[str, Tensor]:
        config = self.config
        adversary = self.adversary(domains, source, target)
        everything = torch.cat((source.embedding, target.embedding))
        self.gauges["same_text"] = collapse_gauge(everything)
        return objective(
            source, target, domains.truth, domains.weight, adversary,
            config.clip2pose.alignment_weight, config.loss,
        )  # fmt: skip


def make_clip2pose(
    estimator: Estimator, config: Pose2DConfig, prompts: str | None = None, dal: bool | None = None
) -> Clip2Pose:
    """The paper's model around an estimator; the random parts depend on the seed alone.

    Args:
        prompts, dal: of another method that borrows the gate, instead of the settings."""
    settings = config.clip2pose
    prompts, dal = prompts or settings.prompts, settings.dal if dal is None else dal
    dtype = torch.bfloat16 if settings.text_precision == "bf16" else torch.float32
    tower, words = make_tower(settings.text, settings.layers, settings.clip, config.seed, dtype)
    names = None
    if words is not None and (settings.names or prompts != "sdp"):
        names = embed_words(words, estimator.spec.joints.words())
    added = settings.without_smvf == "add" and not settings.smvf
    spec = PromptSpec(settings.image_tokens, settings.graph_layers, settings.gate_bias,
                      prompts, settings.smvf, added, dal)  # fmt: skip
    device = next(estimator.parameters()).device
    return Clip2Pose(estimator, tower, spec, names).to(device)
