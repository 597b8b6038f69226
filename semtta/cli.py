"""The command line: all commands, and the exit codes.

Anything wrong with the input is one sentence on stderr and exit code 2; Ctrl-C is exit code 130,
SIGTERM 143; a traceback is a bug.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.markup import escape
from typer.core import TyperGroup

from semtta.commands.adapt import adapt
from semtta.commands.bench import bench
from semtta.commands.check import check
from semtta.commands.compare import compare
from semtta.commands.config import app as config_app
from semtta.commands.demo import demo
from semtta.commands.dictionary import app as dictionary_app
from semtta.commands.doctor import doctor
from semtta.commands.export import export
from semtta.commands.inputs import inputs
from semtta.commands.label import label
from semtta.commands.pose2d import app as pose2d_app
from semtta.commands.refine import refine
from semtta.commands.view import view
from semtta.errors import SemttaError
from semtta.messages import show_announcements, to_stderr
from semtta.process import STOPPED, kept_if_stopped, quiet_libraries, stoppable


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
    no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip


def _print_version(wanted: bool) -> None:
    if wanted:
        import semtta

        print(f"semtta {semtta.__version__}")
        raise typer.Exit()


@app.callback()
def _semtta(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Which one it is."),
    ] = False,
) -> None:
    pass  # the help above is the application's


app.add_typer(config_app, name="config")
app.add_typer(pose2d_app, name="pose2d")
app.add_typer(dictionary_app, name="dictionary")
app.command()(adapt)
app.command()(refine)
app.command()(demo)
app.command()(doctor)
app.command()(label)
app.command()(inputs)
app.command()(export)
app.command()(view)
app.command()(compare)
app.command()(check)
app.command()(bench)


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
    except KeyboardInterrupt as stop:
        _tell_stopped(stop)
        sys.exit(130)
    except SystemExit as stop:  # Typer turns Ctrl-C into a silent exit
        cause = getattr(stop.__context__, "__cause__", None)
        if isinstance(cause, KeyboardInterrupt) or stop.code in STOPPED:
            _tell_stopped(stop if stop.code in STOPPED else cause)
        raise


def _tell_stopped(stop: BaseException | None) -> None:
    to_stderr().print(f"semtta: stopped; {kept_if_stopped(stop)}.", highlight=False, markup=False,
                      soft_wrap=True)  # fmt: skip
