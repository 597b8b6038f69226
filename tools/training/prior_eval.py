"""Held-out evaluation and calibration of a motion prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semtta.geometry.rotations import columns_to_rotmat, rotmat_to_columns
from semtta.motion.movement import body_movement
from tools.training.motions import Clip, remove_yaw, windows
from tools.training.phrases import synonyms
from tools.training.prior_data import GROUPS, collapse, optimise_towards, perturb
from tools.training.told import Told

Embed = Callable[[Tensor], Tensor]
WALKS = ("walk", "walk slowly", "walk fast")


@dataclass(frozen=True)
class Segments:
    """Held-out windows: (N, 60, 24, 3, 3), label indices (N,), clip index (N,)."""

    rotmats: Tensor
    label: Tensor
    clip: Tensor

    def only(self, keep: Tensor) -> Segments:
        return Segments(self.rotmats[keep], self.label[keep], self.clip[keep])


def segments(clips: Sequence[Clip], labels: Sequence[str], stride: int = 15) -> Segments:
    rotmats, label, source = [], [], []
    for i, clip in enumerate(clips):
        for window in windows(clip, 60, stride) if clip.label in labels else ():
            rotmats.append(clip.rotmats[window])
            label.append(labels.index(clip.label))
            source.append(i)
    stacked = torch.from_numpy(remove_yaw(np.stack(rotmats)))
    return Segments(stacked, torch.tensor(label), torch.tensor(source))


@torch.no_grad()
def embed_all(embed: Embed, rotmats: Tensor) -> Tensor:
    return torch.cat([embed(part) for part in rotmats.split(128)])


def with_root(rotmats: Tensor, root: Tensor) -> Tensor:
    out = rotmats.clone()
    out[:, :, 0] = root
    return out


def accepted(labels: Sequence[str]) -> Tensor:
    """(L, L) bool: column j is a right answer for row i."""
    table = torch.zeros(len(labels), len(labels), dtype=torch.bool)
    for i, name in enumerate(labels):
        for other in synonyms(name):
            if other in labels:
                table[i, labels.index(other)] = True
    return table


def retrieval(embed: Embed, data: Segments, features: Tensor, labels: Sequence[str]) -> dict:
    """R@1, R@5 per label and macro, AUC of matched against mismatched pairs; own roots."""
    ok = accepted(labels)
    similarity = embed_all(embed, data.rotmats) @ features.T
    right = ok[data.label]
    order = similarity.argsort(dim=1, descending=True)
    hit = right.gather(1, order)
    matched = similarity[torch.arange(len(data.label)), data.label]
    mismatched = similarity[~right].sort().values
    auc = torch.searchsorted(mismatched, matched).double().mean() / len(mismatched)
    per_label = {}
    for i in data.label.unique().tolist():
        here = data.label == i
        clips = len(data.clip[here].unique())
        per_label[labels[i]] = (clips, int(here.sum()), float(hit[here, 0].float().mean()),
                                float(hit[here, :5].any(1).float().mean()))  # fmt: skip
    return {
        "per_label": per_label,
        "macro_r1": float(np.mean([v[2] for v in per_label.values()])),
        "macro_r5": float(np.mean([v[3] for v in per_label.values()])),
        "micro_r1": float(hit[:, 0].float().mean()),
        "auc": float(auc),
        "matched": matched,
        "mismatched": mismatched,
    }


def probes(rotmats: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """The same motions clean, noisy and destroyed, by name."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(*rotmats.shape[:3], 6, generator=g)
    out = {"clean": rotmats}
    out["noise .08"] = columns_to_rotmat(rotmat_to_columns(rotmats) + 0.08 * noise)
    out["augmented"] = perturb(rotmats, g, jitter=0.08)
    for kind in ("freeze", "mean"):
        for group in ("legs", "left leg", "arms", "all"):
            out[f"{group} {kind}"] = collapse(rotmats, GROUPS[group], kind, g)
    for sigma in (3, 6, 12):
        for group in ("legs", "all"):
            out[f"{group} smooth {sigma}"] = collapse(rotmats, GROUPS[group], "smooth", g, sigma)
    out["legs mean, noise .08"] = columns_to_rotmat(
        rotmat_to_columns(out["legs mean"]) + 0.08 * noise)  # fmt: skip
    out["legs freeze, augmented"] = perturb(out["legs freeze"], g, jitter=0.08)
    out["shuffled time"] = collapse(rotmats, GROUPS["all"], "shuffle", g)
    out["reversed"] = rotmats.flip(1)
    return out


