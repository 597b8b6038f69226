"""Targets of the smoothing loss (Eq. 9): a motion denoiser, or a Gaussian over time."""

from __future__ import annotations

import copy
from functools import partial
from typing import Protocol

import roma
import torch
from torch import Tensor

from semtta.config_schema import SmoothingConfig
from semtta.geometry import gaussian_smooth
from semtta.hmr.base import Prediction
from semtta.motion.prior import MotionPrior
from semtta.motion.text import TextEncoder, random_directions
from semtta.skeletons import ARMS
from semtta.tta.run import Run, seen_rotations
from semtta.user_files import require_user_file


def window_mean(values: Tensor, window: int = 49) -> Tensor:
    """Mean over stride-1 windows, then over the windows that cover a frame (CycleAdapt).

    Args:
        values: (T, D).
        window: frames; a track shorter than it is one window.
    Returns: (T, D), the target of the shape part of Eq. 9."""
    frames = len(values)
    window = min(window, frames)
    means = values.unfold(0, window, 1).mean(-1)
    total = torch.cat((values.new_zeros(1, values.shape[1]), means.cumsum(0)))
    index = torch.arange(frames, device=values.device)
    last = index.clamp_max(len(means) - 1) + 1
    first = (index - window + 1).clamp_min(0)
    return (total[last] - total[first]) / (last - first)[:, None]


def shape_target(config: SmoothingConfig, first: Tensor, latest: Tensor) -> Tensor:
    """What betas are pulled to (the shape part of Eq. 9), by ``smoothing.shape_target``.

    Args:
        first, latest: (T, 10) betas of the frozen network and of the last full pass.
    Returns: (T, 10)."""
    if config.shape_target == "first":
        return first.mean(0).expand_as(first)
    return window_mean(latest)


