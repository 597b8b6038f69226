"""Labels from whatever a user has at hand: a file of any known form, a text, a list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from semtta.errors import SemttaError
from semtta.labels.babel import is_babel, read_babel
from semtta.labels.entries import MOST_ENTRIES, check_text
from semtta.labels.own import is_whole, per_frame, read_own, save_labels, unique_keys
from semtta.labels.spans import Labels, LabelSpan
from semtta.labels.tables import read_table
from semtta.reading import MEBI, check_file, read_json, read_json_lines, read_text, reading

__all__ = ["LabelSpan", "Labels", "as_labels", "load_labels", "save_labels"]

_WHAT = "label file"
_LARGEST = 8 * MEBI
# Endings of files, some of which are no label files: none of these is a text.
_ENDINGS = (
    ".json", ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".yaml", ".yml", ".xlsx", ".xls",
    ".srt", ".vtt", ".npz", ".npy", ".pkl", ".mp4", ".avi", ".mov",
)  # fmt: skip


def as_labels(labels: Labels | str | Path | Sequence[str | None] | None) -> Labels | None:
    """Labels from a file, one text, or one text or None per frame.

    A string is a file if there is one of that name, or if it looks like the name of one; what
    looks so and is none raises ``SemttaError``."""
    if labels is None or isinstance(labels, Labels):
        return labels
    if isinstance(labels, os.PathLike):
        return load_labels(labels)
    if isinstance(labels, str):
        if _names_file(labels) or _is_file(labels):
            return load_labels(labels)
        return Labels((LabelSpan(check_text(labels, "label")),), name="--label")
    if isinstance(labels, (bytes, dict, set)) or not isinstance(labels, Iterable):
        raise SemttaError("labels must be a label file, one text, or a list of one text per frame, "
                          f"not a {type(labels).__name__}.")  # fmt: skip
    labels = list(labels)
    for i, text in enumerate(labels):
        if isinstance(text, str) and _names_file(text):
            raise SemttaError(f"label of frame {i}: '{text}' looks like the name of a file, not "
                              "like what a person does.")  # fmt: skip
    return per_frame(labels, "label list", "label of frame")


def load_labels(path: str | Path) -> Labels:
    """Read and validate a label file: ``labels.json``, a bare list, a table or BABEL's JSON.

    Raises ``SemttaError`` that names the entry or line."""
    path = Path(path)
    if not os.path.lexists(path):
        raise SemttaError(f"{_WHAT} '{path}' cannot be read: there is no such file; "
                          f"{_how_to_say(str(path))}.")  # fmt: skip
    check_file(path, _WHAT, _LARGEST)
    if path.suffix.lower() in (".jsonl", ".ndjson", ".ndjson"):
        data = read_json_lines(path, _WHAT, _LARGEST, MOST_ENTRIES, unique_keys)
        with reading(path, _WHAT):
            return read_own(data[0] if len(data) == 1 and is_whole(data[0]) else data, path)
    if path.suffix.lower() != ".json":
        text = read_text(path, _WHAT, _LARGEST)
        if not text.lstrip().startswith(("{", "[")):
            with reading(path, _WHAT):
                return read_table(text, path)
    data = read_json(path, _WHAT, _LARGEST, unique_keys)
    with reading(path, _WHAT):
        return read_babel(data, path) if is_babel(data) else read_own(data, path)


def _names_file(text: str) -> bool:
    """Whether a text looks like the name of a file."""
    return any(mark in text for mark in "/\\") or text.strip().lower().endswith(_ENDINGS)


def _is_file(text: str) -> bool:
    try:
        return os.path.isfile(text)
    except ValueError:  # a zero in it
        return False


def _how_to_say(text: str) -> str:
    if text.lower().endswith(_ENDINGS):
        return "check its name"
    if _names_file(text):
        return "if it is a text, write it without the slash"
    return f'one text for the whole video goes with --label "{text}"'
