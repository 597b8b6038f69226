"""Make ``semtta/assets/page/three.min.js`` and its licence from pinned npm packages.

    python tools/build_page.py

Needs ``npm`` (Node 18 or newer) and its registry. The tarball of three.js is checked by sha256;
esbuild bundles what ``tools/page/three.js`` names, minified, as one script that defines ``THREE``.
The same versions give the same bytes; NOTICE has their hash.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "semtta" / "assets" / "page"
THREE, THREE_SHA256 = (
    "three@0.187.0",
    ("ff540832ded0cfe919764d24a3d88f3e2a05f23303f876423e4f893841e90728"),
)
ESBUILD = "esbuild@0.28.2"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(folder, "npm", "pack", THREE, "--silent")
        tarball = next(folder.glob("three-*.tgz"))
        found = hashlib.sha256(tarball.read_bytes()).hexdigest()
        if found != THREE_SHA256:
            raise SystemExit(f"{THREE} has sha256 {found}, expected {THREE_SHA256}.")
        (folder / "package.json").write_text('{"private": true}')
        _run(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", f"./{tarball.name}",
             ESBUILD)  # fmt: skip
        shutil.copy(ROOT / "tools" / "page" / "three.js", folder / "entry.js")
        _run(
            folder, "node_modules/.bin/esbuild", "entry.js", "--bundle", "--minify",
            "--format=iife", "--global-name=THREE", "--target=es2020", "--charset=ascii",
            "--legal-comments=inline", "--outfile=three.min.js", "--log-level=warning",
        )  # fmt: skip
        TARGET.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "three.min.js", TARGET / "three.min.js")
        shutil.copy(folder / "node_modules" / "three" / "LICENSE", TARGET / "LICENSE-three.txt")
    made = TARGET / "three.min.js"
    print(f"{made}: {made.stat().st_size} bytes, {hashlib.sha256(made.read_bytes()).hexdigest()}")


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
