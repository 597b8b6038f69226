"""HMR2.0 (Goel et al. 2023, 4D-Humans): ViT-H and a transformer decoder with one query token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from semtta.checkpoints import load_strictly, read_weights
from semtta.geometry import columns_to_rotmat
from semtta.hmr.base import Batch, Prediction, check_images, parameters_of
from semtta.hmr.preprocess import ImageCropSpec
from semtta.hmr.vit import ViT
from semtta.shipped import file_sha256

_JOINTS, _POSE, _BETAS, _CAM = 24, 144, 10, 3
_SIZE, _MARGIN = 256, 32  # side of the crop; columns left and right that the network never sees
_GRID = (16, 12)
_LAST_BLOCKS = 4
_WHAT = "an HMR2.0 checkpoint (4D-Humans)"
# What a training checkpoint holds beside the network: discriminator, body model, a flag.
_UNUSED = ("discriminator.", "smpl.", "initialized")


@dataclass(frozen=True)
class HMR2Settings:
    """Size of the network; the default is the released one (670 million parameters).

    Args:
        width, depth, heads: of the vision transformer.
        decoder_width, decoder_depth, decoder_heads: of the decoder.
        head_width: of one head of the decoder's attention.
        decoder_mlp: hidden width of the decoder's MLPs.
    """

    width: int = 1280
    depth: int = 32
    heads: int = 16
    decoder_width: int = 1024
    decoder_depth: int = 6
    decoder_heads: int = 8
    head_width: int = 64
    decoder_mlp: int = 1024

    @staticmethod
    def tiny() -> HMR2Settings:
        """A network of the same classes that runs in milliseconds."""
        return HMR2Settings(48, 2, 4, 64, 2, 4, 16, 96)


class PreNorm(nn.Module):
    """fn(norm(x)), further arguments untouched."""

    def __init__(self, width: int, fn: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        return self.fn(self.norm(x), *context)


class SelfAttention(nn.Module):
    """(B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, width))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.to_qkv(x).chunk(3, dim=-1)
        return self.to_out(_attend(query, key, value, self.heads))


