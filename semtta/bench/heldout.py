"""Evaluation on anyone's real video, without truth: detections are taken away and asked for.

Limbs that the detector saw well are hidden from the method; afterwards its 2D landmarks are
compared with what was hidden. On ``beam``, where 3D truth exists, an earlier form of it ordered
methods as PA-MPJPE does in 62 of 64 pairs; how well the *visible* joints fit did in 52.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semtta.bench.benchmark import Item, Sample
from semtta.bench.heldout_masks import MASKS, Hidden, hide
from semtta.bench.motion_labels import wrong_label
from semtta.body import Body
from semtta.cache import Cache
from semtta.config_schema import CameraConfig, DetectorConfig, LabelsConfig
from semtta.engine import Progress, silent
from semtta.errors import SemttaError, announce
from semtta.geometry import Camera
from semtta.keypoints import Track
from semtta.labels import Labels, load_labels
from semtta.labels.beside import labels_beside
from semtta.people import TrackedVideo, tracked_once
from semtta.shipped import asset, file_sha256
from semtta.tta.result import Motion
from semtta.video import VIDEO_ENDINGS, probe, video_files
from semtta.video.lens import video_camera

PROTOCOL = "heldout: 2D taken away from the detector's answer, % of the person's height"
LIMITS = (
    "No truth: distances are to detections that were hidden from the method, so the detector's own "
    "errors stay in them, depth does not count, and all methods share the 2D source. Compare "
    "methods on the same clips; it says nothing about which of two clips is better, and cannot "
    "judge differences below about 3 mm, such as those between labels. In an earlier form (boxes "
    "kept, other shares hidden) it ordered methods on beam as PA-MPJPE does in 62 of 64 pairs, the "
    "fit of visible joints in 52. Networks that read images still see the hidden limbs."
)
_SHORTEST = 30  # frames: shorter tracks have nothing to complete a limb from
_SMALLEST = 80  # pixels of height, below which a pixel of detector noise is a per cent


@dataclass(frozen=True)
class Person:
    """One track of one video, before anything is hidden.

    Args:
        name: unique in the benchmark.
        video: the file.
        track: all detections.
        labels: of the video; None = there are none.
        camera: as the settings say, else guessed from the picture's size.
    """

    name: str
    video: Path
    track: Track
    labels: Labels | None
    camera: Camera

    def texts(self, min_confidence: float = 0.0) -> list[str | None]:
        """One text or None per frame, of labels that are at least so sure."""
        if self.labels is None:
            return [None] * len(self.track)
        return self.labels.confident(min_confidence).for_track(self.track)

    @property
    def label(self) -> str | None:
        """The text, if it is one for all frames."""
        texts = set(self.texts())
        return next(iter(texts)) if len(texts) == 1 else None


@dataclass(frozen=True)
class HeldoutTruth:
    """What was hidden; judges motions by it (a ``bench.benchmark.Truth``)."""

    hidden: Hidden

    def score(self, motion: Motion, body: Body) -> dict[str, float | None]:
        """``frames`` and the distances of ``Hidden.score``."""
        skeleton = self.hidden.truth.skeleton
        numbers = self.hidden.score(skeleton, motion.landmarks2d)
        return {"frames": len(self.hidden.track)} | numbers


@dataclass(frozen=True)
class HeldoutBenchmark:
    """People of some videos, each with detections taken away; see ``open_heldout``.

    Args:
        people: everyone who is judged.
        levels: of ``MASKS``.
        draws: how many masks for each person and level; ``gone`` leaves nothing to draw.
        min_confidence: labels below it count as none (``labels.min_confidence``).
    """

    people: tuple[Person, ...]
    levels: tuple[str, ...] = MASKS
    draws: int = 1
    min_confidence: float = LabelsConfig.min_confidence
    name: str = "heldout"
    protocol: str = PROTOCOL
    limits: str = LIMITS

    def fitted(self, box_scale: float, min_confidence: float) -> HeldoutBenchmark:
        """The same with labels at least so sure; boxes are the detector's whatever the network."""
        return replace(self, min_confidence=min_confidence)

    @property
    def inputs(self) -> dict[str, str]:
        """What else the rows depend on: labels beside the videos may change between runs."""
        told = "\n".join(f"{person.name} {person.texts()}" for person in self.people)
        return {"told": hashlib.sha256(told.encode()).hexdigest()[:12]}

    def items(self) -> list[Item]:
        """Person after person, level after level, mask after mask."""
        return [
            Item(mask_name(person.name, level, draw), person.name, level, person.label, person.name)
            for person in self.people
            for level in self.levels
            for draw in range(1 if level == "gone" else self.draws)
        ]

    def load(self, item: Item) -> Sample:
        """Take the item's detections away."""
        people = {person.name: person for person in self.people}
        if item.sequence not in people or item not in self.items():
            raise SemttaError(f"the heldout benchmark has no item '{item.name}'.")
        person = people[item.sequence]
        hidden = hide(person.track, item.level, item.name, person.camera)
        return Sample(
            item=item,
            track=hidden.track,
            camera=person.camera,
            labels=person.texts(self.min_confidence),
            truth=HeldoutTruth(hidden),
            wrong_label=wrong_label(person.label, person.name),
            video=person.video,
        )


