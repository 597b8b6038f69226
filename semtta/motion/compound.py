"""Texts of more than one action: done at once, or one after another."""

from __future__ import annotations

import re
from collections.abc import Iterable

_JOINED = re.compile(r"\s+(and|while|whilst|with)\s+|\s*([,+&])\s*", re.IGNORECASE)
# A word that can only mean that the first action has ended.
_THEN = re.compile(
    r"[\s,]*(?:\b(?:and )?(?:then|afterwards?|followed by|next,|finally)\b|-+>|\u2192|;)[\s,]*",
    re.IGNORECASE,
)
# "after the show" says when, "after sitting down" what was done.
_BEFORE = re.compile(r"[\s,]+(?:before|after)\s+(?=\w+ing\b)", re.IGNORECASE)
# Names by how the body is held: nobody does two of these at once.
_POSTURES = (
    re.compile(r"walk|run\b|jog|sprint|march|sneak|limp|skip|hop\b|stand still|balance|dance"),
    re.compile(r"sit (?:on|with|cross)"),
    re.compile(r"sit down"),
    re.compile(r"stand up|get up"),
    re.compile(r"lie down|push-ups|sit-ups|plank|lying|hip bridges|swim"),
    re.compile(r"kneel"),
    re.compile(r"squat"),
    re.compile(r"crawl|hands and knees"),
    re.compile(r"fall down"),
)


def joined(text: str) -> list[tuple[str, str]]:
    """The pieces of a text around its joints, each with the word or sign before it."""
    pieces, before, start = [], "", 0
    text = text.strip()
    for joint in _JOINED.finditer(text):
        pieces.append((text[start : joint.start()], before))
        before, start = (joint[1] or joint[2]).lower(), joint.end()
    pieces.append((text[start:], before))
    return [(piece, before) for piece, before in pieces if piece]


def is_whole(name: str) -> bool:
    """Whether a name says two things itself: "throw and walk" does, "throw with both hands" not."""
    return any(before != "with" for _, before in joined(name)[1:])


def in_turn(text: str) -> tuple[list[str], bool]:
    """The pieces of a text that may be done one after another, and whether they surely are.

    Fewer than two pieces: the text says nothing of the kind."""
    surely = [piece for piece in _THEN.split(text.strip()) if piece]
    if len(surely) > 1:
        return surely, True
    return [piece for piece in _BEFORE.split(text.strip()) if piece], False


def contradict(names: Iterable[str]) -> bool:
    """Whether no body can do all of these at once: sit and walk, fall down and get up."""
    held = {next((i for i, p in enumerate(_POSTURES) if p.search(name)), None) for name in names}
    return len(held - {None}) > 1
