"""Light, backgrounds, things in front, and the camera of labelled renders."""

from __future__ import annotations

import cv2
import numpy as np

# ------------------------------------------------------------------------------- light


def shade(normals: np.ndarray, rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coloured surfaces under one sun or lamp, a fill light and the sky: (N, 3) RGB, 0-255.

    Args:
        normals: (N, 3) unit, camera frame."""
    key = _direction(rng, side=1.2, up=rng.uniform(0.2, 1.5), front=rng.uniform(-0.2, 1.2))
    fill = _direction(rng, side=1.5, up=0.2, front=1.0)
    warm = 1 + rng.uniform(-0.12, 0.12) * np.array([1.0, 0.1, -1.0])
    strength = rng.uniform(0.45, 0.95)
    wrap = rng.uniform(0.0, 0.35)
    light = strength * np.clip((normals @ key + wrap) / (1 + wrap), 0, 1)
    light = light + rng.uniform(0.05, 0.25) * np.clip(normals @ fill, 0, 1)
    sky = rng.uniform(0.18, 0.5) * (1 - 0.35 * normals[:, 1])  # y points down
    return rgb * (light[:, None] * warm + sky[:, None] * (2 - warm))


def _direction(rng: np.random.Generator, side: float, up: float, front: float) -> np.ndarray:
    v = np.array([rng.uniform(-side, side), -up, -front])
    return v / np.linalg.norm(v)


# ------------------------------------------------------------------------- backgrounds


def random_background(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size, 3) float32 RGB: a room, open ground, foliage or clutter."""
    kind = rng.choice(4, p=[0.35, 0.25, 0.2, 0.2])
    image = (_room, _outdoors, _foliage, _clutter)[kind](size, rng)
    if rng.uniform() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.02 * size))
    return np.clip(image, 0, 255)


def _noise(size: int, rng: np.random.Generator, finest: int = 32) -> np.ndarray:
    """(size, size) clouds of mean 0, several octaves."""
    out, weight, cells = np.zeros((size, size), np.float32), 1.0, int(rng.choice([2, 3, 5]))
    while cells <= finest:
        grid = rng.normal(0, weight, (cells, cells)).astype(np.float32)
        out += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight * rng.uniform(0.4, 0.8)
    return out


