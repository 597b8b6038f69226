"""Whether every number in the summary's prose stands in the committed results.

    python -m tools.claims    # each claim as the results have it; exit code 1 if it differs

``docs/results/claims.yaml`` lists sentences with places for numbers and says where in
``docs/results/*.json`` each comes from:

    run/model/value/method/metric                     a mean; value of the run's group_by, or "all"
    run/model/value/method/metric/versus/REF/percent  change against REF; or better, of, low, high
    run/model/value/method/tracks                     any other number of the row
    pool:run/model/VALUE+VALUE/method/metric/REF      change in percent, several values together
    count:run/method/metric/REF                       rows (model x value) with method above REF
    rows:run                                          how many such rows there are

A minus before it turns the sign ("12 % below" is a change of -12).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from tools.make_results import BEGIN, END, ROOT, read_runs

# Numbers that are no results: a kind of interval.
NO_RESULT = ("95 %",)
_NUMBER = re.compile(r"(?<![\w.@-])[-−+]?\d+(?:\.\d+)?(?![\w-])")


@dataclass(frozen=True)
class Claim:
    """A sentence with places for numbers, and where each number comes from."""

    text: str
    numbers: Mapping[str, str]

    def say(self, runs: Mapping[str, dict]) -> str:
        """The sentence as the results have it; raises ``LookupError`` for what they do not hold."""
        return plain(
            self.text.format(**{name: value(path, runs) for name, path in self.numbers.items()})
        )


def read_claims(path: Path) -> list[Claim]:
    """All claims of a YAML file."""
    entries = OmegaConf.to_container(OmegaConf.load(path))
    return [Claim(entry["text"], entry.get("numbers") or {}) for entry in entries]


def value(path: str, runs: Mapping[str, dict]) -> float:
    """The number that a path leads to; see the top of this file."""
    if path.startswith("-"):
        return -value(path[1:], runs)
    kind, _, rest = path.partition(":")
    parts = (rest or kind).split("/")
    if kind == "pool":
        return _pooled(*parts, runs=runs)
    if kind in ("count", "rows"):
        return _counted(kind, parts, runs)
    run, model, group, method, metric, *more = parts
    row = _row(runs, run, model, group, method)
    if not more:
        return _number(row[metric], path)
    _, reference, what = more
    change = row["versus"][reference][metric]
    if what in ("low", "high"):
        return _number((change["ci95"] or [None, None])[what == "high"], path)
    return _number(change[what], path)


def _pooled(run: str, model: str, groups: str, method: str, metric: str, reference: str, *, runs):
    """Frame-weighted means of several rows together, as a change in percent."""

    def mean(name: str) -> float:
        rows = [_row(runs, run, model, group, name) for group in groups.split("+")]
        frames = sum(row["frames"] for row in rows)
        return sum(row["frames"] * row[metric] for row in rows) / frames

    return 100 * (mean(method) / mean(reference) - 1)


def _counted(kind: str, parts: Sequence[str], runs: Mapping[str, dict]) -> float:
    data = runs[parts[0]]
    cells: dict[tuple, dict[str, dict]] = {}
    for row in data["rows"]:
        group = row[data["group_by"]]
        if group != "all" and not row["single_seed"]:
            cells.setdefault((row["model"], group), {})[row["method"]] = row
    if kind == "rows":
        return len(cells)
    _, method, metric, reference = parts
    return sum(cell[method][metric] > cell[reference][metric] for cell in cells.values())


def _row(runs: Mapping[str, dict], run: str, model: str, group: str, method: str) -> dict:
    data = runs[run]
    wanted = (model, group, method)
    found = [
        row for row in data["rows"]
        if (row["model"], row[data["group_by"]], row["method"]) == wanted and not row["single_seed"]
    ]  # fmt: skip
    if len(found) != 1:
        raise LookupError(f"{run}.json has {len(found)} rows of {wanted}")
    return found[0]


def _number(found, path: str) -> float:
    if found is None:
        raise LookupError(f"nothing was measured at {path}")
    return float(found)


def plain(text: str) -> str:
    """One line, one kind of minus."""
    return " ".join(text.replace("−", "-").split())


def prose(summary: str) -> str:
    """The section of results without tables, code and links: what people read as claims."""
    section = summary.split("\n## Results\n", 1)[1].split("\n## ", 1)[0]
    before, rest = section.split(BEGIN, 1)
    text = before + rest.split(END, 1)[1]
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return plain(
        re.sub(r"`[^`]*`", lambda code: code[0] if not _NUMBER.search(code[0]) else " ", text)
    )


def unclaimed(summary: str, said: Sequence[str]) -> list[str]:
    """Numbers in the summary's prose that stand in no claim, each with what stands before it."""
    text = prose(summary)
    for sentence in sorted(map(plain, (*said, *NO_RESULT)), key=len, reverse=True):
        text = text.replace(sentence, " # ")
    return [text[max(0, m.start() - 40) : m.end()] for m in _NUMBER.finditer(text)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args(arguments)
    runs = read_runs(ROOT / "docs" / "results")
    claims = read_claims(ROOT / "docs" / "results" / "claims.yaml")
    summary = (ROOT / "docs" / "results_summary.md").read_text(encoding="utf-8")
    said = [claim.say(runs) for claim in claims]
    missing = [sentence for sentence in said if sentence not in plain(summary)]
    for sentence in said:
        print(f"{'MISSING ' if sentence in missing else ''}{sentence}")
    loose = unclaimed(summary, said)
    for place in loose:
        print(f"no claim: ...{place}")
    return 1 if missing or loose else 0


if __name__ == "__main__":
    sys.exit(main())
