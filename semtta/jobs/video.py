"""What ``semtta adapt`` does: a video to an output folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from semtta.body import Body, load_body
from semtta.cache import Cache
from semtta.config import Config, config_to_yaml
from semtta.engine import Progress, as_notes, silent
from semtta.errors import SemttaError
from semtta.files import check_folder, new_folder
from semtta.jobs.asked import Asked, differing, what_was_asked
from semtta.jobs.kept import KeptTracks
from semtta.jobs.labels import Labeller, extended_priors, in_seconds
from semtta.labels import Labels, as_labels, save_labels
from semtta.labels.coverage import remarks
from semtta.motion.user_dictionary import UserDictionary
from semtta.output.files import is_result
from semtta.output.overlay import Renderer, find_renderer
from semtta.output.write import write_results
from semtta.people import TrackedVideo
from semtta.reading import read_json
from semtta.tta.adapter import Adapter
from semtta.tta.people import find_people, known_people, select_tracks
from semtta.tta.result import Result
from semtta.video import VideoInfo, VideoSource, probe

Beside = Callable[[Path, list[Result], Body, VideoInfo, Progress], None]


def adapt_video(
    video: VideoSource,
    labels,
    asked: Asked,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
    dry_run: bool = False,
    cache: Cache | None = None,
    skip_finished: bool = False,
    adapters: Adapters | None = None,
    beside: Beside | None = None,
) -> list[Result] | None:
    """Adapt to a video and write the output folder, whole or not at all.

    What can be wrong with the settings, labels and files is found before the work, except what
    only reading the whole video shows, like labels past its end. What a labeller says is written
    beside the results as labels.json.

    Args:
        video: a file, a folder of images, or such a folder with its frame rate.
        dry_run: stop before the work; nothing is written or sent, the result is an empty list.
        cache: where detections are kept, and finished tracks of a run that is stopped.
        skip_finished: leave a folder alone that holds the result of this very request; one of
            another request is named if it may not be overwritten.
        adapters: of the runs before, whose networks are used again.
        beside: writes something more into the output folder, before it is there.
    Returns: one result per track; None if the folder was finished before."""
    if not skip_finished:
        check_folder(folder, overwrite, is_result)
    info = probe(video)
    labels = as_labels(labels)
    words = what_was_asked(video, labels, asked)
    if skip_finished and _is_finished(folder, words, overwrite):
        return None
    work = _Work.load(asked, labels, adapters or Adapters(), progress)
    work.check(labels, info)
    if dry_run:
        work.rehearse(video, labels, info)
        return []
    store = None if cache is None else work.store(cache, words)
    with new_folder(folder, overwrite, is_result) as partial:
        tracked = work.people(video, cache)
        if work.labeller is not None:
            labels = work.label(tracked)
            save_labels(partial / "labels.json", in_seconds(labels, tracked))
        results = work.adapt(tracked, labels, store)
        work.write(partial, results, tracked.info, words)
        if beside is not None:
            beside(partial, results, work.adapter.body, tracked.info, progress)
    if store is not None:
        store.clear()
    return results


@dataclass(frozen=True)
class _Work:
    """A request with everything loaded that it needs, and the steps from video to folder.

    Args:
        labeller: who labels the video, if nobody did.
        added: names that the user added to the priors.
        finder: estimator of the 2D evidence, if it is not the built-in detector.
        draw: of the overlay."""

    asked: Asked
    adapter: Adapter
    labeller: Labeller | None
    added: UserDictionary
    finder: torch.nn.Module | None
    draw: Renderer
    progress: Progress

    @classmethod
    def load(
        cls, asked: Asked, labels: Labels | None, adapters: Adapters, progress: Progress
    ) -> _Work:
        from semtta.pose2d.detect import load_body_estimator

        draw = find_renderer(asked.renderer)
        kind, config = asked.labeller, asked.config
        labeller = Labeller.load(kind, config, as_notes(progress)) if kind else None
        if labeller is not None:
            added = labeller.vocabulary.added
        else:
            added = UserDictionary.load(config.labels.dictionary)
        finder = None if asked.estimator is None else load_body_estimator(asked.estimator)
        labelled = labels is not None or labeller is not None
        adapter = adapters.get(config, asked.body_models, labelled, added)
        return cls(asked, adapter, labeller, added, finder, draw, progress)

    def check(self, labels: Labels | None, info: VideoInfo) -> None:
        """Raise ``SemttaError`` for what can be known to be wrong before the work."""
        self.adapter.camera(info.width, info.height, info.source)
        if labels is not None:
            self.adapter.check_texts(labels)

    def rehearse(self, video: VideoSource, labels: Labels | None, info: VideoInfo) -> None:
        """Tell what is unusual, and check the user's own poses, without the work."""
        if labels is not None:
            texts = list(self.adapter.text_remarks(labels))
            if info.frames:
                seconds = info.frames / info.fps
                labels.check(info.frames, seconds, least=0)
                texts = [*remarks(labels, info.frames, seconds), *texts]
            for text in texts:
                as_notes(self.progress)(text)
        if self.asked.poses2d is not None:
            self._found(video, None)

    def store(self, cache: Cache, words: dict[str, str]) -> KeptTracks:
        """Where finished tracks are kept until the folder is there."""
        return KeptTracks(cache, words, self.adapter, self.added, as_notes(self.progress))

    def people(self, video: VideoSource, cache: Cache | None) -> TrackedVideo:
        """Whom the adapter's model knows, with the 2D evidence that was asked for."""
        tracked, adapter = self._found(video, cache), self.adapter
        camera = adapter.camera(tracked.info.width, tracked.info.height, tracked.info.source)
        tracked = known_people(adapter.model, tracked, camera, adapter.body, self.progress)
        if self.finder is None:
            return tracked
        finder = self.finder.to(adapter.device)
        return _estimated(tracked, self.asked.tracks, finder, self.progress)

    def _found(self, video: VideoSource, cache: Cache | None) -> TrackedVideo:
        asked, config = self.asked, self.asked.config
        options = replace(asked.poses2d_options, min_confidence=config.evidence.min_confidence)
        return find_people(video, asked.tracks, asked.poses2d, self.progress, config.detector.size,
                           options, cache, model=self.adapter.model)  # fmt: skip

    def label(self, tracked: TrackedVideo) -> Labels:
        """What the labeller says of the wanted people.

        Half a video's labels are better than none, except to someone who pressed Ctrl-C: raises
        ``KeyboardInterrupt``, what was answered is in the cache."""
        assert self.labeller is not None, "asked only where there is one"
        chosen = select_tracks(tracked, self.asked.tracks)
        frames = self.asked.config.labels.frames
        labels = self.labeller.label(tracked, chosen, frames, self.progress)
        outcome = self.labeller.outcome
        if outcome is not None and outcome.interrupted:
            raise KeyboardInterrupt
        if outcome is not None and outcome.stopped:
            as_notes(self.progress)(f"Not everything was labelled: {outcome.stopped}.")
        return labels

    def adapt(
        self, tracked: TrackedVideo, labels: Labels | None, store: KeptTracks | None
    ) -> list[Result]:
        return self.adapter.run(
            tracked, labels, tracks=self.asked.tracks, progress=self.progress, store=store
        )

    def write(
        self, folder: Path, results: list[Result], info: VideoInfo, words: dict[str, str]
    ) -> None:
        asked = self.asked
        write_results(
            folder, results, self.adapter.body.cpu(), info, config_to_yaml(asked.config),
            overlay=asked.overlay, overlay_options=asked.overlay_options, page=asked.page,
            renderer=self.draw, asked=words, progress=self.progress,
        )  # fmt: skip


