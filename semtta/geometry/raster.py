"""Rasterise a triangle mesh with numpy alone: no GL, no window, no GPU.

A vectorised scan-line z-buffer. Triangles are cut into horizontal spans, spans into samples;
depth and the values to be interpolated are linear along a span, so that each costs one
multiply-add per sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NEAR = 0.05  # metres; triangles that come closer to the camera are left out


def project_vertices(vertices: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where vertices are on the image, and which can be drawn.

    Args:
        vertices: (V, 3) metres, camera frame (x right, y down, z forward).
        K: (3, 3) intrinsics; pixel (0, 0) is the centre of the top-left pixel.

    Returns:
        (V, 2) pixels and (V,) bool: finite and in front of the camera.
    """
    usable = np.isfinite(vertices).all(1) & (vertices[:, 2] > _NEAR)
    safe = np.where(usable[:, None], vertices, [0, 0, 1]).astype(np.float64)
    return (safe @ K.T)[:, :2] / safe[:, 2:], usable


def pixel_box(pixels: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Bounding box x0 y0 x1 y1 (end exclusive) inside the image; None if there is none."""
    if not len(pixels):
        return None
    limit = [shape[1], shape[0]]
    low = np.clip(np.floor(pixels.min(0)), 0, limit).astype(int)
    high = np.clip(np.ceil(pixels.max(0)) + 1, 0, limit).astype(int)
    return None if (high <= low).any() else (*low.tolist(), *high.tolist())


def front_faces(points: np.ndarray, faces: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Usable faces whose outside is seen (clockwise on the screen, where y points down)."""
    faces = faces[usable[faces].all(1)]
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    u, v = b - a, c - a
    return faces[u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0]


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) float32 unit normals, area-weighted over these faces; zero where a vertex has none."""
    corners = vertices[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index, count = faces.T.ravel(), len(vertices)
    normals = np.stack(
        [np.bincount(index, np.tile(area[:, axis], 3), minlength=count) for axis in range(3)], 1
    ).astype(np.float32)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)


def rasterize(
    points: np.ndarray,
    faces: np.ndarray,
    depth: np.ndarray,
    values: np.ndarray,
    width: int,
    height: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the nearest surface at every sample that a mesh covers.

    Args:
        points: (V, 2) samples; sample (i, j) is at (i, j).
        faces: (F, 3) of :func:`front_faces`.
        depth: (V,) 1 / z: linear on the screen, unlike z.
        values: (V, C) interpolated linearly on the screen.
        width, height: samples.

    Returns:
        (N,) increasing positions in the flat (height, width) buffer, and (N, C) float32 values
        there.
    """
    channels = np.concatenate([np.asarray(depth)[:, None], values], 1)
    return _fill(_spans(points, faces, channels, width, height), width, height)


@dataclass
class _Spans:
    """Horizontal runs of samples, each inside one triangle; far triangles first."""

    start: np.ndarray  # (S,) position of the first sample in the flat buffer
    length: np.ndarray  # (S,) samples
    value: np.ndarray  # (1 + C, S) depth and values at the first sample
    slope: np.ndarray  # (1 + C, S) change per sample


def _spans(points, faces, values, width: int, height: int) -> _Spans:
    """Cut triangles into spans.

    A sample on an edge belongs to the triangle on its right (below, for rows), so that
    neighbours neither overlap nor leave a crack.
    """
    faces = faces[np.argsort(values[faces, 0].sum(1), kind="stable")]
    top = points[faces, 1].argmin(1)
    faces = np.take_along_axis(faces, (top[:, None] + np.arange(3)) % 3, 1)
    edge, rows = _halves(points[faces], height)
    count = rows[:, 1] - rows[:, 0]
    half = np.repeat(np.arange(len(count), dtype=np.int32), count)
    y = np.arange(len(half)) - (np.cumsum(count) - count - rows[:, 0])[half]
    left, right = (edge[side, 0][half] + edge[side, 1][half] * y for side in (0, 1))
    begin = np.ceil(np.fmax(left, 0)).astype(np.int32)
    length = np.ceil(np.fmin(right, width)).astype(np.int32) - begin
    hit = np.flatnonzero(length > 0)
    y, begin, length, owner = y[hit], begin[hit], length[hit], half[hit] // 2
    value, slope = np.empty((2, values.shape[1], len(hit)), np.float32)
    for i, (base, dx, dy) in enumerate(zip(*_planes(points[faces], values[faces]))):
        slope[i] = along = dx[owner]
        value[i] = base[owner] + along * begin + dy[owner] * y
    return _Spans(y * width + begin, length, value, slope)


