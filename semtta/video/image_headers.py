"""Sizes of still images from their headers, before a decoder takes memory for them."""

from __future__ import annotations

import struct
import zlib

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of frame headers
_JPEG_ALONE = frozenset(range(0xD0, 0xD9)) | {0x01}  # markers without a length
_SCAN, _END = 0xDA, b"\xff\xd9"


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG, PNG, BMP, WebP or TIFF file claims; None for other files."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)[0]
        if data.startswith(b"BM"):
            return _bmp(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data)
    except (struct.error, IndexError):
        pass
    return None


def is_whole(data: bytes) -> bool:
    """Whether a JPEG has its end and a PNG all its parts, unharmed; decoders guess the rest."""
    if data.startswith(b"\x89PNG"):
        return _png_parts(data)
    if data.startswith(b"\xff\xd8"):
        # Within a scan the end mark cannot stand by chance; before, it may belong to a thumbnail.
        return data.find(_END, _jpeg(data)[1]) >= 0
    return True


def _png_parts(data: bytes) -> bool:
    """Whether every part of a PNG up to the last one has the check sum that it names."""
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False


def _jpeg(data: bytes) -> tuple[tuple[int, int] | None, int]:
    """The size, and where the first scan begins."""
    size, at = None, 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF or marker in _JPEG_ALONE:  # padding
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _SCAN:
            break
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return size, at


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the header of OS/2
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        low = [int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27)]
        return low[0], low[1]
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    """Of the first picture, which is the one that is read."""
    order = "<" if data.startswith(b"II") else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    sizes = {}
    for i in range(struct.unpack_from(order + "H", data, start)[0]):
        tag, kind = struct.unpack_from(order + "HH", data, start + 2 + 12 * i)
        if tag in (256, 257):
            form = {3: "H", 4: "I"}.get(kind)
            if form is None:
                return None
            sizes[tag] = struct.unpack_from(order + form, data, start + 10 + 12 * i)[0]
    return (sizes[256], sizes[257]) if len(sizes) == 2 else None
