"""Joints as tables: one row per frame and joint (CSV), or arrays by frame (JSON)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import torch

from semtta.body import Body
from semtta.geometry import project
from semtta.output.load import SavedTrack
from semtta.skeletons import SMPL24
from semtta.tta.result import Motion

_METRES = "camera axes: x right, y down, z forward; metres from the camera"
_PIXELS = "image pixels from the centre of the top-left one: u right, v down"
# Numbers of each frame and joint: columns of the CSV, digits behind the point.
_POINT, _PIXEL = 5, 2
_NUMBERS = {
    "xyz": (("x", "y", "z"), _POINT), "uv": (("u", "v"), _PIXEL),
    "base_xyz": (("base_x", "base_y", "base_z"), _POINT),
    "base_uv": (("base_u", "base_v"), _PIXEL),
    "detected_uv": (("detected_u", "detected_v"), _PIXEL), "confidence": (("confidence",), 3),
    "evidence_uv": (("evidence_u", "evidence_v"), _PIXEL), "weight": (("weight",), 3),
}  # fmt: skip


def write_joints_csv(track: SavedTrack, path: Path, body: Body) -> None:
    """One row per frame and joint; what is unknown is an empty cell."""
    names, table, filled = _joints(track, body)
    columns = [column for group, _ in _NUMBERS.values() for column in group]
    cells = [f"%.{digits}f" for group, digits in _NUMBERS.values() for _ in group]
    values = np.concatenate([table[name] for name in _NUMBERS], -1)
    times = zip(track.track.frames.tolist(), track.track.times.tolist())
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("frame", "time", "set", "joint", *columns, "filled"))
        for (frame, time), numbers, flags in zip(times, values.tolist(), filled.tolist()):
            for name, row, flag in zip(names, numbers, flags):
                texts = ("" if x != x else cell % x for cell, x in zip(cells, row))
                rows.writerow((frame, f"{time:.6f}", *name, *texts, int(flag)))


def write_joints_json(track: SavedTrack, path: Path, body: Body) -> None:
    """The same as arrays, frames x joints; null is unknown."""
    names, table, filled = _joints(track, body)
    content = {
        "track": track.track.id, "fps": track.fps, "metres": _METRES, "pixels": _PIXELS,
        "body": body.name, "set": [group for group, _ in names],
        "joint": [joint for _, joint in names], "frames": track.track.frames.tolist(),
        "times": [round(time, 6) for time in track.track.times.tolist()], "labels": track.labels,
    }  # fmt: skip
    for name, (columns, digits) in _NUMBERS.items():
        values = table[name] if len(columns) > 1 else table[name][..., 0]
        rounded = values.round(digits).astype(object)
        rounded[np.isnan(values)] = None
        content[name] = rounded.tolist()
    content["filled"] = filled.tolist()
    with open(path, "w", encoding="ascii", newline="\n") as file:
        json.dump(content, file, separators=(",", ":"), allow_nan=False)
        file.write("\n")


def _joints(
    track: SavedTrack, body: Body
) -> tuple[list[tuple[str, str]], dict[str, np.ndarray], np.ndarray]:
    """Landmarks of the evidence and SMPL's joints, which share names but not places.

    Returns: (set, joint) of each of the K joints; numbers by name, (T, K, n), NaN = unknown;
        (T, K) whether the evidence was filled in."""
    detected, evidence = track.detections, track.evidence
    landmarks = detected.skeleton
    frames, more = len(track.track), len(SMPL24)
    names = [("landmark", name) for name in landmarks.joints]
    names += [("smpl", name) for name in SMPL24.joints]

    def only_landmarks(values: torch.Tensor, known: torch.Tensor) -> np.ndarray:
        values = values.reshape(*known.shape, -1).double()
        values = torch.where(known[..., None], values, torch.nan)
        return np.pad(values.numpy(), ((0, 0), (0, more), (0, 0)), constant_values=np.nan)

    table = {
        "detected_uv": only_landmarks(detected.xy, detected.conf > 0),
        "confidence": only_landmarks(detected.conf, torch.ones_like(detected.conf) > 0),
        "evidence_uv": only_landmarks(evidence.xy, evidence.present),
        "weight": only_landmarks(evidence.weight, torch.ones_like(evidence.weight) > 0),
    }
    for prefix, motion in (("", track.adapted), ("base_", track.base)):
        table[f"{prefix}xyz"], table[f"{prefix}uv"] = _placed(track, motion, body)
    none = np.zeros((frames, more), bool)
    return names, table, np.concatenate([(evidence.filled_in > 0).numpy(), none], 1)


def _placed(track: SavedTrack, motion: Motion, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """(T, K, 3) metres and (T, K, 2) pixels of landmarks, then of SMPL's joints."""
    landmarks, camera = track.detections.skeleton, track.camera
    points = body.landmarks(motion.rotmats, motion.betas, landmarks) + motion.trans[:, None]
    points[:, ~body.has_landmarks(landmarks)] = torch.nan
    pixels = motion.landmarks2d.clone()
    pixels[:, ~body.has_landmarks(landmarks)] = torch.nan
    joints = body.joints(motion.rotmats, motion.betas) + motion.trans[:, None]
    projected = project(joints, camera.focal, torch.tensor(camera.center, dtype=torch.float32))
    xyz, uv = torch.cat((points, joints), 1), torch.cat((pixels, projected), 1)
    return xyz.double().numpy(), uv.double().numpy()
