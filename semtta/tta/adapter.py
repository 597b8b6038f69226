"""The loop: wrap a regressor, adapt it to a video, put it back as it was.

result = Adapter(load_model("lifter")).run("clip.mp4", labels="walking")[0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path

from torch import nn

from semtta.body import Body, load_body
from semtta.config import Config, load_config, validate
from semtta.engine import (
    Progress,
    adapting,
    check_trainable,
    make_generator,
    pick_device,
    resolve_precision,
    silent,
    spinning_note,
    threads_for,
    undisturbed,
)
from semtta.errors import SemttaError
from semtta.geometry import Camera, plane_boxes
from semtta.hmr import load_model, prepare_inputs
from semtta.hmr.base import HumanMeshRegressor
from semtta.keypoints import Track
from semtta.labels import Labels, as_labels
from semtta.labels.coverage import coverage
from semtta.motion.prior import MotionPrior
from semtta.people import Poses2DOptions, TrackedVideo
from semtta.tta.divergence import check_base
from semtta.tta.evidence import Evidence
from semtta.tta.heard import checked_labels
from semtta.tta.heldout import HeldoutErrors, draw_heldout, heldout_errors, judged, without
from semtta.tta.loop import fine_tune
from semtta.tta.meaning import text_remarks
from semtta.tta.memory import memory_note
from semtta.tta.outcome import motions, outcome
from semtta.tta.people import check_tracks, find_people, known_people, select_tracks
from semtta.tta.result import Result
from semtta.tta.resume import Store, recalled
from semtta.tta.run import Run
from semtta.tta.segments import lone_poses
from semtta.tta.shape import check_shape, shared_shape
from semtta.tta.still_camera import in_world
from semtta.tta.strategies import build_strategy, load_networks
from semtta.tta.strategy import Networks, Strategy
from semtta.tta.view import View, camera_of
from semtta.video import VideoSource, cut_video
from semtta.video.cut import Edge


def _undisturbed(method: Callable) -> Callable:
    """The caller's state of PyTorch neither matters to a method of ``Adapter`` nor changes."""

    @wraps(method)
    def alone(self, *arguments, **named):
        images = self.model.crop.reads == "image"
        with undisturbed(self.device, self.config.seed), threads_for(images, self.device):
            return method(self, *arguments, **named)

    return alone


