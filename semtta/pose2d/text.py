"""Frozen text towers F_t that read *prompt tokens*, i.e. learnt vectors in place of words.

``clip``
    CLIP's text transformer from the user's file: the paper's tower.
``builtin``
    The shipped table of word pieces. A text is the mean of its tokens, so all that this tower
    knows is where words lie: the names of joints start where the table puts them.
``random``
    Either of them with random weights, frozen all the same. The control: what it gains owes
    nothing to language.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.engine import make_generator
from semtta.errors import SemttaError
from semtta.motion.clip_text import ClipText, ClipTextTower, TextBlock, load_clip_text
from semtta.motion.text import TextEncoder
from semtta.user_files import find_user_file

TOKEN_STD = 0.02  # of CLIP's token embeddings
_BUILTIN_WIDTH = 128
_CLIP_WIDTH, _CLIP_CONTEXT = 512, 77
_HEAD = 64  # channels of an attention head


class PromptTower(nn.Module):
    """What a text tower is to the prompts. Frozen; always in eval mode.

    Attributes:
        width: D of a prompt token.
        dim: of the embedding e.
        context: longest prompt, [SOS] and [EOS] included; None = any.
    """

    width: int
    dim: int
    context: int | None = None

    def forward(self, shared: Tensor, own: Tensor) -> Tensor:
        """e = F_t(P) (Eq. 2).

        Args:
            shared: (K, D) tokens that every prompt begins with.
            own: (B, N, D) the tokens after them.

        Returns:
            (B, dim) float32.
        """
        raise NotImplementedError

    def train(self, mode: bool = True) -> PromptTower:
        return super().train(False)


class TransformerTower(PromptTower):
    """CLIP's text transformer.

    A prompt is [SOS], K shared tokens, N own tokens, [EOS], and e is read at [EOS]. It is *not*
    padded to 77 tokens: attention is causal, so what would follow changes nothing. For the same
    reason the shared tokens, which come first, see nothing of the image: they pass the tower once
    for the whole batch, and only N + 1 tokens an image follow.

    Args:
        tower: of which everything but the token table is kept.
        start, end: (D,) embeddings of the start and end tokens.
        dtype: of the blocks; bf16 costs a third on processors that compute in it.
    """

    context: int
    positions: Tensor
    projection: Tensor
    start: Tensor
    end: Tensor

    def __init__(self, tower: ClipTextTower, start: Tensor, end: Tensor,
                 dtype: torch.dtype = torch.bfloat16):  # fmt: skip
        super().__init__()
        self.width, self.dim = tower.text_projection.shape
        self.context = len(tower.positional_embedding)
        self.blocks = tower.blocks.to(dtype)
        self.ln_final = tower.ln_final.float()
        self.register_buffer("positions", tower.positional_embedding.detach().float().clone())
        self.register_buffer("projection", tower.text_projection.detach().float().clone())
        self.register_buffer("start", start.detach().float().clone())
        self.register_buffer("end", end.detach().float().clone())
        self.requires_grad_(False).eval()

    def forward(self, shared: Tensor, own: Tensor) -> Tensor:
        batch, count = own.shape[:2]
        first = 1 + len(shared)
        length = first + count + 1
        if length > self.context:
            raise ValueError(f"a prompt of {length} tokens, but the tower reads {self.context}")
        with torch.autocast(own.device.type, enabled=False):
            own = torch.cat((own.float(), self.end.expand(batch, 1, -1)), 1)
            prefix = torch.cat((self.start[None], shared.float()))[None]
            dtype = next(self.blocks.parameters()).dtype
            prefix = (prefix + self.positions[:first]).to(dtype)
            x = (own + self.positions[first:length]).to(dtype)
            *early, last = (block for block in self.blocks if isinstance(block, TextBlock))
            for block in early:
                prefix, x = _both(block, prefix, x)
            return self.ln_final(_at_end(last, prefix, x).float()) @ self.projection


def _both(block: TextBlock, prefix: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """One transformer block over a shared prefix (1, P, D) and what follows it (B, N, D)."""
    q0, k0, v0 = _heads(block, prefix)
    q, k, v = _heads(block, x)
    n, p = x.shape[1], prefix.shape[1]
    # token i of the rest sees the whole prefix and the rest up to itself
    seen = torch.ones(n, p + n, dtype=torch.bool, device=x.device).tril(p)
    after = _attend(q, _follow(k0, k), _follow(v0, v), seen)
    before = _attend(q0, k0, v0, seen.new_ones(p, p).tril())
    return _close(block, prefix, before), _close(block, x, after)


def _at_end(block: TextBlock, prefix: Tensor, x: Tensor) -> Tensor:
    """The last block at the last token alone, (B, D): nothing else is read of it."""
    _, k0, v0 = _heads(block, prefix)
    q, k, v = _heads(block, x)
    out = _attend(q[:, :, -1:], _follow(k0, k), _follow(v0, v))
    return _close(block, x[:, -1:], out)[:, 0]


def _follow(shared: Tensor, own: Tensor) -> Tensor:
    return torch.cat((shared.expand(len(own), -1, -1, -1), own), 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
    """Attention written out: for so few tokens the fused kernel's backward costs thrice as much."""
    scores = (q * _HEAD**-0.5) @ k.transpose(-1, -2)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    return scores.softmax(-1) @ v


