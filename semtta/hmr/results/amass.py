"""AMASS' npz (SMPL, SMPL-H, SMPL-X): a motion in a world, no camera.

It is read as a level camera sees it that looks along the world's +y (z up) or -z (y up): the one
that this library's own AMASS files come from. Only heading and tilt depend on that.
"""

from __future__ import annotations

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, replaced
from semtta.hmr.results.moving import moved
from semtta.hmr.results.parts import SMPL_REST, SMPLX_REST, Found, Refined, ResultTrack, WorldMotion
from semtta.hmr.results.writing import like, posed

TITLE = "AMASS' npz"
STALE = ()
_RATES = ("mocap_framerate", "mocap_frame_rate", "fps")
_SIZES = ((None, 66), (None, 72), (None, 156), (None, 165))
# Rotations from the world's axes to those of the camera.
_TURNS = {
    "z": torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
    "y": torch.diag(torch.tensor([1.0, -1.0, -1.0])),
}


def sniff(content: Content) -> bool:
    return content.has("poses", "trans") and content.kind == "npz"


def read(content: Content) -> Found:
    where, data = f"'{content.path}'", content.data
    poses = checks.take(data, "poses", where, *_SIZES)
    count = len(poses)
    world = checks.smpl_rotations(poses, f"{where}, 'poses'")
    trans = checks.place_of(data, "trans", count, where)
    up, smplx = _up(data, where), _smplx(data, poses)
    rotmats = world.clone()
    rotmats[:, 0] = _TURNS[up] @ world[:, 0]
    betas = torch.zeros(count, 10)
    if "betas" in data and np.size(data["betas"]) >= 10:
        betas = checks.shape_of(data, "betas", count, where)
    track = ResultTrack(
        id=1, frames=checks.increasing(np.arange(count), where), rotmats=rotmats,
        betas=betas, smplx=smplx, rest=SMPLX_REST if smplx else SMPL_REST,
        world=WorldMotion(world[:, 0], trans, up),
    )  # fmt: skip
    axis = "+y" if up == "z" else "-z"
    fps = next((float(checks.plain(data[key], where).reshape(-1)[0]) for key in _RATES
                if key in data and np.size(data[key]) == 1), None)  # fmt: skip
    if fps is not None and not 1 <= fps <= 1000:
        raise SemttaError(f"{where}: {fps:g} is no frame rate.")
    return Found((track,), fps=fps, remarks=(
        f"it has no camera: people are taken to be seen by a level one that looks along the "
        f"world's {axis}, and stand where the 2D puts them.",
        f"its {count} frames are taken to be the video's first ones.",
    ))  # fmt: skip


def _up(data, where: str) -> str:
    for key in ("up_axis", "frame"):
        said = data.get(key)
        if isinstance(said, np.ndarray) and said.dtype.kind in "SU" and said.size == 1:
            word = str(said.astype(str).item()).lower().replace("_", "-")
            axis = word.removesuffix("-up").strip(" +")
            if axis not in _TURNS:
                raise SemttaError(f"{where}: {key} says '{word[:40]}'; 'y-up' and 'z-up' are "
                                  "known.")  # fmt: skip
            return axis
    return "z"


def _smplx(data, poses: np.ndarray) -> bool:
    kind = data.get("surface_model_type")
    said = isinstance(kind, np.ndarray) and kind.dtype.kind in "SU" and "smplx" in str(kind)
    return said or poses.shape[1] == 165


def write(content: Content, track: ResultTrack, refined: Refined):
    data, world = content.data, moved(track, refined)
    rotmats = torch.cat((world.orient[:, None], refined.rotmats[:, 1:]), 1)
    data = replaced(data, "poses", posed(data["poses"], rotmats))
    found = checks.plain(data["poses"], "'poses'")
    parts = {"poses_smpl72": rotmats}
    for key, values in parts.items():
        if key in data:
            data = replaced(data, key, posed(data[key], values))
    for key, (start, end) in {"root_orient": (0, 3), "pose_body": (3, 66)}.items():
        if key in data:
            data = replaced(data, key, like(data[key], found[:, start:end]))
    if refined.betas is not None and "betas" in data:
        held = np.array(data["betas"])
        held.reshape(-1)[:10] = refined.betas.median(0).values.numpy()
        data = replaced(data, "betas", held)
    return data
