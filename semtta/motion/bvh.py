"""Motion from BVH files of people with usual joint names (CMU, Mixamo, Daz, MotionBuilder).

Each source joint's *global* rotation relative to the file's zero pose is carried over; bones of
arms and legs that point elsewhere in the zero pose than in SMPL's T-pose (arms down, legs
splayed) are corrected by the smallest turn between the two directions. Which way the figure
faces and which axis is up are read from its zero pose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.skeletons import SMPL24, SMPL_PARENTS

# SMPL joint -> usual names, lower case without prefix ("mixamorig:"), spaces and underscores.
_SIDED = {
    "hip": ("upleg", "thigh", "hip", "upperleg"),
    "knee": ("leg", "shin", "knee", "lowerleg", "calf"),
    "ankle": ("foot", "ankle"),
    "foot": ("toebase", "toe", "toes", "ball"),
    "collar": ("shoulder", "collar", "clavicle"),
    "shoulder": ("arm", "shldr", "shoulder", "upperarm", "uparm"),
    "elbow": ("forearm", "elbow", "lowerarm", "lowarm"),
    "wrist": ("hand", "wrist"),
}
_MIDDLE = {
    "pelvis": ("hips", "hip", "pelvis", "root"),
    "neck": ("neck1", "neck"),
    "head": ("head",),
}
_NEEDED = ("pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
           "right_ankle", "left_shoulder", "right_shoulder", "left_elbow",
           "right_elbow")  # fmt: skip
# Joints whose bone is turned to SMPL's rest direction, and the joint at the bone's other end.
_CORRECTED = {
    f"{side}_{joint}": f"{side}_{end}"
    for side in ("left", "right")
    for joint, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"),
                       ("elbow", "wrist"))
}  # fmt: skip
_AXES = {"xrotation": "X", "yrotation": "Y", "zrotation": "Z"}
_JUMP = 25.0  # degrees between the first two frames: the first one is a T-pose, not motion


@dataclass(frozen=True)
class _Joint:
    """One joint: its parent's place in the list (-1 = root), offset, channels in file order."""

    name: str
    parent: int
    offset: tuple[float, float, float]
    channels: tuple[str, ...]


def bvh_length(path: Path) -> tuple[int, float]:
    """Number of frames and frame rate; reads the head of the file only."""
    with open(path, encoding="utf-8", errors="replace") as file:
        frames = None
        for line in file:
            if match := re.match(r"\s*Frames\s*:\s*(\d+)", line, re.I):
                frames = int(match.group(1))
            elif match := re.match(r"\s*Frame\s+Time\s*:\s*([\d.eE+-]+)", line, re.I):
                step = float(match.group(1))
                if frames and 1e-3 <= step <= 1:
                    return frames, 1 / step
                break
    raise SemttaError(f"'{path}' is not a BVH file with frames and a frame time.")


