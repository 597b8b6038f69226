"""Labelled renders of the body: random pose, shape, camera, clothes, light and background.

The shipped CC0 body needs no licence; an SMPL file may stand in its place. Image i of a seed is
the same however many are made, in whatever order.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from semtta.body import Body
from semtta.engine import Progress, silent, threaded_map
from semtta.errors import SemttaError
from semtta.geometry.raster import front_faces, rasterize, vertex_normals
from semtta.pose2d import synth_look as look
from semtta.pose2d import synth_scene as scene
from semtta.pose2d.samples import Entry, KeypointSet
from semtta.pose2d.skeletons import BODY16
from semtta.pose2d.synth_files import inside, write_folder
from semtta.pose2d.synth_pose import random_betas, random_poses, random_view
from semtta.skeletons import SMPL24

_CHUNK = 16  # bodies posed at a time
SUPERSAMPLE = 2
_ROOM = (1.08, 1.5)  # sides of crops in units of the joints' extent
T = TypeVar("T")


@dataclass(frozen=True)
class Render:
    """One labelled image.

    Args:
        image: (S, S, 3) uint8 RGB.
        xy: (16, 2) pixels of ``BODY16``, hidden joints included.
    """

    image: np.ndarray
    xy: np.ndarray


def render_people(
    count: int, seed: int, size: int, body: Body, first: int = 0, workers: int = 2
) -> Iterator[Render]:
    """Renders ``first`` to ``first + count - 1`` of a seed.

    Args:
        size: side of the square images, pixels.
        body: on the CPU, with a face (its eyes are painted).
        workers: threads.
    """
    marks, crown = _landmarks(body)
    faces = body.faces.numpy()
    rest = body.v_template.numpy().astype(np.float32)
    draw = partial(_draw, size=size, faces=faces, rest=rest, marks=marks)
    # Always the same bodies together: sums over a batch of another size differ in the last bit.
    for start in range(first // _CHUNK * _CHUNK, first + count, _CHUNK):
        rngs = [np.random.default_rng([seed, start + i]) for i in range(_CHUNK)]
        pose = torch.cat([random_poses(1, rng) for rng in rngs])
        betas = torch.cat([random_betas(1, rng) for rng in rngs])
        with torch.no_grad():
            vertices = body.vertices(pose, betas)
            joints = _joints(body, pose, betas, vertices[:, crown])
        wanted = slice(max(first - start, 0), first + count - start)
        jobs = zip(vertices.numpy()[wanted], joints.numpy()[wanted], rngs[wanted], strict=True)
        yield from threaded_map(draw, jobs, workers)


def _joints(body: Body, pose: Tensor, betas: Tensor, crown: Tensor) -> Tensor:
    """(B, 16, 3): limbs as detectors draw them, the trunk's four as MPII's annotators do."""
    joints = body.landmarks(pose, betas, BODY16)
    smpl = body.joints(pose, betas)
    put = BODY16.index
    for middle, part in (("pelvis", "hip"), ("thorax", "shoulder")):
        pair = BODY16.indices([f"left_{part}", f"right_{part}"])
        joints[:, put(middle)] = joints[:, pair].mean(1)
    neck = smpl[:, SMPL24.indices(["neck", "head"])].mean(1)
    joints[:, put("upper_neck")], joints[:, put("head_top")] = neck, crown
    return joints


def _landmarks(body: Body) -> tuple[look.Landmarks, int]:
    """Heights and reaches of the body's T-pose, and the vertex on top of its head."""
    if not {"leye", "reye"} <= set(body.vertex_ids):
        raise SemttaError(f"body '{body.name}' has no eyes to tell its head by; use body 'cc0'.")
    joints = body.joint_template.numpy()
    vertices = body.v_template.numpy()

    def at(joint: str, axis: int) -> float:
        return float(joints[SMPL24.index(joint), axis])

    return look.Landmarks(
        hip=at("left_hip", 1), knee=at("left_knee", 1), ankle=at("left_ankle", 1),
        waist=at("spine1", 1), shoulder=at("left_shoulder", 1), neck=at("neck", 1),
        top=float(vertices[:, 1].max()), shoulder_x=at("left_shoulder", 0),
        elbow_x=at("left_elbow", 0), wrist_x=at("left_wrist", 0),
        eyes=vertices[[body.vertex_ids["leye"], body.vertex_ids["reye"]]],
        sole=float(vertices[:, 1].min()),
    ), int(vertices[:, 1].argmax())  # fmt: skip


