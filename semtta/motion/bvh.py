"""Motion from BVH files of people, with the joint names of any usual tool.

Each source joint's *global* rotation relative to the file's zero pose is carried over; bones of
arms and legs that point elsewhere in the zero pose than in SMPL's T-pose (arms down, legs
splayed) are corrected by the smallest turn between the two directions.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from semtta.body import load_body
from semtta.errors import SemttaError, announce
from semtta.motion.bvh_names import ancestors, match_joints, spine_joints
from semtta.motion.bvh_pose import Posed, leg_length, smpl_rotations
from semtta.reading import MEBI, check_file, read_text, reading
from semtta.skeletons import SMPL24

_AXES = {"xrotation": "X", "yrotation": "Y", "zrotation": "Z"}
_PLACES = ("xposition", "yposition", "zposition")
_JUMP = 25.0  # degrees between the first two frames: the first one is a T-pose, not motion
_LIMIT = 128 * MEBI
_MOST_NUMBERS, _MOST_FRAMES = 8_000_000, 60_000  # half an hour at 30 frames a second
_MOST_JOINTS = 10_000


@dataclass(frozen=True)
class _Joint:
    """One joint: its parent's place in the list (-1 = root), offset, channels in file order."""

    name: str
    parent: int
    offset: tuple[float, float, float]
    channels: tuple[str, ...]


