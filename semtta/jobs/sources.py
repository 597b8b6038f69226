"""Which videos are meant: files, folders of them, folders of images, lists; and where each goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semtta.errors import SemttaError
from semtta.reading import MEBI, read_text
from semtta.video import VIDEO_ENDINGS, list_images, video_files

LIST_ENDING = ".txt"
_LARGEST_LIST = 16 * MEBI
_MOST = 100_000  # videos


def is_several(sources: Sequence[Path]) -> bool:
    """Whether these are to be taken as several videos, each with a folder of its own."""
    if len(sources) != 1:
        return True
    only = sources[0]
    if only.is_dir():
        return not _has_images(only) and bool(video_files(only))
    return only.suffix.lower() == LIST_ENDING


def find_sources(sources: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The videos of files, folders and lists, each once, and sentences on what is left out.

    A list holds a path a line, seen from the list's own folder; ``#`` begins a comment. A folder
    with images is one video. A file that does not exist is among them: who reads it says so.

    Raises ``SemttaError`` for a list that cannot be read, and if there is no video at all."""
    found: list[Path] = []
    notes: list[str] = []
    for source in sources:
        named = [source]
        if source.suffix.lower() == LIST_ENDING and not source.is_dir():
            named = _listed(source)
        for path in named:
            found += _of(path, notes)
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(path.resolve(), path)
    if len(once) < len(found):
        notes.append(f"{len(found) - len(once)} videos were named twice and are adapted once.")
    if not once:
        raise SemttaError("there is no video to adapt to.")
    if len(once) > _MOST:
        raise SemttaError(f"these are {len(once)} videos; more than {_MOST} are not taken at once.")
    return list(once.values()), notes


def left_out(video: Path) -> list[str]:
    """A sentence if there are video files among the images of a folder that is one video."""
    if not (video.is_dir() and _has_images(video)):
        return []
    count = len(video_files(video))
    return [f"the images in '{video}' are taken for the frames of one video; the {count} video "
            "files beside them are left out."] if count else []  # fmt: skip


def output_folders(videos: Sequence[Path], base: Path) -> list[Path]:
    """A folder for each video, named like it without its ending.

    Raises ``SemttaError`` for two videos of one name, of which one would take the other's place."""
    taken: dict[str, Path] = {}
    for video in videos:
        name = video.stem or video.resolve().stem
        other = taken.setdefault(name.casefold(), video)  # some disks take a and A for one
        if other != video:
            raise SemttaError(f"'{other}' and '{video}' would both be written to '{base / name}'; "
                              "adapt them in two calls with a different -o.")  # fmt: skip
    return [base / (video.stem or video.resolve().stem) for video in videos]


def _listed(path: Path) -> list[Path]:
    lines = read_text(path, "list of videos", _LARGEST_LIST).splitlines()
    named = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if any("\0" in name for name in named):
        raise SemttaError(f"list of videos '{path}' is no text; give it a path a line.")
    if not named:
        raise SemttaError(f"list of videos '{path}' names none; give it a path a line.")
    return [path.parent / name for name in named]


def _of(path: Path, notes: list[str]) -> list[Path]:
    """The videos of a file or folder."""
    if not path.is_dir():
        return [path]
    if _has_images(path):
        notes += left_out(path)
        return [path]
    inside = video_files(path)
    if not inside:
        endings = ", ".join(VIDEO_ENDINGS)
        raise SemttaError(f"the folder '{path}' holds no videos ({endings}) and no images.")
    return inside


def _has_images(folder: Path) -> bool:
    try:
        return bool(list_images(folder))
    except SemttaError:
        return False
