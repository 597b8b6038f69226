"""What labels leave out, in sentences: a range in the wrong unit labels next to nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from semtta.keypoints import Track
from semtta.labels.spans import Labels, LabelSpan

_UNIT = (  # how a table says it, and how JSON does
    "call the columns start_s and end_s if these are meant, else start_frame and end_frame.",
    'add "unit": "seconds" beside "labels" if these are meant, else "unit": "frames".',
)
_SMALL = 0.5  # share of the frames below which ranges may have been meant as seconds


def remarks(labels: Labels, frame_count: int, duration: float) -> list[str]:
    """What the user should know about labels of a video: how they were read, what is doubtful.

    Args:
        frame_count: frames of the video.
        duration: seconds up to the end of the last frame."""
    found = list(labels.notes)
    edges = [x for span in labels.spans for x in (span.start, span.end) if x is not None]
    last = max(edges, default=0)
    fits = 0 < last <= math.ceil(duration) and last < _SMALL * frame_count
    if labels.unit == "frames" and not labels.unit_said and fits:
        found.append(
            f"{labels.name} does not say its unit and was read as frames, but all ranges end by "
            f"{last:g} of {frame_count} frames, and the video has {duration:.3g} seconds; "
            + _UNIT[labels.name.lower().endswith(".json")]
        )
    left_out = _inclusive_ends(labels, frame_count)
    if left_out:
        which = ", ".join(map(str, left_out[:3])) + (", ..." if len(left_out) > 3 else "")
        found.append(
            f"{labels.name}: 'end' is one past the last frame, so no label holds for frame "
            f"{which}; add 1 to every 'end' if it is meant to be the last one."
        )
    return found


def coverage(texts: Sequence[str | None], track: Track) -> str:
    """How many frames of a track have a label, as a sentence."""
    return f"track {track.id}: labels cover {covered(texts)} of {len(texts)} frames."


def covered(texts: Sequence[str | None]) -> int:
    """How many of the texts there are."""
    return sum(bool(text) for text in texts)


def _inclusive_ends(labels: Labels, frame_count: int) -> list[int]:
    """The frames that are lost if every ``end`` was meant as the last frame; empty if the ranges
    do not look so."""
    lengths = [math.inf if s.end is None else s.end - (s.start or 0) for s in labels.spans]
    if labels.unit != "frames" or math.inf in lengths or max(lengths, default=0) < 2:
        return []
    tracks: dict[int | None, list[LabelSpan]] = {}
    for span in sorted(labels.spans, key=lambda span: span.start or 0):
        tracks.setdefault(span.track, []).append(span)
    lost, gaps = [], set()
    for spans in tracks.values():
        for span, following in zip(spans[:-1], spans[1:]):
            gaps.add(following.start - span.end)
            lost.append(int(span.end))
        if spans[-1].end == frame_count - 1:
            lost.append(frame_count - 1)
    return sorted(set(lost)) if gaps <= {1} else []
