"""Focal lengths as people say them: pixels, millimetres with a sensor, or what a file's own
metadata say."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from semtta.errors import SemttaError, shortened

_FILM = math.hypot(36.0, 24.0)  # mm, diagonal of what "35 mm equivalent" is equivalent to
_NUMBER = r"([0-9]{1,7}(?:\.[0-9]{1,9})?)"
_PIXELS = re.compile(rf"{_NUMBER} ?(?:px)?")
_EQUIVALENT = re.compile(rf"{_NUMBER} ?mm")
_SENSOR = re.compile(rf"{_NUMBER} ?mm ?/ ?{_NUMBER} ?mm")
_LEAST, _MOST = 1.0, 1e7  # pixels


@dataclass(frozen=True)
class Focal:
    """A focal length.

    Args:
        length: pixels, or millimetres.
        unit: ``px``; ``equivalent``: mm as on 35 mm film, by the diagonal; ``sensor``: mm in front
            of a sensor; ``metadata``: what the file says, ``length`` means nothing.
        sensor: millimetres along the longer side of the picture, of ``sensor``.
    """

    length: float
    unit: str
    sensor: float = 0.0

    def pixels(self, width: int, height: int) -> float:
        """Of a picture of this size, which shows all that the sensor saw."""
        if self.unit == "equivalent":
            return self.length / _FILM * math.hypot(width, height)
        if self.unit == "sensor":
            return self.length / self.sensor * max(width, height)
        return self.length

    def __str__(self) -> str:
        if self.unit == "equivalent":
            return f"{self.length:g} mm (35 mm equivalent)"
        if self.unit == "sensor":
            return f"{self.length:g} mm on a sensor of {self.sensor:g} mm"
        return f"{self.length:g} px"


def parse_focal(value: str | float) -> Focal:
    """``1200``, ``1200px``, ``26mm``, ``4.2mm/5.6mm`` or ``exif``.

    Raises ``SemttaError`` for anything else, and for a length that no camera has."""
    text = str(value).strip().lower()
    if text == "exif":
        return Focal(math.nan, "metadata")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found: Focal | None = Focal(float(value), "px")
    elif match := _PIXELS.fullmatch(text):
        found = Focal(float(match[1]), "px")
    elif match := _EQUIVALENT.fullmatch(text):
        found = Focal(float(match[1]), "equivalent")
    elif match := _SENSOR.fullmatch(text):
        found = Focal(float(match[1]), "sensor", float(match[2]))
    else:
        found = None
    if found is None:
        raise SemttaError(
            f"camera.focal '{shortened(text)}' is none of 1200px, 26mm (35 mm equivalent), "
            "4.2mm/5.6mm (lens / width of the sensor) and exif."
        )
    least = _LEAST if found.unit == "px" else 0.1
    if not least <= found.length <= _MOST or (found.unit == "sensor" and found.sensor < 0.1):
        raise SemttaError(f"camera.focal '{shortened(text)}' must be at least {least:g} and at "
                          f"most {_MOST:g}.")  # fmt: skip
    return found
