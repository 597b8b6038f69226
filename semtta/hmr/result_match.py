"""Who of a result is who in the video: told by the 2D, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from semtta.body import Body
from semtta.errors import SemttaError
from semtta.geometry import Camera, keypoint_boxes
from semtta.hmr.refiner_inputs import base_pixels
from semtta.hmr.result_base import check_places, in_picture, on_body
from semtta.hmr.results import held_against
from semtta.hmr.results.parts import ResultFile, ResultTrack
from semtta.keypoints import Keypoints2D, Track
from semtta.people.own_poses import held_frames, look_at, timed
from semtta.people.pipeline import TrackedVideo
from semtta.people.tracker import Detections
from semtta.skeletons import BODY27, COCO17
from semtta.video import VideoCut, VideoInfo, VideoSource

_SURE = 0.1  # confidence from which a detection speaks for or against a person
_FEW = 2  # landmarks without which a frame shows nobody
# Usual distance of a result's joints from a person's, in box sides, from which it is somebody else:
# of the lifter's own results it is 0.02 to 0.04, of others' put into the same box 0.12 or more.
_APART = 0.1
_MARGIN, _OUTSIDE = 0.1, 0.25  # of the picture; of the joints
_LOOKS = 6  # frames that the detector looks at
_DETECTED, _ENOUGH = 0.3, 5  # confidence of its joints that count, and how many it takes
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Matched:
    """The people of a result that are in the video.

    Args:
        tracks: under the result's own numbers, in frames that the result has.
        notes: sentences about what is left as it is, and why.
    """

    tracks: list[Track]
    notes: list[str]


def rows_of(base: ResultTrack, frames: Tensor) -> ResultTrack:
    """A person of a result in some of its frames.

    Args:
        frames: (N,) frame numbers, all of which it has."""
    rows = torch.searchsorted(base.frames, frames.cpu())

    def cut(values):
        return None if values is None else values[rows]

    return replace(
        base, frames=base.frames[rows], rotmats=base.rotmats[rows], betas=base.betas[rows],
        trans=cut(base.trans), focal=cut(base.focal), center=cut(base.center),
        boxes=cut(base.boxes), keypoints=cut(base.keypoints), cam=cut(base.cam),
        crops=cut(base.crops), world=None,
    )  # fmt: skip


def match_people(
    result: ResultFile,
    tracks: Sequence[Track],
    camera: Camera,
    body: Body,
    times: Tensor | None = None,
) -> Matched:
    """For each person of a result, the 2D evidence of that person.

    A detector that lost somebody may have several tracks of one person; they are put together.

    Args:
        tracks: of the detector, or of the user's own 2D poses; the main person first.
        camera: intrinsics of the image.
        body: whose betas the result has.
        times: (N,) seconds of all frames of the video: then every frame of the result is kept, with
            2D evidence or without. None = only those with.

    Raises ``SemttaError`` if the result has nobody who is in the video."""
    if times is not None:
        held_against(result, len(times))
    tracks = [track.to(_CPU) for track in tracks]
    people, notes = _placed(result, body, camera)
    pixels = {id: base_pixels(base, body, camera, BODY27).cpu() for id, base in people.items()}
    parts: dict[int, list[Track]] = {}
    least = float("inf")
    for track in tracks:
        apart, person = min((_apart(base, pixels[base.id], track), base.id)
                            for base in people.values())  # fmt: skip
        least = min(least, apart)
        if apart <= _APART:
            parts.setdefault(person, []).append(track)
    if not parts:
        raise SemttaError(f"result '{result.path}' does not fit this video: {_misfit(least)}.")
    notes += [f"person {id} of the result was not found in the video and is left out."
             for id in people if id not in parts]  # fmt: skip
    found = []
    for person, own in parts.items():
        track, lost = _together(people[person], own, pixels[person], times)
        found.append(track)
        notes += _gaps(track, lost)
    return Matched(found, notes)


def _placed(
    result: ResultFile, body: Body, camera: Camera
) -> tuple[dict[int, ResultTrack], list[str]]:
    """The people of a result on a body, by number, and who is left out; raises ``SemttaError`` if
    it would be everybody."""
    check_places(result)
    people, notes = {}, []
    for base in result.tracks:
        try:
            people[base.id] = on_body(result, base, body, camera)
        except SemttaError as error:
            if len(result.tracks) == 1:
                raise
            notes.append(f"{str(error).rstrip('.')}; it is left out.")
    if not people:
        raise SemttaError(f"result '{result.path}' has nobody in front of a camera.")
    return people, notes


def evidence_in_result(
    result: ResultFile, video: str | Path | VideoSource, detect_size: int | str = "auto"
) -> TrackedVideo:
    """The 2D evidence that a result holds of all its people, held against the video.

    The detector looks at a few frames, to find out a result of another video.

    Raises ``SemttaError`` if they do not fit together."""
    info, times, result = check_video(result, video)
    tracks = []
    for base in result.tracks:
        assert base.keypoints is not None  # the caller looked
        conf = base.keypoints.conf
        outside = _outside(base.keypoints.xy[conf >= _SURE], info.width, info.height)
        if outside > _OUTSIDE:
            raise SemttaError(
                f"result '{result.path}' does not fit this video: {outside:.0%} of its 2D joints "
                f"lie outside the picture of {info.width} x {info.height}."
            )
        boxes = keypoint_boxes(base.keypoints.xy, conf) if base.boxes is None else base.boxes
        tracks.append(Track(base.id, base.frames, times[base.frames], boxes, base.keypoints))
    shown = sorted({int(frame) for track in tracks for frame in track.frames})
    frames = shown[:: max(1, len(shown) // _LOOKS)][:_LOOKS]
    seen = {frame: people for frame, people in look_at(video, frames, detect_size).items()
            if len(people.scores)}  # fmt: skip
    apart = min(_apart_from_detections(track, seen) for track in tracks)
    if apart < float("inf") and apart > _APART:
        raise SemttaError(f"result '{result.path}' does not fit this video: {_misfit(apart)}.")
    return TrackedVideo(info, tracks, times)


def check_video(
    result: ResultFile, video: str | Path | VideoSource
) -> tuple[VideoInfo, Tensor, ResultFile]:
    """A video, the times of its frames, and a result in its pixels; of a part of a video all three
    as that part has them.

    Raises ``SemttaError`` if their lengths or their pictures say that they do not belong together,
    and if nobody is in the part."""
    info, times = timed(video.whole if isinstance(video, VideoCut) else video)
    held_against(result, len(times))
    result = in_picture(result, info.width, info.height)
    if isinstance(video, VideoCut):
        held = held_frames(video, times, info.fps)
        info = replace(info, frames=len(times), cut=video)
        times = times[: int(torch.nonzero(held)[-1]) + 1]
    return info, times, in_part(result, info, times)


def in_part(result: ResultFile, info: VideoInfo, times: Tensor) -> ResultFile:
    """A result in those frames of its video that are read.

    Args:
        times: (N,) seconds of the video's frames, up to the last one that is read.
    Raises ``SemttaError`` if they show nobody of it."""
    if info.cut is None:
        return result
    held = [frame for frame, seconds in enumerate(times.tolist()) if info.cut.holds(frame, seconds)]
    tracks = []
    for track in result.tracks:
        frames = track.frames[torch.isin(track.frames, torch.tensor(held))]
        tracks += [rows_of(track, frames)] if len(frames) else []
    if not tracks:
        raise SemttaError(f"result '{result.path}' has nobody in this part of '{info.path}'.")
    return replace(result, tracks=tuple(tracks), covers=None)


def _apart_from_detections(track: Track, seen: dict[int, Detections]) -> float:
    """Median over a few frames of a track's distance from the nearest detection, in box sides."""
    points = track.keypoints.to_skeleton(COCO17)
    found = []
    for row, frame in enumerate(track.frames.tolist()):
        if frame not in seen:
            continue
        people = seen[frame]
        sure = (torch.as_tensor(people.conf) >= _DETECTED) & (points.conf[row] >= _SURE)
        side = (track.boxes[row, 2:] - track.boxes[row, :2]).max()
        distance = (torch.as_tensor(people.xy).float() - points.xy[row]).norm(dim=-1) / side
        mean = (distance * sure).sum(1) / sure.sum(1).clamp_min(1)
        mean = mean[sure.sum(1) >= _ENOUGH]
        if len(mean):
            found.append(float(mean.min()))
    return float(torch.tensor(found).median()) if found else float("inf")


