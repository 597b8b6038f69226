"""Range of motion: what a filter takes of a swing, and what is no motion at all."""

import math
from dataclasses import replace

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from page_results import waving

from semtta.bench.metrics import range_of_motion
from semtta.bench.table_files import TableSpec
from semtta.bench.tables import view_table
from semtta.body import load_body
from semtta.geometry import gaussian_smooth
from semtta.output.amplitude import amplitude, motion_amplitude, ranges
from semtta.output.comparison.tables import _moved
from semtta.output.files import report
from semtta.output.page.data import _tiles
from semtta.skeletons import LIMB12, SMPL24

TIMES = torch.arange(150) / 30
BODY = load_body()


def swinging(hertz=1.0, angle=0.6, still=(), times=TIMES, noise=0.0):
    """Rotations of somebody who swings both arms and the left leg, but for what is still."""
    wave = angle * (2 * math.pi * hertz * times).sin()
    turns = noise * torch.randn(len(times), 24, 3, generator=torch.Generator().manual_seed(0))
    for joint in {"left_shoulder", "right_shoulder", "left_hip"} - set(still):
        turns[:, SMPL24.index(joint), 2 if "shoulder" in joint else 0] += wave
    return roma.rotvec_to_rotmat(turns)


def joints(rotmats):
    return BODY.joints(rotmats, torch.zeros(10))


def test_the_range_of_a_sine_is_known():
    points = torch.zeros(150, 3, 3)
    points[:, 1, 0] = 0.2 * (2 * math.pi * TIMES).sin()
    points[:, 2] = 0.1 * points[:, 1, :1] + torch.tensor([0.0, 3, 0])
    points += torch.randn(150, 1, 3, generator=torch.Generator().manual_seed(0))  # all together
    found = ranges(points, TIMES, [0])
    assert float(found[0]) < 1e-6
    assert float(found[1]) == pytest.approx(0.4 * math.cos(0.05 * math.pi), rel=0.01)
    assert float(found[2]) == pytest.approx(0.1 * 3**0.5 * float(found[1]), rel=0.01)


@pytest.mark.parametrize(("hertz", "sigma"), [(1.0, 0.08), (0.8, 0.15), (2.0, 0.09)])
def test_a_gaussian_leaves_of_a_sine_what_its_formula_says(hertz, sigma):
    times = torch.arange(300) / 30
    true = swinging(hertz, 0.3, times=times)
    smooth = gaussian_smooth(true, times, sigma)
    kept = math.exp(-((2 * math.pi * hertz * sigma) ** 2) / 2)
    found = amplitude(joints(smooth), joints(true), times)
    assert found.joints["left_wrist"] == pytest.approx(kept, abs=0.02)
    assert found.median == pytest.approx(kept, abs=0.02)


def test_a_motion_moves_as_far_as_itself_and_whoever_stands_still_has_no_number():
    whole = joints(swinging(noise=0.01))
    same = amplitude(whole, whole, TIMES)
    assert same.median == 1 and same.least[1] == 1 and "right_ankle" not in same.joints
    assert set(same.limbs) == {"left arm", "right arm", "left leg"}
    trembling = joints(swinging(angle=0.0, noise=0.005))
    nothing = amplitude(whole, trembling, TIMES)
    assert nothing.joints == {} and nothing.limbs == {} and math.isnan(nothing.median)
    assert str(nothing) == "" and nothing.least[0] == ""
    assert amplitude(whole[:4], whole[:4], TIMES[:4]).joints == {}
    broken = whole.clone()
    broken[3] = math.nan
    assert amplitude(whole, broken, TIMES).joints == {}


def test_the_limb_that_stopped_is_named():
    found = amplitude(joints(swinging(still=["right_shoulder"])), joints(swinging()), TIMES)
    assert found.least[0] == "right arm" and found.least[1] < 0.05
    assert found.limbs["left arm"] == pytest.approx(1) and found.median > 0.9
    assert str(found).endswith(f", right arm {100 * found.least[1]:.0f} %")


