"""Make the demo's files from their sources.

    pip download --no-deps pose2sim==0.10.0
    python tools/build_demo.py --wheel pose2sim-0.10.0-py3-none-any.whl --truth beam_truth.npz

Copies the clip of camera 2 with the person in front, unchanged, with its licence, and reduces the
triangulated truth of the four views to the 12 limb joints that are reported.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from semtta.bench.beam_clips import unpack_clips
from semtta.skeletons import LIMB12

FOLDER = Path(__file__).parents[1] / "semtta" / "assets" / "demo"
# Joint-frames hidden by the person in front: found by differencing the two clips of a camera.
# First and last frame of each range, inclusive.
OCCLUDED = {
    "cam01": {"left_wrist": [(73, 79), (83, 84)]},
    "cam02": {"right_knee": [(42, 43), (48, 50)], "right_ankle": [(31, 32), (39, 61)]},
    "cam03": {
        "left_shoulder": [(45, 66), (68, 82)],
        "left_elbow": [(42, 91)],
        "left_wrist": [(71, 77), (82, 83), (85, 92)],
    },
    "cam04": {"right_wrist": [(86, 99)], "right_knee": [(44, 52)]},
}
# Spelling of the truth file for each limb joint.
SPELLING = {
    f"{side}_{part}": f"{side[0].upper()}{part.capitalize()}"
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True, help="pose2sim 0.10.0 or 0.10.49")
    parser.add_argument("--truth", type=Path, required=True, help="triangulated truth (npz)")
    args = parser.parse_args()

    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        clips = {clip.name: clip for clip in unpack_clips(args.wheel, folder)}
        shutil.copyfile(clips["cam02-occluded"].path, FOLDER / "cam02_occluded.mp4")
    with zipfile.ZipFile(args.wheel) as wheel:
        licence = next(n for n in wheel.namelist() if n.endswith("LICENSE"))
        (FOLDER / "LICENSE-pose2sim.txt").write_bytes(wheel.read(licence))

    with np.load(args.truth) as file:
        names = list(file["joint_names"])
        pick = [names.index(SPELLING[joint]) for joint in LIMB12.joints]
        truth = {key: file[key] for key in ("K", "dist", "R", "t", "affine_single_to_multi", "fps")}
        truth["joints3d"] = file["joints3d"][:, pick]
        truth["joints3d_se_mm"] = file["joints3d_se_mm"][:, pick].astype(np.float16)
    truth["joint_names"] = np.array(LIMB12.joints)
    truth["cam_names"] = np.array(list(OCCLUDED))
    truth["occluded"] = occlusion(len(truth["joints3d"]))
    np.savez_compressed(FOLDER / "beam_truth.npz", **truth)
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name:24s} {path.stat().st_size:9,d} bytes")


def occlusion(frames: int) -> np.ndarray:
    """(4, frames, 12) bool from the ranges above."""
    mask = np.zeros((len(OCCLUDED), frames, len(LIMB12)), bool)
    for camera, joints in enumerate(OCCLUDED.values()):
        for joint, ranges in joints.items():
            for first, last in ranges:
                mask[camera, first : last + 1, LIMB12.index(joint)] = True
    return mask


if __name__ == "__main__":
    main()
