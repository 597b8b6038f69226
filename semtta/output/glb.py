"""Binary glTF 2.0: the person as an animated character for Blender, Unity, three.js, viewers.

One skinned mesh with the 24 SMPL joints as its skeleton and two animations, ``adapted`` and
``base``. glTF is y-up: a node above the pelvis turns the camera frame (x right, y down, z forward)
by half a turn about x, so that the camera looks along -z, as glTF's own cameras do; where the world
of a still camera is known, into that. What a file of this kind cannot hold stands in
``asset.extras``, and in ``docs/outputs.md``.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import roma
import torch

from semtta.body import Body
from semtta.files import whole_file
from semtta.output.axes import Axes, y_up
from semtta.output.skinned import (
    JointMotion,
    SkinnedMesh,
    check_finite,
    joint_motion,
    median_betas,
    skinned_mesh,
)
from semtta.skeletons import SMPL24, SMPL_PARENTS
from semtta.tta.result import Result

_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_COMPONENTS = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121}
_TYPES = {3: "VEC3", 4: "VEC4", 16: "MAT4"}
# Linear RGB of the two motions' materials: the first one shows where variants are not read.
_COLORS = {"adapted": (0.028, 0.205, 0.753), "base": (0.694, 0.184, 0.024)}
_NOTABLE = 0.01  # share of a vertex's weight
_LIMITS = (
    "One shape for all frames and both motions (median of the adapted betas); at most four joints "
    "move a vertex; no pose blend shapes. Between two frames the motion is interpolated, also "
    "where the person was out of sight."
)


def left_out(body: Body) -> list[str]:
    """What of a body a skinned mesh cannot hold, in sentences; none for the CC0 body."""
    mesh, texts = skinned_mesh(body, torch.zeros(body.shapedirs.shape[-1])), []
    if mesh.pose_blend_shapes:
        texts.append(
            f"GLB files leave out the pose blend shapes of body '{body.name}': bent joints look "
            "softer than on the body itself."
        )
    if mesh.lost_weight > _NOTABLE:
        texts.append(
            f"more than four joints move some vertices of body '{body.name}': GLB files keep the "
            f"four strongest, {100 * (1 - mesh.lost_weight):.0f} % of the weight or more."
        )
    return texts


def write_glb(result: Result, path: Path, body: Body) -> None:
    """Write one track as a .glb file, whole or not at all.

    Args:
        result: the track, as adapted or as loaded from a result folder.
        path: target.
        body: that its betas belong to, on the CPU.

    What is left out is in ``asset.extras``; :func:`left_out` says it in words. Raises
    ``SemttaError`` for a motion that is not finite, or a place that cannot be written."""
    check_finite(result)
    betas = median_betas(result.adapted)
    mesh = skinned_mesh(body, betas)
    motions = {
        "adapted": joint_motion(result.adapted, body),
        "base": joint_motion(result.base, body),
    }
    times = result.track.times.double().numpy()
    extras = {
        "limits": _LIMITS,
        "body": body.name,
        "betas": betas.tolist(),
        "largest_lost_weight": round(mesh.lost_weight, 6),
        "pose_blend_shapes_left_out": mesh.pose_blend_shapes,
        "track": result.track.id,
        "seconds_of_first_frame": float(times[0]),
        "frames": result.track.frames.tolist(),
    }
    data = glb_bytes(mesh, motions, times - times[0], extras, y_up(result.world))
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(data)


def glb_bytes(
    mesh: SkinnedMesh,
    motions: dict[str, JointMotion],
    times: np.ndarray,
    extras: dict,
    axes: Axes,
) -> bytes:
    """A .glb file.

    Args:
        mesh: the body.
        motions: by name; each is an animation, the first one is what simple viewers play.
        times: (T,) seconds, from 0, increasing.
        extras: what else to say about the file, ready for JSON.
        axes: from the camera frame to glTF's."""
    buffer = _Buffer()
    primitive = {
        "attributes": {
            "POSITION": buffer.add(mesh.vertices, _ARRAY_BUFFER, bounds=True),
            "NORMAL": buffer.add(mesh.normals, _ARRAY_BUFFER),
            "JOINTS_0": buffer.add(mesh.joint_ids, _ARRAY_BUFFER),
            "WEIGHTS_0": buffer.add(mesh.weights, _ARRAY_BUFFER),
        },
        "indices": buffer.add(_indices(mesh), _ELEMENT_BUFFER),
        "material": 0,
        "extensions": {
            "KHR_materials_variants": {
                "mappings": [{"material": i, "variants": [i]} for i in range(len(motions))]
            }
        },
    }
    count = len(mesh.joints)
    inverse = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    inverse[:, 3, :3] = -mesh.joints  # column-major: the transposed matrix, row by row
    skin = {
        "name": "skeleton",
        "joints": list(range(count)),
        "skeleton": count,
        "inverseBindMatrices": buffer.add(inverse.reshape(count, 16)),
    }
    clock = buffer.add(times.astype(np.float32), bounds=True)
    animations = [_animation(buffer, name, motion, clock) for name, motion in motions.items()]
    document = {
        "asset": {"version": "2.0", "generator": "semtta", "extras": extras},
        "extensionsUsed": ["KHR_materials_variants"],
        "extensions": {"KHR_materials_variants": {"variants": [{"name": n} for n in motions]}},
        "scene": 0,
        "scenes": [{"name": "scene", "nodes": [count, count + 1]}],
        "nodes": _nodes(mesh, axes),
        "meshes": [{"name": "body", "primitives": [primitive]}],
        "materials": [_material(name) for name in motions],
        "skins": [skin],
        "animations": animations,
        **buffer.tables(),
    }
    return _container(document, buffer.data)


