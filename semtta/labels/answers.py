"""What of a model's text is meant as its answer: no thoughts, and JSON however it comes."""

from __future__ import annotations

import json
import re

_LONGEST = 20_000  # characters that are read, from the end: the last word counts
_FILLERS = ("", "null", "none", "{}", "[]", '""')
_KINDS = "think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad"
# Where thoughts begin and end, in the markups of different families of models.
_MARKS = re.compile(
    rf"(?P<open><(?:\w+:)?(?:{_KINDS})\s*>|\[think(?:ing)?\]|◁think▷"
    r"|<\|begin_of_thought\|>|<\|thinking\|>|<unused94>)"
    rf"|</(?:\w+:)?(?:{_KINDS})\s*>|\[/think(?:ing)?\]|◁/think▷"
    r"|<\|end_of_thought\|>|<\|/thinking\|>|<unused95>",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+).*?<\|message\|>", re.DOTALL)
_CHANNEL_END = re.compile(r"<\|(?:end|return|start|call|channel)\|>")


def spoken(answer: str) -> str:
    """What models that reason aloud say in the end; the rest weighs answers that they reject.

    Returns "" if there is nothing but thoughts, be they closed or not, or a filler."""
    said = _final_channel(answer)
    kept: list[str] = []
    start, thinking = 0, False
    for mark in _MARKS.finditer(said):
        if not mark["open"]:
            if not thinking:  # the server's template had opened it
                kept.clear()
            start, thinking = mark.end(), False
        elif not thinking:
            kept.append(said[start : mark.start()])
            thinking = True
    if not thinking:
        kept.append(said[start:])
    said = "".join(kept).strip()
    bare = re.sub(r"^```\w*\s*|\s*```$", "", said).strip().lower()
    return "" if bare in _FILLERS else said[-_LONGEST:]


def find_object(text: str, key: str) -> dict | None:
    """The JSON object in a text, be it fenced, surrounded by words or inside another one.

    The last with the key, else the first; its keys in lower case. None if there is none."""
    decoder, first, found, past = json.JSONDecoder(), None, None, 0
    text = _unquoted(text)
    for match in re.finditer(r"\{", text):
        if match.start() < past:  # inside the one that was found
            continue
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        value = {name.lower(): entry for name, entry in value.items()}
        if key in value:
            found, past = value, end
        first = value if first is None else first
    return first if found is None else found


def find_field(text: str, key: str) -> str | None:
    """What a text that is no JSON gives for a key: ``'label': 'walk'``, ``**Label:** walk`` or
    ``the label is "walk"``; the last one counts."""
    marks = r"""["'*_`]*"""
    pattern = rf"""\b{key}{marks}\s*(?::|=|\bis\b|(?=\d)){marks}\s*{marks}([^"'*`\n,;}}]+)"""
    found = re.findall(pattern, text, re.IGNORECASE)
    return found[-1].strip() if found else None


def _final_channel(answer: str) -> str:
    """The last ``final`` message of an answer in channels; the answer itself if it has none."""
    channels = list(_CHANNEL.finditer(answer))
    if not channels:
        # the same without its special tokens, as some servers print it
        early, mark, late = answer.rpartition("assistantfinal")
        return late if mark and early.lstrip().startswith("analysis") else answer
    final = [channel for channel in channels if channel[1] == "final"]
    if not final:
        return ""
    return _CHANNEL_END.split(answer[final[-1].end() :], maxsplit=1)[0]


def _unquoted(text: str) -> str:
    """A JSON text that was made a JSON string once more."""
    if text.startswith('"') and text.endswith('"'):
        try:
            inner = json.loads(text)
        except ValueError:
            return text
        return inner if isinstance(inner, str) else text
    return text
