"""What is written is whole or absent, and takes the place of nothing else."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from semtta.errors import SemttaError
from semtta.files import check_folder, new_folder, whole_file

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX")


def is_ours(path):
    return (path / "config.yaml").is_file()


def write(target, text="new", overwrite=True):
    with new_folder(target, overwrite, is_ours) as partial:
        (partial / "config.yaml").write_text(text)


def read(target):
    return (target / "config.yaml").read_text()


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# ---------------------------------------------------------------------- what appears meanwhile


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["folder", "file", "link", "dangling"])
def test_what_appeared_meanwhile_is_left_as_it_is(tmp_path, overwrite, kind):
    target, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    with pytest.raises(SemttaError, match="meanwhile"):
        with new_folder(target, overwrite, is_ours) as partial:
            (partial / "config.yaml").write_text("new")
            if kind == "folder":
                target.mkdir()
                (target / "mine").write_text("mine")
            elif kind == "file":
                target.write_text("mine")
            else:
                target.symlink_to(other if kind == "link" else tmp_path / "nothing")
    assert {p.name for p in tmp_path.iterdir()} == {"out", "other"}
    if kind in ("folder", "link"):
        assert (target / "mine").read_text() == "mine" and not (target / "config.yaml").exists()


@pytest.mark.parametrize("touch", ["added", "edited", "exchanged"])
def test_an_earlier_result_that_is_touched_meanwhile_is_not_replaced(tmp_path, touch):
    target = tmp_path / "out"
    write(target, "old")
    with pytest.raises(SemttaError, match="changed meanwhile"):
        with new_folder(target, True, is_ours) as partial:
            (partial / "config.yaml").write_text("new")
            if touch == "added":
                (target / "mine").write_text("mine")
            elif touch == "edited":
                (target / "config.yaml").write_text("mine!")
            else:
                os.rename(target, tmp_path / "away")
                target.mkdir()
                (target / "config.yaml").write_text("mine")
    assert read(target) == {"added": "old", "edited": "mine!", "exchanged": "mine"}[touch]
    assert not any(p.name.startswith(".") for p in tmp_path.iterdir())


def test_an_earlier_result_that_is_moved_away_meanwhile_is_no_obstacle(tmp_path):
    write(tmp_path / "out", "old")
    with new_folder(tmp_path / "out", True, is_ours) as partial:
        (partial / "config.yaml").write_text("new")
        os.rename(tmp_path / "out", tmp_path / "kept")
    assert read(tmp_path / "out") == "new" and read(tmp_path / "kept") == "old"


def test_the_earlier_result_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write(tmp_path / "out", "old")
    rename = os.rename

    def failing(a, b):
        if str(a).endswith(".partial"):
            raise OSError(28, "No space left on device")
        rename(a, b)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(SemttaError, match="No space"):
        write(tmp_path / "out")
    assert read(tmp_path / "out") == "old" and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_a_place(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", overwrite=False)
    assert read(tmp_path / "out") == "new"


# ---------------------------------------------------------------------- two runs


def test_a_second_run_into_one_folder_is_refused_at_once(tmp_path):
    target = tmp_path / "deep" / "out"
    with new_folder(target) as partial:
        (partial / "config.yaml").write_text("first")
        for spelt in (target, tmp_path / "deep" / ".." / "deep" / "out"):
            with pytest.raises(SemttaError, match="another run writes to output"):
                with new_folder(spelt, True, is_ours):
                    raise AssertionError
        with new_folder(target.with_name("other")) as partial:
            (partial / "x").write_text("")
    assert read(target) == "first"
    assert {p.name for p in target.parent.iterdir()} == {"out", "other"}
    write(target)


def test_where_there_are_no_locks_it_works_without(tmp_path, monkeypatch):
    import semtta.locks

    monkeypatch.setattr(semtta.locks, "lock", lambda handle: False)
    left = tmp_path / ".out.00000000.partial"
    left.mkdir()
    write(tmp_path / "out")
    assert read(tmp_path / "out") == "new" and left.exists()  # it may still be somebody's


def test_a_lock_file_left_by_a_killed_run_is_no_obstacle(tmp_path):
    (tmp_path / ".out.lock").write_text("")
    write(tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


# ---------------------------------------------------------------------- places that are none


@posix
def test_places_that_cannot_be_are_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    for place in (
        ".", "..", "/", "dangling/../.", tmp_path, "a" * 300, "a" * 201, "ü" * 101,
        "b/" + "a" * 300, "a/" * 3000, "a\0b", "\0", "dangling", "circle", "circle/x", "link",
        "link/x", "file/x", "/proc/x", "\ud800", "", "/dev/null",
    ):  # fmt: skip
        for overwrite in (False, True):
            with pytest.raises(SemttaError) as error:
                check_folder(Path(place), overwrite, lambda path: True)
            assert "\n" not in str(error.value) and len(str(error.value)) < 400
            with pytest.raises(SemttaError):
                with new_folder(place, overwrite, lambda path: True):
                    raise AssertionError
    write(tmp_path / ("a" * 200))
    assert {p.name for p in tmp_path.iterdir()} == {"dangling", "circle", "file", "link", "a" * 200}


@posix
def test_a_link_to_a_folder_is_followed_and_kept(tmp_path):
    target, link = tmp_path / "disk" / "results", tmp_path / "out"
    target.parent.mkdir()
    write(target, "old")
    link.symlink_to("disk/results")
    with pytest.raises(SemttaError, match="--overwrite"):
        write(link, overwrite=False)
    write(link)
    assert link.is_symlink() and read(target) == read(link) == "new"
    assert {p.name for p in tmp_path.iterdir()} == {"disk", "out"}
    (target / "config.yaml").unlink()
    (target / "mine").write_text("")
    with pytest.raises(SemttaError, match="other files"):
        write(link)


# ---------------------------------------------------------------------- permissions


@posix
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_folders_and_files_respect_the_umask(tmp_path, mask):
    with umask(mask):
        write(tmp_path / "out")
        write(tmp_path / "out")
        with whole_file(tmp_path / "new" / "f.txt") as temporary:
            temporary.write_text("")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~mask
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o777 & ~mask
    assert (tmp_path / "new" / "f.txt").stat().st_mode & 0o777 == 0o666 & ~mask


# ---------------------------------------------------------------------- files


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(SemttaError, match="exists already"):
        with whole_file(path, overwrite=False) as temporary:
            temporary.write_text("new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["f.txt"]
    with whole_file(tmp_path / "g.txt", overwrite=False) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "g.txt").read_text() == "new"


@posix
def test_a_link_to_a_file_is_followed_and_kept(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    (tmp_path / "dangling").symlink_to("nothing")
    with whole_file(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"
    for name in ("dangling", "a" * 300, "a\0b"):
        with pytest.raises(SemttaError):
            with whole_file(tmp_path / name):
                raise AssertionError


# ---------------------------------------------------------------------- killed runs

CHILD = """
import os, sys, time
from pathlib import Path
from semtta import cli, files

