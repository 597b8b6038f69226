"""Who is rendered: clothes, skin and hair by place on the body.

Clothes are painted and, where they are loose, pushed out along the skin's normals. Everything is
a function of the point's place on the body in its T-pose (x to the body's left, y up, metres), so
that edges of sleeves and trousers are sharp whatever the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semtta.pose2d.synth_scene import random_colour

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


def random_skin(rng: np.random.Generator) -> np.ndarray:
    """(3,) RGB of somebody's skin, from light to dark."""
    tone = rng.uniform(0, len(_SKIN) - 1)
    return np.clip(_between(_SKIN, tone) + rng.normal(0, 5, 3), 20, 255)


def random_outfit(marks: Landmarks, rng: np.random.Generator) -> Outfit:
    """Clothes as people wear them: short or long sleeves and legs, plain or patterned."""
    skin = random_skin(rng)
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
        skin=skin, hair=np.clip(hair, 5, 240),
        shoes=random_colour(rng) * rng.uniform(0.3, 1),
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


def _between(stops: np.ndarray, place: float) -> np.ndarray:
    low = min(int(place), len(stops) - 2)
    return stops[low] + (place - low) * (stops[low + 1] - stops[low])


def _random_pattern(rng: np.random.Generator) -> Pattern:
    colours = np.stack([random_colour(rng), random_colour(rng)])
    kind = rng.choice(5, p=[0.55, 0.12, 0.1, 0.1, 0.13])
    step = rng.uniform(60, 220)
    along = {0: [[0, 1, 0]], 1: [[0, step, 0]], 2: [[step, 0, step]],
             3: [[0, step, 0], [step, 0, step]]}  # fmt: skip
    waves = np.array(along[kind], float) if kind in along else rng.normal(0, 70, (4, 3))
    sharp = 0.0 if kind == 0 else float(rng.choice([0.6, 3.0]))
    return Pattern(colours, waves, rng.uniform(0, 6.28, len(waves)), sharp)
