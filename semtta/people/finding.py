"""Who is where: detections of all frames, linked over the video, with a closer look if needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from semtta.engine import threaded_map
from semtta.errors import SemttaError
from semtta.people.appearance import colours, join
from semtta.people.between import LONGEST, midway
from semtta.people.closer import COVER, PARTS, Region, Search, added, look_closer, why_everywhere
from semtta.people.movenet import MoveNet
from semtta.people.ownership import without_mixtures
from semtta.people.tracker import Chain, Detections, link, suppress_duplicates
from semtta.video import VideoInfo, read_frames, read_through

FIRST_SIZE = 448  # long side of what the network sees of a frame at first
_ROUNDS = 3  # of looking for the lost: who was found again may be lost again
_NOBODY = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 2)), np.zeros((0, 17)))
_MIN_LENGTH = 5  # frames; shorter chains are noise unless the video itself is that short

_PROBES = 30  # frames that are looked at closely before all are, where nobody was found
_SOMEBODY = 0.3  # score of a detection that is worth it

Note = Callable[[str], None]
_Frame = tuple[int, float, np.ndarray | None]  # index, seconds, picture


class Ticks:
    """Counts frames that were read.

    Args:
        progress: called with (done, total or None) after each frame; None = nobody is told.
        total: frames that will be read, as far as is known before.
    """

    def __init__(self, progress: Callable[[int, int | None], None] | None, total: int | None):
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done += 1
        self._tell(None if self.total is None else max(self.total, self.done))

    def more(self, frames: int) -> None:
        """So many frames more will be read."""
        self.total = None if self.total is None else self.total + frames

    def finish(self) -> None:
        """All is read, whatever was announced."""
        self._tell(self.done)

    def _tell(self, total: int | None) -> None:
        if self.progress is not None:
            self.progress(self.done, total)


@dataclass(frozen=True)
class Found:
    """Everyone in a video.

    Args:
        detections: of every frame.
        times: (T,) seconds.
        chains: one a person, in order of appearance.
        picture: width, height.
        first: frame with which the part of the video begins that is looked at; nobody is in those
            before it.
    """

    detections: list[Detections]
    times: np.ndarray
    chains: list[Chain]
    picture: tuple[int, int]
    first: int = 0


def input_size(size: int | str) -> int:
    """Long side of the network's first input for a setting: a number of pixels, or ``auto``."""
    if isinstance(size, str) and size != "auto":
        raise SemttaError(f"the detector's size is auto or a number of pixels, not '{size}'.")
    return FIRST_SIZE if isinstance(size, str) else size


def find_everyone(
    path, info: VideoInfo, net: MoveNet, closer: bool, threads: int, tick: Ticks, note: Note
) -> Found:
    """Detect in every frame, or every second one where that is enough, and settle who is who.

    Args:
        closer: whether to look again, larger, where the first look was not enough.
        tick: called after each frame that was read.
        note: called with a sentence on the file, and on where was looked again.
    """
    looks, times = _first_look(path, net, threads, tick, note)
    first = next(t for t, people in enumerate(looks) if people is not None)
    detections = [_NOBODY if people is None else people for people in looks]
    found = _settled(detections, np.array(times), (info.width, info.height), first)
    if closer:
        found = _look_again(path, net, found, threads, tick, note)
    return found


def _first_look(
    path, net: MoveNet, threads: int, tick: Ticks, note: Note
) -> tuple[list[Detections | None], list[float]]:
    """Everyone in every frame; None in those before the part that is wanted.

    The network sees every second frame, and of the others those that their neighbours do not
    explain."""

    def detect(image: np.ndarray) -> Detections:
        people = without_mixtures(suppress_duplicates(net(image)))
        return replace(people, colours=colours(image, people))

    def look(pair: tuple[_Frame | None, _Frame]):
        between, (_, seconds, image) = pair
        return between, seconds, None if image is None else detect(image)

    detections: list[Detections | None] = []
    times: list[float] = []
    for between, seconds, people in threaded_map(look, _pairs(read_through(path, note)), threads):
        if between is not None:
            _, moment, image = between
            assert image is not None and people is not None and detections[-1] is not None
            elapsed, found = seconds - times[-1], None
            if elapsed <= LONGEST:
                found = midway(detections[-1], people, (moment - times[-1]) / elapsed)
            detections.append(detect(image) if found is None else found)
            times.append(moment)
            tick()
        detections.append(people)
        times.append(seconds)
        tick()
    return detections, times


