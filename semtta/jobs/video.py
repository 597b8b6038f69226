"""What ``semtta adapt`` does: a video to an output folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from semtta.body import load_body
from semtta.config import Config, config_to_yaml
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.files import check_folder, new_folder
from semtta.jobs.labels import Labeller, extended_priors, in_seconds
from semtta.labels import as_labels, save_labels
from semtta.labels.coverage import remarks
from semtta.motion.user_dictionary import UserDictionary
from semtta.output.files import is_result
from semtta.output.layout import OverlayOptions
from semtta.output.overlay import find_renderer
from semtta.output.write import write_results
from semtta.people import Poses2DOptions, TrackedVideo
from semtta.tta.adapter import Adapter
from semtta.tta.people import find_people, known_people, select_tracks
from semtta.tta.result import Result
from semtta.video import ImageSequence, probe


def adapt_video(
    video: Path | ImageSequence,
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
) -> list[Result]:
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
        dry_run: stop there; nothing is written or sent, the result is an empty list."""
    from semtta.pose2d.detect import load_body_estimator

    if poses2d is not None and estimator is not None:
        raise SemttaError("give either --poses2d or --estimator, not both.")
    options = replace(
        poses2d_options or Poses2DOptions(), min_confidence=config.evidence.min_confidence
    )
    draw = find_renderer(renderer)
    check_folder(folder, overwrite, is_result)
    info = probe(video)
    labels = as_labels(labels)

    def announce(text: str) -> None:
        progress("note", 0, None, {"text": text})

    label = Labeller.load(labeller, config, announce) if labeller else None
    added = label.vocabulary.added if label else UserDictionary.load(config.labels.dictionary)
    finder = None if estimator is None else load_body_estimator(estimator)
    if dry_run and labels is not None and info.frames:
        labels.check(info.frames, info.frames / info.fps)
        for text in remarks(labels, info.frames, info.frames / info.fps):
            announce(text)
    body = load_body(config.body.name, gender=config.body.gender, search=body_models)
    labelled = labels is not None or label is not None
    priors = extended_priors(config, added) if labelled else {}
    adapter = Adapter(config=config, body=body, **priors)
    adapter.load_networks(labelled)
    adapter.camera(info.width, info.height)
    if labels is not None:
        adapter.check_texts(labels)
    if dry_run:
        for text in adapter.text_remarks(labels) if labels is not None else ():
            announce(text)
        if poses2d is not None:
            size = config.detector.size
            find_people(video, tracks, poses2d, progress, size, options, model=adapter.model)
        return []
    with new_folder(folder, overwrite, is_result) as partial:
        size = config.detector.size
        tracked = find_people(video, tracks, poses2d, progress, size, options, model=adapter.model)
        camera = adapter.camera(tracked.info.width, tracked.info.height)
        tracked = known_people(adapter.model, tracked, camera, adapter.body, progress)
        if finder is not None:
            tracked = _estimated(tracked, tracks, finder.to(adapter.device), progress)
        if label is not None:
            chosen = select_tracks(tracked, tracks)
            labels = label.label(tracked, chosen, config.labels.frames, progress)
            _check_outcome(label, announce)
            save_labels(partial / "labels.json", in_seconds(labels, tracked))
        results = adapter.run(tracked, labels, tracks=tracks, progress=progress)
        write_results(
            partial, results, adapter.body.cpu(), tracked.info, config_to_yaml(config),
            overlay=overlay, overlay_options=overlay_options, page=page, renderer=draw,
            progress=progress,
        )  # fmt: skip
    return results


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
