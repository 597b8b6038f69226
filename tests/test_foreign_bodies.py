"""SMPL files as they lie about: only what a body needs is decoded, and folders as unzipped."""

from __future__ import annotations

import io
import pickle
import sys
import time
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from traced import traced

import semtta
from semtta.bench.datasets.files import _DataUnpickler
from semtta.body import find_body_file
from semtta.body.data import read_body
from semtta.body.search import require_body_file
from semtta.body.unpickle import BodyUnpickler, object_entry, plain
from semtta.errors import SemttaError
from semtta.motion.user_dictionary import UserDictionary
from semtta.numpy_pickles import unpacked
from semtta.skeletons import SMPL_PARENTS

COUNT = 60  # vertices


def smpl() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    weights, regressor = random.random((COUNT, 24)), random.random((24, COUNT))
    tree = np.array([[2**32 - 1, *SMPL_PARENTS[1:]], range(24)], np.uint32)
    return {
        "v_template": random.random((COUNT, 3)), "shapedirs": random.random((COUNT, 3, 10)),
        "posedirs": random.random((COUNT, 3, 207)), 
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True), "kintree_table": tree,
        "f": np.array([[0, 1, 2], [2, 3, 4]], np.uint32),
    }  # fmt: skip


def save(path: Path, **change) -> Path:
    arrays = smpl() | change
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(pickle.dumps(arrays, protocol=2))
    return path


def is_smpl(path: Path) -> bool:
    body, made = read_body(path), smpl()
    return all(
        np.array_equal(getattr(body, name), made[key])
        for name, key in (("v_template", "v_template"), ("posedirs", "posedirs"),
                          ("joint_regressor", "J_regressor"), ("weights", "weights"))
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"J_regressor_prior": np.array(sparse.csc_matrix(np.eye(3)), object)},
        {"notes": np.array({"by": Path("x")}, object)},
        {"bs_style": np.array("lbs")},
    ],
)
def test_entries_that_nobody_needs_are_not_decoded(tmp_path, change):
    assert is_smpl(save(tmp_path / "b.npz", **change))


def test_a_needed_entry_that_is_an_object_is_named(tmp_path):
    path = save(tmp_path / "h.npz", J_regressor=np.array(sparse.csc_matrix(np.eye(3)), object))
    with pytest.raises(SemttaError, match="'J_regressor' is a pickled object"):
        read_body(path)


@pytest.mark.parametrize("key", ["posedirs", "shapedirs"])
def test_flat_blend_shapes_are_reshaped_as_smplx_flattens_them(tmp_path, key):
    rows = smpl()[key].reshape(3 * COUNT, -1)
    assert is_smpl(save(tmp_path / "k.npz", **{key: rows}))
    assert is_smpl(save(tmp_path / "k2.npz", **{key: rows.T}))
    with pytest.raises(SemttaError, match=key):
        read_body(save(tmp_path / "k3.npz", **{key: rows[:-1]}))


@pytest.fixture
def lazy(monkeypatch):
    """An object of chumpy that is no array yet, without chumpy."""
    module = types.ModuleType("chumpy.ch_ops")
    made = type("MatVecMult", (), {"__module__": "chumpy.ch_ops"})
    module.MatVecMult = made
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch_ops", module)
    found = made()
    found.mtx, found.vec = np.eye(3), np.ones(3)
    return found


def test_only_needed_entries_of_a_pickle_are_looked_at(tmp_path, lazy):
    assert is_smpl(save(tmp_path / "c.pkl", J=lazy))
    assert is_smpl(save(tmp_path / "f.pkl", extra=OrderedDict(a=1), where=Path("x"), more={1, 2}))
    with pytest.raises(SemttaError, match="v_template|unknown state"):
        read_body(save(tmp_path / "v.pkl", v_template=lazy))


@pytest.mark.parametrize("kind", ["csc", "csr", "coo"])
@pytest.mark.parametrize("form", ["matrix", "array"])
def test_sparse_arrays_are_sparse_matrices(tmp_path, kind, form):
    made = getattr(sparse, f"{kind}_{form}")(smpl()["J_regressor"])
    assert is_smpl(save(tmp_path / "e.pkl", J_regressor=made))


