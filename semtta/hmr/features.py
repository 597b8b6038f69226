"""What the lifter reads: a detector's landmarks over a short window of time.

Every frame t looks at its neighbours at fixed offsets *in seconds*, so that 30 fps, 60 fps and
variable frame rates look alike. All landmarks of a window are seen through one virtual camera
that points at the person's box in frame t, in units of that box: where the person stands in the
image then changes nothing but the rotation that leads back to the real camera (``ray_rotation``).
Beside the landmarks stand the joint rotations that their 3D shows (``bones``), so that depth need
not be learnt anew.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.geometry import Camera, plane_boxes, ray_rotation, rotmat_to_columns, square_boxes
from semtta.hmr.bones import BONES, READ, outlined, read_pose
from semtta.keypoints import Track
from semtta.skeletons import BODY27

# Seconds, own frame first.
OFFSETS = (0.0, -1 / 30, 1 / 30, -0.1, 0.1, -0.2, 0.2, -0.5, 0.5, -1.0, 1.0)
BOX_SCALE = 1.1
JOINTS = len(BODY27)
# Per frame of the window: 2D, 3D, both confidences, distance in time, "this frame exists"; then
# the rotations that the 3D shows, as it is and as the 2D corrects it, as columns less those of the
# identity; how well they are known; and how short bones look.
_LANDMARKS = JOINTS * (2 + 3 + 1 + 1) + 2
_SHOWN = len(READ) * (6 + 6 + 1)
FRAME_FEATURES = _LANDMARKS + _SHOWN + BONES
FEATURES = FRAME_FEATURES + 3  # + centre and side of the square box, normalised image plane

_LIMIT_2D = 3.0  # half box sides; further out a landmark tells nothing but "far out"
_LIMIT_3D = 3.0  # metres
_REST = rotmat_to_columns(torch.eye(3))
_BLOCK = 1024  # frames whose features are made at a time: it takes four times their own room


def ray_side(box: Tensor) -> Tensor:
    """Side of a square box as the virtual camera sees it: (..., 3) -> (...), normalised plane."""
    return box[..., 2] / (1 + box[..., :2].square().sum(-1)).sqrt()


def window_features(
    xy: Tensor,
    conf: Tensor,
    landmarks3d: Tensor,
    conf3d: Tensor,
    box: Tensor,
    offsets: Tensor,
    present: Tensor,
) -> Tensor:
    """Features of B windows of W frames; the first frame of each window is its own frame.

    Args:
        xy: (B, W, 27, 2) BODY27 landmarks in the normalised image plane.
        conf: (B, W, 27) in [0, 1], 0 = missing.
        landmarks3d: (B, W, 27, 3) metres, centred between the hips, x right, y down, z forward.
        conf3d: (B, W, 27) in [0, 1], 0 = missing.
        box: (B, 3) square box of the window's own frame, normalised image plane.
        offsets: (B, W) true distance in time from the own frame, seconds.
        present: (B, W) whether there is such a frame.
    Returns: (B, W, FEATURES)."""
    conf = conf * present[..., None]
    conf3d = conf3d * present[..., None]
    rays = torch.cat((xy, torch.ones_like(xy[..., :1])), dim=-1)
    turned = rays @ ray_rotation(box[:, :2])[:, None]
    half = ray_side(box)[:, None, None, None] / 2
    plane = turned[..., :2] / turned[..., 2:].clamp_min(0.05) / half
    plane = plane.clamp(-_LIMIT_2D, _LIMIT_2D) * (conf > 0)[..., None]
    space = landmarks3d.clamp(-_LIMIT_3D, _LIMIT_3D) * (conf3d > 0)[..., None]
    time = torch.stack((offsets * present, present.to(offsets)), dim=-1)
    turned, short = outlined(space, conf3d, plane, conf)
    both, known = read_pose(torch.stack((space, turned), dim=-3), conf3d[..., None, :])
    columns = rotmat_to_columns(both) - _REST.to(space)
    parts = (
        plane.flatten(2), space.flatten(2), conf, conf3d, time, columns.flatten(2),
        known.amin(-2), short, box[:, None].expand(-1, xy.shape[1], -1),
    )  # fmt: skip
    return torch.cat(parts, dim=-1)


def shown_pose(features: Tensor) -> tuple[Tensor, Tensor]:
    """What frames (..., FEATURES) show of the rotations ``READ``: their columns less those of the
    identity (..., 2, 16, 6), of the 3D as it is and as the 2D corrects it, and how well each is
    known (..., 16)."""
    shown = features[..., _LANDMARKS : _LANDMARKS + _SHOWN]
    columns, known = shown.split((2 * len(READ) * 6, len(READ)), -1)
    return columns.unflatten(-1, (2, len(READ), 6)), known


def window_index(times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours of every frame at ``OFFSETS``: the frame nearest in time, if it is near enough.

    Args:
        times: (T,) seconds, increasing.
    Returns: index (T, W), true offset in seconds (T, W), and whether it exists (T, W): a frame
        further from the wanted time than half the offset (video's ends, gaps, low frame rates)
        is absent."""
    times = times.double()
    wanted = torch.tensor(OFFSETS, dtype=times.dtype, device=times.device)
    target = (times[:, None] + wanted).contiguous()
    right = torch.searchsorted(times.contiguous(), target).clamp(0, len(times) - 1)
    left = (right - 1).clamp_min(0)
    closer = (times[left] - target).abs() < (times[right] - target).abs()
    index = torch.where(closer, left, right)
    offset = times[index] - times[:, None]
    present = (offset - wanted).abs() <= wanted.abs() / 2 + 1e-4
    index[:, 0] = torch.arange(len(times), device=times.device)  # equal times: still the own frame
    return index, offset.float(), present