class Smoother(Protocol):
    """Turns a track's predictions into smoothing targets, and may learn from the video."""

    def target(
        self, rotmats: Tensor, seen: Tensor, text: Tensor | None, trans: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Targets (T, 24, 3, 3), and how sure they are, (T, 24) in [0, 1].

        Args:
            rotmats: (T, 24, 3, 3) predictions, camera axes.
            seen: (T, 24) in [0, 1].
            text: (T, D) of a label-conditioned denoiser, or None.
            trans: (T, 3) pelvis in the camera frame, metres, or None; a filter reads none."""
        ...

    def complete(self, rotmats: Tensor, seen: Tensor, trans: Tensor | None = None) -> Tensor:
        """The same from the seen rotations alone: no label, no look at guesses about the unseen.

        What the gate reads: an alignment loss that moves unseen rotations cannot reach it."""
        ...

    def fit(
        self, rotmats: Tensor, seen: Tensor, generator: torch.Generator, lr: float | None = None
    ) -> list[float]:
        """Adapt to this video's predictions (nothing to do for a filter).

        Args:
            lr: of this pass, where a schedule moves it; None = ``smoothing.fit_lr``.
        Returns: the loss of each step."""
        ...


class GaussianSmoother:
    """Gaussian filter in rotation space; unseen rotations hardly count."""

    def __init__(self, times: Tensor, sigma: float):
        self.times, self.sigma = times, sigma

    def target(
        self, rotmats: Tensor, seen: Tensor, text: Tensor | None, trans: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        smooth = gaussian_smooth(rotmats, self.times, self.sigma, 0.02 + 0.98 * seen)
        return smooth, torch.ones_like(seen)

    def complete(self, rotmats: Tensor, seen: Tensor, trans: Tensor | None = None) -> Tensor:
        return self.target(_without_unseen(rotmats, seen), seen, None)[0]

    def fit(
        self, rotmats: Tensor, seen: Tensor, generator: torch.Generator, lr: float | None = None
    ) -> list[float]:
        return []


class DenoiserSmoother:
    """The motion denoiser, adapted by masked reconstruction on this video (CycleAdapt).

    Works on a copy: the denoiser of the next video starts from its own weights again. Its Adam
    lasts as long as this object, unless ``smoothing.fit_state`` is ``fresh``."""

    def __init__(self, denoiser, times: Tensor, config: SmoothingConfig):
        self.denoiser = copy.deepcopy(denoiser)
        self.times, self.config = times, config
        self.optimizer: torch.optim.Optimizer | None = None

    def target(
        self, rotmats: Tensor, seen: Tensor, text: Tensor | None, trans: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        from semtta.motion.denoiser import complete_track

        complete = partial(complete_track, self.denoiser, rotmats, self.times, seen,
                           gaussian=self.config.sigma, trans=trans)  # fmt: skip
        told, sure = complete(text)
        if text is None or self.config.guidance == 1:
            return told, sure
        return guided(*complete(None), told, self.config.guidance), sure

    def complete(self, rotmats: Tensor, seen: Tensor, trans: Tensor | None = None) -> Tensor:
        return self.target(_without_unseen(rotmats, seen), seen, None, trans)[0]

    def fit(
        self, rotmats: Tensor, seen: Tensor, generator: torch.Generator, lr: float | None = None
    ) -> list[float]:
        from semtta.motion.denoiser import denoiser_optimizer, fit_video

        steps, drawn = self.config.fit_steps, self.config.fit_windows == "drawn"
        if steps == 0:
            return []
        if steps is None and drawn:
            steps = -(-len(rotmats) // 16)
        if self.optimizer is None or self.config.fit_state == "fresh":
            self.optimizer = denoiser_optimizer(self.denoiser, self.config.fit_lr)
        return fit_video(
            self.denoiser, rotmats, self.times, seen, steps=steps, drawn=drawn,
            lr=self.config.fit_lr if lr is None else lr, generator=generator,
            optimizer=self.optimizer,
        )  # fmt: skip


def guided(plain: Tensor, sure: Tensor, told: Tensor, guidance: float) -> Tensor:
    """Completion led by a label: where the motion model is not sure without it, what the label
    changes is made larger, as between a conditional and an unconditional prediction of a
    diffusion model (Ho and Salimans 2022).

    Args:
        plain, told: (T, 24, 3, 3) completed without and with the label.
        sure: (T, 24) how sure it is without.
        guidance: factor on the change where it is not sure at all.
    Returns: (T, 24, 3, 3)."""
    factor = 1 + (guidance - 1) * (1 - sure)
    turn = roma.rotmat_to_rotvec(plain.mT @ told)
    return plain @ roma.rotvec_to_rotmat(factor[..., None] * turn)


def _without_unseen(rotmats: Tensor, seen: Tensor) -> Tensor:
    """(T, 24, 3, 3) with unseen rotations interpolated from seen ones over time."""
    from semtta.motion.denoiser import without_unseen

    return without_unseen(rotmats[None], seen[None])[0]


def load_smoothing_network(config: SmoothingConfig):
    """The network that ``smoothing.kind`` needs: our denoiser, CycleAdapt's, or None."""
    if config.kind == "denoiser":
        from semtta.motion.denoiser import load_denoiser

        return load_denoiser(config.checkpoint)
    if config.kind == "mdnet":
        from semtta.motion.mdnet import load_mdnet

        return load_mdnet(require_user_file("mdnet", config.checkpoint))
    return None


def told_rotations(run: Run) -> Tensor:
    """(T, 24) in [0, 1]: what the smoother is told to be seen, by ``smoothing.completion``; of an
    unseen arm the guess counts ``smoothing.arm_guess``."""
    if not run.config.smoothing.completion:
        return torch.ones(len(run.track), 24, device=run.device)
    told = seen_rotations(run.evidence.detected, run.view.skeleton)
    told[:, ARMS] = told[:, ARMS].clamp_min(run.config.smoothing.arm_guess)
    return told


def told_path(run: Run, motion: Prediction) -> Tensor | None:
    """(T, 3) where the pelvis of a motion goes, for a smoother that is told what is seen."""
    return run.path(motion) if run.config.smoothing.completion else None


def told_text(run: Run, prior: MotionPrior | None) -> Tensor | None:
    """(T, D) text of each frame for a label-conditioned denoiser; zeros where there is none.

    A user's name may be understood through its motion alone: its words stay zeros, as those of a
    label that the prior does not know.

    Args:
        prior: says labels in its own names, where it can."""
    smoothing = run.config.smoothing
    if not (smoothing.text and smoothing.kind == "denoiser" and any(run.labels)):
        return None
    encoder = TextEncoder.load()
    speak = getattr(prior, "spoken", lambda label: label)
    said = {label: speak(label) for label in set(run.labels) if label}
    spoken = [said[label] if label else "" for label in run.labels]
    names = sorted({name for name in spoken if encoder.tokenize(name)})
    features = encoder.encode(names)
    if run.config.alignment.text == "random" and names:
        features = random_directions(names, features.shape[1], run.config.seed)
    text = features.new_zeros(len(spoken), features.shape[1])
    for i, name in enumerate(spoken):
        if name in names:
            text[i] = features[names.index(name)]
    return text.to(run.device)


def build_smoother(config: SmoothingConfig, denoiser, times: Tensor) -> Smoother | None:
    """The smoother that ``smoothing.kind`` names, None for ``none``."""
    if config.kind == "none" or config.weight == 0:
        return None
    if config.kind == "gaussian":
        return GaussianSmoother(times, config.sigma)
    if config.kind == "mdnet":
        from semtta.motion.mdnet import MDNetSmoother

        return MDNetSmoother(
            denoiser, times, lr=config.fit_lr, steps=config.fit_steps,
            keep_state=config.fit_state == "kept",
        )  # fmt: skip
    return DenoiserSmoother(denoiser, times, config)