def test_arrays_of_a_pickle_have_no_claimed_size(tmp_path):
    """An array is made empty and gets its numbers from the file, never a size alone."""
    code = (b"\x80\x02}U\x0av_templatecnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
            b"\x8a\x08" + (1 << 40).to_bytes(8, "little") + b"\x85U\x01d\x87Rs.")  # fmt: skip
    (tmp_path / "n.pkl").write_bytes(code)
    with pytest.raises(SemttaError, match="n.pkl"):
        read_body(tmp_path / "n.pkl")


# Folders ------------------------------------------------------------------------------------------

RELEASED = "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEMTTA_BODY_MODELS", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "bodies"


@pytest.mark.parametrize(
    "place", [f"SMPL_python_v.1.1.0/smpl/models/{RELEASED}", "Smpl/SMPL_Neutral.PKL",
              f"a/b/c/d/{RELEASED.upper()}", "models/smpl/smpl_neutral.npz"]
)  # fmt: skip
def test_folders_as_unzipped_are_searched(elsewhere, place):
    path = elsewhere / place
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert find_body_file("neutral", elsewhere).samefile(path)
    assert find_body_file("female", elsewhere) is None


def test_the_search_has_an_end_and_the_usual_place_comes_first(elsewhere, monkeypatch):
    deep = elsewhere / "a" / RELEASED
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"x")
    (elsewhere / "a" / "around").symlink_to(elsewhere, target_is_directory=True)
    assert find_body_file("neutral", elsewhere) == deep
    (elsewhere / "SMPL_NEUTRAL.npz").write_bytes(b"x")
    assert find_body_file("neutral", elsewhere).name == "SMPL_NEUTRAL.npz"
    (elsewhere / "SMPL_NEUTRAL.npz").unlink()
    monkeypatch.setattr("semtta.body.search._MOST_ENTRIES", 0)
    assert find_body_file("neutral", elsewhere) is None


def test_the_message_says_what_was_searched(elsewhere):
    with pytest.raises(SemttaError, match="4 levels below .*smpl/models.*licence"):
        require_body_file("neutral", elsewhere)


# The user's dictionary ----------------------------------------------------------------------------


def test_a_dictionary_of_many_names_is_read_at_once(tmp_path):
    path = tmp_path / "d.txt"
    path.write_text("\n".join(f"name {i} q" for i in range(20_000)))
    start = time.process_time()
    added = UserDictionary.load(path)
    assert all(added.resolve(f"NAME {i}  q") == f"name {i} q" for i in range(0, 20_000, 7))
    assert time.process_time() - start < 2
    path.write_text("a" * (5 << 20))
    with pytest.raises(SemttaError, match="more than 4 MiB are not read"):
        UserDictionary.load(path)


# Arrays that lie ----------------------------------------------------------------------------------


class Lie:
    """What a pickle says of an array: bytes as pointers, a wrong size, a type of its own."""

    def __init__(self, kind="V8", held=b"A" * 24, shape=(3,), state=None):
        self.said = kind, held, shape, state

    def __reduce__(self):
        kind, held, shape, state = self.said
        made = Type(kind, state)
        return (np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"),
                (1, shape, made, False, held))  # fmt: skip


class Type:
    def __init__(self, kind, state):
        self.said = kind, state

    def __reduce__(self):
        kind, state = self.said
        return (np.dtype, (kind, False, True), state or (3, "<", None, None, None, -1, -1, 0))


