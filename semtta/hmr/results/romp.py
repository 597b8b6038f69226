"""ROMP's ``video_results.npz``: pickled dictionaries, an entry a frame, people by ``track_ids``.

Its weak perspective is of the padded square picture. Where that lies in the video's follows from
its own joints and their projections.
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

TITLE = "ROMP's video_results.npz"
STALE = ("verts", "joints", "pj2d_org")
_FLAT = 1e-6  # of joints that say nothing about a picture
_SAME = 0.02  # of the picture's side, between entries


def sniff(content: Content) -> bool:
    frames = content.data.get("results") if content.has("results") else None
    return isinstance(frames, dict) and any(has(f, "smpl_thetas", "cam") for f in frames.values())


def read(content: Content) -> Found:
    where = f"'{content.path}'"
    rows, remarks = _rows(content.data["results"], where)
    frames, size = content.data["results"], None
    tracks: list[ResultTrack] = []
    for who, entries in sorted(rows.items()):
        here = f"{where}, person {who}"
        held = [{key: frames[name][key][i] for key in ("smpl_thetas", "smpl_betas", "cam")}
                for _, name, i in entries]  # fmt: skip
        pose = np.stack([checks.take(h, "smpl_thetas", here, (72,)) for h in held])
        betas = np.stack([checks.take(h, "smpl_betas", here, (None,))[:10] for h in held])
        cam = np.stack([checks.take(h, "cam", here, (3,)) for h in held])
        crops = boxes = None
        pictured = [_picture(frames[name], i, cam[t], here)
                    for t, (_, name, i) in enumerate(entries)]  # fmt: skip
        square = [p for p in pictured if p is not None]
        middle = np.median([p[0] for p in square], 0) if square else np.zeros(3)
        same = all(np.abs(p[0] - middle).max() < _SAME * middle[2] for p in square)
        if len(square) == len(entries) and same and (cam[:, 0] > 1e-4).all():
            crops = checks.single(np.broadcast_to(middle, (len(entries), 3)))
            boxes = checks.boxes_of(np.stack([p[1] for p in square]))
            size = (2 * float(middle[0]), 2 * float(middle[1]))
            cam = np.concatenate((cam[:, :1], cam[:, 1:] / cam[:, :1]), 1)
        numbers = np.array([number for number, _, _ in entries], float)
        tracks.append(ResultTrack(
            id=len(tracks) + 1, key=(who, tuple((name, i) for _, name, i in entries)),
            frames=checks.increasing(numbers, here),
            rotmats=checks.smpl_rotations(pose, f"{here}, 'smpl_thetas'"),
            betas=checks.shape_of({"b": betas}, "b", len(betas), here), boxes=boxes, crops=crops,
            cam=None if crops is None else checks.single(cam),
        ))  # fmt: skip
    remarks += ("it has no focal length: its weak perspective is put before the camera of the "
                "video.",) if size else ("it has no translation: 'joints' and 'pj2d_org', which "
                                         "say where its picture lies, are missing.",)  # fmt: skip
    return Found(tuple(tracks), size=size, covers=len(frames), remarks=remarks)


def _rows(frames, where: str) -> tuple[dict, tuple[str, ...]]:
    """Person -> [(frame, its name, place in it)]. Who has no identity is followed by overlap."""
    rows, loose = defaultdict(list), []
    for number, (name, frame) in enumerate(frames.items()):
        if not has(frame, "smpl_thetas", "smpl_betas", "cam"):
            continue  # nobody there
        count = len(frame["smpl_thetas"])
        for key in ("smpl_betas", "cam", *(("track_ids",) if "track_ids" in frame else ())):
            if len(frame[key]) != count:
                raise SemttaError(f"{where}, frame {checks.named(name)}: '{key}' has "
                                  f"{len(frame[key])} people, 'smpl_thetas' {count}.")  # fmt: skip
        for i in range(count):
            if "track_ids" in frame:
                rows[int(frame["track_ids"][i])].append((number, name, i))
            else:
                loose.append((number, name, i))
    if loose and not rows:
        boxes = [_around(frames[name], i, where) for _, name, i in loose]
        numbers = [number for number, _, _ in loose]
        if len(set(numbers)) < len(numbers):
            known = [box for box in boxes if box is not None]
            if len(known) < len(boxes):
                raise SemttaError(f"{where}: several people in a frame, and nothing says who is "
                                  "who; run ROMP with -t.")  # fmt: skip
            for row, who in zip(loose, checks.linked(numbers, np.stack(known))):
                rows[int(who)].append(row)
            return rows, ("it does not say who is who (ROMP without -t): people were followed by "
                          "how their boxes overlap.",)  # fmt: skip
        rows[0] = loose
    if not rows or len(rows) > checks.MOST_PEOPLE:
        raise SemttaError(f"{where}: it has {len(rows)} people; from 1 to {checks.MOST_PEOPLE} "
                          "are read.")  # fmt: skip
    left_out = len(loose) if rows.get(0) is not loose else 0
    return rows, (f"{left_out} entries without an identity are left out.",) if left_out else ()


def _around(frame, i: int, where: str) -> np.ndarray | None:
    if "pj2d_org" not in frame or i >= len(frame["pj2d_org"]):
        return None
    points = checks.plain(frame["pj2d_org"][i], f"{where}, 'pj2d_org'").reshape(-1, 2)
    return np.concatenate((points.min(0), points.max(0)))


def _picture(frame, i: int, cam: np.ndarray, where: str):
    """Centre and side of the padded square, and the person's box, of one entry; None = unknown."""
    box = _around(frame, i, where)
    if box is None or "joints" not in frame or i >= len(frame["joints"]):
        return None
    joints = checks.plain(frame["joints"][i], f"{where}, 'joints'").reshape(-1, 3)
    points = checks.plain(frame["pj2d_org"][i], f"{where}, 'pj2d_org'").reshape(-1, 2)
    if len(joints) != len(points) or len(joints) < 4:
        return None
    flat = cam[0] * joints[:, :2] + cam[1:]
    spread = flat - flat.mean(0)
    if (spread**2).sum() < _FLAT:
        return None
    half = (spread * (points - points.mean(0))).sum() / (spread**2).sum()
    middle = points.mean(0) - half * flat.mean(0)
    return np.array([*middle, 2 * half]), box


