"""The benchmark on motion capture: files, windows, cameras, the virtual detector."""

from __future__ import annotations

import json
import pickle
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from small_motions import amass, bvh, walk

from semtta.bench.mocap import MocapBenchmark, open_mocap
from semtta.bench.mocap_windows import v1_side
from semtta.bench.motion_labels import spoken_label, wrong_label
from semtta.bench.virtual_detector import LEVELS, detect
from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.geometry import Camera, project
from semtta.motion.bvh import read_bvh
from semtta.motion.motion_files import FPS, list_motions, read_motion
from semtta.skeletons import BODY27, LIMB12, SMPL24
from semtta.tta.result import Motion

LIMBS = BODY27.indices(LIMB12.joints)
V1 = "mocap-v1"
LEGS = LIMB12.indices([f"{s}_{p}" for s in ("left", "right") for p in ("knee", "ankle")])


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # many small operations


@pytest.fixture(scope="module")
def body():
    return load_body()


CLIPS = [  # name, subject, split, text, frames
    ("a_walk", "cmu7", "val", "walk", 100),
    ("b_walk", "cmu7", "val", "Start Walk Stop", 160),
    ("c_salsa", "cmu61", "val", "salsa", 300),
    ("d_salsa", "cmu61", "val", "salsa", 300),
    ("e_jump", "cmuXtest", "val", "jumping\nmore", 200),
    ("f_short", "cmuXtest", "val", "run", 20),
    ("i_ball", "cmuXtest", "val", "kick soccer ball", 130),
    ("j_window", "cmuXtest", "val", "wash windows", 125),
    ("g_train", "cmu2", "train", "walk", 100),
    ("h_again", "cmu61", "val", "salsa", 300),
]


def documented(path, change=None):
    """A small file in the documented layout."""
    lengths = np.array([clip[4] for clip in CLIPS])
    starts = np.concatenate(([0], lengths.cumsum()[:-1]))
    pose = np.concatenate([walk(n, i) for i, n in enumerate(lengths)])
    arrays = {
        "pose": pose.astype(np.float16),
        "trans": np.stack((np.linspace(0, 1, len(pose)), np.ones(len(pose)), 0 * pose[:, 0, 0]), 1),
        "start": starts, "length": lengths,
        "clip_id": np.array([c[0] for c in CLIPS]), "subject": np.array([c[1] for c in CLIPS]),
        "split": np.array([c[2] for c in CLIPS]), "texts": np.array([c[3] for c in CLIPS]),
        "source": np.array(["cmu/test"] * len(CLIPS)),
        "is_duplicate": np.array([c[0] == "h_again" for c in CLIPS]),
    }  # fmt: skip
    arrays |= change(arrays) if change else {}
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    return documented(tmp_path_factory.mktemp("mocap") / "motions.npz")


@pytest.fixture(scope="module")
def test_split(motions):
    return open_mocap(motions, name=V1)


def sample(benchmark, name):
    return benchmark.load({item.name: item for item in benchmark.items()}[name])


# Windows, splits, names ---------------------------------------------------------------------------


def test_windows_are_disjoint_by_subject_and_in_time(motions):
    dev, test = (open_mocap(motions, split, name=V1).windows() for split in ("dev", "test"))
    assert {w.entry.name for w in dev} == {"a_walk", "b_walk"}
    # too short, training, repeated: out; salsa takes one window of each clip, the jump two
    expected = {"c_salsa": 1, "d_salsa": 1, "e_jump": 2, "i_ball": 2, "j_window": 2}
    assert Counter(w.entry.name for w in test) == expected
    assert not {w.entry.subject for w in dev} & {w.entry.subject for w in test}
    for first, second in zip(test, test[1:]):
        if first.entry == second.entry:
            assert first.start + first.frames <= second.start
    assert all(0 <= w.start and w.start + w.frames <= w.entry.frames for w in dev + test)
    everything = open_mocap(motions, "all", name=V1).windows()
    assert len({w.name for w in everything}) == len(everything) >= len(dev) + len(test)


