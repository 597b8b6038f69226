"""What a command line tool owes its user: streams, pipes, version, completion, reasons."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
import yaml
from test_cli import empty_room, refused, run, write_poses  # noqa: F401 - fixtures

import semtta
from semtta.commands.options import kept_for_later
from semtta.config import Config, load_config, shipped_configs
from semtta.process import if_stopped, kept_if_stopped
from semtta.settings_help import changed, comments_of, explained_yaml

COMMAND = [sys.executable, "-c", "from semtta.cli import main; main()"]


def test_only_what_was_asked_for_goes_to_stdout(run, tmp_path, empty_room):  # noqa: F811
    write_poses(tmp_path / "p.npz")
    code, out, err = run("adapt", empty_room, "--poses2d", "p.npz", "--label", "riding a horse",
                         "optimizer.epochs=1", "--no-overlay", "--no-page", "-o", "o")  # fmt: skip
    lines = out.splitlines()
    assert code == 0 and lines[0] == "track 1: 4 frames (0 to 3)", err
    assert lines[-1] == "Results in o: track-XX.npz, report.json."
    assert "not known to the prior: nearest" in out and "the label did nothing" in out
    assert "note:" in err and "adapt" in err and "note:" not in out and "━" not in out


def test_a_pipe_that_closes_is_no_fault():
    # more than a pipe holds, so that writing goes on after it is closed
    loop = (
        "import sys; from semtta import cli; sys.argv = ['semtta', *'config show default "
        "--resolved'.split()]; import semtta.commands.config as c; "
        "import semtta.settings_help as h; whole = h.explained_yaml; "
        "h.explained_yaml = lambda *a: whole(*a) * 50; cli.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", loop], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("# Every setting")
        process.stdout.close()
        assert process.stderr.read() == ""


INTERRUPTED = """
import sys, time
from semtta import cli
from semtta.jobs import video

def adapt_video(*given, **settings):
    print("ready", flush=True)
    time.sleep(60)

