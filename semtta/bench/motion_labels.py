"""What a person would call a motion: rules from free text to action names, and wrong names."""

from __future__ import annotations

import re

from semtta.bench.seeding import seed_of

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
# Kinds of action: a wrong label comes from a kind that the true one has no part in. Dancing and
# locomotion count as neighbours, as do all actions of the arms.
_KINDS: dict[str, str] = {
    "floor": r"push-?ups?|sit-?ups?|\blie|lying|crawl|fall|floor",
    "seat": r"\bsit|seat|squat|kneel|stand up",
    "arms": r"throw|punch|box|wave|wash|drink|raise|arms|dribble|signals|traffic|point|clap|gun|"
            r"\bbow\b|sword|shield|phone|cheer|stretch|kata|martial|pick up|play|carry",
    "steps": r"walk|run|jog|jump|hop|skip|kick|march|sneak|stumble|zombie|climb|stairs|step|"
             r"dance|spin|turn|balanc|beam|dribble|soccer|football",
}  # fmt: skip
_WRONG: tuple[tuple[str, str], ...] = (
    ("sit on a chair", "seat"),
    ("do push-ups", "floor"),
    ("throw something with the right hand", "arms"),
    ("lie down", "floor"),
    ("walk", "steps"),
    ("sit with feet crossed", "seat"),
    ("crawl", "floor"),
)


def canonical_label(text: str) -> str | None:
    """Canonical action name for a clip's free text, or None."""
    text = text.lower()
    for pattern, label in _RULES:
        if re.search(pattern, text):
            return label
    return None


def spoken_label(text: str | None) -> str | None:
    """What a person who sees the clip would type: the canonical name where the text has one,
    else its plain words ("Start Walk Stop" is "walk"); None without any word."""
    words = " ".join((text or "").replace("_", " ").split())
    if not re.search("[A-Za-z]{2}", words):
        return None
    choreographed = re.fullmatch(r"start (.*) stop", words.lower())
    return canonical_label(words) or (choreographed.group(1) if choreographed else words.lower())


def wrong_label(label: str | None, name: str) -> str:
    """The name of a clearly different action, drawn by ``name``; never a near neighbour."""
    kinds = {kind for kind, words in _KINDS.items() if re.search(words, (label or "").lower())}
    others = [wrong for wrong, kind in _WRONG if kind not in kinds]
    others = others or ["sit on a chair"]
    return others[seed_of(f"wrong:{name}") % len(others)]
