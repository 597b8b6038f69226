"""Bad input: one clear sentence, exit code 2, nothing written."""

import json
import logging
import os
import signal
import subprocess
import sys
import warnings

import cv2
import numpy as np
import pytest

from semtta import cli
from semtta.video import probe


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """run("adapt", ...) -> (exit code, stdout, stderr), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["semtta", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def empty_room(tmp_path):
    """A short video without any person."""
    path = tmp_path / "empty room.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (160, 120))
    generator = np.random.default_rng(0)
    for _ in range(4):
        writer.write(generator.integers(90, 110, (120, 160, 3), dtype=np.uint8))
    writer.release()
    return path


def refused(answer, words):
    code, out, err = answer
    assert code == 2, out + err
    assert words in " ".join(err.split()), err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.strip()]) == 1, err


def nothing_written(folder, *kept):
    assert sorted(p.name for p in folder.iterdir()) == sorted(kept)


def test_a_missing_file(run, tmp_path):
    refused(run("adapt", "absent.mp4"), "absent.mp4")
    nothing_written(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_an_empty_or_foreign_file(run, tmp_path, content):
    (tmp_path / "x.mp4").write_bytes(content)
    refused(run("adapt", "x.mp4"), "x.mp4")
    nothing_written(tmp_path, "x.mp4")


def test_a_truncated_video(run, tmp_path):
    from semtta.shipped import asset

    whole = asset("demo/cam02_occluded.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    refused(run("adapt", "cut.mp4"), "cut.mp4")
    nothing_written(tmp_path, "cut.mp4")


def test_a_video_without_people(run, tmp_path, empty_room):
    refused(run("adapt", empty_room, "--quiet"), "nobody was found")
    nothing_written(tmp_path, empty_room.name)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"labels": [{"txt": "walk"}]}, "'text'"),
        ({"labels": [{"text": "a", "end": 3}, {"text": "b", "start": 2}]}, "overlap"),
        ({"labels": [{"text": "a", "start": 3, "end": 1}]}, "not after"),
    ],
)
def test_a_wrong_label_file(run, tmp_path, empty_room, data, words):
    (tmp_path / "labels.json").write_text(json.dumps(data))
    refused(run("adapt", empty_room, "--labels", "labels.json"), words)
    nothing_written(tmp_path, empty_room.name, "labels.json")


def write_poses(path, frames=4, joints=17, spoil=None):
    xy = np.random.default_rng(0).uniform(10, 100, (frames, joints, 2))
    conf = np.ones((frames, joints))
    if spoil:
        spoil(xy, conf)
    np.savez(path, xy=xy, conf=conf, skeleton="coco17")


def test_poses_with_a_wrong_joint_count_or_nan(run, tmp_path, empty_room):
    write_poses(tmp_path / "p.npz", joints=16)
    refused(run("adapt", empty_room, "--poses2d", "p.npz"), "16")
    write_poses(tmp_path / "p.npz", spoil=lambda xy, conf: xy.__setitem__((slice(3), 2), np.nan))
    refused(run("adapt", empty_room, "--poses2d", "p.npz"), "NaN")
    refused(run("adapt", empty_room, "--poses2d", "absent.npz"), "absent.npz")
    nothing_written(tmp_path, empty_room.name, "p.npz")


def test_a_label_range_past_the_end(run, tmp_path, empty_room):
    write_poses(tmp_path / "p.npz")
    (tmp_path / "l.json").write_text('{"labels": [{"text": "walk", "end": 99}]}')
    answer = run("adapt", empty_room, "--poses2d", "p.npz", "--labels", "l.json", "--quiet")
    refused(answer, "past the end")
    nothing_written(tmp_path, empty_room.name, "p.npz", "l.json")


def test_an_unknown_setting_names_the_nearest(run, tmp_path, empty_room):
    refused(run("adapt", empty_room, "optimizer.lrr=1"), "did you mean 'optimizer.lr'")
    refused(run("adapt", empty_room, "--config", "fast"), "fast")
    refused(run("adapt", empty_room, "--model", "hmr9"), "hmr9")
    refused(run("adapt", empty_room, "--device", "quantum"), "quantum")
    nothing_written(tmp_path, empty_room.name)


def test_output_that_cannot_be_written_or_is_there_already(run, tmp_path, empty_room):
    (tmp_path / "file").write_text("")
    refused(run("adapt", empty_room, "-o", "file/below"), "cannot be written")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.yaml").write_text("")
    refused(run("adapt", empty_room, "-o", "out"), "--overwrite")


def test_a_dry_run_finds_what_a_run_would_stumble_over(run, tmp_path, empty_room):
    from semtta.pose2d.checkpoint import save_checkpoint
    from semtta.pose2d.estimator import Estimator, EstimatorSpec

    spec = EstimatorSpec("hand21", "efficientnet_lite0", 64, 8)
    save_checkpoint(tmp_path / "hands.pt", Estimator(spec))
    for arguments, words in (
        (("--label", "прыжок"), "'прыжок' has no word"),
        (("-o", "/proc/x"), "cannot be written"),
        (("--estimator", "hands.pt"), "hand21"),
        (("--renderer", "crayons"), "unknown renderer 'crayons'"),
        (("--label", "walk", "--prior", "motionclip"), "alignment.checkpoint"),
        (("--label", "walk", "--prior", "tmr"), "alignment.checkpoint"),
    ):
        refused(run("adapt", empty_room, *arguments, "--dry-run"), words)
    code, out, _ = run("adapt", empty_room, "--label", "walk", "--dry-run")
    assert code == 0 and "Everything is in place" in out
    nothing_written(tmp_path, empty_room.name, "hands.pt")


def test_labels_and_label_exclude_each_other(run, empty_room):
    refused(run("adapt", empty_room, "--label", "a", "--labels", "b.json"), "not both")


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say who labels"),
        (("--provider", "prior", "--template"), "say who labels"),
        (("--provider", "oracle"), "unknown provider 'oracle'"),
        (("--provider", "openai"), "--model"),
        (("--provider", "prior", "--dictionary", "absent.txt"), "absent.txt"),
        (("--provider", "prior", "labels.frames=9"), "at most 8"),
        (("--provider", "prior", "-o", "taken.json"), "--overwrite"),
    ],
)
def test_label_says_in_one_sentence_what_is_wrong(run, tmp_path, empty_room, arguments, words):
    (tmp_path / "taken.json").write_text("mine")
    refused(run("label", empty_room, *arguments), words)
    nothing_written(tmp_path, empty_room.name, "taken.json")


def test_labels_by_a_model_need_a_key_or_a_local_server(run, tmp_path, empty_room, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for arguments in (
        ("label", empty_room, "--provider", "openai", "--model", "m"),
        ("adapt", empty_room, "--labels", "vlm", "labels.model=m"),
    ):
        refused(run(*arguments), "no key in the environment variable OPENAI_API_KEY")
    refused(run("adapt", empty_room, "--labels", "vlm"), "--model")
    nothing_written(tmp_path, empty_room.name)


def test_label_template_and_images_without_a_network(run, tmp_path, empty_room):
    write_poses(tmp_path / "p.npz")
    common = ("label", empty_room, "--poses2d", "p.npz")
    code, out, _ = run(*common, "--template", "-o", "t.json")
    assert code == 0 and json.loads((tmp_path / "t.json").read_text())["labels"][0]["text"] == ""
    refused(run("adapt", *common[1:], "--labels", "t.json"), "entry 1: the text is missing")
    code, out, _ = run(*common, "--dry-run", "-o", "strips")
    assert code == 0 and "Nothing was sent" in out and "1 image" in out
    (image,) = (tmp_path / "strips").glob("*.jpg")
    assert cv2.imread(str(image)).shape[0] == 384
    assert "yellow box" in (tmp_path / "strips" / "question.txt").read_text()
    (tmp_path / "names.txt").write_text("frobnicate\n")
    code, out, _ = run(*common, "--dry-run", "-o", "more", "--dictionary", "names.txt")
    assert "frobnicate" in (tmp_path / "more" / "question.txt").read_text()


def test_a_template_is_in_seconds_unless_frames_are_asked_for(run, tmp_path, empty_room):
    write_poses(tmp_path / "p.npz")
    common = ("label", empty_room, "--poses2d", "p.npz", "--template", "--quiet")
    found = {}
    for unit in ("seconds", "frames"):
        code, _, err = run(*common, "-o", f"{unit}.json", "--unit", unit)
        assert code == 0, err
        found[unit] = json.loads((tmp_path / f"{unit}.json").read_text())
        assert found[unit]["unit"] == unit and found[unit]["labels"][0]["start"] == 0
    assert "fps" in found["frames"] and "fps" not in found["seconds"]
    end, fps = found["frames"]["labels"][0]["end"], found["frames"]["fps"]
    assert found["seconds"]["labels"][0]["end"] == pytest.approx(end / fps, abs=2e-3)
    run(*common, "-o", "default.json")
    assert json.loads((tmp_path / "default.json").read_text())["unit"] == "seconds"
    refused(run(*common, "-o", "x.json", "--unit", "minutes"), "--unit is seconds or frames")


@pytest.mark.parametrize(
    ("text", "said"),
    [("quarterly report", "is not known: nearest"), ("run, then clap", "one after another"),
     ("walk and wave", "at once")],
)  # fmt: skip
def test_what_a_label_is_taken_for_is_said_before_the_work(run, empty_room, text, said):
    code, out, err = run("adapt", empty_room, "--label", text, "--dry-run", "labels.text=table")
    assert code == 0 and said in " ".join((out + err).split()), err


def test_label_by_retrieval(run, tmp_path, empty_room):
    write_poses(tmp_path / "p.npz")
    code, out, err = run("label", empty_room, "--poses2d", "p.npz", "--provider", "prior")
    assert code == 0, err
    # Four frames show nothing: no entry, and no label in an adaptation.
    assert json.loads((tmp_path / "empty room.labels.json").read_text())["labels"] == []
    code, _, err = run("adapt", empty_room, "--poses2d", "p.npz", "--labels", "auto", "--quiet",
                       "-o", "o", "--no-overlay", "optimizer.epochs=1")  # fmt: skip
    assert code == 0, err
    assert json.loads((tmp_path / "o" / "report.json").read_text())["tracks"][0]["labels"] == []


def test_label_by_a_model_the_whole_way(run, tmp_path, empty_room, monkeypatch):
    """What is sent, what it costs; again from the cache; in an adaptation."""
    pytest.importorskip("openai")
    from vlm_server import Script, Server

    monkeypatch.setenv("SEMTTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    write_poses(tmp_path / "p.npz")
    script = Script('{"label": "stand still", "confidence": 0.8}', '{"answer": "yes"}')
    with Server(script) as server:
        ask = ("label", empty_room, "--poses2d", "p.npz", "--provider", "openai",
               "--base-url", server.url, "--model", "tiny-vlm")  # fmt: skip
        code, out, err = run(*ask, "-o", "l.json", "labels.price=[1,2]")
        assert code == 0, err
        assert "Sending 1 image (4 pictures of people, at most" in err and server.url in err
        assert "2 requests" in err and "200 tokens read, 20 written; cost 0.0002" in err
        entry = json.loads((tmp_path / "l.json").read_text())["labels"][0]
        assert (entry["text"], entry["source"]) == ("stand still", "tiny-vlm")
        assert entry["confidence"] == 0.8
        code, _, err = run(*ask, "-o", "l.json", "--overwrite")
        assert code == 0 and "0 requests, 2 answers from the cache" in err
        code, _, err = run("adapt", empty_room, "--poses2d", "p.npz", "--labels", "vlm", "-o", "o",
                           f"labels.base_url={server.url}", "labels.model=tiny-vlm",
                           "optimizer.epochs=1", "--no-overlay", "--quiet")  # fmt: skip
        assert code == 0, err
        assert len(script.requests) == 2  # the same strip, the same questions
    report = json.loads((tmp_path / "o" / "report.json").read_text())["tracks"][0]
    assert report["labels"] == ["stand still"]
    (labelled,) = report["label_runs"]
    assert labelled["label"] == "stand still" and 0 <= labelled["gate_open"] <= 1
    assert len(report["per_frame"]["gate_open"]) == 4
    assert (tmp_path / "o" / "labels.json").is_file()


def test_a_spent_budget_keeps_what_was_answered(run, tmp_path, empty_room):
    pytest.importorskip("openai")
    from vlm_server import Script, Server, write_two_people

    write_two_people(tmp_path / "p.json")
    script = Script('{"label": "walk", "confidence": 0.8}', '{"answer": "yes"}')
    with Server(script) as server:
        ask = ("label", empty_room, "--poses2d", "p.json", "--track", "all",
               "--provider", "openai", "--base-url", server.url, "--model", "m",
               "labels.cache=cache")  # fmt: skip
        code, _, err = run(*ask, "-o", "l.json", "--max-requests", "2")
        assert code == 1 and "not everything was labelled (the budget of 2" in " ".join(err.split())
        assert len(json.loads((tmp_path / "l.json").read_text())["labels"]) == 1
        code, _, err = run(*ask, "-o", "l.json", "--overwrite")
    assert code == 0 and "2 answers from the cache" in err
    assert len(json.loads((tmp_path / "l.json").read_text())["labels"]) == 2


def test_a_server_that_gives_no_label_is_one_sentence(run, tmp_path, empty_room):
    pytest.importorskip("openai")
    write_poses(tmp_path / "p.npz")
    ask = ("label", empty_room, "--poses2d", "p.npz", "--provider", "openai", "--quiet",
           "--base-url", "http://127.0.0.1:9/v1", "--model", "m", "labels.retries=0",
           "labels.cache=cache")  # fmt: skip
    refused(run(*ask), "gave no label")
    refused(run(*ask, "--max-requests", "0"), "budget of 0 requests")
    nothing_written(tmp_path, empty_room.name, "p.npz")


def test_unsure_labels_do_not_pull(run, tmp_path, empty_room):
    write_poses(tmp_path / "p.npz")
    (tmp_path / "l.json").write_text('{"labels": [{"text": "walk", "confidence": 0.3}]}')
    common = ("adapt", empty_room, "--poses2d", "p.npz", "--labels", "l.json", "--no-overlay",
              "optimizer.epochs=1")  # fmt: skip
    code, out, err = run(*common, "-o", "a")
    assert code == 0 and "1 of 1 labels are below labels.min_confidence" in err
    code, _, _ = run(*common, "-o", "b", "labels.min_confidence=0.2", "--quiet")
    used = [json.loads((tmp_path / x / "report.json").read_text())["tracks"][0] for x in "ab"]
    assert used[0]["labels"] == [] and used[1]["labels"] == ["walk"]


def test_dictionary_is_listed_and_searched(run, tmp_path):
    code, out, _ = run("dictionary", "ls")
    assert code == 0 and "walk on a balance beam" in out and "jogging" in out
    (tmp_path / "names.txt").write_text("frobnicate: frob\n")
    code, out, _ = run("dictionary", "ls", "--dictionary", "names.txt")
    assert "frobnicate (yours)  frob" in out
    for text, words in (
        ("jogging", "is the dictionary's 'jog'"),
        ("walking and waving", "walk + wave with the right hand"),
        ("stroll about", "mixture"),
        ("quantum chromodynamics", "is not known"),
    ):
        code, out, _ = run("dictionary", "search", text)
        assert code == 0 and words in out, out
    code, out, _ = run("dictionary", "search", "frob", "--dictionary", "names.txt")
    assert "your name 'frobnicate'" in out
    refused(run("dictionary", "search", "???"), "no word")


def test_missing_body_files_are_explained(run, tmp_path, empty_room):
    refused(run("adapt", empty_room, "--body", "smpl", "--body-models", tmp_path), "smpl.is.tue")


def test_config_and_doctor_speak(run):
    code, out, _ = run("config", "ls")
    assert code == 0 and "default" in out
    code, out, _ = run("config", "show", "default", "optimizer.epochs=3")
    assert code == 0 and "epochs: 3" in out
    code, out, _ = run("doctor")
    assert code == 0 and "SMPL neutral" in out and "lifter" in out


def test_bench_says_in_one_sentence_what_is_wrong(run, tmp_path):
    for arguments, words in (
        ((), "--data"),
        (("--data", "4dpw"), "no benchmark '4dpw'"),
        (("--data", "mocap"), "--motions"),
        (("--data", "3dpw"), "--root"),
        (("--data", "mocap", "--motions", "absent"), "absent"),
        (("--data", "beam", "--wheel", "absent.whl"), "absent.whl"),
        (("--data", "beam", "--methods", "frozzen"), "no method 'frozzen'"),
        (("--data", "beam", "--table", "table9"), "no table 'table9'"),
        (("--data", "beam", "--seeds", "0"), "at least 1"),
        (("--data", "beam", "--frames", "90"), "--frames belongs to --data mocap"),
        (("--data", "beam", "--report-only"), "nothing to report"),
        (("check",), "which data set"),
        (("check", "beam"), "no folder to check"),
        (("check", "3dpw"), "--root"),
    ):
        refused(run("bench", *arguments), words)
    nothing_written(tmp_path)


def test_bench_lists_methods_and_tables(run):
    code, out, _ = run("bench", "--list")
    assert code == 0 and "semtta-wronglabel" in out and "table4" in out


def test_bench_check_names_what_is_missing(run, tmp_path):
    code, out, err = run("bench", "check", "3dpw", "--root", tmp_path)
    assert code == 1 and "sequenceFiles" in out and not err


def test_what_looks_like_markup_is_printed_as_it_stands(run, tmp_path, empty_room):
    refused(run("adapt", "clip [/bold].mp4"), "clip [/bold].mp4")
    write_poses(tmp_path / "p.npz")
    unsure = {"labels": [{"text": "walk", "confidence": 0.3}]}
    (tmp_path / "l.json").write_text(json.dumps(unsure))
    code, out, err = run("adapt", empty_room, "--poses2d", "p.npz", "--labels", "l.json",
                         "--no-overlay", "optimizer.epochs=1", "-o", "[x] [/red]")  # fmt: skip
    assert code == 0 and "Results in [x] [/red]" in out, err


def test_ctrl_c_is_one_sentence(run, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("semtta.jobs.demo.run_demo", interrupted)
    code, _, err = run("demo", "-o", "out")
    said = "semtta: stopped; no unfinished result was kept, the same command starts anew."
    assert code == 130 and " ".join(err.split()) == said
    nothing_written(tmp_path)


LOUD = """
import logging, os, sys, warnings
from semtta import cli
from semtta.errors import SemttaError

