"""Errors against truth, of results whose folder has them: those of ``semtta demo``."""

from __future__ import annotations

from pathlib import Path

from semtta.errors import SemttaError
from semtta.reading import MEBI, read_json

_LARGEST = 1e9  # of any error

# Heading and key of what ``demo.json`` measures.
ROWS = (
    ("PA-MPJPE, mm", "pa_mpjpe_mm"), ("MPJPE, mm", "mpjpe_mm"),
    ("PA-MPJPE of hidden joints, mm", "pa_mpjpe_occluded_mm"),
    ("acceleration error, mm/frame²", "accel_mm"),
    ("the same in space, mm/frame²", "abs_accel_mm"),
    ("jitter in depth, mm/frame²", "depth_jitter_mm"),
    ("range of motion, % of the true one", "range_percent"),
    ("the same of the limb that has least", "range_least_percent"),
    ("foot slide in contact, mm/frame", "foot_slide_mm"),
)  # fmt: skip


def read_truth(folder: Path) -> dict | None:
    """``base`` and ``adapted`` errors by key, and the ``protocol``; None if there is no truth.

    Raises ``SemttaError`` for a damaged file."""
    path = folder / "demo.json"
    if not path.exists():
        return None
    read = read_json(path, "errors of the result", MEBI)
    read = read if isinstance(read, dict) else {}
    base, adapted = read.get("frozen"), read.get("adapted")
    if not (isinstance(base, dict) and isinstance(adapted, dict)):
        raise SemttaError(f"errors of the result '{path}' have no 'frozen' and 'adapted'.")
    numbers = {side: {key: _number(given.get(key), path, key) for _, key in ROWS}
               for side, given in (("base", base), ("adapted", adapted))}  # fmt: skip
    return numbers | {"protocol": str(read.get("protocol") or "")}


def _number(value: object, path: Path, key: str) -> float | None:
    if value is None:
        return None
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if number is None or not abs(number) <= _LARGEST:  # no NaN either
        raise SemttaError(f"errors of the result '{path}': '{key}' is no number.")
    return float(number)
