"""The axis and the unit that a file of motion leaves out, seen from where its person is."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from small_motions import leaning

from semtta.errors import SemttaError, SemttaWarning
from semtta.motion.world_axes import TO_Y_UP, in_metres, up_axis

PATH = Path("a.npz")


def standing(**frames: int) -> torch.Tensor:
    """(N, 3, 3) pelves: so many that stand along +z, +y or -y; the rest along none."""
    ways = {"z": TO_Y_UP["+z"].T, "y": torch.eye(3), "down": TO_Y_UP["-y"]}
    found = [ways[name] for name, count in frames.items() for _ in range(count)]
    found += [torch.from_numpy(leaning(54.7)).float()] * (10 - len(found))
    return torch.stack(found)


def told(root: torch.Tensor, place) -> tuple[str, list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = up_axis(PATH, root, np.tile(np.array(place, float), (len(root), 1)))
    assert len(said) <= 1
    return found, "".join(str(w.message) for w in said)


FEW, OTHER, NONE = "stands in few frames; +z", "the person in it stands along", "not stand along +z"
CASES = [  # frames, place of the pelvis (x, y, z), axis that is taken to be up, what is said
    ({"z": 10}, (0, 0, 0.9), "+z", ""),
    ({"z": 3, "y": 7}, (0, 0.9, 0), "+z", ""),
    ({"z": 2, "y": 8}, (0, 0.9, 0), "+y", OTHER),
    ({"z": 2}, (0, 0, 0.9), "+z", FEW),
    ({"z": 3}, (0, 0, 0.9), "+z", ""),
    ({}, (0, 0, 0.9), "+z", NONE),
    ({"y": 5}, (0, 0.9, 0), "+z", NONE),
    ({"y": 6}, (0, 0.9, 0), "+y", OTHER),
    ({"down": 6}, (0, -0.9, 0), "-y", OTHER + " -y"),
    ({"down": 6}, (0, 0.9, 0), "+z", NONE),
    ({"y": 10}, (0, 2, 0.2), "+z", NONE),  # lies
    ({"y": 10}, (0, 2, 0.0), "+z", NONE),
    ({"y": 10}, (0, 2, 0.4), "+z", NONE),
    ({"y": 10}, (0, 2, 0.41), "+y", OTHER),
    ({"y": 10}, (0, 2, -0.01), "+y", OTHER),
    ({"y": 10}, (0, 0.49, 0.2), "+z", NONE),
    ({"y": 10}, (0, 1.41, 0.2), "+z", NONE),
    ({"y": 10}, (0, 0.5, 0.2), "+y", OTHER),  # as high as a person who stands
    ({"y": 10}, (0, 1.4, 0.2), "+y", OTHER),
]  # fmt: skip


@pytest.mark.parametrize("frames, place, axis, said", CASES)
def test_what_is_up_is_seen_from_how_and_how_high_people_are(frames, place, axis, said):
    found, text = told(standing(**frames), place)
    assert found == axis and said in text and bool(said) == bool(text)


@pytest.mark.parametrize("degrees, upright", [(43, True), (46, False)])
def test_a_pelvis_leans_by_less_than_45_degrees(degrees, upright):
    root = torch.from_numpy(leaning(degrees)).float().expand(10, 3, 3)
    assert told(root, (0, 0.9, 0))[0] == ("+y" if upright else "+z")


def moving(speed: float, height: float = 0.9, frames: int = 101) -> np.ndarray:
    """(N, 3) places with y up, 30 frames a second."""
    steps = np.arange(frames) * speed / 30
    return np.stack((0 * steps, np.full(frames, height), steps), 1)


@pytest.mark.parametrize("speed, height", [(0, 0.9), (19.9, 0.9), (1, 19.9), (1, -19.9), (1, 0.0)])
def test_metres_of_a_person_are_left_as_they_are(speed, height):
    trans = moving(speed, height)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert in_metres(PATH, trans, 30) is trans


@pytest.mark.parametrize("unit, name", [(100, "centimetres"), (1000, "millimetres")])
@pytest.mark.parametrize("height", [0.5, 1.4])
def test_a_unit_is_one_in_which_the_pelvis_is_as_high_as_a_persons(unit, name, height):
    trans = (moving(1, height) * unit).astype(np.float32)
    scale = 1 + 1e-5 * (1 if height < 1 else -1)  # rounding
    with pytest.warns(SemttaWarning, match=f"translations are taken to be {name}"):
        found = in_metres(PATH, trans * np.float32(scale), 30)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, trans / unit * scale, rtol=1e-6)


@pytest.mark.parametrize(
    "speed, height, said",
    [(20.1, 0.9, "up to 67 m, 20 m/s"), (1, 20.1, "up to 20 m, 1 m/s"), (1, -20.1, "up to 20"),
     (0, 45, "up to 45 m, 0 m/s"), (0, 145, "up to 145"), (3000, 90, "3000 m/s")],
)  # fmt: skip
def test_what_is_in_no_unit_a_persons_is_refused(speed, height, said):
    with pytest.raises(SemttaError, match=f"must be in metres; .*{said}"):
        in_metres(PATH, moving(speed, height), 30)
    with pytest.raises(SemttaError, match="up to 100 m, 20 m/s"):
        in_metres(PATH, moving(30, 0.9), 20)  # exactly
    with pytest.raises(SemttaError, match="up to 20 m, 0 m/s"):
        in_metres(PATH, moving(0, -20), 30)
    with pytest.raises(SemttaError, match="up to 30 m, 0 m/s"):
        in_metres(PATH, moving(0, 30, frames=1), 30)


@pytest.mark.parametrize("jumps, refused", [(4, False), (7, True)])
def test_a_few_jumps_are_no_speed(jumps, refused):
    trans = moving(1)
    for k in range(jumps):
        trans[10 * k + 5 :, 0] += 5.0
    if refused:
        with pytest.raises(SemttaError, match="in metres"):
            in_metres(PATH, trans, 30)
    else:
        assert in_metres(PATH, trans, 30) is trans
    trans[3, 1] = np.nan
    with pytest.raises(SemttaError, match="translations hold NaN or infinite numbers"):
        in_metres(PATH, trans, 30)


@pytest.mark.filterwarnings("ignore::semtta.errors.SemttaWarning")
def test_turns_to_y_up_are_rotations_that_take_the_named_axis_up():
    for name, axis in (("+y", (0, 1, 0)), ("+z", (0, 0, 1)), ("-y", (0, -1, 0))):
        turn = TO_Y_UP[name]
        assert torch.equal(turn @ torch.tensor(axis).float(), torch.tensor((0.0, 1.0, 0.0)))
        assert up_axis(PATH, turn.T.expand(9, 3, 3), np.tile(np.array(axis) * 0.9, (9, 1))) == name
        assert float(torch.linalg.det(turn)) == 1 and turn[0].tolist() == [1, 0, 0]
