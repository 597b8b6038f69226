import copy
import json

import numpy as np
import pytest
import roma
import torch
from hostile import hostile
from hypothesis import given
from hypothesis import strategies as st
from test_adapter import CAMERA, adapter, walker
from test_body import synthetic_arrays

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.files import new_folder
from semtta.geometry import nearest_rotvecs
from semtta.output.files import (
    amass_arrays,
    is_result,
    report,
    save_json,
    save_npz,
    track_arrays,
)
from semtta.skeletons import BODY27


@pytest.fixture(scope="module")
def result():
    torch.manual_seed(0)
    return adapter("evidence.fill_from_epoch=0", "gate.sigma=-1").adapt(
        walker(), CAMERA, ["walk"] * 70
    )


def test_the_npz_says_everything_that_the_schema_promises(result, tmp_path):
    from pathlib import Path

    arrays = track_arrays(result, 30.0, load_body())
    schema = (Path(__file__).parents[1] / "docs" / "outputs.md").read_text()
    section = schema.split("## `track-01.npz`")[1].split("## ")[0]
    for key in arrays:
        if not key.startswith("base_"):
            assert f"`{key}`" in section, f"{key} is not documented"
    assert arrays["body_pose"].shape == (70, 69) and arrays["trans"].shape == (70, 3)
    assert (arrays["filled_in_epoch"] > 0).sum() > 0
    path = tmp_path / "t.npz"
    np.savez(path, **arrays)
    with np.load(path, allow_pickle=False) as z:
        assert set(z.files) == set(arrays)


def test_the_stored_motion_projects_to_the_stored_landmarks(result):
    z = track_arrays(result, 30.0, load_body())
    pose = np.concatenate([z["global_orient"], z["body_pose"]], 1).reshape(-1, 24, 3)
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(pose))
    points = load_body().landmarks(rotmats, torch.from_numpy(z["betas"]), BODY27)
    points = points.numpy() + z["trans"][:, None]
    uv = points[..., :2] / points[..., 2:] * z["focal"] + z["center"]
    # The projection guards its depth with 1e-4 m.
    assert np.abs(uv - z["landmarks2d"]).max() < 0.2


def test_the_amass_file_is_upright_and_has_what_blender_and_viewers_ask_for(result):
    body = load_body()
    z = amass_arrays(result, 30.0, body)
    assert {"poses", "trans", "betas", "gender", "mocap_framerate", "mocap_frame_rate"} <= set(z)
    assert z["poses"].shape == (70, 156) and z["betas"].shape == (16,)
    assert z["gender"].item() == "neutral" and int(z["mocap_framerate"]) == 30
    assert np.array_equal(z["poses"][:, 3:66], z["poses_smpl72"][:, 3:66])
    hers = load_body()
    hers.gender = "female"
    assert amass_arrays(result, 30.0, hers)["gender"].item() == "female"
    # y down in the camera becomes z up: the same body, a quarter turn about x.
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(z["poses_smpl72"]).view(-1, 24, 3))
    betas = torch.from_numpy(z["betas"][:10]).expand(70, 10)
    up = body.joints(rotmats, betas) + torch.from_numpy(z["trans"])[:, None]
    pelvis_shift = (
        body.joints(torch.eye(3).expand(70, 24, 3, 3), result.adapted.betas)
        - body.joints(torch.eye(3).expand(70, 24, 3, 3), betas)
    )[:, :1]
    down = body.joints(result.adapted.rotmats, betas) + pelvis_shift
    down = down + result.adapted.trans[:, None]
    wanted = torch.stack((down[..., 0], down[..., 2], -down[..., 1]), -1)
    assert torch.allclose(up, wanted, atol=1e-5) and z["frame"].item() == "z-up"
    pelvis = result.adapted.trans + body.joints(result.adapted.rotmats, result.adapted.betas)[:, 0]
    assert torch.allclose(up[:, 0, 2], -pelvis[:, 1], atol=1e-5)
    assert torch.allclose(up[:, 0, 1], pelvis[:, 2], atol=1e-5)


def test_betas_stand_in_amass_files_only_where_the_body_is_smpl(result, tmp_path):
    assert result.adapted.betas.abs().max() > 0
    assert not amass_arrays(result, 30.0, load_body())["betas"].any()
    np.savez(tmp_path / "mine.npz", **synthetic_arrays())  # with as many vertices as SMPL
    users = load_body(tmp_path / "mine.npz")
    z = amass_arrays(result, 30.0, users)
    betas = result.adapted.betas.median(0).values
    assert np.array_equal(z["betas"], np.concatenate([betas.numpy(), np.zeros(6, np.float32)]))
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(z["poses_smpl72"]).view(-1, 24, 3))
    up = users.joints(rotmats, betas.expand(70, 10))[:, 0] + torch.from_numpy(z["trans"])
    rest = users.joints(result.adapted.rotmats, result.adapted.betas)[:, 0]
    pelvis = result.adapted.trans + rest
    wanted = torch.stack((pelvis[:, 0], pelvis[:, 2], -pelvis[:, 1]), -1)
    assert torch.allclose(up, wanted, atol=1e-4)


