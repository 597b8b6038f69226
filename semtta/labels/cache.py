"""Answers kept on disk by what was asked, so that the same question is never paid for twice."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.places import user_cache_folder
from semtta.reading import MEBI, read_json

_LARGEST = 32 * MEBI  # of a file; the largest answer, every character escaped


class AnswerCache:
    """One small JSON file per answer, named by the hash of the question.

    A file that is damaged counts as absent. Any number of processes may share a folder.

    Args:
        folder: made when the first answer comes, ``~`` is the user's home; None =
            ``answers`` in the user's cache folder (``semtta.places``).
    """

    def __init__(self, folder: str | Path | None = None):
        try:
            self.folder = Path(folder or user_cache_folder() / "answers").expanduser()
        except RuntimeError:
            raise SemttaError("the user's home folder is unknown; set labels.cache to a folder for "
                              "answers.") from None  # fmt: skip

    @staticmethod
    def key(question: dict) -> str:
        """Hash of everything that was asked: server, model, texts, images, schema."""
        text = json.dumps(question, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, key: str) -> str | None:
        """The answer's text, or None."""
        try:
            content = read_json(self._path(key), "answer", _LARGEST)
        except SemttaError:
            return None
        answer = content.get("answer") if isinstance(content, dict) else None
        return answer if isinstance(answer, str) else None

    def check(self) -> None:
        """Raise ``SemttaError`` if no answer could be kept; nothing is made yet."""
        place = self.folder.absolute()
        while not os.path.exists(place):
            place = place.parent
        if not place.is_dir():
            raise self._unwritable(errno.ENOTDIR)
        if not os.access(place, os.W_OK | os.X_OK):
            raise self._unwritable(errno.EACCES)

    def put(self, key: str, answer: str) -> None:
        """Keep an answer; the file is whole or absent. Raises ``SemttaError`` if it cannot be."""
        try:
            with whole_file(self._path(key)) as temporary:
                temporary.write_text(json.dumps({"answer": answer}) + "\n", encoding="utf-8")
        except SemttaError as error:
            raise SemttaError(f"an answer could not be kept: {error} Set labels.cache.") from None

    def _unwritable(self, code: int | None) -> SemttaError:
        reason = os.strerror(code) if code else "unknown reason"
        return SemttaError(f"the cache of answers '{self.folder}' cannot be written: {reason}; "
                           "set labels.cache.")  # fmt: skip

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
