"""Reading and writing videos."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from semtta.errors import SemttaError
from semtta.video import (
    ImageSequence,
    next_time,
    open_images,
    probe,
    read_frames,
    read_image,
    video_hash,
    write_video,
)


def clip(count=10, width=96, height=64):
    """Gray frames whose brightness counts them."""
    return [np.full((height, width, 3), 20 * i + 10, np.uint8) for i in range(count)]


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "clip.mp4", clip(), 25, (96, 64))


def test_probe_describes_the_file(video):
    info = probe(video)
    assert (info.width, info.height, info.frames) == (96, 64, 10)
    assert info.fps == pytest.approx(25)


def test_frames_come_in_order_with_their_times(video):
    indices, times, images = zip(*read_frames(video))
    assert list(indices) == list(range(10))
    np.testing.assert_allclose(times, np.arange(10) / 25, atol=2e-3)
    np.testing.assert_allclose([i.mean() for i in images], 20 * np.arange(10) + 10, atol=4)
    assert images[0].dtype == np.uint8 and images[0].shape == (64, 96, 3)


def test_colours_survive_the_round_trip(tmp_path):
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[..., 0] = 200  # red first
    path = write_video(tmp_path / "red.mp4", [frame] * 3, 30, (64, 64))
    image = next(read_frames(path))[2].mean((0, 1))
    assert image[0] > 150 and image[1] < 60 and image[2] < 60


@pytest.mark.parametrize("name", ["with space.mp4", "ünïcode-видео.mp4"])
def test_any_name_will_do(tmp_path, name):
    path = write_video(tmp_path / "sub folder" / name, clip(3), 30, (96, 64))
    assert len(list(read_frames(path))) == 3


def test_one_frame(tmp_path):
    path = write_video(tmp_path / "one.mp4", clip(1), 30, (96, 64))
    frames = list(read_frames(path))
    assert len(frames) == 1 and frames[0][:2] == (0, 0.0)


def test_broken_times_fall_back_to_the_frame_rate():
    assert next_time(0.5, 0.4, 10) == 0.5
    assert next_time(0.4, 0.4, 10) == pytest.approx(0.5)  # standing still
    assert next_time(0.1, 0.4, 10) == pytest.approx(0.5)  # going back
    assert next_time(float("nan"), 0.4, 10) == pytest.approx(0.5)
    assert next_time(-3.0, None, 10) == 0.0


def test_unreadable_files(tmp_path, video):
    empty, text, cut = (tmp_path / n for n in ("empty.mp4", "text.mp4", "cut.mp4"))
    empty.write_bytes(b"")
    text.write_text("this is no video " * 50)
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 3])
    for path in (tmp_path / "none.mp4", tmp_path, empty, text, cut):
        with pytest.raises(SemttaError, match=path.name):
            probe(path)
        with pytest.raises(SemttaError):
            list(read_frames(path))


def test_hash_is_the_files(video):
    import hashlib

    assert video_hash(video) == hashlib.sha256(video.read_bytes()).hexdigest()
    with pytest.raises(SemttaError, match="does not exist"):
        video_hash("nowhere.mp4")


def test_failed_writing_leaves_nothing(tmp_path):
    def breaks():
        yield from clip(3)
        raise RuntimeError("renderer fell over")

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "out.mp4", breaks(), 30, (96, 64))
    with pytest.raises(SemttaError, match="no frames"):
        write_video(tmp_path / "out.mp4", [], 30, (96, 64))
    with pytest.raises(SemttaError, match="frame 1"):
        write_video(tmp_path / "out.mp4", [clip(1)[0], clip(1)[0][:32]], 30, (96, 64))
    assert list(tmp_path.iterdir()) == []


def test_failed_writing_keeps_the_old_file(video):
    before = video.read_bytes()
    with pytest.raises(SemttaError):
        write_video(video, [], 30, (96, 64))
    assert video.read_bytes() == before


@pytest.mark.parametrize("fps", [0, float("nan"), -5])
def test_impossible_frame_rates(tmp_path, fps):
    with pytest.raises(SemttaError, match="frames per second"):
        write_video(tmp_path / "out.mp4", clip(2), fps, (96, 64))


@pytest.mark.parametrize("fps", [12.5, 29.97, 30000 / 1001, 60000 / 1001, 120000 / 1001])
def test_broadcast_frame_rates(tmp_path, fps):
    path = write_video(tmp_path / "out.mp4", clip(3), fps, (96, 64))
    assert probe(path).fps == pytest.approx(fps, rel=1e-9)
    assert [t for _, t, _ in read_frames(path)] == pytest.approx([0, 1 / fps, 2 / fps], abs=1e-4)


def test_written_files_play_in_a_browser(tmp_path):
    path = write_video(tmp_path / "out.mp4", clip(3), 30, (96, 64))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p"
        assert context.name == ("h264" if "libx264" in av.codecs_available else "mpeg4")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # can start before it is all there


def test_without_x264(tmp_path, monkeypatch):
    monkeypatch.setattr("semtta.video.encode._ENCODERS", {"mpeg4": {"qscale": "3"}})
    path = write_video(tmp_path / "out.mp4", clip(3), 120000 / 1001, (96, 64))
    assert probe(path).fps == pytest.approx(120000 / 1001, abs=0.01)
    assert [round(f.mean()) for _, _, f in read_frames(path)] == pytest.approx([10, 30, 50], abs=3)


def test_odd_sides_get_a_row_and_a_column(tmp_path):
    frames = [f[:63, :95] for f in clip(3)]
    path = write_video(tmp_path / "out.mp4", frames, 30, (95, 63))
    assert (probe(path).width, probe(path).height) == (96, 64)
    assert np.abs(next(read_frames(path))[2].astype(int) - 10).max() <= 3


def test_same_frames_same_file(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (8, 62, 90, 3), np.uint8)
    one, two = (write_video(tmp_path / f"{i}.mp4", noise, 30, (90, 62)) for i in (1, 2))
    assert one.read_bytes() == two.read_bytes()


_FULL_DISK = """
import resource, sys
import numpy as np
from semtta.errors import SemttaError
from semtta.video import write_video
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
noise = np.random.default_rng(0).integers(0, 255, (20, 64, 96, 3), np.uint8)
try:
    write_video(sys.argv[1], noise, 30, (96, 64))
