"""What a result was made with."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata

import torch
from torch import nn

import semtta
from semtta.config import Config


def provenance(config: Config, model: nn.Module, body, precision: str) -> dict:
    """Settings, versions and hashes, ready for JSON."""
    packages = ("torch", "numpy", "scipy", "roma", "smplx", "onnxruntime")
    return {
        "semtta": semtta.__version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "device": config.device,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "model": {"name": config.model.name, "sha256": getattr(model, "sha256", None)},
        "body": {"name": body.name, "sha256": body.sha256},
        "config": asdict(config),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
