"""The body: against smplx, against golden joints of the peers, and against its own promises."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import roma
import scipy.sparse
import torch

from semtta.body import find_body_file, load_body, load_regressor, regress, searched_paths
from semtta.body.data import SMPL_VERTEX_IDS
from semtta.body.landmarks import HIP_WIDTH
from semtta.body.search import file_names
from semtta.errors import SemttaError
from semtta.geometry import mirror_pose
from semtta.skeletons import BLAZEPOSE33, BODY25, BODY27, COCO17, SMPL24, SMPL_PARENTS

GOLDEN = Path(__file__).parent / "golden" / "extra" / "smpl_joints.npz"
# Recipe of the synthetic body on which the golden joints were computed (nothing from SMPL).
REST = np.array([
    [0, -.22, .03], [.07, -.31, .02], [-.07, -.32, .02], [0, -.11, 0], [.1, -.69, 0],
    [-.1, -.7, 0], [0, .03, .02], [.09, -1.09, -.03], [-.09, -1.1, -.03], [0, .08, .03],
    [.11, -1.15, .09], [-.11, -1.15, .09], [0, .29, -.01], [.08, .19, 0], [-.08, .19, 0],
    [0, .36, .04], [.17, .22, -.01], [-.17, .22, -.01], [.43, .21, -.03], [-.43, .21, -.03],
    [.68, .22, -.03], [-.68, .22, -.03], [.77, .21, -.04], [-.77, .21, -.04],
])  # fmt: skip


def synthetic_arrays(count: int = 6890, faces: int = 13776) -> dict:
    r = np.random.RandomState(0)
    owner = np.arange(count) % 24
    arrays = {
        "v_template": REST[owner] + 0.05 * r.standard_normal((count, 3)),
        "shapedirs": 0.01 * r.standard_normal((count, 3, 10)),
        "posedirs": 0.002 * r.standard_normal((count, 3, 207)),
        "f": r.randint(0, count, (faces, 3)).astype(np.uint32),
    }
    weights = np.zeros((count, 24))
    weights[np.arange(count), owner] += 0.8
    weights[np.arange(count), np.maximum(np.array(SMPL_PARENTS)[owner], 0)] += 0.2
    regressor = np.stack([(owner == j) / (owner == j).sum() for j in range(24)])
    tree = np.array([SMPL_PARENTS, range(24)], np.int64)
    tree[0, 0] = 4294967295  # as the official files have it
    return {**arrays, "weights": weights, "J_regressor": regressor, "kintree_table": tree}


@pytest.fixture(scope="module")
def synthetic_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("body") / "synthetic.npz"
    np.savez(path, **synthetic_arrays())
    return path


@pytest.fixture(scope="module")
def synthetic(synthetic_file):
    return load_body(synthetic_file)


@pytest.fixture(scope="module")
def body():
    return load_body()


def random_pose(*batch, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    rotvecs = 0.5 * torch.randn(*batch, 24, 3, generator=g, dtype=torch.float64)
    betas = torch.randn(*batch, 10, generator=g, dtype=torch.float64)
    return roma.rotvec_to_rotmat(rotvecs).to(dtype), betas.to(dtype)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No body file anywhere: an empty working directory, home and environment."""
    for name in ("work", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("SEMTTA_BODY_MODELS", raising=False)
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    return tmp_path


# --- agreement with others ----------------------------------------------------------------


@pytest.mark.parametrize("which", ["body", "synthetic"])
def test_agrees_with_smplx(which, request):
    ours = request.getfixturevalue(which)
    pytest.importorskip("smplx")
    rotmats, betas = random_pose(5)
    with torch.no_grad():
        theirs = ours.to_smplx()(
            global_orient=rotmats[:, :1], body_pose=rotmats[:, 1:], betas=betas, pose2rot=False
        )
    torch.testing.assert_close(ours.vertices(rotmats, betas), theirs.vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        ours.joints(rotmats, betas), theirs.joints[:, :24], atol=1e-5, rtol=0
    )
    # the 21 vertex joints that smplx appends are our landmark vertices, in the same order
    chosen = ours.vertices(rotmats, betas)[:, ours.landmark_vertices]
    torch.testing.assert_close(chosen, theirs.joints[:, 24:45], atol=1e-5, rtol=0)


def test_to_smplx_prints_nothing(body, capsys):
    pytest.importorskip("smplx")
    body.to_smplx()
    assert capsys.readouterr().out == ""


def test_golden_joints_of_the_peers(synthetic):
    golden = {k: torch.as_tensor(v) for k, v in np.load(GOLDEN).items()}
    rotmats = roma.rotvec_to_rotmat(golden["aa"].view(-1, 24, 3))
    vertices = synthetic.vertices(rotmats, golden["betas"])
    torch.testing.assert_close(vertices[:, ::108], golden["verts_108"], atol=1e-5, rtol=0)
    # SPIN/DynaBOA's first 25 joints are OpenPose's BODY_25 with SMPL's own neck and hips
    ours = synthetic.landmarks(rotmats, golden["betas"], BODY25)
    same = [j for j, name in enumerate(BODY25.joints) if name.split("_")[-1] not in ("neck", "hip")]
    torch.testing.assert_close(ours[:, same], golden["joints49"][:, same], atol=1e-5, rtol=0)
    # H36M regressor of the same recipe (CycleAdapt)
    r = np.random.RandomState(1)
    matrix = np.zeros((17, 6890))
    for row in matrix:
        index, weight = r.randint(0, 6890, 8), r.uniform(0.1, 1, 8)
        np.add.at(row, index, weight / weight.sum())
    joints = regress(vertices, torch.as_tensor(matrix).float())
    torch.testing.assert_close(joints, golden["joints17"], atol=1e-5, rtol=0)


# --- the shipped body ---------------------------------------------------------------------


def test_shipped_body_is_a_plausible_adult(body):
    assert body.name == "cc0" and len(body.sha256) == 64
    assert body.num_vertices not in (6890,) and body.num_vertices < 6788
    assert not list(body.parameters()) and not body.state_dict()
    rest, betas = torch.eye(3).expand(24, 3, 3), torch.zeros(10)
    vertices, joints = body.vertices(rest, betas), body.joints(rest, betas)
    assert 1.6 < float(vertices[:, 1].max() - vertices[:, 1].min()) < 1.8
    torch.testing.assert_close(joints[0], torch.zeros(3), atol=2e-3, rtol=0)  # pelvis at origin
    assert joints[SMPL24.index("left_hand"), 0] > 0.6  # +x is the subject's left
    assert body.landmarks(rest, betas, COCO17)[0, 2] > 0.1  # the nose points to +z


def test_shipped_mesh_is_closed_and_faces_out(body):
    faces = body.faces.numpy()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = set(map(tuple, edges.tolist()))
    assert len(pairs) == len(edges) and all((b, a) in pairs for a, b in pairs)
    a, b, c = (body.v_template.numpy()[faces[:, i]] for i in range(3))
    litres = 1000 * np.einsum("ij,ij->", a, np.cross(b, c)) / 6
    assert 45 < litres < 85


def test_signs_of_betas(body):
    rest = torch.eye(3).expand(24, 3, 3)

    def measures(betas):
        v = body.vertices(rest, betas)
        a, b, c = (v[body.faces[:, i]] for i in range(3))
        return v[:, 1].max() - v[:, 1].min(), (a * torch.linalg.cross(b, c)).sum() / 6

    for k in range(10):
        tall, big = measures(2 * torch.eye(10)[k])
        short, small = measures(-2 * torch.eye(10)[k])
        assert big > small, f"beta {k}: + must be the larger body"
        if k == 0:
            assert 0.3 < float(tall - short) < 0.6


def test_mirrored_pose_gives_mirrored_joints_and_landmarks(body):
    rotmats, betas = random_pose(4, seed=3)
    sign = torch.tensor([-1.0, 1.0, 1.0])
    for skeleton in (SMPL24, BODY27, BODY25):
        there = body.landmarks(mirror_pose(rotmats), betas, skeleton)
        here = body.landmarks(rotmats, betas, skeleton)[:, list(skeleton.flip)] * sign
        torch.testing.assert_close(there, here, atol=1e-5, rtol=0)


def test_global_rotation_turns_about_the_pelvis(synthetic):
    rotmats, betas = random_pose(3, seed=4)
    turn = roma.random_rotmat(3)
    turned = rotmats.clone()
    turned[:, 0] = turn @ rotmats[:, 0]
    before, after = synthetic.joints(rotmats, betas), synthetic.joints(turned, betas)
    expected = (before - before[:, :1]) @ turn.transpose(1, 2) + before[:, :1]
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=0)