COLLAPSED = ("legs freeze", "legs mean", "legs smooth 12", "all freeze", "all mean",
             "all smooth 12", "legs mean, noise .08", "legs freeze, augmented")  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """Similarities of windows as the library tells them: ``own`` (N,) with the label, ``wrong``
    (N, L) with every name, NaN where it is no wrong one."""

    own: Tensor
    wrong: Tensor
    right_first: Tensor


@torch.no_grad()
def hear(encoder, told: Told, features: Tensor, labels: Sequence[str]) -> dict[str, Heard]:
    """By what is told: the lifter's ``predicted`` motion or its hidden limbs ``completed``."""
    ok = accepted(labels)[told.label]
    found = {}
    for kind in ("predicted", "completed"):
        rows = []
        for index in torch.arange(len(told)).split(128):
            rotmats, path = told.motion(index, torch.full((len(index),), kind == "completed"))
            movement = body_movement(rotmats[:, :, 0], path)
            rotmats[:, :, 0] = torch.eye(3)
            rows.append(encoder(rotmats, movement) @ features.T)
        similarity = torch.cat(rows)
        own = similarity.gather(1, told.label[:, None])[:, 0]
        first = ok.gather(1, similarity.argmax(1, keepdim=True))[:, 0]
        found[kind] = Heard(own, similarity.masked_fill(ok, torch.nan), first)
    return found


def report_told(heard: dict[str, Heard], label: Tensor, labels: Sequence[str], sigma: float,
                log) -> None:  # fmt: skip
    """Per name of the dev side's performers: how often it is named, and its gate opens."""
    for kind, found in heard.items():
        rows = []
        for i in label.unique().tolist():
            here = label == i
            first = float(found.right_first[here].float().mean())
            opens = float((found.own[here] > sigma).float().mean())
            rows.append((first, opens))
            log(f"  told, {kind}: {labels[i]:28s} {int(here.sum()):4d} R@1 {first:.2f} "
                f"above sigma {opens:.2f}")  # fmt: skip
        first, opens = np.mean(rows, axis=0)
        wrong = found.wrong[~found.wrong.isnan()]
        log(f"told, {kind}: macro R@1 {first:.3f}, above sigma {opens:.3f}, wrong ones "
            f"{float((wrong > sigma).float().mean()):.4f}")  # fmt: skip
        for s in (0.2, 0.3, 0.4, 0.5, 0.6):
            own = np.mean([float((found.own[label == i] > s).float().mean())
                           for i in label.unique().tolist()])  # fmt: skip
            log(f"  sigma {s:.1f}: own {own:.3f}, wrong {float((wrong > s).float().mean()):.4f}")


def calibrate(embed: Embed, data: Segments, features: Tensor, roots: Tensor,
              labels: Sequence[str], told: Heard | None = None) -> float:  # fmt: skip
    """The largest sigma at which the errors together are still about smallest.

    Clean and noisy walks with the label's exemplar root, and every label's own motions, must
    pass; collapsed walks, and any motion under a label that is not its own, must not. The last
    weighs most, because one segment above sigma, of sixty that cover a frame, opens the gate.
    """
    walk = labels.index("walk")
    walks = torch.tensor([labels[i] in WALKS for i in data.label.tolist()])
    made = {k: embed_all(embed, with_root(v, roots[walk])) @ features[walk]
            for k, v in probes(data.rotmats[walks]).items()}  # fmt: skip
    good = torch.cat([made[k] for k in ("clean", "noise .08", "augmented")])
    collapsed = torch.cat([made[k] for k in COLLAPSED])
    similarity = embed_all(embed, data.rotmats) @ features.T
    wrong = similarity[~accepted(labels)[data.label]]
    own = similarity.gather(1, data.label[:, None])[:, 0]
    own = [own[data.label == i] for i in data.label.unique().tolist()]
    if told is not None:
        wrong = torch.cat((wrong, told.wrong[~told.wrong.isnan()]))
        own.append(told.own)
    grid = torch.arange(0.1, 0.9, 0.01)
    cost = torch.tensor([
        float((good <= s).float().mean()
              + sum((x <= s).float().mean() for x in own) / len(own)
              + 2 * (collapsed > s).float().mean() + 20 * (wrong > s).float().mean())
        for s in grid
    ])  # fmt: skip
    return float(grid[cost <= cost.min() + 0.03].max())


