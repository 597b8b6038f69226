"""``semtta doctor``: what is installed, found and missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from semtta.messages import out


def doctor(
    body_models: Annotated[Optional[Path], typer.Option(help="Folder of SMPL files.")] = None,
) -> None:
    """Say what is installed, found and missing, and how to get it."""
    from semtta.doctor import examine, table

    out.print(table(examine(body_models)))
