"""Online: what was handed out stays, whatever follows and however it arrives."""

import copy
import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from test_adapter import CAMERA, adapter, same, tiny_model, walker

from semtta.body import load_body
from semtta.config import check_online, load_config
from semtta.errors import SemttaError
from semtta.jobs.asked import Asked
from semtta.labels import Labels, LabelSpan
from semtta.people import TrackedVideo
from semtta.tta.adapter import Adapter
from semtta.tta.carried import Carried
from semtta.tta.seams import continued, joined
from semtta.tta.stream import Stream
from semtta.video import VideoInfo

ONLINE = ("mode=online", "online.epochs=1", "optimizer.coverage=1")
SHORT = ("online.step=0.4", "online.ahead=0.2", "online.before=0.3")  # 12, 6 and 9 frames
TRACK = walker(60)


def pieces_of(track, size):
    return [track.at(rows) for rows in torch.arange(len(track)).split(size)]


@cache
def online(*overrides):
    return adapter(*ONLINE, *overrides)


def streamed(track, size, *overrides):
    return list(online(*overrides).stream(pieces_of(track, size), "walk", camera=CAMERA))


def alike(a, b):
    return same(a.adapted, b.adapted) and same(a.base, b.base) and (
        torch.equal(a.adapted.trans, b.adapted.trans)
        and torch.equal(a.adapted.landmarks2d, b.adapted.landmarks2d)
    )  # fmt: skip


# ---------------------------------------------------------------------- what is handed out


@cache
def whole():
    """All windows; not of a fixture, which would not have the threads that tests have."""
    return streamed(TRACK, 60, *SHORT)


def test_it_does_not_matter_in_which_pieces_frames_arrive():
    for size in (1, 17):
        other = streamed(TRACK, size, *SHORT)
        assert len(other) == len(whole()) and all(map(alike, whole(), other))


def test_a_run_is_its_windows_one_after_the_other():
    result = online(*SHORT).adapt(TRACK, CAMERA, ["walk"] * 60)
    assert alike(result, joined(whole()))
    assert torch.equal(result.track.frames, TRACK.frames)
    assert torch.equal(result.track.times, TRACK.times.cpu())
    assert torch.equal(result.detections.xy, TRACK.keypoints.xy)
    assert result.labels == ["walk"] * 60 and len(result.boxes) == 60
    assert len(result.similarity) == len(result.gate_similarity) == 60
    windows = [entry["window"] for entry in result.history]
    assert windows == sorted(windows) and set(windows) == set(range(1, len(whole()) + 1))
    assert [len(piece.labels) for piece in whole()] == [12] * 5


def test_what_follows_changes_nothing_that_was_handed_out():
    """The first 40 frames, and after them another motion altogether."""
    other = walker(60, seed=9)
    bent = replace(
        TRACK,
        boxes=torch.cat((TRACK.boxes[:40], other.boxes[40:] + 30)),
        keypoints=replace(
            TRACK.keypoints, xy=torch.cat((TRACK.keypoints.xy[:40], other.keypoints.xy[40:] + 30))
        ),
    )
    changed = streamed(bent, 10, *SHORT)
    early = [piece for piece in whole() if piece.track.frames[-1] + 6 < 40]
    assert len(early) == 2
    assert all(map(alike, early, changed))
    assert not alike(whole()[-1], changed[-1])


def test_a_frame_waits_for_step_and_ahead_and_no_longer():
    """Which frames are out is a matter of what has arrived: 0.4 s and 0.2 s are 18 frames."""
    stream = Stream(lambda *_: pytest.fail("too early"), load_config("default", SHORT), None)
    for piece in pieces_of(TRACK, 1)[:18]:
        stream.add(piece, [None])
        assert stream.ready() is None
    stream.add(pieces_of(TRACK, 1)[18], [None])
    with pytest.raises(BaseException, match="too early"):
        stream.ready()


def test_pieces_are_not_changed_when_the_next_ones_come():
    pieces = online(*SHORT).stream(pieces_of(TRACK, 30), "walk", camera=CAMERA)
    first = next(pieces)
    before = copy.deepcopy(first.adapted)
    list(pieces)
    assert same(first.adapted, before) and torch.equal(first.adapted.trans, before.trans)