def test_every_subject_belongs_to_one_split_for_good():
    known = {"cmu3": "dev", "cmu7": "dev", "cmu131": "dev", "cmuXtrain": "dev", "cmu61": "test",
             "cmuXtest": "test"}  # fmt: skip
    assert {subject: v1_side(subject) for subject in known} == known
    shares = Counter(v1_side(f"folder/{i}") for i in range(300))
    assert 60 < shares["dev"] < 140


def test_items_have_a_fixed_order_and_group_all_motion_of_one_performer(test_split):
    items = test_split.items()
    assert len(items) == 8 * 3 * 3 and len({i.name for i in items}) == len(items)
    assert items == test_split.items() == pickle.loads(pickle.dumps(test_split)).items()
    assert {i.group for i in items} == {"cmu61", "cmuXtest"}
    assert len({i.sequence for i in items}) == 5
    assert [i.level for i in items[:3]] == ["easy", "medium", "hard"]
    labels = {"salsa dance", "jump", "kick a soccer ball", "wash a window"}
    assert {i.label for i in items} == labels


def test_labels_are_what_a_person_would_write():
    assert spoken_label("Start Walk Stop") == "walk"
    assert spoken_label("basketball - dribble, shoot") == "dribble a basketball"
    assert spoken_label("carry_a Box") == "carry a box"
    assert spoken_label("07_01") is None and spoken_label("") is None


@pytest.mark.parametrize(
    "label, near",
    [("walk", ("walk",)), ("salsa dance", ("walk",)), ("dribble a basketball", ("throw", "walk")),
     ("sit down", ("sit",)), ("do push-ups", ("push", "crawl", "lie"))],
)  # fmt: skip
def test_wrong_labels_are_far_off_and_vary(label, near):
    wrong = [wrong_label(label, f"item{i}") for i in range(60)]
    assert len(set(wrong)) >= 3
    assert not any(w.startswith(n) for w in wrong for n in near)
    assert wrong == [wrong_label(label, f"item{i}") for i in range(60)]


# Truth and evidence -------------------------------------------------------------------------------


def test_a_perfect_motion_scores_zero_and_a_wrong_one_does_not(test_split, body):
    loaded = sample(test_split, "e_jump-w2-cam2-medium")
    truth, frames = loaded.truth, len(loaded.track)
    betas = truth.betas.expand(frames, 10)
    zeros = torch.zeros(frames, 3)
    perfect = Motion(truth.rotmats, betas, zeros, zeros, loaded.track.keypoints.xy, zeros)
    score = truth.score(perfect, body)
    assert score["frames"] == frames and score["occluded"] == int(truth.occluded.sum()) > 0
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "accel_mm", "mpjpe_occluded_mm"):
        assert score[key] < 0.02, key
    bent = truth.rotmats.clone()
    knee = SMPL24.index("left_knee")
    bent[:, knee] = bent[:, knee] @ roma.rotvec_to_rotmat(torch.tensor([0.5, 0.0, 0.0]))
    worse = truth.score(replace(perfect, rotmats=bent), body)
    assert worse["mpjpe_mm"] > 5 and worse["pa_mpjpe_mm"] > 2


def test_evidence_truth_and_camera_fit_together(test_split):
    for item in test_split.items():
        if item.level != "easy":
            continue
        loaded = test_split.load(item)
        center = torch.tensor(loaded.camera.center)
        true = project(loaded.truth.joints, loaded.camera.focal, center)
        seen = loaded.track.keypoints.conf[:, LIMBS] > 0
        extent = (true.amax(1) - true.amin(1)).amax(-1)[:, None]
        error = ((loaded.track.keypoints.xy[:, LIMBS] - true).norm(dim=-1) / extent)[seen]
        assert seen.float().mean() > 0.95 and error.median() < 0.03
        assert (true > 0).all() and (true < torch.tensor([1920.0, 1080.0])).all()
        assert 2.0 < float(loaded.truth.joints[..., 2].mean()) < 12
        inside = loaded.track.boxes[:, None, :2] - 2 <= loaded.track.keypoints.xy[:, LIMBS]
        assert inside.float().mean() > 0.95
        assert loaded.labels == [item.label] * len(loaded.track)


