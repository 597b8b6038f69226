"""Videos of every kind: each frame the picture at its time, or one sentence."""

from __future__ import annotations

import gc
import os
import re
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from test_video import waves
from video_files import encode, moving, recontain, woven

from semtta.errors import SemttaError
from semtta.shipped import asset
from semtta.tta.people import find_people
from semtta.video import probe, read_frames

CODECS = set(av.codecs_available)
ROT90 = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]


def read(path):
    """Times, frames (N, H, W, 3) and what was said while reading."""
    said = []
    _, times, frames = zip(*read_frames(path, said.append))
    return list(times), np.stack(frames).astype(int), said


def bar(frame) -> float:
    """Middle of the bright bar, pixels."""
    columns = np.flatnonzero(frame[10 : len(frame) - 10].mean((0, 2)) > 120)
    return float(columns.mean())


# --- interlaced ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("a.mpg", "mpeg2video", "yuv420p", {}),
        ("a.ts", "mpeg2video", "yuv420p", {}),
        ("a.mov", "prores_ks", "yuv422p10le", {}),
        ("a.mkv", "ffv1", "yuv420p", {}),
        ("a.mts", "libx264", "yuv420p", {"x264-params": "tff=1"}),
        ("a.mp4", "libx264", "yuv420p", {"x264-params": "tff=1"}),
    ],
)
def test_interlaced_frames_are_deinterlaced(tmp_path, name, codec, pix_fmt, options):
    format = "mpegts" if name.endswith(("ts", "mts")) else None
    path = tmp_path / name
    encode(path, woven(moving(20)), codec, pix_fmt=pix_fmt, options=options, field="tff",
           format=format)  # fmt: skip
    info = probe(path)
    assert any("deinterlaced" in text for text in info.notes)
    times, frames, _ = read(path)
    assert len(frames) == 10
    np.testing.assert_allclose(times, np.arange(10) / 30, atol=2e-3)
    for i, frame in enumerate(frames):
        # the first field of each frame: where the bar stood when it was taken, and no comb
        assert bar(frame) == pytest.approx(8 * i + 9.5, abs=1.5)
        comb = np.abs(frame[21:43] - (frame[20:42] + frame[22:44]) / 2).max()
        assert comb < 60, i


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "order", "first"), [
    ("a.mkv", "libx264", "yuv420p", "tt", 0), ("a.mkv", "libx264", "yuv420p", "bb", 1),
    ("a.mov", "png", "rgb24", "tb", 0), ("a.mov", "mjpeg", "yuvj420p", "bt", 1),
])  # fmt: skip
def test_interlaced_frames_that_only_the_container_tells(
    tmp_path, name, codec, pix_fmt, order, first
):
    frames = [moving(1)[0]] * 4 + moving(20)  # nothing moves at first
    path = encode(tmp_path / name, woven(frames), codec, pix_fmt=pix_fmt,
                  options={"field_order": order, "crf": "10"})  # fmt: skip
    assert "says that it is interlaced" in " ".join(probe(path).notes)
    frames = read(path)[1]
    assert len(frames) == 12
    for i, frame in enumerate(frames[3:], 1):
        comb = np.abs(frame[21:43] - (frame[20:42] + frame[22:44]) / 2).max()
        assert comb < 60, i
        if 1 < i < 9:  # the rows that are kept are those of the first field
            assert bar(frame) == pytest.approx(8 * i + 9.5 + 4 * first, abs=1.5)


@pytest.mark.parametrize("order", ["tt", "progressive"])
def test_progressive_frames_stay_as_they_are_whatever_the_container_says(tmp_path, order):
    paths = [encode(tmp_path / f"{name}.mkv", moving(12), options=options)
             for name, options in (("a", {}), ("b", {"field_order": order}))]  # fmt: skip
    np.testing.assert_array_equal(read(paths[0])[1], read(paths[1])[1])
    assert bool(probe(paths[1]).notes) == (order == "tt")


