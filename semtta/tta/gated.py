"""Whether labels did anything: in which of their frames motion and text agreed, and why not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from semtta.motion.phrase_reader import Reading
from semtta.tta.result import Result
from semtta.tta.segments import label_stretches

_MOST = 4  # labels, and runs of them, that are named


@dataclass(frozen=True)
class LabelRun:
    """A stretch of a track with one label and without a gap in time.

    Args:
        start, stop: rows of the track, from the first to one past the last.
        label: its text, None = none.
        seconds: how long it lasts, its last frame included.
        use: ``whole``, ``padded`` (shorter than the prior reads, its last frame repeated),
            ``left out`` (shorter, beside runs that are not, or a pose alone); "" without a label,
            or where no prior says how long it reads.
    """

    start: int
    stop: int
    label: str | None
    seconds: float
    use: str


def label_runs(result: Result) -> list[LabelRun]:
    """The stretches of a track in their order; see ``tta.segments`` for which can be used."""
    times, labels = result.track.times, result.labels
    step = float(times.diff().median()) if len(times) > 1 else 0.0
    runs = []
    for a, b in label_stretches(times, labels):
        seconds = float(times[b - 1] - times[a]) + step
        runs.append(LabelRun(a, b, labels[a], seconds, _use(result, a, b)))
    return runs


def _use(result: Result, a: int, b: int) -> str:
    heard = result.heard
    if heard is None or not result.labels[a]:
        return ""
    covered = result.similarity is not None and not bool(result.similarity[a:b].isnan().all())
    if not covered:
        return "left out"
    span = float(result.track.times[b - 1] - result.track.times[a])
    return "padded" if span < heard.seconds - 1.5 * heard.step else "whole"


def short_runs(result: Result) -> str:
    """A phrase about labels that last for less than the prior reads; "" if none does."""
    heard = result.heard
    if heard is None:
        return ""
    runs = [run for run in label_runs(result) if run.use in ("padded", "left out")]
    said = []
    for use in ("padded", "left out"):
        some = [f"'{run.label}' ({run.seconds:.1f} s)" for run in runs if run.use == use]
        if some:
            said.append(f"{_listed(some)} {use}")
    if not said:
        return ""
    return f"shorter than the {heard.seconds:g} s that the prior reads: {', '.join(said)}"


def open_frames(result: Result) -> Tensor | None:
    """(T,) bool, in which frames the gate was open at the end; None without labels or a gate."""
    if result.gate_similarity is None or result.sigma is None:
        return None
    return result.gate_similarity > result.sigma  # NaN is above nothing


def gate_opened(result: Result) -> str:
    """A phrase like "gate open in 41 of 70 frames ('walk')", or why it cannot open; "" without
    labels or a gate."""
    frames = _by_label(result)
    if not frames:
        return ""
    readings = {} if result.heard is None else result.heard.readings
    said = [
        f"{sum(shown)} of {len(shown)} frames ({_known(label, readings.get(label))})"
        for label, shown in frames.items()
    ]
    return f"gate open in {_listed(said, 'of', 'labels')}"


def shut_out(result: Result) -> str:
    """A phrase about the labels for which the gate never opened: whether they did anything all the
    same; "" if there is none, or nobody says."""
    heard = result.heard
    shut = [label for label, shown in _by_label(result).items() if not any(shown)]
    if heard is None or not shut:
        return ""
    config = result.provenance.get("config", {})
    guards = config.get("gate", {}).get("guards")
    pulls = config.get("alignment", {}).get("weight", 0) > 0 and bool(result.history)
    idle = [label for label in shut if not heard.is_known(label)]
    known = [label for label in shut if heard.is_known(label)]
    if guards == "label" or not pulls:
        idle += [label for label in known if label not in heard.opened]
        pulling = []
    else:
        pulling = known
    said = []
    if idle:
        said.append(f"{_named(idle, result)} did nothing")
    if pulling:
        said.append(f"{_named(pulling, result)} pulled all the same (gate.guards={guards})")
    return "; ".join(said)


def _by_label(result: Result) -> dict[str, list[bool]]:
    """Of the frames of each label, whether the gate was open at the end."""
    opened = open_frames(result)
    frames: dict[str, list[bool]] = {}
    if opened is not None:
        for label, is_open in zip(result.labels, opened.tolist(), strict=True):
            if label:
                frames.setdefault(label, []).append(is_open)
    return frames


def _known(label: str, reading: Reading | None) -> str:
    """A label by its name, or why no motion can show it."""
    if reading is None or reading.is_known:
        return f"'{label}'"
    if reading.kind == "in turn":
        return f"label '{label}' names actions one after another, which no motion shows at once"
    nearest = f"nearest '{reading.names[0]}' {reading.nearness:.2f}"
    return f"label '{label}' is not known to the prior: {nearest}"


def _named(labels: list[str], result: Result) -> str:
    if len({label for label in result.labels if label}) == 1:
        return "the label"
    listed = _listed([f"'{label}'" for label in labels])
    return f"labels {listed}" if len(labels) > 1 else f"label {listed}"


def _listed(words: list[str], before: str = "", what: str = "") -> str:
    """The first few of them, and how many more there are."""
    rest = len(words) - _MOST
    more = " ".join(filter(None, (" and", before, str(rest), "more", what)))
    return ", ".join(words[:_MOST]) + (more if rest > 0 else "")
