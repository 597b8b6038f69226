"""Results written back in the layout that they came in: the motion is the new one, the world moves
along, and everything else is as it was."""

import fractions
import pickle

import numpy as np
import pytest
import result_files as files
import torch
from result_files import person
from test_result_formats import CAMERA, WRITTEN

from semtta.errors import SemttaError
from semtta.hmr.results import Refined, as_same, read_result

BODY_ONLY = ("gvhmr", "prompthmr", "amass")  # hands are not SMPL's
TWO = ("wham", "phalp", "vibe", "romp", "cliff", "prompthmr")
# Their world is not in the file, or is all that is in it.
NO_PLACE = ("wham api", "amass")


def refined(track, with_place=True):
    """Another motion for a track: every joint turned, another place and shape."""
    count = len(track)
    other = person(frames=count, seed=11)
    rotmats = torch.from_numpy(other.rotmats).float()
    betas = track.betas[:1].repeat(count, 1) + 0.25
    if not with_place:
        return Refined(rotmats, betas)
    place = track.translation(CAMERA) + torch.tensor([0.05, -0.02, 0.3])
    return Refined(rotmats, betas, place, CAMERA)


def same(a, b):
    """Whether two contents are equal to the last bit, types included."""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, torch.Tensor)):
        return type(a) is type(b) and a.dtype == b.dtype and bool((a == b).all())
    return type(a) is type(b) and a == b


def differing(a, b, at=()):
    """Keys whose values differ."""
    if isinstance(a, dict):
        assert list(a) == list(b)
        return {key for k in a for key in differing(a[k], b[k], (*at, k))}
    if isinstance(a, (list, tuple)) and any(isinstance(x, dict) for x in a):
        return {key for x, y in zip(a, b, strict=True) for key in differing(x, y, at)}
    return set() if same(a, b) else {at[-1]}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_new_motion_is_in_the_file(tmp_path, name):
    path = WRITTEN[name][0](tmp_path)
    before, data = read_result(path), path.read_bytes()
    track = before.tracks[0]
    new, target = refined(track, name not in NO_PLACE), tmp_path / "sub" / f"new{path.suffix}"
    if name == "tram":
        target = path.with_name("refined.npy")  # its camera lies beside the folder
    as_same(before, {1: new}, target)
    assert path.read_bytes() == data
    after = read_result(target)
    assert after.format == before.format and len(after.tracks) == len(before.tracks)
    found = after.tracks[0]
    assert found.frames.tolist() == track.frames.tolist()
    joints = 22 if name in BODY_ONLY else 24
    assert torch.allclose(found.rotmats[:, :joints], new.rotmats[:, :joints], atol=1e-4)
    assert torch.allclose(found.betas, new.betas, atol=1e-5)
    if new.trans is not None:
        assert torch.allclose(found.translation(CAMERA), new.trans, atol=2e-3)
    if track.world is not None:  # the same camera as before
        turn = track.world.orient @ track.rotmats[:, 0].mT
        assert torch.allclose(found.world.orient, turn @ new.rotmats[:, 0], atol=1e-4)
        if new.trans is not None:
            step = (turn @ (new.trans - track.trans)[..., None])[..., 0]
            assert torch.allclose(found.world.trans, track.world.trans + step, atol=1e-3)
        else:
            assert torch.allclose(found.world.trans, track.world.trans, atol=1e-6)


@pytest.mark.parametrize("name", TWO)
def test_other_people_stay(tmp_path, name):
    path = WRITTEN[name][0](tmp_path)
    before = read_result(path)
    as_same(before, {1: refined(before.tracks[0])}, tmp_path / f"new{path.suffix}")
    other = read_result(tmp_path / f"new{path.suffix}").tracks[1]
    assert torch.equal(other.rotmats, before.tracks[1].rotmats)
    assert torch.equal(other.betas, before.tracks[1].betas)
    assert torch.allclose(other.translation(CAMERA), before.tracks[1].translation(CAMERA))


