"""From several looks of the landmark network per frame to one, with left and right settled.

Seen from an unusual side, the landmark network takes a front for a back: every landmark lies
well, but left and right are exchanged. MoveNet rarely errs at the same time, so it is asked which
way round each look is, and continuity over time settles what remains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semtta.skeletons import BODY27, COCO17

COCO_IN_BODY = np.array(BODY27.indices(COCO17.joints))
_FLIP = np.array(BODY27.flip)
_LIMBS = np.array([i for i, n in enumerate(COCO17.joints) if n.split("_")[-1] in
                   ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")])  # fmt: skip
_SURE = 0.3
_CAP = 0.3  # a joint farther than this (in person sizes) is just wrong
_CLEARLY = 0.8  # exchanged only if that brings the cost below this share


@dataclass(frozen=True)
class Looks:
    """P looks at one person in T frames, in ``BODY27``.

    Args:
        xy: (T, P, 27, 2) pixels; looks 2i and 2i+1 see the same crop, the second mirrored.
        visibility: (T, P, 27) in [0, 1].
        world: (T, P, 27, 3) metres, hip-centred, camera axes.
        flag: (T, P) probability that there is a person.
    """

    xy: np.ndarray
    visibility: np.ndarray
    world: np.ndarray
    flag: np.ndarray


@dataclass(frozen=True)
class Fused:
    """One answer per frame.

    Args:
        xy: (T, 27, 2) pixels.
        visibility: (T, 27) in [0, 1].
        spread: (T, 27) standard deviation over the looks, in person sizes.
        world: (T, 27, 3) metres, hip-centred, camera axes.
        flag: (T,) probability that there is a person.
    """

    xy: np.ndarray
    visibility: np.ndarray
    spread: np.ndarray
    world: np.ndarray
    flag: np.ndarray


def fuse(looks: Looks, xy: np.ndarray, conf: np.ndarray, size: np.ndarray) -> Fused:
    """Average the looks, each turned the right way round and weighted by its agreement.

    Args:
        xy, conf: (T, 17, 2), (T, 17) MoveNet's keypoints of the same person.
        size: (T,) person size in pixels.
    """
    straight = agreement(looks.xy, xy[:, None], conf[:, None], size[:, None])
    turned = agreement(looks.xy[..., _FLIP, :], xy[:, None], conf[:, None], size[:, None])
    exchanged = turned < _CLEARLY * straight
    points = exchange(looks.xy, exchanged)
    cost = np.where(exchanged, turned, straight) + mirror_distance(points, size)
    # A look that was the right way round is preferred to one that had to be mended.
    weight = np.exp(-(cost - cost.min(1, keepdims=True)) / 0.02) * np.where(exchanged, 0.1, 1.0)
    weight = (weight * (looks.flag + 1e-3))[..., None]
    weight = weight / weight.sum(1, keepdims=True)

    mean = (weight[..., None] * points).sum(1)
    offset = ((points - mean[:, None]) ** 2).sum(-1)
    fused = Fused(
        xy=mean,
        visibility=(weight * exchange(looks.visibility[..., None], exchanged)[..., 0]).sum(1),
        spread=np.sqrt((weight * offset).sum(1)) / size[:, None],
        world=(weight[..., None] * exchange(looks.world, exchanged)).sum(1),
        flag=(weight[..., 0] * looks.flag).sum(1),
    )
    return _settle_sides(fused, exchanged.mean(1), xy, conf, size)


def agreement(points: np.ndarray, xy: np.ndarray, conf: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Mean distance (..., ) of points (..., 27, 2) to sure COCO limb joints, in person sizes.

    Distances are cut at 0.3 sizes; without any sure joint the answer is 0.
    """
    off = np.linalg.norm(points[..., COCO_IN_BODY, :] - xy, axis=-1) / size[..., None]
    sure = np.where(conf > _SURE, conf, 0)[..., _LIMBS]
    total = (np.minimum(off[..., _LIMBS], _CAP) * sure).sum(-1)
    return total / np.maximum(sure.sum(-1), 1e-9)


def mirror_distance(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(T, P) mean distance of a look's limb joints to those of its mirrored mate, in person
    sizes; looks 2i and 2i+1 see the same crop, and the network contradicts its own mirror image
    where it does not know whom to follow."""
    mates = points[:, np.arange(points.shape[1]) ^ 1]
    off = np.linalg.norm(points - mates, axis=-1)[..., COCO_IN_BODY[_LIMBS]]
    return np.minimum(off / size[:, None, None], _CAP).mean(-1)


def exchange(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Exchange left and right of (..., 27, D) where (...,) says so."""
    return np.where(where[..., None, None], values[..., _FLIP, :], values)


def _settle_sides(
    fused: Fused, turned_share: np.ndarray, xy: np.ndarray, conf: np.ndarray, size: np.ndarray
) -> Fused:
    """Viterbi over {as it is, exchanged}: MoveNet, the looks' own vote, and continuity."""
    states = [fused.xy, fused.xy[:, _FLIP]]
    unary = np.stack([agreement(s, xy, conf, size) for s in states], 1)
    unary += 0.03 * np.stack([turned_share, 1 - turned_share], 1)
    step = np.zeros((len(size), 2, 2))
    for a in range(2):
        for b in range(2):
            moved = np.linalg.norm(states[b][1:] - states[a][:-1], axis=-1)[:, COCO_IN_BODY]
            step[1:, a, b] = np.minimum(moved[:, _LIMBS] / size[1:, None], _CAP).mean(-1)
    exchanged = viterbi(unary, 3.0 * step).astype(bool)
    return Fused(
        xy=exchange(fused.xy, exchanged),
        visibility=exchange(fused.visibility[..., None], exchanged)[..., 0],
        spread=exchange(fused.spread[..., None], exchanged)[..., 0],
        world=exchange(fused.world, exchanged),
        flag=fused.flag,
    )


def viterbi(unary: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Cheapest sequence of states.

    Args:
        unary: (T, S) cost of a state.
        step: (T, S, S) cost of going from state a in frame t-1 to state b in frame t.

    Returns:
        (T,) states.
    """
    cost, back = unary[0], []
    for t in range(1, len(unary)):
        total = cost[:, None] + step[t]
        back.append(total.argmin(0))
        cost = total.min(0) + unary[t]
    path = [int(cost.argmin())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return np.array(path[::-1])
