"""Video files frame by frame: every frame a whole picture at its time, or a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from semtta.errors import SemttaError
from semtta.reading import reading
from semtta.video.combing import declared_order
from semtta.video.complete import check_complete
from semtta.video.info import (
    DEFAULT_FPS,
    FRAME_LIMIT,
    MAX_FPS,
    Note,
    VideoInfo,
    Wanted,
    check_pixels,
    check_size,
    every_frame,
    next_time,
)
from semtta.video.opening import convert, existing, opened, undecodable
from semtta.video.picture import Painter, shots, turn_of

_STRUCTURED = {"mov", "matroska", "avi"}  # say how long they are: see complete.py
_THREADS = 8  # that decode: each holds frames of its own
_EARLY = 0.9  # of what was announced; less is worth a word


def file_info(path: str | Path) -> VideoInfo:
    """See ``probe``."""
    with _video(path) as video:
        for frame in video.frames():
            return video.describe(frame)
        raise SemttaError(_no_frames(path))


def first_stamp(path: str | Path) -> float:
    """Seconds of the first frame by the file's own clock, which its sound shares."""
    with _video(path) as video:
        for shot in shots(video.frames(), video.time_base, video.path):
            return shot.stamp or 0.0
        raise SemttaError(_no_frames(path))


def file_frames(
    path: str | Path,
    note: Note,
    wanted: Wanted = every_frame,
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, float, np.ndarray | None]]:
    """See ``read_frames``; frames that are not wanted have no picture."""
    with _video(path) as video:
        info: VideoInfo | None = None
        first: float | None = None
        seconds: list[float] = []
        for shot in shots(video.frames(note), video.time_base, video.path, video.top_first):
            info = info or video.describe(shot.frame)
            first = shot.stamp if first is None else first
            stamp = float("nan") if shot.stamp is None or first is None else shot.stamp - first
            index = len(seconds)
            seconds.append(next_time(stamp, seconds[-1] if seconds else None, info.fps))
            image = None
            if wanted(index, seconds[-1]):
                check_size(info, video.painter.size(shot), f"frame {index}")
                image = video.painter.paint(shot, size)
            yield index, seconds[-1], image
        if info is None:
            raise SemttaError(_no_frames(path))
        video.look_back(seconds, note)


@contextmanager
def _video(path: str | Path) -> Iterator[_Video]:
    """A file, found whole as far as its container tells; PyAV's faults are sentences."""
    path = existing(path)
    with reading(path, "video"):
        check_complete(path)
        with opened(path) as container:
            yield _Video(path, container)


