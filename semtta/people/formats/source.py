"""A file or folder of 2D poses before anybody knows what it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from semtta.errors import SemttaError
from semtta.reading import MEBI, check_file, read_json, read_text, reason

WHAT = "2D poses"
LIMIT = 64 * MEBI  # of a text file; an hour of one person, whole body
_FILES_LIMIT = 1_000_000  # of a folder
_KINDS = {".json": "json", ".jsonl": "json", ".npz": "npz", ".npy": "npy", ".csv": "csv",
          ".h5": "h5", ".hdf5": "h5", ".pt": "torch", ".pth": "torch", ".pkl": "pickle",
          ".pickle": "pickle", ".joblib": "pickle", ".txt": "text"}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What was given.

    Args:
        path: file or folder.
        kind: ``folder``, or what the name's ending promises: json, npz, npy, csv, h5, torch,
            pickle, text.
        files: those of a folder that may hold poses, in the order of their names.
    """

    path: Path
    kind: str
    files: tuple[Path, ...] = ()

    @classmethod
    def open(cls, path: str | Path) -> Source:
        """Raises ``SemttaError`` if there is nothing, or nothing of a known kind."""
        path = Path(path)
        if path.is_dir():
            return cls(path, "folder", _files(path))
        check_file(path, WHAT)
        kind = _KINDS.get(path.suffix.lower())
        if kind is None:
            raise SemttaError(
                f"'{path}' is no known kind of 2D poses; known endings: {', '.join(_KINDS)}, or a "
                "folder of .json or .txt files (docs/inputs.md)."
            )
        return cls(path, kind)

    @cached_property
    def content(self):
        """What a JSON file holds; of JSON lines, the list of the lines' contents."""
        return json_of(self.path)

    @cached_property
    def sample(self):
        """What the first file of a folder that is not empty holds; None if none does."""
        for file in self.files[:1000]:
            if file.suffix.lower() == ".json":
                content = json_of(file)
                if content and not (isinstance(content, dict) and content.get("people") == []):
                    return content
        return json_of(self.files[0]) if self.files and _is_json(self.files[0]) else None

    def contents(self) -> Iterator[tuple[str, str, Any]]:
        """Of each file of a folder: name without its ending, place for messages, content."""
        for file in self.files:
            yield file.stem, f"'{file}'", json_of(file)


def json_of(path: Path):
    """The content of a JSON file, or of one JSON value a line."""
    try:
        return read_json(path, WHAT, LIMIT)
    except SemttaError as error:
        lines = read_text(path, WHAT, LIMIT).splitlines()
        if len(lines) < 2 or not lines[0].strip().endswith(("}", "]")):
            raise error from None
        try:
            return [json.loads(line) for line in lines if line.strip()]
        except (ValueError, RecursionError) as problem:
            raise SemttaError(f"{WHAT} '{path}' is not valid JSON: {reason(problem)}.") from None


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _files(folder: Path) -> tuple[Path, ...]:
    """JSON or text files; what macOS and editors hide between them is none."""
    found: list[Path] = []
    try:
        for path in folder.iterdir():
            if path.suffix.lower() in (".json", ".txt") and not path.name.startswith("."):
                found.append(path)
            if len(found) > _FILES_LIMIT:
                raise SemttaError(f"the folder '{folder}' holds more than {_FILES_LIMIT} files.")
    except OSError as error:
        raise SemttaError(f"the folder '{folder}' cannot be read: {reason(error)}.") from None
    kinds = {path.suffix.lower() for path in found}
    if not found:
        raise SemttaError(f"the folder '{folder}' contains no .json file.")
    if len(kinds) > 1:  # notes beside the poses
        found = [path for path in found if _is_json(path)]
    return tuple(sorted(found))
