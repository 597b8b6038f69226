"""Train the masked motion model that is shipped as ``semtta/assets/motion/denoiser.pt``.

    python tools/train_denoiser.py --motions motion_lite_30fps.npz --out denoiser.pt

Clips of the train split and procedural motion are mirrored, sped up and slowed down, corrupted
as a regressor would (``training/corruption.py``), and restored. Steps and seed fix the result.
The table at the end is measured on held-out subjects (``training/denoiser_table.py``).
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.motion.denoiser import load_denoiser, save_denoiser  # noqa: E402
from semtta.motion.denoiser_net import WINDOW, DenoiserConfig, MotionDenoiser  # noqa: E402
from semtta.skeletons import SMPL_PARENTS  # noqa: E402
from tools.training import motions, phrases, procedural  # noqa: E402
from tools.training.corruption import Corruptor  # noqa: E402
from tools.training.denoiser_table import WALKS, forward_kinematics, print_tables  # noqa: E402

log = logging.getLogger("train_denoiser")


class Library:
    """All training motion in one array, drawn from as random windows with a label."""

    def __init__(self, clips: list, texts: list[list[str]], weights: list[float], encoder):
        self.rotmats = torch.from_numpy(np.concatenate(clips))
        lengths = torch.tensor([len(clip) for clip in clips])
        self.start = torch.cat((torch.zeros(1, dtype=torch.long), lengths.cumsum(0)[:-1]))
        self.length = lengths
        self.weights = torch.tensor(weights)
        self.texts = texts
        mirrored = [[motions.mirror_text(text) for text in group] for group in texts]
        names = sorted({text for group in texts + mirrored for text in group})
        self.row = {name: i for i, name in enumerate(names)}
        self.mirrored = mirrored
        self.embedding = None if encoder is None else encoder.encode(names).float()

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Windows (count, 60, 24, 3, 3) and label embeddings (count, D), half of them zero."""
        rand = torch.rand(6, count, generator=generator)
        clip = torch.multinomial(self.weights, count, True, generator=generator)
        speed = torch.where(rand[0] < 0.5, 1.0, 0.75 + 0.6 * rand[1])
        room = (self.length[clip] - 1 - (WINDOW - 1) * speed).clamp_min(0)
        at = (rand[2] * room)[:, None] + torch.arange(WINDOW) * speed[:, None]
        at = torch.minimum(at, (self.length[clip] - 1)[:, None].float())
        # now and then the track ends early and its last frame is repeated
        short = torch.where(rand[3] < 0.05, 8 + 40 * rand[1], float(WINDOW))
        at = torch.minimum(at, at[:, :1] + short[:, None] * speed[:, None])
        low = at.floor().long()
        high = torch.minimum(low + 1, self.length[clip][:, None] - 1)
        base = self.start[clip][:, None]
        share = (at - low)[..., None, None, None]
        poses = torch.lerp(self.rotmats[base + low], self.rotmats[base + high], share)
        poses = roma.special_gramschmidt(poses[..., :2])
        flip = rand[4] < 0.5
        poses = torch.where(flip[:, None, None, None, None], _mirror(poses), poses)
        return poses, self._labels(clip, flip, generator)

    def _labels(self, clip: Tensor, flip: Tensor, generator: torch.Generator) -> Tensor | None:
        if self.embedding is None:
            return None
        choice = torch.rand(2, len(clip), generator=generator)
        out = torch.zeros(len(clip), self.embedding.shape[1])
        for i, c in enumerate(clip.tolist()):
            group = (self.mirrored if flip[i] else self.texts)[c]
            if group and choice[0, i] < 0.5:
                out[i] = self.embedding[self.row[group[int(choice[1, i] * len(group))]]]
        return out


def _mirror(poses: Tensor) -> Tensor:
    return torch.from_numpy(motions.mirror(poses.numpy()))


def build_library(path: Path, seed: int, encoder) -> Library:
    """Recorded clips, weighted so that long dances do not drown the rest, and 1/3 procedural."""
    clips, texts, weights = [], [], []
    known = set(phrases.PHRASES)
    for clip in motions.load_clips(path, "train"):
        clips.append(clip.rotmats)
        group = [clip.text] if clip.text else []
        texts.append(group + ([clip.label, *phrases.PHRASES[clip.label]] if clip.label in known
                              else [clip.label] if clip.label else []))  # fmt: skip
        weights.append(math.sqrt(len(clip)) * (0.5 if clip.source == "kaykit" else 1.0))
        if clip.label in WALKS:
            weights[-1] *= 1.5
    total = sum(weights)
    rng = np.random.default_rng(seed)
    repeats = 24
    for name in procedural.ACTIONS:
        for _ in range(repeats):
            clips.append(procedural.sample(name, rng, 90))
            texts.append(procedural.texts(name))
            weights.append(0.4 * total / (repeats * len(procedural.ACTIONS)))
    return Library(clips, texts, weights, encoder)


