"""One entry of a label file, whatever the file: its keys by all their usual names, its values."""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from semtta.errors import SemttaError
from semtta.labels.numbers import is_clock, is_number
from semtta.labels.numbers import value as value_of
from semtta.labels.spans import LabelSpan

_LONGEST_TEXT = 500  # characters
_KEYS = ("start", "end", "text", "track", "source", "confidence", "others")
MOST_ENTRIES = 100_000  # one for each frame of an hour
# The words that names of keys and columns are made of. Of several texts the first in this order.
_TEXTS = (
    "text", "label", "action", "activity", "behavior", "behaviour", "motion", "name", "caption",
    "annotation", "description", "event", "tag", "class",
)  # fmt: skip
_NUMBERED = {"id", "ids", "idx", "index", "code", "number", "no", "num", "count"}
_WORDS = {
    "start": {"start", "begin", "from", "onset", "first"},
    "end": {"end", "stop", "to", "offset", "until", "last", "finish"},
    "duration": {"duration", "dur", "length"},
    "confidence": {"confidence", "conf", "score", "probability"},
    "track": {"track", "person", "subject", "actor"},
    "source": {"source"},
    "text": set(_TEXTS),
}
_PAIRS = {"segment", "range", "interval", "span"}
_UNITS = {
    "frames": {"frame", "frames", "f", "idx", "index"},
    "nanoseconds": {"ns", "nsec", "nanosec", "nanosecond", "nanoseconds"},
    "microseconds": {"us", "usec", "microsec", "microsecond", "microseconds"},
    "milliseconds": {"ms", "msec", "msecs", "millis", "millisecond", "milliseconds"},
    "seconds": {"s", "ss", "sec", "secs", "second", "seconds"},
    "minutes": {"m", "min", "mins", "minute", "minutes"},
    "hours": {"h", "hr", "hrs", "hour", "hours"},
    "clock": {"hh", "mm"},
    "unknown": {"sample", "samples", "tick", "ticks", "beat", "beats", "percent", "pct", "ratio",
                "x", "y", "line", "row", "day", "days", "date", "byte", "char"},
}  # fmt: skip
SECONDS = {"nanoseconds": 1e-9, "microseconds": 1e-6, "milliseconds": 1e-3, "seconds": 1.0,
           "minutes": 60.0, "hours": 3600.0, "clock": 1.0}  # fmt: skip
_TIME = {"time", "t", "timestamp"}  # seconds, if nothing else is said


@dataclass(frozen=True)
class Meaning:
    """What the name of a key or column says.

    Args:
        field: a key of an entry, ``duration`` instead of ``end``, or ``frame`` for both ends.
        unit: ``frames``, one of ``SECONDS`` or ``unknown`` where the name says it; ``clock`` is
            h:mm:ss, and ``unknown`` any that is not understood.
        inclusive: whether an end is the last frame, not one past it.
        rank: of several names of one field, the smallest counts.
    """

    field: str
    unit: str | None = None
    inclusive: bool = False
    rank: int = 0


def words_of(name: str) -> list[str]:
    """The words of a name such as ``startFrame`` or ``Begin Time - ss``, in lower case."""
    name = re.sub("[\u00b5\u03bc]", "u", name).replace("%", " percent ")
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def meaning(name: str) -> Meaning | None:
    """What a name such as ``start_s``, ``endFrame``, ``Begin Time - ss`` or ``action`` stands for;
    None if it is none of them."""
    words = set(words_of(name))
    unit = _unit_of(words)
    for field, known in _WORDS.items():
        said = known & words
        if not said:
            continue
        if field == "text":
            order = min(_TEXTS.index(word) for word in said)
            return None if words & _NUMBERED else Meaning(field, rank=order + 100 * (words > said))
        rank = int(bool(words - known - _TIME - {"inclusive"}.union(*_UNITS.values())))
        times = field in ("start", "end", "duration")
        inclusive = field == "end" and ("last" in said or "inclusive" in words)
        return Meaning(field, unit if times else None, inclusive, rank)
    if unit == "frames" and words <= {"frame", "number", "no", "idx", "index", "id"}:
        return Meaning("frame", "frames")
    return None


