"""``--verbose``: versions, settings that differ from the default, and where the time went; all of
it on stderr."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from semtta.messages import tell

if TYPE_CHECKING:  # everything heavy is imported when a command runs
    from semtta.config import Config
    from semtta.engine import Progress

Verbose = Annotated[
    bool, typer.Option("--verbose", help="Versions, changed settings, time of each stage.")
]


def tell_setup(settings: Config) -> None:
    """What runs, and how its settings differ from the shipped default."""
    from semtta.config import load_config
    from semtta.settings_help import changed
    from semtta.tta.provenance import versions

    said = ", ".join(f"{name} {version}" for name, version in versions().items() if version)
    tell(f"versions: {said}.")
    differ = list(changed(settings, load_config()))
    for key, value, usual in differ:
        tell(f"setting: {key}={value} (default {usual}).")
    if not differ:
        tell("settings: the default ones.")


class Stopwatch:
    """Seconds of each stage, between the calls of its progress.

    Args:
        wanted: whether anything is told."""

    def __init__(self, wanted: bool):
        self.wanted = wanted
        self.spent: dict[str, float] = {}
        self.begin = self.last = time.monotonic()

    def watch(self, progress: Progress) -> Progress:
        """The same callback, its calls noted."""

        def update(stage: str, done: int, total: int | None, values: dict) -> None:
            if stage != "note":  # time since the last call was this stage's
                now = time.monotonic()
                self.spent[stage] = self.spent.get(stage, 0.0) + now - self.last
                self.last = now
            progress(stage, done, total, values)

        return update

    def tell(self) -> None:
        if not self.wanted:
            return
        end = time.monotonic()
        stages = [*self.spent.items(), ("rest", end - self.last), ("in all", end - self.begin)]
        tell(f"time: {', '.join(f'{name} {seconds:.1f} s' for name, seconds in stages)}.")
