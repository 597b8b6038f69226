"""What the makers of pages share: write the page, or say whether it is what its sources say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def main(about: str, path: Path, page: Callable[[], str], given: list[str] | None = None) -> int:
    """The command of a maker.

    Args:
        about: what it says of itself.
        path: of the page.
        page: makes its text.
        given: arguments; None = those of the command line.
    Returns: the exit code: 1 if ``--check`` found another text."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args(given).check
    made = page()
    if check:
        return int(not path.is_file() or path.read_text(encoding="utf-8") != made)
    path.write_text(made, encoding="utf-8")
    return 0
