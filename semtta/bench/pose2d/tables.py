"""Named tables of domain-adaptive 2D pose (``configs/pose2d/tables``, or a user's file)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from omegaconf import OmegaConf

from semtta.errors import SemttaError
from semtta.pose2d.layouts import LAYOUTS
from semtta.pose2d.skeletons import grouped_skeleton
from semtta.settings_files import read_yaml

Published = Mapping[str, Mapping[str, tuple[float, ...]]]


@dataclass(frozen=True)
class Pair:
    """From which domain to which.

    Args:
        source, target: data sets.
        test: the one that is measured on; empty = the target. Another one is domain
            generalisation: the network has seen no image of it.
    """

    name: str
    source: str
    target: str
    test: str = ""

    @property
    def measured(self) -> str:
        return self.test or self.target


@dataclass(frozen=True)
class Method:
    """A row.

    Args:
        settings: shipped name or YAML path.
        overrides: ``key=value`` on top.
        stage1: goes on from an estimator that was trained on the source alone.
        reading: what about it is ours and not its paper's; empty = nothing.
        left_out: why nothing is computed; empty = it is.
    """

    name: str
    settings: str = ""
    overrides: tuple[str, ...] = ()
    stage1: bool = False
    reading: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class PoseTable:
    """A table before anything is computed.

    Args:
        overrides: ``key=value`` for all methods and for stage 1.
        stage1: settings of the estimators that some methods go on from.
        published: pair -> method -> numbers in the order of the columns, or "All" alone.
    """

    title: str
    pairs: tuple[Pair, ...]
    methods: tuple[Method, ...]
    skeleton: str = "body16"
    note: str = ""
    overrides: tuple[str, ...] = ()
    stage1: str = "pose2d_stage1"
    published: Published = field(default_factory=dict)
    name: str = ""

    def sets(self) -> list[str]:
        """Every data set that it needs."""
        named = (s for pair in self.pairs for s in (pair.source, pair.target, pair.measured))
        return list(dict.fromkeys(named))


def shipped_pose_tables() -> dict[str, Path]:
    """Names and paths of the shipped tables."""
    folder = Path(str(resources.files("semtta.configs"))) / "pose2d" / "tables"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_pose_table(name: str | Path) -> PoseTable:
    """A table from a shipped name or a YAML path.

    Raises ``SemttaError`` for whatever is wrong with the file; settings are read by ``plan``."""
    shipped = shipped_pose_tables()
    path = shipped.get(str(name), Path(name))
    if not os.path.isfile(path):
        raise SemttaError(f"no table '{name}': neither a YAML file nor one of "
                          f"{', '.join(shipped)}.")  # fmt: skip
    content = OmegaConf.to_container(read_yaml(path, "table"))
    where = f"table '{path}'"
    raw = _fields(content, PoseTable, where, ("title", "pairs", "methods"))
    raw["pairs"] = tuple(Pair(**_fields(p, Pair, where, ("name", "source", "target")))
                         for p in _list(raw["pairs"], where))  # fmt: skip
    raw["methods"] = tuple(_method(m, where) for m in _list(raw["methods"], where))
    raw["overrides"] = tuple(map(str, _list(raw.get("overrides", []), where)))
    table = PoseTable(**(raw | {"name": path.stem}))
    published = {p: {m: _numbers(v, where) for m, v in rows.items()}
                 for p, rows in table.published.items()}  # fmt: skip
    _check(table, published, where)
    return PoseTable(**(vars(table) | {"published": published}))


def _method(entry, where: str) -> Method:
    raw = _fields(entry, Method, where, ("name",))
    raw["overrides"] = tuple(map(str, _list(raw.get("overrides", []), where)))
    method = Method(**raw)
    if not method.settings and not method.left_out:
        raise SemttaError(f"{where}: method '{method.name}' names no settings.")
    return method


def _fields(entry, kind: type, where: str, needed: tuple[str, ...]) -> dict:
    """A mapping with the keys of a dataclass and no others."""
    if not isinstance(entry, dict):
        raise SemttaError(f"{where} must hold mappings of {', '.join(needed)}.")
    raw = {str(key): value for key, value in entry.items()}
    known = set(kind.__dataclass_fields__) - ({"name"} if kind is PoseTable else set())  # type: ignore[attr-defined]
    for key in raw:
        if key not in known:
            raise SemttaError(
                f"{where}: unknown key '{key}'; known are {', '.join(sorted(known))}."
            )
    for key in needed:
        if not raw.get(key):
            raise SemttaError(f"{where}: '{key}' is missing.")
    return raw


def _list(value, where: str) -> list:
    if not isinstance(value, list):
        raise SemttaError(f"{where}: '{value}' must be a list.")
    return value


def _numbers(value, where: str) -> tuple[float, ...]:
    try:
        return tuple(float(v) for v in (value if isinstance(value, list) else [value]))
    except (TypeError, ValueError):
        raise SemttaError(f"{where}: published '{value}' are no numbers.") from None


def _check(table: PoseTable, published: Published, where: str) -> None:
    """Raise ``SemttaError`` for names that nothing answers to."""
    columns = len(grouped_skeleton(table.skeleton).group_indices)
    names = [m.name for m in table.methods]
    for name in table.sets():
        if name not in LAYOUTS:
            raise SemttaError(f"{where}: no data set '{name}'; known are {', '.join(LAYOUTS)}.")
    for pair, rows in published.items():
        if pair not in [p.name for p in table.pairs]:
            raise SemttaError(f"{where}: published numbers of '{pair}', which is no pair of it.")
        for method, numbers in rows.items():
            if method not in names or len(numbers) not in (1, columns):
                raise SemttaError(f"{where}: published '{method}' must be one of its methods, with "
                                  f"1 or {columns} numbers.")  # fmt: skip
