"""The shipped CC0 hand: a mesh with twenty-one key points that bends at its joints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from semtta.shipped import asset

FILE = "body/cc0_hand.npz"
FINGERS, BONES_OF_FINGER = 5, 3


@dataclass(frozen=True)
class Hand:
    """A left hand with half of its forearm (``tools/build_hand.py``).

    Metres; the wrist is the origin, y points to the middle finger's knuckle, z out of the palm and
    x from the thumb to the little finger. Bones are the palm, the forearm and three for each finger
    from the thumb on.

    Args:
        vertices: (V, 3) of the mean hand.
        shapes: (6, V, 3) man, heavy, strong, old, long fingers, thick fingers.
        joints: (17, 3) where the bones begin.
        joint_shapes: (6, 17, 3).
        weights: (V, 17) of skinning.
        parents: (17,), -1 for the palm.
        tips: (5,) vertices.
        flexion: (15, 3) axes about which finger bones bend, a positive angle to the palm.
        spread: (5, 3) axes about which fingers turn in the palm's plane.
        bends: (15,) radians by which the mesh is bent.
        faces: (F, 3).
    """

    vertices: np.ndarray
    shapes: np.ndarray
    joints: np.ndarray
    joint_shapes: np.ndarray
    weights: np.ndarray
    parents: np.ndarray
    tips: np.ndarray
    flexion: np.ndarray
    spread: np.ndarray
    bends: np.ndarray
    faces: np.ndarray

    def posed(
        self, rotations: np.ndarray, betas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Skinned vertices (V, 3), key points (21, 3) in the order of ``HAND21``, the same (V, 3)
        before the pose.

        Args:
            rotations: (17, 3, 3) of the bones, each in its parent's frame.
            betas: (6,) shape coefficients, about one standard deviation each."""
        rest = self.vertices + np.tensordot(betas, self.shapes, 1)
        joints = self.joints + np.tensordot(betas, self.joint_shapes, 1)
        world, moved = np.empty((len(joints), 3, 3)), np.empty((len(joints), 3))
        for i, parent in enumerate(self.parents):
            if parent < 0:
                world[i], moved[i] = rotations[i], joints[i]
            else:
                world[i] = world[parent] @ rotations[i]
                moved[i] = moved[parent] + world[parent] @ (joints[i] - joints[parent])
        shift = moved - np.einsum("bij,bj->bi", world, joints)
        blended = np.tensordot(self.weights, world, 1)
        vertices = np.einsum("vij,vj->vi", blended, rest) + self.weights @ shift
        fingers = moved[2:].reshape(FINGERS, BONES_OF_FINGER, 3)
        fingers = np.concatenate([fingers, vertices[self.tips][:, None]], 1)
        return vertices, np.concatenate([moved[:1], fingers.reshape(-1, 3)]), rest


@cache
def load_hand() -> Hand:
    """The shipped hand; raises ``SemttaError`` if the installation lacks it."""
    with np.load(asset(FILE)) as file:
        found = {name: file[name].copy() for name in file.files}
    slots, values = found.pop("w_idx"), found.pop("w_val").astype(np.float64)
    weights = np.zeros((len(slots), len(found["parents"])))
    np.put_along_axis(weights, slots.astype(int), values / values.sum(1, keepdims=True), 1)
    wide = {name: array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
            for name, array in found.items()}  # fmt: skip
    return Hand(weights=weights, **wide)
