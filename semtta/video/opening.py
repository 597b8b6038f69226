"""Strangers' video files as plain local files: no other file, address or device is reached."""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from semtta.errors import SemttaError
from semtta.reading import check_file
from semtta.video.info import FRAME_LIMIT

# What holds its pictures itself. Not in it: playlists, which name other files and addresses,
# devices, and formats that are known by the file's name only.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo", "h264",
    "hevc", "vvc", "av1", "obu", "ivf", "m4v", "mjpeg", "mpjpeg", "vc1", "flv", "asf", "ogg", "dv",
    "mxf", "gxf", "nut", "rm", "yuv4mpegpipe", "gif", "apng", "webp_anim", "dirac", "cavsvideo",
    "wtv", "nsv", "h263", "h261", "jpeg_pipe", "png_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe",
)  # fmt: skip
_OPTIONS = {
    "format_whitelist": ",".join(_FORMATS),
    "protocol_whitelist": "none",
    "max_pixels": str(FRAME_LIMIT),
}
_WEBCAM = re.compile(r"[0-9]{1,2}|/dev/video[0-9]{1,2}")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # one letter is a drive of Windows
_RECORD = {
    "linux": "ffmpeg -f v4l2 -i {} -t 10 clip.mp4",
    "darwin": "ffmpeg -f avfoundation -framerate 30 -i 0 -t 10 clip.mp4",
    "win32": "ffmpeg -f dshow -i video=NAME -t 10 clip.mp4",
}  # ten seconds
_CODEC_NAMES = (  # as containers write them: QuickTime and MP4, Matroska and WebM, AVI
    re.compile(rb"hdlr.{8}vide.{0,4096}?stsd.{12}(.{4})", re.DOTALL),
    re.compile(rb"(V_[A-Z0-9][A-Z0-9_/]+)"),
    re.compile(rb"strh.{4}vids(.{4})", re.DOTALL),
)
_LOOK = 1 << 22  # bytes at both ends of a file in which its codec's name is looked for


def existing(path: str | Path) -> Path:
    """The path of a file that is there and not empty; raises ``SemttaError``."""
    refuse_live(path)
    path = check_file(path, "video")
    if path.stat().st_size == 0:
        raise SemttaError(f"video '{path}' is empty (0 bytes).")
    return path


def refuse_live(path: str | Path) -> None:
    """Raise ``SemttaError`` for the number of a webcam or an address, and say what to do."""
    text = str(path)
    if os.path.exists(path):  # a name may look like either
        return
    if _WEBCAM.fullmatch(text):
        raise SemttaError(
            f"'{text}' is a webcam, and a video is read from a file: record one first, e.g. with: "
            f"{_RECORD.get(sys.platform, _RECORD['linux']).format(_device(text))}"
        )
    if match := _ADDRESS.match(text):
        raise SemttaError(
            f"an address ({match[1].lower()}) is not read, only files: record it first, e.g. with: "
            "ffmpeg -i ADDRESS -t 10 -c copy clip.mp4"
        )


def _device(text: str) -> str:
    """A webcam as FFmpeg calls it on Linux."""
    return f"/dev/video{text}" if text.isdecimal() else text


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """The container in a file; raises ``SemttaError`` if there is none that is known."""
    with open(path, "rb", buffering=0) as file:
        try:
            container = av.open(
                Nameless(file, path.suffix), "r", options=_OPTIONS, io_open=_refuse,
                metadata_errors="replace",
            )  # fmt: skip
        except (av.FFmpegError, ValueError, PermissionError):
            raise SemttaError(
                f"'{path}' cannot be opened as a video; it is damaged, cut off or of another kind."
            ) from None
        with container:
            yield container


class Nameless:
    """A file for PyAV: with its ending, which helps to know a format, but without its name, in
    which a library may see a protocol or a pattern."""

    def __init__(self, file, ending: str):
        self.read, self.write, self.tell, self._seek = file.read, file.write, file.tell, file.seek
        known = re.fullmatch(r"\.[a-z0-9]{1,5}", ending.lower())
        self.name = "video" + (known[0] if known else "")

    def seek(self, offset: int, whence: int = 0) -> int:
        """As FFmpeg understands it: a place that cannot be is an error number. PyAV would print
        the traceback of an exception."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL


def _refuse(url: str, flags: int, options: dict) -> None:
    raise PermissionError(f"a video may not open '{url}'")


def undecodable(path: Path) -> str:
    """The sentence for a codec without a decoder, by the name that stands in the file."""
    with open(path, "rb") as file:
        data = file.read(_LOOK)
        file.seek(max(len(data), path.stat().st_size - _LOOK))
        data += file.read(_LOOK)
    found = next((match for form in _CODEC_NAMES if (match := form.search(data))), None)
    name = "" if found is None else f" '{found[1].decode('ascii', 'replace').strip()}'"
    return (
        f"the codec{name} of '{path}' cannot be decoded here; convert it with: "
        f"{convert(path, 'converted.mp4')}"
    )


def convert(path: Path, target: str, options: str = "-c:v libx264") -> str:
    """An ffmpeg command that makes a whole, ordinary file."""
    return f"ffmpeg -i {shlex.quote(str(path))} {options} {target}"
