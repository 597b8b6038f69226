"""PHALP's (4D-Humans') ``demo_*.pkl``: an entry a frame, in it a list of people.

Its camera is a stand-in, far away with a very long focal length; the weak perspective in the box is
what the picture says. Its 2D joints are projections of its own result and no evidence.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, has, replaced
from semtta.hmr.results.moving import weak_perspective
from semtta.hmr.results.parts import Found, Refined, ResultTrack
from semtta.hmr.results.writing import like

TITLE = "PHALP's (4D-Humans') demo.pkl"
STALE = ("3d_joints", "2d_joints", "pose", "loca")
_FOCAL, _RES = 5000.0, 256.0  # of its stand-in camera, in pixels of a picture of 256


def sniff(content: Content) -> bool:
    data = content.data
    return content.people("tid", "smpl", "time") and isinstance(next(iter(data.values())), dict)


def read(content: Content) -> Found:
    where, rows, predicted = f"'{content.path}'", defaultdict(list), 0
    for name, frame in content.data.items():
        unseen = frame.get("tracked_time", [])
        for i, who in enumerate(frame["tid"]):
            if i < len(unseen) and unseen[i] != 0:  # only predicted there
                predicted += 1
                continue
            rows[int(who)].append((name, i))
            if len(rows) > checks.MOST_PEOPLE:
                raise SemttaError(f"{where}: more than {checks.MOST_PEOPLE} people.")
    if not rows:
        raise SemttaError(f"{where}: it has nobody in any frame.")
    tracks = [_person(content, number, who, rows[who])
              for number, who in enumerate(sorted(rows), 1)]  # fmt: skip
    remarks = [
        "its camera is a stand-in: its weak perspective is put before the camera of the video.",
        "its 2D joints are projections of its own result; they are not used.",
    ]
    if predicted:
        remarks.append(f"{predicted} entries that PHALP only predicted, without a detection, are "
                       "left out.")  # fmt: skip
    first = next(iter(content.data.values()))
    sized = next((frame["size"][0] for frame in content.data.values()
                  if frame.get("size") and len(frame["size"])), None)  # fmt: skip
    size = None
    if sized is not None:
        height, width = checks.plain(sized, f"{where}, 'size'").reshape(-1)[:2]
        size = (float(width), float(height))
    if first.get("time") not in (0, None):
        remarks.append(f"its first frame is number {checks.named(first['time'])}.")
    return Found(tuple(tracks), size=size, remarks=tuple(remarks))


def _person(content: Content, number: int, who: int, rows: list) -> ResultTrack:
    where = f"'{content.path}', person {who}"
    rows = sorted(rows, key=lambda row: float(content.data[row[0]]["time"]))
    entries = [content.data[name] for name, _ in rows]

    def all_of(key: str, size: int) -> np.ndarray | None:
        if not all(key in e and i < len(e[key]) for e, (_, i) in zip(entries, rows)):
            return None
        found = [checks.plain(e[key][i], f"{where}, '{key}'").reshape(-1)[:size]
                 for e, (_, i) in zip(entries, rows)]  # fmt: skip
        return np.stack(found) if {len(row) for row in found} == {size} else None

    bodies = [e["smpl"][i] for e, (_, i) in zip(entries, rows)]
    if not all(has(body, "body_pose", "global_orient", "betas") for body in bodies):
        raise SemttaError(f"{where}: an entry of 'smpl' lacks body_pose, global_orient or betas.")
    local = [checks.take(b, "body_pose", where, (23, 3, 3), (1, 23, 3, 3)) for b in bodies]
    root = [checks.take(b, "global_orient", where, (1, 3, 3), (3, 3), (1, 1, 3, 3)) for b in bodies]
    turns = np.concatenate(
        (np.stack([r.reshape(1, 3, 3) for r in root]), np.stack([p.reshape(23, 3, 3)
                                                                 for p in local])), 1)  # fmt: skip
    betas = torch.cat([checks.shape_of(body, "betas", 1, where) for body in bodies])
    cam, center, scale = all_of("camera_bbox", 3), all_of("center", 2), all_of("scale", 2)
    box, crops = all_of("bbox", 4), None
    if cam is not None and center is not None and scale is not None:
        crops = checks.single(np.concatenate((center, scale.max(1, keepdims=True)), 1))
    frames = np.array([float(e["time"]) for e in entries])
    return ResultTrack(
        id=number, key=(who, tuple(rows)), frames=checks.increasing(frames, f"{where}, 'time'"),
        rotmats=checks.smpl_rotations(turns, where), betas=betas,
        cam=None if crops is None or cam is None else checks.single(cam), crops=crops,
        boxes=None if box is None else checks.boxes_of(
            np.concatenate((box[:, :2], box[:, :2] + box[:, 2:]), 1)),
    )  # fmt: skip


def write(content: Content, track: ResultTrack, refined: Refined):
    assert isinstance(track.key, tuple)
    data = dict(content.data)
    cam = None
    if refined.trans is not None and track.crops is not None:
        cam = weak_perspective(refined.trans, track.crops, refined)
    for t, (name, i) in enumerate(track.key[1]):
        frame, body = data[name], dict(data[name]["smpl"][i])
        body["body_pose"] = like(body["body_pose"], refined.rotmats[t, 1:])
        body["global_orient"] = like(body["global_orient"], refined.rotmats[t, :1])
        if refined.betas is not None:
            body["betas"] = like(body["betas"], refined.betas[t])
        frame = replaced(frame, "smpl", i, body)
        if cam is not None:
            frame = replaced(frame, "camera_bbox", i, like(frame["camera_bbox"][i], cam[t]))
            if "camera" in frame and "size" in frame:
                far = _stand_in(cam[t], track, t, frame["size"][i])
                frame = replaced(frame, "camera", i, like(frame["camera"][i], far))
        data[name] = frame
    return data


def _stand_in(cam, track: ResultTrack, t: int, size) -> torch.Tensor:
    """Its ``camera``: before a picture of 256 x 256 into which the padded one was brought."""
    assert track.crops is not None
    height, width = (float(n) for n in np.ravel(size)[:2])
    ratio = _RES / max(height, width)
    crop = track.crops[t]
    depth = 2 * _FOCAL / (cam[0] * crop[2] * ratio + 1e-9)
    offset = (crop[:2] - torch.tensor([width, height]) / 2) * ratio
    return torch.cat((cam[1:] + offset * depth / _FOCAL, depth[None]))
