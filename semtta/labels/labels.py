"""``labels.json`` and its meaning.

The smallest file is ``{"labels": [{"text": "walking"}]}``. In full::

    {"version": 1, "unit": "frames", "fps": 30, "labels": [
        {"start": 0, "end": 48, "text": "walking", "track": 1, "source": "hand", "confidence": 1}]}

``start`` (first) and ``end`` (one past the last) count frames or seconds as ``unit`` says and
default to the whole video; frames are whole numbers. An entry without ``track`` holds for every
track. A frame that no entry covers has no label. ``fps``, where given, must be the video's.
``others`` of an entry (texts that a labeller also thought of) is for the human reader.
"""

from __future__ import annotations

import difflib
import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.keypoints import Track

_FILE_KEYS = ("version", "unit", "fps", "labels")
_LONGEST_TEXT = 500  # characters
_ENTRY_KEYS = ("start", "end", "text", "track", "source", "confidence", "others")


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
    """

    spans: tuple[LabelSpan, ...] = ()
    unit: str = "frames"
    name: str = "labels"
    fps: float | None = None

    def check(self, frame_count: int, duration: float) -> None:
        """Raise ``SemttaError`` for a span that lies past the end of the video, or another rate.

        Args:
            frame_count: frames of the video.
            duration: seconds up to the end of the last frame."""
        rate = frame_count / max(duration, 1e-9)
        if self.fps and frame_count > 10 and abs(rate / self.fps - 1) > 0.05:
            raise SemttaError(
                f"{self.name} was made for {self.fps:g} frames a second, but the video has "
                f"{rate:.4g}; give ranges in seconds, or remove 'fps' if they fit."
            )
        length = frame_count if self.unit == "frames" else duration
        slack = 0 if self.unit == "frames" else 0.05
        for i, span in enumerate(self.spans, 1):
            past = max(span.start or 0, span.end or 0)
            if past > length + slack or (span.start or 0) >= length:
                raise SemttaError(
                    f"{self.name}: entry {i} ('{span.text}') reaches {past:g} {self.unit}, past "
                    f"the end of the video ({length:g} {self.unit})."
                )

    def confident(self, minimum: float) -> Labels:
        """Only the spans with at least this confidence; one with confidence 0 is never meant."""
        kept = tuple(s for s in self.spans if s.confidence > 0 and s.confidence >= minimum)
        return replace(self, spans=kept)

    def for_track(self, track: Track) -> list[str | None]:
        """One text or None for each frame of the track."""
        at = track.frames if self.unit == "frames" else track.times
        texts: list[str | None] = [None] * len(track)
        for span in self.spans:
            if span.track is not None and span.track != track.id:
                continue
            low = -math.inf if span.start is None else span.start
            high = math.inf if span.end is None else span.end
            for i in torch.nonzero((at >= low) & (at < high))[:, 0].tolist():
                texts[i] = span.text
        return texts


def as_labels(labels: Labels | str | Path | Sequence[str | None] | None) -> Labels | None:
    """Labels from what a user has at hand: a ``.json`` path, one text, or one text per frame."""
    if labels is None or isinstance(labels, Labels):
        return labels
    if isinstance(labels, Path) or (isinstance(labels, str) and labels.endswith(".json")):
        return load_labels(labels)
    if isinstance(labels, str):
        return Labels((LabelSpan(_text(labels, "label")),), name="--label")
    spans = [
        LabelSpan(_text(text, f"label of frame {i}"), i, i + 1)
        for i, text in enumerate(labels)
        if text is not None
    ]
    return Labels(tuple(spans), name="label list")


def load_labels(path: str | Path) -> Labels:
    """Read and validate a label file; raises ``SemttaError`` that names the entry."""
    path = Path(path)
    data = _read_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("labels"), list):
        raise SemttaError(f"label file '{path}' must be an object with a list 'labels'.")
    _known_keys(data, _FILE_KEYS, f"label file '{path}'")
    if data.get("version", 1) != 1:
        raise SemttaError(f"label file '{path}' has version {data['version']!r}; known: 1.")
    unit = data.get("unit", "frames")
    if unit not in ("frames", "seconds"):
        raise SemttaError(f"label file '{path}': unit must be frames or seconds, not {unit!r}.")
    fps = _number(data.get("fps"), "fps", f"label file '{path}'")
    if fps is not None and fps <= 0:
        raise SemttaError(f"label file '{path}': fps must be positive, not {fps:g}.")
    spans = tuple(_span(entry, i, path, unit) for i, entry in enumerate(data["labels"], 1))
    _no_overlap(spans, path)
    return Labels(spans, unit, name=path.name, fps=fps)


def save_labels(path: str | Path, labels: Labels, overwrite: bool = True) -> None:
    """Write a label file, whole or not at all; one line for each entry, to be edited by hand.

    A span without text, as in a template, is written with an empty one.

    Args:
        overwrite: whether a file that is there by then may be replaced."""
    path = Path(path)
    rows = [json.dumps(_entry(span, labels.unit), ensure_ascii=False) for span in labels.spans]
    fps = f' "fps": {round(labels.fps, 4):g},' if labels.fps else ""
    text = f'{{"version": 1, "unit": "{labels.unit}",{fps} "labels": [\n  '
    text += ",\n  ".join(rows) + "\n]}\n"
    with whole_file(path, parents=False, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read_json(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
        return json.loads(text, object_pairs_hook=_unique_keys)
    except OSError as error:
        raise SemttaError(f"label file '{path}' cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SemttaError(f"label file '{path}' is not encoded as UTF-8; save it so.") from None
    except RecursionError:
        raise SemttaError(f"label file '{path}' is not valid JSON: nested too deeply.") from None
    except ValueError as error:
        raise SemttaError(f"label file '{path}' is not valid JSON: {error}.") from None


def _unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """JSON would keep the last of two values of one key, and silently lose what was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        text = found.get("text")
        where = f" in the entry '{text}'" if isinstance(text, str) else ""
        raise ValueError(f"the key '{twice}' stands twice{where}")
    return found


