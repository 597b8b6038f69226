"""CLIP's text tower (Radford et al. 2021) in plain PyTorch, from any of the usual files.

The tower's names are those of the original release; open_clip uses the same, the Hugging Face
layout is renamed on the way in. Only the text side of a file is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.errors import SemttaError
from semtta.motion.clip_bpe import ClipBPE
from semtta.reading import read_json, reading

_HEAD = 64  # channels of an attention head in every CLIP text tower
_BATCH = 64  # texts at a time
_WHAT = "a checkpoint of CLIP's text tower"
_FOLDER_FILES = ("model.safetensors", "pytorch_model.bin",
                 "open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # fmt: skip
_KNOWN = ("token_embedding.weight", "text.token_embedding.weight",
          "text_model.embeddings.token_embedding.weight")  # fmt: skip
_MOST_LAYERS = 64
_OWN_NAMES = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.",
              "text_projection")  # fmt: skip
_RENAMED = (
    (r"^text_model\.embeddings\.token_embedding\.weight$", "token_embedding.weight"),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.self_attn\.", ".attn."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"^text_projection\.weight$", "text_projection"),
)


class _Attention(nn.Module):
    """Causal self-attention; the three inlets are one matrix, as in ``nn.MultiheadAttention``."""

    def __init__(self, width: int):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(L, N, width) -> (L, N, width)."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (t.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for t in qkv.chunk(3, -1))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class _MLP(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        return self.c_proj(x * torch.sigmoid(1.702 * x))  # QuickGELU, not the exact one


class TextBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int):
        super().__init__()
        self.attn = _Attention(width)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = _MLP(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class ClipTextTower(nn.Module):
    """Token ids to text features.

    Args:
        vocabulary: number of token ids.
        context: longest text, tokens.
        width: channels, a multiple of 64.
        layers: transformer blocks.
        dim: D of the features.
    """

    def __init__(self, vocabulary: int = 49408, context: int = 77, width: int = 512,
                 layers: int = 12, dim: int = 512):  # fmt: skip
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.zeros(context, width))
        blocks = nn.ModuleList(TextBlock(width) for _ in range(layers))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, dim))

    @property
    def context(self) -> int:
        return len(self.positional_embedding)

    @property
    def blocks(self) -> nn.ModuleList:
        """Of :class:`TextBlock`, first to last."""
        blocks = self.transformer["resblocks"]
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    def forward(self, ids: Tensor) -> Tensor:
        """(L, N) token ids, N <= context, whatever follows the end token -> (L, D), not unit.

        The feature is read at the end token, the largest id. Attention is causal, so what
        follows it, or is cut off after it, changes nothing."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in self.transformer["resblocks"].children():
            x = block(x)
        end = x[torch.arange(len(x)), ids.argmax(1)]
        return self.ln_final(end) @ self.text_projection


class ClipText(nn.Module):
    """A text tower with its tokenizer; frozen.

    Args:
        tower: ids -> features.
        bpe: text -> ids.
    """

    def __init__(self, tower: ClipTextTower, bpe: ClipBPE):
        super().__init__()
        self.tower, self.bpe = tower, bpe
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """(L, D) unit features of the texts as they are, without any template.

        Raises ``SemttaError`` naming the text that is longer than the tower reads."""
        if isinstance(texts, str):
            raise SemttaError("texts must be a list of texts, not one text.")
        weight = self.tower.text_projection
        rows = [self._ids(text) for text in texts]
        features = []
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long)
            for row, text_ids in zip(ids, batch):
                row[: len(text_ids)] = torch.tensor(text_ids)
            features.append(self.tower(ids.to(weight.device)))
        return F.normalize(torch.cat(features)) if features else weight[:0]

    def _ids(self, text: str) -> list[int]:
        ids = self.bpe.encode(text)
        if len(ids) > self.tower.context:
            shown = text if len(text) <= 60 else text[:57] + "..."
            raise SemttaError(f"the label '{shown}' has {len(ids)} CLIP tokens, but at most "
                              f"{self.tower.context} are read; shorten it.")  # fmt: skip
        return ids