@pytest.mark.parametrize("override", ["optimizer.epochs=0", "strategy=frozen"])
def test_without_epochs_it_is_the_network_as_it_is(override):
    """With a second before and after, the lifter sees what it sees offline."""
    track = walker(130)
    offline = adapter(override).adapt(track, CAMERA)
    result = online(override).adapt(track, CAMERA)
    for motion in (result.base, result.adapted):
        torch.testing.assert_close(motion.rotmats, offline.base.rotmats, atol=1e-4, rtol=0)
        torch.testing.assert_close(motion.trans, offline.base.trans, atol=1e-3, rtol=1e-4)
    assert not result.history


def test_it_comes_nearer_to_the_evidence():
    result = online(*SHORT, "optimizer.epochs=4").adapt(TRACK, CAMERA)
    seen = result.evidence.detected
    base, adapted = ((motion.landmarks2d - result.detections.xy).norm(dim=-1)[seen].mean()
                     for motion in (result.base, result.adapted))  # fmt: skip
    assert adapted < 0.8 * base


# ---------------------------------------------------------------------- what goes on


def test_the_model_is_as_it_was_whenever_the_caller_has_it():
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    made = adapter(*ONLINE, *SHORT, model=model)
    for _ in made.stream([TRACK], "walk", camera=CAMERA):
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def learnt(*overrides):
    """Weights with which the next window would begin, beside those of the base."""
    model = tiny_model()
    base = [weight.detach().clone() for weight in model.parameters()]
    made = adapter(*ONLINE, *SHORT, *overrides, model=model)
    stream = made._online(CAMERA)
    stream.add(TRACK, [None] * 60)
    stream.ready()
    return stream.carried.learnt, base


def test_the_soft_reset_goes_its_share_of_the_way_back():
    (whole, base), (half, _), (none, _) = (learnt(f"online.reset={x}") for x in (0, 0.5, 1))
    assert all(map(torch.equal, none, base))
    assert any(not torch.equal(a, b) for a, b in zip(whole, base, strict=True))
    for a, b, start in zip(whole, half, base, strict=True):
        torch.testing.assert_close(b - start, (a - start) / 2, atol=1e-6, rtol=1e-4)


def test_a_later_window_learns_from_where_the_one_before_was():
    first, last = (streamed(TRACK, 60, *SHORT, "online.epochs=0", f"online.reset={share}")
                   for share in (0, 1))  # fmt: skip
    assert {entry["window"] for piece in first for entry in piece.history} == {1}
    assert not same(first[3].adapted, first[3].base)  # goes on with what the first has learnt
    end = last[4]  # what the first window left has faded
    torch.testing.assert_close(end.adapted.rotmats, end.base.rotmats, atol=1e-3, rtol=0)


def test_later_windows_do_not_wait_for_a_later_epoch():
    told = load_config("default", [*ONLINE, "alignment.from_epoch=3"])
    carried = Carried(told)
    assert carried.settings.alignment.from_epoch == 3
    carried.learnt = []
    later = carried.settings
    assert (later.alignment.from_epoch, later.optimizer.epochs) == (0, 1)
    assert Carried(load_config("default", ["optimizer.epochs=0"]), []).settings.strategy == "semtta"


def test_another_person_begins_with_the_network_as_it_was():
    other = walker(30, seed=4, id=2)
    other = replace(other, frames=other.frames + 200, times=other.times + 7)
    both = list(online(*SHORT).stream([TRACK, other], "walk", camera=CAMERA))
    second = [piece for piece in both if piece.track.id == 2]
    assert all(map(alike, second, streamed(other, 30, *SHORT)))
    assert sum(len(piece.labels) for piece in both) == 90


def test_one_told_body_is_that_of_every_window():
    result = online(*SHORT, "shape.mode=track", "shape.height=1.7").adapt(TRACK, CAMERA)
    assert torch.equal(result.adapted.betas, result.adapted.betas[:1].expand(60, 10))


def test_the_shape_settles_on_the_median_of_all_windows():
    carried = Carried(load_config("default"))
    carried.bases = [torch.full((10,), value) for value in (0.0, 5.0, 1.0)]
    carried.shapes = carried.bases[:1]
    base, adapted = carried.settled
    assert bool((base == 1).all()) and bool((adapted == 0).all())


def test_a_gap_in_time_is_no_seam():
    rows = torch.cat((torch.arange(25), torch.arange(40, 60)))
    result = online(*SHORT).adapt(TRACK.at(rows), CAMERA, ["walk"] * 45)
    assert torch.equal(result.track.frames, rows) and bool(result.adapted.rotmats.isfinite().all())


# ---------------------------------------------------------------------- seams


