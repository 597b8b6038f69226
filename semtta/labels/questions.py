"""What is asked of a vision-language model, and what is made of whatever it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from semtta.labels.answers import find_field, find_object, spoken

OTHER = "other"
_NEAR = 0.6  # cosine of texts above which an unknown answer means a known name
_UNSAID = 0.7  # confidence of an answer that gives none
_SHORT = 60  # characters; a longer answer may contain names that it does not mean
_LONGEST_WORDS = 200  # characters that are kept
_SYSTEM = (
    "You label human motion for 3D pose estimation. An image shows one person several times, side "
    "by side in temporal order, from left to right; the yellow box marks the person, the text in "
    "each picture's corner is its number and its time. Judge the movement over all pictures, not a "
    "single one. Ignore everybody outside the yellow box. Parts of the person may be hidden."
)
_WEIGHTS = {"yes": 1.0, "unsure": 0.6, "no": 0.25}
_MEANS = {"true": "yes", "correct": "yes", "false": "no", "incorrect": "no", "wrong": "no"}

# Text -> (nearest known name, cosine).
Nearest = Callable[[str], "tuple[str, float]"]


@dataclass(frozen=True)
class Answer:
    """What a model says the person does.

    Args:
        text: a name of the dictionary, else the model's own words, else ``other``.
        confidence: in [0, 1]; 0 where the answer is no name of the dictionary.
    """

    text: str
    confidence: float


@dataclass(frozen=True)
class Question:
    """One request: texts and the JSON schema that the answer must fit.

    Args:
        key: what the answer must hold, whatever else it may."""

    system: str
    text: str
    name: str
    schema: dict
    key: str

    def answered_by(self, answer: str) -> bool:
        """Whether an answer is all there, even if the server cut off what came after it."""
        data = find_object(spoken(answer), self.key)
        return data is not None and self.key in data


def label_question(names: Sequence[str]) -> Question:
    """What does the person do? One of the names, or ``other`` with a description."""
    choices = [*names, OTHER]
    properties = {
        "description": {"type": "string"},
        "label": {"type": "string", "enum": choices},
        "confidence": {"type": "number"},
    }
    text = (
        "What is the person in the yellow box doing? First describe the movement in one short "
        "sentence of plain English. Then choose the label that fits best from this list, or "
        f'"{OTHER}" if none fits: {"; ".join(choices)}. Last give your confidence from 0 to 1. '
        'Answer with JSON only: {"description": "...", "label": "...", "confidence": 0.0}'
    )
    return Question(_SYSTEM, text, "action", _object(properties), "label")


def check_question(label: str) -> Question:
    """A second, independent question: is the label right? Yes, no or unsure."""
    properties = {"answer": {"type": "string", "enum": list(_WEIGHTS)}}
    text = (
        f'Does the person in the yellow box do this: "{label}"? Somebody else guessed so; they may '
        'be wrong. Answer with JSON only: {"answer": "yes"}, "no" or "unsure".'
    )
    return Question(_SYSTEM, text, "check", _object(properties), "answer")


def _object(properties: dict) -> dict:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_label(answer: str, names: Sequence[str], nearest: Nearest) -> Answer:
    """The label in an answer, be it the JSON that was asked for or not.

    In this order: the name itself, without regard to case, a name that the text contains, the
    nearest name by meaning; else ``other`` with confidence 0."""
    said, confidence = _said(spoken(answer))
    if not said:
        return Answer(OTHER, 0.0)
    plain, known = _plain(said), {_plain(name): name for name in names}
    if said in names:
        return Answer(said, confidence)
    if plain in known:
        return Answer(known[plain], confidence)
    if plain == OTHER:
        words = (find_object(spoken(answer), "label") or {}).get("description")
        own = printable(words)[:_LONGEST_WORDS] if isinstance(words, str) else ""
        return Answer(own or OTHER, 0.0)
    if len(said) < _SHORT:
        inside = [key for key in known if re.search(rf"\b{re.escape(key)}\b", plain)]
        if inside:
            return Answer(known[max(inside, key=len)], 0.8 * confidence)
    name, cosine = nearest(plain[:_LONGEST_WORDS])
    if cosine >= _NEAR:
        return Answer(name, cosine * 0.8 * confidence)
    return Answer(OTHER, 0.0)


def read_check(answer: str) -> float:
    """Factor on the confidence: 1 for yes, less for no and for whatever is neither."""
    answer = spoken(answer)
    data = find_object(answer, "answer")
    said = answer if data is None else data.get("answer")
    words = re.findall(r"\w+", str(said).lower()) if isinstance(said, (str, bool)) else []
    found = {_MEANS.get(word, word) for word in words} & _WEIGHTS.keys()
    denied = "not" in words and not {"yes", "no"} & set(words)  # "not correct"
    return _WEIGHTS[found.pop() if len(found) == 1 and not denied else "unsure"]


def printable(text: str) -> str:
    """One line of a stranger's text, without what no terminal or file should get."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _said(answer: str) -> tuple[str, float]:
    """The label that an answer gives, in the model's words, and how sure it is."""
    data = find_object(answer, "label")
    if data is None:
        label, sure = (find_field(answer, key) for key in ("label", "confidence"))
        return label or answer, _confidence(sure)
    label = data.get("label")
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    return label.strip() if isinstance(label, str) else "", _confidence(data.get("confidence"))


def _confidence(value: object) -> float:
    """In [0, 1]; a number above 1 is a percentage, anything else says nothing."""
    if isinstance(value, str):
        number = re.match(r"\s*(\d{1,3}(?:\.\d+)?)\s*(%?)", value)
        value = float(number[1]) * (0.01 if number[2] else 1) if number else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        return _UNSAID
    return float(value) if value <= 1 else value / 100


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s-]|_", " ", text.casefold()).split())
