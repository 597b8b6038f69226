"""How much of a network's own adaptation a refinement of its result reaches, and what it spoils.

    python -m tools.measure_refiner MOTIONS [--split dev] [--count 6] [--out FILE] [key=value ...]

On tracks of the ``mocap`` benchmark, with the right label: the lifter frozen and adapted, its
frozen result refined, the truth with a little noise refined (level easy, every joint seen), and the
same with straight legs wherever a leg is hidden (level medium): what a program invents there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import roma
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.benchmark import Sample
from semtta.bench.mocap import open_mocap
from semtta.bench.seeding import named_generator
from semtta.body import Body
from semtta.config import Config, load_config
from semtta.geometry import gaussian_smooth
from semtta.hmr.refiner import make_refiner
from semtta.hmr.results.parts import ResultFile, ResultTrack
from semtta.skeletons import LIMB12, SMPL24
from semtta.tta.adapter import Adapter
from semtta.tta.result import Motion, Result

LEVELS = ("medium", "gone")
SHOWN = ("pa_mpjpe_mm", "mpjpe_mm", "pa_mpjpe_occluded_mm", "mpjpe_occluded_mm", "accel_mm")
_DEGREES, _BETAS = 3.0, 0.1  # of the noise on the truth


def as_result(motion: Motion, sample: Sample) -> ResultFile:
    """A motion as if it had been read from a file."""
    count = len(motion.rotmats)
    focal = torch.full((count,), sample.camera.focal)
    center = torch.tensor(sample.camera.center).expand(count, 2)
    frames = sample.track.frames
    person = ResultTrack(sample.track.id, frames, motion.rotmats, motion.betas, motion.trans,
                         focal, center)  # fmt: skip
    return ResultFile(Path(sample.item.name), (person,), "")


def refined(motion: Motion, sample: Sample, config: Config, labels) -> Result:
    """A motion after refinement."""
    adapter = Adapter(make_refiner(as_result(motion, sample)), config=config)
    return adapter.adapt(sample.track, sample.camera, labels)


def nearly_true(sample: Sample, body: Body) -> Motion:
    """The truth with a small error that changes over half a second, where it truly is."""
    truth = sample.truth
    count, draw = len(truth.rotmats), named_generator(f"noise:{sample.item.name}")
    turn = roma.rotvec_to_rotmat(torch.randn(count, 24, 3, generator=draw) * 0.35)
    turn = roma.rotmat_to_rotvec(gaussian_smooth(turn, torch.arange(count) / 30, 0.15))
    turn = turn * (_DEGREES * torch.pi / 180 / turn.norm(dim=-1).mean())
    rotmats = truth.rotmats @ roma.rotvec_to_rotmat(turn)
    betas = truth.betas + _BETAS * torch.randn(10, generator=draw)
    betas = betas.expand(count, 10).contiguous()
    placed = truth.betas.expand(count, 10)
    trans = (truth.joints - body.landmarks(truth.rotmats, placed, LIMB12)).mean(1)
    return Motion(rotmats, betas, trans, trans, trans, trans)


def guessed(base: Motion, sample: Sample) -> Motion:
    """The motion with a straight leg in every frame in which its knee or ankle is hidden."""
    rotmats, hidden = base.rotmats.clone(), sample.truth.occluded
    for side in ("left", "right"):
        away = hidden[:, LIMB12.indices([f"{side}_knee", f"{side}_ankle"])].any(1)
        for joint in SMPL24.indices([f"{side}_{part}" for part in ("hip", "knee", "ankle")]):
            rotmats[away, joint] = torch.eye(3)
    return replace(base, rotmats=rotmats)


def samples(motions: Path, split: str, count: int, levels=LEVELS) -> Iterator[Sample]:
    """Tracks evenly spread over a side of the benchmark, each at every level."""
    bench = open_mocap(motions, split, levels=tuple(levels))
    windows = len(bench.items()) // len(levels)
    for k in range(count):
        first = len(levels) * round(k * (windows - 1) / max(count - 1, 1))
        for item in bench.items()[first : first + len(levels)]:
            yield bench.load(item)


def measured(sample: Sample, base: Motion, adapted: Motion, body) -> dict:
    """Errors of two motions of a sample."""
    before, after = (sample.truth.score(motion, body) for motion in (base, adapted))
    return {"item": sample.item.name} | {
        f"{name} {key}": row[key]
        for name, row in (("base", before), ("adapted", after))
        for key in row
    }


def mean_of(rows: list[dict], key: str) -> float:
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / max(len(values), 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", default=[])
    given = parser.parse_intermixed_args()
    lifter = Adapter("lifter", config=load_config("default", ["evidence.heldout=0"]))
    config = load_config("refine", ["evidence.heldout=0", *given.overrides])
    found: dict[str, list[dict]] = {
        "lifter": [], "refine": [], "nearly true": [], "straight legs": [],
    }  # fmt: skip
    for sample in samples(given.motions, given.split, given.count, (*LEVELS, "easy")):
        own = lifter.adapt(sample.track, sample.camera, sample.labels)
        if sample.item.level == "easy":
            if not bool(sample.truth.occluded.any()):
                base = nearly_true(sample, lifter.body)
                result = refined(base, sample, config, sample.labels)
                found["nearly true"].append(
                    measured(sample, result.base, result.adapted, lifter.body)
                )
            continue
        result = refined(own.base, sample, config, sample.labels)
        found["lifter"].append(measured(sample, own.base, own.adapted, lifter.body))
        found["refine"].append(measured(sample, result.base, result.adapted, lifter.body))
        if sample.item.level == "medium":
            base = guessed(nearly_true(sample, lifter.body), sample)
            result = refined(base, sample, config, sample.labels)
            found["straight legs"].append(
                measured(sample, result.base, result.adapted, lifter.body)
            )
    for name, rows in found.items():
        for key in SHOWN:
            before, after = mean_of(rows, f"base {key}"), mean_of(rows, f"adapted {key}")
            print(f"{name:12} {key:16} {before:7.1f} -> {after:7.1f}")
    if given.out:
        given.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
