"""The end of a run: base and adapted as finished motions, with all that is known of them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from semtta.hmr.base import Prediction
from semtta.tta.choice import base_share, mixed, too_few
from semtta.tta.closing import as_it_is, closed_motion
from semtta.tta.divergence import check_base, diverged, finite, numbers_of
from semtta.tta.heldout import HeldoutErrors
from semtta.tta.hold import held_depth
from semtta.tta.provenance import provenance
from semtta.tta.result import Motion, Result
from semtta.tta.run import Run
from semtta.video import VideoSource


def motions(
    run: Run, shapes: tuple[Tensor | None, Tensor | None] = (None, None)
) -> tuple[Motion, Motion, Motion]:
    """What a run started from, the same on the body that is told, and what it adapted.

    Args:
        shapes: see :func:`outcome`.
    Raises ``SemttaError`` if one is not finite."""

    def closed(prediction: Prediction, shape: Tensor | None) -> Motion:
        times = run.track.times
        return closed_motion(prediction, run.view, run.evidence, times, run.config, shape)

    given = run.view.crop.reads == "parameters"  # a result is its own base, as it came
    first = as_it_is(run.first, run.view) if given else closed(run.first, shapes[0])
    base = as_it_is(run.given, run.view) if given else first
    moved = closed(run.latest, shapes[1])
    if run.config.hold.depth and run.held is not None:
        moved = held_depth(moved, first, run.held, run.view)
    check_base(run, base)
    if not finite(*numbers_of(moved)):
        raise diverged(run, len(run.history) - 1, "the motion is")
    return base, first, moved


def outcome(
    run: Run,
    heldout: HeldoutErrors | None,
    video: VideoSource | None,
    shapes: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Result:
    """What came out of a run.

    Args:
        run: adapted.
        heldout: base and adapted where neither was shown anything, in another run.
        video: whose hash stands in the provenance.
        shapes: of the bodies of base and adapted, (10,) each, where more is known of them than
            this run shows.
    Raises ``SemttaError`` if a motion is not finite."""
    config = run.config
    base, first, moved = motions(run, shapes)
    share = base_share(heldout, run.track.times, config.select)
    if config.select == "auto" and too_few(heldout):
        text = (
            f"too little of track {run.track.id} could be held out for select=auto to decide: the "
            "adapted motion is handed out."
        )
        run.progress("note", 0, None, {"text": text})
    moved = mixed(first, moved, share, run.view)
    return Result(
        track=run.track.to(torch.device("cpu")),
        base=base,
        adapted=moved,
        camera=run.view.camera,
        boxes=run.view.boxes.cpu(),
        evidence=run.evidence.cpu(),
        labels=run.labels,
        similarity=run.frame_similarity,
        gate_similarity=run.gate_similarity,
        sigma=run.sigma,
        history=copy.deepcopy(run.history),
        provenance=provenance(config, run.model, run.view.body, run.precision, video),
        heard=run.heard,
        base_share=share if bool(share.any()) else None,
        heldout=heldout,
    )
