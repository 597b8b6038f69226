"""Frames as they arrive: who is followed, and in which pieces."""

import numpy as np
import pytest
import torch
from test_adapter import adapter

from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.people import live, pipeline
from semtta.people.live import follow
from semtta.people.pipeline import NobodyFound, TrackedVideo
from semtta.skeletons import BODY27
from semtta.video import probe, read_frames
from semtta.video.memory import FramesInMemory

TALL, SHORT = 200, 100  # how bright a person is


def picture(**people):
    """30 x 60 pixels, with people at some columns."""
    image = np.zeros((30, 60, 3), np.uint8)
    for name, at in people.items():
        value, high = {"tall": (TALL, 20), "short": (SHORT, 10)}[name]
        image[5 : 5 + high, at : at + 10] = value
    return image


def found(images, value):
    """Frames and boxes of whoever is that bright."""
    frames, boxes = [], []
    for t, image in enumerate(images):
        y, x = np.nonzero(image[..., 0] == value)
        if len(y):
            frames.append(t)
            boxes.append([x.min(), y.min(), x.max(), y.max()])
    return torch.tensor(frames), torch.tensor(boxes, dtype=torch.float32)


@pytest.fixture
def looks(monkeypatch):
    """A detector that sees people by their brightness; returns how many frames it looks at."""
    counted = []

    def track_video(video, *, detect_size, max_people, threads):
        counted.append(len(video.images))
        times, tracks = torch.tensor(video.times, dtype=torch.float64), []
        for value in (TALL, SHORT):
            frames, boxes = found(video.images, value)
            if len(frames):
                middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
                points = middle + 3 * torch.arange(54).reshape(1, 27, 2) / 54
                points = Keypoints2D(points, torch.ones(len(frames), 27), BODY27)
                tracks.append(Track(len(tracks) + 1, frames, times[frames], boxes, points))
        if not tracks:
            raise NobodyFound("nobody")
        return TrackedVideo(probe(video), tracks[:max_people], times)

    monkeypatch.setattr(live, "track_video", track_video)
    return counted


def pieces(frames, fps=10.0):
    return [piece for _, piece in follow(frames, fps)]


def frames_of(tracks):
    return torch.cat([track.frames for track in tracks]).tolist()


def test_every_frame_is_handed_out_once_and_in_order(looks):
    images = [picture(tall=t) for t in range(37)]
    track = pieces(images)
    assert frames_of(track) == list(range(37)) and {piece.id for piece in track} == {1}
    assert [len(piece) for piece in track] == [10, 10, 10, 7]
    torch.testing.assert_close(torch.cat([piece.times for piece in track]),
                               torch.arange(37, dtype=torch.float64) / 10)  # fmt: skip
    assert torch.cat([piece.boxes for piece in track])[:, 0].tolist() == list(range(37))
    assert max(looks) <= 18  # half a second before, one of its own, what it waits for, and one


def test_a_piece_comes_as_soon_as_it_can_and_later_frames_do_not_matter(looks):
    def camera():
        for t in range(60):
            yield picture(tall=t // 2)
            arrived.append(t)

    arrived = []
    first = next(follow(camera(), 10.0))[1]
    assert first.frames.tolist() == list(range(10)) and arrived == list(range(12))


def test_frames_may_bring_their_own_times(looks):
    times = [0.0, 0.1, 0.25, 0.4, 3.0, 3.1]
    track = pieces([(seconds, picture(tall=5)) for seconds in times])
    assert frames_of(track) == list(range(6))
    assert torch.cat([piece.times for piece in track]).tolist() == times


def test_whoever_was_followed_is_followed_on(looks):
    """The short one is alone at first; then a tall one comes, whom a detector names first."""
    images = [picture(short=10)] * 15 + [picture(short=10, tall=40)] * 30
    track = pieces(images)
    assert {piece.id for piece in track} == {1} and frames_of(track) == list(range(45))
    assert float(torch.cat([piece.boxes for piece in track])[:, 0].max()) == 10


def test_somebody_else_has_another_number_and_an_empty_picture_none(looks):
    images = [picture(short=10)] * 20 + [picture()] * 30 + [picture(tall=45)] * 20
    track = pieces(images)
    assert sorted({piece.id for piece in track}) == [1, 2]
    assert frames_of(track) == [*range(20), *range(50, 70)]
    back = pieces([picture(tall=5)] * 20 + [picture()] * 30 + [picture(tall=5)] * 20)
    assert {piece.id for piece in back} == {1}


def test_a_stream_of_pictures_is_one_of_its_people(looks):
    frozen = adapter("strategy=frozen")
    images = [picture(tall=t // 2) for t in range(40)]
    result = list(frozen.stream(images, fps=20.0))
    assert [frame for piece in result for frame in piece.track.frames.tolist()] == list(range(40))
    assert result[0].camera.center == frozen.camera(60, 30).center


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([np.zeros((4, 4, 3))], "frame 0 is no picture"),
        ([np.zeros((4, 4, 1), np.uint8)], r"shape \(4, 4, 1\)"),
        ([picture(), np.zeros((4, 4, 3), np.uint8)], "frame 1 has another size"),
        ([(1.0, picture()), (1.0, picture())], "frame 1 of the stream is at 1 s, not after"),
        ([(float("nan"), picture())], "frame 0 of the stream is at nan s"),
        ([(picture(), 1.0)], "frame 0 of the stream: a pair is of seconds and a picture, in this"),
        ([(None, picture())], "a pair is of seconds and a picture"),
        ([("soon", picture())], "a pair is of seconds and a picture"),
        ([(10**400, picture())], "a pair is of seconds and a picture"),
    ],
)
def test_what_is_no_stream_of_pictures_is_refused(looks, frames, says):
    with pytest.raises(SemttaError, match=says):
        pieces(frames)
    with pytest.raises(SemttaError, match="frames per second"):
        pieces([picture()], fps=0.0)
    with pytest.raises(SemttaError, match="a frame rate is a number, not a str"):
        pieces([picture()], fps="30")


def test_frames_in_memory_are_a_video():
    images = (picture(tall=1), picture(tall=2))
    video = FramesInMemory((4.0, 4.5), images, 2.0)
    info = probe(video)
    assert (info.width, info.height, info.fps, info.frames) == (60, 30, 2.0, 2)
    read = list(read_frames(video))
    assert [(index, seconds) for index, seconds, _ in read] == [(0, 4.0), (1, 4.5)]
    assert all(image is own for (_, _, image), own in zip(read, images, strict=True))
    with pytest.raises(SemttaError, match="cut by whoever has them"):
        pipeline.track_video(video, start=1)


def test_an_empty_picture_in_memory_has_nobody():
    """The detector itself, on a window."""
    video = FramesInMemory((0.0,), (np.zeros((64, 64, 3), np.uint8),), 30.0)
    with pytest.raises(NobodyFound, match="nobody was found in 'frames in memory'"):
        pipeline.track_video(video)
