"""The reference: every command, public name and setting has its place, as the code has it."""

import inspect
import re

import docs_pages
import pytest
import torch
from docs_pages import ROOT

import semtta
from semtta.body.landmarks import HIP_WIDTH
from semtta.output.axes import y_up, z_up
from semtta.skeletons import SKELETONS, SMPL24, SMPL_PARENTS
from tools import made_pages, make_cli_docs, make_settings_docs

API = docs_pages.read(ROOT / "docs" / "reference" / "api.md")
CONVENTIONS = docs_pages.read(ROOT / "docs" / "conventions.md")


@pytest.mark.parametrize("maker", [make_cli_docs, make_settings_docs])
def test_made_pages_are_what_the_sources_say(maker):
    assert docs_pages.read(maker.PAGE) == maker.page(), (
        f"{maker.PAGE.name} is out of date: python -m {maker.__name__}"
    )


def test_every_command_has_a_section():
    headings = docs_pages.anchors(make_cli_docs.PAGE)
    names = [name for name, _ in make_cli_docs.commands()]
    assert len(names) > 10
    assert {name.replace(" ", "-") for name in names} <= headings


def test_every_command_and_option_says_what_it_is_for():
    silent = [
        (name, parameter.name)
        for name, command in make_cli_docs.commands()
        for parameter in command.params
        if not parameter.help
    ]
    assert not silent
    assert all(command.help for _, command in make_cli_docs.commands())


@pytest.mark.parametrize("name", semtta.__all__)
def test_every_public_name_is_in_the_reference_and_has_a_docstring(name):
    found = getattr(semtta, name)
    assert re.search(rf"^::: {found.__module__}\.{found.__qualname__}$", API, re.M)
    assert inspect.getdoc(found)


def test_what_the_reference_names_exists():
    named = re.findall(r"^::: (\S+)\.(\w+)$", API, re.M)
    assert len(named) == API.count("\n:::")
    for module, name in named:
        assert hasattr(__import__(module, fromlist=[name]), name)


def test_every_setting_says_what_it_is():
    rows = list(make_settings_docs.settings())
    assert len(rows) > 80
    choices = re.compile(r"[\w:-]+( \| [\w:-]+)*")  # alone they say nothing
    silent = [key for key, _, _, text in rows if choices.fullmatch(text) or not text]
    assert not silent


def test_a_reason_is_read_from_before_and_beside_a_setting():
    said = make_settings_docs.comments()
    assert said["SmoothingConfig"]["fit_lr"].startswith("at its highest")
    assert said["AlignmentConfig"]["reach"].startswith("which local rotations")
    assert "#" not in "".join(text for texts in said.values() for text in texts.values())


# ---------------------------------------------------------------------- conventions


def test_the_joint_order_on_the_page_is_smpls():
    found = re.findall(r"(\d+) (\w+) \((\d+|–)\)", CONVENTIONS)
    parents = [("–" if p < 0 else str(p)) for p in SMPL_PARENTS]
    expected = [(str(i), name, parents[i]) for i, name in enumerate(SMPL24.joints)]
    assert found == expected


def test_every_skeleton_is_on_the_page_with_its_number_of_joints():
    counts = {}
    for names, numbers in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([\d, ]+) \|", CONVENTIONS, re.M):
        names, numbers = re.findall(r"\w+", names), re.findall(r"\d+", numbers)
        counts |= dict(zip(names, map(int, numbers * len(names))))
    assert counts == {n: len(s) for n, s in SKELETONS.items() if s is not SMPL24}


def test_the_steps_between_axes_are_those_of_the_exports():
    point = torch.tensor([1.0, 2.0, 3.0])
    up = y_up(None).points(point)
    assert "camera → y up: half a turn about x, `diag(1, -1, -1)`" in CONVENTIONS
    assert up.tolist() == [1.0, -2.0, -3.0]
    assert "y up → z up: (x, y, z) → (x, −z, y)" in CONVENTIONS
    assert z_up(None).points(point).tolist() == [up[0], -up[2], up[1]]


def test_the_rest_pose_stands_as_the_page_says():
    body = semtta.load_body()
    joints = dict(zip(SMPL24.joints, body.joints(torch.eye(3).expand(24, 3, 3), torch.zeros(10))))
    assert joints["left_hip"][0] > 0.05  # x to the person's left
    assert joints["head"][1] > 0.3  # y up
    assert joints["left_foot"][2] > joints["left_ankle"][2] + 0.05  # z to where it looks
    assert joints["pelvis"].norm() < 1e-3  # the CC0 body's origin
    hips = (joints["left_hip"] - joints["right_hip"]).norm()
    assert f"({hips:.2f} m)" in CONVENTIONS and f"{HIP_WIDTH:.2f} m\n" in CONVENTIONS


def test_a_made_page_is_written_or_compared(tmp_path):
    path = tmp_path / "page.md"
    assert made_pages.main("A page.", path, lambda: "new", ["--check"]) == 1
    assert not path.exists()
    assert made_pages.main("A page.", path, lambda: "new", []) == 0 and path.read_text() == "new"
    assert made_pages.main("A page.", path, lambda: "new", ["--check"]) == 0
    assert made_pages.main("A page.", path, lambda: "other", ["--check"]) == 1
    assert path.read_text() == "new"
