"""A track as skeletal animation: one skinned mesh in rest pose, and what moves its joints.

This is how graphics programs hold a person: every vertex follows at most four joints, and one
rest shape serves all frames. Pose blend shapes (bodies of SMPL's own family have them, the CC0
body has none) are corrections that depend on the pose and have no place in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.body import Body
from semtta.errors import SemttaError
from semtta.tta.result import Motion, Result

INFLUENCES = 4


@dataclass(frozen=True)
class SkinnedMesh:
    """A body of one shape, V vertices and F faces, metres.

    Args:
        vertices, normals: (V, 3) f32 in the rest pose.
        faces: (F, 3) u32.
        joint_ids, weights: (V, 4) u8 and f32: which joints a vertex follows; rows sum to one.
        joints: (24, 3) f32 in the rest pose.
        lost_weight: the largest share of a vertex's weight that four joints could not hold.
        pose_blend_shapes: whether the body has some, which are left out.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    joint_ids: np.ndarray
    weights: np.ndarray
    joints: np.ndarray
    lost_weight: float
    pose_blend_shapes: bool


@dataclass(frozen=True)
class JointMotion:
    """What moves a skinned mesh, T frames, camera frame.

    Args:
        rotations: (T, 24, 4) f32 unit quaternions x, y, z, w relative to the parent joint; two
            frames after each other never differ in sign alone.
        root: (T, 3) f32 metres, where the pelvis joint is.
    """

    rotations: np.ndarray
    root: np.ndarray


def skinned_mesh(body: Body, betas: Tensor) -> SkinnedMesh:
    """The body (on the CPU) in the shape of (10,) betas."""
    shape = betas.to(body.v_template)
    vertices = (body.v_template + body.shapedirs @ shape).numpy().astype(np.float32)
    joints = (body.joint_template + body.joint_shapedirs @ shape).numpy().astype(np.float32)
    faces = body.faces.numpy().astype(np.uint32)
    ids, weights, lost = _four_influences(body.weights.double().numpy())
    return SkinnedMesh(
        vertices, _normals(vertices, faces), faces, ids, weights, joints, lost,
        bool(body.posedirs.shape[-1]),
    )  # fmt: skip


def joint_motion(motion: Motion, body: Body) -> JointMotion:
    """What moves the joints; the pelvis is where each frame's own shape and ``trans`` put it."""
    quaternions = roma.rotmat_to_unitquat(motion.rotmats.double())
    turned = (quaternions[1:] * quaternions[:-1]).sum(-1, keepdim=True) < 0
    signs = torch.where(turned, -1.0, 1.0).cumprod(0)  # q and -q are one rotation, not one path
    quaternions[1:] *= signs
    template, directions = body.joint_template[0].double(), body.joint_shapedirs[0].double()
    root = template + motion.betas.double() @ directions.T + motion.trans.double()
    return JointMotion(quaternions.numpy().astype(np.float32), root.numpy().astype(np.float32))


def median_betas(motion: Motion) -> Tensor:
    """(10,) the one shape of a motion whose frames may have one each."""
    return motion.betas.median(0).values


def check_finite(result: Result) -> None:
    """Raise ``SemttaError`` where a motion has numbers that are none: nothing that shows meshes
    takes them."""
    for name, motion in (("base", result.base), ("adapted", result.adapted)):
        parts = (motion.rotmats.flatten(1), motion.betas, motion.trans)
        whole = torch.cat(parts, 1).isfinite().all(1)
        if not whole.all():
            frame = int(result.track.frames[int(whole.int().argmin())])
            raise SemttaError(
                f"track {result.track.id} has no finite {name} motion in frame {frame}; its mesh "
                "cannot be written."
            )


def _four_influences(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(V, 24) weights -> joints (V, 4) and weights (V, 4) of the four largest, and the loss."""
    order = np.argsort(-weights, 1, kind="stable")[:, :INFLUENCES]
    kept = np.take_along_axis(weights, order, 1)
    total = kept.sum(1, keepdims=True)
    kept = (kept / total).astype(np.float32)
    kept /= kept.sum(1, keepdims=True)  # of the rounded numbers, as readers check it
    return np.where(kept > 0, order, 0).astype(np.uint8), kept, float(1 - total.min())


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, faces weighted by area; up where a vertex belongs to no face."""
    corners = vertices[faces].astype(np.float64)
    of_faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(vertices), 3))
    for k in range(3):
        np.add.at(normals, faces[:, k], of_faces)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 1e-12, normals / np.maximum(length, 1e-12), [0.0, 1.0, 0.0])
    return normals.astype(np.float32)
