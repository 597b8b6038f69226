"""The state of one adaptation: one model, one track, one moving set of evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from semtta.config import Config
from semtta.engine import Progress, autocast, threaded_map
from semtta.hmr.base import Batch, Prediction
from semtta.hmr.images import ImageCrops
from semtta.keypoints import Track
from semtta.skeletons import MOVED_BY, SMPL24, Skeleton
from semtta.tta.evidence import Evidence
from semtta.tta.hold import held_rotations, held_share
from semtta.tta.pieces import Pieces
from semtta.tta.result import Heard
from semtta.tta.shape import Worn, told_shape, worn
from semtta.tta.view import View


@dataclass
class Run:
    """What a strategy may read and change while it adapts to one track.

    Args:
        model: the regressor being adapted.
        view: body, camera and crops.
        track: the person, as detected.
        inputs: what the model reads; indexed by positions in the track.
        evidence: the 2D targets, in image pixels.
        labels: one text or None per frame.
        config: settings.
        generator: the run's only source of randomness.
        precision: of the forward pass, "fp32" or "bf16".
        boxes: (T, 3) where the model's crops lie, see ``Batch``.
        pieces: that frames pass the model in, see ``tta.pieces``.
        rest: what follows the layers whose outputs ``inputs`` already are, None = the whole model.
        given: the frozen model's prediction of every frame, as it came.
        first: the same on the person's body, where one is told.
        worn: that body, see ``tta.shape``; None = the model's own.
        latest: the prediction of the last full pass.
        history: one dict of named numbers per epoch.
        held: (T, 24) in [0, 1] how far each rotation is held, and kept: (T, 24, 3, 3) at what, see
            ``tta.hold``; None = not at all.
        frame_similarity: (T,) best similarity of the segments that cover a frame, NaN without.
        gate_similarity: (T,) the same as the gate read it.
        opened: labels for which the gate has been open in some frame so far.
        sigma: threshold of the gate, None without.
        heard: what became of the labels, once it has adapted; None without labels or prior.
    """

    model: nn.Module
    view: View
    track: Track
    inputs: Tensor | ImageCrops
    evidence: Evidence
    labels: list[str | None]
    config: Config
    generator: torch.Generator
    progress: Progress
    precision: str = "fp32"
    boxes: Tensor | None = None
    pieces: Pieces = Pieces()
    rest: Callable | None = None
    given: Prediction = field(init=False)
    first: Prediction = field(init=False)
    latest: Prediction = field(init=False)
    history: list[dict] = field(default_factory=list)
    worn: Worn | None = None
    held: Tensor | None = None
    kept: Tensor | None = None
    frame_similarity: Tensor | None = None
    gate_similarity: Tensor | None = None
    opened: set[str] = field(default_factory=set)
    sigma: float | None = None
    heard: Heard | None = None

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    def forward(self, frames: Tensor) -> Prediction:
        """The model's prediction of some positions in the track, with gradient."""
        return next(self.forward_each([frames]))

    def forward_each(self, chunks: Sequence[Tensor]) -> Iterator[Prediction]:
        """:meth:`forward` of one chunk of positions after the other, inputs read ahead."""
        for frames, inputs in zip(chunks, self._read(chunks), strict=True):
            yield self._predicted(frames, inputs)

    def _predicted(self, frames: Tensor, inputs: Tensor) -> Prediction:
        boxes = None if self.boxes is None else self.boxes[frames]
        with autocast(self.device, self.precision):
            out = (self.rest or self.model)(Batch(frames, inputs, boxes))
        found = Prediction(out.rotmats.float(), out.betas.float(), out.cam.float())
        return found if self.worn is None else self.worn.put_on(found, frames)

    def predict(self, chunks: Sequence[Tensor]) -> Prediction:
        """:meth:`forward` of all positions in some chunks, without gradient."""
        return Prediction.cat(self._each(self._predicted, chunks))

    def _each(self, work: Callable[[Tensor, Tensor], Any], chunks: Sequence[Tensor]) -> list:
        """``work(frames, inputs)`` of every chunk, without gradient, by the run's workers."""

        def alone(frames: Tensor):
            with torch.no_grad():  # here: it holds for one thread
                return work(frames, next(self._read([frames])))

        if self.pieces.workers > 1:
            return list(threaded_map(alone, chunks, self.pieces.workers))
        with torch.no_grad():
            return [work(frames, inputs) for frames, inputs in zip(chunks, self._read(chunks))]

    def _read(self, chunks: Sequence[Tensor]) -> Iterator[Tensor]:
        if isinstance(self.inputs, ImageCrops):
            parts = self.inputs.prefetch(chunks)
        else:
            parts = (self.inputs[frames] for frames in chunks)
        for inputs in parts:
            if self.precision == "bf16" and inputs.dim() == 4:  # faster convolutions
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            yield inputs

    def cache_prefix(self, scope: str) -> None:
        """Run the layers that adaptation leaves alone once for every frame and keep the result."""
        split = getattr(self.model, "split", None)
        parts = None if split is None else split(scope)
        if parts is None:
            return
        prefix, rest = parts

        def kept(frames: Tensor, inputs: Tensor) -> Tensor:
            with autocast(self.device, self.precision):
                return prefix(inputs)

        self.inputs, self.rest = torch.cat(self._each(kept, self._chunks())), rest

    def _chunks(self) -> tuple[Tensor, ...]:
        chunk = self.config.optimizer.chunk or self.pieces.size or 64
        return torch.arange(len(self.track), device=self.device).split(chunk)

    def begin_shape(self, told: Tensor | None = None) -> None:
        """From here on the person has the body that the settings tell, if they tell one.

        Args:
            told: (10,) what they told of this person before."""
        self.first = self.given
        body, betas = self.view.body, self.given.betas
        if told is None:
            told = told_shape(self.config.shape, body, betas)
        if told is not None:
            self.worn = worn(body, betas, told, self.view.crop.camera == "metric")
            frames = torch.arange(len(self.track), device=self.device)
            self.first = self.worn.put_on(self.given, frames)
        self.latest = self.first

    def begin_hold(self) -> None:
        """Hold what nothing shows for long at the first prediction, if the settings say so."""
        if self.config.hold.after is not None:
            self.hold_unseen()
            self.kept = self.first.rotmats

    def hold_unseen(self) -> None:
        """Hold, as far as the settings say, what the evidence as it stands does not show."""
        if self.config.hold.after is not None:
            skeleton = self.view.skeleton
            seen = seen_rotations(self.evidence.detected, skeleton)
            self.held = held_share(seen, self.track.times, self.config.hold.after, skeleton)

    @torch.no_grad()
    def predict_all(self) -> Prediction:
        """One pass over the track without gradient, in eval mode."""
        training = self.model.training
        self.model.eval()
        whole = self.predict(self._chunks())
        self.model.train(training)
        if self.held is None or self.kept is None:
            return whole
        return replace(whole, rotmats=held_rotations(whole.rotmats, self.kept, self.held))

    def path(self, prediction: Prediction) -> Tensor:
        """(T, 3) pelvis of a prediction of every frame, camera frame, metres."""
        frames = torch.arange(len(self.track), device=self.device)
        return self.view.translation(prediction, frames)

    @torch.no_grad()
    def project_all(self, prediction: Prediction) -> Tensor:
        """(T, J, 2) image pixels of a prediction of every frame."""
        frames = torch.arange(len(self.track), device=self.device)
        return self.view.project(prediction, frames, self.view.landmarks(prediction))


def seen_rotations(detected: Tensor, skeleton: Skeleton) -> Tensor:
    """Which rotations the 2D evidence says something about.

    A rotation is unseen where the landmark that it moves is missing (a hidden knee leaves the
    hip's rotation open). Rotations whose landmark the skeleton lacks count as seen.

    Args:
        detected: (T, J) bool in ``skeleton``.
    Returns: (T, 24) in {0, 1}, SMPL joint order."""
    seen = torch.ones(len(detected), len(SMPL24), device=detected.device)
    for joint, landmark in MOVED_BY.items():
        if landmark in skeleton:
            seen[:, SMPL24.index(joint)] = detected[:, skeleton.index(landmark)].to(seen)
    return seen