def _unit_of(words: set[str]) -> str | None:
    """The unit that a name says; what says how times are written comes before all."""
    said = [unit for unit, known in _UNITS.items() if known & words]
    if "clock" in said or ("seconds" in said and {"minutes", "hours"} & set(said)):
        return "clock" if words & {"s", "ss", "sec"} else "unknown"
    if "ss" in words:  # ELAN's ss.msec
        return "seconds"
    if len(said) > 1:
        return "unknown"
    return said[0] if said else "seconds" if _TIME & words else None


def in_seconds(number: float, unit: str | None, clock: bool, where: str) -> float:
    """A number of a unit as seconds, or as it is if that is frames or not said.

    Args:
        clock: whether it was written as m:ss, which is seconds already.
    Raises ``SemttaError`` for a unit that is not understood."""
    if unit == "unknown":
        raise SemttaError(f"{where} is in a unit that is not known; give frames or seconds, and "
                          "name it start_frame or start_s.")  # fmt: skip
    if clock and unit == "frames":
        raise SemttaError(f"{where} is said to be frames but is a time; keep one.")
    if unit == "clock" and not clock:
        raise SemttaError(f"{where} is said to be a time as h:mm:ss, but is none.")
    return number if clock or unit is None else number * SECONDS.get(unit, 1.0)


def check_count(count: int, where: str) -> None:
    """Raise ``SemttaError`` for more entries than any video needs."""
    if count > MOST_ENTRIES:
        raise SemttaError(f"{where} has {count} entries; more than {MOST_ENTRIES} are not read.")


def usual_keys(entry: dict, where: str, unit: str | None = None) -> tuple[dict, set[str]]:
    """An entry under the keys that this library writes, and the units that its own keys say.

    Args:
        unit: of the whole file, if it says one.
    Raises ``SemttaError`` for a key that is none, or two for one thing."""
    found: dict[str, object] = {}
    units: set[str] = set()
    for key, value in _apart(entry):
        said = Meaning(key) if key in _KEYS else meaning(str(key))
        if said is None or said.field not in (*_KEYS, "duration"):
            known_keys({key: value}, _KEYS, where)
            continue
        if said.field in found:
            raise SemttaError(f"{where}: two keys give the {said.field}; keep '{said.field}'.")
        clock = isinstance(value, str) and is_clock(value)
        if isinstance(value, str) and said.field in ("start", "end", "duration"):
            value = _number(value, f"{where}: {said.field}")
        if clock or said.unit is not None:
            units.add("frames" if said.unit == "frames" else "seconds")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = in_seconds(value, said.unit, clock, f"{where}: {said.field}")
            if said.inclusive and not clock and (said.unit or unit or "frames") == "frames":
                value += 1
        found[said.field] = value
    if "duration" in found:
        length = check_number(found.pop("duration"), "duration", where)
        start = check_number(found.get("start"), "start", where)
        if found.get("end") is None and length is not None:
            found["end"] = (start or 0) + length
    return found, units


def _apart(entry: dict) -> Iterator[tuple[str, object]]:
    """The keys and values of an entry, ``segment: [start, end]`` as two of them."""
    for key, value in entry.items():
        words = words_of(str(key))
        if isinstance(value, list) and len(value) == 2 and _PAIRS & set(words):
            unit = "".join(f"_{word}" for word in words if word not in _PAIRS)
            yield from ((f"start{unit}", value[0]), (f"end{unit}", value[1]))
        else:
            yield key, value


def _number(text: str, where: str) -> float:
    """A number that JSON holds as a text."""
    number = None if "," in text and not is_clock(text) else value_of(text.strip())
    if number is None:
        raise SemttaError(f"{where} must be a number, not '{_short(text)}'.")
    return number


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
    if is_number(text):
        raise SemttaError(f"{where}: the text '{_short(text)}' is a number; say in words what the "
                          "person does.")  # fmt: skip
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
