"""What ``semtta adapt`` does: a video to an output folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from semtta.body import Body, load_body
from semtta.cache import Cache
from semtta.config import Config, config_to_yaml
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.files import check_folder, new_folder
from semtta.jobs.asked import differing, what_was_asked
from semtta.jobs.kept import KeptTracks
from semtta.jobs.labels import Labeller, extended_priors, in_seconds
from semtta.labels import as_labels, save_labels
from semtta.labels.coverage import remarks
from semtta.motion.user_dictionary import UserDictionary
from semtta.output.files import is_result
from semtta.output.layout import OverlayOptions
from semtta.output.overlay import find_renderer
from semtta.output.write import write_results
from semtta.people import Poses2DOptions, TrackedVideo
from semtta.reading import read_json
from semtta.tta.adapter import Adapter
from semtta.tta.people import find_people, known_people, select_tracks
from semtta.tta.result import Result
from semtta.video import VideoInfo, VideoSource, probe

Beside = Callable[[Path, list[Result], Body, VideoInfo, Progress], None]


def adapt_video(
    video: VideoSource,
    labels,
    config: Config,
    folder: Path,
    *,
    tracks: str = "largest",
    poses2d: Path | None = None,
    poses2d_options: Poses2DOptions | None = None,
    estimator: Path | None = None,
    body_models: Path | None = None,
    labeller: str | None = None,
    overlay: bool = True,
    overlay_options: OverlayOptions | None = None,
    page: bool = True,
    renderer: str = "own",
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
    only reading the whole video shows, like labels past its end.

    Args:
        video: a file, a folder of images, or such a folder with its frame rate.
        poses2d_options: what the file of the user's poses does not say.
        estimator: checkpoint of ``semtta.pose2d`` that finds the 2D evidence.
        labeller: ``auto`` or ``vlm``: who labels the video first, instead of ``labels``. What it
            says is written beside the results as labels.json.
        overlay_options: size and layout of the overlay.
        renderer: ``own`` or ``pytorch3d``, of the overlay.
        dry_run: stop there; nothing is written or sent, the result is an empty list.
        cache: where detections are kept, and finished tracks of a run that is stopped.
        skip_finished: leave a folder alone that holds the result of this very request; one of
            another request is named if it may not be overwritten.
        adapters: of the runs before, whose networks are used again.
        beside: writes something more into the output folder, before it is there.
    Returns: one result per track; None if the folder was finished before."""
    from semtta.pose2d.detect import load_body_estimator

    if poses2d is not None and estimator is not None:
        raise SemttaError("give either --poses2d or --estimator, not both.")
    options = replace(
        poses2d_options or Poses2DOptions(), min_confidence=config.evidence.min_confidence
    )
    draw = find_renderer(renderer)
    if not skip_finished:
        check_folder(folder, overwrite, is_result)
    info = probe(video)
    labels = as_labels(labels)
    asked = what_was_asked(
        video, labels, config, tracks=tracks, poses2d=poses2d, poses2d_options=poses2d_options,
        estimator=estimator, body_models=body_models, labeller=labeller, overlay=overlay,
        overlay_options=overlay_options, page=page, renderer=renderer,
    )  # fmt: skip
    if skip_finished and _is_finished(folder, asked, overwrite):
        return None

    def announce(text: str) -> None:
        progress("note", 0, None, {"text": text})

    label = Labeller.load(labeller, config, announce) if labeller else None
    added = label.vocabulary.added if label else UserDictionary.load(config.labels.dictionary)
    finder = None if estimator is None else load_body_estimator(estimator)
    if dry_run and labels is not None and info.frames:
        labels.check(info.frames, info.frames / info.fps, least=0)
        for text in remarks(labels, info.frames, info.frames / info.fps):
            announce(text)
    labelled = labels is not None or label is not None
    adapter = (adapters or Adapters()).get(config, body_models, labelled, added)
    adapter.camera(info.width, info.height, info.source)
    if labels is not None:
        adapter.check_texts(labels)
    if dry_run:
        for text in adapter.text_remarks(labels) if labels is not None else ():
            announce(text)
        if poses2d is not None:
            size = config.detector.size
            find_people(video, tracks, poses2d, progress, size, options, model=adapter.model)
        return []
    store = None if cache is None else KeptTracks(cache, asked, adapter, added, announce)
    with new_folder(folder, overwrite, is_result) as partial:
        tracked = find_people(
            video, tracks, poses2d, progress, config.detector.size, options, cache,
            model=adapter.model,
        )  # fmt: skip
        camera = adapter.camera(tracked.info.width, tracked.info.height, tracked.info.source)
        tracked = known_people(adapter.model, tracked, camera, adapter.body, progress)
        if finder is not None:
            tracked = _estimated(tracked, tracks, finder.to(adapter.device), progress)
        if label is not None:
            chosen = select_tracks(tracked, tracks)
            labels = label.label(tracked, chosen, config.labels.frames, progress)
            _check_outcome(label, announce)
            save_labels(partial / "labels.json", in_seconds(labels, tracked))
        results = adapter.run(tracked, labels, tracks=tracks, progress=progress, store=store)
        write_results(
            partial, results, adapter.body.cpu(), tracked.info, config_to_yaml(config),
            overlay=overlay, overlay_options=overlay_options, page=page, renderer=draw,
            asked=asked, progress=progress,
        )  # fmt: skip
        if beside is not None:
            beside(partial, results, adapter.body, tracked.info, progress)
    if store is not None:
        store.clear()
    return results


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


def _check_outcome(label: Labeller, announce: Callable[[str], None]) -> None:
    """Half a video's labels are better than none, except to someone who pressed Ctrl-C."""
    outcome = label.outcome
    if outcome is not None and outcome.interrupted:
        raise KeyboardInterrupt  # what was answered is in the cache
    if outcome is not None and outcome.stopped:
        announce(f"Not everything was labelled: {outcome.stopped}.")
