"""What a video says about itself, and what all readers of videos and images share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from semtta.errors import SemttaError

DEFAULT_FPS = 30.0
MAX_FPS = 1000.0
IMAGE_LIMIT = 1 << 26  # pixels of a still image: 8192 x 8192, which takes 192 MiB
FRAME_LIMIT = 36_000_000  # of a frame: 8K; a decoder keeps several of them
_NEAR = 1e-6  # seconds: a time that was written in decimals and meant a frame's
_SLACK = 0.05  # seconds that an end may lie past the last frame's

# Told in one sentence each what was done to the pictures, or is wrong with the file.
Note = Callable[[str], None]
# Told number and seconds of a frame: whether its picture is needed.
Wanted = Callable[[int, float], bool]


def every_frame(index: int, seconds: float) -> bool:
    """All pictures are needed."""
    return True


@dataclass(frozen=True)
class ImageSequence:
    """Images as a video. Wherever the path of a video is read, this may stand instead.

    Args:
        folder: where they are.
        names: file name of every frame, None for a dropped one: read as black.
        fps: frame rate.
    """

    folder: Path
    names: tuple[str | None, ...]
    fps: float = DEFAULT_FPS

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)


@dataclass(frozen=True)
class Moment:
    """A frame of a video by its number, or by seconds after the first one."""

    frame: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"frame {self.frame}" if self.seconds is None else self.text

    @property
    def text(self) -> str:
        """As it may be written: ``120``, ``4.5s``."""
        return f"{self.frame}" if self.seconds is None else f"{self.seconds:.9g}s"

    def reached(self, frame: int, seconds: float) -> bool:
        """Whether a frame is this one or a later one."""
        if self.seconds is not None:
            return seconds >= self.seconds - _NEAR
        return frame >= (self.frame or 0)

    def lies_past(self, frames: int, duration: float) -> bool:
        """Whether it is neither a frame of a video nor the end of its last one."""
        if self.seconds is not None:
            return self.seconds > duration + _SLACK
        return (self.frame or 0) > frames


@dataclass(frozen=True)
class VideoCut:
    """Some frames of a video. Wherever the path of a video is read, this may stand instead.

    Args:
        whole: the video.
        start: its first frame; None = the video's.
        end: the frame after its last one; None = the video's end.
    """

    whole: Path | ImageSequence
    start: Moment | None = None
    end: Moment | None = None

    def __fspath__(self) -> str:
        return str(self.whole)

    def __str__(self) -> str:
        return str(self.whole)

    @property
    def edges(self) -> tuple[str | None, str | None]:
        """Start and end, as ``cut_video`` takes them."""
        start, end = (None if edge is None else edge.text for edge in (self.start, self.end))
        return start, end

    def past_start(self, frame: int, seconds: float) -> bool:
        return self.start is None or self.start.reached(frame, seconds)

    def past_end(self, frame: int, seconds: float) -> bool:
        return self.end is not None and self.end.reached(frame, seconds)

    def holds(self, frame: int, seconds: float) -> bool:
        """Whether a frame of the video is one of these."""
        return self.past_start(frame, seconds) and not self.past_end(frame, seconds)

    def lies_past(self, frames: int, duration: float) -> bool:
        """Whether it begins or ends outside a video of so many frames and seconds."""
        start, end = self.start or Moment(0), self.end or Moment(frames)
        begins = start.frame if start.seconds is None else start.seconds
        late = (begins or 0) >= (frames if start.seconds is None else duration)
        return late or end.lies_past(frames, duration)

    def outside(self, frames: int, duration: float) -> SemttaError:
        """What to say of a range that no frame, or not every one, is in."""
        range_ = f"from {self.start or 'the first frame'} to {self.end or 'its end'}"
        return SemttaError(
            f"the range {range_} lies outside '{self}', which has {frames} frames ({duration:.4g} "
            "seconds)."
        )


VideoSource = str | Path | ImageSequence | VideoCut  # whatever frames are read from


@dataclass(frozen=True)
class VideoInfo:
    """What a video file, or a folder of images, says about itself.

    Args:
        path: the file or folder.
        width, height: pixels of the frames that are read: turned as the file's rotation tag says,
            and stretched in width until pixels are square.
        fps: mean frame rate; 30 where the file gives none.
        frames: number of frames by the container's claim, None where it makes none. Only
            reading tells the truth.
        notes: a sentence each on what is done to the pictures before they are handed out, and on
            what is unusual about the file.
        images: the sequence, where the frames are images.
        cut: which of the frames are read, where not all are; all else is said of the whole video.
    """

    path: Path
    width: int
    height: int
    fps: float
    frames: int | None
    notes: tuple[str, ...] = ()
    images: ImageSequence | None = None
    cut: VideoCut | None = None

    @property
    def source(self) -> Path | ImageSequence | VideoCut:
        """What ``read_frames`` takes to read these frames."""
        return self.cut or self.images or self.path

    @property
    def span(self) -> tuple[int, int] | None:
        """First and one past the last frame that are read, by the container's claim; None where
        it makes none. Of a cut in seconds they are those at its mean rate."""
        if self.frames is None or self.cut is None:
            return None if self.frames is None else (0, self.frames)

        def at(edge: Moment | None, other: int) -> int:
            if edge is None:
                return other
            frame = edge.frame if edge.seconds is None else math.ceil(edge.seconds * self.fps)
            return min(frame or 0, self.frames or 0)

        return at(self.cut.start, 0), at(self.cut.end, self.frames)


def next_time(stamp: float, previous: float | None, fps: float) -> float:
    """The stamp of a frame in seconds, or the previous time plus 1/fps if it is unusable."""
    if math.isfinite(stamp) and stamp >= 0 and (previous is None or stamp > previous):
        return stamp
    return 0.0 if previous is None else previous + 1 / fps


def check_rate(fps: float, where: object) -> None:
    """Raise ``SemttaError`` for a frame rate that no video has."""
    if not isinstance(fps, Real):
        raise SemttaError(f"'{where}': a frame rate is a number, not a {type(fps).__name__}.")
    if not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
        raise SemttaError(
            f"'{where}': a video cannot have {fps:g} frames per second; give a number above 0 and "
            f"up to {MAX_FPS:g}."
        )


def check_pixels(width: int, height: int, limit: int, where: str) -> None:
    """Raise ``SemttaError`` for a picture that would take too much memory."""
    if width * height > limit:
        raise SemttaError(
            f"{where} has {width} x {height} pixels; more than {limit / 1e6:.0f} million are "
            "not read; make it smaller."
        )


def check_size(info: VideoInfo, size: tuple[int, int], where: str) -> None:
    """Raise ``SemttaError`` for a frame of another width and height than the first."""
    if size != (info.width, info.height):
        raise SemttaError(
            f"'{info.path}' changes its picture size at {where}; re-encode it with one size."
        )
