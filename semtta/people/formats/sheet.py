"""What every reader of 2D poses makes of its file, and the skeletons that a count allows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from semtta.errors import SemttaError
from semtta.skeletons import (
    BLAZEPOSE33,
    BODY25,
    BODY25B,
    COCO17,
    COCO18,
    COCO23,
    H36M17,
    HALPE26,
    MPI15,
    MPII16,
    SKELETONS,
    Skeleton,
)


@dataclass(frozen=True)
class Row:
    """One person in one frame, as the file has it.

    Args:
        where: file and position, for messages.
        frame: number in the program's own counting, or the name of an image or file.
        points: (J, 3) x, y, confidence; not looked at yet.
        box: (4,) x0 y0 x1 y1 in the unit of the points, None if the file has none.
        person: identity, None where the file has none.
    """

    where: str
    frame: int | str
    points: np.ndarray
    box: np.ndarray | None = None
    person: int | str | None = None


@dataclass(frozen=True)
class Sheet:
    """All people of a file.

    Args:
        rows: in the file's order.
        skeletons: what the points may be, likeliest first; points beyond a skeleton's length
            (face, hands) are left out.
        first: number of the first frame where the program that wrote it counts; None if unknown.
        exact: frames begin there by this library's own rule.
        unit: ``pixels``, or ``picture``: shares of the picture's width and height.
        size: width and height of the picture that the points belong to, as the file says.
        length: number of frames, where they are told by their place alone.
        frames: every frame that the file names, also those without anybody; empty = those of the
            rows.
        notes: what the user should know of how the file was read.
    """

    rows: list[Row]
    skeletons: tuple[Skeleton, ...]
    first: int | None = 0
    exact: bool = False
    unit: str = "pixels"
    size: tuple[float, float] | None = None
    length: int | None = None
    frames: tuple[int | str, ...] = ()
    notes: tuple[str, ...] = ()


# Number of points -> what they may be, likeliest first. Whole bodies begin with the body.
_BY_COUNT: dict[int, tuple[Skeleton, ...]] = {
    15: (MPI15,),
    16: (MPII16,),
    17: (COCO17, H36M17),
    18: (COCO18,),
    23: (COCO23,),
    25: (BODY25, BODY25B),
    26: (HALPE26,),
    33: (BLAZEPOSE33,),
    68: (HALPE26,),  # Halpe without the face
    133: (COCO23,),
    135: (BODY25B,),
    136: (HALPE26,),
}
ALIASES = {"body_25": "body25", "body_25a": "body25", "body25a": "body25", "body_25b": "body25b",
           "coco": "coco17", "coco_17": "coco17", "halpe_26": "halpe26", "halpe": "halpe26",
           "blazepose": "blazepose33", "mediapipe": "blazepose33", "h36m": "h36m17",
           "mpii": "mpii16", "coco_133": "coco23", "wholebody": "coco23"}  # fmt: skip


def skeletons_of(count: int, where: str) -> tuple[Skeleton, ...]:
    """What a number of points may be; raises ``SemttaError`` for a number that nobody writes."""
    if count not in _BY_COUNT:
        known = ", ".join(map(str, _BY_COUNT))
        raise SemttaError(
            f"{where}: {count} points are no skeleton that is known ({known} points are); for "
            "another order write an .npz with its skeleton's name (docs/inputs.md)."
        )
    return _BY_COUNT[count]


def skeleton_named(name: str) -> Skeleton:
    """Skeleton by any of its usual names; raises ``SemttaError`` naming those that exist."""
    key = ALIASES.get(name.lower().replace("-", "_"), name.lower())
    if key not in SKELETONS:
        raise SemttaError(f"unknown skeleton '{name}'; known: {', '.join(sorted(SKELETONS))}.")
    return SKELETONS[key]


MOST_ROWS = 300_000  # of a file: nearly three hours of one person
MOST_NUMBERS = 40_000_000


def check_many(rows: int, where: str, numbers: int = 0) -> None:
    """Raise ``SemttaError`` for more than anybody's video has people in frames."""
    if rows > MOST_ROWS or numbers > MOST_NUMBERS:
        raise SemttaError(f"{where}: more than {MOST_ROWS} people in frames are not read; cut the "
                          "file into pieces.")  # fmt: skip


@dataclass
class Counted:
    """The one number of points that all rows of a file must have, and how many rows there are."""

    count: int | None = None
    allowed: tuple[Skeleton, ...] = field(default=())
    rows: int = 0

    def check(self, count: int, where: str) -> None:
        self.rows += 1
        check_many(self.rows, where, self.rows * 3 * count)
        if self.count is None:
            self.allowed = skeletons_of(count, where)
            self.count = count
        elif count != self.count:
            raise SemttaError(f"{where}: {count} points, but the rows before it have {self.count}.")


def triples(values, where: str) -> np.ndarray:
    """(J, 3) of a flat list or of a list of rows; raises ``SemttaError`` for anything else."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise SemttaError(f"{where}: keypoints are not numbers.") from None
    if array.ndim == 1 and array.size and array.size % 3 == 0:
        return array.reshape(-1, 3)
    if array.ndim == 2 and array.shape[1] == 3:
        return array
    shape = f"{array.size} numbers" if array.ndim == 1 else f"shape {array.shape}"
    raise SemttaError(f"{where}: keypoints of {shape}; expected x, y, confidence for each point.")


def with_scores(points, scores, where: str) -> np.ndarray:
    """(J, 3) of (J, 2) and (J,) confidences."""
    try:
        xy = np.asarray(points, np.float64)
        conf = np.asarray(scores, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise SemttaError(f"{where}: keypoints are not numbers.") from None
    if xy.ndim == 2 and xy.shape[1] == 3:
        raise SemttaError(f"{where}: keypoints in 3D; 2D poses are expected.")
    if xy.ndim != 2 or xy.shape[1] != 2 or conf.shape != xy.shape[:1]:
        raise SemttaError(f"{where}: points {xy.shape} and confidences {conf.shape} do not fit.")
    return np.concatenate([xy[:, :2], conf[:, None]], 1)


def corners(values, where: str, sized: bool) -> np.ndarray | None:
    """(4,) x0 y0 x1 y1 of a box, None for an absent one.

    Args:
        sized: it is x, y, width, height.
    Raises ``SemttaError`` if it is not four numbers; what they are worth is looked at later."""
    while isinstance(values, (list, tuple)) and len(values) == 1:  # some programs nest it
        values = values[0]
    if values is None or (isinstance(values, (list, tuple)) and not values):
        return None
    try:
        box = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise SemttaError(f"{where}: the box is not four numbers.") from None
    if len(box) == 5:  # with a score behind it
        box = box[:4]
    if box.shape != (4,):
        raise SemttaError(f"{where}: a box has 4 numbers, this one {len(box)}.")
    return np.concatenate([box[:2], box[:2] + box[2:]]) if sized else box


def identity(value, where: str) -> int | str | None:
    """Who a person is, however deeply nested; None and negative numbers say nothing."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str, type(None), list, tuple)):
        raise SemttaError(f"{where}: the person's number is {str(value)[:40]!r}.")
    if isinstance(value, (list, tuple)) or (isinstance(value, int) and value < 0):
        return None
    return value


def whole(value) -> bool:
    """Whether a JSON value is a whole number that can count frames."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9