def test_three_cameras_stand_around_the_person(test_split):
    facing = []
    for camera in (1, 2, 3):
        rotmats = sample(test_split, f"c_salsa-w1-cam{camera}-easy").truth.rotmats
        forward = rotmats[0, 0, :, 2]
        facing.append(float(torch.rad2deg(torch.atan2(forward[0], forward[2]))))
    gaps = [abs((a - b + 180) % 360 - 180) for a, b in zip(facing, facing[1:] + facing[:1])]
    assert min(gaps) > 50


def test_an_item_is_decided_by_its_name_alone(motions, test_split):
    name = "d_salsa-w1-cam3-hard"
    first = sample(test_split, name)
    sample(test_split, "e_jump-w1-cam1-easy")
    torch.manual_seed(123)
    other = MocapBenchmark(motions, "test", cameras=3, levels=("hard",), name=V1)
    second = sample(other, name)
    assert torch.equal(first.track.keypoints.xy, second.track.keypoints.xy)
    assert torch.equal(first.track.landmarks3d, second.track.landmarks3d)
    assert torch.equal(first.truth.joints, second.truth.joints)
    assert first.wrong_label == second.wrong_label
    third = sample(test_split, "d_salsa-w1-cam2-hard")
    assert not torch.equal(first.track.keypoints.xy, third.track.keypoints.xy)
    # levels see the same scene
    easy = sample(test_split, "d_salsa-w1-cam3-easy")
    assert torch.equal(first.truth.joints, easy.truth.joints) and first.camera == easy.camera


def test_levels_order_errors_and_missing_shares(test_split):
    error, missing, depth = {}, {}, {}
    for item in [item for item in test_split.items() if "-w1-" in item.name]:
        loaded = test_split.load(item)
        true = project(loaded.truth.joints, loaded.camera.focal, torch.tensor(loaded.camera.center))
        seen = loaded.track.keypoints.conf[:, LIMBS] > 0
        off = (loaded.track.keypoints.xy[:, LIMBS] - true).norm(dim=-1)[seen]
        error.setdefault(item.level, []).append(float(off.quantile(0.9)))
        missing.setdefault(item.level, []).append(1 - float(seen.float().mean()))
        hips = [6, 7]
        space = loaded.track.landmarks3d[:, LIMBS]
        joints = loaded.truth.joints - loaded.truth.joints[:, hips].mean(1, keepdim=True)
        depth.setdefault(item.level, []).append(float((space - joints).norm(dim=-1)[seen].mean()))
        hidden = loaded.track.keypoints.conf[:, LIMBS] == 0
        assert (loaded.truth.occluded | ~hidden).all()  # what is missing counts as occluded
        assert (loaded.track.conf3d[loaded.track.keypoints.conf == 0] == 0).all()
    for values in (error, missing, depth):
        means = [float(np.mean(values[level.name])) for level in LEVELS]
        assert means[0] < means[1] < means[2]
    assert np.mean(missing["easy"]) < 0.02 and 0.08 < np.mean(missing["medium"]) < 0.35