# --- landmarks ----------------------------------------------------------------------------


def test_landmarks_by_name(body):
    rotmats, betas = random_pose(2, seed=5)
    joints = body.joints(rotmats, betas)
    by_name = {}
    for skeleton in (BODY27, COCO17, BODY25):
        for name, point in zip(skeleton.joints, body.landmarks(rotmats, betas, skeleton).unbind(1)):
            torch.testing.assert_close(point, by_name.setdefault(name, point))
    for name in ("left_shoulder", "right_elbow", "left_wrist", "right_knee", "left_ankle"):
        torch.testing.assert_close(by_name[name], joints[:, SMPL24.index(name)])
    shoulders = (by_name["left_shoulder"] + by_name["right_shoulder"]) / 2
    torch.testing.assert_close(by_name["neck"], shoulders)
    torch.testing.assert_close(by_name["mid_hip"], (by_name["left_hip"] + by_name["right_hip"]) / 2)
    hands = joints[:, SMPL24.index("left_hand")]
    assert ((by_name["left_index"] - hands).norm(dim=-1) < 0.08).all()


@pytest.mark.parametrize("which", ["body", "synthetic"])
def test_hips_are_as_wide_as_detectors_draw_them(which, request):
    ours = request.getfixturevalue(which)
    marks = ours.landmarks(torch.eye(3).expand(24, 3, 3), torch.zeros(10), COCO17)
    left, right = marks[COCO17.index("left_hip")], marks[COCO17.index("right_hip")]
    assert float((left - right).norm()) == pytest.approx(HIP_WIDTH, abs=1e-4)


