"""One run of a model on a track: predict, adapt, predict again, put the model back."""

from __future__ import annotations

from torch import nn

from semtta.body import Body
from semtta.config import Config
from semtta.engine import Progress, adapting, make_generator, resolve_precision, undisturbed
from semtta.geometry import Camera, plane_boxes
from semtta.hmr import prepare_inputs
from semtta.hmr.base import HumanMeshRegressor
from semtta.keypoints import Track
from semtta.tta.carried import Carried
from semtta.tta.divergence import check_base
from semtta.tta.evidence import Evidence
from semtta.tta.heard import heard_labels
from semtta.tta.loop import fine_tune
from semtta.tta.pieces import pieces_for
from semtta.tta.run import Run
from semtta.tta.strategy import Strategy
from semtta.tta.view import View
from semtta.video import VideoSource


def begin_run(
    model: nn.Module,
    body: Body,
    track: Track,
    camera: Camera,
    texts: list[str | None],
    config: Config,
    progress: Progress,
    video: VideoSource | None = None,
) -> Run:
    """The state of a run in which nothing has been predicted.

    Args:
        model, body, track: on one device.
        camera: intrinsics of the image.
        texts: one or None per frame.
        video: the file, for models that read images."""
    assert isinstance(model, HumanMeshRegressor)  # the adapter has looked
    inputs, boxes = prepare_inputs(model, track, camera, video, body)
    view = View(body, camera, boxes, model.crop, track.keypoints.skeleton)
    known = body.has_landmarks(view.skeleton).to(boxes.device)
    told = config.evidence
    evidence = Evidence.from_keypoints(track.keypoints, known, told.min_confidence)
    images = model.crop.reads == "image"
    return Run(
        model=model, view=view, track=track, inputs=inputs, evidence=evidence, labels=texts,
        config=config, generator=make_generator(config.seed), progress=progress,
        precision=resolve_precision(config.optimizer.precision, boxes.device, images),
        boxes=plane_boxes(boxes, camera), pieces=pieces_for(model, config, boxes.device),
    )  # fmt: skip


def fit(run: Run, strategy: Strategy, carried: Carried | None = None) -> None:
    """Adapt the run's model to its track; afterwards the model is as it was.

    Args:
        run: with nothing predicted yet; ``given``, ``first``, ``latest`` and ``heard`` are there
            afterwards.
        carried: what the windows before have left, of an online run; this one leaves its own."""
    model, scope = run.model, run.config.model.trainable
    assert isinstance(model, HumanMeshRegressor)  # the adapter has looked
    parameters = model.parameter_groups(scope)
    # anew, for dropout: what was loaded on the way may have drawn from the generators
    with adapting(model, parameters), undisturbed(run.device, run.config.seed):
        model.eval()
        run.cache_prefix(scope)
        run.given = run.predict_all()
        check_base(run, run.given)
        run.begin_shape(None if carried is None else carried.told)
        run.begin_hold()
        base = None if carried is None else carried.begin(run, parameters)
        fine_tune(run, strategy, parameters, base)
        if carried is not None and base is not None:
            carried.end(run, parameters, base)
    run.heard = heard_labels(run, strategy)
