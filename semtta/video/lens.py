"""The camera of a video: as it is told, as the file's own metadata have it, or guessed."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path

from semtta.errors import SemttaError
from semtta.focal import Focal, parse_focal
from semtta.geometry import Camera, image_camera
from semtta.reading import reading
from semtta.video.images import list_images
from semtta.video.info import ImageSequence, VideoCut, VideoSource
from semtta.video.opening import existing, opened

_EXIF_WITHIN = 1 << 20  # bytes at the beginning of an image in which its EXIF is looked for
_KEYS = ("focal_length.35mm_equivalent", "focallengthin35mmfilm")  # ends of keys of containers
_MOST_ENTRIES = 1000
_SUB_IFD, _FOCAL, _FILM, _WIDTH, _PER_UNIT, _UNIT = 0x8769, 0x920A, 0xA405, 0xA002, 0xA20E, 0xA210
_UNITS = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # millimetres in what resolutions are counted by
_FORMS = {3: "H", 4: "I"}


def video_camera(
    width: int,
    height: int,
    focal: float | str | None,
    center: Sequence[float] | None,
    video: VideoSource | None = None,
) -> Camera:
    """Intrinsics of a video's pictures.

    Args:
        width, height: of the pictures, pixels.
        focal: a setting ``camera.focal``; None = guessed.
        center: cx, cy in pixels; None = the picture's.
        video: whose metadata are read where ``focal`` is ``exif``.
    Raises ``SemttaError`` for a camera that cannot have taken such pictures, or metadata that do
    not tell."""
    if focal is None:
        return image_camera(width, height, None, center)
    told, origin = parse_focal(focal), "as given"
    if told.unit == "metadata":
        if video is None:
            raise SemttaError("camera.focal=exif needs the video whose metadata tell it.")
        told, where = focal_of_file(video)
        origin = f"{told} by {where}"
    elif told.unit != "px":
        origin = f"given as {told}"
    return image_camera(width, height, told.pixels(width, height), center, origin)


def focal_of_file(video: VideoSource) -> tuple[Focal, str]:
    """The focal length in the metadata of a video, or in the EXIF of the first image of a folder,
    and where it was found; raises ``SemttaError`` if there is none."""
    source = video.whole if isinstance(video, VideoCut) else video
    image = _first_image(source)
    if image is not None:
        with reading(image, "image"), open(image, "rb") as file:
            found = exif_focal(file.read(_EXIF_WITHIN))
        where = f"the EXIF of '{image.name}'"
    else:
        path = existing(Path(source))
        found, where = _container_focal(path), f"the metadata of '{path.name}'"
    if found is None:
        raise SemttaError(
            f"{where} tell no focal length; give it, as --focal 26mm (35 mm equivalent), "
            "4.2mm/5.6mm (lens / width of the sensor) or 1200px."
        )
    return found, where


def _first_image(source: str | Path | ImageSequence) -> Path | None:
    if isinstance(source, ImageSequence):
        name = next((name for name in source.names if name is not None), None)
        return None if name is None else source.folder / name
    return list_images(source)[0] if Path(source).is_dir() else None


def _container_focal(path: Path) -> Focal | None:
    """As phones write it, beside the pictures or for the whole file."""
    with reading(path, "video"), opened(path) as container:
        told = [stream.metadata for stream in container.streams.video] + [container.metadata]
    for metadata in told:
        for key, value in metadata.items():
            if key.lower().endswith(_KEYS):
                try:
                    length = float(value)
                except ValueError:
                    continue
                if 1 <= length <= 10_000:
                    return Focal(length, "equivalent")
    return None


# ---------------------------------------------------------------------- EXIF


def exif_focal(data: bytes) -> Focal | None:
    """The focal length in the EXIF of a JPEG, PNG or TIFF image; None if it tells none.

    Args:
        data: the beginning of the file."""
    try:
        tiff = _tiff_of(data)
        return None if tiff is None else _focal_in(tiff)
    except (struct.error, IndexError, ZeroDivisionError):  # cut off, or made up
        return None


def _tiff_of(data: bytes) -> bytes | None:
    if data[:4] in (b"II*\0", b"MM\0*"):
        return data
    if data.startswith(b"\xff\xd8"):
        at = 2
        while data[at] == 0xFF and data[at + 1] not in (0xDA, 0xD9):
            length = struct.unpack_from(">H", data, at + 2)[0]
            if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                return data[at + 10 : at + 2 + length]
            at += 2 + length
    if data.startswith(b"\x89PNG"):
        at = 8
        while at + 8 <= len(data):
            length = struct.unpack_from(">I", data, at)[0]
            if data[at + 4 : at + 8] == b"eXIf":
                return data[at + 8 : at + 8 + length]
            at += 12 + length
    return None


def _focal_in(tiff: bytes) -> Focal | None:
    order = "<" if tiff.startswith(b"II") else ">"
    first = _entries(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
    values = first | (_entries(tiff, order, int(first[_SUB_IFD])) if _SUB_IFD in first else {})
    film, length = values.get(_FILM, 0.0), values.get(_FOCAL, 0.0)
    if 1 <= film <= 10_000:
        return Focal(film, "equivalent")
    per_unit, width = values.get(_PER_UNIT, 0.0), values.get(_WIDTH, 0.0)
    if not (0.1 <= length <= 10_000 and per_unit > 0 and width > 0):
        return None
    sensor = width / per_unit * _UNITS.get(int(values.get(_UNIT, 2)), 25.4)
    return Focal(length, "sensor", sensor) if 0.5 <= sensor <= 500 else None


def _entries(tiff: bytes, order: str, start: int) -> dict[int, float]:
    """The entries of one directory that are a number."""
    found: dict[int, float] = {}
    count = struct.unpack_from(order + "H", tiff, start)[0]
    for i in range(min(count, _MOST_ENTRIES)):
        at = start + 2 + 12 * i
        tag, kind, number = struct.unpack_from(order + "HHI", tiff, at)
        if number != 1:
            continue
        if kind in _FORMS:
            found[tag] = float(struct.unpack_from(order + _FORMS[kind], tiff, at + 8)[0])
        elif kind == 5:
            place = struct.unpack_from(order + "I", tiff, at + 8)[0]
            over, under = struct.unpack_from(order + "II", tiff, place)
            found[tag] = over / under if under else math.nan
    return found
