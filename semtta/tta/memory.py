"""Will it fit? An estimate before the run, with the setting that makes it fit."""

from __future__ import annotations

import os

import torch

from semtta.config import Config
from semtta.engine import resolve_precision
from semtta.hmr.base import HumanMeshRegressor

_USABLE = 0.8  # of what is free
_WORKER = 2.2  # memory of a thread beside another, in that of its activations: measured
_BF16 = 0.6  # of fp32's activations, measured


def memory_note(
    config: Config, model: HumanMeshRegressor, frame_count: int, fps: float
) -> str | None:
    """One sentence if an adaptation would not fit into this machine's memory, else None.

    Counted are weights, gradients and moments of the optimiser, the activations of the frames held
    at a time, and what is kept of every frame: the result of the layers that adaptation leaves
    alone, or its crop.

    Args:
        model: regressor; its ``frame_mb`` says what a frame holds.
        frame_count: of the track; with ``window.frames`` one window of it is there at a time.
        fps: of the video; a segment lasts two seconds of it."""
    frame_count = min(frame_count, config.window.frames or frame_count)
    scope = config.model.trainable
    if scope not in getattr(model, "frame_mb", {}) or config.strategy == "frozen":
        return None
    device = next(model.parameters()).device
    per_frame, kept = _of_a_frame(config, model)
    if not kept and device.type == "cpu":
        kept = 3 * model.crop.size**2 * 2 / 2**20  # half-precision crops; a GPU has them sent
    optimizer = config.optimizer
    if config.strategy == "semtta":
        batch = round(optimizer.batch_segments * 2 * fps)
    else:
        batch = optimizer.batch_frames
    batch = min(frame_count, batch)
    held = min(batch, optimizer.chunk or batch)
    trained = sum(p.numel() for p in model.parameter_groups(scope))
    weights = sum(p.numel() for p in model.parameters())
    network = (weights * 4 + trained * 12) / 2**20  # weights; gradient, two moments of Adam
    fixed = network + frame_count * kept
    need, room = fixed + held * per_frame, available_mb(device)
    if need <= _USABLE * room:
        return None
    fitting = int((_USABLE * room - fixed) / per_frame)
    problem = f"this run would hold about {need / 1024:.0f} GiB of {room / 1024:.0f} GiB free; "
    if fitting >= 1 and optimizer.train_mode:
        if config.strategy != "semtta":
            return f"{problem}optimizer.batch_frames={fitting} makes it fit."
        segments = int(fitting / (2 * fps))
        if segments >= 1:
            return f"{problem}optimizer.batch_segments={segments} makes it fit."
        return f"{problem}optimizer.train_mode=false with optimizer.chunk={fitting} makes it fit."
    if fitting >= 1:
        return f"{problem}optimizer.chunk={fitting} makes it fit (same result)."
    rest = _USABLE * room - network - held * per_frame
    if kept and (frames := int(rest / kept)) >= 3 * config.window.overlap:
        return f"{problem}window.frames={frames} makes it fit, in windows one after the other."
    if scope != "head":
        return f"{problem}model.trainable=head needs the least."
    return f"{problem}a shorter video or more memory is needed."


def fitting_threads(config: Config, model: HumanMeshRegressor, frames: int, threads: int) -> int:
    """How many of some threads may each hold the activations of ``frames`` and a gradient, as far
    as the network says what a frame holds; at least one.

    Args:
        frames: that a thread works on at a time."""
    per_frame, _ = _of_a_frame(config, model)
    trained = sum(p.numel() for p in model.parameter_groups(config.model.trainable)) * 4 / 2**20
    # the step's gradient, two moments of Adam, two workers' gradients that wait to be added
    room = _USABLE * available_mb(next(model.parameters()).device) - 5 * trained
    return max(1, min(threads, int(room / (_WORKER * frames * per_frame + trained))))


def _of_a_frame(config: Config, model: HumanMeshRegressor) -> tuple[float, float]:
    """MiB of a frame's activations, and of what is kept of each, in the precision of a run; zeros
    of a network that does not say."""
    device = next(model.parameters()).device
    half = resolve_precision(config.optimizer.precision, device, images=True) == "bf16"
    known = getattr(model, "frame_mb", {}).get(config.model.trainable, (0.0, 0.0))
    held, kept = (_BF16 * size if half else size for size in known)
    return held, kept


def available_mb(device: torch.device) -> float:
    """Memory that is free now, MiB: of the GPU if that is the device, else of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**20
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":") for line in file)
        return float(fields["MemAvailable"].split()[0]) / 1024
    except (OSError, KeyError, ValueError):
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**20
        return pages * 4096 / 2**20
