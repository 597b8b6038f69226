"""What labels leave out, in sentences: a range in the wrong unit labels next to nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from semtta.keypoints import Track
from semtta.labels.spans import Labels

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
    closed = [(s.start or 0, s.end, s.track) for s in labels.spans if s.end is not None]
    longest = max((end - start for start, end, _ in closed), default=0)
    if labels.unit != "frames" or len(closed) < len(labels.spans) or longest < 2:
        return []
    tracks: dict[int | None, list[tuple[float, float]]] = {}
    for start, end, track in sorted(closed, key=lambda span: span[0]):
        tracks.setdefault(track, []).append((start, end))
    lost, gaps = [], set()
    for spans in tracks.values():
        for (_, end), (following, _) in zip(spans[:-1], spans[1:]):
            gaps.add(following - end)
            lost.append(int(end))
        if spans[-1][1] == frame_count - 1:
            lost.append(frame_count - 1)
    return sorted(set(lost)) if gaps <= {1} else []
