"""Checkpoints: one file with the network, its frozen text tower, and the settings that made it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, write_checkpoint
from semtta.errors import SemttaError
from semtta.motion.clip_text import ClipTextTower
from semtta.pose2d.clip2pose import Clip2Pose, PromptSpec
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.pose2d.settings import Pose2DConfig, settings_yaml
from semtta.pose2d.text import MeanTower, PromptTower, TransformerTower
from semtta.reading import check_file, reason

_FORMAT = 1
_WHAT = "a semtta pose2d checkpoint"
_WIDEST = 8192  # channels of a tower
_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def save_checkpoint(
    path: str | Path, model: Estimator | Clip2Pose, config: Pose2DConfig | None = None
) -> Path:
    """Write everything that is needed to run a model; whole or not at all."""
    path = Path(path)
    about = {"format": _FORMAT, "kind": "estimator", "estimator": asdict(model.spec)}
    if isinstance(model, Clip2Pose):
        about |= {"kind": "clip2pose", "prompt": asdict(model.prompt_spec),
                  "tower": _tower_shape(model.tower)}  # fmt: skip
    if config is not None:
        # the network as it is, not as settings would have made it without a checkpoint
        network = replace(config.estimator, **asdict(model.spec))
        about["strategy"] = config.strategy
        about["settings"] = settings_yaml(replace(config, estimator=network))
    weights = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    content = {"semtta_pose2d": json.dumps(about), "state_dict": weights}
    write_checkpoint(path, content)
    return path


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> Estimator | Clip2Pose:
    """A model as it was saved, in eval mode.

    Raises ``SemttaError`` if the file is missing, damaged, or of another kind."""
    return load_with_strategy(path, device)[0]


def load_with_strategy(
    path: str | Path, device: torch.device | str = "cpu"
) -> tuple[Estimator | Clip2Pose, str]:
    """:func:`load_checkpoint`, and the strategy that made it; empty if the file says none."""
    path = Path(path)
    about, weights = _read(path)
    try:
        model: nn.Module = Estimator(EstimatorSpec(**about["estimator"]))
        if about["kind"] == "clip2pose":
            tower = _make_tower(about["tower"], _held(weights.values()))
            model = Clip2Pose(model, tower, PromptSpec(**about["prompt"]))
        elif about["kind"] != "estimator":
            raise ValueError(about["kind"])
    except Exception as error:  # the description is a stranger's too
        raise SemttaError(f"'{path}' describes a network that this version does not know "
                          f"({reason(error)}).") from error  # fmt: skip
    floats = {key: value for key, value in weights.items() if value.is_floating_point()}
    return load_strictly(model, floats, path, _WHAT).to(device), str(about.get("strategy", ""))


def checkpoint_settings(path: str | Path) -> str:
    """The settings that a checkpoint was made with, as YAML; empty if it holds none."""
    return str(_read(Path(path))[0].get("settings", ""))


def _read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    check_file(path, "checkpoint")
    try:
        _check_packing(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        about, weights = json.loads(content["semtta_pose2d"]), content["state_dict"]
        if about["format"] != _FORMAT or not all(isinstance(v, Tensor) for v in weights.values()):
            raise ValueError(f"format {about['format']}")
        return about, weights
    except Exception as error:  # a hostile or truncated file can raise anything
        raise SemttaError(f"'{path}' is damaged or not {_WHAT} ({reason(error)}).") from error


def _check_packing(path: Path) -> None:
    """PyTorch never packs what it saves; a small file may be packed from a huge one."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is packed")


def _held(weights: Iterable[Tensor]) -> int:
    """Bytes that some tensors really take, however large they claim to be."""
    storages = (tensor.untyped_storage() for tensor in weights)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _tower_shape(tower: PromptTower) -> dict:
    if isinstance(tower, MeanTower):
        return {"kind": "mean", "width": tower.width}
    dtype = next(tower.blocks.parameters()).dtype
    return {"kind": "transformer", "width": tower.width, "dim": tower.dim,
            "layers": len(tower.blocks), "context": tower.context,
            "dtype": "bf16" if dtype == torch.bfloat16 else "fp32"}  # fmt: skip


def _make_tower(shape: dict, held: int) -> PromptTower:
    """A tower that is no larger than the weights that are there, in bytes."""
    wide = shape["width"] ** 2 * shape.get("layers", 0) + shape["width"] * shape.get("context", 0)
    if wide > held or not 0 < shape["width"] <= _WIDEST or shape.get("dim", 0) > _WIDEST:
        raise ValueError("a tower that is larger than its weights")
    if shape["kind"] == "mean":
        return MeanTower(shape["width"])
    tower = ClipTextTower(2, shape["context"], shape["width"], shape["layers"], shape["dim"])
    zero = torch.zeros(shape["width"])
    return TransformerTower(tower, zero, zero, _DTYPES[shape["dtype"]])