except SemttaError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
@pytest.mark.parametrize("share", [0, 0.0005, 0.1, 0.6, 0.999])
def test_a_full_disk_leaves_nothing(tmp_path, share):
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 96, 3), np.uint8)
    path = write_video(tmp_path / "out.mp4", noise, 30, (96, 64))
    limit = int(path.stat().st_size * share)
    path.unlink()
    command = [sys.executable, "-c", _FULL_DISK, str(tmp_path / "out.mp4"), str(limit)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 1 and "refused" in answer.stderr, answer.stderr
    assert "cannot be written" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_lacks_frames_does_not_take_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("semtta.video.encode.count_frames", lambda path: 2)
    with pytest.raises(SemttaError, match="cannot be written"):
        write_video(tmp_path / "out.mp4", clip(3), 30, (96, 64))
    assert list(tmp_path.iterdir()) == []


# --- folders of images --------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, frame in enumerate(clip(12)):
        cv2.imwrite(str(folder / f"img_{i + 1}.png"), frame)
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"neither")
    return folder


def test_folder_of_images_in_the_order_of_their_numbers(images):
    info = probe(images)
    assert (info.width, info.height, info.frames, info.fps) == (96, 64, 12, 30)
    indices, times, frames = zip(*read_frames(images))
    assert list(indices) == list(range(12))
    np.testing.assert_allclose(times, np.arange(12) / 30)
    # 10, 11 and 12 after 9, not after 1
    assert [int(frame.mean()) for frame in frames] == [20 * i + 10 for i in range(12)]


def test_colours_of_images(tmp_path):
    frame = np.zeros((8, 8, 3), np.uint8)
    frame[..., 2] = 200  # OpenCV writes blue first
    cv2.imwrite(str(tmp_path / "a.png"), frame)
    assert next(read_frames(tmp_path))[2][0, 0].tolist() == [200, 0, 0]


def test_bad_folders(images, tmp_path):
    (tmp_path / "none").mkdir()
    for action in (probe, lambda path: list(read_frames(path)), video_hash):
        with pytest.raises(SemttaError, match="holds no images"):
            action(tmp_path / "none")
    cv2.imwrite(str(images / "img_5.png"), np.zeros((32, 96, 3), np.uint8))
    with pytest.raises(SemttaError, match="size at image 'img_5.png'"):
        list(read_frames(images))
    for content in (b"", b"\x89PNG broken"):
        (images / "img_1.png").write_bytes(content)
        with pytest.raises(SemttaError, match="img_1.png' cannot be read"):
            probe(images)


def test_hash_of_a_folder_notices_another_image(images):
    before = video_hash(images)
    assert before == video_hash(images)
    cv2.imwrite(str(images / "img_13.png"), clip(1)[0])
    assert video_hash(images) != before


def test_sequence_with_dropped_frames(images):
    sequence = ImageSequence(images, (None, "img_3.png", None, "img_4.png"), fps=10)
    info = probe(sequence)
    assert (info.path, info.frames, info.fps, info.width) == (images, 4, 10, 96)
    indices, times, frames = zip(*read_frames(sequence))
    assert list(indices) == [0, 1, 2, 3] and times[3] == pytest.approx(0.3)
    assert [int(frame.mean()) for frame in frames] == [0, 50, 0, 70]
    assert video_hash(sequence) != video_hash(images) and Path(sequence) == images
    with pytest.raises(SemttaError, match="not one of 2 frames"):
        probe(ImageSequence(images, (None, None)))
    with pytest.raises(SemttaError, match="gone.png' does not exist"):
        list(read_frames(ImageSequence(images, ("img_3.png", "gone.png"))))


