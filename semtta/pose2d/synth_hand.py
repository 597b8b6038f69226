"""Labelled renders of hands in two styles, for training without a licensed data set.

The shipped CC0 hand, a left one, is posed within the limits of its joints and seen from anywhere.
``photo`` has skin, sleeves, light and cluttered backgrounds; ``flat`` is another renderer of the
same hands: an even colour in a few steps of light with an outline, on a plain background, with a
noisy camera. Image i of a seed and a style is the same however many are made, in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from semtta.body.hand import Hand, load_hand
from semtta.engine import Progress, silent, threaded_map
from semtta.errors import SemttaError
from semtta.geometry.raster import front_faces, rasterize, vertex_normals
from semtta.pose2d import synth_scene as scene
from semtta.pose2d.samples import Entry, KeypointSet
from semtta.pose2d.skeletons import HAND21
from semtta.pose2d.synth import SUPERSAMPLE, Render, crop_around, in_processes
from semtta.pose2d.synth_files import inside, write_folder
from semtta.pose2d.synth_hand_pose import random_hand, random_view
from semtta.pose2d.synth_look import random_skin

STYLES = ("photo", "flat")
_ROOM = (1.2, 1.9)  # sides of crops in units of the joints' extent
_NEAR, _DEEPER = 0.006, 0.004  # metres beside a joint in which its skin lies; how much deeper
_CUFF = -0.03  # y where the shortest sleeve ends, metres


@dataclass(frozen=True)
class HandRender(Render):
    """One labelled image of a hand; ``xy`` is (21, 2).

    Args:
        seen: (21,) bool: inside the image, and hidden neither by the hand nor by anything else.
    """

    seen: np.ndarray


def check_style(style: str) -> str:
    """The style; raises ``SemttaError`` for an unknown one."""
    if style not in STYLES:
        raise SemttaError(f"hands are rendered as {' or '.join(STYLES)}, not '{style}'.")
    return style


def render_hands(
    count: int, seed: int, size: int, style: str = "photo", first: int = 0, workers: int = 2
) -> Iterator[HandRender]:
    """Renders ``first`` to ``first + count - 1`` of a seed.

    Args:
        size: side of the square images, pixels.
        style: of ``STYLES``.
        workers: threads.
    Raises ``SemttaError`` for an unknown style."""
    number = STYLES.index(check_style(style))
    rngs = (np.random.default_rng([seed, first + i, number]) for i in range(count))
    yield from threaded_map(partial(_draw, size=size, style=style, hand=load_hand()), rngs, workers)


def hand_set(
    count: int, seed: int, size: int, style: str = "photo", workers: int = 2, processes: int = 1
) -> KeypointSet:
    """Renders as a set in memory, hidden joints labelled too.

    Args:
        processes: more than one pays from a few thousand images on; the images are the same."""
    part = partial(_part, seed=seed, size=size, style=check_style(style),
                   workers=workers if processes == 1 else 1)  # fmt: skip
    renders = in_processes(part, count, processes) if processes > 1 else part(count, 0)
    weight = np.ones(len(HAND21), np.float32)
    entries = [
        Entry(render.image, None, render.xy, weight, name=f"hand {i}")
        for i, render in enumerate(renders)
    ]
    return KeypointSet(f"{style} hands", HAND21, entries)


def _part(
    count: int, first: int, seed: int, size: int, style: str, workers: int
) -> list[HandRender]:
    return list(render_hands(count, seed, size, style, first, workers))


def write_hands(
    folder: str | Path, count: int, seed: int, size: int, style: str = "photo", *,
    workers: int = 2, overwrite: bool = False, progress: Progress = silent,
) -> Path:  # fmt: skip
    """Write renders as a COCO-style folder, see ``write_folder``."""
    renders = (
        (render.image, render.xy, np.where(render.seen, 2.0, inside(render.xy, size)))
        for render in render_hands(count, seed, size, check_style(style), workers=workers)
    )
    what = f"hands, {style}, seed {seed}"
    return write_folder(folder, renders, count, HAND21, "left hand", what, overwrite, progress)


# ------------------------------------------------------------------------------ one image


def _draw(rng: np.random.Generator, size: int, style: str, hand: Hand) -> HandRender:
    """One picture of one hand."""
    rotations, betas = random_hand(hand, rng)
    vertices, joints, rest = hand.posed(rotations, betas)
    rotation, distance = random_view(rng)
    middle = joints.mean(0)
    points = (vertices - middle) @ rotation.T + [0, 0, distance]
    joints = (joints - middle) @ rotation.T + [0, 0, distance]
    plane, place = (x[:, :2] / x[:, 2:] for x in (points, joints))
    scale, shift = crop_around(place, size, rng, _ROOM)
    xy = place * scale + shift
    side = size * SUPERSAMPLE
    dense = (plane * scale + shift + 0.5) * SUPERSAMPLE - 0.5  # sample (i, j) at (i, j)
    visible = front_faces(dense, hand.faces, points[:, 2] > 0.05)
    values = np.concatenate([vertex_normals(points, visible), rest, points[:, 2:]], 1)
    where, value = rasterize(dense, visible, 1 / points[:, 2], values, side, side)
    normal = value[:, :3] / (np.linalg.norm(value[:, :3], axis=1, keepdims=True) + 1e-9)
    depth = np.full(side * side, np.inf, np.float32)
    depth[where] = value[:, 6]
    layer = np.zeros((side * side, 4), np.float32)
    paint = _photo if style == "photo" else _flat
    layer[where, :3], layer[where, 3] = paint(normal, value[:, 3:6], rng), 1
    samples, nearest = layer.reshape(side, side, 4), depth.reshape(side, side)
    if style == "flat":
        _outline(samples, nearest, rng)
    image, covered = _composed(cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA),
                               style, rng)  # fmt: skip
    seen = _seen(xy, joints[:, 2], nearest, covered)
    return HandRender(image, xy.astype(np.float32), seen)


def _seen(xy: np.ndarray, depth: np.ndarray, nearest: np.ndarray, covered: np.ndarray):
    """(21,) bool: joints whose own skin is the nearest surface at their place.

    Args:
        xy: (21, 2) pixels.
        depth: (21,) metres.
        nearest: (side, side) metres of the nearest surface, inf where there is none.
        covered: (size, size) bool: where something is in front of the hand."""
    size = len(covered)
    cells = xy.round().astype(int)
    inside = ((cells >= 0) & (cells < size)).all(1)
    x, y = np.clip(cells, 0, size - 1).T
    dense = np.clip(((xy + 0.5) * SUPERSAMPLE - 0.5).round().astype(int), 0, len(nearest) - 1)
    own = nearest[dense[:, 1], dense[:, 0]] > depth - _below_skin() - _DEEPER
    return inside & own & ~covered[y, x]


@cache
def _below_skin() -> np.ndarray:
    """(21,) metres from each key point of the mean hand to the skin of its palm or its back,
    whichever is farther: an upper bound of the flesh that may lie before a joint that is seen."""
    hand = load_hand()
    still = np.tile(np.eye(3), (len(hand.parents), 1, 1))
    vertices, joints, _ = hand.posed(still, np.zeros(len(hand.shapes)))
    apart = np.abs(vertices[None] - joints[:, None])  # (21, V, 3); z leads out of the palm
    beside = np.linalg.norm(apart[..., :2], axis=2) < _NEAR
    return np.where(beside, apart[..., 2], 0).max(1)


# ------------------------------------------------------------------------------ two renderers


def _photo(normals: np.ndarray, rest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) skin with redder finger ends and darker creases, a sleeve or none, in the light."""
    skin = random_skin(rng)
    warm = np.clip((rest[:, 1] - 0.09) / 0.09, 0, 1)[:, None]
    rgb = skin * (1 + warm * rng.uniform(0, 0.12) * np.array([0.8, -0.5, -0.5]))
    mottle = np.sin(rest @ rng.normal(0, 220, (3, 3)) + rng.uniform(0, 6.28, 3)).mean(1)
    rgb = rgb * (1 + rng.uniform(0, 0.06) * mottle[:, None])
    if rng.uniform() < 0.6:
        end = rng.uniform(-0.09, _CUFF)
        stripes = 1 + 0.3 * (np.sin(rest[:, 1] * rng.uniform(300, 900)) > 0) * rng.integers(0, 2)
        rgb = np.where(rest[:, 1:2] < end, scene.random_colour(rng) * stripes[:, None], rgb)
    return scene.shade(normals, rgb, rng)


