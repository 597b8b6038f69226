"""Motions of consecutive windows as one, without changing what has been handed out.

Two windows see their common frames a little differently. What differs at the last frame that was
handed out is added to the frames after it, less and less (the inertialization of computer games,
Bollo 2018): there is no jump, and half a second later nothing is left of the window before. Where
two windows agree nothing is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import roma
import torch
from torch import Tensor

from semtta.body import Body
from semtta.geometry import Camera, project
from semtta.keypoints import Keypoints2D, Track
from semtta.skeletons import Skeleton
from semtta.tta.evidence import Evidence
from semtta.tta.result import Heard, Motion, Result

_FADE = 0.5  # seconds


def continued(result: Result, at: int, last: Result, body: Body) -> Result:
    """A window's result that goes on from what was handed out before.

    Args:
        at: row of the last frame that was handed out.
        last: that frame as it was handed out, one row.
        body: of the result, on the CPU.
    Returns: the result; frames before ``at`` mean nothing in it."""
    times = result.track.times
    share = ((times - times[at]) / _FADE).clamp(0, 1).float()
    weight = (1 - share) ** 2 * (1 + 2 * share)
    skeleton = result.track.keypoints.skeleton

    def joined_to(motion: Motion, before: Motion) -> Motion:
        return _continued(motion, at, before, weight, body, result.camera, skeleton)

    return replace(
        result,
        base=joined_to(result.base, last.base), adapted=joined_to(result.adapted, last.adapted),
    )  # fmt: skip


def _continued(
    motion: Motion, at: int, last: Motion, weight: Tensor, body: Body, camera: Camera,
    skeleton: Skeleton,
) -> Motion:  # fmt: skip
    moved = ("trans", "cam", "betas")
    off = {name: getattr(last, name)[0] - getattr(motion, name)[at] for name in moved}
    turn = roma.rotmat_to_rotvec(motion.rotmats[at].mT @ last.rotmats[0])
    same = torch.equal(motion.rotmats[at], last.rotmats[0])
    if same and not any(bool(value.any()) for value in off.values()):
        return motion
    parts = {name: getattr(motion, name) + weight[:, None] * off[name] for name in moved}
    rotmats = motion.rotmats @ roma.rotvec_to_rotmat(weight[:, None, None] * turn)
    landmarks = body.landmarks(rotmats, parts["betas"], skeleton)
    center = landmarks.new_tensor(camera.center)
    pixels = project(landmarks + parts["trans"][:, None], camera.focal, center)
    free = weight == 0
    return replace(
        motion,
        rotmats=torch.where(free[:, None, None, None], motion.rotmats, rotmats),
        landmarks2d=torch.where(free[:, None, None], motion.landmarks2d, pixels),
        **parts,
    )


def joined(pieces: Sequence[Result]) -> Result:
    """The pieces of one person as one result, in their order; its history is that of all windows,
    its settings are those of the first."""
    first = pieces[0]
    if len(pieces) == 1:
        return first

    def motion(name: str) -> Motion:
        parts = [getattr(piece, name) for piece in pieces]
        return Motion(*(torch.cat([getattr(part, field.name) for part in parts])
                        for field in fields(Motion)))  # fmt: skip

    return replace(
        first,
        track=joined_tracks([piece.track for piece in pieces]),
        base=motion("base"), adapted=motion("adapted"),
        boxes=torch.cat([piece.boxes for piece in pieces]),
        evidence=_evidence([piece.evidence for piece in pieces]),
        labels=[label for piece in pieces for label in piece.labels],
        similarity=_values(pieces, "similarity"),
        gate_similarity=_values(pieces, "gate_similarity"),
        sigma=next((piece.sigma for piece in pieces if piece.sigma is not None), None),
        history=[entry for piece in pieces for entry in piece.history],
        heard=_heard([piece.heard for piece in pieces if piece.heard is not None]),
    )  # fmt: skip


def joined_tracks(tracks: Sequence[Track]) -> Track:
    """Consecutive pieces of one person's track; of 3D landmarks all or none have them."""
    points = [track.keypoints for track in tracks]

    def values(parts: list) -> Tensor | None:
        return None if parts[0] is None else torch.cat(parts)

    return Track(
        tracks[0].id,
        torch.cat([track.frames for track in tracks]), torch.cat([track.times for track in tracks]),
        torch.cat([track.boxes for track in tracks]), _points(points),
        values([track.landmarks3d for track in tracks]), values([track.conf3d for track in tracks]),
    )  # fmt: skip


def _points(parts: Sequence[Keypoints2D]) -> Keypoints2D:
    xy, conf = torch.cat([part.xy for part in parts]), torch.cat([part.conf for part in parts])
    return Keypoints2D(xy, conf, parts[0].skeleton)


def _evidence(parts: Sequence[Evidence]) -> Evidence:
    names = ("xy", "present", "weight", "filled_in")
    cat = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], raw=_points([part.raw for part in parts]), **cat)


def _values(pieces: Sequence[Result], name: str) -> Tensor | None:
    """(T,) of all frames, NaN in pieces without; None without any."""
    found = [getattr(piece, name) for piece in pieces]
    if all(value is None for value in found):
        return None
    return torch.cat([
        torch.full((len(piece.labels),), torch.nan) if value is None else value
        for piece, value in zip(pieces, found, strict=True)
    ])  # fmt: skip


def _heard(parts: Sequence[Heard]) -> Heard | None:
    if not parts:
        return None
    readings = {text: reading for part in parts for text, reading in part.readings.items()}
    return replace(
        parts[0], readings=readings, opened=frozenset().union(*(part.opened for part in parts))
    )
