"""Who is in a video, by the detector or by the user's own 2D poses, and who of them is adapted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semtta.body import Body
from semtta.cache import Cache
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.hmr.base import HumanMeshRegressor
from semtta.hmr.result_match import check_video, evidence_in_result, in_part, match_people
from semtta.hmr.results.parts import ResultFile
from semtta.keypoints import Track
from semtta.labels import Labels
from semtta.people import (
    Poses2DOptions,
    TrackedVideo,
    track_video,
    tracked_once,
    tracks_from_file,
)
from semtta.video import VideoSource


def find_people(
    video: VideoSource,
    tracks: str | int = "largest",
    poses2d: str | Path | None = None,
    progress: Progress = silent,
    detect_size: int | str = "auto",
    options: Poses2DOptions | None = None,
    cache: Cache | None = None,
    model: HumanMeshRegressor | None = None,
) -> TrackedVideo:
    """Detect and track, or read the user's own poses; only as many people as are wanted.

    What is unusual about the video is told to ``progress`` as notes.

    Args:
        options: what the file of the user's poses does not say.
        cache: where detections are kept for later runs; None = nowhere.
        model: that will read them; of one that starts from a result, everyone is looked for, or the
            result's own 2D is taken where it has any."""

    def announce(text: str) -> None:
        progress("note", 0, None, {"text": text})

    def tick(done: int, total: int | None) -> None:
        progress("people", done, total, {})

    result = getattr(model, "result", None)
    most = 1 if tracks == "largest" and result is None else None
    held = result is not None and all(base.keypoints is not None for base in result.tracks)
    if result is not None and (poses2d is not None or not held):
        check_video(result, video)  # before the work
    if poses2d is not None:
        found = tracks_from_file(video, poses2d, options, announce, detect_size)
    elif result is not None and held:
        found = evidence_in_result(result, video, detect_size)
        announce("the 2D evidence is the result's own.")
    elif cache is not None:
        found = tracked_once(
            video, cache, detect_size=detect_size, max_people=most, progress=tick, announce=announce
        )
    else:
        found = track_video(video, max_people=most, detect_size=detect_size, progress=tick)
    for text in found.info.notes:
        announce(text)
    if result is not None:
        return found
    chosen = {track.id for track in select_tracks(found, tracks)}
    left = [track for track in found.tracks if track.id not in chosen]
    if left:
        frames = sum(len(track) for track in left)
        announce(f"{frames} frames belong to {len(left)} other tracks, which are not adapted; "
                 "--track all takes them.")  # fmt: skip
    return found


@dataclass(frozen=True)
class MatchedVideo(TrackedVideo):
    """A video whose tracks are the people of a result, under its numbers and in its frames."""

    result: ResultFile


def known_people(
    model: HumanMeshRegressor,
    video: TrackedVideo,
    camera: Camera,
    body: Body,
    progress: Progress = silent,
) -> TrackedVideo:
    """Those people of a video that a model can say something of: everyone, or, if it starts from a
    result, those of the result; notes say what is left out.

    Raises ``SemttaError`` if there are none: it is the result of another video."""
    result = getattr(model, "result", None)
    if result is None:
        return video
    if isinstance(video, MatchedVideo) and video.result is result:
        return video
    for text in result.remarks:
        progress("note", 0, None, {"text": text})
    part = in_part(result, video.info, video.times)
    found = match_people(part, video.tracks, camera, body, video.times)
    for text in found.notes:
        progress("note", 0, None, {"text": text})
    return MatchedVideo(video.info, found.tracks, video.times, result)


def select_tracks(video: TrackedVideo, which: str | int) -> list[Track]:
    """The tracks that ``largest``, ``all`` or an id names; raises ``SemttaError`` if none does."""
    if which == "all":
        return list(video.tracks)
    if which == "largest":
        return [video.tracks[0]]
    found = [track for track in video.tracks if str(track.id) == str(which)]
    if not found:
        known = ", ".join(str(track.id) for track in video.tracks)
        raise SemttaError(f"no track '{which}'; this video has {known} (or: largest, all).")
    return found


def check_tracks(labels: Labels, chosen: Sequence[Track]) -> None:
    """Raise ``SemttaError`` if every label names a track that is not adapted."""
    named = {span.track for span in labels.spans if span.track is not None}
    ids = {track.id for track in chosen}
    for_all = any(span.track is None for span in labels.spans)
    if named and not for_all and not named & ids:
        raise SemttaError(
            f"{labels.name} names track {', '.join(map(str, sorted(named)))} only, but track "
            f"{', '.join(map(str, sorted(ids)))} is adapted; leave 'track' out or choose --track."
        )


def believed(labels: Labels, least: float, progress: Progress) -> Labels:
    """The labels that are sure enough to pull and to open the gate; a note counts the others.

    Args:
        least: confidence (``labels.min_confidence``)."""
    kept = labels.confident(least)
    if dropped := len(labels.spans) - len(kept.spans):
        text = f"{dropped} of {len(labels.spans)} labels are below labels.min_confidence"
        progress("note", 0, None, {"text": f"{text} ({least:g}) and count as none."})
    return kept