class Adapter:
    """Adapts a human mesh regressor to videos, one track at a time.

    Each track starts from the model's own weights, which are restored afterwards: videos never
    influence each other, and ``model`` is unchanged when ``run`` returns or fails. The state of
    PyTorch around a call (gradients, autocast, default dtype and device, generators) neither
    matters nor changes. Several threads may use adapters, one or many: their runs come one after
    the other. A model that reads landmarks is adapted on one thread of the CPU, whatever PyTorch is
    told otherwise: it is faster, and the result does not depend on the number.

    Args:
        model: a regressor, or a name for ``load_model``; None = ``config.model``.
        config: settings; default ``configs/default.yaml``, of a result ``configs/refine.yaml``.
        body, prior, gate_prior, denoiser: instead of what the settings name.
    """

    def __init__(
        self,
        model: nn.Module | str | None = None,
        *,
        config: Config | None = None,
        body: Body | None = None,
        prior: MotionPrior | None = None,
        gate_prior: MotionPrior | None = None,
        denoiser: nn.Module | None = None,
    ):
        self.config = config or load_config(getattr(model, "settings_name", "default"))
        validate(self.config)
        self.device = pick_device(self.config.device)
        with undisturbed(self.device, self.config.seed):
            if model is None:
                chosen = self.config.model
                model = load_model(chosen.name, chosen.checkpoint, chosen.mean_params, chosen.crop)
            elif isinstance(model, str):
                model = load_model(model)
            if not isinstance(model, HumanMeshRegressor):
                raise SemttaError(f"{type(model).__name__} is no human mesh regressor: it needs "
                                  "'crop', 'forward' and 'parameter_groups'.")  # fmt: skip
            body = body or load_body(self.config.body.name, gender=self.config.body.gender)
            check_trainable(model, body, prior, gate_prior, denoiser)
            model.parameter_groups(self.config.model.trainable)  # that there are some
            self.model = model.to(self.device)
            self.body = body.to(self.device)
            check_shape(self.config.shape, self.body)
        self._networks = Networks(prior, gate_prior, denoiser)

    @_undisturbed
    def run(
        self,
        video: VideoSource | TrackedVideo,
        labels: Labels | str | Path | Sequence[str | None] | None = None,
        *,
        tracks: str | int = "largest",
        poses2d: str | Path | None = None,
        poses2d_options: Poses2DOptions | None = None,
        start: Edge | None = None,
        end: Edge | None = None,
        progress: Progress = silent,
        store: Store | None = None,
    ) -> list[Result]:
        """Adapt to one video.

        Args:
            video: a path, or what ``track_video`` returned.
            labels: a label file, one text, one text per frame, or None (the alignment term is
                then off). A string that looks like the name of a file is one.
            tracks: "largest", "all", or the id of one track.
            poses2d: 2D poses to use instead of the built-in detector.
            poses2d_options: what their file does not say; None = as far as can be told.
            start, end: only a part of a video, as ``track_video`` takes them; labels are those
                of the whole one.
            progress: called as ``progress(stage, done, total, values)``.
            store: keeps each track as soon as it is adapted, and knows those of an earlier run.
        Returns: one result per track.
        Raises: ``SemttaError`` for anything wrong with the input."""
        labels = as_labels(labels)
        if not isinstance(video, TrackedVideo):
            options = poses2d_options or Poses2DOptions(
                min_confidence=self.config.evidence.min_confidence
            )
            size = self.config.detector.size
            part = cut_video(video, start, end)
            video = find_people(part, tracks, poses2d, progress, size, options, model=self.model)
        elif (poses2d, start, end) != (None, None, None):
            raise SemttaError("poses2d goes with the path of a video, as do start and end, not "
                              "with a tracked one.")  # fmt: skip
        if labels is not None:
            labels = checked_labels(labels, video, self.config.labels.min_confidence, progress)
            for text in self.text_remarks(labels):
                progress("note", 0, None, {"text": text})
        camera = self.camera(video.info.width, video.info.height, video.info.source)
        video = known_people(self.model, video, camera, self.body, progress)
        chosen = select_tracks(video, tracks)
        if labels is not None:
            check_tracks(labels, chosen)
        if note := shared_shape(self.config.shape, len(chosen)):
            progress("note", 0, None, {"text": note})
        if note := spinning_note(self.model.crop.reads == "image", self.device):
            progress("note", 0, None, {"text": note})
        results = []
        for track in chosen:
            heavy = memory_note(self.config, self.model, len(track), video.info.fps)
            if heavy:
                progress("note", 0, None, {"text": heavy})
            texts: list[str | None] = [None] * len(track)
            if labels is not None:
                texts = labels.for_track(track)
                progress("note", 0, None, {"text": coverage(texts, track)})
            make = partial(self._adapt, track, camera, texts, progress, video.info.source)
            results.append(recalled(store, track, camera, texts, make))
        return self._placed(results, video.tracks, progress, video.info.source)

    @_undisturbed
    def adapt(
        self,
        track: Track,
        camera: Camera,
        labels: Sequence[str | None] | None = None,
        progress: Progress = silent,
        video: VideoSource | None = None,
    ) -> Result:
        """Adapt to one track.

        Args:
            track: a person with 2D evidence.
            camera: intrinsics of the image.
            labels: one text or None per frame.
            progress: as in :meth:`run`.
            video: the file, for models that read images."""
        result = self._adapt(track, camera, labels, progress, video)
        return self._placed([result], [track], progress, video)[0]

    # ------------------------------------------------------------------ parts of a run

    def _placed(
        self, results: list[Result], people: list[Track], progress: Progress, video
    ) -> list[Result]:
        if self.config.camera.motion != "static":
            return results
        return in_world(results, self.body, people, progress, video)

    def _adapt(
        self, track: Track, camera: Camera, labels: Sequence[str | None] | None,
        progress: Progress, video: VideoSource | None,
    ) -> Result:  # fmt: skip
        if isinstance(labels, str):
            raise SemttaError("adapt takes one label per frame; run takes one text for all.")
        texts = list(labels) if labels is not None else [None] * len(track)
        if len(texts) != len(track):
            raise SemttaError(f"{len(texts)} labels for a track of {len(track)} frames.")
        if note := lone_poses(track.times):
            progress("note", 0, None, {"text": note})
        fitted = self._fitted(track, camera, texts, progress, video)
        heldout = self._heldout(track, camera, texts, progress, video)
        return outcome(*fitted, heldout, video)

    def _heldout(
        self, track: Track, camera: Camera, texts: list[str | None], progress: Progress,
        video: VideoSource | None,
    ) -> HeldoutErrors | None:  # fmt: skip
        """Base and adapted of a second run, by detections that it is not shown."""
        told = self.config.evidence
        unshown = draw_heldout(track.keypoints, track.times, told.heldout, self.config.seed)
        if not bool(judged(unshown, track.keypoints).any()):
            return None

        def measuring(stage: str, done: int, total: int | None, values: dict) -> None:
            if stage != "note":  # said before
                progress("measure" if stage == "adapt" else stage, done, total, values)

        try:
            run, _ = self._fitted(without(track, unshown), camera, texts, measuring, video)
            base, _, adapted = motions(run)
        except SemttaError as error:  # what was adapted to everything stands all the same
            text = f"track {track.id} could not be measured by held-out joints: {error}"
            progress("note", 0, None, {"text": text})
            return None
        pixels = base.landmarks2d, adapted.landmarks2d
        return heldout_errors(unshown, track.keypoints, *pixels)

    def _fitted(
        self, track: Track, camera: Camera, texts: list[str | None], progress: Progress,
        video: VideoSource | None,
    ) -> tuple[Run, Strategy]:  # fmt: skip
        run = self._begin(track, camera, texts, progress, video)
        self.load_networks(any(texts))
        strategy = build_strategy(self.config, any(texts), self._networks)
        parameters = self.model.parameter_groups(self.config.model.trainable)
        # anew, for dropout: what was loaded on the way may have drawn from the generators
        with adapting(self.model, parameters), undisturbed(self.device, self.config.seed):
            self.model.eval()
            run.cache_prefix(self.config.model.trainable)
            run.given = run.predict_all()
            check_base(run, run.given)
            run.begin_shape()
            run.begin_hold()
            fine_tune(run, strategy, parameters)
        return run, strategy

    def camera(self, width: int, height: int, video: VideoSource | None = None) -> Camera:
        """Intrinsics of an image of this size, as the settings say, else as the result does.

        Args:
            video: whose metadata are read if the settings say so.
        Raises ``SemttaError`` for a camera that cannot have taken it."""
        return camera_of(self.model, self.config.camera, width, height, video)

    def _begin(
        self, track: Track, camera: Camera, texts: list, progress: Progress, video=None
    ) -> Run:
        config = self.config
        track = track.to(self.device)
        inputs, boxes = prepare_inputs(self.model, track, camera, video, self.body)
        view = View(self.body, camera, boxes, self.model.crop, track.keypoints.skeleton)
        known = self.body.has_landmarks(view.skeleton).to(self.device)
        told = config.evidence
        evidence = Evidence.from_keypoints(track.keypoints, known, told.min_confidence)
        images = self.model.crop.reads == "image"
        return Run(
            model=self.model, view=view, track=track, inputs=inputs, evidence=evidence,
            labels=texts, config=config, generator=make_generator(config.seed), progress=progress,
            precision=resolve_precision(config.optimizer.precision, self.device, images),
            boxes=plane_boxes(boxes, camera),
        )  # fmt: skip

    @_undisturbed
    def load_networks(self, labelled: bool) -> None:
        """Load the priors and the denoiser that the settings need, once.

        Args:
            labelled: whether there are labels at all."""
        self._networks = load_networks(self.config, labelled, self._networks, self.device)

    @_undisturbed
    def check_texts(self, labels: Labels) -> None:
        """Raise ``SemttaError`` for a label that no prior can read."""
        texts = {span.text for span in labels.confident(self.config.labels.min_confidence).spans}
        for prior in (self._networks.prior, self._networks.gate_prior):
            if prior is not None and texts:
                prior.embed_text(sorted(texts))

    @_undisturbed
    def text_remarks(self, labels: Labels) -> list[str]:
        """How labels that are no names are read, and which are not known: sentences."""
        texts = {span.text for span in labels.confident(self.config.labels.min_confidence).spans}
        self.load_networks(bool(texts))
        return text_remarks(self._networks.prior, texts)
