"""Semantic-Driven Prompting of CLIP2Pose (Eq. 2-6): a prompt of learnt tokens.

They are made from the skeleton's graph, from the image's content and from the statistics of its
domain. Equation numbers are the paper's; see ``clip2pose``. Beside them :class:`NamePrompt`: the
prompts that the paper's Figure 3 compares with.
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


PROMPTS = ("sdp", "coop", "cocoop", "words")  # of Figure 3
_KNOWN = (*PROMPTS, "stages")  # and AD-CLIP's
_STAGES = 4  # of a backbone


@dataclass(frozen=True)
class PromptSpec:
    """The semantic branch: its sizes, at the paper's values, and which of its parts there are.

    Args:
        image_tokens: M, shared tokens that the image shifts (Fig. 5: 10).
        graph_layers: n, layers of the graph convolution (Fig. 5: 3).
        gate_bias: b of gamma = sigmoid(W2 ReLU(W1 e) + b) at the start. With the 0 of a plain
            layer the gate would halve a pretrained map.
        prompts: one of ``PROMPTS``, or ``stages``.
        smvf: gate the map by e (Tables 4, 5).
        added: without the gate, add a projection of e to the map; else e reaches no map.
        dal: project e to the direction of Eq. 7 (Tables 4, 5).
    """

    image_tokens: int = 10
    graph_layers: int = 3
    gate_bias: float = 2.0
    prompts: str = "sdp"
    smvf: bool = True
    added: bool = False
    dal: bool = True

    def __post_init__(self):
        if not 0 <= self.image_tokens <= 1024 or not 1 <= self.graph_layers <= 32:
            raise SemttaError("a prompt needs 0 to 1024 image_tokens and 1 to 32 graph_layers.")
        if self.prompts not in _KNOWN:
            raise SemttaError(f"no prompts '{self.prompts}'; known are {', '.join(_KNOWN)}.")

    def length(self, joints: int) -> int:
        """Tokens of a prompt for so many joints, [SOS] and [EOS] included."""
        own = {"sdp": self.image_tokens + 1, "words": 0, "stages": 2 * _STAGES}.get(
            self.prompts, self.image_tokens
        )
        return joints + own + 2

    @property
    def in_maps(self) -> bool:
        """Whether heat maps depend on the text."""
        return self.smvf or self.added


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


class StageTokens(nn.Module):
    """Two tokens of each stage: of its style (mean and spread of channels) and its content."""

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        self.style = nn.ModuleList(_scaled(2 * c, width) for c in channels)
        self.content = nn.ModuleList(_scaled(c, width) for c in channels)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Maps f_1..f_L -> (B, 2 L, D)."""
        style = [net(channel_statistics((f,))) for net, f in zip(self.style, maps, strict=True)]
        pooled = (f.float().mean((2, 3)) for f in maps)
        content = [net(f) for net, f in zip(self.content, pooled, strict=True)]
        return TOKEN_STD * torch.stack((*style, *content), 1)


def _scaled(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width))


class NamePrompt(nn.Module):
    """Prompts that end in the joints' names, which stay as they are (Figure 3).

    ``words``
        The names alone, in one line: nothing is learnt.
    ``coop``
        M learnt tokens before them (CoOp, Zhou et al. 2022), the same for every image.
    ``cocoop``
        The same tokens shifted by the image (CoCoOp): the paper's image tokens (Eq. 6).

    ``stages``
        A domain token and an image token from each of the four stages (AD-CLIP, Singha et al.).

    Those methods write one prompt for each class; the paper has one embedding of the whole image,
    so here, in our reading, all names stand in one prompt.

    Args:
        kind: one of the four.
        names: (K, D) embeddings of the joints' names.
        channels: of the maps.
        count: M.
    """

    names: Tensor

    def __init__(self, kind: str, names: Tensor, channels: Sequence[int], count: int):
        super().__init__()
        self.register_buffer("names", names.detach().clone())
        self.context = self.image = self.stages = None
        if kind == "coop":
            self.context = nn.Parameter(TOKEN_STD * torch.randn(count, names.shape[1]))
        elif kind == "cocoop":
            self.image = ImageTokens(channels[-1], names.shape[1], count)
        elif kind == "stages":
            self.stages = StageTokens(channels, names.shape[1])

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Maps f_1..f_L -> tokens that all prompts begin with (P, D), and those after (B, N, D)."""
        batch = len(maps[-1])
        own = None
        if self.image is not None:
            own = self.image(maps[-1].float().mean((2, 3)))
        elif self.stages is not None:
            own = self.stages(maps)
        if own is not None:  # own tokens first: no beginning is shared
            return self.names[:0], torch.cat((own, self.names.expand(batch, -1, -1)), 1)
        shared = self.names if self.context is None else torch.cat((self.context, self.names))
        return shared, self.names[:0].expand(batch, -1, -1)
