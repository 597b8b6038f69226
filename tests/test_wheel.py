"""The wheel carries everything: built, installed where only its dependencies are, and run."""

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
_LEFT = ("configs", "__pycache__", "*.egg-info")  # a link of installs for development; made anew
OPEN = """
import sys
from pathlib import Path
import semtta
from semtta.bench.beam import beam_truth
from semtta.cli import main
from semtta.config import load_config, shipped_configs
from semtta.bench.table_files import load_table, shipped_tables
from semtta.pose2d.settings import load_settings, shipped_settings
from semtta.shipped import ROOT, asset
from semtta.body import load_body
from semtta.motion import load_embedded
assert Path(semtta.__file__).is_relative_to({prefix!r}), semtta.__file__
for name in shipped_configs(): load_config(name)
for name in shipped_tables(): load_table(name)
for name in shipped_settings(): load_settings(name, [])
load_body(); load_embedded(); semtta.load_model("lifter"); beam_truth(1, with_occluder=True)
print(*sorted(str(p.relative_to(ROOT).as_posix()) for p in ROOT.rglob("*") if p.is_file()))
sys.argv[1:] = ["adapt", str(asset("demo/cam02_occluded.mp4")), *{words!r}]
main()
"""
ADAPT = ("--end 12 --label walking --device cpu -o out "
         "optimizer.epochs=1 optimizer.coverage=1").split()  # fmt: skip
BUILD = "from setuptools.build_meta import build_wheel; build_wheel({folder!r})"


def call(*command, folder):
    """Its stdout; without network, and without the source tree on the path."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_package_is_named_for_the_wheel():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    named = set(settings["options"]["packages"].split()) - {"semtta.configs"}
    found = {".".join(path.parent.relative_to(ROOT).parts)
             for path in (ROOT / "semtta").rglob("__init__.py")}  # fmt: skip
    assert named == found


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The scripts of an environment in which the wheel is installed."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "semtta", source / "semtta", ignore=shutil.ignore_patterns(*_LEFT))
    shutil.copytree(ROOT / "configs", source / "configs", ignore=shutil.ignore_patterns(*_LEFT[1:]))
    for name in _FILES:
        shutil.copy(ROOT / name, source)
    call(sys.executable, "-c", BUILD.format(folder=str(folder)), folder=source)  # as pip does
    (wheel,) = folder.glob("semtta-*.whl")
    home = folder / "environment"
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
    # Its dependencies are those of this environment; a .pth of there is not read through this one.
    theirs = Path(paths["purelib"]) / "dependencies.pth"
    theirs.write_text(sysconfig.get_paths()["purelib"] + "\n")
    scripts = Path(paths["scripts"])
    call(sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-deps",
         "--no-compile", wheel, folder=folder)  # fmt: skip
    shutil.rmtree(source)
    return scripts


@pytest.mark.slow
def test_version_and_settings_come_with_the_wheel(installed, tmp_path):
    assert call(installed / "semtta", "--version", folder=tmp_path).startswith("semtta ")
    shown = call(installed / "semtta", "config", "show", "default", folder=tmp_path)
    assert shown == (ROOT / "configs" / "default.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_assets_come_with_the_wheel_and_a_video_is_adapted_with_them(installed, tmp_path):
    code = OPEN.format(prefix=str(installed.parent), words=ADAPT)
    found = call(installed / "python", "-c", code, folder=tmp_path).splitlines()[0].split()
    assets = ROOT / "semtta" / "assets"
    own = {p.relative_to(assets).as_posix() for p in assets.rglob("*") if p.is_file()}
    assert set(found) == {name.replace(" ", "") for name in own}
    made = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"track-01.npz", "overlay.mp4", "result.html"} <= made