class _Video:
    """One open file and the stream of it that is read."""

    def __init__(self, path: Path, container: av.container.InputContainer):
        self.path, self.container = path, container
        covers = Disposition.attached_pic | Disposition.timed_thumbnails
        streams = [s for s in container.streams.video if not s.disposition & covers]
        if not streams:
            raise SemttaError(f"'{path}' holds no video, only sound or other data.")
        best = container.streams.best("video")
        self.stream = best if best in streams else streams[0]
        assert self.stream.time_base is not None  # FFmpeg gives every stream of a file one
        self.time_base = self.stream.time_base
        self.others = len(streams) - 1
        self.scans: set[bool] = set()  # whether frames so far were interlaced
        context = self.stream.codec_context
        if context is None:
            raise SemttaError(undecodable(path))
        check_pixels(context.width, context.height, FRAME_LIMIT, f"the video '{path}'")
        self.top_first = declared_order(context.field_order)
        context.options = {"max_pixels": str(FRAME_LIMIT)}
        context.thread_count = min(_THREADS, os.cpu_count() or 1)
        context.thread_type = "AUTO"
        self.painter = Painter(self.stream.sample_aspect_ratio, path)

    # ------------------------------------------------------------------ decoding

    def frames(self, note: Note = lambda text: None) -> Iterator[av.VideoFrame]:
        """Decoded frames in the order of presentation, none of them damaged.

        A recording without a fixed length (transport stream, tape) may have been cut anywhere:
        what is damaged at its ends is left out."""
        structured = bool(_STRUCTURED & set(self.container.format.name.split(",")))
        good = bad = 0
        for frame in self._decoded():
            if frame is None or frame.is_corrupt:
                bad += 1
                continue
            if bad and (good or structured):
                raise SemttaError(self._damaged(good))
            good, bad = good + 1, 0
            self.scans.add(frame.interlaced_frame)
            yield frame
        if bad and good:
            if structured or self._is_early(good):
                raise SemttaError(self._damaged(good))
            note(f"'{self.path.name}' ends within a frame, which was left out.")

    def _decoded(self) -> Iterator[av.VideoFrame | None]:
        """Frames as they come, None for what could not be decoded or was not all there."""
        packets, cut = self.container.demux(self.stream), set()
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.size and self._is_cut(packet):
                    cut.add(packet.pts)
                for frame in packet.decode():
                    yield None if frame.pts in cut else frame
            except av.EOFError:
                return
            except av.FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise
                yield None

    def _is_cut(self, packet: av.Packet) -> bool:
        """Whether the file ends within a packet; the reader of raw DV does not notice."""
        end = (packet.pos or 0) + packet.size
        raw = self.container.format.name == "dv"
        return packet.is_corrupt or (raw and end > self.path.stat().st_size)

    def _damaged(self, frame: int) -> str:
        return (
            f"'{self.path}' is damaged or cut off at frame {frame}, which cannot be decoded "
            f"whole; mend it with: {convert(self.path, 'mended.mp4')}"
        )

    # ------------------------------------------------------------------ what the file says

    def describe(self, frame: av.VideoFrame) -> VideoInfo:
        """The file, and what is done to frames like this one."""
        width, height = self.painter.width(frame.width), frame.height
        check_pixels(width, height, FRAME_LIMIT, f"the video '{self.path}'")
        remarks = []
        if frame.interlaced_frame:
            remarks.append("is interlaced; its frames are deinterlaced")
        elif self.top_first is not None:
            remarks.append("says that it is interlaced, but its frames do not; from the first one "
                           "on that shows it they are deinterlaced")  # fmt: skip
        if width != frame.width:
            remarks.append(
                f"has pixels that are not square: frames of {frame.width} x {height} are stretched "
                f"to {width} x {height}, in which 2D poses are to be given too"
            )
        if self.others:
            remarks.append(f"holds {self.others + 1} videos, of which the best one is read")
        notes = tuple(f"'{self.path.name}' {text}." for text in remarks)
        upright = turn_of(frame, self.path)[0] != 0
        size = (width, height) if upright else (height, width)
        return VideoInfo(self.path, *size, self.fps, self._claim(), notes)

    @property
    def fps(self) -> float:
        rate = float(self.stream.guessed_rate or self.stream.average_rate or 0)
        return rate if 0 < rate <= MAX_FPS else DEFAULT_FPS

    def _seconds(self) -> float | None:
        """Duration of the pictures by the container's claim; that of a sound is none."""
        stream = self.stream
        if stream.frames > self.path.stat().st_size:  # a placeholder that was never filled in
            return None
        if stream.duration:
            return float(stream.duration * self.time_base)
        tag = stream.metadata.get("DURATION", "").split(":")  # Matroska's, from zero
        if len(tag) == 3:
            end = 3600 * float(tag[0]) + 60 * float(tag[1]) + float(tag[2])
            return end - float((stream.start_time or 0) * self.time_base)
        if self.container.duration and len(self.container.streams) == 1:
            return self.container.duration / av.time_base
        return None

    def _claim(self) -> int | None:
        """Number of frames that are shown: an edit list hides some of those that are there."""
        seconds = self._seconds()
        if seconds is None:
            return None
        mean = float(self.stream.average_rate or 0)
        frames = round(seconds * (mean if 0 < mean <= MAX_FPS else self.fps))
        return min(frames, self.stream.frames or frames) or None

    def _is_early(self, count: int) -> bool:
        claim = self._claim()
        return claim is not None and count < _EARLY * claim - 1

    def look_back(self, seconds: list[float], note: Note) -> None:
        """Tell what only the whole video shows.

        Args:
            seconds: of every frame."""
        announced = self._seconds()
        early = announced is not None and seconds[-1] < _EARLY * announced - 1 / self.fps
        if early and self._is_early(len(seconds)):
            note(
                f"'{self.path.name}' ends after {len(seconds)} of {self._claim()} announced frames."
            )
        if len(self.scans) == 2:
            note(f"'{self.path.name}' is interlaced in part; those frames are deinterlaced.")
        steps = np.diff(seconds)
        if len(steps) and steps.max() > 1.5 * steps.min() + 0.002:  # stamps may be whole ms
            note(
                f"'{self.path.name}' has a variable frame rate: frames and overlay keep their own "
                f"times, but exports of a fixed rate have {self.fps:.6g} frames per second."
            )


def _no_frames(path: str | Path) -> str:
    return f"no frame of '{path}' can be decoded; it is damaged, cut off or not a video."