@given(st.floats(0.5, 2), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_neither_the_camera_nor_the_size_of_the_body_matters(size, seed):
    draw = torch.Generator().manual_seed(seed)
    one, other = joints(swinging(noise=0.02)), joints(swinging(angle=0.5))
    plain = amplitude(one, other, TIMES)
    turn = roma.rotvec_to_rotmat(torch.randn(3, generator=draw))
    moved = size * one @ turn.T + torch.randn(150, 1, 3, generator=draw)
    assert amplitude(moved, other, TIMES).median == pytest.approx(plain.median, rel=1e-3)
    both = amplitude(moved, other @ turn, TIMES)
    assert both.limbs == pytest.approx(plain.limbs, rel=1e-3)


def test_a_turn_of_the_whole_person_does_not_hide_a_lost_swing(monkeypatch):
    true, lost = swinging(), swinging(angle=0.3)
    turn = roma.rotvec_to_rotmat(torch.linspace(0, 1.0, 150)[:, None] * torch.tensor([0.0, 1, 0]))
    for rotmats in (true, lost):
        rotmats[:, 0] = turn
    assert amplitude(joints(lost), joints(true), TIMES).limbs["left arm"] < 0.65
    monkeypatch.setattr("semtta.output.amplitude.WINDOW", 100.0)  # as over the whole track
    assert amplitude(joints(lost), joints(true), TIMES).limbs["left arm"] > 0.85


# ------------------------------------------------------------------ where it is shown


def test_report_summary_and_page_say_it():
    result = waving(range(40))
    rotmats = gaussian_smooth(result.base.rotmats, result.track.times, 0.2)
    result = replace(result, adapted=replace(result.adapted, rotmats=rotmats))
    moved = motion_amplitude(result.adapted, result.base, result.track.times, BODY)
    entry = report(result, BODY)
    assert moved.median < 0.9 and entry["range_of_motion"]["median"] == moved.median
    assert f"range of motion against the base's {moved}" in entry["summary"][1]
    (tile,) = [tile for tile in _tiles(result, BODY) if tile["title"] == "range of motion"]
    assert tile["value"] == f"{100 * moved.median:.0f} %" and moved.least[0] in tile["note"]
    single = waving(range(1))
    assert report(single, BODY)["range_of_motion"]["median"] is None
    assert "range of motion" not in " ".join(report(single, BODY)["summary"])
    assert all(tile["title"] != "range of motion" for tile in _tiles(single, BODY))
    assert _moved(moved.numbers()).startswith(f"{100 * moved.median:.0f} % (")
    assert _moved(None) == _moved(report(single, BODY)["range_of_motion"]) == "–"


def test_benchmarks_hold_it_against_the_truth_and_old_rows_have_a_dash():
    roots = ("left_hip", "right_hip")
    true, half = (BODY.landmarks(swinging(angle=a), torch.zeros(10), LIMB12) for a in (0.4, 0.2))
    numbers = range_of_motion(half, true, LIMB12, roots, 30.0)
    assert numbers["range_percent"] == pytest.approx(50, abs=2)
    still = true[:1].expand(150, -1, -1)
    assert set(range_of_motion(half, still, LIMB12, roots, 30.0).values()) == {None}
    head = {"model": "lifter", "level": "medium", "seed": 0, "tracks": 1, "groups": 1, "ci95": {},
            "versus": {}, "data": "mocap", "protocol": "p", "mpjpe_mm": 50.0}  # fmt: skip
    rows = [head | {"method": "new"} | numbers, head | {"method": "old"}]
    view = view_table(rows, TableSpec())
    column = view.headings.index("range %")
    assert [row[column] for row in view.rows] == [f"{numbers['range_percent']:.1f}", "-"]
    assert "range %" not in view_table(rows[1:], TableSpec()).headings