MOTION = {
    "gvhmr": {"body_pose", "betas", "global_orient", "transl"},
    "wham": {"pose", "trans", "pose_world", "trans_world", "betas"},
    "phalp": {"body_pose", "global_orient", "betas", "camera", "camera_bbox"},
    "prompthmr": {"pose", "rotmat", "shape", "trans"},
    "vibe": {"pose", "betas", "pred_cam", "orig_cam"},
    "romp": {"smpl_thetas", "smpl_betas", "cam", "cam_trans", "global_orient", "body_pose"},
    "cliff": {"pose", "shape", "global_t"},
    "glamr": {"smpl_pose", "smpl_orient_world", "root_trans_world", "smpl_beta"},
    "tram": {"pred_rotmat", "pred_pose", "pred_shape", "pred_trans", "pred_cam"},
    "own": {"global_orient", "body_pose", "betas", "trans"},
    "amass": {"poses", "betas"},
}


@pytest.mark.parametrize("name", MOTION)
def test_all_other_keys_stay(tmp_path, name):
    path = WRITTEN[name][0](tmp_path)
    before = read_result(path)
    motion = refined(before.tracks[0], name not in NO_PLACE)
    as_same(before, {1: motion}, tmp_path / f"new{path.suffix}")
    after = read_result(tmp_path / f"new{path.suffix}")
    wanted = MOTION[name] | ({"pj2d_org"} if name == "romp" else set())
    assert differing(before.content.data, after.content.data) == wanted
    assert same(read_result(path).content.data, before.content.data)  # not changed in place


@pytest.mark.parametrize("name", MOTION)
def test_nothing_refined_is_the_same_file(tmp_path, name):
    """The base itself comes back, to the precision of what is stored."""
    path = WRITTEN[name][0](tmp_path)
    before = read_result(path)
    base = {t.id: Refined(t.rotmats, None, t.translation(CAMERA), CAMERA) for t in before.tracks}
    if name == "amass":
        base = {1: Refined(before.tracks[0].rotmats)}
    target = path.with_name(f"new{path.suffix}")
    as_same(before, base, target)
    for old, new in zip(before.tracks, read_result(target).tracks, strict=True):
        assert torch.allclose(old.rotmats, new.rotmats, atol=1e-5)
        assert torch.equal(old.betas, new.betas)
        if old.trans is not None:
            assert torch.allclose(old.trans, new.trans, atol=1e-5)
        if old.world is not None:
            assert torch.allclose(old.world.orient, new.world.orient, atol=1e-5)
            assert torch.allclose(old.world.trans, new.world.trans, atol=1e-5)


def test_programs_own_readers_read_it(tmp_path):
    """PyTorch, NumPy and pickle open what is written, with the types that were there."""
    path = WRITTEN["gvhmr"][0](tmp_path)
    result = read_result(path)
    as_same(result, {1: refined(result.tracks[0])}, tmp_path / "new.pt")
    data = torch.load(tmp_path / "new.pt", weights_only=True)
    assert data["smpl_params_incam"]["body_pose"].dtype == torch.float32
    path = WRITTEN["wham"][0](tmp_path)
    result = read_result(path)
    as_same(result, {2: refined(result.tracks[1])}, tmp_path / "new.pkl")
    data = pickle.loads((tmp_path / "new.pkl").read_bytes())
    assert data[7]["pose"].dtype == np.float32 and list(data) == [0, 7]
    path = WRITTEN["romp"][0](tmp_path)
    result = read_result(path)
    as_same(result, {1: refined(result.tracks[0])}, tmp_path / "new.npz")
    data = np.load(tmp_path / "new.npz", allow_pickle=True)
    assert list(data["results"][()]) == [f"{t:08d}.png" for t in range(6)]
    frame, held = data["results"][()]["00000000.png"], data["sequence_results"][()]
    assert np.array_equal(frame["smpl_thetas"][0], held[4]["smpl_thetas"][0])
    path = WRITTEN["tram"][0](tmp_path)
    result = read_result(path)
    as_same(result, {1: refined(result.tracks[0])}, tmp_path / "new.npy")
    data = np.load(tmp_path / "new.npy", allow_pickle=True).item()
    assert data["pred_trans"].shape == (6, 1, 3) and data["frame"].dtype == torch.int64


