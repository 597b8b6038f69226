"""WHAM's ``wham_output.pkl`` (``--save_pkl``), and what its API gives.

Camera: the picture's diagonal as focal length unless it was told (not in the file). World: y up.
"""

from __future__ import annotations

import torch

from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, replaced
from semtta.hmr.results.moving import moved
from semtta.hmr.results.parts import Found, Refined, ResultTrack, WorldMotion
from semtta.hmr.results.writing import like, posed

TITLE = "WHAM's wham_output.pkl"
STALE = ("verts", "verts_cam")


def sniff(content: Content) -> bool:
    return content.people("pose_world", "trans_world", "betas", "frame_ids") or content.people(
        "poses_body", "poses_root_cam", "betas", "frame_id"
    )


def read(content: Content) -> Found:
    tracks = [_person(person, i, key, f"'{content.path}', person {checks.named(key)}")
              for i, (key, person) in enumerate(content.data.items(), 1)]  # fmt: skip
    remarks = ("its focal length is not in the file: WHAM takes the diagonal of the picture unless "
               "it is given a calibration.",)  # fmt: skip
    if any(track.trans is None for track in tracks):
        remarks = ("it has no translation before the camera (WHAM's API leaves it out).",)
    return Found(tuple(tracks), remarks=remarks)


def _person(person, number: int, key, where: str) -> ResultTrack:
    api = "pose" not in person
    world = trans = None
    if api:
        body = checks.take(person, "poses_body", where, (None, 23, 3, 3), (None, 69))
        count = len(body)
        root = checks.take(person, "poses_root_cam", where, (count, 1, 3, 3), (count, 3, 3),
                           (count, 3))  # fmt: skip
        rotmats = torch.cat((_turns(root, 1, where), _turns(body, 23, where)), 1)
        if "poses_root_world" in person and "trans_world" in person:
            turned = checks.take(person, "poses_root_world", where, (count, 1, 3, 3),
                                 (count, 3, 3), (count, 3))  # fmt: skip
            orient = _turns(turned, 1, where)[:, 0]
            world = WorldMotion(orient, checks.place_of(person, "trans_world", count, where), "y")
    else:
        pose = checks.take(person, "pose", where, (None, 72))
        count = len(pose)
        rotmats = checks.smpl_rotations(pose, f"{where}, 'pose'")
        trans = checks.place_of(person, "trans", count, where)
        turned = checks.take(person, "pose_world", where, (count, 72))
        orient = checks.rotations(turned[:, :3], f"{where}, 'pose_world'")
        world = WorldMotion(orient, checks.place_of(person, "trans_world", count, where), "y")
    return ResultTrack(
        id=number, key=key, rotmats=rotmats, trans=trans, world=world,
        frames=checks.frames_of(person, "frame_id" if api else "frame_ids", count, where),
        betas=checks.shape_of(person, "betas", count, where),
    )  # fmt: skip


def _turns(array, joints: int, where: str):
    """(T, J, 3, 3) of matrices or rotation vectors."""
    if array.size == len(array) * joints * 9:
        return checks.exact(array.reshape(len(array), joints, 3, 3), where)
    return checks.rotations(array.reshape(len(array), joints, 3), where)


def write(content: Content, track: ResultTrack, refined: Refined):
    person, data = content.data[track.key], content.data
    values = {}
    if "pose" in person:
        values["pose"] = posed(person["pose"], refined.rotmats)
        if refined.trans is not None:
            values["trans"] = like(person["trans"], refined.trans)
    else:
        values["poses_body"] = posed(person["poses_body"], refined.rotmats[:, 1:])
        values["poses_root_cam"] = _root(person["poses_root_cam"], refined.rotmats[:, :1])
    if refined.betas is not None:
        values["betas"] = like(person["betas"], refined.betas)
    if track.world is not None:
        world = moved(track, refined)
        rotmats = torch.cat((world.orient[:, None], refined.rotmats[:, 1:]), 1)
        if "pose_world" in person:
            values["pose_world"] = posed(person["pose_world"], rotmats)
        else:
            values["poses_root_world"] = _root(person["poses_root_world"], rotmats[:, :1])
        values["trans_world"] = like(person["trans_world"], world.trans)
    for key, value in values.items():
        data = replaced(data, track.key, key, value)
    return data


def _root(before, rotmats):
    """One joint's rotations in a form that is not told by the number of dimensions."""
    if checks.plain(before, "a root").size == len(rotmats) * 9:
        return like(before, rotmats)
    return posed(before, rotmats)
