"""Protocols on synthetic truth against numbers computed by hand."""

import math

import numpy as np
import pytest
import roma
import small_sets as sets
import torch

from semtta.bench.datasets import open_dataset
from semtta.bench.datasets.recording import BodyTruth
from semtta.bench.datasets.truth import TrackTruth
from semtta.bench.protocols import DEFAULT_PROTOCOLS, J19, LSP14, MPI17, PROTOCOLS, get_protocol
from semtta.body import load_body
from semtta.body.regressor import H36M17
from semtta.errors import SemttaError
from semtta.skeletons import SMPL24


@pytest.fixture
def bodies(tmp_path):
    return sets.write_bodies(tmp_path / "bodies")


@pytest.fixture
def neutral(bodies):
    return load_body("smpl", search=bodies)


def truth_of(name, bodies, pose, gender="male", betas=None, frames=None):
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(pose).view(-1, 24, 3)).float()
    betas = torch.zeros(len(pose), 10) if betas is None else betas
    frames = torch.arange(len(pose)) if frames is None else frames
    body = BodyTruth(rotmats, betas, gender)
    return TrackTruth(PROTOCOLS[name], body, frames, 30.0, bodies)


WITH_BODY = [p.name for p in PROTOCOLS.values() if not p.annotated]
# the synthetic body's joint under each name
ON_BODY = {
    "h36m": dict(zip(H36M17.joints, sets.H36M_ROWS)),
    "j19": dict(zip(J19.joints, sets.J19_ROWS)),
    "smpl24": {name: name for name in SMPL24.joints},
}


# --- the tables ---------------------------------------------------------------------------


def test_joints_are_those_of_the_official_index_lists():
    spin = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]
    assert H36M17.indices(LSP14) == spin == H36M17.indices(PROTOCOLS["spin14"].joints)
    assert H36M17.indices(PROTOCOLS["3dhp17"].joints) == [*spin, 0, 7, 9]
    assert LSP14.index("right_hip") == 2 and LSP14.index("left_hip") == 3  # VIBE's pelvis
    hmr2 = PROTOCOLS["hmr2_14"]
    assert [25 + i for i in J19.indices(hmr2.joints)] == [*range(25, 38), 43]
    assert [25 + i for i in J19.indices(hmr2.roots)] == [39]
    assert SMPL24.indices(PROTOCOLS["emdb24"].roots) == [1, 2]
    # SPIN's reordering of the raw annotation ends in the pairing with H36M that it compares
    joints17 = [14, 11, 12, 13, 8, 9, 10, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]
    slots = [14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6]
    compared = [*range(13), 18, 14, 16, 17]
    raw = [joints17[slots.index(slot)] for slot in compared]
    assert raw == MPI17.indices(PROTOCOLS["3dhp17"].joints)


def test_every_protocol_is_complete():
    for protocol in PROTOCOLS.values():
        count = int(protocol.name.split("_")[0][-2:]) if protocol.name != "hmr2_14" else 14
        assert len(protocol.joints) == len(set(protocol.joints)) == count
        assert protocol.describe().startswith(f"{protocol.name}: {count} joints")
        known = ON_BODY[protocol.regressor]
        assert set(protocol.joints) | set(protocol.roots) <= set(known)
    assert {PROTOCOLS[name].data: name for name in DEFAULT_PROTOCOLS.values()} == DEFAULT_PROTOCOLS
    assert get_protocol(None, "3dpw").name == "spin14"
    with pytest.raises(SemttaError, match="'3dpw' has no protocol 'ego24'; use spin14"):
        get_protocol("ego24", "3dpw")


def test_a_protocol_says_in_words_what_it_measures():
    assert PROTOCOLS["vibe14"].describe() == (
        "vibe14: 14 joints (H36M regressor), root = mean of right hip and left hip, truth = "
        "neutral SMPL, frames: seven_limb_joints, box = extent of the set's 2D joints x 1.2; as "
        "VIBE. Not reproduced: its boxes smoothed over time (1.1 x the diagonal), and chunks of "
        "16 frames."
    )
    assert PROTOCOLS["3dhp17"].describe() == (
        "3dhp17: 17 joints (H36M regressor), root = pelvis, truth = field annot3, frames: "
        "valid_frame and all_joints_in_image, box = extent of the 17 joints of annot2 x 1.2; as "
        "BOA, DynaBOA."
    )
    meshes = {name: protocol.mesh for name, protocol in PROTOCOLS.items()}
    assert meshes.pop("vibe14") == "unaligned" and meshes.pop("official24") is None
    assert {name for name, mesh in meshes.items() if mesh is None} == {
        "3dhp17", "3dhp17_univ", "3dhp14", "3dhp14_univ"
    }  # fmt: skip
    splits = {name: protocol.splits for name, protocol in PROTOCOLS.items()}
    assert splits.pop("emdb24") == ("emdb1",)
    assert splits.pop("official24") == ("train", "validation", "test")
    assert set(splits.values()) == {("test",)}


