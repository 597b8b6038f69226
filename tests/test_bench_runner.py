"""A benchmark run: resumed after a kill, spread over processes, the same rows every time."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bench_fake import FakeBenchmark, run

from semtta.bench.methods import METHODS, Method, find_methods, settings_hash
from semtta.bench.options import Options, check_options, inputs, overrides
from semtta.bench.rows import append_row, read_rows, row_key, sole_writer, write_rows
from semtta.bench.runner import TrackRunner, plan
from semtta.config import shipped_configs
from semtta.errors import SemttaError
from semtta.hmr import MODELS
from semtta.shipped import asset, file_sha256
from semtta.tta.used_files import used_files
from semtta.work.scheduling import schedule

FAKE = Path(__file__).parent / "bench_fake.py"
ALL_ROWS = 6 * 3  # tracks, methods


def numbers(rows):
    """Rows without what differs from run to run."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run in this process."""
    folder = tmp_path_factory.mktemp("whole")
    outcome = run(folder, FakeBenchmark())
    return folder, outcome


def test_rows_say_what_they_are(whole):
    folder, outcome = whole
    rows = read_rows(folder / "rows.jsonl")
    assert len(rows) == ALL_ROWS and not outcome.failures
    row = rows[0]
    for key in ("data", "protocol", "item", "sequence", "level", "group", "label", "model",
                "method", "seed", "frames", "seconds", "similarity", "gate_similarity", "filled",
                "reprojection_px", "version", "settings", "pa_mpjpe_mm"):  # fmt: skip
        assert key in row
    by = {(r["item"], r["method"]): r for r in rows}
    frozen, smooth = by["walk0-clean", "frozen"], by["walk0-clean", "frozen+gauss"]
    assert frozen["mpjpe_mm"] != smooth["mpjpe_mm"] != by["walk0-clean", "2d"]["mpjpe_mm"]
    assert by["walk0-clean", "2d"]["reprojection_px"] > 0
    assert {p.name for p in folder.iterdir()} == {
        "rows.jsonl", "summary.json", "table.md", "per_sequence.csv"
    }  # fmt: skip


@pytest.mark.slow
def test_killed_half_way_and_resumed(whole, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(FAKE.parents[1])}
    killed = subprocess.run([sys.executable, str(FAKE), str(tmp_path)], env=environment)
    assert killed.returncode == -signal.SIGKILL
    done = {row["item"] for row in read_rows(tmp_path / "rows.jsonl")}
    assert done == {"walk0-clean", "walk0-hidden", "walk1-clean"}
    with open(tmp_path / "rows.jsonl", "a") as file:
        file.write('{"data": "fake", "it')  # a line that the kill tore
    log = tmp_path / "log"
    outcome = run(tmp_path, FakeBenchmark(log=log))
    assert set(log.read_text().split()) == {"walk1-hidden", "walk2-clean", "walk2-hidden"}
    assert numbers(outcome.rows) == numbers(whole[1].rows)
    again = read_rows(tmp_path / "rows.jsonl")
    assert numbers(again) == numbers(read_rows(whole[0] / "rows.jsonl"))
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == ALL_ROWS


@pytest.mark.slow
def test_a_killed_worker_loses_no_track(whole, tmp_path):
    killer = FakeBenchmark(kill_at="walk1-clean", marker=tmp_path / "marker")
    outcome = run(tmp_path / "out", killer, workers=2)
    assert (tmp_path / "marker").exists() and not outcome.failures
    assert numbers(outcome.rows) == numbers(whole[1].rows)


@pytest.mark.slow
def test_a_broken_track_is_one_sentence_and_is_tried_again(whole, tmp_path):
    outcome = run(tmp_path, FakeBenchmark(broken="walk0-clean"))
    assert len(outcome.failures) == 1 and "'walk0-clean' is broken." in outcome.failures[0]
    assert sum("error" in row for row in outcome.rows) == 3
    tracks = {row["tracks"] for row in json.loads((tmp_path / "summary.json").read_text())["rows"]}
    assert tracks == {2, 3, 5}
    mended = run(tmp_path, FakeBenchmark())
    assert numbers(mended.rows) == numbers(whole[1].rows)


