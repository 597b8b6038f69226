"""What the user asked of a benchmark run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from semtta.errors import SemttaError
from semtta.shipped import file_sha256

# Betas and joints of the shipped body are not SMPL's: these sets need the real file.
NEEDS_SMPL = ("3dpw", "3dhp", "egobody", "emdb")
MOCAP = ("mocap", "mocap-v1")
DEFAULT_METHODS = ("frozen", "frozen+gauss", "2d+smooth", "cycleadapt", "semtta")
# Options that not every benchmark has: name -> benchmarks that do.
_SPECIAL = {
    "root": NEEDS_SMPL, "labels": (*NEEDS_SMPL, "heldout"), "poses2d": NEEDS_SMPL,
    "motions": MOCAP, "wheel": ("beam",), "split": (*NEEDS_SMPL, *MOCAP),
    "masks": ("heldout",), "degrade": ("beam",), "estimator": ("beam",), "frames": MOCAP,
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What the command was told; see ``semtta bench --help``."""

    data: str
    output: Path
    root: Path | None = None
    motions: Path | None = None
    wheel: Path | None = None
    split: str | None = None
    levels: tuple[str, ...] = ()
    protocol: str | None = None
    methods: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    seeds: int = 1
    labels: Path | None = None
    poses2d: str | None = None
    body_models: Path | None = None
    table: str | None = None
    engine: str = "local"
    workers: int | None = None
    limit: int | None = None
    report_only: bool = False
    overrides: tuple[str, ...] = ()
    videos: tuple[Path, ...] = ()
    masks: int | None = None
    degrade: str | None = None
    estimator: Path | None = None
    frames: int | None = None


def check_options(options: Options) -> None:
    """Raise ``SemttaError`` for an option that the benchmark would pass over in silence."""
    for name, known in _SPECIAL.items():
        if getattr(options, name) is not None and options.data not in known:
            raise SemttaError(f"--{name} belongs to --data {'|'.join(known)}, not {options.data}.")
    if options.videos and options.data != "heldout":
        raise SemttaError(
            f"'{options.videos[0]}' is no key=value; videos belong to --data heldout."
        )


def overrides(options: Options) -> list[str]:
    """``key=value`` for all methods, with the body that the data set needs."""
    for item in options.overrides:
        key = item.split("=", 1)[0]
        if key.startswith("camera.") and options.data != "heldout":
            raise SemttaError(f"'{item}': the cameras of {options.data} are known.")
        for taken, option in (("model.name", "--model"), ("seed", "--seeds")):
            if key == taken:
                raise SemttaError(f"'{item}': say it with {option}.")
        if options.data in NEEDS_SMPL and item == "body.name=cc0":
            raise SemttaError(f"'{item}': the truth of {options.data} is measured on SMPL's body.")
    body = ["body.name=smpl"] if options.data in NEEDS_SMPL else []
    return [*body, *options.overrides]


def inputs(options: Options) -> dict[str, str]:
    """What else a result depends on: a change of these is computed anew."""
    names = ("split", "poses2d", "degrade", "frames")
    chosen = {name: getattr(options, name) for name in names}
    if options.poses2d is not None and Path(options.poses2d).is_dir():
        chosen["poses2d"] = _digest(Path(options.poses2d), content=False)
    if options.labels is not None:
        chosen["labels"] = _digest(options.labels, content=True)
    if options.estimator is not None:
        chosen["estimator"] = _digest(options.estimator, content=True)
    return {name: str(value) for name, value in chosen.items() if value is not None}


def _digest(path: Path, content: bool) -> str:
    """Twelve digits of a file or folder, wherever it lies: of what the files say, or, where they
    are many and large, of their sizes and times."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in filter(Path.is_file, files):
        facts = file.stat()
        what = file_sha256(file) if content else f"{facts.st_size} {facts.st_mtime_ns}"
        digest.update(f"{file.relative_to(path).as_posix()}\n{what}\n".encode())
    return digest.hexdigest()[:12]


def command_line(options: Options) -> str:
    """The command that makes these numbers, with placeholders for paths on this machine."""
    words = ["semtta bench", f"--data {options.data}"]
    words += ["VIDEO..."] if options.videos else []
    words += [f"--{name} PATH" for name in ("root", "motions", "wheel", "labels", "estimator")
              if getattr(options, name) is not None]  # fmt: skip
    for name, value in (("table", options.table), ("methods", ",".join(options.methods)),
                        ("model", ",".join(options.models)), ("levels", ",".join(options.levels)),
                        ("protocol", options.protocol), ("poses2d", options.poses2d),
                        ("split", options.split), ("masks", options.masks),
                        ("degrade", options.degrade), ("frames", options.frames),
                        ("limit", options.limit)):  # fmt: skip
        if value:
            words.append(f"--{name} {value}")
    return " ".join([*words, f"--seeds {options.seeds}", *options.overrides])
