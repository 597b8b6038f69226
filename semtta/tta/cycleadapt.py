"""The method of "Cyclic Test-Time Adaptation on Monocular Video for 3D Human Mesh Reconstruction".

Nam, Jung, Oh, Lee, ICCV 2023; to be read beside it. Each cycle has two stages:

* *HMR stage*: the regressor is fine-tuned on every frame, in shuffled batches, with the 2D loss
  and, from the second cycle on, with L1 losses to the motion denoiser's rotations and to the
  window mean of the shape (the cycle that comes first has no targets yet);
* *denoiser stage*: the denoiser is fine-tuned by masked reconstruction of the regressor's motion,
  then denoises it: the targets of the next cycle.

The 2D evidence never changes and no text is read. The official settings stand in
``configs/cycleadapt.yaml``. What the official code does and this file does not do by default:

* its denoiser sees predictions kept from the training pass (dropout on, of weights that moved
  meanwhile); here those of a full pass after it. ``cycleadapt.targets: stale`` is the official one;
* its targets are what the denoiser put out while it was fitted, of windows whose frames were hidden
  at random; here a pass after the fit makes them, with the frames hidden that its test hides;
* it computes a pose prior of weight zero at every step; left out;
* it keeps frames without target in the mean of the smoothing losses as zeros. Either all frames
  have a target or, in the first cycle, none has: the terms are left out there, which is the same;
* it fails on tracks shorter than a window of 49 frames; here their last frame is repeated.

The denoiser stage keeps one Adam for the whole video, whose rate follows the schedule, and visits
every window once a cycle (``smoothing.fit_state``, ``fit_windows``).

With the shipped denoiser in MDNet's place, ``smoothing.completion`` tells it which limbs have no
evidence. That is not CycleAdapt, whose denoiser hides whole frames, and off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from semtta.engine import shuffled_batches
from semtta.hmr.base import Prediction
from semtta.tta.run import Run
from semtta.tta.schedule import learning_rate
from semtta.tta.smoothing import build_smoother, shape_target, told_path, told_rotations
from semtta.tta.strategy import Draw, Networks
from semtta.tta.terms import (
    divides_by_visible,
    landmarks3d_term,
    reprojection_term,
    smoothing_terms,
)


@dataclass(frozen=True)
class Targets:
    """What the denoiser stage hands to the next HMR stage.

    Args:
        rotmats: (T, 24, 3, 3) denoised rotations.
        betas: (T, 10), the window mean of the shape as in its code.
    """

    rotmats: Tensor
    betas: Tensor


class CycleAdapt:
    """The strategy; state of one run.

    Args:
        networks: the denoiser is used.
    """

    reads: tuple[str, ...] = ("denoiser",)

    def __init__(self, networks: Networks):
        self.networks = networks

    def begin(self, run: Run) -> None:
        config = run.config
        times = run.track.times
        self.smoother = build_smoother(config.smoothing, self.networks.denoiser, times)
        self.seen = told_rotations(run)
        self.stale: Prediction | None = None
        if config.cycleadapt.targets == "stale":
            now = run.latest
            self.stale = Prediction(now.rotmats.clone(), now.betas.clone(), now.cam.clone())
        self.targets: Targets | None = None
        if config.smoothing.from_epoch == 0:
            self.targets = self._denoise(run, run.latest)

    # ------------------------------------------------------------------ HMR stage

    def batches(self, run: Run, epoch: int) -> Iterator[Draw]:
        config = run.config.optimizer
        for frames in shuffled_batches(
            len(run.track), config.batch_frames, config.steps_per_epoch, run.generator
        ):
            frames = frames.to(run.device)
            yield Draw(frames, torch.ones(len(frames), device=run.device))

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        frames = draw.frames
        if self.stale is not None:
            self.stale.rotmats[frames] = prediction.rotmats.detach()
            self.stale.betas[frames] = prediction.betas.detach()
        landmarks = run.view.landmarks(prediction)
        terms = reprojection_term(run, draw, prediction, landmarks)
        terms |= landmarks3d_term(run, draw, landmarks)
        if self.targets is not None:
            weight = torch.ones(len(frames), 24, device=run.device)  # hidden joints count alike
            terms |= smoothing_terms(
                run.config.smoothing, prediction, self.targets.rotmats[frames],
                self.targets.betas[frames], weight, draw.count,
            )  # fmt: skip
        return terms

    def couples(self, run: Run, draw: Draw) -> bool:
        return divides_by_visible(run)

    # ------------------------------------------------------------------ denoiser stage

    def end_epoch(self, run: Run, epoch: int) -> dict[str, float]:
        if self.smoother is None:
            return {}
        motion = run.latest if self.stale is None else self.stale
        lr = learning_rate(run.config.optimizer, epoch, run.config.smoothing.fit_lr)
        fitted = self.smoother.fit(motion.rotmats, self.seen, run.generator, lr)
        if epoch + 1 >= run.config.smoothing.from_epoch:
            self.targets = self._denoise(run, motion)
        return {"denoiser_loss": sum(fitted) / len(fitted)} if fitted else {}

    def _denoise(self, run: Run, motion: Prediction) -> Targets | None:
        if self.smoother is None:
            return None
        path = told_path(run, motion)
        rotmats, _ = self.smoother.target(motion.rotmats, self.seen, None, path)
        betas = shape_target(run.config.smoothing, run.first.betas, motion.betas)
        return Targets(rotmats, betas)
