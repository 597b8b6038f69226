"""The embedded regressor: from a detector's landmarks to SMPL parameters, no image needed.

A residual MLP (Martinez et al. 2017, "A simple yet effective baseline for 3d human pose
estimation") with one embedding shared by the frames of a short window. The rotations that the
detector's 3D shows, as it is and as its 2D corrects it (``bones``), go past the network to the
output, as far as it believes them: one that has to say depth itself says the usual depth, and
straightens limbs that point at the camera. It has neither dropout nor batch statistics, so that
adapting all its weights to one video is stable and repeatable. Trained by
``tools/train_lifter.py``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, tensors, write_checkpoint
from semtta.errors import SemttaError
from semtta.geometry import columns_to_rotmat, ray_rotation
from semtta.hmr.base import Batch, CropSpec, Prediction, parameters_of
from semtta.hmr.bones import READ
from semtta.hmr.features import (
    BOX_SCALE,
    FRAME_FEATURES,
    OFFSETS,
    ray_side,
    shown_pose,
)
from semtta.reading import reading
from semtta.shipped import file_sha256
from semtta.tensor_files import read_tensors

_JOINTS, _BETAS = 24, 10
_FORMAT = 2  # 1: no rotations among the features, 0.4 s of window
_BELIEF = 2.0  # logit with which an untrained network believes what the 3D shows
_WHAT = "a lifter checkpoint"
_LARGEST = (8192, 8192, 64)  # embed, width, blocks


@dataclass(frozen=True)
class LifterSettings:
    """Size of the network.

    Args:
        embed: width of a frame's embedding.
        width: width of the fused window.
        blocks: residual blocks after fusion.
    """

    embed: int = 256
    width: int = 512
    blocks: int = 3

    def __post_init__(self):
        sizes = (self.embed, self.width, self.blocks)
        if any(type(n) is not int or not 1 <= n <= most for n, most in zip(sizes, _LARGEST)):
            raise ValueError(f"a lifter's sizes are whole numbers from 1 to {_LARGEST}, "
                             f"not {sizes}")  # fmt: skip


class ResidualBlock(nn.Module):
    """x + MLP(norm(x)), (..., D) -> (..., D)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.reduce = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.reduce(nn.functional.gelu(self.expand(self.norm(x))))


class Lifter(nn.Module):
    """``HumanMeshRegressor`` that reads rows of :func:`semtta.hmr.features.lifter_features`.

    Args:
        settings: size of the network.
        sha256: hash of the file that the weights came from, "" if they came from none.
    """

    robust: float | None = None  # believes every detection; see HumanMeshRegressor
    crop = CropSpec(reads="keypoints", size=224, box_scale=BOX_SCALE, camera="full")

    def __init__(self, settings: LifterSettings = LifterSettings(), sha256: str = ""):
        super().__init__()
        self.settings = settings
        self.sha256 = sha256
        self.embed = nn.Linear(FRAME_FEATURES, settings.embed)
        self.frame = ResidualBlock(settings.embed)
        self.fuse = nn.Linear(len(OFFSETS) * settings.embed, settings.width)
        self.blocks = nn.ModuleList(ResidualBlock(settings.width) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.width)
        self.head = nn.Linear(settings.width, _JOINTS * 6 + _BETAS + 3)
        self.belief = nn.Linear(settings.width, 2 * len(READ))
        for layer in (self.head, self.belief):
            nn.init.normal_(layer.weight, std=0.01)
        with torch.no_grad():
            self.head.bias.copy_(_upright_person())
            self.belief.bias[: len(READ)].fill_(_BELIEF)
            self.belief.bias[len(READ) :].zero_()

    def forward(self, batch: Batch) -> Prediction:
        """inputs (B, W, FEATURES) -> prediction for the B own frames of the windows."""
        frames = self.frame(self.embed(batch.inputs[..., :FRAME_FEATURES]))
        x = self.fuse(frames.flatten(1))
        for block in self.blocks:
            x = block(x)
        with torch.autocast(x.device.type, enabled=False):  # angles want full precision
            full = self.head.weight.dtype
            return self._decode(x.to(full), batch.inputs[:, 0].to(full))

    def _decode(self, x: Tensor, own: Tensor) -> Prediction:
        x = self.norm(x)
        pose, betas, cam = self.head(x).split((_JOINTS * 6, _BETAS, 3), dim=-1)
        pose = pose.unflatten(-1, (_JOINTS, 6))
        shown, known = shown_pose(own)
        share, corrected = self.belief(x).sigmoid()[..., None].chunk(2, dim=-2)
        turn = torch.lerp(shown[..., 0, :, :], shown[..., 1, :, :], corrected)
        turn = share * (known > 0)[..., None] * (turn - _UPRIGHT.to(pose))
        rotmats = columns_to_rotmat(pose.index_add(-2, _READ.to(pose.device), turn))
        return _to_camera(rotmats, betas, cam, own[:, FRAME_FEATURES:])

    def parameter_groups(self, scope: str) -> list[nn.Parameter]:
        """Parameters that adaptation may move.

        Args:
            scope: "all"; "last" = last residual block and head; "head" = output layers;
                "norm" = layer norms."""
        groups: dict[str, list[nn.Module]] = {
            "all": [self],
            "last": [self.blocks[-1], self.norm, self.head, self.belief],
            "head": [self.head, self.belief],
            "norm": [m for m in self.modules() if isinstance(m, nn.LayerNorm)],
        }
        return parameters_of(groups, scope)


