"""A closer look where the first was not enough."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_people import FIGURE, FakeBlazePose, frame_of, person_at

from semtta.people import finding, pipeline
from semtta.people.appearance import colours
from semtta.people.between import midway
from semtta.people.closer import Search, added, look_closer, why_everywhere
from semtta.people.finding import Ticks
from semtta.people.pipeline import track_video
from semtta.people.tracker import Detections, link
from semtta.video import VideoInfo, write_video

SIZE = (320, 240)
RED, BLUE = (200, 30, 30), (30, 30, 200)


def dressed(*people_and_colours) -> Detections:
    """Detections with the colours of a picture in which each person wears one."""
    people = frame_of(*(person for person, _ in people_and_colours))
    image = np.full((240, 640, 3), 90, np.uint8)
    for (box, *_), colour in people_and_colours:
        x0, y0, x1, y1 = box.astype(int)
        image[y0:y1, x0:x1] = colour
    return Detections(people.boxes, people.scores, people.xy, people.conf, colours(image, people))


def chains_of(detections, times):
    return [chain for chain in link(detections, times) if len(chain) >= 5]


# --- where a closer look is needed -------------------------------------------------------------


def seen(people, count=30):
    detections = [people] * count
    return link(detections, np.arange(count) / 30), detections


def test_people_who_are_large_and_followed_need_no_closer_look():
    chains, detections = seen(frame_of(person_at(50), person_at(200)))
    assert why_everywhere(chains, detections, SIZE) is None
    assert Search(SIZE, np.arange(30) / 30).lost(chains, detections) == {}


@pytest.mark.parametrize(("people", "why"), [
    ([], "nobody"),
    ([person_at(9, height=38, width=14)], "small"),
    ([person_at(9, height=38, width=14), person_at(99)], None),
    ([person_at(50 * i) for i in range(6)], "more people"),
    ([person_at(50 * i, score=0.8 if i < 5 else 0.15) for i in range(6)], None),
])  # fmt: skip
def test_nobody_small_people_and_crowds_are_looked_at_everywhere(people, why):
    said = why_everywhere(*seen(frame_of(*people)), SIZE)
    assert said is None if why is None else why in said


def lost_in(missing, count=90, x=lambda t: 200.0, size=(640, 480)):
    times = np.arange(count) / 30
    detections = [
        frame_of() if t in missing else frame_of(person_at(x(t), 150, 40, 110))
        for t in range(count)
    ]
    search = Search(size, times)
    return search, search.lost(chains_of(detections, times), detections), detections


def test_the_lost_are_looked_for_around_their_place_and_only_once():
    search, wanted, detections = lost_in(range(30, 50))
    assert sorted(wanted) == list(range(30, 50))  # a gap that the tracker bridged
    for (region,) in wanted.values():
        assert region == (82, 68, 357, 343)  # 2.5 of the person's 110 pixels, around the box
    assert search.lost(chains_of(detections, search.times), detections) == {}
    _, wanted, _ = lost_in(range(20, 90))  # for good: one second
    assert sorted(wanted) == list(range(20, 50))
    _, wanted, _ = lost_in(range(20, 85))  # the piece that comes back is too short to tell
    assert max(wanted) < 60
    _, wanted, _ = lost_in(range(30, 65))  # from both ends
    assert sorted(wanted) == list(range(30, 65))


@pytest.mark.parametrize("missing", [range(30, 35), range(84, 90), []])
def test_short_gaps_and_the_very_end_are_no_loss(missing):
    assert lost_in(missing)[1] == {}


def test_who_leaves_the_picture_or_is_large_is_not_looked_for():
    def leaving(t):
        return 200.0 - 7 * t

    assert lost_in(range(28, 90), x=leaving)[1] == {}
    assert lost_in(range(30, 90), size=(320, 240))[1] == {}
    assert lost_in(range(30, 90))[1] != {}


@pytest.mark.parametrize(("scale", "seconds", "looked_for"), [(1, 0.6, True), (0.3, 0.6, False),
                                                              (1, 0.4, False)])  # fmt: skip
def test_bystanders_and_passers_by_are_not_looked_for(scale, seconds, looked_for):
    times = np.arange(60) / 30
    main, other = person_at(60, 150, 40, 110), person_at(400, 150, 40 * scale, 110 * scale)
    detections = [frame_of(main, other) if t < seconds else frame_of(main) for t in times]
    wanted = Search((640, 480), times).lost(chains_of(detections, times), detections)
    assert bool(wanted) == looked_for
    assert all(region[0] > 200 for regions in wanted.values() for region in regions)


def test_parts_cover_the_picture_and_overlap_by_a_third():
    (parts,) = set(map(tuple, Search((640, 481), np.zeros(2)).everywhere().values()))
    covered = np.zeros((481, 640), int)
    for x0, y0, x1, y1 in parts:
        covered[y0:y1, x0:x1] += 1
    assert covered.min() == 1 and covered.max() == 4 and len(parts) == 4
    assert (covered[0] == 2).sum() == pytest.approx(640 / 5, abs=2)


# --- what it adds ------------------------------------------------------------------------------


def test_a_part_is_told_in_pixels_of_the_picture_and_who_is_cut_is_left_to_others():
    image = np.full((240, 320, 3), 90, np.uint8)
    asked = []

    def net(part):
        asked.append(part.shape)
        return frame_of(person_at(20, 20), person_at(part.shape[1] - 40, 20))

    inner = look_closer(net, image, [(50, 10, 250, 230)])
    assert asked == [(220, 200, 3)] and inner.boxes.tolist() == [[70, 30, 130, 190]]
    np.testing.assert_allclose(inner.xy[0], FIGURE * [60, 160] + [70, 30])
    assert inner.colours.shape == (1, 128)
    whole = look_closer(net, image, [(0, 0, 320, 240)])
    assert len(whole) == 2  # the picture's own edge cuts nobody
    twice = look_closer(net, image, [(0, 0, 320, 240), (0, 0, 320, 240)])
    assert len(twice) == 2


def test_both_looks_are_put_together_and_each_person_is_there_once():
    first = frame_of(person_at(50, score=0.4), person_at(200))
    again = frame_of(person_at(52, score=0.6), person_at(120))
    kept = added(first, again, prefer_closer=False)
    assert kept.boxes[:, 0].tolist() == [50, 200, 120]
    kept = added(first, again, prefer_closer=True)
    assert sorted(kept.boxes[:, 0]) == [52, 120, 200]
    box, score, xy, conf = person_at(50)
    part = (np.array([50, 50, 110, 120.0]), score, xy, conf)  # the trunk of the same person
    kept = added(first, frame_of(part), prefer_closer=True)
    assert sorted(kept.boxes[:, 0]) == [50, 200] and kept.boxes[:, 3].max() == 210
    assert len(added(frame_of(), again, prefer_closer=True)) == 2
    assert len(added(first, frame_of(), prefer_closer=True)) == 2


def test_who_is_lost_is_found_again_and_it_is_said(monkeypatch):
    detections = lost_in(range(30, 66), count=96)[2]
    asked = []

    def first_look(path, net, threads, tick, note):
        people = [Detections(d.boxes, d.scores, d.xy, d.conf, np.ones((len(d), 128)) / 128**0.5)
                  for d in detections]  # fmt: skip
        return people, (np.arange(96) / 30).tolist()

    def read(path):
        yield from ((t, t / 30, np.zeros((480, 640, 3), np.uint8)) for t in range(96))

    def look(net, image, regions):
        asked.append(regions)
        people = frame_of(person_at(200, 150, 40, 110, score=0.2))
        return Detections(people.boxes, people.scores, people.xy, people.conf, np.ones((1, 128)))

    monkeypatch.setattr(finding, "_first_look", first_look)
    monkeypatch.setattr(finding, "read_frames", read)
    monkeypatch.setattr(finding, "look_closer", look)
    info, net, said = VideoInfo("a.mp4", 640, 480, 30.0, 96), SimpleNamespace(size=448), []
    given = ("a.mp4", info, net)
    plain = finding.find_everyone(*given, False, 1, Ticks(None, None), said.append)
    assert not asked and not said and len(plain.chains[0]) == 60
    found = finding.find_everyone(*given, True, 1, Ticks(None, None), said.append)
    assert [len(chain) for chain in found.chains] == [96] and len(asked) == 36
    assert said == [
        "detector.size=auto: 448; somebody was lost, so 36 frames were looked at again, larger: "
        "seen 36 times more."
    ]


def test_nobody_at_first_is_looked_for_in_parts(tmp_path, monkeypatch):
    class Small:
        def __init__(self, size):
            self.size = size

        def __call__(self, image):
            whole = image.shape[1] == 320
            return frame_of() if whole else frame_of(person_at(60, 20, 20, 40))

    monkeypatch.setattr(pipeline, "MoveNet", Small)
    monkeypatch.setattr(pipeline, "BlazePose", FakeBlazePose)
    frames = [np.full((240, 320, 3), 90, np.uint8)] * 8
    path = write_video(tmp_path / "clip.mp4", frames, 25, (320, 240))
    ticks = []
    found = track_video(path, progress=lambda *now: ticks.append(now))
    assert ticks == sorted(ticks) and ticks[-1] == (24, 24)  # every frame three times
    assert len(found.tracks) == 4 and all(len(track) == 8 for track in found.tracks)
    assert found.info.notes[-1] == (
        "detector.size=auto: 448; nobody was found at first, so every frame was looked at again in "
        "2 x 2 parts, as at 747."
    )
    with pytest.raises(pipeline.SemttaError, match="nobody was found"):
        track_video(path, detect_size=448)


def test_a_long_video_without_people_is_not_searched_everywhere(monkeypatch):
    looked = []

    def read(path):
        yield from ((t, t / 30, np.zeros((240, 320, 3), np.uint8)) for t in range(300))

    def net(image):
        looked.append(image.shape)
        return dressed((person_at(0), RED))[[]]

    net.size = 448
    for name in ("read_frames", "read_through"):
        monkeypatch.setattr(finding, name, lambda path, note=None: read(path))
    info = VideoInfo("a.mp4", 320, 240, 30.0, 300)
    found = finding.find_everyone("a.mp4", info, net, True, 1, Ticks(None, None), lambda text: None)
    assert not found.chains and len(looked) == 151 + 4 * 30


def test_of_a_part_of_a_video_nothing_before_it_is_looked_at_again(tmp_path, monkeypatch):
    looked = []  # grey of every picture that a network saw

    class Small:
        def __init__(self, size):
            self.size = size

        def __call__(self, image):
            looked.append(float(image.mean()))
            whole = image.shape[1] == 320
            return frame_of() if whole else frame_of(person_at(60, 20, 20, 40))

    monkeypatch.setattr(pipeline, "MoveNet", Small)
    monkeypatch.setattr(pipeline, "BlazePose", FakeBlazePose)
    frames = [np.full((240, 320, 3), 20 + 20 * t, np.uint8) for t in range(10)]
    path = write_video(tmp_path / "clip.mp4", frames, 25, (320, 240))
    ticks = []
    found = track_video(path, start=3, end=9, progress=lambda *now: ticks.append(now))
    assert all(track.frames.tolist() == list(range(3, 9)) for track in found.tracks)
    assert len(found.tracks) == 4 and len(looked) == 4 + 4 * 6
    assert min(looked) > 20 + 20 * 2.5 and max(looked) < 20 + 20 * 8.5
    assert ticks[-1] == (9 + 6 + 6, 9 + 6 + 6)


# --- frames between two that were looked at -----------------------------------------------------


def test_who_is_in_both_neighbours_was_on_the_way():
    before = dressed((person_at(50, score=0.4), RED), (person_at(200, score=0.8), BLUE))
    after = dressed((person_at(204, score=0.6), BLUE), (person_at(58, score=0.4), RED))
    found = midway(before, after, 0.25)
    assert found.boxes[:, 0].tolist() == [52, 201]
    assert found.scores.tolist() == pytest.approx([0.4, 0.75])
    np.testing.assert_allclose(found.xy[0], before.xy[0] + [2, 0])
    np.testing.assert_allclose(found.colours, before.colours, atol=1e-3)
    assert len(midway(frame_of(), frame_of(), 0.5)) == 0


@pytest.mark.parametrize("other", [
    [],  # gone
    [person_at(50), person_at(200)],  # somebody came
    [person_at(110)],  # far away
])  # fmt: skip
def test_where_somebody_sure_is_in_one_only_the_frame_is_looked_at(other):
    one, two = frame_of(person_at(50)), frame_of(*other)
    assert midway(one, two, 0.5) is None and midway(two, one, 0.5) is None


def test_a_joint_that_jumps_is_looked_at_and_one_that_goes_away_is_believed_less():
    one, two = frame_of(person_at(50)), frame_of(person_at(50))
    two.xy[0, [0, 1]] = two.xy[0, [1, 0]] + [0, 200]  # far from where it was
    assert midway(one, two, 0.5) is None
    two.conf[0, [0, 1]] = 0.02  # it is nowhere: no jump
    found = midway(one, two, 0.5)
    assert found.conf[0, :2].max() == pytest.approx(0.02)
    assert found.conf[0, 2:].min() == pytest.approx(one.conf[0, 2:].min())


def test_who_is_unsure_and_in_one_only_is_left_out():
    one = frame_of(person_at(50), person_at(200, score=0.2))
    assert midway(one, frame_of(person_at(50)), 0.5).boxes[:, 0].tolist() == [50]


@pytest.mark.parametrize(
    ("count", "fps", "looks"), [(9, 30, 5), (10, 30, 6), (1, 30, 1), (9, 10, 9)]
)
def test_every_second_frame_is_looked_at_unless_they_lie_far_apart(monkeypatch, count, fps, looks):
    images = [np.full((4, 4, 3), t, np.uint8) for t in range(count)]
    before = [(0, 0.0, None), (1, 0.1, None)]  # of the video, but not wanted
    wanted = [(t + 2, 0.2 + t / fps, image) for t, image in enumerate(images)]
    monkeypatch.setattr(finding, "read_through", lambda path, note: iter([*before, *wanted]))
    seen = []

    def net(image):
        seen.append(int(image[0, 0, 0]))
        return frame_of(person_at(50 + 2.0 * seen[-1]))

    found, times = finding._first_look("clip.mp4", net, 1, Ticks(None, None), print)
    assert found[:2] == [None, None] and len(times) == count + 2 and times == sorted(times)
    assert [people.boxes[0, 0] for people in found[2:]] == pytest.approx(50 + 2 * np.arange(count))
    assert len(seen) == looks and sorted(set(seen)) == sorted(seen)
