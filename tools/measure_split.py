"""How near the sides of the mocap benchmark's split come to each other.

    python -m tools.measure_split motion_lite_30fps.npz motion_more_30fps.npz

writes docs/results/mocap_split.json: for each clip of the test and dev sides the nearest second of
motion on the sides that it must not repeat (test: train and dev; dev: train), and the pairs of
conversions of one take that the files hold, as a measure of what a repeated take looks like.

Seconds of motion are compared by the directions of the eight limb bones in the trunk's axes,
each about its own mean over the second: conversions of one take turn whole limbs by up to 25
degrees, but not what moves. The distance is a share of how much the clip moves: 0 is the same
motion, 1 no likeness. Mirrored seconds are compared, too. Clips that hardly move (below
``STILL`` degrees) look like every other still clip and are only counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.bench.mocap_split import DEV, TEST, TRAIN, Split, load_split
from semtta.motion.motion_files import FPS, MotionEntry, list_motions, read_motion
from semtta.shipped import file_sha256
from semtta.skeletons import SMPL24

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "semtta" / "assets" / "mocap"
REPORT = ROOT / "docs" / "results" / "mocap_split.json"
LENGTH, STEP = 30, 3  # frames of a window, frames between those compared
STILL = 3.0  # degrees: clips that move less are not judged
NEAR = 0.2  # a clip nearer than this, in the median of its windows, repeats another
_DOWN, _LEFT = torch.tensor([0.0, -1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])


@dataclass(frozen=True)
class Seconds:
    """All seconds of a clip: ``moves`` (N, 240) radians about their means, ``size`` (N,)."""

    moves: Tensor
    size: Tensor


def seconds(rotmats: np.ndarray, stride: int = 1, mirrored: bool = False) -> Seconds | None:
    """Windows of (T, 24, 3, 3) local rotations, one each ``stride`` frames; None if shorter."""
    if len(rotmats) < LENGTH:
        return None
    bones = _bones(torch.from_numpy(rotmats).float())
    if mirrored:
        bones = bones[:, [2, 3, 0, 1, 6, 7, 4, 5]] * bones.new_tensor([-1.0, 1.0, 1.0])
    first = torch.arange(0, len(bones) - LENGTH + 1, stride)
    windows = bones[first[:, None] + torch.arange(0, LENGTH, STEP)]
    moves = windows - windows.mean(1, keepdim=True)
    moves = moves.flatten(1) / (moves.shape[1] * moves.shape[2]) ** 0.5
    return Seconds(moves, moves.norm(dim=1))


def _bones(rotmats: Tensor) -> Tensor:
    """(T, 8, 3) directions in the pelvis' axes: thigh and shank, upper arm and forearm, of the
    left and of the right side."""

    def turned(*joints: str) -> Tensor:
        turn = rotmats[:, SMPL24.index(joints[0])]
        for joint in joints[1:]:
            turn = turn @ rotmats[:, SMPL24.index(joint)]
        return turn

    found = []
    for side in ("left", "right"):
        hip, knee = f"{side}_hip", f"{side}_knee"
        found += [turned(hip) @ _DOWN, turned(hip, knee) @ _DOWN]
    spine = ("spine1", "spine2", "spine3")
    for side, out in (("left", _LEFT), ("right", -_LEFT)):
        arm = (*spine, f"{side}_collar", f"{side}_shoulder")
        found += [turned(*arm) @ out, turned(*arm, f"{side}_elbow") @ out]
    return torch.stack(found, 1)


def nearest(clip: Seconds, others: Tensor) -> Tensor:
    """(N,) distance of each second of a clip from the nearest of (M, 240), a share of its size."""
    floor = np.radians(STILL)
    return torch.cdist(clip.moves, others).amin(1) / clip.size.clamp_min(floor)


def measure(rotmats: dict[str, np.ndarray], split: Split) -> list[dict]:
    """One row per clip of the test and dev sides: its nearest clip on the other sides."""
    sides = {name: known.side for name in rotmats if (known := split.find(name)) is not None}
    pool: dict[str, Tensor] = {}
    for name, motion in rotmats.items():
        both = [seconds(motion, 1, mirrored) for mirrored in (False, True)]
        if both[0] is not None and both[1] is not None:
            pool[name] = torch.cat((both[0].moves, both[1].moves))
    rows = []
    for name, side in sides.items():
        against = {TEST: (TRAIN, DEV), DEV: (TRAIN,)}.get(side, ())
        clip = seconds(rotmats[name], stride=3)
        names = [n for n in pool if sides[n] in against]
        if clip is None or not names:
            continue
        distances = torch.stack([nearest(clip, pool[n]) for n in names])
        closest, who = distances.min(0)
        middle = int(closest.argsort()[len(closest) // 2])
        rows.append({
            "clip": name, "performer": split.clips[name][0], "side": side,
            "moves_deg": round(float(clip.size.median().rad2deg()), 1),
            "distance": round(float(closest[middle]), 3), "nearest": names[int(who[middle])],
        })  # fmt: skip
    return sorted(rows, key=lambda row: row["distance"])


def repeats(rows: Sequence[dict]) -> list[dict]:
    """Rows of clips that move and repeat one of another side."""
    return [row for row in rows if row["moves_deg"] >= STILL and row["distance"] < NEAR]


def lists_hash() -> str:
    """Of the lists that were measured: another split wants another measurement."""
    return ":".join(file_sha256(ASSETS / name)[:12] for name in ("clips.csv", "split.yaml"))


def _takes(path: Path) -> tuple[list[MotionEntry], dict[str, str]]:
    """Every clip of a documented file, repeated takes as well, and the take that each is of."""
    with np.load(path, allow_pickle=False) as data:
        takes = dict(zip(map(str, data["clip_id"]), map(str, data["dup_group"]), strict=True))
        lengths, splits = data["length"], data["split"]
    entries = [
        MotionEntry(name, int(lengths[i]), "", "", "", str(splits[i]), path, i)
        for i, name in enumerate(takes)
    ]
    return entries, takes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("motions", nargs="+", type=Path)
    files = parser.parse_args(arguments).motions
    torch.set_num_threads(1)
    split, rotmats, takes = load_split(), {}, {}
    for file in files:
        list_motions(file)  # refuses what is not the documented layout
        entries, found = _takes(file)
        takes |= found
        for entry in entries:
            rotmats[entry.name] = read_motion(entry).rotmats[split.cut.get(entry.name, 0) :]
    strangers = sorted(set(rotmats) - set(split.clips))
    if strangers:
        sys.exit(f"clips.csv does not name {len(strangers)} clips, the first is {strangers[0]}.")
    for name, take in takes.items():
        if take in split.clips and split.clips[take][0] != split.clips[name][0]:
            sys.exit(f"{name} and {take} are one take but have two performers.")
    rows = measure(rotmats, split)
    known = []
    for name, take in takes.items():
        one, other = seconds(rotmats[name]), seconds(rotmats.get(take, rotmats[name]))
        if name != take and one is not None and other is not None:
            known.append(round(float(nearest(one, other.moves).median()), 3))
    report = {
        "command": "python -m tools.measure_split FILE FILE", "lists": lists_hash(),
        "window_s": LENGTH / FPS, "near": NEAR, "still_deg": STILL,
        "files": {file.name: file_sha256(file) for file in files},
        "conversions_of_one_take": sorted(known), "clips": rows,
    }  # fmt: skip
    REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for row in [row for row in rows if row["moves_deg"] >= STILL][:12]:
        print(*row.values())
    found_near = repeats(rows)
    print(f"{len(rows)} clips, {len(found_near)} nearer than {NEAR}; conversions of one take: "
          f"{known and max(known)} at most.")  # fmt: skip
    return 1 if found_near else 0


if __name__ == "__main__":
    sys.exit(main())
