"""A person of a result as the base of a refinement, and a refined motion as the file's own.

Files differ in body, in camera and in the size of the picture that they saw; a refinement has one
of each. This library's own results are taken as they are, to the last bit.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from semtta.body import Body
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.hmr.results.parts import Refined, ResultFile, ResultTrack
from semtta.keypoints import Keypoints2D

_OWN = ("", "own")  # made on the body and before the camera that they are refined with
_CC0 = ("sam3d",)  # the reader has fitted the CC0 body
_SAME_SIZE, _SAME_ASPECT = 0.01, 0.02  # shares; sizes that were inferred are not exact


def in_picture(result: ResultFile, width: int, height: int) -> ResultFile:
    """A result whose pixels are those of a video's picture: programs shrink the copy they look at.

    Raises ``SemttaError`` if its picture has another aspect ratio."""
    if result.size is None or result.format in _OWN:
        return result
    across, down = width / result.size[0], height / result.size[1]
    if max(abs(across - 1), abs(down - 1)) <= _SAME_SIZE:
        return result
    if abs(across / down - 1) > _SAME_ASPECT:
        raise SemttaError(
            f"result '{result.path}' is of a picture of {result.size[0]:.0f} x "
            f"{result.size[1]:.0f}, the video has {width} x {height}: it belongs to another video, "
            "or to one that was cut or turned."
        )
    tracks = tuple(_scaled(track, across, down) for track in result.tracks)
    return replace(result, tracks=tracks, size=(float(width), float(height)))


def _scaled(track: ResultTrack, across: float, down: float) -> ResultTrack:
    mean, axes = (across * down) ** 0.5, torch.tensor([across, down])
    points, crops, boxes = track.keypoints, track.crops, track.boxes
    return replace(
        track, focal=None if track.focal is None else track.focal * mean,
        center=None if track.center is None else track.center * axes,
        boxes=None if boxes is None else boxes * axes.repeat(2),
        crops=None if crops is None else crops * torch.tensor([across, down, mean]),
        keypoints=None if points is None else Keypoints2D(
            points.xy * axes, points.conf, points.skeleton),
    )  # fmt: skip


def check_places(result: ResultFile) -> None:
    """Raise ``SemttaError`` if a result does not say where its people are before the camera, or
    has its only one behind it."""
    for track in result.tracks:
        if track.trans is None and (track.cam is None or track.crops is None):
            raise SemttaError(
                f"result '{result.path}' does not say where person {track.id} is before the "
                "camera; it cannot be refined."
            )
    only = result.tracks[0]
    if len(result.tracks) == 1 and only.trans is not None:
        _check_in_front(result, only)


def _check_in_front(result: ResultFile, track: ResultTrack) -> None:
    if not bool((place_of(track)[:, 2] > 0).all()):
        raise SemttaError(f"result '{result.path}': person {track.id} is not in front of a camera.")


def on_body(result: ResultFile, track: ResultTrack, body: Body, camera: Camera) -> ResultTrack:
    """A person on another body: the pelvis is where the file's is, betas are those that mean
    something to the body, the file's or none; ``trans`` is there.

    Args:
        camera: of the video; a weak perspective is put before it.
    Raises ``SemttaError`` if the person has no place, or is not in front of the camera."""
    found = track
    if result.format not in _OWN:
        check_places(replace(result, tracks=(track,)))
        betas = track.shape() if keeps_betas(result, track, body) else torch.zeros_like(track.betas)
        weak = track.trans is None
        found = replace(
            track, trans=track.trans_for(body.joint_template[0].cpu(), camera), betas=betas,
            focal=None if weak else track.focal, center=None if weak else track.center,
        )  # fmt: skip
    _check_in_front(result, found)
    return found


def keeps_betas(result: ResultFile, track: ResultTrack, body: Body) -> bool:
    """Whether a file's betas mean to a body what they mean to the file."""
    if result.format in _OWN:
        return True
    return body.name == "cc0" if result.format in _CC0 else body.is_smpl and not track.smplx


