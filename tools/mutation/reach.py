"""Which tests run which lines, and how long they take: measured once per test file and kept."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

from tools.mutation.forks import OPTIONS, in_child


class Recorder:
    """Pytest plugin: whose lines and seconds these are, a test's or a shared fixture's.

    A fixture of a module runs within the first test that asks for it, yet all who use it see what
    it made; so it gets a context of its own.
    """

    def __init__(self, measured: coverage.Coverage):
        self.coverage = measured
        self.contexts: list[tuple[str, float]] = []
        self.seconds: dict[str, float] = {}
        self.uses: dict[str, list[str]] = {}
        self.passed: set[str] = set()

    def _enter(self, name: str) -> None:
        self.contexts.append((name, time.process_time()))
        self.coverage.switch_context(name)

    def _leave(self) -> None:
        name, start = self.contexts.pop()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start
        self.coverage.switch_context(self.contexts[-1][0] if self.contexts else "")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        _forget()
        self.uses[item.nodeid] = list(item.fixturenames)
        self._enter(item.nodeid)
        try:
            return (yield)
        finally:
            self._leave()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function":
            return (yield)
        self._enter(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self._leave()

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)


def _forget() -> None:
    """Empties the library's caches, or only the first test would run what they hold."""
    for name, module in list(sys.modules.items()):
        if name.startswith("semtta"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear") and hasattr(value, "__wrapped__"):
                    value.cache_clear()


@dataclass(frozen=True)
class Reach:
    """Tests by line of the library.

    Attributes:
        seconds: of computing, of each test that passes, without the fixtures it shares.
        shared: of each test, seconds of the fixtures it shares with others in its file.
        lines: file -> line -> tests that run it.
    """

    seconds: Mapping[str, float]
    shared: Mapping[str, Mapping[str, float]]
    lines: Mapping[str, Mapping[int, frozenset[str]]]

    def tests(self, file: str, lines: Iterable[int] | None) -> set[str]:
        """Tests that run one of these lines; ``None``: any line inside a function of the file."""
        by_line = self.lines.get(file, {})
        found: set[str] = set()
        for line in by_line if lines is None else lines:
            found |= by_line.get(line, frozenset())
        return found

    def choose(self, tests: Iterable[str], cap: float) -> tuple[dict[str, list[str]], float]:
        """Tests that fit into ``cap`` seconds, by file.

        Half of the time goes to the fastest, the other half to the fastest of each file, the
        second of each and so on: tests of one file resemble each other.

        Returns:
            (file -> tests, fastest first; the seconds they take).
        """
        alone = {test: self.seconds[test] + sum(self.shared[test].values()) for test in tests}
        fastest = sorted(alone, key=lambda test: (alone[test], test))
        turn: dict[str, int] = {}
        turns: dict[str, int] = {}
        for test in fastest:
            turn[test] = turns[_file(test)] = turns.get(_file(test), -1) + 1
        chosen: dict[str, float] = {}
        paid: set[tuple[str, str]] = set()
        for part, order in ((0.5, fastest), (1.0, sorted(fastest, key=turn.__getitem__))):
            for test in order:
                shared = {(_file(test), name): cost for name, cost in self.shared[test].items()}
                cost = self.seconds[test] + sum(v for k, v in shared.items() if k not in paid)
                if test not in chosen and sum(chosen.values()) + cost <= part * cap:
                    chosen[test] = cost
                    paid |= shared.keys()
        files: dict[str, list[str]] = {}
        for test in filter(chosen.__contains__, fastest):
            files.setdefault(_file(test), []).append(test)
        return files, sum(chosen.values())


def _file(test: str) -> str:
    return test.partition("::")[0]


def measure(
    root: Path, tests: Sequence[Path], sources: Sequence[Path], kept: Path, cap: float = 600.0
) -> Reach:
    """Runs test files under coverage, those again whose text or library has changed.

    Args:
        root: folder that test names are relative to.
        tests: test files.
        sources: modules of the library whose lines count.
        kept: folder for what was measured.
        cap: seconds for one file; what takes longer is left out.
    """
    kept.mkdir(parents=True, exist_ok=True)
    library = [path.read_bytes() for path in sorted(sources)]
    parts = []
    for file in tests:
        key = hashlib.sha256(b"\0".join([file.read_bytes(), *library])).hexdigest()[:16]
        path = kept / f"{file.stem}-{key}.json"
        if not path.exists():
            found = in_child(lambda file=file: _measured(file, sources, root), cap)
            if isinstance(found, str):
                print(f"{file.name}: {found} while it was measured; left out", flush=True)
                continue
            path.write_text(json.dumps(found), encoding="utf-8")
            print(f"{file.name}: {len(found['passed'])} tests measured", flush=True)
        parts.append(json.loads(path.read_text(encoding="utf-8")))
    return _joined(parts)


def _measured(file: Path, sources: Sequence[Path], root: Path) -> dict:
    measured = coverage.Coverage(data_file=None, include=[str(path) for path in sources])
    recorder = Recorder(measured)
    measured.start()
    options = [option for option in OPTIONS if option != "-x"]
    pytest.main([*options, str(file)], plugins=[recorder])
    measured.stop()
    data = measured.get_data()
    return {
        "passed": sorted(recorder.passed),
        "seconds": recorder.seconds,
        "uses": recorder.uses,
        "lines": {
            str(Path(path).relative_to(root)): {line: sorted(filter(None, names))
                   for line, names in data.contexts_by_lineno(path).items()}
            for path in data.measured_files()
        },
    }  # fmt: skip


def _joined(parts: Sequence[dict]) -> Reach:
    seconds: dict[str, float] = {}
    shared: dict[str, dict[str, float]] = {}
    lines: dict[str, dict[int, set[str]]] = {}
    for part in parts:
        fixtures = {name for name in part["seconds"] if name.startswith("fixture ")}
        users: dict[str, set[str]] = {name: set() for name in fixtures}
        for test in part["passed"]:
            seconds[test] = part["seconds"][test]
            named = {f"fixture {name}" for name in part["uses"][test]} & fixtures
            shared[test] = {name: part["seconds"][name] for name in named}
            users[test] = {test}
            for name in named:
                users[name].add(test)
        for path, found in part["lines"].items():
            by_line = lines.setdefault(path, {})
            for line, names in found.items():
                tests = by_line.setdefault(int(line), set())
                tests.update(*(users.get(name, set()) for name in names))
    frozen = {path: {line: frozenset(tests) for line, tests in found.items()}
              for path, found in lines.items()}  # fmt: skip
    return Reach(seconds, shared, frozen)
