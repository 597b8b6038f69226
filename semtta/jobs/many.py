"""Many videos: each to its own folder, on any engine; those that fail stop no other."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from semtta.cache import Cache
from semtta.engine import Progress, silent
from semtta.errors import SemttaError, SemttaWarning
from semtta.jobs.asked import Asked
from semtta.jobs.video import Adapters, adapt_video
from semtta.labels import Labels
from semtta.labels.beside import labels_beside
from semtta.process import quiet_libraries
from semtta.reading import read_json, reading, reason
from semtta.video import cut_video, open_images
from semtta.work import Outcome, map_items


@dataclass(frozen=True)
class Item:
    """One video to be adapted to, and the folder for its result."""

    video: Path
    folder: Path


@dataclass(frozen=True)
class Done:
    """What became of a video.

    Args:
        before: an earlier run had finished it.
        seconds: of this run.
        notes: what was said on the way, a sentence each.
        tracks, frames: that were adapted; labelled: frames with a label.
        error_px: mean 2D error after adaptation, None if nothing was detected.
    """

    before: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    tracks: int = 0
    frames: int = 0
    labelled: int = 0
    error_px: float | None = None


@dataclass
class AdaptEach:
    """Adapts to one video after the other, in whatever process it is sent to.

    Args:
        asked: what each result is to be.
        label: one text for all videos.
        labels: label file for all, or folder of label files; None = beside each video.
        fps: of folders of images.
        start, end: of the part of each video, see ``cut_video``.
        overwrite, dry_run, cache: see ``adapt_video``.
        home: folder that relative paths are seen from; each machine must have it.
    """

    asked: Asked
    label: str | None = None
    labels: Path | None = None
    fps: float | None = None
    start: str | None = None
    end: str | None = None
    overwrite: bool = False
    dry_run: bool = False
    cache: Cache | None = None
    home: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        self._adapters = Adapters()

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_adapters"}  # each loads its own

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._adapters = Adapters()

    def __call__(self, item: Item) -> Done:
        self._go_home()
        began, notes = time.monotonic(), []

        def hear(stage: str, done: int, total: int | None, values: dict) -> None:
            if stage == "note":
                notes.append(values["text"])

        with quiet_libraries(), warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", SemttaWarning)
            finished = self._adapt(item, hear) is None
            notes += [str(w.message) for w in heard if issubclass(w.category, SemttaWarning)]
        seconds = time.monotonic() - began
        if self.dry_run:
            return Done(finished, seconds, tuple(notes))
        return Done(finished, seconds, tuple(notes), **_numbers(item.folder))

    def _adapt(self, item: Item, progress: Progress):
        given: str | Labels | None = self.label
        if given is None and self.asked.labeller is None:
            given = labels_beside(item.video, self.labels)
        part = cut_video(open_images(item.video, self.fps), self.start, self.end)
        return adapt_video(
            part, given, self.asked, item.folder, overwrite=self.overwrite, progress=progress,
            dry_run=self.dry_run, cache=self.cache, skip_finished=True, adapters=self._adapters,
        )  # fmt: skip

    def _go_home(self) -> None:
        try:
            if Path.cwd() != self.home:
                os.chdir(self.home)
        except OSError:
            raise SemttaError(f"this machine has no folder '{self.home}'; every machine must see "
                              "the same files under the same paths.") from None  # fmt: skip


def adapt_many(
    each: AdaptEach,
    items: Sequence[Item],
    *,
    engine: str = "local",
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Outcome]:
    """Adapt to every video; the outcomes' values are ``Done``.

    ``progress`` is told of stage "videos", and of every note under its video's name. Raises
    ``SemttaError`` for an engine that cannot be had; ``KeyboardInterrupt`` leaves what is
    finished."""
    count = 0
    progress("videos", 0, len(items), {})

    def finished(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        name = outcome.item.video.name
        for text in outcome.value.notes if outcome.ok else ():
            progress("note", 0, None, {"text": f"{name}: {text}"})
        progress("note", 0, None, {"text": f"{name}: {_said(outcome)} ({count} of {len(items)})"})
        progress("videos", count, len(items), {"summary": name})

    with _kept_open({item.folder.parent for item in items}, each.dry_run):
        return map_items(each, items, engine=engine, workers=workers, finished=finished)


@contextmanager
def _kept_open(folders: Collection[Path], dry_run: bool) -> Iterator[None]:
    """Folders that stay while workers write into them, and go at the end if nothing came of it:
    a worker that fails removes the empty folder that it made, whoever else is about to write."""
    if dry_run:
        yield
        return
    absent = [place for folder in folders for place in (folder, *folder.parents)
              if not place.exists()]  # fmt: skip
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemttaError(f"the output folder cannot be made: {reason(error)}.") from None
    try:
        yield
    finally:
        for place in sorted(set(absent), key=lambda place: -len(place.parts)):
            with suppress(OSError):  # one that holds something stays
                place.rmdir()


def _said(outcome: Outcome) -> str:
    if not outcome.ok:
        return "failed"
    done = outcome.value
    return "finished before, left as it is" if done.before else f"done in {done.seconds:.0f} s"


def _numbers(folder: Path) -> dict:
    """What the report of a finished folder says, for the table."""
    path = folder / "report.json"
    report = read_json(path, "report of the result")
    with reading(path, "report of the result"):
        tracks = report["tracks"]
        last = [track["epochs"][-1].get("reprojection_px") for track in tracks if track["epochs"]]
        errors = [float(value) for value in last if value is not None]
        return {
            "tracks": len(tracks),
            "frames": sum(int(track["frames"]) for track in tracks),
            "labelled": sum(int(track["labelled_frames"]) for track in tracks),
            "error_px": sum(errors) / len(errors) if errors else None,
        }