class _Buffer:
    """The binary part, and what says where each array lies in it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []

    def add(self, array: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Append an array, (N,) or (N, k); returns the number of its accessor."""
        array = np.ascontiguousarray(array)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view if target is None else view | {"target": target})
        self.data += array.tobytes()
        self.data += bytes(-len(self.data) % 4)
        accessor = {
            "bufferView": len(self.views) - 1,
            "componentType": _COMPONENTS[array.dtype.name],
            "count": len(array),
            "type": "SCALAR" if array.ndim == 1 else _TYPES[array.shape[1]],
        }
        if bounds:
            for name, value in (("min", array.min(0)), ("max", array.max(0))):
                accessor[name] = np.atleast_1d(value).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def tables(self) -> dict:
        return {
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.data)}],
        }


def _indices(mesh: SkinnedMesh) -> np.ndarray:
    # 65535 restarts a strip and is no vertex.
    small = len(mesh.vertices) < 65535
    return mesh.faces.ravel().astype(np.uint16 if small else np.uint32)


def _nodes(mesh: SkinnedMesh, axes: Axes) -> list[dict]:
    """The joints in their order, the turn to y up above the pelvis, and the mesh."""
    nodes: list[dict] = []
    for joint, parent in enumerate(SMPL_PARENTS):
        offset = mesh.joints[joint] - (mesh.joints[parent] if joint else 0)
        nodes.append({"name": SMPL24.joints[joint], "translation": offset.tolist()})
        if joint:
            nodes[parent].setdefault("children", []).append(joint)
    turn = {"name": "camera_to_y_up", "children": [0]}
    turn["rotation"] = roma.rotmat_to_unitquat(axes.turn.double()).tolist()
    if axes.shift.any():
        turn["translation"] = axes.shift.tolist()
    return [*nodes, turn, {"name": "body", "mesh": 0, "skin": 0}]


def _material(name: str) -> dict:
    color = [*_COLORS.get(name, _COLORS["base"]), 1.0]
    surface = {"baseColorFactor": color, "metallicFactor": 0.0, "roughnessFactor": 0.75}
    return {"name": name, "pbrMetallicRoughness": surface}


def _animation(buffer: _Buffer, name: str, motion: JointMotion, clock: int) -> dict:
    tracks = [(0, "translation", motion.root)]
    tracks += [(j, "rotation", motion.rotations[:, j]) for j in range(motion.rotations.shape[1])]
    return {
        "name": name,
        "samplers": [
            {"input": clock, "output": buffer.add(values), "interpolation": "LINEAR"}
            for _, _, values in tracks
        ],
        "channels": [
            {"sampler": i, "target": {"node": node, "path": path}}
            for i, (node, path, _) in enumerate(tracks)
        ],
    }


def _container(document: dict, data: bytearray) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), _JSON) + text
    chunks += struct.pack("<II", len(data), _BIN) + bytes(data)
    return struct.pack("<III", _MAGIC, _VERSION, 12 + len(chunks)) + chunks
