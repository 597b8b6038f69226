"""Read other people's checkpoints: plain tensors by name, and no code from the file is run."""

from __future__ import annotations

import json
import math
import pickle
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semtta.errors import SemttaError

_UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError,
               IndexError, AssertionError, MemoryError, OverflowError, pickle.UnpicklingError,
               zipfile.BadZipFile)  # fmt: skip
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_state(
    path: str | Path, what: str, keep: Callable[[str], bool] = lambda key: True
) -> dict[str, Tensor]:
    """Floating-point tensors of a checkpoint by name, float32, on the CPU.

    Understands ``.safetensors``, TorchScript archives and anything ``torch.save`` wrote; unwraps
    ``state_dict`` and ``model``, strips the prefix ``module.`` of parallel training.

    Args:
        path: the file.
        what: how an error calls it, with an article: "a MotionCLIP checkpoint".
        keep: which names to read.
    """
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no file '{path}' to read {what} from.")
    try:
        if path.suffix == ".safetensors":
            state = read_safetensors(path, keep)
        elif _is_torchscript(path):
            state = torch.jit.load(path, map_location="cpu").state_dict()
        else:
            state = _unwrap(_load_tensors(path))
        state = {key.removeprefix("module."): value for key, value in state.items()}
        return {
            key: value.detach().float()
            for key, value in state.items()
            if keep(key) and isinstance(value, Tensor) and value.is_floating_point()
        }
    except _UNREADABLE as error:
        raise SemttaError(
            f"'{path}' is damaged or not {what}; copy or download it again."
        ) from error


def read_safetensors(path: Path, keep: Callable[[str], bool]) -> dict[str, Tensor]:
    """The floating-point tensors of a ``.safetensors`` file whose names are to be kept.

    The format: 8 bytes little-endian length, that many bytes of JSON, then the data; the JSON
    gives each tensor's dtype, shape and range of bytes. Raises ``ValueError`` if they disagree."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(length))
        state = {}
        for key, entry in header.items():
            if key == "__metadata__" or not keep(key) or entry["dtype"] not in _SAFETENSORS:
                continue
            dtype = np.dtype(_SAFETENSORS[entry["dtype"]])
            begin, end = entry["data_offsets"]
            count = math.prod(entry["shape"])
            if not 0 <= begin <= end <= size - 8 - length or end - begin != count * dtype.itemsize:
                raise ValueError(f"tensor {key} lies outside the file")
            file.seek(8 + length + begin)
            array = np.frombuffer(file.read(end - begin), dtype).reshape(entry["shape"])
            if entry["dtype"] == "BF16":  # the upper half of a float32, which numpy lacks
                array = (array.astype("<u4") << 16).view("<f4")
            state[key] = torch.from_numpy(array.astype(np.float32))
    return state


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], path: str | Path, what: str):
    """Load a state that must fit exactly and be finite; returns the module, frozen, in eval mode.

    The module may be on the meta device: it takes over the state's own tensors."""
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - state.keys())
    unknown = sorted(state.keys() - wanted.keys())
    reason = None
    if missing:
        reason = f"it lacks '{missing[0]}'" + (f" and {len(missing) - 1} more" * (len(missing) > 1))
    elif unknown:
        reason = f"it has the unknown tensor '{unknown[0]}'"
    else:
        for key, value in state.items():
            if value.shape != wanted[key].shape:
                reason = f"'{key}' is {tuple(value.shape)}, not {tuple(wanted[key].shape)}"
            elif not torch.isfinite(value).all():
                reason = f"'{key}' is not finite"
            if reason:
                break
    if reason:
        raise SemttaError(f"'{path}' is not {what}: {reason}; give the official file.")
    module.load_state_dict(dict(state), assign=True)
    return module.requires_grad_(False).eval()


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _unwrap(content) -> Mapping[str, Tensor]:
    for _ in range(3):
        inner = [content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not any(isinstance(value, Tensor) for value in content.values()):
        raise ValueError("no tensors in it")
    return content


class _Inert(dict):
    """Stands for an object of a class that no network's weights need; keeps nothing."""

    __hash__ = object.__hash__  # may have been a key

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setstate__(self, state):
        return None


class _TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; every other class of the file becomes inert."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return getattr(torch._utils, name)
        if module == "torch" and name.endswith("Storage"):
            return getattr(torch, name)
        return _Inert


def _load_tensors(path: Path):
    """``torch.load`` without code, also where settings or progress objects lie beside weights."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        unpickler = types.ModuleType("tensors_only")  # what torch takes for the pickle module
        unpickler.Unpickler = _TensorUnpickler
        unpickler.load = lambda file, **kwargs: _TensorUnpickler(file, **kwargs).load()
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=unpickler)
