"""Where the landmark network looks: one rotated square per frame, steady over time.

The network is sensitive to its crop, and a crop seeded by the network's own last answer may walk
over to another person. Here the crops of a whole chain come from MoveNet's keypoints, which know
whose they are; single bad frames are voted down and the rest is smoothed without delay.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from semtta.people.blazepose import Roi, roi_from_points
from semtta.skeletons import COCO17

_SURE = 0.2
_REACH = 1.1  # the circle is this much larger than the farthest keypoint: hands and feet follow
_HIPS = COCO17.indices(["left_hip", "right_hip"])
_SHOULDERS = COCO17.indices(["left_shoulder", "right_shoulder"])


def roi_track(
    xy: np.ndarray, conf: np.ndarray, boxes: np.ndarray, times: np.ndarray, *, seconds: float = 0.1
) -> list[Roi]:
    """One ROI per frame.

    Args:
        xy, conf: (T, 17, 2), (T, 17) keypoints; confidence 0 where the frame has none.
        boxes: (T, 4) boxes of the same frames, gaps filled.
        times: (T,) seconds.
        seconds: width (one sigma) of the smoothing.
    """
    center, top, known = _axes(xy, conf)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    if known.any():
        center = fill_gaps(center - middle, known, times) + middle
        axis = fill_gaps(top - center, known, times)
    else:  # no hips or shoulders at all: an upright person in the middle of the box
        center, axis = middle, np.tile([0.0, -1.0], (len(times), 1))
    axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-6)
    radius = _radius(xy, conf, boxes, center)
    step = np.median(np.diff(times)) if len(times) > 1 else 1.0
    center, axis = (steady(v, seconds / step) for v in (center, axis))
    radius = steady(np.log(radius)[:, None], 2 * seconds / step)[:, 0]
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-6)
    tops = center + axis * np.exp(radius)[:, None]
    return [roi_from_points(c, t) for c, t in zip(center, tops)]


def _axes(xy: np.ndarray, conf: np.ndarray):
    """Mid hips, mid shoulders, and where both are known."""
    known = (conf[:, _HIPS + _SHOULDERS] > _SURE).sum(1) >= 3
    known &= (conf[:, _HIPS].max(1) > _SURE) & (conf[:, _SHOULDERS].max(1) > _SURE)
    return xy[:, _HIPS].mean(1), xy[:, _SHOULDERS].mean(1), known


def _radius(xy, conf, boxes, center) -> np.ndarray:
    """Distance from the centre to the farthest sure keypoint, at least 0.45 box sides."""
    far = np.linalg.norm(xy - center[:, None], axis=-1)
    far = np.where(conf > _SURE, far, 0).max(1)
    side = (boxes[:, 2:] - boxes[:, :2]).max(1)
    return _REACH * np.clip(far, 0.45 * side, 0.9 * side)


def fill_gaps(values: np.ndarray, known: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Linear interpolation over time of (T, D) values where ``known`` (T,) is false; the ends
    repeat the nearest known value."""
    columns = [np.interp(times, times[known], column[known]) for column in values.T]
    return np.stack(columns, 1)


def steady(values: np.ndarray, sigma: float) -> np.ndarray:
    """Median over about 2 sigma, then a Gaussian of sigma frames; no delay. (T, D) -> (T, D)."""
    window = min(2 * round(sigma) + 1, len(values) - (len(values) + 1) % 2)
    if window >= 3:
        values = median_filter(values, size=(window, 1), mode="nearest")
    return gaussian_filter1d(values, sigma, axis=0, mode="nearest") if len(values) > 1 else values
