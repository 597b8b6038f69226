"""A run to which some detections are not shown, and how it ends with everything in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from semtta.hmr import prepare_inputs
from semtta.hmr.base import HumanMeshRegressor, Prediction
from semtta.hmr.images import ImageCrops
from semtta.tta.heldout import HeldoutErrors, heldout_errors, without
from semtta.tta.run import Run
from semtta.tta.shape import Worn


@dataclass(frozen=True)
class Aside:
    """What a run knew before detections were held out of it.

    Args:
        inputs, rest: what the regressor reads, of every frame, and the layers that read it.
        given, first: the frozen model's prediction from them, as it came and on the told body.
        worn: that body.
    """

    inputs: Tensor | ImageCrops
    rest: Callable | None
    given: Prediction
    first: Prediction
    worn: Worn | None


def set_aside(run: Run, model: HumanMeshRegressor) -> Aside | None:
    """From here on the regressor does not read what the evidence holds out; one that looks at
    pixels goes on seeing them. None where nothing is held out.

    Args:
        run: with its first prediction, and nothing adapted yet.
        model: that adapts."""
    heldout = run.evidence.heldout
    if heldout is None:
        return None
    aside = Aside(run.inputs, run.rest, run.given, run.first, run.worn)
    if run.view.crop.reads != "image":
        shown = without(run.track, heldout)
        run.inputs, _ = prepare_inputs(model, shown, run.view.camera, None, run.view.body)
        run.rest = None
        run.cache_prefix(run.config.model.trainable)
        run.worn = None  # a told body stands where what is shown has the person
        run.given = run.predict_all()
        run.begin_shape()
    return aside


def put_back(run: Run, aside: Aside | None) -> HeldoutErrors | None:
    """Measure base and adapted by what neither was shown, then predict once more from everything.

    Args:
        run: adapted.
        aside: of :func:`set_aside`."""
    if aside is None:
        return None
    evidence = run.evidence
    base, adapted = (run.project_all(motion) for motion in (run.first, run.latest))
    errors = heldout_errors(evidence.heldout, evidence.raw, base, adapted)
    run.evidence = evidence.whole()
    run.inputs, run.rest, run.worn = aside.inputs, aside.rest, aside.worn
    run.given, run.first = aside.given, aside.first
    if not run.history:  # nothing has learnt
        run.latest = run.first
    elif run.view.crop.reads != "image" or run.held is not None:
        _hold_anew(run)
        run.latest = run.predict_all()
    return errors


def _hold_anew(run: Run) -> None:
    """Hold what the whole evidence does not show where the whole base has it; what was completed
    stays as it was completed."""
    run.hold_unseen()
    if run.kept is not None:
        base = run.first.rotmats
        completed = run.config.hold.to == "completed"
        run.kept = torch.cat((base[:, :1], run.kept[:, 1:]), 1) if completed else base
