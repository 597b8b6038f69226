"""``semtta compare``: several results of one video, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from semtta.commands.options import BodyModels
from semtta.messages import out, progress_bars


def compare(
    results: Annotated[
        list[Path], typer.Argument(metavar="A B [C ...]", help="Folders of `semtta adapt`.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")] = Path(
        "semtta-out"
    )
    / "compare",
    video: Annotated[Optional[Path], typer.Option(help="The video, if it is not found.")] = None,
    body_models: BodyModels = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier comparison.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no tables.")] = False,
) -> None:
    """Compare results of one video with the first: tables, compare.json and compare.html."""
    from semtta.output.comparison import compare as write

    with progress_bars(quiet) as progress:
        data = write(
            results, output, video=video, body_models=body_models, overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
    if quiet:
        return
    _print(data)
    out.print(f"In [bold]{escape(str(output))}[/bold]: compare.json; open compare.html in a "
              "browser.", highlight=False, soft_wrap=True)  # fmt: skip


def _print(data: dict) -> None:
    from rich.table import Table

    from semtta.output.comparison.tables import tables_of

    seen = []
    for person in data["people"]:
        for table in tables_of(data, person):
            if table in seen:  # settings and truth are those of all people
                continue
            seen.append(table)
            shown = Table(title=escape(table.title), caption=escape(table.note) or None,
                          caption_justify="left", title_justify="left")  # fmt: skip
            for heading in table.head:
                shown.add_column(
                    escape(heading), justify="right" if heading else "left", overflow="fold"
                )
            for cells in table.rows:
                texts = (" ".join(map(str, c)) if isinstance(c, list) else c for c in cells)
                shown.add_row(*map(escape, texts))
            out.print(shown)