class Adapters:
    """Adapters of runs with the same settings: their networks are loaded once."""

    def __init__(self) -> None:
        self._made: dict[bool, Adapter] = {}

    def get(
        self, config: Config, body_models: Path | None, labelled: bool, added: UserDictionary
    ) -> Adapter:
        """One with everything loaded.

        Args:
            labelled: whether there are labels, which take networks of their own."""
        if labelled not in self._made:
            body = load_body(config.body.name, gender=config.body.gender, search=body_models)
            priors = extended_priors(config, added) if labelled else {}
            made = Adapter(config=config, body=body, **priors)
            made.load_networks(labelled)
            self._made[labelled] = made
        adapter = self._made[labelled]
        adapter.body.to(adapter.device)  # the run before had it on the CPU at its end
        return adapter


def _is_finished(folder: Path, asked: dict[str, str], overwrite: bool) -> bool:
    """Whether a folder holds the result of this very request.

    Raises ``SemttaError`` if it holds another one's that may not be overwritten."""
    if not is_result(folder):
        check_folder(folder, overwrite, is_result)
        return False
    try:
        others = differing(asked, read_json(folder / "report.json", "report").get("asked"))
    except (SemttaError, AttributeError):
        others = differing(asked, None)
    if not others:
        return True
    if not overwrite:
        raise SemttaError(f"output '{folder}' holds a result of another request ("
                          f"{', '.join(others)}); add --overwrite to replace it.")  # fmt: skip
    check_folder(folder, overwrite, is_result)
    return False


def _estimated(
    tracked: TrackedVideo, which: str, finder: torch.nn.Module, progress: Progress
) -> TrackedVideo:
    """The wanted tracks with 2D evidence from an estimator instead of the built-in detector."""
    from semtta.pose2d import estimate_track

    tracks = [
        estimate_track(finder, tracked.info.source, track, progress=progress)
        for track in select_tracks(tracked, which)
    ]
    return replace(tracked, tracks=tracks)
