"""Device, seeds, learning-rate schedule and progress: nothing here knows the method."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from semtta.errors import SemttaError

# Called as progress(stage, done, total, values): total may be None, values are named numbers.
# The stage "note" carries a sentence for the user in values["text"].
Progress = Callable[[str, int, "int | None", dict], None]


def silent(stage: str, done: int, total: int | None, values: dict) -> None:
    """The progress callback that shows nothing."""


def as_notes(progress: Progress) -> Callable[[str], None]:
    """What tells a progress callback sentences, as notes."""

    def announce(text: str) -> None:
        progress("note", 0, None, {"text": text})

    return announce


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` = CUDA, else MPS, else CPU; anything else must exist on this machine."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SemttaError(f"device '{name}' cannot be used here: {reason}") from None
    return device


def make_generator(seed: int) -> torch.Generator:
    """The one source of randomness of a run; on the CPU so that every device draws the same."""
    return torch.Generator().manual_seed(int(seed))


def shuffled_batches(
    count: int, size: int, steps: int | None, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Shuffled passes over ``count`` things, in batches of ``size`` (the last of a pass smaller).

    Args:
        steps: batches in all, over as many passes as it takes; None = one pass.
        generator: shuffles each pass when it begins.
    Yields: (n,) indices."""
    left = -(-count // size) if steps is None else steps
    while left > 0:
        for batch in torch.randperm(count, generator=generator).split(size)[:left]:
            yield batch
            left -= 1


def cosine_lr(epoch: int, epochs: int, lr: float, min_lr: float) -> float:
    """Cosine per epoch from ``lr`` in the first to ``min_lr`` after the last, no warm-up."""
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * epoch / max(1, epochs)))


def resolve_precision(precision: str, device: torch.device, images: bool) -> str:
    """``auto`` = bf16 for image networks where the processor computes in it, else fp32."""
    if precision != "auto":
        return precision
    if not images:
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()
    return "bf16" if onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"


def autocast(device: torch.device, precision: str):
    """Mixed precision for the network's forward pass; fp32 is the reference."""
    enabled = precision == "bf16" and device.type in ("cpu", "cuda")
    kind = device.type if enabled else "cpu"
    # Weights change between passes: a cache would outlive them inside a caller's own autocast.
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)


def threaded_map(function: Callable, items: Iterable, workers: int) -> Iterator:
    """``map`` in order on a few threads, reading ahead by no more than they need.

    For work that leaves the interpreter (networks, OpenCV): frames in parallel use two cores far
    better than one network on two threads, and every result stays that of one thread."""
    threads = (torch.get_num_threads(),)  # OpenMP gives a new thread as many as there are cores
    with ThreadPoolExecutor(max(1, workers), "map", torch.set_num_threads, threads) as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def undisturbed(device: torch.device, seed: int) -> Iterator[None]:
    """The state of PyTorch that a run needs, whatever its caller's is, which is put back.

    Gradients are on, ``autocast`` and ``inference_mode`` off, new tensors are float32 on the CPU,
    the global generators are seeded. That state belongs to the whole process, so runs of several
    threads come one after the other; within a thread the block may be entered again."""
    devices = [device] if device.type == "cuda" else []
    kinds = {"cpu", device.type} & {"cpu", "cuda"}
    dtype = torch.get_default_dtype()
    with ExitStack() as state:
        state.enter_context(_ONE_AT_A_TIME)
        state.enter_context(torch.inference_mode(False))
        state.enter_context(torch.enable_grad())
        for kind in kinds:
            state.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # the context costs time in every operation
            state.enter_context(torch.device("cpu"))
        state.enter_context(torch.random.fork_rng(devices))
        state.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield


def check_trainable(*modules: object) -> None:
    """Raise ``SemttaError`` for networks that PyTorch will never let learn, or let others learn
    through them."""
    for module in modules:
        if isinstance(module, nn.Module) and any(
            x.is_inference() for x in (*module.parameters(), *module.buffers())
        ):
            raise SemttaError(f"{type(module).__name__} was made inside torch.inference_mode() and "
                              "cannot take part in learning; make it outside.")  # fmt: skip


@contextmanager
def adapting(module: nn.Module, parameters: Sequence[nn.Parameter]):
    """Only these parameters learn; afterwards the module is as it was.

    Weights, buffers, mode and flags are put back, so that videos never influence each other. Only
    what may change is copied: a frozen backbone is neither saved nor given gradients."""
    chosen = {id(parameter) for parameter in parameters}
    saved = [(x, x.detach().clone()) for x in (*parameters, *module.buffers())]
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    training = module.training
    for parameter, _ in flags:
        parameter.requires_grad_(id(parameter) in chosen)
    try:
        yield
    finally:
        with torch.no_grad():
            for x, value in saved:
                x.copy_(value)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
            parameter.grad = None
        module.train(training)
