"""From decoded frames to pictures: deinterlaced, with square pixels, upright, RGB."""

from __future__ import annotations

import gc
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.reformatter import Interpolation, VideoReformatter

from semtta.errors import SemttaError
from semtta.video.combing import is_combed
from semtta.video.opening import convert

_SQUARE = 0.005  # share of the width up to which pixels count as square
_OBLONG = 8  # times as wide as high, or the reverse: more is a broken tag
_UPRIGHT = (1, 0, 0, 1)
_ASKED = 16  # frames that stay in memory at most, since they were asked which way is up


class Shot(NamedTuple):
    """One frame on its way: the decoder's picture with what belongs to it.

    Args:
        frame: of PyAV.
        stamp: presentation time by the file, seconds; None without one.
        turn: signs (a, b, c, d) of the display matrix: x' = a x + c y, y' = b x + d y.
    """

    frame: av.VideoFrame
    stamp: float | None
    turn: tuple[int, int, int, int]


def shots(
    frames: Iterable[av.VideoFrame],
    time_base: Fraction,
    path: Path,
    top_first: bool | None = None,
) -> Iterator[Shot]:
    """Frames with their times, one for one; interlaced ones come deinterlaced.

    Progressive video is passed on as it is; from the first interlaced frame on, all go through
    the filter, which looks one frame ahead and leaves progressive ones alone. Where only the file
    says that it is interlaced, it begins with the first frame that shows it and takes all.

    Which way is up is read from key frames and where its angle changes, and not from every frame:
    one that was asked for it refers to itself, and stays until Python searches for garbage, which
    would come after 1 GB of 1080p.

    Args:
        top_first: what the file says of the order of fields; None if it says nothing."""
    waiting: deque[Shot] = deque()
    graph, angle, turn, asked = None, None, _UPRIGHT, 0
    for frame in frames:
        if frame.key_frame or frame.rotation != angle:
            angle, turn, asked = frame.rotation, turn_of(frame, path), asked + 1
            if asked % _ASKED == 0:
                gc.collect(0)
        stamp = frame.pts if frame.pts is not None else frame.dts
        seconds = None if stamp is None else float(stamp * (frame.time_base or time_base))
        shot = Shot(frame, seconds, turn)
        if graph is None and not frame.interlaced_frame:
            if top_first is None or not is_combed(frame):
                yield shot
                continue
        if graph is None:
            graph = _deinterlacer(frame, time_base, top_first)
        waiting.append(shot)
        graph.vpush(frame)
        yield from _filtered(graph, waiting)
    if graph is not None:
        graph.vpush(None)
        yield from _filtered(graph, waiting)


def _deinterlacer(
    frame: av.VideoFrame, time_base: Fraction, top_first: bool | None
) -> av.filter.Graph:
    which = "deint=interlaced"
    if not frame.interlaced_frame:
        which = f"deint=all:parity={'tff' if top_first else 'bff'}"
    graph = av.filter.Graph()
    nodes = (
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=time_base
        ),
        graph.add("bwdif", f"mode=send_frame:{which}"),
        graph.add("buffersink"),
    )
    for one, next_one in zip(nodes, nodes[1:]):
        one.link_to(next_one)
    graph.configure()
    return graph


def _filtered(graph: av.filter.Graph, waiting: deque[Shot]) -> Iterator[Shot]:
    while waiting:
        try:
            frame = graph.vpull()
        except (av.BlockingIOError, av.EOFError):  # wants another frame; has no more
            return
        shot = waiting.popleft()
        frame.colorspace, frame.color_range = shot.frame.colorspace, shot.frame.color_range
        yield shot._replace(frame=frame)


def turn_of(frame: av.VideoFrame, path: Path) -> tuple[int, int, int, int]:
    """How a frame is to be turned or mirrored; raises ``SemttaError`` if not by right angles."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(side_data, SideData):
        return _UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side_data)[:36])
    largest = max(abs(v) for v in (a, b, c, d))
    turn = _sign(a, largest), _sign(b, largest), _sign(c, largest), _sign(d, largest)
    if not largest or [abs(v) for v in turn] not in ([1, 0, 0, 1], [0, 1, 1, 0]):
        raise SemttaError(
            f"'{path}' is to be shown turned by {frame.rotation}°, no right angle; make it "
            f"upright with: {convert(path, 'upright.mp4')}"
        )
    return turn


def _sign(number: int, largest: int) -> int:
    return 0 if abs(number) < 0.02 * largest else (1 if number > 0 else -1)


class Painter:
    """Makes RGB pictures of one file's frames.

    Args:
        aspect: width of a stored pixel over its height, as the file says it.
    Raises ``SemttaError`` for what cannot be meant."""

    def __init__(self, aspect: Fraction | None, path: Path):
        self.aspect = float(aspect or 1)
        if not 1 / _OBLONG <= self.aspect <= _OBLONG:
            raise SemttaError(
                f"the pixels of '{path}' are said to be {aspect} times as wide as high; mend it "
                f"with: {convert(path, 'square.mp4', '-vf setsar=1 -c:v libx264')}"
            )
        self._convert = VideoReformatter()

    def width(self, stored: int) -> int:
        """Pixels of a row before it is turned, once pixels are square."""
        shown = round(stored * self.aspect)
        return stored if abs(shown - stored) <= _SQUARE * stored else shown

    def size(self, shot: Shot) -> tuple[int, int]:
        """Width and height of the picture as a player shows it."""
        stored = self.width(shot.frame.width), shot.frame.height
        return stored if shot.turn[0] else stored[::-1]

    def paint(self, shot: Shot, size: tuple[int, int] | None = None) -> np.ndarray:
        """(H, W, 3) uint8 RGB, as a player shows it; transparency is ignored.

        Args:
            size: width and height that are wanted, None = its own."""
        # Like OpenCV and the ffmpeg command: the frame's own matrix and range, BT.601 without.
        smaller = size is not None and size != self.size(shot)
        width, height = size if size is not None else self.size(shot)
        if not shot.turn[0]:
            width, height = height, width
        rgb = self._convert.reformat(
            shot.frame, width=width, height=height, format="rgb24",
            interpolation=Interpolation.AREA if smaller else Interpolation.BICUBIC,
        )  # fmt: skip
        image = rgb.to_ndarray()
        if rgb is shot.frame:  # it was RGB: the decoder may still need it
            image = image.copy()
        return np.ascontiguousarray(turned(image, shot.turn))


def turned(image: np.ndarray, turn: tuple[int, int, int, int]) -> np.ndarray:
    """An image as its display matrix wants it seen; a view."""
    a, b, c, d = turn
    if a == 0:
        image = image.swapaxes(0, 1)
    across, down = (a, d) if a else (c, b)
    return image[:: down or 1, :: across or 1]
