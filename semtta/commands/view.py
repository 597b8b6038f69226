"""``semtta view``: a result as a page in the browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from semtta.commands.options import BodyModels
from semtta.messages import out, progress_bars


def view(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Folder of `semtta adapt`.")],
    video: Annotated[
        Optional[Path], typer.Option(help="The video, if it is not found; the page is made anew.")
    ] = None,
    body_models: BodyModels = None,
    remake: Annotated[bool, typer.Option("--remake", help="Make the page anew.")] = False,
    no_open: Annotated[bool, typer.Option("--no-open", help="Only say where it is.")] = False,
) -> None:
    """Open RESULT's result.html in the browser; make it first if it is absent."""
    from semtta.output.page.saved import page_of_result

    with progress_bars(False) as progress:
        page = page_of_result(
            result, video=video, body_models=body_models, remake=remake, progress=progress
        )
    out.print(escape(str(page.absolute())), highlight=False, soft_wrap=True)
    if not no_open and _has_screen():
        try:
            webbrowser.open(page.absolute().as_uri())
        except webbrowser.Error:
            pass  # the path is printed


def _has_screen() -> bool:
    """Without one, Python may start a browser inside the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
