"""Result files with anything in them: one sentence or a result, never a traceback, nothing run."""

import pickle
import zipfile

import numpy as np
import pytest
import result_files as files
import torch
from hostile import flipped, hostile, refuses_or_reads
from hypothesis import given
from hypothesis import strategies as st
from result_files import person
from test_result_formats import WRITTEN, A, B

from semtta.errors import SemttaError
from semtta.hmr.results import read_result

RUN = []


class Bomb:
    """What a stranger's pickle would run."""

    def __reduce__(self):
        return (RUN.append, ("ran",))


class Elsewhere:
    def __init__(self, where):
        self.where = where

    def __reduce__(self):
        return (eval, (f"open({str(self.where)!r}, 'w').write('ran')",))


@pytest.mark.parametrize("kind", ["pickle", "npz", "npy", "torch"])
def test_nothing_is_run(tmp_path, kind):
    mark, path = tmp_path / "mark", tmp_path / "a.out"
    content = {0: {"pose": Elsewhere(mark), "pose_world": Bomb()}, "results": Elsewhere(mark)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    elif kind == "torch":
        torch.save(content, path)
    else:
        with open(path, "wb") as file:
            (np.savez if kind == "npz" else np.save)(file, content)
    with pytest.raises(SemttaError):
        read_result(path)
    assert not mark.exists() and not RUN


def test_a_class_in_a_result_is_not_made(tmp_path):
    """A result that is right but for one foreign object is read without it."""
    path = files.wham(tmp_path / "a.pkl", {0: A})
    data = pickle.loads(path.read_bytes())
    data[0]["note"] = Elsewhere(tmp_path / "mark")
    path.write_bytes(pickle.dumps(data))
    assert len(read_result(path).track()) == 6
    assert not (tmp_path / "mark").exists()


def test_the_message_lists_what_was_found(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"vertices": np.zeros(3), "theta": {"x": 1, "y\x1b[31m": 2}}))
    with pytest.raises(SemttaError) as error:
        read_result(path)
    said = str(error.value)
    assert "vertices, theta (the first of them with x, y" in said and "GVHMR" in said
    assert "\x1b" not in said
    np.savez(tmp_path / "b.npz", anything=np.zeros(3))
    with pytest.raises(SemttaError, match="it holds the keys anything"):
        read_result(tmp_path / "b.npz")
    for empty in ({}, [], [{}], 3, None, "text", [[[[]]]]):
        path.write_bytes(pickle.dumps(empty))
        with pytest.raises(SemttaError, match="no result of a program that is known"):
            read_result(path)


@pytest.mark.parametrize("name, first, second", [
    ("wham", "pose", "trans"), ("wham", "frame_ids", "betas"), ("vibe", "orig_cam", "pose"),
    ("vibe", "frame_ids", "betas"), ("phalp", "smpl", "smpl"),
])  # fmt: skip
def test_spoilt_arrays(tmp_path, name, first, second):
    """A missing key, NaN, another length, another shape, text, of people and of frames."""
    path = WRITTEN[name][0](tmp_path)
    data = pickle.loads(path.read_bytes())
    entry = next(iter(data.values()))
    for key in (first, second):
        kept = entry[key]
        bad = [None, "text", np.full((6, 3), np.nan), np.zeros((5, 4)), np.zeros((6, 72, 2)),
               np.array(["a"] * 6), [], {}, 1e30, np.full((6, 10), 1e30), np.full((6, 72), 100.0),
               [[1], [2, 3]], np.zeros((6, 0)), torch.zeros(()), [None] * 6]  # fmt: skip
        for value in bad:
            entry[key] = value
            path.write_bytes(pickle.dumps(data))
            with pytest.raises(SemttaError) as error:
                read_result(path)
            assert len(str(error.value)) < 700
        del entry[key]
        path.write_bytes(pickle.dumps(data))
        with pytest.raises(SemttaError):
            read_result(path)
        entry[key] = kept


def test_sentences_name_person_key_and_shape(tmp_path):
    path = files.wham(tmp_path / "a.pkl", {0: A, 7: B})
    data = pickle.loads(path.read_bytes())
    data[7]["betas"] = np.zeros((2, 10))
    path.write_bytes(pickle.dumps(data))
    with pytest.raises(SemttaError, match=r"person 7: 'betas' has shape \(2, 10\), expected"):
        read_result(path)
    data[7]["betas"], data[0]["trans"][2, 1] = np.zeros((3, 10)), np.nan
    path.write_bytes(pickle.dumps(data))
    with pytest.raises(SemttaError, match="person 0, 'trans': holds NaN"):
        read_result(path)
    data[0]["trans"][2, 1] = 0
    data[0]["frame_ids"] = np.array([0, 1, 1, 2, 3, 4])
    path.write_bytes(pickle.dumps(data))
    with pytest.raises(SemttaError, match="frames do not increase"):
        read_result(path)
    data[0]["frame_ids"] = np.arange(6)
    data[0]["pose"] = np.rad2deg(data[0]["pose"])
    path.write_bytes(pickle.dumps(data))
    with pytest.raises(SemttaError, match="degrees"):
        read_result(path)