class CrossAttention(nn.Module):
    """(B, N, D) and context (B, M, C) -> (B, N, D)."""

    def __init__(self, width: int, context: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        self.to_kv = nn.Linear(context, 2 * heads * head_width, bias=False)
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        key, value = self.to_kv(context).chunk(2, dim=-1)
        return self.to_out(_attend(self.to_q(x), key, value, self.heads))


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """(..., D) -> (..., D)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        # places 2 and 4 are the dropouts of the training code, whose probability is zero
        self.net = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class CrossTransformer(nn.Module):
    """Layers of self-attention, attention to the context, MLP; each beside a shortcut."""

    def __init__(self, settings: HMR2Settings):
        super().__init__()
        width, heads, head_width = (
            settings.decoder_width,
            settings.decoder_heads,
            settings.head_width,
        )
        self.layers = nn.ModuleList(
            nn.ModuleList((
                PreNorm(width, SelfAttention(width, heads, head_width)),
                PreNorm(width, CrossAttention(width, settings.width, heads, head_width)),
                PreNorm(width, FeedForward(width, settings.decoder_mlp)),
            ))
            for _ in range(settings.decoder_depth)
        )  # fmt: skip

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        for layer in self.layers:
            attend, look, think = layer.children()
            x = x + attend(x)
            x = x + look(x, context)
            x = x + think(x)
        return x


class TransformerDecoder(nn.Module):
    """One query token that looks at the image: query (B, ``told``), context (B, M, C) -> (B, D)."""

    def __init__(self, settings: HMR2Settings, told: int):
        super().__init__()
        width = settings.decoder_width
        self.to_token_embedding = nn.Linear(told, width)
        self.pos_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.transformer = CrossTransformer(settings)
        nn.init.normal_(self.pos_embedding)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        with torch.autocast(query.device.type, enabled=False):  # what it is told is exact
            query = query.to(self.to_token_embedding.weight.dtype)
            token = self.to_token_embedding(query)[:, None]
        return self.transformer(token + self.pos_embedding, context)[:, 0]


class SMPLHead(nn.Module):
    """Image tokens to pose, shape and camera, added to the mean parameters.

    Args:
        settings: size of the network.
        told: numbers that the query token is made of.
    """

    init_body_pose: Tensor
    init_betas: Tensor
    init_cam: Tensor

    def __init__(self, settings: HMR2Settings, told: int = 1):
        super().__init__()
        width = settings.decoder_width
        self.transformer = TransformerDecoder(settings, told)
        self.decpose = nn.Linear(width, _POSE)
        self.decshape = nn.Linear(width, _BETAS)
        self.deccam = nn.Linear(width, _CAM)
        upright = torch.eye(3)[:2].flatten().repeat(_JOINTS)
        self.register_buffer("init_body_pose", upright[None])
        self.register_buffer("init_betas", torch.zeros(1, _BETAS))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0.0, 0.0]]))

    def forward(self, query: Tensor, tokens: Tensor) -> Prediction:
        """query (B, told), image tokens (B, M, C) -> prediction."""
        x = self.transformer(query, tokens)
        with torch.autocast(x.device.type, enabled=False):  # angles want full precision
            x = x.to(self.decpose.weight.dtype)
            # Two columns one after the other. The released mean pose was written in HMR's
            # interleaved order; the network was trained that way, so it is left alone.
            pose = (self.init_body_pose + self.decpose(x)).unflatten(1, (_JOINTS, 6))
            betas = self.init_betas + self.decshape(x)
            return Prediction(columns_to_rotmat(pose), betas, self.init_cam + self.deccam(x))


class HMR2(nn.Module):
    """``HumanMeshRegressor`` that reads normalised RGB crops of 256 pixels and looks at the
    middle 192 columns of them.

    It has neither dropout nor batch statistics, so ``train()`` changes nothing.

    Args:
        settings: size of the network.
        sha256: hash of the file that the weights came from, "" if they came from none.
    """

    crop = ImageCropSpec(size=_SIZE, aspect=0.75, rule="blurred")
    name = "HMR2.0"
    told = 1  # numbers that the decoder's query is made of
    parallel = True
    frame_mb = {
        "all": (640.0, 0.0),
        "norm": (416.0, 0.0),
        "last": (104.0, 0.0),
        "head": (26.0, 0.94),
    }

    def __init__(self, settings: HMR2Settings = HMR2Settings(), sha256: str = ""):
        super().__init__()
        self.settings = settings
        self.sha256 = sha256
        self.backbone = ViT(settings.width, settings.depth, settings.heads, _GRID)
        self.smpl_head = SMPLHead(settings, self.told)

    def forward(self, batch: Batch) -> Prediction:
        """inputs (B, 3, 256, 256) -> prediction for the B crops."""
        return self.answer(self.features(batch.inputs), batch)

    def regress(self, images: Tensor) -> Prediction:
        """(B, 3, 256, 256) normalised RGB -> prediction."""
        return self.forward(Batch(torch.arange(len(images)), images))

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, 256, 256) normalised RGB -> image tokens (B, 192, width), 16 rows of 12."""
        check_images(images, _SIZE, self.name)
        return self.backbone(images[..., _MARGIN:-_MARGIN])

    def answer(self, tokens: Tensor, batch: Batch) -> Prediction:
        """Image tokens (B, 192, width) of a batch -> prediction."""
        return self.smpl_head(self.query(batch), tokens)

    def query(self, batch: Batch) -> Tensor:
        """(B, told) what the decoder is told of a batch: here nothing."""
        return batch.inputs.new_zeros(len(batch.inputs), self.told)

    def split(self, scope: str) -> tuple[Callable, Callable] | None:
        """The layers that ``parameter_groups(scope)`` leaves alone, and the rest."""
        if scope != "head":
            return None
        return self.features, lambda batch: self.answer(batch.inputs, batch)

    def parameter_groups(self, scope: str) -> list[nn.Parameter]:
        """Parameters that adaptation may move.

        Args:
            scope: "all"; "last" = last four blocks, last norm and head; "head" = decoder;
                "norm" = layer norms."""
        groups: dict[str, list[nn.Module]] = {
            "all": [self],
            "last": [*self.backbone.blocks[-_LAST_BLOCKS:], self.backbone.last_norm,
                     self.smpl_head],
            "head": [self.smpl_head],
            "norm": [m for m in self.modules() if isinstance(m, nn.LayerNorm)],
        }  # fmt: skip
        return parameters_of(groups, scope)


def load_hmr2(checkpoint: str | Path, settings: HMR2Settings = HMR2Settings()) -> HMR2:
    """HMR2.0 (a or b) from 4D-Humans' Lightning checkpoint, float32 on the CPU, in eval mode.

    Args:
        checkpoint: e.g. ``epoch=35-step=1000000.ckpt``.
        settings: size of the network in the file.

    Raises:
        SemttaError: the file is missing, damaged, unsafe, or of another network.
    """
    path = Path(checkpoint)
    weights = read_weights(
        path, _WHAT, lambda key: not key.startswith(_UNUSED), known="smpl_head.decpose.weight"
    )
    with torch.device("meta"):
        model = HMR2(settings)
    model.sha256 = file_sha256(path)
    return load_strictly(model, weights, path, _WHAT)
