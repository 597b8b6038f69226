"""Whether a container is whole, from its own structure: found before any frame is decoded.

Durations and frame counts are no proof: a trimmed file keeps more than it shows, and sound may be
longer than the picture. A box that goes on past the end of the file is one.
"""

from __future__ import annotations

from pathlib import Path

from semtta.errors import SemttaError
from semtta.video.opening import convert

_BOXES = (b"moov", b"moof", b"mdat")  # of MP4 and QuickTime: what a picture needs
_PARTS = 200_000  # looked at; a stream of fragments may have many
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_SLACK = 16  # bytes; some AVI writers count their own header


def check_complete(path: Path) -> None:
    """Raise ``SemttaError`` if an MP4, QuickTime, Matroska, WebM, AVI or GIF file is cut off."""
    missing = lacks(path)
    if missing is not None:
        raise SemttaError(
            f"'{path}' is cut off or damaged: {missing}; copy it again, or keep what can be seen "
            f"with: {convert(path, 'mended.mp4')}"
        )


def lacks(path: Path) -> str | None:
    """What is missing in a file of one of these kinds; None if nothing is."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] == _EBML:
            return _matroska(file, size)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return _avi(file, size)
        if head[4:8] in (b"ftyp", b"wide", b"free", b"skip", b"pnot", *_BOXES):
            return _mp4(file, size)
        if head[:4] == b"GIF8":
            return _gif(file, size)
    return None


def _mp4(file, size: int) -> str | None:
    at, seen = 0, set()
    for _ in range(_PARTS):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            break
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        if kind in _BOXES:
            if length and at + length > size:
                return f"it ends {at + length - size} bytes early, within its '{kind.decode()}'"
            seen.add(kind)
        if length < 8:  # 0: this box is the last; else what follows is no box
            break
        at += length
    if b"moov" not in seen and b"mdat" in seen:
        return "it was never finished (there is no 'moov', which says where the frames are)"
    return None


def _matroska(file, size: int) -> str | None:
    """The segment says how long it is; where it was streamed, its parts do."""
    at = 0
    for _ in range(_PARTS):
        file.seek(at)
        header = file.read(16)
        name, start = _vint(header, 0, keep=True)
        length, start = _vint(header, start)
        if name is None or length is None:  # the end, or a size that was unknown when written
            if header[:4] == _SEGMENT and start:
                at += start
                continue
            break
        if at + start + length > size:
            return f"it ends {at + start + length - size} bytes early"
        at += start + length
    return None


def _vint(data: bytes, at: int, keep: bool = False) -> tuple[int | None, int]:
    """A number of Matroska's variable length and where it ends; None if unknown or not there.

    Args:
        keep: with the bit that says how long it is, as in names."""
    if at >= len(data) or data[at] == 0:
        return None, 0
    width = 9 - data[at].bit_length()
    if at + width > len(data):
        return None, 0
    value = int.from_bytes(data[at : at + width], "big")
    if keep:
        return value, at + width
    value &= (1 << 7 * width) - 1
    return (None if value == (1 << 7 * width) - 1 else value), at + width


def _avi(file, size: int) -> str | None:
    at = 0
    for _ in range(_PARTS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8 or header[:4] != b"RIFF":
            break
        length = int.from_bytes(header[4:], "little")
        if length in (0, 0xFFFFFFFF):  # written to a pipe
            break
        if at + 8 + length > size + _SLACK:
            return f"it ends {at + 8 + length - size} bytes early"
        at += 8 + length + length % 2
    return None


def _gif(file, size: int) -> str | None:
    file.seek(max(0, size - 64))
    ended = file.read().rstrip(b"\0").endswith(b";")
    return None if ended else "its end mark is missing"
