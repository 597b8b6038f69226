"""Checkpoints: one file with the network, its frozen text tower, and the settings that made it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from semtta.checkpoints import check_fit, load_strictly, tensors, write_checkpoint
from semtta.errors import SemttaError
from semtta.motion.clip_text import ClipTextTower
from semtta.pose2d.clip2pose import Clip2Pose
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.pose2d.prompts import PromptSpec
from semtta.pose2d.settings import Pose2DConfig, settings_yaml
from semtta.pose2d.text import MeanTower, PromptTower, TransformerTower
from semtta.reading import reason
from semtta.tensor_files import read_tensors

_FORMAT = 1
_WHAT = "a semtta pose2d checkpoint"
_MOST_LAYERS = 64
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
    floats = tensors(weights)
    try:
        with torch.device("meta"):  # costs nothing, whatever the file says
            planned = _make_model(about)
    except Exception as error:  # whatever the file says of it
        raise SemttaError(f"'{path}' describes a network that this version does not know "
                          f"({reason(error)}).") from error  # fmt: skip
    check_fit(planned, floats, path, _WHAT)
    model = load_strictly(_make_model(about), floats, path, _WHAT)
    return model.to(device), str(about.get("strategy", ""))


def _make_model(about: dict) -> Estimator | Clip2Pose:
    """The network that a checkpoint describes, without its weights."""
    model = Estimator(EstimatorSpec(**about["estimator"]))
    if about["kind"] == "estimator":
        return model
    if about["kind"] != "clip2pose":
        raise ValueError(f"kind {about['kind']}")
    return Clip2Pose(model, _make_tower(about["tower"]), PromptSpec(**about["prompt"]))


def checkpoint_settings(path: str | Path) -> str:
    """The settings that a checkpoint was made with, as YAML; empty if it holds none."""
    return str(_read(Path(path))[0].get("settings", ""))


def _read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    content = read_tensors(path, _WHAT)
    try:
        about, weights = json.loads(content["semtta_pose2d"]), content["state_dict"]
        if about["format"] != _FORMAT or not all(isinstance(v, Tensor) for v in weights.values()):
            raise ValueError(f"format {about['format']}")
        return about, weights
    except Exception as error:  # whatever the file holds instead
        raise SemttaError(f"'{path}' is damaged or not {_WHAT} ({reason(error)}).") from error


def _tower_shape(tower: PromptTower) -> dict:
    if isinstance(tower, MeanTower):
        return {"kind": "mean", "width": tower.width}
    assert isinstance(tower, TransformerTower)  # there is no third
    dtype = next(tower.blocks.parameters()).dtype
    return {"kind": "transformer", "width": tower.width, "dim": tower.dim,
            "layers": len(tower.blocks), "context": tower.context,
            "dtype": "bf16" if dtype == torch.bfloat16 else "fp32"}  # fmt: skip


def _make_tower(shape: dict) -> PromptTower:
    if shape["kind"] == "mean":
        return MeanTower(shape["width"])
    if not 1 <= shape["layers"] <= _MOST_LAYERS:
        raise ValueError(f"a text tower of {shape['layers']} layers")
    tower = ClipTextTower(2, shape["context"], shape["width"], shape["layers"], shape["dim"])
    zero = torch.zeros(shape["width"])
    return TransformerTower(tower, zero, zero, _DTYPES[shape["dtype"]])
