"""In which pieces the frames of a step pass the network, and how many threads share them.

On the CPU an image network takes few frames at a time, and every thread has a piece of its own:
none waits for another within an operation, as those that share one do (on two threads, of which
one's core was busy, bf16 convolutions fell behind fp32). Gradients are added in the order of the
pieces, which are the same for any number of threads, and so is the result, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from semtta.config import Config
from semtta.hmr.base import HumanMeshRegressor
from semtta.threads import allowed_threads
from semtta.tta.memory import fitting_threads

_FRAMES = 8  # a ResNet-50 takes a quarter more time for each of 4 frames, 5 % less for each of 16


@dataclass(frozen=True)
class Pieces:
    """
    Args:
        size: frames of a piece; None = all of a step.
        workers: threads that work on pieces, each alone on one.
    """

    size: int | None = None
    workers: int = 1


def pieces_for(model: HumanMeshRegressor, config: Config, device: torch.device) -> Pieces:
    """What an adaptation's steps are cut into, with as many workers as threads are allowed and
    memory is there for."""
    chunk = config.optimizer.chunk
    if device.type != "cpu" or model.crop.reads != "image" or in_one_piece(model, config):
        return Pieces(chunk)
    size = chunk or _FRAMES
    threads = allowed_threads() if getattr(model, "parallel", False) else 1
    return Pieces(size, fitting_threads(config, model, size, threads))


def in_one_piece(model: HumanMeshRegressor, config: Config) -> bool:
    """Whether an image network has to see a step's frames at once: batch statistics are of all of
    them, and dropout draws from the one generator of the process."""
    return model.crop.reads == "image" and config.optimizer.train_mode
