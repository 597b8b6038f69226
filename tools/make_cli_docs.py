"""docs/reference/cli.md: every command with its arguments, options and defaults.

    python -m tools.make_cli_docs           # write the page
    python -m tools.make_cli_docs --check   # exit code 1 if it is not what the commands say

The page is made of the commands themselves, so that it cannot say anything else than ``--help``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools import made_pages

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
_TOP = """\
# Commands

Made by `python -m tools.make_cli_docs` from the commands; do not edit. `semtta COMMAND --help` says
the same. Anything wrong with the input is one sentence and exit code 2; Ctrl-C is 130, SIGTERM 143.
`key=value` arguments are [settings](settings.md).

"""


def commands() -> Iterator[tuple[str, object]]:
    """Every command that does something: its full name, and the command."""
    import typer.main

    from semtta.cli import app

    yield from _walk("semtta", typer.main.get_command(app))


def _walk(name: str, command) -> Iterator[tuple[str, object]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child, found in children.items():
        yield from _walk(f"{name} {child}", found)


def page() -> str:
    """The whole page."""
    found = list(commands())
    listed = [f"| [`{name}`](#{name.replace(' ', '-')}) | {_one_line(command.help)} |"
              for name, command in found]  # fmt: skip
    table = ["| command | |", "|---|---|", *listed]
    return _TOP + "\n".join(table) + "\n" + "".join(_section(*each) for each in found)


def _section(name: str, command) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join([name, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
    lines = [f"\n## {name}", "", _one_line(command.help), "", "```text", usage, "```"]
    if command.params:
        lines += ["", "| argument or option | default | |", "|---|---|---|"]
    lines += [_row(f"`{_argument(p)}`", p) for p in arguments]
    lines += [_row(", ".join(f"`{opt}`" for opt in (*p.opts, *p.secondary_opts)), p)
              for p in options]  # fmt: skip
    return "\n".join(lines) + "\n"


def _argument(parameter) -> str:
    text = parameter.metavar or parameter.name.upper()
    return text if parameter.required or text.startswith("[") else f"[{text}]"


def _row(shown: str, parameter) -> str:
    flag = getattr(parameter, "is_flag", False)
    default = parameter.default
    said = "" if default is None or flag or callable(default) else f"`{default}`"
    if parameter.required:
        said = "needed"
    cells = (shown, said, _one_line(parameter.help))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    raise SystemExit(made_pages.main(__doc__, PAGE, page))
