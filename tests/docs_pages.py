"""What stands in README and docs/: pages, links, headings, code and command lines."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"^(?:[A-Z_]+=\S+ )*semtta( .*)?$")


@dataclass(frozen=True)
class Block:
    """Fenced code of a page.

    Args:
        line: number of its first line, from 1.
        kind: the word after the fence, "" without one.
    """

    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    text = read(page)
    return [
        Block(page, text.count("\n", 0, m.start(3)) + 1, m[2], re.sub(f"(?m)^{m[1]}", "", m[3]))
        for m in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """The page without its fenced code."""
    return _FENCE.sub("", read(page))


def links(page: Path) -> list[str]:
    """Targets of links and images, code apart."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as repository viewers and the site make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", prose(page), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().lower().replace(" ", "-"))
    return found


def command_lines(block: Block) -> list[list[str]]:
    """Arguments of every ``semtta ...`` in a block of shell; comments apart, lines joined."""
    if block.kind not in ("", "bash", "sh", "console"):
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    lines = [line.removeprefix("$ ").strip() for line in lines]
    words = [shlex.split(line, comments=True) for line in lines if _COMMAND.match(line)]
    return [line[line.index("semtta") + 1 :] for line in words]


def inline_commands(page: Path) -> list[str]:
    """``semtta ...`` within the text."""
    spans = re.findall(r"(?<!`)`(semtta [^`]+)`", prose(page))
    return [" ".join(span.split()) for span in spans]