def test_other_settings_are_computed_anew_and_equal_ones_are_not(tmp_path):
    log = tmp_path / "log"
    bench = FakeBenchmark(log=log)
    options = {"methods": ("2d",), "limit": 1}
    first = run(tmp_path, bench, **options)
    run(tmp_path, bench, **options)
    assert log.read_text().split() == ["walk0-clean"]
    other = run(tmp_path, bench, overrides=("optimizer.epochs=2",), **options)
    assert len(log.read_text().split()) == 2
    assert other.rows[-1]["settings"] != first.rows[-1]["settings"]
    settings = {(r["method"], r["settings"]) for r in read_rows(tmp_path / "rows.jsonl")}
    assert len(settings) == 2  # one per method: no mixture for --report-only


def test_report_only_computes_nothing(whole, tmp_path):
    folder, outcome = whole
    (tmp_path / "rows.jsonl").write_bytes((folder / "rows.jsonl").read_bytes())
    bench = FakeBenchmark(log=tmp_path / "log")
    report = run(tmp_path, bench, report_only=True)
    assert not (tmp_path / "log").exists()
    assert report.views[0].rows == outcome.views[0].rows
    shutil.copy(folder / "summary.json", tmp_path)
    run(tmp_path, bench, report_only=True, methods=(), overrides=())
    assert (tmp_path / "summary.json").read_text() == (folder / "summary.json").read_text()
    (tmp_path / "summary.json").write_text("[]")  # of another program
    assert run(tmp_path, bench, report_only=True).views[0].rows == outcome.views[0].rows
    shutil.copy(folder / "rows.jsonl", tmp_path / "rows.jsonl")
    text = (tmp_path / "rows.jsonl").read_text().replace('"model": "lifter"', '"model": "hmr"')
    (tmp_path / "rows.jsonl").write_text(text)
    run(tmp_path, bench, report_only=True)
    assert json.loads((tmp_path / "summary.json").read_text())["models"] == ["hmr"]
    with pytest.raises(SemttaError, match="nothing to report"):
        run(tmp_path, bench, report_only=True, models=("lifter",))
    with pytest.raises(SemttaError, match="nothing to report"):
        run(tmp_path / "empty", bench, report_only=True)
    assert not (tmp_path / "empty").exists()


@pytest.mark.slow
def test_seeds_and_order_change_nothing_else(tmp_path):
    bench = FakeBenchmark()
    methods = find_methods(["frozen", "2d"])
    tasks = plan(bench, bench.items()[:2], ["lifter"], methods, [0, 1], ["optimizer.epochs=1"])
    assert len(tasks) == 2 and all(len(task) == 4 for task in tasks)
    runner = TrackRunner(bench)
    forward = {row_key(row): row for row in (runner(job) for task in tasks for job in task)}
    backward = [runner(job) for task in reversed(tasks) for job in reversed(task)]
    for row in backward:
        assert numbers([row]) == numbers([forward[row_key(row)]])
    assert [job.config.seed for job in tasks[0]] == [0, 1, 0, 1]
    assert len({row["settings"] for row in backward}) == 2  # the seed is not a setting


def test_settings_that_cannot_run_are_refused_before_the_work(tmp_path):
    bench = FakeBenchmark()
    for options, words in (
        ({"methods": ("frozzen",)}, "no method 'frozzen'"),
        ({"models": ("hmr9",)}, "no settings for model 'hmr9'"),
        ({"overrides": ("optimizer.epoch=1",)}, "optimizer.epochs"),
        ({"overrides": ("seed=1",)}, "--seeds"),
        ({"levels": ("dark",)}, "no level 'dark'"),
        ({"engine": "slurm"}, "no engine"),
        ({"workers": 0}, "at least 1"),
    ):
        with pytest.raises(SemttaError, match=words):
            run(tmp_path / "out", bench, **options)
    assert not (tmp_path / "out").exists()


ROW = {"data": "d", "protocol": "p", "item": "b", "model": "m", "method": "x", "seed": 0,
       "settings": "s", "sequence": "b", "level": "", "group": "b", "label": None,
       "mpjpe_mm": 1.0}  # fmt: skip