def bvh_length(path: Path) -> tuple[int, float]:
    """Number of frames and frame rate; reads the head of the file only."""
    check_file(path, "BVH file", _LIMIT)
    frames = None
    with reading(path, "BVH file"), open(path, encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            if match := re.match(r"\s*Frames\s*:\s*(\d{1,9})\s*$", line, re.I):
                frames = int(match.group(1))
            elif match := re.match(r"\s*Frame\s+Time\s*:\s*([\d.,eE+-]+)", line, re.I):
                step = float(match.group(1).replace(",", "."))
                if not 1e-3 <= step <= 1:
                    raise SemttaError(f"'{path}' has the frame time {match.group(1)}; the seconds "
                                      "of one frame, from 0.001 to 1, are needed.")  # fmt: skip
                if frames:
                    return frames, 1 / step
                break
    raise SemttaError(f"'{path}' is not a BVH file with frames and a frame time.")


def read_bvh(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotations (N, 24, 3, 3) and pelvis (N, 3) metres in SMPL's convention, frame rate.

    Raises ``SemttaError`` for damaged files and skeletons whose joints have other names."""
    path = Path(path)
    joints, values, fps = _parse(path)
    with reading(path, "BVH file"):
        motion = _posed(path, joints, values)
        body = load_body("cc0").joint_template
        rotmats, turn = smpl_rotations(path, motion, body)
        scale = leg_length(body, SMPL24.index)
        scale /= max(leg_length(motion.rest, motion.places.get), 1e-6)
        trans = motion.between(motion.posed, "pelvis") @ turn.T * scale
        first = 1 if len(rotmats) > 1 and _jumps(rotmats) else 0
        return rotmats[first:].float().numpy(), trans[first:].float().numpy(), fps


def _parse(path: Path) -> tuple[list[_Joint], np.ndarray, float]:
    """Hierarchy, values (N, C) and frame rate."""
    frames, fps = bvh_length(path)
    text = read_text(path, "BVH file", _LIMIT, errors="replace")
    head, *rest = re.split(r"^\s*MOTION\s*$", text, maxsplit=1, flags=re.M | re.I)
    joints = _hierarchy(path, head)
    motion = re.split(r"Frame\s+Time\s*:\s*\S+", "".join(rest), maxsplit=1, flags=re.I)[-1]
    columns = sum(len(joint.channels) for joint in joints)
    if frames * columns > _MOST_NUMBERS or frames > _MOST_FRAMES:
        raise SemttaError(f"'{path}' announces {frames} frames of {columns} numbers; more than "
                          f"{_MOST_FRAMES} frames or {_MOST_NUMBERS} numbers are not read: cut "
                          "it.")  # fmt: skip
    numbers = _numbers(motion)
    there = len(numbers)
    if columns and there > frames * columns and there % columns == 0:
        announce(f"'{path}' has {there // columns} rows for the {frames} frames that it announces; "
                 "the others are not read.")  # fmt: skip
        numbers = numbers[: frames * columns]
    if not columns or len(numbers) != frames * columns or not np.isfinite(numbers).all():
        raise SemttaError(f"'{path}' is cut off or damaged: it announces {frames} frames of "
                          f"{columns} numbers and has {there} numbers.")  # fmt: skip
    return joints, numbers.reshape(frames, columns), fps


def _numbers(text: str) -> np.ndarray:
    """The numbers of a text, a NaN if anything else is in it; a comma may be a decimal point."""
    if "," in text:
        text = text.replace(",", " " if "." in text else ".")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.fromstring(text, sep=" ")
        except (ValueError, DeprecationWarning):
            return np.array([np.nan])


def _hierarchy(path: Path, head: str) -> list[_Joint]:
    tokens = head.split()
    joints: list[_Joint] = []
    stack: list[int] = []
    i = tokens.index("HIERARCHY") + 1 if "HIERARCHY" in tokens else len(tokens)
    try:
        while i < len(tokens):
            word = tokens[i].upper()
            if word in ("ROOT", "JOINT"):
                brace = tokens.index("{", i)
                joint, i = _joint(tokens, i, brace, stack[-1] if stack else -1)
                joints.append(joint)
                stack.append(len(joints) - 1)
            elif word == "END":
                i = tokens.index("}", i) + 1
            elif word == "}":
                stack.pop()
                i += 1
            else:
                raise ValueError(f"unexpected '{tokens[i][:60]}'")
    except (ValueError, IndexError) as error:
        raise SemttaError(f"'{path}' has a damaged BVH hierarchy ({error}).") from error
    if not joints or stack or sum(joint.parent < 0 for joint in joints) != 1:
        raise SemttaError(f"'{path}' has no complete BVH hierarchy with one root.")
    if len(joints) > _MOST_JOINTS:
        raise SemttaError(f"'{path}' has {len(joints)} joints; {_MOST_JOINTS} at most are read.")
    return joints


def _joint(tokens: list[str], i: int, brace: int, parent: int) -> tuple[_Joint, int]:
    """The joint whose head begins at a token, and the token after it."""
    if tokens[brace + 1].upper() != "OFFSET":
        raise ValueError("OFFSET expected")
    x, y, z = (float(t.replace(",", ".")) for t in tokens[brace + 2 : brace + 5])
    if not np.isfinite((x, y, z)).all():
        raise ValueError("an OFFSET is not finite")
    name = " ".join(tokens[i + 1 : brace])
    channels: tuple[str, ...] = ()
    i = brace + 5
    if tokens[i].upper() == "CHANNELS":
        count = int(tokens[i + 1])
        channels = tuple(c.lower() for c in tokens[i + 2 : i + 2 + count])
        if not 0 <= count <= 6 or not set(channels) <= {*_AXES, *_PLACES}:
            raise ValueError(f"unknown CHANNELS of '{name[:60]}'")
        i += 2 + count
    return _Joint(name, parent, (x, y, z), channels), i


def _posed(path: Path, joints: list[_Joint], values: np.ndarray) -> Posed:
    """The joints that SMPL has too, over time; others only lead there."""
    parents = [joint.parent for joint in joints]
    places = match_joints(path, [joint.name for joint in joints], parents)
    places |= spine_joints(parents, places)
    used = {i for place in places.values() for i in (*ancestors(parents, place), place)}
    world, posed, rest, column = {}, {}, {}, 0
    last = {joint.parent: i for i, joint in enumerate(joints) if i in used}
    for i, joint in enumerate(joints):
        block = values[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        if i not in used:
            continue
        local, place = _local(joint, block)
        if joint.parent < 0:
            world[i], posed[i], rest[i] = local, place, np.zeros(3)
            continue
        up = joint.parent
        offset = np.array(joint.offset)
        rest[i] = rest[up] + offset
        posed[i] = posed[up] + np.einsum("nij,nj->ni", world[up], place)
        world[i] = world[up] @ local
        if last[up] == i and up not in places.values():
            del world[up], posed[up]  # a long chain would fill the memory
    chosen = list(places.values())
    return Posed(
        {name: column for column, name in enumerate(places)},
        torch.from_numpy(np.stack([world[i] for i in chosen], 1)),
        torch.from_numpy(np.stack([rest[i] for i in chosen])),
        torch.from_numpy(np.stack([posed[i] for i in chosen], 1)),
        is_smpl=all(joints[i].name.lower() == name for name, i in places.items()),
    )


def _local(joint: _Joint, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A joint's rotations (N, 3, 3) and places (N, 3), both relative to its parent."""
    axes = "".join(_AXES.get(channel, "") for channel in joint.channels)
    turn = np.broadcast_to(np.eye(3), (len(block), 3, 3))
    if axes:
        angles = block[:, [channel in _AXES for channel in joint.channels]]
        turn = Rotation.from_euler(axes, angles, degrees=True).as_matrix()
    place = np.zeros((len(block), 3))
    if joint.parent >= 0:
        place += np.array(joint.offset)
    for k, name in enumerate(_PLACES):
        if name in joint.channels:
            place[:, k] = block[:, joint.channels.index(name)]
    return turn, place


def _jumps(rotmats: Tensor) -> bool:
    return bool(torch.rad2deg(roma.rotmat_geodesic_distance(rotmats[0], rotmats[1])).max() > _JUMP)
