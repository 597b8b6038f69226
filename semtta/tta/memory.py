"""Will it fit? An estimate before the run, with the setting that makes it fit."""

from __future__ import annotations

import os

import torch
from torch import nn

from semtta.config import Config


def memory_note(config: Config, model: nn.Module, frame_count: int, fps: float) -> str | None:
    """One sentence if an adaptation would not fit into this machine's memory, else None.

    Args:
        model: regressor; ``activation_mb`` is what one frame holds for the backward pass (fp32).
        frame_count: of the track.
        fps: of the video; a segment lasts two seconds of it."""
    per_frame = getattr(model, "activation_mb", 0.0)
    if not per_frame or config.strategy == "frozen":
        return None
    batch = min(frame_count, round(config.optimizer.batch_segments * 2 * fps))
    held = min(batch, config.optimizer.chunk or batch)
    trained = sum(p.numel() for p in model.parameter_groups(config.model.trainable))
    weights = sum(p.numel() for p in model.parameters())
    share = 1.0 if config.model.trainable in ("all", "norm") else 0.2
    fixed = (weights * 4 + trained * 12) / 2**20  # weights; gradient and two moments of Adam
    need, room = fixed + held * per_frame * share, available_mb()
    if need <= 0.8 * room:
        return None
    fitting = int((0.8 * room - fixed) / (per_frame * share))
    advice = f"optimizer.chunk={fitting}" if fitting >= 1 else "model.trainable=head"
    return (
        f"this run would hold about {need / 1024:.0f} GiB of {room / 1024:.0f} GiB that are free; "
        f"{advice} makes it fit (same result, one more forward pass)."
    )


def available_mb() -> float:
    """Memory that is free now, MiB: of the GPU if there is one, else of the machine."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 2**20
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":") for line in file)
        return float(fields["MemAvailable"].split()[0]) / 1024
    except (OSError, KeyError, ValueError):
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**20
        return pages * 4096 / 2**20
