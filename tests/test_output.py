import json

import numpy as np
import pytest
import roma
import torch
from test_adapter import CAMERA, adapter, walker

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.files import new_folder
from semtta.output.files import amass_arrays, is_result, report, save_json, track_arrays
from semtta.skeletons import BODY27


@pytest.fixture(scope="module")
def result():
    torch.manual_seed(0)
    return adapter("evidence.fill_from_epoch=0", "gate.sigma=-1").adapt(
        walker(), CAMERA, ["walk"] * 70
    )


def test_the_npz_says_everything_that_the_schema_promises(result, tmp_path):
    from pathlib import Path

    arrays = track_arrays(result, 30.0)
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
    z = track_arrays(result, 30.0)
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
    # y down in the camera becomes y up: the same body, half a turn about x.
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(z["poses_smpl72"]).view(-1, 24, 3))
    betas = torch.from_numpy(z["betas"][:10]).expand(70, 10)
    up = body.joints(rotmats, betas) + torch.from_numpy(z["trans"])[:, None]
    pelvis_shift = (
        body.joints(torch.eye(3).expand(70, 24, 3, 3), result.adapted.betas)
        - body.joints(torch.eye(3).expand(70, 24, 3, 3), betas)
    )[:, :1]
    down = body.joints(result.adapted.rotmats, betas) + pelvis_shift
    down = down + result.adapted.trans[:, None]
    assert torch.allclose(up, down * torch.tensor([1.0, -1.0, -1.0]), atol=1e-5)


def test_the_report_is_json_without_nan(result, tmp_path):
    data = report(result)
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
