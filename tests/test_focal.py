"""Focal lengths as people and files say them."""

import math
import struct

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import refused, run, write_poses  # noqa: F401 - run is a fixture

from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.focal import parse_focal
from semtta.video import ImageSequence
from semtta.video.lens import exif_focal, focal_of_file, video_camera


@pytest.mark.parametrize(
    ("text", "pixels", "said"),
    [
        (1200, 1200, "as given"),
        ("1200", 1200, "as given"),
        ("1200.5 px", 1200.5, "as given"),
        ("43.2666153mm", math.hypot(1920, 1080), "given as 43.2666 mm (35 mm equivalent)"),
        ("4.2mm/5.6mm", 1440, "given as 4.2 mm on a sensor of 5.6 mm"),
        ("4.2 MM / 5.6 mm", 1440, "given as 4.2 mm on a sensor of 5.6 mm"),
    ],
)
def test_every_way_to_say_it(text, pixels, said):
    for width, height in ((1920, 1080), (1080, 1920)):  # a phone may be held upright
        camera = video_camera(width, height, text, None)
        assert camera.focal == pytest.approx(pixels, rel=1e-6) and camera.origin == said
    config = load_config("default", [f'camera.focal="{text}"'])
    assert parse_focal(config.camera.focal).pixels(1920, 1080) == pytest.approx(pixels, rel=1e-6)


def test_nothing_said_is_a_guess_and_says_so():
    camera = video_camera(300, 400, None, None)
    assert camera.focal == 500 and camera.origin == "guessed: the picture's diagonal"


@pytest.mark.parametrize("text", ["", "wide", "26", "-3mm", "26cm", "0mm", "5mm/0mm", "1e9", "nan",
                                  "26mm/35", "٢٦mm", "9" * 400])  # fmt: skip
def test_what_is_no_focal_length_is_refused(text):
    if text == "26":  # pixels, but of no camera with such a picture
        with pytest.raises(SemttaError, match="does not belong to a picture"):
            video_camera(1920, 1080, text, None)
        return
    with pytest.raises(SemttaError, match="camera.focal"):
        parse_focal(text)
    with pytest.raises(SemttaError, match="camera.focal"):
        load_config("default", [f'camera.focal="{text}"'])


# ------------------------------------------------------------------ files


def tiff(order, entries, sub=()):
    """A TIFF directory of (tag, kind, value), and one below it."""
    rationals, start = b"", 8 + 2 + 12 * (len(entries) + bool(sub)) + 4
    below = start + 2 + 12 * len(sub) + 4

    def directory(rows, end):
        nonlocal rationals
        out = struct.pack(order + "H", len(rows))
        for tag, kind, value in rows:
            if kind == 5:
                place = end + len(rationals)
                rationals += struct.pack(order + "II", *value)
                out += struct.pack(order + "HHII", tag, kind, 1, place)
            else:
                field = struct.pack(order + ("H" if kind == 3 else "I"), value).ljust(4, b"\0")
                out += struct.pack(order + "HHI", tag, kind, 1) + field
        return out + b"\0" * 4

    first = directory([*entries, *([(0x8769, 4, start)] if sub else [])], below)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + first + (directory(sub, below) if sub else b"") + rationals


def photo(path, exif):
    """A JPEG or PNG with these EXIF data."""
    data = cv2.imencode(path.suffix, np.full((160, 200, 3), 90, np.uint8))[1].tobytes()
    if path.suffix == ".png":
        import zlib

        part = b"eXIf" + exif
        chunk = struct.pack(">I", len(exif)) + part + struct.pack(">I", zlib.crc32(part))
        data = data[:33] + chunk + data[33:]
    else:
        segment = b"Exif\0\0" + exif
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    path.write_bytes(data)
    return path


EQUIVALENT = [(0xA405, 3, 26)]
PHYSICAL = [(0x920A, 5, (42, 10)), (0xA002, 4, 4000), (0xA20E, 5, (400000, 56)), (0xA210, 3, 3)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_exif_of_a_folder_of_images(tmp_path, order, name):
    image = photo(tmp_path / name, tiff(order, [(0x10F, 3, 1)], EQUIVALENT))
    found, where = focal_of_file(tmp_path)
    assert (found.length, found.unit) == (26, "equivalent") and name in where
    camera = video_camera(64, 48, "exif", None, ImageSequence(tmp_path, (None, name)))
    assert camera.focal == pytest.approx(26 / math.hypot(36, 24) * 80)
    assert camera.origin == f"26 mm (35 mm equivalent) by the EXIF of '{name}'"
    physical = exif_focal(photo(image, tiff(order, [], PHYSICAL)).read_bytes())
    assert (physical.length, physical.sensor) == (4.2, pytest.approx(5.6))


def test_metadata_of_a_phone(tmp_path):
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as file:
        file.metadata["com.apple.quicktime.camera.focal_length.35mm_equivalent"] = "26"
        stream = file.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    found, where = focal_of_file(path)
    assert (found.length, found.unit, where) == (26, "equivalent", "the metadata of 'clip.mov'")


def test_files_that_do_not_tell_are_one_sentence(run, tmp_path):  # noqa: F811
    (tmp_path / "frames").mkdir()
    photo(tmp_path / "frames" / "1.png", tiff("<", [], [(0x920A, 5, (42, 10))]))
    write_poses(tmp_path / "p.npz", frames=1)
    common = ("adapt", "frames", "--poses2d", "p.npz", "-o", "o", "--no-overlay", "--no-page",
              "optimizer.epochs=1")  # fmt: skip
    refused(run(*common, "--focal", "exif"), "tell no focal length; give it")
    refused(run(*common, "--focal", "wide"), "none of 1200px, 26mm")
    refused(run(*common, "--focal", "1px"), "does not belong to a picture")
    code, out, err = run(*common, "--focal", "50mm")
    assert code == 0 and "focal length 296 px, given as 50 mm (35 mm equivalent)" in out, err
    assert "focal: 50mm" in (tmp_path / "o" / "config.yaml").read_text()


@given(st.data())
def test_no_bytes_are_too_broken_to_read(data):
    exif = bytearray(tiff(data.draw(st.sampled_from("<>")), EQUIVALENT, PHYSICAL))
    for _ in range(data.draw(st.integers(1, 6))):
        exif[data.draw(st.integers(0, len(exif) - 1))] = data.draw(st.integers(0, 255))
    exif = bytes(exif[: data.draw(st.integers(0, len(exif)))])
    for whole in (exif, b"\xff\xd8\xff\xe1\xff\xffExif\0\0" + exif, b"\x89PNG\r\n\x1a\n" + exif):
        found = exif_focal(whole)
        assert found is None or 0 < found.pixels(640, 480) < math.inf
