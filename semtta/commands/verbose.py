"""``--verbose``: versions, settings that differ from the default, and where the time went; all of
it on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def timed(progress: Progress, wanted: bool) -> Iterator[Progress]:
    """The same callback; if wanted, the seconds of each stage are told at the end."""
    if not wanted:
        yield progress
        return
    spent: dict[str, float] = {}
    last = begin = time.monotonic()

    def update(stage: str, done: int, total: int | None, values: dict) -> None:
        nonlocal last
        if stage != "note":  # time since the last call was this stage's
            now = time.monotonic()
            spent[stage] = spent.get(stage, 0.0) + now - last
            last = now
        progress(stage, done, total, values)

    try:
        yield update
    finally:
        end = time.monotonic()
        stages = [f"{name} {seconds:.1f} s" for name, seconds in spent.items()]
        rest = end - last
        tell(f"time: {', '.join([*stages, f'rest {rest:.1f} s', f'in all {end - begin:.1f} s'])}.")
