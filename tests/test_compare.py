"""semtta compare: which results go together, who is who, and that the numbers are true."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hostile import altered, hostile, refuses_or_reads
from hypothesis import given
from page_results import SETTINGS, moved, video_of, waving
from page_results import result_folder as write
from test_page import Reader, array
from typer.testing import CliRunner

import semtta
from semtta.body import load_body
from semtta.cli import app
from semtta.errors import SemttaError
from semtta.geometry.boxes import box_overlap
from semtta.output.comparison.settings import differing_settings
from semtta.output.comparison.truth import read_truth
from semtta.output.files import save_json
from semtta.skeletons import BODY27

BODY = load_body()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return video_of(14, tmp_path_factory.mktemp("video") / "clip.mp4")


def numbered(result, id: int, aside=0.0):
    """The same person under another number, and elsewhere in the picture."""
    shift = torch.tensor([aside, 0.0])
    track, raw = result.track, result.evidence.raw
    points = replace(raw, xy=raw.xy + shift)
    track = replace(track, id=id, boxes=track.boxes + shift.repeat(2), keypoints=points)
    evidence = replace(result.evidence, raw=points, xy=result.evidence.xy + shift)
    return replace(result, track=track, evidence=evidence)


def command(*arguments) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)], env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SemttaError):
        raise done.exception
    return done.exit_code, str(done.exception or done.stdout)


def test_numbers_are_those_of_the_motions(tmp_path, video):
    first = waving()
    other = moved(first, (0.3, 0.0, 0.4), pixels=3)
    a = write(tmp_path / "a", [first], video)
    b = write(tmp_path / "b", [other], video, SETTINGS.format(2))
    data = semtta.compare([a, b])
    assert data["settings"] == {"optimizer.epochs": {"a": 8, "b": 2}} and data["remarks"] == []
    told = data["people"][0]["results"]
    assert told["a"]["to_first"] is None and data["people"][0]["frames"] == 12
    assert told["b"]["to_first"]["placed_mm"] == pytest.approx(500, abs=0.01)
    assert told["b"]["to_first"]["posed_mm"] == pytest.approx(0, abs=1e-3)
    known = BODY.has_landmarks(first.detections.skeleton)
    for name, result in (("a", first), ("b", other)):
        for side in ("base", "adapted"):
            motion = getattr(result, side)
            distance = (motion.landmarks2d - result.detections.xy).norm(dim=-1)
            error = distance[result.evidence.detected & known].mean()
            assert told[name][side]["error_px"] == pytest.approx(float(error), rel=1e-4)
            joints = BODY.joints(motion.rotmats, motion.betas)
            bend = (joints - joints[:, :1]).diff(n=2, dim=0).norm(dim=-1).mean()
            assert told[name][side]["acceleration_mm"] == pytest.approx(1000 * float(bend), 1e-3)
            jerk = (motion.trans[:, 2] + joints[:, 0, 2]).diff(n=2).abs().mean()
            assert told[name][side]["shake_mm"] == pytest.approx(1000 * float(jerk), 1e-3)
        gate = float((result.gate_similarity > 0.5).float().mean())
        assert told[name]["gate_open_share"] == pytest.approx(gate)
        assert told[name]["filled_share"] == pytest.approx(result.evidence.filled_share())


def test_joints_that_were_never_seen_count_as_not_filled(tmp_path, video):
    result = waving()
    evidence = replace(result.evidence, present=result.evidence.present.clone())
    evidence.present[:, BODY27.index("left_ankle")] = False
    result = replace(result, evidence=evidence)
    folders = [write(tmp_path / name, [result], video) for name in "ab"]
    told = semtta.compare(folders)["people"][0]["results"]["a"]
    assert told["filled_share"] == pytest.approx(evidence.filled_share())
    assert told["filled_share"] == pytest.approx(5 / 18)  # of the wrist's 6 and the ankle's 12


def test_the_frames_that_differ_most_are_named_apart(tmp_path, video):
    first = waving(range(14), fps=4.0)
    rotmats = first.adapted.rotmats.clone()
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for frame in (3, 4, 9):
        rotmats[frame, 16] = rotmats[frame, 16] @ turn
    other = replace(first, adapted=replace(first.adapted, rotmats=rotmats))
    slow = video_of(14, tmp_path / "slow.mp4", 4.0)
    a, b = write(tmp_path / "a", [first], slow), write(tmp_path / "b", [other], slow)
    most = semtta.compare([a, b])["people"][0]["results"]["b"]["to_first"]["differ_most"]
    frames = [peak["frame"] for peak in most]
    assert 9 in frames[:2] and {3, 4} & set(frames[:2])
    assert all(abs(x - y) >= 2 for x in frames for y in frames if x != y)


def test_people_are_matched_by_place_and_the_lonely_are_named(tmp_path, video):
    left, right = waving(), numbered(waving(seed=1), 2, 400.0)
    a = write(tmp_path / "a", [left, right], video)
    b = write(tmp_path / "b", [numbered(right, 1), numbered(waving(seed=2), 5, -150.0),
                               numbered(left, 7)], video)  # fmt: skip
    c = write(tmp_path / "c", [right], video)
    data = semtta.compare([a, b, c])
    tracks = [{name: told["track"] for name, told in person["results"].items()}
              for person in data["people"]]  # fmt: skip
    assert tracks == [{"a": 1, "b": 7}, {"a": 2, "b": 1, "c": 2}]
    said = " ".join(data["remarks"])
    assert "track 7 of 'b' is track 1 of 'a'" in said and "track 1 of 'b' is track 2" in said
    assert "track 5 of 'b' (frames 0 to 11) has no partner in 'a'" in said
    assert "track 1 of 'a' (frames 0 to 11) has no partner in 'c'" in said


def test_people_in_one_place_are_told_by_their_joints(tmp_path, video):
    def arm_in_arm(id, seed, aside):
        result = numbered(waving(seed=seed), id, aside)
        boxes = torch.tensor([150.0, 60, 490, 420]).expand(12, 4)
        return replace(result, track=replace(result.track, boxes=boxes))

    one, two = arm_in_arm(1, 0, -40.0), arm_in_arm(2, 1, 40.0)
    a = write(tmp_path / "a", [one, two], video)
    b = write(tmp_path / "b", [numbered(two, 1), numbered(one, 2)], video)
    people = semtta.compare([a, b])["people"]
    assert [p["results"]["b"]["track"] for p in people] == [2, 1]


def test_only_frames_that_all_have_are_measured(tmp_path, video):
    whole = waving()
    part = whole.at(torch.arange(4, 10))
    a, b = write(tmp_path / "a", [whole], video), write(tmp_path / "b", [part], video)
    data = semtta.compare([a, b], tmp_path / "out")
    person = data["people"][0]
    assert person["frames"] == 6 and person["results"]["a"]["frames"] == 12
    for side in ("base", "adapted"):
        assert person["results"]["a"][side] == pytest.approx(person["results"]["b"][side])
    assert "'b' lacks 6 frames that 'a' has" in data["remarks"][0]
    track = Reader((tmp_path / "out" / "compare.html").read_text()).data["tracks"][0]
    root = array(track["motions"]["result-2"]["root"]).reshape(-1, 3)
    assert array(track["frames"]).tolist() == list(range(12))
    assert np.isfinite(root).all(1).tolist() == [4 <= i < 10 for i in range(12)]
    assert array(track["told"][1]["label_of"]).tolist() == [-2] * 4 + [0] * 6 + [-2] * 2
    apart = array(track["motions"]["result-2"]["placed_apart"])
    assert np.allclose(apart[4:10], 0, atol=1e-3) and np.isnan(apart[:4]).all()


def test_without_a_frame_in_all_results_nothing_is_measured_and_it_is_said(tmp_path, video):
    whole = waving()
    parts = [whole, whole.at(torch.arange(5)), whole.at(torch.arange(6, 12))]
    folders = [write(tmp_path / name, [part], video) for name, part in zip("abc", parts)]
    data = semtta.compare(folders, tmp_path / "out")
    assert data["people"][0]["results"]["a"]["adapted"] is None
    assert any("nothing is measured" in text for text in data["remarks"])


def test_what_makes_numbers_mean_different_things_is_said(tmp_path, video):
    first = waving()
    noisy = numbered(first, 1, 5.0)
    noisy = replace(noisy, camera=replace(noisy.camera, focal=900.0))
    a = write(tmp_path / "a", [first], video, semtta="0.1.0", model={"sha256": "1" * 64})
    b = write(tmp_path / "b", [noisy], video, semtta="0.2.0", model={"sha256": "1" * 64})
    data = semtta.compare([a, b])
    assert "other 2D evidence" in data["remarks"][0] and "900" in data["remarks"][1]
    assert data["settings"] == {"made with: semtta": {"a": "0.1.0", "b": "0.2.0"}}


def test_differing_settings_are_only_those():
    a = {"x": 1, "flag": True, "list": [1, 2], "gone": None, "made with: semtta": "1"}
    b = {"x": 1.0, "flag": 1, "list": [1, 3], "new": "n"}
    assert differing_settings([a, b]) == {
        "flag": [True, 1], "list": [[1, 2], [1, 3]], "gone": [None, "–"], "new": ["–", "n"],
    }  # fmt: skip


def test_command_writes_tables_json_and_page(tmp_path, video):
    first = waving(labels=["[bold]waving[/bold]"] * 12)
    a = write(tmp_path / "run1" / "out", [first], video)
    b = write(tmp_path / "run2" / "out", [moved(first, (0, 0, 0.1))], video, SETTINGS.format(2))
    errors = {"pa_mpjpe_mm": 61.25, "mpjpe_mm": 80.5, "accel_mm": None}
    save_json(b / "demo.json", {"frozen": errors, "adapted": errors, "protocol": "beam12"})
    shutil.copy(video, tmp_path / "run2" / video.name)
    code, said = command(a, b, "-o", tmp_path / "new" / "cmp")
    assert code == 0 and "note" not in said  # the video lies beside the second result
    for text in ("run1/out", "run2/out", "[bold]waving[/bold]", "optimizer.epochs", "100.0",
                 "61.2 → 61.2", "beam12"):  # fmt: skip
        assert text in said, text
    folder = tmp_path / "new" / "cmp"
    assert sorted(path.name for path in folder.iterdir()) == ["compare.html", "compare.json"]
    data = json.loads((folder / "compare.json").read_text())
    assert data["truth"] == {"run2/out": {
        "base": data["truth"]["run2/out"]["adapted"],
        "adapted": {"pa_mpjpe_mm": 61.25, "mpjpe_mm": 80.5, "accel_mm": None,
                    "pa_mpjpe_occluded_mm": None, "abs_accel_mm": None, "depth_jitter_mm": None,
                    "range_percent": None, "range_least_percent": None, "foot_slide_mm": None},
        "protocol": "beam12",
    }}  # fmt: skip
    page = Reader((folder / "compare.html").read_text()).data
    assert [m["name"] for m in page["motions"]] == ["base of run1/out", "run1/out", "run2/out"]
    assert len(page["tracks"][0]["tables"]) == 3
    assert command(a, b, "-o", folder, "--overwrite", "--quiet") == (0, "")


def test_texts_of_strangers_stay_text(tmp_path, video):
    text = "</script><img src=x>\x1b[31m\u202e\udc80"
    label = text.replace("\udc80", "")
    a = write(tmp_path / "a", [waving(labels=[label] * 12)], video)
    b = write(tmp_path / "<b>\x1b[31m", [waving()], video,
              SETTINGS.format('"</script>\\e[31m\\u202e"'))  # fmt: skip
    report = json.loads((a / "report.json").read_text())
    for folder in (a, b):
        report["video"] = text
        (folder / "report.json").write_text(json.dumps(report))
    code, said = command(a, b, "-o", tmp_path / "out")
    assert code == 0 and "\x1b[31m" not in said and "\u202e" not in said
    written = (tmp_path / "out" / "compare.json").read_text(encoding="utf-8")
    assert not set("\x1b\u202e") & set(written)
    read = Reader((tmp_path / "out" / "compare.html").read_text(encoding="utf-8"))
    assert not read.of("img") and len(read.of("script")) == 4


def refused(*arguments, **settings) -> str:
    with pytest.raises(SemttaError) as caught:
        semtta.compare(*arguments, **settings)
    said = str(caught.value)
    assert said.count("\n") == 0 and said.endswith(".")
    return said


def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, video):
    a, b = (write(tmp_path / name, [waving()], video) for name in "ab")
    out = tmp_path / "out"
    assert "1 result was given" in refused([a], out)
    assert "nothing was given" in refused([], out)
    assert "9 results" in refused([tmp_path / str(i) for i in range(9)], out)
    assert "named twice" in refused([a, b, a], out)
    (tmp_path / "link").symlink_to(a)
    assert "named twice (also as" in refused([a, tmp_path / "link"], out)
    assert "does not exist" in refused([a, tmp_path / "none"], out)
    assert "cannot be read" in refused([a, "nul\0"], out)
    assert "does not exist" in refused([a, b], out, video=tmp_path / "none.mp4")
    (tmp_path / "empty").mkdir()
    assert "is not a result" in refused([a, tmp_path / "empty"], out)
    away = write(tmp_path / "away", [numbered(waving(), 1, 900.0)], video)
    assert "none of the people" in refused([a, away], out)
    late = write(tmp_path / "late", [waving(range(12, 14))], video)
    assert "none of the people" in refused([a, late], out)
    for damaged, text in (
        ("track-01.npz", "PK"), ("config.yaml", "body: {name: &a [*a]"), ("report.json", "{"),
        ("demo.json", '{"frozen": 3}'),
        ("demo.json", '{"frozen": {"mpjpe_mm": "x"}, "adapted": {}}'),
    ):  # fmt: skip
        broken = tmp_path / "broken"
        shutil.copytree(b, broken)
        (broken / damaged).write_text(text)
        assert str(broken) in refused([a, broken], out)
        shutil.rmtree(broken)
    assert not out.exists()


@hostile
@given(altered({"frozen": {"mpjpe_mm": 80.5}, "adapted": {"mpjpe_mm": 7}, "protocol": "p"}))
def test_any_damage_of_errors_against_truth_is_a_sentence(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("truth")
    (folder / "demo.json").write_text(json.dumps(content))
    refuses_or_reads(lambda: read_truth(folder))


def test_an_output_that_is_there_is_kept(tmp_path, video):
    a, b = (write(tmp_path / name, [waving()], video) for name in "ab")
    out = tmp_path / "out"
    semtta.compare([a, b], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert "add --overwrite" in refused([a, b], out)
    assert "other files than results" in refused([a, b], b, overwrite=True)
    (out / "mine.txt").write_text("mine")
    assert "other files than results" in refused([a, b], out, overwrite=True)
    (out / "mine.txt").unlink()
    trans = np.load(b / "track-01.npz")
    arrays = dict(trans) | {"frames": trans["frames"] + 5}  # past the end of the video
    np.savez(b / "track-01.npz", **arrays)
    shutil.copy(video, tmp_path / video.name)
    assert "speaks of frame 16" in refused([a, b], out, overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_results_of_other_videos_or_bodies_are_refused(tmp_path, video):
    a = write(tmp_path / "a", [waving()], video)
    unknown = {"video": None, "body": None}
    other = {"video": {"name": "x.mp4", "sha256": "0" * 64}}
    b = write(tmp_path / "b", [waving()], video, **other)
    assert "is of another video" in refused([a, b])
    b = write(tmp_path / "fat", [waving()], video, body={"name": "cc0", "sha256": "0" * 64})
    assert "cannot be compared" in refused([a, b])
    smpl = SETTINGS.format(8).replace("cc0", "smpl")
    b = write(tmp_path / "smpl", [waving()], video, smpl, **unknown)
    assert "cannot be compared" in refused([a, b])
    b = write(tmp_path / "silent", [waving()], video, **unknown)
    said = " ".join(semtta.compare([a, b])["remarks"])
    assert "which video file" in said and "which file of body" in said
    renamed = SETTINGS.format(8).replace("cc0", "models/mine.npz")
    b = write(tmp_path / "renamed", [waving()], video, renamed)
    report = (b / "report.json").read_text().replace('"clip.mp4"', '"copy.mp4"', 1)
    (b / "report.json").write_text(report)
    said = " ".join(semtta.compare([a, b])["remarks"])
    assert said.count("the very same file") == 2
    (b / "report.json").unlink()
    assert "cannot be compared" in refused([a, b])  # nothing says that the bodies are one
    b = write(tmp_path / "nameless", [waving()], video, **unknown)
    report = (b / "report.json").read_text().replace('"clip.mp4"', '"other.mp4"', 1)
    (b / "report.json").write_text(report)
    assert "nothing says" in refused([a, b])


def test_box_overlap():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 2, 2]])
    b = torch.tensor([[1.0, 0, 3, 2], [2, 2, 3, 3], [0, 0, 2, 2]])
    assert torch.allclose(box_overlap(a, b), torch.tensor([1 / 3, 0, 1]))


def test_a_result_at_some_frames_is_cut_everywhere():
    result = waving(labels=[f"word {i}" for i in range(12)])
    part = result.at(torch.tensor([2, 5, 11]))
    assert part.labels == ["word 2", "word 5", "word 11"]
    assert part.track.frames.tolist() == [2, 5, 11] and part.sigma == result.sigma
    for name in ("rotmats", "betas", "trans", "cam", "landmarks2d", "trans_raw"):
        assert torch.equal(getattr(part.base, name), getattr(result.base, name)[[2, 5, 11]])
    assert torch.equal(part.evidence.filled_in, result.evidence.filled_in[[2, 5, 11]])
    assert torch.equal(part.detections.xy, result.detections.xy[[2, 5, 11]])
    assert torch.equal(part.gate_similarity, result.gate_similarity[[2, 5, 11]])
