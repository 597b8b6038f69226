"""A benchmark of a few synthetic tracks; a module of its own, so that worker processes find it."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from semtta.bench.benchmark import Item, Sample
from semtta.bench.options import Options
from semtta.bench.session import run_session
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D, Track
from semtta.skeletons import LIMB12

FRAMES = 6


@dataclass(frozen=True)
class FakeTruth:
    """Distances to a fixed pose; a quarter of the joints counts as occluded."""

    joints: torch.Tensor

    def score(self, motion, body) -> dict:
        joints = body.landmarks(motion.rotmats, motion.betas, LIMB12)
        errors = 1000 * (joints - self.joints).norm(dim=-1)
        hidden = errors[:, ::4]
        return {
            "frames": len(errors), "mpjpe_mm": float(errors.mean()),
            "pa_mpjpe_mm": float(errors.mean()) / 2, "accel_mm": None,
            "occluded": hidden.numel(), "mpjpe_occluded_mm": float(hidden.mean()),
            "pa_mpjpe_occluded_mm": float(hidden.mean()) / 2,
        }  # fmt: skip


@dataclass(frozen=True)
class FakeBenchmark:
    """Six tracks at two levels.

    Args:
        kill_at: whoever reads this item kills its own process, as long as ``marker`` is absent.
        broken: this item cannot be read.
        silent: nobody says what is done.
        diverged: every motion is infinitely far from the truth of this item.
        log: every item that is read is written down here.
    """

    kill_at: str = ""
    broken: str = ""
    silent: bool = False
    diverged: str = ""
    marker: Path | None = None
    always: bool = False
    log: Path | None = None
    name: str = "fake"
    protocol: str = "fake12"
    limits: str = "Nothing here is real."

    def items(self) -> list[Item]:
        return [
            Item(f"walk{i}-{level}", f"walk{i}", level, "walk", f"walk{i}")
            for i in range(3)
            for level in ("clean", "hidden")
        ]

    def load(self, item: Item) -> Sample:
        if self.log is not None:
            with open(self.log, "a") as file:
                file.write(item.name + "\n")
        if item.name == self.broken:
            raise SemttaError(f"'{item.name}' is\nbroken.")
        if item.name == self.kill_at and (self.always or not self.marker.exists()):
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        generator = torch.Generator().manual_seed(len(item.name) + 7 * int(item.sequence[-1]))
        xy = 200 + 100 * torch.rand(FRAMES, 12, 2, generator=generator)
        conf = torch.ones(FRAMES, 12)
        frames = torch.arange(FRAMES)
        boxes = torch.tensor([190.0, 190.0, 310.0, 310.0]).expand(FRAMES, 4)
        track = Track(1, frames, frames / 30, boxes, Keypoints2D(xy, conf, LIMB12))
        joints = torch.rand(FRAMES, 12, 3, generator=generator)
        truth = FakeTruth(joints * torch.nan if item.name == self.diverged else joints)
        camera = Camera(500.0, (250.0, 250.0))
        label = None if self.silent else item.label
        return Sample(item, track, camera, [label] * FRAMES, truth)


def run(output: Path, benchmark: FakeBenchmark, **options):
    """A run of three methods."""
    given = {"methods": ("frozen", "frozen+gauss", "2d"), "overrides": ("optimizer.epochs=1",),
             "workers": 1} | options  # fmt: skip
    return run_session(Options(data="beam", output=output, **given), benchmark=benchmark)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run(folder, FakeBenchmark(kill_at="walk1-hidden", marker=folder / "marker"))
