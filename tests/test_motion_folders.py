"""Lists of motions: the documented npz and its limits, names, texts and subjects of a folder."""

from __future__ import annotations

import os
import warnings
import zipfile

import numpy as np
import pytest
import roma
import torch
from small_motions import amass, swing, walk, write_bvh

from semtta.errors import SemttaError, SemttaWarning
from semtta.motion.clip_names import canonical_label
from semtta.motion.motion_files import MotionEntry, list_motions, read_motion

CLIPS = 3


def documented(path, **change):
    """Clips of 5, 6 and 7 frames; ``None`` takes an array away."""
    lengths = np.array((5, 6, 7))
    arrays = {
        "pose": walk(18), "trans": np.arange(54.0).reshape(18, 3) / 10,
        "start": lengths.cumsum() - lengths, "length": lengths, "clip_id": np.array(list("abc")),
        "texts": np.array(("walk\nstroll", "jump", "")),
        "subject": np.array(("cmu007", "cmu70", "cmuX")), "source": np.array(list("xyz")),
        "split": np.array(("train", "val", "held")), "is_duplicate": np.zeros(CLIPS, bool),
    } | change  # fmt: skip
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


# The documented npz -------------------------------------------------------------------------------


def test_every_clip_of_a_documented_file_is_listed_as_it_says(tmp_path):
    path = documented(tmp_path / "m.npz")
    assert list_motions(path) == [
        MotionEntry("a", 5, "walk", "cmu7", "x", "train", path, 0),
        MotionEntry("b", 6, "jump", "cmu70", "y", "val", path, 1),
        MotionEntry("c", 7, "", "cmuX", "z", "held", path, 2),
    ]
    again = documented(tmp_path / "m.npz", is_duplicate=np.array((0, 1, 0)))
    os.utime(again, (1, 1))
    assert [(entry.name, entry.index) for entry in list_motions(again)] == [("a", 0), ("c", 2)]
    all_again = documented(tmp_path / "n.npz", is_duplicate=np.ones(CLIPS, int))
    with pytest.raises(SemttaError, match="n.npz' holds repeated takes only"):
        list_motions(all_again)


def test_a_clip_has_its_own_frames_and_legs_of_the_librarys_length(tmp_path):
    second = list_motions(documented(tmp_path / "m.npz"))[1]
    clip = read_motion(second)
    expected = roma.rotvec_to_rotmat(torch.from_numpy(walk(18)))[5:11].numpy()
    np.testing.assert_allclose(clip.rotmats, expected, atol=1e-6)
    np.testing.assert_allclose(clip.trans, 0.105 * np.arange(15.0, 33).reshape(6, 3), rtol=1e-6)
    assert clip.rotmats.dtype == clip.trans.dtype == np.float32 and len(clip) == 6
    said = (clip.name, clip.text, clip.label, clip.subject, clip.source)
    assert said == ("b", "jump", "jump", "cmu70", "y")


@pytest.mark.parametrize("key", ["pose", "trans"])
def test_one_number_that_is_none_spoils_a_clip(tmp_path, key):
    arrays = {"pose": walk(18), "trans": np.ones((18, 3))}
    arrays[key][7].flat[1] = np.nan
    entries = list_motions(documented(tmp_path / "m.npz", **arrays))
    read_motion(entries[0])
    with pytest.raises(SemttaError, match="the motion 'b' in '.*m.npz' .*holds NaN"):
        read_motion(entries[1])