def _entry(span: LabelSpan, unit: str) -> dict:
    number = int if unit == "frames" else lambda seconds: round(seconds, 3)
    entry: dict = {}
    if span.track is not None:
        entry["track"] = span.track
    for key, value in (("start", span.start), ("end", span.end)):
        if value is not None:
            entry[key] = number(value)
    entry |= {"text": span.text, "source": span.source, "confidence": round(span.confidence, 3)}
    return entry | ({"others": list(span.others)} if span.others else {})


def _span(entry: object, i: int, path: Path, unit: str) -> LabelSpan:
    where = f"label file '{path}', entry {i}"
    if not isinstance(entry, dict):
        raise SemttaError(f"{where}: must be an object with a 'text'.")
    _known_keys(entry, _ENTRY_KEYS, where)
    text = _text(entry.get("text"), where)
    start, end = (_number(entry.get(key), key, where) for key in ("start", "end"))
    _check_range(start, end, unit, f"{where} ('{text}')")
    track = entry.get("track")
    if track is not None and (not isinstance(track, int) or isinstance(track, bool) or track < 1):
        raise SemttaError(f"{where} ('{text}'): track must be a positive whole number.")
    confidence = _number(entry.get("confidence", 1.0), "confidence", where)
    if confidence is None or not 0 <= confidence <= 1:
        raise SemttaError(f"{where} ('{text}'): confidence must lie between 0 and 1.")
    source, others = entry.get("source", "hand"), entry.get("others", [])
    if not isinstance(source, str):
        raise SemttaError(f"{where} ('{text}'): source must be a text.")
    if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
        raise SemttaError(f"{where} ('{text}'): others must be a list of texts.")
    return LabelSpan(text, start, end, track, source, confidence, tuple(others))


def _check_range(start: float | None, end: float | None, unit: str, where: str) -> None:
    if start is not None and start < 0:
        raise SemttaError(f"{where}: start {start:g} is negative.")
    if end is not None and end <= (start or 0):
        raise SemttaError(f"{where}: end {end:g} is not after start {start or 0:g}.")
    for key, value in (("start", start), ("end", end)):
        if unit == "frames" and value is not None and value != int(value):
            raise SemttaError(f"{where}: {key} {value:g} is no whole frame; seconds need "
                              '"unit": "seconds" beside "labels".')  # fmt: skip


def _no_overlap(spans: tuple[LabelSpan, ...], path: Path) -> None:
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
                    f"label file '{path}': entries {a + 1} ('{spans[a].text}') and {b + 1} "
                    f"('{spans[b].text}') overlap."
                )
        # Without an overlap so far this end is the furthest of its track.
        latest[span.track] = (math.inf if span.end is None else span.end, i)


def _known_keys(data: dict, known: tuple[str, ...], where: str) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
            raise SemttaError(f"{where}: unknown key '{key}'; {hint}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SemttaError(f"{where}: the text is missing or empty; say what the person does, or "
                          "delete the entry.")  # fmt: skip
    text = " ".join(value.split())
    if len(text) > _LONGEST_TEXT:
        raise SemttaError(f"{where}: the text is {len(text)} characters long; say in a few words "
                          "what the person does.")  # fmt: skip
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):  # no file or terminal takes them
        raise SemttaError(f"{where}: the text {text!a} holds control characters or half ones; "
                          "write it anew.")  # fmt: skip
    return text


def _number(value: object, key: str, where: str) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):  # JSON's whole numbers have no limit
        number = math.nan
    if not math.isfinite(number):
        said = repr(value)
        said = said if len(said) < 40 else said[:37] + "..."
        raise SemttaError(f"{where}: {key} must be a number, not {said}.")
    return number
