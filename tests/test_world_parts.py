"""Each part of finding the world on stick figures and points whose answer is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import roma
import torch
from test_world import BODY, FEET, FLIP, FPS, look, seen_from, standing, turned

from semtta.keypoints import Keypoints2D
from semtta.skeletons import BODY27, COCO17, SMPL24
from semtta.tta import still_camera, world
from semtta.tta.evidence import Evidence

UP = torch.tensor([0.0, 1.0, 0.0]).double()


def turn(angle: float, axis: int) -> torch.Tensor:
    return roma.rotvec_to_rotmat(torch.deg2rad(torch.tensor(angle)) * torch.eye(3)[axis])


# ---------------------------------------------------------------------- what a track says


class Stick:
    """A body of given joints (T, 24, 3), whose soles lie 10 cm below its ankles at rest."""

    def __init__(self, joints):
        self.given = joints

    def joints(self, rotmats, betas):
        return self.given

    def vertices(self, rotmats, betas):
        return torch.tensor([[0.0, -1.0, 0.0], [0.0, 0.5, 0.0]])

    def landmarks(self, rotmats, betas, skeleton):
        points = torch.zeros(*rotmats.shape[:-3], 6, 3)
        points[..., 1] = -1 + 0.01 * torch.arange(6)
        return points


def stick(lean=0.0, ratios=(1.0, 1.0), away=0.0):
    """A figure that looks along z. Its legs stand along y, as long as ``ratios`` of thigh and shin;
    its trunk leans by degrees."""
    joints = torch.zeros(1, 24, 3)
    for side, x, ratio in zip(("left", "right"), (0.1, -0.1), ratios):
        hip, knee, ankle = (SMPL24.index(f"{side}_{part}") for part in ("hip", "knee", "ankle"))
        joints[0, hip] = torch.tensor([x, 1.0, 0.0])
        joints[0, ankle] = torch.tensor([x, 1.0 - ratio, 0.0])
        half = 0.5 * ratio
        joints[0, knee] = torch.tensor([x, 1.0 - half, (0.25 - half**2) ** 0.5])
    joints[0, SMPL24.index("neck")] = torch.tensor([0.0, 1.0, 0.0]) + turn(lean, 0)[:, 1] / 2
    return joints + torch.tensor([away, 0.0, 0.0])


RESULT = seen_from(standing(1 / FPS), turned(0))  # one frame


def looked(joints, **changes):
    """What is read off such a figure."""
    motion = replace(RESULT.adapted, trans=torch.tensor([[1.0, 2.0, 3.0]]))
    return world._look(replace(RESULT, adapted=motion, **changes), Stick(joints))


@pytest.mark.parametrize(("figure", "stands"), [
    ({}, True), ({"lean": 34.5}, True), ({"lean": 35.5}, False), ({"lean": -35.5}, False),
    ({"ratios": (0.91, 0.91)}, True), ({"ratios": (0.89, 0.89)}, False),
    ({"ratios": (0.5, 0.91)}, True), ({"ratios": (0.91, 0.5)}, True),
])  # fmt: skip
def test_who_stands_has_a_straight_leg_in_line_with_the_trunk(figure, stands):
    assert looked(stick(**figure)).standing.tolist() == [stands]
    assert looked(stick(away=2.0, **figure)).standing.tolist() == [stands]


def test_the_line_is_the_mean_of_both_legs_and_soles_are_where_the_body_is():
    joints = stick()
    joints[0, SMPL24.index("left_ankle"), 2] = 1.0  # legs of 1 and of 2 ** 0.5 along -z
    found = looked(joints)
    expected = torch.nn.functional.normalize(torch.tensor([0.0, 1.0, -0.5]), dim=0)
    torch.testing.assert_close(found.line, expected[None].double())
    torch.testing.assert_close(found.rest, 0.01 * torch.arange(6).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.soles[0, :, 0], torch.ones(6).double())
    torch.testing.assert_close(found.soles[0, :, 1], 1 + 0.01 * torch.arange(6).double())


def test_the_carrying_leg_alone_is_held_against_the_trunk():
    joints = stick(ratios=(1.0, 0.6))
    joints[0, SMPL24.index("right_ankle")] += torch.tensor([0.0, 0.5, 0.6])  # raised ahead
    assert looked(joints).standing.tolist() == [True]


def test_a_foot_is_seen_where_anything_of_it_is():
    def seen(skeleton, *names):
        conf = torch.zeros(1, len(skeleton))
        conf[0, skeleton.indices(list(names))] = 1
        known = torch.ones(len(skeleton)).bool()
        points = Keypoints2D(torch.ones(1, len(skeleton), 2), conf, skeleton)
        evidence = Evidence.from_keypoints(points, known, 0.3)
        return looked(stick(), evidence=evidence).seen[0].tolist()

    assert seen(BODY27, "left_heel") == [True] * 3 + [False] * 3
    assert seen(BODY27, "right_big_toe", "left_knee") == [False] * 3 + [True] * 3
    assert seen(COCO17, "left_ankle") == [True] * 3 + [False] * 3
    assert seen(COCO17, "left_knee", "right_wrist") == [False] * 6


def test_a_frame_lasts_until_the_next_or_as_long_as_is_usual_before_a_gap():
    made = look(torch.zeros(5, 3))
    times = torch.tensor([0.0, 0.1, 0.2, 2.0, 2.15])
    made = replace(made, times=times, joined=torch.tensor([True, True, False, True]))
    lasting = world._durations(made).tolist()
    assert lasting == pytest.approx([0.1, 0.1, 0.1, 0.15, 0.1])
    for count, usual in ((1, 0.0), (2, 1 / FPS)):
        few = world._durations(look(torch.zeros(count, 3)))
        assert few.tolist() == pytest.approx([usual] * count)


# ---------------------------------------------------------------------- contacts


def contacts(**changes):
    """Of a landmark that rests for twelve frames."""
    return world._contacts(replace(look(torch.zeros(12, 3)), **changes), UP)


def test_a_landmark_rests_where_it_is_slow_low_seen_and_carried():
    plain = look(torch.zeros(12, 3))
    assert len(contacts()[0]) == 1
    unseen = torch.zeros(12, 6).bool()
    for change in ({"seen": unseen}, {"standing": torch.zeros(12).bool()},
                   {"joined": torch.zeros(11).bool()}):  # fmt: skip
        found = contacts(**change)
        assert [len(part) for part in found[:3]] == [0, 0, 0] and found[3] == 0
        assert found[0].shape == (0, 3)
    for metres, rests in ((0.35, 1), (0.45, 0)):  # a second
        soles = plain.soles.clone()
        soles[:, 0, 0] = metres * plain.times
        assert len(contacts(soles=soles)[0]) == rests
    for height, rests in ((0.055, 2), (0.065, 1)):  # above the lower of two that rest
        soles = plain.soles.clone()
        soles[:, 1] = torch.tensor([0.3, height + 0.01, 0.0])  # 1 cm: its height in a flat foot
        points, heights, _, _ = contacts(soles=soles)
        assert len(points) == rests
        assert heights.tolist() == pytest.approx([0.0, 0.01][:rests])


def test_one_frame_is_enough_where_a_tenth_of_a_second_lies_between_two():
    few = look(torch.zeros(3, 3))
    slow = replace(few, times=torch.tensor([0.0, 0.1, 0.2]).double())
    points, _, weights, feet = world._contacts(slow, UP)
    assert len(points) == 1 and weights.tolist() == pytest.approx([0.5]) and feet == 1
    points, _, _, feet = world._contacts(replace(slow, times=slow.times / 2), UP)
    assert len(points) == 0 and feet == 0


def test_stretches_may_begin_and_end_with_the_track():
    flags = torch.tensor([True, True, False, True, False, False, True])
    assert world._runs(flags) == [(0, 2), (3, 4), (6, 7)]
    assert world._runs(torch.zeros(3).bool()) == []


def test_a_foot_that_hardly_rests_between_two_steps_is_none_of_the_feet_that_rest():
    here, there = torch.zeros(3), torch.tensor([0.5, 0.0, 0.0])
    soles = torch.cat((here.expand(4, 3), there.expand(4, 3), here.expand(12, 3)))
    points, _, _, feet = world._contacts(look(soles), UP)  # 2, 2 and 10 frames at rest
    assert len(points) == 1 and feet == 1
    assert len(world._contacts(look(soles[:8]), UP)[0]) == 0


# ---------------------------------------------------------------------- the fit


def test_the_mean_line_is_that_of_most_directions():
    aside = torch.tensor([1.0, 1.0, 0.0]).double() / 2**0.5
    directions = torch.cat((UP.expand(6, 3), aside.expand(4, 3)))
    found = world._robust_mean(directions)
    assert float(found.norm()) == pytest.approx(1) and world._degrees(found, UP) < 1
    scattered = torch.nn.functional.normalize(UP + 0.4 * torch.randn(50, 3).double(), dim=1)
    found = world._robust_mean(scattered).requires_grad_()
    (scattered - found).norm(dim=1).sum().backward()  # least sum of distances: no slope across
    slope = (found.grad - (found.grad @ found) * found).detach()
    assert float(slope.norm()) < 0.01


def square(height=0.0, off=0.0):
    """Four points a metre from the middle that lie on a saddle about the plane y = -1.5."""
    points = torch.tensor([[1.0, 0, 0], [0, 0, 1], [-1, 0, 0], [0, 0, -1]]).double()
    points[:, 1] = height - 1.5 + off * torch.tensor([1.0, -1, 1, -1]).double()
    return points, torch.full((4,), height).double(), torch.ones(4).double()


def test_up_is_as_open_as_the_contacts_leave_it():
    points, heights, weights = square(0.3)
    up, floor, deviation = world._fit(points, heights, weights, UP, UP)
    torch.testing.assert_close(up, UP)
    assert float(floor) == pytest.approx(-1.5)
    # two points at 1 m from the axis at 5 cm each, and the line at 8 degrees
    open_to = (2 / 0.05**2 + 1 / np.deg2rad(8) ** 2) ** -0.5
    assert deviation == pytest.approx(np.rad2deg(open_to), rel=1e-5)
    for count in (1, 2):  # a point says nothing, two leave one axis open
        few = world._fit(points[:count], heights[:count], weights[:count], UP, UP)
        assert few[2] == pytest.approx(8.0, rel=1e-5)


def test_the_fit_rests_where_the_slopes_of_all_terms_cancel():
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(20, 3, generator=generator).double() - 0.5
    points[:, 1] = 0.1 * points[:, 0] + 0.06 * torch.randn(20, generator=generator) - 1.2
    heights, weights = torch.rand(2, 20, generator=generator).double()
    heights = 0.05 * heights
    up, floor, _ = world._fit(points, heights, weights, UP, UP)
    up, floor = up.requires_grad_(), floor.requires_grad_()
    off = (points @ up - heights - floor) / 0.05
    feet = (weights * 2 * (off / 2).square().log1p()).sum()  # Cauchy's, half at two deviations
    line = (up - UP).square().sum() / (2 * torch.deg2rad(torch.tensor(8.0)) ** 2)
    (feet + line).backward()
    slope = up.grad - (up.grad @ up.detach()) * up.detach()
    assert float(slope.norm()) < 1e-3 and abs(float(floor.grad)) < 1e-3
    assert 1 < world._degrees(up.detach(), UP) < 10


# ---------------------------------------------------------------------- what all say together


@pytest.mark.parametrize(("check", "nothing", "everything"), [
    ("camera", 0.006, 0.002), ("standing", 0.3, 1.0), ("feet seen", 0.1, 0.5), ("contacts", 0, 4),
    ("flat floor", 0.12, 0.04), ("balance", 25, 10), ("direction", 12, 3),
    ("picture upright", 60, 45),
])  # fmt: skip
def test_a_check_counts_from_nothing_to_everything(check, nothing, everything):
    step = everything - nothing
    for share, counts in ((-0.5, 0), (0, 0), (0.25, 0.25), (0.75, 0.75), (1, 1), (2, 1)):
        assert world._ramp(check, nothing + share * step) == pytest.approx(counts, abs=1e-9)


def told(monkeypatch, points, heights, weights, feet=3, shift=0.0, tilt=0.0, count=2):
    """The world of someone who stands, and of ``count`` tracks with the same contacts."""
    result = seen_from(standing(1.2), turned(tilt))
    up = turned(tilt).double()
    points = points @ up.T
    monkeypatch.setattr(world, "_contacts", lambda look, now: (points, heights, weights, feet))
    return world.find_world([result] * count, BODY, shift)


def test_the_checks_are_those_of_contacts_about_the_plane_that_was_found(monkeypatch):
    points, heights, weights = square(0.3, off=0.072)
    found = told(monkeypatch, points, heights, weights, count=1, tilt=5)
    assert found.ground == pytest.approx(-1.5, abs=1e-3)
    assert found.checks["contacts"] == 0.75
    assert found.checks["flat floor"] == pytest.approx(0.6, abs=1e-3)
    assert found.confidence == min(found.checks.values()) == found.checks["flat floor"]
    assert "in doubt: the feet do not rest on one plane)." in found.note
    assert "confidence 0.60" in found.note and "stands 1.50 m above" in found.note
    both = told(monkeypatch, points, heights, weights, tilt=5)
    assert both.checks["contacts"] == 1 and both.ground == pytest.approx(-1.5, abs=1e-3)
    assert both.checks["direction"] == 1  # twice as many contacts
    for shift, least in ((0.0047, 0.325), (0.0049, 0.0)):  # what is below 0.3 is no world
        assert told(monkeypatch, *square(), shift=shift).confidence == pytest.approx(least)


def test_feet_against_legs_and_a_picture_on_its_side_are_doubts(monkeypatch):
    points, heights, _ = square()
    slope = points @ turn(20.0, 2).double().T
    found = told(monkeypatch, slope, heights, torch.full((4,), 25.0), tilt=0)
    assert found.checks["balance"] == pytest.approx((25 - 20) / 15, abs=0.05)
    found = told(monkeypatch, *square(), tilt=52.5)
    assert found.checks["picture upright"] == pytest.approx(0.5, abs=0.03)
    assert found.confidence == found.checks["picture upright"]


def test_who_stands_briefly_or_with_hidden_feet_counts_in_part(monkeypatch):
    result = seen_from(standing(0.65), turned(0))
    conf = result.evidence.raw.conf.clone()
    conf[6:, BODY27.indices(FEET)] = 0
    points = Keypoints2D(result.evidence.raw.xy, conf, BODY27)
    hidden = Evidence.from_keypoints(points, torch.ones(27).bool(), 0.3)
    checks = world.find_world([replace(result, evidence=hidden)], BODY, 0.004).checks
    assert len(result.track) == 19 and checks["camera"] == pytest.approx(0.5)
    assert checks["standing"] == pytest.approx((19 / 30 - 0.3) / 0.7)
    assert checks["feet seen"] == pytest.approx((6 / 19 - 0.1) / 0.4)
    nobody = replace(result, adapted=replace(result.adapted, rotmats=bent(result)))
    checks = world.find_world([nobody], BODY, 0.0).checks
    assert checks == {"camera": 1, "standing": 0, "feet seen": 0}


def bent(result):
    rotmats = result.adapted.rotmats.clone()
    rotmats[:, SMPL24.indices(["left_knee", "right_knee"])] = turn(100.0, 0)
    return rotmats


def test_a_body_with_soles_in_part_has_no_world():
    for has in (torch.zeros(6).bool(), torch.arange(6) > 0):
        found = world.find_world([], SimpleNamespace(has_landmarks=lambda _, has=has: has), 0.0)
        assert found.confidence == 0 and found.checks == {"feet seen": 0.0}
        assert "no landmarks on its soles" in found.note


def test_what_counts_less_than_seven_tenths_is_in_doubt():
    up, floor = torch.tensor([0.0, -1.0, 0.0]), torch.tensor(-1.25)
    fine = world._note(up, floor, 4.4, {"camera": 0.7, "contacts": 1.0})
    assert fine == ("the camera stands 1.25 m above the floor, tilted by 0 degrees, give or take 4 "
                    "(confidence 0.70).")  # fmt: skip
    less = world._note(turn(30.0, 2) @ up, floor, 4.4, {"camera": 0.69, "contacts": 1.0})
    assert "tilted by 30 degrees" in less
    assert less.endswith("(confidence 0.69; in doubt: the background moves, so the camera does).")


def test_right_in_the_picture_is_right_in_the_world_and_its_depth_is_towards_the_camera():
    down, skywards = torch.tensor([0.0, 0.0, -1.0]), torch.tensor([0.0, 0.0, 1.0])
    right = torch.tensor([1.0, 0.0, 0.0])
    for up, towards in ((down, [0.0, 1.0, 0.0]), (skywards, [0.0, -1.0, 0.0])):
        x, y, z = world.upright(up)
        assert torch.equal(x, right) and torch.equal(y, up) and z.tolist() == towards
    for degrees in (-80.0, -30.0, 30.0, 80.0):  # of pitch
        x, _, z = world.upright(turn(degrees, 0) @ torch.tensor([0.0, -1.0, 0.0]))
        torch.testing.assert_close(x, right)
        assert z[2] < 0
    steep = torch.nn.functional.normalize(torch.tensor([0.08, 0.05, -1.0]), dim=0)
    for up, below in ((steep, [0.0, 1.0, 0.0]), (-steep, [0.0, -1.0, 0.0])):
        below = torch.tensor(below)  # in the picture, of a camera that looks down or up
        level = torch.nn.functional.normalize(below - (below @ up) * up, dim=0)
        torch.testing.assert_close(world.upright(up)[2], level)
    _, y, z = world.upright(turn(40.0, 2) @ torch.tensor([0.0, -1.0, 0.0]))  # of roll
    torch.testing.assert_close(z, torch.tensor([0.0, 0.0, -1.0]))
    assert torch.equal(world.upright(-torch.eye(3)[1]), FLIP)


def test_the_background_is_looked_at_while_anybody_is_there_and_beside_all_people(monkeypatch):
    late, early = (seen_from(tuple(part[:4] for part in standing()), turned(0)) for _ in range(2))
    late = replace(late, track=replace(late.track, frames=torch.arange(7, 11)))
    asked, notes = {}, []

    def camera_shift(video, first, last, boxes):
        asked.update(video=video, range=(first, last))
        asked["boxes"] = [boxes(frame) for frame in (0, 5, 8)]
        return 0.004

    monkeypatch.setattr(still_camera, "camera_shift", camera_shift)
    people = [late.track, early.track]

    def progress(stage, done, total, values):
        notes.append((stage, done, total, values["text"]))

    placed = still_camera.in_world([late, early], BODY, people, progress, "clip.mp4")
    assert (asked["video"], asked["range"]) == ("clip.mp4", (0, 10))
    at_0, at_5, at_8 = asked["boxes"]
    assert np.array_equal(at_0, early.track.boxes[:1]) and at_5.shape == (0, 4)
    assert np.array_equal(at_8, late.track.boxes[1:2])
    assert placed[0].world is placed[1].world and placed[0].world.checks["camera"] == 0.5
    assert notes == [("note", 0, None, placed[0].world.note)]
    asked.clear()
    alone = still_camera.in_world([early], BODY, [], progress)
    assert not asked and alone[0].world.checks["picture"] == 0.5
    assert still_camera._boxes([], 3).shape == (0, 4)
