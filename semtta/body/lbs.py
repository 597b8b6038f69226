"""Forward kinematics and linear blend skinning (SMPL, Loper et al. 2015, Eq. 2-4)."""

from __future__ import annotations

import torch
from torch import Tensor


class KinematicTree:
    """Joints grouped by depth, so that a pose is chained in as many steps as the tree is deep.

    Args:
        parents: parent of every joint, -1 for the root, which comes first.
    """

    def __init__(self, parents: tuple[int, ...]):
        depth = [0] * len(parents)
        for joint, parent in enumerate(parents):
            if joint:
                depth[joint] = depth[parent] + 1
        self.levels = [
            [joint for joint in range(len(parents)) if depth[joint] == level]
            for level in range(1, max(depth) + 1)
        ]
        self.order = [0] + [joint for level in self.levels for joint in level]
        self.ordered_parents = [parents[joint] for joint in self.order[1:]]
        place = {joint: i for i, joint in enumerate(self.order)}
        self.inverse = [place[joint] for joint in range(len(parents))]
        # Place of every joint's parent inside the level above it.
        above = [[0], *self.levels]
        self.parent_slots = [
            _slots([upper.index(parents[joint]) for joint in level])
            for upper, level in zip(above, self.levels)
        ]

    def chain(self, rotmats: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """World rotations and positions of the joints.

        Args:
            rotmats: (B, J, 3, 3) rotation of every joint relative to its parent.
            rest: (B, J, 3) joints in the rest pose.

        Returns:
            (B, J, 3, 3) and (B, J, 3); the root stays where it rests.
        """
        # Sorted once, so that every level is a slice: gathers cost more than the products.
        bones = rest[:, self.order[1:]] - rest[:, self.ordered_parents]
        sizes = [len(level) for level in self.levels]
        rotation, position = rotmats[:, :1], rest[:, :1]
        rotations, positions = [rotation], [position]
        turns = rotmats[:, self.order[1:]].split(sizes, 1)
        for turn, bone, slots in zip(turns, bones.split(sizes, 1), self.parent_slots):
            upper = rotation[:, slots]
            position = position[:, slots] + (upper @ bone[..., None])[..., 0]
            rotation = upper @ turn
            rotations.append(rotation)
            positions.append(position)
        return torch.cat(rotations, 1)[:, self.inverse], torch.cat(positions, 1)[:, self.inverse]


def _slots(places: list[int]) -> slice | list[int]:
    """Places as a slice where they are one, or one place that broadcasts; else as they are."""
    first = places[0]
    if set(places) == {first}:
        return slice(first, first + 1)
    if places == list(range(first, first + len(places))):
        return slice(first, first + len(places))
    return places


def skin(
    rotations: Tensor, positions: Tensor, rest: Tensor, points: Tensor, weights: Tensor
) -> Tensor:
    """Move points with the joints.

    Args:
        rotations: (B, J, 3, 3) world rotations of the joints.
        positions: (B, J, 3) posed joints.
        rest: (B, J, 3) joints in the rest pose.
        points: (B, V, 3) points in the rest pose.
        weights: (V, J) rows sum to one.

    Returns:
        (B, V, 3).
    """
    shift = positions - (rotations @ rest[..., None])[..., 0]
    transforms = torch.cat([rotations, shift[..., None]], -1).flatten(2)  # (B, J, 12)
    blended = (weights @ transforms).unflatten(2, (3, 4))
    return (blended[..., :3] @ points[..., None])[..., 0] + blended[..., 3]
