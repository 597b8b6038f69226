"""PDA: Prompt-based Distribution Alignment (Bai et al. 2024), moved to key points.

Base branch: learnt prompts before the names; the source is learnt with labels, the target with
those that the model is sure of. Alignment branch: features of both domains are remembered in two
banks, an image attends to both (image-guided feature tuning), and what it finds is added to it;
the tuned features must say the same key points.

PDA classifies whole images with CLIP's two encoders and one text for each class. How CLIP2Pose's
authors moved it to key points is printed nowhere. Our reading: prompts as CoOp's, a text reaches
the heat maps through CLIP2Pose's gate, and the banks hold pooled features of the latest images
instead of class centres, which key points do not have. What is kept is the base branch: the other
one only trains it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from semtta.pose2d.clip2pose import Described
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.heatmaps import decode
from semtta.pose2d.losses import squared_error
from semtta.pose2d.methods.clip2pose import make_clip2pose
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.strategy import Domains, Phase, make_optimizer
from semtta.pose2d.teachers import surest


class PDA:
    """The strategy: two branches, one optimiser."""

    views = 1
    source_free = False

    def __init__(self, estimator: Estimator, config: Pose2DConfig):
        self.model, self.config = make_clip2pose(estimator, config, "coop", dal=False), config
        self.networks = (self.model,)
        channels, device = estimator.backbone.channels[-1], next(estimator.parameters()).device
        self.attention = FeatureTuning(channels).to(device)
        self.banks = [torch.zeros(0, channels, device=device) for _ in range(2)]
        self.optimizers = [make_optimizer(config, [estimator.backbone],
                                          [self.model, self.attention])]  # fmt: skip
        self.gauges: dict[str, float] = {}

    def phases(self, domains: Domains) -> Iterator[Phase]:
        settings, spec, reduction = self.config.pda, self.model.spec, self.config.loss
        batches = (domains.source, domains.target[0])
        features = [self.model.estimator.features(images) for images in batches]
        described = self.model.describe_maps(features)
        with torch.no_grad():
            cells, height = decode(described[1].maps.float(), spec.refine)
            wanted = spec.encode(spec.to_pixels(cells), surest(height, settings.share))
        self.gauges = {"confidence": float(height.mean())}
        tuned = self._tuned(features, described)
        labels = ((domains.truth, domains.weight), wanted)
        losses: dict[str, Tensor] = {}
        for end, maps in (("", [d.maps for d in described]), ("_aligned", tuned)):
            source, target = (squared_error(m, *known, reduction)
                              for m, known in zip(maps, labels, strict=True))  # fmt: skip
            losses |= {f"sup{end}": source, f"pseudo{end}": settings.target * target}
        yield losses, self.optimizers

    def _tuned(self, features: list, described: list[Described]) -> list[Tensor]:
        """Heat maps of features to which what the banks hold is added; the banks move on."""
        size = self.config.pda.bank
        self.banks = [torch.cat((d.pooled.detach(), bank))[:size]
                      for d, bank in zip(described, self.banks, strict=True)]  # fmt: skip
        maps = []
        for f, d in zip(features, described, strict=True):
            found = self.attention(d.pooled, self.banks)
            z = self.model.modulated(f[-1], d.embedding)
            maps.append(self.model.estimator.maps(
                z + self.config.pda.tuned * found[..., None, None]))  # fmt: skip
        return maps

    def after_step(self) -> None:
        pass


class FeatureTuning(nn.Module):
    """What an image finds in two banks: scaled dot products, and one projection of both answers."""

    def __init__(self, channels: int):
        super().__init__()
        self.query = nn.Linear(channels, channels // 4)
        self.key = nn.Linear(channels, channels // 4)
        self.out = nn.Linear(2 * channels, channels)

    def forward(self, pooled: Tensor, banks: list[Tensor]) -> Tensor:
        """(B, C) and two (N, C) -> (B, C)."""
        q = self.query(pooled)
        found = []
        for bank in banks:
            scores = q @ self.key(bank).T * q.shape[1] ** -0.5
            found.append(scores.softmax(-1) @ bank)
        return self.out(torch.cat(found, 1))