def _halves(corner: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles cut in two at the height of their middle corner: then each side is one edge.

    Args:
        corner: (F, 3, 2) of front faces, the top one first; so the first edge bounds the triangle
            on the left, the last one on the right, and the second either.
    Returns: edges (2, 2, 2F): left and right, x = first + second * y; rows (2F, 2) from, to."""
    ax, ay = corner[..., 0].T, corner[..., 1].T
    bx, by = np.roll(ax, -1, 0), np.roll(ay, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Written so that both triangles of an edge compute the very same number.
        line = np.stack([(ax * by - bx * ay) / (by - ay), (bx - ax) / (by - ay)])  # (2, 3, F)
    on_left = ay[1] < ay[2]  # is the middle corner
    upper = [line[:, 0], line[:, 2]]
    lower = [np.where(on_left, line[:, 1], line[:, 0]), np.where(on_left, line[:, 2], line[:, 1])]
    cut = np.stack([ay[0], np.minimum(ay[1], ay[2]), np.maximum(ay[1], ay[2])], 1)
    cut = np.clip(np.ceil(cut), 0, height).astype(np.int64)
    edges = np.stack([np.stack(upper), np.stack(lower)], -1)  # (2, 2, F, 2)
    return edges.reshape(2, 2, -1), np.stack([cut[:, :2], cut[:, 1:]], 1).reshape(-1, 2)


def _planes(corner: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(C, F) each of base, dx, dy: value = base + dx * x + dy * y of corners (F, 3, 2) with values
    (F, 3, C)."""
    x, y = corner[..., 0].T, corner[..., 1].T
    origin, rise1, rise2 = (
        value[:, 0].T,
        (value[:, 1] - value[:, 0]).T,
        (value[:, 2] - value[:, 0]).T,
    )
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    area = np.where(np.abs(area) < 1e-9, -1e-9, area)
    dx = (rise1 * (y[2] - y[0]) - rise2 * (y[1] - y[0])) / area
    dy = (rise2 * (x[1] - x[0]) - rise1 * (x[2] - x[0])) / area
    return origin - dx * x[0] - dy * y[0], dx, dy


def _fill(spans: _Spans, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the samples that nothing hides; see :func:`rasterize`."""
    before = (np.cumsum(spans.length) - spans.length).astype(np.int32)
    span = np.repeat(np.arange(len(before), dtype=np.int32), spans.length)
    count = np.arange(len(span), dtype=np.int32)
    place = count + (spans.start - before).astype(np.int32)[span]

    def values(sample: np.ndarray, channels: slice) -> list[np.ndarray]:
        of = span[sample]
        step = (sample - before[of]).astype(np.float32)
        both = zip(spans.value[channels], spans.slope[channels])
        return [value[of] + slope[of] * step for value, slope in both]

    nearest = np.full(width * height, -1, np.int32)
    # Later writes win and near triangles come last, so few samples need a look at their depth.
    nearest[place] = count
    other = np.flatnonzero(nearest[place] != count)
    while len(other):
        (depth,), (over,) = (values(x, slice(1)) for x in (other, nearest[place[other]]))
        other = other[depth > over]
        nearest[place[other]] = other
        other = other[nearest[place[other]] != other]
    seen = np.flatnonzero(nearest >= 0)
    found = values(nearest[seen], slice(1, None))
    return seen, np.stack(found, 1) if found else np.zeros((len(seen), 0), np.float32)
