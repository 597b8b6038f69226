"""CLIP2Pose's tables as named runs: planned, resumed, reported, checked."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_pose2d_training import SPEC, TARGET
from typer.testing import CliRunner

from semtta.bench.pose2d import check, runner, sets
from semtta.bench.pose2d.plan import plan
from semtta.bench.pose2d.report import PUBLISHED, report
from semtta.bench.pose2d.runner import PoseRunner
from semtta.bench.pose2d.session import PoseOptions, _found, run_table
from semtta.bench.pose2d.sets import clip_set, degraded, parse_roots
from semtta.bench.pose2d.tables import load_pose_table, shipped_pose_tables
from semtta.commands.pose2d import app
from semtta.errors import SemttaError
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.samples import KeypointSet
from semtta.pose2d.settings import shipped_settings
from semtta.pose2d.skeletons import BODY16, grouped_skeleton


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


def options(folder, mode="quick", **changes) -> PoseOptions:
    return PoseOptions(mode, folder / "out", folder / "stage1",
                       **({"seeds": 2, "workers": 1} | changes))  # fmt: skip


def small_table(folder, text: str = ""):
    """Two rows, one of them published."""
    path = folder / "small.yaml"
    path.write_text(text or (
        "title: Small\npairs:\n  - {name: A→B, source: surreal, target: lsp}\nmethods:\n"
        "  - {name: Source only, settings: pose2d_stage1}\n"
        "  - {name: UniFrame, settings: pose2d_uniframe, stage1: true, reading: ours}\n"
        "  - {name: Lost, left_out: nobody knows how}\n"
        "published:\n  A→B:\n    UniFrame: [1, 2, 3, 4, 5, 6, 7.5]\n    Lost: 9.5\n"
    ), encoding="utf8")  # fmt: skip
    return load_pose_table(path)


@pytest.fixture
def counted(monkeypatch):
    """Rows that cost nothing: All = 10 times the order of the method, plus its seed."""
    done = []

    def row(self, job):
        done.append((job.method.name, job.seed))
        groups = dict.fromkeys(BODY16.group_indices, 10.0 * job.order + job.seed)
        also = {"beam_occluded": {"0.05": {"All": 5.0 + job.seed}}} if job.order else {}
        return job.head() | {"pck": {"0.05": groups, "0.1": groups}, "also": also, "seconds": 0.1}

    monkeypatch.setattr(PoseRunner, "_row", row)
    return done


# ------------------------------------------------------------------------------- tables


def test_every_shipped_table_can_be_run_and_quotes_whole_rows():
    names = set(shipped_pose_tables())
    assert {*(f"table{i}" for i in range(1, 7)), "table6_hands", "fig3", "fig5", "literal",
            "teacher"} == names  # fmt: skip
    read = set()
    for name in names:
        table = load_pose_table(name)
        read |= {m.settings for m in table.methods if m.settings}
        columns = len(grouped_skeleton(table.skeleton).group_indices)
        assert all(m.settings or m.left_out for m in table.methods)
        for rows in table.published.values():
            assert {len(numbers) for numbers in rows.values()} <= {1, columns}
    assert read <= set(shipped_settings())
    table = load_pose_table("table1")
    compared = {"CC-SSL", "MDAM", "RegDA", "UniFrame", "SFHPE", "AD-CLIP", "PDA", "CLIP2Pose"}
    assert compared <= {m.name for m in table.methods if not m.left_out}
    assert table.published["SURREAL→LSP"]["CLIP2Pose"][-1] == 84.2
    tasks = plan(table, "paper", range(5))
    assert len(tasks) == 5 and {len(t) for t in tasks} == {2 * 10}  # pairs of one source together
    configs = {job.method.name: job.config for job in tasks[0]}
    assert configs["RegDA"].optimizer.lr == 0.1 and configs["UniFrame"].optimizer.name == "adam"
    stage1 = {job.method.name for job in tasks[0] if job.stage1}
    assert stage1 == {"CC-SSL", "MDAM", "RegDA", "UniFrame", "SFHPE"}


def test_rows_of_the_ablation_are_the_papers():
    rows = {}
    for job in plan(load_pose_table("table4"), "paper", [0])[0]:
        c = job.config.clip2pose
        rows[job.method.name] = (c.sdp, c.smvf, c.dal)
    assert rows == {"none": (False, False, False), "SDP": (True, False, False),
                    "SDP + SMVF": (True, True, False), "SDP + SMVF + DAL": (True,) * 3}  # fmt: skip
    prompts = {job.config.clip2pose.prompts
               for job in plan(load_pose_table("fig3"), "paper", [0])[0]}  # fmt: skip
    assert prompts == {"sdp", "coop", "cocoop", "words"}
    configs = [job.config.clip2pose for job in plan(load_pose_table("fig5"), "paper", [0])[0]]
    assert {c.graph_layers for c in configs} == {1, 2, 3, 4}
    assert {c.image_tokens for c in configs} == {5, 10, 20}
    assert {c.alignment_weight for c in configs} == {0.1, 0.3, 0.5}


def test_the_same_settings_have_the_same_hash_and_other_ones_another(tmp_path):
    table = small_table(tmp_path)
    (first, *_), *_ = plan(table, "paper", [0])
    other = plan(table, "paper", [1], ["device=cpu", "estimator.imagenet=a/b.pth"])[0][0]
    moved = plan(table, "paper", [0], ["estimator.imagenet=c/b.pth"])[0][0]
    changed = plan(table, "paper", [0], ["optimizer.lr=0.5"])[0][0]
    assert other.settings == moved.settings != first.settings != changed.settings
    assert plan(table, "quick", [0])[0][0].settings != first.settings


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("title: Small", "titel: Small", "unknown key 'titel'"), ("surreal", "surreel", "surreel"),
     ("settings: pose2d_stage1", "settings: pose2d_stage9", "no settings"),
     ("name: UniFrame, ", "", "'name' is missing"), ("left_out: nobody knows how", "", "settings"),
     ("[1, 2, 3, 4, 5, 6, 7.5]", "[1, 2]", "1 or 7"), ("Lost: 9.5", "Found: 9.5", "Found"),
     ("Lost: 9.5", "Lost: many", "no numbers"), ("A→B:", "A→C:", "no pair")],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_one_sentence(tmp_path, old, new, said):
    small_table(tmp_path)
    text = (tmp_path / "small.yaml").read_text("utf8")
    with pytest.raises(SemttaError, match=said) as error:
        plan(small_table(tmp_path, text.replace(old, new)), "paper", [0])
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------- runs


def test_a_run_goes_on_where_it_stopped_and_marks_what_is_published(tmp_path, counted, monkeypatch):
    table = small_table(tmp_path)
    text, failed = run_table(table, options(tmp_path))
    assert failed == 0 and len(counted) == 4
    assert (
        "| UniFrame | 2 | " in text and "10.5 ± 0.7 | 5.5 ± 0.7 |" in text and PUBLISHED not in text
    )
    assert "UniFrame: ours" in text and "Lost is left out: nobody knows how" in text
    assert run_table(table, options(tmp_path))[0] == text and len(counted) == 4
    run_table(table, options(tmp_path, seeds=3))
    assert counted[4:] == [("Source only", 2), ("UniFrame", 2)]
    run_table(table, options(tmp_path, overrides=("optimizer.lr=0.5",)))
    assert len(counted) == 10  # other settings, other rows; those before are kept
    assert run_table(table, options(tmp_path, report_only=True))[0] == text and len(counted) == 10
    summary = json.loads((tmp_path / "out" / "small.json").read_text("utf8"))
    assert summary["values_by_seed"]["renders → clip"]["UniFrame"]["0.05"]["All"] == [10, 11]

    whole = options(tmp_path, "paper", roots=(("surreal", tmp_path), ("lsp", tmp_path)))
    text, _ = run_table(table, whole)
    assert f"| UniFrame, {PUBLISHED} | | 1.0 | 2.0 |" in text
    assert f"| Lost, {PUBLISHED} | | - | - | - | - | - | - | 9.5 |" in text


def test_a_training_that_two_tables_ask_for_is_done_once(tmp_path, counted):
    run_table(load_pose_table("fig3"), options(tmp_path, seeds=1, methods=("SDP",)))
    text, _ = run_table(load_pose_table("table4"), options(tmp_path, seeds=1))
    assert [name for name, _ in counted] == ["SDP", "none", "SDP", "SDP + SMVF"]
    assert "| SDP + SMVF + DAL | 1 | 30.0 |" in text  # as row 3 of figure 3
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "rows.jsonl", "fig3.md", "fig3.json", "table4.md", "table4.json"}  # fmt: skip


def test_a_row_that_failed_is_said_and_done_again(tmp_path, counted, monkeypatch):
    good = PoseRunner._row

    def bad(self, job):
        if job.method.name == "UniFrame":
            raise SemttaError("the loss is not finite at step 3.")
        return good(self, job)

    monkeypatch.setattr(PoseRunner, "_row", bad)
    text, failed = run_table(small_table(tmp_path), options(tmp_path))
    assert failed == 2 and "not finite at step 3" in text and "| UniFrame | 0 | - |" in text
    monkeypatch.setattr(PoseRunner, "_row", good)
    text, failed = run_table(small_table(tmp_path), options(tmp_path))
    assert failed == 0 and "not finite" not in text and len(counted) == 4


def test_stage_1_is_trained_once_for_all_methods_and_tables(tmp_path, monkeypatch):
    fits = []

    def fit(self, job, config):
        estimator = Estimator(config.estimator.spec())
        fits.append((config.strategy, config.estimator.checkpoint is not None, job.seed))
        return estimator, {"sup": 1.0}

    monkeypatch.setattr(PoseRunner, "_fit", fit)
    monkeypatch.setattr(PoseRunner, "_images", lambda *_: TARGET)
    text, failed = run_table(small_table(tmp_path), options(tmp_path, seeds=1))
    assert not failed, text
    assert fits == [("source_only", False, 0), ("source_only", True, 0), ("uniframe", True, 0)]
    run_table(load_pose_table("table4"), options(tmp_path, seeds=1, methods=("none",)))
    assert fits[3:] == [("clip2pose", True, 0)]


def test_what_is_missing_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(PoseRunner, "__call__", lambda *_: pytest.fail("trained"))
    table = small_table(tmp_path)
    for wrong, said in ((options(tmp_path, "paper"), "--root SURREAL="),
                        (options(tmp_path, methods=("Lost",)), "computes no 'Lost'"),
                        (options(tmp_path, overrides=("optimizer.lrr=1",)), "optimizer.lr"),
                        (options(tmp_path, overrides=("estimator.imagenet=no.pth",)), "no.pth"),
                        (options(tmp_path, engine="sun"), "no engine"),
                        (options(tmp_path, report_only=True), "nothing to report")):  # fmt: skip
        with pytest.raises(SemttaError, match=said):
            run_table(table, wrong)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def clip():
    return clip_set(64)


def test_a_quick_run_of_the_whole_way(tmp_path, clip, monkeypatch):
    few_frames = replace(clip, entries=clip.entries[:8])
    monkeypatch.setattr(sets, "clip_set", lambda size: few_frames)
    few = ("source.count=4", "optimizer.iterations=1", "optimizer.batch=2")
    rows = ("all parts",)
    chosen = options(tmp_path, seeds=1, overrides=few, methods=rows)
    text, failed = run_table(load_pose_table("teacher"), chosen)
    assert failed == 0, text
    assert "Quick: " in text and "| all parts | 1 |" in text
    assert len(list((tmp_path / "stage1").glob("*.pt"))) == 1


def test_further_targets_of_open_data(tmp_path):
    table, one = load_pose_table("teacher"), ("Source only",)
    job = plan(table, "open", [0], methods=one)[0][0]
    assert job.pair.target == "beam" and job.also == ("beam_occluded", "beam_degraded")
    job = plan(table, "open", [0], methods=one, target="beam_degraded")[0][0]
    assert job.pair.measured == "beam_degraded" and job.also == ("beam", "beam_occluded")
    with pytest.raises(SemttaError, match=r"annotations\.json"):
        plan(table, "open", [0], target=str(tmp_path))
    (tmp_path / "annotations.json").write_text("{}")
    job = plan(table, "open", [0], methods=one, target=str(tmp_path))[0][0]
    assert job.pair.name == f"renders → {tmp_path.name}" and job.also == ()
    with pytest.raises(SemttaError, match="--target"):
        plan(table, "open", [0], target="beem")
    with pytest.raises(SemttaError, match="belongs to --open"):
        call("--table", "teacher", "--target", "beam")


def test_videos_that_nobody_labelled_are_a_target_of_bodies(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"")
    one = ("Source only",)
    for target in (tmp_path / "a.mp4", tmp_path):
        job = plan(load_pose_table("teacher"), "open", [0], methods=one, target=str(target))[0][0]
        assert job.pair.measured == str(target) and job.also == ()
    with pytest.raises(SemttaError, match="--target"):
        plan(load_pose_table("table3"), "open", [0], target=str(tmp_path))  # people, no hands
    bare = [replace(entry, weight=0 * entry.weight) for entry in TARGET.entries]
    seen = []

    def found(video, joints, size, boxes):
        seen.append((video.name, boxes))
        return KeypointSet(video.name, joints, bare)

    monkeypatch.setattr(sets, "unlabelled_set", found)
    monkeypatch.setattr(PoseRunner, "_trained", lambda self, job: (Estimator(SPEC).eval(), {}))
    row = PoseRunner({}, tmp_path)(job)
    assert seen == [("a.mp4", "people")] and row["images"] == len(bare)
    assert row["pck"]["0.05"]["All"] is None and 0 <= row["mirrored"][str(tmp_path)] <= 100
    assert _found(row) == f"mirrored {row['mirrored'][str(tmp_path)]:.1f}"
    said = report(load_pose_table("teacher"), "open", [row])
    assert f"| {row['mirrored'][str(tmp_path)]:.1f} |" in said and "| - |" in said


def test_degraded_images_are_darker_and_the_same_every_time():
    first, again = degraded(TARGET), degraded(TARGET)
    for a, b, entry in zip(first.entries, again.entries, TARGET.entries):
        assert np.array_equal(a.image, b.image) and a.image.shape == entry.image.shape
        assert a.image.mean() < 0.6 * entry.image.mean()
        assert np.array_equal(a.xy, entry.xy)


def test_the_shipped_clip_is_labelled_where_the_man_is(clip):
    assert len(clip) == 100 and clip.labelled == 12 * 100
    xy = clip.entries[50].xy[clip.entries[50].weight > 0]
    assert (xy > 5).all() and (xy < 59).all()  # with a margin around
    assert abs(xy.min(0) + xy.max(0) - 63).max() < 12


# ------------------------------------------------------------------------------- command


def call(*words):
    result = CliRunner().invoke(app, ["bench", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_check_says_which_sets_are_missing(tmp_path, monkeypatch):
    class Images(list):
        def missing(self):
            return []

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(check, "load_set", lambda *_: Images("abc"))
    result = call("check", "--table", "table1", "--root", f"LSP={tmp_path}", f"surreal={tmp_path}")
    assert result.exit_code == 1
    assert "all 3" in result.output and "train 3, test 3" in result.output
    assert "--root HUMAN36M=FOLDER" in result.output and "--clip FILE" in result.output


def test_words_of_the_command():
    assert parse_roots(["LSP=a", "human36m=b=c"]).keys() == {"lsp", "human36m"}
    for word in ("LSP", "dog=a", "lsp="):
        with pytest.raises(SemttaError, match="SET=FOLDER"):
            parse_roots([word])
    for words, said in ((["--quick"], "--table"), (["--table", "table9", "--quick"], "no table"),
                        (["--table", "table1", "--quick", "--open"], "not both"),
                        (["--table", "table1", "lsp"], "neither"),
                        (["--table", "table1", "--quick", "--seeds", "0"], "--seeds")):  # fmt: skip
        with pytest.raises(SemttaError, match=said):
            call(*words)
    assert "table6_hands" in call("--list").output


def test_runners_pickle_without_what_they_hold(tmp_path):
    held = PoseRunner({"lsp": tmp_path}, tmp_path)
    held._sets["x"] = "images"
    again = runner.PoseRunner.__new__(PoseRunner)
    again.__dict__.update(held.__getstate__())
    assert again._sets == {} and again.roots == held.roots
