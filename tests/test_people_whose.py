"""Pieces of one person joined, and nobody with another's landmarks."""

import numpy as np
import pytest
import torch
from test_people import FIGURE, body_points, frame_of, fused_like, person_at
from test_people_found import BLUE, RED, chains_of, dressed

from semtta.people import gating, masking, others, pipeline
from semtta.people.appearance import colours, join
from semtta.people.fusion import COCO_IN_BODY
from semtta.people.ownership import is_strangers, without_mixtures
from semtta.people.tracker import Detections, box_size, together
from semtta.video import VideoInfo

WIDE = (640, 240)


# --- joining pieces ----------------------------------------------------------------------------


def walk(gone, *, again=RED, jump=0.0, seconds=4.0, also=None):
    """One person in red who is unseen for a while; who comes after may be another."""
    times = np.arange(round(30 * seconds)) / 30
    detections = []
    for t in times:
        people = [] if also is None else [(person_at(also), BLUE)]
        if t < gone[0]:
            people.append((person_at(50 + 20 * t), RED))
        elif t >= gone[1]:
            people.append((person_at(50 + 20 * t + jump), again))
        detections.append(dressed(*people) if people else dressed((person_at(0), RED))[[]])
    return detections, times


@pytest.mark.parametrize(("gone", "change", "pieces"), [
    ((1.0, 2.5), {}, 1),
    ((1.0, 2.5), {"again": BLUE}, 2),  # somebody else's clothes
    ((1.0, 2.5), {"jump": 450.0}, 2),  # nobody is that fast
    ((1.0, 3.2), {}, 2),  # too long
    ((1.0, 2.5), {"also": 300.0}, 2),  # a bystander stays one, and apart
])  # fmt: skip
def test_pieces_of_one_person_are_joined_by_place_and_colours(gone, change, pieces):
    detections, times = walk(gone, **change)
    apart = chains_of(detections, times)
    joined = join(apart, detections, times, WIDE)
    assert len(apart) == 2 + ("also" in change) and len(joined) == pieces
    assert sum(map(len, joined)) == sum(map(len, apart))
    for chain in joined:
        assert (np.diff(chain.frames) > 0).all()


def test_two_who_look_alike_are_not_joined():
    times = np.arange(120) / 30
    detections = []
    for t in times:
        people = [(person_at(100), RED)] if t < 1 else []
        if t >= 2.5:
            people = [(person_at(60), RED), (person_at(150), RED)]
        detections.append(dressed(*people) if people else dressed((person_at(0), RED))[[]])
    assert len(join(chains_of(detections, times), detections, times, WIDE)) == 3


def test_whoever_else_could_be_meant_prevents_it_whatever_the_clothes():
    detections, times = walk((1.0, 2.5))
    other = dressed((person_at(200), BLUE))
    for t in range(60, 120):
        detections[t] = together(detections[t], other)
    assert len(join(chains_of(detections, times), detections, times, WIDE)) == 3


def test_who_left_the_picture_is_not_somebody_who_comes():
    detections, times = walk((1.0, 2.5))
    chains = chains_of(detections, times)
    assert len(join(chains, detections, times, WIDE)) == 1
    assert len(join(chains, detections, times, (165, 240))) == 2


def test_without_a_picture_nothing_is_joined():
    detections, times = walk((1.0, 2.5))
    plain = [Detections(d.boxes, d.scores, d.xy, d.conf) for d in detections]
    assert len(join(chains_of(plain, times), plain, times, WIDE)) == 2


def test_colours_are_those_of_the_clothes_wherever_the_box_is():
    red, blue = dressed((person_at(50), RED), (person_at(300), BLUE)).colours
    outside = colours(np.zeros((240, 320, 3), np.uint8), frame_of(person_at(900)))
    assert red @ red == pytest.approx(1) and red @ blue < 0.1
    assert np.isfinite(outside).all() and outside[0] @ outside[0] == pytest.approx(1)
    assert colours(np.zeros((9, 9, 3), np.uint8), frame_of()).shape == (0, 128)


def test_detections_keep_their_colours_with_them():
    both = dressed((person_at(50), RED), (person_at(300), BLUE))
    assert np.array_equal(both[[1]].colours[0], both.colours[1])
    assert np.array_equal(together(both[[1]], both[[0]]).colours, both.colours[::-1])
    assert together(both, frame_of(person_at(9))).colours is None


# --- whose landmarks ---------------------------------------------------------------------------


def whose(points, own_conf=0.8):
    mine, theirs = FIGURE * [60, 160] + [50, 50], FIGURE * [60, 160] + [110, 50]
    size = 98.0
    return is_strangers(points, mine, np.full(17, own_conf), size, theirs, np.full(17, 0.8), size)


def test_landmarks_of_another_or_between_two_are_refused():
    own, other = body_points(1)[0], body_points(1)[0] + [60, 0]
    between = own.copy()
    left = COCO_IN_BODY[[5, 7, 9, 11, 13, 15]]
    between[left] = other[left]
    few = own.copy()
    few[left[:3]] = other[left[:3]]
    assert whose(other) and not whose(own) and not whose(few)
    right = COCO_IN_BODY[[6, 8]]
    between[right] += 40  # nobody's
    assert whose(between)
    assert whose(other, own_conf=0.0) and not whose(own, own_conf=0.0)
    assert not whose(own + 300)  # nobody's at all: no matter of ownership


