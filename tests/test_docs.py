"""README and docs/: links lead somewhere, code and command lines are those of this version."""

import ast
import importlib
import importlib.util
import inspect
import os
import re
import shutil
from functools import cache
from itertools import islice

import cv2
import docs_pages
import pytest
import typer.main
from docs_pages import PAGES, ROOT
from typer.testing import CliRunner

import semtta
from semtta.cli import app
from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.shipped import asset

BLOCKS = [block for page in PAGES for block in docs_pages.blocks(page)]
PYTHON = [block for block in BLOCKS if block.kind == "python"]
# Packages of other programs: looked into where they are installed, else only compiled.
FOREIGN = {"bpy", "transformers"}
# Pages whose code is run, on the first frames of the shipped clip.
RUN = ("docs/start.md", "docs/howto/network.md")


# ---------------------------------------------------------------------- links


@pytest.mark.parametrize("page", PAGES, ids=docs_pages.name)
def test_links_lead_to_files_and_headings_that_exist(page):
    dead = [link for link in docs_pages.links(page) if not _leads_somewhere(page, link)]
    assert not dead


def _leads_somewhere(page, link: str) -> bool:
    if re.match(r"\w+:", link):
        return link.startswith(("https://", "http://", "mailto:"))
    target, _, anchor = link.partition("#")
    path = (page.parent / target).resolve() if target else page
    if not path.exists() or ROOT not in path.parents:
        return False
    return not anchor or anchor in docs_pages.anchors(path)


@pytest.mark.parametrize("link", ["gone.md", "outputs.md#no-such-heading", "../../outside.md"])
def test_a_link_that_leads_nowhere_is_found(link):
    assert not _leads_somewhere(ROOT / "docs" / "exports.md", link)


# ---------------------------------------------------------------------- Python


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles_and_names_what_exists(block):
    _check_python(block.text)


def _check_python(text: str) -> None:
    tree = ast.parse(text)
    known = {"semtta": semtta}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _module(alias.name)
        elif isinstance(node, ast.ImportFrom) and (module := _module(node.module)):
            known |= {a.asname or a.name: getattr(module, a.name) for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Call)) and ast.unparse(node).startswith("semtta."):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                getattr(semtta, node.attr)
        if isinstance(node, ast.Call) and (called := _called(node.func, known)):
            given = {word.arg: None for word in node.keywords if word.arg}
            inspect.signature(called).bind_partial(*[None] * len(node.args), **given)


def _module(name: str):
    """The module; None for one of another program that is not here."""
    top = name.partition(".")[0]
    if top in FOREIGN and importlib.util.find_spec(top) is None:
        return None
    return importlib.import_module(name)


def _called(node, known: dict):
    """Which function or class of this library is called, if it can be told."""
    if isinstance(node, ast.Name):
        found = known.get(node.id)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        found = getattr(semtta, node.attr) if node.value.id == "semtta" else None
    else:
        return None
    return found if getattr(found, "__module__", "").startswith("semtta") else None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import semtta\nsemtta.no_such_name", AttributeError),
        ("from semtta.people import NoSuchName", AttributeError),
        ("import semtta\nsemtta.export('a', 'bvh', folder='b')", TypeError),
        ("from semtta.people import Poses2DOptions as P\nP(bones='body25b')", TypeError),
        ("import no_such_module", ModuleNotFoundError),
        ("a b", SyntaxError),
    ],
)
def test_python_that_is_of_another_version_is_found(text, error):
    with pytest.raises(error):
        _check_python(text)


# ---------------------------------------------------------------------- commands


@cache
def _root():
    return typer.main.get_command(app)


def _leaf(words: list[str]):
    """The command that the words name, and the words after it."""
    command = _root()
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            raise LookupError(f"no command {words[:1]}")
        command, words = command.commands[words[0]], words[1:]
    return command, words


def _check_command(words: list[str]) -> None:
    """Raise for a command, an option or a setting that there is none of."""
    if words[:1] == ["--help"]:
        return
    command, words = _leaf(words)
    if "--help" in words:
        return
    given = command.make_context("semtta", list(words)).params
    settings = [w for w in given.get("overrides") or given.get("arguments") or () if "=" in w]
    if settings and "pose2d" not in command.callback.__module__:  # which has settings of its own
        load_config("default", settings)


