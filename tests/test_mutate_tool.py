"""The mutation tool: what it changes, and that it tells what tests notice from what they miss."""

import ast
import difflib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from traced import traced

from tools import mutate
from tools.mutation.operators import mutants, mutated
from tools.mutation.reach import Reach
from tools.mutation.report import read_reasons, report, wilson

ROOT = Path(__file__).parents[1]
SOURCE = '''
"""Says 1 < 2."""
from math import inf

LIMIT: float = 2.5

def area(width: int, height: int = 1) -> int:
    """Width times height, or 0."""
    if width < 0 and not height:
        raise ValueError("width < 0")
    total = width * height
    total += min(width, height)
    return total
'''


def changes(source: str) -> set[str]:
    return {f"{m.operator}: {m.before} -> {m.after}" for m in mutants(source, "toy.py")}


def test_what_people_rely_on_is_changed_and_what_only_reads_well_is_not():
    assert changes(SOURCE) == {
        "constant: 2.5 -> 3.5", "constant: 1 -> 0", "constant: 0 -> 1",
        "compare: width < 0 -> width <= 0",
        "boolean: width < 0 and (not height) -> width < 0 or not height",
        "not: not height -> height",
        "condition: if width < 0 and (not height): -> if True:",
        "condition: if width < 0 and (not height): -> if False:",
        "arithmetic: width * height -> width / height",
        "arithmetic: total += min(width, height) -> total -= min(width, height)",
        "statement: total += min(width, height) -> pass",
        "opposite: min(width, height) -> max(width, height)",
        "return: return total -> return None",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("x[1:]", "slice: 1: -> :"),
        ("x[-1]", "minus: -1 -> 1"),
        ("f(x, dim=y)", "keyword: f(dim=y) -> f()"),
        ("x.clamp(min=y)", "opposite: x.clamp(min=y) -> x.clamp(max=y)"),
        ("f(x, y)", "arguments: f(x, y) -> f(y, x)"),
        ("f()", "statement: f() -> pass"),
        ("[i for i in x if i]", "condition: [i for i in x if i] -> [i for i in x]"),
        ("x & y", "arithmetic: x & y -> x | y"),
    ],
)
def test_kinds_of_change(code, change):
    assert change in changes(code)


def test_what_means_the_same_in_either_order_is_not_exchanged():
    for code in ("x.transpose(1, 2)", "f(x, x)", "max(x, y)", "f(*x, y)"):
        assert not any(change.startswith("arguments") for change in changes(code))


def test_each_change_is_one_place_and_has_a_name_of_its_own():
    source = SOURCE + textwrap.dedent("""
        def pair(x):
            return (1 + x, 1 + x, {i: -i for i in x[1:] if i > 1})
    """)
    found = mutants(source, "toy.py")
    assert len({mutant.key for mutant in found}) == len(found) > 20
    before = ast.unparse(ast.parse(source)).splitlines()
    for mutant in found:
        after = ast.unparse(mutated(source, mutant)).splitlines()
        compile(mutated(source, mutant), "toy.py", "exec")
        changed = [line for line in difflib.ndiff(before, after) if line[0] in "-+"]
        assert [line[0] for line in changed] == ["-", "+"], mutant.key


@pytest.fixture
def toy(tmp_path):
    """A module of which the tests know one function well, one badly and one not at all."""
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (tmp_path / "toymodule.py").write_text(
        "def seen(x):\n    return x + 2\n\n"
        "def missed(x):\n    return x * 2\n\n"
        "def unknown(x):\n    return x - 2\n"
    )
    (tmp_path / "test_toymodule.py").write_text(
        "import pytest, toymodule\n\n"
        "@pytest.fixture(scope='module')\ndef made():\n    return toymodule.seen(1)\n\n"
        "def test_idle(made):\n    pass\n\n"
        "def test_seen(made):\n    assert made == 3\n\n"
        "def test_missed():\n    toymodule.missed(2)\n"
    )

    def run() -> str:
        options = ["--root", str(tmp_path), "--modules", "toymodule.py", "--tests", "test_*.py",
                   "--results", str(tmp_path / "run.jsonl"), "--reasons", str(tmp_path / "no.yaml"),
                   "--sample", "99", "--controls", "2", "--preload", "json"]  # fmt: skip
        return alone("-m", "tools.mutate", *options)

    return run


