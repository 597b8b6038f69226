"""VIBE's and PARE's ``*_output.pkl``: a weak perspective of the whole picture, no focal length.

The picture's size follows from the crop's camera, the picture's and the box.
"""

from __future__ import annotations

import numpy as np
import torch

from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, replaced
from semtta.hmr.results.moving import weak_perspective
from semtta.hmr.results.parts import Found, Refined, ResultTrack
from semtta.hmr.results.writing import like, posed

TITLE = "VIBE's or PARE's output.pkl"
STALE = ("verts", "joints3d", "joints2d_img_coord", "smpl_joints2d")


def sniff(content: Content) -> bool:
    return content.people("pred_cam", "orig_cam", "pose", "betas", "frame_ids")


def read(content: Content) -> Found:
    tracks, size = [], None
    for i, (key, person) in enumerate(content.data.items(), 1):
        where = f"'{content.path}', person {checks.named(key)}"
        pose = checks.take(person, "pose", where, (None, 72), (None, 24, 3, 3))
        count = len(pose)
        weak = checks.take(person, "orig_cam", where, (count, 4))
        boxes = crops = None
        if "bboxes" in person:
            box = checks.take(person, "bboxes", where, (count, 4))
            half = box[:, 2:] / 2
            boxes = checks.boxes_of(np.concatenate((box[:, :2] - half, box[:, :2] + half), 1))
            crop = checks.take(person, "pred_cam", where, (count, 3))
            found = _size(crop[:, 0], weak, box[:, 2])
            if found is not None:
                size = found
                middle = np.array([size[0] / 2, size[1] / 2, size[0]])
                crops = checks.single(np.broadcast_to(middle, (count, 3)))
        cam = None if crops is None else checks.single(weak[:, [0, 2, 3]])
        tracks.append(ResultTrack(
            id=i, key=key, frames=checks.frames_of(person, "frame_ids", count, where),
            rotmats=checks.smpl_rotations(pose, f"{where}, 'pose'"), boxes=boxes, cam=cam,
            crops=crops, betas=checks.shape_of(person, "betas", count, where),
        ))  # fmt: skip
    remarks = ("it has no focal length: its weak perspective is put before the camera of the "
               "video.",)  # fmt: skip
    if size is None:
        remarks = ("the size of its picture does not follow from it, so it has no translation.",)
    return Found(tuple(tracks), size=size, remarks=remarks)


def _size(scale: np.ndarray, weak: np.ndarray, side: np.ndarray) -> tuple[float, float] | None:
    """Width and height of the picture: one for all rows, or None."""
    if (np.abs(weak[:, :2]) < 1e-6).any() or (side <= 0).any():
        return None
    found = (scale * side)[:, None] / weak[:, :2]
    size = np.median(found, 0)
    same = np.abs(found - size).max() <= 0.02 * size.max() and size.min() > 8 and size.max() < 1e5
    return (float(size[0]), float(size[1])) if same else None


def write(content: Content, track: ResultTrack, refined: Refined):
    person, data = content.data[track.key], content.data
    values = {"pose": posed(person["pose"], refined.rotmats)}
    if refined.betas is not None:
        values["betas"] = like(person["betas"], refined.betas)
    if refined.trans is not None and track.crops is not None:
        cam = weak_perspective(refined.trans, track.crops, refined)
        width, height = 2 * track.crops[:, 0], 2 * track.crops[:, 1]
        scale = cam[:, 0]
        box = checks.single(checks.plain(person["bboxes"], "'bboxes'"))
        crop = scale * width / box[:, 2]
        values["orig_cam"] = like(person["orig_cam"], torch.stack(
            (scale, scale * width / height, cam[:, 1], cam[:, 2]), 1))  # fmt: skip
        offset = 2 * (box[:, :2] - track.crops[:, :2]) / (scale * width)[:, None]
        values["pred_cam"] = like(person["pred_cam"], torch.cat(
            (crop[:, None], cam[:, 1:] - offset), 1))  # fmt: skip
    for key, value in values.items():
        data = replaced(data, track.key, key, value)
    return data
