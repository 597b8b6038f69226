"""Reading and writing videos."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from semtta.errors import SemttaError
from semtta.video import (
    ImageSequence,
    next_time,
    probe,
    read_frames,
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


class FakeCapture:
    """A container without times whose header lies about the number of frames."""

    def __init__(self, count, claim, fps=25.0, msec=0.0):
        self.left, self.claim, self.fps, self.msec = count, claim, fps, msec

    def isOpened(self):
        return True

    def read(self):
        self.left -= 1
        return self.left >= 0, np.zeros((8, 8, 3), np.uint8)

    def get(self, key):
        return {
            cv2.CAP_PROP_FPS: self.fps,
            cv2.CAP_PROP_FRAME_COUNT: self.claim,
            cv2.CAP_PROP_POS_MSEC: self.msec,
        }[key]

    def release(self):
        pass


def test_container_without_times(video, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: FakeCapture(5, 5))
    assert [t for _, t, _ in read_frames(video)] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_nonsense_frame_rate_and_count(video, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: FakeCapture(2, -1, fps=float("nan")))
    info = probe(video)
    assert info.fps == 30 and info.frames is None


def test_cut_off_file_is_an_error(video, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: FakeCapture(40, 100))
    with pytest.raises(SemttaError, match="40 of 100 frames"):
        list(read_frames(video))


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


@pytest.mark.parametrize("fps", [12.5, 29.97002997, 59.94005994, 119.8801198])
def test_broadcast_frame_rates(tmp_path, fps):
    path = write_video(tmp_path / "out.mp4", clip(3), fps, (96, 64))
    assert probe(path).fps == pytest.approx(fps, abs=0.01)


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
    with pytest.raises(SemttaError, match="gone.png' cannot be read"):
        list(read_frames(ImageSequence(images, ("img_3.png", "gone.png"))))
