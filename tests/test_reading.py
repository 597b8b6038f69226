"""Strangers' files: one sentence, bounded memory, nothing ever run."""

import io
import os
import time
import zipfile

import numpy as np
import pytest

from semtta.errors import SemttaError
from semtta.reading import (
    check_file,
    npz_names,
    npz_shape,
    read_json,
    read_npy,
    read_npz,
    read_text,
    reading,
)


def npz(path, **entries):
    """An archive of raw entries, as a hostile writer would make it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return path


def header(text, body=b""):
    text = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize("array", [
    np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.float32(3),
    np.array("coco17"), np.zeros((0, 17, 2)), np.array(["a", "bc"]), np.arange(3, dtype=">i2"),
])  # fmt: skip
def test_arrays_come_back_as_they_were_saved(tmp_path, array):
    np.savez_compressed(tmp_path / "a.npz", a=array)
    np.save(tmp_path / "a.npy", array)
    for read in (read_npz(tmp_path / "a.npz", "poses")["a"], read_npy(tmp_path / "a.npy", "x")):
        assert read.dtype == np.asarray(array).dtype and np.array_equal(read, array)
        assert read.flags.writeable
    assert npz_names(tmp_path / "a.npz", "poses") == ["a"]
    assert npz_shape(tmp_path / "a.npz", "a", "poses") == np.asarray(array).shape


def test_a_pickled_object_is_named_and_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", good=np.ones(3), bad=np.array([{}], object))
    assert list(read_npz(tmp_path / "a.npz", "poses")) == ["good"]
    assert list(read_npz(tmp_path / "a.npz", "poses", ["good", "absent"])) == ["good"]
    with pytest.raises(SemttaError, match="'bad' is a pickled object"):
        read_npz(tmp_path / "a.npz", "poses", ["bad"])


@pytest.mark.parametrize(("data", "words"), [
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000,), }"), "but has 0"),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**30,), }"), "cannot be read"),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 40 + ",), }"), "claims"),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"), "shape"),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (("), "cannot be read"),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", b"\0" * 8), "has 8 bytes"),
    (b"\x93NUMPY\x09\x09", "version 9.9"),
    (b"", "cannot be read"),
])  # fmt: skip
def test_what_an_array_claims_is_held_against_what_is_there(tmp_path, data, words):
    npz(tmp_path / "a.npz", xy=data)
    (tmp_path / "a.npy").write_bytes(data)
    for read, name in ((read_npz, "a.npz"), (read_npy, "a.npy")):
        with pytest.raises(SemttaError, match=words) as refused:
            read(tmp_path / name, "poses")
        assert name in str(refused.value) and "\n" not in str(refused.value)


def test_a_bomb_is_not_unpacked(tmp_path):
    """40 MiB of zeros that take 40 kB: refused by the size that the archive's list gives."""
    stream = io.BytesIO()
    np.save(stream, np.zeros(5_000_000))
    npz(tmp_path / "a.npz", xy=stream.getvalue())
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with pytest.raises(SemttaError, match="unpacked it would have 38 MiB"):
        read_npz(tmp_path / "a.npz", "poses", limit=1 << 20)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello" * 99])
def test_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(SemttaError, match="a.npz"):
        read_npz(tmp_path / "a.npz", "poses")


def test_pipes_devices_and_folders_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name, words in (("pipe", "pipe"), ("endless", "device"), (".", "folder"), ("no", "exist")):
        with pytest.raises(SemttaError, match=words):
            check_file(tmp_path / name, "poses")
    with pytest.raises(SemttaError, match="null"):
        check_file("a\0b", "poses")
    (tmp_path / "large").write_bytes(b"x" * 2_000_000)
    with pytest.raises(SemttaError, match="2 MiB; more than 1 MiB"):
        read_text(tmp_path / "large", "poses", 1 << 20)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "1" * 5000, "\ufffe"])
def test_json_that_is_none(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(SemttaError, match="a.json"):
        read_json(tmp_path / "a.json", "poses")


@pytest.mark.parametrize(("piece", "words"), [
    ("[],", "more than 5000000 lists and objects"), ("{},", "more than 5000000 lists and objects"),
    ('"",', "more than 20000000 quotation marks"), ("1,", "more than 80000000 values"),
])  # fmt: skip
def test_json_of_countless_pieces_is_not_unpacked(tmp_path, piece, words):
    count = int(words.split()[2]) // piece.count('"' if '"' in piece else piece[0]) + 1
    (tmp_path / "a.json").write_text("[" + piece * count + "1]")
    began = time.process_time()
    with pytest.raises(SemttaError, match=words):
        read_json(tmp_path / "a.json", "2D poses")
    assert time.process_time() - began < 3


def test_json_of_many_pieces_is_read(tmp_path):
    (tmp_path / "a.json").write_text("[" + '{"a":[1,2]},' * 100_000 + "1]")
    assert len(read_json(tmp_path / "a.json", "2D poses")) == 100_001


def test_a_byte_order_mark_is_no_content(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a.json", "poses") == [1]


def test_the_guard_says_one_printable_line():
    for error in (ValueError("a\x1b[31m\nb"), MemoryError(), KeyError("joints"), IndexError(),
                  RecursionError(), OSError(5, "Input/output error")):  # fmt: skip
        with pytest.raises(SemttaError) as said, reading("x\x1b.json", "poses"):
            raise error
        assert str(said.value).isprintable() and str(said.value).startswith("poses 'x\\x1b.json' ")
    with pytest.raises(SemttaError, match="^mine$"), reading("x", "poses"):
        raise SemttaError("mine")
