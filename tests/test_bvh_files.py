"""The text of a BVH file: what is read of it, what is refused, and where the limits lie."""

from __future__ import annotations

import os
import re
import tracemalloc
import warnings

import numpy as np
import pytest
from small_motions import CHAIN, swing, write_bvh

from semtta.errors import SemttaError, SemttaWarning
from semtta.motion.bvh import bvh_length, read_bvh

PLACES = np.linspace((0.0, 86.0, 0.0), (20.0, 90.0, 60.0), 12)


@pytest.fixture
def text(tmp_path) -> str:
    return write_bvh(tmp_path / "plain.bvh", swing(), PLACES).read_text()


@pytest.fixture
def read(tmp_path):
    """Reads a text; whatever is announced fails the test."""

    def motion(text: str, encoding: str = "utf-8"):
        (tmp_path / "a.bvh").write_text(text, encoding=encoding)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", SemttaWarning)
            return read_bvh(tmp_path / "a.bvh")

    return motion


def rows_of(text: str) -> tuple[str, list[str]]:
    """Everything before the first row, and the rows."""
    head, body = re.split(r"(?<=Frame Time: 0.033333\n)", text)
    return head, body.splitlines()


def small(joints: str, rows: list[str], frames: int | None = None, step: str = "0.04") -> str:
    number = len(rows) if frames is None else frames
    return "\n".join(("HIERARCHY", joints, "MOTION", f"Frames: {number}", f"Frame Time: {step}",
                      *rows, ""))  # fmt: skip


def chain(count: int, channels: str) -> str:
    """A hierarchy of joints in one line, each with the same channels."""
    joint = f"OFFSET 0 1 0\nCHANNELS {channels}"
    return f"ROOT j0\n{{\n{joint}\n" + "".join(
        f"JOINT j{i}\n{{\n{joint}\n" for i in range(1, count)
    ) + "}\n" * count  # fmt: skip


# Frames and their time ----------------------------------------------------------------------------


@pytest.mark.parametrize("step, fps", [("0.001", 1000), ("1", 1), ("0,04", 25), ("4e-2", 25)])
def test_a_frame_takes_from_a_millisecond_to_a_second(tmp_path, step, fps):
    (tmp_path / "a.bvh").write_text(small(chain(1, "0"), ["0"] * 7, step=step))
    assert bvh_length(tmp_path / "a.bvh") == (7, pytest.approx(fps))


@pytest.mark.parametrize("step", ["0.0009", "1.01", "-0.04", "33"])
def test_another_frame_time_is_refused_as_it_stands(tmp_path, step):
    (tmp_path / "a.bvh").write_text(small(chain(1, "0"), ["0"], step=step))
    with pytest.raises(SemttaError, match=f"has the frame time {step}; the seconds of one frame"):
        bvh_length(tmp_path / "a.bvh")


@pytest.mark.parametrize("change", [("Frames: 12", "Frames: 0"), ("Frames: 12\n", "")])
def test_a_file_without_frames_is_refused(tmp_path, text, change):
    (tmp_path / "a.bvh").write_text(text.replace(*change))
    with pytest.raises(SemttaError, match="is not a BVH file with frames and a frame time"):
        bvh_length(tmp_path / "a.bvh")


def test_one_frame_is_a_motion(tmp_path):
    places = PLACES[:1]
    rotmats, trans, _ = read_bvh(write_bvh(tmp_path / "a.bvh", swing(2)[1:], places))
    assert rotmats.shape == (1, 24, 3, 3) and trans.shape == (1, 3)


@pytest.mark.parametrize("degrees, left", [(24.5, 12), (25.5, 11)])
def test_a_first_frame_that_the_second_leaves_by_a_jump_is_dropped(tmp_path, degrees, left):
    rotations = np.tile(np.eye(3), (12, len(CHAIN), 1, 1))
    turned = swing(2, root=(0, np.deg2rad(degrees), 0))[0, 0]
    rotations[1:, list(CHAIN).index("RightForeArm")] = turned
    rotmats, trans, _ = read_bvh(write_bvh(tmp_path / "a.bvh", rotations, PLACES))
    assert len(rotmats) == len(trans) == left
    assert np.allclose(trans[-1] - trans[0], (PLACES[-1] - PLACES[-left]) * trans[-1, 1] / 90)