def open_heldout(
    videos: Sequence[str | Path] = (),
    labels: str | Path | None = None,
    cache: str | Path | None = None,
    *,
    levels: tuple[str, ...] = MASKS,
    draws: int = 1,
    camera: CameraConfig | None = None,
    progress: Progress = silent,
) -> HeldoutBenchmark:
    """Find the people of some videos; who was found once is kept.

    Args:
        videos: files and folders of files; none = the shipped clip.
        labels: one label file for all, or a folder; None = ``NAME.labels.json`` beside each video.
        cache: folder for tracks; default: the user's cache, whose size is bounded.
        levels: of "mix", "gone".
        draws: masks for each person; see ``HeldoutBenchmark``.
        camera: of all videos, where it is known; the rest is guessed from the picture's size.
        progress: told of each video that people are looked for in.
    Of several files those in which nobody is found, or that cannot be read, are left out and
    announced. Raises ``SemttaError`` for a single such file, for wrong labels, and if nobody is fit
    to be judged."""
    unknown = [level for level in levels if level not in MASKS]
    if unknown or not levels:
        raise SemttaError(f"unknown level '{', '.join(unknown)}'; use {', '.join(MASKS)}.")
    if draws < 1:
        raise SemttaError("there must be at least one mask for each person.")
    shipped = not videos
    files = find_videos(videos or [asset("demo/cam02_occluded.mp4")])
    kept = Cache(Path(cache)) if cache is not None else Cache.of_user()
    people: list[Person] = []
    for i, (digest, file) in enumerate(files.items()):
        progress("people", i, len(files), {"summary": file.name})
        own = shipped and labels is None
        said = load_labels(asset("demo/labels.json")) if own else labels_beside(file, labels)
        try:
            found = tracked_once(file, kept, detect_size=DetectorConfig.size)
        except SemttaError as error:
            if len(files) == 1:
                raise
            announce(f"'{file.name}' is left out: {error}")
            continue
        people += _people(file, digest, found, said, camera or CameraConfig())
    progress("people", len(files), len(files), {})
    if not people:
        raise SemttaError(
            f"nobody in {'these videos' if len(files) > 1 else 'this video'} is seen for "
            f"{_SHORTEST} frames, at least {_SMALLEST} pixels tall and with sure legs."
        )
    return HeldoutBenchmark(tuple(people), tuple(levels), draws)


def find_videos(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Files, and the video files of folders by name, by the SHA-256 of their content: copies count
    once."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = video_files(path)
            if not inside:
                raise SemttaError(f"folder '{path}' holds no video ({', '.join(VIDEO_ENDINGS)}).")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise SemttaError(f"there is no video '{path}'.")
    once: dict[str, Path] = {}
    for path in found:
        once.setdefault(file_sha256(path), path.resolve())
    return once


def mask_name(person: str, level: str, draw: int = 0) -> str:
    """What one draw of what is hidden is called; all that is drawn follows from it."""
    return f"{person}-{level}-{draw + 1}"


def person_name(video: Path, digest: str, track: Track) -> str:
    """By the file's content, too: clips of one name are two."""
    return f"{video.stem}-{digest[:6]}-p{track.id:02d}"


def _people(
    video: Path,
    digest: str,
    found: TrackedVideo,
    said: Labels | None,
    given: CameraConfig,
) -> list[Person]:
    """Everyone found in a video who can be judged; who cannot is named."""
    info = probe(video)
    tracks, times = found.tracks, found.times
    if said is not None:
        step = float(times.diff().median()) if len(times) > 1 else 0.0
        said.check(len(times), float(times[-1]) + step)
    camera = video_camera(info.width, info.height, given.focal, given.center, video)
    people = []
    for track in tracks:
        name = person_name(video, digest, track)
        why = _unfit(track, camera)
        if why:
            announce(f"person {track.id} of '{video.name}' is left out: {why}.")
            continue
        people.append(Person(name, video, track, said, camera))
    return people


def _unfit(track: Track, camera: Camera) -> str:
    """Why a person cannot be judged; empty if they can."""
    if len(track) < _SHORTEST:
        return f"seen in {len(track)} frames only, at least {_SHORTEST} are needed"
    try:
        hidden = hide(track, "gone", "fit", camera)
    except SemttaError as error:
        return str(error).rstrip(".")
    if hidden.height < _SMALLEST:
        return f"{hidden.height:.0f} pixels tall, at least {_SMALLEST} are needed"
    if float(hidden.classes["legs"].any(1).float().mean()) < 0.5:
        return "legs are not sure in half of the frames"
    return ""