def walk_table(embed: Embed, data: Segments, features: Tensor, roots: Tensor,
               labels: Sequence[str], sigma: float) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Mean similarity to "walk" and the share above sigma for every probe of the walks."""
    walk = labels.index("walk")
    keep = torch.tensor([labels[i] in WALKS for i in data.label.tolist()])
    walks = data.rotmats[keep]
    table = {}
    for name, motion in probes(walks).items():
        s = embed_all(embed, with_root(motion, roots[walk])) @ features[walk]
        table[name] = (float(s.mean()), float((s > sigma).float().mean()))
    for name, root in (("own root", None), ("root identity", torch.eye(3)),
                       ("root of 'lie down'", roots[labels.index("lie down")]),
                       ("root of 'spin'", roots[labels.index("spin")])):  # fmt: skip
        motion = walks if root is None else with_root(walks, root)
        s = embed_all(embed, motion) @ features[walk]
        table[name] = (float(s.mean()), float((s > sigma).float().mean()))
    ok = accepted(labels)[walk]
    wrong = []
    for i in torch.nonzero(~ok).flatten().tolist():
        wrong.append(embed_all(embed, with_root(walks, roots[i])) @ features[i])
    wrong = torch.cat(wrong)
    table["all wrong labels"] = (float(wrong.mean()), float((wrong > sigma).float().mean()))
    return table


def gaming(align: Embed, gate: Embed, data: Segments, features: Tensor, roots: Tensor,
           labels: Sequence[str], count: int = 48, seed: int = 0) -> dict[str, Tensor]:  # fmt: skip
    """Similarities before and after 60 Adam steps (lr 2e-2) against the align prior.

    Three kinds of start, all with pose noise: held-out motions pulled to a wrong label, walks
    with collapsed legs pulled to "walk", and motions pulled to their own label.
    """
    g = torch.Generator().manual_seed(seed)
    ok = accepted(labels)
    walk = labels.index("walk")
    chance = 1.0 / torch.bincount(data.label, minlength=len(labels))[data.label].double()
    pick = torch.multinomial(chance, count, True, generator=g)
    motion, own = perturb(data.rotmats[pick], g), data.label[pick]
    wrong = torch.tensor([int(torch.multinomial((~ok[i]).double(), 1, generator=g))
                          for i in own.tolist()])  # fmt: skip
    wrong[: count // 3] = torch.where(ok[own[: count // 3], walk], wrong[: count // 3], walk)
    walks = torch.nonzero(torch.tensor([labels[i] in WALKS for i in data.label.tolist()])).flatten()
    walks = walks[torch.randperm(len(walks), generator=g)[:count]]
    stuck = perturb(collapse(data.rotmats[walks], GROUPS["legs"], "mean", g), g)
    out = {}
    for name, start, label in (
        ("wrong label", motion, wrong),
        ("collapsed legs to walk", stuck, torch.full((len(stuck),), walk)),
        ("own label", motion, own),
    ):
        for smooth in (0.0, 20.0):
            begin = with_root(start, roots[label])
            end = optimise_towards(align, begin, roots[label], features[label], (60,), 2e-2,
                                   smooth)[0]  # fmt: skip
            rows = [(embed_all(f, m) * features[label]).sum(-1)
                    for f in (align, gate) for m in (begin, end)]  # fmt: skip
            out[f"{name}, smooth {smooth:g}"] = torch.stack(rows)  # align before/after, gate ...
    return out
