"""Reading other people's checkpoints: safely, strictly, and with a sentence when they do not fit.

Nothing in a pickle is ever run. Tensors are read by PyTorch's own safe loader; files that also
hold foreign objects (a training configuration, a path, a training framework's state) are read
again with an unpickler that rebuilds tensors and puts an inert stand-in wherever anything else
was.
"""

from __future__ import annotations

import collections
import json
import math
import pickle
import re
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.files import whole_file

# Under which of its entries a training script may have put the weights.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "hmr_state_dict", "hmr",
             "disc_motion_state_dict")  # fmt: skip
_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_weights(
    path: str | Path,
    what: str,
    keep: Callable[[str], bool] = lambda key: True,
    scripted: bool = False,
) -> dict[str, Tensor]:
    """Floating-point tensors of a checkpoint by name, as stored, on the CPU.

    Understands ``.safetensors`` and anything ``torch.save`` wrote, in either format; finds the
    weights whatever lies beside them and strips the prefix ``module.`` of parallel training.
    Large files are mapped, not read.

    Args:
        path: the file.
        what: how an error calls it, with an article: "a MotionCLIP checkpoint".
        keep: which names (without prefix) are wanted.
        scripted: whether it may be a TorchScript archive, as OpenAI released CLIP.

    Raises:
        SemttaError: the file is missing, damaged, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no file '{path}' to read {what} from.")
    mapped = zipfile.is_zipfile(path)
    if mapped and _is_torchscript(path) and not scripted:
        raise SemttaError(f"'{path}' is a TorchScript program, not {what}.")
    try:
        if path.suffix == ".safetensors":
            content = _read_safetensors(path, lambda key: keep(_bare(key)))
        elif mapped and _is_torchscript(path):
            content = torch.jit.load(path, map_location="cpu").state_dict()
        else:
            content = _read_saved(path, mapped)
    except Exception as error:  # a hostile or truncated file can raise anything
        reason = (str(error).split("\n")[0] or type(error).__name__)[:200]
        raise SemttaError(
            f"'{path}' is damaged or not {what} ({reason}); copy or download it again."
        ) from error
    if not isinstance(content, dict):
        raise SemttaError(f"'{path}' holds a {type(content).__name__}, not {what}.")
    tensors = {_bare(key): value for key, value in _unwrapped(content).items()}
    return {
        key: value.detach()
        for key, value in tensors.items()
        if isinstance(value, Tensor) and value.is_floating_point() and keep(key)
    }


def load_strictly(
    module: nn.Module, weights: Mapping[str, Tensor], path: str | Path, what: str
) -> nn.Module:
    """Fill a module with weights that must fit to the last tensor; returns it in eval mode.

    A large model is never held twice: the module may be on the meta device, and its tensors are
    copied (in its own precision) one by one from the mapped file.

    Args:
        module: of the right size; integer buffers, which no computation reads, start at zero.
        weights: of :func:`read_weights`.
        path, what: for the message.

    Raises:
        SemttaError: naming the first tensors that are missing, unknown, of another shape or not
            finite.
    """
    state = module.state_dict()
    wanted = {key: value for key, value in state.items() if value.is_floating_point()}
    problem = _misfit(weights, wanted)
    if problem:
        raise SemttaError(f"'{path}' is not {what}: {problem}; give the official file.")
    filled = {
        key: weights[key].to(value.dtype, copy=True)
        if key in wanted
        else torch.zeros(value.shape, dtype=value.dtype)
        for key, value in state.items()
    }
    module.load_state_dict(filled, assign=True)
    return module.eval()


def _misfit(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What is wrong with weights, empty if nothing is."""
    missing = [key for key in wanted if key not in weights]
    unknown = [key for key in weights if key not in wanted]
    problems = [f"it lacks {_first(missing)}"] * bool(missing)
    problems += [f"it has the unknown tensor {_first(unknown)}"] * bool(unknown)
    if problems:
        return " and ".join(problems)
    for key, value in weights.items():
        if value.shape != wanted[key].shape:
            return f"'{key}' is {tuple(value.shape)}, not {tuple(wanted[key].shape)}"
        if not torch.isfinite(value).all():
            return f"'{key}' is not finite"
    return ""


def _first(keys: list[str]) -> str:
    shown = ", ".join(f"'{key}'" for key in keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"


def _unwrapped(content: Mapping) -> Mapping:
    """The weights inside what a training script saved."""
    for _ in range(3):
        inner = [content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    return content


def _bare(key) -> str:
    return re.sub(r"^(module\.)+", "", str(key))


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _read_safetensors(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """The wanted floating-point tensors of a ``.safetensors`` file.

    The format: 8 bytes little-endian length, that many bytes of JSON, then the data; the JSON
    gives each tensor's dtype, shape and range of bytes. Raises ``ValueError`` if they disagree."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(length))
        tensors = {}
        for key, entry in header.items():
            if key == "__metadata__" or not wanted(key) or entry["dtype"] not in _SAFETENSORS:
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
            tensors[key] = torch.from_numpy(array.astype(np.float32))
    return tensors


class _Inert(dict):
    """What stands in a checkpoint for a foreign object; it keeps nothing and can do nothing."""

    __hash__ = object.__hash__  # may have been a key

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass


class _TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; whatever else a file names becomes inert."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        rebuild = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
        if module == "torch._utils" and name in rebuild:
            return getattr(torch._utils, name)
        if module == "torch" and name.endswith("Storage") and name.isidentifier():
            return getattr(torch, name)
        return _Inert


# What torch.load wants for its pickle_module.
_SAFE_PICKLE = types.SimpleNamespace(
    __name__="semtta.checkpoints",
    Unpickler=_TensorUnpickler,
    load=lambda file, **settings: _TensorUnpickler(file, **settings).load(),
)


def _read_saved(path: Path, mapped: bool):
    """What ``torch.save`` wrote, foreign objects replaced by inert ones."""
    settings = {"map_location": "cpu", "mmap": mapped}
    try:
        return torch.load(path, weights_only=True, **settings)
    except pickle.UnpicklingError:  # it holds more than tensors
        return torch.load(path, weights_only=False, pickle_module=_SAFE_PICKLE, **settings)


def write_checkpoint(path: str | Path, content: dict) -> None:
    """``torch.save``, whole or not at all.

    Raises ``SemttaError`` if the disk does not take it."""
    with whole_file(Path(path)) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # what a full disk is to PyTorch
            raise OSError(str(error).split("\n")[0]) from error