def test_while_refused_only_movenet_is_heard():
    frames, said = 30, body_points(30)[:, COCO_IN_BODY]
    fused = fused_like(body_points(frames))
    fused.xy[10:20] += [90, 0]
    foreign = np.zeros(frames, bool)
    foreign[10:20] = True

    def gate(foreign, conf):
        return gating.gate(fused, said, np.full((frames, 17), conf),
                           np.tile([50.0, 50, 110, 210], (frames, 1)),
                           np.zeros((frames, 27), bool), np.arange(frames) / 30, (400, 300),
                           foreign)  # fmt: skip

    sure = gate(foreign, 0.8)
    np.testing.assert_allclose(sure.xy[14][COCO_IN_BODY], said[14], atol=1e-6)
    assert (sure.conf[14][COCO_IN_BODY] > 0).all() and (sure.conf3d[10:20] == 0).all()
    unseen = gate(foreign, 0.0)
    assert (unseen.conf[10:20] == 0).all() and (unseen.conf[:8] > 0).all()
    assert (gate(None, 0.0).conf[12:18] > 0).all()
    blink = np.zeros(frames, bool)
    blink[14] = True
    assert np.array_equal(gate(blink, 0.8).xy, gate(None, 0.8).xy)


def test_a_detection_made_of_two_people_is_dropped():
    a, b = person_at(50, score=0.8), person_at(120, score=0.7)
    xy = a[2].copy()
    xy[::2] = b[2][::2]
    mixed = (np.array([50, 50, 180, 210.0]), 0.5, xy, np.full(17, 0.5))
    assert sorted(without_mixtures(frame_of(mixed, a, b)).scores) == [0.7, 0.8]
    best = (mixed[0], 0.9, mixed[2], mixed[3])
    assert len(without_mixtures(frame_of(best, a, b))) == 3
    assert len(without_mixtures(frame_of(mixed, a))) == 2 and len(without_mixtures(frame_of())) == 0


def test_tracks_do_not_get_the_landmarks_of_the_person_in_front():
    """One stands behind another for a while; the landmark network then sees the one in front."""
    frames = np.arange(30)
    times, size = frames / 30, (400, 300)
    front = person_at(110)
    boxes, xy = np.tile(front[0], (30, 1)), np.tile(front[2], (30, 1, 1))
    ones = np.ones(30, bool)
    other = pipeline.Person(frames, times, ones, boxes, xy, np.full((30, 17), 0.8), 0.8)
    conf = np.full((30, 17), 0.8)
    conf[10:20] = 0
    behind = pipeline.Person(frames, times, conf[:, 0] > 0, boxes - 60, xy - [60, 0], conf, 0.8)
    points = body_points(30)
    points[10:20] += [60, 0]
    looks = pipeline.Looks(
        np.repeat(points[:, None], 4, 1), np.ones((30, 4, 27)), np.zeros((30, 4, 27, 3)),
        np.ones((30, 4)),
    )  # fmt: skip
    info = VideoInfo("a.mp4", *size, 30.0, 30)
    track = pipeline._to_track(1, behind, [other, behind], looks, info)
    limbs = torch.tensor(COCO_IN_BODY[5:])
    assert (track.keypoints.conf[10:20] == 0).all()
    assert (track.keypoints.conf[:8][:, limbs] > 0).all()


# --- who else is there -------------------------------------------------------------------------


def wanderer(seed, first, frames, *, unsure=0.1):
    """Somebody who wanders about a picture of 1000 x 1000, seen from one frame on."""
    random = np.random.default_rng(seed)
    xy = FIGURE * [120, 320] + np.cumsum(random.normal(0, 9, (frames, 1, 2)), 0)
    xy = xy + random.uniform(300, 500, 2) + random.normal(0, 8, (frames, 17, 2))
    conf = np.where(
        random.random((frames, 17)) < unsure, 0.0, random.uniform(0.05, 1, (frames, 17))
    )
    at = np.arange(first, first + frames)
    boxes = np.concatenate([xy.min(1), xy.max(1)], 1)
    return others.Person(at, at / 30, conf.any(1), boxes, xy, conf, 0.5)


def test_all_frames_at_once_say_what_each_says_alone():
    people = [wanderer(0, 0, 90), wanderer(1, 30, 80), wanderer(2, 70, 60, unsure=0.9)]
    for person in people:
        points, size = body_points(len(person.frames)), gating.person_size(person.boxes)
        points[:, COCO_IN_BODY] = person.xy
        points += np.random.default_rng(3).normal(0, 60, points.shape)
        hidden = others.hidden(points, person, people)
        foreign = others.foreign(points, person, people, size)
        for t, frame in enumerate(person.frames):
            alone, strange = np.zeros(27, bool), False
            for other, u in others.present(people, person, int(frame)):
                conf = np.maximum(other.conf[u], others.AT_LEAST)
                alone |= masking.on_body(points[t], other.boxes[u], other.xy[u], conf)
                theirs = other.xy[u], other.conf[u], box_size(other.boxes[u])
                strange |= is_strangers(points[t], person.xy[t], person.conf[t], size[t], *theirs)
            assert np.array_equal(hidden[t], alone) and foreign[t] == strange
        assert 0.02 < hidden.mean() < 0.98


def test_who_was_just_lost_still_hides_others_and_later_no_more():
    lost, person = wanderer(0, 0, 30), wanderer(1, 0, 60)
    there = [bool(others.present([lost, person], person, t)) for t in range(60)]
    assert there == [t <= 29 + 15 for t in range(60)]
    assert others.present([lost, person], lost, 10) == [(person, 10)]
