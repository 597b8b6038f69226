"""A second run, not shown some of the detections: base and adapted are measured by them."""

from __future__ import annotations

from collections.abc import Callable

from semtta.config import Config
from semtta.engine import Progress
from semtta.errors import SemttaError
from semtta.keypoints import Track
from semtta.tta.heldout import HeldoutErrors, draw_heldout, heldout_errors, judged, without
from semtta.tta.outcome import motions
from semtta.tta.run import Run


def second_run(
    track: Track, config: Config, fitted: Callable[[Track, Progress], Run], progress: Progress
) -> HeldoutErrors | None:
    """Base and adapted of a second run, by detections that it is not shown.

    Args:
        track: with everything that was detected.
        config: ``evidence.heldout`` is how much is held out, ``seed`` what.
        fitted: a run that has adapted to a track.
        progress: told of the run as of stage "measure", and if it fails: then None comes out."""
    share = config.evidence.heldout
    unshown = draw_heldout(track.keypoints, track.times, share, config.seed)
    if not bool(judged(unshown, track.keypoints).any()):
        return None

    def measuring(stage: str, done: int, total: int | None, values: dict) -> None:
        if stage != "note":  # the run that is handed out says them
            progress("measure" if stage == "adapt" else stage, done, total, values)

    try:
        base, _, adapted = motions(fitted(without(track, unshown), measuring))
    except SemttaError as error:  # what was adapted to everything stands all the same
        text = f"track {track.id} could not be measured by held-out joints: {error}"
        progress("note", 0, None, {"text": text})
        return None
    return heldout_errors(unshown, track.keypoints, base.landmarks2d, adapted.landmarks2d)
