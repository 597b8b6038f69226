"""Which files of a folder are videos."""

from __future__ import annotations

from pathlib import Path

from semtta.errors import SemttaError
from semtta.reading import reason

VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")


def video_files(folder: str | Path) -> list[Path]:
    """The video files that lie in a folder itself, by name; hidden ones are left out.

    Raises ``SemttaError`` for a folder that cannot be read."""
    try:
        return sorted(
            path
            for path in Path(folder).iterdir()
            if path.suffix.lower() in VIDEO_ENDINGS
            and not path.name.startswith(".")
            and path.is_file()
        )
    except OSError as error:
        raise SemttaError(f"the folder '{folder}' cannot be read: {reason(error)}.") from None
