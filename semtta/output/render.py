"""Draw a mesh on an image with numpy alone: no GL, no window, no GPU.

A vectorised scan-line z-buffer. Triangles are cut into horizontal spans, spans into samples;
depth and light are linear along a span, so that each costs one multiply-add per sample. Only the
mesh's bounding box is touched, at twice the resolution, which smooths the outline.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

DEFAULT_COLOR = (150, 190, 232)
_SUPERSAMPLE = 2
_NEAR = 0.05  # metres; triangles that come closer to the camera are left out
# Directions towards the lights in the camera frame (x right, y down, z forward): a key light
# from the upper left, a fill from the right, one at the camera.
_LIGHTS = np.array([[-0.45, -0.75, -0.5], [0.85, -0.05, -0.5], [0.0, 0.0, -1.0]], np.float32)
_LIGHTS /= np.linalg.norm(_LIGHTS, axis=1, keepdims=True)
_STRENGTH = np.array([0.62, 0.18, 0.20], np.float32)


def render_mesh(
    image: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    K: np.ndarray,
    color: tuple[int, int, int] = DEFAULT_COLOR,
    alpha: float = 1.0,
) -> np.ndarray:
    """Draw a closed mesh over an image, smoothly shaded.

    Triangles that face away, touch the camera or hold a NaN are left out; what lies outside the
    image is cut off.

    Args:
        image: (H, W, 3) uint8 RGB.
        vertices: (V, 3) metres, camera frame (x right, y down, z forward).
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        K: (3, 3) intrinsics; pixel (0, 0) is the centre of the top-left pixel.
        color: RGB, 0-255.
        alpha: opacity, 0-1.

    Returns:
        (H, W, 3) uint8, a new image.
    """
    image = image.copy()
    vertices = np.asarray(vertices, np.float32)
    faces = np.asarray(faces)
    pixels, usable = _project(vertices, np.asarray(K, np.float64))
    box = _pixel_box(pixels[usable], image.shape)
    if box is None:
        return image
    x0, y0, x1, y1 = box
    width, height = (x1 - x0) * _SUPERSAMPLE, (y1 - y0) * _SUPERSAMPLE
    points = (pixels - [x0 - 0.5, y0 - 0.5]) * _SUPERSAMPLE - 0.5  # sample (i, j) at (i, j)
    faces = _front_faces(points, faces, usable)
    light = _vertex_light(vertices, faces)
    depth = 1 / np.where(usable, vertices[:, 2], 1)  # linear on the screen, unlike z
    spans = _spans(points, faces, np.stack([depth, light], 1), width, height)
    _blend(image[y0:y1, x0:x1], _fill(spans, width, height), color, alpha)
    return image


def _project(vertices: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, 2) pixels and (V,) bool: finite and in front of the camera."""
    usable = np.isfinite(vertices).all(1) & (vertices[:, 2] > _NEAR)
    safe = np.where(usable[:, None], vertices, [0, 0, 1]).astype(np.float64)
    return (safe @ K.T)[:, :2] / safe[:, 2:], usable


def _pixel_box(pixels: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Bounding box x0 y0 x1 y1 (end exclusive) inside the image; None if there is none."""
    if not len(pixels):
        return None
    limit = [shape[1], shape[0]]
    low = np.clip(np.floor(pixels.min(0)), 0, limit).astype(int)
    high = np.clip(np.ceil(pixels.max(0)) + 1, 0, limit).astype(int)
    return None if (high <= low).any() else (*low.tolist(), *high.tolist())


def _front_faces(points: np.ndarray, faces: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Usable faces whose outside is seen (clockwise on the screen, where y points down)."""
    faces = faces[usable[faces].all(1)]
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    u, v = b - a, c - a
    return faces[u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0]


def _vertex_light(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V,) light in [0, 1] at every vertex of the visible faces."""
    corners = vertices[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index, count = faces.T.ravel(), len(vertices)
    normals = np.stack(
        [np.bincount(index, np.tile(area[:, axis], 3), minlength=count) for axis in range(3)], 1
    ).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    wrapped = 0.25 + 0.75 * (normals @ _LIGHTS.T)  # light that bends around the form a little
    return np.clip(np.maximum(wrapped, 0) @ _STRENGTH, 0, 1)


@dataclass
class _Spans:
    """Horizontal runs of samples, each inside one triangle; far triangles first."""

    start: np.ndarray  # (S,) position of the first sample in the flat buffer
    length: np.ndarray  # (S,) samples
    value: np.ndarray  # (S, 2) depth and light at the first sample
    slope: np.ndarray  # (S, 2) change per sample


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


def _fill(spans: _Spans, width: int, height: int) -> np.ndarray:
    """(height, width) uint8: light of the nearest surface, 1-255; 0 where there is none."""
    total = int(spans.length.sum())
    before = np.cumsum(spans.length) - spans.length
    count = np.arange(total, dtype=np.int32)
    place = np.repeat((spans.start - before).astype(np.int32), spans.length) + count
    step = (count - np.repeat(before.astype(np.int32), spans.length)).astype(np.float32)

    def along(i):
        slope = np.repeat(spans.slope[:, i], spans.length)
        return np.repeat(spans.value[:, i], spans.length) + slope * step

    depth = along(0)
    nearest = np.zeros(width * height, np.float32)
    # Later writes win and near triangles come last, so few samples need a second look.
    samples, where = depth, place
    while len(samples):
        nearest[where] = samples
        hidden = samples > nearest[where]
        samples, where = samples[hidden], where[hidden]
    seen = depth == nearest[place]
    light = np.zeros(width * height, np.uint8)
    light[place[seen]] = np.clip(along(1)[seen] * 255, 1, 255)
    return light.reshape(height, width)


def _blend(region: np.ndarray, light: np.ndarray, color, alpha: float) -> None:
    """Average the samples of every pixel and lay the colour over the image region, in place."""
    size = region.shape[1::-1]
    covered = cv2.threshold(light, 0, 255, cv2.THRESH_BINARY)[1]
    coverage = cv2.resize(covered, size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    seen = coverage > 0
    covered = coverage[seen].astype(np.float32)
    level = np.minimum(mean[seen].astype(np.float32) * 255 / covered, 255).astype(np.uint8)
    weight = (alpha / 255 * covered)[:, None]
    old, new = region[seen].astype(np.float32), _ramp(color)[level]
    region[seen] = old + (new - old) * weight + 0.5


def _ramp(color: tuple[int, int, int]) -> np.ndarray:
    """(256, 3) colours from shadow over the plain colour to a highlight."""
    base = np.asarray(color, np.float32)
    stops = np.stack([0.3 * base, base, 0.5 * base + 0.5 * 255])
    light = np.linspace(0, 1, 256)
    ramp = [np.interp(light, [0.05, 0.7, 1.0], stops[:, channel]) for channel in range(3)]
    return np.stack(ramp, 1).astype(np.float32)
