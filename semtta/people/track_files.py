"""Tracks in files: plain arrays, written whole, checked like a stranger's when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.files import Arrays, whole_file, write_npz
from semtta.keypoints import Keypoints2D, Track
from semtta.people.pipeline import TrackedVideo
from semtta.reading import MEBI, read_npz, reading
from semtta.skeletons import SKELETONS, Skeleton
from semtta.video import (
    ImageSequence,
    VideoCut,
    VideoInfo,
    VideoSource,
    content_hash,
    cut_video,
    probe,
)
from semtta.video.info import check_rate

FORMAT = 1  # of the files written here; others are refused
LARGEST = 1024 * MEBI  # of a file's arrays
_WHAT = "file of tracks"
_SHAPES = {  # of T frames and J joints, with the kind of numbers
    "frames": ("T",), "times": ("T",), "boxes": ("T", 4), "xy": ("T", "J", 2), "conf": ("T", "J"),
    "landmarks3d": ("T", "J", 3), "conf3d": ("T", "J"),
}  # fmt: skip
_OPTIONAL = ("landmarks3d", "conf3d")
_MOST_PIXELS = 1 << 20  # of a side


def save_tracked(path: str | Path, tracked: TrackedVideo) -> Path:
    """See ``TrackedVideo.save``."""
    path, info = Path(path), tracked.info
    digest = content_hash(info.source) if info.path.exists() else None
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        write_npz(file, tracked_arrays(tracked, {"sha256": digest}), compressed=False)
    return path


def load_tracked(path: str | Path, video: VideoSource | None = None) -> TrackedVideo:
    """See ``TrackedVideo.load``."""
    found, said = read_tracked(path)
    digest = said.get("sha256")
    if video is not None:
        cut = found.info.cut
        part = video if cut is None or isinstance(video, VideoCut) else cut_video(video, *cut.edges)
        found = replace(found, info=replace(probe(part), notes=found.info.notes))
    if digest and found.info.path.exists() and content_hash(found.info.source) != digest:
        raise SemttaError(f"'{found.info.path}' is not the video that the tracks in '{path}' were "
                          "made from; name the right one, or track it anew.")  # fmt: skip
    return found


def tracked_arrays(tracked: TrackedVideo, said: Mapping[str, Any]) -> Arrays:
    """A tracked video as named arrays.

    Args:
        said: what else is written down, ready for JSON; :func:`read_tracked` returns it."""
    info, images = tracked.info, tracked.info.images
    head = {
        "format": FORMAT,
        "said": dict(said),
        "video": {
            "path": str(info.path), "width": info.width, "height": info.height, "fps": info.fps,
            "frames": info.frames, "notes": list(info.notes),
            "images": None if images is None else [str(images.folder), images.names, images.fps],
            "range": None if info.cut is None else info.cut.edges,
        },
        "tracks": [track_head(track) for track in tracked.tracks],
    }  # fmt: skip
    arrays: Arrays = {"head": np.array(json.dumps(head)), "times": tracked.times.cpu().numpy()}
    for i, track in enumerate(tracked.tracks):
        arrays |= track_arrays(track, f"{i}_")
    return arrays


def read_tracked(path: str | Path) -> tuple[TrackedVideo, dict]:
    """A tracked video and what else was written down with it.

    Raises ``SemttaError`` for a file that is damaged, of another format or none of these."""
    arrays = read_npz(path, _WHAT, limit=LARGEST)
    with reading(path, _WHAT):
        head = json.loads(str(arrays["head"]))
        if head["format"] != FORMAT:
            raise ValueError(f"it is of format {head['format']}, this version reads {FORMAT}")
        times = tensor(arrays["times"], (len(arrays["times"]),), "f")
        if not len(times) or (times.diff() <= 0).any() or not torch.isfinite(times).all():
            raise ValueError("its frame times do not increase")
        tracks = [read_track(arrays, f"{i}_", entry) for i, entry in enumerate(head["tracks"])]
        if len({track.id for track in tracks}) != len(tracks):
            raise ValueError("two tracks have one number")
        if any(not 0 <= t.frames[0] <= t.frames[-1] < len(times) for t in tracks):
            raise ValueError("a track leaves the video")
        return TrackedVideo(_info(head["video"]), tracks, times), dict(head["said"])


def track_head(track: Track) -> dict:
    """What of a track is no array, ready for JSON."""
    bones = track.keypoints.skeleton
    return {"id": track.id, "skeleton": [bones.name, bones.joints, bones.edges]}


def track_arrays(track: Track, prefix: str) -> Arrays:
    """A track as named arrays of the very numbers that it holds."""
    points = track.keypoints
    parts = {
        "frames": track.frames, "times": track.times, "boxes": track.boxes,
        "xy": points.xy, "conf": points.conf,
        "landmarks3d": track.landmarks3d, "conf3d": track.conf3d,
    }  # fmt: skip
    return {prefix + k: v.cpu().numpy() for k, v in parts.items() if v is not None}


def read_track(arrays: Mapping[str, np.ndarray], prefix: str, head: dict) -> Track:
    """The track of :func:`track_arrays`; call it inside ``reading``, it raises what it meets."""
    name, joints, edges = head["skeleton"]
    bones = Skeleton(str(name), tuple(map(str, joints)), tuple((str(a), str(b)) for a, b in edges))
    bones = bones if SKELETONS.get(bones.name) != bones else SKELETONS[bones.name]
    sizes = {"T": len(arrays[f"{prefix}frames"]), "J": len(bones)}
    found = {
        key: tensor(arrays[prefix + key], tuple(sizes.get(n, n) for n in shape),  # type: ignore
                    "i" if key == "frames" else "f")
        for key, shape in _SHAPES.items()
        if key not in _OPTIONAL or prefix + key in arrays
    }  # fmt: skip
    if not torch.isfinite(found["times"]).all():
        raise ValueError("a track's times are no numbers")
    points = Keypoints2D(found.pop("xy"), found.pop("conf"), bones)
    return Track(id=int(head["id"]), keypoints=points, **found)


def tensor(array: np.ndarray, shape: Sequence[int], kind: str) -> torch.Tensor:
    """An array as it is, if it has this shape and kind of numbers; else ``ValueError``."""
    if array.shape != tuple(shape) or array.dtype.kind != kind:
        raise ValueError(f"an array is {array.dtype} of shape {array.shape}, not {tuple(shape)}")
    return torch.from_numpy(array)


def _info(said: dict) -> VideoInfo:
    width, height, fps = int(said["width"]), int(said["height"]), float(said["fps"])
    frames = None if said["frames"] is None else int(said["frames"])
    if not (0 < width <= _MOST_PIXELS and 0 < height <= _MOST_PIXELS):
        raise ValueError("its video has no size")
    check_rate(fps, said["path"])
    images = None
    if said["images"] is not None:
        folder, names, rate = said["images"]
        names = tuple(None if name is None else str(name) for name in names)
        images = ImageSequence(Path(str(folder)), names, float(rate))
    notes = tuple(map(str, said["notes"]))
    path, edges = Path(str(said["path"])), said.get("range") or (None, None)
    start, end = (None if edge is None else str(edge) for edge in edges)
    part = cut_video(images or path, start, end)
    cut = part if isinstance(part, VideoCut) else None
    return VideoInfo(path, width, height, fps, frames, notes, images, cut)
