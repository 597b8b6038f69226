"""What a vision-language model is shown: a strip of one person's pictures over one segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from semtta.errors import SemttaError
from semtta.keypoints import Track
from semtta.video import VideoSource, read_frames

_HEIGHT = 384  # pixels of a picture
_MARGIN = 1.35  # of the picture over the largest box of the segment: what stands around matters
_ASPECT = (0.5, 1.4)  # width over height of a picture
_EDGE = 0.08  # share of the segment left out at both ends, where the last action still shows
_SMALLEST = 16.0  # pixels of the video that a picture shows at least
_GAP = 6  # white pixels between pictures
_QUALITY = 85
_BOX_COLOR = (255, 225, 40)


@dataclass(frozen=True)
class Segment:
    """One person over some time.

    Args:
        track: number of the person.
        start, end: half-open range of frames in the video.
        times: seconds of the first and the last frame.
    """

    track: int
    start: int
    end: int
    times: tuple[float, float]


@dataclass(frozen=True)
class Strip:
    """Pictures of one segment side by side.

    Args:
        segment: what is shown.
        frames: frame numbers of the pictures.
        jpeg: the image file.
        size: width, height in pixels.
    """

    segment: Segment
    frames: tuple[int, ...]
    jpeg: bytes
    size: tuple[int, int]


@dataclass(frozen=True)
class _Plan:
    """What a strip will show.

    Args:
        positions: in the track, of the pictures.
        window: width and height of what each shows, pixels of the video.
    """

    positions: list[int]
    window: tuple[float, float]


def as_segment(track: Track, start: int, stop: int) -> Segment:
    """A half-open range of positions in the track as frames of the video."""
    frames, times = track.frames[start:stop], track.times[start:stop]
    span = (float(times[0]), float(times[-1]))
    return Segment(track.id, int(frames[0]), int(frames[-1]) + 1, span)


def make_strips(
    video: VideoSource,
    pieces: Sequence[tuple[Track, int, int]],
    count: int = 6,
) -> list[Strip]:
    """One strip for each piece; the video is read once.

    Args:
        pieces: tracks with half-open ranges of positions in them.
        count: pictures on a strip, evenly spaced in time; fewer where the piece has fewer frames.
    Raises ``SemttaError`` if the video ends before the tracks do."""
    plans = [_plan(track, start, stop, count) for track, start, stop in pieces]
    wanted: dict[int, list[tuple[int, int]]] = {}
    for i, plan in enumerate(plans):
        for k, position in enumerate(plan.positions):
            wanted.setdefault(int(pieces[i][0].frames[position]), []).append((i, k))
    pictures: list[dict[int, np.ndarray]] = [{} for _ in plans]
    strips: list[Strip | None] = [None] * len(plans)
    last = max(wanted, default=-1)
    for number, _, image in read_frames(video):
        for i, k in wanted.get(number, ()):
            pictures[i][k] = _shown(image, pieces[i], plans[i], k)
            if len(pictures[i]) == len(plans[i].positions):
                # Only the JPEG is held: the pictures of a long video would fill the memory.
                strips[i] = _strip(pieces[i], plans[i], pictures[i])
                pictures[i] = {}
        if number >= last:
            break
    whole: list[Strip] = []
    for strip, (track, _, _) in zip(strips, pieces):
        if strip is None:
            raise SemttaError(f"'{video}' has fewer frames than track {track.id}.")
        whole.append(strip)
    return whole


def _shown(image: np.ndarray, piece: tuple[Track, int, int], plan: _Plan, k: int) -> np.ndarray:
    """The k-th picture of a strip."""
    track, start, _ = piece
    position = plan.positions[k]
    since = float(track.times[position] - track.times[start])
    return _picture(image, track.boxes[position].numpy(), plan.window, f"{k + 1}: {since:.1f} s")


def _strip(piece: tuple[Track, int, int], plan: _Plan, pictures: dict[int, np.ndarray]) -> Strip:
    jpeg, size = _join([pictures[k] for k in sorted(pictures)])
    frames = tuple(int(piece[0].frames[position]) for position in plan.positions)
    return Strip(as_segment(*piece), frames, jpeg, size)


def _plan(track: Track, start: int, stop: int, count: int) -> _Plan:
    """One size for the whole segment: a person who comes nearer grows, a jump goes up."""
    length = stop - start
    low, high = start + _EDGE * (length - 1), start + (1 - _EDGE) * (length - 1)
    positions = sorted({round(x) for x in np.linspace(low, high, count)})
    boxes = track.boxes[start:stop].numpy()
    width, height = (float(side) for side in _MARGIN * (boxes[:, 2:] - boxes[:, :2]).max(0))
    height = max(height, width / _ASPECT[1], _SMALLEST)
    width = max(width, _ASPECT[0] * height)
    return _Plan(positions, (width, height))


def _picture(
    image: np.ndarray, box: np.ndarray, window: tuple[float, float], note: str
) -> np.ndarray:
    """The surroundings of the person's box, with the box and the time drawn on them."""
    scale = _HEIGHT / window[1]
    size = (max(1, round(window[0] * scale)), _HEIGHT)
    corner = (box[:2] + box[2:]) / 2 - np.array(window) / 2
    move = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    if scale < 1:  # smooth first: warpAffine alone would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    picture = cv2.warpAffine(image, move, size, flags=cv2.INTER_LINEAR, borderValue=(96, 96, 96))
    low = tuple(int(v) for v in np.round((box[:2] - corner) * scale))
    high = tuple(int(v) for v in np.round((box[2:] - corner) * scale))
    cv2.rectangle(picture, low, high, _BOX_COLOR, 2, cv2.LINE_AA)
    for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(picture, note, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, thickness,
                    cv2.LINE_AA)  # fmt: skip
    return picture


def _join(pictures: Sequence[np.ndarray]) -> tuple[bytes, tuple[int, int]]:
    height = pictures[0].shape[0]
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    row = [pictures[0]]
    for picture in pictures[1:]:
        row += [gap, picture]
    image = np.concatenate(row, 1)
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    if not done:
        raise SemttaError("a strip of pictures could not be written as JPEG.")
    return data.tobytes(), (image.shape[1], image.shape[0])