def test_matrices_that_are_no_rotations(tmp_path):
    mirrored = person()
    mirrored.rotmats[2, 5] = np.diag([1.0, 1.0, -1.0])
    path = tmp_path / "a.pkl"
    files.vibe(path, {0: A}, matrices=True)
    data = pickle.loads(path.read_bytes())
    data[0]["pose"] = mirrored.rotmats
    path.write_bytes(pickle.dumps(data))
    with pytest.raises(SemttaError, match="no rotations"):
        read_result(path)


def test_sizes_that_are_claimed_only(tmp_path):
    """A tensor of a terabyte that a few bytes describe; more people than anybody films."""
    huge = torch.zeros(1).as_strided((6, 21, 3, 1 << 40), (0, 0, 0, 0))
    path = files.gvhmr(tmp_path / "a.pt", person(hands=False))
    data = torch.load(path)
    data["smpl_params_incam"]["body_pose"] = huge
    torch.save(data, path)
    with pytest.raises(SemttaError, match="numbers are no result"):
        read_result(path)
    one = files.wham(tmp_path / "b.pkl", {0: person(frames=1)})
    held = pickle.loads(one.read_bytes())[0]
    one.write_bytes(pickle.dumps({i: held for i in range(2500)}))
    with pytest.raises(SemttaError, match="2500 people"):
        read_result(one)
    with zipfile.ZipFile(tmp_path / "c.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("poses.npy", b"\0" * (1 << 29))
    with pytest.raises(SemttaError):
        read_result(tmp_path / "c.npz")


def test_no_file_a_folder_and_no_result(tmp_path):
    with pytest.raises(SemttaError, match="does not exist"):
        read_result(tmp_path / "none.pkl")
    with pytest.raises(SemttaError, match="is a folder without track-XX.npz"):
        read_result(tmp_path)
    for data in (b"", b"\x80", b"hello", b"PK\x03\x04", b"\x93NUMPY", b"\x1f\x8b\x08", b"\x78\x9c"):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(SemttaError):
            read_result(tmp_path / "a")
    np.save(tmp_path / "a.npy", np.zeros((6, 72)))
    with pytest.raises(SemttaError, match="dictionary of named arrays"):
        read_result(tmp_path / "a.npy")


BYTES = ("gvhmr", "wham", "phalp", "tram", "prompthmr", "vibe", "romp", "cliff", "glamr", "own",
         "amass")  # fmt: skip


@pytest.mark.parametrize("name", BYTES)
def test_bytes_of_anything(tmp_path, name):
    path = WRITTEN[name][0](tmp_path)
    data = path.read_bytes()

    @hostile
    @given(flipped(data))
    def check(spoilt):
        path.write_bytes(spoilt)
        refuses_or_reads(lambda: read_result(path, video_frames=6))

    check()


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=4), st.just([]),
    st.just({}), st.just(10**400), st.just([[[]]]), st.just(np.zeros((6, 3))), st.just(b"x"),
    st.just(np.array(None)), st.just(np.float32(2)), st.just(torch.zeros(2, 0)),
)  # fmt: skip


@st.composite
def altered(draw, content):
    """A result with one of its values, at any depth, exchanged or removed."""
    keys = list(content) if isinstance(content, dict) else range(len(content))
    key = draw(st.sampled_from(list(keys)))
    value = content[key]
    copy = dict(content) if isinstance(content, dict) else list(content)
    if isinstance(value, (dict, list)) and value and draw(st.integers(0, 5)):
        copy[key] = draw(altered(value))
    elif isinstance(copy, dict) and draw(st.booleans()):
        del copy[key]
    else:
        copy[key] = draw(ODD)
    return copy


@pytest.mark.parametrize("name", ["wham", "wham api", "phalp", "prompthmr", "vibe", "glamr"])
def test_values_of_anything(tmp_path, name):
    path = WRITTEN[name][0](tmp_path)
    content = pickle.loads(path.read_bytes())

    @hostile
    @given(altered(content))
    def check(spoilt):
        path.write_bytes(pickle.dumps(spoilt))
        refuses_or_reads(lambda: read_result(path, video_frames=6))

    check()
