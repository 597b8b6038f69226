"""``semtta config``: the shipped settings files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semtta.commands.options import Overrides
from semtta.messages import out

app = typer.Typer(help="Shipped settings files.", no_args_is_help=True)


@app.command("ls")
def config_ls() -> None:
    """Names of the shipped settings files."""
    from semtta.config import shipped_configs

    print_files(shipped_configs())


@app.command("show")
def config_show(
    name: Annotated[str, typer.Argument(help="Shipped name or YAML path.")] = "default",
    overrides: Overrides = None,
) -> None:
    """Every setting, as it would be run."""
    from semtta.config import config_to_yaml, load_config

    print(config_to_yaml(load_config(name, overrides or [])), end="")


def print_files(files: dict[str, Path]) -> None:
    """Names of settings files, each with the comment in its first line."""
    for name, path in files.items():
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        out.print(f"[bold]{name:16s}[/bold] {first}", highlight=False)