def _flat(normals: np.ndarray, rest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) one colour, any one, in two to four steps of light from the front."""
    colour = scene.random_colour(rng) if rng.uniform() < 0.5 else random_skin(rng)
    light = np.array([rng.normal(0, 0.3), rng.normal(-0.2, 0.3), -1.0])
    facing = np.clip(normals @ (light / np.linalg.norm(light)), 0, 1)
    steps = int(rng.integers(2, 5))
    level = np.ceil(facing * steps) / steps
    return colour * (1 - rng.uniform(0.2, 0.5) * (1 - level))[:, None]


def _outline(layer: np.ndarray, depth: np.ndarray, rng: np.random.Generator) -> None:
    """A dark line, in place, wherever the surface jumps by more than half a finger."""
    near = np.minimum(depth, 10.0).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    edge = (cv2.dilate(near, kernel) - near > 0.007) & (layer[..., 3] > 0)
    layer[edge, :3] *= rng.uniform(0.1, 0.6)


def _composed(layer: np.ndarray, style: str, rng: np.random.Generator):
    """The hand before its background, as a camera takes it; (size, size) bool where something
    is in front of it."""
    size = len(layer)
    covered = np.zeros((size, size), bool)
    if style == "photo":
        image = scene.random_background(size, rng)
    else:
        plain = np.stack([scene.random_colour(rng), scene.random_colour(rng)])
        share = np.linspace(0, rng.uniform(0, 0.5), size)[:, None, None]
        image = np.broadcast_to(plain[0] * (1 - share) + plain[1] * share, (size, size, 3))
    image = (image * (1 - layer[..., 3:]) + layer[..., :3]).astype(np.float32)
    if style == "photo" and rng.uniform() < 0.15:
        before = image.copy()
        scene.occlude(image, rng)
        covered = np.abs(image - before).max(2) > 0
    if style == "flat":
        image = image * rng.uniform(0.55, 1.1) + rng.normal(0, rng.uniform(4, 18), image.shape)
    return scene.photograph(image, rng), covered
