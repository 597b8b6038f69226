"""What is asked for, and the same in a few short words: two runs with the same words have the same
results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import semtta
from semtta.config import Config, config_to_yaml
from semtta.errors import SemttaError
from semtta.labels import Labels
from semtta.output.layout import OverlayOptions
from semtta.people import Poses2DOptions
from semtta.reading import reading
from semtta.shipped import file_sha256
from semtta.tta.used_files import used_files
from semtta.video import VideoSource, content_hash


@dataclass(frozen=True)
class Asked:
    """What a result is asked to be, of whatever video; a command makes it once.

    Args:
        tracks: whom to adapt: ``largest``, ``all`` or a track's number.
        poses2d: the user's own 2D poses; of these, poses2d_options is what the file does not say.
        estimator: checkpoint of ``semtta.pose2d`` that finds the 2D evidence.
        body_models: folder of body files that is searched first.
        labeller: ``auto`` or ``vlm``: who labels the video first, instead of labels that are given.
        overlay, page: whether there are ``overlay.mp4`` and ``result.html``.
        overlay_options: size and layout of the overlay.
        renderer: ``own`` or ``pytorch3d``, of the overlay.

    Raises ``SemttaError`` if both say where the 2D evidence comes from, and if labels that are read
    off the whole video are wanted online."""

    config: Config
    tracks: str = "largest"
    poses2d: Path | None = None
    poses2d_options: Poses2DOptions = Poses2DOptions()
    estimator: Path | None = None
    body_models: Path | None = None
    labeller: str | None = None
    overlay: bool = True
    overlay_options: OverlayOptions = OverlayOptions()
    page: bool = True
    renderer: str = "own"

    def __post_init__(self) -> None:
        if self.poses2d is not None and self.estimator is not None:
            raise SemttaError("give either --poses2d or --estimator, not both.")
        if self.labeller is not None and self.config.mode == "online":
            raise SemttaError(f"--labels {self.labeller} looks at the whole video first; online "
                              "give labels that are known before: --label, or a file.")  # fmt: skip


def what_was_asked(video: VideoSource, labels: Labels | None, asked: Asked) -> dict[str, str]:
    """Everything that a result folder depends on but the machine, for ``report.json``.

    Returns: by what users call it; contents as the first digits of their SHA-256. Raises
    ``SemttaError`` for a video that is missing or cannot be read."""
    config = asked.config
    said = "none" if labels is None else short_hash(repr((labels.spans, labels.unit, labels.fps)))
    drawn = asdict(asked.overlay_options) if asked.overlay else "none"
    found = {
        "version": semtta.__version__,
        "video": content_hash(video)[:32],
        "labels": asked.labeller or said,
        "track": str(asked.tracks),
        "settings": short_hash(config_to_yaml(config)),
        "own files": short_hash(repr(used_files(config, asked.body_models))),
        "pictures": f"{drawn}, {asked.renderer}, {'page' if asked.page else 'no page'}",
    }
    if dictionary := config.labels.dictionary:
        found["dictionary"] = _content(Path(dictionary))
    if asked.poses2d is not None:
        found["2D poses"] = short_hash(_content(asked.poses2d) + repr(asked.poses2d_options))
    if asked.estimator is not None:
        found["estimator"] = _content(asked.estimator)
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
