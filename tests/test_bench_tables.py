"""Means, intervals and tables of a benchmark, against numbers computed by hand."""

import csv
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from semtta.bench.methods import METHODS
from semtta.bench.statistics import (
    bootstrap_counts,
    common_tracks,
    group_sums,
    interval,
    summarise_rows,
    weighted_mean,
)
from semtta.bench.table_files import TableSpec, load_table, shipped_tables
from semtta.bench.tables import sequence_csv, view_table
from semtta.errors import SemttaError

ROOT = Path(__file__).parents[1]


def row(item, method, pa, frames=10, seed=0, level="clean", **more):
    return {
        "data": "d", "protocol": "p12", "model": "lifter", "item": item, "group": item,
        "sequence": item, "level": level, "label": "walk", "method": method, "seed": seed,
        "settings": "s", "frames": frames, "track_frames": frames, "seconds": 1.0,
        "pa_mpjpe_mm": pa, "mpjpe_mm": 2 * pa,
    } | more  # fmt: skip


def find(summary, **wanted):
    found = [r for r in summary if all(r.get(k) == v for k, v in wanted.items())]
    assert len(found) == 1, (wanted, found)
    return found[0]


def test_means_are_over_frames_and_hidden_joints():
    rows = [
        row("a", "frozen", 100, frames=30, occluded=1, pa_mpjpe_occluded_mm=400.0),
        row("b", "frozen", 200, frames=10, occluded=3, pa_mpjpe_occluded_mm=200.0),
        row("c", "frozen", 100, frames=10, occluded=0, pa_mpjpe_occluded_mm=None),
    ]
    (line,) = summarise_rows(rows)
    assert line["pa_mpjpe_mm"] == pytest.approx((30 * 100 + 10 * 200 + 10 * 100) / 50)
    assert line["pa_mpjpe_occluded_mm"] == pytest.approx((400 + 3 * 200) / 4)
    assert line["tracks"] == 3 and line["frames"] == 50 and line["seed"] == 0
    assert line["ms_per_frame"] == pytest.approx(1000 * 3 / 50)
    assert line["accel_mm"] is None and line["ci95"] == {}  # three groups are too few
    assert weighted_mean(rows[2:], "pa_mpjpe_occluded_mm") is None


def test_seeds_have_rows_of_their_own_and_one_together():
    rows = [row(i, m, pa + s, seed=s) for i in "ab" for m, pa in (("frozen", 100), ("x", 80))
            for s in (0, 1, 2)]  # fmt: skip
    summary = summarise_rows(rows)
    assert len(summary) == 2 * 4
    assert find(summary, method="x", seed=1)["pa_mpjpe_mm"] == 81
    whole = find(summary, method="x", seed="mean of 3")
    assert whole["pa_mpjpe_mm"] == 81 and whole["tracks"] == 2 and whole["frames"] == 20
    assert whole["versus"]["frozen"]["pa_mpjpe_mm"]["percent"] == pytest.approx(-100 * 20 / 101)
    for key in ("data", "protocol", "model", "level", "method", "seed", "pa_mpjpe_mm",
                "mpjpe_mm", "pa_mpjpe_occluded_mm", "tracks", "ci95"):  # fmt: skip
        assert all(key in line for line in summary)


def test_every_method_is_averaged_over_the_same_tracks():
    rows = [row(i, m, 10) for i in "abc" for m in ("frozen", "x")]
    rows[-1] = {k: v for k, v in rows[-1].items() if not k.endswith("_mm")} | {"error": "broken"}
    rows += [row(i, "never", 1) | {"error": "no file"} for i in "abc"]
    kept = common_tracks(rows)
    assert {(r["item"], r["method"]) for r in kept} == {
        (i, m) for i in "ab" for m in ("frozen", "x")
    }  # fmt: skip
    two = [row("a", "x", 1, seed=0), row("a", "x", 1, seed=1), row("b", "x", 1, seed=0)]
    assert {r["item"] for r in common_tracks(two)} == {"a"}  # b lacks a seed
    assert common_tracks([]) == []


def test_the_bootstrap_finds_the_error_of_a_mean():
    rng = np.random.default_rng(3)
    values = rng.normal(100, 12, 144)
    rows = [row(f"t{i}", "frozen", float(v)) for i, v in enumerate(values)]
    (line,) = summarise_rows(rows)
    low, high = line["ci95"]["pa_mpjpe_mm"]
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low < values.mean() < high
    assert (high - low) / 2 == pytest.approx(half, rel=0.12)
    assert summarise_rows(rows[::-1])[0]["ci95"] == line["ci95"]