def test_a_torn_line_is_passed_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, ROW | {"mpjpe_mm": float("nan")})
    append_row(path, ROW | {"item": "a\u2028", "mpjpe_mm": 2.0})
    whole = path.read_bytes()
    for torn in (b'{"data": "d", "prot', b'{"da', b"\0\0\0", '{"data": "\u00fc'.encode()[:-1]):
        path.write_bytes(whole + torn)
        rows = read_rows(path)
        assert [r["item"] for r in rows] == ["b", "a\u2028"] and rows[0]["mpjpe_mm"] is None
    write_rows(path, rows)
    assert [json.loads(line)["item"] for line in path.read_text().split("\n")[:-1]] == [
        "a\u2028", "b"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ['{"my": "own"}', "[1]", "my own", json.dumps(ROW | {"mpjpe_mm": "1"}),
     json.dumps(ROW | {"seed": "0"}), json.dumps(ROW | {"item": [1]}),
     json.dumps(ROW | {"group": None}), json.dumps(ROW | {"frames": -1}),
     json.dumps(ROW | {"mpjpe_mm": float("nan")})],
)  # fmt: skip
def test_what_is_no_row_is_refused_and_kept(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + line + "\n")
    before = path.read_bytes()
    with pytest.raises(SemttaError, match=r"line 2 of .*rows\.jsonl"):
        run(tmp_path, FakeBenchmark(), methods=("frozen",), limit=1)
    assert path.read_bytes() == before
    path.write_text("my own notes")  # one line without an end is no torn row either
    with pytest.raises(SemttaError, match="line 1 of"):
        read_rows(path)