def _outside(points: Tensor, width: int, height: int) -> float:
    """Share of points (N, 2) that lie well outside a picture."""
    edge = points.new_tensor([width, height])
    outside = ((points < -_MARGIN * edge) | (points > (1 + _MARGIN) * edge)).any(-1)
    return float(outside.float().mean()) if len(points) else 0.0


def check_fit(
    base: ResultTrack, track: Track, camera: Camera, body: Body, path: str | Path
) -> None:
    """Raise ``SemttaError`` if a person of a result is elsewhere than the track's 2D evidence."""
    apart = _apart(base, base_pixels(base, body, camera, BODY27).cpu(), track.to(_CPU))
    if _APART < apart < float("inf"):  # without any evidence nothing speaks against it
        raise SemttaError(f"result '{path}' does not fit track {track.id}: {_misfit(apart)}.")


def _misfit(least: float) -> str:
    if least == float("inf"):
        return "no frame of it shows a person that was seen there"
    return (
        f"its joints are off the nearest person's there by {least:.0%} of that person's box; is it "
        "of another video, or was its picture cut or of another size"
    )


def _apart(base: ResultTrack, pixels: Tensor, track: Track) -> float:
    """Median over common frames of a result's distance from the 2D evidence, in box sides."""
    rows, own = _common(base.frames, track.frames)
    seen = track.keypoints.to_skeleton(BODY27)[own]
    boxes = track.boxes[own]
    side = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    sure = seen.conf >= _SURE
    shown = sure.sum(1) >= _FEW
    if not bool(shown.any()):
        return float("inf")
    distance = (pixels[rows] - seen.xy).norm(dim=-1) / side[:, None]
    mean = (distance * sure).sum(1) / sure.sum(1).clamp_min(1)
    return float(mean[shown].median())


