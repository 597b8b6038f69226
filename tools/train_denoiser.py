"""Train the masked motion model that is shipped as ``semtta/assets/motion/denoiser.pt``.

    python tools/train_denoiser.py --motions FOLDER --out denoiser.pt --minutes 55

Clips of the training side (``semtta.bench.mocap_split``) and procedural motion are mirrored, sped
up and slowed down, seen from a camera, corrupted as a regressor would (``training/corruption.py``),
and restored. The tables at the end are measured on the performers of the dev side; only
``--side test`` looks at the others. Minutes are those of the processor, so that a busy machine
trains as long; a run that was stopped goes on from ``OUT.state``.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.motion.denoiser import load_denoiser, save_denoiser  # noqa: E402
from semtta.motion.denoiser_net import DenoiserConfig, MotionDenoiser  # noqa: E402
from tools.training import motions  # noqa: E402
from tools.training.corruption import Corruptor  # noqa: E402
from tools.training.denoiser_data import (  # noqa: E402
    Library,
    as_told,
    build_library,
    from_camera,
    restyle,
)
from tools.training.denoiser_loss import certainty_loss, motion_loss, swing_loss  # noqa: E402
from tools.training.denoiser_rivals import RIVALS, DrawingDenoiser  # noqa: E402
from tools.training.denoiser_table import calibrate, print_tables  # noqa: E402

log = logging.getLogger("train_denoiser")
_DIVERGENCE = 0.002  # weight of the latent's, where there is one


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Linear warm-up over 100 steps, then cosine to a hundredth."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / 100) * (0.01 + 0.99 * cosine)


@torch.no_grad()
def _recent(average: list[Tensor], current: list[Tensor], count: Tensor) -> None:
    """A running average over 200 steps, over fewer at the start."""
    torch._foreach_lerp_(average, current, float(1 - min(0.995, (1 + count) / (10 + count))))


class Training:
    """A run that can be stopped and taken up again."""

    def __init__(self, args: argparse.Namespace, encoder):
        torch.manual_seed(args.seed)
        self.args = args
        self.generator = torch.Generator().manual_seed(args.seed)
        self.library: Library = build_library(args.motions, args.seed, encoder)
        text_dim = DenoiserConfig.text_dim if encoder is None else self.library.embedding.shape[1]
        config = DenoiserConfig(width=args.width, layers=args.layers, text_dim=text_dim)
        self.model: MotionDenoiser = RIVALS[args.kind](config)
        self.average = torch.optim.swa_utils.AveragedModel(self.model, multi_avg_fn=_recent)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.corruptor = Corruptor(self.generator)
        self.rest = torch.from_numpy(motions.rest_joints())
        self.step, self.spent = 0, 0.0  # steps, seconds of the processor
        self.state_path = args.out.with_suffix(".state")

    @property
    def progress(self) -> float:
        args = self.args
        return self.step / args.steps if args.steps else self.spent / (60 * args.minutes)

    def take_up(self) -> None:
        """Go on where a stopped run was."""
        if not self.state_path.exists():
            return
        state = torch.load(self.state_path, weights_only=True)
        for name in ("model", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.step, self.spent = state["step"], state["spent"]
        log.info("taken up at step %d", self.step)

    def save(self) -> None:
        state = {name: getattr(self, name).state_dict()
                 for name in ("model", "average", "optimizer")}  # fmt: skip
        state |= {"generator": self.generator.get_state(), "step": self.step, "spent": self.spent}
        torch.save(state, self.state_path.with_suffix(".part"))
        self.state_path.with_suffix(".part").replace(self.state_path)
        if self.args.kind == "transformer":
            save_denoiser(self.average.module, self.args.out)

    def loss(self) -> Tensor:
        """Of one new batch."""
        clean, trans, text = self.library.draw(self.args.batch, self.generator)
        clean = restyle(clean, self.corruptor)
        noisy, seen = self.corruptor(clean)
        path = as_told(from_camera(trans, self.corruptor), self.corruptor)
        drawing = isinstance(self.model, DrawingDenoiser)
        if drawing:
            self.model.look(clean, self.generator)
        out, deviation = self.model.complete(noisy, seen, text, path)
        loss = motion_loss(out, clean, seen, self.rest)
        loss = loss + 0.01 * certainty_loss(out, clean, deviation, seen)
        loss = loss + 1.0 * swing_loss(out, clean, seen)
        if drawing:
            loss = loss + _DIVERGENCE * self.model.divergence
            self.model.drawn = None
        return loss

    def run(self) -> MotionDenoiser:
        args, running, shown = self.args, 0.0, 0
        self.model.train()
        while self.progress < 1:
            started = time.process_time()
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.step, self.progress, args.lr)
            loss = self.loss()
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.average.update_parameters(self.model)
            running, shown = running + float(loss.detach()), shown + 1
            self.step, self.spent = self.step + 1, self.spent + time.process_time() - started
            if self.step % args.log_every == 0:
                log.info("step %5d  loss %.4f  %.0f s", self.step, running / shown, self.spent)
                running, shown = 0.0, 0
            if self.step % args.save_every == 0:
                self.save()
        self.save()
        return self.average.module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--motions", type=Path, required=True, help="labelled clips, .npz or folder"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, .pt")
    parser.add_argument("--log", type=Path, help="also write the log to this file")
    parser.add_argument(
        "--kind", choices=RIVALS, default="transformer", help="only the transformer is saved"
    )
    parser.add_argument("--steps", type=int, default=0, help="repeatable length; 0 = --minutes")
    parser.add_argument("--minutes", type=float, default=55, help="of the processor")
    parser.add_argument("--width", type=int, default=DenoiserConfig.width)
    parser.add_argument("--layers", type=int, default=DenoiserConfig.layers)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="the result depends on it")
    parser.add_argument("--log-every", type=int, default=200)
    parser.add_argument("--save-every", type=int, default=500, help="steps between saved states")
    parser.add_argument("--no-text", action="store_true", help="train without labels")
    parser.add_argument("--evaluate", action="store_true", help="only measure --out")
    parser.add_argument("--brief", action="store_true", help="only the tables that rank networks")
    parser.add_argument("--side", choices=("dev", "test"), default="dev", help="to measure on")
    args = parser.parse_args()
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if args.log:
        handlers.append(logging.FileHandler(args.log, mode="a"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers)
    torch.set_num_threads(args.threads)
    encoder = None
    if not args.no_text:
        from semtta.motion.text import TextEncoder

        encoder = TextEncoder.load()
    if args.evaluate:
        model = load_denoiser(args.out)
    else:
        training = Training(args, encoder)
        training.take_up()
        log.info("%s, %.2f M parameters, %d clips, %.1f min, seed %d", args.kind,
                 sum(p.numel() for p in training.model.parameters()) / 1e6,
                 len(training.library.length), int(training.library.length.sum()) / 1800,
                 args.seed)  # fmt: skip
        model = training.run()
        calibrate(model, args.motions, args.seed)
        if args.kind == "transformer":
            save_denoiser(model, args.out)
    print_tables(model, args.motions, encoder, args.seed, args.side, args.brief)


if __name__ == "__main__":
    main()
