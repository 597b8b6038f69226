"""CLIP2Pose: Frozen CLIP as Semantic Guide for Domain Adaptive Pose Estimation (AAAI 2026).

Equation numbers are the paper's. Where it can be read in two ways, the comment says which one
was taken and why; nobody has published code. In the paper's order:

1. Semantic-Driven Prompting (SDP): a prompt of learnt tokens, made from the skeleton's graph,
   from the image's content and from the statistics of its domain (Eq. 2-6): ``prompts``.
2. Semantic Modulation of Visual Features (SMVF): the embedding of the prompt gates the channels of
   the image's features.
3. Directional Alignment Loss (DAL, Eq. 7), supervision (Eq. 8), adversary (Eq. 9-10: ``adversary``,
   which is not CLIP2Pose's alone), and their sum (Eq. 1, 11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.pose2d.losses import squared_error
from semtta.pose2d.prompts import (
    DomainToken,
    ImageTokens,
    NamePrompt,
    PromptSpec,
    StructureTokens,
)
from semtta.pose2d.text import TOKEN_STD, PromptTower

_GATE_BOTTLENECK = 4  # W1 narrows C by this factor; the paper gives none


@dataclass(frozen=True)
class Described:
    """What the model says about B images.

    Args:
        maps: (B, K, H, W) heat maps.
        pooled: (B, C) z~, the mean of the gated map.
        direction: (B, C) W_e e, where the text says that z~ should point; (B, 0) without DAL.
        embedding: (B, E) e.
    """

    maps: Tensor
    pooled: Tensor
    direction: Tensor
    embedding: Tensor

    def split(self, count: int) -> tuple[Described, Described]:
        """The first ``count`` images, and the others."""
        parts = [(x[:count], x[count:]) for x in vars(self).values()]
        return Described(*(a for a, _ in parts)), Described(*(b for _, b in parts))


class Clip2Pose(nn.Module):
    """A keypoint estimator with the semantic branch; needs both when it is used.

    Args:
        estimator: F_v and the heat-map head. ("All parameters in F_v and F_t are frozen" is taken
            literally with ``freeze_backbone`` alone: nobody else's frozen ImageNet network comes
            near the paper's figures, and an adversary on its features would have no one to fool.)
        tower: F_t, frozen: CLIP's *text* tower alone. The "frozen CLIP encoders" of the abstract
            include one of images that the method never mentions again.
        spec: sizes and parts.
        names: (K, D) embeddings of the joints' names, to start S^(0) from, and as the words of
            other prompts; None = N(0, 0.02).
    """

    def __init__(self, estimator: Estimator, tower: PromptTower, spec: PromptSpec,
                 names: Tensor | None = None):  # fmt: skip
        super().__init__()
        channels, width = estimator.backbone.channels, tower.width
        skeleton = estimator.spec.joints
        length = spec.length(len(skeleton))
        if tower.context is not None and length > tower.context:
            raise SemttaError(f"a prompt of {length} tokens, but the text tower reads "
                              f"{tower.context}; lower clip2pose.image_tokens.")  # fmt: skip
        start = TOKEN_STD * torch.randn(len(skeleton), width) if names is None else names
        self.estimator, self.tower, self.prompt_spec = estimator, tower, spec
        if spec.prompts == "sdp":
            self.structure = StructureTokens(skeleton.adjacency(), start, spec.graph_layers)
            self.image = ImageTokens(channels[-1], width, spec.image_tokens)
            self.domain = DomainToken(channels, width)
        else:
            self.words = NamePrompt(spec.prompts, start, channels, spec.image_tokens)
        if spec.smvf:
            self.gate = _gate(tower.dim, channels[-1], spec.gate_bias)
        elif spec.added:
            self.added = nn.Linear(tower.dim, channels[-1])
            nn.init.zeros_(self.added.weight)  # starts as the network without text
            nn.init.zeros_(self.added.bias)
        if spec.dal:  # the paper writes R^(C x D) and compares in C
            self.direction = nn.Linear(tower.dim, channels[-1], bias=False)

    @property
    def spec(self) -> EstimatorSpec:
        """Of the estimator."""
        return self.estimator.spec

    def prompt(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """P(x) = [S]_1..[S]_K [V]_1..[V]_M [D] (Eq. 2): K + M + 1 tokens, no words, no padding.

        Returns:
            (K, D), the same for all images, and (B, M + 1, D)."""
        if self.prompt_spec.prompts != "sdp":
            return self.words(maps)
        return self.structure(), self.own_tokens(maps)

    def own_tokens(self, maps: tuple[Tensor, ...]) -> Tensor:
        """[V]_1..[V]_M [D] of each image, (B, M + 1, D)."""
        pooled = maps[-1].float().mean((2, 3))
        return torch.cat((self.image(pooled), self.domain(maps)), 1)

    def describe(self, images: Tensor) -> Described:
        """(B, 3, S, S) normalised images -> everything that the losses need."""
        return self.describe_each(images)[0]

    def describe_each(self, *batches: Tensor) -> list[Described]:
        """:meth:`describe` for several batches, each with batch norms of its own.

        Only the text tower, which has none, reads all prompts at once: the structure tokens pass
        it once for the whole step."""
        return self.describe_maps([self.estimator.features(images) for images in batches])

    def describe_maps(self, features: Sequence[tuple[Tensor, ...]]) -> list[Described]:
        """:meth:`describe_each` from the maps f_1..f_4 of each batch."""
        prompts = [self.prompt(maps) for maps in features]
        own = torch.cat([tokens for _, tokens in prompts])
        embeddings = self.tower(prompts[0][0], own).split([len(maps[-1]) for maps in features])
        return [self._described(maps[-1], e) for maps, e in zip(features, embeddings)]

    def _described(self, z: Tensor, e: Tensor) -> Described:
        z = self.modulated(z, e)
        pooled = z.float().mean((2, 3))
        direction = self.direction(e) if self.prompt_spec.dal else pooled[:, :0]
        return Described(self.estimator.maps(z), pooled, direction, e)

    def modulated(self, z: Tensor, e: Tensor) -> Tensor:
        """The last map z (B, C, H, W) as the embedding e (B, E) has it."""
        # 2. SMVF. gamma is broadcast over the map: then GAP(gamma z) = gamma GAP(z), the paper's
        # pooled formula, and the heat-map head gets the map that it needs.
        if self.prompt_spec.smvf:
            return torch.sigmoid(self.gate(e))[..., None, None] * z
        # The row "SDP" of Tables 4 and 5 has neither SMVF nor DAL, through which alone e reaches
        # anything. As printed it is the row above it; added to the map, it is something.
        return z + self.added(e)[..., None, None] if self.prompt_spec.added else z

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) normalised -> heat maps (B, K, H, W)."""
        if not self.prompt_spec.in_maps:
            return self.estimator(images)
        return self.describe(images).maps


def _gate(inputs: int, channels: int, bias: float) -> nn.Sequential:
    """gamma before its sigmoid: e -> (B, C), at the start ``bias`` for every image."""
    narrow = channels // _GATE_BOTTLENECK
    first, last = nn.Linear(inputs, narrow), nn.Linear(narrow, channels)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(first, nn.ReLU(), last)


# ------------------------------------------------------------------------- 3. losses


def alignment_loss(pooled: Tensor, direction: Tensor) -> Tensor:
    """L_align = 1 - cos(z~, W_e e) (Eq. 7), mean over images; of the *gated* feature, as in the
    equation (the text around it says z)."""
    return (1 - F.cosine_similarity(pooled.float(), direction.float())).mean()


def collapse_gauge(embedding: Tensor) -> float:
    """Mean cosine between e of different images. Near 1 = the text says the same of every image,
    and Eq. 7, which has no negatives, is met by one constant direction."""
    unit = F.normalize(embedding.detach().float())
    count = len(unit)
    if count < 2:
        return 1.0
    return float((unit.sum(0).square().sum() - count) / (count * (count - 1)))


Model = Estimator | Clip2Pose  # images -> heat maps


def estimator_of(model: Model) -> Estimator:
    """The estimator inside a model."""
    return model.estimator if isinstance(model, Clip2Pose) else model


def objective(
    source: Described,
    target: Described,
    truth: Tensor,
    weight: Tensor,
    adversary: Tensor,
    alignment_weight: float = 0.3,
    reduction: str = "sum",
) -> dict[str, Tensor]:
    """The terms of L = L_sup + L_adv + lambda L_align (Eq. 1, 11), weighted.

    Args:
        truth, weight: (B, K, H, W) heat maps and (B, K) weights of the source images.
        adversary: L_adv (Eq. 9, 10) with its weight; see ``adversary``.
        alignment_weight: lambda, 0.3.
        reduction: of Eq. 8; see :func:`squared_error`.
    """
    losses = {"sup": squared_error(source.maps, truth, weight, reduction), "adv": adversary}
    if source.direction.shape[1]:  # there is none without DAL
        pooled = torch.cat((source.pooled, target.pooled))
        direction = torch.cat((source.direction, target.direction))
        losses["align"] = alignment_weight * alignment_loss(pooled, direction)
    return losses