def _common(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of two increasing lists of frame numbers that hold the same numbers."""
    return torch.nonzero(torch.isin(a, b))[:, 0], torch.nonzero(torch.isin(b, a))[:, 0]


def _together(
    base: ResultTrack, parts: list[Track], pixels: Tensor, times: Tensor | None
) -> tuple[Track, int]:
    """One track of a result's frames from the parts, and how many seen frames the result lacks.

    Where two parts show one frame the longer part counts."""
    bones = parts[0].keypoints.skeleton
    count = len(base)
    xy, conf = torch.zeros(count, len(bones), 2), torch.zeros(count, len(bones))
    boxes = keypoint_boxes(pixels, torch.ones(pixels.shape[:2]))
    seconds = torch.zeros(count, dtype=torch.float64)
    there = torch.zeros(count, dtype=torch.bool)
    lost = 0
    for part in sorted(parts, key=len, reverse=True):
        rows, own = _common(base.frames, part.frames)
        lost += len(part) - len(own)
        own, rows = own[~there[rows]], rows[~there[rows]]
        points = part.keypoints.to_skeleton(bones)
        xy[rows], conf[rows], boxes[rows] = points.xy[own], points.conf[own], part.boxes[own]
        seconds[rows] = torch.as_tensor(part.times)[own].double()
        there[rows] = True
    if times is not None:
        seconds, there = times[base.frames].double(), torch.ones_like(there)
    keypoints = Keypoints2D(xy[there], conf[there], bones)
    return Track(base.id, base.frames[there], seconds[there], boxes[there], keypoints), lost


def _gaps(track: Track, lost: int) -> list[str]:
    """What is to be said of frames in which only one of the two has the person."""
    notes = []
    if lost:
        notes.append(f"track {track.id}: the person was seen in {lost} frames that the result "
                     "lacks; they are not adapted.")  # fmt: skip
    if blind := int((track.keypoints.conf.amax(1) == 0).sum()):
        notes.append(f"track {track.id}: {blind} of {len(track)} frames of the result have no 2D "
                     "evidence; they follow the others.")  # fmt: skip
    return notes
