"""2D evidence of a data set's track: the set's own, another program's, or our detector's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from semtta.bench.datasets.recording import Recording
from semtta.errors import SemttaError
from semtta.geometry import Camera, ray_rotation
from semtta.keypoints import Keypoints2D, Track
from semtta.people import load_poses2d, track_video
from semtta.video import ImageSequence, probe

DETECT = "detect"  # value of ``poses2d`` that asks for the built-in detector
_LEAST_OVERLAP = 0.3  # intersection over union below which a detection is somebody else


@dataclass(frozen=True)
class Found2D:
    """Evidence for the frames of a recording.

    Args:
        keypoints: (N, ...) confidence 0 where nobody was found.
        landmarks3d: (N, J, 3), conf3d: (N, J), as in ``Track``, or None.
    """

    keypoints: Keypoints2D
    landmarks3d: Tensor | None = None
    conf3d: Tensor | None = None


def find_evidence(
    recording: Recording,
    images: ImageSequence,
    poses2d: str | Path | None,
    names: tuple[str, ...],
) -> Found2D:
    """Evidence from where the user says.

    Args:
        recording: the frames that count, with their true boxes.
        images: the whole sequence, for the detector, which follows people through all of it.
        poses2d: None = the set's own; "detect" = the built-in detector; else a folder with one
            entry per sequence: an OpenPose folder, COCO results ``.json`` or ``.npz``.
        names: by which the entry may be called, the most special first."""
    if poses2d is None:
        return Found2D(recording.keypoints)
    if str(poses2d) == DETECT:
        tracks = _detected(images)
    else:
        tracks = load_poses2d(_entry(Path(poses2d), names), probe(images))
    return match(tracks, recording)


def match(tracks: list[Track], recording: Recording) -> Found2D:
    """In every frame the detection whose box overlaps the true box most, by at least 0.3.

    Identity thus comes from the truth, as in the peers' files; what a detector loses is missing
    (confidence 0)."""
    frames, boxes = recording.frames, recording.boxes
    skeleton = tracks[0].keypoints.skeleton
    xy = torch.zeros(len(frames), len(skeleton), 2)
    conf = torch.zeros(len(frames), len(skeleton))
    with_3d = all(track.landmarks3d is not None for track in tracks)
    space, conf3d = torch.zeros(*conf.shape, 3), torch.zeros_like(conf)
    best = torch.full((len(frames),), _LEAST_OVERLAP)
    for track in tracks:
        here, there = _common(frames, track.frames)
        overlap = box_overlap(track.boxes[there], boxes[here])
        better = overlap >= best[here]
        here, there = here[better], there[better]
        best[here] = overlap[better]
        xy[here], conf[here] = track.keypoints.xy[there], track.keypoints.conf[there]
        if track.landmarks3d is not None and track.conf3d is not None:
            turn = _turn(track.boxes[there], boxes[here], recording.camera)
            space[here] = track.landmarks3d[there] @ turn
            conf3d[here] = track.conf3d[there]
    keypoints = Keypoints2D(xy, conf, skeleton)
    return Found2D(keypoints, space, conf3d) if with_3d else Found2D(keypoints)


def box_overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of corresponding boxes, (..., 4) x0 y0 x1 y1 -> (...)."""
    inner = (
        torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    ).clamp_min(0)
    common = inner.prod(-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return common / (areas - common).clamp_min(1e-9)


def _turn(source: Tensor, target: Tensor, camera: Camera) -> Tensor:
    """(B, 3, 3) right factor that takes row vectors from the axes of a camera looking at one box
    to those of a camera looking at another (3D landmarks are given in the former)."""

    def axes(boxes: Tensor) -> Tensor:
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        return ray_rotation((middle - middle.new_tensor(camera.center)) / camera.focal)

    return axes(source).transpose(1, 2) @ axes(target)


def _common(frames: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Positions in each of two increasing lists of what they share."""
    place = torch.searchsorted(other, frames).clamp_max(len(other) - 1)
    shared = other[place] == frames
    return torch.nonzero(shared)[:, 0], place[shared]


@lru_cache(maxsize=1)  # the people of one sequence follow each other
def _detected(images: ImageSequence) -> list[Track]:
    return track_video(images).tracks


def require_folder(folder: str | Path) -> None:
    """Raise ``SemttaError`` if there is no folder of 2D poses."""
    if not Path(folder).is_dir():
        raise SemttaError(f"poses2d: there is no folder '{folder}' with 2D poses per sequence.")


def _entry(folder: Path, names: tuple[str, ...]) -> Path:
    require_folder(folder)
    for name in names:
        for candidate in (folder / name, folder / f"{name}.json", folder / f"{name}.npz"):
            if candidate.exists():
                return candidate
    raise SemttaError(
        f"poses2d: '{folder}' has no {names[-1]}, {names[-1]}.json or {names[-1]}.npz."
    )
