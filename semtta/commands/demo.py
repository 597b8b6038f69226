"""``semtta demo``: the shipped clip, measured against its truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from semtta.commands.options import (
    ConfigName,
    Device,
    NoOverlay,
    NoPage,
    Output,
    OverlayLayout,
    OverlayScale,
    Overrides,
    Overwrite,
    Quiet,
    Seed,
    as_overrides,
    look_at,
)
from semtta.commands.verbose import Stopwatch, Verbose, tell_setup
from semtta.messages import out, progress_bars


def demo(
    overrides: Overrides = None,
    output: Output = None,
    config: ConfigName = "default",
    model: Annotated[Optional[str], typer.Option(help="lifter or lifter-narrow.")] = None,
    device: Device = None,
    seed: Seed = None,
    no_overlay: NoOverlay = False,
    overlay_scale: OverlayScale = None,
    overlay_layout: OverlayLayout = "side",
    no_page: NoPage = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the clip as it is, not with limbs taken away.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Adapt to the shipped real clip, as it is and with limbs taken away, with and without
    labels, and measure against its triangulated truth."""
    from semtta.config import load_config
    from semtta.output.layout import OverlayOptions

    named = {"model.name": model, "device": device, "seed": seed}
    settings = load_config(config, as_overrides(named, overrides))
    drawn = OverlayOptions(overlay_scale, overlay_layout)
    from semtta.jobs.demo import run_demo

    folder = output or Path("semtta-out") / "demo"
    if verbose:
        tell_setup(settings)
    watch = Stopwatch(verbose)
    with progress_bars(quiet) as bars:
        progress = watch.watch(bars)
        numbers = run_demo(
            settings, folder, overlay=not no_overlay, overlay_options=drawn, page=not no_page,
            hidden=not quick, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    watch.tell()
    _print(numbers)
    if "hidden" in numbers:
        _print_hidden(numbers["hidden"])
    where = look_at(no_overlay, no_page)
    out.print(f"Results in [bold]{escape(str(folder))}[/bold]{where}.")


def _print(numbers: dict) -> None:
    from rich.table import Table

    from semtta.output.comparison.truth import ROWS

    rows = (*ROWS, ("2D error, px", "reprojection_px"))
    table = Table(title=numbers["title"], caption=numbers["caption"], caption_justify="left")
    for heading in ("", "base", "adapted", "change"):
        table.add_column(heading, justify="left" if not heading else "right")
    for heading, key in rows:
        base, adapted = numbers["frozen"][key], numbers["adapted"][key]
        change = f"{100 * (adapted / base - 1):+.0f} %"
        table.add_row(heading, f"{base:.1f}", f"{adapted:.1f}", change)
    out.print(table)


def _print_hidden(numbers: dict) -> None:
    from rich.table import Table

    table = Table(title=numbers["title"], caption=numbers["caption"], caption_justify="left")
    table.add_column("")
    for row in numbers["rows"]:
        table.add_column(row["row"].replace(": ", "\n"), justify="right")
    for name in (key for key in numbers["rows"][0] if key != "row"):
        table.add_row(name, *(f"{row[name]:.1f}" for row in numbers["rows"]))
    out.print(table)
