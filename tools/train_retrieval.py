"""Train what names an action from a detector's landmarks: ``semtta label --provider prior``.

    python tools/train_retrieval.py --motions FOLDER

Windows of labelled motion as a detector saw them (``training/told.py``) are placed at their label's
text feature. No regressor and no motion prior takes part, so that what it gets wrong is not what
the gate gets wrong. How sure it may be is fitted on performers and clips that training has not
seen, a part of them with an action that has no name: "none of these" is an answer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.checkpoints import write_checkpoint  # noqa: E402
from semtta.motion.dictionary import Dictionary  # noqa: E402
from semtta.motion.landmark_encoder import (  # noqa: E402
    FRAME,
    LandmarkEncoder,
    Landmarks,
    landmark_features,
)
from semtta.motion.retrieval import FORMAT, family_index, family_shares, reliability_inputs  # noqa: E402
from semtta.skeletons import BODY27  # noqa: E402
from tools.train_prior import leave_out_fold, text_space  # noqa: E402
from tools.training.motions import load_clips  # noqa: E402
from tools.training.phrases import family  # noqa: E402
from tools.training.prior_eval import accepted  # noqa: E402
from tools.training.told import Told, told_windows  # noqa: E402

FOLD, STEPS, BATCH, RATE, WARMUP, TEMPERATURE = 3, 3000, 128, 1e-3, 100, 0.1
NAMELESS = 1 / 3  # of the windows that reliability is fitted on
_FINE = BODY27.indices([n for n in BODY27.joints if n.split("_")[-1] in
                        ("heel", "toe", "pinky", "index", "thumb")])  # fmt: skip
_BELOW = BODY27.indices([f"{s}_{p}" for s in ("left", "right")
                         for p in ("knee", "ankle", "heel", "big_toe")])  # fmt: skip


def seen(told: Told, index: Tensor) -> Landmarks:
    parts = (told.xy, told.conf, told.space, told.conf3d, told.box)
    return Landmarks(*(part[index].float() for part in parts))


def disturbed(x: Landmarks, generator: torch.Generator) -> Landmarks:
    """Other detectors: without 3D, without hands and feet, without legs, with more noise."""
    batch = len(x.xy)

    def chance(share: float) -> Tensor:
        return torch.rand(batch, 1, 1, generator=generator) < share

    lacking = torch.zeros(batch, 1, len(BODY27), dtype=torch.bool)
    lacking[..., _FINE] |= chance(0.25)
    lacking[..., _BELOW] |= chance(0.1)
    flat = chance(0.25)
    noise = torch.randn(x.xy.shape, generator=generator) * 0.01 * x.box[..., None, 2:]
    noise = noise * torch.rand(batch, 1, 1, 1, generator=generator) ** 2
    return Landmarks(x.xy + noise, x.conf * ~lacking, x.space, x.conf3d * ~(lacking | flat), x.box)


def train(told: Told, features: Tensor, ok: Tensor, steps: int, seed: int, log) -> LandmarkEncoder:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    encoder = LandmarkEncoder(features.shape[1])
    sample = landmark_features(seen(told, torch.randint(len(told), (512,), generator=generator)))
    encoder.mean.copy_(sample.flatten(0, 1).mean(0))
    encoder.std.copy_(sample.flatten(0, 1).std(0).clamp_min(0.05))
    log(f"{sum(p.numel() for p in encoder.parameters()) / 1e6:.2f} M parameters, {FRAME} a frame")
    count = torch.bincount(told.label, minlength=len(features)).clamp_min(1)
    chance = count[told.label].double().rsqrt()
    optimiser = torch.optim.AdamW(encoder.parameters(), RATE, weight_decay=0.05)
    began = time.time()
    for step in range(steps):
        rate = RATE * min(1, (step + 1) / WARMUP) * (0.02 + 0.98 * (1 - step / steps) ** 1.5)
        optimiser.param_groups[0]["lr"] = rate
        which = torch.multinomial(chance, BATCH, True, generator=generator)
        label = told.label[which]
        out = encoder(disturbed(seen(told, which), generator))
        same = ok[label].clone()
        same[torch.arange(BATCH), label] = False  # synonyms are neither right nor wrong
        logits = (out @ features.T / TEMPERATURE).masked_fill(same, -1e4)
        match = (1 - (out * features[label]).sum(-1)).mean()
        loss = match + 0.3 * F.cross_entropy(logits, label)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 200 == 0:
            log(f"step {step + 1:5d}  {time.time() - began:5.0f} s  loss {loss.item():.3f}  "
                f"match {match.item():.3f}")  # fmt: skip
    return encoder.eval()


@torch.no_grad()
def similarities(encoder: LandmarkEncoder, told: Told, features: Tensor) -> Tensor:
    """(N, L) cosines."""
    rows = [encoder(seen(told, part)) for part in torch.arange(len(told)).split(128)]
    return torch.cat(rows) @ features.T


def right_kinds(ok: Tensor, families: Sequence[str]) -> Tensor:
    """(L, F) bool: families that answer a label rightly."""
    own = F.one_hot(family_index(families))
    return (ok.float() @ own.float()) > 0


def temperature(similarity: Tensor, right: Tensor, families: Sequence[str]) -> float:
    """The one that makes right families (N, F) most likely."""
    grid = torch.logspace(-1.5, 0, 40)
    loss = [-family_shares(similarity, float(t), families)[1].mul(right).sum(1).clamp_min(1e-6)
            .log().mean() for t in grid]  # fmt: skip
    return float(grid[int(torch.stack(loss).argmin())])


def reliability(similarity: Tensor, label: Tensor, ok: Tensor, families: Sequence[str],
                heat: float, generator: torch.Generator) -> tuple[Tensor, ...]:  # fmt: skip
    """Logistic regression of "the first family is right": weights, and (chance, right) of windows.

    In a third of the windows every right name is taken from the list."""
    nameless = torch.rand(len(label), 1, generator=generator) < NAMELESS
    kinds = right_kinds(ok, families)[label]
    similarity = similarity.masked_fill(kinds[:, family_index(families)] & nameless, -1)
    first = family_shares(similarity, heat, families)[1].argmax(1, keepdim=True)
    right = kinds.gather(1, first)[:, 0] & ~nameless[:, 0]
    x = reliability_inputs(similarity, heat, families)
    balance = torch.bincount(label).clamp_min(1)[label].double().rsqrt()  # by name
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        loss = F.binary_cross_entropy_with_logits(
            x.double() @ weights, right.double(), balance / balance.mean()
        )
        (loss + 1e-3 * weights[:-1].square().sum()).backward()
        return loss

    solver.step(closure)
    weights = weights.detach().float()
    return weights, (x @ weights).sigmoid(), right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument(
        "--told", type=Path, default=Path("build"), help="folder of told windows; made if missing"
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("semtta/assets/motion/retrieval.pt"))
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    dictionary = Dictionary.load()
    features, _, _ = text_space(dictionary)
    ok, families = accepted(dictionary.labels), [family(name) for name in dictionary.labels]
    fold = leave_out_fold(load_clips(args.motions, "train"), FOLD)
    told = told_windows(args.told / "told_train.pt", args.motions, "train", log)
    names = {clip.name for clip in fold}
    told, rest = told.kept(names), told.left_out(names)
    log(f"train_retrieval --seed {args.seed} --steps {args.steps}: {len(told)} windows")
    encoder = train(told, features, ok, args.steps, args.seed, log)
    encoder.load_state_dict({k: v.half().float() for k, v in encoder.state_dict().items()})
    held = told_windows(args.told / "told_dev.pt", args.motions, "dev", log) + rest
    similarity = similarities(encoder, held, features)
    right = right_kinds(ok, families)[held.label]
    heat = temperature(similarity, right, families)
    first = family_shares(similarity, heat, families)[1].argmax(1, keepdim=True)
    first = right.gather(1, first)[:, 0].float()
    for i in held.label.unique().tolist():
        here = held.label == i
        share = float(first[here].mean())
        log(f"  {dictionary.labels[i]:28s} {int(here.sum()):4d} R@1 {share:.2f}")
    weights, chance, right = reliability(similarity, held.label, ok, families, heat,
                                         torch.Generator().manual_seed(args.seed))  # fmt: skip
    log(f"new people and clips: R@1 {float(first.mean()):.3f}, temperature {heat:.3f}, reliability "
        f"{[round(w, 3) for w in weights.tolist()]}")  # fmt: skip
    for low, high in zip(torch.arange(0, 1, 0.1), torch.arange(0.1, 1.1, 0.1)):
        here = (chance >= low) & (chance < high)
        if here.any():
            log(f"  sure {float(low):.1f}-{float(high):.1f}: {int(here.sum()):4d} windows, right "
                f"{float(right[here].float().mean()):.2f}")  # fmt: skip
    write_checkpoint(args.out, {
        "format": FORMAT, "labels": list(dictionary.labels), "features": features.half(),
        "settings": {"dim": features.shape[1]}, "temperature": heat,
        "families": families, "reliability": weights.tolist(),
        "state": {k: v.half() for k, v in encoder.state_dict().items()},
        "training": {"seed": args.seed, "steps": args.steps},
    })  # fmt: skip
    log(f"{args.out.name}: {args.out.stat().st_size} bytes")
    if args.log:
        args.log.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
