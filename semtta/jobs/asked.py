"""What was asked for, in a few short words: two runs with the same words have the same results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import semtta
from semtta.config import Config, config_to_yaml
from semtta.labels import Labels
from semtta.output.layout import OverlayOptions
from semtta.people import Poses2DOptions
from semtta.reading import reading
from semtta.shipped import file_sha256
from semtta.tta.used_files import used_files
from semtta.video import VideoSource, content_hash


def what_was_asked(
    video: VideoSource,
    labels: Labels | None,
    config: Config,
    *,
    tracks: str = "largest",
    poses2d: Path | None = None,
    poses2d_options: Poses2DOptions | None = None,
    estimator: Path | None = None,
    body_models: Path | None = None,
    labeller: str | None = None,
    overlay: bool = True,
    overlay_options: OverlayOptions | None = None,
    page: bool = True,
    renderer: str = "own",
) -> dict[str, str]:
    """Everything that a result folder depends on but the machine, for ``report.json``.

    Args: those of ``jobs.video.adapt_video``.
    Returns: by what users call it; contents as the first digits of their SHA-256. Raises
    ``SemttaError`` for a video that is missing or cannot be read."""
    said = "none" if labels is None else short_hash(repr((labels.spans, labels.unit, labels.fps)))
    drawn = asdict(overlay_options or OverlayOptions())
    found = {
        "version": semtta.__version__,
        "video": content_hash(video)[:32],
        "labels": labeller or said,
        "track": str(tracks),
        "settings": short_hash(config_to_yaml(config)),
        "own files": short_hash(repr(used_files(config, body_models))),
        "pictures": f"{drawn if overlay else 'none'}, {renderer}, {'page' if page else 'no page'}",
    }
    if dictionary := config.labels.dictionary:
        found["dictionary"] = _content(Path(dictionary))
    if poses2d is not None:
        found["2D poses"] = short_hash(_content(poses2d) + repr(poses2d_options))
    if estimator is not None:
        found["estimator"] = _content(estimator)
    return found


def differing(asked: Mapping[str, str], said: object) -> list[str]:
    """In what two answers of :func:`what_was_asked` differ; all of it if one says nothing."""
    before = said if isinstance(said, dict) else {}
    return [name for name in {**asked, **before} if asked.get(name) != before.get(name)]


def short_hash(text: str) -> str:
    """The first digits of a text's SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def _content(path: Path) -> str:
    """Of a file, or of all files in a folder; of what is missing, its name."""
    with reading(path, "file"):
        if path.is_file():
            return file_sha256(path)[:12]
        files = sorted(file for file in path.rglob("*") if file.is_file())
        told = [f"{file.relative_to(path)} {file_sha256(file)}" for file in files]
        return short_hash("\n".join(told) or str(path))
