"""Which frame of the video a row of 2D poses belongs to: by the name of its image, or by number.

Programs name their results after images (``000012_cam2_keypoints``, ``frame_0012_rot90.jpg``) and
count from 0 or from 1. The frame's number is the run of digits that differs from file to file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from semtta.errors import SemttaError

_OPENPOSE = re.compile(r"(\d{12})_keypoints$")
_ENDINGS = re.compile(r"\.(jpe?g|png|bmp|webp|tiff?|json|txt|mp4|avi|mov)$", re.I)
# What programs append to an image's name.
_APPENDED = re.compile(
    r"(_(jpe?g|png)\.rf\.[0-9a-f]{32}|_keypoints|_pose|_rendered|\.predictions|_predictions)$", re.I
)
_LONGEST = 9  # digits of a frame's number
_LONGEST_RUN = 100  # digits in a name; time stamps have 20


@dataclass(frozen=True)
class Numbering:
    """Numbers of rows and how they may be counted.

    Args:
        numbers: one for each row.
        named: they were matched with the video's images by name: they are frames.
        known: all numbers that the file has, also of frames without anybody.
        first: number of the video's first image, where images have numbers.
        from_names: they stand in names of files or images.
    """

    numbers: list[int]
    named: bool = False
    known: tuple[int, ...] = ()
    first: int | None = None
    from_names: bool = False


def stem(name: str) -> str:
    """An image's or result's name without folder, ending and what programs append."""
    bare = _ENDINGS.sub("", PurePath(name.replace("\\", "/")).name)
    return _APPENDED.sub("", _ENDINGS.sub("", _APPENDED.sub("", bare)))


def numbering(
    frames: Sequence[int | str],
    every: Sequence[int | str],
    where: str,
    images: Sequence[str | None] | None = None,
) -> Numbering:
    """Numbers of rows that have a number or the name of an image.

    Args:
        frames: of the rows.
        every: of all frames that the file names; may be empty.
        where: the file, for messages.
        images: names of the video's images, where it is a folder of images.
    Raises ``SemttaError`` for names without a number, or two names with the same."""
    every = list(dict.fromkeys((*every, *frames)))
    if all(isinstance(frame, int) for frame in every):
        return Numbering([int(frame) for frame in frames], known=tuple(map(int, every)))
    names = [str(frame) for frame in frames]
    first = None
    if images is not None:
        places = {stem(image): i for i, image in enumerate(images) if image is not None}
        found = [place for name in names if (place := places.get(stem(name))) is not None]
        if len(found) == len(names):
            return Numbering(found, named=True)
        first = _number_of(images)
    numbers = _varying([str(frame) for frame in every], where)
    return Numbering(
        [numbers[name] for name in names], known=tuple(numbers.values()), first=first,
        from_names=True,
    )  # fmt: skip


def _number_of(images: Sequence[str | None]) -> int | None:
    """Number of the first image, if they are numbered without gaps."""
    named = [stem(image) for image in images if image is not None]
    try:
        numbers = list(_varying(named, "").values())
    except SemttaError:
        return None
    whole = len(named) == len(images) and numbers == list(range(numbers[0], numbers[-1] + 1))
    return numbers[0] if whole else None


def _varying(names: list[str], where: str) -> dict[str, int]:
    """Name -> the number in it that tells the names apart."""
    standard = [m for name in names if (m := _OPENPOSE.search(PurePath(name).name))]
    if len(standard) == len(names):
        return _distinct({n: int(m.group(1)) for n, m in zip(names, standard)}, where)
    bare = [stem(name) for name in names]
    runs = [re.findall(r"\d+", name) for name in bare]
    for name, found in zip(names, runs):
        if any(len(digits) > _LONGEST_RUN for digits in found):
            raise SemttaError(f"{where}: the number {max(found, key=len)[:20]}... is no frame.")
        if not found:
            raise SemttaError(f"{where}: no frame number in the name '{name}'.")
    texts = {re.sub(r"\d+", "#", name) for name in bare}
    if len(names) == 1 or len(texts) > 1:  # names of different make: the last number
        return _distinct({n: _number(r[-1], where) for n, r in zip(names, runs)}, where)
    columns = list(zip(*runs))
    telling = [c for c in columns if len(set(map(int, c))) == len(names)]
    if len(telling) > 1:  # numbers without gaps rather than others that happen to differ
        dense = [c for c in telling if max(map(int, c)) - min(map(int, c)) == len(names) - 1]
        telling = dense[:1] if dense and len({tuple(map(int, c)) for c in dense}) == 1 else telling
    if len(telling) != 1:
        raise SemttaError(
            f"{where}: which number in names like '{names[0]}' and '{names[-1]}' counts the "
            "frames cannot be told; rename the files so that one number differs."
        )
    return {name: _number(digits, where) for name, digits in zip(names, telling[0])}


def _number(digits: str, where: str) -> int:
    if len(digits.lstrip("0")) > _LONGEST:
        raise SemttaError(f"{where}: the number {digits[:20]} is no frame.")
    return int(digits)


def _distinct(numbers: dict[str, int], where: str) -> dict[str, int]:
    """The same; raises ``SemttaError`` if two names stand for one frame."""
    names: dict[int, str] = {}
    for name, number in numbers.items():
        if number in names:
            raise SemttaError(
                f"{where}: '{names[number]}' and '{name}' both stand for frame {number}; keep the "
                "files of one video only."
            )
        names[number] = name
    return numbers


def first_frame(found: Numbering, count: int | None, usual: int | None) -> tuple[int, bool]:
    """The number that the video's first frame has, and whether that is certain.

    Args:
        found: numbers of rows and of the file's other frames.
        count: frames of the video, None if unknown.
        usual: where the program that wrote them begins to count; None if unknown.
    """
    known = found.known or found.numbers
    low, high = min(known), max(known)
    if found.first is not None:  # results of numbered images
        same = low == found.first and count is not None and high == found.first + count - 1
        return (0, True) if low < found.first else (found.first, same)
    if low <= 0:
        return 0, True
    if count is not None and high == count:
        return 1, True  # as far as the last frame, if counted from 1
    if low == 1 and (usual != 0 or found.from_names):
        return 1, usual == 1 and not found.from_names
    return usual or 0, usual == low and not found.from_names
