"""DeepLabCut: tables in .csv and .h5.

Columns are named (scorer, individual?, body part, x | y | likelihood). The body parts are the
user's own: they are understood by their names (``joint_names``).
"""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Sequence

import numpy as np

from semtta.errors import SemttaError
from semtta.people.formats.joint_names import named_skeleton
from semtta.people.formats.sheet import Row, Sheet, check_many
from semtta.people.formats.source import LIMIT, WHAT, Source
from semtta.reading import check_file, read_text, reading

TITLE = "DeepLabCut table"
_MOST_COLUMNS = 10_000
_LABELS = 1 << 20  # bytes of the pickled names of columns in an .h5

Column = tuple[str, ...]  # scorer, individual if there is one, body part, coordinate


def sniff(source: Source) -> bool:
    if source.kind == "h5":
        return True
    if source.kind != "csv":
        return False
    check_file(source.path, WHAT)
    with reading(source.path, WHAT), open(source.path, encoding="utf-8-sig") as file:
        return file.readline(1000).startswith("scorer,")


def read(source: Source) -> Sheet:
    path = source.path
    columns, index, values = _h5(path) if source.kind == "h5" else _csv(path)
    people = list(dict.fromkeys(column[1] if len(column) == 4 else "" for column in columns))
    rows, order, left_out = [], None, []
    scored = any(column[-1] == "likelihood" for column in columns)
    check_many(len(index) * len(people), f"'{path}'")
    for who in people:
        mine = [i for i, c in enumerate(columns) if len(c) == 3 or c[1] == who]
        parts = list(dict.fromkeys(columns[i][-2] for i in mine))
        if len(people) > 1 and named_skeleton(parts) is None:  # things, or DLC's own "single"
            left_out.append(who)
            continue
        if order is None:
            order = parts
        place = {(columns[i][-2], columns[i][-1]): i for i in mine}
        try:
            x, y = (values[:, [place[part, axis] for part in order]] for axis in "xy")
        except KeyError:
            raise SemttaError(f"'{path}': not every individual has the same parts.") from None
        if scored:
            conf = values[:, [place[part, "likelihood"] for part in order]]
        else:
            conf = np.isfinite(x).astype(float)
        points = np.stack([x, y, conf], -1)
        for t in np.flatnonzero(np.isfinite(x).any(1)):
            rows.append(Row(f"'{path}', row {t}", index[t], points[t], None, who or 0))
    bones = named_skeleton(order or [])
    if bones is None:
        raise SemttaError(
            f"'{path}': its body parts ({', '.join((order or [])[:6])}, ...) do not name left and "
            "right shoulders, elbows, hips and knees, so nobody can tell what they are; rename "
            "them, or write an .npz (docs/inputs.md)."
        )
    notes = (f"{', '.join(left_out)}: no body, left out.",) if left_out else ()
    return Sheet(rows, (bones,), first=0, frames=tuple(index), notes=notes)


def _csv(path) -> tuple[list[Column], list[int | str], np.ndarray]:
    lines = csv.reader(io.StringIO(read_text(path, WHAT, LIMIT)))
    table: list[list[str]] = []
    cells = 0
    for line in lines:
        cells += len(line)
        check_many(len(table), f"'{path}'", 5 * cells)
        table.append(line)
    heads = [row for row in table[:4] if row and row[0] in _HEADS]
    with reading(path, WHAT):
        if not heads or heads[-1][0] != "coords":
            raise ValueError("it has no rows 'scorer', 'bodyparts', 'coords'")
        # An index of several columns ("labeled-data", video, image) leaves their heads empty.
        skip = 1 + next(i for i, name in enumerate(heads[-1][1:]) if name)
        columns = [tuple(head[i] for head in heads) for i in range(skip, len(heads[0]))]
        body = [row for row in table[len(heads) :] if row]
        index = [_frame(row[:skip]) for row in body]
        values = np.array([[float(v or "nan") for v in row[skip:]] for row in body])
        if values.ndim != 2 or values.shape[1] != len(columns):
            raise ValueError("its rows do not have as many numbers as its head has names")
    return columns, index, values


_HEADS = ("scorer", "individuals", "bodyparts", "coords")


def _frame(cells: Sequence[str]) -> int | str:
    last = cells[-1].strip()
    return int(last) if last.isdecimal() and len(last) < 10 else last


class _Names(pickle.Unpickler):
    """Reads lists and tuples of texts; a file that names any class is refused."""

    def find_class(self, module: str, name: str):
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _h5(path) -> tuple[list[Column], list[int | str], np.ndarray]:
    """The table that pandas wrote: its columns' names are a pickle in an attribute."""
    try:
        import h5py
    except ImportError:
        raise SemttaError(
            f"'{path}': reading .h5 needs the package 'h5py' (pip install h5py); DeepLabCut also "
            "writes .csv."
        ) from None
    check_file(path, WHAT)
    with reading(path, WHAT), h5py.File(path, "r") as file:
        group = next(g for g in file.values() if isinstance(g, h5py.Group) and "table" in g)
        table = group["table"]
        data = bytes(group.attrs["non_index_axes"])
        if len(data) > _LABELS or table.nbytes > LIMIT:
            raise ValueError("it is too large")
        ((_, columns),) = _Names(io.BytesIO(data), encoding="latin1").load()
        blocks = [name for name in table.dtype.names if name.startswith("values_block")]
        if len(blocks) != 1 or len(columns) > _MOST_COLUMNS:
            raise ValueError("its columns are not all numbers")
        rows = table[:]
        index = [int(i) if isinstance(i, np.integer) else i.decode() for i in rows["index"]]
        values = np.asarray(rows[blocks[0]], np.float64)
        columns = [tuple(map(str, column)) for column in columns]
        if values.shape != (len(index), len(columns)) or {len(c) for c in columns} - {3, 4}:
            raise ValueError("its columns are not those of DeepLabCut")
    return columns, index, values
