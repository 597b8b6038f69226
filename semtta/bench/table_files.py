"""Named runs: which methods, on which models, shown how (``configs/tables``, or a user's file)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from omegaconf import OmegaConf

from semtta.bench.methods import METHODS, OURS, Method
from semtta.errors import SemttaError
from semtta.settings_files import read_yaml

GROUPS = ("level", "sequence", "label", "part")
COLUMNS = (
    "mpjpe_mm", "pa_mpjpe_mm", "mpjpe_occluded_mm", "pa_mpjpe_occluded_mm", "accel_mm",
    "accel_m_s2",  # of protocols that ask for it
    "abs_accel_mm", "foot_slide_mm",  # where the truth has a place in front of the camera
    "range_percent", "range_least_percent",  # beside jitter: who stands still has none of it
)  # fmt: skip
EXTRA_COLUMNS = (
    "mpvpe_mm", "depth_jitter_mm", "range_base_percent", "filled", "similarity",
    "gate_similarity", "reprojection_px",
    "heldout", "heldout_legs", "heldout_arm", "heldout_random", "heldout_visible",
    "labelled", "named", "named_true", "label_similarity", "leg_swing_percent", "step_error_hz",
    "ms_per_frame", "tracks",
)  # fmt: skip
_METHOD_KEYS = ("name", "like", "settings", "overrides", "label", "filter")


@dataclass(frozen=True)
class TableSpec:
    """A table before anything is computed.

    Args:
        title, note: printed with it.
        data: benchmarks it is meant for, the first is what the paper used.
        models: regressors.
        methods: rows, in this order.
        columns: keys of the result rows.
        group_by: level, sequence, label or part.
        references: methods that the others are compared with; the last one present is printed.
    """

    title: str = "Methods"
    note: str = ""
    data: tuple[str, ...] = ()
    models: tuple[str, ...] = ("lifter",)
    methods: tuple[Method, ...] = ()
    columns: tuple[str, ...] = (*COLUMNS, "filled", "ms_per_frame")
    group_by: str = "level"
    references: tuple[str, ...] = ("frozen", "cycleadapt")
    name: str = field(default="", compare=False)


def shipped_tables() -> dict[str, Path]:
    """Names and paths of the shipped tables."""
    folder = Path(str(resources.files("semtta.configs"))) / "tables"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_table(name: str | Path) -> TableSpec:
    """A table from a shipped name or a YAML path.

    ``methods`` is a list of known names, or of mappings with ``name`` and any of ``like`` (a known
    method to start from), ``settings``, ``overrides``, ``label``, ``filter``.

    Raises ``SemttaError`` for whatever is wrong with the file."""
    shipped = shipped_tables()
    path = shipped.get(str(name), Path(name))
    if not os.path.isfile(path):
        known = ", ".join(shipped)
        raise SemttaError(f"no table '{name}': neither a YAML file nor one of {known}.")
    content = OmegaConf.to_container(read_yaml(path, "table"))
    if not isinstance(content, dict) or not content.get("methods"):
        raise SemttaError(f"table '{path}' must be a mapping with a list of methods.")
    raw = {str(key): value for key, value in content.items()}
    keys = set(TableSpec.__dataclass_fields__) - {"name"}
    unknown = sorted(set(raw) - keys)
    if unknown:
        raise SemttaError(
            f"table '{path}': unknown key '{unknown[0]}'; known are {', '.join(sorted(keys))}."
        )
    for key in ("title", "note"):
        if key in raw:
            raw[key] = _line(raw[key], key, path)
    for key in ("data", "models", "columns", "references"):
        if key in raw:
            raw[key] = tuple(map(str, _list(raw[key], key, path)))
    if not raw.get("models", True):
        raise SemttaError(f"table '{path}': models must not be empty.")
    methods: dict[str, Method] = {}
    for entry in _list(raw["methods"], "methods", path):
        method = _method(entry, methods, path)
        methods[method.name] = method
    table = TableSpec(**(raw | {"methods": tuple(methods.values())}), name=path.stem)
    check_columns(table.columns)
    if table.group_by not in GROUPS:
        raise SemttaError(f"table '{path}': group_by must be one of {', '.join(GROUPS)}.")
    return table


def check_columns(columns: tuple[str, ...]) -> None:
    """Raise ``SemttaError`` for a column that no row has."""
    known = (*COLUMNS, *EXTRA_COLUMNS)
    for column in columns:
        if column not in known:
            raise SemttaError(f"no column '{column}'; known are {', '.join(known)}.")


def _list(value, key: str, path: Path) -> list:
    if not isinstance(value, list):
        raise SemttaError(f"table '{path}': {key} must be a list.")
    return value


def _line(value, key: str, path: Path) -> str:
    if not isinstance(value, str):
        raise SemttaError(f"table '{path}': {key} must be a text.")
    return " ".join(value.split())


def _method(entry, above: Mapping[str, Method], path: Path) -> Method:
    known = METHODS | dict(above)
    if isinstance(entry, str):
        if entry not in known:
            raise SemttaError(f"table '{path}': no method '{entry}'; known: {', '.join(METHODS)}.")
        return known[entry]
    if not isinstance(entry, dict) or not str(entry.get("name") or "").strip():
        raise SemttaError(f"table '{path}': a method is a name, or a mapping with a name.")
    name = _line(entry["name"], "the name of a method", path)
    wrong = sorted(set(entry) - set(_METHOD_KEYS))
    if wrong:
        raise SemttaError(f"table '{path}': method '{name}': unknown key '{wrong[0]}'.")
    like = entry.get("like")
    if like is not None and str(like) not in known:
        raise SemttaError(f"table '{path}': method '{name}' is like unknown '{like}'.")
    base = known[str(like)] if like is not None else Method(name)
    overrides = _list(entry.get("overrides", []), "overrides", path)
    settings = entry.get("settings", base.settings)
    files = list(settings.values()) if isinstance(settings, dict) else [settings]
    if not all(isinstance(file, str) for file in files):
        raise SemttaError(
            f"table '{path}': method '{name}': settings must be a shipped name or a path, or one "
            "of these per model."
        )
    if isinstance(settings, dict):
        settings = dict(OURS) | settings
    return Method(
        name, settings, (*base.overrides, *map(str, overrides)),
        str(entry.get("label", base.label)), str(entry.get("filter", base.filter)),
    )  # fmt: skip