# --- numbers by hand ----------------------------------------------------------------------


def test_only_wham_leaves_out_the_ends_of_a_track():
    assert [name for name, protocol in PROTOCOLS.items() if protocol.drop_ends] == ["wham14"]


@pytest.mark.parametrize("name", WITH_BODY)
def test_the_truth_itself_has_no_error(name, bodies, neutral):
    pose = sets.poses(6)
    numbers = truth_of(name, bodies, pose).score(sets.motion(pose), neutral)
    assert numbers["frames"] == 6
    assert numbers["range_percent"] == numbers["range_least_percent"] == 100
    others = ("frames", "range_percent", "range_least_percent")
    errors = {key: value for key, value in numbers.items() if key not in others}
    assert max(errors.values()) < 0.01 and {"mpjpe_mm", "pa_mpjpe_mm", "accel_mm"} <= set(errors)
    assert ("mpvpe_mm" in numbers) == (PROTOCOLS[name].mesh is not None)
    assert ("accel_m_s2" in numbers) == PROTOCOLS[name].per_second


@pytest.mark.parametrize("name", WITH_BODY)
def test_gendered_truth_and_the_root(name, bodies, neutral):
    """The female body is 0.9 times the neutral one: the error is a tenth of the mean distance
    from the root, and nothing where the truth is neutral."""
    protocol, pose = PROTOCOLS[name], np.zeros((3, 72))
    numbers = truth_of(name, bodies, pose, "female").score(sets.motion(pose), neutral)
    on_body = ON_BODY[protocol.regressor]
    place = {joint: sets.REST[SMPL24.index(on_body[joint])] for joint in on_body}
    root = np.mean([place[joint] for joint in protocol.roots], 0)
    expected = 100 * np.mean([np.linalg.norm(place[j] - root) for j in protocol.joints])
    expected = 0.0 if protocol.truth == "neutral" else expected
    assert numbers["mpjpe_mm"] == pytest.approx(expected, abs=0.01)
    assert numbers["pa_mpjpe_mm"] < 0.01
    if protocol.mesh == "root":
        vertices = neutral.v_template.numpy()
        by_hand = 100 * np.linalg.norm(vertices - root, axis=1).mean()
        assert numbers["mpvpe_mm"] == pytest.approx(by_hand, abs=0.02)


def test_protocols_differ_by_their_root(bodies, neutral):
    """Same joints, same bodies; only the pelvis against the middle of the hips."""
    pose = np.zeros((2, 72))
    spin, wham = (
        truth_of(name, bodies, pose, "female").score(sets.motion(pose), neutral)
        for name in ("spin14", "wham14")
    )
    assert abs(spin["mpjpe_mm"] - wham["mpjpe_mm"]) > 0.1


@pytest.mark.parametrize("name", ["spin14", "wham14", "hmr2_14", "ego24", "emdb24"])
def test_one_joint_off_by_a_known_distance(name, bodies, neutral):
    protocol, angle = PROTOCOLS[name], 0.7
    pose = sets.poses(4)
    pose[:, 3 * SMPL24.index("left_wrist") :][:, :3] = 0  # the hand straight on the forearm
    wrong = pose.copy()
    elbow = SMPL24.index("left_elbow")
    bent = roma.rotvec_to_rotmat(torch.from_numpy(pose[:, 3 * elbow : 3 * elbow + 3]))
    bent = bent @ roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, angle], dtype=torch.float64))
    wrong[:, 3 * elbow : 3 * elbow + 3] = roma.rotmat_to_rotvec(bent)
    numbers = truth_of(name, bodies, pose).score(sets.motion(wrong), neutral)
    moved = 0.0
    for joint in ("left_wrist", "left_hand"):
        if joint in protocol.joints:
            bone = sets.REST[SMPL24.index(joint)] - sets.REST[elbow]
            moved += 2 * np.hypot(*bone[:2]) * math.sin(angle / 2)
    assert numbers["mpjpe_mm"] == pytest.approx(1000 * moved / len(protocol.joints), abs=0.01)
    # alignment spreads the error but cannot raise its root mean square
    assert 0 < numbers["pa_mpjpe_mm"] < 1000 * moved / len(protocol.joints) ** 0.5


