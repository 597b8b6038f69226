"""Results of a video whose camera stands still, with the world that they share."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from semtta.body import Body
from semtta.engine import Progress
from semtta.keypoints import Track
from semtta.tta.result import Result
from semtta.tta.world import find_world
from semtta.video import camera_shift


def in_world(
    results: list[Result], body: Body, people: Sequence[Track], progress: Progress, video=None
) -> list[Result]:
    """The same results with one world (:func:`find_world`), which is said in a note.

    Args:
        people: everyone who may hide or be taken for the background.
        video: as ``read_frames`` takes it; None = nobody can see whether the camera moves."""
    shift = None
    if video is not None:
        first = min(int(result.track.frames[0]) for result in results)
        last = max(int(result.track.frames[-1]) for result in results)
        shift = camera_shift(video, first, last, lambda frame: _boxes(people, frame))
    world = find_world(results, copy.deepcopy(body).cpu(), shift)
    progress("note", 0, None, {"text": world.note})
    return [replace(result, world=world) for result in results]


def _boxes(people: Sequence[Track], frame: int) -> np.ndarray:
    """(N, 4) boxes in a frame of the video."""
    found = [person.boxes[person.frames == frame].cpu().numpy() for person in people]
    return np.concatenate(found) if found else np.zeros((0, 4))
