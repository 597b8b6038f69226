"""What the refiner reads: a result, and how far it is from the 2D evidence, over time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from semtta.body import Body
from semtta.errors import SemttaError
from semtta.geometry import Camera, project, rotmat_to_columns, square_boxes
from semtta.hmr.features import JOINTS, window_index
from semtta.hmr.result_base import in_camera
from semtta.hmr.results.parts import ResultTrack
from semtta.keypoints import Track
from semtta.skeletons import BODY27, Skeleton

_SHAPES = ((24, 3, 3), (10,), (3,))  # rotations, betas, translation in metres
BASE = sum(math.prod(shape) for shape in _SHAPES)
# Seconds of the slow waves that tell early from late; faster ones would be a free table of frames.
_PERIODS = (2.0, 4.0, 8.0, 16.0, 32.0)
# Columns of the rotations less the identity's, betas, place; distance of the 2D and confidence;
# distance in time, "this frame exists", waves.
FRAME = 24 * 6 + 10 + 3 + JOINTS * 3 + 2 + 2 * len(_PERIODS)

_LIMIT = 1.0  # half box sides; a detection further off tells only "far off"
_GAIN = 5.0  # a usual distance is a fifth of a half side or less


def split_base(packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(..., BASE) -> rotations (..., 24, 3, 3), betas (..., 10), translation (..., 3)."""
    parts = packed.split([math.prod(shape) for shape in _SHAPES], -1)
    rotmats, betas, trans = parts
    return rotmats.unflatten(-1, _SHAPES[0]), betas, trans


def base_pixels(base: ResultTrack, body: Body, camera: Camera, skeleton: Skeleton) -> Tensor:
    """(T, J, 2) image pixels where a result has a skeleton's landmarks, on the body's device."""
    device = next(body.buffers()).device
    points = body.landmarks(base.rotmats.to(device), base.betas.to(device), skeleton)
    points = points + in_camera(base, camera).to(points)[:, None]
    return project(points, camera.focal, points.new_tensor(camera.center))


def refiner_inputs(base: ResultTrack, track: Track, camera: Camera, body: Body) -> Tensor:
    """Input of the refiner for a whole track, computed once per video.

    Args:
        base: of the same frames as the track, on the body (``on_body``).
        track: with the 2D evidence, in any skeleton that shares names with BODY27.
        camera: intrinsics of the image.
        body: whose betas the result has.
    Returns: (T, BASE + W FRAME), a row per frame. Raises ``SemttaError`` if the frames differ."""
    if not torch.equal(base.frames, track.frames.cpu()):
        raise SemttaError(f"track {track.id}: the result has other frames than the 2D evidence.")
    keypoints = track.keypoints.to_skeleton(BODY27)
    like = keypoints.xy
    rotmats, betas = base.rotmats.to(like), base.betas.to(like)
    trans = in_camera(base, camera).to(like)
    pixels = base_pixels(base, body, camera, BODY27).to(like)
    half = square_boxes(track.boxes.to(like))[:, None, 2:] / 2
    known = (keypoints.conf > 0) & body.has_landmarks(BODY27).to(like.device)
    off = ((keypoints.xy - pixels) / half).clamp(-_LIMIT, _LIMIT) * known[..., None] * _GAIN
    place = torch.cat((trans[:, :2] / trans[:, 2:], trans[:, 2:].log()), -1)
    columns = rotmat_to_columns(rotmats) - rotmat_to_columns(torch.eye(3)).to(like)
    own = torch.cat((columns.flatten(1), betas, place, off.flatten(1), keypoints.conf), -1)
    packed = torch.cat((rotmats.flatten(1), betas, trans), -1)
    times = torch.as_tensor(track.times)
    index, offsets, present = window_index(times.to(like.device))
    window = own[index] * present[..., None]
    waves = _waves(times).to(like)[:, None].expand(-1, index.shape[1], -1)
    clock = torch.stack((offsets * present, present.to(offsets)), -1)
    return torch.cat((packed, torch.cat((window, clock.to(like), waves), -1).flatten(1)), -1)


def _waves(times: Tensor) -> Tensor:
    """(T,) seconds -> (T, 2 P) sines and cosines, counted from the middle of the track."""
    since = times.double() - (times[0] + times[-1]) / 2
    phase = 2 * math.pi * since[:, None] / torch.tensor(_PERIODS, dtype=torch.float64)
    return torch.cat((phase.sin(), phase.cos()), -1).float()
