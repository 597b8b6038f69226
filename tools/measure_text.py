"""What a label tells the motion model that the visible body does not.

    python tools/measure_text.py --motions FOLDER --side test --out docs/results/text_told.json

Limbs of true motion are hidden for two seconds at a time, the fewer are left the less is known: the
model completes them without a label, with the right one, that of another action, and a random
vector. What is measured is the network's own completion, not mixed with a guess (which is the mean
pose of the training side). If the right label helps only where hardly anything else is seen, the
visible body has told what the label would.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.mocap_split import load_split  # noqa: E402
from semtta.bench.motion_labels import wrong_label  # noqa: E402
from semtta.motion.denoiser import load_denoiser  # noqa: E402
from semtta.motion.denoiser_net import WINDOW, MotionDenoiser  # noqa: E402
from semtta.motion.text import TextEncoder, random_directions  # noqa: E402
from tools.training import motions  # noqa: E402
from tools.training.corruption import ARMS, LEGS, LOWER_LEGS  # noqa: E402
from tools.training.denoiser_table import hidden_errors, joints_of  # noqa: E402

# What is hidden, and whether the root's movement is told.
VIEWS: dict[str, tuple[list[int], bool]] = {
    "shanks hidden": (LOWER_LEGS, True),
    "legs hidden": (LEGS, True),
    "legs hidden, root not told": (LEGS, False),
    "arms hidden": (ARMS, True),
    "legs and arms hidden": ([*LEGS, *ARMS], True),
    "all hidden but the root's path": (list(range(24)), True),
    "all hidden": (list(range(24)), False),
}
LABELS = ("none", "right", "wrong", "random")
_RESAMPLES = 2000


@dataclass(frozen=True)
class Windows:
    """Two seconds each of people whom training has not seen.

    Args:
        rotmats: (N, 60, 24, 3, 3), trans: (N, 60, 3) as a camera sees it, metres.
        performers, actions: of each window.
    """

    rotmats: Tensor
    trans: Tensor
    performers: list[str]
    actions: list[str]


def windows_of(path: Path, side: str, most: int = 6) -> Windows:
    """Up to ``most`` windows of each clip, evenly spaced; clips without an action are left out."""
    split, found = load_split(), []
    for clip in motions.load_clips(path, side):
        entry = split.find(clip.name)
        if entry is None or not entry.action or len(clip) < WINDOW:
            continue
        count = min(most, max(1, len(clip) // WINDOW))
        for first in np.linspace(0, len(clip) - WINDOW, count).round().astype(int):
            part = slice(first, first + WINDOW)
            found.append((clip.rotmats[part], clip.trans[part], entry.performer, entry.action))
    rotmats, trans, performers, actions = zip(*found, strict=True)
    path3 = torch.from_numpy(np.stack(trans)).float()
    path3 = path3 - path3[:, :1] + torch.tensor([0.0, 0.0, 4.0])
    return Windows(torch.from_numpy(np.stack(rotmats)).float(), path3, list(performers),
                   list(actions))  # fmt: skip


def mean_pose(path: Path) -> Tensor:
    """(24, 3, 3) the training side's mean of each rotation: a guess that knows nothing."""
    clips = [torch.from_numpy(clip.rotmats).float() for clip in motions.load_clips(path, "train")]
    return roma.special_procrustes(torch.cat(clips).mean(0))


def texts_of(actions: Sequence[str], label: str) -> Tensor | None:
    """(N, D) what the model is told."""
    if label == "none":
        return None
    encoder = TextEncoder.load()
    if label == "random":
        return random_directions(actions, encoder.encode(["walk"]).shape[1], 0)
    said = list(actions)
    if label == "wrong":
        said = [wrong_label(action, f"{i} {action}") for i, action in enumerate(actions)]
    names = sorted(set(said))
    vectors = encoder.encode(names).float()
    return torch.stack([vectors[names.index(name)] for name in said])


@torch.no_grad()
def errors(
    model: MotionDenoiser, windows: Windows, view: str, label: str, guess: Tensor, rest: Tensor
) -> np.ndarray:
    """(N,) error of hidden knees, ankles, elbows and wrists from the pelvis, mm."""
    joints, told = VIEWS[view]
    seen = torch.ones(windows.rotmats.shape[:3])
    seen[..., joints] = 0
    given = torch.where(seen[..., None, None] > 0.5, windows.rotmats, guess)
    text = texts_of(windows.actions, label)
    found = []
    for part in torch.arange(len(given)).split(64):
        out, _ = model.complete(
            given[part], seen[part], None if text is None else text[part],
            windows.trans[part] if told else None,
        )  # fmt: skip
        for i, motion in zip(part.tolist(), out):
            pair = joints_of(motion, rest), joints_of(windows.rotmats[i], rest)
            found.append(hidden_errors(*pair, seen[i]).mean())
    return np.array([float(value) for value in found])


def change(told: np.ndarray, plain: np.ndarray, performers: Sequence[str]) -> list[float]:
    """Mean log-ratio over performers in %, and its 95 % interval (bootstrap over performers)."""
    ratios = defaultdict(list)
    for performer, ratio in zip(performers, np.log(told / plain), strict=True):
        ratios[performer].append(ratio)
    means = np.array([np.mean(group) for group in ratios.values()])
    draws = np.random.default_rng(0).integers(0, len(means), (_RESAMPLES, len(means)))
    low, high = np.quantile(means[draws].mean(1), (0.025, 0.975))
    return [round(100 * float(np.expm1(x)), 1) for x in (means.mean(), low, high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--motions", type=Path, required=True, help="file or folder, 30 fps")
    parser.add_argument("--side", choices=("dev", "test"), default="dev")
    parser.add_argument("--weights", type=Path, nargs="*", help="default: the shipped model")
    parser.add_argument("--out", type=Path, help="JSON to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    windows, guess = windows_of(args.motions, args.side), mean_pose(args.motions)
    rest = torch.from_numpy(motions.rest_joints())
    performers = sorted(set(windows.performers))
    print(f"{len(windows.actions)} windows of {len(performers)} performers ({args.side})")
    rows = []
    for weights in args.weights or [None]:
        model = load_denoiser(weights).eval()
        for view in VIEWS:
            found = {label: errors(model, windows, view, label, guess, rest) for label in LABELS}
            row: dict = {"weights": weights.name if weights else "shipped", "view": view,
                         "none_mm": round(float(found["none"].mean()), 1)}  # fmt: skip
            for label in LABELS[1:]:
                row[label] = change(found[label], found["none"], windows.performers)
            rows.append(row)
            cells = [f"{label} {row[label][0]:+5.1f} % [{row[label][1]:+.1f}, {row[label][2]:+.1f}]"
                     for label in LABELS[1:]]  # fmt: skip
            print(f"{row['weights']:>20} {view:<32} none {row['none_mm']:6.1f} mm", *cells)
    if args.out:
        report = {"side": args.side, "windows": len(windows.actions), "performers": performers,
                  "actions": sorted(set(windows.actions)), "rows": rows}  # fmt: skip
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