def read_bvh(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotations (N, 24, 3, 3) and pelvis (N, 3) metres in SMPL's convention, frame rate.

    Raises ``SemttaError`` for damaged files and skeletons whose joints have other names."""
    joints, values, fps = _parse(path)
    places = _match(path, [joint.name for joint in joints])
    places |= _spine(joints, places)
    world, root = _global_rotations(joints, values)
    rest = _rest_positions(joints)
    turn = _facing(path, rest, places)
    rest, root = rest @ turn.T, root @ turn.T
    world = turn @ world @ turn.T
    body = load_body("cc0").joint_template
    rotmats = _to_smpl(world, rest, places, body)
    scale = _leg(body, SMPL24.index) / max(_leg(rest, places.get), 1e-6)
    trans = root * scale
    first = 1 if len(rotmats) > 1 and _jumps(rotmats[:2]) else 0
    return rotmats[first:].float().numpy(), trans[first:].float().numpy(), fps


def _parse(path: Path) -> tuple[list[_Joint], np.ndarray, float]:
    """Hierarchy, values (N, C) and frame rate."""
    frames, fps = bvh_length(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    head, *rest = re.split(r"^\s*MOTION\s*$", text, maxsplit=1, flags=re.M | re.I)
    motion = rest[0] if rest else ""
    joints = _hierarchy(path, head)
    numbers = re.split(r"Frame\s+Time\s*:\s*\S+", motion, maxsplit=1, flags=re.I)[-1].split()
    columns = sum(len(joint.channels) for joint in joints)
    try:
        values = np.array(numbers, dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if columns == 0 or len(values) != frames * columns or not np.isfinite(values).all():
        raise SemttaError(f"'{path}' is cut off or damaged: it announces {frames} frames of "
                          f"{columns} numbers and has {len(values)} numbers.")  # fmt: skip
    return joints, values.reshape(frames, columns), fps


def _hierarchy(path: Path, head: str) -> list[_Joint]:
    tokens = head.split()
    joints: list[_Joint] = []
    stack: list[int] = []
    i = tokens.index("HIERARCHY") + 1 if "HIERARCHY" in tokens else len(tokens)
    try:
        while i < len(tokens):
            word = tokens[i].upper()
            if word in ("ROOT", "JOINT"):
                name, brace = tokens[i + 1], tokens.index("{", i)
                if tokens[brace + 1].upper() != "OFFSET":
                    raise ValueError("OFFSET expected")
                offset = tuple(map(float, tokens[brace + 2 : brace + 5]))
                i, channels = brace + 5, ()
                if tokens[i].upper() == "CHANNELS":
                    count = int(tokens[i + 1])
                    channels = tuple(c.lower() for c in tokens[i + 2 : i + 2 + count])
                    i += 2 + count
                parent = stack[-1] if stack else -1
                joints.append(_Joint(name, parent, offset, channels))
                stack.append(len(joints) - 1)
            elif word == "END":
                i = tokens.index("}", i) + 1
            elif word == "}":
                stack.pop()
                i += 1
            else:
                raise ValueError(f"unexpected '{tokens[i]}'")
    except (ValueError, IndexError) as error:
        raise SemttaError(f"'{path}' has a damaged BVH hierarchy ({error}).") from error
    if not joints or stack or sum(joint.parent < 0 for joint in joints) != 1:
        raise SemttaError(f"'{path}' has no complete BVH hierarchy with one root.")
    return joints


def _match(path: Path, names: list[str]) -> dict[str, int]:
    """SMPL joint -> place in the file, by name."""
    plain = {}
    for i, name in enumerate(names):
        plain.setdefault(re.sub(r"[\s_.-]", "", name.split(":")[-1]).lower(), i)
    places: dict[str, int] = {}

    def take(joint: str, candidates) -> None:
        for candidate in candidates:
            if candidate in plain and plain[candidate] not in places.values():
                places[joint] = plain[candidate]
                return

    for side in ("left", "right"):
        # "shoulder" and "hip" mean the collar or the shoulder, depending on what else there is
        arm = [f"{side}{n}" for n in ("arm", "shldr", "upperarm", "uparm")]
        arm += [f"{side[0]}{n}" for n in ("arm", "shldr", "upperarm", "uparm")]
        has_arm = any(name in plain for name in arm)
        for part, words in _SIDED.items():
            if part in ("collar", "shoulder"):
                words = [w for w in words if (w != "shoulder") or (part == "collar") == has_arm]
            take(f"{side}_{part}", [p + w for p in (side, side[0]) for w in words])
    for part, words in _MIDDLE.items():
        take(part, words)
    missing = [joint for joint in _NEEDED if joint not in places]
    if missing:
        raise SemttaError(f"'{path}': no joint of this BVH is called like {missing[0]}; names "
                          "as in CMU's, Mixamo's or Daz' skeletons are known.")  # fmt: skip
    return places


def _spine(joints: list[_Joint], places: dict[str, int]) -> dict[str, int]:
    """Spine joints by their place between pelvis and shoulders, whatever they are called."""

    def above(joint: int) -> list[int]:
        parent = joints[joint].parent
        return [] if parent < 0 else [*above(parent), parent]

    right = above(places["right_shoulder"])
    chain = [i for i in above(places["left_shoulder"]) if i in right]
    chain = [i for i in chain if i not in places.values() and joints[i].parent >= 0]
    names = {1: ["spine2"], 2: ["spine1", "spine3"]}.get(len(chain), ["spine1", "spine2", "spine3"])
    picks = [chain[round(k * (len(chain) - 1) / max(1, len(names) - 1))] for k in range(len(names))
             if chain]  # fmt: skip
    return dict(zip(names, picks))


def _global_rotations(joints: list[_Joint], values: np.ndarray) -> tuple[Tensor, Tensor]:
    """(N, J, 3, 3) global rotations and (N, 3) root positions, in the file's axes and units."""
    world: list[np.ndarray] = []
    root, column = np.zeros((len(values), 3)), 0
    for joint in joints:
        block = values[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        axes = "".join(_AXES.get(channel, "") for channel in joint.channels)
        angles = block[:, [channel in _AXES for channel in joint.channels]]
        local = np.broadcast_to(np.eye(3), (len(values), 3, 3))
        if axes:
            local = Rotation.from_euler(axes, angles, degrees=True).as_matrix()
        if joint.parent < 0:
            for k, name in enumerate(("xposition", "yposition", "zposition")):
                if name in joint.channels:
                    root[:, k] = block[:, joint.channels.index(name)]
        world.append(local if joint.parent < 0 else world[joint.parent] @ local)
    return torch.from_numpy(np.stack(world, 1)), torch.from_numpy(root)


def _rest_positions(joints: list[_Joint]) -> Tensor:
    positions: list[np.ndarray] = []
    for joint in joints:
        base = positions[joint.parent] if joint.parent >= 0 else np.zeros(3)
        positions.append(base + np.array(joint.offset) * (joint.parent >= 0))
    return torch.from_numpy(np.stack(positions))


def _facing(path: Path, rest: Tensor, places: dict[str, int]) -> Tensor:
    """(3, 3) from the file's axes to SMPL's: left of the zero pose = +x, up = +y."""
    hips = (rest[places["left_hip"]] + rest[places["right_hip"]]) / 2
    shoulders = (rest[places["left_shoulder"]] + rest[places["right_shoulder"]]) / 2
    left = rest[places["left_hip"]] - rest[places["right_hip"]]
    up = shoulders - hips
    if min(float(left.norm()), float(up.norm())) < 1e-6:
        raise SemttaError(f"'{path}': the skeleton's zero pose has no width or no height.")
    # The nearest of the file's axes, not the exact directions: a spine may lean.
    axis = torch.eye(3, dtype=rest.dtype)
    y = axis[up.abs().argmax()] * up[up.abs().argmax()].sign()
    left = left - (left @ y) * y
    x = axis[left.abs().argmax()] * left[left.abs().argmax()].sign()
    return torch.stack((x, y, torch.linalg.cross(x, y)))


def _to_smpl(world: Tensor, rest: Tensor, places: dict[str, int], body: Tensor) -> Tensor:
    """Local SMPL rotations (N, 24, 3, 3) of global rotations relative to the zero pose."""
    body = body.to(world)
    turned: list[Tensor] = []
    local: list[Tensor] = []
    correction: dict[str, Tensor] = {}
    for index, joint in enumerate(SMPL24.joints):
        parent = SMPL_PARENTS[index]
        if joint not in places:  # moves with its parent
            turned.append(turned[parent])
            local.append(torch.eye(3).to(world).expand(len(world), 3, 3))
            continue
        source, end = places[joint], _CORRECTED.get(joint)
        if end in places:
            bone = body[SMPL24.index(end)] - body[index]
            correction[joint] = _smallest_turn(bone, rest[places[end]] - rest[source])
        elif joint.endswith(("elbow", "wrist")):  # as the rest of the arm
            correction[joint] = correction[SMPL24.joints[parent]]
        turned.append(world[:, source] @ correction.get(joint, torch.eye(3)).to(world))
        local.append(turned[parent].mT @ turned[index] if parent >= 0 else turned[index])
    return torch.stack(local, 1)


def _smallest_turn(a: Tensor, b: Tensor) -> Tensor:
    """(3, 3) the smallest rotation that takes direction a to direction b."""
    a, b = a / a.norm().clamp_min(1e-9), b / b.norm().clamp_min(1e-9)
    axis, cosine = torch.linalg.cross(a, b), float(a @ b)
    sine = float(axis.norm())
    if sine < 1e-8:
        return torch.eye(3).to(a)
    return roma.rotvec_to_rotmat(axis / sine * float(np.arctan2(sine, cosine)))


def _leg(positions: Tensor, place) -> float:
    """Length of thigh and shank."""
    hip, knee, ankle = (positions[place(f"left_{part}")] for part in ("hip", "knee", "ankle"))
    return float((knee - hip).norm() + (ankle - knee).norm())


def _jumps(rotmats: Tensor) -> bool:
    return bool(torch.rad2deg(roma.rotmat_geodesic_distance(rotmats[0], rotmats[1])).max() > _JUMP)
