"""Paint other people out of a crop, so that the landmark network cannot follow them."""

from __future__ import annotations

import cv2
import numpy as np

from semtta.skeletons import COCO17

_GRAY = (128, 128, 128)
_SEEN = 0.1  # a limb is painted when both its ends are at least this sure
# Widths relative to the long side of the box, generous because clothes are.
_LIMB, _HEAD = 0.085, 0.075
_TRUNK = COCO17.indices(["left_shoulder", "right_shoulder", "right_hip", "left_hip"])
_FACE = COCO17.indices(["nose", "left_eye", "right_eye", "left_ear", "right_ear"])
_EDGES = COCO17.edge_indices()


def paint_over(image: np.ndarray, box: np.ndarray, xy: np.ndarray, conf: np.ndarray) -> None:
    """Draw a person's silhouette in gray, in place, from box (4,) and COCO keypoints (17, 2)."""
    side = float(max(box[2] - box[0], box[3] - box[1]))
    points = np.round(xy).astype(int)
    seen = conf > _SEEN
    for a, b in _EDGES:
        if seen[a] and seen[b]:
            width = max(round(_LIMB * side), 1)
            cv2.line(image, tuple(points[a].tolist()), tuple(points[b].tolist()), _GRAY, width)
    if seen[_TRUNK].all():
        cv2.fillConvexPoly(image, cv2.convexHull(points[_TRUNK].astype(np.int32)), _GRAY)
    face = xy[_FACE][seen[_FACE]]
    if len(face):
        center = tuple(np.round(face.mean(0)).astype(int).tolist())
        cv2.circle(image, center, max(round(_HEAD * side), 1), _GRAY, -1)


def overlaps(box: np.ndarray, center: np.ndarray, reach: float) -> bool:
    """Whether a box (4,) comes within ``reach`` pixels of a point (2,)."""
    nearest = np.clip(center, box[:2], box[2:])
    return bool(np.linalg.norm(nearest - center) < reach)


def on_body(points: np.ndarray, box: np.ndarray, xy: np.ndarray, conf: np.ndarray) -> np.ndarray:
    """Whether points lie on the silhouette that ``paint_over`` would draw.

    Args:
        points: (..., J, 2) pixels.
        box, xy, conf: (..., 4), (..., 17, 2), (..., 17) of who may hide them.
    Returns: (..., J) bool."""
    side = (box[..., 2:] - box[..., :2]).max(-1)[..., None]
    seen = conf > _SEEN
    found = np.zeros(points.shape[:-1], bool)
    cross = [(_TRUNK[0], _TRUNK[2]), (_TRUNK[1], _TRUNK[3])]
    for a, b in [*_EDGES, *cross]:
        drawn = (seen[..., a] & seen[..., b])[..., None]
        apart = _to_segment(points, xy[..., a, None, :], xy[..., b, None, :])
        found |= drawn & (apart < 0.65 * _LIMB * side)
    known = seen[..., _FACE, None]
    face = np.where(known, xy[..., _FACE, :], 0).sum(-2) / np.maximum(known.sum(-2), 1)
    off = np.linalg.norm(points - face[..., None, :], axis=-1)
    return found | (known.any(-2) & (off < _HEAD * side))


def _to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(..., J) distances of points (..., J, 2) to segments (..., 1, 2)."""
    along, off = end - start, points - start
    share = (off * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-9)
    return np.linalg.norm(off - np.clip(share, 0, 1)[..., None] * along, axis=-1)
