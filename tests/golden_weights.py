"""Weights and inputs of the golden files, rebuilt from their recipes (nothing trained)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_NORM_WEIGHT = re.compile(r"(^|\.)(norm\d*|last_norm)\.weight$")


def random_state(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)


def noise(name: str, *shape: int) -> np.ndarray:
    """float32 normal numbers that depend on the name alone."""
    return random_state(name).standard_normal(shape).astype(np.float32)


def rule_weights(keys: Mapping[str, list]) -> dict[str, Tensor]:
    """State dict from {key: [shape, dtype, rule]} as the ``meta.json`` files give it."""
    fill = {
        "n": lambda x: 0.02 * x,
        "one": lambda x: 1 + 0.02 * x,
        "var": lambda x: np.abs(0.02 * x) + 0.5,
        "zero": lambda x: 0 * x,
    }
    return {
        key: torch.from_numpy(np.asarray(fill[rule](noise(key, *shape)), dtype))
        for key, (shape, dtype, rule) in keys.items()
    }


def hmr2_weights(shapes: Mapping[str, list]) -> dict[str, Tensor]:
    """State dict of HMR2.0 from {key: shape}."""
    start = {
        "smpl_head.init_body_pose": np.tile([1, 0, 0, 0, 1, 0], 24),
        "smpl_head.init_cam": np.array([0.9, 0, 0]),
    }
    weights = {}
    for key, shape in shapes.items():
        value = 0.02 * noise(key, *shape)
        if _NORM_WEIGHT.search(key):
            value = 1 + value
        value = (value + start.get(key, 0)).astype(np.float32)
        weights[key] = torch.from_numpy(value)
    return weights


def hmr2_images(count: int) -> Tensor:
    """(count, 3, 256, 256) smooth patterns."""
    n, c, y, x = np.meshgrid(*(np.arange(k) for k in (count, 3, 256, 256)), indexing="ij")
    wave = np.sin(0.05 * (c + 1) * x + 0.03 * (n + 1) * y)
    return torch.from_numpy(wave + 0.3 * np.cos(0.2 * x - 0.1 * y + n + c)).float()
