"""A stretch of motion capture as virtual cameras see it: body, place, camera, truth.

Whatever is drawn at random follows from names alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import roma
import torch
from torch import Tensor

from semtta.bench.gait import legs_over_time
from semtta.bench.metrics import foot_slide, range_of_motion, summarise
from semtta.bench.seeding import named_generator, seed_of
from semtta.body import Body, load_body
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.motion.motion_files import FPS, MotionEntry, read_motion
from semtta.skeletons import BODY27, LIMB12
from semtta.tta.result import Motion

SIZE = (1920, 1080)
_ROOTS = ("left_hip", "right_hip")
_HIPS = LIMB12.indices(_ROOTS)
_ANKLES = LIMB12.indices(["left_ankle", "right_ankle"])
_FARTHEST = 100.0  # metres that nobody walks within one window
_SHAPE = 0.8  # standard deviation of the betas
_FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # y up -> y down


@dataclass(frozen=True)
class Window:
    """A stretch of a clip.

    Args:
        name: unique in the benchmark.
        entry: the clip; ``start``: first frame, ``frames``: how many.
        label: what is done, None if nobody said.
        performer: who moves.
        part: "seen action, new person", "new action" or "".
    """

    name: str
    entry: MotionEntry
    start: int
    frames: int
    label: str | None
    performer: str
    part: str = ""


@dataclass(frozen=True)
class MocapTruth:
    """What a virtual track really was, in camera axes.

    Args:
        rotmats: (T, 24, 3, 3).
        betas: (10,) of the CC0 body.
        joints: (T, 12, 3) metres, LIMB12.
        occluded: (T, 12) joints that the detector did not see.
    """

    rotmats: Tensor
    betas: Tensor
    joints: Tensor
    occluded: Tensor

    def score(self, motion: Motion, body: Body) -> dict[str, float | None]:
        """Errors of the body's own landmarks over every frame."""
        joints = body.landmarks(motion.rotmats, motion.betas, LIMB12)
        placed = joints + motion.trans[:, None]
        numbers = summarise(joints, self.joints, _HIPS, self.occluded, placed=placed)
        numbers["foot_slide_mm"] = foot_slide(placed, self.joints, _ANKLES, FPS)
        numbers |= range_of_motion(joints, self.joints, LIMB12, _ROOTS, FPS)
        return numbers | legs_over_time(joints, self.joints, self.occluded, FPS)


@torch.no_grad()
def scene(window: Window, number: int, cameras: int) -> tuple[Tensor, Tensor, Tensor, Camera]:
    """What camera ``number`` of ``cameras`` has before it.

    Returns: rotations (T, 24, 3, 3) and landmarks (T, 27, 3) in camera axes, metres; betas (10,)
    of the CC0 body; the camera. Raises ``SemttaError`` for motion that is not where it says."""
    rotmats, trans = _motion(window.entry)
    part = slice(window.start, window.start + window.frames)
    rotmats, trans = rotmats[part].clone(), trans[part]
    if len(rotmats) < window.frames:
        raise SemttaError(f"the motion '{window.entry.name}' is shorter than its file says.")
    if float((trans - trans[0]).abs().max()) > _FARTHEST or float(trans.abs().max()) > 1e4:
        raise SemttaError(
            f"the motion '{window.entry.name}' is {float(trans.abs().max()):.0f} m away or goes as "
            "far in seconds; translations must be in metres."
        )
    betas = _SHAPE * torch.randn(10, generator=named_generator(f"shape:{window.entry.name}"))
    points = _body().landmarks(rotmats, betas, BODY27) + trans[:, None]
    points = points - points.mean((0, 1))
    turn, place, camera = _camera(points, window.name, number, cameras)
    rotmats[:, 0] = turn @ rotmats[:, 0]
    return rotmats, points @ turn.T + place, betas, camera


@lru_cache(1)
def _body() -> Body:
    return load_body("cc0")


@lru_cache(4)
def _motion(entry: MotionEntry) -> tuple[Tensor, Tensor]:
    clip = read_motion(entry)
    return torch.from_numpy(clip.rotmats), torch.from_numpy(clip.trans)


def _camera(points: Tensor, name: str, number: int, cameras: int) -> tuple[Tensor, Tensor, Camera]:
    """Where a virtual camera stands: rotation world -> camera, position of the scene's middle in
    it, intrinsics. Cameras stand around the person; who walks far is seen from farther away."""
    first = 2 * math.pi * _uniform(f"azimuth:{name}", 0, 1)
    draw = f"camera:{name}:{number}"
    azimuth = first + 2 * math.pi * (number + _uniform(f"{draw}:azimuth", -0.15, 0.15)) / cameras
    pitch = math.radians(_uniform(f"{draw}:pitch", -5, 25))
    roll = math.radians(_uniform(f"{draw}:roll", -8, 8))
    distance = 2.5 * (6 / 2.5) ** _uniform(f"{draw}:distance", 0, 1)
    focal = _uniform(f"{draw}:focal", 1200, 1900)
    aside = [_uniform(f"{draw}:{axis}", -0.06, 0.06) for axis in "xy"]
    turn = roma.rotvec_to_rotmat(torch.tensor([[0, 0, roll], [pitch, 0, 0], [0, azimuth, 0]]))
    turn = turn[0] @ turn[1] @ _FLIP @ turn[2]
    camera = Camera(focal, ((SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2))
    seen, half = points @ turn.T, torch.tensor(SIZE) / 2 / focal
    while True:
        place = torch.tensor([aside[0] * distance, aside[1] * distance, distance])
        at = seen + place
        inside = at[..., :2].abs() < 0.97 * half * at[..., 2:]
        if (bool(inside.all()) and float(at[..., 2].min()) > 1.2) or distance > 20:
            return turn, place, camera
        distance *= 1.05


def _uniform(name: str, low: float, high: float) -> float:
    return low + (high - low) * (seed_of(name) / 2**48)