def lifter_features(track: Track, camera: Camera) -> Tensor:
    """Input of the lifter for a whole track, computed once per video.

    Args:
        track: landmarks in any skeleton that shares names with BODY27; joints that it lacks,
            and 3D landmarks if it has none, count as missing.
        camera: intrinsics of the image.
    Returns: (T, W, FEATURES), a row per frame. Raises ``SemttaError`` if 3D landmarks do not fit
        the track's skeleton or times do not increase."""
    times = torch.as_tensor(track.times)
    if not torch.isfinite(times).all() or (times.diff() < 0).any():
        raise SemttaError(f"track {track.id}: frame times must be finite and must not decrease.")
    xy, conf, space, conf3d, boxes = seen_landmarks(track, camera, BOX_SCALE)
    index, offsets, present = window_index(times.to(xy.device))
    features = xy.new_empty(len(index), len(OFFSETS), FEATURES)
    for rows in torch.arange(len(index), device=xy.device).split(_BLOCK):
        near = index[rows]
        features[rows] = window_features(
            xy[near], conf[near], space[near], conf3d[near], boxes[rows], offsets[rows],
            present[rows],
        )  # fmt: skip
    return features


def seen_landmarks(
    track: Track, camera: Camera, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What a track's detector said, in BODY27; what it did not, counts as missing.

    Args:
        scale: of the square boxes.
    Returns: ``xy`` (T, 27, 2) normalised image plane, ``conf`` (T, 27), ``space`` (T, 27, 3)
        metres, ``conf3d`` (T, 27), ``box`` (T, 3) normalised image plane."""
    keypoints = track.keypoints.to_skeleton(BODY27)
    center = keypoints.xy.new_tensor(camera.center)
    xy = (keypoints.xy - center) / camera.focal
    boxes = plane_boxes(square_boxes(track.boxes.to(xy), scale), camera)
    return xy, keypoints.conf, *_landmarks3d(track, xy), boxes


def _landmarks3d(track: Track, like: Tensor) -> tuple[Tensor, Tensor]:
    """The detector's 3D landmarks and confidences in BODY27, zero where there are none."""
    space = like.new_zeros(len(track), JOINTS, 3)
    conf = like.new_zeros(len(track), JOINTS)
    if track.landmarks3d is None:
        return space, conf
    source = track.keypoints.skeleton
    given = track.keypoints.conf if track.conf3d is None else track.conf3d
    if track.landmarks3d.shape != (len(track), len(source), 3) or given.shape != space.shape[:1] + (
        len(source),
    ):
        raise SemttaError(
            f"track {track.id}: 3D landmarks of shape {tuple(track.landmarks3d.shape)} do not fit "
            f"{len(track)} frames of skeleton '{source.name}'."
        )
    finite = torch.isfinite(track.landmarks3d).all(-1) & torch.isfinite(given)
    for j, name in enumerate(BODY27.joints):
        if name in source:
            i = source.index(name)
            keep = finite[:, i]
            space[:, j] = torch.where(keep[:, None], track.landmarks3d[:, i].to(like), 0.0)
            conf[:, j] = torch.where(keep, given[:, i].to(like), 0.0)
    return space, conf.clamp(0, 1)
