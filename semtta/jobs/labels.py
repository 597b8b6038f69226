"""What ``semtta label`` does, and ``semtta adapt --labels auto`` or ``vlm`` before it adapts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semtta.config import Config
from semtta.config_schema import CameraConfig
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.files import new_folder
from semtta.geometry import Camera
from semtta.keypoints import Track
from semtta.labels import Labels, LabelSpan
from semtta.labels.asker import Asker
from semtta.labels.changes import motion_segments
from semtta.labels.questions import label_question
from semtta.labels.strips import Strip, as_segment, make_strips
from semtta.labels.vlm import Outcome, label_strips, open_questions
from semtta.motion import load_embedded
from semtta.motion.dictionary import Dictionary
from semtta.motion.retrieval import Retrieval
from semtta.motion.user_dictionary import ExtendedPrior, UserDictionary
from semtta.people import TrackedVideo
from semtta.tta.labelling import retrieved_labels
from semtta.video.lens import video_camera

LABELLERS = ("auto", "vlm")
_STRIP_NAME = "track-{0:02d}_frames-{1:05d}-{2:05d}.jpg"
_QUESTION_NAME = "question.txt"
_OURS = re.compile(r"track-\d+_frames-\d+-\d+\.jpg|question\.txt")


@dataclass(frozen=True)
class Vocabulary:
    """The shipped dictionary and what the user added to it."""

    dictionary: Dictionary
    added: UserDictionary

    @classmethod
    def load(cls, config: Config) -> Vocabulary:
        shipped = Dictionary.load(reads=config.labels.text)
        return cls(shipped, UserDictionary.load(config.labels.dictionary))

    @property
    def names(self) -> list[str]:
        """The user's names, then the shipped ones that the user did not write too."""
        shipped = [name for name in self.dictionary.labels if self.added.resolve(name) == name]
        return list(dict.fromkeys((*self.added.names, *shipped)))

    def nearest(self, text: str) -> tuple[str, float]:
        """The name that a text most likely means, and how near it is: 0 if it means none."""
        own = self.added.resolve(text)
        if own in self.added.names:
            return own, 1.0
        try:
            reading = self.dictionary.read(text)
        except SemttaError:  # no known word
            return self.dictionary.labels[0], 0.0
        return reading.names[0], reading.nearness if reading.is_known else 0.0


@dataclass
class Labeller:
    """Labels people automatically; made before the work, so that what is missing is said first.

    Args:
        kind: ``auto`` (retrieval) or ``vlm``.
        vocabulary: action names.
        retrieval: of ``auto``.
        camera: of ``auto``, what is known of it.
        asker: of ``vlm``.
        announce: told in one sentence each what will be sent where, what that cost, and which
            segments got no answer.
        outcome: of the last video that a vision-language model labelled.
    """

    kind: str
    vocabulary: Vocabulary
    retrieval: Retrieval | None = None
    camera: CameraConfig = field(default_factory=CameraConfig)
    asker: Asker | None = None
    announce: Callable[[str], None] = lambda text: None
    outcome: Outcome | None = field(default=None, init=False)

    @classmethod
    def load(
        cls, kind: str, config: Config, announce: Callable[[str], None] = lambda text: None
    ) -> Labeller:
        """A labeller of that kind; raises ``SemttaError`` if a file, package or key is missing."""
        vocabulary = Vocabulary.load(config)
        if kind == "vlm":
            return cls(kind, vocabulary, asker=Asker(config.labels), announce=announce)
        retrieval = Retrieval.load().with_exemplars(vocabulary.added.motions)
        return cls(kind, vocabulary, retrieval, config.camera)

    def label(
        self,
        tracked: TrackedVideo,
        tracks: Sequence[Track],
        frames: int = 6,
        progress: Progress = silent,
    ) -> Labels:
        """Labels of some people of a video, ranges in its frames.

        Args:
            frames: of ``vlm``, pictures on a strip.
        Raises ``SemttaError`` if the server gave no label at all, and ``KeyboardInterrupt`` if
        there was none yet; else what there is when Ctrl-C comes is returned, see ``outcome``."""
        if self.asker is not None:
            return self._asked(self.asker, tracked, tracks, frames, progress)
        assert self.retrieval is not None, "kind auto has it"
        given, info = self.camera, tracked.info
        camera = video_camera(info.width, info.height, given.focal, given.center, info.source)
        return _retrieved(self.retrieval, tracked, tracks, camera, progress)

    def _asked(
        self, asker: Asker, tracked: TrackedVideo, tracks: Sequence[Track], frames: int,
        progress: Progress,
    ) -> Labels:  # fmt: skip
        strips = make_strips(tracked.info.source, pieces(tracks), frames)
        self.announce(self._will_be_sent(strips, asker))
        self.outcome = outcome = label_strips(
            strips, self.vocabulary.names, asker, self.vocabulary.nearest,
            lambda done, total: progress("label", done, total, {}),
        )  # fmt: skip
        self.announce(_was_sent(asker))
        for number, reason in outcome.unanswered:
            segment = strips[number - 1].segment
            self.announce(f"No answer for track {segment.track}, frames {segment.start}-"
                          f"{segment.end - 1}: {reason}.")  # fmt: skip
        if not outcome.spans:
            if outcome.interrupted:
                raise KeyboardInterrupt
            why = outcome.unanswered[-1][1] if outcome.unanswered else outcome.stopped
            raise SemttaError(f"{asker.url} gave no label: {why}.")
        return Labels(tuple(outcome.spans), name="labels", fps=_rate(tracked))

    def _will_be_sent(self, strips: Sequence[Strip], asker: Asker) -> str:
        names, nearest = self.vocabulary.names, self.vocabulary.nearest
        questions = [open_questions(strip, names, asker, nearest) for strip in strips]
        new = [strip for strip, count in zip(strips, questions) if count]
        known = len(strips) - len(new)
        if not new:
            return "Nothing is sent: all was answered before."
        budget = asker.settings.max_requests
        return (
            f"Sending {describe(new)} to {asker.url} (model {asker.settings.model}), in about "
            f"{min(sum(questions), budget)} requests, {budget} at most"
            + (f"; {known} more were answered before." if known else ".")
        )


