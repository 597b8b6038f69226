"""What no evidence shows is held where the base saw it.

The network's weights are shared: fitted to the joints that are seen, they turn the limbs that
nobody sees as well, and nothing pulls those back. So a limb unseen for long keeps the rotations
that it had before the fit. Without any leg, the trunk is also free to lean and to come nearer for
the sake of a shoulder: then the legs keep their orientation in camera axes, and the distance is
the base's too. Held limbs do not pull either: no smoothing, no text, no filled 2D.
"""

from __future__ import annotations

from dataclasses import replace

import roma
import torch
from torch import Tensor

from semtta.geometry import project
from semtta.hmr.base import Prediction
from semtta.skeletons import MOVED_BY, SMPL24, SMPL_PARENTS, Skeleton
from semtta.tta.result import Motion
from semtta.tta.view import View

_ENDS = {"ankle": ("heel", "small_toe"), "wrist": ("pinky", "thumb")}  # move with a limb, too
_HIPS = SMPL24.indices(["left_hip", "right_hip"])


def held_share(seen: Tensor, times: Tensor, after: float, skeleton: Skeleton) -> Tensor:
    """How far each rotation is held: not at all where it was seen within half of ``after``, or
    where something further down the limb was: a seen ankle says where the knee may be.

    Args:
        seen: (T, 24) in {0, 1}; see ``tta.run.seen_rotations``.
        times: (T,) seconds.
        after: seconds from the nearest evidence at which a rotation is wholly held.
        skeleton: of the evidence; what it cannot tell of a limb's end goes the way of the limb.
    Returns: (T, 24) in [0, 1]."""
    shown, times = (seen > 0.5).cpu(), times.cpu().double()[:, None]  # not all devices have double
    before = torch.where(shown, times, -torch.inf).cummax(0).values
    behind = torch.where(shown, times, torch.inf).flip(0).cummin(0).values.flip(0)
    away = torch.minimum(times - before, behind - times)
    share = (2 * away / after - 1).clamp(0, 1).to(seen)
    for joint in reversed([j for j, landmark in MOVED_BY.items() if landmark in skeleton]):
        i = SMPL24.index(joint)
        parent = SMPL_PARENTS[i]
        if SMPL24.joints[parent] in MOVED_BY:
            share[:, parent] = torch.minimum(share[:, parent], share[:, i])
    for joint, landmark in MOVED_BY.items():
        if landmark not in skeleton:
            i = SMPL24.index(joint)
            share[:, i] = share[:, SMPL_PARENTS[i]]
    return share


def held_landmarks(share: Tensor, skeleton: Skeleton) -> Tensor:
    """(T, 24) of rotations -> (T, J) bool: landmarks that move with a limb that is held."""
    share = share.clone()
    for i, parent in enumerate(SMPL_PARENTS):
        if SMPL24.joints[i] in MOVED_BY:  # a limb goes where what carries it goes
            share[:, i] = torch.maximum(share[:, i], share[:, parent])
    held = torch.zeros(len(share), len(skeleton), dtype=torch.bool, device=share.device)
    moved_by = [(landmark, joint) for joint, landmark in MOVED_BY.items()]
    moved_by += [(f"{side}_{end}", f"{side}_{joint}") for side in ("left", "right")
                 for joint, ends in _ENDS.items() for end in ends]  # fmt: skip
    for landmark, joint in moved_by:
        if landmark in skeleton:
            held[:, skeleton.index(landmark)] |= share[:, SMPL24.index(joint)] > 0.5
    return held


def held_rotations(rotmats: Tensor, kept: Tensor, share: Tensor) -> Tensor:
    """Rotations of which held ones are those of another pose of the same frames.

    Where both legs are held nothing shows how the pelvis is turned but the trunk that was fitted:
    then the legs keep their orientation in camera axes, whatever carries them.

    Args:
        rotmats, kept: (T, 24, 3, 3) relative to their parents, camera axes.
        share: (T, 24) in [0, 1]; between the two a limb is turned part of the way.
    Returns: (T, 24, 3, 3); what is not held comes back as it was."""
    wanted = kept.clone()
    both = share[:, _HIPS].amin(1)
    rows = torch.nonzero(both > 0)[:, 0]
    turn = rotmats[rows, 0].mT @ kept[rows, 0]
    for hip in _HIPS:
        part = both[rows] / share[rows, hip]
        wanted[rows, hip] = _between(kept[rows, hip], turn @ kept[rows, hip], part)
    rows, joints = torch.nonzero(share > 0, as_tuple=True)
    held = rotmats.clone()
    held[rows, joints] = _between(rotmats[rows, joints], wanted[rows, joints], share[rows, joints])
    return held


def _between(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """(N, 3, 3) rotations a share (N,) of the way from one to the other."""
    return a @ roma.rotvec_to_rotmat(share[:, None] * roma.rotmat_to_rotvec(a.mT @ b))


def held_depth(motion: Motion, base: Motion, share: Tensor, view: View) -> Motion:
    """A motion at the base's distance, as far as both legs are held; what is seen of it becomes as
    large in the picture as the base had it.

    Args:
        share: (T, 24) of each rotation."""
    weight = share[:, _HIPS].amin(1).cpu()
    if not bool((weight > 0).any()):
        return motion
    factor = (base.trans[:, 2] / motion.trans[:, 2]) ** weight
    trans = motion.trans * factor[:, None]
    parts = (motion.rotmats, motion.betas, motion.cam)
    body = Prediction(*(part.to(view.boxes.device) for part in parts))
    points = view.landmarks(body).cpu() + trans[:, None]
    pixels = project(points, view.camera.focal, points.new_tensor(view.camera.center))
    pixels = torch.where((weight > 0)[:, None, None], pixels, motion.landmarks2d)
    return replace(motion, trans=trans, landmarks2d=pixels)
