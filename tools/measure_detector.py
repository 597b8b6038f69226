"""What the library's detector gets wrong, measured on renders of the CC0 body.

    python -m tools.measure_detector MOTIONS --out docs/training/detector.json

Runs of a few moments of motion are dressed, lit and seen from all sides, some with
something before the legs; both networks look at every picture and the library's own fusion and
gate decide. Written are the errors that the lifter's noise model speaks of: how bones lean in
depth, how the whole body is squeezed, tilted and scaled, how hinges and facing err by view, the
2D error, and what is believed of landmarks that nothing shows.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.mocap_split import DEV, TEST, TRAIN, load_split
from semtta.body import load_body
from semtta.geometry.raster import front_faces, rasterize, vertex_normals
from semtta.motion.motion_files import list_motions, read_motion
from semtta.people import gating
from semtta.people.blazepose import BlazePose
from semtta.people.fusion import Looks, fuse
from semtta.people.movenet import MoveNet
from semtta.people.pipeline import _looks_at
from semtta.people.rois import roi_track
from semtta.people.tracker import suppress_duplicates
from semtta.pose2d import synth_look as look
from semtta.pose2d import synth_scene as scene
from semtta.pose2d.synth import _landmarks
from semtta.skeletons import BODY27
from tools.training.detector_errors import figures

SIDE = 480  # pixels
MOMENTS, STEP = 3, 5  # pictures of a run, frames between them
_SUPERSAMPLE = 2
_FLIP = np.diag([1.0, -1.0, -1.0])
_LEGS = BODY27.indices(f"{s}_{p}" for s in ("left", "right")
                       for p in ("knee", "ankle", "heel", "big_toe"))  # fmt: skip
_NOBODY_HIDES = np.zeros((1, len(BODY27)), bool)


@dataclass(frozen=True)
class Run:
    """Some moments of one person before one camera.

    ``vertices`` (M, V, 3), ``points`` (M, 27, 3) landmarks and ``root`` (M, 3, 3), camera axes;
    ``focal`` and ``center`` of the picture; ``covered`` whether something hides the legs.
    """

    vertices: np.ndarray
    points: np.ndarray
    root: np.ndarray
    focal: float
    center: np.ndarray
    covered: bool


def motions(path: str, side: str) -> list:
    """Motion of one side of the split, long enough for a run."""
    people = load_split()
    known = ((entry, people.find(entry.name)) for entry in list_motions(path))
    return [entry for entry, listed in known
            if listed and listed.side == side and entry.frames > MOMENTS * STEP]  # fmt: skip


@torch.no_grad()
def runs(
    path: str, side: str, count: int, seed: int, body
) -> Iterator[tuple[Run, np.random.Generator]]:
    """Random runs, each with its own generator: all sides equally often."""
    entries = motions(path, side)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        clip = read_motion(entries[rng.integers(len(entries))])
        first = int(rng.integers(len(clip) - MOMENTS * STEP))
        rotmats = torch.from_numpy(clip.rotmats[first : first + MOMENTS * STEP : STEP]).clone()
        betas = torch.from_numpy(np.clip(rng.normal(0, 1, 10), -2, 2)).float()[None]
        betas = betas.expand(MOMENTS, -1)
        ahead = rotmats[0, 0, :, 2]
        heading = math.atan2(float(ahead[0]), float(ahead[2]))
        wanted = math.pi * (2 * (i + rng.uniform()) / count - 1)
        axes = ([0, 0, rng.normal(0, 0.08)], [math.radians(rng.uniform(-10, 25)), 0, 0],
                [0, wanted - heading, 0])  # fmt: skip
        roll, pitch, yaw = (cv2.Rodrigues(np.array(a, float))[0] for a in axes)
        turn = roll @ pitch @ _FLIP @ yaw
        vertices = body.vertices(rotmats, betas).numpy() @ turn.T
        points = body.landmarks(rotmats, betas, BODY27).numpy() @ turn.T
        place = np.array([0, 0, np.exp(rng.uniform(math.log(2), math.log(6)))]) - points.mean(
            (0, 1)
        )
        vertices, points = vertices + place, points + place
        plane = vertices[..., :2] / vertices[..., 2:]
        low, high = plane.min((0, 1)), plane.max((0, 1))
        focal = SIDE / ((high - low).max() * rng.uniform(1.1, 1.8))
        shift = rng.uniform(-0.05, 0.05, 2) * SIDE
        center = (SIDE - 1) / 2 - focal * (low + high) / 2 + shift
        root = turn @ rotmats[:, 0].numpy()
        yield Run(vertices, points, root, focal, center, rng.uniform() < 0.3), rng


class Painter:
    """Pictures of runs."""

    def __init__(self, body):
        self.marks, _ = _landmarks(body)
        self.faces, self.rest = body.faces.numpy(), body.v_template.numpy().astype(np.float32)

    def __call__(self, run: Run, rng: np.random.Generator) -> tuple[list[np.ndarray], float]:
        """RGB pictures, and the row below which the legs are hidden (infinity: nowhere)."""
        outfit = look.random_outfit(self.marks, rng)
        ground, patch = (scene.random_background(SIDE, rng) for _ in range(2))
        light, camera = (int(x) for x in rng.integers(2**31, size=2))
        xy = run.points[..., :2] / run.points[..., 2:] * run.focal + run.center
        knees = xy[:, BODY27.indices(("left_knee", "right_knee")), 1]
        row = float(knees.min()) - 0.04 * SIDE if run.covered else math.inf
        pictures = []
        for vertices in run.vertices:
            image = self._body(ground.copy(), vertices, run, outfit, np.random.default_rng(light))
            if run.covered:
                top = max(int(row), 0)
                image[top:] = patch[top:]
            pictures.append(scene.photograph(image, np.random.default_rng(camera)))
        return pictures, row

    def _body(self, image, vertices, run: Run, outfit, rng) -> np.ndarray:
        part = look.regions(self.rest, self.marks, outfit)
        off = look.stand_off(self.rest, part, outfit)[:, None]
        points = vertices + vertex_normals(vertices, self.faces) * off
        pixels = points[:, :2] / points[:, 2:] * run.focal + run.center
        dense = (pixels + 0.5) * _SUPERSAMPLE - 0.5
        visible = front_faces(dense, self.faces, np.ones(len(dense), bool))
        values = np.concatenate([vertex_normals(points, visible), self.rest], 1)
        side = SIDE * _SUPERSAMPLE
        where, value = rasterize(dense, visible, 1 / points[:, 2], values, side, side)
        normal = value[:, :3] / (np.linalg.norm(value[:, :3], axis=1, keepdims=True) + 1e-9)
        rgb = look.colours(value[:, 3:], look.regions(value[:, 3:], self.marks, outfit), outfit)
        layer = np.zeros((side * side, 4), np.float32)
        layer[where, :3], layer[where, 3] = scene.shade(normal, rgb, rng), 1
        layer = cv2.resize(layer.reshape(side, side, 4), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return image * (1 - layer[..., 3:]) + layer[..., :3]


class Detector:
    """Both networks, fusion and gate on one picture at a time."""

    def __init__(self):
        self.find, self.look = MoveNet(448), BlazePose()

    def __call__(self, image: np.ndarray) -> gating.Gated | None:
        """Evidence of the surest person (one frame), None if nobody is found."""
        people = suppress_duplicates(self.find(image))
        if not len(people) or people.scores[0] < 0.2:
            return None
        xy, conf, boxes = (v[:1] for v in (people.xy, people.conf, people.boxes))
        times = np.zeros(1)
        roi = roi_track(xy, conf, boxes, times)[0]
        looks = _looks_at(image, roi, [], self.look)
        looks = Looks(*(np.asarray(part)[None] for part in looks))
        fused = fuse(looks, xy, conf, gating.person_size(boxes))
        size = (image.shape[1], image.shape[0])
        return gating.gate(fused, xy, conf, boxes, _NOBODY_HIDES, times, size)


def collect(path: str, side: str, count: int, seed: int) -> dict[str, Tensor]:
    """Rows, one per picture in which somebody was found; see ``detector_errors.figures``."""
    body = load_body("cc0")
    paint, detect = Painter(body), Detector()
    rows, missed = [], 0
    for number, (run, rng) in enumerate(runs(path, side, count, seed, body)):
        pictures, row = paint(run, rng)
        for moment, image in enumerate(pictures):
            said = detect(image)
            if said is None:
                missed += 1
                continue
            points = run.points[moment]
            xy = points[:, :2] / points[:, 2:] * run.focal + run.center
            hidden = (xy[:, 1] > row) | (xy < 0).any(1) | (xy > SIDE - 1).any(1)
            rows.append((number, points, run.root[moment], xy, hidden, said.xy[0], said.conf[0],
                         said.world[0], said.conf3d[0]))  # fmt: skip
    names = ("run", "points", "root", "true_xy", "hidden", "xy", "conf", "space", "conf3d")
    columns = (np.stack([np.asarray(value) for value in column]) for column in zip(*rows))
    found = {name: torch.from_numpy(column) for name, column in zip(names, columns)}
    return found | {"missed": torch.tensor(missed)}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("motions", help="file or folder of motions")
    parser.add_argument("--side", choices=(TRAIN, DEV, TEST), default=TRAIN, help="whose motion")
    parser.add_argument("--runs", type=int, default=32, help="runs of each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=Path, help="folder to keep the rows of each seed in")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    parts = []
    for seed in arguments.seeds:
        kept = arguments.rows / f"{arguments.side}{seed}.pt" if arguments.rows else None
        if kept and kept.exists():
            parts.append(torch.load(kept, weights_only=True))
        else:
            parts.append(collect(arguments.motions, arguments.side, arguments.runs, seed))
            if kept:
                torch.save(parts[-1], kept)
    for i, part in enumerate(parts):
        part["run"] = part["run"] + i * arguments.runs
    rows = {k: torch.cat([p[k] for p in parts]) for k in parts[0] if k != "missed"}
    rows["missed"] = torch.stack([p["missed"] for p in parts]).sum()
    content = {
        "side": arguments.side,
        "runs": arguments.runs,
        "moments": MOMENTS,
        "seeds": arguments.seeds,
    } | figures(rows)
    text = json.dumps(content, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
