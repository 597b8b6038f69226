"""The user's own 2D poses in place of the detector, held against the video they belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from semtta.errors import SemttaError
from semtta.people.finding import input_size
from semtta.people.movenet import MoveNet
from semtta.people.pipeline import TrackedVideo
from semtta.people.poses2d import Found, Poses2DOptions, understand
from semtta.people.tracker import Detections, suppress_duplicates
from semtta.video import VideoCut, VideoInfo, VideoSource, probe, read_frames

_SURE = 0.3  # score of a detection that speaks against the user's own poses


def tracks_from_file(
    path: VideoSource,
    poses2d: str | Path,
    options: Poses2DOptions | None = None,
    announce: Callable[[str], None] = lambda text: None,
    detect_size: int | str = "auto",
) -> TrackedVideo:
    """The user's own 2D poses instead of the detector; the video gives the frame times.

    The detector looks at a few frames, to find out poses of another picture.

    Args:
        options: what the poses' file does not say.
        announce: called with a sentence for what was guessed, mended or left out.
        detect_size: as of :func:`track_video`.

    Raises ``SemttaError`` if either file is unusable or they do not fit together."""
    whole = path.whole if isinstance(path, VideoCut) else path
    info, times, found = _held_against(whole, poses2d, options, detect_size)
    for note in found.notes:
        announce(note)
    if not isinstance(path, VideoCut):
        return TrackedVideo(info, found.tracks, times)
    info = replace(info, frames=len(times), cut=path)
    return _only(path, TrackedVideo(info, found.tracks, times), poses2d)


def _only(cut: VideoCut, tracked: TrackedVideo, poses2d: str | Path) -> TrackedVideo:
    """The part of a tracked video; poses of the rest of it are left out."""
    info, wanted = tracked.info, held_frames(cut, tracked.times, tracked.info.fps)
    tracks = [
        track.at(rows) for track in tracked.tracks
        if len(rows := torch.nonzero(wanted[track.frames])[:, 0])
    ]  # fmt: skip
    if not tracks:
        raise SemttaError(f"'{poses2d}' has nobody in the range of '{info.path}'.")
    return TrackedVideo(info, tracks, tracked.times[: int(torch.nonzero(wanted)[-1]) + 1])


def held_frames(cut: VideoCut, times: torch.Tensor, fps: float) -> torch.Tensor:
    """(N,) bool: which frames of a video are in a part of it.

    Args:
        times: (N,) seconds of all its frames.
        fps: its mean rate.
    Raises ``SemttaError`` for a part that lies outside of it."""
    seconds = times.tolist()
    length = len(seconds), (seconds[-1] if seconds else 0.0) + 1 / fps
    held = torch.tensor([cut.holds(*frame) for frame in enumerate(seconds)])
    if cut.lies_past(*length) or not bool(held.any()):
        raise cut.outside(*length)
    return held


def inspect_poses2d(
    poses2d: str | Path, video: str | Path | None = None, options: Poses2DOptions | None = None
) -> Found:
    """What a file of 2D poses is taken for, as :func:`tracks_from_file` would take it.

    Args:
        video: that they belong to; None = they are not checked against one."""
    if video is None:
        return understand(poses2d, None, None, options)
    return _held_against(video, poses2d, options, "auto")[2]


def timed(path: str | Path | VideoSource) -> tuple[VideoInfo, torch.Tensor]:
    """A video and (N,) the presentation times of all its frames, seconds."""
    said: list[str] = []
    info = probe(path)
    seconds = [seconds for _, seconds, _ in read_frames(path, said.append)]
    return replace(info, notes=(*info.notes, *said)), torch.tensor(seconds, dtype=torch.float64)


def look_at(
    path: str | Path | VideoSource, frames: Sequence[int], detect_size: int | str = "auto"
) -> dict[int, Detections]:
    """Who the detector is sure to see in a few frames of a video, by frame number."""
    wanted, net, found = set(frames), MoveNet(input_size(detect_size)), {}
    for index, _, image in read_frames(path):
        if index in wanted:
            people = suppress_duplicates(net(image))
            found[index] = people[people.scores >= _SURE]
        if index >= max(wanted, default=-1):
            break
    return found


def _held_against(
    path, poses2d, options: Poses2DOptions | None, detect_size: int | str
) -> tuple[VideoInfo, torch.Tensor, Found]:
    """A video, its frames' times, and 2D poses as they fit it."""
    info, times = timed(path)

    def looks(frames: Sequence[int]) -> dict[int, Detections]:
        return look_at(path, frames, detect_size)

    names = None if info.images is None else info.images.names
    return info, times, understand(poses2d, info, times, options, images=names, looks=looks)
