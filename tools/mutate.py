"""Mutation test of the library's heart: do the tests notice when one small thing is wrong?

    python -m tools.mutate --sample 400 --seed 1 --results build/mutants/run.jsonl
    python -m tools.mutate --results build/mutants/run.jsonl --sample 0    # only the report

A mutant is a module with one change: a comparison moved or turned (<, <=, ==, is, in), arithmetic
exchanged (+ -, * /, & |), `and`/`or` exchanged, `not`, `~` or a minus dropped, a number one larger
(1 becomes 0), True and False exchanged, a condition always or never true, a filter dropped,
``None`` returned, a bound of a slice dropped, a keyword argument dropped, two arguments exchanged,
min/max, any/all, floor/ceil, sin/cos exchanged, a call or `x += y` left out. Annotations, imports,
decorators, docstrings, f-strings, `assert`, `raise`, warnings and ``__repr__`` stay.

Each test file runs once under coverage (kept in build/mutants while neither it nor the library
changes). Each mutant then is a fork of one process that has imported PyTorch but not the library:
it runs tests that run the changed line, the fastest and some of every file, --cap seconds in all,
until one fails; then it is killed. Its time is that of computing: others may have the processor.
A mutant without such a test has survived. Where tests start other processes, those run the library
as it is, and a test that compares both says nothing. Of --controls mutants the same tests run once
more without the change: were any of these "killed", the tests, not the mutants, would be at fault.

The sample is drawn in proportion to each module's mutants and run in random order, so a run that
was stopped is a smaller sample; started again with the same --results it goes on, with --again
(and a larger --cap) also over what survived. Survivors that change nothing anyone relies on stand
with the reason in tests/mutants.yaml; the report counts with and without them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools.mutation.forks import PRELOADED, Changed, preload, run_tests
from tools.mutation.operators import Mutant, function_lines, mutants, mutated
from tools.mutation.reach import Reach, measure
from tools.mutation.report import read_reasons, report, summary

ROOT = Path(__file__).parents[1]
MODULES = (
    "semtta/tta/*.py", "semtta/motion/*.py", "semtta/geometry/*.py", "semtta/bench/metrics.py",
    "semtta/bench/protocols.py", "semtta/pose2d/clip2pose.py", "semtta/pose2d/prompts.py",
    "semtta/pose2d/adversary.py", "semtta/pose2d/losses.py", "semtta/pose2d/heatmaps.py",
    "semtta/pose2d/metrics.py",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    args = _arguments(arguments)
    reasons = read_reasons(args.reasons)
    if args.sample:
        os.chdir(args.root)
        preload(args.preload)
        sources = sorted(path for glob in args.modules for path in args.root.glob(glob))
        tests = sorted(path for glob in args.tests for path in args.root.glob(glob))
        reach = measure(args.root, tests, sources, args.root / "build" / "mutants")
        drawn_from = [path for path in sources if path.match(args.only)]
        run(args.root, drawn_from, reach, args)
    results = read_results(args.results)
    print(report(results, reasons))
    if args.summary:
        text = json.dumps(summary(results, reasons, args.seed), indent=2)
        args.summary.write_text(text + "\n", encoding="utf-8")
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=400, help="mutants in all modules together")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--controls", type=int, default=20, help="runs without a change")
    parser.add_argument("--results", type=Path, default=Path("build/mutants/run.jsonl"))
    parser.add_argument("--summary", type=Path, help="JSON file for the figures")
    parser.add_argument("--modules", nargs="+", default=MODULES, help="glob of library files")
    parser.add_argument("--only", default="*", help="of these modules, those to change")
    parser.add_argument("--tests", nargs="+", default=["tests/test_*.py"], help="glob of tests")
    parser.add_argument("--cap", type=float, default=30.0, help="seconds of tests per mutant")
    parser.add_argument("--again", action="store_true", help="survivors too, with another --cap")
    parser.add_argument("--minutes", type=float, default=600.0, help="start no mutant after these")
    parser.add_argument(
        "--limit",
        type=float,
        default=10.0,
        help="a mutant may take 3 times as long as its tests and these seconds",
    )
    parser.add_argument("--preload", nargs="+", default=PRELOADED, help="imported before the forks")
    parser.add_argument("--root", type=Path, default=ROOT, help="of library and tests")
    parser.add_argument("--reasons", type=Path, default=ROOT / "tests" / "mutants.yaml")
    args = parser.parse_args(arguments)
    args.root, args.results = args.root.resolve(), args.results.resolve()
    return args


def run(root: Path, sources: Sequence[Path], reach: Reach, args: argparse.Namespace) -> None:
    """Runs what was drawn and has no result yet; adds a line to the results for each."""
    texts = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in sources}
    drawn = sample({name: mutants(text, name) for name, text in texts.items()},
                   args.sample, args.seed)  # fmt: skip
    done = {
        (row["key"], row["status"] == "control")
        for row in read_results(args.results)
        if not (args.again and row["status"] == "survived")
    }
    args.results.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * args.minutes
    with args.results.open("a", encoding="utf-8") as file:
        for mutant, control in _with_controls(drawn, args.controls):
            if time.monotonic() > until:
                break
            if (mutant.key, control) not in done:
                row = one(root, texts[mutant.module], mutant, reach, args, control)
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(f"{row['status']:9}{row['seconds']:6.1f} s  {mutant.key[:110]}", flush=True)


def sample(found: Mapping[str, Sequence[Mutant]], size: int, seed: int) -> list[Mutant]:
    """A part of each module's mutants in proportion to their number, at least one, shuffled."""
    total = sum(map(len, found.values()))
    drawn: list[Mutant] = []
    for module, those in found.items():
        number = min(len(those), max(1, round(size * len(those) / total)))
        drawn += random.Random(f"{seed} {module}").sample(those, number)
    random.Random(seed).shuffle(drawn)
    return drawn


def _with_controls(drawn: Sequence[Mutant], controls: int) -> Iterator[tuple[Mutant, bool]]:
    every = max(1, len(drawn) // controls) if controls else 0
    for number, mutant in enumerate(drawn):
        yield mutant, False
        if every and number % every == 0:
            yield mutant, True


def one(
    root: Path, source: str, mutant: Mutant, reach: Reach, args: argparse.Namespace, control: bool
) -> dict:
    """Runs one mutant, or the same tests without the change, and says how it ended."""
    start = time.monotonic()
    first, last = mutant.lines
    called = function_lines(source) & set(range(first, last + 1))
    tests = reach.tests(mutant.module, range(first, last + 1) if called else None)
    files, seconds = reach.choose(tests, args.cap)
    status, by = "untested", ""
    if files:
        tree = source if control else mutated(source, mutant)
        path = root / mutant.module
        name = mutant.module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        loader = Changed(name, path, compile(tree, str(path), "exec"))
        status, by = run_tests(loader, files, 3 * seconds + args.limit)
    return {
        "key": mutant.key, "module": mutant.module, "line": mutant.line,
        "code": source.splitlines()[mutant.line - 1].strip(),
        "operator": mutant.operator, "before": mutant.before, "after": mutant.after,
        "status": "control" if control else status, "outcome": status, "by": by,
        "tests": sum(map(len, files.values())), "reached_by": len(tests),
        "seconds": round(time.monotonic() - start, 2),
    }  # fmt: skip


def read_results(path: Path) -> list[dict]:
    """The lines of a results file, of a mutant that ran again the last; none without a file."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return list({(row["key"], row["status"] == "control"): row for row in rows}.values())


if __name__ == "__main__":
    sys.exit(main())
