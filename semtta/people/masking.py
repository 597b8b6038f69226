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
    """(J,) whether points (J, 2) lie on the silhouette that ``paint_over`` would draw."""
    side = float(max(box[2] - box[0], box[3] - box[1]))
    seen = conf > _SEEN
    found = np.zeros(len(points), bool)
    cross = [(_TRUNK[0], _TRUNK[2]), (_TRUNK[1], _TRUNK[3])]
    for a, b in [*_EDGES, *cross]:
        if seen[a] and seen[b]:
            found |= _to_segment(points, xy[a], xy[b]) < 0.65 * _LIMB * side
    face = xy[_FACE][seen[_FACE]]
    if len(face):
        found |= np.linalg.norm(points - face.mean(0), axis=1) < _HEAD * side
    return found


def _to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(J,) distances of points (J, 2) to a segment."""
    along = end - start
    share = (points - start) @ along / max(float(along @ along), 1e-9)
    return np.linalg.norm(points - start - np.clip(share, 0, 1)[:, None] * along, axis=1)