FIELDS = (3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 0)
LIES = {
    "fields": Lie(state=FIELDS), "objects": Lie("O8"), "void": Lie(),
    "empty": Lie("S0", b"", (1 << 40,)), "short": Lie("f8", b"A" * 8),
    "long": Lie("f8", b"A" * 80), "text": Lie("f8", ["a"]), "scalar": Lie("O8", ["a"], (1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_an_array_that_lies_is_refused_and_never_believed(tmp_path, lie):
    with pytest.raises(SemttaError, match="a.pkl"):
        read_body(save(tmp_path / "a.pkl", v_template=LIES[lie]))
    assert is_smpl(save(tmp_path / "b.pkl", beside=LIES[lie]))
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        archive.writestr("fps.npy", head.getvalue() + pickle.dumps(LIES[lie], 4))
    with pytest.raises(SemttaError, match="c.npz"):
        value = object_entry(tmp_path / "c.npz", "fps", "motion file")
        if value.dtype.kind != "f":  # text, then
            raise SemttaError("c.npz")


def test_a_state_that_claims_fields_of_numbers_is_not_looked_at(tmp_path):
    body = smpl()["v_template"]
    told = Lie("f8", body.tobytes(), body.shape, FIELDS)
    assert is_smpl(save(tmp_path / "a.pkl", v_template=told))
    swapped = Lie("f8", body.astype(">f8").tobytes(), body.shape, (3, ">", *[None] * 3, -1, -1, 0))
    assert is_smpl(save(tmp_path / "b.pkl", v_template=swapped))


@pytest.mark.parametrize("protocol", range(6))
def test_honest_arrays_are_the_same_in_every_protocol(protocol):
    held = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array(["x", "yz"]), "c": np.float32(2),
            "d": (np.array([True]), [np.zeros((0, 4))]), "e": np.array([None, "x"])}  # fmt: skip
    held["again"] = held["a"]
    stream = io.BytesIO(pickle.dumps(held, protocol))
    found = plain(_DataUnpickler(stream).load())
    assert np.array_equal(found["a"], held["a"]) and found["again"] is found["a"]
    assert found["b"].tolist() == ["x", "yz"] and found["c"] == 2 and found["d"][0].dtype == bool
    assert found["d"][1][0].shape == (0, 4) and found["e"].tolist() == [None, "x"]
    found["a"][0, 0] = 9  # its own


def test_no_function_of_numpy_can_be_changed_by_a_file(tmp_path):
    for name in (b"numpy.core.multiarray\n_reconstruct", b"numpy.core.numeric\n_frombuffer",
                 b"numpy\ndtype", b"numpy\nndarray", b"_codecs\nencode"):  # fmt: skip
        code = b"\x80\x02c" + name + b"\n}U\x0c__defaults__U\x01xsb."
        with pytest.raises((TypeError, ValueError)):
            BodyUnpickler(io.BytesIO(code)).load()


def test_lists_that_hold_each_other_have_an_end(tmp_path):
    nested = [0.0] * 10
    for _ in range(7):
        nested = [nested] * 10
    start = time.process_time()
    for name in ("v_template", "vertex_names"):
        change = {name: nested, "vertex_ids": [1]}
        with pytest.raises(SemttaError, match="nested to more"):
            read_body(save(tmp_path / "a.pkl", **change))
    assert time.process_time() - start < (20 if traced() else 4)
    again = save(tmp_path / "b.pkl", v_template=smpl()["v_template"].tolist())
    assert is_smpl(again)
    piece = np.zeros(1 << 20)
    with pytest.raises(ValueError, match="arrays have more than 16 MiB"):
        unpacked(BodyUnpickler(io.BytesIO(copies(piece, 3))).load(), 16 << 20)


def copies(array: np.ndarray, count: int) -> bytes:
    """A pickle of arrays that share the bytes of one."""
    held = array.tobytes()
    return pickle.dumps([Lie("f8", held, array.shape) for _ in range(count)])


# Bodies that are none -----------------------------------------------------------------------------


def person() -> dict[str, np.ndarray]:
    """The shipped body with SMPL's keys."""
    body = read_body(next(Path(semtta.__file__).parent.rglob("cc0_body.npz")))
    tree = smpl()["kintree_table"]
    return {
        "v_template": body.v_template, "shapedirs": body.shapedirs, "weights": body.weights,
        "posedirs": np.zeros((len(body.v_template), 3, 0)), "J_regressor": body.joint_regressor,
        "kintree_table": tree, "f": body.faces,
    }  # fmt: skip


@pytest.mark.parametrize(
    "key, change, said",
    [
        ("v_template", lambda v: v * 100, "high along y"),
        ("v_template", lambda v: v * 1000, "high along y"),
        ("v_template", lambda v: v[:, [0, 2, 1]] * (1, -1, 1), "high along y"),
        ("v_template", lambda v: v * (1, -1, -1), "on its head"),
        ("v_template", lambda v: v * (-1, 1, -1), "left side"),
        ("J_regressor", lambda r: r * 0, "J_regressor' do not sum"),
        ("J_regressor", lambda r: r * 2, "J_regressor' do not sum"),
        ("f", lambda f: f + 1, "counted from 0"),
    ],
)
def test_a_body_that_is_no_person_in_metres_with_y_up_is_refused(tmp_path, key, change, said):
    arrays = person()
    read_body(save(tmp_path / "a.npz", **arrays))
    with pytest.raises(SemttaError, match=said):
        read_body(save(tmp_path / "b.npz", **arrays | {key: change(arrays[key])}))