def test_unaligned_mesh_is_moved_by_the_shape_and_the_aligned_one_is_not(bodies, neutral):
    pose = sets.poses(3)
    pose[:, :3] = 0  # beta 0 moves along x before the body turns
    prediction = sets.motion(pose, betas=[1.0] + [0.0] * 9)
    unaligned = truth_of("vibe14", bodies, pose).score(prediction, neutral)
    assert unaligned["mpvpe_mm"] == pytest.approx(1000 * sets.BETA_SHIFT, abs=0.01)
    assert unaligned["mpjpe_mm"] < 0.01
    for name in ("spin14", "wham14", "ego24"):
        assert truth_of(name, bodies, pose).score(prediction, neutral)["mpvpe_mm"] < 0.01


def test_exchanged_sides_are_an_error(bodies, neutral):
    pose = np.zeros((3, 72))
    pose[:, 3 * SMPL24.index("left_knee")] = 1.2  # bent
    other = np.zeros((3, 72))
    other[:, 3 * SMPL24.index("right_knee")] = 1.2
    for name in WITH_BODY:
        numbers = truth_of(name, bodies, pose).score(sets.motion(other), neutral)
        assert numbers["mpjpe_mm"] > 10 and numbers["pa_mpjpe_mm"] > 10


@pytest.mark.parametrize("name", ["spin14", "vibe14"])
def test_regressor_files_of_either_leg_order_give_the_same_numbers(name, tmp_path):
    pose, wrong = sets.poses(4, 1), sets.poses(4, 2)
    scores = []
    for first in ("left", "right"):
        folder = sets.write_bodies(tmp_path / first, first)
        neutral = load_body("smpl", search=folder)
        scores.append(truth_of(name, folder, pose, "female").score(sets.motion(wrong), neutral))
    for key, value in scores[0].items():
        assert scores[1][key] == pytest.approx(value, abs=1e-3), key


@pytest.mark.parametrize("kind", ["h36m", "j19"])
def test_mirrored_regressors_are_refused(kind, tmp_path):
    folder = sets.write_bodies(tmp_path / "bodies")
    if kind == "h36m":
        rows = [name.replace("left", "L").replace("right", "left").replace("L", "right")
                if "shoulder" in name or "elbow" in name or "wrist" in name else name
                for name in sets.H36M_ROWS]  # fmt: skip
        np.save(folder / "J_regressor_h36m.npy", sets.rows_on(rows))
    else:
        rows = sets.J19_ROWS[5::-1] + sets.J19_ROWS[6:]
        sets.write_pickle(folder / "SMPL_to_J19.pkl", sets.rows_on(rows))
    name = {"h36m": "spin14", "j19": "hmr2_14"}[kind]
    pose = sets.poses(2)
    with pytest.raises(SemttaError, match="right side of body"):
        truth_of(name, folder, pose).score(sets.motion(pose), load_body("smpl", search=folder))


