"""Numbers in the summary's prose stand in the committed results, or the build fails."""

import re

import pytest

from tools import claims, make_results


@pytest.fixture(scope="module")
def committed():
    runs = make_results.read_runs(claims.ROOT / "docs" / "results")
    found = claims.read_claims(claims.ROOT / "docs" / "results" / "claims.yaml")
    return [claim.say(runs) for claim in found], (
        claims.ROOT / "docs" / "results_summary.md"
    ).read_text("utf-8")


def test_summary_says_what_the_committed_results_say(committed):
    said, summary = committed
    assert said and not [sentence for sentence in said if sentence not in claims.plain(summary)]


def test_no_number_in_summary_is_without_a_source(committed):
    said, summary = committed
    assert claims.unclaimed(summary, said) == []


def test_a_number_that_was_changed_by_hand_is_found(committed):
    said, summary = committed
    found = re.search(r"to (\d+\.\d) mm \(CycleAdapt", claims.prose(summary))
    assert found is not None  # what hidden joints come to; in prose and nowhere else
    changed = str(float(found[1]) - 10)
    assert claims.unclaimed(summary.replace(found[1], changed), said)
    assert claims.unclaimed(summary.replace("What the rows say", "What 38 rows say"), said)


def row(method, frames, error, group="a", model="m", **more):
    return {"model": model, "level": group, "method": method, "frames": frames, "tracks": 3,
            "mpjpe_mm": error, "single_seed": False, "versus": {}, **more}  # fmt: skip


RUNS = {
    "run": {
        "group_by": "level",
        "rows": [
            row("base", 10, 100.0), row("base", 30, 50.0, "b"), row("base", 40, 62.5, "all"),
            row("ours", 10, 80.0), row("ours", 30, 55.0, "b"),
            row("ours", 40, 61.25, "all", versus={"base": {"mpjpe_mm": {
                "percent": -2.0, "ci95": [-4.0, 1.0], "better": 1, "of": 2}}}),
            row("ours", 40, 1.0, "all", single_seed=True),
        ],
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("run/m/all/ours/mpjpe_mm", 61.25),
        ("run/m/a/ours/tracks", 3),
        ("-run/m/all/ours/mpjpe_mm/versus/base/percent", 2.0),
        ("run/m/all/ours/mpjpe_mm/versus/base/low", -4.0),
        ("run/m/all/ours/mpjpe_mm/versus/base/high", 1.0),
        ("run/m/all/ours/mpjpe_mm/versus/base/of", 2),
        ("pool:run/m/a+b/ours/mpjpe_mm/base", -2.0),
        ("-pool:run/m/a/ours/mpjpe_mm/base", 20.0),
        ("count:run/ours/mpjpe_mm/base", 1),
        ("rows:run", 2),
    ],
)
def test_a_path_leads_to_one_number(path, number):
    assert claims.value(path, RUNS) == pytest.approx(number)


def test_a_path_that_leads_nowhere_is_an_error():
    with pytest.raises(LookupError):
        claims.value("run/m/c/ours/mpjpe_mm", RUNS)
    with pytest.raises(LookupError):
        claims.value("other/m/a/ours/mpjpe_mm", RUNS)