SERIES = [
    ("000001.jpg", "000001_rendered.png"),  # what a tool drew beside its input
    ("1.jpg", "1.png"),
    ("left_0001.png", "right_0001.png"),
    ("frame_3.jpg", "frame_3_mask2.jpg", "frame_4.jpg", "frame_4_mask2.jpg"),
    ("000001.jpg", "cover.jpg"),
]


@pytest.mark.parametrize("names", SERIES)
def test_two_series_in_one_folder_are_refused(tmp_path, names):
    for name in names:
        cv2.imwrite(str(tmp_path / name), clip(1)[0])
    for action in (probe, lambda path: list(read_frames(path)), video_hash):
        with pytest.raises(SemttaError, match="two series of images") as error:
            action(tmp_path)
        assert all(name in str(error.value) for name in names[:2])


def test_names_that_may_stand_together(tmp_path):
    names = ["IMG_1.JPG", "img_2.jpg", "img_10.jpg", "part2_11.jpg"]
    for i, name in enumerate(names):
        cv2.imwrite(str(tmp_path / name), clip(4)[i])
    assert [round(f.mean()) for _, _, f in read_frames(tmp_path)] == [10, 30, 50, 70]


@pytest.mark.parametrize("fps", [12.5, 60.0])
def test_a_folder_with_its_frame_rate(images, fps):
    sequence = open_images(images, fps)
    info = probe(sequence)
    assert info.fps == fps and info.source == sequence and info.frames == 12
    assert [t for _, t, _ in read_frames(sequence)] == pytest.approx(np.arange(12) / fps)
    assert open_images(images, None) == images


def test_frame_rates_are_for_folders(video, images):
    with pytest.raises(SemttaError, match="--fps is for folders of images"):
        open_images(video, 25.0)
    with pytest.raises(SemttaError, match="does not exist"):
        open_images("nowhere.mp4", 25.0)
    for fps in (0.0, -1.0, float("nan"), float("inf"), 1e9):
        with pytest.raises(SemttaError, match="frames per second"):
            open_images(images, fps)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp", "tif"])
def test_cut_images_are_refused(tmp_path, ending):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    path = tmp_path / f"a.{ending}"
    cv2.imwrite(str(path), noise)
    data = path.read_bytes()
    assert read_image(path).shape == (60, 80, 3)
    for share in (0.02, 0.5, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(SemttaError, match="cannot be read"):
            read_image(path)


def test_damaged_png_is_refused(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), clip(1)[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(SemttaError, match="cannot be read"):
        read_image(path)


def huge(ending: str) -> bytes:
    """A small file that claims 60000 x 60000 pixels."""
    if ending == "png":
        header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        parts = [header, b"IDAT", b"IEND"]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
            for part in parts
        )
    settings = [cv2.IMWRITE_WEBP_QUALITY, 50] if ending == "webp" else []
    data = cv2.imencode("." + ending, clip(1)[0], settings)[1].tobytes()
    large = {
        "jpg": (struct.pack(">HH", 64, 96), struct.pack(">HH", 60000, 60000)),
        "bmp": (struct.pack("<ii", 96, 64), struct.pack("<ii", 60000, 60000)),
        "webp": (struct.pack("<HH", 96, 64), struct.pack("<HH", 16383, 16383)),
    }[ending]
    assert large[0] in data
    return data.replace(*large)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp"])
def test_images_that_claim_too_much_take_no_memory(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(huge(ending))
    with pytest.raises(SemttaError, match="more than 67 million are not read"):
        read_image(path)


def test_an_image_is_a_file_of_a_known_kind(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    (tmp_path / "b.png").write_bytes(b"P6 60000 60000 255\n")  # others are never decoded
    with pytest.raises(SemttaError, match="is a folder"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(SemttaError, match="of another kind"):
        read_image(tmp_path / "b.png")


def test_images_are_turned_as_their_exif_says(tmp_path):
    """A quarter turn to the right, as phones write portraits."""
    image = np.full((40, 60, 3), 40, np.uint8)
    image[:10, :10] = 220
    data = cv2.imencode(".jpg", image)[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x112, 3, 1, 6, 0) + bytes(4)
    block = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "1.jpg").write_bytes(data[:2] + block + data[2:])
    assert (probe(tmp_path).width, probe(tmp_path).height) == (40, 60)
    turned = next(read_frames(tmp_path))[2]
    rows, columns = np.nonzero(turned.mean(2) > 130)
    assert rows.max() < 15 and columns.min() > 25  # top right


def waves(width=160, height=120):
    rows, columns = np.mgrid[:height, :width].astype(float)
    bands = [127 + 100 * np.sin(columns / 23 + k) * np.cos(rows / 31) for k in range(3)]
    return np.stack(bands, -1).astype(np.uint8)


def test_images_are_shrunk_on_the_way(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), waves())
    whole, small = (next(read_frames(tmp_path, size=size))[2] for size in (None, (60, 44)))
    assert np.array_equal(small, cv2.resize(whole, (60, 44), interpolation=cv2.INTER_AREA))
