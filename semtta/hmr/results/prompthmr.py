"""PromptHMR's ``results.pkl``: several people before one camera, and in a world with y up.

SMPL-X. Its pixels and frames are those of the video as PromptHMR reads it: at most 896 pixels high
and 60 frames a second.
"""

from __future__ import annotations

import torch

from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, has, replaced
from semtta.hmr.results.moving import moved
from semtta.hmr.results.parts import SMPLX_REST, Found, Refined, ResultTrack, WorldMotion
from semtta.hmr.results.writing import like, posed
from semtta.skeletons import BODY25

TITLE = "PromptHMR's results.pkl"
STALE = ()
_TALLEST = 896


def sniff(content: Content) -> bool:
    people = content.data.get("people") if content.has("people", "camera") else None
    return isinstance(people, dict) and any(has(p, "smplx_cam", "frames") for p in people.values())


def read(content: Content) -> Found:
    where, data = f"'{content.path}'", content.data
    camera = data["camera"]
    size = covers = None
    tracks: list[ResultTrack] = []
    for key, person in data["people"].items():
        here = f"{where}, person {checks.named(key)}"
        tracks.append(_person(person, len(tracks) + 1, key, camera, here))
    if has(camera, "pred_cam_R"):
        covers = len(camera["pred_cam_R"])
    if tracks[0].center is not None:
        size = (2 * float(tracks[0].center[0, 0]), 2 * float(tracks[0].center[0, 1]))
    remarks = () if size is None or size[1] < _TALLEST else (
        f"its pixels are those of a picture of {size[0]:.0f} x {size[1]:.0f}: PromptHMR makes "
        "videos smaller.",
    )  # fmt: skip
    return Found(tuple(tracks), size=size, covers=covers, remarks=remarks)


def _person(person, number: int, key, camera, where: str) -> ResultTrack:
    own = person["smplx_cam"] if has(person, "smplx_cam") else {}
    pose = checks.take(own, "pose", f"{where}, smplx_cam", (None, 75), (None, 165), (None, 66))
    count = len(pose)
    rotmats = checks.smpl_rotations(pose[:, :66], f"{where}, 'pose'")
    world = None
    if has(person, "smplx_world"):
        there = f"{where}, smplx_world"
        turned = checks.take(person["smplx_world"], "pose", there, (count, None))
        orient = checks.rotations(turned[:, :3], there)
        place = checks.place_of(person["smplx_world"], "trans", count, there)
        world = WorldMotion(orient, place, "y")
    points = None
    if "keypoints_2d" in person:
        found = checks.take(person, "keypoints_2d", where, (count, None, 3))
        if found.shape[1] >= len(BODY25):
            points = checks.points_of(found[:, : len(BODY25)], BODY25)
    boxes = None
    if "bboxes" in person:
        corners = checks.take(person, "bboxes", where, (count, 4), (count, 5))
        boxes = checks.boxes_of(corners[:, :4])
    given = has(camera, "img_focal", "img_center")
    return ResultTrack(
        id=number, key=key, frames=checks.frames_of(person, "frames", count, where),
        rotmats=rotmats, betas=checks.shape_of(own, "shape", count, where), smplx=True,
        trans=checks.place_of(own, "trans", count, where), rest=SMPLX_REST, world=world,
        focal=checks.focal_of(camera["img_focal"], count, "its 'img_focal'") if given else None,
        center=checks.center_of(camera["img_center"], count, "its 'img_center'") if given else None,
        boxes=boxes, keypoints=points,
    )  # fmt: skip


def write(content: Content, track: ResultTrack, refined: Refined):
    data, place = content.data, ("people", track.key)
    person = data["people"][track.key]
    own = person["smplx_cam"]
    values = {("smplx_cam", "pose"): posed(own["pose"], refined.rotmats)}
    if "rotmat" in own:
        values["smplx_cam", "rotmat"] = posed(own["rotmat"], refined.rotmats)
    if refined.trans is not None:
        values["smplx_cam", "trans"] = like(own["trans"], refined.trans)
    if refined.betas is not None:
        values["smplx_cam", "shape"] = like(own["shape"], refined.betas)
    if track.world is not None:
        other, world = person["smplx_world"], moved(track, refined)
        rotmats = torch.cat((world.orient[:, None], refined.rotmats[:, 1:]), 1)
        values["smplx_world", "pose"] = posed(other["pose"], rotmats)
        values["smplx_world", "trans"] = like(other["trans"], world.trans)
        if refined.betas is not None and "shape" in other:
            values["smplx_world", "shape"] = like(other["shape"], refined.betas)
    for keys, value in values.items():
        data = replaced(data, *place, *keys, value)
    return data
