"""SAM-3D-Body's people: dictionaries with 70 named joints of its own body, MHR.

One person in an .npz, with or without a leading dimension of frames, or a list of frames, each a
list of people, in a pickle or .npy. The body of this library is fitted to the joints; MHR's
rotations are not SMPL's, so the file is not written again.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, has
from semtta.hmr.results.fit import fit_body
from semtta.hmr.results.parts import Found, ResultTrack
from semtta.skeletons import Skeleton

TITLE = "SAM-3D-Body's output"
STALE = ()
_KEYS = ("pred_keypoints_3d", "pred_cam_t")
_JOINTS = 70
# Name of a landmark -> place among the 70. Fingers' third joints are knuckles.
_PLACES = {
    "nose": 0, "left_eye": 1, "right_eye": 2, "left_ear": 3, "right_ear": 4, "left_shoulder": 5,
    "right_shoulder": 6, "left_elbow": 7, "right_elbow": 8, "left_hip": 9, "right_hip": 10,
    "left_knee": 11, "right_knee": 12, "left_ankle": 13, "right_ankle": 14, "left_big_toe": 15,
    "left_small_toe": 16, "left_heel": 17, "right_big_toe": 18, "right_small_toe": 19,
    "right_heel": 20, "right_index": 28, "right_pinky": 40, "right_wrist": 41, "left_index": 49,
    "left_pinky": 61, "left_wrist": 62,
}  # fmt: skip
SKELETON = Skeleton("mhr", tuple(_PLACES))
_MOST_ROWS = 20_000


def sniff(content: Content) -> bool:
    return any(has(row, *_KEYS) for _, row in _rows(content.data, 1))


def _rows(data, most: int = _MOST_ROWS) -> list[tuple[int, Mapping]]:
    """(frame, person) of whatever holds them; at most so many."""
    if has(data, *_KEYS):
        return [(0, data)]
    if isinstance(data, Mapping):
        data = list(data.values())
    found: list[tuple[int, Mapping]] = []
    for frame, people in enumerate(data if isinstance(data, (list, tuple)) else ()):
        for person in people if isinstance(people, (list, tuple)) else (people,):
            if has(person, *_KEYS) and len(found) < most:
                found.append((frame, person))
    return found


def read(content: Content) -> Found:
    where, rows = f"'{content.path}'", _rows(content.data)
    joints = [checks.plain(row["pred_keypoints_3d"], f"{where}, 'pred_keypoints_3d'")
              for _, row in rows]  # fmt: skip
    covers = None if isinstance(content.data, Mapping) else len(content.data)
    if len(rows) == 1 and joints[0].ndim == 3:  # one person over frames
        rows = _unstacked(rows[0][1], len(joints[0]), where)
        covers = len(rows)
    single = covers is None and len(rows) == 1
    frames = np.array([frame for frame, _ in rows])
    boxes = None
    if all("bbox" in row for _, row in rows):
        boxes = np.stack([checks.take(row, "bbox", where, (4,), (1, 4)).reshape(4)
                          for _, row in rows])  # fmt: skip
    alone = len(set(frames.tolist())) == len(frames)
    if not alone and boxes is None:
        raise SemttaError(f"{where}: several people in a frame without 'bbox'; nothing says who "
                          "is who.")  # fmt: skip
    who = np.zeros(len(rows), int) if alone or boxes is None else checks.linked(frames, boxes)
    tracks: list[ResultTrack] = []
    for person in range(int(who.max()) + 1):
        mine = np.flatnonzero(who == person)
        tracks.append(_person([rows[i] for i in mine], len(tracks) + 1, where,
                              None if boxes is None else boxes[mine]))  # fmt: skip
    remarks = ["its body is MHR: the CC0 body was fitted to its joints, and betas are that body's.",
               "its 2D joints are projections of its own result; they are not used."]  # fmt: skip
    if not alone:
        remarks.append("it does not say who is who: people were followed by how their boxes "
                       "overlap.")  # fmt: skip
    if single:
        remarks.append("it is of one picture: taken as the video's first frame.")
    first = tracks[0].center
    size = None if first is None else (2 * float(first[0, 0]), 2 * float(first[0, 1]))
    return Found(tuple(tracks), size=size, covers=None if single else covers,
                 remarks=tuple(remarks))  # fmt: skip


def _unstacked(row: Mapping, count: int, where: str) -> list[tuple[int, Mapping]]:
    keys = ("pred_keypoints_3d", "pred_cam_t", "pred_keypoints_2d", "bbox", "focal_length")
    held = {key: checks.plain(row[key], f"{where}, '{key}'") for key in keys if key in row}
    for key, array in held.items():
        if array.ndim == 0 or len(array) != count:
            raise SemttaError(f"{where}: '{key}' has shape {array.shape}, expected {count} rows.")
    return [(t, {key: array[t] for key, array in held.items()}) for t in range(count)]


def _person(rows: list, number: int, where: str, boxes) -> ResultTrack:
    frames = checks.increasing(np.array([frame for frame, _ in rows], float), where)
    points = np.stack([
        checks.take(row, "pred_keypoints_3d", where, (_JOINTS, 3), (1, _JOINTS, 3), most=100)
        .reshape(_JOINTS, 3) + checks.take(row, "pred_cam_t", where, (3,), (1, 3)).reshape(3)
        for _, row in rows
    ])  # fmt: skip
    body = load_body("cc0")
    picked = checks.single(points[:, list(_PLACES.values())])
    rotmats, betas, trans = fit_body(picked, SKELETON, body)
    focal = center = None
    if all("focal_length" in row for _, row in rows):
        focal = torch.cat([checks.focal_of(row["focal_length"], 1, where) for _, row in rows])
        if all("pred_keypoints_2d" in row for _, row in rows):
            flat = np.stack([checks.take(row, "pred_keypoints_2d", where, (_JOINTS, 2),
                                         (1, _JOINTS, 2)).reshape(_JOINTS, 2)
                             for _, row in rows])  # fmt: skip
            seen = points[..., :2] / np.maximum(points[..., 2:], 1e-2)
            offset = flat - focal.numpy()[:, None, None] * seen
            center = checks.single(np.median(offset, 1))
    return ResultTrack(
        id=number, frames=frames, rotmats=rotmats, betas=betas, trans=trans,
        rest=(0.0, 0.0, 0.0), focal=focal, center=center,
        boxes=None if boxes is None else checks.boxes_of(boxes),
    )  # fmt: skip
