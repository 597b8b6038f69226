"""What renders look like: clothes, skin and hair by place on the body, light, backgrounds, camera.

Clothes are painted and, where they are loose, pushed out along the skin's normals. Everything is
a function of the point's place on the body in its T-pose (x to the body's left, y up, metres), so
that edges of sleeves and trousers are sharp whatever the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SKIN, TOP, BOTTOM, SHOES, HAIR, EYES = range(6)
# sRGB of skin from light to dark; in between by interpolation
_SKIN = np.array([[244, 208, 178], [224, 172, 138], [178, 121, 84], [120, 78, 54], [74, 48, 36]])
_HAIR = np.array([[28, 22, 20], [66, 44, 30], [112, 78, 46], [190, 152, 92], [150, 148, 146]])


@dataclass(frozen=True)
class Landmarks:
    """Heights and reaches of the T-posed body, metres.

    Args:
        hip, knee, ankle, waist, shoulder, neck, top: y.
        shoulder_x, elbow_x, wrist_x: distance from the middle.
        eyes: (2, 3).
        sole: y of the feet.
    """

    hip: float
    knee: float
    ankle: float
    waist: float
    shoulder: float
    neck: float
    top: float
    shoulder_x: float
    elbow_x: float
    wrist_x: float
    eyes: np.ndarray
    sole: float


@dataclass(frozen=True)
class Pattern:
    """A cloth.

    Args:
        colours: (2, 3) RGB.
        waves: (W, 3) radians per metre along x, y, z.
        phases: (W,).
        sharp: how hard the edges between the two colours are; 0 = plain.
    """

    colours: np.ndarray
    waves: np.ndarray
    phases: np.ndarray
    sharp: float

    def at(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) places on the body -> (N, 3) RGB."""
        if self.sharp == 0:
            return np.broadcast_to(self.colours[0], points.shape)
        height = np.sin(points @ self.waves.T + self.phases).mean(1)
        mix = np.clip(0.5 + self.sharp * height, 0, 1)[:, None]
        return self.colours[0] * (1 - mix) + self.colours[1] * mix


@dataclass(frozen=True)
class Outfit:
    """Who is shown.

    Args:
        skin, hair, shoes: RGB.
        top, bottom: cloths.
        waist, sleeve, leg, neckline, hairline, hair_end, shoe: where things end, metres on the
            body.
        bare: whether there is no top.
        loose: how far top, bottom and hair stand off the skin, metres.
    """

    skin: np.ndarray
    hair: np.ndarray
    shoes: np.ndarray
    top: Pattern
    bottom: Pattern
    waist: float
    sleeve: float
    leg: float
    neckline: float
    hairline: float
    hair_end: float
    shoe: float
    bare: bool
    loose: tuple[float, float, float]


def random_outfit(marks: Landmarks, rng: np.random.Generator) -> Outfit:
    """Clothes as people wear them: short or long sleeves and legs, plain or patterned."""
    tone = rng.uniform(0, len(_SKIN) - 1)
    skin = _between(_SKIN, tone) + rng.normal(0, 5, 3)
    hair = _between(_HAIR, rng.uniform(0, len(_HAIR) - 1)) + rng.normal(0, 8, 3)
    reach = marks.wrist_x - marks.shoulder_x
    sleeves = (-0.05, 0.12, 0.35, 0.5, 0.97)  # none, short, ... , long; shares of the arm
    sleeve = marks.shoulder_x + reach * (rng.choice(sleeves, p=[0.1, 0.15, 0.3, 0.1, 0.35])
                                         + rng.normal(0, 0.03))  # fmt: skip
    thigh, shin = marks.hip - marks.knee, marks.knee - marks.ankle
    legs = (marks.hip - 0.35 * thigh, marks.knee + 0.1 * thigh, marks.knee - 0.5 * shin,
            marks.ankle + 0.02)  # fmt: skip
    top = _random_pattern(rng)
    bottom = top if rng.uniform() < 0.12 else _random_pattern(rng)
    long_hair = rng.uniform() < 0.35
    return Outfit(
        skin=np.clip(skin, 20, 255), hair=np.clip(hair, 5, 240),
        shoes=_random_colour(rng) * rng.uniform(0.3, 1),
        top=top, bottom=bottom,
        waist=marks.waist - rng.uniform(0, 0.14),
        sleeve=sleeve,
        leg=float(rng.choice(legs, p=[0.1, 0.15, 0.1, 0.65])),
        neckline=marks.neck - rng.uniform(0.0, 0.06),
        hairline=rng.uniform(0.03, 0.09),
        hair_end=marks.neck - rng.uniform(0, 0.15) if long_hair else marks.neck + 0.08,
        shoe=marks.ankle - 0.01 + (rng.uniform(0.05, 0.2) if rng.uniform() < 0.2 else 0.0)
        - 9.0 * (rng.uniform() < 0.15),  # no shoes
        bare=rng.uniform() < 0.15,
        loose=(rng.choice([0.0, 0.008, 0.02]), rng.choice([0.0, 0.008, 0.02]),
               rng.uniform(0.004, 0.03)),
    )  # fmt: skip


