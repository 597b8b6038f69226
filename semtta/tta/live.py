"""Whatever frames arrive in, as pieces of tracks with their camera."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from semtta.errors import SemttaError, announce
from semtta.geometry import Camera
from semtta.keypoints import Track
from semtta.people.live import Frame, follow
from semtta.people.pipeline import TrackedVideo
from semtta.video import ImageSequence, VideoCut, VideoSource, probe, read_frames

Source = TrackedVideo | VideoSource | str | Iterable[Track] | Iterable[Frame]


def arriving(
    source: Source,
    fps: float,
    camera: Camera | None,
    camera_of: Callable[..., Camera],
    detect_size: int | str,
) -> Iterator[tuple[Camera, Track]]:
    """The pieces of a source as they come.

    Args:
        source: see ``Adapter.stream``.
        fps: of frames without times; files have their own.
        camera: None = what ``camera_of`` says of width, height and the video, if there is one.
        detect_size: see ``track_video``.
    Raises ``SemttaError`` for a source of something else."""
    if isinstance(source, TrackedVideo):
        info = source.info
        if not source.tracks:
            raise SemttaError("nobody was found in the video that is to be streamed.")
        yield camera or camera_of(info.width, info.height, info.source), source.tracks[0]
        return
    video = None
    if isinstance(source, (str, os.PathLike, ImageSequence, VideoCut)):
        video, fps = source, probe(source).fps
        source = ((seconds, image) for _, seconds, image in read_frames(video, announce))
    elif not isinstance(source, Iterable):
        raise SemttaError("a stream is of frames, of pieces of a track, or of a tracked video, not "
                          f"of a {type(source).__name__}.")  # fmt: skip
    rest: Iterator = iter(source)
    first = next(rest, None)
    if first is None:
        return
    if isinstance(first, Track):
        yield from _told(chain([first], rest), camera)
        return
    for size, piece in follow(chain([first], rest), fps, detect_size):
        yield camera or camera_of(*size, video), piece


def _told(pieces: Iterable, camera: Camera | None) -> Iterator[tuple[Camera, Track]]:
    if camera is None:
        raise SemttaError("pieces of a track do not say how large the picture is: give the camera.")
    for piece in pieces:
        if not isinstance(piece, Track):
            raise SemttaError(f"a stream of pieces of a track has a {type(piece).__name__} in it.")
        yield camera, piece
