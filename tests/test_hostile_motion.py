"""Any bytes in place of a motion, body, dictionary or checkpoint: a result, or one sentence.

``SEMTTA_EXAMPLES=2000 pytest tests/test_hostile_motion.py`` tries harder.
"""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import hostile
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from small_motions import amass, swing, write_bvh
from test_foreign_bodies import smpl

from semtta.body import load_body
from semtta.body.data import read_body
from semtta.body.regressor import load_regressor
from semtta.checkpoints import read_weights
from semtta.errors import SemttaError
from semtta.hmr.iterative import read_mean_params
from semtta.hmr.lifter import Lifter, LifterSettings, load_lifter, save_lifter
from semtta.motion.clip_bpe import ClipBPE
from semtta.motion.denoiser import load_denoiser, save_denoiser
from semtta.motion.denoiser_net import DenoiserConfig, MotionDenoiser
from semtta.motion.exemplars import ExemplarRoots
from semtta.motion.motion_files import list_motions, read_motion
from semtta.motion.user_dictionary import UserDictionary
from semtta.tensor_files import read_tensors

# What is done to a file ---------------------------------------------------------------------------

_edit = st.tuples(st.sampled_from(("flip", "cut", "drop", "double", "insert")),
                  st.floats(0, 1), st.integers(0, 255), st.integers(1, 64))  # fmt: skip
edits = st.lists(_edit, min_size=1, max_size=6)
_WORDS = (b"nan", b"-1", b"1e999", b"99999999999999999999", b"{", b"}", b"ROOT",
          b"\x00", b"\xff", b"'", b"@", b":", b"(", b"L\xf0", b"\xef\xbb\xbf", b",",
          b"MOTION", b"Frames:")  # fmt: skip


