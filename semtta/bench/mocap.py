"""The open benchmark with exact truth: motion capture seen by virtual cameras.

Clips with a text each, from files that the user names, are posed on the library's CC0 body, seen
by virtual cameras and reported by a virtual detector at several levels of difficulty. Whatever is
drawn at random follows from the item's name alone. The levels of an item share their random
numbers: the same scene, seen worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from semtta.bench.benchmark import Item, Sample
from semtta.bench.mocap_scene import SIZE, MocapTruth, Window, scene
from semtta.bench.mocap_split import load_split
from semtta.bench.mocap_windows import SHORTEST, windows_v1, windows_v2
from semtta.bench.motion_labels import wrong_label
from semtta.bench.seeding import named_generator
from semtta.bench.virtual_detector import GONE, LEVELS, detect
from semtta.errors import SemttaError
from semtta.motion.motion_files import FPS
from semtta.skeletons import BODY27, LIMB12

FIRST_FORM = "mocap-v1"
FRAMES = 75  # longest window, unless it is told
_PROTOCOL = "12 limb joints, body's own landmarks, root = mid hip, every frame"
PROTOCOL, PROTOCOL_V1 = f"mocap12-v2: {_PROTOCOL}", f"mocap12: {_PROTOCOL}"
_VIRTUAL = (
    "Truth is exact; body, camera and 2D detector are virtual. The evidence's error model "
    "(2D drift, leaning limbs in 3D) has the form of the one that the embedded lifter was trained "
    "with, at other strengths, and body and landmark definitions are the lifter's own; missing "
    "limbs were in that training, exchanged sides and invented legs were not. Levels were set "
    "beside what the built-in detector does on the beam clips (easy: clean ones, medium: those "
    "with hidden joints); gone is easy without one limb, or both legs, for the whole clip."
)
LIMITS = (
    f"{_VIRTUAL} Performers of the documented files are apart (assets/mocap): {{counted}}"
    "Most clips of new actions are animations keyed by hand (mesh2motion, one performer) or "
    "poses of a second; walking by a performer whom the networks have not seen is hardly in test. "
    "Of other files nobody knows whether the networks have seen their performers (part: unlisted)."
)
LIMITS_V1 = (
    f"{_VIRTUAL} The first form of this benchmark, kept for comparison: of its test side in the "
    "documented file (its val split) cmu61 dances with cmu60 of the training set and cmuX* have no "
    "subject number, so a performer may be in training too; walking and salsa make up most of it. "
    "A folder of the user's may contain training motion (CMU). Intervals resample performers "
    "(cmuX* count as one)."
)
_LIMBS = BODY27.indices(LIMB12.joints)
_LEVELS = {level.name: level for level in (*LEVELS, GONE)}
_V1_LEVELS = tuple(level.name for level in LEVELS)
_DEFAULT_LEVELS = ("medium", "gone")  # the two that methods differ in; all four take twice as long


@dataclass(frozen=True)
class MocapBenchmark:
    """Held-out motion capture through virtual cameras; see ``open_mocap``.

    Args:
        motions: file or folder.
        split: "dev" to tune on, "test" to report, "all".
        frames: longest window.
        cameras: how many look at each window.
        levels: names of the detector's levels.
        name: "mocap", or "mocap-v1" for the windows of its first form.
    """

    motions: Path
    split: str = "test"
    frames: int = FRAMES
    cameras: int = 1
    levels: tuple[str, ...] = tuple(_LEVELS)
    name: str = "mocap"

    @property
    def protocol(self) -> str:
        return PROTOCOL_V1 if self.name == FIRST_FORM else PROTOCOL

    @property
    def limits(self) -> str:
        return LIMITS_V1 if self.name == FIRST_FORM else LIMITS.format(counted=_counted(self.split))

    def windows(self) -> list[Window]:
        """The stretches of motion that are seen, in a fixed order."""
        path = Path(self.motions)
        changed = max((file.stat().st_mtime_ns for file in [path, *path.glob("*.npz")]
                       if file.exists()), default=0)  # fmt: skip
        choose = windows_v1 if self.name == FIRST_FORM else windows_v2
        return list(choose(str(path), self.split, self.frames, changed))

    def items(self) -> list[Item]:
        """Window after window, camera after camera, level after level."""
        return [
            Item(
                name=f"{window.name}-cam{camera + 1}-{level}",
                sequence=window.entry.name,
                level=level,
                label=window.label,
                group=window.performer,
                part=window.part,
            )
            for window in self.windows()
            for camera in range(self.cameras)
            for level in self.levels
        ]

    def load(self, item: Item) -> Sample:
        """Pose the body, place the camera and run the virtual detector."""
        view, _, level = item.name.rpartition("-")
        name, _, number = view.rpartition("-cam")
        windows = {window.name: window for window in self.windows()}
        if name not in windows or level not in _LEVELS or not number.isdigit():
            raise SemttaError(f"the {self.name} benchmark has no item '{item.name}'.")
        window = windows[name]
        rotmats, points, betas, camera = scene(window, int(number) - 1, self.cameras)
        times = torch.arange(window.frames, dtype=torch.float64) / FPS
        look = named_generator(f"look:{view}")
        seen = detect(points, times, camera, SIZE, _LEVELS[level], look)
        truth = MocapTruth(rotmats, betas, points[:, _LIMBS], seen.hidden[:, _LIMBS])
        return Sample(
            item=item,
            track=seen.track,
            camera=camera,
            labels=[item.label] * window.frames,
            truth=truth,
            wrong_label=wrong_label(item.label, name),
        )


def open_mocap(
    motions: str | Path,
    split: str = "test",
    *,
    frames: int = FRAMES,
    cameras: int | None = None,
    levels: tuple[str, ...] = (),
    name: str = "mocap",
) -> MocapBenchmark:
    """The benchmark on the user's motion capture.

    Args:
        motions: see ``semtta.motion.motion_files.list_motions``.
        split: "dev", "test" or "all". Clips of the documented files go by ``mocap_split``; other
            motion by the hash of its performer's name: one in three is dev, for good. Of a file
            with splits of its own nothing that it calls "train" is used.
        frames: longest window at 30 frames a second. A clip gives at most two.
        cameras: virtual cameras around each window; one, in the first form three.
        levels: of "easy", "medium", "hard", and (not in the first form) "gone"; by default
            medium and gone, in the first form its three.
        name: "mocap", or "mocap-v1" for the first form.
    Raises ``SemttaError`` for unknown names and for files without motion of that split."""
    first_form = name == FIRST_FORM
    known = _V1_LEVELS if first_form else tuple(_LEVELS)
    unknown = [level for level in levels if level not in known]
    if unknown:
        raise SemttaError(f"unknown level '{', '.join(unknown)}'; use {', '.join(known)}.")
    if split not in ("dev", "test", "all"):
        raise SemttaError(f"unknown split '{split}'; use dev, test or all.")
    cameras = (3 if first_form else 1) if cameras is None else cameras
    if frames < SHORTEST or cameras < 1:
        raise SemttaError(f"windows need at least {SHORTEST} frames and one camera.")
    levels = tuple(levels) or (known if first_form else _DEFAULT_LEVELS)
    benchmark = MocapBenchmark(Path(motions), split, frames, cameras, levels, name)
    if not benchmark.windows():
        raise SemttaError(f"'{motions}' has no motion of the split '{split}' with {SHORTEST} "
                          "frames or more; try --split all.")  # fmt: skip
    return benchmark


def _counted(split: str) -> str:
    """Which performers of the documented files a number of these weights counts."""
    people = load_split()
    names = [name for name, side in people.sides.items()
             if split in (side, "all") and side != "train"]  # fmt: skip
    return f"of their {split} side {', '.join(names)} are counted. "
