"""A semantic baseline (the paper's Table 3): a motion discriminator on the predictions.

CycleAdapt with VIBE's adversarial term (Kocabas et al. 2020): windows of 16 frames at 30 fps of the
regressor's motion have to look real to a discriminator that learns meanwhile, with least squares
as loss. Real are windows of the dictionary's exemplar motion of the same label, so that the term
means the label; VIBE takes them from motion capture. The discriminator starts from random weights
or from VIBE's file (``discriminator.checkpoint``).

Frames are drawn in windows instead of one by one, as many as fit into a batch (two of a video at
30 fps into 32 frames); those that belong to no labelled window are drawn as in CycleAdapt.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import roma
import torch
from torch import Tensor

from semtta.hmr.base import Prediction
from semtta.motion.discriminator import LENGTH, MotionDiscriminator, load_discriminator
from semtta.tta.cycleadapt import CycleAdapt
from semtta.tta.run import Run
from semtta.tta.segments import find_segments
from semtta.tta.strategy import Draw

FPS = 30.0


class Discriminator(CycleAdapt):
    """CycleAdapt + ``discriminator.weight`` x adversarial loss.

    Args:
        networks: denoiser and exemplars are used.
    """

    reads: tuple[str, ...] = ("denoiser", "exemplars")

    def begin(self, run: Run) -> None:
        super().begin(run)
        config, track = run.config.discriminator, run.track
        self.real = self._exemplars(run)
        labels = [label if label in self.real else None for label in run.labels]
        step = float(track.times.diff().median()) if len(track) > 1 else 1 / FPS
        self.segments = find_segments(
            track.frames, track.times, labels, fps=FPS, length=LENGTH,
            stride=int((LENGTH - 1) / FPS / step + 1e-3) + 1,  # windows touch
        )  # fmt: skip
        if config.checkpoint:
            self.judge = load_discriminator(config.checkpoint)
        else:
            self.judge = MotionDiscriminator(config.hidden)
        self.judge.to(run.device).train()
        self.optimizer = torch.optim.Adam(
            self.judge.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )

    def _exemplars(self, run: Run) -> dict[str, Tensor]:
        """(60, 69) axis-angle at 30 fps of each label that has an exemplar."""
        found = {}
        for label in {label for label in run.labels if label}:
            exemplars = self.networks.exemplars
            motion = exemplars.exemplar_pose(label) if exemplars is not None else None
            if motion is not None:
                found[label] = body_rotvec(motion).to(run.device)
        return found

    def batches(self, run: Run, epoch: int) -> Iterator[Draw]:
        steps = run.config.optimizer.steps_per_epoch
        if steps is None:
            yield from self._one_pass(run)
            return
        passes = (draw for _ in itertools.count() for draw in self._one_pass(run))
        yield from itertools.islice(passes, steps)

    def _one_pass(self, run: Run) -> Iterator[Draw]:
        """Every window once, and what no window covers."""
        size = run.config.optimizer.batch_frames
        order = torch.randperm(len(self.segments), generator=run.generator).tolist()
        windows = [(self.segments.windows[i], i) for i in order]
        per_batch = max(1, size // self.segments.frames_per_window)
        draws = [windows[i : i + per_batch] for i in range(0, len(windows), per_batch)]
        if self.segments.loose:
            loose = torch.cat(self.segments.loose)
            loose = loose[torch.randperm(len(loose), generator=run.generator)]
            draws += [[(frames, -1)] for frames in loose.split(size)]
        for i in torch.randperm(len(draws), generator=run.generator).tolist():
            yield Draw.of(draws[i], run.device)

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        terms = super().loss(run, draw, prediction)
        if draw.segments:
            fake = torch.stack([
                self.segments.resample_window(prediction.rotmats[rows, 1:], i)
                for rows, i in zip(draw.rows, draw.segments)
            ])  # fmt: skip
            fake = body_rotvec(fake)
            self._teach(self._real_windows(draw, run.generator), fake.detach())
            adversarial = generator_loss(self.judge(fake))
            terms["adversarial"] = run.config.discriminator.weight * adversarial
        return terms

    def couples(self, run: Run, draw: Draw) -> bool:
        return bool(draw.segments) or super().couples(run, draw)

    def _real_windows(self, draw: Draw, generator: torch.Generator) -> Tensor:
        """(S, 16, 69) from anywhere in the exemplar of each window's label."""
        motions = [self.real[self.segments.labels[i]] for i in draw.segments]
        last = motions[0].shape[0] - LENGTH
        starts = torch.randint(last + 1, (len(motions),), generator=generator).tolist()
        return torch.stack([m[a : a + LENGTH] for m, a in zip(motions, starts)])

    def _teach(self, real: Tensor, fake: Tensor) -> None:
        """One step of the discriminator, before the regressor's own (VIBE: after it)."""
        self.judge.requires_grad_(True)
        self.optimizer.zero_grad()
        discriminator_loss(self.judge(real), self.judge(fake)).backward()
        self.optimizer.step()
        self.judge.requires_grad_(False)


def body_rotvec(rotmats: Tensor) -> Tensor:
    """(..., 23, 3, 3) rotations of all joints but the root -> (..., 69) axis-angle."""
    return roma.rotmat_to_rotvec(rotmats).flatten(-2)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Least squares: scores of real motion towards one, of predicted motion towards zero."""
    return fake.square().mean() + (real - 1).square().mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Least squares: scores of predicted motion towards one."""
    return (fake - 1).square().mean()