def test_the_folder_of_another_benchmark_is_left_alone(whole, tmp_path):
    for name in ("rows.jsonl", "summary.json", "table.md"):
        shutil.copy(whole[0] / name, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for more in ({}, {"report_only": True}):
        with pytest.raises(SemttaError, match="holds results of fake, not of other"):
            run(tmp_path, FakeBenchmark(name="other"), **more)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(importlib.util.find_spec("fcntl") is None, reason="no locks here")
def test_two_runs_do_not_write_into_one_folder(tmp_path):
    options = {"methods": ("frozen",), "limit": 1}
    with sole_writer(tmp_path):
        with pytest.raises(SemttaError, match="another run writes into"):
            run(tmp_path, FakeBenchmark(), **options)
        assert not list(tmp_path.iterdir())
    assert not run(tmp_path, FakeBenchmark(), **options).failures


def test_results_under_other_settings_are_put_away_and_come_back(tmp_path):
    log = tmp_path / "log"
    bench, options = FakeBenchmark(log=log), {"methods": ("2d",), "limit": 1}
    first = run(tmp_path, bench, **options)
    run(tmp_path, bench, overrides=("optimizer.epochs=2",), **options)
    assert len(log.read_text().split()) == 2
    assert {row_key(row) for row in read_rows(tmp_path / "superseded.jsonl")} == {
        row_key(row) for row in first.rows
    }  # fmt: skip
    again = run(tmp_path, bench, **options)
    assert len(log.read_text().split()) == 2 and again.rows == first.rows
    assert len(read_rows(tmp_path / "rows.jsonl")) == 2
    assert len(read_rows(tmp_path / "superseded.jsonl")) == 4  # nothing was thrown away


def test_a_motion_that_diverged_is_a_failure(tmp_path):
    """A missing number would drop the track from this method's mean only."""
    outcome = run(tmp_path, FakeBenchmark(diverged="walk0-clean"), methods=("frozen",))
    assert len(outcome.failures) == 1 and "diverged" in outcome.failures[0]
    assert {row["item"] for row in outcome.rows if "error" in row} == {"walk0-clean"}


def test_a_table_says_which_tracks_are_left_out_and_who_had_no_text(tmp_path):
    bench, options = FakeBenchmark(broken="walk0-clean"), {"methods": ("frozen", "semtta")}
    for silent, words in ((False, None), (True, "semtta ran without any text")):
        run(tmp_path / str(silent), replace(bench, silent=silent), limit=2, **options)
        summary = json.loads((tmp_path / str(silent) / "summary.json").read_text())
        left, *rest = summary["remarks"]
        assert "1 tracks left out" in left
        assert words in rest[0] if silent else not rest
        table = (tmp_path / str(silent) / "table.md").read_text()
        assert all(remark in table for remark in summary["remarks"])


def test_a_model_named_twice_runs_once(tmp_path):
    outcome = run(tmp_path, FakeBenchmark(), methods=("frozen",), models=("lifter",) * 2, limit=1)
    assert len(outcome.rows) == 2  # and the control


def test_options_of_other_benchmarks_are_refused(tmp_path):
    given = {"root": tmp_path, "labels": tmp_path, "poses2d": "detect", "motions": tmp_path,
             "wheel": tmp_path, "split": "test"}  # fmt: skip
    right = {"3dpw": {"root", "labels", "poses2d", "split"}, "mocap": {"motions", "split"},
             "beam": {"wheel"}}  # fmt: skip
    for data, known in right.items():
        for name, value in given.items():
            options = Options(data=data, output=tmp_path, **{name: value})
            if name in known:
                check_options(options)
                continue
            with pytest.raises(SemttaError, match=f"--{name} belongs to"):
                check_options(options)


def test_licensed_sets_are_not_measured_on_the_shipped_body(tmp_path):
    options = Options(data="3dpw", output=tmp_path, overrides=("body.name=cc0",))
    with pytest.raises(SemttaError, match="measured on SMPL's body"):
        overrides(options)
    assert overrides(replace(options, data="beam")) == ["body.name=cc0"]


def test_what_labels_say_is_part_of_the_settings_not_where_they_lie(tmp_path):
    def said(path):
        return inputs(Options(data="3dpw", output=tmp_path, labels=path))["labels"]

    (tmp_path / "a.json").write_text('{"x": "walk"}')
    first = said(tmp_path / "a.json")
    shutil.copy(tmp_path / "a.json", tmp_path / "b.json")
    assert said(tmp_path / "b.json") == first and str(tmp_path) not in first
    (tmp_path / "a.json").write_text('{"x": "sit"}')
    assert said(tmp_path / "a.json") != first
    folder = said(tmp_path)
    (tmp_path / "b.json").write_text('{"x": "jump"}')
    assert said(tmp_path) != folder


def test_the_users_own_files_are_part_of_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMTTA_CHECKPOINTS", str(tmp_path))
    assert used_files(METHODS["semtta"].config("lifter")) == {}
    method = METHODS["paper"]
    config = method.config("hmr", ["body.name=smpl", f"alignment.clip={tmp_path}/absent"])
    assert "model" not in used_files(config, tmp_path)
    (tmp_path / "model_checkpoint.pt").write_bytes(b"one")
    (tmp_path / "SMPL_NEUTRAL.npz").write_bytes(b"body")
    first = used_files(config, tmp_path)
    assert {"model", "body"} <= set(first) and "clip" not in first
    (tmp_path / "model_checkpoint.pt").write_bytes(b"another")
    second = used_files(config, tmp_path)
    assert first["model"] != second["model"] and first["body"] == second["body"]
    hashes = {settings_hash(method, config, {}, files) for files in ({}, first, second)}
    assert len(hashes) == 3
    assert settings_hash(method, config, {}, {}) == settings_hash(method, config, {})


def test_the_summary_tells_whose_weights_they_were(tmp_path):
    weights = tmp_path / "mine.pt"
    shutil.copy(asset("hmr/lifter.pt"), weights)
    for _ in range(2):  # the second time, only a report
        run(tmp_path / "out", FakeBenchmark(), methods=("frozen",), limit=1,
            overrides=(f"model.checkpoint={weights}",))  # fmt: skip
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["files"] == {"lifter": {"model": file_sha256(weights)[:12]}}
    run(tmp_path / "out", FakeBenchmark(), report_only=True)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["files"] == summary["files"]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks here")
@pytest.mark.slow
def test_workers_do_not_hear_ctrl_c_while_they_start(tmp_path):
    """In an interpreter of its own: the first worker also starts multiprocessing's tracker."""
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\nfrom multiprocessing import get_context\n\n\n"
        "def tell():\n    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
        "\n\nif __name__ == '__main__':\n"
        "    from semtta.work.processes import deaf_to_ctrl_c\n\n"
        "    process = get_context('spawn').Process(target=tell)\n"
        "    with deaf_to_ctrl_c():\n        process.start()\n"
        "    process.join()\n    tell()\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_the_hash_sees_what_changes_a_result():
    method = METHODS["semtta"]
    config = method.config("lifter")
    start = settings_hash(method, config, {})
    assert start == settings_hash(method, replace(config, seed=5), {})
    assert start != settings_hash(METHODS["semtta-nolabel"], config, {})
    assert start != settings_hash(method, method.config("lifter", ["optimizer.epochs=2"]), {})
    assert start != settings_hash(method, config, {"poses2d": "vitpose"})


def test_methods_are_stronger_than_overrides_for_all():
    config = METHODS["2d"].config("lifter-narrow", ["alignment.weight=9", "optimizer.epochs=3"])
    assert config.alignment.weight == 0 and config.optimizer.epochs == 3
    assert config.model.name == "lifter-narrow"
    for label in ("right", "wrong"):
        Method("x", label=label)
    with pytest.raises(SemttaError, match="label must be"):
        Method("x", label="left")
    files = {METHODS[name].settings[model] for name in METHODS for model in MODELS}
    assert files <= set(shipped_configs())


class FakePool:
    """Workers of no process; they die at the jobs that ``deadly`` says."""

    def __init__(self, deadly):
        self.deadly, self.started, self.order, self.jobs = deadly, 0, [], {}
        self.why = "because"

    def start(self):
        self.started += 1
        return self.started

    def send(self, worker, job):
        self.jobs[worker] = job
        self.order.append((worker, job.item.name))

    def ready(self, workers):
        job = self.jobs.pop(workers[0])
        return [(workers[0], None if self.deadly(job) else job.head())]

    def stop(self, worker): ...

    def close(self): ...


def all_jobs(seeds=3):
    bench = FakeBenchmark()
    return plan(bench, bench.items(), ["lifter"], find_methods(["frozen"]), range(seeds))


def test_a_job_that_kills_every_worker_becomes_a_row():
    pool = FakePool(lambda job: job.item.name == "walk2-hidden" and job.seed == 1)
    rows = list(schedule(all_jobs(), pool, 2))
    assert len({row_key(row) for row in rows}) == len(rows) == 18
    failed = [row for row in rows if "error" in row]
    assert [(row["item"], row["seed"]) for row in failed] == [("walk2-hidden", 1)]
    assert "3 worker processes died" in failed[0]["error"] and pool.started == 2 + 3


def test_workers_that_all_die_end_the_run():
    with pytest.raises(SemttaError, match="every worker process dies"):
        list(schedule(all_jobs(), FakePool(lambda job: True), 2))


def test_a_worker_keeps_to_its_item_and_the_idle_help():
    pool = FakePool(lambda job: False)
    list(schedule(all_jobs()[:2], pool, 3))
    readers = {}
    for worker, item in pool.order:
        readers.setdefault(item, set()).add(worker)
    assert 3 in readers["walk0-clean"] | readers["walk0-hidden"]  # two items, three workers
    assert sum(map(len, readers.values())) <= 4


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_ray_with_two_workers_and_a_killed_one(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAKE.parent))  # where the cluster finds the fake
    killer = FakeBenchmark(kill_at="walk1-clean", marker=tmp_path / "marker")
    outcome = run(tmp_path / "out", killer, engine="ray", workers=2)
    assert (tmp_path / "marker").exists() and not outcome.failures
    assert numbers(outcome.rows) == numbers(whole[1].rows)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_ray_that_is_absent_is_explained(tmp_path):
    with pytest.raises(SemttaError, match=r"semtta\[ray\]"):
        run(tmp_path, FakeBenchmark(), engine="ray")


def test_a_camera_is_told_of_own_videos_only(tmp_path):
    options = Options(data="beam", output=tmp_path, overrides=("camera.focal=1000",))
    with pytest.raises(SemttaError, match="cameras of beam are known"):
        overrides(options)
    assert overrides(replace(options, data="heldout")) == ["camera.focal=1000"]
