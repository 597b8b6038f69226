"""BABEL's annotations (Punnakkal et al. 2021) of one sequence as labels."""

from __future__ import annotations

import heapq
from pathlib import Path

from semtta.errors import SemttaError
from semtta.labels.entries import check_count, check_number, check_text
from semtta.labels.spans import Labels, LabelSpan

_ANNOTATIONS = ("frame_ann", "frame_anns", "seq_ann", "seq_anns")  # the better ones first
_TEXTS = ("proc_label", "raw_label", "act_cat")
_NO_ACTION = "transition"


def is_babel(data: object) -> bool:
    """Whether the content of a JSON file is BABEL's, of one sequence or of many."""
    if not isinstance(data, dict) or not data:
        return False
    return _is_sequence(data) or all(_is_sequence(value) for value in data.values())


def read_babel(data: dict, path: Path) -> Labels:
    """The labels of the one sequence in a file, in seconds: those of its parts, else the whole's.

    Where BABEL's overlap, the shorter one holds: it says more. Transitions are no label.
    Raises ``SemttaError``."""
    where = f"label file '{path}'"
    if not _is_sequence(data):
        if len(data) > 1:
            raise SemttaError(f"{where} holds BABEL's annotations of {len(data)} sequences; save "
                              "that of the video alone.")  # fmt: skip
        data = next(iter(data.values()))
    segments, parts = _segments(data, where)
    kept = [span for span in segments if span.text != _NO_ACTION]
    if not kept:
        raise SemttaError(f"{where} holds BABEL's annotation of a sequence without any action.")
    spans = _without_overlaps(kept) if parts else kept[:1]
    notes = [f"{path.name}: BABEL's annotation of {'parts' if parts else 'the whole'} was read."]
    if parts and sum(map(_length, spans)) < sum(map(_length, kept)) - 1e-6:
        notes.append(f"{path.name}: where BABEL's segments overlap, the shorter one counts.")
    if len(kept) < len(segments):
        notes.append(f"{path.name}: {len(segments) - len(kept)} transitions count as no label.")
    if not parts and len(kept) > 1:
        notes.append(f"{path.name}: of {len(kept)} labels of the whole the first counts.")
    return Labels(tuple(spans), "seconds", path.name, notes=tuple(notes))


def _is_sequence(data: object) -> bool:
    return isinstance(data, dict) and any(key in data for key in _ANNOTATIONS)


def _segments(data: dict, where: str) -> tuple[list[LabelSpan], bool]:
    """All labels of the best annotation, and whether they are of parts."""
    for key in _ANNOTATIONS:
        found = data.get(key)
        if isinstance(found, list):  # of several annotators the first
            found = found[0] if found else None
        rows = found.get("labels") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not rows:
            continue
        check_count(len(rows), where)
        parts = key.startswith("frame")
        return [_span(row, parts, f"{where}, {key} {i}") for i, row in enumerate(rows, 1)], parts
    raise SemttaError(f"{where} holds no label in BABEL's frame_ann or seq_ann.")


def _span(row: object, parts: bool, where: str) -> LabelSpan:
    if not isinstance(row, dict):
        raise SemttaError(f"{where}: must be an object with a 'raw_label'.")
    texts = [row.get(key) for key in _TEXTS]
    texts = [text[0] if isinstance(text, list) and text else text for text in texts]
    text = check_text(next((text for text in texts if text), None), where)
    if not parts:
        return LabelSpan(text, source="BABEL")
    start, end = (check_number(row.get(key), key, where) for key in ("start_t", "end_t"))
    if start is None or end is None or not 0 <= start < end:
        raise SemttaError(f"{where} ('{text}'): start_t and end_t are no range of seconds.")
    return LabelSpan(text, start, end, source="BABEL")


def _range(span: LabelSpan) -> tuple[float, float]:
    assert span.start is not None and span.end is not None  # those of parts have both
    return span.start, span.end


def _length(span: LabelSpan) -> float:
    start, end = _range(span)
    return end - start


def _without_overlaps(segments: list[LabelSpan]) -> list[LabelSpan]:
    """At every moment only the shortest of the segments that hold then."""
    order = sorted(segments, key=lambda span: _range(span)[0])
    moments = sorted({t for span in segments for t in _range(span)})
    waiting: list[tuple[float, int]] = []  # length, position in ``order``
    found: list[LabelSpan] = []
    position, latest = 0, -1
    for a, b in zip(moments[:-1], moments[1:]):
        while position < len(order) and _range(order[position])[0] <= a:
            heapq.heappush(waiting, (_length(order[position]), position))
            position += 1
        while waiting and _range(order[waiting[0][1]])[1] <= a:
            heapq.heappop(waiting)
        if not waiting:
            latest = -1
            continue
        chosen = waiting[0][1]
        start = found.pop().start if chosen == latest else a
        found.append(LabelSpan(order[chosen].text, start, b, source="BABEL"))
        latest = chosen
    return found
