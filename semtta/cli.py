"""The command line: arguments, messages, exit codes.

Anything wrong with the input is one sentence on stderr and exit code 2; Ctrl-C is exit code 130,
SIGTERM 143; a traceback is a bug.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape
from typer.core import TyperGroup

from semtta.bench.command import bench
from semtta.commands.adapt import adapt
from semtta.commands.compare import compare
from semtta.commands.demo import demo
from semtta.commands.export import export
from semtta.commands.inputs import inputs
from semtta.commands.options import Overrides
from semtta.commands.view import view
from semtta.errors import SemttaError
from semtta.label_command import dictionary_app, label
from semtta.messages import out, show_announcements, to_stderr
from semtta.pose2d.command import app as pose2d_app
from semtta.process import STOPPED, quiet_libraries, stoppable


class _Commands(TyperGroup):
    """All commands. What is wrong with their arguments is one sentence too: Typer's own message
    would hand the arguments to the terminal as they are."""

    def make_context(self, *args, **settings):
        with _usage_errors():
            return super().make_context(*args, **settings)

    def invoke(self, ctx):
        with _usage_errors():
            return super().invoke(ctx)


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        name = type(error).__name__
        if not hasattr(error, "format_message") or name.startswith("NoArgs"):  # that one is help
            raise
        message = error.format_message().rstrip(".")
        raise SemttaError(f"{message}; see --help.") from None


app = typer.Typer(
    cls=_Commands,
    help="Adapt a human mesh regressor to one video, guided by 2D keypoints and by text.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
config_app = typer.Typer(help="Shipped settings files.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(pose2d_app, name="pose2d")
app.add_typer(dictionary_app, name="dictionary")
app.command()(adapt)
app.command()(demo)


@app.command()
def doctor(
    body_models: Annotated[Optional[Path], typer.Option(help="Folder of SMPL files.")] = None,
) -> None:
    """Say what is installed, found and missing, and how to get it."""
    from semtta.doctor import examine, table

    out.print(table(examine(body_models)))


app.command()(label)
app.command()(inputs)
app.command()(export)
app.command()(view)
app.command()(compare)
app.command()(bench)


@config_app.command("ls")
def config_ls() -> None:
    """Names of the shipped settings files."""
    from semtta.config import shipped_configs

    for name, path in shipped_configs().items():
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        out.print(f"[bold]{name:16s}[/bold] {first}", highlight=False)


@config_app.command("show")
def config_show(
    name: Annotated[str, typer.Argument(help="Shipped name or YAML path.")] = "default",
    overrides: Overrides = None,
) -> None:
    """Every setting, as it would be run."""
    from semtta.config import config_to_yaml, load_config

    print(config_to_yaml(load_config(name, overrides or [])), end="")


def main() -> None:
    """Entry point of the ``semtta`` command."""
    # Before PyTorch is imported: idle threads that sleep cost nothing on an idle machine, those
    # that spin cost a multiple of the time on a busy one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # its faults are said in one sentence
    show_announcements()
    with stoppable(), quiet_libraries():
        _run()


def _run() -> None:
    try:
        app(standalone_mode=True)
    except SemttaError as error:
        text = f"[red]semtta:[/red] {escape(str(error))}"
        to_stderr().print(text, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        _stopped()
        sys.exit(130)
    except SystemExit as stop:  # Typer turns Ctrl-C into a silent exit
        interrupted = isinstance(getattr(stop.__context__, "__cause__", None), KeyboardInterrupt)
        if interrupted or stop.code in STOPPED:
            _stopped()
        raise


def _stopped() -> None:
    to_stderr().print("semtta: stopped; no unfinished result was kept.")