def _pairs(frames: Iterable[_Frame]) -> Iterator[tuple[_Frame | None, _Frame]]:
    """Each frame that is looked at, with the one before it where that may follow from its two
    neighbours. The first and the last one are looked at."""
    started, between = False, None
    for frame in frames:
        if started and between is None:
            between = frame
            continue
        yield between, frame
        between, started = None, frame[2] is not None
    if between is not None:
        yield None, between


def _settled(
    detections: list[Detections], times: np.ndarray, picture: tuple[int, int], first: int
) -> Found:
    """Chains that are long enough; what is left in pieces is joined."""
    shortest = min(_MIN_LENGTH, len(times) - first)
    chains = [chain for chain in link(detections, list(times)) if len(chain) >= shortest]
    return Found(detections, times, join(chains, detections, list(times), picture), picture,
                 first)  # fmt: skip


def _look_again(path, net: MoveNet, found: Found, threads: int, tick: Ticks, note: Note) -> Found:
    search, before, frames = Search(found.picture, found.times), _seen(found), set()
    first = found.first
    why = why_everywhere(found.chains, found.detections, found.picture, first)
    everywhere = {t: parts for t, parts in search.everywhere().items() if t >= first}
    if not found.chains and len(everywhere) > 2 * _PROBES:
        probes = np.linspace(first, first + len(everywhere) - 1, _PROBES).astype(int).tolist()
        some = {t: everywhere[t] for t in probes}
        probed = _closer(path, net, found, some, threads, tick, prefer_closer=True)
        if not any((probed.detections[t].scores >= _SOMEBODY).any() for t in probes):
            return found
    if why is not None:
        found = _closer(path, net, found, everywhere, threads, tick, prefer_closer=True)
        note(f"detector.size=auto: {net.size}; {why}, so every frame was looked at again in "
             f"{PARTS} x {PARTS} parts, as at {round(net.size / COVER)}.")  # fmt: skip
    for _ in range(_ROUNDS):
        lost = search.lost(found.chains, found.detections)
        wanted = {t: parts for t, parts in lost.items() if t >= first}
        if not wanted:
            break
        frames |= set(wanted)
        found = _closer(path, net, found, wanted, threads, tick, prefer_closer=False)
    if frames:
        note(f"detector.size=auto: {net.size}; somebody was lost, so {len(frames)} frames were "
             f"looked at again, larger: seen {_seen(found) - before} times more.")  # fmt: skip
    return found


def _seen(found: Found) -> int:
    return sum(len(chain) for chain in found.chains)


def _closer(
    path, net: MoveNet, found: Found, wanted: Mapping[int, Sequence[Region]], threads: int,
    tick: Ticks, *, prefer_closer: bool,
) -> Found:  # fmt: skip
    """Read the video once more, as far as it is needed."""
    last = max(wanted)
    tick.more(len(wanted))

    def frames():
        for frame in read_frames(path):
            if frame[0] in wanted:
                yield frame
            if frame[0] >= last:
                return

    def look(frame) -> tuple[int, Detections]:
        return frame[0], look_closer(net, frame[2], wanted[frame[0]])

    detections = list(found.detections)
    for index, people in threaded_map(look, frames(), threads):
        detections[index] = added(detections[index], people, prefer_closer=prefer_closer)
        tick()
    return _settled(detections, found.times, found.picture, found.first)