def place_of(track: ResultTrack) -> Tensor:
    """(T, 3) the translation of a track on a body; see :func:`on_body`."""
    if track.trans is None:
        raise SemttaError(f"person {track.id} of the result has no place before the camera.")
    return track.trans


def in_camera(base: ResultTrack, camera: Camera) -> Tensor:
    """(T, 3) metres: where the result's people stand in front of another camera than its own, so
    that they stay where they are in the picture, at their size."""
    trans = place_of(base)
    if base.focal is None:
        return trans
    center = trans.new_tensor(camera.center)
    given = center.expand(len(base), 2) if base.center is None else base.center
    if bool((base.focal == camera.focal).all()) and torch.equal(given, center.expand_as(given)):
        return trans
    focal = torch.full_like(base.focal, camera.focal)
    return _moved(trans, base.focal, given, focal, center.expand_as(given))


def _moved(trans: Tensor, focal: Tensor, center: Tensor, focal_to: Tensor, center_to: Tensor):
    """Places (T, 3) before cameras that show them at the same pixels, as large as before."""
    depth = trans[:, 2:]
    pixels = trans[:, :2] / depth * focal[:, None] + center
    depth = depth * (focal_to / focal)[:, None]
    return torch.cat(((pixels - center_to) / focal_to[:, None] * depth, depth), -1)


def refined_of(
    result: ResultFile,
    shown: ResultFile,
    id: int,
    frames: Tensor,
    motion: tuple[Tensor, Tensor, Tensor],
    body: Body,
    camera: Camera,
) -> Refined:
    """A refined motion as the file's body and camera have it, for ``as_same``.

    On another body than the file's the size of a person is not known: the depth of the whole track
    stays what it was, as does the file's shape.

    Args:
        result: as it was read.
        shown: the same in the pixels of the video.
        id: of the track.
        frames: (N,) of the motion; in the result's other frames nothing changes.
        motion: rotations (N, 24, 3, 3), betas (N, 10) and trans (N, 3) on the body.
        camera: that the motion was found before."""
    file, seen = result.track(id), shown.track(id)
    base = on_body(shown, seen, body, camera)
    rows = torch.searchsorted(base.frames, frames.cpu())
    rotmats, betas, trans = (value.detach().cpu().float() for value in motion)
    before = in_camera(base, camera)[rows]
    moved = _pelvis(body, betas) - _pelvis(body, base.betas[rows])
    kept = keeps_betas(result, file, body)
    if not kept:
        rest = _pelvis(body, base.betas[rows])
        size = ((before + rest)[:, 2] / (trans + moved + rest)[:, 2]).contiguous().median()
        trans = (trans + moved + rest) * size - rest
    if base.focal is not None:
        middle = torch.tensor(camera.center).expand(len(trans), 2)
        own = middle if base.center is None else base.center[rows]
        if not torch.equal(before, place_of(base)[rows]):
            focal = torch.full((len(trans),), camera.focal)
            trans = _moved(trans, focal, middle, base.focal[rows], own)
    places = place_of(base).clone()
    places[rows] = trans
    turns, shapes, shift = file.rotmats.clone(), file.betas.clone(), torch.zeros(len(file), 3)
    turns[rows], shapes[rows], shift[rows] = rotmats, betas, moved
    return Refined(
        turns, betas=shapes if kept else None,
        trans=file.trans_from(places, body.joint_template[0].cpu()),
        camera=_before(camera, result, shown), rest_moved=shift if kept else None,
    )  # fmt: skip


def _pelvis(body: Body, betas: Tensor) -> Tensor:
    """(T, 3) metres, the pelvis of the rest pose."""
    rest = torch.eye(3).expand(24, 3, 3).to(body.joint_template)
    return body.joints(rest, betas.to(body.joint_template))[:, 0].cpu().float()


def _before(camera: Camera, result: ResultFile, shown: ResultFile) -> Camera:
    """The camera in the pixels of the picture that a file is of."""
    if result is shown or result.size is None or shown.size is None:
        return camera
    across, down = (there / here for there, here in zip(result.size, shown.size))
    x, y = camera.center
    return Camera(camera.focal * (across * down) ** 0.5, (x * across, y * down))
