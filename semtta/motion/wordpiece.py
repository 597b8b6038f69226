"""Word pieces (Wu et al. 2016) as BERT cuts them: lower case, no accents, longest piece first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_LONGEST_WORD = 100  # characters; BERT takes a longer one for unknown
_WORDS = re.compile(r"[^\W_]+|[^\w\s]|_")  # words, and every other sign by itself


def plain(text: str) -> str:
    """A text in lower case and without accents."""
    text = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in text if unicodedata.category(c) != "Mn")


def words_of(text: str) -> list[str]:
    """The words of a text and its signs of punctuation, Chinese characters one by one."""
    text = re.sub(r"([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])", r" \1 ", plain(text))
    return _WORDS.findall(text)


def cut(word: str, index: Mapping[str, int], longest: int) -> list[int]:
    """Ids of a word's pieces, continuations marked with a leading ``##``; greedy from the left.

    Args:
        index: piece -> id.
        longest: length of the longest piece.
    Returns: [] for a word with a character that no piece has, or one of over 100 characters."""
    if len(word) > _LONGEST_WORD:
        return []
    ids, start = [], 0
    while start < len(word):
        for end in range(min(len(word), start + longest), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in index:
                ids.append(index[piece])
                start = end
                break
        else:
            return []
    return ids