@pytest.mark.parametrize(
    "change, said",
    [
        ({"trans": None, "split": None}, "has no trans, split"),
        ({"pose": np.full((18, 24, 3), "0")}, "pose is of another kind"),
        ({"trans": np.full((18, 3), "0")}, "trans is of another kind"),
        ({"start": np.array((0.0, 5, 11))}, "start is of another kind"),
        ({"length": np.array((5.0, 6, 7))}, "length is of another kind"),
        ({"is_duplicate": np.zeros(3)}, "is_duplicate is of another kind"),
        ({"clip_id": np.array("a")}, "a list is of another kind"),
        ({"pose": np.zeros((18, 23, 3))}, "do not fit"),
        ({"trans": np.zeros((17, 3))}, "do not fit"),
        ({"trans": np.zeros((18, 2))}, "do not fit"),
        ({"split": np.array(("train", "val"))}, "do not fit"),
        ({"start": np.array((-1, 5, 11))}, "do not fit"),
        ({"start": np.array((0, 5, 12))}, "do not fit"),
        ({"length": np.array((5, 0, 7))}, "do not fit"),
        (dict.fromkeys(("start", "length", "is_duplicate"), np.zeros(0, int))
         | dict.fromkeys(("clip_id", "texts", "subject", "source", "split"), np.zeros(0, str)),
         "do not fit"),
    ],
)  # fmt: skip
def test_a_documented_file_that_contradicts_itself_is_refused(tmp_path, change, said):
    with pytest.raises(SemttaError, match=said):
        list_motions(documented(tmp_path / "m.npz", **change))


@pytest.mark.parametrize("frames", [108_000, 108_001])
def test_a_clip_is_an_hour_at_most(tmp_path, frames):
    pose, trans = np.zeros((frames, 24, 3), np.int8), np.zeros((frames, 3), np.int8)
    length, start = np.array((5, 6, frames)), np.zeros(CLIPS, int)
    path = documented(tmp_path / "m.npz", pose=pose, trans=trans, length=length, start=start)
    if frames == 108_000:
        assert list_motions(path)[2].frames == frames
    else:
        with pytest.raises(SemttaError, match="do not fit"):
            list_motions(path)


def test_a_motion_of_another_frame_rate_is_an_hour_at_most(tmp_path):
    slow = amass(tmp_path / "s.npz", 3604, 1.0, trans=np.tile((0, 0, 0.9), (3604, 1)))
    with pytest.raises(SemttaError, match="s.npz' is longer than an hour; cut it"):
        read_motion(list_motions(slow)[0])


