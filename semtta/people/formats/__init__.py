"""Formats of 2D poses that other programs write: who recognises a file, and who reads it.

One small module a family, each with a ``TITLE``, a ``sniff`` that looks at the content, and a
``read`` that gives a :class:`Sheet`. Nothing here knows the video that the poses belong to.
"""

from __future__ import annotations

from types import ModuleType

from semtta.errors import SemttaError
from semtta.people.formats import (
    arrays,
    coco,
    deeplabcut,
    easy_vitpose,
    mediapipe,
    mmpose,
    openpose,
    phalp,
    pifpaf,
    ultralytics,
)
from semtta.people.formats.sheet import Row, Sheet, skeleton_named
from semtta.people.formats.source import WHAT, Source
from semtta.reading import reading

# In the order in which they are asked; names as ``--poses2d-format`` takes them.
FORMATS: dict[str, ModuleType] = {
    "openpose": openpose,
    "coco": coco,
    "mmpose": mmpose,
    "pifpaf": pifpaf,
    "ultralytics": ultralytics,
    "easy-vitpose": easy_vitpose,
    "mediapipe": mediapipe,
    "deeplabcut": deeplabcut,
    "phalp": phalp,
    "arrays": arrays,
}

__all__ = ["FORMATS", "Row", "Sheet", "Source", "read_sheet", "recognise", "skeleton_named"]


def recognise(source: Source) -> str:
    """Name of the first format whose file this seems to be; raises ``SemttaError`` if none."""
    with reading(source.path, WHAT):
        for name, family in FORMATS.items():
            if family.sniff(source):
                return name
    raise SemttaError(
        f"'{source.path}' is not recognised as 2D poses of any format that is known "
        f"({', '.join(FORMATS)}); see docs/inputs.md, or name it with --poses2d-format."
    )


def read_sheet(source: Source, name: str | None = None) -> tuple[str, Sheet]:
    """The format's name and the file's people.

    Args:
        name: of a format; None = the one that recognises the file.
    Raises ``SemttaError`` for an unknown format or a file that cannot be read as it."""
    if name is not None and name not in FORMATS:
        raise SemttaError(f"unknown format '{name}'; known: {', '.join(FORMATS)}.")
    name = name or recognise(source)
    with reading(source.path, WHAT):
        return name, FORMATS[name].read(source)
