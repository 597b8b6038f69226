"""What is measured of one person in several results, on the frames that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from semtta.body import Body
from semtta.output.amplitude import motion_amplitude
from semtta.output.comparison.people import Person, common_rows
from semtta.output.load import SavedTrack
from semtta.output.measures import acceleration, distances, gate_open_share, shake
from semtta.tta.result import Motion

_PEAKS = 3  # frames that are named where two motions differ most
_APART = 0.5  # seconds between two of them


@dataclass(frozen=True)
class Apart:
    """How far the joints of two adapted motions are from each other, frame by frame.

    Args:
        frames: (N,) that both have.
        placed: (N,) mean over the joints in the camera frame, mm.
        posed: (N,) the same about each one's own pelvis.
    """

    frames: Tensor
    placed: Tensor
    posed: Tensor


def apart(a: SavedTrack, b: SavedTrack, body: Body) -> Apart:
    """Between the adapted motions of two tracks."""
    left, right = common_rows(a.track.frames, b.track.frames)
    joints = _joints(a.at(left).adapted, body), _joints(b.at(right).adapted, body)
    own = [each - each[:, :1] for each in joints]
    placed, posed = (1000 * (x - y).norm(dim=-1).mean(1) for x, y in (joints, own))
    return Apart(a.track.frames[left], placed, posed)


def person_numbers(person: Person, names: Sequence[str], body: Body) -> tuple[dict, list[str]]:
    """What compare.json holds of one person, and what is to be said about it."""
    shown = [(name, track) for name, track in zip(names, person.tracks) if track is not None]
    frames = [track.track.frames.numpy() for _, track in shown]
    common = torch.from_numpy(reduce(np.intersect1d, frames))
    numbers, remarks = {}, []
    if not len(common):
        remarks.append(f"no frame with track {person.first.track.id} of '{names[0]}' is in all "
                       "results: nothing is measured of that person.")  # fmt: skip
    for name, track in shown:
        told = _track_numbers(track, common, body)
        if track is person.first:
            told["to_first"] = None
        else:
            told["to_first"] = _to_first(apart(track, person.first, body), common, track.fps)
            remarks += _remarks(person.first, track, names[0], name)
        numbers[name] = told
    return {"track": person.first.track.id, "frames": len(common), "results": numbers}, remarks


def _track_numbers(track: SavedTrack, common: Tensor, body: Body) -> dict:
    """Of one result: the whole track, and the frames of it that are compared."""
    whole = {
        "track": track.track.id,
        "frames": len(track.track),
        "labels": list(dict.fromkeys(label for label in track.labels if label)),
    }
    if not len(common):
        return whole | dict.fromkeys(
            ("base", "adapted", "range_of_motion", "filled_share", "gate_open_share")
        )
    compared = track.at(common_rows(track.track.frames, common)[0])
    return whole | {
        "base": _motion_numbers(compared.base, compared, body),
        "adapted": _motion_numbers(compared.adapted, compared, body),
        "range_of_motion": motion_amplitude(
            compared.adapted, compared.base, compared.track.times, body
        ).numbers(),
        "filled_share": compared.evidence.filled_share(),
        "gate_open_share": gate_open_share(compared),
    }


def _motion_numbers(motion: Motion, track: SavedTrack, body: Body) -> dict[str, float]:
    return {
        "error_px": float(distances(motion, track).nanmean()),
        "shake_mm": shake(motion, track, body),
        "acceleration_mm": acceleration(_joints(motion, body), track.track.frames),
    }


def _to_first(between: Apart, common: Tensor, fps: float) -> dict:
    rows, _ = common_rows(between.frames, common)
    return {
        "placed_mm": float(between.placed[rows].mean()),
        "posed_mm": float(between.posed[rows].mean()),
        "differ_most": [
            {"frame": int(between.frames[row]), "posed_mm": float(between.posed[row])}
            for row in _peaks(between, fps)
        ],
    }


def _peaks(between: Apart, fps: float) -> list[int]:
    """Rows of the largest distances, each half a second from the others."""
    chosen: list[int] = []
    for row in between.posed.argsort(descending=True).tolist():
        if between.posed[row] <= 0 or len(chosen) == _PEAKS:
            break
        frame = int(between.frames[row])
        if all(abs(frame - int(between.frames[other])) >= _APART * fps for other in chosen):
            chosen.append(row)
    return chosen


def _joints(motion: Motion, body: Body) -> Tensor:
    return body.joints(motion.rotmats, motion.betas) + motion.trans[:, None]


def _remarks(first: SavedTrack, other: SavedTrack, first_name: str, name: str) -> list[str]:
    """Why the numbers of two results may mean different things."""
    texts = []
    person = f" (track {first.track.id} of '{first_name}')"
    left, right = common_rows(first.track.frames, other.track.frames)
    only = len(first.track) - len(left), len(other.track) - len(right)
    if any(only):
        texts.append(f"'{name}' lacks {only[0]} frames that '{first_name}' has, and has {only[1]} "
                     f"that it lacks{person}.")  # fmt: skip
    a, b = first.detections[left], other.detections[right]
    same = a.skeleton.joints == b.skeleton.joints and (
        torch.equal(first.evidence.detected[left], other.evidence.detected[right])
        and torch.allclose(a.xy, b.xy, atol=0.01)
    )
    if not same:
        texts.append(f"'{name}' was adapted to other 2D evidence than '{first_name}': each 2D "
                     f"error is against its own{person}.")  # fmt: skip
    if (first.camera.focal, first.camera.center) != (other.camera.focal, other.camera.center):
        texts.append(
            f"'{name}' takes the camera's focal length for {other.camera.focal:.0f} pixels, "
            f"'{first_name}' for {first.camera.focal:.0f}, or another centre: the person stands "
            f"at another distance for that alone{person}."
        )
    return texts