def test_tracks_of_one_group_are_drawn_together():
    """Twelve copies of five groups are no sixty tracks: the interval stays that of five."""
    base = [row(f"t{i}", "frozen", v) for i, v in enumerate((80.0, 90.0, 100.0, 110.0, 120.0))]
    copies = [r | {"item": f"{r['item']}-{c}"} for r in base for c in range(12)]
    alone = [r | {"group": r["item"]} for r in copies]
    width = lambda rows: np.ptp(summarise_rows(rows)[0]["ci95"]["pa_mpjpe_mm"])  # noqa: E731
    assert width(copies) == pytest.approx(width(base))
    assert width(alone) < 0.5 * width(base)


def test_differences_are_paired():
    """Tracks differ by 50 mm, methods by 10 % on every one of them: the difference is certain."""
    rng = np.random.default_rng(0)
    values = rng.normal(200, 50, 30)
    rows = [row(f"t{i}", "frozen", v) for i, v in enumerate(values)]
    rows += [row(f"t{i}", "x", 0.9 * v) for i, v in enumerate(values)]
    summary = summarise_rows(rows)
    change = find(summary, method="x")["versus"]["frozen"]["pa_mpjpe_mm"]
    assert change["percent"] == pytest.approx(-10)
    assert np.allclose(change["ci95"], -10)
    assert (change["better"], change["of"]) == (30, 30)
    low, high = find(summary, method="x")["ci95"]["pa_mpjpe_mm"]
    assert high - low > 20


def test_draws_and_sums():
    groups = ["a", "b", "c"]
    counts = bootstrap_counts(groups, 500)
    assert counts.shape == (500, 3) and (counts.sum(1) == 3).all()
    assert (counts == bootstrap_counts(groups, 500)).all()
    rows = [row("a", "x", 4.0, seed=0), row("a", "x", 8.0, seed=1), row("b", "x", 3.0, frames=30)]
    sums = group_sums(rows, "pa_mpjpe_mm", groups)
    assert sums.weights.tolist() == [10, 30, 0] and sums.values.tolist() == [60, 90, 0]
    assert sums.mean() == pytest.approx(150 / 40)
    assert interval(np.array([np.nan])) is None


def test_levels_and_all_of_them():
    rows = [row(f"{i}-{lv}", m, 10 * (lv == "hard") + 50, level=lv, group=i)
            for i in "abcdef" for lv in ("easy", "hard") for m in ("frozen", "semtta")]  # fmt: skip
    summary = summarise_rows(rows)
    assert [r["level"] for r in summary if r["method"] == "frozen"] == ["easy", "hard", "all"]
    assert find(summary, method="frozen", level="all")["pa_mpjpe_mm"] == 55
    by_label = summarise_rows(rows, by="label")
    assert {(r["level"], r["label"]) for r in by_label} == {("all", "walk")}


def test_the_view_prints_protocol_limits_intervals_and_changes():
    levels = {"frozen": 100, "cycleadapt": 90, "semtta": 80}
    rows = [row(f"t{i}", m, v + i, seed=s) for i in range(8) for s in (0, 1)
            for m, v in levels.items()]  # fmt: skip
    spec = TableSpec(title="Methods", columns=("mpjpe_mm", "pa_mpjpe_mm", "filled", "tracks"))
    view = view_table(summarise_rows(rows, spec.references), spec, ["Nothing here is real."])
    text = view.markdown()
    assert "protocol p12" in text and "Nothing here is real." in text and "mean of 2" in text
    assert "Seeds are averaged first" in text
    assert "PA-MPJPE vs cycleadapt" in text and "filled" not in text  # nobody measured it
    line = next(li for li in text.splitlines() if "| semtta |" in li)
    assert "83.5 [" in line and "-10.7 % (8/8) [" in line and line.rstrip("| ").endswith("]")
    assert len(view.rows) == 3
    assert view.rich().row_count == 3
    assert "Nothing was measured" in view_table([], spec).markdown()


def test_brackets_are_text_and_not_markup():
    rows = [row("a", m, 1.0, level="[/b]") for m in ("frozen", "x[/b]")]
    spec = TableSpec(title="[/b] [red]", references=("x[/b]",))
    console = Console(file=io.StringIO(), width=300)
    console.print(view_table(summarise_rows(rows, spec.references), spec).rich())
    text = console.file.getvalue()
    assert "[/b] [red]" in text and "x[/b]" in text


def test_per_sequence_csv():
    rows = [
        row(f"{s}{i}", "frozen", 10 * i, sequence=s, label="a, b") for s in "xy" for i in (1, 2)
    ]
    text = sequence_csv(summarise_rows(rows, (), by="sequence", resamples=1))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["sequence"] for line in lines] == ["x", "y", "all"]
    assert float(lines[0]["pa_mpjpe_mm"]) == 15 and lines[0]["tracks"] == "2"
    assert lines[0]["mpvpe_mm"] == ""


