"""Reading other people's checkpoints: safely, strictly, and with a sentence when they do not fit.

Nothing in a file is ever run. Tensors are read by PyTorch's own safe loader; files that also hold
foreign objects (a training configuration, a path, a training framework's state) are read again
with an unpickler that puts an inert stand-in where such an object was and refuses the rest.
"""

from __future__ import annotations

import collections
import pickle
import types
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semtta.errors import SemttaError


class _Inert(dict):
    """What stands in a checkpoint for an object of a foreign class; it can do nothing."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass


# Whose objects training scripts leave in checkpoints; none of them is needed.
_FOREIGN = {
    "argparse", "collections", "datetime", "enum", "hmr2", "hydra", "lightning",
    "lightning_fabric", "omegaconf", "pathlib", "pytorch_lightning", "torchmetrics", "typing",
    "yacs",
}  # fmt: skip
_ALLOWED = {
    ("_codecs", "encode"): lambda text, encoding="latin1": text.encode("latin1"),
    ("builtins", "bytearray"): bytearray,
    ("builtins", "dict"): dict,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
}
_NUMPY_HELPERS = {
    "_reconstruct": np.empty(0).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
    "_frombuffer": np.empty(1).__reduce_ex__(5)[0],
}


class _CheckpointUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        module = module.replace("__builtin__", "builtins")
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module == "torch" and name.endswith("Storage") and name.isidentifier():
            return getattr(torch, name)
        if module.startswith(("numpy.core", "numpy._core")) and name in _NUMPY_HELPERS:
            return _NUMPY_HELPERS[name]
        if module.split(".")[0] in _FOREIGN:
            return _Inert
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no checkpoint needs")


def _load(file, **settings):
    return _CheckpointUnpickler(file, **settings).load()


# What torch.load wants for its pickle_module.
_SAFE_PICKLE = types.SimpleNamespace(
    __name__="semtta.hmr.checkpoints", Unpickler=_CheckpointUnpickler, load=_load
)


def read_checkpoint(path: str | Path, what: str) -> dict:
    """Content of a PyTorch checkpoint on the CPU, foreign objects replaced by inert ones.

    Args:
        path: file of ``torch.save``.
        what: kind of checkpoint, for messages.

    Raises:
        SemttaError: the file is missing, damaged, no dictionary, or asks for code to be run.
    """
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"{what} checkpoint '{path}' does not exist.")
    mapped = zipfile.is_zipfile(path)
    if mapped and _is_torchscript(path):
        raise SemttaError(f"'{path}' is a TorchScript program, not a {what} checkpoint.")
    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except pickle.UnpicklingError:  # it holds more than tensors
            content = torch.load(
                path,
                map_location="cpu",
                weights_only=False,
                mmap=mapped,
                pickle_module=_SAFE_PICKLE,
            )
    except Exception as error:  # a hostile or truncated file can raise anything
        reason = str(error).split("\n")[0][:200]
        raise SemttaError(
            f"{what} checkpoint '{path}' cannot be read ({reason}); download it again."
        ) from error
    if not isinstance(content, dict):
        raise SemttaError(
            f"'{path}' holds a {type(content).__name__}, not a {what} checkpoint's dictionary."
        )
    return content


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def state_dict_of(content: Mapping, names: Iterable[str]) -> dict[str, Tensor]:
    """The weights inside a checkpoint, whatever was saved beside them.

    Args:
        content: of :func:`read_checkpoint`.
        names: entries under which the weights may lie, the first that does wins; if none does,
            the checkpoint itself is taken for the weights.
    Returns: tensors by key without the wrapper's prefix ``module.``; other entries are dropped."""
    for name in names:
        if isinstance(content.get(name), Mapping):
            content = content[name]
            break
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    while tensors and all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def check_weights(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, what: str
) -> None:
    """Same keys, same shapes, finite numbers.

    Args:
        weights: what the file holds.
        expected: the model's ``state_dict``, possibly on the meta device.
        path, what: for the message.

    Raises:
        SemttaError: naming the first keys that are missing, unknown or of another shape.
    """

    def fail(problem: str):
        raise SemttaError(f"'{path}' is not a {what} checkpoint: {problem}.")

    missing = [key for key in expected if key not in weights]
    unknown = [key for key in weights if key not in expected]
    problems = [f"it lacks {_first(missing)}"] * bool(missing)
    problems += [f"it has the unknown {_first(unknown)}"] * bool(unknown)
    if problems:
        fail(" and ".join(problems))
    for key, value in weights.items():
        if value.shape != expected[key].shape:
            found, wanted = tuple(value.shape), tuple(expected[key].shape)
            fail(f"'{key}' has shape {found}, expected {wanted}")
        if not torch.isfinite(value).all():
            fail(f"'{key}' holds NaN or infinite numbers")


def _first(keys: list[str]) -> str:
    shown = ", ".join(f"'{key}'" for key in keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more keys"


def fill(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Give a model that was built on the meta device its weights, in float32 and eval mode.

    A large model is never held twice: its tensors are copied one by one from the mapped file."""
    dtypes = {key: value.dtype for key, value in model.state_dict().items()}
    copies = {key: weights[key].detach().to(dtypes[key], copy=True) for key in dtypes}
    model.load_state_dict(copies, assign=True)
    return model.requires_grad_(True).eval()


def read_mean_params(path: str | Path) -> dict[str, Tensor]:
    """SPIN's ``smpl_mean_params.npz`` as the buffers that start the iterative regressor.

    Returns: init_pose (1, 144), init_shape (1, 10), init_cam (1, 3), numbers as in the file."""
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no file of mean parameters '{path}'.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: torch.from_numpy(file[key]).float() for key in ("pose", "shape", "cam")}
    except Exception as error:  # zipfile, zlib and numpy each raise their own kinds
        raise SemttaError(
            f"'{path}' is not SPIN's smpl_mean_params.npz ({error}); it needs pose, shape, cam."
        ) from error
    for key, count in (("pose", 144), ("shape", 10), ("cam", 3)):
        if arrays[key].numel() != count or not torch.isfinite(arrays[key]).all():
            raise SemttaError(f"'{path}': '{key}' must hold {count} finite numbers.")
    return {f"init_{key}": value.reshape(1, -1) for key, value in arrays.items()}
