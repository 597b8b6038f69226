"""Semantic-Driven Prompting of CLIP2Pose (Eq. 2-6): a prompt of learnt tokens.

They are made from the skeleton's graph, from the image's content and from the statistics of its
domain. Equation numbers are the paper's; see ``clip2pose``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.pose2d.backbones import channel_statistics
from semtta.pose2d.text import TOKEN_STD

_DOMAIN_HIDDEN = 256
_BOTTLENECK = 16  # G_I narrows by this factor, as CoCoOp's meta network


@dataclass(frozen=True)
class PromptSpec:
    """Sizes of the semantic branch, at the paper's values.

    Args:
        image_tokens: M, shared tokens that the image shifts (Fig. 5: 10).
        graph_layers: n, layers of the graph convolution (Fig. 5: 3).
        gate_bias: b of gamma = sigmoid(W2 ReLU(W1 e) + b) at the start. With the 0 of a plain
            layer the gate would halve a pretrained map.
    """

    image_tokens: int = 10
    graph_layers: int = 3
    gate_bias: float = 2.0

    def __post_init__(self):
        if not 0 <= self.image_tokens <= 1024 or not 1 <= self.graph_layers <= 32:
            raise SemttaError("a prompt needs 0 to 1024 image_tokens and 1 to 32 graph_layers.")


class StructureTokens(nn.Module):
    """[S]_1..[S]_K by graph convolution over the skeleton (Eq. 3-5).

    S^(l+1) = ReLU(A S^(l) W_l), without ReLU after the last layer; S^(0) is learnt. W_l starts as
    the identity: the usual small random matrices would shrink the tokens to a twentieth of the
    scale that a text tower reads, and make all joints alike.

    Args:
        adjacency: (K, K) normalised, with self-loops.
        start: (K, D) first value of S^(0).
        layers: n.
    """

    adjacency: Tensor

    def __init__(self, adjacency: Tensor, start: Tensor, layers: int):
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        self.tokens = nn.Parameter(start.clone())
        self.weights = nn.ParameterList(torch.eye(start.shape[1]) for _ in range(layers))

    def forward(self) -> Tensor:
        """(K, D)."""
        s: Tensor = self.tokens
        for i, weight in enumerate(self.weights):
            s = self.adjacency @ s @ weight
            if i + 1 < len(self.weights):
                s = F.relu(s)
        return s


class ImageTokens(nn.Module):
    """[V]_1..[V]_M: v_m + pi, pi = G_I(projected mean feature), the same for all m (Eq. 6)."""

    def __init__(self, channels: int, width: int, count: int):
        super().__init__()
        self.tokens = nn.Parameter(TOKEN_STD * torch.randn(count, width))
        self.project = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)  # features are a hundred times larger than tokens
        self.narrow = nn.Linear(width, max(1, width // _BOTTLENECK))
        self.widen = nn.Linear(max(1, width // _BOTTLENECK), width)
        nn.init.zeros_(self.widen.weight)  # starts without a shift
        nn.init.zeros_(self.widen.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, C) mean of the last map -> (B, M, D)."""
        shift = self.widen(F.relu(self.narrow(self.norm(self.project(pooled)))))
        return self.tokens + TOKEN_STD * shift[:, None]


class DomainToken(nn.Module):
    """[D]: G_D([mu_1; sigma_1; ...; mu_L; sigma_L]), the same network for both domains.

    The paper calls the statistics a vector of R^C; mean and spread of all channels of four maps
    are 2 sum C_l numbers. They are not detached: the prompt trains the backbone too.
    """

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        self.norm = nn.LayerNorm(2 * sum(channels))
        self.hidden = nn.Linear(2 * sum(channels), _DOMAIN_HIDDEN)
        self.out = nn.Linear(_DOMAIN_HIDDEN, width)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Maps f_1..f_L -> (B, 1, D)."""
        hidden = F.relu(self.hidden(self.norm(channel_statistics(maps))))
        return TOKEN_STD * self.out(hidden)[:, None]
