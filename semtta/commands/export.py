"""``semtta export``: a result in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from semtta.commands.options import BodyModels
from semtta.messages import out, progress_bars


def export(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Folder of `semtta adapt`.")],
    format: Annotated[
        str,
        typer.Option(
            "-f", "--format", help="With commas: glb, bvh,trc,joints; see docs/exports.md."
        ),
    ],
    output: Annotated[
        Optional[Path], typer.Option("-o", "--output", help="Output folder. Default: RESULT.")
    ] = None,
    track: Annotated[Optional[int], typer.Option(help="One person. Default: all.")] = None,
    every: Annotated[
        Optional[int], typer.Option(help="Every n-th frame, of obj and ply. Default: all to 300.")
    ] = None,
    body_models: BodyModels = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")] = False,
) -> None:
    """Write RESULT for Blender, OpenSim, spreadsheets and others."""
    from semtta.output.exports import export as write

    with progress_bars(quiet) as progress:
        written = write(
            result, format, output, track=track, every=every, body_models=body_models,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
    if not quiet:
        names = ", ".join(path.name for path in written)
        out.print(f"In [bold]{escape(str(written[0].parent))}[/bold]: {escape(names)}.",
                  highlight=False, soft_wrap=True)  # fmt: skip