def _retrieved(
    retrieval: Retrieval, tracked: TrackedVideo, tracks: Sequence[Track], camera: Camera,
    progress: Progress,
) -> Labels:  # fmt: skip
    spans: list[LabelSpan] = []
    for number, track in enumerate(tracks, 1):
        spans += retrieved_labels(retrieval, track, camera)
        progress("label", number, len(tracks), {})
    return Labels(tuple(spans), name="retrieval", fps=_rate(tracked))


def _was_sent(asker: Asker) -> str:
    usage = asker.usage
    cost = usage.cost(asker.settings.price)
    if cost is None:
        money = "cost unknown: labels.price=[IN,OUT] per million tokens"
    else:
        money = f"cost {cost:.4f}"
    return (
        f"{usage.requests} requests, {usage.from_cache} answers from the cache; {usage.read} "
        f"tokens read, {usage.written} written; {money}."
    )


def _rate(tracked: TrackedVideo) -> float:
    """Frames a second as they came, which in files of variable rate is not the header's number."""
    return len(tracked.times) / (float(tracked.times[-1]) + 1 / tracked.info.fps)


def in_seconds(labels: Labels, tracked: TrackedVideo) -> Labels:
    """Labels of a video as they are written to a file: a video may be encoded anew."""
    times = tracked.times.tolist()
    return labels.in_seconds(times, times[-1] + 1 / tracked.info.fps)


def pieces(tracks: Sequence[Track]) -> list[tuple[Track, int, int]]:
    """Every track's segments between changes of its motion."""
    return [(track, a, b) for track in tracks for a, b in motion_segments(track)]


def describe(strips: Sequence[Strip]) -> str:
    """Number, pictures and size of some images, in words."""
    pictures = sum(len(strip.frames) for strip in strips)
    width, height = (max(strip.size[k] for strip in strips) for k in (0, 1))
    kilobytes = sum(len(strip.jpeg) for strip in strips) / 1000
    images = "1 image" if len(strips) == 1 else f"{len(strips)} images"
    return f"{images} ({pictures} pictures of people, at most {width}x{height}, {kilobytes:.0f} kB)"


def template_of(tracked: TrackedVideo, tracks: Sequence[Track]) -> Labels:
    """Ranges to be filled in: one entry per person and segment, its text empty."""
    segments = [as_segment(*piece) for piece in pieces(tracks)]
    spans = [LabelSpan("", s.start, s.end, s.track) for s in segments]
    return Labels(tuple(spans), fps=_rate(tracked))


def write_strips(
    folder: Path,
    tracked: TrackedVideo,
    tracks: Sequence[Track],
    config: Config,
    overwrite: bool = False,
) -> list[Strip]:
    """What would be sent, as files, all or none: one JPEG per segment, and the question.

    Args:
        overwrite: replace the folder of an earlier call; raises ``SemttaError`` if it holds other
            files."""
    strips = make_strips(tracked.info.source, pieces(tracks), config.labels.frames)
    question = label_question(Vocabulary.load(config).names)
    with new_folder(folder, overwrite, _holds_strips) as partial:
        for strip in strips:
            shown = strip.segment
            name = _STRIP_NAME.format(shown.track, shown.start, shown.end - 1)
            (partial / name).write_bytes(strip.jpeg)
        text = f"{question.system}\n\n{question.text}\n"
        (partial / _QUESTION_NAME).write_text(text, encoding="utf-8")
    return strips


def _holds_strips(folder: Path) -> bool:
    foreign = sorted(file.name for file in folder.iterdir() if not _OURS.fullmatch(file.name))
    if foreign:
        raise SemttaError(f"'{folder}' holds other files than strips, such as '{foreign[0]}'; "
                          "choose another folder.")  # fmt: skip
    return True


def extended_priors(config: Config, added: UserDictionary) -> dict:
    """``prior`` and ``gate_prior`` for ``Adapter`` where the user added names; else nothing."""
    if not added.names:
        return {}
    if config.alignment.prior != "embedded":
        raise SemttaError("labels.dictionary extends the embedded prior; alignment.prior="
                          f"{config.alignment.prior} reads any text as it is.")  # fmt: skip
    reads = config.labels.text
    prior = load_embedded("embedded", config.alignment.checkpoint, reads)
    gate = prior
    if config.gate.prior == "independent":
        gate = load_embedded("embedded-gate", config.gate.checkpoint, reads)
    return {"prior": ExtendedPrior(prior, added), "gate_prior": ExtendedPrior(gate, added)}