def _heads(block: TextBlock, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    qkv = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
    q, k, v = (t.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for t in qkv.chunk(3, -1))
    return q, k, v


def _close(block: TextBlock, x: Tensor, attended: Tensor) -> Tensor:
    x = x + block.attn.out_proj(attended.transpose(1, 2).flatten(2))
    return x + block.mlp(block.ln_2(x))


class MeanTower(PromptTower):
    """The mean of a prompt's tokens, scaled to unit variance: no weights at all."""

    def __init__(self, width: int = _BUILTIN_WIDTH):
        super().__init__()
        self.width = self.dim = width

    def forward(self, shared: Tensor, own: Tensor) -> Tensor:
        total = shared.float().sum(0) + own.float().sum(1)
        return F.layer_norm(total / (len(shared) + own.shape[1]), (self.dim,), eps=1e-8)


def make_tower(
    kind: str, layers: int, clip: str | None = None, seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
) -> tuple[PromptTower, ClipText | TextEncoder | None]:  # fmt: skip
    """A frozen tower, and what embeds words for it.

    Args:
        kind: ``clip``, ``builtin`` or ``random``.
        layers: of a random tower; 0 = the built-in one's control, a mean without words.
        clip: file or folder of CLIP's text tower (see ``load_clip_text``), for ``clip``; None =
            the one in the folders where user files are looked for.
        seed: of a random tower.

    Returns:
        the tower and a text encoder, None for a random tower, which knows no words.

    Raises ``SemttaError`` if CLIP's file is missing or something else.
    """
    if kind == "builtin":
        return MeanTower(), TextEncoder.load()
    if kind == "clip":
        text = load_clip_text(clip_path(clip))
        table = text.tower.token_embedding.weight
        start, end = table[text.bpe.start], table[text.bpe.end]
        return TransformerTower(text.tower, start, end, dtype), text
    if layers == 0:
        return MeanTower(), None
    return random_tower(layers, seed, dtype), None


def clip_path(given: str | None) -> Path:
    """Where CLIP's text tower is: the given place, or one where user files are looked for.

    Raises ``SemttaError`` if nothing is there."""
    path = given or find_user_file("clip")
    if path is None:
        raise SemttaError("clip2pose.text=clip needs CLIP's text tower: give clip2pose.clip=FILE, "
                          "or choose clip2pose.text=builtin.")  # fmt: skip
    if not Path(path).exists():
        raise SemttaError(f"CLIP's text tower '{path}' does not exist.")
    return Path(path)


def random_tower(layers: int, seed: int, dtype: torch.dtype = torch.bfloat16) -> TransformerTower:
    """A tower of CLIP's shape whose weights are drawn as CLIP's were before training."""
    generator = make_generator(seed)
    tower = ClipTextTower(2, _CLIP_CONTEXT, _CLIP_WIDTH, layers, _CLIP_WIDTH)
    deep = (2 * layers) ** -0.5
    std = {"token_embedding.weight": TOKEN_STD, "positional_embedding": 0.01,
           "text_projection": _CLIP_WIDTH**-0.5, "attn.in_proj_weight": _CLIP_WIDTH**-0.5,
           "attn.out_proj.weight": deep * _CLIP_WIDTH**-0.5,
           "mlp.c_fc.weight": (2 * _CLIP_WIDTH) ** -0.5,
           "mlp.c_proj.weight": deep * _CLIP_WIDTH**-0.5}  # fmt: skip
    with torch.no_grad():
        for name, weight in tower.named_parameters():
            scale = next((s for end, s in std.items() if name.endswith(end)), None)
            if scale is not None:
                weight.normal_(0, scale, generator=generator)
            elif name.endswith("bias"):
                weight.zero_()
    start, end = tower.token_embedding.weight
    return TransformerTower(tower, start, end, dtype)


def embed_words(encoder: ClipText | TextEncoder, words: Sequence[str]) -> Tensor:
    """(L, D) mean token embedding of each text, at the scale of CLIP's tokens."""
    if isinstance(encoder, TextEncoder):
        features = encoder.encode(words)
        return features * (TOKEN_STD * features.shape[1] ** 0.5)
    table = encoder.tower.token_embedding.weight
    return torch.stack([table[encoder.bpe.encode(word)[1:-1]].mean(0) for word in words]).float()
