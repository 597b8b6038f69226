"""One entry of a label file, whatever the file: its keys by all their usual names, its values."""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from dataclasses import dataclass

from semtta.errors import SemttaError
from semtta.labels.spans import LabelSpan

_LONGEST_TEXT = 500  # characters
_KEYS = ("start", "end", "text", "track", "source", "confidence", "others")
# The words that names of keys and columns are made of. Of several texts the first in this order.
_TEXTS = ("text", "label", "action", "activity", "name", "caption", "description", "class")
_WORDS = {
    "start": {"start", "begin", "from", "onset", "first"},
    "end": {"end", "stop", "to", "offset", "until", "last", "finish"},
    "duration": {"duration", "dur", "length"},
    "confidence": {"confidence", "conf", "score", "probability"},
    "track": {"track", "person", "subject", "actor"},
    "source": {"source"},
    "text": set(_TEXTS),
}
_UNITS = {
    "seconds": {"s", "sec", "secs", "second", "seconds", "time", "t", "timestamp"},
    "milliseconds": {"ms", "msec", "msecs", "millisecond", "milliseconds"},
    "frames": {"frame", "frames", "f", "idx", "index"},
}


@dataclass(frozen=True)
class Meaning:
    """What the name of a key or column says.

    Args:
        field: a key of an entry, ``duration`` instead of ``end``, or ``frame`` for both ends.
        unit: ``seconds``, ``milliseconds`` or ``frames`` where the name says it.
        inclusive: whether an end is the last frame, not one past it.
        rank: of several names of a text, the smallest counts.
    """

    field: str
    unit: str | None = None
    inclusive: bool = False
    rank: int = 0


def meaning(name: str) -> Meaning | None:
    """What a name such as ``start_s``, ``endFrame``, ``Begin Time - ss`` or ``action`` stands for;
    None if it is none of them."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    unit = next((unit for unit, known in _UNITS.items() if known & set(words)), None)
    for field, known in _WORDS.items():
        said = known & set(words)
        if said and field == "text":
            return Meaning(field, rank=min(_TEXTS.index(word) for word in said))
        if said:
            times = field in ("start", "end", "duration")
            inclusive = field == "end" and ("last" in said or "inclusive" in words)
            return Meaning(field, unit if times else None, inclusive)
    if unit == "frames" and set(words) <= {"frame", "number", "no", "idx", "index", "id"}:
        return Meaning("frame", "frames")
    return None


def usual_keys(entry: dict, where: str) -> tuple[dict, set[str]]:
    """An entry under the keys that this library writes, and the units that its own keys say.

    Raises ``SemttaError`` for a key that is none, or two for one thing."""
    found: dict[str, object] = {}
    units: set[str] = set()
    for key, value in entry.items():
        said = Meaning(key) if key in _KEYS else meaning(str(key))
        if said is None or said.field not in _KEYS:
            known_keys({key: value}, _KEYS, where)
            continue
        if said.field in found:
            raise SemttaError(f"{where}: two keys give the {said.field}; keep '{said.field}'.")
        if said.unit is not None:
            units.add("seconds" if said.unit == "milliseconds" else said.unit)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and said.unit == "milliseconds":
            value = value / 1000
        found[said.field] = value + 1 if number and said.inclusive else value
    return found, units


def make_span(entry: object, where: str, unit: str) -> LabelSpan:
    """An entry's span; raises ``SemttaError`` that begins with ``where``.

    Args:
        entry: under the usual keys, values as JSON has them."""
    if not isinstance(entry, dict):
        raise SemttaError(f"{where}: must be an object with a 'text'.")
    known_keys(entry, _KEYS, where)
    text = check_text(entry.get("text"), where)
    start, end = (check_number(entry.get(key), key, where) for key in ("start", "end"))
    where = f"{where} ('{text}')"
    _check_range(start, end, unit, where)
    track = entry.get("track")
    if track is not None and (not isinstance(track, int) or isinstance(track, bool) or track < 1):
        raise SemttaError(f"{where}: track must be a positive whole number.")
    confidence = check_number(entry.get("confidence", 1.0), "confidence", where)
    if confidence is None or not 0 <= confidence <= 1:
        raise SemttaError(f"{where}: confidence must lie between 0 and 1.")
    source, others = entry.get("source", "hand"), entry.get("others", [])
    if not isinstance(source, str):
        raise SemttaError(f"{where}: source must be a text.")
    if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
        raise SemttaError(f"{where}: others must be a list of texts.")
    return LabelSpan(text, start, end, track, source, confidence, tuple(others))


def known_keys(data: dict, known: tuple[str, ...], where: str) -> None:
    """Raise ``SemttaError`` for a key that is not among them, with the one that was meant."""
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:50], known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
            raise SemttaError(f"{where}: unknown key '{_short(str(key))}'; {hint}")


def check_text(value: object, where: str) -> str:
    """A label's text on one line; raises ``SemttaError`` if it is none."""
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


def check_number(value: object, key: str, where: str) -> float | None:
    """A finite number or None; raises ``SemttaError`` for anything else."""
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):  # JSON's whole numbers have no limit
        number = math.nan
    if not math.isfinite(number):
        raise SemttaError(f"{where}: {key} must be a number, not {_short(repr(value))}.")
    return number


def _check_range(start: float | None, end: float | None, unit: str, where: str) -> None:
    if start is not None and start < 0:
        raise SemttaError(f"{where}: start {start:g} is negative.")
    if end is not None and end <= (start or 0):
        raise SemttaError(f"{where}: end {end:g} is not after start {start or 0:g}.")
    for key, value in (("start", start), ("end", end)):
        if unit == "frames" and value is not None and value != int(value):
            raise SemttaError(f"{where}: {key} {value:g} is no whole frame; seconds need "
                              '"unit": "seconds" beside "labels".')  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) < 40 else text[:37] + "..."
