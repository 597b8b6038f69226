"""Users' own 2D poses: whatever program wrote them, as tracks of this video.

The formats are read in ``people.formats``; here their rows are held against the video: which frame
(``frame_numbers``), which joints, confidences and size (``plausible``), where people are in the
picture (``agreement``), and who is who (``identities``). What is guessed is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.people.agreement import Looked, Looks, check_agreement, counted_from
from semtta.people.formats import FORMATS, Row, Sheet, Source, read_sheet, skeleton_named
from semtta.people.formats.source import WHAT
from semtta.people.frame_numbers import Numbering, first_frame, numbering
from semtta.people.identities import Entry, entries_of, people_of
from semtta.people.plausible import (
    Scale,
    clean_rows,
    confidences,
    in_order,
    in_picture,
    scale_of,
)
from semtta.reading import reading
from semtta.skeletons import COCO17, Skeleton
from semtta.video import VideoInfo

Announce = Callable[[str], None]

_ENDS, _END_SHARE = 5, 0.05  # frames, share of the video: without anybody, that is said
_SEEN = 2  # joints that a frame must show to say where somebody is


@dataclass(frozen=True)
class Poses2DOptions:
    """What a file of 2D poses does not say, or says wrongly.

    Args:
        format: name of its format; None = recognised by its content.
        skeleton: name of the order of its joints, for counts that several orders have.
        size: ``WIDTHxHEIGHT`` of the picture in which the points were found, ``unit`` for shares
            from 0 to 1, ``signed`` from -1 to 1; None = pixels of the video.
        first: number of the video's first frame in the file; None = as far as can be told.
        min_confidence: below it a joint says nothing about box and identity; the same as of the
            loss (``evidence.min_confidence``).
    """

    format: str | None = None
    skeleton: str | None = None
    size: str | None = None
    first: int | None = None
    min_confidence: float = 0.3


@dataclass(frozen=True)
class Found:
    """A file of 2D poses as it was understood.

    Args:
        format, title: name and description of its format.
        skeleton: order of the joints.
        tracks: one for each person, largest and longest seen first.
        notes: what was guessed, mended or left out.
    """

    format: str
    title: str
    skeleton: Skeleton
    tracks: list[Track]
    notes: tuple[str, ...]


def load_poses2d(
    path: str | Path,
    info: VideoInfo,
    times: torch.Tensor | None = None,
    options: Poses2DOptions | None = None,
    announce: Announce = lambda text: None,
    *,
    images: Sequence[str | None] | None = None,
    looks: Looks | None = None,
) -> list[Track]:
    """Read 2D poses made by another program.

    Args:
        path: file or folder of one of ``people.formats``.
        info: the video they belong to.
        times: (N,) seconds of the video's frames; index / fps if None.
        options: what the file does not say.
        announce: called with a sentence for whatever was guessed, mended or left out.
        images: names of the video's frames, where it is a folder of images.
        looks: what the built-in detector sees in some frames, to check where people are; None =
            not checked.

    Returns:
        one track per person in the file's own skeleton, largest and longest first.

    Raises ``SemttaError`` naming file and entry for what cannot be this video's 2D poses.
    """
    found = understand(path, info, times, options, images=images, looks=looks)
    for note in found.notes:
        announce(note)
    return found.tracks


def understand(
    path: str | Path,
    info: VideoInfo | None,
    times: torch.Tensor | None = None,
    options: Poses2DOptions | None = None,
    *,
    images: Sequence[str | None] | None = None,
    looks: Looks | None = None,
) -> Found:
    """As :func:`load_poses2d`, with what was found beside the tracks.

    Args:
        info: None = no video is at hand; nothing is checked against one."""
    options = options or Poses2DOptions()
    source = Source.open(path)
    notes: list[str] = []
    name, sheet = read_sheet(source, options.format)
    with reading(path, WHAT):
        notes += [f"'{path}': {note}" for note in sheet.notes]
        importer = _Importer(source, sheet, info, times, options, lambda x: notes.append(x), looks)
        skeleton, tracks = importer.run(images)
    return Found(name, FORMATS[name].TITLE, skeleton, tracks, tuple(notes))


@dataclass
class _Importer:
    """One file on its way to tracks."""

    source: Source
    sheet: Sheet
    info: VideoInfo | None
    times: torch.Tensor | None
    options: Poses2DOptions
    announce: Announce
    looks: Looks | None

    def run(self, images: Sequence[str | None] | None) -> tuple[Skeleton, list[Track]]:
        where, least = f"'{self.source.path}'", self._least
        rows = [row for row in self.sheet.rows if len(row.points)]
        if not rows:
            raise SemttaError(f"{where} contains nobody.")
        rows = confidences(clean_rows(rows, self.announce), self.announce)
        rows = self._sure(rows, where)
        rows, skeleton = in_order(rows, self._allowed(rows), least, self.announce)
        if self.info is not None:
            picture = (self.info.width, self.info.height)
            scale = scale_of(self.sheet, self.options.size, picture, where)
            rows = [_scaled(row, scale) for row in rows]
            rows = self._sure(in_picture(rows, picture, least, where, self.announce), where)
        frames = self._frames(rows, skeleton, where, images)
        entries = entries_of(rows, frames, least, self.announce)
        people = people_of(entries, self._seconds, least, self.announce)
        if self.looks is not None and self.info is not None:
            looked = [_looked(e.frame, e.points, skeleton, least) for p in people for e in p]
            check_agreement(looked, self.looks, picture, where, self.announce)
        return skeleton, [self._track(i, p, skeleton) for i, p in enumerate(people, 1)]

    def _allowed(self, rows: Sequence[Row]) -> tuple[Skeleton, ...]:
        if self.options.skeleton is None:
            return self.sheet.skeletons
        chosen = skeleton_named(self.options.skeleton)
        if len(chosen) > len(rows[0].points):
            raise SemttaError(
                f"{rows[0].where}: {len(rows[0].points)} points, but {chosen.name} has "
                f"{len(chosen)}."
            )
        return (chosen,)

    def _sure(self, rows: list[Row], where: str) -> list[Row]:
        """Rows that show at least two joints; the others say nothing of where anybody is."""
        least = self._least
        kept = [row for row in rows if (row.points[:, 2] >= least).sum() >= _SEEN]
        faint = sum((row.points[:, 2] > 0).any() for row in rows) - len(kept)
        if not kept:
            few = f" above a confidence of {least:g}" if faint else ""
            raise SemttaError(f"{where} contains nobody{few}.")
        if faint:
            self.announce(f"{faint} of {len(rows)} rows have fewer than {_SEEN} joints above a "
                          f"confidence of {least:g} and are left out.")  # fmt: skip
        return kept

    # ------------------------------------------------------------------ frames

    def _frames(
        self, rows: Sequence[Row], skeleton: Skeleton, where: str,
        images: Sequence[str | None] | None,
    ) -> list[int]:  # fmt: skip
        """Frame of the video of every row."""
        found = numbering([row.frame for row in rows], self.sheet.frames, where, images)
        if found.named:
            return found.numbers
        count = self._count
        first = self._first(rows, found, skeleton)
        frames = [number - first for number in found.numbers]
        for row, frame in zip(rows, frames):
            if frame < 0 or (count is not None and frame >= count):
                hint = "; frames count from 0" if frame == count else ""
                raise SemttaError(
                    f"{row.where}: frame {frame + first} lies outside the video "
                    f"'{self.info.path if self.info else ''}' of {count} frames{hint}."
                )
        self._say_uncovered(frames, where)
        length = self.sheet.length
        if length is not None and count is not None and length != count:
            self.announce(f"{where} has {length} entries, one a frame, and the video {count} "
                          "frames: taken as its first ones.")  # fmt: skip
        return frames

    def _say_uncovered(self, frames: Sequence[int], where: str) -> None:
        """Ends of the video that the file says nothing about: part of a video, or another rate."""
        if self._count is None:
            return
        most = max(_ENDS, _END_SHARE * self._count)
        first, last = min(frames), max(frames)
        gaps = [f"{a} to {b}" for a, b in ((0, first - 1), (last + 1, self._count - 1))
                if b - a + 1 > most]  # fmt: skip
        if gaps:
            self.announce(f"{where} has nobody in the frames {' and '.join(gaps)} of "
                          f"{self._count}.")  # fmt: skip

    def _first(self, rows: Sequence[Row], found: Numbering, skeleton: Skeleton) -> int:
        """The number of the video's first frame."""
        if self.options.first is not None:
            return self.options.first
        if self.sheet.exact:
            return self.sheet.first or 0
        first, certain = first_frame(found, self._count, self.sheet.first)
        if not certain and self.looks is not None:
            least = self.options.min_confidence
            looked = [_looked(n, row.points, skeleton, least)
                      for n, row in zip(found.numbers, rows)]  # fmt: skip
            told = counted_from(looked, self.looks)
            first, certain = (first, False) if told is None else (told, True)
        if first or not certain:
            doubt = "" if certain else "; if that is wrong, say --poses2d-first 0 or 1"
            self.announce(f"frames are numbered {min(found.numbers)} to {max(found.numbers)}: "
                          f"counted from {first}{doubt}.")  # fmt: skip
        return first

    @property
    def _least(self) -> float:
        """Confidence from which a joint counts; 0 means missing, whatever the settings say."""
        return max(self.options.min_confidence, 1e-9)

    @property
    def _count(self) -> int | None:
        if self.times is not None:
            return len(self.times)
        return None if self.info is None else self.info.frames

    def _seconds(self, frame: int) -> float:
        if self.times is not None:
            return float(self.times[frame])
        return frame / (self.info.fps if self.info else 30.0)

    # ------------------------------------------------------------------ people

    def _track(self, number: int, person: Sequence[Entry], bones: Skeleton) -> Track:
        points = torch.from_numpy(np.stack([entry.points for entry in person])).float()
        return Track(
            id=number,
            frames=torch.tensor([entry.frame for entry in person]),
            times=torch.tensor([self._seconds(e.frame) for e in person], dtype=torch.float64),
            boxes=torch.from_numpy(np.stack([entry.box for entry in person])).float(),
            keypoints=Keypoints2D(points[..., :2].contiguous(), points[..., 2], bones),
        )


def _scaled(row: Row, scale: Scale) -> Row:
    box = None if row.box is None else scale.box(row.box)
    return Row(row.where, row.frame, scale.points(row.points), box, row.person)


def _looked(frame: int, points: np.ndarray, skeleton: Skeleton, least: float) -> Looked:
    out = np.zeros((len(COCO17), 3))
    for j, name in enumerate(COCO17.joints):
        if name in skeleton:
            out[j] = points[skeleton.index(name)]
    return Looked(frame, out[:, :2], out[:, 2] >= least)
