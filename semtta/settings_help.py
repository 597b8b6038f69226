"""What settings mean, from the comments beside them in their own schema, and which were changed.

The source of a dataclass is the one place where its settings are explained; it is read, not
repeated.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from typing import get_type_hints

import yaml

_WIDE = 100  # columns; a comment that goes beyond stands above its setting
_HEAD = (
    "# Every setting. 'default' is what holds where no file says anything; where it is not given, "
    "it is\n# the value that stands there.\n"
)


def explained_yaml(settings: object, defaults: object) -> str:
    """Every setting as YAML with its comment, and its default where it has another value.

    Args:
        settings: a dataclass of numbers, texts, lists and such dataclasses.
        defaults: another of the same class."""
    return _HEAD + "\n".join(_lines(settings, defaults, "")) + "\n"


def changed(settings: object, defaults: object, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """The settings that differ: key, value, and the value of ``defaults``, as YAML has them."""
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        key = f"{prefix}{field.name}"
        value, usual = (getattr(owner, field.name) for owner in (settings, defaults))
        if dataclasses.is_dataclass(value):
            yield from changed(value, usual, f"{key}.")
        elif value != usual:
            yield key, _inline(value), _inline(usual)


def comments_of(schema: type) -> dict[str, str]:
    """The comment of each setting of a dataclass: beside it, or in the lines right above."""
    lines = inspect.getsource(schema)
    beside, alone = _comments(lines)
    found = {}
    for number, line in enumerate(lines.splitlines(), 1):
        name, colon, _ = line.strip().partition(":")
        if not (colon and name in schema.__annotations__ and line.startswith("    ")):
            continue
        said = [beside[number]] if number in beside else []
        above = number - 1
        while above in alone:
            said.insert(0, alone[above])
            above -= 1
        found[name] = " ".join(said)
    return found


def _comments(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """Comments by their lines: those beside code, and those that have a line to themselves."""
    beside: dict[int, str] = {}
    alone: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            kind = alone if token.line.lstrip().startswith("#") else beside
            kind[token.start[0]] = token.string.lstrip("# ")
    return beside, alone


def _lines(settings: object, defaults: object, indent: str) -> Iterator[str]:
    said = comments_of(type(settings))
    hints = get_type_hints(type(settings))
    for name in hints:
        value, usual = getattr(settings, name), getattr(defaults, name)
        if dataclasses.is_dataclass(value):
            yield f"{indent}{name}:"
            yield from _lines(value, usual, indent + "  ")
            continue
        line = f"{indent}{name}: {_inline(value)}"
        notes = [f"default {_inline(usual)}"] if value != usual else []
        note = "; ".join(notes + ([said[name]] if said.get(name) else []))
        if not note:
            yield line
        elif len(line) + len(note) + 4 <= _WIDE:
            yield f"{line}  # {note}"
        else:
            yield from textwrap.wrap(note, _WIDE, initial_indent=f"{indent}# ",
                                     subsequent_indent=f"{indent}# ")  # fmt: skip
            yield line


def _inline(value: object) -> str:
    """A value as YAML on one line, read back as it is."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()
