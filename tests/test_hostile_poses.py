"""Files of 2D poses with anything in them: a sentence or a result, never a traceback."""

import json
from pathlib import Path

import poses_files as files
import pytest
import torch
from hostile import altered, flipped, hostile, refuses_or_reads
from hypothesis import given
from hypothesis import strategies as st
from poses_files import CLIP, CLIP_SIZE
from test_poses_formats import DATA, WRITTEN

from semtta.people.poses2d import understand
from semtta.video import VideoInfo

SHORT = CLIP[:3]
INFO = VideoInfo(Path("clip.mp4"), *CLIP_SIZE, 60.0, 3)
JSON = {
    "openpose": lambda d: files.comfyui(d / "p.json", files.body25(SHORT)),
    "alphapose": lambda d: files.alphapose_form(d / "p.json", SHORT),
    "coco": lambda d: files.coco(d / "p.json", SHORT, idx=1, box=[1, 2, 3, 4]),
    "annotations": lambda d: files.coco_annotations(d / "p.json", SHORT),
    "mmpose": lambda d: files.mmpose_demo(d / "p.json", SHORT),
    "ultralytics": lambda d: files.ultralytics(d / "p.json", SHORT),
    "pifpaf": lambda d: files.pifpaf(d / "p.json", SHORT),
    "easy_vitpose": lambda d: files.easy_vitpose(d / "p.json", SHORT),
    "mediapipe": lambda d: files.mediapipe(d / "p.json", SHORT),
}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", JSON)
def test_json_of_anything(tmp_path, kind):
    path = JSON[kind](tmp_path)
    content = lines(path) if kind == "pifpaf" else json.loads(path.read_text())

    @hostile
    @given(altered(content))
    def check(spoilt):
        path.write_text(json.dumps(spoilt))
        refuses_or_reads(lambda: understand(path, INFO))

    check()


BYTES = ("openpose", "coco", "deeplabcut", "deeplabcut, many", "ultralytics, text", "phalp",
         "vitpose npy", "vitpose pt", "npz of keypoints", "own npz")  # fmt: skip


@pytest.mark.parametrize("kind", BYTES)
def test_bytes_of_anything(tmp_path, kind):
    written = WRITTEN[kind][2](tmp_path)
    path = written if written.is_file() else sorted(written.iterdir())[0]
    data = path.read_bytes()

    @hostile
    @given(flipped(data))
    def check(spoilt):
        path.write_bytes(spoilt)
        refuses_or_reads(lambda: understand(written, VideoInfo(Path("c"), *CLIP_SIZE, 60.0, 100)))

    check()


@pytest.mark.parametrize("name", ["phalp_joblib.pkl", "tracking_results.pth", "deeplabcut.h5"])
def test_bytes_of_what_others_wrote(tmp_path, name):
    data, path = (DATA / name).read_bytes(), tmp_path / name

    @hostile
    @given(flipped(data))
    def check(spoilt):
        path.write_bytes(spoilt)
        refuses_or_reads(lambda: understand(path, INFO))

    check()


@hostile
@given(st.lists(st.integers(-2, 70), min_size=1, max_size=4), st.sampled_from([".npy", ".pt"]))
def test_arrays_of_any_shape(shape, ending):
    import tempfile

    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"p{ending}"
        array = np.ones([max(0, min(n, 12)) for n in shape])
        torch.save(torch.from_numpy(array), path) if ending == ".pt" else np.save(path, array)
        refuses_or_reads(lambda: understand(path, INFO))