def write(content: Content, track: ResultTrack, refined: Refined):
    assert isinstance(track.key, tuple)
    who, entries = track.key
    data, cam = content.data, None
    if refined.trans is not None and track.crops is not None:
        weak = weak_perspective(refined.trans, track.crops, refined)
        cam = torch.cat((weak[:, :1], weak[:, 1:] * weak[:, :1]), 1)
    frames, sequence = dict(data["results"]), None
    if has(data, "sequence_results") and isinstance(data["sequence_results"], dict):
        sequence = data["sequence_results"].get(who)
    for t, (name, i) in enumerate(entries):
        values = _values(frames[name], i, track, refined, t, cam)
        frame = dict(frames[name])
        for key, value in values.items():
            held = np.array(frame[key])
            held[i] = value
            frame[key] = held
        frames[name] = frame
        if sequence is not None and t < len(sequence.get("frame_id", [])):
            for key, value in values.items():
                if key in sequence and t < len(sequence[key]):
                    sequence = replaced(sequence, key, t, like(sequence[key][t], value))
    data = replaced(data, "results", frames)
    if sequence is not None:
        data = replaced(data, "sequence_results", who, sequence)
    return data


def _values(frame, i: int, track: ResultTrack, refined: Refined, t: int, cam) -> dict:
    """What one entry of one frame becomes."""
    before = checks.plain(frame["smpl_thetas"][i], "'smpl_thetas'").reshape(24, 3)
    turned = checks.vectors(refined.rotmats[t], before).reshape(-1)
    values = {"smpl_thetas": turned}
    if "global_orient" in frame:
        values["global_orient"] = turned[:3]
    if "body_pose" in frame:
        values["body_pose"] = turned[3 : 3 + np.shape(frame["body_pose"][i])[-1]]
    if refined.betas is not None:
        held = np.array(frame["smpl_betas"][i])
        held[:10] = refined.betas[t].numpy()
        values["smpl_betas"] = held
    if cam is not None and track.crops is not None:
        values["cam"] = cam[t].numpy()
        if "pj2d_org" in frame and "joints" in frame:  # the joints that it has, where they are now
            half = float(track.crops[t, 2]) / 2
            flat = np.asarray(frame["joints"][i])[:, :2] * values["cam"][0] + values["cam"][1:]
            values["pj2d_org"] = flat * half + track.crops[t, :2].numpy()
        if "cam_trans" in frame:
            scale, x, y = values["cam"]
            values["cam_trans"] = 2 * np.array([x / scale, y / scale, 1 / scale])
    return values
