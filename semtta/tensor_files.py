"""Tensors in other people's files: ``.safetensors``, what ``torch.save`` wrote, TorchScript.

Nothing in a file is ever run. A pickle is read by an unpickler that knows how tensors and plain
containers are rebuilt and puts an inert stand-in wherever it names anything else; of a TorchScript
archive only the attributes that hold tensors are read, never its code. Tensors are views of the
mapped file: what a file claims is held against what it has before anything takes memory.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.reading import MEBI, check_file, reading
from semtta.tensor_pickles import Inert, Storage, TensorUnpickler, attributes, whole

_PICKLE_LIMIT = 8 * MEBI  # of the part that names tensors; a billion weights have 0.2 MiB of names
_HEADER_LIMIT = 64 * MEBI  # of JSON
_UNPACKED_LIMIT = 384 * MEBI  # of all compressed tensors of an archive
_LEGACY = (0x1950A86A20F9469CFC6C, 1001)  # what ``torch.save`` began a file with until 2020
_SAFETENSORS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
                "BF16": torch.bfloat16}  # fmt: skip


def read_tensors(path: str | Path, what: str, scripted: bool = False):
    """The content of a file with tensors: a dictionary as a rule, in it tensors on the CPU.

    Args:
        path: the file.
        what: how an error calls it, with an article: "a MotionCLIP checkpoint".
        scripted: whether it may be a TorchScript archive, which is read as the state dict that
            its module would have.

    Raises ``SemttaError`` if the file is missing, damaged or something else."""
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no file '{path}' to read {what} from.")
    check_file(path, what)
    try:
        with reading(path, what):
            if path.suffix == ".safetensors":
                return _read_safetensors(path)
            return _read_archive(path, what, scripted) if zipfile.is_zipfile(path) else (
                _read_legacy(_mapped(path))
            )  # fmt: skip
    except SemttaError as error:
        if error.__cause__ is None:  # a sentence of its own
            raise
        why = str(error).partition("cannot be read: ")[2].rstrip(".")
        raise SemttaError(
            f"'{path}' is damaged or not {what} ({why}); copy or download it again."
        ) from error.__cause__


def _mapped(path: Path) -> mmap.mmap:
    """The bytes of a file, read when they are looked at; writing changes the copy in memory."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _view(data, dtype: torch.dtype, start: int, count: int) -> Tensor:
    """(count,) numbers of a buffer from a byte on; raises ``ValueError`` if it has fewer."""
    size = count * dtype.itemsize
    if not 0 <= start <= start + size <= len(data):
        raise ValueError("a tensor claims more numbers than there are")
    if count == 0:
        return torch.empty(0, dtype=dtype)
    if start % dtype.itemsize:
        return torch.frombuffer(bytearray(data[start : start + size]), dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=count, offset=start)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The floating-point tensors of a ``.safetensors`` file.

    The format: 8 bytes little-endian length, that many bytes of JSON, then the data; the JSON
    gives each tensor's dtype, shape and range of bytes."""
    data = _mapped(path)
    length = int.from_bytes(data[:8], "little")
    if length > min(len(data) - 8, _HEADER_LIMIT):
        raise ValueError("the header is longer than the file")
    tensors = {}
    for key, entry in json.loads(data[8 : 8 + length]).items():
        if key == "__metadata__" or entry["dtype"] not in _SAFETENSORS:
            continue
        dtype, shape = _SAFETENSORS[entry["dtype"]], whole(entry["shape"])
        begin, end = whole(entry["data_offsets"])
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"tensor {key} lies outside the file")
        tensors[key] = _view(data, dtype, 8 + length + begin, math.prod(shape)).reshape(shape)
    return tensors


def _read_archive(path: Path, what: str, scripted: bool):
    """A zip: ``torch.save`` of today, or TorchScript."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        roots = [n[: -len("data.pkl")] for n in entries if n.endswith("/data.pkl")]
        if len(roots) != 1 or roots[0].count("/") != 1:
            raise ValueError("it is a zip without tensors")
        root = roots[0]
        script = f"{root}constants.pkl" in entries
        if script and not scripted:
            raise SemttaError(f"'{path}' is a TorchScript program, not {what}.")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers have their bytes in another order")
        names = archive.getinfo(f"{root}data.pkl")
        if names.file_size > _PICKLE_LIMIT:
            raise ValueError(f"it names its tensors in more than {_PICKLE_LIMIT // MEBI} MiB")
        storage = _archive_storage(archive, entries, f"{root}data/", _mapped(path))
        content = TensorUnpickler(io.BytesIO(archive.read(names)), storage).load()
    if not script:
        return content
    if not isinstance(content, Inert):
        raise ValueError("it holds no module")
    return attributes(content)


def _archive_storage(archive, entries: dict, folder: str, data) -> Storage:
    """Finds an archive's storages; compressed ones are unpacked, up to a limit together."""
    unpacked: dict[str, bytearray] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
        info = entries[f"{folder}{key}"]
        if info.flag_bits & 1:
            raise ValueError("it is encrypted")
        if info.compress_type == zipfile.ZIP_STORED:
            head = data[info.header_offset : info.header_offset + 30]
            start = info.header_offset + 30 + int.from_bytes(head[26:28], "little")
            start += int.from_bytes(head[28:30], "little")
            if head[:4] != b"PK\x03\x04" or count * dtype.itemsize > info.file_size:
                raise ValueError("a tensor claims more numbers than there are")
            return _view(data, dtype, start, count)
        if key not in unpacked:
            if sum(map(len, unpacked.values())) + info.file_size > _UNPACKED_LIMIT:
                raise ValueError(
                    "its compressed tensors have more than "
                    f"{_UNPACKED_LIMIT // MEBI} MiB; save it without compression"
                )
            unpacked[key] = bytearray(archive.read(info))
        return _view(unpacked[key], dtype, 0, count)

    return storage


def storage_of_bytes(data: bytes) -> Tensor:
    """The numbers, 1-D, of a tensor in a pickle that ``torch.save`` did not write."""
    numbers = _read_legacy(bytearray(data))
    if not isinstance(numbers, Tensor):
        raise ValueError("a tensor has no numbers")
    return numbers


def _read_legacy(data):
    """``torch.save`` until 2020: pickles (mark, version, system, content, keys), then the data.

    Where a storage lies is known only after the keys, so the content is read twice."""
    head = io.BytesIO(data[:_PICKLE_LIMIT])
    mark = tuple(TensorUnpickler(head, None).load() for _ in range(2))
    if mark != _LEGACY:
        raise ValueError("it is not what PyTorch saves")
    TensorUnpickler(head, None).load()
    start = head.tell()
    sizes: dict = {}
    TensorUnpickler(head, lambda dtype, key, count: sizes.setdefault(key, (dtype, count))).load()
    keys = TensorUnpickler(head, None).load()
    place, at = head.tell(), {}
    for key in keys:
        dtype, count = sizes[key]
        if int.from_bytes(data[place : place + 8], "little") != count:
            raise ValueError("it is cut off or damaged")
        at[key] = place + 8
        place += 8 + count * dtype.itemsize
    head.seek(start)
    return TensorUnpickler(
        head, lambda dtype, key, count: _view(data, dtype, at[key], count)
    ).load()
