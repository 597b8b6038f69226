"""GVHMR's ``hmr4d_results.pt``: one person, a row for each frame of the video that it copied.

SMPL-X: 21 body joints, other betas. ``smpl_params_incam`` is before the camera with ``K_fullimg``,
``smpl_params_global`` in a world with y up.
"""

from __future__ import annotations

import torch

from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, has, replaced
from semtta.hmr.results.moving import moved
from semtta.hmr.results.parts import SMPLX_REST, Found, Refined, ResultTrack, WorldMotion
from semtta.hmr.results.writing import like, posed

TITLE = "GVHMR's hmr4d_results.pt"
STALE = ("net_outputs",)
_CAMERA, _WORLD = "smpl_params_incam", "smpl_params_global"
_PARTS = ("global_orient", "body_pose", "betas", "transl")


def sniff(content: Content) -> bool:
    return content.has(_CAMERA) and has(content.data[_CAMERA], "global_orient", "body_pose")


def read(content: Content) -> Found:
    where, data = f"'{content.path}'", content.data
    rotmats, trans = _motion(data, _CAMERA, where)
    count = len(rotmats)
    world = None
    if _WORLD in data:
        orient, place = _motion(data, _WORLD, where, count)
        world = WorldMotion(orient[:, 0], place, "y")
    focal = center = size = None
    if "K_fullimg" in data:
        focal, center = checks.matrix_of(data, "K_fullimg", count, where)
        size = (2 * float(center[0, 0]), 2 * float(center[0, 1]))
    track = ResultTrack(
        id=1, frames=torch.arange(count), rotmats=rotmats, trans=trans, smplx=True,
        betas=checks.shape_of(data[_CAMERA], "betas", count, f"{where}, {_CAMERA}"),
        rest=SMPLX_REST, focal=focal, center=center, world=world,
    )  # fmt: skip
    return Found((track,), size=size, covers=count)


def _motion(data, part: str, where: str, count: int | None = None):
    where = f"{where}, {part}"
    body = checks.take(data.get(part), "body_pose", where, (count, 63), (count, 21, 3))
    count = len(body)
    root = checks.take(data[part], "global_orient", where, (count, 3), (count, 1, 3))
    checks.increasing(torch.arange(count).numpy(), where)
    local = checks.rotations(body.reshape(count, 21, 3), f"{where}, 'body_pose'")
    orient = checks.rotations(root.reshape(count, 1, 3), f"{where}, 'global_orient'")
    rotmats = checks.with_hands(torch.cat((orient, local), 1))
    return rotmats, checks.place_of(data[part], "transl", count, where)


def write(content: Content, track: ResultTrack, refined: Refined):
    data = content.data
    data = _written(data, _CAMERA, refined.rotmats, refined.trans, refined)
    if track.world is not None:
        world = moved(track, refined)
        rotmats = torch.cat((world.orient[:, None], refined.rotmats[:, 1:]), 1)
        data = _written(data, _WORLD, rotmats, world.trans, refined)
    return data


def _written(data, part: str, rotmats, trans, refined: Refined):
    before = data[part]
    values = {
        "global_orient": posed(before["global_orient"], rotmats[:, :1]),
        "body_pose": _body(before["body_pose"], rotmats),
    }
    if trans is not None:
        values["transl"] = like(before["transl"], trans)
    if refined.betas is not None:
        values["betas"] = _betas(before["betas"], refined.betas)
    for key, value in values.items():
        data = replaced(data, part, key, value)
    return data


def _body(before, rotmats):
    held = checks.plain(before, "'body_pose'").reshape(len(rotmats), 21, 3)
    return like(before, checks.vectors(rotmats[:, 1 : checks.JOINTS], held))


def _betas(before, betas):
    return like(before, betas if tuple(before.shape) == tuple(betas.shape) else betas[:1])
