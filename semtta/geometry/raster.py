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
        (N,) positions in the flat (height, width) buffer, each once or, where two surfaces have
        the very same depth, twice; and (N, C) float32 values there.
    """
    channels = np.concatenate([np.asarray(depth)[:, None], values], 1)
    spans = _spans(points, faces, channels, width, height)
    return _fill(spans, width, height)


@dataclass
class _Spans:
    """Horizontal runs of samples, each inside one triangle; far triangles first."""

    start: np.ndarray  # (S,) position of the first sample in the flat buffer
    length: np.ndarray  # (S,) samples
    value: np.ndarray  # (S, 1 + C) depth and values at the first sample
    slope: np.ndarray  # (S, 1 + C) change per sample


def _spans(points, faces, values, width: int, height: int) -> _Spans:
    """Cut triangles into spans.

    A sample on an edge belongs to the triangle on its right (below, for rows), so that
    neighbours neither overlap nor leave a crack.
    """
    faces = faces[np.argsort(values[faces, 0].sum(1), kind="stable")]
    corner = points[faces]  # (F, 3, 2)
    first = np.clip(np.ceil(corner[..., 1].min(1)), 0, height).astype(np.int64)
    last = np.clip(np.ceil(corner[..., 1].max(1)), 0, height).astype(np.int64)
    rows = np.maximum(last - first, 0)
    owner = np.repeat(np.arange(len(faces)), rows)
    y = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows - first, rows)

    low, high = np.zeros(len(y)), np.full(len(y), float(width))
    for i in range(3):
        (ax, ay), (bx, by) = corner[:, i].T, corner[:, (i + 1) % 3].T
        rise = (by - ay)[owner]
        with np.errstate(divide="ignore", invalid="ignore"):
            # Written so that both triangles of an edge compute the very same number.
            crossing = ((ax * by - bx * ay)[owner] + (bx - ax)[owner] * y) / rise
        low = np.where(rise > 0, np.fmax(low, crossing), low)
        high = np.where(rise < 0, np.fmin(high, crossing), high)
    begin = np.ceil(low).astype(np.int64)
    length = np.ceil(high).astype(np.int64) - begin
    hit = length > 0
    owner, y, begin, length = owner[hit], y[hit], begin[hit], length[hit]

    # value(x, y) = value at corner 0 + gradient . ((x, y) - corner 0)
    origin = values[faces[:, 0]]
    along, across = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    area = np.where(np.abs(area) < 1e-9, -1e-9, area)[:, None]
    rise1, rise2 = values[faces[:, 1]] - origin, values[faces[:, 2]] - origin
    dx = (rise1 * across[:, 1:] - rise2 * along[:, 1:]) / area
    dy = (rise2 * along[:, :1] - rise1 * across[:, :1]) / area
    offset = np.stack([begin, y], 1) - corner[owner, 0]
    value = origin[owner] + dx[owner] * offset[:, :1] + dy[owner] * offset[:, 1:]
    return _Spans(y * width + begin, length, value.astype(np.float32), dx[owner].astype(np.float32))


def _fill(spans: _Spans, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the samples that nothing hides; see :func:`rasterize`."""
    total = int(spans.length.sum())
    before = np.cumsum(spans.length) - spans.length
    count = np.arange(total, dtype=np.int32)
    place = np.repeat((spans.start - before).astype(np.int32), spans.length) + count
    step = (count - np.repeat(before.astype(np.int32), spans.length)).astype(np.float32)
    slope = np.repeat(spans.slope[:, 0], spans.length)
    depth = np.repeat(spans.value[:, 0], spans.length) + slope * step
    nearest = np.zeros(width * height, np.float32)
    # Later writes win and near triangles come last, so few samples need a second look.
    samples, where = depth, place
    while len(samples):
        nearest[where] = samples
        hidden = samples > nearest[where]
        samples, where = samples[hidden], where[hidden]
    seen = np.flatnonzero(depth == nearest[place])
    owner = np.repeat(np.arange(len(spans.length)), spans.length)[seen]
    step = step[seen, None]
    return place[seen], spans.value[owner, 1:] + spans.slope[owner, 1:] * step