def _fade(size: int, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(size, size, 3) from one colour to another along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    t = np.clip(0.5 + x * np.cos(angle) + y * np.sin(angle), 0, 1)[..., None]
    return (a * (1 - t) + b * t).astype(np.float32)


def _room(size: int, rng: np.random.Generator) -> np.ndarray:
    wall = _muted(rng)
    image = _fade(size, wall, wall * rng.uniform(0.6, 1.05), rng)
    horizon = int(size * rng.uniform(0.45, 0.95))
    floor = _fade(size, _muted(rng), _muted(rng) * 0.8, rng)[horizon:]
    image[horizon:] = floor + 8 * _noise(size, rng)[horizon:, :, None]
    if rng.uniform() < 0.4:  # boards or tiles, towards a vanishing point
        for x in np.linspace(-2 * size, 3 * size, 24):
            cv2.line(image, (size // 2, horizon - size // 6), (int(x), size),
                     tuple(map(float, floor.mean((0, 1)) * 0.85)), 1, cv2.LINE_AA)  # fmt: skip
        image[:horizon] = _fade(size, wall, wall * 0.8, rng)[:horizon]
    for _ in range(rng.integers(0, 14)):
        _furniture(image, horizon, rng)
    return image + 3 * _noise(size, rng)[..., None]


def _furniture(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    size = len(image)
    w, h = (rng.uniform(0.08, 0.45, 2) * size).astype(int)
    x = int(rng.uniform(-0.1, 1) * size)
    stands = rng.uniform() < 0.5
    y = horizon + int(rng.uniform(0, 0.12) * size) - h if stands else int(
        rng.uniform(0, 0.5) * size)  # fmt: skip
    colour = tuple(map(float, _muted(rng) if rng.uniform() < 0.7 else random_colour(rng)))
    cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
    dark = tuple(0.6 * c for c in colour)
    cv2.rectangle(image, (x, y), (x + w, y + h), dark, 1)
    for k in range(int(rng.integers(0, 4))):
        row = y + (k + 1) * h // 5
        cv2.line(image, (x, row), (x + w, row), dark, 1)


def _outdoors(size: int, rng: np.random.Generator) -> np.ndarray:
    sky = np.array([150, 185, 225]) * rng.uniform(0.6, 1.1) + rng.normal(0, 15, 3)
    image = _fade(size, sky, sky * 0.4 + 150, rng) + 10 * _noise(size, rng, 16)[..., None]
    horizon = int(size * rng.uniform(0.3, 0.8))
    ground = np.array(rng.choice([[92, 120, 60], [150, 140, 120], [120, 120, 122], [196, 178, 140]],
                                 axis=0)) * rng.uniform(0.6, 1.2)  # fmt: skip
    image[horizon:] = ground + 14 * _noise(size, rng, 64)[horizon:, :, None]
    trees = np.array([60, 88, 50]) * rng.uniform(0.5, 1.2)
    edge = horizon - np.abs(_noise(size, rng, 64)[0]) * size * rng.uniform(0.02, 0.2)
    rows = np.arange(size)[:, None]
    mask = (rows > edge[None]) & (rows < horizon)
    image[mask] = trees + 18 * _noise(size, rng, 64)[mask][:, None]
    return image


def _foliage(size: int, rng: np.random.Generator) -> np.ndarray:
    base, other = random_colour(rng), random_colour(rng)
    mix = np.clip(0.5 + 0.4 * _noise(size, rng, 64), 0, 1)[..., None]
    return (base * (1 - mix) + other * mix).astype(np.float32)


def _clutter(size: int, rng: np.random.Generator) -> np.ndarray:
    image = _fade(size, random_colour(rng), random_colour(rng), rng)
    for _ in range(rng.integers(4, 18)):
        points = (rng.uniform(-0.2, 1.2, 2) + rng.normal(0, 0.15, (rng.integers(3, 6), 2))) * size
        cv2.fillPoly(image, [points.astype(np.int32)], tuple(map(float, random_colour(rng))),
                     cv2.LINE_AA)  # fmt: skip
    return image + 6 * _noise(size, rng)[..., None]


# ------------------------------------------------------------------------------ camera


def occlude(image: np.ndarray, rng: np.random.Generator) -> None:
    """Something in front of the person, in place."""
    size = len(image)
    texture = random_background(size, rng)
    center, extent = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0.06, 0.2, 2) * size
    mask = np.zeros((size, size), np.uint8)
    if rng.uniform() < 0.5:
        corners = [*(center - extent).astype(int), *(center + extent).astype(int)]
        cv2.rectangle(mask, tuple(map(int, corners[:2])), tuple(map(int, corners[2:])), 255, -1)
    else:
        cv2.ellipse(mask, tuple(map(int, center)), tuple(map(int, extent)),
                    float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)  # fmt: skip
    alpha = (mask / np.float32(255))[..., None]
    image[:] = image * (1 - alpha) + texture * alpha


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, blur, noise and compression of a camera: float RGB -> uint8."""
    gamma = rng.uniform(0.75, 1.35)
    image = 255 * (np.clip(image, 0, 255) / 255) ** gamma
    image = image * (1 + rng.uniform(-0.08, 0.08, 3))
    if rng.uniform() < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.1))
    if rng.uniform() < 0.5:
        image = image + rng.normal(0, rng.uniform(1, 8), image.shape)
    image = np.clip(image, 0, 255).astype(np.uint8)
    if rng.uniform() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))]
        decoded = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded just now
        return decoded
    return image


# ------------------------------------------------------------------------------ colours


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """Any hue; greys, blacks and whites as often as clothes have them."""
    if rng.uniform() < 0.4:
        return np.clip(rng.uniform(10, 245) + rng.normal(0, 6, 3), 0, 255)
    hue, saturation, value = rng.uniform(0, 180), rng.beta(2, 2) * 255, rng.uniform(40, 250)
    pixel = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def _muted(rng: np.random.Generator) -> np.ndarray:
    return np.clip(rng.uniform(50, 225) + rng.normal(0, 12, 3), 0, 255)