def _upright_person() -> Tensor:
    """(157,) output that means: mean shape, T-pose, upright, facing the camera, filling the box."""
    pose = torch.eye(3).repeat(_JOINTS, 1, 1)
    pose[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    columns = torch.cat((pose[..., 0], pose[..., 1]), dim=-1)
    return torch.cat((columns.flatten(), torch.zeros(_BETAS), torch.tensor([0.9, 0.0, 0.0])))


_READ = torch.tensor(READ)
# what the head's bias says of these joints, less the identity's columns
_UPRIGHT = (
    _upright_person()[: _JOINTS * 6].unflatten(-1, (_JOINTS, 6))[READ] - _upright_person()[6:12]
)


def _to_camera(rotmats: Tensor, betas: Tensor, cam: Tensor, box: Tensor) -> Prediction:
    """From the virtual camera that looks at the box to the real one.

    Args:
        rotmats: (B, 24, 3, 3), global orientation in the virtual camera.
        cam: (B, 3) scale in the box before softplus; x and y of the pelvis, metres.
        box: (B, 3) square box, normalised image plane."""
    turn = ray_rotation(box[:, :2])
    rotmats = torch.cat(((turn @ rotmats[:, 0])[:, None], rotmats[:, 1:]), dim=1)
    scale = nn.functional.softplus(3 * cam[:, :1]) / 3
    depth = 2 / (ray_side(box)[:, None] * scale + 1e-6)
    place = (turn @ torch.cat((cam[:, 1:], depth), dim=-1)[..., None])[..., 0]
    z = place[:, 2:].clamp_min(0.05)
    # the inverse of geometry.full_translation, in the normalised image plane
    weak = torch.cat((2 / (z * box[:, 2:]), place[:, :2] - box[:, :2] * z), dim=-1)
    return Prediction(rotmats, betas, weak)


def save_lifter(model: Lifter, path: str | Path) -> None:
    """Write settings and fp16 weights (temporary name, then rename)."""
    content = {
        "format": _FORMAT,
        "kind": "lifter",
        "settings": asdict(model.settings),
        "offsets": list(OFFSETS),
        "weights": {k: v.detach().cpu().half() for k, v in model.state_dict().items()},
    }
    write_checkpoint(path, content)


def load_lifter(path: str | Path) -> Lifter:
    """Lifter from a file of :func:`save_lifter`, float32 on the CPU, in eval mode.

    Raises ``SemttaError`` if the file is missing, damaged or of another kind."""
    path = Path(path)
    content = read_tensors(path, _WHAT)
    if not isinstance(content, dict) or content.get("kind") != "lifter":
        raise SemttaError(f"'{path}' is no lifter checkpoint; train one by tools/train_lifter.py.")
    if content.get("format") != _FORMAT or content.get("offsets") != list(OFFSETS):
        raise SemttaError(
            f"lifter checkpoint '{path}' was made for another version of semtta; train it anew by "
            "tools/train_lifter.py, or leave model.checkpoint empty for the shipped one."
        )
    with reading(path, "lifter checkpoint"):
        settings, weights = LifterSettings(**content["settings"]), tensors(content["weights"])
        with torch.device("meta"):
            model = Lifter(settings, file_sha256(path))
        return load_strictly(model, weights, path, _WHAT)