def load_clip_text(path: str | Path, bpe: str | Path | None = None) -> ClipText:
    """CLIP's text tower from a file or folder that the user has.

    Args:
        path: a Hugging Face folder (``model.safetensors`` or ``pytorch_model.bin``), the original
            ``ViT-B-32.pt`` (TorchScript), or an open_clip state dict (``.pt``, ``.bin``,
            ``.safetensors``). Only the original weights share MotionCLIP's space: open_clip's own
            trainings have the same tensors and another meaning.
        bpe: vocabulary for :meth:`ClipBPE.load`; None = that of the folder, else the shipped one.

    Raises ``SemttaError`` if a file is missing, damaged, or not this network to the last tensor.
    """
    path = Path(path)
    file = _file_of(path) if path.is_dir() else path
    state = _original_names(read_weights(file, _WHAT, _is_text, scripted=True, known=_KNOWN), file)
    folder_has_bpe = path.is_dir() and (path / "merges.txt").is_file()
    vocabulary = ClipBPE.load(bpe or (path if folder_has_bpe else None))
    try:
        rows, width = state["token_embedding.weight"].shape
        context, dim = len(state["positional_embedding"]), state["text_projection"].shape[1]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise SemttaError(f"'{file}' is not {_WHAT}: it lacks embeddings or the text projection; "
                          "give the whole CLIP checkpoint.") from error  # fmt: skip
    layers = {key.split(".")[2] for key in state if key.startswith("transformer.resblocks.")}
    if not 1 <= len(layers) <= _MOST_LAYERS:
        raise SemttaError(f"'{file}' has {len(layers)} transformer blocks; {_WHAT} has 12.")
    if width % _HEAD or rows != vocabulary.size:
        raise SemttaError(f"'{file}' has {rows} tokens of width {width}, which does not fit a "
                          f"vocabulary of {vocabulary.size} and heads of {_HEAD}.")  # fmt: skip
    with torch.device("meta"):
        tower = ClipTextTower(rows, context, width, len(layers), dim)
    return ClipText(load_strictly(tower, state, file, _WHAT), vocabulary)


def _file_of(folder: Path) -> Path:
    """The weights in a folder; refuses one whose activation is not CLIP's own."""
    found = [folder / name for name in _FOLDER_FILES if (folder / name).is_file()]
    if not found:
        raise SemttaError(f"the folder '{folder}' has none of {', '.join(_FOLDER_FILES)}.")
    config = folder / "config.json"
    if config.is_file():
        content = read_json(config, "CLIP's configuration")
        with reading(config, "CLIP's configuration"):
            activation = content.get("text_config", content).get("hidden_act", "quick_gelu")
        if activation != "quick_gelu":
            raise SemttaError(f"'{config}' tells the activation '{activation}', but MotionCLIP "
                              "needs the original CLIP with quick_gelu.")  # fmt: skip
    return found[0]


def _is_text(key: str) -> bool:
    key = key.removeprefix("text.")
    return key.startswith(("text_model.", *_OWN_NAMES))


def _original_names(state: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Names of the original release; q, k, v stacked and the projection transposed."""
    state = {key.removeprefix("text."): value for key, value in state.items()}
    if not any(key.startswith("text_model.") for key in state):
        return state
    renamed = {}
    for key, value in state.items():
        for pattern, name in _RENAMED:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    if "text_projection" in renamed:
        renamed["text_projection"] = renamed["text_projection"].T.contiguous()
    for key in [key for key in renamed if ".attn.q_proj." in key]:
        parts = [key.replace(".q_proj.", f".{name}_proj.") for name in "qkv"]
        if all(part in renamed for part in parts):
            stacked = torch.cat([renamed.pop(part) for part in parts])
            renamed[key.replace(".q_proj.", ".in_proj_")] = stacked
    return renamed
