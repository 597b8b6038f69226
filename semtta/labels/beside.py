"""Label files of many videos, found by the videos' names."""

from __future__ import annotations

from pathlib import Path

from semtta.labels.labels import Labels, load_labels


def labels_beside(video: Path, given: str | Path | None = None) -> Labels | None:
    """The labels of one of many videos.

    Args:
        given: one file for all videos, or a folder that holds ``NAME.labels.json`` or
            ``NAME.labels.csv`` of each; None = these lie beside the video.
    Returns: None if the video has none. Raises ``SemttaError`` as ``load_labels`` does."""
    folder = video.parent if given is None else Path(given)
    if given is not None and not folder.is_dir():
        return load_labels(folder)
    for name in (f"{video.stem}.labels.json", f"{video.stem}.labels.csv"):
        if (folder / name).is_file():
            return load_labels(folder / name)
    return None
