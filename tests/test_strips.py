"""The images that a vision-language model is shown."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.jobs.labels import write_strips
from semtta.keypoints import Keypoints2D, Track
from semtta.labels.strips import make_strips
from semtta.people import TrackedVideo
from semtta.skeletons import COCO17
from semtta.video import ImageSequence, VideoInfo


@pytest.fixture
def video(tmp_path):
    """40 frames, frame i grey 2 i, with a red square that moves right; and its track."""
    names = []
    for i in range(40):
        image = np.full((240, 320, 3), 2 * i, np.uint8)
        image[100:160, 100 + 2 * i : 130 + 2 * i] = (0, 0, 255)
        names.append(f"{i:03d}.png")
        cv2.imwrite(str(tmp_path / names[-1]), image)
    x = 100 + 2.0 * torch.arange(40)
    boxes = torch.stack((x, torch.full((40,), 100.0), x + 30, torch.full((40,), 160.0)), 1)
    points = Keypoints2D(torch.zeros(40, 17, 2), torch.ones(40, 17), COCO17)
    track = Track(1, torch.arange(40), torch.arange(40) / 20, boxes, points)
    return ImageSequence(tmp_path, tuple(names), 20.0), track


def decode(strip):
    image = cv2.imdecode(np.frombuffer(strip.jpeg, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def test_pictures_follow_the_person_in_order_with_the_box_drawn(video):
    images, track = video
    first, second = make_strips(images, [(track, 0, 20), (track, 20, 40)], 4)
    assert len(first.frames) == len(second.frames) == 4
    assert first.frames == tuple(sorted(first.frames)) and max(first.frames) < 20
    assert (first.segment.start, first.segment.end, second.segment.end) == (0, 20, 40)
    assert first.segment.times == pytest.approx((0.0, 0.95))
    image = decode(first)
    assert image.shape[:2][::-1] == first.size and first.size[0] <= 2048
    width = (first.size[0] - 3 * 6) // 4
    for k, frame in enumerate(first.frames):
        picture = image[:, k * (width + 6) : k * (width + 6) + width].astype(int)
        middle = picture[picture.shape[0] // 2, width // 2]
        assert middle[0] > 200 and middle[1] < 60  # the red square, wherever it went
        yellow = (picture[..., 0] > 200) & (picture[..., 1] > 180) & (picture[..., 2] < 120)
        rows, columns = np.nonzero(yellow)
        assert rows.min() < 0.2 * len(picture) < 0.8 * len(picture) < rows.max()
        assert columns.min() < 0.4 * width < 0.6 * width < columns.max()
        corner = picture[-10, 5]
        assert np.abs(corner - 2 * frame).max() < 12  # the right frame


def test_short_pieces_have_fewer_pictures_and_edges_of_the_image_are_grey(video):
    images, track = video
    (strip,) = make_strips(images, [(track, 0, 2)], 6)
    assert strip.frames == (0, 1)
    boxes = track.boxes.clone()
    boxes[:, [0, 2]] -= boxes[:, :1] + 10  # half outside
    outside = Track(1, track.frames, track.times, boxes, track.keypoints)
    (strip,) = make_strips(images, [(outside, 10, 30)], 4)
    assert np.abs(decode(strip)[200, 2].astype(int) - 96).max() < 12


def test_a_wide_box_gets_a_wide_picture_and_no_strip_is_huge(video):
    images, track = video
    boxes = torch.tensor([0.0, 100, 320, 130]).expand(40, 4)
    lying = Track(1, track.frames, track.times, boxes, track.keypoints)
    (strip,) = make_strips(images, [(lying, 0, 40)], 8)
    assert strip.size[0] <= 8 * 1.4 * strip.size[1] + 7 * 6 + 8


def test_a_video_that_is_too_short_is_one_sentence(video):
    images, track = video
    short = ImageSequence(images.folder, images.names[:10], 20.0)
    with pytest.raises(SemttaError, match="fewer frames"):
        make_strips(short, [(track, 0, 40)], 4)


def test_a_person_without_extent_still_has_a_picture(video):
    images, track = video
    boxes = torch.tensor([160.0, 120, 160.1, 120.1]).expand(40, 4)
    dot = Track(1, track.frames, track.times, boxes, track.keypoints)
    (strip,) = make_strips(images, [(dot, 0, 40)], 4)
    width = (strip.size[0] - 3 * 6) / 4
    assert 0.5 * strip.size[1] <= width + 1


def test_strips_are_written_all_or_none_and_replace_only_strips(video, tmp_path):
    images, track = video
    info = VideoInfo(images, 320, 240, 20.0, 40)
    tracked = TrackedVideo(info, track.times, [track])
    folder = tmp_path / "out" / "strips"
    config = load_config("default", ["labels.frames=4"])
    first = write_strips(folder, tracked, [track], config)
    assert len(list(folder.glob("*.jpg"))) == len(first)
    with pytest.raises(SemttaError, match="--overwrite"):
        write_strips(folder, tracked, [track], config)
    (folder / "track-09_frames-00000-00001.jpg").write_bytes(b"of another video")
    write_strips(folder, tracked, [track], config, overwrite=True)
    assert len(list(folder.glob("*.jpg"))) == len(first)  # none that belongs to another video
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SemttaError, match="holds other files than strips, such as 'notes.txt'"):
        write_strips(folder, tracked, [track], config, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine" and list(folder.glob("*.jpg"))
    assert [p.name for p in folder.parent.iterdir()] == ["strips"]