def loud(**settings):
    os.write(2, b"libjpeg: premature end\\n")
    warnings.warn("careful")
    logging.getLogger("library").error("oh no")
    print("said by Python", file=sys.stderr)
    os.system("echo from a child >&2")
    raise {0}

cli.app = loud
cli.main()
"""


def test_other_libraries_do_not_speak_before_the_sentence(tmp_path):
    def ended(error, **environment):
        return subprocess.run(
            [sys.executable, "-c", LOUD.format(error)], capture_output=True, text=True,
            cwd=tmp_path, env=os.environ | environment,
        )  # fmt: skip

    run = ended("SemttaError('the sentence.')")
    assert run.returncode == 2 and run.stderr == "said by Python\nsemtta: the sentence.\n"
    run = ended("ZeroDivisionError('a bug')")  # its traceback is shown all the same
    assert run.returncode == 1 and run.stderr.endswith("ZeroDivisionError: a bug\n")
    run = ended("SemttaError('the sentence.')", PYTHONDEVMODE="1")
    for word in ("libjpeg", "careful", "oh no", "a child", "the sentence"):
        assert word in run.stderr


def test_the_process_is_left_as_it_was(run):
    before = signal.getsignal(signal.SIGTERM), sys.stderr, warnings.filters[:]
    refused(run("adapt", "absent.mp4"), "absent.mp4")
    os.write(2, b"")
    assert before == (signal.getsignal(signal.SIGTERM), sys.stderr, warnings.filters[:])
    assert logging.root.manager.disable == 0


def test_online_refuses_what_needs_the_whole_video(run, tmp_path, empty_room):
    for arguments, words in (
        (("--static-camera",), "leave --static-camera (camera.motion) out online"),
        (("--labels", "auto"), "--labels auto looks at the whole video first"),
        (("--model", "blazehmr"), "online takes a network that reads landmarks"),
        (("select=auto", "evidence.heldout=0.1"), "select=auto decides by joints"),
    ):
        refused(run("adapt", empty_room, "--online", *arguments), words)
    nothing_written(tmp_path, empty_room.name)


@pytest.mark.slow
def test_online_writes_what_adapt_writes(run, tmp_path):
    writer = cv2.VideoWriter("v.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, (200, 160))
    for _ in range(35):
        writer.write(np.full((160, 200, 3), 80, np.uint8))
    writer.release()
    write_poses(tmp_path / "p.npz", frames=35)
    code, _, err = run("adapt", "v.mp4", "--poses2d", "p.npz", "-o", "out", "--online",
                       "--no-overlay", "--no-page", "optimizer.epochs=1",
                       "online.epochs=1", "optimizer.coverage=1")  # fmt: skip
    assert code == 0, err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    track = report["tracks"][0]
    assert track["frames"] == 35 and [epoch["window"] for epoch in track["epochs"]] == [1, 2, 3]
    assert "online: adapted to what came until 1 s after each frame" in track["summary"]
    with np.load(tmp_path / "out" / "track-01.npz") as z:
        assert z["frames"].tolist() == list(range(35))


def test_places_and_numbers_that_cannot_be_are_one_sentence(run, tmp_path, empty_room):
    write_poses(tmp_path / "p.npz")
    (tmp_path / "link").symlink_to("nothing")
    common = ("adapt", empty_room, "--poses2d", "p.npz", "--no-overlay", "--quiet", "--overwrite")
    for arguments, words in (
        (("-o", "a" * 400), "name too long"),
        (("-o", "."), "the folder that you are in"),
        (("-o", "link"), "which does not exist"),
        (("--seed=99999999999999999999",), "seed must lie between"),
        (("--", "seed=" + "9" * 5000), "seed"),
        (("--", "foo\x1b[31m=1"), "unknown setting"),
        (("--", "seed=\udcff"), "not valid YAML"),
        (("camera.center=[.nan,.nan]",), "camera.center"),
        (("camera.center=[1e300,1e300]",), "camera.center"),
        (("camera.center=[9000,0]",), "camera.center"),
        (("camera.focal=2",), "camera.focal"),
        (("optimizer.coverage=.inf",), "optimizer.coverage"),
        (("smoothing.fit_steps=1000000000",), "smoothing.fit_steps"),
        (("device=${oc.env:HOME}",), "not resolved"),
    ):  # fmt: skip
        refused(run(*common, *arguments), words)
    nothing_written(tmp_path, empty_room.name, "p.npz", "link")


def test_labels_of_a_track_that_is_not_adapted(run, tmp_path, empty_room):
    write_poses(tmp_path / "p.npz")
    (tmp_path / "l.json").write_text('{"labels": [{"text": "walk", "track": 7}]}')
    refused(
        run("adapt", empty_room, "--poses2d", "p.npz", "--labels", "l.json"), "names track 7 only"
    )
    nothing_written(tmp_path, empty_room.name, "p.npz", "l.json")


@pytest.mark.slow
def test_own_poses_on_a_path_with_spaces_and_umlauts(run, tmp_path):
    """One frame; ten, and the same again with the same seed: whole output, readable."""
    folder = tmp_path / "Übung mit Leerzeichen"
    folder.mkdir()
    for count, names in ((1, "a"), (10, "ab")):
        video = folder / f"clip ä {count}.mp4"
        writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 25, (200, 160))
        for _ in range(count):
            writer.write(np.full((160, 200, 3), 80, np.uint8))
        writer.release()
        write_poses(folder / "p.npz", frames=count)
        arrays = []
        for name in names:
            out = folder / f"{name} {count}"
            code, _, err = run("adapt", video, "--poses2d", folder / "p.npz", "-o", out,
                               "--label", "standing", "optimizer.epochs=2",
                               "optimizer.coverage=1")  # fmt: skip
            assert code == 0, err
            with np.load(out / "track-01.npz") as z:
                arrays.append({key: z[key] for key in z.files})
            assert {p.name for p in out.iterdir()} == {
                "track-01.npz", "track-01_amass.npz", "track-01.glb", "overlay.mp4",
                "thumbnails.jpg", "result.html", "report.json", "config.yaml",
            }  # fmt: skip
        assert len(arrays[0]["frames"]) == count
        for key in arrays[0]:
            same = arrays[0][key] == arrays[-1][key]
            missing = arrays[0][key] != arrays[0][key]
            assert np.all(same | missing), key


@pytest.mark.slow
def test_inputs_says_what_a_file_is_taken_for(run, tmp_path):
    from poses_files import CLIP, mmpose_demo, save

    from semtta.shipped import asset

    path = mmpose_demo(tmp_path / "p.json", CLIP)
    code, out, err = run("inputs", path, "--video", asset("demo/cam02_occluded.mp4"))
    assert code == 0, err
    for words in ("mmpose: MMPose", "coco17, 17 joints", "people    1", "100 of the frames 0 to 99",
                  "99% of the joints", "counted from 1"):  # fmt: skip
        assert words in out
    code, out, _ = run("inputs", path)
    assert code == 0 and "Not checked against a video" in out
    half = mmpose_demo(tmp_path / "half.json", CLIP * [0.5, 0.5, 1])
    refused(run("inputs", half, "--video", asset("demo/cam02_occluded.mp4")), "--poses2d-size")
    refused(run("inputs", save(tmp_path / "x.json", {"a": 1})), "not recognised")
    refused(run("adapt", "clip.mp4", "--skeleton", "coco17"), "go with --poses2d")


def test_names_and_arguments_never_steer_the_terminal(run, tmp_path, empty_room):
    for arguments in (
        ("adapt", "a\x1b[31m.mp4"), ("adapt", "--foo\x1b[31m"), ("x\x1b]0;y\x07",),
        ("adapt", empty_room, "foo\x1b[31m=1"), ("inputs", "\x1b[2J.json"),
    ):  # fmt: skip
        code, out, err = run(*arguments)
        assert code == 2 and "\x1b" not in out + err and "\\x1b" in err and "\x07" not in err
    code, out, _ = run("dictionary", "search", "walk\x1b]0;pwn\x07ing")
    assert code == 0 and "\x1b" not in out and "\\x1b" in out


def test_a_frame_rate_is_for_folders_of_images(run, tmp_path, empty_room):
    for command in ("adapt", "label"):
        more = ("--template",) if command == "label" else ()
        refused(run(command, empty_room, "--fps", "25", *more), "--fps is for folders of images")
    nothing_written(tmp_path, empty_room.name)


def test_an_overlay_that_cannot_be(run, tmp_path, empty_room):
    for options, words in (
        (("--overlay-scale", "3"), "scale is 3; give a number from 0.1 to 1"),
        (("--overlay-layout", "above"), "unknown overlay layout 'above'"),
    ):
        refused(run("adapt", empty_room, *options), words)
        refused(run("demo", *options), words)
    nothing_written(tmp_path, empty_room.name)


def test_a_folder_of_images_at_its_own_rate(run, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(6):
        cv2.imwrite(str(folder / f"{i + 1}.png"), np.full((160, 200, 3), 80, np.uint8))
    write_poses(tmp_path / "p.npz", frames=6)
    out = tmp_path / "out"
    code, _, err = run("adapt", folder, "--fps", "12.5", "--poses2d", tmp_path / "p.npz", "-o", out,
                       "--no-page", "optimizer.epochs=1", "optimizer.coverage=1")  # fmt: skip
    assert code == 0, err
    assert json.loads((out / "report.json").read_text())["fps"] == 12.5
    assert probe(out / "overlay.mp4").fps == 12.5
