"""Several videos in one call: good ones are done, bad ones named, nothing is done twice."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_adapter import walker
from test_cli import refused, run  # noqa: F401

from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.jobs.asked import Asked, differing, what_was_asked
from semtta.jobs.sources import find_sources, is_several, left_out, output_folders
from semtta.labels import Labels, LabelSpan
from semtta.people import TrackedVideo, pipeline
from semtta.video import VideoSource, probe, read_frames, write_video

QUICK = ("--no-overlay", "--no-page", "optimizer.epochs=1", "optimizer.coverage=1",
         "evidence.heldout=0")  # fmt: skip


def clip(path: Path, shade: int = 90, count: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, [np.full((480, 640, 3), shade, np.uint8)] * count, 30, (640, 480))


def people_in(video: VideoSource, count: int = 20) -> TrackedVideo:
    """Who is in a clip, or a part of it: somebody, by its brightness; and a smaller one."""
    seen = list(read_frames(video))
    shade, frames = int(seen[0][2].mean()), torch.tensor([index for index, _, _ in seen])
    tracks = [walker(count, seed=shade, id=1), walker(count - 5, seed=shade + 1, id=2)]
    tracks = [track.at(torch.isin(track.frames, frames).nonzero()[:, 0]) for track in tracks]
    return TrackedVideo(probe(video), tracks, torch.arange(int(frames[-1]) + 1).double() / 30)


@pytest.fixture
def detector(monkeypatch):
    calls = []

    def track_video(video, *, detect_size, max_people, progress=None):
        calls.append(Path(video).name)
        found = people_in(video)
        return replace(found, tracks=found.tracks[:max_people])

    monkeypatch.setattr(pipeline, "track_video", track_video)
    monkeypatch.setattr("semtta.tta.people.track_video", track_video)
    return calls


def motions(folder: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(folder)): dict(np.load(path))
            for path in sorted(folder.rglob("track-*[0-9].npz"))}  # fmt: skip


def same_motions(a: Path, b: Path) -> None:
    one, other = motions(a), motions(b)
    assert one and one.keys() == other.keys()
    for name, arrays in one.items():
        assert arrays.keys() == other[name].keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, other[name][key], err_msg=f"{name}: {key}")


# ---------------------------------------------------------------------- which videos, and where


def test_files_folders_and_lists_are_videos(tmp_path):
    a, b, c = (clip(tmp_path / "v" / name, count=1) for name in ("b.mp4", "A.MOV.mp4", "x/c.mp4"))
    (tmp_path / "v" / ".hidden.mp4").write_bytes(b"")
    (tmp_path / "v" / "notes.md").write_text("")
    (tmp_path / "list.txt").write_text("# two of them\n\nv/b.mp4\n  v/x/c.mp4 \n")
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "1.png").write_bytes(b"")
    for one in (a, frames, tmp_path / "absent.mp4"):
        assert not is_several([one]) and find_sources([one]) == ([one], [])
    for several in ([tmp_path / "v"], [tmp_path / "list.txt"], [a, c]):
        assert is_several(several)
    assert find_sources([tmp_path / "v"]) == ([b, a], [])
    found, notes = find_sources([tmp_path / "list.txt", tmp_path / "v", frames])
    assert found == [a, c, b, frames] and "1 videos were named twice" in notes[0]
    (frames / "left.mp4").write_bytes(b"")
    assert not is_several([frames])
    (note,) = find_sources([frames])[1]
    assert "1 video files beside them are left out" in note and left_out(frames) == [note]


def test_lists_and_folders_without_videos_are_one_sentence(run, tmp_path):  # noqa: F811
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "binary.txt").write_bytes(b"a\0b\n")
    refused(run("adapt", "empty", "--workers", "1"), "holds no videos")
    refused(run("adapt", "empty.txt"), "names none")
    refused(run("adapt", "binary.txt"), "is no text")
    refused(run("adapt", "absent.txt"), "absent.txt")
    refused(run("adapt", "a.mp4", "b.mp4", "--engine", "slurm"), "no engine 'slurm'")
    refused(run("adapt", "a.mp4", "b.mp4", "--workers", "0"), "at least 1")
    refused(run("adapt", "a.mp4", "b.mp4", "--poses2d", "p.npz"), "belongs to one video")
    refused(run("adapt", "a.mp4", "b.mp4", "--labels", "absent.json"), "absent.json")
    refused(run("adapt", "a.mp4", "b.mp4", "optimizer.lrr=1"), "did you mean")
    refused(run("adapt", "a.mp4", "sub/A.mp4"), "would both be written to 'semtta-out/A'")
    assert not (tmp_path / "semtta-out").exists()


def test_every_video_has_a_folder_of_its_own(tmp_path):
    videos = [Path("a/x.mp4"), Path("b/y.z.mov")]
    assert output_folders(videos, Path("o")) == [Path("o/x"), Path("o/y.z")]
    with pytest.raises(SemttaError, match="'a/x.mp4' and 'b/X.avi' would both"):
        output_folders([*videos, Path("b/X.avi")], Path("o"))


def test_what_was_asked_differs_in_what_makes_another_result(tmp_path):
    video, config = clip(tmp_path / "a.mp4", count=1), load_config()
    labels = Labels((LabelSpan("walk"),))
    poses = tmp_path / "poses"
    poses.mkdir()
    (poses / "1.json").write_text("1")
    asked = Asked(config, poses2d=poses)
    same = what_was_asked(video, labels, asked)
    assert differing(same, json.loads(json.dumps(same))) == []
    assert what_was_asked(video, Labels((LabelSpan("walk"),), name="else"), asked) == same
    others = [
        (what_was_asked(clip(tmp_path / "b.mp4", 10, 1), labels, asked), "video"),
        (what_was_asked(video, None, asked), "labels"),
    ]
    for name, changed in (
        ("settings", {"config": load_config("default", ["seed=1"])}),
        ("track", {"tracks": "all"}),
        ("pictures", {"page": False}),
        ("2D poses", {"poses2d": None}),
    ):
        others.append((what_was_asked(video, labels, replace(asked, **changed)), name))
    (poses / "1.json").write_text("2")
    others.append((what_was_asked(video, labels, asked), "2D poses"))
    for other, name in others:
        assert differing(same, other) == [name] == differing(other, same)
    assert differing(same, "damaged") == list(same)


# ---------------------------------------------------------------------- the command


def test_good_videos_are_done_bad_ones_named_and_the_next_run_goes_on(
    run, tmp_path, detector  # noqa: F811
):  # fmt: skip
    for name, shade in (("a", 50), ("b", 90), ("c", 130)):
        clip(tmp_path / "v" / f"{name}.mp4", shade)
    (tmp_path / "v" / "a.labels.json").write_text('{"labels": [{"text": "walk"}]}')
    (tmp_path / "v" / "b.labels.json").write_text('{"labels": [{"txt": "walk"}]}')
    (tmp_path / "v" / "broken.mp4").write_bytes(b"no video")
    words = ("adapt", "v", "v/absent.mp4", "--workers", "1", "-o", "o", *QUICK)
    code, out, err = run(*words)
    assert code == 1, out + err
    said = " ".join(err.split())
    for name, why in (("v/b.mp4", "'txt'"), ("v/broken.mp4", "broken.mp4"),
                      ("v/absent.mp4", "absent.mp4")):  # fmt: skip
        assert f"failed: {name}: " in said and why in said.split(f"failed: {name}: ")[1]
    assert "3 of 5 videos failed" in said and "Traceback" not in said
    assert "note: a.mp4: track 1: labels cover 20 of 20 frames." in said
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if "│" in line}
    assert "failed" in rows["b.mp4"] and "o/c" in rows["c.mp4"]
    assert [cell.strip() for cell in rows["a.mp4"].split("│")[2:5]] == ["1", "20", "20"]
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["a", "c"]
    assert (tmp_path / "o" / "a" / "track-01.npz").is_file()

    (tmp_path / "v" / "b.labels.json").unlink()
    (tmp_path / "v" / "broken.mp4").unlink()
    stamp = (tmp_path / "o" / "a" / "report.json").stat().st_mtime_ns
    detector.clear()
    code, out, err = run("adapt", "v", "--workers", "1", "-o", "o", *QUICK)
    assert code == 0, err
    assert err.count("finished before, left as it is") == 2 and out.count("finished before") == 2
    assert (tmp_path / "o" / "a" / "report.json").stat().st_mtime_ns == stamp
    assert detector == ["b.mp4"]

    other = ("adapt", "v", "--workers", "1", "-o", "o", *QUICK, "seed=1")
    code, out, err = run(*other)
    assert code == 1 and "holds a result of another request (settings)" in " ".join(err.split())
    code, out, err = run(*other, "--overwrite", "--quiet")
    assert (code, out, err) == (0, "", "")
    assert detector == ["b.mp4"]  # nobody is looked for again because of another seed


def test_a_range_is_that_of_each_and_the_failure_of_those_that_are_shorter(
    run, tmp_path, detector  # noqa: F811
):  # fmt: skip
    for name, shade, count in (("a", 50, 20), ("b", 90, 8), ("c", 130, 20)):
        clip(tmp_path / "v" / f"{name}.mp4", shade, count)
    words = ("adapt", "v", "--start", "6", "--end", "0.5s", "--workers", "1", "-o", "o", *QUICK)
    code, out, err = run(*words)
    said = " ".join(err.split())
    assert code == 1 and "1 of 3 videos failed" in said, err
    assert ("failed: v/b.mp4: the range from frame 6 to 0.5s lies outside 'v/b.mp4', which has 8 "
            "frames" in said)  # fmt: skip
    for name in "ac":
        with np.load(tmp_path / "o" / name / "track-01.npz") as saved:
            assert saved["frames"].tolist() == list(range(6, 15))
    detector.clear()
    code, out, err = run("adapt", "v/a.mp4", "v/b.mp4", "--start", "6", *words[6:])
    assert code == 1 and "holds a result of another request (video)" in " ".join(err.split())
    assert detector == ["b.mp4"]
    with np.load(tmp_path / "o" / "b" / "track-01.npz") as saved:
        assert saved["frames"].tolist() == [6, 7]
    refused(run("adapt", "v", "--start", "soon"), "start 'soon' is neither a frame")
    refused(run("adapt", "v", "--start", "9", "--end", "4"), "not after its start")


def test_what_is_wrong_with_all_of_them_is_one_sentence(run, tmp_path, detector):  # noqa: F811
    clip(tmp_path / "a.mp4"), clip(tmp_path / "b.mp4", 30)
    code, out, err = run("adapt", "a.mp4", "b.mp4", "--workers", "1", "--prior", "motionclip",
                         "--label", "walk", "--quiet")  # fmt: skip
    assert code == 2 and out == "" and err.count("semtta:") == 1 and "alignment.checkpoint" in err
    code, out, err = run("adapt", "a.mp4", "b.mp4", "--workers", "1", "--label", "walk",
                         "--dry-run")  # fmt: skip
    assert code == 0 and out.count("everything is in place") == 2
    assert not (tmp_path / "semtta-out").exists() and detector == []


def test_ctrl_c_says_that_finished_videos_are_kept(run, tmp_path, monkeypatch):  # noqa: F811
    def interrupted(*given, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("semtta.jobs.many.map_items", interrupted)
    code, _, err = run("adapt", "a.mp4", "b.mp4", "--quiet")
    said = "semtta: stopped; finished videos are kept in semtta-out, the same command goes on."
    assert code == 130 and " ".join(err.split()) == said
    assert not (tmp_path / "semtta-out").exists()


def test_one_video_is_taken_as_before(run, tmp_path, detector):  # noqa: F811
    """Its folder is the output, labels beside it are not read."""
    clip(tmp_path / "a.mp4")
    (tmp_path / "a.labels.json").write_text("damaged")
    code, out, err = run("adapt", "a.mp4", "-o", "o", *QUICK)
    assert code == 0, err
    assert (tmp_path / "o" / "track-01.npz").is_file() and "no labels used" in out
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["tracks"][0]["provenance"]["threads"] == 1
    refused(run("adapt", "a.mp4", "-o", "o", *QUICK), "add --overwrite to replace it")
    code, _, err = run("adapt", "a.mp4", "--workers", "1", "--label", "walk", "-o", "many", *QUICK)
    assert code == 0, err
    assert (tmp_path / "many" / "a" / "track-01.npz").is_file()


def test_label_then_adapt_detects_once_and_no_cache_detects_anew(
    run, tmp_path, detector  # noqa: F811
):  # fmt: skip
    clip(tmp_path / "a.mp4")
    code, _, err = run("label", "a.mp4", "--provider", "prior")
    assert code == 0, err
    for number, text in enumerate(("walk", "jump")):
        code, out, err = run("adapt", "a.mp4", "--label", text, "-o", f"o{number}", *QUICK)
        assert code == 0, err
        assert "an earlier run found" in " ".join((out + err).split())
    assert detector == ["a.mp4"]
    for number in (2, 3):
        code, *_ = run("adapt", "a.mp4", "-o", f"o{number}", "--no-cache", *QUICK)
        assert code == 0 and len(detector) == number
