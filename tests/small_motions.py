"""Small motion files for tests: AMASS' npz and BVH, of a gait or of any rotations."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from semtta.motion.motion_files import FPS
from semtta.skeletons import SMPL24


def walk(frames: int, phase: float = 0.0) -> np.ndarray:
    """(N, 24, 3) axis-angle poses of a gait on straight arms, half of which hang."""
    angle = np.arange(frames) / FPS * 2 * np.pi * 0.9 + phase
    pose = np.zeros((frames, 24, 3))
    for sign, side in ((1, "left"), (-1, "right")):
        pose[:, SMPL24.index(f"{side}_hip"), 0] = -0.45 * sign * np.sin(angle)
        pose[:, SMPL24.index(f"{side}_knee"), 0] = 0.4 + 0.3 * sign * np.cos(angle)
        pose[:, SMPL24.index(f"{side}_shoulder"), 2] = -sign * 1.2
    return pose


def amass(path, frames=240, fps=120.0, **change):
    """SMPL-H parameters with z up: the gait of ``walk``, 60 frames long at 30 fps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pose = np.repeat(walk(frames // 4), 4, axis=0)
    pose[:, 0] = (np.pi / 2, 0, 0)  # upright in a world whose z is up
    poses = np.concatenate((pose[:, :22].reshape(frames, 66), np.full((frames, 90), 0.3)), 1)
    trans = np.stack((0 * pose[:, 0, 0], np.linspace(0, -2, frames), np.full(frames, 0.9)), 1)
    arrays = {"poses": poses, "trans": trans, "mocap_framerate": np.array(fps),
              "betas": np.ones(16), "gender": np.array("female")}  # fmt: skip
    np.savez(path, **(arrays | change))
    return path


CHAIN = {  # usual names: parent, offset in centimetres, T-pose, y up
    "Hips": (None, (0, 90, 0)),
    "LowerBack": ("Hips", (0, 10, 0)),
    "Spine": ("LowerBack", (0, 12, 0)),
    "Spine1": ("Spine", (0, 12, 0)),
    "Neck1": ("Spine1", (0, 15, 0)),
    "Head": ("Neck1", (0, 10, 0)),
}
for _side, _x in (("Left", 1), ("Right", -1)):
    CHAIN |= {
        f"{_side}UpLeg": ("Hips", (10 * _x, -5, 0)),
        f"{_side}Leg": (f"{_side}UpLeg", (0, -40, 0)),
        f"{_side}Foot": (f"{_side}Leg", (0, -40, 0)),
        f"{_side}ToeBase": (f"{_side}Foot", (0, -5, 12)),
        f"{_side}Shoulder": ("Spine1", (4 * _x, 10, 0)),
        f"{_side}Arm": (f"{_side}Shoulder", (14 * _x, 0, 0)),
        f"{_side}ForeArm": (f"{_side}Arm", (28 * _x, 0, 0)),
        f"{_side}Hand": (f"{_side}ForeArm", (25 * _x, 0, 0)),
    }


def bvh(path, angles, frames=40, offsets=None, z_up=False, step=1 / 30):
    """A BVH file: ``angles`` joint -> (z, x, y) degrees; the root moves forwards."""
    chain = {name: (parent, (offsets or {}).get(name, o)) for name, (parent, o) in CHAIN.items()}
    turn = (lambda v: (v[0], -v[2], v[1])) if z_up else (lambda v: v)
    order, lines = [], ["HIERARCHY"]

    def write(name, depth):
        pad = "  " * depth
        order.append(name)
        lines.append(f"{pad}{'JOINT' if depth else 'ROOT'} {name}\n{pad}{{")
        lines.append(f"{pad}OFFSET " + " ".join(map(str, turn(chain[name][1]))))
        channels = "" if depth else "Xposition Yposition Zposition "
        lines.append(f"{pad}CHANNELS {3 if depth else 6} {channels}Zrotation Xrotation Yrotation")
        children = [c for c, (parent, _) in chain.items() if parent == name]
        for child in children:
            write(child, depth + 1)
        if not children:
            lines.append(f"{pad}End Site\n{pad}{{\n{pad}OFFSET 0 1 0\n{pad}}}")
        lines.append(f"{pad}}}")

    write("Hips", 0)
    lines.append(f"MOTION\nFrames: {frames}\nFrame Time: {step:.6f}")
    for i in range(frames):
        row = list(turn((0, 90, 3 * i)))
        for name in order:
            row += [a * min(1, (i + 1) / 2) for a in angles.get(name, (0, 0, 0))]
        lines.append(" ".join(f"{v:.4f}" for v in row))
    path.write_text("\n".join(lines) + "\n")
    return path


PARENTS = [list(CHAIN).index(parent) if parent else -1 for parent, _ in CHAIN.values()]


def swing(frames: int = 12, root: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """(N, J, 3, 3) local rotations of ``CHAIN``: a lifted left knee, one arm down, a turned head.

    Args:
        root: axis-angle of the hips."""
    rotations = np.tile(np.eye(3), (frames, len(CHAIN), 1, 1))
    lift = np.linspace(0, 1, frames)
    for name, axis in (("LeftUpLeg", (-0.9, 0, 0)), ("LeftLeg", (1.1, 0, 0)),
                       ("LeftFoot", (0.2, 0, 0)), ("RightArm", (0, 0, 1.2)),
                       ("LeftForeArm", (0, -0.8, 0)), ("Head", (0, 0.4, 0)),
                       ("Spine", (0.2, 0, 0))):  # fmt: skip
        turn = Rotation.from_rotvec(lift[:, None] * np.array(axis)).as_matrix()
        rotations[:, list(CHAIN).index(name)] = turn
    rotations[:, 0] = Rotation.from_rotvec(root).as_matrix()
    return rotations


def write_bvh(path: Path, rotations: np.ndarray, places: np.ndarray, axes=None, names=None) -> Path:
    """A BVH of ``CHAIN`` with given rotations.

    Args:
        rotations: (N, J, 3, 3) local, of the T-pose.
        places: (N, 3) of the root, centimetres.
        axes: joint -> (3, 3), how its axes lie in the T-pose: the same motion, another zero pose.
        names: joint -> its name in the file."""
    axes = {name: (axes or {}).get(name, np.eye(3)) for name in CHAIN}
    turned, offsets = rotations.copy(), {}
    for i, (name, (parent, offset)) in enumerate(CHAIN.items()):
        above = axes[parent] if parent else np.eye(3)
        turned[:, i] = above.T @ rotations[:, i] @ axes[name]
        offsets[name] = above.T @ np.array(offset, float)
    lines, order = ["HIERARCHY"], []

    def write(name: str) -> None:
        order.append(name)
        lines.append(f"{'JOINT' if CHAIN[name][0] else 'ROOT'} {(names or {}).get(name, name)}\n{{")
        lines.append("OFFSET " + " ".join(f"{v:.6f}" for v in offsets[name]))
        root = "" if CHAIN[name][0] else "Xposition Yposition Zposition "
        lines.append(f"CHANNELS {6 if root else 3} {root}Zrotation Xrotation Yrotation")
        children = [child for child, (parent, _) in CHAIN.items() if parent == name]
        for child in children:
            write(child)
        lines.append("}" if children else "End Site\n{\nOFFSET 0 0 0\n}\n}")

    write("Hips")
    index = [list(CHAIN).index(name) for name in order]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of several sets of angles any will do
        turns = Rotation.from_matrix(turned[:, index].reshape(-1, 3, 3))
        angles = turns.as_euler("ZXY", degrees=True)
    rows = np.concatenate((places, angles.reshape(len(places), -1)), 1)
    lines.append(f"MOTION\nFrames: {len(rows)}\nFrame Time: 0.033333")
    lines += [" ".join(f"{v:.6f}" for v in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def about(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def leaning(degrees: float) -> np.ndarray:
    """To the left and to the front at once; by 54.7 degrees along no axis more than another."""
    return Rotation.from_rotvec(np.deg2rad(degrees) * np.array((1, 0, -1)) / 2**0.5).as_matrix()


def offsets(**change):
    """An edit of a file: joints whose offset is another."""

    def edit(text: str) -> str:
        for name, offset in change.items():
            head, tail = text.split(f" {name}\n", 1)
            rest = tail.split("\n", 2)[2]
            text = f"{head} {name}\n{{\nOFFSET {' '.join(map(str, offset))}\n{rest}"
        return text

    return edit


def without(*names: str):
    """An edit of a file: leaves become the ends of bones."""

    def edit(text: str) -> str:
        head, rows = text.split("MOTION")
        order = [
            line.split()[1] for line in head.splitlines() if line.startswith(("JOINT", "ROOT"))
        ]
        first, *lines = rows.strip().splitlines()[1:]
        kept = [0, 1, 2]
        for i, name in enumerate(order):
            kept += [] if name in names else [3 + 3 * i, 4 + 3 * i, 5 + 3 * i]
        for name in names:
            before, after = head.split(f"JOINT {name}\n", 1)
            place = after.split("\n", 2)[1]
            head = before + "End Site\n{\n" + place + "\n}\n" + after.split("}\n}\n", 1)[1]
        rows = [" ".join(line.split()[k] for k in kept) for line in lines]
        return head + "\n".join(("MOTION", f"Frames: {len(rows)}", first, *rows, ""))

    return edit