def regions(points: np.ndarray, marks: Landmarks, outfit: Outfit) -> np.ndarray:
    """(N, 3) places on the T-posed body -> (N,) SKIN, TOP, ..."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    out = np.full(len(points), SKIN)
    arm = (x > marks.shoulder_x) & (y > marks.shoulder - 0.2)  # hips are as wide
    torso = (y < outfit.neckline - 0.12 * (z > 0.04)) & (x <= marks.shoulder_x + 0.02)
    if not outfit.bare:
        out[torso | (arm & (x < outfit.sleeve))] = TOP
    out[(y < outfit.waist) & ~arm & (y > outfit.leg)] = BOTTOM
    out[(y <= outfit.waist) & (y <= outfit.leg) & ~arm] = SKIN
    out[(y < outfit.shoe) & ~arm] = SHOES
    front = marks.top - outfit.hairline
    head = (x < 0.14) & (y > outfit.hair_end)
    face = (z > 0.03) & (y < front)
    out[head & ~face & (y > marks.neck)] = HAIR
    out[head & (z < -0.02) & (y <= marks.neck) & (x < 0.1)] = HAIR
    for eye in marks.eyes:
        out[((points - eye) ** 2).sum(1) < 0.012**2] = EYES
    return out


def colours(points: np.ndarray, part: np.ndarray, outfit: Outfit) -> np.ndarray:
    """(N, 3) RGB before light."""
    plain = {SKIN: outfit.skin, SHOES: outfit.shoes, HAIR: outfit.hair,
             EYES: np.array([35.0, 28, 26])}  # fmt: skip
    rgb = np.empty((len(points), 3), np.float32)
    for kind, colour in plain.items():
        rgb[part == kind] = colour
    for kind, cloth in ((TOP, outfit.top), (BOTTOM, outfit.bottom)):
        rgb[part == kind] = cloth.at(points[part == kind])
    streak = (part == HAIR).astype(np.float32) * np.sin(points[:, 0] * 260 + points[:, 2] * 90)
    return rgb * (1 + 0.12 * streak[:, None])


def stand_off(points: np.ndarray, part: np.ndarray, outfit: Outfit) -> np.ndarray:
    """(N,) metres by which clothes and hair stand off the skin; folds in loose cloth."""
    off = np.zeros(len(points))
    for kind, depth in zip((TOP, BOTTOM, HAIR), outfit.loose):
        off[part == kind] = depth
    folds = np.sin(points @ outfit.top.waves[0] + points[:, 1] * 45)
    return off * (1 + 0.4 * folds) + 0.012 * (part == SHOES)


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
    colour = tuple(map(float, _muted(rng) if rng.uniform() < 0.7 else _random_colour(rng)))
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
    base, other = _random_colour(rng), _random_colour(rng)
    mix = np.clip(0.5 + 0.4 * _noise(size, rng, 64), 0, 1)[..., None]
    return (base * (1 - mix) + other * mix).astype(np.float32)


def _clutter(size: int, rng: np.random.Generator) -> np.ndarray:
    image = _fade(size, _random_colour(rng), _random_colour(rng), rng)
    for _ in range(rng.integers(4, 18)):
        points = (rng.uniform(-0.2, 1.2, 2) + rng.normal(0, 0.15, (rng.integers(3, 6), 2))) * size
        cv2.fillPoly(image, [points.astype(np.int32)], tuple(map(float, _random_colour(rng))),
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
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image


# ------------------------------------------------------------------------------ colours


def _between(stops: np.ndarray, place: float) -> np.ndarray:
    low = min(int(place), len(stops) - 2)
    return stops[low] + (place - low) * (stops[low + 1] - stops[low])


def _random_colour(rng: np.random.Generator) -> np.ndarray:
    """Any hue; greys, blacks and whites as often as clothes have them."""
    if rng.uniform() < 0.4:
        return np.clip(rng.uniform(10, 245) + rng.normal(0, 6, 3), 0, 255)
    hue, saturation, value = rng.uniform(0, 180), rng.beta(2, 2) * 255, rng.uniform(40, 250)
    pixel = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def _muted(rng: np.random.Generator) -> np.ndarray:
    return np.clip(rng.uniform(50, 225) + rng.normal(0, 12, 3), 0, 255)


def _random_pattern(rng: np.random.Generator) -> Pattern:
    colours = np.stack([_random_colour(rng), _random_colour(rng)])
    kind = rng.choice(5, p=[0.55, 0.12, 0.1, 0.1, 0.13])
    step = rng.uniform(60, 220)
    along = {0: [[0, 1, 0]], 1: [[0, step, 0]], 2: [[step, 0, step]],
             3: [[0, step, 0], [step, 0, step]]}  # fmt: skip
    waves = np.array(along[kind], float) if kind in along else rng.normal(0, 70, (4, 3))
    sharp = 0.0 if kind == 0 else float(rng.choice([0.6, 3.0]))
    return Pattern(colours, waves, rng.uniform(0, 6.28, len(waves)), sharp)
