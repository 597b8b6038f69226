"""TRAM's ``hps/hps_track_0.npy``: one person a file; the camera lies in ``camera.npy`` above it.

The file has the motion before the camera only. Its world is that of the camera's path: the moved
motion follows from the same ``camera.npy``.
"""

from __future__ import annotations

from pathlib import Path

import torch

from semtta.errors import SemttaError
from semtta.geometry import rotmat_to_columns
from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, has, open_content, replaced
from semtta.hmr.results.parts import SMPL_REST, Found, Refined, ResultTrack, WorldMotion
from semtta.hmr.results.writing import like

TITLE = "TRAM's hps_track"
STALE = ()


def sniff(content: Content) -> bool:
    return content.has("pred_rotmat", "pred_shape", "pred_trans", "frame")


def read(content: Content) -> Found:
    where, data = f"'{content.path}'", content.data
    matrices = checks.take(data, "pred_rotmat", where, (None, 24, 3, 3))
    count = len(matrices)
    rotmats = checks.smpl_rotations(matrices, f"{where}, 'pred_rotmat'")
    frames = checks.frames_of(data, "frame", count, where)
    trans = checks.place_of(data, "pred_trans", count, where)
    camera, note = _camera(content)
    focal = center = world = size = covers = None
    if has(camera, "img_focal", "img_center"):
        focal = checks.focal_of(camera["img_focal"], count, "camera.npy, 'img_focal'")
        center = checks.center_of(camera["img_center"], count, "camera.npy, 'img_center'")
        size = (2 * float(center[0, 0]), 2 * float(center[0, 1]))
    if has(camera, "pred_cam_R", "pred_cam_T"):
        turns = checks.take(camera, "pred_cam_R", "camera.npy", (None, 3, 3))
        places = checks.take(camera, "pred_cam_T", "camera.npy", (len(turns), 3))
        covers = len(turns)
        if int(frames[-1]) >= covers:
            raise SemttaError(f"{where} has frame {int(frames[-1])}, its camera.npy {covers} "
                              "frames; they do not belong together.")  # fmt: skip
        turn = checks.exact(turns, "camera.npy, 'pred_cam_R'")[frames]
        rest = torch.tensor(SMPL_REST)
        place = (turn @ (trans + rest)[..., None])[..., 0] + checks.single(places)[frames] - rest
        world = WorldMotion(turn @ rotmats[:, 0], place)
    track = ResultTrack(
        id=1, frames=frames, rotmats=rotmats, trans=trans, focal=focal, center=center,
        betas=checks.shape_of(data, "pred_shape", count, where), world=world,
    )  # fmt: skip
    return Found((track,), size=size, covers=covers, remarks=note)


def companions(content: Content) -> list[Path]:
    """The ``camera.npy`` that belongs to the file, if there is one."""
    folder = content.path.absolute().parent
    places = (folder.parent / "camera.npy", folder / "camera.npy")
    return [path for path in places if path.is_file()][:1]


def _camera(content: Content):
    """What ``camera.npy`` holds, and a remark if there is none."""
    for path in companions(content):
        return open_content(path).data, ()
    return {}, ("there is no camera.npy beside it, so the camera and the world are not known.",)


def write(content: Content, track: ResultTrack, refined: Refined):
    data = content.data
    values = {"pred_rotmat": refined.rotmats}
    if "pred_pose" in data:
        values["pred_pose"] = rotmat_to_columns(refined.rotmats).flatten(1)
    if refined.betas is not None:
        values["pred_shape"] = refined.betas
    if refined.trans is not None:
        values["pred_trans"] = refined.trans
        if "pred_cam" in data and track.trans is not None:
            values["pred_cam"] = _cam(data["pred_cam"], track.trans, refined.trans)
    for key, value in values.items():
        data = replaced(data, key, like(data[key], value))
    return data


def _cam(before, old, new):
    """s, tx, ty of another translation in the same crops, which are not in the file: what they
    add to tx and ty grows with 1 / s."""
    cam = checks.single(checks.plain(before, "'pred_cam'").reshape(-1, 3))
    scale = cam[:, 0] * old[:, 2] / new[:, 2]
    offset = (old[:, :2] - cam[:, 1:]) * (cam[:, 0] / scale)[:, None]
    return torch.cat((scale[:, None], new[:, :2] - offset), 1)
