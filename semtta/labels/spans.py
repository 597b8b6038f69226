"""What a label is: a text over a range of a video."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from semtta.errors import SemttaError
from semtta.keypoints import Track


@dataclass(frozen=True)
class LabelSpan:
    """One text over the frames start <= frame < end (or seconds); None = open.

    Args:
        source: who says so: ``hand``, ``prior``, or the name of a vision-language model.
        confidence: in [0, 1].
        others: what the labeller also thought of, likeliest first.
    """

    text: str
    start: float | None = None
    end: float | None = None
    track: int | None = None
    source: str = "hand"
    confidence: float = 1.0
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labels:
    """Spans of text over a video.

    Args:
        unit: ``frames`` or ``seconds``.
        name: of the file, for messages.
        fps: of the video that the frames were counted in, if the file says so.
        unit_said: whether the unit is the user's word; False = frames were assumed.
        notes: sentences for the user on how a file was read.
        texts: how many texts there were, where they are one for each frame.
    """

    spans: tuple[LabelSpan, ...] = ()
    unit: str = "frames"
    name: str = "labels"
    fps: float | None = None
    unit_said: bool = True
    notes: tuple[str, ...] = ()
    texts: int | None = None

    def check(self, frame_count: int, duration: float, least: int | None = None) -> None:
        """Raise ``SemttaError`` for a span that lies past the end of the video, another rate, or
        another number of texts than frames.

        Args:
            frame_count: frames of the video.
            duration: seconds up to the end of the last frame.
            least: frames that one text for each must reach; None = all of them."""
        least = frame_count if least is None else least
        if self.texts is not None and not least <= self.texts <= frame_count:
            raise SemttaError(
                f"{self.name} has {self.texts} texts, one for each frame, but the video has "
                f"{frame_count} frames; give as many (null, or None in Python, for no label)."
            )
        rate = frame_count / max(duration, 1e-9)
        if self.fps and frame_count > 10 and abs(rate / self.fps - 1) > 0.05:
            raise SemttaError(
                f"{self.name} was made for {self.fps:g} frames a second, but the video has "
                f"{rate:.4g}; give ranges in seconds, or remove 'fps' if they fit."
            )
        length = frame_count if self.unit == "frames" else duration
        slack = 0 if self.unit == "frames" else 0.05
        for i, span in enumerate(self.spans, 1):
            past = float(max(span.start or 0, span.end or 0))
            if past > length + slack or (span.start or 0) >= length:
                frames = self.unit == "seconds" and past <= frame_count and past.is_integer()
                hint = '; if these are frames, the unit must be "frames"' if frames else ""
                raise SemttaError(
                    f"{self.name}: entry {i} ('{span.text}') reaches {past:g} {self.unit}, past "
                    f"the end of the video ({length:g} {self.unit}){hint}."
                )

    def in_seconds(self, times: Sequence[float], end: float) -> Labels:
        """The same ranges in seconds, which hold whatever rate the video is encoded with later.

        Rounded down to milliseconds: the first frame at or after a moment stays the same.

        Args:
            times: (N,) seconds, of all frames of the video.
            end: seconds up to the end of the last frame."""
        if self.unit == "seconds":
            return self
        edges = [*times, end]

        def moment(frame: float | None) -> float | None:
            if frame is None:
                return None
            return math.floor(1000 * edges[min(int(frame), len(edges) - 1)]) / 1000

        spans = [replace(s, start=moment(s.start), end=moment(s.end)) for s in self.spans]
        return replace(self, spans=tuple(spans), unit="seconds", fps=None)

    def confident(self, minimum: float) -> Labels:
        """Only the spans with at least this confidence; one with confidence 0 is never meant."""
        kept = tuple(s for s in self.spans if s.confidence > 0 and s.confidence >= minimum)
        return replace(self, spans=kept)

    def for_track(self, track: Track) -> list[str | None]:
        """One text or None for each frame of the track."""
        at = (track.frames if self.unit == "frames" else track.times).tolist()  # increasing
        texts: list[str | None] = [None] * len(track)
        for span in self.spans:
            if span.track is not None and span.track != track.id:
                continue
            first = 0 if span.start is None else bisect_left(at, span.start)
            past = len(at) if span.end is None else bisect_left(at, span.end)
            texts[first:past] = [span.text] * max(0, past - first)
        return texts


def check_overlaps(spans: tuple[LabelSpan, ...], where: str) -> None:
    """Raise ``SemttaError`` if two entries hold for the same person at the same time."""
    latest: dict[int | None, tuple[float, int]] = {}  # per track: the furthest end, whose it is
    order = sorted(range(len(spans)), key=lambda i: spans[i].start or 0)
    for i in order:
        span = spans[i]
        rivals = latest if span.track is None else {None, span.track} & latest.keys()
        for track in rivals:
            end, other = latest[track]
            if (span.start or 0) < end:
                a, b = sorted((i, other))
                raise SemttaError(
                    f"{where}: entries {a + 1} ('{spans[a].text}') and {b + 1} "
                    f"('{spans[b].text}') overlap."
                )
        # Without an overlap so far this end is the furthest of its track.
        latest[span.track] = (math.inf if span.end is None else span.end, i)
