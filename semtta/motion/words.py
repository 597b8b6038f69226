"""Words of short texts: who does it left out, endings cut, slips of the finger mended."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from semtta.motion.wordpiece import plain

# Words that say who, not what: "a person is sitting" must not be near "a person is kicking".
_WHO = frozenset(
    "a an the person people someone somebody human subject player man men woman women boy boys "
    "girl girls guy lady kid kids child children old young he she it they i we you him them his "
    "her its their my your our is are be being do does doing while who".split()
)
# Small words tell little, but "sit down" is not "sit up".
_SMALL = frozenset(
    "in at on of to with and for from by into onto over under along across through up down off "
    "out".split()
)
_SMALL_WEIGHT = 0.3
_HEAD = 3.0  # weight of the first word of a text that is not small
_IRREGULAR = {
    "ran": "run", "sat": "sit", "lying": "lie", "lay": "lie", "fell": "fall", "threw": "throw",
    "thrown": "throw", "swam": "swim", "drove": "drive", "ate": "eat", "drank": "drink",
    "stood": "stand", "rose": "rise", "caught": "catch", "swung": "swing", "knelt": "kneel",
    "bent": "bend", "dug": "dig", "shot": "shoot", "drew": "draw", "spun": "spin", "crept": "creep",
    "swept": "sweep", "hung": "hang", "held": "hold", "took": "take", "got": "get", "went": "go",
    "feet": "foot", "seated": "sit",
}  # fmt: skip
_ALIKE = 0.85  # share of letters in common above which an unknown word is a slip of a known one
_SHORTEST_SLIP = 5  # letters; short words have too many neighbours


def content_words(text: str) -> list[str]:
    """The words that say what is done, in lower case; all of them if none does."""
    words = re.findall(r"[^\W_]+", re.sub(r"['\u2019]s\b", "", plain(text)))
    return [word for word in words if word not in _WHO] or words


def stem(word: str) -> str:
    """A word without its ending: walk of walks, walking, walked; danc of dances and dancing."""
    word = _IRREGULAR.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 4 and re.search(r"(?:s|x|z|ch|sh)es$", word):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base != word and len(base) > 1 and re.search("[aeiouy]", base):
            word = base
            break
    if len(word) > 2 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


class Lexicon:
    """The words of a list of phrases, each weighted by how few meanings it occurs in.

    Args:
        phrases: P texts.
        meanings: what each of them means; words of many meanings tell little.
        is_word: whether a word that no phrase has is one, and not a slip of the finger.
    """

    def __init__(self, phrases: Sequence[str], meanings: Sequence[int],
                 is_word: Callable[[str], bool]):  # fmt: skip
        contents = [content_words(phrase) for phrase in phrases]
        self._words = sorted({word for words in contents for word in words})
        self._is_word = is_word
        rows = [[stem(word) for word in words] for words in contents]
        found: dict[str, set[int]] = {}
        for stems, meaning in zip(rows, meanings):
            for one in stems:
                found.setdefault(one, set()).add(meaning)
        count = len(set(meanings))
        self._weight = {one: self._tells(one, count / len(where)) for one, where in found.items()}
        self._rarest = self._tells("", count)
        self._rows = [set(stems) for stems in rows]
        self._total = torch.tensor([sum(map(self._weight.__getitem__, row)) for row in self._rows])

    @staticmethod
    def _tells(one: str, rarity: float) -> float:
        return math.log1p(rarity) * (_SMALL_WEIGHT if one in _SMALL else 1.0)

    def mend(self, text: str) -> list[str]:
        """The words that say what is done; one that is none is the phrases' most similar one."""
        return [self._mended(word) for word in content_words(text)]

    def _mended(self, word: str) -> str:
        if len(word) < _SHORTEST_SLIP or self._is_word(word) or stem(word) in self._weight:
            return word
        near = difflib.get_close_matches(word, self._words, 1, _ALIKE)
        return near[0] if near else word

    def stems(self, words: Sequence[str]) -> list[str]:
        """Words without endings; who does it is what is done, if the phrases know that: jogger."""
        return [self._action(word) for word in words]

    def _action(self, word: str) -> str:
        one = stem(word)
        base = re.sub("(?:er|or)$", "", word.removesuffix("s"))
        if one not in self._weight and base != word and stem(base) in self._weight:
            return stem(base)
        return one

    def overlap(self, words: Sequence[str]) -> Tensor:
        """(P,) weight of the words that a text shares with each phrase, of that of all of both.

        The text's first word, which mostly says what is done, counts for more."""
        stems = self.stems(words)
        weight = {one: self._weight.get(one, self._rarest) for one in stems}
        head = next((one for one in stems if one not in _SMALL), stems[0] if stems else "")
        shared = torch.tensor([sum(weight[one] for one in row & weight.keys())
                               for row in self._rows])  # fmt: skip
        first = weight.get(head, 0.0) * torch.tensor([head in row for row in self._rows])
        both = sum(weight.values()) + self._total - shared
        more = _HEAD - 1
        return (shared + more * first) / (both + more * weight.get(head, 0.0)).clamp_min(1e-6)
