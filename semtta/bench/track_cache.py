"""Tracks in a file: plain arrays, written whole or not at all, so that no detector runs twice."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import semtta
from semtta.config import DetectorConfig
from semtta.errors import SemttaError
from semtta.files import Arrays, whole_file, write_npz
from semtta.keypoints import Keypoints2D, Track
from semtta.people import pipeline, track_video
from semtta.shipped import asset, file_sha256
from semtta.skeletons import skeleton

_ARRAYS = ("frames", "times", "boxes", "xy", "conf")
_OPTIONAL = ("landmarks3d", "conf3d")
_SIZE = DetectorConfig.size  # of the person detector's input, the library's default
_NETS = ("pose/movenet_multipose.onnx", "pose/blazepose_full.onnx")


def detected(video: Path, folder: Path, name: str, digest: str) -> tuple[list[Track], Tensor]:
    """Everyone in a video and the times (N,) of its frames; detected once.

    Args:
        folder: of the cache; the file's name holds ``name``, what the detector is, and
            ``digest``, of the video's content."""
    path = folder / f"{name}-{detector_key(_SIZE)}-{digest[:16]}.npz"
    if path.is_file():
        try:
            return read_tracks(path), read_times(path)
        except SemttaError:
            path.unlink(missing_ok=True)
    found = track_video(video, detect_size=_SIZE)
    write_tracks(path, found.tracks, found.times)
    return found.tracks, found.times


def write_tracks(path: Path, tracks: Sequence[Track], times: Tensor | None = None) -> None:
    """Write tracks; the file appears under its name only when it is complete.

    Args:
        times: (N,) seconds of all frames of the video, for :func:`read_times`."""
    arrays: Arrays = {"count": np.array(len(tracks))}
    if times is not None:
        arrays["video_times"] = times.cpu().numpy()
    for i, track in enumerate(tracks):
        values = {
            "frames": track.frames, "times": track.times, "boxes": track.boxes,
            "xy": track.keypoints.xy, "conf": track.keypoints.conf,
            "landmarks3d": track.landmarks3d, "conf3d": track.conf3d,
        }  # fmt: skip
        arrays |= {f"{i}_{k}": v.cpu().numpy() for k, v in values.items() if v is not None}
        arrays |= {f"{i}_id": np.array(track.id)}
        arrays |= {f"{i}_skeleton": np.array(track.keypoints.skeleton.name)}
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        write_npz(file, arrays, compressed=False)


def read_tracks(path: Path) -> list[Track]:
    """Tracks as they were written; raises ``SemttaError`` if the file is not such a file."""
    with _opened(path) as file:
        return [_track(file, i) for i in range(int(file["count"]))]


def read_times(path: Path) -> Tensor:
    """(N,) seconds that were written beside the tracks; raises as :func:`read_tracks`."""
    with _opened(path) as file:
        return torch.from_numpy(file["video_times"])


@contextmanager
def _opened(path: Path) -> Iterator:
    try:
        with np.load(path) as file:
            yield file
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise SemttaError(f"'{path}' holds no tracks; delete it to make them anew.") from error


def _track(file, i: int) -> Track:
    arrays = {k: torch.from_numpy(file[f"{i}_{k}"]) for k in _ARRAYS}
    arrays |= {k: torch.from_numpy(file[f"{i}_{k}"]) for k in _OPTIONAL if f"{i}_{k}" in file.files}
    keypoints = Keypoints2D(arrays["xy"], arrays["conf"], skeleton(str(file[f"{i}_skeleton"])))
    return Track(
        id=int(file[f"{i}_id"]),
        frames=arrays["frames"],
        times=arrays["times"],
        boxes=arrays["boxes"],
        keypoints=keypoints,
        landmarks3d=arrays.get("landmarks3d"),
        conf3d=arrays.get("conf3d"),
    )


@cache
def detector_key(detect_size: int | str) -> str:
    """Changes whenever the built-in detector's answer may: its code, networks, settings."""
    code = sorted(Path(pipeline.__file__).parent.glob("*.py"))
    parts = [semtta.__version__, str(detect_size)]
    parts += [file_sha256(path) for path in (*code, *map(asset, _NETS))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