def _draw(
    job: tuple[np.ndarray, np.ndarray, np.random.Generator], size: int, faces: np.ndarray,
    rest: np.ndarray, marks: look.Landmarks,
) -> Render:  # fmt: skip
    """One picture of one posed body."""
    vertices, joints, rng = job
    outfit = look.random_outfit(marks, rng)
    part = look.regions(rest, marks, outfit)
    normals = vertex_normals(vertices, faces)
    vertices = vertices + normals * look.stand_off(rest, part, outfit)[:, None]
    rotation, distance = random_view(rng)
    middle = vertices.mean(0)
    points = (vertices - middle) @ rotation.T + [0, 0, distance]
    joints = (joints - middle) @ rotation.T + [0, 0, distance]
    plane, place = points[:, :2] / points[:, 2:], joints[:, :2] / joints[:, 2:]
    scale, shift = crop_around(place, size, rng, _ROOM)
    pixels, xy = plane * scale + shift, place * scale + shift

    image = scene.random_background(size, rng)
    dense = (pixels + 0.5) * SUPERSAMPLE - 0.5  # sample (i, j) at (i, j)
    visible = front_faces(dense, faces, np.ones(len(dense), bool))
    values = np.concatenate([vertex_normals(points, visible), rest], 1)
    side = size * SUPERSAMPLE
    where, value = rasterize(dense, visible, 1 / points[:, 2], values, side, side)
    normal = value[:, :3] / (np.linalg.norm(value[:, :3], axis=1, keepdims=True) + 1e-9)
    rgb = look.colours(value[:, 3:], look.regions(value[:, 3:], marks, outfit), outfit)
    layer = np.zeros((side * side, 4), np.float32)
    layer[where, :3], layer[where, 3] = scene.shade(normal, rgb, rng), 1
    samples = layer.reshape(side, side, 4)
    body = cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA)
    image = image * (1 - body[..., 3:]) + body[..., :3]
    if rng.uniform() < 0.2:
        scene.occlude(image, rng)
    return Render(scene.photograph(image, rng), xy.astype(np.float32))


def crop_around(
    place: np.ndarray, size: int, rng: np.random.Generator, room: tuple[float, float]
) -> tuple[float, np.ndarray]:
    """Scale and shift from the image plane to pixels: the joints' box with some room around it.

    Args:
        place: (K, 2) joints.
        room: least and most side of the crop in units of the joints' extent."""
    low, high = place.min(0), place.max(0)
    side = (high - low).max() * rng.uniform(*room)
    center = (low + high) / 2 + rng.uniform(-0.07, 0.07, 2) * side
    scale = size / side
    return scale, (size - 1) / 2 - center * scale


def synthetic_set(
    count: int, seed: int, size: int, body: Body, workers: int = 2, processes: int = 1
) -> KeypointSet:
    """Renders as a set in memory (3 size^2 bytes each).

    Args:
        workers: threads, in each of the processes.
        processes: more than one pays from a few thousand images on; the images are the same.
    """
    if processes > 1:
        part = partial(_part, seed=seed, size=size, body=body)
        renders = in_processes(part, count, processes, _CHUNK)
    else:
        renders = list(render_people(count, seed, size, body, workers=workers))
    weight = np.ones(len(BODY16), np.float32)
    entries = [
        Entry(render.image, None, render.xy, weight, name=f"render {i}")
        for i, render in enumerate(renders)
    ]
    return KeypointSet("renders", BODY16, entries)


def in_processes(
    part: Callable[[int, int], list[T]], count: int, processes: int, multiple: int = 1
) -> list[T]:
    """Renders of a few processes, in order.

    Args:
        part: picklable; how many and the number of the first to the renders.
        multiple: of how many renders a process makes, all but the last."""
    share = -(-count // (processes * multiple)) * multiple
    parts = [(min(share, count - first), first) for first in range(0, count, share)]
    # not forked: a fork would inherit the locks of this process's threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(parts), mp_context=context, initializer=_alone) as pool:
        jobs = [pool.submit(part, *numbers) for numbers in parts]
        return [render for job in jobs for render in job.result()]


def _alone() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _part(count: int, first: int, seed: int, size: int, body: Body) -> list[Render]:
    return list(render_people(count, seed, size, body, first, workers=1))


def write_renders(
    folder: str | Path, count: int, seed: int, size: int, body: Body, *, workers: int = 2,
    overwrite: bool = False, progress: Progress = silent,
) -> Path:  # fmt: skip
    """Write renders as a COCO-style folder, see ``write_folder``."""
    renders = (
        (render.image, render.xy, 2.0 * inside(render.xy, size))
        for render in render_people(count, seed, size, body, workers=workers)
    )
    what = f"body '{body.name}', seed {seed}"
    return write_folder(folder, renders, count, BODY16, "person", what, overwrite, progress)
