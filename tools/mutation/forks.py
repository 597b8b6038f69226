"""Test runs in forked processes: PyTorch is imported once, the library anew with one change."""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

import pytest

OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "--tb=no", "--assert=plain")
WALL = 10  # seconds by the clock for one of computing: other programs may have the processor
# Slow imports of library and tests, none of which imports the library.
PRELOADED = (
    "numpy", "torch", "torch.nn.functional", "torch.utils.data", "scipy.spatial", "scipy.signal",
    "scipy.spatial.transform", "scipy.optimize", "scipy.interpolate", "scipy.ndimage", "cv2", "av",
    "onnxruntime", "smplx", "roma", "omegaconf", "typer.testing", "rich.progress", "hypothesis",
    "hypothesis.extra.numpy", "hypothesis.strategies", "h5py", "openai",
)  # fmt: skip


def preload(names: Sequence[str]) -> None:
    """What every child needs, before the first fork; raises if the library is among it."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "semtta" in sys.modules:
        raise RuntimeError("semtta is imported already: a changed module would not be seen")
    gc.freeze()


def _same_examples() -> None:
    """Property tests draw the same examples each time and do not look for smaller failures."""
    if "hypothesis" in sys.modules:
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", derandomize=True, database=None, deadline=None,
                                  phases=phases)  # fmt: skip
        settings.load_profile("mutants")


def in_child(work: Callable[[], dict], seconds: float, log: Path | None = None) -> dict | str:
    """What ``work`` returns in a forked process, or why there is nothing.

    Args:
        work: returns what JSON can hold.
        seconds: of computing after which the process and all it has started are ended; by the
            clock it has ten times as long.
        log: gets what it prints; by default nobody does.

    Returns:
        the dictionary, "timeout", or "crash" for a process that ended without one.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(work, writing, seconds, log)
    os.close(writing)
    try:
        text = _read_line(reading, time.monotonic() + WALL * seconds)
    finally:
        os.close(reading)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if text is None or ended == -signal.SIGXCPU:
        return "timeout"
    return json.loads(text) if text else "crash"


def _be_child(work: Callable[[], dict], writing: int, seconds: float, log: Path | None) -> None:
    try:
        os.setsid()
        # a fork's clock of computing starts at zero
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), resource.RLIM_INFINITY))
        out = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.modules["__main__"] = ModuleType("__main__")  # not for processes that tests start
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        _same_examples()
        with os.fdopen(writing, "w") as pipe:
            pipe.write(json.dumps(work()) + "\n")
    except BaseException as error:  # whatever a changed library does, this process ends here
        os.write(2, f"{error!r}\n".encode())
    finally:
        os._exit(0)


def _read_line(pipe: int, until: float) -> str | None:
    """One line, less if the writer ended before, ``None`` if it took too long."""
    parts: list[bytes] = []
    while not (parts and parts[-1].endswith(b"\n")):
        left = until - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return None
        parts.append(os.read(pipe, 1 << 16))
        if not parts[-1]:
            return ""
    return b"".join(parts).decode()


class Changed(SourceFileLoader):
    """Loads one module from given code; stands first in ``sys.meta_path``."""

    def __init__(self, name: str, path: Path, code: CodeType):
        super().__init__(name, str(path))
        self.code = code

    def get_code(self, fullname: str) -> CodeType:
        return self.code

    def find_spec(self, name: str, path=None, target=None):
        if name != self.name:
            return None
        inside = [str(Path(self.path).parent)] if self.path.endswith("__init__.py") else None
        return spec_from_file_location(
            name, self.path, loader=self, submodule_search_locations=inside
        )


class Chosen:
    """Pytest plugin: runs the named tests in their order and notes the first that fails."""

    def __init__(self, tests: Sequence[str]):
        self.order = {test: number for number, test in enumerate(tests)}
        self.failed = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list) -> None:
        items[:] = [item for item in items if item.nodeid in self.order]
        items.sort(key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def run_tests(loader: Changed | None, files: Mapping[str, Sequence[str]], seconds: float):
    """Runs tests with one module changed until the first fails.

    Args:
        loader: the changed module; ``None`` for the library as it is.
        files: test files, each with its tests in the order to run them in.
        seconds: of computing after which the run is ended.

    Returns:
        (status, by): "killed" by a test, "timeout", "crash" or "import"; "survived"; or "error"
        if the tests were not found.
    """
    scratch = tempfile.mkdtemp(prefix="mutant-")

    def work() -> dict:
        if loader:
            sys.meta_path.insert(0, loader)
        for file, tests in files.items():
            chosen = Chosen(tests)
            arguments = [*OPTIONS, f"--basetemp={scratch}/base", file]
            code = int(pytest.main(arguments, plugins=[chosen]))
            if code:
                return {"code": code, "by": chosen.failed or "import"}
        return {"code": 0}

    try:
        result = in_child(work, seconds)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if isinstance(result, str):
        return "killed", result
    if result["code"] in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return "error", result["by"]
    return ("killed", result["by"]) if result["code"] else ("survived", "")
