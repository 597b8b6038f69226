"""Who trains and who tests: nobody on both sides, no take twice, parts that are what they say."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from small_motions import amass
from test_mocap import documented

from semtta.bench.mocap import open_mocap
from semtta.bench.mocap_split import DEV, NEW, NONE, SEEN, TEST, TRAIN, load_split
from semtta.bench.statistics import FEWEST_GROUPS
from semtta.motion.motion_files import list_motions, read_motion
from semtta.skeletons import BODY27, LIMB12, SMPL24
from tools import measure_split

LIMBS = BODY27.indices(LIMB12.joints)


@pytest.fixture(scope="module")
def split():
    return load_split()


@pytest.fixture(scope="module")
def report():
    return json.loads(measure_split.REPORT.read_text(encoding="utf-8"))


# The lists ----------------------------------------------------------------------------------------


def test_nobody_stands_on_two_sides(split):
    sides = defaultdict(set)
    for name in split.clips:
        clip = split.find(name)
        sides[clip.performer].add(clip.side)
    assert all(len(found - {NONE}) == 1 for found in sides.values())
    assert set(split.sides) == set(sides)  # nobody is listed who has no clip
    # who carries no number is one class, and cannot be told from the training set's people
    assert sides["unknown"] == {TRAIN}
    # partners and repeated takes are one
    assert split.find("cmu_60_01").performer == split.find("cmu_61_01").performer
    assert split.find("cmu_78_06_fbx").performer == split.find("cmu_102_05_fbx").performer
    assert split.find("cmu_train_walking_18").performer == split.find("cmu_10_04_daz2").performer


def test_a_new_action_is_one_that_training_does_not_show(split):
    found = [split.find(name) for name in split.clips]
    trained = {clip.action for clip in found if clip.side == TRAIN}
    assert split.new.isdisjoint(trained)
    assert split.new.isdisjoint(split.seen)
    assert set(split.seen.values()) <= trained
    tested = {clip.action for clip in found if clip.side in (DEV, TEST)}
    assert tested == split.new | set(split.seen)
    assert split.find("m2m_jumping_jacks").part == NEW
    assert split.find("m2m_pushup").part == SEEN
    assert split.find("cmu_02_01").part == "" and split.find("nobody") is None


def test_enough_people_are_counted_for_intervals(split):
    counted = defaultdict(set)
    for name in split.clips:
        clip = split.find(name)
        if clip.side == TEST:
            counted[clip.part].add(clip.performer)
    assert len(counted[SEEN]) >= FEWEST_GROUPS and len(counted[NEW]) >= FEWEST_GROUPS


def test_what_is_left_out_is_on_no_side(split):
    for name in split.left_out:
        clip = split.find(name)
        assert (clip.side, clip.part) == (NONE, "") and split.sides[clip.performer] == TRAIN


# Distances ----------------------------------------------------------------------------------------


def test_no_clip_of_a_side_repeats_one_of_another(split, report):
    assert report["lists"] == measure_split.lists_hash()  # these lists were measured
    measured = {row["clip"]: row for row in report["clips"]}
    sides = Counter(row["side"] for row in measured.values())
    assert sides[TEST] > 90 and sides[DEV] > 25
    for row in measured.values():
        near = split.find(row["nearest"])
        assert near.side not in (row["side"], NONE) and near.performer != row["performer"]
    assert not measure_split.repeats(report["clips"])
    known = np.array(report["conversions_of_one_take"])
    assert np.mean(known < measure_split.NEAR) > 0.85 and np.median(known) < 0.12


def test_a_repeated_take_is_found_in_whatever_convention(split):
    """Of two sides: limbs rolled by 25 degrees, started half a second later, mirrored."""
    rng = np.random.default_rng(0)

    def motion(seed):
        tempo, phases = 0.6 + 0.3 * seed, np.random.default_rng(seed).uniform(0, 6, (24, 3))
        angles = 0.5 * np.sin(2 * np.pi * tempo * np.arange(90)[:, None, None] / 30 + phases)
        return roma.rotvec_to_rotmat(torch.from_numpy(angles)).numpy()

    roll = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.44, 0.0])).numpy()
    taken, other = motion(1), motion(2)
    rolled = taken[15:].copy()
    hip = SMPL24.index("left_hip")
    rolled[:, hip] = rolled[:, hip] @ roll  # about the thigh's own axis
    rolled[:, SMPL24.index("left_knee")] = roll.T @ rolled[:, SMPL24.index("left_knee")]
    flip = list(SMPL24.flip)
    mirror = np.diag([-1.0, 1.0, 1.0])
    mirrored = mirror @ taken[:, flip] @ mirror
    noise = taken + 0.003 * rng.standard_normal(taken.shape)
    names = {"cmu_02_01": taken, "cmu_09_02_mb": rolled, "cmu_11_01_daz": mirrored,
             "cmu_35_26_fbx": noise, "m2m_angry": other}  # fmt: skip
    rows = {row["clip"]: row for row in measure_split.measure(names, split)}
    assert {row["nearest"] for row in rows.values()} == {"cmu_02_01"}
    found = {row["clip"] for row in measure_split.repeats(list(rows.values()))}
    assert found == {"cmu_09_02_mb", "cmu_11_01_daz", "cmu_35_26_fbx"}
    assert rows["m2m_angry"]["distance"] > 0.5


# The benchmark ------------------------------------------------------------------------------------

NAMES = ["m2m_jumping_jacks", "cmu_09_12_mb", "cmu_11_01_daz", "cmu_60_01", "cmu_01_05_asf",
         "a_stranger", "cmu_02_01", "m2m_pushup", "cmu_03_02", "more_training"]  # fmt: skip
SPLITS = ["held", "held", "val", "train", "held", "val", "train", "train", "val", "train"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files in the documented layout, side by side, one with names that the split knows."""
    folder = tmp_path_factory.mktemp("motions")

    def known(arrays):
        return {"clip_id": np.array(NAMES), "split": np.array(SPLITS),
                "is_duplicate": np.zeros(len(NAMES), bool)}  # fmt: skip

    def strange(arrays):
        return {"clip_id": np.array([f"x_{name}" for name in arrays["clip_id"]])}

    documented(folder / "more.npz", known)
    documented(folder / "lite.npz", strange)
    amass(folder / "07" / "walk_fast_01_poses.npz")
    return folder