def mutated(data: bytes, todo) -> bytes:
    for kind, where, value, length in todo:
        at = int(where * len(data))
        if kind == "flip" and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([value]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[at + length :]
        elif kind == "double":
            data = data[: at + length] + data[at:]
        else:
            data = data[:at] + _WORDS[value % len(_WORDS)] + data[at:]
    return data


def in_archive(data: bytes, todo, which: float) -> bytes:
    """A zip whose one member is mutated and whose sums are right: the reader behind is reached."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = names[min(int(which * len(names)), len(names) - 1)]
        for name in names:
            new.writestr(name, mutated(old.read(name), todo) if name == chosen else old.read(name))
    return out.getvalue()


def only_sentences(read, path: Path, data: bytes) -> None:
    """Read a file; whatever is raised but a sentence fails, and so does what is written."""
    path.write_bytes(data)
    before = sorted(p.name for p in path.parent.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except SemttaError as error:
            assert "\n" not in str(error) and str(error)
    assert sorted(p.name for p in path.parent.iterdir()) == before


# The readers and a valid file of each -------------------------------------------------------------


def read_first(path):
    return read_motion(list_motions(path)[0])


def _bvh(path):
    write_bvh(path, swing(3), np.tile((0.0, 86.0, 0.0), (3, 1)))


def _amass(path):
    amass(path, frames=8)


def _documented(path):
    np.savez(path, pose=np.zeros((6, 24, 3)), trans=np.zeros((6, 3)), start=[0, 3], length=[3, 3],
             clip_id=["a", "b"], texts=["walk", "run"], subject=["s", "t"], source=["x", "y"],
             split=["val", "val"], is_duplicate=[False, False])  # fmt: skip


def _dictionary(path):
    path.write_text("pruning a hedge # mine\nserve: tennis serve, serving\nspin @ absent.bvh\n")


def _body_npz(path):
    np.savez(path, **smpl())


def _body_pkl(path):
    content = smpl() | {"J_regressor": sparse.csc_matrix(smpl()["J_regressor"])}
    path.write_bytes(pickle.dumps(content, protocol=2))


def _regressor(path):
    np.save(path, np.zeros((17, load_body().num_vertices), np.float32)[:, :40])


def _mean_params(path):
    np.savez(path, pose=np.zeros(144), shape=np.zeros(10), cam=np.zeros(3))


def _exemplars(path):
    np.savez(path, walk=np.zeros((5, 3)), run=np.tile(np.eye(3), (4, 1, 1)))


def _vocabulary(path):
    path.write_text("#version: 0.2\nw a\nwa l\n")


def _weights(path):
    torch.save({"state_dict": {"module.fc.weight": torch.ones(3, 2)}, "epoch": 3}, path)


def _old_weights(path):
    torch.save({"fc.weight": torch.ones(3, 2)}, path, _use_new_zipfile_serialization=False)


def _safetensors(path):
    header = b'{"fc.weight": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))


def _script(path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def _denoiser(path):
    save_denoiser(MotionDenoiser(DenoiserConfig(8, 1, 2, 30, 4)), path)


def _lifter(path):
    save_lifter(Lifter(LifterSettings(4, 4, 1)), path)


READERS = {
    "m.bvh": (read_first, _bvh),
    "amass.npz": (read_first, _amass),
    "documented.npz": (read_first, _documented),
    "names.txt": (UserDictionary.load, _dictionary),
    "body.npz": (read_body, _body_npz),
    "body.pkl": (read_body, _body_pkl),
    "regressor.npy": (lambda path: load_regressor(path, load_body()), _regressor),
    "mean.npz": (read_mean_params, _mean_params),
    "exemplars.npz": (ExemplarRoots.load, _exemplars),
    "bpe.txt": (ClipBPE.load, _vocabulary),
    "weights.pt": (lambda path: read_weights(path, "x", known="fc.weight"), _weights),
    "old.pt": (lambda path: read_weights(path, "x", known="fc.weight"), _old_weights),
    "w.safetensors": (lambda path: read_weights(path, "x"), _safetensors),
    "script.pt": (lambda path: read_tensors(path, "x", scripted=True), _script),
    "denoiser.pt": (load_denoiser, _denoiser),
    "lifter.pt": (load_lifter, _lifter),
}
ARCHIVES = [name for name, (_, write) in READERS.items()
            if name.endswith((".npz", ".pt")) and name != "old.pt"]  # fmt: skip


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Bytes of a valid file of each kind, which is read without a word."""
    folder, found = tmp_path_factory.mktemp("valid"), {}
    for name, (_, write) in READERS.items():
        write(folder / name)
        found[name] = (folder / name).read_bytes()
    return found


@pytest.mark.parametrize("name", READERS)
def test_changed_bytes_are_a_result_or_a_sentence(tmp_path, valid, name):
    @hostile
    @given(todo=edits)
    def check(todo):
        only_sentences(READERS[name][0], tmp_path / name, mutated(valid[name], todo))

    check()


@pytest.mark.parametrize("name", ARCHIVES)
def test_changed_members_of_an_archive_are_a_result_or_a_sentence(tmp_path, valid, name):
    @hostile
    @given(todo=edits, which=st.floats(0, 1))
    def check(todo, which):
        only_sentences(READERS[name][0], tmp_path / name, in_archive(valid[name], todo, which))

    check()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"PK\x05\x06" + bytes(18), b"\x80\x04.", b"(" * 5000,
             zlib.compress(bytes(1 << 20)), b"\xff\xfe" + "a".encode("utf-16-le") * 50]
)  # fmt: skip
def test_what_is_something_else_is_a_sentence(tmp_path, name, data):
    only_sentences(READERS[name][0], tmp_path / name, data)


ARRAY = st.sampled_from(("pose", "start", "length", "poses", "trans", "mocap_framerate", "fps",
                         "v_template", "weights", "f", "kintree_table", "frame"))  # fmt: skip
VALUE = st.sampled_from((
    np.array(0), np.zeros(0), np.array("x"), np.array([1, 2], object), np.array(np.nan),
    np.zeros((2, 2, 2, 2)), np.array(-1), np.array(1e300), np.array([True]), np.zeros((3, 0)),
    np.array(b"\xff"), np.zeros(1, [("a", "f4")]), np.array(1j), np.array("2020", "M8[D]"),
))  # fmt: skip


@pytest.mark.parametrize("name", ["amass.npz", "documented.npz", "body.npz"])
def test_arrays_of_another_kind_are_a_sentence(tmp_path, valid, name):
    with np.load(io.BytesIO(valid[name])) as file:
        arrays = dict(file)

    @hostile
    @given(key=ARRAY, value=VALUE)
    def check(key, value):
        out = io.BytesIO()
        np.savez(out, **(arrays | {key: value}))
        only_sentences(READERS[name][0], tmp_path / name, out.getvalue())

    check()