def test_unknown_landmarks_are_zero_and_said_so(body):
    rotmats, betas = random_pose(2)
    known = body.has_landmarks(BLAZEPOSE33)
    assert known.dtype == torch.bool and known.sum() == 27
    marks = body.landmarks(rotmats, betas, BLAZEPOSE33)
    assert (marks[:, ~known] == 0).all() and (marks[:, known].abs().sum(-1) > 0).all()
    assert body.has_landmarks(BODY27).all() and body.has_landmarks(SMPL24).all()


def test_a_body_without_landmark_vertices_knows_its_joints_only(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, **synthetic_arrays(240, 300))
    known = dict(zip(BODY27.joints, load_body(path).has_landmarks(BODY27).tolist()))
    assert known["left_wrist"] and known["right_hip"]
    assert not known["nose"] and not known["left_index"]


# --- tensors ------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_any_batch_shape(body, batch):
    rotmats, betas = random_pose(*batch)
    assert body.joints(rotmats, betas).shape == (*batch, 24, 3)
    assert body.landmarks(rotmats, betas, BODY27).shape == (*batch, 27, 3)
    assert body.vertices(rotmats, betas).shape == (*batch, body.num_vertices, 3)


def test_batches_are_independent_and_betas_broadcast(body):
    rotmats, betas = random_pose(4, seed=6)
    whole = body.landmarks(rotmats, betas[0], BODY27)
    for i in range(4):
        one = body.landmarks(rotmats[i], betas[0], BODY27)
        torch.testing.assert_close(whole[i], one, atol=1e-6, rtol=1e-5)


def test_wrong_shapes_are_refused(body):
    rotmats, betas = random_pose(2)
    with pytest.raises(ValueError, match="24, 3, 3"):
        body.joints(rotmats[:, :23], betas)
    with pytest.raises(ValueError, match="10"):
        body.joints(rotmats, betas[:, :9])


@pytest.mark.parametrize("which", ["cc0", "synthetic"])
def test_gradients(which, synthetic_file):
    ours = load_body("cc0" if which == "cc0" else synthetic_file, dtype=torch.float64)
    rotmats, betas = random_pose(1, seed=7, dtype=torch.float64)
    inputs = (rotmats.requires_grad_(), betas.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda r, b: ours.landmarks(r, b, COCO17)[:, ::4], inputs, fast_mode=True
    )


# --- regressors ---------------------------------------------------------------------------


