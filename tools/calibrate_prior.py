"""Find the threshold of the gate for a motion-text prior of TMR's family, and write it down.

    python tools/calibrate_prior.py --list > texts.txt      # what to make text vectors of
    python tools/calibrate_prior.py --checkpoint FOLDER
    python tools/calibrate_prior.py --checkpoint FOLDER --motions my_motions/

True motions must pass under their own label; motions under a label that is not theirs, and walks
whose limbs have collapsed to their mean, frozen or been smoothed away, must not. Motions are
generated ones of every action that the table of texts has, and the user's own (``--motions``: the
documented npz, AMASS, BVH, or a folder of them; a clip's text is its label). Prints what was
measured and writes ``FOLDER.sigma.yaml``, which the prior reads. The more labels the table has,
the more a threshold found on them is worth. Some minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.errors import SemttaError  # noqa: E402
from semtta.motion.dictionary import Dictionary  # noqa: E402
from semtta.motion.resample import resample_positions  # noqa: E402
from semtta.motion.tmr import TMRPrior  # noqa: E402
from semtta.motion.tmr_files import Calibration, TMRFiles  # noqa: E402
from semtta.motion.world_axes import TO_Y_UP  # noqa: E402
from semtta.shipped import file_sha256  # noqa: E402
from tools.training import prior_eval as evaluate  # noqa: E402
from tools.training import procedural  # noqa: E402
from tools.training.motions import Clip, load_clips  # noqa: E402

FPS, FRAMES = 30.0, 60  # of the motions that are collapsed here; the prior has its own
LONGEST = 90  # frames of a generated motion
LEAST_AUC = 0.6
LEAST_LABELS = 8


@dataclass(frozen=True)
class Row:
    """Similarities of one kind of motion: their mean, and the share of them above sigma."""

    name: str
    mean: float
    passed: float


def generated(labels: Sequence[str], count: int, seed: int) -> list[Clip]:
    """So many performances of each label that can be generated."""
    rng = np.random.default_rng(seed)
    clips = []
    for name in labels:
        for i in range(count if name in procedural.ACTIONS else 0):
            motion = procedural.perform(name, rng, LONGEST)
            clips.append(Clip(f"{name} {i}", motion.rotmats, motion.trans, name, name, "generated",
                              "procedural"))  # fmt: skip
    return clips


def recorded(path: Path, texts) -> list[Clip]:
    """The user's clips under the text, or else the label, that the table has."""
    found = []
    for clip in load_clips(path):
        said = next((text for text in (clip.text, clip.label) if text and text in texts), None)
        if said is not None:
            found.append(replace(clip, label=said))
    return found


def measure(prior, clips: Sequence[Clip]) -> tuple[Calibration, list[Row]]:
    """Threshold and table; raises ``SemttaError`` if there is nothing to find them on, or if no
    threshold tells motions that show their label from those that do not."""
    long = [clip for clip in clips if len(clip) >= FRAMES]
    labels = sorted({clip.label for clip in long if clip.label})
    if "walk" not in labels or len(labels) < LEAST_LABELS:
        raise SemttaError(f"a threshold needs two seconds of walking and of {LEAST_LABELS - 1} "
                          f"other labels that the table of texts has; there are {len(labels)} "
                          "labels (--list prints texts that would do).")  # fmt: skip
    data = evaluate.segments(long, labels)
    data.rotmats[:, :, 0] = TO_Y_UP["+z"].T @ data.rotmats[:, :, 0]
    roots = torch.stack([prior.exemplar_root(label) for label in labels])
    roots = at_rate(roots, prior.fps, FPS, FRAMES)

    def embed(rotmats: Tensor) -> Tensor:
        return prior.embed_motion(at_rate(rotmats, FPS, prior.fps, prior.length))

    features = prior.embed_text(labels)
    found = evaluate.retrieval(embed, data, features, labels)
    sigma = evaluate.calibrate(embed, data, features, roots, labels)
    matched = found["matched"]
    rows = [Row("own label", *_passed(matched, sigma)),
            Row("another label", *_passed(found["mismatched"], sigma))]  # fmt: skip
    walks = data.only(torch.tensor([labels[i] in evaluate.WALKS for i in data.label.tolist()]))
    walk = labels.index("walk")
    for name, motion in evaluate.probes(walks.rotmats).items():
        similarity = evaluate.embed_all(embed, evaluate.with_root(motion, roots[walk]))
        rows.append(Row(f"walk, {name}", *_passed(similarity @ features[walk], sigma)))
    return Calibration(sigma, float(matched.median()), found["auc"], len(matched), ""), rows


def at_rate(rotmats: Tensor, fps: float, wanted: float, frames: int) -> Tensor:
    """(N, T, ..., 3, 3) at one frame rate -> (N, frames, ..., 3, 3) at another."""
    grid = (torch.arange(frames) * (fps / wanted)).clamp_max(rotmats.shape[1] - 1)
    return resample_positions(rotmats.transpose(0, 1), grid).transpose(0, 1)


def _passed(similarity: Tensor, sigma: float) -> tuple[float, float]:
    return float(similarity.mean()), float((similarity > sigma).double().mean())


def show(found: Calibration, rows: Sequence[Row]) -> None:
    table = Table(title=f"{found.windows} windows of two seconds")
    for heading in ("motion", "similarity", f"above sigma {found.sigma:.2f}"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row.name, f"{row.mean:.3f}", f"{row.passed:.0%}")
    console = Console()
    console.print(table)
    console.print(f"Own and other labels: AUC {found.auc:.3f} (0.5 = cannot be told apart).")


def check(found: Calibration, rows: Sequence[Row]) -> None:
    """Raise ``SemttaError`` for a threshold that would be worse than none."""
    share = {row.name: row.passed for row in rows}
    if found.auc < LEAST_AUC or share["own label"] <= share["another label"]:
        raise SemttaError("this prior does not tell a motion's own label from another (AUC "
                          f"{found.auc:.2f}): nothing is written; are the text vectors those of "
                          "its own language model?")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, help="folder of the release")
    parser.add_argument("--texts", type=Path, help="table of text vectors; else FOLDER/texts.npz")
    parser.add_argument("--exemplars", type=Path, help="as alignment.exemplars")
    parser.add_argument("--motions", type=Path, help="labelled motions of your own")
    parser.add_argument("--generated", type=int, default=4, help="performances of each action")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="print texts for the table, and stop")
    args = parser.parse_args(arguments)
    if args.list:
        print("\n".join(sorted({*Dictionary.load().labels, *procedural.ACTIONS})))
        return
    if args.checkpoint is None:
        parser.error("--checkpoint is missing")
    files = TMRFiles.find(args.checkpoint)
    prior = TMRPrior.load(args.checkpoint, args.texts, args.exemplars, calibrated=False)
    clips = generated(prior.texts.texts, args.generated, args.seed)
    if args.motions is not None:
        clips += recorded(args.motions, prior.texts)
    with torch.no_grad():
        found, rows = measure(prior, clips)
    show(found, rows)
    check(found, rows)
    replace(found, weights=file_sha256(files.motion)).write(files.calibration_path)
    print(f"sigma {found.sigma:.2f} written to {files.calibration_path}")


if __name__ == "__main__":
    try:
        main()
    except SemttaError as error:
        raise SystemExit(str(error)) from None
