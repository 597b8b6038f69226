"""AD-CLIP: Adapting Domains in Prompt Space Using CLIP (Singha et al. 2023), moved to key points.

Prompts that look at the image's style and content at every scale: from each of the four stages of
the backbone a domain token (mean and spread of its channels) and an image token (their mean), then
the names. The source is learnt with labels; on the target entropy is minimised.

AD-CLIP classifies whole images by their likeness to one text for each class. How CLIP2Pose's
authors moved it to key points is printed nowhere. Our reading: its prompts and its entropy, with
CLIP2Pose's gate as the way in which a text reaches a heat map; the entropy is that of heat maps as
distributions over cells. Its network that invents the target's style for a source that has none is
not needed here, where both domains are at hand.
"""

from __future__ import annotations

from torch import Tensor

from semtta.pose2d.clip2pose import Described
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.losses import squared_error
from semtta.pose2d.methods.adversarial import Adversarial
from semtta.pose2d.methods.clip2pose import make_clip2pose
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains


class ADCLIP(Adversarial):
    """The strategy: one pass of both domains, no adversary."""

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        super().__init__(make_clip2pose(estimator, config, prompts="stages", dal=False), config)

    def losses(self, domains: Domains, source: Described, target: Described) -> dict[str, Tensor]:
        supervised = squared_error(source.maps, domains.truth, domains.weight, self.config.loss)
        return {"sup": supervised, "entropy": self.config.ad_clip.entropy * entropy(target.maps)}


def entropy(maps: Tensor) -> Tensor:
    """Mean entropy of heat maps (B, K, H, W) as distributions over their cells, nats."""
    log = maps.float().flatten(2).log_softmax(-1)
    return -(log.exp() * log).sum(-1).mean()
