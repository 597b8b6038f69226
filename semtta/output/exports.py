"""A result folder in the formats of other programs; ``docs/exports.md`` says what each holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from semtta.body import Body
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.files import check_folder, new_folder, whole_file
from semtta.output.amass import write_amass156, write_amass165
from semtta.output.bvh import write_bvh
from semtta.output.evenly import samples, whole_rate
from semtta.output.glb import left_out, write_glb
from semtta.output.joints import write_joints_csv, write_joints_json
from semtta.output.load import SavedResult, SavedTrack, load_result
from semtta.output.meshes import write_obj, write_ply
from semtta.output.trc import write_trc

Writer = Callable[[SavedTrack, Path, Body], None]
# Name -> what stands behind "track-01" in a file's or folder's name -> what writes it.
FORMATS: dict[str, dict[str, Writer]] = {
    "glb": {".glb": write_glb},
    "bvh": {".bvh": write_bvh},
    "trc": {".trc": write_trc},
    "joints": {"_joints.csv": write_joints_csv, "_joints.json": write_joints_json},
    "amass": {"_amass156.npz": write_amass156, "_amass165.npz": write_amass165},
    "obj": {"_obj": write_obj},
    "ply": {"_ply": write_ply},
}
_SEQUENCES = ("obj", "ply")  # one file a frame
_MOST_FILES = 300  # of a sequence that nobody has asked to be longer
_EVEN = ("bvh", "trc", "amass")  # at an even rate


def export(
    result: str | Path | SavedResult,
    formats: str | Iterable[str],
    output: str | Path | None = None,
    *,
    track: int | None = None,
    every: int | None = None,
    body_models: Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> list[Path]:
    """Write a result in other formats; each file is whole or absent.

    Args:
        result: a folder that ``semtta adapt`` wrote, or what ``load_result`` returned.
        formats: names, or one text with commas between them: see ``FORMATS``.
        output: folder; None = the result's own.
        track: one person only.
        every: take every n-th frame for mesh sequences; None = all, up to 300.
        body_models: folder of body files that is searched first.
        overwrite: replace what was exported before.
        progress: called as ``progress("export", done, total, {})`` and with notes.
    Returns: the files and folders written.
    Raises: ``SemttaError`` for anything wrong, before anything is written if it can be known."""
    names = parse_formats(formats)
    if every is not None and every < 1:
        raise SemttaError(f"every {every}th frame cannot be taken; --every is at least 1.")
    saved = result if isinstance(result, SavedResult) else load_result(result)
    tracks = saved.tracks if track is None else (saved.track(track),)
    folder = Path(output) if output is not None else saved.folder
    for person in tracks:
        _check_length(person, names, every)
    jobs = [
        (person, ending, writer, folder / f"track-{person.track.id:02d}{ending}")
        for person in tracks
        for name in names
        for ending, writer in FORMATS[name].items()
    ]
    for *_, target in jobs:
        _check_target(target, overwrite)
    body = saved.load_body(body_models)
    remarks = [text for person in tracks for text in _remarks(person, names)]
    if "glb" in names:
        remarks += left_out(body)
    if saved.body_sha256 is None:
        remarks.append(f"the result does not say which file of body '{saved.body}' it was made "
                       "with; the one found here is taken.")  # fmt: skip
    for text in remarks:
        progress("note", 0, None, {"text": text})
    for done, (person, ending, writer, target) in enumerate(jobs):
        progress("export", done, len(jobs), {"summary": target.name})
        if _is_folder(ending):
            with new_folder(target, overwrite, _is_sequence) as partial:
                writer(person.at(torch.arange(0, len(person.track), every or 1)), partial, body)
        else:
            with whole_file(target) as partial:
                writer(person, partial, body)
    progress("export", len(jobs), len(jobs), {})
    return [target for *_, target in jobs]


def parse_formats(formats: str | Iterable[str]) -> list[str]:
    """Known format names without repetition; raises ``SemttaError`` listing them."""
    given = formats.split(",") if isinstance(formats, str) else list(formats)
    names = list(dict.fromkeys(str(name).strip().lower() for name in given))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        wrong = f"there is no format '{unknown[0]}'" if unknown and unknown[0] else "name a format"
        raise SemttaError(f"{wrong}; --format takes one or more of {','.join(FORMATS)}.")
    return names


def _check_length(track: SavedTrack, names: list[str], every: int | None) -> None:
    for name in names:
        if name in _EVEN:
            samples(track, max(track.fps, whole_rate(track.fps)))
        if name in _SEQUENCES and every is None and len(track.track) > _MOST_FILES:
            raise SemttaError(
                f"{name} writes one file a frame, {len(track.track)} for track {track.track.id}; "
                "--every N takes every N-th frame, --every 1 all of them."
            )


def _check_target(target: Path, overwrite: bool) -> None:
    if _is_folder(target.name):
        check_folder(target, overwrite, _is_sequence)
    elif target.is_dir():
        raise SemttaError(f"output '{target}' is a folder, not a file.")
    elif target.exists() and not overwrite:
        raise SemttaError(f"output '{target}' exists already; add --overwrite to replace it.")


def _is_folder(ending: str) -> bool:
    return "." not in ending


def _is_sequence(folder: Path) -> bool:
    """Whether a folder holds nothing but what a mesh writer wrote."""
    return all(re.fullmatch(r"\d{6,}\.(obj|ply)", path.name) for path in folder.iterdir())


def _remarks(track: SavedTrack, names: list[str]) -> list[str]:
    """What formats of an even rate do to a track with gaps or uneven times."""
    frames, times = track.track.frames, track.track.times
    if len(frames) < 2 or not set(names) & set(_EVEN):
        return []
    number, texts = track.track.id, []
    missing = int(frames[-1] - frames[0]) + 1 - len(frames)
    if missing:
        texts.append(
            f"track {number} lacks {missing} frames between its first and its last: bridged by "
            "interpolation in BVH and AMASS files, blank in TRC files."
        )
    drift = (times - times[0]) * track.fps - (frames - frames[0]).to(times)
    if float(drift.abs().max()) > 0.5:
        texts.append(
            f"the frames of track {number} are not evenly timed at {track.fps:g} a second: BVH, "
            "TRC and AMASS files hold the motion between frames at the times of an even rate."
        )
    return texts
