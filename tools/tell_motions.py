"""Motion of the training side as the shipped lifter tells it, for ``train_denoiser.py --told``.

    python tools/tell_motions.py --motions FOLDER --out build/told.pt
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.mocap_split import TRAIN
from semtta.body import load_body
from semtta.hmr.lifter import load_lifter
from semtta.shipped import asset
from tools.training.motions import load_clips
from tools.training.told import tell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=Path, required=True, help="file or folder, 30 fps")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lifter", type=Path, default=asset("hmr/lifter.pt"))
    parser.add_argument("--count", type=int, default=7000, help="tracks")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    told = tell(load_lifter(arguments.lifter), load_clips(arguments.motions, TRAIN), load_body(),
                arguments.count, arguments.seed)  # fmt: skip
    told.save(arguments.out)
    print(f"{len(told.said)} tracks, {float(told.seen.float().mean()):.3f} of the rotations seen")


if __name__ == "__main__":
    main()
