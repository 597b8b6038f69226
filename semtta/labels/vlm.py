"""Labels from a vision-language model: two questions about each strip of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from semtta.labels.asker import Asker, Stop, Unanswered
from semtta.labels.labels import LabelSpan
from semtta.labels.questions import (
    Nearest,
    check_question,
    label_question,
    read_check,
    read_label,
)
from semtta.labels.strips import Strip

_IN_A_ROW = 3  # segments without an answer after which the server counts as gone


@dataclass
class Outcome:
    """What came of a video's strips.

    Args:
        spans: one per answered strip, ranges in frames.
        unanswered: (strip number from 1, reason).
        stopped: why the rest was not asked, None = everything was.
        interrupted: stopped by Ctrl-C.
    """

    spans: list[LabelSpan] = field(default_factory=list)
    unanswered: list[tuple[int, str]] = field(default_factory=list)
    stopped: str | None = None
    interrupted: bool = False


def label_strips(
    strips: Sequence[Strip],
    names: Sequence[str],
    asker: Asker,
    nearest: Nearest,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Ask what each strip shows, then whether that is right.

    A label that the second answer denies keeps its text and loses confidence. What was answered
    before Ctrl-C, the end of the budget or of the server is kept.

    Args:
        names: of the dictionary.
        nearest: the name nearest to a text, for servers that ignore the schema.
        progress: called as ``progress(done, total)``.
    Raises ``SemttaError`` if the server cannot be used at all or the cache cannot be written."""
    outcome, failures = Outcome(), 0
    try:
        for number, strip in enumerate(strips, 1):
            try:
                outcome.spans.append(_label(strip, names, asker, nearest))
                failures = 0
            except Unanswered as error:
                outcome.unanswered.append((number, str(error)))
                failures += 1
                if failures >= _IN_A_ROW:
                    raise Stop(f"{failures} segments in a row got no answer: {error}") from None
            if progress is not None:
                progress(number, len(strips))
    except Stop as error:
        outcome.stopped = str(error)
    except KeyboardInterrupt:
        outcome.stopped, outcome.interrupted = "interrupted", True
    return outcome


def open_questions(strip: Strip, names: Sequence[str], asker: Asker, nearest: Nearest) -> int:
    """How many requests :func:`label_strips` would send about a strip, without any retry."""
    known = asker.known(label_question(names), strip.jpeg)
    if known is None:
        return 2 if asker.settings.verify else 1
    answer = read_label(known, names, nearest)
    if answer.confidence == 0 or not asker.settings.verify:
        return 0
    return int(asker.known(check_question(answer.text), strip.jpeg) is None)


def _label(strip: Strip, names: Sequence[str], asker: Asker, nearest: Nearest) -> LabelSpan:
    answer = read_label(asker.ask(label_question(names), strip.jpeg), names, nearest)
    confidence = answer.confidence
    if confidence > 0 and asker.settings.verify:
        confidence *= read_check(asker.ask(check_question(answer.text), strip.jpeg))
    segment = strip.segment
    return LabelSpan(
        answer.text, segment.start, segment.end, segment.track, asker.settings.model or "",
        round(confidence, 3),
    )  # fmt: skip
