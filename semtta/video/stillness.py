"""Whether a camera stands still: what the picture outside the people does between frames."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from semtta.video.info import VideoSource
from semtta.video.reader import read_frames

_SIDE = 640  # long side at which pictures are compared, pixels
_CORNERS = 600  # most looked at in one picture
_ENOUGH = 20  # matches that agree: fewer say nothing
_AGREE = 2.0  # pixels
_MARGIN = 0.1  # of a box, around it
_UNLIKE = 64  # differing bits of 256 above which two corners are not one


def camera_shift(
    video: VideoSource,
    first: int,
    last: int,
    people: Callable[[int], np.ndarray],
    samples: int = 11,
) -> float | None:
    """How far the background moves at most between sampled frames, as a share of the diagonal.

    Corners (ORB) outside the people are matched between neighbouring samples, and between the
    first and the last; a similarity that most of them agree on (RANSAC) moves the picture's
    corners by the number returned.

    Args:
        video: as ``read_frames`` takes it; it is decoded up to ``last``.
        first, last: frame numbers between which to look.
        people: frame number -> (N, 4) boxes x0 y0 x1 y1, image pixels, that are left out.
        samples: frames compared.
    Returns: None where fewer than half of the pairs show enough background to tell."""
    wanted = set(np.linspace(first, last, min(samples, last - first + 1)).round().astype(int))
    seen = []
    for index, _, image in read_frames(video):
        if index in wanted:
            seen.append(_corners(image, people(index)))
            size = image.shape[1], image.shape[0]
        if index >= last:
            break
    pairs = [*zip(seen[:-1], seen[1:]), (seen[0], seen[-1])] if len(seen) > 1 else []
    shifts = [_shift(a, b, _small(*size)) for a, b in pairs]
    known = [shift for shift in shifts if shift is not None]
    return max(known) if 2 * len(known) >= len(pairs) and known else None


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, _SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _corners(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Places (N, 2) at working size and descriptors of a picture's corners outside boxes."""
    size = _small(image.shape[1], image.shape[0])
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    mask = np.full(grey.shape, 255, np.uint8)
    for x0, y0, x1, y1 in np.asarray(boxes, float).reshape(-1, 4) * (size[0] / image.shape[1]):
        aside, above = _MARGIN * (x1 - x0), _MARGIN * (y1 - y0)
        left, top = max(0, int(x0 - aside)), max(0, int(y0 - above))
        mask[top : max(0, int(y1 + above) + 1), left : max(0, int(x1 + aside) + 1)] = 0
    points, descriptors = cv2.ORB.create(_CORNERS).detectAndCompute(grey, mask)
    return np.array([point.pt for point in points], np.float32).reshape(-1, 2), descriptors


def _shift(a, b, size: tuple[int, int]) -> float | None:
    """Mean way of the picture's corners from one picture to another, in diagonals."""
    (from_points, first), (to_points, second) = a, b
    if first is None or second is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(first, second)
    matches = [match for match in matches if match.distance < _UNLIKE]
    if len(matches) < _ENOUGH:
        return None
    start = from_points[[match.queryIdx for match in matches]]
    end = to_points[[match.trainIdx for match in matches]]
    cv2.setRNGSeed(0)
    move, agree = cv2.estimateAffinePartial2D(start, end, ransacReprojThreshold=_AGREE)
    if move is None or int(agree.sum()) < _ENOUGH:
        return None
    width, height = size
    ends = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    moved = ends @ move[:, :2].T + move[:, 2]
    return float(np.linalg.norm(moved - ends, axis=1).mean() / np.hypot(width, height))
