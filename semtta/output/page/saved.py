"""The page of a result folder that has none yet, or an old one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.output.load import SavedResult, load_result
from semtta.output.page.write import write_page
from semtta.shipped import ROOT
from semtta.video import cut_video, video_hash

PAGE = "result.html"


def page_of_result(
    folder: Path,
    *,
    video: Path | None = None,
    body_models: Path | None = None,
    remake: bool = False,
    progress: Progress = silent,
) -> Path:
    """The page of a result folder; made from its files where it is absent.

    Args:
        video: that was adapted to, if it lies no longer where it is looked for: beside the
            result, in the folder around it, in the working folder.
        body_models: folder of body files that is searched first.
        remake: make it anew, and with ``video`` too.
        progress: also told what is guessed.

    Raises ``SemttaError`` if the folder is no result, its body is not found, or the page cannot be
    written."""
    page = folder / PAGE
    if page.is_file() and not remake and video is None:
        return page
    saved = load_result(folder)
    body = saved.load_body(body_models)
    chosen = find_video([saved], video, progress)
    part = None if chosen is None else cut_video(chosen, *saved.part)
    title = saved.video or folder.absolute().name
    return write_page(
        page, saved.tracks, body, title=title, fps=saved.tracks[0].fps, video=part,
        progress=progress,
    )  # fmt: skip


def find_video(
    results: Sequence[SavedResult], video: Path | None, progress: Progress
) -> Path | None:
    """The video of some results: the one that is named, or where it is looked for; None, and a
    note, if it is nowhere.

    Raises ``SemttaError`` if a named one does not exist."""
    if video is not None:
        return _chosen(results[0], video, progress)
    found = (path for saved in results if (path := _found(saved)) is not None)
    if (path := next(found, None)) is not None:
        return path
    name = results[0].video
    text = f"the video '{name}' was not found: the page shows none; --video FILE adds it."
    progress("note", 0, None, {"text": text})
    return None


def _chosen(saved: SavedResult, video: Path, progress: Progress) -> Path:
    if not video.exists():
        raise SemttaError(f"video '{video}' does not exist.")
    if saved.video_sha256 not in (None, video_hash(video)):
        text = f"'{video}' is not the very file that the result was made from; frames may not fit."
        progress("note", 0, None, {"text": text})
    return video


def _found(saved: SavedResult) -> Path | None:
    """The video by its name, if it is the very file."""
    name, said = Path(saved.video).name, saved.video_sha256
    if name and said:
        around = (saved.folder, saved.folder.absolute().parent, Path(), ROOT / "demo")
        for place in around:
            if (place / name).exists() and video_hash(place / name) == said:
                return place / name
    return None