video.adapt_video = adapt_video
sys.argv = ["semtta", "adapt", "a.mp4"]
cli.main()
"""


@pytest.mark.skipif(os.name != "posix", reason="no such signals here")
def test_a_run_that_is_stopped_says_what_is_kept(tmp_path):
    def as_usual():  # whoever runs the tests in the background has it ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=as_usual,
    ) as child:  # fmt: skip
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=90)[1]
    assert said == ("semtta: stopped; the people found and every finished track are kept, the same "
                    "command goes on.\n")  # fmt: skip
    assert child.returncode == 130 and not list(tmp_path.iterdir())
    assert kept_for_later(None).startswith("nothing was kept")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_what_is_kept_is_what_the_innermost_block_says(stop):
    with pytest.raises(type(stop)) as caught, if_stopped("all"), if_stopped("some"):
        raise stop
    assert kept_if_stopped(caught.value) == "some"
    assert "no unfinished result" in kept_if_stopped(KeyboardInterrupt())


def test_version_and_completion(run):  # noqa: F811
    assert run("--version") == (0, f"semtta {semtta.__version__}\n", "")
    environment = os.environ | {"_SEMTTA_COMPLETE": "complete_bash", "COMP_WORDS": "semtta ada",
                                "COMP_CWORD": "1"}  # fmt: skip
    code = "import sys; sys.argv[0] = 'semtta'; from semtta.cli import main; main()"
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert told.stdout.split() == ["adapt"], told.stderr


def test_help_needs_neither_torch_nor_av():
    code = (
        "import sys; from semtta import cli; cli.app(['{}', '--help'], standalone_mode=False); "
        "print([m for m in ('torch', 'av', 'cv2', 'numpy', 'omegaconf') if m in sys.modules])"
    )
    for command in ("adapt", "label", "config", "demo"):
        told = subprocess.run([sys.executable, "-c", code.format(command)], capture_output=True,
                              text=True, check=True)  # fmt: skip
        assert told.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("0", "'0' is a webcam"),
        ("/dev/video7", "/dev/video7' is a webcam"),
        ("rtsp://user:secret@10.0.0.1/stream", "an address (rtsp) is not read"),
        ("https://example.org/clip.mp4", "an address (https) is not read"),
        ("HTTP://example.org/clip.mp4", "ffmpeg -i ADDRESS -t 10 -c copy clip.mp4"),
    ],
)
def test_what_is_no_file_is_refused_with_what_to_do(run, tmp_path, source, words):  # noqa: F811
    for command in (("adapt", source), ("label", source, "--template")):
        answer = run(*command)
        refused(answer, words)
        assert "ffmpeg" in answer[2] and "secret" not in answer[2]
    assert not list(tmp_path.iterdir())


def test_a_file_may_be_called_like_a_webcam(run, tmp_path, empty_room):  # noqa: F811
    empty_room.rename(tmp_path / "0")
    write_poses(tmp_path / "p.npz")
    code, _, err = run("adapt", "0", "--poses2d", "p.npz", "--dry-run")
    assert code == 0, err


def test_verbose_tells_versions_changes_and_times(run, tmp_path, empty_room):  # noqa: F811
    write_poses(tmp_path / "p.npz")
    code, out, err = run("adapt", empty_room, "--poses2d", "p.npz", "optimizer.epochs=1",
                         "--no-overlay", "--no-page", "--verbose", "-o", "o")  # fmt: skip
    assert code == 0 and f"versions: semtta {semtta.__version__}, python" in err
    assert "setting: optimizer.epochs=1 (default 8)." in err and "time: " in err
    assert "adapt " in err and "in all " in err and "versions" not in out


# ------------------------------------------------------------------ config show


def test_a_file_is_shown_with_its_reasons(run):  # noqa: F811
    for name, path in shipped_configs().items():
        assert run("config", "show", name)[:2] == (0, path.read_text(encoding="utf-8"))
    refused(run("config", "show", "absent"), "no settings 'absent'")


def test_every_setting_is_shown_with_default_and_comment(run, tmp_path):  # noqa: F811
    code, out, _ = run("config", "show", "default", "--resolved")
    assert code == 0 and "  lr: 0.00015  # default 5.0e-05; of Adam, at its highest\n" in out
    assert "  weight: 0.05  # default 0.2; lambda 2\n" in out
    (tmp_path / "all.yaml").write_text(out)
    assert load_config(tmp_path / "all.yaml") == load_config("default")
    assert max(map(len, out.splitlines())) <= 100
    code, out, _ = run("config", "show", "default", "optimizer.epochs=3", "camera.focal=26mm")
    assert code == 0 and yaml.safe_load(out)["optimizer"]["epochs"] == 3
    assert yaml.safe_load(out)["camera"]["focal"] == "26mm"


@dataclass
class Inner:
    b: str = "x: y"  # said; with: colons
    # above,
    # over two lines
    c: list[float] = field(default_factory=lambda: [1.0, 2.0])
    d: float | None = None


@dataclass
class Outer:
    a: int = 1  # first
    inner: Inner = field(default_factory=Inner)


def test_comments_are_those_of_the_schema():
    assert comments_of(Inner) == {"b": "said; with: colons", "c": "above, over two lines", "d": ""}
    other = Outer(2, Inner(b="#no comment", d=3.0))
    text = explained_yaml(other, Outer())
    assert yaml.safe_load(text) == {
        "a": 2, "inner": {"b": "#no comment", "c": [1.0, 2.0], "d": 3.0}
    }  # fmt: skip
    assert "a: 2  # default 1; first\n" in text and "# above, over two lines\n" in text
    assert list(changed(other, Outer())) == [
        ("a", "2", "1"), ("inner.b", "'#no comment'", "'x: y'"), ("inner.d", "3.0", "null")
    ]  # fmt: skip
    assert list(changed(Config(), Config())) == []