def looks(body, level, count=24, frames=75):
    """Detections of a person who walks on the spot, from different seeds."""
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(walk(frames)).float())
    rotmats[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    points = body.landmarks(rotmats, torch.zeros(10), BODY27) + torch.tensor([0.2, 0.0, 4.0])
    camera, times = Camera(1400.0, (959.5, 539.5)), torch.arange(frames).double() / FPS
    return [
        detect(points, times, camera, (1920, 1080), level, torch.Generator().manual_seed(i))
        for i in range(count)
    ]


@pytest.mark.parametrize("level", [level for level in LEVELS if level.covered[1] > 0])
def test_the_occluder_hides_the_legs_for_the_stated_share(body, level):
    shares = []
    for seen in looks(body, replace(level, truncated=0.0)):
        legs = seen.covered[:, LIMBS][:, LEGS].float()
        shares.append(float(legs.mean()))
    low, high = level.covered
    assert low - 0.06 < np.mean(shares) < high + 0.06
    assert min(shares) > 0.6 * low and max(shares) < 1.4 * high


def test_without_an_occluder_nothing_is_covered(body):
    assert not any(seen.covered.any() for seen in looks(body, LEVELS[0], 6))


def test_truncation_takes_everything_below_the_edge(body):
    level = replace(LEVELS[1], truncated=1.0, cut=(0.4, 0.6), guess=0.0)
    for seen in looks(body, level, 6):
        conf = seen.track.keypoints.conf
        ankles = BODY27.indices(["left_ankle", "right_ankle", "left_heel", "right_heel"])
        assert (conf[:, ankles] == 0).all() and seen.hidden[:, ankles].all()
        bottom = seen.track.boxes[:, 3].max()
        assert (seen.track.keypoints.xy[..., 1][conf > 0] <= bottom + 25).all()
        assert bottom < 1080 - 100


def test_some_hidden_legs_are_invented_inside_the_picture(body):
    for truncated in (0.0, 1.0):
        level = replace(LEVELS[1], truncated=truncated, guess=0.5)
        hidden = invented = 0
        for seen in looks(body, level):
            legs = LIMBS[8:]
            hidden += int(seen.covered[:, legs].sum())
            said = seen.covered & (seen.track.keypoints.conf > 0)
            invented += int(said[:, legs].sum())
            assert (seen.hidden | ~seen.covered).all()  # invented joints count as hidden
            if truncated:
                bottom = seen.track.boxes[:, 3].max()
                assert (seen.track.keypoints.xy[..., 1][said] < bottom + 25).all()
        assert 0.1 < invented / hidden < 0.5


def test_the_gate_leaves_no_flicker_and_feet_follow_the_ankle(body):
    for seen in looks(body, LEVELS[2], 8):
        state = (seen.track.keypoints.conf > 0).numpy()
        for j in [*LIMBS, BODY27.index("nose")]:
            changes = np.flatnonzero(np.diff(state[:, j].astype(int)))
            assert len(changes) < 2 or np.diff(changes).min() >= 3
        for side in ("left", "right"):
            ankle, heel = BODY27.indices([f"{side}_ankle", f"{side}_heel"])
            assert not (state[:, heel] & ~state[:, ankle]).any()


def test_loading_is_quick_after_the_file_is_read(test_split):
    items = test_split.items()
    test_split.load(items[0])
    start = time.process_time()
    for item in items[:12]:
        test_split.load(item)
    assert (time.process_time() - start) / 12 < 0.1


# Files --------------------------------------------------------------------------------------------


def test_the_documented_file_keeps_poses(motions):
    entries = {entry.name: entry for entry in list_motions(motions)}
    assert "h_again" not in entries and entries["e_jump"].text == "jumping"
    clip = read_motion(entries["b_walk"])
    expected = roma.rotvec_to_rotmat(torch.from_numpy(walk(160, 1.0).astype(np.float16)).double())
    assert np.abs(clip.rotmats - expected.numpy()).max() < 1e-5
    assert clip.label is None and clip.text == "Start Walk Stop"


def test_an_amass_folder_is_read_y_up_at_30_fps_with_its_labels(tmp_path):
    for name in ("07/walk_fast_01_poses", "07/b_poses", "08/07_01_poses"):
        amass(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "07" / "shape.npz", betas=np.zeros(10))
    (tmp_path / "labels.json").write_text(json.dumps({"07/b_poses": "throw a ball"}))
    entries = {entry.name: entry for entry in list_motions(tmp_path)}
    assert set(entries) == {"07/walk_fast_01_poses", "07/b_poses", "08/07_01_poses"}
    assert entries["07/b_poses"].text == "throw a ball" and entries["07/b_poses"].subject == "07"
    assert entries["07/walk_fast_01_poses"].text == "walk fast"
    assert spoken_label(entries["08/07_01_poses"].text) is None
    clip = read_motion(entries["07/b_poses"])
    assert len(clip) == entries["07/b_poses"].frames == 60
    assert np.abs(clip.rotmats[:, 0] - np.eye(3)).max() < 1e-5  # upright, facing +z
    expected = roma.rotvec_to_rotmat(torch.from_numpy(walk(60)))[:, 1:22]
    assert np.abs(clip.rotmats[:, 1:22] - expected.numpy()).max() < 1e-5
    assert np.abs(clip.rotmats[:, 22:] - np.eye(3)).max() < 1e-6
    assert np.allclose(clip.trans[:, 1], 0.9) and clip.trans[-1, 2] > 1.9  # walked forwards
    benchmark = open_mocap(tmp_path, "all", levels=("easy",), cameras=1)
    assert len(benchmark.items()) == 3 and all("/" not in i.name for i in benchmark.items())
    assert benchmark.load(benchmark.items()[0]).track.frames.shape == (60,)


def test_a_text_beside_a_file_is_its_label(tmp_path):
    amass(tmp_path / "s" / "x1.npz")
    (tmp_path / "s" / "x1.txt").write_text("a man hops#a/DET man/NOUN\nother\n")
    assert list_motions(tmp_path)[0].text == "a man hops"


def test_bvh_joints_turn_as_smpl_joints_do(tmp_path, body):
    path = bvh(tmp_path / "walk_1.bvh", {"LeftUpLeg": (0, -15, 0), "RightForeArm": (0, 0, 20)})
    rotmats, trans, fps = read_bvh(path)
    assert rotmats.shape == (40, 24, 3, 3) and fps == pytest.approx(30, rel=1e-3)
    joints = body.joints(torch.from_numpy(rotmats[-1]), torch.zeros(10))
    rest = body.joints(torch.eye(3).expand(24, 3, 3), torch.zeros(10))
    hip, ankle = SMPL24.indices(["left_hip", "left_ankle"])
    assert joints[ankle, 2] - joints[hip, 2] > 0.15  # swung forwards
    wrist, elbow = SMPL24.indices(["right_wrist", "right_elbow"])
    assert joints[wrist, 2] - joints[elbow, 2] > 0.05  # the right forearm turns to the front
    assert (joints - rest)[SMPL24.index("right_ankle")].norm() < 0.12
    assert trans[-1, 2] - trans[0, 2] > 0.9 and abs(trans[-1, 0]) < 1e-6
    entry = list_motions(tmp_path)[0]
    assert entry.text == "walk" and entry.frames == 40 and len(read_motion(entry)) == 40


def test_bvh_with_another_axis_up_or_hanging_arms_is_the_same_motion(tmp_path, body):
    upright, _, _ = read_bvh(bvh(tmp_path / "y.bvh", {}))
    lying, trans, _ = read_bvh(bvh(tmp_path / "z.bvh", {}, z_up=True))
    assert np.abs(upright - lying).max() < 1e-5 and trans[-1, 2] > 0.9
    hanging = {f"{s}{p}": (0, -25, 0) for s in ("Left", "Right") for p in ("ForeArm", "Hand")}
    rotmats, _, _ = read_bvh(bvh(tmp_path / "hang.bvh", {}, offsets=hanging))
    joints = body.joints(torch.from_numpy(rotmats[0]), torch.zeros(10))
    shoulder, wrist = SMPL24.indices(["left_shoulder", "left_wrist"])
    arm = joints[wrist] - joints[shoulder]
    assert arm[1] / arm.norm() < -0.99  # the zero pose has the arms down, and so has the body


def test_bvh_starting_with_a_t_pose_drops_it(tmp_path):
    path = bvh(tmp_path / "t.bvh", {"LeftArm": (-80, 0, 0)})
    assert len(read_bvh(path)[0]) == 39  # half-way in frame 0, all the way in frame 1


# Hostile input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda a: {"length": a["length"] + 5000}, "do not fit"),
        (lambda a: {"pose": a["pose"][:, :20]}, "do not fit"),
        (lambda a: {"texts": a["texts"][:2]}, "do not fit"),
        (lambda a: {"start": a["start"] - 10}, "do not fit"),
    ],
)
def test_inconsistent_files_are_refused(tmp_path, change, says):
    path = documented(tmp_path / "m.npz", change)
    with pytest.raises(SemttaError, match=says):
        open_mocap(path)


