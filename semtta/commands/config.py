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
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Every setting, as it would be run.")
    ] = False,
) -> None:
    """A settings file as it stands, with its reasons; every setting with --resolved or key=value.

    Both are YAML that `--config` reads."""
    from semtta.config import Config, load_config, shipped_configs
    from semtta.reading import read_text
    from semtta.settings_help import explained_yaml

    settings = load_config(name, overrides or [])  # a file that cannot be run is not shown
    if resolved or overrides:
        print(explained_yaml(settings, Config()), end="")
        return
    print(read_text(shipped_configs().get(name, Path(name)), "settings file"), end="")


def print_files(files: dict[str, Path]) -> None:
    """Names of settings files, each with the comment in its first line."""
    for name, path in files.items():
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        out.print(f"[bold]{name:16s}[/bold] {first}", highlight=False)