# Forms of the same motion -------------------------------------------------------------------------

FORMS = {
    "capitals": lambda t: t.replace("Frame Time", "FRAME TIME").replace("Frames", "FRAMES"),
    "small letters": lambda t: t.replace("MOTION", "motion").replace("JOINT", "Joint")
    .replace("OFFSET", "offset").replace("CHANNELS", "Channels").replace("rotation", "ROTATION"),
    "commas between numbers": lambda t: rows_of(t)[0] + "\n".join(
        ", ".join(row.split()) for row in rows_of(t)[1]),
    "a row in two lines": lambda t: rows_of(t)[0] + "\n".join(rows_of(t)[1]).replace(" ", "\n"),
    "words in names": lambda t: t.replace("JOINT LeftArm", "JOINT Left Arm"),
    "commas in offsets": lambda t: re.sub(r"OFFSET .*", lambda m: m[0].replace(".", ","), t),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_are_the_same_motion(read, text, form):
    (rotmats, trans, fps), other = read(text), read(FORMS[form](text))
    np.testing.assert_allclose(other[0], rotmats, atol=1e-6)
    np.testing.assert_allclose(other[1], trans, atol=1e-6)
    assert other[2] == fps


def test_a_name_that_is_no_utf8_is_read(read, text):
    other = read(text.replace("JOINT LeftToeBase", "JOINT Zéh"), encoding="latin-1")
    assert np.abs(other[0] - read(text)[0]).max() < 1e-6


def test_places_of_joints_take_the_part_of_their_offsets(read, text):
    """Some tools write six channels for every joint, with the offset in each row."""
    head, rows = rows_of(text)
    offsets = [tuple(match.split()) for match in re.findall(r"OFFSET (.*)\nCHANNELS", head)]
    head = head.replace("CHANNELS 3 ", "CHANNELS 6 Xposition Yposition Zposition ")
    wide = []
    for row in rows:
        numbers = row.split()
        parts = [numbers[:6]]
        for i, offset in enumerate(offsets[1:]):
            parts.append([*offset, *numbers[6 + 3 * i : 9 + 3 * i]])
        wide.append(" ".join(sum(parts, [])))
    other = read(head + "\n".join(wide))
    np.testing.assert_allclose(other[0], read(text)[0], atol=1e-6)
    np.testing.assert_allclose(other[1], read(text)[1], atol=1e-6)


@pytest.mark.parametrize("channels", ["", "CHANNELS 0\n"])
def test_a_joint_without_channels_moves_with_the_one_below(read, text, channels):
    head, rows = rows_of(text)
    held = head.replace("JOINT Spine\n", f"JOINT X\n{{\nOFFSET 0 0 0\n{channels}JOINT Spine\n")
    other = read(close(held, "JOINT Spine\n") + "\n".join(rows))
    np.testing.assert_allclose(other[0], read(text)[0], atol=1e-6)


def close(head: str, joint: str) -> str:
    """One more brace where a joint ends."""
    start, depth = head.index("{", head.index(joint)), 0
    for at, sign in enumerate(head[start:], start):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return head[: at + 1] + "\n}" + head[at + 1 :]
    raise AssertionError(joint)


def test_a_root_without_places_stays_where_it_is(read, text):
    head, rows = rows_of(text)
    head = head.replace("CHANNELS 6 Xposition Yposition Zposition", "CHANNELS 3")
    rotmats, trans, _ = read(head + "\n".join(row.split(" ", 3)[3] for row in rows))
    assert not trans.any() and np.abs(rotmats - read(text)[0]).max() < 1e-6


# Faults -------------------------------------------------------------------------------------------

FAULTS = [  # what is wrong, what is said
    (lambda t: t.rsplit(" ", 1)[0], "damaged: it announces 12 frames of 69 numbers and has 827"),
    (lambda t: t + "1\n", "damaged: it announces 12 frames of 69 numbers and has 829"),
    (lambda t: t + "MOTION\n", "cut off or damaged"),
    (lambda t: t + t[t.index("MOTION") :], "cut off or damaged"),
    (lambda t: t + "end\n", "cut off or damaged"),
    (lambda t: t.replace("MOTION", "}\nMOTION"), "damaged BVH hierarchy .pop"),
    (lambda t: t.replace("JOINT LeftLeg", "}LeftLeg"), "hierarchy .unexpected '}LeftLeg'"),
    (lambda t: t.replace("OFFSET", "PLACE", 1), "hierarchy .OFFSET expected"),
    (lambda t: re.sub(r"OFFSET \S+", "OFFSET nan", t, count=1), "an OFFSET is not finite"),
    (lambda t: t.replace("Xpos", "Wpos"), "hierarchy .unknown CHANNELS of 'Hips'"),
    (lambda t: t.replace("CHANNELS 6", "CHANNELS 7 Xposition"), "unknown CHANNELS of 'Hips'"),
    (lambda t: t.replace("CHANNELS 6", "CHANNELS -1"), "unknown CHANNELS of 'Hips'"),
    (lambda t: t.replace("HIERARCHY", "HIER"), "no complete BVH hierarchy with one root"),
    (lambda t: t.replace("}\nMOTION", "MOTION"), "no complete BVH hierarchy with one root"),
    (lambda t: t.replace("MOTION", "ROOT r\n{\nOFFSET 0 0 0\n}\nMOTION"), "with one root"),
]


@pytest.mark.parametrize("change, said", FAULTS)
def test_a_damaged_file_is_refused_by_what_is_wrong(read, text, change, said):
    with pytest.raises(SemttaError, match=said):
        read(change(text))


@pytest.mark.parametrize("row", ["", "1 2"])
def test_a_skeleton_without_channels_is_no_motion(read, row):
    with pytest.raises(SemttaError, match="announces 2 frames of 0 numbers"):
        read(small(chain(3, "0"), [row], frames=2))


def test_rows_that_are_too_many_are_left_out_and_it_is_said(read, text):
    with pytest.raises(SemttaWarning, match="has 12 rows for the 10 frames that it announces"):
        read(text.replace("Frames: 12", "Frames: 10"))


# Limits -------------------------------------------------------------------------------------------


def test_a_file_of_more_than_128_mebibytes_is_not_opened(tmp_path):
    path = tmp_path / "a.bvh"
    path.touch()
    os.truncate(path, (128 << 20) + 1)  # a hole, no bytes
    with pytest.raises(SemttaError, match="more than 128 MiB are not read"):
        bvh_length(path)


@pytest.mark.parametrize(
    "joints, frames, said",
    [(50, 40_000, "is cut off"), (50, 40_001, "announces 40001 frames of 200 numbers; more than "
      "60000 frames or 8000000 numbers"), (1, 60_000, "is cut off"), (1, 60_001, "more than")],
)  # fmt: skip
def test_what_is_announced_has_a_limit(read, joints, frames, said):
    channels = "4 Xposition Yposition Zposition Zrotation"
    with pytest.raises(SemttaError, match=said):
        read(small(chain(joints, channels), ["0"], frames))


@pytest.mark.parametrize("joints, said", [(10_000, "cut off"), (10_001, "10000 at most are read")])
def test_joints_have_a_limit(read, joints, said):
    with pytest.raises(SemttaError, match=said):
        read(small(chain(joints, "0"), ["0"]))


def test_a_long_chain_of_joints_costs_no_memory(read, text, tmp_path):
    """Rotations of joints that only lead to others are let go."""
    links, frames = 600, 100
    place = "OFFSET 0 0 0\nCHANNELS 0\n"
    above = "ROOT l0\n{\n" + place + "".join(f"JOINT l{i}\n{{\n{place}" for i in range(1, links))
    below = "".join(f"JOINT leaf{i}\n{{\n{place}}}\n}}\n" for i in range(links))
    path = write_bvh(tmp_path / "a.bvh", swing(frames), np.zeros((frames, 3)))
    held = path.read_text().replace("ROOT", above + "JOINT").replace("MOTION", below + "MOTION")
    read(text)  # the body is loaded once
    tracemalloc.start()
    rotmats = read(held)[0]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rotmats.shape == (frames, 24, 3, 3)
    assert most < links * frames * 96  # bytes of all their rotations and places
