"""Who is who in several results of one video: track numbers may differ, places do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from semtta.body import Body
from semtta.errors import SemttaError
from semtta.geometry.boxes import box_overlap
from semtta.output.load import SavedResult, SavedTrack

_SAME = 0.3  # mean overlap from which two tracks are one person
_JOINTS = 3  # detected in both tracks, from which they say where the person is


@dataclass(frozen=True)
class Person:
    """One person in several results.

    Args:
        tracks: one per result, None where a result does not show the person; the first result
            and at least one other show it. ``evidence.known`` are the joints of the body.
    """

    tracks: tuple[SavedTrack | None, ...]

    @property
    def first(self) -> SavedTrack:
        assert self.tracks[0] is not None
        return self.tracks[0]


def common_rows(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of two lists of frame numbers where they have the same one."""
    _, left, right = np.intersect1d(a.numpy(), b.numpy(), True, return_indices=True)
    return torch.from_numpy(left), torch.from_numpy(right)


def match_people(
    results: Sequence[SavedResult], names: Sequence[str], body: Body
) -> tuple[list[Person], list[str]]:
    """People of the first result that others show too, and sentences about all other tracks.

    Raises ``SemttaError`` if a result shows none of the first one's people."""
    first = results[0]
    found: list[list[SavedTrack | None]] = [[track] for track in first.tracks]
    remarks = []
    for result, name in zip(results[1:], names[1:]):
        pairs = _pairs(first.tracks, result.tracks)
        if not pairs:
            raise SemttaError(
                f"result '{result.folder}' shows none of the people of '{first.folder}' in the "
                "same frames and places; there is nothing to compare."
            )
        for i, person in enumerate(found):
            person.append(result.tracks[pairs[i]] if i in pairs else None)
        for j, track in enumerate(result.tracks):
            if j not in pairs.values():
                remarks.append(_alone(name, track, f"'{names[0]}'"))
            elif (partner := _partner(pairs, j, first)) != track.track.id:
                remarks.append(f"track {track.track.id} of '{name}' is track {partner} of "
                               f"'{names[0]}'.")  # fmt: skip
        remarks += [
            _alone(names[0], track, f"'{name}'")
            for i, track in enumerate(first.tracks)
            if i not in pairs
        ]
    people = [
        Person(tuple(track and _known(track, body) for track in tracks))
        for tracks in found
        if any(track is not None for track in tracks[1:])
    ]
    return people, remarks


def _alone(name: str, track: SavedTrack, other: str) -> str:
    frames = track.track.frames
    return (
        f"track {track.track.id} of '{name}' (frames {int(frames[0])} to {int(frames[-1])}) has no "
        f"partner in {other}."
    )


def _partner(pairs: dict[int, int], j: int, first: SavedResult) -> int:
    return next(first.tracks[i].track.id for i, k in pairs.items() if k == j)


def _known(track: SavedTrack, body: Body) -> SavedTrack:
    """A folder does not say which joints were never seen nor filled; the body does."""
    known = body.has_landmarks(track.detections.skeleton)
    return replace(track, evidence=replace(track.evidence, known=known))


def _pairs(a: Sequence[SavedTrack], b: Sequence[SavedTrack]) -> dict[int, int]:
    """Index in ``a`` -> index in ``b`` of the same person: as much overlap in all as possible."""
    overlaps = [[_overlap(left, right) for right in b] for left in a]
    total = np.array([[float(o.sum()) for o in row] for row in overlaps])
    pairs = zip(*linear_sum_assignment(-total))
    return {int(i): int(j) for i, j in pairs
            if len(overlaps[i][j]) and float(overlaps[i][j].mean()) >= _SAME}  # fmt: skip


def _overlap(a: SavedTrack, b: SavedTrack) -> Tensor:
    """(N,) in [0, 1] for each common frame: of the boxes, less where the detected joints lie
    apart, which tells people who hold each other."""
    left, right = common_rows(a.track.frames, b.track.frames)
    boxes = a.track.boxes[left]
    overlap = box_overlap(boxes, b.track.boxes[right])
    here, there = a.detections[left], b.detections[right]
    shared = [joint for joint in here.skeleton.joints if joint in there.skeleton]
    i, j = (keypoints.skeleton.indices(shared) for keypoints in (here, there))
    seen = (here.conf[:, i] > 0) & (there.conf[:, j] > 0)
    apart = (here.xy[:, i] - there.xy[:, j]).norm(dim=-1)
    apart = torch.where(seen, apart, torch.nan)
    size = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    enough = seen.sum(1) >= _JOINTS
    near = torch.ones_like(overlap)
    near[enough] = (1 - apart[enough].nanmedian(1).values / size[enough]).clamp_min(0)
    return overlap * near
