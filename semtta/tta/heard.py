"""What becomes of labels while a track is adapted to, to be told at the end."""

from __future__ import annotations

from semtta.engine import Progress
from semtta.labels import Labels
from semtta.labels.coverage import remarks
from semtta.people import TrackedVideo
from semtta.tta.meaning import text_readings
from semtta.tta.people import believed
from semtta.tta.result import Heard
from semtta.tta.run import Run
from semtta.tta.strategy import Strategy


def checked_labels(labels: Labels, video: TrackedVideo, least: float, progress: Progress) -> Labels:
    """The labels of a video that are sure enough to pull and to open the gate.

    Args:
        least: confidence from which on they are.
        progress: told what is doubtful, and how many are left out.
    Raises ``SemttaError`` for labels that cannot be this video's."""
    frames, duration = video.length
    labels.check(frames, duration, len(video.times))
    notes = remarks(labels, frames, duration)
    for note in notes:
        progress("note", 0, None, {"text": note})
    return believed(labels, least, progress)


def note_gate(run: Run, strategy: Strategy) -> None:
    """Remember for which labels the gate is open: what it let in then stays, should it shut."""
    gate = getattr(strategy, "gate", None)
    if gate is None or run.gate_similarity is None:
        return
    run.sigma = float(gate.sigma)
    is_open = (run.gate_similarity > gate.sigma).tolist()  # NaN is above nothing
    run.opened |= {label for label, passes in zip(run.labels, is_open) if label and passes}


def heard_labels(run: Run, strategy: Strategy) -> Heard | None:
    """What became of a run's labels; None of a strategy that reads none, or without any."""
    texts = {label for label in run.labels if label}
    prior = getattr(strategy, "prior", None)
    if not texts or prior is None:
        return None
    # What the gate's prior does not know pulls nothing, whatever the other one makes of it.
    readings = text_readings(getattr(strategy, "gate_prior", None) or prior, texts)
    return Heard(prior.length / prior.fps, 1 / prior.fps, readings, frozenset(run.opened))