def test_pages_are_made_from_summaries(tmp_path):
    from bench_fake import FakeBenchmark, run

    from tools import make_results

    results, readme = tmp_path / "results", tmp_path / "README.md"
    results.mkdir()
    shutil.copy(ROOT / "docs" / "results" / "published.json", results)
    (results / "old.json").write_text("[]")
    readme.write_text(f"above\n{make_results.BEGIN}\nold\n{make_results.END}\nbelow\n")
    arguments = ["--results", str(results), "--summary", str(readme),
                 "--output", str(tmp_path / "results.md")]  # fmt: skip
    assert make_results.main(arguments) == 0
    assert "old" in readme.read_text()  # no run yet: the table stays
    run(tmp_path / "run", FakeBenchmark(), methods=("frozen", "semtta"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    (results / "fake.json").write_text(json.dumps(summary | {"remarks": ["Two are left out."]}))
    assert make_results.main([*arguments, "--check"]) == 1
    assert make_results.main(arguments) == 0
    assert make_results.main([*arguments, "--check"]) == 0
    page, text = (tmp_path / "results.md").read_text(), readme.read_text()
    assert text.startswith("above\n") and text.endswith("below\n") and "old" not in text
    assert "| fake | lifter | clean |" in text and "| fake | lifter | hidden |" in text
    for words in ("(published)", "84.4", "87.7", "fake12", "Nothing here is real.", "--seeds 1",
                  "Two are left out.", "optimizer.epochs=1"):  # fmt: skip
        assert words in page
    (results / "torn.json").write_text('{"rows": [')
    with pytest.raises(SystemExit, match="torn.json' is not readable JSON"):
        make_results.main(arguments)
    (results / "torn.json").unlink()
    readme.write_text("no markers")
    with pytest.raises(SystemExit, match="needs one line"):
        make_results.main(arguments)


def test_the_committed_pages_are_up_to_date():
    from tools import make_results

    assert make_results.main(["--check"]) == 0


def test_shipped_tables_are_whole():
    names = shipped_tables()
    assert {"table1", "table2", "table3", "table4", "table5", "fig3", "controls"} <= set(names)
    for name in names:
        spec = load_table(name)
        assert [m.name for m in spec.methods][:2] == ["frozen", "frozen+gauss"]
        for method in spec.methods:
            if method.name not in METHODS:
                method.config(spec.models[0])
    sigmas = [m.config("lifter").gate.sigma for m in load_table("table5").methods[2:]]
    assert sigmas == sorted(sigmas) and 0.47 in sigmas
    assert load_table("table3").group_by == "sequence"


def test_own_tables_and_methods(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: Mine\nmethods:\n  - frozen\n"
        "  - {name: long, like: semtta-nolabel, overrides: [optimizer.epochs=20]}\n"
        "  - {name: longer, like: long, overrides: [optimizer.lr=1e-4], filter: gaussian}\n"
    )
    spec = load_table(path)
    longer = spec.methods[-1]
    assert longer.label == "none" and longer.filter == "gaussian"
    config = longer.config("lifter")
    assert config.optimizer.epochs == 20 and config.optimizer.lr == 1e-4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("methods: [", "not valid YAML"),
        ("title: x", "list of methods"),
        ("methods: frozen", "must be a list"),
        ("methods: [frozzen]", "no method 'frozzen'"),
        ("methods: [{like: semtta}]", "a mapping with a name"),
        ("methods: [{name: x, colour: 3}]", "unknown key 'colour'"),
        ("methods: [{name: x, like: y}]", "like unknown 'y'"),
        ("methods: [{name: x, label: left}]", "label must be"),
        ("methods: [frozen]\ncolumns: [speed]", "no column 'speed'"),
        ("methods: [frozen]\ngroup_by: colour", "group_by"),
        ("methods: [frozen]\nnote: 5", "note must be a text"),
        ("methods: [frozen]\ntitle: [x]", "title must be a text"),
        ("methods: [frozen]\nmodels: []", "models must not be empty"),
        ("methods: [{name: ''}]", "a mapping with a name"),
        ("methods: [{name: x, like: [y]}]", "like unknown"),
        ("methods: [{name: x, settings: 5}]", "settings must be"),
        ("methods: [{name: x, settings: {lifter: 5}}]", "settings must be"),
        ("methods: [frozen]\nmethod: x", "unknown key 'method'"),
    ],
)
def test_wrong_tables_are_one_sentence(tmp_path, text, words):
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(SemttaError, match=words) as error:
        load_table(path)
    assert "\n" not in str(error.value)
