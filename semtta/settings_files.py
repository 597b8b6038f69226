"""Typed settings out of YAML files and ``key=value`` overrides, whatever their schema.

A settings file may come from a stranger: it is data alone. Nothing in it is resolved
(``${oc.env:HOME}``), made (``!!python/object``) or multiplied (anchors) before it was looked at.
"""

from __future__ import annotations

import dataclasses
import difflib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from semtta.errors import SemttaError, shortened
from semtta.reading import read_text, reason

T = TypeVar("T")
_FILE_LIMIT = 1 << 18  # bytes; every setting written out has 5,000
_NODE_LIMIT = 10_000  # keys and values, anchors written out
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "merge", "timestamp", "value")
_TYPED: dict[type, tuple[DictConfig, list[str]]] = {}
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in _TAGS}


def read_settings(
    schema: type[T], name: str | Path, shipped: Mapping[str, Path], overrides: Sequence[str],
    show: str,
) -> T:  # fmt: skip
    """Typed settings from a file and ``key=value`` overrides; values are not looked at.

    Args:
        schema: dataclass of the settings.
        name: one of ``shipped``, or a YAML path.
        show: the command that lists all settings, for messages.
    Raises ``SemttaError`` for an unknown file or key, for a value of the wrong type, and for a
    file that is more than data."""
    path = shipped.get(str(name), Path(name))
    if not os.path.isfile(path):
        known = ", ".join(shipped)
        raise SemttaError(
            f"no settings '{shortened(name)}': neither a YAML file nor one of {known}."
        )
    typed, keys = _typed(schema)
    loaded = read_yaml(path, "settings file")
    changes = [_override(item, keys, show) for item in overrides]
    try:
        settings = OmegaConf.to_object(OmegaConf.merge(typed, loaded, *changes))
    except OmegaConfBaseException as error:
        key = (getattr(error, "full_key", None) or "").strip()
        if key and key not in keys:
            raise SemttaError(_unknown(key, keys, show)) from None
        given = shortened(", ".join([f"'{name}'", *overrides]))
        named = f"setting '{key}'" if key else f"settings {given}"
        raise SemttaError(f"{named}: {reason(error)}.") from None
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise SemttaError(f"settings '{name}': {reason(error)}.") from None
    assert isinstance(settings, schema)
    return settings


def _typed(schema: type) -> tuple[DictConfig, list[str]]:
    """A schema with its defaults, which merging copies, and its keys; made once."""
    if schema not in _TYPED:
        typed = OmegaConf.structured(schema)
        _TYPED[schema] = typed, _keys(typed)
    return _TYPED[schema]


def as_override(key: str, value: str | Path | float) -> str:
    """``key=value`` read back as it is: folders may be called ``0123``, ``no`` or ``a #2``."""
    if isinstance(value, (str, Path)):
        value = json.dumps(str(value), ensure_ascii=False)
    return f"{key}={value}"


def check_values(
    values: DictConfig,
    choices: Mapping[str, Sequence[str]],
    bounds: Mapping[str, tuple[float, float]],
) -> None:
    """Raise ``SemttaError`` for a value that is none of its choices, or outside its bounds.

    Args:
        bounds: least and most of every numeric setting, of each number where it is a list."""
    for key, known in choices.items():
        value = OmegaConf.select(values, key)
        if value not in known:
            raise SemttaError(f"{key} must be one of {', '.join(known)}, not '{shortened(value)}'.")
    for key, (low, high) in bounds.items():
        value = OmegaConf.select(values, key)
        for number in value if OmegaConf.is_list(value) else [value]:
            if isinstance(number, (int, float)) and not low <= number <= high:
                wanted = f"at most {high}" if number > high else f"at least {low}"
                raise SemttaError(f"{key} must lie between {low} and {high}; {_number(number)} is "
                                  f"not {wanted}.")  # fmt: skip


def numeric_keys(schema: type) -> Iterator[str]:
    """The keys of a schema whose values are numbers, or may be, or are lists of them."""
    for name, hint in get_type_hints(schema).items():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from (f"{name}.{key}" for key in numeric_keys(hint))
        elif {int, float} & set(_leaves(hint)):
            yield name


