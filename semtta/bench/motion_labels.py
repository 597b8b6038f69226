"""What a person would call a motion, and wrong names for it."""

from __future__ import annotations

import re

from semtta.bench.seeding import seed_of
from semtta.motion.clip_names import canonical_label

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
