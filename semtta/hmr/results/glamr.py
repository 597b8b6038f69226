"""GLAMR's ``*_seed1.pkl``: people in a world with z up, and the camera in it.

Its body's translation is the place of the pelvis. Frames before somebody appears and after are not
read; frames in between, in which nobody saw the person, are GLAMR's own and are.
"""

from __future__ import annotations

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, has, replaced
from semtta.hmr.results.moving import moved
from semtta.hmr.results.parts import Found, Refined, ResultTrack, WorldMotion
from semtta.hmr.results.writing import like

TITLE = "GLAMR's pkl"
STALE = ("kp_2d_pred", "smpl_orient_cam", "root_trans_cam", "person_transform_world",
         "smpl_orient_world_base", "root_trans_world_base")  # fmt: skip
_KEYS = ("smpl_pose", "smpl_beta", "root_trans_world", "smpl_orient_world")


def sniff(content: Content) -> bool:
    people = content.data.get("person_data") if content.has("person_data", "cam_pose") else None
    return isinstance(people, dict) and any(has(p, *_KEYS) for p in people.values())


def read(content: Content) -> Found:
    where, data = f"'{content.path}'", content.data
    camera = checks.take(data, "cam_pose", where, (None, 4, 4))
    count = len(camera)
    turn = checks.exact(camera[:, :3, :3], f"{where}, 'cam_pose'")
    shift = checks.single(camera[:, :3, 3])
    tracks: list[ResultTrack] = []
    hidden = 0
    for key, person in data["person_data"].items():
        here = f"{where}, person {checks.named(key)}"
        there = _there(person, count, here)
        if "vis_frames" in person:
            seen = checks.take(person, "vis_frames", here, (count,)) > 0
            hidden += int((~seen[there]).sum())
        tracks.append(_person(person, len(tracks) + 1, key, there, turn, shift, here))
    size = None
    if tracks[0].center is not None:
        size = (2 * float(tracks[0].center[0, 0]), 2 * float(tracks[0].center[0, 1]))
    remarks = () if not hidden else (
        f"{hidden} of its frames show a person whom nobody saw there: GLAMR filled them in.",
    )  # fmt: skip
    return Found(tuple(tracks), size=size, covers=count, remarks=remarks)


def _there(person, count: int, where: str) -> np.ndarray:
    """(T,) frames in which the person exists."""
    if not has(person, "exist_frames"):
        return np.arange(count)
    exist = checks.take(person, "exist_frames", where, (count,)) > 0
    if not exist.any():
        raise SemttaError(f"{where}: is in no frame.")
    return np.flatnonzero(exist)


def _person(person, number: int, key, there, turn, shift, where: str) -> ResultTrack:
    count = len(turn)
    pose = checks.take(person, "smpl_pose", where, (count, 69), (count, 23, 3))[there]
    root = checks.take(person, "smpl_orient_world", where, (count, 3))[there]
    orient = checks.rotations(root, f"{where}, 'smpl_orient_world'")
    local = checks.rotations(pose.reshape(-1, 23, 3), f"{where}, 'smpl_pose'")
    place = checks.place_of(person, "root_trans_world", count, where)[there]
    rotmats = torch.cat(((turn[there] @ orient)[:, None], local), 1)
    focal = center = None
    if "cam_K" in person:
        matrices = checks.take(person, "cam_K", where, (count, 3, 3), (3, 3))
        matrices = np.broadcast_to(matrices, (count, 3, 3))[there]
        known = matrices[:, 0, 0] > 0  # zeros where nobody saw the person
        if known.any():
            matrices = np.where(known[:, None, None], matrices, matrices[known][0])
            focal, center = checks.matrix_of({"cam_K": matrices}, "cam_K", len(there), where)
    return ResultTrack(
        id=number, key=key, frames=checks.increasing(there, where), rotmats=rotmats,
        betas=checks.shape_of(person, "smpl_beta", count, where)[there],
        trans=(turn[there] @ place[..., None])[..., 0] + shift[there], rest=(0.0, 0.0, 0.0),
        focal=focal, center=center, world=WorldMotion(orient, place, "z"),
    )  # fmt: skip


def write(content: Content, track: ResultTrack, refined: Refined):
    data, person = content.data, content.data["person_data"][track.key]
    there, world = track.frames.numpy(), moved(track, refined)
    before = checks.plain(person["smpl_pose"], "'smpl_pose'")[there].reshape(-1, 23, 3)
    turned = checks.plain(person["smpl_orient_world"], "'smpl_orient_world'")[there]
    values = {
        "smpl_pose": checks.vectors(refined.rotmats[:, 1:], before),
        "smpl_orient_world": checks.vectors(world.orient, turned),
        "root_trans_world": world.trans.numpy(),
    }
    if "smpl_orient_cam_in_world" in person:
        values["smpl_orient_cam_in_world"] = checks.vectors(refined.rotmats[:, 0])
    if "root_trans_cam_in_world" in person and refined.trans is not None:
        values["root_trans_cam_in_world"] = refined.trans.numpy()
    if refined.betas is not None:
        values["smpl_beta"] = refined.betas.numpy()
    for key, value in values.items():
        array = checks.plain(person[key], f"'{key}'").copy()
        array[there] = value.reshape(len(there), *array.shape[1:])
        data = replaced(data, "person_data", track.key, key, like(person[key], array))
    return data
