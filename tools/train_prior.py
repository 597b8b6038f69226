"""Train the two embedded motion priors and the benchmarks' judge, and calibrate their sigma.

    python tools/train_prior.py --motions motion_lite_30fps.npz --which align
    python tools/train_prior.py --motions motion_lite_30fps.npz --which gate
    python tools/train_prior.py --motions motion_lite_30fps.npz --which judge

Both learn to place a motion at its label's text feature, with corrupted motions (collapsed
limbs, shuffled time, chimeras) pushed away from it. The gate is trained second: part of its
batches are motions that were optimised to please the align prior, which count as their label
only if they showed it before. The judge has the gate's inputs, but neither its fold, its seed nor
its adversaries, and no part in any adaptation. The schedule is fixed by ``--steps``, so a seed
fixes the result.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.files import whole_file
from semtta.motion.dictionary import Dictionary  # noqa: E402
from semtta.motion.encoder import AlignEncoder, GateEncoder  # noqa: E402
from semtta.motion.movement import body_movement  # noqa: E402
from semtta.motion.prior import EmbeddedPrior  # noqa: E402
from tools.training import prior_data as data  # noqa: E402
from tools.training import prior_eval as evaluate  # noqa: E402
from tools.training.adversaries import Adversaries  # noqa: E402
from tools.training.corruption import Corruptor  # noqa: E402
from tools.training.denoiser_data import as_told, from_camera  # noqa: E402
from tools.training.motions import Clip, load_clips, remove_yaw  # noqa: E402
from tools.training.told import Told, told_windows  # noqa: E402

STEPS = {"align": 1600, "gate": 1400, "judge": 1200}
FOLDS, FOLD = 6, {"align": 0, "gate": 1, "judge": 2}
SEED = {"align": 0, "gate": 1, "judge": 2}
CLEAN, CORRUPT, ADVERSARIAL = 40, 20, 16
TOLD, SPOILED = 40, 12  # windows as the library tells them, and how many of them are destroyed
UNMOVED = 0.3  # of the windows whose movement is not told
RATE, WARMUP, TEMPERATURE = 1e-3, 100, 0.1
WHITENING = 0.1


def text_space(dictionary: Dictionary) -> tuple[Tensor, Tensor, Tensor]:
    """Unit label features (L, D), mean (D,), whitening (D, D).

    Whitening is damped: with none, "walk backwards" is nearly "walk"; in full, a paraphrase
    is no longer near its label.
    """
    raw = dictionary.text.encode(dictionary.labels)
    mean = raw.mean(0)
    value, vector = torch.linalg.eigh(torch.cov((raw - mean).T).double())
    value = value.clamp(min=0)
    whiten = (vector @ torch.diag((value + WHITENING * value.max()).rsqrt()) @ vector.T).float()
    return F.normalize((raw - mean) @ whiten, dim=-1), mean, whiten


def leave_out_fold(clips: list[Clip], fold: int) -> list[Clip]:
    """Without every sixth clip of the labels that have at least five."""
    seen: dict[str, int] = {}
    total = {c.label: sum(o.label == c.label for o in clips) for c in clips}
    kept = []
    for clip in clips:
        k = seen[clip.label] = seen.get(clip.label, -1) + 1
        if total[clip.label] < 5 or k % FOLDS != fold:
            kept.append(clip)
    return kept


def new_encoder(which: str, dim: int, pool: data.Pool, generator: torch.Generator) -> nn.Module:
    if which == "align":
        return AlignEncoder(dim)
    encoder = GateEncoder(dim, moving=which == "gate")
    encoder.rest.copy_(pool.rest)
    sample = encoder.features(data.draw(pool, 512, generator)[0]).flatten(0, 1)
    encoder.mean.copy_(sample.mean(0))
    # one scale for positions, one for velocities: the relative size of joints' motion is a cue
    encoder.std[:69] = sample[:, :69].std(0).mean()
    encoder.std[69:] = sample[:, 69:].std(0).mean()
    return encoder


@dataclass
class Lessons:
    """What one encoder learns from: recorded and procedural motion, and the same as it is told."""

    pool: data.Pool
    told: Told | None
    roots: Tensor
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.corruptor = Corruptor(self.generator)
        if self.told is not None:
            # a rare label comes up often
            count = torch.bincount(self.told.label, minlength=len(self.pool.labels)).clamp_min(1)
            self.chance = count[self.told.label].double().rsqrt()

    def true(self) -> tuple[Tensor, Tensor, Tensor]:
        """Clean windows facing +z, their movement, their labels."""
        drawn = data.draw_windows(self.pool, CLEAN, self.generator)
        path = as_told(from_camera(drawn.trans, self.corruptor), self.corruptor)
        movement = body_movement(drawn.rotmats[:, :, 0], path)
        upright = torch.from_numpy(remove_yaw(drawn.rotmats.numpy()))
        return upright, movement, drawn.label

    def second_hand(self) -> tuple[Tensor, Tensor, Tensor]:
        """Windows as the lifter tells them, every other one with hidden limbs completed."""
        assert self.told is not None  # the judge has none
        which = torch.multinomial(self.chance, TOLD, True, generator=self.generator)
        completed = torch.rand(TOLD, generator=self.generator) < 0.5
        rotmats, path = self.told.motion(which, completed)
        movement = body_movement(rotmats[:, :, 0], path)
        rotmats[:, :, 0] = torch.eye(3)  # no camera's axes
        return rotmats, movement, self.told.label[which]

    def destroyed(self, rotmats: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        return data.corrupt(self.pool, rotmats, label, self.generator)


def loss_of(encoder: nn.Module, lessons: Lessons, features: Tensor, ok: Tensor,
            bank: Adversaries | None) -> dict[str, Tensor]:  # fmt: skip
    generator = lessons.generator
    clean, moved, label = lessons.true()
    broken, drop = lessons.destroyed(clean[:CORRUPT], label[:CORRUPT])
    batch = [data.perturb(torch.cat((clean, broken)), generator)]
    movement = [moved, moved[:CORRUPT]]
    whole, spoiled = label, label[:CORRUPT]
    if lessons.told is not None:
        heard, its, said = lessons.second_hand()
        bad, more = lessons.destroyed(heard[:SPOILED], said[:SPOILED])
        # whole ones first, destroyed ones last
        batch = [batch[0][:CLEAN], heard, batch[0][CLEAN:], bad]
        movement = [moved, its, moved[:CORRUPT], its[:SPOILED]]
        whole, spoiled = torch.cat((label, said)), torch.cat((spoiled, said[:SPOILED]))
        drop = torch.cat((drop, more))
    posed = data.replace_roots(torch.cat(batch), torch.cat((whole, spoiled)), lessons.roots,
                               generator)  # fmt: skip
    steps = torch.cat(movement)
    if bank is not None:
        fake, its, pulled, true = bank.draw(ADVERSARIAL)
        posed, steps = torch.cat((posed, fake)), torch.cat((steps, its))
    unmoved = torch.rand(len(steps), 1, 1, generator=generator) < UNMOVED
    out = encoder(posed, steps * ~unmoved)
    count, rest = len(whole), len(spoiled)
    motion, destroyed = out[:count], out[count : count + rest]
    match = (motion * features[whole]).sum(-1)
    same = ok[whole].clone()
    same[torch.arange(count), whole] = False  # synonyms are neither right nor wrong
    logits = (motion @ features.T / TEMPERATURE).masked_fill(same, -1e4)
    kept = (destroyed * features[spoiled]).sum(-1)
    before = torch.cat((match[:CORRUPT], match[CLEAN : CLEAN + rest - CORRUPT])).detach()
    terms = {
        "match": (1 - match).mean(),
        "class": 0.3 * F.cross_entropy(logits, whole),
        "corrupt": 1.5 * F.relu(kept - (before.clamp(min=0.5) - drop)).mean(),
    }
    if bank is not None:
        s = (out[count + rest :] * features[pulled]).sum(-1)
        terms["pulled"] = torch.where(true, 0.7 * (1 - s), F.relu(s - 0.05)).mean()
    return terms


def train(which: str, pool: data.Pool, told: Told | None, features: Tensor,
          dictionary: Dictionary, against: EmbeddedPrior | None, steps: int, seed: int,
          log) -> nn.Module:  # fmt: skip
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    encoder = new_encoder(which, features.shape[1], pool, generator)
    log(f"{which}: {sum(p.numel() for p in encoder.parameters()) / 1e6:.2f} M parameters")
    ok = evaluate.accepted(pool.labels)
    lessons = Lessons(pool, told, dictionary.roots, generator)
    bank = None
    if against is not None:
        bank = Adversaries(against, pool, dictionary.roots, ok, generator)
    optimiser = torch.optim.AdamW(encoder.parameters(), RATE, weight_decay=0.05)
    began = time.time()
    for step in range(steps):
        if bank is not None and (len(bank.label) == 0 or step % 80 == 0):
            for _ in range(4 if step == 0 else 1):
                bank.renew()
        rate = RATE * min(1, (step + 1) / WARMUP) * (0.02 + 0.98 * (1 - step / steps) ** 1.5)
        optimiser.param_groups[0]["lr"] = rate
        terms = loss_of(encoder, lessons, features, ok, bank)
        loss = sum(terms.values())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 100 == 0:
            shown = "  ".join(f"{k} {v.item():.3f}" for k, v in terms.items())
            log(f"step {step + 1:5d}  {time.time() - began:5.0f} s  {shown}")
    return encoder.eval()


def true_similarity(encoder: nn.Module, pool: data.Pool, features: Tensor, roots: Tensor,
                    generator: torch.Generator) -> Tensor:  # fmt: skip
    """(L,) lower quartile of the similarity of mildly perturbed true motions of each label."""
    out = torch.zeros(len(pool.labels))
    for i in range(len(pool.labels)):
        only = (pool.label == i) | (pool.mirrored[pool.label] == i)
        motion, label = data.draw(pool, 96, generator, only)
        motion = data.perturb(motion[label == i], generator, 5.0, 3.0, 0.06)
        s = evaluate.embed_all(encoder, evaluate.with_root(motion, roots[i])) @ features[i]
        out[i] = s.quantile(0.25)
    return out


def share_above(similarity: Tensor, sigma: float) -> float:
    return float((similarity > sigma).float().mean())


def report(which: str, encoder: nn.Module, held: evaluate.Segments, half: Tensor,
           features: Tensor, dictionary: Dictionary, sigma: float, train_labels: set[str],
           against: EmbeddedPrior | None, log) -> dict[str, float]:  # fmt: skip
    labels, roots = dictionary.labels, dictionary.roots
    judged = torch.tensor([labels[i] in train_labels for i in held.label.tolist()])
    result = evaluate.retrieval(encoder, held.only(judged), features, labels)
    every = evaluate.retrieval(encoder, held, features, labels)
    for name, (clips, count, r1, r5) in every["per_label"].items():
        note = "" if name in train_labels else "   (no recorded training clip)"
        log(f"  {name:24s} clips {clips:3d} segments {count:4d} R@1 {r1:.2f} R@5 {r5:.2f}{note}")
    log(f"retrieval among {len(labels)} labels: macro R@1 {result['macro_r1']:.3f} R@5 "
        f"{result['macro_r5']:.3f} micro R@1 {result['micro_r1']:.3f} AUC {result['auc']:.3f}; "
        f"with labels only generated in training: macro R@1 {every['macro_r1']:.3f} "
        f"AUC {every['auc']:.3f}")  # fmt: skip
    for s in (0.3, 0.4, 0.5, 0.6, round(sigma, 3)):
        log(f"  sigma {s:5.3f}: matched above {(result['matched'] > s).float().mean():.3f} "
            f"mismatched above {(result['mismatched'] > s).float().mean():.4f}")  # fmt: skip
    numbers = {"macro_r1": result["macro_r1"], "auc": result["auc"]}
    for name, part in (("all", held), ("not used for calibration", held.only(~half))):
        table = evaluate.walk_table(encoder, part, features, roots, labels, sigma)
        log(f"walks, {name}: mean similarity to 'walk' / share above sigma {sigma:.2f}")
        for key, (mean, above) in table.items():
            log(f"  {key:24s} {mean:6.2f} {above:6.3f}")
            if name != "all":
                numbers[key] = above
    align = against.embed_motion if against else encoder
    for name, rows in evaluate.gaming(align, encoder, held, features, roots, labels).items():
        before, after = rows[2], rows[3]
        log(f"optimised against align, {name}: align {rows[0].mean():.2f} -> {rows[1].mean():.2f}; "
            f"{which} {before.mean():.2f} -> {after.mean():.2f}, above sigma "
            f"{share_above(before, sigma):.2f} -> {share_above(after, sigma):.2f}")  # fmt: skip
        numbers[f"gaming, {name}"] = share_above(after, sigma)
    return numbers


def uneven_walks(encoder: nn.Module, clips: list[Clip], features: Tensor,
                 dictionary: Dictionary, sigma: float) -> str:  # fmt: skip
    """A kind of walking of which training has no clip: reported apart, under "walk"."""
    name = "walk on uneven terrain"
    found = [c for c in clips if c.label == name]
    if not found:
        return f"{name}: no held-out clip"
    data_ = evaluate.segments(found, [name])
    walk = dictionary.labels.index("walk")
    motion = evaluate.with_root(data_.rotmats, dictionary.roots[walk])
    s = evaluate.embed_all(encoder, motion) @ features[walk]
    return (f"{name} (no such clip in training, not counted above): {len(found)} clips, {len(s)} "
            f"segments, similarity to 'walk' {s.mean():.2f}, above sigma "
            f"{(s > sigma).float().mean():.2f}")  # fmt: skip


def save(path: Path, checkpoint: dict) -> int:
    """Write through a temporary file; returns the size in bytes."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    with whole_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return len(buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--which", choices=tuple(STEPS), required=True)
    parser.add_argument("--steps", type=int, help="default: those of the shipped one")
    parser.add_argument("--seed", type=int, help="default: 0 for align, 1 for gate, 2 for judge")
    parser.add_argument("--performances", type=int, default=24, help="procedural ones per action")
    parser.add_argument(
        "--told", type=Path, default=Path("build"), help="folder of told windows; made if missing"
    )
    parser.add_argument("--evaluate", action="store_true",
                        help="keep the weights of --out, calibrate and evaluate only")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("semtta/assets/motion"))
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    which, path = args.which, args.out / f"prior_{args.which}.pt"
    seed = args.seed if args.seed is not None else SEED[which]
    steps = args.steps or STEPS[which]
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    log(f"train_prior --which {which} --seed {seed} --steps {steps} --performances "
        f"{args.performances}" + (" --evaluate" if args.evaluate else ""))  # fmt: skip
    dictionary = Dictionary.load()
    features, mean, whiten = text_space(dictionary)
    clips = load_clips(args.motions, "train")
    fold = leave_out_fold(clips, FOLD[which])
    pool = data.build_pool(fold, list(dictionary.labels), args.performances, seed)
    told = told_windows(args.told / "told_train.pt", args.motions, "train", log)
    told = told.kept({clip.name for clip in fold})
    against = EmbeddedPrior.load(args.out / "prior_align.pt") if which == "gate" else None
    if args.evaluate:
        encoder = EmbeddedPrior.load(path).encoder
    else:
        encoder = train(which, pool, told, features, dictionary, against, steps, seed, log)
    # fp16 before calibration: what is measured is what is shipped
    encoder.load_state_dict({k: v.half().float() for k, v in encoder.state_dict().items()})
    held_clips = load_clips(args.motions, "dev")
    held = evaluate.segments(held_clips, dictionary.labels)
    half = held.clip % 2 == 0
    told = told_windows(args.told / "told_dev.pt", args.motions, "dev", log)
    heard = evaluate.hear(encoder, told, features, dictionary.labels)
    sigma = evaluate.calibrate(encoder, held.only(half), features, dictionary.roots,
                               dictionary.labels, heard["completed"])  # fmt: skip
    sigma = round(sigma, 3)
    evaluate.report_told(heard, told.label, dictionary.labels, sigma, log)
    matched = true_similarity(encoder, pool, features, dictionary.roots,
                              torch.Generator().manual_seed(seed))  # fmt: skip
    numbers = report(which, encoder, held, half, features, dictionary, sigma,
                     {c.label for c in clips}, against, log)  # fmt: skip
    log(uneven_walks(encoder, held_clips, features, dictionary, sigma))
    settings = {"dim": features.shape[1]} | ({"moving": True} if which == "gate" else {})
    size = save(path, {
        "kind": "align" if which == "align" else "gate", "settings": settings,
        "state": {k: v.half() for k, v in encoder.state_dict().items()},
        "labels": list(dictionary.labels), "features": features.half(), "mean": mean.half(),
        "whiten": whiten.half(), "sigma": sigma, "matched": matched.half(),
        "evaluation": numbers, "training": {"seed": seed, "steps": steps},
    })  # fmt: skip
    log(f"prior_{which}.pt: {size / 1e6:.2f} MB, sigma {sigma}")
    if args.log:
        args.log.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
