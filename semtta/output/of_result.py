"""What a single ``Result`` can do with files: what ``semtta adapt``, ``export`` and ``view`` do.

``Result.save``, ``load``, ``export`` and ``render`` are these.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from semtta.body import Body, load_body
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.files import new_folder
from semtta.output.exports import export
from semtta.output.files import is_result
from semtta.output.layout import OverlayOptions
from semtta.output.load import SavedResult, SavedTrack, load_result
from semtta.output.overlay import write_overlay
from semtta.output.write import overlay_panels, write_results
from semtta.tta.result import Result
from semtta.video import VideoInfo, VideoSource, probe, video_hash
from semtta.video.info import DEFAULT_FPS

Video = VideoSource


def save(
    result: Result, folder: str | Path, *, video: Video | None, body: Body | None, overwrite: bool
) -> Path:
    """See ``Result.save``."""
    body = _at_hand(result, body)
    info = _info(result, video)
    with new_folder(folder, overwrite, is_result) as partial:
        write_results(partial, [result], body, info, _settings(result, body),
                      overlay=video is not None, page=video is not None)  # fmt: skip
    return Path(folder)


def load(folder: str | Path, track: int | None) -> SavedTrack:
    """See ``Result.load``."""
    saved = load_result(folder)
    if track is not None:
        return saved.track(track)
    if len(saved.tracks) > 1:
        ids = ", ".join(str(one.track.id) for one in saved.tracks)
        raise SemttaError(f"result '{folder}' holds tracks {ids}; say which one.")
    return saved.tracks[0]


def export_result(
    result: Result, formats: str | Iterable[str], output: str | Path, *, body: Body | None,
    every: int | None, overwrite: bool,
) -> list[Path]:  # fmt: skip
    """See ``Result.export``."""
    body = _at_hand(result, body)
    saved = _Held(
        Path(output),
        _name(result),
        body.name,
        body.gender,
        body.sha256,
        (_with_rate(result),),
        (None, None),
        body,
    )
    return export(saved, formats, output, every=every, overwrite=overwrite)


def render(
    result: Result, path: str | Path, video: Video, *, body: Body | None, scale: float | None,
    layout: str, progress: Progress = silent,
) -> Path:  # fmt: skip
    """See ``Result.render``."""
    body, info = _at_hand(result, body), _info(result, video)
    options = OverlayOptions(scale, layout)
    panels = overlay_panels([result], body)
    return write_overlay(path, info.source, panels, options=options, progress=progress)


def body_of(result: Result) -> Body:
    """The body that a result was made with: its betas mean nothing on another one.

    Raises ``SemttaError`` if the result does not say, or it is not found here."""
    settings = result.provenance.get("config") or {}
    said, made = settings.get("body"), result.provenance.get("body")
    if not isinstance(said, dict) or not isinstance(made, dict):
        raise SemttaError("this result does not say which body it was made with; give it one "
                          "(body=adapter.body).")  # fmt: skip
    body = load_body(said["name"], gender=said["gender"])
    if body.sha256 != made.get("sha256"):
        raise SemttaError(f"this result was made with another body than '{said['name']}' here; "
                          "give it that one (body=adapter.body).")  # fmt: skip
    return body


def _at_hand(result: Result, body: Body | None) -> Body:
    """The given body, else the result's; on the CPU, where results are. An adapter's own body stays
    where it is."""
    return body_of(result) if body is None else copy.deepcopy(body).cpu()


@dataclass(frozen=True)
class _Held(SavedResult):
    """A result that lies in no folder, with its body in hand."""

    held: Body

    def load_body(self, search: Path | None = None) -> Body:
        return self.held


def _with_rate(result: Result) -> SavedTrack:
    parts = {part.name: getattr(result, part.name) for part in fields(Result)}
    return SavedTrack(**parts, fps=_rate(result))


def _rate(result: Result) -> float:
    """Frames a second: the video's where the result was read from a folder, else by its times."""
    if isinstance(result, SavedTrack):
        return result.fps
    frames, times = result.track.frames, result.track.times
    if len(frames) < 2:
        return DEFAULT_FPS
    return float((frames[-1] - frames[0]) / (times[-1] - times[0]))


def _name(result: Result) -> str:
    said = result.provenance.get("video")
    return str(said.get("name", "")) if isinstance(said, dict) else ""


def _info(result: Result, video: Video | None) -> VideoInfo:
    """The video, if it is the one that the result was made from; else what is known of it."""
    if video is None:
        return VideoInfo(Path(_name(result) or "unknown"), 1, 1, _rate(result), None)
    info, said = probe(video), result.provenance.get("video")
    made = said.get("sha256") if isinstance(said, dict) else None
    if made is not None and video_hash(info.source) != made:
        raise SemttaError(f"'{info.path}' is not the video that this result was made from.")
    return info


def _settings(result: Result, body: Body) -> str:
    """The settings of the run as YAML; of a result that does not say them, its body."""
    known = result.provenance.get("config")
    settings = known if isinstance(known, dict) else {
        "body": {"name": body.name, "gender": body.gender}
    }  # fmt: skip
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
