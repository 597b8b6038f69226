"""``semtta doctor``: what is installed, found and missing."""

from __future__ import annotations

from semtta.commands.options import BodyModels
from semtta.messages import out


def doctor(
    body_models: BodyModels = None,
) -> None:
    """Say what is installed, found and missing, and how to get it."""
    from semtta.doctor import examine, table

    out.print(table(examine(body_models)))