def test_broken_files_end_in_one_sentence(tmp_path):
    with pytest.raises(SemttaError, match="no motion file"):
        open_mocap(tmp_path / "absent.npz")
    with pytest.raises(SemttaError, match="holds no motion"):
        open_mocap(tmp_path)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(SemttaError, match="cut.npz' cannot be read: File is not a zip file"):
        open_mocap(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").unlink()
    nan = documented(tmp_path / "nan.npz", lambda a: {"pose": a["pose"] * np.float16("nan")})
    benchmark = open_mocap(nan)
    with pytest.raises(SemttaError, match="NaN"):
        benchmark.load(benchmark.items()[0])
    amass(tmp_path / "x" / "a.npz", mocap_framerate=np.array(0.0))
    with pytest.raises(SemttaError, match="framerate"):
        list_motions(tmp_path / "x")
    amass(tmp_path / "y" / "a.npz", trans=np.zeros((3, 3)))
    entry = list_motions(tmp_path / "y")[0]
    with pytest.raises(SemttaError, match="translations"):
        read_motion(entry)
    amass(tmp_path / "z" / "a.npz")
    (tmp_path / "z" / "labels.json").write_text("[1, 2")
    with pytest.raises(SemttaError, match="labels.json"):
        list_motions(tmp_path / "z")


@pytest.mark.parametrize("trans", [np.full((240, 3), 1e6), 50 * np.arange(720.0).reshape(240, 3)])
def test_translations_that_are_no_metres_are_refused(tmp_path, trans):
    """Far away, single precision leaves nothing of the person; the camera cannot follow."""
    amass(tmp_path / "walk_poses.npz", trans=trans)
    benchmark = open_mocap(tmp_path, "all")
    with pytest.raises(SemttaError, match="translations must be in metres"):
        benchmark.load(benchmark.items()[0])


def test_broken_bvh_files_end_in_one_sentence(tmp_path):
    whole = bvh(tmp_path / "a.bvh", {}).read_text()
    cases = {
        "announces": whole[: len(whole) - 400],
        "frames and a frame time": whole.replace("Frame Time", "Time"),
        "hierarchy": whole.replace("JOINT Spine\n", "BONE Spine\n"),
        "complete": whole.replace("ROOT", "JOINT", 1).replace("HIERARCHY", ""),
        "is called like": whole.replace("LeftUpLeg", "Bone17"),
        "numbers": whole.replace("0.0000", "nan", 1),
    }
    for says, text in cases.items():
        path = tmp_path / "broken.bvh"
        path.write_text(text)
        with pytest.raises(SemttaError, match=says):
            read_bvh(path)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "broken.bvh").write_bytes(b"\x00\xff" * 50)
    with pytest.raises(SemttaError, match="broken.bvh"):
        list_motions(tmp_path / "alone")


def test_unknown_choices_are_refused(motions):
    with pytest.raises(SemttaError, match="unknown level 'brutal'"):
        open_mocap(motions, levels=("brutal",))
    with pytest.raises(SemttaError, match="unknown split 'val'"):
        open_mocap(motions, "val")
    with pytest.raises(SemttaError, match="at least"):
        open_mocap(motions, frames=5)
    benchmark = open_mocap(motions)
    with pytest.raises(SemttaError, match="no item"):
        benchmark.load(replace(benchmark.items()[0], name="x-w1-cam1-easy"))
