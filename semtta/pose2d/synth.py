"""Labelled renders of the body: random pose, shape, camera, clothes, light and background.

The shipped CC0 body needs no licence; an SMPL file may stand in its place. Image i of a seed is
the same however many are made, in whatever order.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from semtta.body import Body
from semtta.engine import Progress, silent, threaded_map
from semtta.errors import SemttaError
from semtta.files import new_folder
from semtta.geometry.raster import front_faces, rasterize, vertex_normals
from semtta.pose2d import synth_look as look
from semtta.pose2d import synth_scene as scene
from semtta.pose2d.samples import Entry, KeypointSet
from semtta.pose2d.skeletons import BODY16
from semtta.pose2d.synth_pose import random_betas, random_poses, random_view
from semtta.reading import read_json, reading
from semtta.skeletons import SMPL24

_CHUNK = 16  # bodies posed at a time
_SUPERSAMPLE = 2
_ROOM = (1.08, 1.5)  # sides of crops in units of the joints' extent
_DESCRIPTION = "renders of body"  # by which a written folder is known again


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
    scale, shift = _crop(place, size, rng)
    pixels, xy = plane * scale + shift, place * scale + shift

    image = scene.random_background(size, rng)
    dense = (pixels + 0.5) * _SUPERSAMPLE - 0.5  # sample (i, j) at (i, j)
    visible = front_faces(dense, faces, np.ones(len(dense), bool))
    values = np.concatenate([vertex_normals(points, visible), rest], 1)
    side = size * _SUPERSAMPLE
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


def _crop(place: np.ndarray, size: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Scale and shift from the image plane to pixels: the joints' box with some room around it."""
    low, high = place.min(0), place.max(0)
    side = (high - low).max() * rng.uniform(*_ROOM)
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
        renders = _in_processes(count, seed, size, body, processes)
    else:
        renders = list(render_people(count, seed, size, body, workers=workers))
    weight = np.ones(len(BODY16), np.float32)
    entries = [
        Entry(render.image, None, render.xy, weight, name=f"render {i}")
        for i, render in enumerate(renders)
    ]
    return KeypointSet("renders", BODY16, entries)


def _in_processes(count: int, seed: int, size: int, body: Body, processes: int) -> list[Render]:
    share = -(-count // (processes * _CHUNK)) * _CHUNK
    parts = [(first, min(share, count - first)) for first in range(0, count, share)]
    # not forked: a fork would inherit the locks of this process's threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(parts), mp_context=context) as pool:
        jobs = [pool.submit(_part, part, first, seed, size, body) for first, part in parts]
        return [render for job in jobs for render in job.result()]


def _part(count: int, first: int, seed: int, size: int, body: Body) -> list[Render]:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return list(render_people(count, seed, size, body, first, workers=1))


def write_renders(
    folder: str | Path, count: int, seed: int, size: int, body: Body, *, workers: int = 2,
    overwrite: bool = False, progress: Progress = silent,
) -> Path:  # fmt: skip
    """Write renders as a COCO-style folder: ``images/*.jpg`` and ``annotations.json``.

    The folder is whole or absent; earlier renders are replaced only with ``overwrite``, and other
    files never. Raises ``SemttaError`` if it cannot be written."""
    folder = Path(folder)
    with new_folder(folder, overwrite, _holds_renders) as partial:
        (partial / "images").mkdir()
        images, annotations = [], []
        for i, render in enumerate(render_people(count, seed, size, body, workers=workers)):
            name = f"{i:06d}.jpg"
            bgr = cv2.cvtColor(render.image, cv2.COLOR_RGB2BGR)
            data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
            (partial / "images" / name).write_bytes(data.tobytes())
            inside = np.all((render.xy >= 0) & (render.xy <= size - 1), axis=1)
            triples = np.concatenate([render.xy, 2.0 * inside[:, None]], 1)
            images.append({"id": i, "file_name": name, "width": size, "height": size})
            annotations.append({"id": i, "image_id": i, "category_id": 1,
                                "bbox": [0, 0, size, size],
                                "keypoints": np.round(triples, 2).ravel().tolist()})  # fmt: skip
            progress("renders", i + 1, count, {})
        edges = [[a + 1, b + 1] for a, b in BODY16.edge_indices()]
        category = {"id": 1, "name": "person", "keypoints": list(BODY16.joints),
                    "skeleton": edges}  # fmt: skip
        info = {"description": f"{_DESCRIPTION} '{body.name}', seed {seed}"}
        content = {"info": info, "images": images, "annotations": annotations,
                   "categories": [category]}  # fmt: skip
        (partial / "annotations.json").write_text(json.dumps(content), encoding="utf8")
    return folder


def _holds_renders(folder: Path) -> bool:
    """Whether a folder is one of :func:`write_renders`."""
    file, what = folder / "annotations.json", "file of renders"
    try:
        content = read_json(file, what)
        with reading(file, what):
            ours = content["info"]["description"].startswith(_DESCRIPTION)
    except SemttaError:
        return False
    return ours and {path.name for path in folder.iterdir()} == {"images", "annotations.json"}
