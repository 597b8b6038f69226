"""The method of "Semantics-aware Test-time Adaptation for 3D Human Pose Estimation".

Lin, Chen, Gu, Yao, 2025; equation numbers are the paper's. To be read beside it:

* each epoch fine-tunes on segments drawn with weight 1 - similarity, with the 2D loss (Eq. 5),
  the alignment loss (Eq. 3, 4) and the smoothing loss (Eq. 9), summed as Eq. 10 says;
* at its end the 2D evidence moves: EMA where it is present (Eq. 7), then fill-in of missing
  joints in frames whose segments agree with their text above sigma (Eq. 6).

Where the embedded networks need more than the paper says, the setting is named and off in the
``paper_*`` settings: an independent prior for the gate, motion completed from the limbs that are
seen, a ceiling of the pull, detections that count less the less they are expected, limbs that
nobody sees held (``hold``).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from semtta.config import Config
from semtta.hmr.base import Prediction
from semtta.skeletons import ARMS
from semtta.tta import losses
from semtta.tta.hold import held_landmarks
from semtta.tta.meaning import Meaning
from semtta.tta.run import Run, seen_rotations
from semtta.tta.schedule import learning_rate
from semtta.tta.segments import draw_batches, find_segments
from semtta.tta.smoothing import (
    Smoother,
    build_smoother,
    shape_target,
    told_path,
    told_rotations,
    told_text,
)
from semtta.tta.strategy import Draw, Networks
from semtta.tta.terms import (
    divides_by_visible,
    landmarks3d_term,
    reprojection_term,
    smoothing_terms,
)


class Semtta:
    """The strategy; state of one run.

    Args:
        networks: the prior pulls (Eq. 4) and weights the sampling, the gate reads its own (the
            same object in the paper), the denoiser makes the smoothing targets.
    """

    reads: tuple[str, ...] = ("prior", "gate_prior", "denoiser")

    def __init__(self, networks: Networks):
        self.prior, self.gate_prior = networks.prior, networks.gate_prior
        self.denoiser = networks.denoiser

    # ------------------------------------------------------------------ first look

    def begin(self, run: Run) -> None:
        config = run.config
        track = run.track
        prior = self.prior if any(run.labels) else None
        labels, fps, length = run.labels, 30.0, 60
        if prior is not None:
            fps, length = prior.fps, prior.length
        else:
            labels = [None] * len(track)
        self.segments = find_segments(
            track.frames, track.times, labels, fps=fps, length=length,
            stride=config.alignment.stride,
        )  # fmt: skip
        self.align: Meaning | None = None
        self.gate: Meaning | None = None
        if prior is not None and self.gate_prior is not None and len(self.segments):
            # On CPU the grid's fractional positions stay exact; only features move.
            random = config.seed if config.alignment.text == "random" else None
            self.align = Meaning.of(prior, self.segments, run.device, None, random)
            self.gate = Meaning.of(
                self.gate_prior, self.segments, run.device, config.gate.sigma, random
            )
        self.smoother: Smoother | None = build_smoother(
            config.smoothing, self.denoiser, track.times
        )
        self.seen = seen_rotations(run.evidence.detected, run.view.skeleton)
        self.told = told_rotations(run)
        self.text = told_text(run, self.prior)
        robust = config.evidence.robust
        if isinstance(robust, str):  # auto
            robust = getattr(run.model, "robust", None)
        self.robust: float | None = robust
        self.held = torch.zeros_like(self.seen) if run.held is None else run.held
        self._look(run, epoch=-1)
        self.target = self._smoothing_target(run, epoch=-1)
        if self.robust is not None:
            self._doubt(run, self._completed(run, run.project_all(run.latest)))

    # ------------------------------------------------------------------ fine-tuning

    def batches(self, run: Run, epoch: int) -> Iterator[Draw]:
        optimizer = run.config.optimizer
        segments = self.segments.only(self.heard)
        which = torch.nonzero(self.heard)[:, 0].tolist()
        for drawn in draw_batches(
            segments, self.sampling[self.heard], batch_segments=optimizer.batch_segments,
            coverage=optimizer.coverage, steps=optimizer.steps_per_epoch, generator=run.generator,
        ):  # fmt: skip
            yield Draw.of([(rows, which[i] if i >= 0 else i) for rows, i in drawn], run.device)

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        config = run.config
        landmarks = run.view.landmarks(prediction)
        terms = reprojection_term(run, draw, prediction, landmarks)
        if known := self._pulled(run, draw):
            pull = self._alignment(draw, known, prediction, config)
            terms["alignment"] = config.alignment.weight * pull
        if self.target is not None:
            terms |= self._smoothing(run, draw, prediction)
        return terms | landmarks3d_term(run, draw, landmarks)

    def couples(self, run: Run, draw: Draw) -> bool:
        return divides_by_visible(run) or bool(self._pulled(run, draw))

    def _pulled(self, run: Run, draw: Draw) -> list[int]:
        """Which of the drawn segments the text pulls: a label that the gate's prior does not know
        pulls nothing."""
        if not self._aligning(run, self.epoch):
            return []
        assert self.gate is not None  # else _aligning said no
        return [k for k, i in enumerate(draw.segments) if self.gate.known[i]]

    def _alignment(
        self, draw: Draw, known: list[int], prediction: Prediction, config: Config
    ) -> Tensor:
        assert self.align is not None  # else _aligning said no
        segments = [draw.segments[k] for k in known]
        which = torch.tensor(segments, device=prediction.rotmats.device)
        rotmats = prediction.rotmats
        if config.alignment.reach != "all":
            # What the 2D evidence shows, or the motion model is sure of, is not the text's.
            given = self.seen.bool() | (self.held > 0.5)
            if config.alignment.reach == "undecided":
                given = given | (self.sure > 0.5)
            rotmats = torch.where(given[draw.frames, :, None, None], rotmats.detach(), rotmats)
        motion = torch.stack(
            [
                self.segments.resample_window(rotmats[draw.rows[k]], i)
                for k, i in zip(known, segments)
            ]
        )
        similarity = self.align.similarity(motion, which)
        ceiling = self.align.ceiling[which] if config.alignment.target == "label" else None
        return losses.alignment_loss(similarity, ceiling)

    def _smoothing(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        assert self.target is not None  # loss asks
        smoothing = run.config.smoothing
        frames = draw.frames
        weight = torch.where(self.seen[frames].bool(), 1.0, smoothing.unseen_weight)
        weight = weight * (1 - self.held[frames])  # held limbs do not pull at the weights either
        targets = self.target[frames], self.betas_target[frames]
        return smoothing_terms(smoothing, prediction, *targets, weight, draw.count)

    # ------------------------------------------------------------------ end of an epoch

    def end_epoch(self, run: Run, epoch: int) -> dict[str, float]:
        evidence, config = run.evidence, run.config.evidence
        numbers = self._look(run, epoch)
        if self.smoother is not None:
            lr = learning_rate(run.config.optimizer, epoch, run.config.smoothing.fit_lr)
            fitted = self.smoother.fit(run.latest.rotmats, self.told, run.generator, lr)
            if fitted:
                numbers["denoiser_loss"] = sum(fitted) / len(fitted)
        self.target = self._smoothing_target(run, epoch)
        projected = filling = run.project_all(run.latest)
        if config.fill_source == "completed" or self.robust is not None:
            completed = self._completed(run, projected)
            filling = completed if config.fill_source == "completed" else projected
            self._doubt(run, completed)
        if config.update == "ema":
            evidence.average(
                projected, config.alpha, filling if config.refresh_filled else None,
                config.ema_visible, config.ema_by_confidence,
            )  # fmt: skip
        if config.fill and self.gate is not None and epoch >= config.fill_from_epoch:
            numbers["gate_open"] = self._fill(run, filling, epoch)
        numbers["filled"] = evidence.filled_share()
        return numbers

    def _completed(self, run: Run, projected: Tensor) -> Tensor:
        """(T, J, 2) projection of the smoothed and completed motion; without, the prediction's."""
        if self.target is None:
            return projected
        return run.project_all(Prediction(self.target, run.latest.betas, run.latest.cam))

    def _doubt(self, run: Run, expected: Tensor) -> None:
        """Not in the paper: detections that neither regressor nor denoiser expects count less."""
        if self.robust is not None:
            run.evidence.doubt(expected, run.view.boxes[:, 2], self.robust)

    def _fill(self, run: Run, filling: Tensor, epoch: int) -> float:
        """Eq. 6; returns the share of frames that pass the gate."""
        assert run.gate_similarity is not None and self.gate is not None  # _look comes first
        passes = self.segments.frames_of(self.open, len(run.track)).to(run.device)
        weight = torch.ones(len(run.track), device=run.device)
        if run.config.evidence.fill_weight == "similarity":
            weight = run.gate_similarity.to(run.device).nan_to_num().clamp_min(0)
        # neither a held limb nor one that the motion model is not sure of
        doubt = torch.maximum(self.held, 1 - self.sure)
        if run.config.evidence.fill_limbs == "legs":
            doubt = doubt.index_fill(1, torch.tensor(ARMS, device=doubt.device), 1.0)
        barred = held_landmarks(doubt, run.view.skeleton)
        run.evidence.fill(filling, passes, epoch + 1, weight, barred)
        return float(passes.float().mean())

    def _look(self, run: Run, epoch: int) -> dict[str, float]:
        """Similarities, next sampling weights and the gate's view of the latest full pass."""
        self.epoch = epoch + 1
        self.path = None if self.smoother is None else told_path(run, run.latest)
        if self.align is None or self.gate is None:
            self.sampling, self.heard = torch.zeros(0), torch.zeros(0, dtype=torch.bool)
            return {}
        rotmats = run.latest.rotmats
        similarity = self.align.all_similarities(rotmats, self.segments)
        self.sampling = (1 - similarity).cpu()
        source = run.config.gate.source
        moved = None
        if self.gate.moving:
            moved = run.path(run.latest) if self.path is None else self.path
        if source == "completed" and self.smoother is not None:
            completed = self.smoother.complete(rotmats, self.seen, self.path)
            self.gate_similarity = self._gated(completed, moved)
        elif source != "unaligned" or not self._aligning(run, epoch):
            self.gate_similarity = self._gated(rotmats, moved)
        count = len(run.track)
        run.frame_similarity = self.segments.best_per_frame(similarity, count)
        known = self.gate.known  # of other labels the gate says nothing
        heard = self.segments.only(known)
        run.gate_similarity = heard.best_per_frame(self.gate_similarity[known], count)
        self.open = (self.gate_similarity.cpu() > self.gate.sigma) & self.gate.known
        every = torch.ones_like(self.open)
        self.heard = self.open if run.config.gate.guards == "label" else every
        return {
            "similarity": float(similarity.mean()),
            "gate_similarity": float(self.gate_similarity.mean()),
        }

    def _gated(self, rotmats: Tensor, path: Tensor | None) -> Tensor:
        assert self.gate is not None  # _look asks
        return self.gate.all_similarities(rotmats, self.segments, path=path)

    def _heard_text(self, run: Run) -> Tensor | None:
        """(T, D) what the motion model is told of the label, zeros where it is not heard."""
        if self.text is None or run.config.gate.guards == "fill":
            return self.text
        if not bool(self.heard.any()):
            return None
        heard = self.segments.frames_of(self.heard, len(self.text)).to(self.text)
        return self.text * heard[:, None]

    def _aligning(self, run: Run, epoch: int) -> bool:
        """Whether the alignment loss pulls in this epoch (never before the first, -1)."""
        alignment = run.config.alignment
        pulls = self.align is not None and self.gate is not None and alignment.weight > 0
        return pulls and epoch >= alignment.from_epoch

    def _smoothing_target(self, run: Run, epoch: int) -> Tensor | None:
        """Eq. 9's targets for the next epoch, from predictions of the last full pass."""
        smoothing = run.config.smoothing
        self.sure = torch.ones_like(self.seen)
        if self.smoother is None or epoch + 1 < smoothing.from_epoch:
            return None
        first, latest = run.first, run.latest
        self.betas_target = shape_target(smoothing, first.betas, latest.betas)
        # Where the motion model is not sure, the guess stays: of what is held the base's, which no
        # fit has moved; of a limb that is away for a while the latest, which went along with it.
        base = ((self.held > 0.5) & (self.told < 0.5))[..., None, None]
        guess = torch.where(base, first.rotmats, latest.rotmats)
        text = self._heard_text(run)
        target, self.sure = self.smoother.target(guess, self.told, text, self.path)
        if run.held is not None and run.config.hold.to == "completed" and smoothing.completion:
            run.kept = torch.cat((first.rotmats[:, :1], target[:, 1:]), 1)
        return target
