"""The file's own camera, and what a refined motion before it is in the file's world.

The base motion before the camera, R_c and p_c, and in the world, R_w and p_w, say where the camera
was in each frame: R_wc = R_w R_c^T. The refined one, R_c' and p_c', is moved by the same camera:

    R_w' = R_wc R_c'        p_w' = p_w + R_wc (p_c' - p_c)

with p the place of the pelvis. Where only the pose changed, the world's trajectory stays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.hmr.results.parts import Refined, ResultTrack, WorldMotion


def camera_to_world(track: ResultTrack) -> Tensor:
    """(T, 3, 3) rotations from the camera's axes to the world's, as the file has them."""
    assert track.world is not None
    return track.world.orient @ track.rotmats[:, 0].mT


def moved(track: ResultTrack, refined: Refined) -> WorldMotion:
    """The refined motion in the file's world."""
    assert track.world is not None
    turn = camera_to_world(track)
    step = torch.zeros_like(track.world.trans)
    before = base_translation(track, refined)
    if refined.trans is not None and before is not None:
        step = refined.trans - before
    rest = torch.zeros_like(step) if refined.rest_moved is None else refined.rest_moved
    trans = track.world.trans + (turn @ (step + rest)[..., None])[..., 0] - rest
    return WorldMotion(turn @ refined.rotmats[:, 0], trans, track.world.up)


def base_translation(track: ResultTrack, refined: Refined) -> Tensor | None:
    """(T, 3) metres before the camera that the refined motion was found before."""
    if track.trans is not None or refined.camera is None:
        return track.trans
    return track.translation(refined.camera)


def weak_perspective(trans: Tensor, crops: Tensor, refined: Refined) -> Tensor:
    """(T, 3) s, tx, ty in square crops of a translation before ``refined.camera``; the inverse of
    :func:`semtta.geometry.full_translation`."""
    assert refined.camera is not None
    scale = 2 * refined.camera.focal / (trans[:, 2] * crops[:, 2])
    middle = torch.tensor(refined.camera.center)
    offset = 2 * (crops[:, :2] - middle) / (scale * crops[:, 2])[:, None]
    return torch.cat((scale[:, None], trans[:, :2] - offset), 1)