def alone(*command: str) -> str:
    """What Python prints in a process of its own: the tool forks, this process has threads."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, timeout=120,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(traced(), reason="coverage does not measure within coverage")
def test_a_change_that_a_test_notices_is_killed_and_one_that_none_does_survives(toy, tmp_path):
    printed = toy()
    rows = mutate.read_results(tmp_path / "run.jsonl")
    found = {row["key"]: (row["status"], row["by"]) for row in rows if row["status"] != "control"}
    where = "toymodule.py:"
    # also where the value comes from a fixture that another test asked for first
    assert found[where + "2 arithmetic: x + 2 -> x - 2"] == (
        "killed", "test_toymodule.py::test_seen")  # fmt: skip
    assert found[where + "5 arithmetic: x * 2 -> x / 2"] == ("survived", "")
    assert found[where + "8 arithmetic: x - 2 -> x + 2"] == ("untested", "")
    controls = [row for row in rows if row["status"] == "control"]
    assert controls and not [row for row in controls if row["outcome"] == "killed"]
    assert "toymodule.py:5 arithmetic: x * 2 -> x / 2" in printed
    toy()  # nothing left to run
    assert mutate.read_results(tmp_path / "run.jsonl") == rows


def test_a_process_that_hangs_or_dies_gives_a_reason_instead_of_a_result():
    printed = alone("-c", textwrap.dedent("""
        import os, time
        from tools.mutation.forks import in_child
        print(in_child(lambda: {"code": 0}, 20))
        print(in_child(lambda: time.sleep(60) or {}, 0.1))
        print(in_child(lambda: os._exit(1), 20))
    """))  # fmt: skip
    assert printed.split("\n")[:3] == ["{'code': 0}", "timeout", "crash"]


def test_of_many_tests_the_fastest_run_and_some_of_every_file():
    seconds = {f"a.py::{i}": 0.1 * (i + 1) for i in range(40)} | {
        "b.py::slow": 3.0,
        "c.py::9": 99.0,
    }
    shared = {test: {} for test in seconds} | {"a.py::39": {"fixture made": 1.0}}
    files, total = Reach(seconds, shared, {}).choose(seconds, 10.0)
    assert files["a.py"][:9] == [f"a.py::{i}" for i in range(9)] and files["b.py"] == ["b.py::slow"]
    assert total == pytest.approx(sum(seconds[test] for those in files.values() for test in those))
    assert 9 < total <= 10 and "c.py" not in files
    assert Reach(seconds, shared, {}).choose(["a.py::39"], 10.0)[1] == pytest.approx(5.0)


def test_survivors_with_a_reason_are_counted_apart(tmp_path):
    path = tmp_path / "mutants.yaml"
    path.write_text(
        "- {module: a.py, code: 'if x < 0:', change: 'compare: x < 0 -> x <= 0', why: the same}\n"
    )
    row = {
        "module": "a.py",
        "code": "if x < 0:",
        "operator": "compare",
        "before": "x < 0",
        "after": "x <= 0",
    }
    rows = [
        row | {"key": "a.py:1 same", "status": "survived"},
        row | {"key": "a.py:9 gap", "status": "survived", "code": "while x < 0:"},
        row | {"key": "a.py:2 caught", "status": "killed"},
    ]
    text = report(rows, read_reasons(path))
    assert "gap" in text and "a.py:1 same" not in text
    assert "killed of all: 1 of 3, 33.3%" in text
    assert "killed of those not equivalent: 1 of 2, 50.0%" in text
    assert json.loads(json.dumps(mutate.summary(rows, read_reasons(path), 1)))["equivalent"] == 1


def test_the_interval_is_wilsons():
    assert wilson(90, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
