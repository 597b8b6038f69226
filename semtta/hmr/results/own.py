"""This library's own ``track-01.npz``: what ``docs/outputs.md`` sets out."""

from __future__ import annotations

import numpy as np
import torch
import yaml

from semtta.errors import SemttaError
from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, replaced
from semtta.hmr.results.moving import moved
from semtta.hmr.results.parts import SMPL_REST, Found, Refined, ResultTrack, WorldMotion
from semtta.hmr.results.writing import like
from semtta.keypoints import Keypoints2D
from semtta.reading import MEBI, read_text, reading
from semtta.skeletons import SKELETONS, Skeleton

TITLE = "semtta's own track"
STALE = ("cam", "trans_raw", "landmarks2d", "similarity", "gate_similarity")


def sniff(content: Content) -> bool:
    return content.has("global_orient", "body_pose", "trans", "frames", "detected_xy", "focal")


def read(content: Content) -> Found:
    where, data = f"'{content.path}'", content.data
    root = checks.take(data, "global_orient", where, (None, 3))
    count = len(root)
    pose = checks.take(data, "body_pose", where, (count, 69))
    world = None
    if "global_orient_world" in data and "trans_world" in data:
        turned = checks.take(data, "global_orient_world", where, (count, 3))
        orient = checks.rotations(turned, f"{where}, 'global_orient_world'")
        world = WorldMotion(orient, checks.place_of(data, "trans_world", count, where), "y")
    body, remarks = _body(content)
    corners = checks.take(data, "boxes", where, (count, 4)) if "boxes" in data else None
    track = ResultTrack(
        id=_number(data, where), frames=checks.frames_of(data, "frames", count, where),
        rotmats=checks.smpl_rotations(np.concatenate((root, pose), 1), where),
        betas=checks.shape_of(data, "betas", count, where),
        trans=checks.place_of(data, "trans", count, where),
        rest=SMPL_REST if body == "smpl" else (0.0, 0.0, 0.0),
        focal=checks.focal_of(data["focal"], count, f"{where}, 'focal'"),
        center=checks.center_of(data["center"], count, f"{where}, 'center'"),
        boxes=None if corners is None else checks.boxes_of(corners),
        keypoints=_points(data, count, where), world=world,
    )  # fmt: skip
    fps = float(checks.take(data, "fps", where, ())) if "fps" in data else None
    center = track.center
    assert center is not None
    size = (2 * float(center[0, 0]) + 1, 2 * float(center[0, 1]) + 1)
    return Found((track,), fps=fps, size=size, remarks=remarks)


def _number(data, where: str) -> int:
    found = float(checks.take(data, "track_id", where, (), (1,)).reshape(())) if (
        "track_id" in data) else 1.0  # fmt: skip
    if found != round(found) or not 0 < found < 1e9:
        raise SemttaError(f"{where}: 'track_id' is no number of a track.")
    return int(found)


def _points(data, count: int, where: str) -> Keypoints2D:
    xy = checks.take(data, "detected_xy", where, (count, None, 2))
    conf = checks.take(data, "detected_conf", where, (count, xy.shape[1]))
    names = data.get("landmark_names")
    named = isinstance(names, np.ndarray) and names.dtype.kind == "U"
    if not named or names.shape != (xy.shape[1],) or len(set(names.tolist())) < len(names):
        raise SemttaError(f"{where}: 'landmark_names' are not {xy.shape[1]} names.")
    joints = tuple(names.tolist())
    skeleton = next((s for s in SKELETONS.values() if s.joints == joints), None)
    points = np.concatenate((xy, conf[..., None]), -1)
    return checks.points_of(points, skeleton or Skeleton("landmarks", joints))


def _body(content: Content) -> tuple[str, tuple[str, ...]]:
    """Name of the body that its betas belong to: in the settings beside it."""
    path = content.path.with_name("config.yaml")
    if path.is_file():
        text = read_text(path, "settings of the result", MEBI)
        with reading(path, "settings of the result"):
            settings = yaml.safe_load(text)
            body = settings.get("body") if isinstance(settings, dict) else None
            if isinstance(body, dict) and isinstance(body.get("name"), str):
                return body["name"], ()
    return "cc0", ("there is no config.yaml beside it, so its body is taken to be the CC0 one.",)


def write(content: Content, track: ResultTrack, refined: Refined):
    data = content.data
    pose = np.concatenate((data["global_orient"], data["body_pose"]), 1).reshape(-1, 24, 3)
    turned = checks.vectors(refined.rotmats, pose).reshape(len(pose), 72)
    values = {"global_orient": turned[:, :3], "body_pose": turned[:, 3:]}
    if refined.trans is not None:
        values["trans"] = refined.trans.numpy()
    if refined.betas is not None:
        values["betas"] = refined.betas.numpy()
    if track.world is not None:
        world = moved(track, refined)
        values["global_orient_world"] = checks.vectors(world.orient, data["global_orient_world"])
        values["trans_world"] = world.trans.numpy()
    for key, value in values.items():
        data = replaced(data, key, like(data[key], torch.from_numpy(np.asarray(value))))
    return data