def test_a_documented_file_has_768_mebibytes_at_most(tmp_path):
    path = documented(tmp_path / "m.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.getinfo("pose.npy").file_size = 768 << 20  # what it claims
        archive.writestr("more", b"")  # writes the list of contents anew
    with pytest.raises(SemttaError, match="more than the 768 MiB that are read"):
        list_motions(path)


# Folders ------------------------------------------------------------------------------------------


def bvh(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_bvh(path, swing(4), np.tile((0.0, 86.0, 0.0), (4, 1)))


def test_a_folder_is_listed_in_order_with_the_folder_as_subject(tmp_path):
    root = tmp_path / "lab"
    bvh(root / "B" / "sub" / "jump.BVH")
    amass(root / "A" / "x.npz").rename(root / "A" / "run_poses.NPZ")
    bvh(root / "kick.bvh")
    documented(root / "A" / "m.npz")
    bvh(root / "A" / ".hidden.bvh")
    np.savez(root / "A" / "shape.npz", betas=np.zeros(10))
    (root / "readme.txt").write_text("x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        entries = list_motions(root)
    found = [(e.name, e.subject, e.source, e.frames, e.split, e.index) for e in entries]
    assert found == [
        ("a", "cmu7", "x", 5, "train", 0), ("b", "cmu70", "y", 6, "val", 1),
        ("c", "cmuX", "z", 7, "held", 2), ("A/run_poses", "A", "amass", 60, "", 0),
        ("B/sub/jump", "B/sub", "bvh", 4, "", 0), ("kick", "lab", "bvh", 4, "", 0),
    ]  # fmt: skip
    assert [entry.path.name for entry in entries[3:]] == ["run_poses.NPZ", "jump.BVH", "kick.bvh"]
    assert [len(read_motion(entry)) for entry in entries[3:]] == [60, 4, 4]
    one = list_motions(root / "B" / "sub" / "jump.BVH")
    assert [(e.name, e.subject, e.text) for e in one] == [("jump", "sub", "jump")]
    (root / "B" / "bad.bvh").write_text("x")
    (root / "C.npz").write_text("x")
    with pytest.warns(SemttaWarning, match="^left out: ") as said:
        assert list_motions(root) == entries
    assert [word in str(w.message) for w, word in zip(said, ("bad.bvh", "C.npz"))] == [True, True]


@pytest.mark.parametrize("path", ["absent", "absent.bvh"])
def test_what_is_not_there_is_said(tmp_path, path):
    with pytest.raises(SemttaError, match=f"no motion file or folder '.*{path}'"):
        list_motions(tmp_path / path)
    with pytest.raises(SemttaError, match="has no trans, length, clip_id"):
        np.savez(tmp_path / "two.npz", pose=walk(2), start=np.zeros(1, int))
        list_motions(tmp_path / "two.npz")


@pytest.mark.parametrize(
    "name, text",
    [("walk_01_poses", "walk"), ("fastWalk-B_07stageii", "fast walk"),
     ("a_Run_stageii", "run"), ("07_01", ""), ("X.go", "go")],
)  # fmt: skip
def test_a_files_name_says_what_is_done_if_nothing_else_does(tmp_path, name, text):
    bvh(tmp_path / f"{name}.bvh")
    assert list_motions(tmp_path)[0].text == text


def test_labels_go_before_texts_beside_and_those_before_names(tmp_path):
    for name in ("one", "two", "three", "four"):
        bvh(tmp_path / f"{name}.bvh")
    (tmp_path / "labels.json").write_text('{"one.bvh": "hop", "two.npz": "kick", "four": ""}')
    (tmp_path / "one.txt").write_text("run")
    (tmp_path / "three.txt").write_text("\n  \n a man # sits#x \nother")
    (tmp_path / "four.txt").write_text("\n")
    texts = {entry.name: entry.text for entry in list_motions(tmp_path)}
    assert texts == {"one": "hop", "two": "kick", "three": "a man", "four": "four"}


@pytest.mark.parametrize(
    "text, label",
    [("Start Walk Stop", None), ("a MAN walks slowly", "walk"), ("walk slowly", "walk slowly"),
     ("dance - arabesque", "ballet dance"), ("they dance - well", None), ("truncated", None),
     ("a run", "run"), ("hopscotch", None), ("raise both of the arms", "raise both arms"),
     ("", None)],
)  # fmt: skip
def test_texts_of_clips_have_the_label_of_the_first_rule_that_fits(text, label):
    assert canonical_label(text) == label


def test_every_motion_comes_at_thirty_frames_a_second(tmp_path):
    trans = np.stack((np.zeros(49), np.linspace(0, 1, 49), np.full(49, 0.9)), 1)
    turned = np.zeros((49, 22, 3))
    turned[:, 0] = np.pi / 2, 0, 0
    turned[:, 4, 0] = np.linspace(0, 0.96, 49)
    for fps, frames in ((24, 61), (48, 31), (30, 49), (29.97, 49), (90, 17)):
        path = amass(tmp_path / "a.npz", poses=turned, trans=trans, mocap_framerate=np.array(fps))
        entry = list_motions(path)[0]
        clip = read_motion(entry)
        assert entry.frames == len(clip) == frames, fps
        assert clip.rotmats.dtype == clip.trans.dtype == np.float32
        seconds = np.arange(frames) / 30
        moved = np.minimum(seconds * fps / 48, 1)
        np.testing.assert_allclose(clip.trans[:, 2], -moved, atol=1.1e-3)
        np.testing.assert_allclose(clip.trans[:, 1], 0.9, atol=1e-6)
        bent = roma.rotmat_to_rotvec(torch.from_numpy(clip.rotmats))[:, 4, 0].numpy()
        np.testing.assert_allclose(bent, 0.96 * moved, atol=1.1e-3)