def test_the_pelvis_goes_where_it_should_with_another_shape(tmp_path):
    """A shape that moves the pelvis of the rest pose moves the world's as the camera's."""
    result = read_result(WRITTEN["wham"][0](tmp_path))
    track = result.tracks[0]
    moved = torch.tensor([0.0, -0.03, 0.01]).expand(len(track), 3)
    new = Refined(track.rotmats, track.betas, track.trans - moved, rest_moved=moved)
    as_same(result, {1: new}, tmp_path / "new.pkl")  # the same pelvis on another body
    world = read_result(tmp_path / "new.pkl").tracks[0].world
    assert torch.allclose(world.trans, track.world.trans - moved, atol=1e-5)


def test_what_goes_on_showing_the_old_motion_is_said(tmp_path):
    result = read_result(WRITTEN["wham"][0](tmp_path))
    remarks = as_same(result, {1: refined(result.tracks[0])}, tmp_path / "new.pkl")
    assert any("verts" in remark for remark in remarks)
    result = read_result(WRITTEN["amass"][0](tmp_path))
    remarks = as_same(result, {1: Refined(
        result.tracks[0].rotmats, trans=torch.ones(6, 3))}, tmp_path / "new.npz")  # fmt: skip
    assert any("no place" in remark for remark in remarks)


def test_never_over_a_file(tmp_path):
    path = WRITTEN["gvhmr"][0](tmp_path)
    result, data = read_result(path), path.read_bytes()
    motion = {1: refined(result.tracks[0])}
    link = tmp_path / "link.pt"
    link.symlink_to(path)
    for target in (path, link):
        with pytest.raises(SemttaError, match="exists already"):
            as_same(result, motion, target)
    assert path.read_bytes() == data


def test_whole_or_not_at_all(tmp_path, monkeypatch):
    result = read_result(WRITTEN["wham"][0](tmp_path))
    motion = {1: refined(result.tracks[0])}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pickle.dump", full)
    with pytest.raises(SemttaError, match="No space left"):
        as_same(result, motion, tmp_path / "new.pkl")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("change, said", [
    (dict(rotmats=torch.eye(3).expand(5, 24, 3, 3)), "rotmats of shape"),
    (dict(betas=torch.zeros(6, 16)), "betas of shape"),
    (dict(trans=torch.full((6, 3), torch.nan)), "trans holds NaN"),
    (dict(camera=None), "must be named"),
])  # fmt: skip
def test_motions_that_do_not_fit(tmp_path, change, said):
    result = read_result(WRITTEN["vibe"][0](tmp_path))
    parts = vars(refined(result.tracks[0])) | change
    with pytest.raises(SemttaError, match=said):
        as_same(result, {1: Refined(**parts)}, tmp_path / "new.pkl")
    assert not (tmp_path / "new.pkl").exists()


def test_a_folder_is_not_written(tmp_path):
    files.own(tmp_path / "track-01.npz", person())
    result = read_result(tmp_path)
    with pytest.raises(SemttaError, match="is a folder; name the file"):
        as_same(result, {1: refined(result.tracks[0])}, tmp_path / "new.npz")


def test_objects_that_would_be_lost_are_not_written(tmp_path):
    path = files.wham(tmp_path / "a.pkl", {0: person()})
    data = pickle.loads(path.read_bytes())
    data[0]["note"] = fractions.Fraction(1, 3)
    path.write_bytes(pickle.dumps(data))
    result = read_result(path)
    with pytest.raises(SemttaError, match="fractions.Fraction.*lost"):
        as_same(result, {1: refined(result.tracks[0])}, tmp_path / "new.pkl")


def test_objects_in_a_file_of_pytorch_are_not_lost_either(tmp_path):
    path = files.gvhmr(tmp_path / "a.pt", person(hands=False))
    data = torch.load(path)
    torch.save(data | {"note": fractions.Fraction(1, 3)}, path)
    result = read_result(path)
    with pytest.raises(SemttaError, match="would be lost"):
        as_same(result, {1: refined(result.tracks[0])}, tmp_path / "new.pt")