def is_ours(path):
    return (path / "config.yaml").is_file()

def work(target):
    with files.new_folder(target, True, is_ours) as partial:
        (partial / "config.yaml").write_text("half")
        print("ready", flush=True)
        time.sleep(60)

if sys.argv[1] == "move":  # killed between the two renames
    rename = os.rename
    def stop(a, b):
        rename(a, b)
        print("ready", flush=True)
        time.sleep(60)
    os.rename = stop
    with files.new_folder("out", True, is_ours) as partial:
        (partial / "config.yaml").write_text("new")
else:
    cli.app = lambda **settings: work("out")
    cli.main()
"""


@contextmanager
def started(folder, mode="work", prepare=None):
    def begin():  # whoever runs the tests in the background, or under nohup, has these ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for kind in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(kind, signal.SIG_DFL)
        if prepare is not None:
            prepare()

    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, mode], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=begin,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        yield child
    finally:
        child.kill()
        child.communicate()


@posix
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_run_that_is_told_to_stop_leaves_nothing(tmp_path, name, code):
    with started(tmp_path) as child:
        assert len(list(tmp_path.iterdir())) == 2
        child.send_signal(getattr(signal, name))
        _, said = child.communicate(timeout=90)
    assert child.returncode == code
    assert said == ("semtta: stopped; no unfinished result was kept, the same command starts "
                    "anew.\n")  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_run_under_nohup_goes_on(tmp_path):
    with started(tmp_path, prepare=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as child:
        child.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert child.poll() is None


@posix
def test_what_a_killed_run_left_is_tidied_up_by_the_next(tmp_path):
    for foreign in (".out.backup", ".out.deadbeef.old2", ".other.00000000.partial", ".out-old-1"):
        (tmp_path / foreign).mkdir()
    (tmp_path / ".out.00000000.partial").write_text("a file is not ours")
    kept = {p.name for p in tmp_path.iterdir()}
    with started(tmp_path) as child:
        with pytest.raises(SemttaError, match="another run"):
            write(tmp_path / "out")
        assert len(list(tmp_path.glob(".out.*.partial"))) == 2  # it lives: nothing of it is touched
        child.kill()
        child.wait()
        assert len(list(tmp_path.glob(".out.*.partial"))) == 2
        write(tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == kept | {"out"}


@posix
def test_a_result_that_a_killed_run_had_moved_aside_comes_back(tmp_path):
    write(tmp_path / "out", "old")
    with started(tmp_path, "move") as child:
        child.kill()
        child.wait()
    assert not (tmp_path / "out").exists() and list(tmp_path.glob(".out.*.old"))
    with pytest.raises(SemttaError, match="exists already"):
        write(tmp_path / "out", overwrite=False)
    assert read(tmp_path / "out") == "old" and [p.name for p in tmp_path.iterdir()] == ["out"]


# ---------------------------------------------------------------------- full disks

FULL = """
import resource, sys
import numpy as np, torch
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from pathlib import Path
from semtta.errors import SemttaError
from semtta.files import new_folder, whole_file
from semtta.labels import Labels, LabelSpan, save_labels
from semtta.output.files import save_json, save_npz
from semtta.pose2d.checkpoint import save_checkpoint
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.hmr.lifter import Lifter, LifterSettings, save_lifter

def folder(fill):
    with new_folder("out") as partial:
        fill(partial)

many = Labels(tuple(LabelSpan("walk " * 9, i, i + 1) for i in range(999)))
noise = np.random.default_rng(0).normal(size=99_999)
estimator = Estimator(EstimatorSpec("hand21", "efficientnet_lite0", 64, 8))
lifter = Lifter(LifterSettings(embed=16, width=64, blocks=1))
writers = (
    lambda: folder(lambda p: save_npz(p / "a.npz", {"x": noise})),
    lambda: folder(lambda p: save_json(p / "a.json", noise.tolist())),
    lambda: folder(lambda p: (p / "a.txt").write_text("x" * 99_999)),
    lambda: save_labels("l.json", many),
    lambda: save_checkpoint("m.pt", estimator),
    lambda: save_lifter(lifter, "lifter.pt"),
)
for write in writers:
    try:
        write()
    except SemttaError as error:
        print(error)
    else:
        print("written")
"""


@posix
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    run = subprocess.run([sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    assert run.returncode == 0 and len(lines) == 6, run.stderr
    assert all("cannot be written" in line for line in lines), lines
    assert list(tmp_path.iterdir()) == []
