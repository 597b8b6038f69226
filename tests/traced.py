"""Whether coverage counts every line that runs, which takes several times as long."""

from __future__ import annotations

import sys


def traced() -> bool:
    """Of this process; without the package, no."""
    coverage = sys.modules.get("coverage")
    return coverage is not None and coverage.Coverage.current() is not None
