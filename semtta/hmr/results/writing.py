"""Values in the form in which a file has them, and the file itself: whole, or not at all."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.files import whole_file, write_npz
from semtta.hmr.results.checks import JOINTS, vectors
from semtta.hmr.results.content import Content

_OPEN: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}


def like(before, values):
    """Numbers as an array or tensor of the type, precision and shape of those that they replace."""
    array = values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values
    if isinstance(before, Tensor):
        return torch.from_numpy(np.array(array)).to(before.dtype).reshape(before.shape)
    before = np.asarray(before)
    return np.asarray(array, before.dtype).reshape(before.shape)


def posed(before, rotmats: Tensor):
    """Rotations in the form in which a file had those of the same joints: matrices, or vectors of
    which the first ones are these joints; what the file has beyond them stays.

    Args:
        before: (T, J, 3, 3), (T, 3 J) or (T, J, 3), J at least that of ``rotmats`` or 22."""
    held = before.numpy() if isinstance(before, Tensor) else np.asarray(before)
    if held.ndim == 4:
        count = min(held.shape[1], rotmats.shape[1] if held.shape[1] in (1, 23, 24) else JOINTS)
        found = held.copy()
        found[:, :count] = rotmats[:, :count].numpy()
        return like(before, found)
    flat = held.reshape(len(held), -1, 3).astype(np.float64)
    count = min(flat.shape[1], rotmats.shape[1] if flat.shape[1] in (1, 23, 24) else JOINTS)
    flat[:, :count] = vectors(rotmats[:, :count], flat[:, :count])
    return like(before, flat)


def write_content(content: Content, data, path: Path) -> None:
    """A file of the same kind as one that was read; raises ``SemttaError`` if one is there."""
    with whole_file(path, overwrite=False) as temporary:
        try:
            _write(content, data, temporary)
        except (MemoryError, pickle.PicklingError, TypeError) as error:
            raise SemttaError(f"'{path}' cannot be written: {error}.") from error


def _write(content: Content, data, path: Path) -> None:
    if content.kind == "torch":
        torch.save(data, path)
    elif content.kind == "npz":
        with open(path, "wb") as file:
            arrays = {key: _boxed(value) for key, value in data.items()}
            write_npz(file, arrays, compressed=content.compression == "zip")
    elif content.kind == "npy":
        with open(path, "wb") as file:
            np.save(file, _boxed(data), allow_pickle=True)
    elif content.compression == "zlib":
        path.write_bytes(zlib.compress(pickle.dumps(data, protocol=4), 3))
    else:
        with _OPEN.get(content.compression, open)(path, "wb") as file:
            pickle.dump(data, file, protocol=4)


def _boxed(value) -> np.ndarray | np.generic:
    """What is no array as an array that holds it: how ``np.savez`` writes dictionaries."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value
    if isinstance(value, list):
        found = np.empty(len(value), object)
        found[:] = value
        return found
    single = np.empty((), object)
    single[()] = value
    return single
