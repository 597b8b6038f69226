"""What a lifter makes of depth: knee, elbow and facing by the side from which people are seen.

    python -m tools.measure_lifter MOTIONS [--split test] [--weights lifter.pt ...] [--out FILE]

The tracks are the ``mocap`` benchmark's (performers apart, virtual detector), the networks are
frozen. The virtual detector's own 3D, where it is seen, is measured beside them. With ``--rows``
(of ``tools.measure_detector``) also on renders that the library's own detector looked at: three
moments at a sixth of a second.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.mocap import open_mocap
from semtta.body import load_body
from semtta.geometry import Camera, procrustes_align, root_align
from semtta.hmr.base import Batch, Prediction
from semtta.hmr.features import lifter_features
from semtta.hmr.lifter import load_lifter
from semtta.keypoints import Keypoints2D, Track
from semtta.shipped import asset, file_sha256
from semtta.skeletons import BODY27, LIMB12
from tools.training.views import HINGES, VIEWS, facing, flexion, turned_by, view_of

BENT = 45.0  # degrees; a hinge beyond this is bent, and a lifter that flattens shows it there
ASTRAY = 60.0  # degrees; whoever faces elsewhere by more is seen the wrong way round
ENOUGH = 6  # landmarks without which a picture shows nobody
LIMBS = BODY27.indices(LIMB12.joints)
HIPS = BODY27.indices(("left_hip", "right_hip"))


class Tally:
    """Errors by view, collected over tracks."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], list[Tensor]] = defaultdict(list)

    def add(self, what: str, views: Tensor, values: Tensor) -> None:
        """Values (T,) or (T, J) of frames with these views (T,); NaN = not to be counted."""
        for i, view in enumerate(VIEWS):
            chosen = values[views == i].flatten()
            self.found[what, view].append(chosen[~torch.isnan(chosen)])

    def table(self) -> dict:
        """view -> figures."""
        return {view: self._row(view) for view in VIEWS}

    def _row(self, view: str) -> dict:
        row: dict[str, float | int] = {}
        for hinge in HINGES:
            error = self._all(f"{hinge}", view)
            row[f"{hinge}_deg"] = _round(error.abs().median() if len(error) else torch.nan)
            bent = self._all(f"{hinge} bent", view)
            row[f"{hinge}_bent_deg"] = _round(bent.abs().median() if len(bent) else torch.nan)
            hidden = self._all(f"{hinge} hidden", view)
            row[f"{hinge}_hidden_deg"] = _round(hidden.abs().median() if len(hidden) else torch.nan)
            row[f"{hinge}_bent_bias_deg"] = _round(bent.mean() if len(bent) else torch.nan)
        yaw = self._all("yaw", view)
        if len(yaw):
            row["yaw_deg"] = _round(yaw.median())
            row["yaw_astray"] = _round((yaw > ASTRAY).float().mean(), 3)
        for name in ("mpjpe", "pa"):
            values = self._all(name, view)
            if len(values):
                row[f"{name}_mm"] = _round(values.mean())
        row["frames"] = len(self._all("frames", view))
        return row

    def _all(self, what: str, view: str) -> Tensor:
        values = self.found.get((what, view), [])
        return torch.cat(values) if values else torch.empty(0)


def add_points(tally: Tally, views: Tensor, points: Tensor, truth: Tensor, seen: Tensor) -> None:
    """Flexions of hinges whose three landmarks are seen (T, 27), and of the others."""
    for hinge, joints in HINGES.items():
        true = flexion(truth, hinge)
        known = torch.stack([seen[:, j].all(-1) for j in joints], dim=-1)
        error = flexion(points, hinge) - true
        tally.add(f"{hinge} hidden", views, torch.where(known, torch.nan, error))
        error = torch.where(known, error, torch.nan)
        tally.add(hinge, views, error)
        tally.add(f"{hinge} bent", views, torch.where(true > BENT, error, torch.nan))
    tally.add("frames", views, torch.zeros(len(views)))


def add_prediction(
    tally: Tally, views: Tensor, prediction: Prediction, truth: Tensor, seen: Tensor,
    yaw: Tensor, body,
) -> None:  # fmt: skip
    """Every frame of a prediction."""
    points = body.landmarks(prediction.rotmats, prediction.betas, BODY27)
    add_points(tally, views, points, truth, seen)
    tally.add("yaw", views, turned_by(facing(prediction.rotmats[:, 0]), yaw))
    one, other = (root_align(p, HIPS)[:, LIMBS] for p in (points, truth))
    tally.add("mpjpe", views, 1000 * (one - other).norm(dim=-1).mean(-1))
    tally.add("pa", views, 1000 * (procrustes_align(one, other) - other).norm(dim=-1).mean(-1))