def h36m_like(right_first: bool) -> np.ndarray:
    """Rows that sit on SMPL joints of the synthetic body, legs in one of the two known orders."""
    names = ["pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee",
             "right_ankle", "spine1", "neck", "head", "head", "left_shoulder", "left_elbow",
             "left_wrist", "right_shoulder", "right_elbow", "right_wrist"]  # fmt: skip
    if right_first:
        names = names[:1] + names[4:7] + names[1:4] + names[7:]
    regressor = synthetic_arrays()["J_regressor"]
    return np.stack([regressor[SMPL24.index(name)] for name in names])


@pytest.mark.parametrize("right_first", [False, True])
def test_regressor_finds_out_which_leg_comes_first(synthetic, tmp_path, right_first):
    np.save(tmp_path / "J.npy", h36m_like(right_first))
    regressor = load_regressor(tmp_path / "J.npy", synthetic)
    rotmats, betas = random_pose(2, seed=8)
    found = regressor(synthetic.vertices(rotmats, betas))
    assert found.shape == (2, 17, 3)
    rest = synthetic.vertices(torch.eye(3).expand(24, 3, 3), torch.zeros(10))
    knee = regressor(rest)[regressor.skeleton.index("left_knee")]
    torch.testing.assert_close(knee, synthetic.joint_template[SMPL24.index("left_knee")])
    assert regressor.skeleton.joints[1] == ("right_hip" if right_first else "left_hip")


def test_bad_regressors_are_refused(synthetic, body, tmp_path):
    swapped = h36m_like(False)[[0, *range(1, 11), 14, 15, 16, 11, 12, 13]]  # arms exchanged
    for name, matrix, words in (
        ("sides", swapped, "left joint on the right side"),
        ("rows", h36m_like(False)[:5], "5 rows"),
        ("nan", np.full((17, 6890), np.nan), "finite"),
        ("shape", np.zeros((17, 100)), "6890 vertices"),
    ):
        np.save(tmp_path / f"{name}.npy", matrix)
        with pytest.raises(SemttaError, match=words):
            load_regressor(tmp_path / f"{name}.npy", synthetic)
    with pytest.raises(SemttaError, match="does not exist"):
        load_regressor(tmp_path / "missing.npy", synthetic)
    with pytest.raises(SemttaError, match="6890 vertices"):
        regress(body.v_template, torch.zeros(17, 6890))


# --- files --------------------------------------------------------------------------------


