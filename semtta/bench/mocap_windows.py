"""Which stretches of motion the mocap benchmarks look at.

``v2`` goes by the split of ``mocap_split``: performers apart, parts told apart, no performer with
more than two windows of an action, or one of an animation keyed by hand: those are loops. ``v1``
is the first form of the benchmark, kept so that its numbers can be made again; what it holds is
less than it said (``mocap.LIMITS_V1``).
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from semtta.bench.mocap_scene import Window
from semtta.bench.mocap_split import DEV, TEST, load_split
from semtta.bench.motion_labels import spoken_label
from semtta.bench.seeding import seed_of
from semtta.errors import SemttaWarning
from semtta.motion.motion_files import MotionEntry, list_motions

SHORTEST = 30  # frames; shorter clips show nothing
UNLISTED = "unlisted"  # part of motion that the split does not know: a user's own
# Val subjects of motion_lite as v1 had them; every other subject goes by the hash of its name.
_V1_DEV = ("cmu3", "cmu7", "cmu131", "cmuXtrain")
_V1_TEST = ("cmu61", "cmuXtest")
_ENOUGH = 0.8  # share of ``frames`` that two windows of one clip must have each
_COMMON = 0.34  # v1: a label with a larger share of the windows takes one of each clip
_MOST = 2  # v2: windows of one performer doing one thing; one of an animation


def subject_split(subject: str) -> str:
    """ "dev" or "test" of a performer whom no list names: one in three is dev, for good."""
    return DEV if seed_of(f"subject:{subject}") % 3 == 0 else TEST


@lru_cache(8)
def windows_v2(motions: str, split: str, frames: int, changed: int) -> tuple[Window, ...]:
    """The windows of dev, test or all, chosen once as long as the file does not change.

    The shipped networks have seen nobody of dev and test; of motion that the split does not list,
    only what no file calls training."""
    people = load_split()
    found: dict[tuple, list[Window]] = {}
    for entry in _listed(motions):
        known = people.find(entry.name) if entry.split else None
        if known is None:
            side = "" if entry.split == "train" else subject_split(entry.subject)
            label, performer, part = spoken_label(entry.text), entry.subject, UNLISTED
        else:
            side = known.side
            label, performer, part = known.action or None, known.performer, known.part
        if side not in ((DEV, TEST) if split == "all" else (split,)):
            continue
        cut = 0 if known is None else known.cut
        most = 1 if known is not None and known.animated else _MOST
        found.setdefault((performer, label, most), []).extend(
            Window(name, entry, start, length, label, performer, part)
            for name, start, length in _stretches(entry, frames, cut, most)
        )
    chosen = (_spread(windows, most) for (_, _, most), windows in found.items())
    return tuple(window for windows in chosen for window in windows)


@lru_cache(8)
def windows_v1(motions: str, split: str, frames: int, changed: int) -> tuple[Window, ...]:
    """The windows of the benchmark's first form."""
    chosen = [
        entry
        for entry in _listed(motions)
        if entry.split in ("", "val")
        and entry.frames >= SHORTEST
        and split in ("all", v1_side(entry.subject))
    ]
    labels = [spoken_label(entry.text) for entry in chosen]
    counts = [_count(entry.frames, frames) for entry in chosen]
    totals: Counter[str | None] = Counter()
    for label, count in zip(labels, counts, strict=True):
        totals[label] += count
    common = {label for label, total in totals.items() if total > _COMMON * sum(counts)}
    return tuple(
        Window(name, entry, start, length, label, entry.subject)
        for entry, label in zip(chosen, labels, strict=True)
        for name, start, length in _stretches(entry, frames, most=1 if label in common else 2)
    )


def v1_side(subject: str) -> str:
    """ "dev" or "test" as the benchmark's first form has it, for good."""
    if subject in _V1_DEV:
        return DEV
    return TEST if subject in _V1_TEST else subject_split(subject)


def _count(whole: int, frames: int) -> int:
    """How many windows a clip of so many frames gives: two where each is nearly whole."""
    return min(2, max(1, int(whole / (_ENOUGH * frames))))


def _stretches(
    entry: MotionEntry, frames: int, cut: int = 0, most: int = 2
) -> list[tuple[str, int, int]]:
    """Name, first frame and length of a clip's windows: at most two, in the middle of its parts."""
    whole = entry.frames - cut
    if whole < SHORTEST:
        return []
    count = min(most, _count(whole, frames))
    part = whole // count
    length = min(frames, part)
    name = entry.name.replace("/", "_")
    return [
        (f"{name}-w{k + 1}", cut + k * part + (part - length) // 2, length) for k in range(count)
    ]


def _spread(windows: Sequence[Window], most: int) -> list[Window]:
    """At most so many of them, evenly over the list."""
    if len(windows) <= most:
        return list(windows)
    return [windows[(2 * k + 1) * len(windows) // (2 * most)] for k in range(most)]


def _listed(motions: str) -> list[MotionEntry]:
    """All motions; files that are left out are named by the first process, not by its workers."""
    with warnings.catch_warnings():
        if multiprocessing.parent_process() is not None:
            warnings.simplefilter("ignore", SemttaWarning)
        return list_motions(motions)