def _leaves(hint) -> Iterator[type]:
    inside = get_args(hint)
    yield from (leaf for part in inside for leaf in _leaves(part)) if inside else (hint,)


# ---------------------------------------------------------------------- YAML


def _override(item: str, keys: Sequence[str], show: str) -> DictConfig:
    """One ``key=value``."""
    key, equals, value = item.partition("=")
    if not key or not equals:
        raise SemttaError(f"'{shortened(item)}' is not of the form key=value.")
    if key not in keys:
        raise SemttaError(_unknown(key, keys, show))
    what = f"the value of '{shortened(item)}'"
    with _guarded(what):
        _check_nodes(value, what)
        return OmegaConf.from_dotlist([item])


def read_yaml(path: str | Path, what: str) -> DictConfig:
    """The content of a small YAML file of settings: plain data, nothing resolved.

    Args:
        what: how messages call it.
    Raises ``SemttaError``."""
    text = read_text(path, what, _FILE_LIMIT)
    what = f"{what} '{path}'"
    with _guarded(what):
        root = _check_nodes(text, what)
        if root is not None and not isinstance(root, yaml.MappingNode):
            raise SemttaError(f"{what} must hold settings, one 'key: value' a line.")
        loaded = OmegaConf.load(io.StringIO(text))
        assert isinstance(loaded, DictConfig)  # of a mapping, or of nothing
        return loaded


@contextmanager
def _guarded(what: str) -> Iterator[None]:
    try:
        yield
    except SemttaError:
        raise
    except Exception as error:  # a scanner, a parser and the constructors of many types
        raise SemttaError(f"{what} is not valid YAML: {_said(error)}.") from None


def _said(error: Exception) -> str:
    """Why, and in which line."""
    mark = getattr(error, "problem_mark", None)
    problem, context = getattr(error, "problem", None), getattr(error, "context", None)
    if mark is None or not problem:
        return reason(error)
    return f"{context or ''} {problem}".strip() + f" in line {mark.line + 1}"


def _check_nodes(text: str, what: str) -> yaml.Node | None:
    """The root of a YAML document whose every node is plain data; no object is made."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    sizes: dict[int, float] = {}

    def size(node: yaml.Node) -> float:
        """Nodes below and at this one, each alias counted as what it stands for."""
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # of one that holds itself
            _check_node(node, what)
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
        return sizes[id(node)]

    if root is not None and size(root) > _NODE_LIMIT:
        raise SemttaError(f"{what} holds more than {_NODE_LIMIT} values, its anchors written out.")
    return root


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def _check_node(node: yaml.Node, what: str) -> None:
    line = node.start_mark.line + 1
    if node.tag not in _PLAIN:
        raise SemttaError(f"{what}, line {line}: the tag '{shortened(node.tag)}' is not read; "
                          "settings are numbers, texts and lists.")  # fmt: skip
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SemttaError(f"{what}, line {line}: '{shortened(twice)}' is given twice.")
    if not isinstance(node, yaml.ScalarNode):
        return
    if "${" in node.value or node.value == "???":  # OmegaConf's mark of a missing value
        raise SemttaError(f"{what}, line {line}: '{shortened(node.value)}' is not resolved; write "
                          "out the value that it stands for.")  # fmt: skip
    if "\0" in node.value or any("\ud800" <= c <= "\udfff" for c in node.value):
        raise SemttaError(f"{what}, line {line}: '{shortened(node.value)}' is no text.")


# ---------------------------------------------------------------------- messages


def _keys(schema: DictConfig) -> list[str]:
    """Every key of a schema, groups included, as written in overrides."""

    def walk(node, prefix=""):
        for key in node:
            full = f"{prefix}{key}"
            yield full
            child = OmegaConf.select(node, key)
            if OmegaConf.is_dict(child):
                yield from walk(child, full + ".")

    return list(walk(schema))


def _unknown(key: str, known: Sequence[str], show: str) -> str:
    key = shortened(key)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    tail = key.rsplit(".", 1)[-1]
    near = near or [k for k in known if k.rsplit(".", 1)[-1] == tail][:1]
    hint = f"; did you mean '{near[0]}'?" if near else f"; see `{show}`."
    return f"unknown setting '{key}'{hint}"


def _number(value: float) -> str:
    """A number of any size in few characters; Python refuses to write out the largest."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    return str(value)