def _with_config_headers():
    """Command lines of the docs, and those at the top of the shipped settings files."""
    for block in BLOCKS:
        yield from ((str(block), words) for words in docs_pages.command_lines(block))
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        head = [line[1:] for line in path.read_text("utf-8").splitlines() if line[:1] == "#"]
        block = docs_pages.Block(path, 1, "", "\n".join(line.strip() for line in head))
        yield from ((docs_pages.name(path), words) for words in docs_pages.command_lines(block))


def test_command_lines_are_understood():
    lines = list(_with_config_headers())
    assert len(lines) > 60  # they were found at all
    wrong = []
    for where, words in lines:
        try:
            _check_command(words)
        except Exception as error:
            said = error.format_message() if hasattr(error, "format_message") else error
            wrong.append(f"{where}: semtta {' '.join(words)}: {said}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line", ["adopt a.mp4", "adapt a.mp4 --lable walk", "adapt a.mp4 optimiser.epochs=2", "adapt"]
)
def test_a_command_line_of_another_version_is_found(line):
    with pytest.raises(Exception) as caught:
        _check_command(line.split())
    assert hasattr(caught.value, "format_message") or isinstance(
        caught.value, (LookupError, SemttaError)
    )


@pytest.mark.parametrize("page", PAGES, ids=docs_pages.name)
def test_commands_within_the_text_name_commands_and_options_that_exist(page):
    for span in docs_pages.inline_commands(page):
        words = span.split()[1:]
        if words[0].isupper() or words[0].startswith("-"):  # a placeholder: semtta COMMAND --help
            continue
        group = _root().commands[words[0]]
        if hasattr(group, "commands") and len(words) == 1:
            continue
        command, rest = _leaf(words)
        options = {"--help"} | {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        used = {w.partition("=")[0].rstrip(".,;") for w in rest if w.startswith("--")}
        assert used <= options, span


def test_scripts_and_targets_that_the_docs_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        text = docs_pages.read(page)
        for script in re.findall(r"tools/\w+\.py", text):
            assert (ROOT / script).is_file(), (page, script)
        for module in re.findall(r"python -m (tools\.\w+)", text):
            assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), (page, module)
        named = re.findall(r"(?:^|`)make ([a-z]+)((?: [a-z]+)*)(?:`|\s*$|\s+#)", text, re.M)
        for target in {word for first, more in named for word in (first, *more.split())}:
            assert target in targets, (page, target)


# ---------------------------------------------------------------------- run


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory):
    """A folder with ``clip.mp4``: the first 12 frames of the shipped clip, small."""
    from semtta.video import probe, read_frames, write_video

    folder, source = tmp_path_factory.mktemp("docs"), asset("demo/cam02_occluded.mp4")
    size = (362, 640)  # a third: most of the time goes into pictures
    frames = (cv2.resize(image, size) for _, _, image in islice(read_frames(source), 12))
    write_video(folder / "clip.mp4", frames, probe(source).fps, size)
    return folder


@pytest.fixture
def short_fits(monkeypatch):
    """What a page does not set itself is one step: whether its code runs is looked at."""

    def quick(name="default", overrides=()):
        steps = ("optimizer.epochs=1", "optimizer.coverage=1", "evidence.heldout=0")
        return load_config(name, [*steps, *overrides])

    monkeypatch.setattr("semtta.config.load_config", quick)
    monkeypatch.setattr("semtta.tta.adapter.load_config", quick)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_code_of_these_pages_runs_in_the_order_of_the_page(
    page, short_clip, short_fits, tmp_path, monkeypatch
):
    shutil.copy(short_clip / "clip.mp4", tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in docs_pages.blocks(ROOT / page):
        if block.kind == "python":
            exec(compile(block.text, str(block), "exec"), names)
        for words in docs_pages.command_lines(block):
            if words[0] in ("demo", "doctor", "view"):  # long, and tests of their own
                continue
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, (words, done.output, done.exception)
    assert len(names["result"].track) == 12
    if page == RUN[0]:
        assert names["vertices"].shape == (
            len(names["result"].track),
            names["body"].num_vertices,
            3,
        )
        assert {"track-01.bvh", "track-01.trc"} <= set(os.listdir("semtta-out/clip"))
        assert os.path.isfile("semtta-out/compare/compare.html")
