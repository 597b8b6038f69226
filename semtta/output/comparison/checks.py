"""Which results can be compared: of one video, with one body."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from semtta.body import Body
from semtta.errors import SemttaError, printable
from semtta.output.load import SavedResult, load_result
from semtta.reading import reading

MOST = 8  # colours that the page can tell apart


def read_results(folders: Sequence[str | Path]) -> tuple[list[SavedResult], list[str]]:
    """The results and their names: as much of the end of each path as tells them apart.

    Raises ``SemttaError`` for fewer than two, too many, one named twice, or one that cannot be
    read."""
    if not 2 <= len(folders) <= MOST:
        said = "nothing" if not folders else f"{len(folders)} result{'s' * (len(folders) > 1)}"
        raise SemttaError(f"two to {MOST} results can be compared; {said} was given.")
    places: dict[str, str | Path] = {}
    for folder in folders:
        with reading(folder, "result"):
            place = os.path.realpath(folder)
        if place in places:
            also = "" if str(folder) == str(places[place]) else f" (also as '{places[place]}')"
            raise SemttaError(f"result '{folder}' is named twice{also}.")
        places[place] = folder
    return [load_result(folder) for folder in folders], _names(list(places))


def _names(places: Sequence[str]) -> list[str]:
    parts = [[part for part in Path(place).parts if part != os.sep] for place in places]
    for count in range(1, max(map(len, parts)) + 1):
        names = [printable("/".join(part[-count:])) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def videos_agree(results: Sequence[SavedResult], names: Sequence[str]) -> list[str]:
    """Raise ``SemttaError`` if two results are not of one video; returns what is not certain."""
    remarks = []
    first = results[0]
    for result, name in zip(results[1:], names[1:]):
        a, b = first.video_sha256, result.video_sha256
        same_name = result.video == first.video
        if a and b and a != b:
            raise SemttaError(
                f"result '{result.folder}' is of another video ('{result.video}', SHA-256 "
                f"{b[:12]}…) than '{first.folder}' ('{first.video}', {a[:12]}…); only results of "
                "one video can be compared."
            )
        if not (a and b):
            if first.video and result.video and not same_name:
                raise SemttaError(
                    f"result '{result.folder}' is of '{result.video}', '{first.folder}' of "
                    f"'{first.video}', and nothing says that these are one video."
                )
            remarks.append(f"'{names[0]}' and '{name}' do not both say which video file they are "
                           "of: that it is the same one is taken for granted.")  # fmt: skip
        elif not same_name:
            remarks.append(f"'{name}' calls the video '{result.video}', '{names[0]}' calls it "
                           f"'{first.video}'; it is the very same file.")  # fmt: skip
        fps = first.tracks[0].fps, result.tracks[0].fps
        if abs(fps[0] - fps[1]) > 1e-6 * fps[0]:
            remarks.append(f"'{name}' takes the video for {fps[1]:g} frames a second, '{names[0]}' "
                           f"for {fps[0]:g}; frames are compared by number.")  # fmt: skip
    return remarks


def bodies_agree(
    results: Sequence[SavedResult], names: Sequence[str], search: Path | None
) -> tuple[Body, list[str]]:
    """The one body of all results, and what is not certain about it.

    Raises ``SemttaError`` if two bodies differ, or the first one's file is not found."""
    remarks = []
    first = results[0]
    for result, name in zip(results[1:], names[1:]):
        a, b = first.body_sha256, result.body_sha256
        said = f"'{result.body}' ({result.gender})", f"'{first.body}' ({first.gender})"
        if a and b and a != b or not (a and b) and said[0] != said[1]:
            raise SemttaError(
                f"result '{result.folder}' was made with body {said[0]}, '{first.folder}' with "
                f"another one, {said[1]}; their joints are not the same points and cannot be "
                "compared."
            )
        if not (a and b):
            remarks.append(
                f"'{names[0]}' and '{name}' do not both say which file of body {said[0]} they were "
                "made with; the same one is taken for granted."
            )
        elif said[0] != said[1]:
            remarks.append(f"'{name}' calls the body {said[0]}, '{names[0]}' calls it {said[1]}; "
                           "it is the very same file.")  # fmt: skip
    return first.load_body(search), remarks