def test_a_window_goes_on_where_the_one_before_has_stopped():
    made = adapter("optimizer.epochs=0", "closing.filter=spline")
    one, two = (made.adapt(walker(60, seed=seed), CAMERA) for seed in (0, 5))
    last = one.at(torch.tensor([20]))
    moved = continued(two, 20, last, load_body())
    for motion, before, own in ((moved.base, last.base, two.base),
                                (moved.adapted, last.adapted, two.adapted)):  # fmt: skip
        torch.testing.assert_close(motion.rotmats[20], before.rotmats[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(motion.trans[20], before.trans[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(motion.landmarks2d[20], before.landmarks2d[0], atol=0.05, rtol=0)
        assert torch.equal(motion.rotmats[36:], own.rotmats[36:])  # half a second later
        assert torch.equal(motion.landmarks2d[36:], own.landmarks2d[36:])
        off = (motion.trans - own.trans)[20:36].norm(dim=1)
        assert bool((off.diff() <= 1e-6).all())  # less and less
        turns = motion.rotmats @ motion.rotmats.mT
        torch.testing.assert_close(turns, torch.eye(3).expand_as(turns), atol=1e-4, rtol=0)


def test_where_two_windows_agree_nothing_is_added():
    result = adapter("optimizer.epochs=0").adapt(walker(30), CAMERA)
    moved = continued(result, 10, result.at(torch.tensor([10])), load_body())
    assert moved.adapted is result.adapted and moved.base is result.base


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("select=auto", "evidence.heldout=0.1"), "select=auto decides by joints"),
        (("camera.motion=static",), "stands still"),
        (("model.name=result",), "a result is there as a whole"),
    ],
)
def test_what_needs_a_whole_track_is_refused(settings, says):
    with pytest.raises(SemttaError, match=says):
        load_config("default", ["mode=online", *settings])
    with pytest.raises(SemttaError, match=says):
        check_online(load_config("default", settings))


def test_labels_that_are_read_off_the_whole_video_are_refused():
    with pytest.raises(SemttaError, match="--labels auto looks at the whole video"):
        Asked(load_config("default", ["mode=online"]), labeller="auto")


def test_a_network_that_reads_pictures_is_refused():
    model = tiny_model()
    model.crop = replace(model.crop, reads="image")
    with pytest.raises(SemttaError, match="online takes a network that reads landmarks"):
        Adapter(model, config=load_config("default", ["mode=online"]))
    with pytest.raises(SemttaError, match="online takes a network that reads landmarks"):
        Adapter(model, config=load_config("default")).stream([TRACK], camera=CAMERA)


def late(track, seconds):
    return replace(track, times=track.times + seconds)


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([TRACK, TRACK], "frame 0 at 0.000 s does not come after frame 59"),
        ([TRACK, late(walker(10), 9)], "frame 0 at 9.000 s does not come after"),
        ([TRACK, "nobody"], "has a str in it"),
        ([TRACK, replace(TRACK, frames=TRACK.frames + 60, times=TRACK.times + 4, conf3d=None)],
         "3D landmarks in all pieces or in none"),
        (3, "not of a int"),
    ],
)  # fmt: skip
def test_pieces_that_do_not_follow_are_refused(pieces, says):
    with pytest.raises(SemttaError, match=says):
        list(online("strategy=frozen").stream(pieces, camera=CAMERA))


def test_pieces_need_a_camera_and_a_tracked_video_has_one():
    frozen = online("strategy=frozen")
    with pytest.raises(SemttaError, match="give the camera"):
        list(frozen.stream([TRACK]))
    video = TrackedVideo(VideoInfo("v.mp4", 640, 480, 30.0, 60), [TRACK], TRACK.times)
    results = list(frozen.stream(video))
    assert sum(len(piece.labels) for piece in results) == 60
    assert results[0].camera.focal == pytest.approx(math.hypot(640, 480))


def test_nothing_arrives_and_nothing_comes_of_it():
    assert list(online(*SHORT).stream([], camera=CAMERA)) == []
    one = list(online(*SHORT).stream(pieces_of(TRACK, 1)[:1], camera=CAMERA))
    assert [len(piece.labels) for piece in one] == [1]


def test_of_a_tracked_video_people_and_labels_must_be_there():
    video = TrackedVideo(VideoInfo("v.mp4", 640, 480, 30.0, 60), [], TRACK.times)
    with pytest.raises(SemttaError, match="nobody was found in the video"):
        list(online(*SHORT).stream(video))
    video = replace(video, tracks=[TRACK])
    elsewhere = Labels((LabelSpan("walk", 0, 10, track=7),))
    with pytest.raises(SemttaError, match="7"):
        list(online(*SHORT).stream(video, elsewhere))