def write_pickle(path: Path, content: dict, protocol: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        pickle.dump(content, file, protocol=protocol)


@pytest.fixture
def fake_chumpy(monkeypatch):
    """Stand-ins for chumpy's classes under its module names, to write pickles with."""

    def add(module, name):
        cls = type(name, (), {"__init__": lambda self, **state: self.__dict__.update(state)})
        cls.__module__ = module
        made = sys.modules.get(module) or types.ModuleType(module)
        setattr(made, name, cls)
        monkeypatch.setitem(sys.modules, module, made)
        return cls

    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    return add("chumpy.ch", "Ch"), add("chumpy.reordering", "Select")


@pytest.mark.parametrize("protocol", [2, 4])
def test_official_pickle_without_chumpy(fake_chumpy, tmp_path, monkeypatch, protocol):
    ch, select = fake_chumpy
    arrays = synthetic_arrays(6890, 100)
    longer = np.concatenate([arrays["shapedirs"], arrays["shapedirs"]], -1)  # 20 components
    kept = np.arange(longer.size).reshape(longer.shape)[..., :10]
    content = {
        **arrays,
        "v_template": ch(x=arrays["v_template"], dterms=("x",)),
        "shapedirs": select(
            a=ch(x=longer), idxs=kept.ravel(), preferred_shape=arrays["shapedirs"].shape
        ),
        "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
        "bs_type": "lrotmin",
        "pose_training_info": {"note": "ignored"},
    }
    path = tmp_path / "smpl" / "SMPL_NEUTRAL.pkl"
    write_pickle(path, content, protocol)
    for module in [name for name in sys.modules if name.split(".")[0] == "chumpy"]:
        monkeypatch.delitem(sys.modules, module)
    loaded = load_body("smpl", search=tmp_path)
    assert loaded.name == "smpl" and loaded.vertex_ids == SMPL_VERTEX_IDS
    plain = tmp_path / "plain.npz"
    np.savez(plain, **arrays)
    rotmats, betas = random_pose(1)
    torch.testing.assert_close(
        loaded.vertices(rotmats, betas), load_body(plain).vertices(rotmats, betas)
    )


@pytest.mark.parametrize("kind", ["csr", "coo"])
def test_other_sparse_regressors(tmp_path, kind):
    arrays = synthetic_arrays(240, 100)
    sparse = getattr(scipy.sparse, f"{kind}_matrix")(arrays["J_regressor"])
    write_pickle(tmp_path / "body.pkl", {**arrays, "J_regressor": sparse})
    loaded = load_body(tmp_path / "body.pkl").joint_regressor
    torch.testing.assert_close(loaded, torch.as_tensor(arrays["J_regressor"]).float())


class _Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return subprocess.call, (["touch", str(self.target)],)


def test_malicious_pickle_is_refused_and_not_run(tmp_path):
    target = tmp_path / "owned"
    write_pickle(tmp_path / "evil.pkl", {"v_template": _Malicious(target)})
    with pytest.raises(SemttaError, match="that no body file needs"):
        load_body(tmp_path / "evil.pkl")
    assert not target.exists()


@pytest.mark.parametrize("gender", ["neutral", "male", "female"])
@pytest.mark.parametrize("place", ["search", "variable", "working directory", "user data"])
def test_every_name_is_found_everywhere(nowhere, monkeypatch, gender, place):
    assert find_body_file(gender) is None
    root = {
        "search": nowhere / "s", "variable": nowhere / "v",
        "working directory": nowhere / "work" / "body_models",
    }.get(place)  # fmt: skip
    if place == "user data":
        root = next(p for p in searched_paths(gender) if "data" in str(p)).parent.parent
    if place == "variable":
        monkeypatch.setenv("SEMTTA_BODY_MODELS", str(root))
    search = root if place == "search" else None
    for folder in (root / "smpl", root):
        for name in file_names(gender):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
            assert find_body_file(gender, search).resolve() == (folder / name).resolve()
            (folder / name).unlink()


def test_names_of_the_official_releases():
    assert "SMPL_NEUTRAL.pkl" in file_names("neutral")
    assert "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl" in file_names("neutral")
    assert "basicModel_f_lbs_10_207_0_v1.0.0.pkl" in file_names("female")
    assert "basicmodel_m_lbs_10_207_0_v1.1.0.pkl" in file_names("male")


def test_missing_smpl_file_says_where_to_get_it(nowhere):
    with pytest.raises(SemttaError) as error:
        load_body("smpl", search=nowhere / "mine")
    text = str(error.value)
    for words in ("smpl.is.tue.mpg.de", "SMPL_NEUTRAL.pkl", str(nowhere / "mine"), "body_models"):
        assert words in text


def broken(**changes):
    arrays = synthetic_arrays(240, 100)
    for key, change in changes.items():
        if change is None:
            del arrays[key]
        else:
            arrays[key] = change(arrays[key])
    return arrays


def _with_nan(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (broken(weights=None), "no 'weights'"),
        (broken(posedirs=None), "no 'posedirs'"),
        (broken(shapedirs=lambda a: a[..., :4]), "4 components"),
        (broken(posedirs=lambda a: a[..., :90]), "90 components"),
        (broken(weights=lambda a: a[:100]), "'weights' has shape"),
        (broken(weights=lambda a: 2 * a), "sum to one"),
        (broken(v_template=_with_nan), "NaN"),
        (broken(f=lambda a: a + 240), "'f' does not index"),
        (broken(kintree_table=lambda a: a[:, ::-1]), "tree of 24 joints"),
        (broken(v_template=lambda a: a.astype(str)), "numbers"),
        ({"poses": np.zeros((4, 72))}, "no 'v_template'"),
    ],
)
def test_wrong_files_are_named_by_what_is_wrong(tmp_path, arrays, words):
    path = tmp_path / "body.npz"
    np.savez(path, **arrays)
    with pytest.raises(SemttaError, match=words) as error:
        load_body(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["body.npz", "body.pkl"])
@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs", b"PK\x03\x04half", b"\x80\x04K\x01."]
)
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SemttaError, match="body"):
        load_body(tmp_path / name)


def test_unknown_names(tmp_path):
    with pytest.raises(SemttaError, match="'cc0', 'smpl'"):
        load_body("smlp")
    with pytest.raises(SemttaError, match="unknown gender"):
        load_body(gender="robot")
    (tmp_path / "body.obj").write_text("v 0 0 0")
    with pytest.raises(SemttaError, match=".pkl or .npz"):
        load_body(tmp_path / "body.obj")
