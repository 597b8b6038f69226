"""result.html as a text: whole, closed, harmless, and what the result says."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from page_results import HIDDEN, result_folder, video_of, waving

from semtta.body import load_body
from semtta.cli import app
from semtta.errors import SemttaError
from semtta.output.measures import frame_errors, shake
from semtta.output.page import write_page
from semtta.output.page.clip import small_clip
from semtta.output.page.data import all_times
from semtta.video import probe, read_frames

HOSTILE = "</script><img src=x onerror=\"document.title='pwned'\"><!-- ]]> \u2028 &amp; \\"
_TYPES = {"f32": np.float32, "u32": np.uint32, "i32": np.int32, "u8": np.uint8}


class Reader(HTMLParser):
    """Elements of a page as a browser sees them, and the text inside scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.texts.append("")
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data

    def of(self, tag: str) -> list[tuple[dict, str]]:
        return [(a, t) for (name, a), t in zip(self.elements, self.texts) if name == tag]

    @property
    def data(self) -> dict:
        return json.loads(next(t for a, t in self.of("script") if a.get("id") == "data"))


def array(packed: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), _TYPES[packed["type"]])


def page(tmp_path: Path, results, **settings) -> Reader:
    path = tmp_path / "result.html"
    settings = {"title": "clip.mp4", "fps": 30.0} | settings
    write_page(path, results, load_body(), **settings)
    return Reader(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return video_of(14, tmp_path_factory.mktemp("video") / "clip.mp4")


def test_the_page_is_closed_small_and_lets_only_its_own_scripts_run(tmp_path, video):
    read = page(tmp_path, [waving()], video=video)
    assert (tmp_path / "result.html").stat().st_size < 2e6
    for tag, attributes in read.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "style"):
            assert name not in attributes, f"<{tag} {name}>"
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"@import|url\(", read.of("style")[0][1])
    meta = [a for a, _ in read.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    policy = dict(part.split(None, 1) for part in meta[0]["content"].split("; "))
    assert policy["default-src"] == "'none'" and policy["media-src"] == "blob:"
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        texts = [t for a, t in read.of(tag) if not a.get("type", "").endswith(("json", "plain"))]
        digests = [hashlib.sha256(t.encode()).digest() for t in texts]
        hashes = [f"'sha256-{base64.b64encode(d).decode()}'" for d in digests]
        assert policy[kind].split() == hashes


def test_the_numbers_are_those_of_the_result(tmp_path, video):
    result = waving([0, 1, 2, 5, 6, 12])
    data = page(tmp_path, [result], video=video).data
    track = data["tracks"][0]
    assert array(track["frames"]).tolist() == [0, 1, 2, 5, 6, 12]
    assert np.allclose(data["times"], np.arange(14) / 30, atol=1e-3)
    assert np.allclose(array(track["told"][0]["gate_similarity"]), result.gate_similarity)
    assert track["told"][0]["sigma"] == 0.5 and track["told"][0]["labels"] == ["waving"]
    body = load_body()
    for name in ("base", "adapted"):
        motion, shown = getattr(result, name), track["motions"][name]
        seen = result.evidence.detected
        distance = (motion.landmarks2d - result.detections.xy).norm(dim=-1)
        errors = [float(d[s].mean()) for d, s in zip(distance, seen)]
        assert np.allclose(array(shown["error"]), errors, atol=1e-4)
        shape = motion.betas.median(0).values
        rest = (body.v_template + body.shapedirs @ shape).numpy()
        assert np.abs(array(shown["rest"]).reshape(-1, 3) - rest).max() < 1e-6
        pelvis = body.joints(torch.eye(3).expand(6, 24, 3, 3), motion.betas)[:, 0] + motion.trans
        assert np.abs(array(shown["root"]).reshape(-1, 3) - pelvis.numpy()).max() < 1e-5
    joints = track["joints"]
    state = array(track["state"]).reshape(6, len(joints))
    hidden = joints.index("right_wrist")
    assert state[:, hidden].tolist() == [1, 1, 1, 2, 2, 0]
    points = array(track["points"]).reshape(6, len(joints), 2)
    assert np.allclose(points[3, hidden], result.evidence.xy[3, HIDDEN])


def test_hostile_labels_and_names_stay_text(tmp_path, video):
    text = (HOSTILE + "\u202e\x1b[31m") * 2
    read = page(tmp_path, [waving(labels=[text] * 12)], video=video, title=HOSTILE)
    assert not read.of("img")
    assert len(read.of("script")) == 4
    shown = read.data["tracks"][0]["told"][0]["labels"][0]
    assert shown.startswith("</script><img") and "\x1b" not in shown and "\u202e" not in shown
    assert read.data["title"].startswith("</script>")
    raw = next(t for a, t in read.of("script") if a.get("id") == "data")
    assert not set("<>&\u2028") & set(raw)


def test_without_video_labels_or_evidence_the_page_still_says_what_there_is(tmp_path):
    result = waving([4, 5, 9], track_id=3)
    blind = replace(result.evidence, present=torch.zeros_like(result.evidence.present))
    empty = replace(result, evidence=blind, labels=[None] * 3, similarity=None,
                    gate_similarity=torch.full((3,), torch.nan), sigma=None)  # fmt: skip
    read = page(tmp_path, [empty])
    data, track = read.data, read.data["tracks"][0]
    assert next(t for a, t in read.of("script") if a.get("id") == "clip") == ""
    assert "not in this page" in data["no_video"] and data["picture"] == {
        "width": 640, "height": 480
    }  # fmt: skip
    assert np.allclose(data["times"], np.arange(10) / 30)
    told = track["told"][0]
    assert told["similarity"] is None and told["gate_similarity"] is None
    assert array(told["label_of"]).tolist() == [-1, -1, -1]
    assert np.isnan(array(track["motions"]["base"]["error"])).all()
    assert track["tiles"][0]["value"] == "–"


def test_several_people_share_one_page(tmp_path, video):
    data = page(tmp_path, [waving(), waving(range(3, 9), track_id=2, seed=1)], video=video).data
    assert [track["id"] for track in data["tracks"]] == [1, 2]
    assert array(data["tracks"][1]["frames"]).tolist() == list(range(3, 9))


def test_what_cannot_be_shown_is_one_sentence_and_leaves_nothing(tmp_path, video):
    result = waving()
    trans = result.adapted.trans.clone()
    trans[2] = torch.inf
    broken = replace(result, adapted=replace(result.adapted, trans=trans))
    for results, settings, message in (
        ([], {}, "at least one track"),
        ([broken], {}, "no finite adapted motion in frame 2"),
        ([waving(range(20))], {"video": video}, "has 14 frames, but the result speaks of frame 19"),
    ):
        with pytest.raises(SemttaError, match=message):
            page(tmp_path, results, **settings)
    assert list(tmp_path.iterdir()) == []


def test_the_clip_keeps_every_frame_at_its_time(tmp_path, video):
    clip = small_clip(video)
    (tmp_path / "a.mp4").write_bytes(clip.mp4)
    seen = [(seconds, image.mean()) for _, seconds, image in read_frames(tmp_path / "a.mp4")]
    assert np.allclose([s for s, _ in seen], np.array(clip.times) - clip.times[0], atol=1e-3)
    # Every frame of the video is brighter than the one before it.
    assert np.abs(np.array([m for _, m in seen]) - np.arange(14) * 16 - 16).max() < 8
    info = probe(tmp_path / "a.mp4")
    assert (clip.width, clip.height) == (1280, 720) and (info.width, info.height) == (960, 540)


def test_shake_is_the_second_difference_of_the_distance():
    result = waving([0, 1, 2, 3, 7, 8])
    betas = torch.zeros(6, 10)
    trans = torch.tensor([[0, 0, z] for z in (3.0, 3.01, 3.0, 3.01, 9.0, 1.0)])
    motion = replace(result.adapted, betas=betas, trans=trans)
    assert shake(motion, result, load_body()) == pytest.approx(20, abs=0.01)
    short = waving([0, 5])
    assert np.isnan(shake(short.adapted, short, load_body()))
    assert torch.isfinite(frame_errors(result.adapted, result)).all()


def test_times_of_frames_that_nobody_saw_lie_between_the_known_ones():
    first = waving([2, 3])
    times = torch.tensor([0.5, 0.6], dtype=torch.float64)
    late = replace(first, track=replace(first.track, times=times))
    assert np.allclose(all_times([late], 10.0), [0.3, 0.4, 0.5, 0.6])


def view(*arguments) -> tuple[int, str]:
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["view", "--no-open", *map(str, arguments)])
    return done, str(done.exception) if isinstance(done.exception, SemttaError) else done.output


