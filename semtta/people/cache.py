"""Detections that are kept: nobody is looked for twice in the same pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path

import semtta
from semtta import video as video_package
from semtta.cache import DETECTIONS, Cache
from semtta.errors import SemttaError
from semtta.files import write_npz
from semtta.people import pipeline
from semtta.people.pipeline import TrackedVideo
from semtta.people.track_files import read_tracked, tracked_arrays
from semtta.shipped import asset, file_sha256
from semtta.video import VideoSource, content_hash, probe

_NETS = ("pose/movenet_multipose.onnx", "pose/blazepose_full.onnx")
_LIBRARIES = ("av", "numpy", "onnxruntime", "scipy")  # they decode, compute and assign


def tracked_once(
    video: VideoSource,
    kept: Cache,
    *,
    detect_size: int | str,
    max_people: int | None = None,
    kind: str = DETECTIONS,
    progress: pipeline.Progress | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> TrackedVideo:
    """What ``track_video`` answers, at most once for the content of a video and the settings.

    A file that is damaged, or not what it should be, is made anew. What cannot be kept is used all
    the same.

    Args:
        detect_size, max_people, progress: of ``track_video``; everybody of a video, once found,
            holds fewer too.
        kind: folder in the cache.
        announce: told in a sentence what was taken from the cache, or went wrong with it.
    Raises ``SemttaError`` as ``track_video`` does."""
    asked = {"video": content_hash(video), "detector": detector_key(detect_size)}
    stem = f"{asked['video'][:32]}-{asked['detector']}"
    for people in dict.fromkeys((None, max_people)):
        path = kept.path(kind, f"{stem}-{people or 'all'}")
        found = _read(path, video, asked | {"people": people}, kept, announce)
        if found is not None:
            kept.used(path)
            announce("the people that an earlier run found in this video are taken; --no-cache "
                     "looks for them anew.")  # fmt: skip
            return replace(found, tracks=found.tracks[:max_people])
    found = pipeline.track_video(
        video, detect_size=detect_size, max_people=max_people, progress=progress
    )
    asked_now = asked | {"people": max_people}
    try:
        kept.keep(path, lambda file: write_npz(file, tracked_arrays(found, asked_now), False))
    except SemttaError as error:
        announce(f"what was detected could not be kept: {error}")
    return found


def _read(
    path: Path, video, asked: dict, kept: Cache, announce: Callable[[str], None]
) -> TrackedVideo | None:
    """What lies in the cache, if it answers exactly this; a file that does not is removed."""
    if not path.is_file():
        return None
    try:
        found, said = read_tracked(path)
        info = probe(video)
        before = found.info
        if said != asked or (before.width, before.height) != (info.width, info.height):
            raise SemttaError(f"'{path}' answers another question.")
    except SemttaError:
        kept.forget(path)
        announce("what an earlier run had found in this video is damaged or of another version; "
                 "people are looked for anew.")  # fmt: skip
        return None
    return replace(found, info=replace(info, notes=before.notes))


@cache
def detector_key(detect_size: int | str) -> str:
    """Changes whenever the built-in detector's answer may: its code, networks, settings."""
    rooms = (Path(pipeline.__file__).parent, Path(video_package.__file__).parent)
    code = [path for room in rooms for path in sorted(room.glob("*.py"))]
    parts = [semtta.__version__, str(detect_size)]
    parts += [f"{name} {_version(name)}" for name in _LIBRARIES]
    parts += [file_sha256(path) for path in (*code, *map(asset, _NETS))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
