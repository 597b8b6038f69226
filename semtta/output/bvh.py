"""BVH: a skeleton in SMPL's T-pose and its rotations, for Blender, Maya, MotionBuilder, Unreal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from semtta.body import Body
from semtta.geometry.euler import euler_angles
from semtta.output.axes import y_up
from semtta.output.evenly import evenly
from semtta.output.load import SavedTrack
from semtta.skeletons import SMPL24, SMPL_PARENTS

CENTIMETRES = 100.0  # in a metre; the unit that most programs take BVH files to be in
# Order of the three rotations. The middle one is that in which the joint turns least, far from the
# right angle at which Euler angles fail: not a knee's bend (x), not a person's heading (y).
_ROOT, _LEG, _OTHER = "YXZ", "ZYX", "ZXY"


def write_bvh(track: SavedTrack, path: Path, body: Body) -> None:
    """The adapted motion: y up, centimetres, the video's rate, gaps bridged, one shape (median)."""
    even = evenly(track)
    motion = even.motion
    betas = motion.betas.median(0).values
    upright = torch.eye(3).expand(24, 3, 3)
    rest = body.joints(upright, betas)
    pelvis = body.joints(upright.expand(len(motion.betas), 24, 3, 3), motion.betas)[:, 0]
    axes = y_up(track.world)
    root, rotmats = axes.points(motion.trans + pelvis), axes.rotmats(motion.rotmats)
    columns = [CENTIMETRES * root.double().numpy()]
    for joint in _depth_first(0):
        angles = euler_angles(rotmats[:, joint].numpy(), _order(joint))
        columns.append(np.rad2deg(angles))
    values = np.concatenate(columns, 1)
    row = " ".join(["%.6f"] * values.shape[1]) + "\n"
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write("HIERARCHY\n" + "".join(_hierarchy(0, CENTIMETRES * rest.double().numpy())))
        file.write(f"MOTION\nFrames: {len(values)}\nFrame Time: {1 / even.rate:.10f}\n")
        file.writelines(row % tuple(frame) for frame in values.tolist())


def _order(joint: int) -> str:
    if joint == 0:
        return _ROOT
    name = SMPL24.joints[joint]
    return _LEG if name.endswith(("hip", "knee", "ankle", "foot")) else _OTHER


def _children(joint: int) -> list[int]:
    return [child for child, parent in enumerate(SMPL_PARENTS) if parent == joint]


def _depth_first(joint: int) -> list[int]:
    return [joint, *(below for child in _children(joint) for below in _depth_first(child))]


def _hierarchy(joint: int, rest: np.ndarray, depth: int = 0) -> list[str]:
    """Lines of a joint and those below it; the bone behind the last joint of a limb is half as
    long as the one before it."""
    tab, parent = "\t" * depth, SMPL_PARENTS[joint]
    offset = rest[joint] - rest[parent] if depth else np.zeros(3)
    channels = [f"{axis}rotation" for axis in _order(joint)]
    if not depth:
        channels = ["Xposition", "Yposition", "Zposition", *channels]
    lines = [
        f"{tab}{'JOINT' if depth else 'ROOT'} {SMPL24.joints[joint]}\n{tab}{{\n",
        f"{tab}\tOFFSET {_numbers(offset)}\n",
        f"{tab}\tCHANNELS {len(channels)} {' '.join(channels)}\n",
    ]
    for child in _children(joint):
        lines += _hierarchy(child, rest, depth + 1)
    if not _children(joint):
        lines.append(f"{tab}\tEnd Site\n{tab}\t{{\n{tab}\t\tOFFSET {_numbers(offset / 2)}\n"
                     f"{tab}\t}}\n")  # fmt: skip
    return [*lines, f"{tab}}}\n"]


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values)
