"""A network that starts from another program's result and corrects it.

Its weights are shared by all frames: what it learns from frames where a limb is seen moves the same
limb, in a like pose, where it is not. Its last layer is zero at first, so that before any
adaptation it says the result itself, bit for bit. It has learnt nothing: all it will ever know is
one video's evidence and what the losses say of human motion.

For comparison, ``trainable: frames`` moves a free correction of each frame instead and no weight at
all: what SMPLify does (Bogo et al. 2016), started from the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semtta.engine import undisturbed
from semtta.errors import SemttaError
from semtta.geometry import Camera, columns_to_rotmat, rotmat_to_columns
from semtta.hmr.base import Batch, CropSpec, Prediction, parameters_of
from semtta.hmr.features import BOX_SCALE, OFFSETS
from semtta.hmr.lifter import ResidualBlock
from semtta.hmr.refiner_inputs import BASE, FRAME, split_base
from semtta.hmr.result_base import in_picture
from semtta.hmr.result_match import rows_of
from semtta.hmr.results.parts import ResultFile, ResultTrack
from semtta.keypoints import Track

_JOINTS, _BETAS = 24, 10
_SMALLEST = 0.05  # metres in front of the camera
# How far a unit of the head's output goes: columns of a turn, betas, position.
_TURN, _SHAPE, _PLACE = 0.3, 0.3, 0.1


@dataclass(frozen=True)
class RefinerSettings:
    """Size of the network.

    Args:
        embed: width of a frame's embedding.
        width: width of the fused window.
        blocks: residual blocks after fusion.
    """

    embed: int = 128
    width: int = 256
    blocks: int = 2


class Refiner(nn.Module):
    """``HumanMeshRegressor`` that reads rows of :func:`refiner_inputs`.

    Args:
        result: what is refined.
        settings: size of the network.
    """

    robust: float | None = 0.05  # results are near the truth, or there is nothing to refine
    crop = CropSpec(reads="parameters", size=224, box_scale=BOX_SCALE, camera="metric")
    settings_name = "refine"

    def __init__(self, result: ResultFile, settings: RefinerSettings = RefinerSettings()):
        super().__init__()
        self.result = self._read = result
        self._size: tuple[int, int] | None = None
        self.sha256 = result.sha256
        self.embed = nn.Linear(FRAME, settings.embed)
        self.frame = ResidualBlock(settings.embed)
        self.fuse = nn.Linear(len(OFFSETS) * settings.embed, settings.width)
        self.blocks = nn.ModuleList(ResidualBlock(settings.width) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.width)
        self.head = nn.Linear(settings.width, _JOINTS * 6 + _BETAS + 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        longest = max(len(person.frames) for person in result.tracks)
        self.free = nn.Embedding(longest, self.head.out_features)
        nn.init.zeros_(self.free.weight)

    def camera(self, width: int, height: int) -> Camera | None:
        """The result's own, where it says one: the middle one of its frames'. From here on the
        result's pixels are those of a picture of this size, in which it is to be refined."""
        if self._size != (width, height):
            self.result, self._size = in_picture(self._read, width, height), (width, height)
        first = self.result.tracks[0]
        return None if first.trans is None else first.camera(width, height)

    def person(self, track: Track) -> ResultTrack:
        """The person of a track's number in its frames.

        Raises ``SemttaError`` if the result lacks one of them."""
        base = next((base for base in self.result.tracks if base.id == track.id), None)
        if base is None or not bool(torch.isin(track.frames.cpu(), base.frames).all()):
            raise SemttaError(f"result '{self.result.path}' lacks frames of track {track.id}.")
        return rows_of(base, track.frames)

    def forward(self, batch: Batch) -> Prediction:
        """inputs (B, BASE + W FRAME) -> prediction for the B own frames of the windows."""
        full = self.head.weight.dtype
        rotmats, betas, trans = split_base(batch.inputs[:, :BASE].to(full))
        windows = batch.inputs[:, BASE:].unflatten(1, (len(OFFSETS), FRAME))
        frames = self.frame(self.embed(windows))
        x = self.fuse(frames.flatten(1))
        for block in self.blocks:
            x = block(x)
        with torch.autocast(x.device.type, enabled=False):  # angles want full precision
            change = self.head(self.norm(x.to(full))) + self.free(batch.frames).to(full)
            turn, shape, place = change.split((_JOINTS * 6, _BETAS, 3), dim=-1)
            rotmats = rotmats @ _turned(_TURN * turn.unflatten(-1, (_JOINTS, 6)))
            return Prediction(rotmats, betas + _SHAPE * shape, _moved(trans, _PLACE * place))

    def parameter_groups(self, scope: str) -> list[nn.Parameter]:
        """Parameters that adaptation may move.

        Args:
            scope: "all"; "last" = last residual block and head; "head" = output layer; "norm" =
                layer norms, which say nothing as long as the head is zero; "frames" = a free
                correction of each frame, nothing shared."""
        if scope == "frames":
            return list(self.free.parameters())
        groups: dict[str, list[nn.Module]] = {
            "all": [self],
            "last": [self.blocks[-1], self.norm, self.head],
            "head": [self.head],
            "norm": [m for m in self.modules() if isinstance(m, nn.LayerNorm)],
        }
        return [p for p in parameters_of(groups, scope) if p is not self.free.weight]


@undisturbed(torch.device("cpu"), seed=0)
def make_refiner(result: ResultFile, settings: RefinerSettings = RefinerSettings()) -> Refiner:
    """A refiner in eval mode on the CPU: the same first weights every time, whatever the caller has
    drawn before."""
    return Refiner(result, settings).eval()


def _turned(columns: Tensor) -> Tensor:
    """Changes of the identity's first two columns (..., 6) -> rotations; zero is the identity."""
    return columns_to_rotmat(rotmat_to_columns(torch.eye(3)).to(columns) + columns)


def _moved(trans: Tensor, change: Tensor) -> Tensor:
    """A place (..., 3) in metres, moved across the ray by shares of its depth, then along it."""
    aside = torch.cat((trans[..., 2:] * change[..., :2], torch.zeros_like(change[..., 2:])), -1)
    found = (trans + aside) * change[..., 2:].clamp(-5, 5).exp()
    return torch.cat((found[..., :2], found[..., 2:].clamp_min(_SMALLEST)), -1)
