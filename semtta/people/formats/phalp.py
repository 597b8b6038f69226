"""PHALP's (4D-Humans') and WHAM's results: pickles written by joblib, read without running them.

PHALP has an entry a frame; its ``2d_joints`` are projections of its own 3D prediction, in shares
of the padded square picture. WHAM's ``tracking_results.pth`` has an entry a person with
``frame_id`` and ``keypoints``.
"""

from __future__ import annotations

import zipfile
from pathlib import PurePath

import numpy as np

from semtta.errors import SemttaError
from semtta.joblib_pickles import read_joblib
from semtta.people.formats.sheet import (
    Counted,
    Row,
    Sheet,
    corners,
    identity,
    skeletons_of,
    triples,
)
from semtta.people.formats.source import WHAT, Source
from semtta.reading import reading
from semtta.skeletons import BODY25, Skeleton

TITLE = "PHALP or WHAM tracks"


def sniff(source: Source) -> bool:
    return source.kind == "pickle" or (
        source.kind == "torch" and not zipfile.is_zipfile(source.path)
    )


def read(source: Source) -> Sheet:
    content = read_joblib(source.path, WHAT)
    first = next(iter(content.values()), None) if isinstance(content, dict) else None
    with reading(source.path, WHAT):
        if isinstance(first, dict) and "frame_id" in first and "keypoints" in first:
            return _wham(content, source)
        if isinstance(first, dict) and ("2d_joints" in first or "vitpose" in first):
            return _phalp(content, source)
    raise SemttaError(f"'{source.path}' is neither PHALP's nor WHAM's result.")


def _wham(content: dict, source: Source) -> Sheet:
    rows, counted = [], Counted()
    for who, person in content.items():
        where = f"'{source.path}', person {who}"
        points, frames = person["keypoints"], person["frame_id"]
        if not isinstance(points, np.ndarray) or not isinstance(frames, np.ndarray):
            raise SemttaError(f"{where}: arrays 'keypoints' and 'frame_id' are expected.")
        points, frames = points.astype(np.float64), frames.reshape(-1)
        if points.ndim != 3 or points.shape[-1] != 3 or len(points) != len(frames):
            raise SemttaError(f"{where}: keypoints {points.shape}, expected (T, J, 3).")
        counted.check(points.shape[1], where)
        rows += [Row(f"{where}, row {t}", int(frame), points[t], None, identity(who, where))
                 for t, frame in enumerate(frames)]  # fmt: skip
    return Sheet(rows, counted.allowed)


def _phalp(content: dict, source: Source) -> Sheet:
    rows, size, detected = [], None, any("vitpose" in frame for frame in content.values())
    key = "vitpose" if detected else "2d_joints"
    allowed: tuple[Skeleton, ...] = () if detected else (BODY25,)
    for name, frame in content.items():
        where = f"'{source.path}', frame {PurePath(str(name)).name}"
        unseen = frame.get("tracked_time", [0] * len(frame["tid"]))
        for i, who in enumerate(frame["tid"]):
            if unseen[i] != 0:  # only predicted there
                continue
            here = f"{where}, person {who}"
            height, width = (float(n) for n in np.ravel(frame["size"][i])[:2])
            size = (width, height)
            if detected:
                points = triples(np.reshape(frame[key][i], (-1, 3)).tolist(), here)
                allowed = allowed or skeletons_of(len(points), here)
            else:
                points = _pixels(np.reshape(frame[key][i], (-1, 2)), width, height)
            box = corners(np.ravel(frame["bbox"][i]).tolist(), here, sized=True)
            rows.append(Row(here, PurePath(str(name)).name, points, box, identity(int(who), here)))
    notes = () if detected else (
        "its points are projections of PHALP's own 3D prediction, not detections.",
    )  # fmt: skip
    return Sheet(rows, allowed or (BODY25,), first=None, size=size, notes=notes)


def _pixels(shares: np.ndarray, width: float, height: float) -> np.ndarray:
    """(25, 3) from shares of the square that the picture was padded to, the body's first 25."""
    side = max(width, height)
    shift = np.array([(side - width) / 2, (side - height) / 2])
    xy = shares[: len(BODY25)] * side - shift
    return np.column_stack([xy, np.ones(len(xy))])
