"""A person's shape from a file: ten betas as numbers, or the shape of a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.body.model import Body
from semtta.errors import SemttaError
from semtta.reading import MEBI, check_file, read_json, read_npy, read_npz, reading

_WHAT = "betas"
_LIMIT = 64 * MEBI
_FARTHEST = 10.0  # standard deviations; networks say such betas of some people


def read_betas(path: str | Path) -> Tensor:
    """(10,) betas: of a .npy, .json or .npz file. The latter two may call them "betas", and may
    have a row per frame, as ``track-XX.npz`` has, of which the median counts.

    Raises ``SemttaError`` for a file that holds something else."""
    path = check_file(path, _WHAT, _LIMIT)
    with reading(path, _WHAT):
        values = np.asarray(_content(path))
        if values.dtype.kind not in "iuf":
            raise ValueError(f"it holds {values.dtype}")
        values = values.astype(np.float64)
    fits = values.size and values.ndim in (1, 2) and values.shape[-1] == 10
    if fits and np.isfinite(values).all() and np.abs(values).max() > _FARTHEST:
        raise SemttaError(
            f"betas '{path}' go to {np.abs(values).max():.3g} standard deviations; beyond "
            f"{_FARTHEST:.0f} no body looks like a person."
        )
    if not fits or not np.isfinite(values).all():
        raise SemttaError(
            f"betas '{path}' must be ten finite numbers, or ten per frame; it holds "
            f"{'numbers of shape ' + str(values.shape) if not fits else 'some that are not'}."
        )
    return torch.from_numpy(np.median(values.reshape(-1, 10), 0)).float()


def check_body(path: str | Path, body: Body) -> None:
    """Raise ``SemttaError`` where the result folder in which a file lies was made with another body
    file: betas are directions of one body's shape space."""
    report = Path(path).parent / "report.json"
    if not report.is_file():
        return  # nobody knows
    tracks = _reached(read_json(report, "report of the result"), "tracks")
    for entry in tracks if isinstance(tracks, list) else []:
        made = _reached(entry, "provenance", "body")
        name, sha256 = _reached(made, "name"), _reached(made, "sha256")
        if isinstance(sha256, str) and sha256 != body.sha256:
            raise SemttaError(
                f"betas '{path}' belong to body '{name}' (SHA-256 {sha256[:12]}…); those of "
                f"'{body.name}' ({body.sha256[:12]}…) mean something else: give that body.name."
            )


def _reached(entry, *keys: str):
    """What lies under keys in dictionaries of a stranger's file; None where there is nothing."""
    for key in keys:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry


def _content(path: Path):
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path, _WHAT, limit=_LIMIT)
        if "betas" not in arrays and len(arrays) != 1:
            names = ", ".join(list(arrays)[:5])
            raise ValueError(f"it has no array 'betas', only {names or 'none'}")
        return arrays.get("betas", next(iter(arrays.values())))
    if path.suffix.lower() == ".npy":
        return read_npy(path, _WHAT, _LIMIT)
    values = read_json(path, _WHAT, _LIMIT)
    return values["betas"] if isinstance(values, dict) else values
