"""A long track in windows that overlap: a run holds what one window needs, however long it is.

Each window is a run of its own that begins with the network as it is: nothing drifts from one to
the next, and a finished one can be kept for a run that goes on later. Where two windows overlap,
the motion goes over from one to the other; the 2D evidence changes hands in the middle. What looks
at a whole track (one body, the light filter, the path, the held distance, the choice by held-out
joints) does so afterwards, over all windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from semtta.body import Body
from semtta.config import Config
from semtta.config_schema import WindowConfig
from semtta.engine import Progress, make_generator, resolve_precision
from semtta.geometry import Camera, full_translation, nearest_rotation, weak_perspective
from semtta.hmr.base import HumanMeshRegressor, Prediction
from semtta.keypoints import Track
from semtta.tta.closing import as_it_is
from semtta.tta.result import Motion, Result
from semtta.tta.resume import Store, recalled
from semtta.tta.run import Run
from semtta.tta.seams import joined
from semtta.tta.shape import worn
from semtta.tta.view import View

_READ = 2.0  # seconds of a segment of the motion-text prior

# Adapts to all frames of a window, each with a text or None.
Fit = Callable[[Track, list[str | None], Progress], Run]


def window_rows(count: int, config: WindowConfig) -> list[slice]:
    """As few windows as cover a track, equally long, each with ``overlap`` rows of the next one.

    Args:
        count: frames of the track; as many as a window may have, or no limit: one window."""
    most, shared = config.frames, config.overlap
    if most is None or count <= most:
        return [slice(0, count)]
    number = -(-(count - shared) // (most - shared))
    starts = [round(i * (count - shared) / number) for i in range(number + 1)]
    return [slice(a, b + shared) for a, b in zip(starts, starts[1:])]


def short_seams(track: Track, config: WindowConfig) -> str:
    """A sentence where windows share less than the prior reads at a time; "" otherwise."""
    step = float(track.times.diff().median())
    if config.overlap * step >= _READ - step:
        return ""
    enough = round(_READ / step)
    return (
        f"windows of track {track.id} share {config.overlap * step:.1f} s: a label that holds for "
        f"a short time where two meet may be heard in neither; window.overlap={enough} with "
        f"window.frames of at least {3 * enough} share the {_READ:g} s that the motion-text prior "
        "reads."
    )


@dataclass(frozen=True)
class Windows:
    """What adapts to a track, by windows if it is long.

    Args:
        model, body: on one device.
        camera: intrinsics of the image.
        config: settings.
        fit: adapts to one window; nothing of its run is held afterwards.
        store: keeps each window, and knows those of an earlier run; None = nobody does.
    """

    model: nn.Module
    body: Body
    camera: Camera
    config: Config
    fit: Fit
    store: Store | None = None

    def fitted(self, track: Track, texts: list[str | None], progress: Progress) -> Run:
        """The run that has adapted to a track; one that is no longer than a window has no windows.

        Args:
            texts: one or None per frame.
            progress: told of the epochs of all windows as of one run."""
        if len(window_rows(len(track), self.config.window)) == 1:
            return self.fit(track, texts, progress)
        if note := short_seams(track, self.config.window):
            progress("note", 0, None, {"text": note})
        return whole_run(self.model, self.body, self.parts(track, texts, progress), self.config,
                         progress)  # fmt: skip

    def parts(self, track: Track, texts: list[str | None], progress: Progress) -> list[Result]:
        """One run after the other; of each stays what it predicted, not yet a finished motion."""
        windows, made = window_rows(len(track), self.config.window), []

        def adapted(part: Track, said: list[str | None], number: int) -> Result:
            made.append(number)
            hear = _of_window(progress, number, len(windows))
            return _as_predicted(self.fit(part, said, hear))

        found = []
        for number, rows in enumerate(windows):
            part, said = track.at(torch.arange(rows.start, rows.stop)), texts[rows]
            make = partial(adapted, part, said, number)
            found.append(recalled(self.store, part, self.camera, said, make, window=True))
        if known := len(windows) - len(made):
            text = (f"track {track.id}: {known} of {len(windows)} windows are those of an earlier "
                    "run that was stopped (--no-cache adapts them anew).")  # fmt: skip
            progress("note", 0, None, {"text": text})
        return found


def _of_window(progress: Progress, number: int, count: int) -> Progress:
    """A callback for the epochs of one window among those of all."""

    def hear(stage: str, done: int, total: int | None, values: dict) -> None:
        if stage == "adapt" and total is not None:
            values = {"window": f"{number + 1}/{count}"} | values
            done, total = number * total + done, count * total
        progress(stage, done, total, values)

    return hear


def _as_predicted(run: Run) -> Result:
    """What a window's run has found, on the CPU."""
    return Result(
        track=run.track.to(torch.device("cpu")),
        base=as_it_is(run.given, run.view), adapted=as_it_is(run.latest, run.view),
        camera=run.view.camera, boxes=run.view.boxes.cpu(), evidence=run.evidence.cpu(),
        labels=run.labels, similarity=run.frame_similarity, gate_similarity=run.gate_similarity,
        sigma=run.sigma, history=run.history, heard=run.heard,
    )  # fmt: skip


