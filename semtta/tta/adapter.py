"""The loop: wrap a regressor, adapt it to a video, put it back as it was.

result = Adapter(load_model("lifter")).run("clip.mp4", labels="walking")[0]
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from torch import nn

from semtta.body import Body, load_body
from semtta.config import REFINED_WHOLE, Config, load_config, validate
from semtta.engine import Progress, check_trainable, pick_device, silent, undisturbed
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.hmr import load_model
from semtta.hmr.base import HumanMeshRegressor
from semtta.keypoints import Track
from semtta.labels import Labels, as_labels
from semtta.labels.coverage import coverage
from semtta.motion.prior import MotionPrior
from semtta.people import Poses2DOptions, TrackedVideo
from semtta.threads import spinning_note
from semtta.tta.alone import alone, own_state
from semtta.tta.carried import Carried
from semtta.tta.fit import begin_run, fit
from semtta.tta.heard import checked_labels
from semtta.tta.live import Source, arriving
from semtta.tta.meaning import text_remarks
from semtta.tta.memory import memory_note
from semtta.tta.outcome import outcome
from semtta.tta.people import believed, check_tracks, find_people, known_people, select_tracks
from semtta.tta.pieces import in_one_piece
from semtta.tta.result import Result
from semtta.tta.resume import Store, recalled
from semtta.tta.run import Run
from semtta.tta.seams import joined
from semtta.tta.second_run import second_run
from semtta.tta.segments import lone_poses
from semtta.tta.shape import check_shape, shared_shape
from semtta.tta.still_camera import in_world
from semtta.tta.strategies import build_strategy, load_networks
from semtta.tta.strategy import Networks
from semtta.tta.stream import Stream, check_streaming, streamed, told_each
from semtta.tta.view import camera_of
from semtta.tta.windows import Windows
from semtta.video import VideoSource, cut_video
from semtta.video.cut import Edge


class Adapter:
    """Adapts a human mesh regressor to videos, one track at a time.

    Each track starts from the model's own weights, which are restored afterwards: videos never
    influence each other, and ``model`` is unchanged when ``run`` returns or fails. The state of
    PyTorch around a call (gradients, autocast, default dtype and device, generators) neither
    matters nor changes. Several threads may use adapters, one or many: their runs come one after
    the other. On the CPU the result does not depend on PyTorch's number of threads: landmarks are
    read on one, images piece by piece on one each; dropout alone (``optimizer.train_mode``) is for
    all of them at once.

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
        if self.config.mode == "online":
            check_streaming(self.config, self.model)
        if self.config.window.frames and model.crop.reads == "parameters":
            raise SemttaError(REFINED_WHOLE)
        self._networks = Networks(prior, gate_prior, denoiser)

    @alone
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
        if note := spinning_note(in_one_piece(self.model, self.config), self.device):
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
            make = partial(self._adapt, track, camera, texts, progress, video.info.source, store)
            results.append(recalled(store, track, camera, texts, make))
        return self._placed(results, video.tracks, progress, video.info.source)

    @alone
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

    def stream(
        self,
        source: Source,
        labels: Labels | str | Path | Sequence[str | None] | None = None,
        *,
        fps: float = 30.0,
        camera: Camera | None = None,
    ) -> Iterator[Result]:
        """Adapt to one person while frames arrive, see ``tta.stream``.

        Args:
            source: frames (H, W, 3) uint8 RGB, or pairs of seconds and such a frame, in which the
                most prominent person is followed; pieces of a track; a tracked video, of which the
                main person is taken; or the path of a file, whose frames are read one by one.
            labels: as in :meth:`run`, as far as they are known before.
            fps: of frames without times.
            camera: intrinsics of the image, as pieces of a track need them; else by the settings.
        Yields: the next frames of the result, which nothing that follows changes. Another person
            has another number and begins with the network as it was.
        Raises: ``SemttaError`` for anything wrong with settings and input; what is wrong with a
            frame when it arrives."""
        labels = as_labels(labels)
        check_streaming(self.config, self.model)
        self.load_networks(labels is not None)
        if labels is not None:
            least = self.config.labels.min_confidence
            if isinstance(source, TrackedVideo):  # of which the whole is known
                labels = checked_labels(labels, source, least, silent)
                check_tracks(labels, source.tracks[:1])
            else:
                labels = believed(labels, least, silent)
            self.check_texts(labels)
        arrivals = arriving(source, fps, camera, self.camera, self.config.detector.size)
        state = partial(own_state, self.model, self.device, self.config)
        return streamed(arrivals, labels, self._online, state)

    # ------------------------------------------------------------------ parts of a run

    def _placed(
        self, results: list[Result], people: list[Track], progress: Progress, video
    ) -> list[Result]:
        if self.config.camera.motion != "static":
            return results
        return in_world(results, self.body, people, progress, video)

    def _adapt(
        self, track: Track, camera: Camera, labels: Sequence[str | None] | None,
        progress: Progress, video: VideoSource | None, store: Store | None = None,
    ) -> Result:  # fmt: skip
        if isinstance(labels, str):
            raise SemttaError("adapt takes one label per frame; run takes one text for all.")
        texts: list[str | None] = [None] * len(track) if labels is None else list(labels)
        if len(texts) != len(track):
            raise SemttaError(f"{len(texts)} labels for a track of {len(track)} frames.")
        if note := lone_poses(track.times):
            progress("note", 0, None, {"text": note})
        if self.config.mode == "online":
            stream = self._online(camera, video)
            stream.add(track, texts)
            return joined(told_each(stream.results(), len(track), progress))

        def of_window(part: Track, said: list[str | None], hear: Progress) -> Run:
            return self._fitted(part, camera, said, hear, video)

        windows = Windows(self.model, self.body, camera, self.config, of_window, store)

        def fitted(track: Track, progress: Progress) -> Run:
            return windows.fitted(track, texts, progress)

        # the one that measures first: then only its numbers are kept while the other one runs
        heldout = second_run(track, self.config, fitted, progress)
        return outcome(fitted(track, progress), heldout, video)

    def _online(self, camera: Camera, video: VideoSource | None = None) -> Stream:
        """A stream that this adapter fits; see ``tta.stream``."""
        check_streaming(self.config, self.model)

        def adapted(track: Track, texts: list[str | None], carried: Carried) -> Result:
            run = self._fitted(track, camera, texts, silent, video, carried)
            return outcome(run, None, video, carried.settled)

        return Stream(adapted, self.config, copy.deepcopy(self.body).cpu())

    def _fitted(
        self, track: Track, camera: Camera, texts: list[str | None], progress: Progress,
        video: VideoSource | None, carried: Carried | None = None,
    ) -> Run:  # fmt: skip
        config = self.config if carried is None else carried.settings
        on_device = track.to(self.device)
        run = begin_run(self.model, self.body, on_device, camera, texts, config, progress, video)
        self.load_networks(any(texts))
        fit(run, build_strategy(config, any(texts), self._networks), carried)
        return run

    def camera(self, width: int, height: int, video: VideoSource | None = None) -> Camera:
        """Intrinsics of an image of this size, as the settings say, else as the result does.

        Args:
            video: whose metadata are read if the settings say so.
        Raises ``SemttaError`` for a camera that cannot have taken it."""
        return camera_of(self.model, self.config.camera, width, height, video)

    @alone
    def load_networks(self, labelled: bool) -> None:
        """Load the priors and the denoiser that the settings need, once.

        Args:
            labelled: whether there are labels at all."""
        self._networks = load_networks(self.config, labelled, self._networks, self.device)

    @alone
    def check_texts(self, labels: Labels) -> None:
        """Raise ``SemttaError`` for a label that no prior can read."""
        texts = {span.text for span in labels.confident(self.config.labels.min_confidence).spans}
        for prior in (self._networks.prior, self._networks.gate_prior):
            if prior is not None and texts:
                prior.embed_text(sorted(texts))

    @alone
    def text_remarks(self, labels: Labels) -> list[str]:
        """How labels that are no names are read, and which are not known: sentences."""
        texts = {span.text for span in labels.confident(self.config.labels.min_confidence).spans}
        self.load_networks(bool(texts))
        return text_remarks(self._networks.prior, texts)
