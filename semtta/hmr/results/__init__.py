"""Results of other programs: who recognises a file, who reads it, and who writes it back.

One small module a format, each with a ``TITLE``, a ``sniff`` that looks at the content, a ``read``
that gives a :class:`Found`, a ``write`` that gives the same content with another motion, and
``STALE``, the keys that go on showing the motion of before. One whose file says nothing without
another has ``companions``, which are copied along. No file's name decides anything.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.hmr.results import (
    amass,
    cliff,
    glamr,
    gvhmr,
    own,
    phalp,
    prompthmr,
    romp,
    sam3d,
    tram,
    vibe,
    wham,
)
from semtta.hmr.results.checks import MOST_PEOPLE, doubts
from semtta.hmr.results.content import WHAT, Content, described, open_content
from semtta.hmr.results.parts import Found, Refined, ResultFile, ResultTrack, WorldMotion
from semtta.hmr.results.writing import write_content
from semtta.reading import reading
from semtta.shipped import file_sha256

# In the order in which they are asked.
FORMATS: dict[str, ModuleType] = {
    "gvhmr": gvhmr,
    "prompthmr": prompthmr,
    "glamr": glamr,
    "wham": wham,
    "vibe": vibe,
    "phalp": phalp,
    "tram": tram,
    "romp": romp,
    "cliff": cliff,
    "sam3d": sam3d,
    "own": own,
    "amass": amass,
}
_OWN = re.compile(r"track-(\d{1,9})\.npz")
_LEAST_COVERED = 0.98  # of a video, by a result with a row for each of its frames

__all__ = [
    "FORMATS", "Refined", "ResultFile", "ResultTrack", "WorldMotion", "as_same", "check_writable",
    "held_against", "read_result", "recognise",
]  # fmt: skip


def recognise(content: Content) -> str:
    """Name of the first format whose content this is; raises ``SemttaError`` with what it holds."""
    with reading(content.path, WHAT):
        for name, module in FORMATS.items():
            if module.sniff(content):
                return name
        held = described(content.data)
    titles = ", ".join(module.TITLE for module in FORMATS.values())
    raise SemttaError(f"'{content.path}' is no result of a program that is known: it holds {held}. "
                      f"Known are {titles}.")  # fmt: skip


def read_result(path: str | Path, video_frames: int | None = None) -> ResultFile:
    """Read another program's result.

    Args:
        path: the file, or a folder of ``track-XX.npz``; nothing in it is ever run.
        video_frames: number of frames of the video that it belongs to; None = not looked at.
    Raises ``SemttaError`` if it is of no known format, damaged, or of another video."""
    result = _folder(Path(path)) if Path(path).is_dir() else _file(path)
    return result if video_frames is None else held_against(result, video_frames)


def _file(path: str | Path) -> ResultFile:
    content = open_content(path)
    name = recognise(content)
    module = FORMATS[name]
    with reading(content.path, WHAT):
        found: Found = module.read(content)
        if not 0 < len(found.tracks) <= MOST_PEOPLE:
            raise SemttaError(f"'{path}' holds {len(found.tracks)} people.")
        remarks = (*found.remarks, *_of_bodies(found.tracks), *doubts(found.tracks))
    return ResultFile(
        path=content.path, tracks=found.tracks, sha256=file_sha256(content.path), remarks=remarks,
        format=name, title=module.TITLE, content=content, fps=found.fps, size=found.size,
        covers=found.covers,
    )  # fmt: skip


def _folder(path: Path) -> ResultFile:
    """All tracks of a folder that this library wrote."""
    with reading(path, WHAT):
        files = sorted(file for file in path.iterdir() if _OWN.fullmatch(file.name))
    if not files:
        raise SemttaError(f"{WHAT} '{path}' is a folder without track-XX.npz; name a file in it.")
    found = [_file(file) for file in files[:MOST_PEOPLE]]
    tracks = [track for result in found for track in result.tracks]
    if any(result.format != "own" for result in found) or (
        len({track.id for track in tracks}) < len(tracks)
    ):
        raise SemttaError(f"{WHAT} '{path}' has a track-XX.npz of another program, or two of one "
                          "person.")  # fmt: skip
    remarks = tuple(dict.fromkeys(remark for result in found for remark in result.remarks))
    return replace(found[0], path=path, tracks=tuple(tracks), remarks=remarks, content=None)


def _of_bodies(tracks: tuple[ResultTrack, ...]) -> tuple[str, ...]:
    if not any(track.smplx for track in tracks):
        return ()
    return ("its body is SMPL-X: the 21 joints are SMPL's, hands are put at rest, and its betas, "
            "which mean another shape to SMPL, are held out.",)  # fmt: skip


def held_against(result: ResultFile, video_frames: int) -> ResultFile:
    """The result, if it can be of a video of so many frames; else raises ``SemttaError``."""
    last = max(int(track.frames[-1]) for track in result.tracks)
    needed = max(last + 1, result.covers or 0)
    if needed > video_frames:
        raise SemttaError(
            f"result '{result.path}' has frames up to {needed - 1}, the video only {video_frames} "
            f"frames: it belongs to another video, or to the one that {_program(result)} made of "
            "it; give that one."
        )
    if result.covers is not None and result.covers < _LEAST_COVERED * video_frames:
        raise SemttaError(
            f"result '{result.path}' covers {result.covers} frames, the video has {video_frames}: "
            f"it belongs to another video, or to the one that {_program(result)} made of it (at "
            "another rate); give that one."
        )
    return result


def _program(result: ResultFile) -> str:
    return result.title.split("'")[0].split("(")[0].strip()


def as_same(result: ResultFile, refined: dict[int, Refined], path: str | Path) -> tuple[str, ...]:
    """Write a result again in the layout that it came in, with other motions; the other people and
    all other keys stay as they were, and the motion in the file's world moves along.

    Args:
        result: as it was read.
        refined: by the number of the track.
        path: of a new file: never the one that was read, nor any that is there.
    Returns: remarks about what goes on showing the motion of before.
    Raises ``SemttaError``; nothing is written then."""
    path, module = Path(path), FORMATS[result.format]
    if path.exists() or os.path.realpath(path) == os.path.realpath(result.path):
        raise SemttaError(f"'{path}' exists already; it was left as it is.")
    content = check_writable(result)
    remarks: list[str] = []
    for id, motion in refined.items():
        track = result.track(id)
        _check(track, motion, result)
        with reading(result.path, WHAT):
            data = module.write(content, track, motion)
        content = Content(content.path, content.kind, data, content.foreign, content.compression)
        if motion.trans is not None and track.trans is None and track.cam is None:
            remarks.append(f"track {id}: its translation before the camera has no place in "
                           f"{module.TITLE}.")  # fmt: skip
    stale = [key for key in module.STALE if _holds(content.data, key)]
    if stale:
        remarks.append(f"{', '.join(stale)} in the file still show the motion of before.")
    write_content(content, content.data, path)
    return (*remarks, *_copied_along(module, content, path))


def _copied_along(module: ModuleType, content: Content, path: Path) -> list[str]:
    """Copy the files without which one that was written says less; sentences on them."""
    said = []
    for other in module.companions(content) if hasattr(module, "companions") else ():
        target = path.parent / other.name
        if not target.exists():
            with whole_file(target, overwrite=False) as temporary:
                shutil.copyfile(other, temporary)
            said.append(f"{other.name}, without which {path.name} says less, is copied beside it.")
    return said


def check_writable(result: ResultFile) -> Content:
    """What a result that can be written again was read from; raises ``SemttaError`` if it cannot:
    a folder, a file that holds unknown objects, or one of another body."""
    module, content = FORMATS[result.format], result.content
    if content is None:
        raise SemttaError(f"result '{result.path}' is a folder; name the file that is to be "
                          "written again.")  # fmt: skip
    if content.foreign:
        raise SemttaError(
            f"result '{result.path}' holds objects that are not read "
            f"({', '.join(sorted(content.foreign)[:3])}) and would be lost if it was "
            "written again."
        )
    if not hasattr(module, "write"):
        raise SemttaError(f"{module.TITLE} is not written: its body is not SMPL's.")
    return content


def _check(track: ResultTrack, motion: Refined, result: ResultFile) -> None:
    count = len(track)
    shapes = {"rotmats": (count, 24, 3, 3), "betas": (count, 10), "trans": (count, 3),
              "rest_moved": (count, 3)}  # fmt: skip
    for name, shape in shapes.items():
        value = getattr(motion, name)
        if value is None:
            continue
        if not isinstance(value, Tensor) or tuple(value.shape) != shape:
            found = tuple(getattr(value, "shape", ()))
            raise SemttaError(f"track {track.id} of '{result.path}': {name} of shape {found}, "
                              f"expected {shape}.")  # fmt: skip
        if not torch.isfinite(value).all():
            raise SemttaError(f"track {track.id} of '{result.path}': {name} holds NaN.")
    weak = track.trans is None and track.cam is not None
    if weak and motion.trans is not None and motion.camera is None:
        raise SemttaError(f"track {track.id} of '{result.path}' has a weak perspective; the camera "
                          "that the translation is before must be named.")  # fmt: skip


def _holds(value, key: str, depth: int = 0) -> bool:
    """Whether a key is in the first of nested dictionaries."""
    if not isinstance(value, dict) or depth > 3:
        return False
    if key in value:
        return True
    inner = [item for item in value.values() if isinstance(item, dict)][:8]
    return any(_holds(item, key, depth + 1) for item in inner)
