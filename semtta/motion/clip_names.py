"""Rules from the free text of a recorded clip to an action name."""

from __future__ import annotations

import re

# Text -> canonical label, first match wins. The documented motion file's own label field comes
# from loose regular expressions (archery counts as "bow", sword strikes as "punch"): not used.
_RULES: tuple[tuple[str, str | None], ...] = (
    # Choreographed sequences ("Start Walk Stop"): lunges and poses, hardly a step of the action.
    (r"^start .* stop$", None),
    (r"salsa", "salsa dance"),
    (r"indian dance", "indian dance"),
    (r"^dance -", "ballet dance"),
    (r"martial arts", "martial arts kata"),
    (r"basketball signals", "give basketball referee signals"),
    (r"basketball", "dribble a basketball"),
    (r"soccer", "kick a soccer ball"),
    (r"direct traffic", "direct traffic"),
    (r"wash windows?", "wash a window"),
    (r"wash self", "wash oneself"),
    (r"sword", "sword fight"),
    (r"shoot a gun", "shoot a gun"),
    (r"shoot with a bow", "shoot with a bow"),
    (r"playground - climb", "climb"),
    (r"jump", "jump"),
    (r"\bhop\b", "hop on one foot"),
    (r"bend over", "bend down"),
    (r"block with shield", "block with a shield"),
    (r"cheer", "cheer with arms raised"),
    (r"crawl", "crawl"),
    (r"dodge", "dodge"),
    (r"drink", "drink"),
    (r"fall down", "fall down"),
    (r"stumble", "stumble"),
    (r"get up from the floor", "get up from the floor"),
    (r"^lie ", "lie down"),
    (r"push up", "do push-ups"),
    (r"sit up exercise", "do sit-ups"),
    (r"pick up", "pick up an object"),
    (r"punch", "punch"),
    (r"kick", "kick"),
    (r"throw", "throw something with the right hand"),
    (r"raise .*arms", "raise both arms"),
    (r"wave with right hand", "wave with the right hand"),
    (r"sit down on the floor", "sit down on the floor"),
    (r"sit down", "sit down"),
    (r"sit on the floor", "sit on the floor"),
    (r"sit on a chair", "sit on a chair"),
    (r"stand up", "stand up from sitting"),
    (r"fighting stance", "stand in a fighting stance"),
    (r"^stand", "stand still"),
    (r"zombie", "zombie walk"),
    (r"sneak", "sneak"),
    (r"crouched", "walk crouched with knees bent"),
    (r"walk backwards", "walk backwards"),
    (r"slow walk|walk slowly", "walk slowly"),
    (r"brisk walk", "walk fast"),
    (r"uneven", "walk on uneven terrain"),
    (r"walk", "walk"),
    (r"\brun", "run"),
)  # fmt: skip


def canonical_label(text: str) -> str | None:
    """Canonical action name for a clip's free text, or None."""
    text = text.lower()
    for pattern, label in _RULES:
        if re.search(pattern, text):
            return label
    return None
