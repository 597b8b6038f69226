"""docs/reference/settings.md: every setting, what it may be, its defaults, and the reasons.

    python -m tools.make_settings_docs           # write the page
    python -m tools.make_settings_docs --check   # exit code 1 if it is not what the sources say

What a setting is stands beside it in ``semtta/config_schema.py``, why ``default`` has another value
than the paper in ``configs/default.yaml``; the page holds both, so that neither is told twice.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from omegaconf import OmegaConf

from semtta import config, config_schema
from semtta.config_limits import BOUNDS, CHOICES
from semtta.settings_help import comments_of
from tools import made_pages

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "settings.md"
_SHIPPED = ROOT / "configs" / "default.yaml"
_TOP = """\
# Settings

Made by `python -m tools.make_settings_docs` from `semtta/config_schema.py` and
`configs/default.yaml`; do not edit. A setting is given as `key=value` after any command that
adapts, or in a YAML file (`--config mine.yaml`); `semtta config show default` prints all as they
would be run, `semtta config ls` names the shipped files. *default* is what `semtta adapt` runs
with: it suits the shipped networks, and the lines below each table, from
[`default.yaml`](../../configs/default.yaml), say why. A key that a settings file leaves out has the
value under *in no file*, where that is another: the paper's, where the paper has one
([how it was read](../paper.md)).

"""
_HEAD = "| key | default | in no file | may be | what it is |\n|---|---|---|---|---|\n"
_INTRO = {
    "labels": "Where texts come from: [labels](../labels.md).",
    "hold": "Of limbs that no evidence shows: [training/hold.md](../training/hold.md).",
    "closing": "What the finished motion passes: [outputs](../outputs.md).",
    "camera": "See [conventions](../conventions.md).",
}


def comments() -> dict[str, dict[str, str]]:
    """Name of a settings class -> field -> what the comments before and beside it say."""
    classes = (item for item in vars(config_schema).values() if isinstance(item, type))
    return {item.__name__: comments_of(item) for item in classes if dataclasses.is_dataclass(item)}


def reasons() -> dict[str, str]:
    """Group -> its lines in configs/default.yaml, comments and all."""
    blocks: dict[str, list[str]] = {}
    name = ""
    for line in _SHIPPED.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"(\w+):", line):
            name = match[1]
        if name:
            blocks.setdefault(name, []).append(line)
    return {name: "\n".join(block) for name, block in blocks.items()}


def settings() -> Iterator[tuple[str, object, object, str]]:
    """Every setting: key, value in ``default``, value in no file, what it is."""
    default, bare, said = config.load_config(), config_schema.Config(), comments()
    for part in dataclasses.fields(config_schema.Config):
        shipped, plain = getattr(default, part.name), getattr(bare, part.name)
        if not dataclasses.is_dataclass(plain):
            yield part.name, shipped, plain, said["Config"][part.name]
            continue
        for item in dataclasses.fields(plain):
            key, text = f"{part.name}.{item.name}", said[type(plain).__name__][item.name]
            yield key, getattr(shipped, item.name), getattr(plain, item.name), text


def page() -> str:
    """The whole page."""
    blocks, parts, group = reasons(), [_TOP], None
    rows = list(settings())
    groups = {key: key.partition(".")[0] if "." in key else "" for key, *_ in rows}
    for name in dict.fromkeys(groups.values()):
        group = [row for row in rows if groups[row[0]] == name]
        parts.append(f"## {name or 'top level'}\n\n")
        if name in _INTRO:
            parts.append(_INTRO[name] + "\n\n")
        parts.append(_HEAD)
        parts += [_row(*row) for row in group]
        if name in blocks and "#" in blocks[name]:
            parts.append(f"\nWhy, in `default`:\n\n```yaml\n{blocks[name]}\n```\n")
        parts.append("\n")
    return "".join(parts) + _files()


def _files() -> str:
    """The shipped settings files, by their first lines."""
    lines = ["## shipped files\n"]
    for name, path in sorted(config.shipped_configs().items()):
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        lines.append(f"* [`{name}`](../../configs/{name}.yaml): {first}")
    return "\n".join(lines) + "\n"


def _row(key: str, shipped: object, plain: object, text: str) -> str:
    same = "" if shipped == plain else f"`{_yaml(plain)}`"
    cells = (f"`{key}`", f"`{_yaml(shipped)}`", same, _may_be(key, plain), meaning(key, text))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def meaning(key: str, text: str) -> str:
    """A comment in the words of YAML, without the choices that have a column of their own."""
    text = text.removeprefix(" | ".join(CHOICES.get(key, ()))).removeprefix(": ")
    return re.sub(r"\bNone\b", "null", text.replace("``", "`"))


def _may_be(key: str, plain: object) -> str:
    if key in CHOICES:
        return ", ".join(f"`{word}`" for word in CHOICES[key])
    if key in BOUNDS:
        low, high = BOUNDS[key]
        return f"{low:g} to {high:g}"
    return "`true`, `false`" if isinstance(plain, bool) else ""


def _yaml(value: object) -> str:
    text = OmegaConf.to_yaml(OmegaConf.create({"v": value}), resolve=False)
    return "[" + ", ".join(map(str, value)) + "]" if isinstance(value, list) else text[3:].strip()


if __name__ == "__main__":
    raise SystemExit(made_pages.main(__doc__, PAGE, page))