@torch.no_grad()
def measure(motions: str, split: str, level: str, weights: list[Path]) -> dict:
    """One table for the detector and one for each file of weights."""
    body, benchmark = load_body("cc0"), open_mocap(motions, split, levels=(level,), cameras=2)
    models = {path.name: load_lifter(path) for path in weights}
    tallies = {name: Tally() for name in ("detector 3D", *models)}
    for item in benchmark.items():
        sample = benchmark.load(item)
        track, truth = sample.track, sample.truth
        shape = truth.betas.expand(len(track), -1)
        points = body.landmarks(truth.rotmats, shape, BODY27)
        yaw = facing(truth.rotmats[:, 0])
        views, seen = view_of(yaw), track.conf3d > 0
        add_points(tallies["detector 3D"], views, track.landmarks3d, points, seen)
        inputs = lifter_features(track, sample.camera)
        for name, model in models.items():
            prediction = model(Batch(torch.arange(len(inputs)), inputs))
            add_prediction(tallies[name], views, prediction, points, seen, yaw, body)
    return {name: tally.table() for name, tally in tallies.items()}


@torch.no_grad()
def measure_rows(files: list[Path], weights: list[Path]) -> dict:
    """The same tables on pictures that the real detector looked at."""
    body = load_body("cc0")
    models = {path.name: load_lifter(path) for path in weights}
    tallies = {name: Tally() for name in ("detector 3D", *models)}
    for file in files:
        rows = {k: v.float() if v.is_floating_point() else v
                for k, v in torch.load(file, weights_only=True).items()}  # fmt: skip
        seen = (rows["conf"] > 0).sum(1) >= ENOUGH
        rows = {k: v[seen] for k, v in rows.items() if k != "missed"}
        for number in rows["run"].unique():
            run = {k: v[rows["run"] == number] for k, v in rows.items()}
            track, camera = _track(run)
            yaw, seen = facing(run["root"]), (track.conf3d > 0) & ~run["hidden"]
            views = view_of(yaw)
            add_points(tallies["detector 3D"], views, run["space"], run["points"], seen)
            inputs = lifter_features(track, camera)
            for name, model in models.items():
                prediction = model(Batch(torch.arange(len(inputs)), inputs))
                add_prediction(tallies[name], views, prediction, run["points"], seen, yaw, body)
    return {name: tally.table() for name, tally in tallies.items()}


def _track(run: dict[str, Tensor]) -> tuple[Track, Camera]:
    """A run's detections as a track, and its camera from the points that it took."""
    plane, xy = run["points"][..., :2] / run["points"][..., 2:], run["true_xy"]
    off, middle = plane - plane.mean((0, 1)), xy.mean((0, 1))
    focal = float((off * (xy - middle)).sum() / off.square().sum())
    center = middle - focal * plane.mean((0, 1))
    known = (run["conf"] > 0)[..., None]
    low = torch.where(known, run["xy"], torch.inf).amin(1)
    high = torch.where(known, run["xy"], -torch.inf).amax(1)
    count = len(xy)
    return Track(
        id=1, frames=torch.arange(count), times=torch.arange(count) / 6,
        boxes=torch.cat((low, high), dim=-1),
        keypoints=Keypoints2D(run["xy"], run["conf"], BODY27),
        landmarks3d=run["space"], conf3d=run["conf3d"],
    ), Camera(focal, (float(center[0]), float(center[1])))  # fmt: skip


def _round(value, digits: int = 1) -> float | None:
    value = float(value)
    return None if np.isnan(value) else round(value, digits)


def show(tables: dict) -> None:
    """Lines for a terminal."""
    for name, table in tables.items():
        print(name)
        for view, row in table.items():
            print(f"  {view:8}", "  ".join(f"{k} {v}" for k, v in row.items()))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("motions", help="file or folder of motions")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--levels", default="easy", help="comma-separated levels of mocap")
    parser.add_argument("--weights", type=Path, nargs="*", help="default: the shipped broad ones")
    parser.add_argument("--rows", type=Path, nargs="*", default=[], help="files of renders' rows")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    weights = arguments.weights or [Path(asset("hmr/lifter.pt"))]
    tables = {}
    for level in arguments.levels.split(","):
        tables[level] = measure(arguments.motions, arguments.split, level, weights)
        print(f"{arguments.split} {level}")
        show(tables[level])
    if arguments.rows:
        tables["renders"] = measure_rows(arguments.rows, weights)
        print("renders")
        show(tables["renders"])
    if arguments.out:
        content = {
            "split": arguments.split,
            "cameras": 2,
            "bent_deg": BENT,
            "astray_deg": ASTRAY,
            "weights": {path.name: file_sha256(path) for path in weights},
            "levels": tables,
        }
        arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