def restyle(poses: Tensor, corruptor: Corruptor) -> Tensor:
    """Another body's posture: a constant turn per joint (3 degrees), for half of the windows."""
    turn = 3 * corruptor.normal(len(poses), 1, 24, 3)
    turn = turn * (corruptor.uniform(len(poses), 1, 1, 1) < 0.5)
    turn[:, :, 0] = 0
    return poses @ roma.rotvec_to_rotmat(torch.deg2rad(turn))


def motion_loss(out: Tensor, clean: Tensor, seen: Tensor, rest: Tensor) -> Tensor:
    """L1 on rotation matrices, joint positions, and their first and second differences."""
    hidden = 1 + 2 * (seen < 0.5).float()[..., None]
    moved = hidden[..., [max(parent, 0) for parent in SMPL_PARENTS], :]  # by the parent's rotation
    rotation = out - clean
    local_out, local = (_pelvis_frame_joints(x, rest) for x in (out, clean))
    position = out[..., :1, :, :] @ local_out[..., None] - clean[..., :1, :, :] @ local[..., None]
    position = 10 * position[..., 0]
    loss = (rotation.abs() * hidden[..., None]).mean() + 0.2 * position.abs().mean()
    loss = loss + 2.0 * ((local_out - local).abs() * moved).mean()
    for difference in (rotation, position):
        velocity = difference.diff(dim=1)
        loss = loss + 0.5 * velocity.abs().mean() + 0.5 * velocity.diff(dim=1).abs().mean()
    return loss


def _pelvis_frame_joints(rotmats: Tensor, rest: Tensor) -> Tensor:
    """Joints (..., 24, 3) in metres as the pelvis sees them, free of the global orientation."""
    upright = torch.eye(3).expand_as(rotmats[..., :1, :, :])
    return forward_kinematics(torch.cat((upright, rotmats[..., 1:, :, :]), dim=-3), rest)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 100 steps, then cosine to a hundredth."""
    progress = step / steps
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / 100) * (0.01 + 0.99 * cosine)


def train(args: argparse.Namespace, encoder) -> MotionDenoiser:
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    library = build_library(args.motions, args.seed, encoder)
    minutes = int(library.length.sum()) / 1800
    log.info("%d clips, %.1f min, seed %d", len(library.length), minutes, args.seed)
    text_dim = DenoiserConfig.text_dim if encoder is None else library.embedding.shape[1]
    model = MotionDenoiser(DenoiserConfig(text_dim=text_dim))
    log.info("%.2f M parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    corruptor, rest = Corruptor(generator), torch.from_numpy(motions.rest_joints())
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01
    )
    started, running = time.time(), 0.0
    for step in range(args.steps):
        clean, text = library.draw(args.batch, generator)
        clean = restyle(clean, corruptor)
        noisy, seen = corruptor(clean)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.lr)
        loss = motion_loss(model(noisy, seen, text), clean, seen, rest)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        running += float(loss.detach())
        if (step + 1) % args.log_every == 0:
            mean, seconds = running / args.log_every, time.time() - started
            log.info("step %5d  loss %.4f  %.0f s", step + 1, mean, seconds)
            running = 0.0
        if args.save_every and (step + 1) % args.save_every == 0:
            save_denoiser(average.module, args.out)
    return average.module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--motions", type=Path, required=True, help="labelled clips, .npz")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .pt")
    parser.add_argument("--log", type=Path, help="also write the log to this file")
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="the result depends on it")
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--save-every", type=int, default=0, help="steps between early files")
    parser.add_argument("--no-text", action="store_true", help="train without labels")
    parser.add_argument("--evaluate", action="store_true", help="only measure --out")
    args = parser.parse_args()
    handlers = [logging.StreamHandler()]
    if args.log:
        handlers.append(logging.FileHandler(args.log, mode="w"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers)
    torch.set_num_threads(args.threads)
    encoder = None
    if not args.no_text:
        from semtta.motion.text import TextEncoder

        encoder = TextEncoder.load()
    if not args.evaluate:
        save_denoiser(train(args, encoder), args.out)
    print_tables(load_denoiser(args.out), args.motions, encoder, args.seed)


if __name__ == "__main__":
    main()
