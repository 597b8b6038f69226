"""Draw a mesh on an image with numpy alone: no GL, no window, no GPU.

Only the mesh's bounding box is touched, at twice the resolution, which smooths the outline.
"""

from __future__ import annotations

import cv2
import numpy as np

from semtta.geometry.raster import (
    front_faces,
    pixel_box,
    project_vertices,
    rasterize,
    vertex_normals,
)

DEFAULT_COLOR = (150, 190, 232)
_SUPERSAMPLE = 2
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
    pixels, usable = project_vertices(vertices, np.asarray(K, np.float64))
    box = pixel_box(pixels[usable], image.shape)
    if box is None:
        return image
    x0, y0, x1, y1 = box
    width, height = (x1 - x0) * _SUPERSAMPLE, (y1 - y0) * _SUPERSAMPLE
    points = (pixels - [x0 - 0.5, y0 - 0.5]) * _SUPERSAMPLE - 0.5  # sample (i, j) at (i, j)
    faces = front_faces(points, faces, usable)
    light = _vertex_light(vertices, faces)
    depth = 1 / np.where(usable, vertices[:, 2], 1)
    place, value = rasterize(points, faces, depth, light[:, None], width, height)
    samples = np.zeros(width * height, np.uint8)  # light 1-255; 0 where there is no surface
    samples[place] = np.clip(value[:, 0] * 255, 1, 255)
    _blend(image[y0:y1, x0:x1], samples.reshape(height, width), color, alpha)
    return image


def _vertex_light(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V,) light in [0, 1] at every vertex of the visible faces."""
    normals = vertex_normals(vertices, faces)
    wrapped = 0.25 + 0.75 * (normals @ _LIGHTS.T)  # light that bends around the form a little
    return np.clip(np.maximum(wrapped, 0) @ _STRENGTH, 0, 1)


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