def test_a_reader_of_amass_files_sees_the_person_upright(result, tmp_path):
    from semtta.motion.motion_files import list_motions, read_motion
    from semtta.skeletons import SMPL24

    body = load_body()
    save_npz(tmp_path / "a.npz", amass_arrays(result, 30.0, body))
    motion = read_motion(list_motions(tmp_path / "a.npz")[0])
    joints = body.joints(torch.from_numpy(motion.rotmats), torch.zeros(70, 10))
    up = joints[:, SMPL24.index("head")] - joints[:, 0]
    assert (up[:, 1] > 0.8 * up.norm(dim=-1)).all()  # y up, as read_motion promises
    camera = result.adapted.trans + body.joints(result.adapted.rotmats, result.adapted.betas)[:, 0]
    moved = torch.from_numpy(motion.trans) - motion.trans[0]
    wanted = (camera - camera[0]) * torch.tensor([1.0, -1.0, -1.0])
    assert torch.allclose(moved, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(29.97002997, 30), (59.94005994, 60), (23.976, 24), (119.88, 120), (29.83, 30), (30.02, 30),
     (25, 25), (12.5, 12.5), (29.4, 29.4), (0.4, 0.4)],
)  # fmt: skip
def test_the_rate_survives_being_cut_to_a_whole_number(result, fps, rate):
    z = amass_arrays(result, fps, load_body())
    assert z["mocap_framerate"] == z["mocap_frame_rate"] == rate and z["fps"] == fps


@hostile
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.booleans())
def test_rotation_vectors_never_jump_between_frames_that_look_alike(seed, sway, facing):
    generator = torch.Generator().manual_seed(seed)
    start = roma.random_rotmat(1, generator=generator)[0]
    if facing:  # half a turn about x, as everyone who faces the camera
        start = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    axes = torch.nn.functional.normalize(torch.randn(60, 3, generator=generator), dim=-1)
    rotmats = start @ roma.rotvec_to_rotmat(sway * axes)
    rotvecs = nearest_rotvecs(roma.rotmat_to_rotvec(rotmats))
    assert torch.allclose(roma.rotvec_to_rotmat(rotvecs), rotmats, atol=1e-5)
    jumps = (rotvecs[1:] - rotvecs[:-1]).norm(dim=-1)
    assert (jumps < np.pi).all()


def test_a_person_who_turns_round_and_round_is_written_without_a_jump():
    angles = torch.linspace(0, 20, 400)
    axis = torch.tensor([0.0, 1.0, 0.0])
    for start in (torch.eye(3), torch.diag(torch.tensor([1.0, -1.0, -1.0]))):
        rotmats = start @ roma.rotvec_to_rotmat(angles[:, None] * axis)
        rotvecs = nearest_rotvecs(roma.rotmat_to_rotvec(rotmats))
        assert torch.allclose(roma.rotvec_to_rotmat(rotvecs), rotmats, atol=1e-4)
        assert (rotvecs[1:] - rotvecs[:-1]).norm(dim=-1).max() < 0.1


def test_both_files_have_vectors_without_jumps(result):
    turned = copy.deepcopy(result)
    sway = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.1, 0.0]) * torch.randn(70, 1))
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ sway
    for motion in (turned.base, turned.adapted):
        motion.rotmats[:, 0] = facing
    z = track_arrays(turned, 30.0, load_body())
    a = amass_arrays(turned, 30.0, load_body())
    for poses in (z["global_orient"], z["base_global_orient"], z["body_pose"], a["poses"],
                  a["poses_smpl72"]):  # fmt: skip
        assert np.abs(np.diff(poses, axis=0)).max() < np.pi
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(z["global_orient"]))
    assert torch.allclose(rotmats, facing, atol=1e-5)


def test_the_report_is_json_without_nan(result, tmp_path):
    data = report(result, load_body())
    data["extra"] = [float("nan"), {"x": float("inf")}]
    save_json(tmp_path / "r.json", data)
    loaded = json.loads((tmp_path / "r.json").read_text())
    assert loaded["extra"] == [None, {"x": None}]
    assert [e["epoch"] for e in loaded["epochs"]] == [1, 2]
    assert len(loaded["per_frame"]["frame"]) == 70
    assert {"loss_reprojection", "filled", "similarity"} <= set(loaded["epochs"][-1])


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "aus gabe ü"
    with pytest.raises(ZeroDivisionError), new_folder(target) as partial:
        (partial / "half.txt").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with new_folder(target) as partial:
        (partial / "config.yaml").write_text("")
        (partial / "track-01.npz").write_text("")
    assert sorted(p.name for p in target.iterdir()) == ["config.yaml", "track-01.npz"]


def test_results_are_replaced_only_on_request_and_other_files_never(tmp_path):
    target = tmp_path / "out"
    with new_folder(target) as partial:
        (partial / "config.yaml").write_text("old")
        (partial / "track-01.npz").write_text("")
    with pytest.raises(SemttaError, match="--overwrite"), new_folder(target):
        pass
    with pytest.raises(KeyboardInterrupt), new_folder(target, True, is_result):
        raise KeyboardInterrupt
    assert (target / "config.yaml").read_text() == "old"
    with new_folder(target, True, is_result) as partial:
        (partial / "config.yaml").write_text("new")
    assert (target / "config.yaml").read_text() == "new"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    with pytest.raises(SemttaError, match="other files"):
        with new_folder(tmp_path / "photos", True, is_result):
            pass
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SemttaError, match="is a file"), new_folder(tmp_path / "file"):
        pass
    with pytest.raises(SemttaError, match="cannot be written"):
        with new_folder(tmp_path / "file" / "below"):
            pass