def test_accelerations_per_second_without_ends_and_across_no_gap(bodies, neutral):
    still, count = np.zeros((7, 72)), 7
    prediction = sets.motion(still)
    shaken = still.copy()
    shaken[3, 3 * SMPL24.index("left_elbow") + 2] = 0.5
    shift = 2 * np.hypot(*(sets.REST[20] - sets.REST[18])[:2]) * math.sin(0.25)
    hand = 2 * np.hypot(*(sets.REST[22] - sets.REST[18])[:2]) * math.sin(0.25)
    truth = truth_of("wham14", bodies, shaken)
    numbers = truth.score(prediction, neutral)
    # second differences 1, -2, 1 in the three triples around frame 3; 5 triples, 3 kept
    per_frame = 1000 * shift * (1 + 2 + 1) / 14 / 3
    assert numbers["accel_mm"] == pytest.approx(per_frame, abs=0.01)
    assert numbers["accel_m_s2"] == pytest.approx(per_frame * 30**2 / 1000, abs=0.01)
    spin = truth_of("spin14", bodies, shaken).score(prediction, neutral)
    assert spin["accel_mm"] == pytest.approx(1000 * shift * 4 / 14 / 5, abs=0.01)
    # frames 0-2 and 10-13: only triples (0, 1, 2), (10, 11, 12), (11, 12, 13) are consecutive
    frames = torch.tensor([0, 1, 2, 10, 11, 12, 13])
    gap = truth_of("ego24", bodies, shaken, frames=frames).score(prediction, neutral)
    assert gap["accel_mm"] == pytest.approx(1000 * (shift + hand) / 24 / 3, abs=0.01)
    assert gap["frames"] == count


def test_long_tracks_are_measured_in_pieces(bodies, neutral):
    pose = sets.poses(150)
    wrong = pose.copy()
    wrong[100:] = sets.poses(50, 8)
    whole = truth_of("spin14", bodies, pose).score(sets.motion(wrong), neutral)
    parts = [truth_of("spin14", bodies, pose[s]).score(sets.motion(wrong[s]), neutral)
             for s in (slice(100), slice(100, 150))]  # fmt: skip
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm"):
        assert whole[key] == pytest.approx((100 * parts[0][key] + 50 * parts[1][key]) / 150)
    assert parts[1]["mpjpe_mm"] > 50


def test_motions_that_cannot_be_measured(bodies, neutral):
    pose = sets.poses(4)
    truth = truth_of("spin14", bodies, pose)
    with pytest.raises(SemttaError, match="measures SMPL joints.*body.name=smpl"):
        truth.score(sets.motion(pose), load_body("cc0"))
    with pytest.raises(SemttaError, match="3 frames does not fit 4"):
        truth.score(sets.motion(pose[:3]), neutral)
    (bodies / "J_regressor_h36m.npy").unlink()
    with pytest.raises(SemttaError, match="spin14 needs J_regressor_h36m.npy"):
        truth.score(sets.motion(pose), neutral)


# --- 3DHP: annotated joints ---------------------------------------------------------------


@pytest.mark.parametrize("legs", ["left", "right"])
def test_3dhp_pairs_its_joints_with_the_regressor_by_name(tmp_path, legs):
    pytest.importorskip("h5py")
    pose = sets.write_3dhp(tmp_path)
    folder = sets.write_bodies(tmp_path / "bodies", legs)
    neutral = load_body("smpl", search=folder)
    joints = neutral.joints(sets.motion(pose).rotmats, torch.zeros(10)).numpy()
    for name in ("3dhp17", "3dhp17_univ", "3dhp14", "3dhp14_univ"):
        bench = open_dataset("3dhp", tmp_path, name, body_models=folder)
        numbers = bench.load(bench.items()[0]).truth.score(sets.motion(pose), neutral)
        expected = 0.0
        if "univ" in name:  # the universal skeleton is 1.1 times as large here
            chosen = [SMPL24.index(ON_BODY["h36m"][j]) for j in PROTOCOLS[name].joints]
            distance = np.linalg.norm(joints[:, chosen] - joints[:, :1], axis=-1)
            expected = 100 * distance.mean()
        assert numbers["mpjpe_mm"] == pytest.approx(expected, abs=0.02), name
        assert numbers["pa_mpjpe_mm"] < 0.02 and "mpvpe_mm" not in numbers


def test_3dhp_notices_exchanged_legs(tmp_path):
    pytest.importorskip("h5py")
    import h5py

    pose = sets.write_3dhp(tmp_path)
    file = tmp_path / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat"
    with h5py.File(file, "a") as content:
        joints = content["annot3"][:]
        joints[:, :, 8:14] = joints[:, :, [11, 12, 13, 8, 9, 10]]
        content["annot3"][:] = joints
    neutral = load_body("smpl", search=tmp_path / "bodies")
    bench = open_dataset("3dhp", tmp_path, body_models=tmp_path / "bodies")
    numbers = bench.load(bench.items()[0]).truth.score(sets.motion(pose), neutral)
    assert numbers["mpjpe_mm"] > 20 and numbers["pa_mpjpe_mm"] > 20