def test_results_come_with_page_and_glb(tmp_path, video):
    folder = result_folder(tmp_path / "out", [waving()], video, page=True)
    assert {"result.html", "track-01.glb"} <= {path.name for path in folder.iterdir()}
    assert len(Reader((folder / "result.html").read_text()).data["times"]) == 14


def test_view_makes_the_page_once_and_again_on_request(tmp_path, video):
    folder = result_folder(tmp_path / "out", [waving()], video)
    done, said = view(folder)
    assert done.exit_code == 0 and "was not found" in said  # the video lies elsewhere
    assert str(folder / "result.html") in said.replace("\n", "")
    assert Reader((folder / "result.html").read_text()).data["no_video"]
    (folder / "result.html").write_text("mine")
    assert view(folder)[0].exit_code == 0 and (folder / "result.html").read_text() == "mine"
    done, said = view(folder, "--video", video)
    assert done.exit_code == 0 and "note" not in said
    clip = dict(
        (a.get("id"), t) for a, t in Reader((folder / "result.html").read_text()).of("script")
    )
    assert len(clip["clip"]) > 1000
    (tmp_path / video.name).write_bytes(video.read_bytes())  # beside the folder: found by itself
    assert "not found" not in view(folder, "--remake")[1]


def test_view_refuses_in_one_sentence(tmp_path, video):
    folder = result_folder(tmp_path / "out", [waving()], video)
    assert "does not exist" in view(tmp_path / "none")[1]
    assert "does not exist" in view(folder, "--video", tmp_path / "none.mp4")[1]
    (folder / "config.yaml").write_text("body: {name: gone.npz, gender: neutral}")
    assert "gone.npz" in view(folder)[1]
    assert not (folder / "result.html").exists()