def test_a_comb_would_be_seen(tmp_path):
    """The measure of the test above does notice fields that were not taken apart."""
    path = encode(tmp_path / "a.mkv", woven(moving(20)), "ffv1")
    frame = read(path)[1][4]
    assert np.abs(frame[21:43] - (frame[20:42] + frame[22:44]) / 2).max() > 100


@pytest.mark.parametrize("count", [1, 2])
def test_short_interlaced_videos(tmp_path, count):
    path = encode(tmp_path / "a.mkv", moving(count), "ffv1", field="bff")
    assert len(read(path)[1]) == count


def test_full_range_stays_full_when_deinterlaced(tmp_path):
    frames = [np.full((64, 96, 3), 250, np.uint8)] * 3
    path = encode(tmp_path / "a.avi", frames, "mjpeg", pix_fmt="yuvj420p")
    plain = read(path)[1]
    assert np.abs(plain - 250).max() <= 3


# --- whole files and cut ones -------------------------------------------------------------


@pytest.mark.parametrize("name", ["trim.mp4", "trim.mov"])
def test_lossless_trims_show_what_they_show(tmp_path, name):
    source = encode(tmp_path / "a.mp4", moving(20), options={"g": "5", "bf": "0"})
    path = recontain(source, tmp_path / name, shift=-12)
    times, frames, said = read(path)
    assert len(frames) == probe(path).frames == 8 and times[0] == 0 and not said
    assert bar(frames[0]) == pytest.approx(4 * 12 + 9.5, abs=1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_sound_may_be_longer(tmp_path, name):
    path = encode(tmp_path / name, moving(12), sound=3.0)
    times, frames, said = read(path)
    assert len(frames) == 12 and not said
    assert times[-1] == pytest.approx(11 / 30, abs=2e-3)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_late_starts_begin_at_zero(tmp_path, name):
    source = encode(tmp_path / "a.mp4", moving(12), options={"bf": "0"})
    times, frames, said = read(recontain(source, tmp_path / name, shift=150))
    assert len(frames) == 12 and not said
    np.testing.assert_allclose(times, np.arange(12) / 30, atol=2e-3)


class Pipe:
    """A file that cannot seek, as the standard output of ffmpeg."""

    def __init__(self, path):
        self.file = open(path, "wb", buffering=0)
        self.write = self.file.write


@pytest.mark.parametrize(
    ("name", "format", "options"),
    [
        ("frag.mp4", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("pipe.mkv", "matroska", {}),
        ("pipe.webm", "matroska", {}),
        ("pipe.avi", "avi", {}),
        ("pipe.ts", "mpegts", {}),
    ],
)
def test_streamed_files_are_whole_until_they_are_cut(tmp_path, name, format, options):
    path, pipe = tmp_path / name, Pipe(tmp_path / name)
    with av.open(pipe, "w", format=format, options=options) as container:
        stream = container.add_stream("libx264", 30, options={"g": "6", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for frame in moving(20):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    pipe.file.close()
    _, frames, said = read(path)
    assert len(frames) == 20 and not said
    assert bar(frames[-1]) == pytest.approx(4 * 19 + 9.5, abs=1)
    if format in ("mp4", "matroska"):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        with pytest.raises(SemttaError, match="cut off"):
            probe(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
def test_cut_files_are_found_before_the_work(tmp_path, name):
    path = encode(tmp_path / name, moving(20), "mpeg4")
    data = path.read_bytes()
    assert len(read(path)[1]) == 20
    for share in (0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(SemttaError, match="cut off") as error:
            probe(path)
        assert "ffmpeg -i" in str(error.value)
        with pytest.raises(SemttaError):
            read(path)


def test_half_the_demo_clip_is_cut(tmp_path):
    data = asset("demo/cam02_occluded.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(SemttaError, match="half.mp4' is cut off"):
        probe(tmp_path / "half.mp4")


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_damage_within_stops_the_run(tmp_path, codec):
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 96, 3), np.uint8)
    path = encode(tmp_path / "a.mp4", list(noise), codec, options={"g": "30"})
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat")
    for at in range(len(data) // 3, len(data) * 2 // 3, 97):
        data[at] ^= 0x5A
    assert start < len(data) // 3
    path.write_bytes(data)
    with pytest.raises(SemttaError, match="damaged"):
        read(path)


def test_half_a_frame_at_the_end_of_raw_dv_is_left_out(tmp_path):
    frames = [np.full((576, 720, 3), 90, np.uint8)] * 3
    path = encode(tmp_path / "a.dv", frames, "dvvideo", rate=25, field="bff")
    assert len(read(path)[1]) == 3 and (probe(path).width, probe(path).height) == (768, 576)
    path.write_bytes(path.read_bytes()[: 144000 * 5 // 2])
    _, frames, said = read(path)
    assert len(frames) == 2 and "left out" in said[0]


def test_ending_early_without_damage_is_only_said(tmp_path):
    """A container may announce more than there is: mended, or written by a careless tool."""
    path = encode(tmp_path / "a.mkv", moving(20))
    data = path.read_bytes()
    path.write_bytes(re.sub(rb"00:00:00\.6\d\d", b"00:00:09.667", data))
    _, frames, notes = read(path)
    assert len(frames) == 20 and "ends after 20 of 290 announced frames" in notes[0]


# --- how it is shown ----------------------------------------------------------------------


def test_rotation_and_mirroring_are_applied(tmp_path):
    corner = np.full((64, 96, 3), 40, np.uint8)
    corner[:16, :16] = 220  # top left
    source = encode(tmp_path / "a.mp4", [corner] * 3)
    one = 65536
    places = {  # display matrix -> where the bright corner is, and the shape
        (0, one, 0, -one, 0, 0, 0, 0, 1 << 30): ("top right", (96, 64)),
        (-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30): ("bottom right", (64, 96)),
        (0, -one, 0, one, 0, 0, 0, 0, 1 << 30): ("bottom left", (96, 64)),
        (-one, 0, 0, 0, one, 0, 0, 0, 1 << 30): ("top right", (64, 96)),
        (one, 0, 0, 0, -one, 0, 0, 0, 1 << 30): ("bottom left", (64, 96)),
        (0, one, 0, one, 0, 0, 0, 0, 1 << 30): ("top left", (96, 64)),
    }
    for matrix, (place, shape) in places.items():
        path = recontain(source, tmp_path / "turned.mp4", matrix=list(matrix))
        info, frame = probe(path), read(path)[1][-1]
        assert frame.shape[:2] == (info.height, info.width) == shape
        rows, columns = np.nonzero(frame.mean(2) > 130)
        vertical = "top" if rows.mean() < shape[0] / 2 else "bottom"
        horizontal = "left" if columns.mean() < shape[1] / 2 else "right"
        assert f"{vertical} {horizontal}" == place, matrix


@pytest.mark.parametrize(("matrix", "every"), [(None, "250"), (ROT90, "250"), (ROT90, "1")])
def test_no_frame_outlives_its_turn(tmp_path, matrix, every):
    """Without waiting for a search for garbage, which may come after a gigabyte."""
    path = encode(tmp_path / "a.mp4", moving(60), options={"g": every})
    if matrix is not None:
        path = recontain(path, tmp_path / "turned.mp4", matrix=matrix)
    gc.collect()
    gc.disable()
    try:
        alive = [sum(isinstance(x, av.VideoFrame) for x in gc.get_objects())
                 for index, *_ in read_frames(path) if index % 13 == 12]  # fmt: skip
    finally:
        gc.enable()
    assert max(alive) <= 24  # of which the decoder hands over some together


@pytest.mark.parametrize(("matrix", "size"), [(None, (60, 44)), (ROT90, (44, 60))])
@pytest.mark.parametrize("aspect", ["1", "4/3"])
def test_frames_are_shrunk_on_the_way_as_they_would_be_afterwards(tmp_path, matrix, size, aspect):
    shape = {"sample_aspect_ratio": Fraction(aspect)}
    path = encode(tmp_path / "a.mp4", [waves()] * 3, settings=shape)
    if matrix is not None:
        path = recontain(path, tmp_path / "turned.mp4", matrix=matrix)
    whole = next(read_frames(path))[2]
    small = next(read_frames(path, size=size))[2]
    assert small.shape == (size[1], size[0], 3) and small.flags["C_CONTIGUOUS"]
    off = np.abs(small - cv2.resize(whole, size, interpolation=cv2.INTER_AREA).astype(int))
    assert off.mean() < 3 and off.max() < 20  # a wrong turn makes 50


def test_other_angles_are_refused(tmp_path):
    source = encode(tmp_path / "a.mp4", moving(3))
    slanted = [46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30]
    path = recontain(source, tmp_path / "b.mp4", matrix=slanted)
    with pytest.raises(SemttaError, match="no right angle"):
        probe(path)


@pytest.mark.parametrize(("aspect", "width"), [("4/3", 128), ("8/9", 85), ("1139/1140", 96)])
def test_pixels_become_square(tmp_path, aspect, width):
    shape = {"sample_aspect_ratio": Fraction(aspect)}
    path = encode(tmp_path / "a.mp4", moving(3), settings=shape)
    info, frames = probe(path), read(path)[1]
    assert frames.shape[1:3] == (64, width) == (info.height, info.width)
    assert bool(info.notes) == (width != 96)
    assert bar(frames[2]) == pytest.approx((17.5 + 0.5) * width / 96 - 0.5, abs=1)


def test_absurd_pixels_are_refused(tmp_path):
    path = encode(tmp_path / "a.mp4", moving(3), settings={"sample_aspect_ratio": Fraction(60)})
    with pytest.raises(SemttaError, match="times as wide as high"):
        probe(path)


def test_turned_and_stretched(tmp_path):
    shape = {"sample_aspect_ratio": Fraction(2)}
    source = encode(tmp_path / "a.mp4", moving(3), settings=shape)
    info = probe(recontain(source, tmp_path / "b.mp4", matrix=ROT90))
    assert (info.width, info.height) == (64, 192)


@pytest.mark.parametrize("matrix", [1, 5, None])
def test_colours_follow_the_tags(tmp_path, matrix):
    color = np.array([200, 40, 90])
    frames = [np.full((64, 96, 3), color, np.uint8)] * 2
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", 30, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            target = 1 if matrix == 1 else 5  # untagged is BT.601, as in OpenCV
            container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=target)))
        container.mux(stream.encode(None))
    assert np.abs(read(tmp_path / "a.mp4")[1] - color).max() <= 4


def test_ten_bits_grey_and_transparency(tmp_path):
    for name, codec, pix_fmt in (
        ("a.mov", "prores_ks", "yuva444p10le"), ("b.mkv", "ffv1", "gray"),
        ("c.mkv", "ffv1", "yuv420p10le"), ("d.mov", "png", "rgba"), ("e.gif", "gif", "rgb8"),
    ):  # fmt: skip
        frames = read(encode(tmp_path / name, moving(4), codec, pix_fmt=pix_fmt))[1]
        assert bar(frames[3]) == pytest.approx(4 * 3 + 9.5, abs=1), name


def test_variable_rate_keeps_its_times(tmp_path):
    stamps = [0, 1, 2, 5, 6, 7, 9, 10, 11, 12, 13, 14]
    times, _, said = read(encode(tmp_path / "a.mp4", moving(12), stamps=stamps))
    np.testing.assert_allclose(times, np.array(stamps) / 30, atol=1e-3)
    assert "variable frame rate" in said[0]


# --- codecs and names ---------------------------------------------------------------------


@pytest.mark.skipif("libsvtav1" not in CODECS, reason="no encoder")
def test_av1_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SVT_LOG", "-1")
    frames = read(encode(tmp_path / "a.mkv", moving(6), "libsvtav1"))[1]
    assert bar(frames[5]) == pytest.approx(4 * 5 + 9.5, abs=1)


@pytest.mark.parametrize(
    ("name", "codec", "old", "new", "said"),
    [
        ("a.mp4", "libx264", b"avc1", b"xyz1", "'xyz1'"),
        ("a.mkv", "libx264", b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ", "'V_MPEG4/ISO/XYZ'"),
        ("a.avi", "mpeg4", b"FMP4", b"ZZZZ", "'ZZZZ'"),
    ],
)
def test_unknown_codecs_are_named(tmp_path, name, codec, old, new, said):
    path = encode(tmp_path / name, moving(3), codec)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(SemttaError, match="cannot be decoded here; convert it") as error:
        probe(path)
    assert f"the codec {said} of" in str(error.value)


def test_names_are_only_names(tmp_path, monkeypatch):
    source = encode(tmp_path / "a.mp4", moving(3)).read_bytes()
    monkeypatch.chdir(tmp_path)
    os.mkdir("http:")
    for name in ("2024-05-01T12:30:45.mp4", "-i.mp4", "f%03d.mp4", "concat:a.mp4|b.mp4",
                 "http:/a.mp4", "pipe:0", "no ending", "a\udcff.mp4"):  # fmt: skip
        with open(name, "wb") as file:
            file.write(source)
        assert len(list(read_frames(name))) == 3, name
    for name in ("pipe:1", "file:a.mp4"):
        with pytest.raises(SemttaError, match="does not exist"):
            probe(name)
    with pytest.raises(SemttaError, match="an address .http. is not read"):
        probe("http://localhost/a.mp4")


def test_no_file_opens_another(tmp_path):
    secret = encode(tmp_path / "secret.mp4", moving(3))
    lists = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{secret.name}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        f"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>{secret}</MPD>",
    )
    for text in lists:
        for name in ("list.mp4", "list.m3u8", "list.ffconcat", "list.sdp", "list.mpd"):
            (tmp_path / name).write_text(text)
            with pytest.raises(SemttaError, match="cannot be opened as a video"):
                probe(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    for path in (tmp_path / "a.mp4", "/dev/zero"):
        with pytest.raises(SemttaError, match="pipe or device"):
            probe(path)


def test_huge_pictures_are_refused_before_they_take_memory(tmp_path):
    stream = tmp_path / "a.y4m"
    stream.write_bytes(b"YUV4MPEG2 W60000 H60000 F30:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))
    still = tmp_path / "a.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    still.write_bytes(data + struct.pack(">I", zlib.crc32(header)) + bytes(1000))
    for path in (stream, still):
        with pytest.raises(SemttaError, match="60000 x 60000 pixels|can be decoded|cannot be"):
            probe(path)


def test_only_sound_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        for at in range(0, 9600, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 48000, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SemttaError, match="holds no video"):
        probe(tmp_path / "a.mp4")


def test_notes_reach_whoever_tracks(tmp_path):
    video = encode(tmp_path / "a.mkv", moving(4), "ffv1", field="tff")
    points = np.random.default_rng(0).uniform(10, 50, (4, 17, 2))
    np.savez(tmp_path / "p.npz", xy=points, conf=np.ones((4, 17)), skeleton="coco17")
    heard = []

    def hear(stage, done, total, values):
        heard.extend([values["text"]] if stage == "note" else [])

    tracked = find_people(video, "largest", tmp_path / "p.npz", hear)
    assert heard == list(tracked.info.notes) and "interlaced" in heard[0]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.flv"])
def test_spoilt_bytes_are_a_sentence_and_print_nothing(tmp_path, name, capfd):
    codec = "flv" if name == "a.flv" else "mpeg4"
    data = encode(tmp_path / name, moving(8), codec).read_bytes()
    rng = np.random.default_rng(0)
    for region in np.repeat((400, 2000, len(data)), 12):
        spoilt = bytearray(data)
        for at in rng.integers(0, min(region, len(data)), 4):
            spoilt[at if rng.random() < 0.5 else len(data) - 1 - at] = rng.integers(256)
        (tmp_path / name).write_bytes(spoilt)
        try:
            shapes = {frame.shape for _, _, frame in read_frames(tmp_path / name)}
            assert len(shapes) == 1
        except SemttaError as error:
            assert name in str(error)
    assert capfd.readouterr() == ("", "")