def whole_run(
    model: nn.Module, body: Body, parts: Sequence[Result], config: Config, progress: Progress
) -> Run:
    """The run of a whole track as its windows have found it.

    Args:
        model, body: on one device.
        parts: of its windows, in their order.
        config: that they were adapted with."""
    assert isinstance(model, HumanMeshRegressor)  # the adapter has looked
    device, metric = body.faces.device, model.crop.camera == "metric"
    one = joined(_without_overlap(parts))
    view = View(body, one.camera, one.boxes.to(device), model.crop, one.detections.skeleton)
    images = model.crop.reads == "image"
    run = Run(
        model=model, view=view, track=one.track, inputs=torch.empty(0, device=device),
        evidence=one.evidence, labels=one.labels, config=config,
        generator=make_generator(config.seed), progress=progress,
        precision=resolve_precision(config.optimizer.precision, device, images),
        history=one.history, frame_similarity=one.similarity, gate_similarity=one.gate_similarity,
        sigma=one.sigma, heard=one.heard,
    )  # fmt: skip
    of_whole = partial(_prediction, view=view, frames=one.track.frames)
    run.given = _blended([of_whole(part.base, part) for part in parts], parts)
    run.begin_shape()
    run.latest = _blended([of_whole(part.adapted, part) for part in parts], parts)
    if run.worn is not None:  # each window told its own of that height
        told = worn(body, run.latest.betas, run.worn.betas, metric)
        run.latest = told.put_on(run.latest, torch.arange(len(run.track), device=device))
    run.hold_unseen()
    return run


def _prediction(motion: Motion, part: Result, view: View, frames: Tensor) -> Prediction:
    """What :func:`as_it_is` was made from, before the crops of the whole track: where nothing is
    detected a window may have had others.

    Args:
        motion: of a window.
        view: of the whole track.
        frames: (T,) its numbers."""
    place = motion.trans
    if view.crop.camera != "metric":
        crops = view.boxes.cpu()[torch.searchsorted(frames, part.track.frames)]
        moved = weak_perspective(full_translation(motion.cam, part.boxes, view.camera), crops,
                                 view.camera)  # fmt: skip
        place = torch.where((crops == part.boxes).all(-1, keepdim=True), motion.cam, moved)
    device = view.boxes.device
    return Prediction(*(x.to(device) for x in (motion.rotmats, motion.betas, place)))


def _shared(parts: Sequence[Result]) -> list[int]:
    """How many frames each window has in common with the next one; 0 of the last."""
    pairs = zip(parts, parts[1:])
    return [*(int((a.track.frames >= b.track.frames[0]).sum()) for a, b in pairs), 0]


def _without_overlap(parts: Sequence[Result]) -> list[Result]:
    """Each frame once: the first half of what two windows share is of the earlier one."""
    kept, first = [], 0
    for number, (part, after) in enumerate(zip(parts, _shared(parts), strict=True)):
        last = len(part.labels) - (after - after // 2)
        history = [{"window": number + 1} | numbers for numbers in part.history]
        kept.append(replace(part.at(torch.arange(first, last)), history=history))
        first = after // 2
    return kept


def _blended(predictions: Sequence[Prediction], parts: Sequence[Result]) -> Prediction:
    """Predictions of windows as one of every frame; in what two share it goes over smoothly."""
    pieces, first = [], 0
    for i, (found, after) in enumerate(zip(predictions, _shared(parts), strict=True)):
        last = len(found.rotmats) - after
        pieces.append(found[first:last])
        if after:
            pieces.append(_crossfade(found[last:], predictions[i + 1][:after]))
        first = after
    return Prediction.cat(pieces)


def _crossfade(a: Prediction, b: Prediction) -> Prediction:
    """From one prediction of N frames to another of the same frames."""
    count = len(a.rotmats)
    share = (torch.arange(count, device=a.cam.device) + 1) / (count + 1)
    weight: Tensor = share**2 * (3 - 2 * share)
    turned = torch.lerp(a.rotmats, b.rotmats, weight[:, None, None, None])
    betas = torch.lerp(a.betas, b.betas, weight[:, None])
    return Prediction(nearest_rotation(turned), betas, torch.lerp(a.cam, b.cam, weight[:, None]))
