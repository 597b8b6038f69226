"""The page of a comparison: ``result.html`` with the motions of several results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.body import Body
from semtta.engine import Progress
from semtta.output.comparison.numbers import Apart, apart
from semtta.output.comparison.people import Person
from semtta.output.comparison.tables import tables_of
from semtta.output.load import SavedTrack
from semtta.output.page.data import evidence_data, floor, motion_data, told_data
from semtta.output.page.write import clip_of, page_data, save_page


def write_comparison(
    path: Path,
    data: dict,
    people: Sequence[Person],
    names: Sequence[str],
    body: Body,
    video: Path | None,
    progress: Progress,
) -> Path:
    """Write the page, whole or not at all.

    Args:
        data: what compare.json holds.
        names: of the results.
        video: that all are of; None = the page has none, and says so.
    Raises ``SemttaError``."""
    tracks = [track for person in people for track in person.tracks if track is not None]
    fps = tracks[0].fps
    clip = clip_of(tracks, fps, video, progress)
    words = f"{len(clip.times)} frames, {fps:.4g} fps · {len(names)} results compared"
    title = data["video"] or names[0]
    page = page_data(tracks, body, clip, fps, title, words, has_video=video is not None)
    page["motions"] = [
        {"key": "base", "name": f"base of {names[0]}", "color": "--base", "shown": False},
        *({"key": _key(i), "name": name, "color": f"--motion-{i + 1}" if i else "--adapted",
           "shown": True} for i, name in enumerate(names)),
    ]  # fmt: skip
    page["tracks"] = [
        _person_data(person, names, body) | {
            "tiles": _tiles(numbers, names),
            "remarks": data["remarks"],
            "tables": [asdict(table) for table in tables_of(data, numbers)],
        }
        for person, numbers in zip(people, data["people"])
    ]  # fmt: skip
    return save_page(path, page, clip)


def _key(i: int) -> str:
    return f"result-{i + 1}"


def _person_data(person: Person, names: Sequence[str], body: Body) -> dict:
    """Evidence of the first result; labels and motion of each, over the frames of any."""
    here = [(i, track) for i, track in enumerate(person.tracks) if track is not None]
    frames = [track.track.frames.numpy() for _, track in here]
    onto = torch.from_numpy(reduce(np.union1d, frames))
    first = person.first
    motions = {"base": motion_data(first.base, first, body, onto, {})}
    for i, track in here:
        series = {} if track is first else _series(track, apart(track, first, body))
        motions[_key(i)] = motion_data(track.adapted, track, body, onto, series)
    return evidence_data(first, onto) | {
        "told": [told_data(names[i], track, onto) for i, track in here],
        "floor": floor([track.adapted for _, track in here], body),
        "motions": motions,
        "first": _key(0),
    }


def _tiles(numbers: dict, names: Sequence[str]) -> list[dict[str, str]]:
    """One per result: how well it fits the detections, and how far it is from the first."""
    tiles = []
    for name in names:
        told = numbers["results"].get(name)
        if told is None or told["adapted"] is None or told["adapted"]["error_px"] is None:
            continue
        far = told["to_first"]
        note = "px 2D error" + ("" if far is None else f", {far['posed_mm']:.0f} mm to {names[0]}")
        tiles.append({
            "title": name, "value": f"{told['adapted']['error_px']:.1f}", "note": note,
        })  # fmt: skip
    return tiles


def _series(track: SavedTrack, between: Apart) -> dict[str, Tensor]:
    """Distances to the first result in every frame of the track, NaN where that has none."""
    rows = torch.isin(track.track.frames, between.frames)
    series = {}
    for name, values in (("placed_apart", between.placed), ("posed_apart", between.posed)):
        series[name] = torch.full((len(rows),), torch.nan)
        series[name][rows] = values
    return series