def test_a_folder_holds_documented_files_beside_others(folder):
    entries = {entry.name: entry for entry in list_motions(folder)}
    assert {"m2m_pushup", "x_c_salsa", "07/walk_fast_01_poses"} <= set(entries)
    clip = read_motion(entries["m2m_pushup"])  # in its own file, not the other's
    pose = np.load(folder / "more.npz")["pose"]
    start = int(np.load(folder / "more.npz")["start"][NAMES.index("m2m_pushup")])
    expected = roma.rotvec_to_rotmat(torch.from_numpy(pose[start].astype(float)))
    assert np.abs(clip.rotmats[0] - expected.numpy()).max() < 1e-5


def test_only_people_whom_no_network_has_seen_are_counted(folder):
    items = open_mocap(folder, "test", levels=("easy",)).items()
    parts = {item.sequence: item.part for item in items}
    known = {name: part for name, part in parts.items() if name in NAMES}
    assert known["m2m_jumping_jacks"] == NEW and known["cmu_11_01_daz"] == SEEN
    assert known["cmu_60_01"] == NEW  # a salsa
    assert not {"cmu_01_05_asf", "cmu_02_01", "more_training"} & set(known)
    assert {part for name, part in parts.items() if name not in NAMES} <= {"unlisted"}
    assert "x_g_train" not in parts  # nobody's list, but its file calls it training
    dev = {item.sequence for item in open_mocap(folder, "dev", levels=("easy",)).items()}
    assert "cmu_03_02" in dev and not dev & set(parts)
    assert "cmu9" in open_mocap(folder).limits and "cmu60+61, " in open_mocap(folder).limits
    assert "cmu1, " not in open_mocap(folder, "all").limits


def test_an_animation_gives_one_window_and_a_person_two(folder):
    windows = Counter(w.entry.name for w in open_mocap(folder, "all").windows())
    assert windows["m2m_pushup"] == windows["m2m_jumping_jacks"] == 1
    assert windows["cmu_09_12_mb"] == 2
    (cut,) = {w.start for w in open_mocap(folder, "dev").windows() if w.entry.name == "cmu_03_02"}
    assert cut >= 13  # its first frames are a T-pose


def test_nobody_gives_more_than_two_windows_of_an_action(tmp_path):
    for i in range(5):
        amass(tmp_path / "someone" / f"walk_{i}_poses.npz")
    windows = open_mocap(tmp_path, "all").windows()
    assert len(windows) == 2 and len({w.entry.name for w in windows}) == 2


def test_a_limb_that_is_gone_is_never_seen_and_all_else_is_easy(folder):
    benchmark = open_mocap(folder, "all", levels=("easy", "gone"))
    limbs = set()
    items = {item.name: item for item in benchmark.items()}
    for name, item in items.items():
        if item.level != "gone":
            continue
        gone, easy = benchmark.load(item), benchmark.load(items[name.replace("-gone", "-easy")])
        seen = gone.track.keypoints.conf > 0
        missing = ~seen.any(0)
        assert 2 <= int(missing.sum()) < 12
        assert gone.truth.occluded[:, missing[LIMBS]].all()
        both = seen & (easy.track.keypoints.conf > 0)
        assert both.float().mean() > 0.5
        off = (gone.track.keypoints.xy - easy.track.keypoints.xy)[both].abs()
        assert float(off.quantile(0.9)) < 1e-3
        limbs.add(tuple(np.flatnonzero(missing.numpy())))
    assert len(limbs) >= 3


def test_the_first_form_has_no_such_level(folder):
    with pytest.raises(Exception, match="unknown level 'gone'"):
        open_mocap(folder, levels=("gone",), name="mocap-v1")
    assert replace(open_mocap(folder), name="mocap-v1").protocol.startswith("mocap12:")
    assert open_mocap(folder).protocol.startswith("mocap12-v2:")
    levels = {item.level for item in open_mocap(folder, "all").items()}
    assert levels == {"medium", "gone"}  # by default; the first form's three stay
    assert {i.level for i in open_mocap(folder, "all", name="mocap-v1").items()} == {
        "easy", "medium", "hard"}  # fmt: skip
