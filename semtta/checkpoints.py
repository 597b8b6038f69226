"""Other people's checkpoints: the weights found and fitted to the last tensor, or one sentence.

How a file is read is known by ``tensor_files``; here it is decided which of its tensors are meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from semtta.errors import SemttaError, announce
from semtta.files import whole_file
from semtta.tensor_files import read_tensors

# Under which of its entries a training script may have put the weights, the likeliest first.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "hmr_state_dict", "hmr",
             "disc_motion_state_dict", "state_dict_model", "model_state", "net", "network",
             "generator", "gen_state_dict", "params", "weights", "module", "ema", "model_ema",
             "ema_state_dict", "state_dict_ema", "params_ema")  # fmt: skip
_WRAPPED = 4  # dictionaries inside dictionaries
# What parallel training, compilation and checkpointing put before the names of what they wrap.
_WRAPS = r"(?:(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+"
_PREFIX, _INNER = re.compile(f"^{_WRAPS}"), re.compile(rf"(?:^|(?<=\.)){_WRAPS}")
_AVERAGE = re.compile(r"(?:^|[._])(?:ema|teacher|target|averaged|swa)(?:$|[._])", re.I)
# What training leaves beside a network: its adversary, losses, body model.
_HARMLESS = re.compile(
    r"^(?:discriminator|disc|adversary|criterion|loss\w*|\w+_loss|losses|optimizer\w*|smplx?|smplx?_(?:layer|model)|"
    r"body_model|initialized|pixel_mean|pixel_std)(?:\.|$)|(?:^|\.)num_batches_tracked$"
)
_Module = TypeVar("_Module", bound=nn.Module)
_MOST_NUMBERS = 1 << 27  # that a file may claim without having them


def read_weights(
    path: str | Path,
    what: str,
    keep: Callable[[str], bool] = lambda key: True,
    scripted: bool = False,
    known: str | tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Floating-point tensors of a checkpoint by name, as stored, on the CPU.

    Finds the weights whatever lies beside them, and strips the prefix that all of them share
    (``module.``, ``_orig_mod.``, ``model.``, ...): what stands before the name of a known tensor.
    What lies outside of that prefix is left out and announced. Large files are mapped, not read.

    Args:
        path: the file.
        what: how an error calls it, with an article: "a MotionCLIP checkpoint".
        keep: which names (without prefix) are wanted.
        scripted: whether it may be a TorchScript archive, as OpenAI released CLIP.
        known: name of a tensor that every such network has, or names of which it has one.

    Raises:
        SemttaError: the file is missing, damaged, something else, or holds two such networks.
    """
    content = read_tensors(path, what, scripted)
    if not isinstance(content, dict):
        raise SemttaError(f"'{path}' holds a {type(content).__name__}, not {what}.")
    names = (known,) if isinstance(known, str) else known
    found, prefix = _find(content, names, path, what)
    weights = {key.removeprefix(prefix): v for key, v in found.items() if key.startswith(prefix)}
    if not prefix:
        weights = {_PREFIX.sub("", key): value for key, value in weights.items()}
    weights = {key: value for key, value in weights.items() if keep(key)}
    beside = [key for key in found if not key.startswith(prefix)]
    beside += [key for key in weights if _HARMLESS.search(key)]
    if beside:
        parts = dict.fromkeys(key.split(".")[0] for key in beside)
        announce(f"'{path}': {_first(list(parts))} beside the network is not read.")
    return {key: v.detach() for key, v in weights.items() if not _HARMLESS.search(key)}


def load_strictly(
    module: _Module, weights: Mapping[str, Tensor], path: str | Path, what: str
) -> _Module:
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
    check_fit(module, weights, path, what)
    state = module.state_dict()
    filled = {
        key: weights[key].to(value.dtype, copy=True)
        if value.is_floating_point()
        else torch.zeros(value.shape, dtype=value.dtype)
        for key, value in state.items()
    }
    module.load_state_dict(filled, assign=True)
    return module.eval()


