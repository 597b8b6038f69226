"""The one exception that users are meant to see, and text that a terminal may get."""

from __future__ import annotations

import warnings


class SemttaError(Exception):
    """What was wrong, where, and what to do about it, in one sentence.

    The command line prints the sentence and exits with code 2; any other exception is a bug
    and shows its traceback. Names and contents of strangers' files stand in it, so what would
    steer a terminal is shown as an escape.
    """

    def __str__(self) -> str:
        return printable(super().__str__().replace("\n", " "))


class SemttaWarning(UserWarning):
    """What a reader left out or took for granted, in one sentence; the result stands."""


def announce(text: str) -> None:
    """Say what a reader without a progress callback left out: a ``SemttaWarning``, once."""
    warnings.warn(SemttaWarning(printable(text)), stacklevel=3)


def printable(text: str, newlines: bool = False) -> str:
    """A text with every control, format and half character written out as an escape.

    Args:
        newlines: keep line breaks."""
    return "".join(
        c if c.isprintable() or (newlines and c == "\n") else _escape(c) for c in str(text)
    )


def shortened(text: object, most: int = 80) -> str:
    """The beginning of a text that may be endless."""
    text = str(text)
    return text if len(text) <= most else text[: most - 3] + "..."


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
