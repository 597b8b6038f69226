"""What differs between the settings of several results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from omegaconf import OmegaConf

from semtta.output.load import SavedResult
from semtta.settings_files import read_yaml

_ABSENT = object()


def settings_of(result: SavedResult) -> dict[str, object]:
    """Every setting by its full name, and under ``made with`` what else can make a difference."""
    loaded = read_yaml(result.folder / "config.yaml", "settings of the result")
    flat = dict(_flat(OmegaConf.to_container(loaded)))
    made = result.tracks[0].provenance
    for key, path in (("semtta", ("semtta",)), ("weights", ("model", "sha256"))):
        value: object = made
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, str):  # a report may be lost
            flat[f"made with: {key}"] = value[:12]
    return flat


def differing_settings(settings: Sequence[Mapping[str, object]]) -> dict[str, list]:
    """Key -> one value per result, of the keys whose values are not all equal; a result that
    lacks a key has "–"."""
    keys = dict.fromkeys(key for values in settings for key in values)
    found = {}
    for key in keys:
        values = [each.get(key, _ABSENT) for each in settings]
        if key.startswith("made with") and _ABSENT in values:
            continue
        if any(_unlike(value, values[0]) for value in values):
            found[key] = ["–" if value is _ABSENT else value for value in values]
    return found


def _unlike(a: object, b: object) -> bool:
    """YAML's ``yes`` is not its ``1``, though Python finds them equal; 1 and 1.0 are one number."""
    return a != b or isinstance(a, bool) != isinstance(b, bool)


def _flat(node: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(node, dict):
        yield prefix, node
        return
    for key, value in node.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