def check_fit(
    module: nn.Module, weights: Mapping[str, Tensor], path: str | Path, what: str
) -> None:
    """Raise what :func:`load_strictly` would raise; nothing is copied."""
    state = module.state_dict()
    wanted = {key: value for key, value in state.items() if value.is_floating_point()}
    problem = _misfit(weights, wanted) or _empty_claim(weights, path) or _not_finite(weights)
    if problem:
        raise SemttaError(f"'{path}' is not {what}: {problem}; give the official file.")


def tensors(content) -> dict[str, Tensor]:
    """The floating-point tensors of a dictionary in a file; raises ``ValueError`` if it is none."""
    if not isinstance(content, dict):
        raise ValueError("its weights are no dictionary")
    return {
        str(key): value
        for key, value in content.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


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
    return ""


def _not_finite(weights: Mapping[str, Tensor]) -> str:
    return next((f"'{key}' is not finite" for key, value in weights.items()
                 if not torch.isfinite(value).all()), "")  # fmt: skip


def _empty_claim(weights: Mapping[str, Tensor], path: str | Path) -> str:
    """A small file whose tensors repeat one number would fill the memory when they are copied."""
    claimed = sum(value.numel() for value in weights.values())
    if claimed > max(_MOST_NUMBERS, Path(path).stat().st_size):
        return f"it claims {claimed} weights, which it does not have"
    return ""


def _first(keys: list[str]) -> str:
    shown = ", ".join(f"'{key}'" for key in keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"


def _find(
    content: Mapping, known: tuple[str, ...], path: str | Path, what: str
) -> tuple[dict[str, Tensor], str]:
    """The dictionary that holds the weights, its floating-point tensors, and their prefix."""
    found = []
    for wrapper, container in _containers(content):
        weights = _plain_names(tensors(container))
        prefixes = {
            key[: len(key) - len(name)]
            for name in known
            for key in weights
            if key == name or key.endswith(f".{name}")
        }
        found += [(f"{wrapper}{prefix}", weights, prefix) for prefix in prefixes]
    if not found:
        return _plain_names(tensors(_unwrapped(content))), ""
    found = [f for f in found if not _AVERAGE.search(f[0])] or found
    bare = [f for f in found if not _PREFIX.sub("", f[2])]
    found = bare or found
    if len(found) > 1:
        places = [place.rstrip(".") for place, _, _ in found]
        raise SemttaError(f"'{path}' holds more than one network ({_first(places)}) that could be "
                          f"{what}; save the one that is meant by itself.")  # fmt: skip
    return found[0][1:]


def _plain_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without wrappers inside the names ("backbone._orig_mod.blocks"): a part may be wrapped alone.

    Unchanged if two tensors would have one name."""
    names = {key: _INNER.sub("", key) for key in weights}
    if len(set(names.values())) < len(names):
        return weights
    return {names[key]: value for key, value in weights.items()}


def _containers(content: Mapping) -> Iterator:
    """A dictionary and those inside it, each once, with the names that first lead to it."""
    level, seen = [("", content)], {id(content)}
    for depth in range(_WRAPPED + 1):
        yield from level
        inner: list[tuple[str, Mapping]] = []
        for wrapper, container in level if depth < _WRAPPED else ():
            for key, value in container.items():
                named = isinstance(key, str) and len(key) < 100
                if named and isinstance(value, dict) and id(value) not in seen:
                    seen.add(id(value))
                    inner.append((f"{wrapper}{key}.", value))
        level = inner


def _unwrapped(content: Mapping) -> Mapping:
    """The weights inside what a training script saved."""
    for _ in range(_WRAPPED):
        inner = [content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    return content


def write_checkpoint(path: str | Path, content: dict) -> None:
    """``torch.save``, whole or not at all.

    Raises ``SemttaError`` if the disk does not take it."""
    with whole_file(Path(path)) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # what a full disk is to PyTorch
            raise OSError(str(error).split("\n")[0]) from error
