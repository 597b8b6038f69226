"""The second part of ``semtta demo``: the clip with limbs taken away, with and without labels.

What is taken away is what ``semtta bench --data heldout`` takes from this clip; here there is a
truth to judge it by. Each column of the table knows one thing more than the one before: the 2D that
is left, the motion model, a label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from semtta.bench.beam import PROTOCOL, BeamTruth
from semtta.bench.heldout import mask_name, person_name
from semtta.bench.heldout_masks import hide
from semtta.config import Config, config_to_yaml
from semtta.engine import Progress, silent
from semtta.keypoints import Track
from semtta.output.comparison import compare
from semtta.output.files import save_json
from semtta.output.write import write_results
from semtta.people import TrackedVideo
from semtta.shipped import file_sha256
from semtta.skeletons import LIMB12
from semtta.tta.adapter import Adapter
from semtta.tta.gated import gate_opened

FOLDER, NUMBERS = "limbs-hidden", "hidden.json"
RIGHT, WRONG = "walking on a balance beam", "jumping jacks"
_WHAT = {"mix": "for a while", "gone": "throughout"}  # of heldout's masks
_ERRORS = {"PA-MPJPE": "pa_mpjpe_occluded_mm", "MPJPE": "mpjpe_occluded_mm"}


@dataclass(frozen=True)
class Try:
    """One column of the table: what is told, and what of the method is left out."""

    name: str
    label: str | None = None
    plain: bool = False  # the 2D loss alone
    guarded: bool = True

    @property
    def folder(self) -> str:
        return self.name.lower().replace(",", "").replace(" ", "-")

    def config(self, config: Config) -> Config:
        if self.plain:
            return replace(config, smoothing=replace(config.smoothing, kind="none"),
                           evidence=replace(config.evidence, update="none"))  # fmt: skip
        guards = "label" if self.guarded else "fill"
        return replace(config, gate=replace(config.gate, guards=guards))


TRIES = (
    Try("2D alone", plain=True),
    Try("no label"),
    Try("right label", RIGHT),
    Try("wrong label", WRONG),
    Try("wrong, gate ignored", WRONG, guarded=False),
)


def limbs_hidden(track: Track, truth: BeamTruth, video: Path, mask: str) -> tuple[Track, BeamTruth]:
    """A track without what a mask of ``heldout`` takes away, and a truth that judges just that."""
    name = mask_name(person_name(video, file_sha256(video), track), mask)
    hidden = hide(track, mask, name, truth.camera)
    joints = track.keypoints.skeleton.indices(LIMB12.joints)
    taken = (track.keypoints.conf > 0) & (hidden.track.keypoints.conf == 0)
    judged = torch.zeros_like(truth.occluded)
    judged[track.frames] = taken[:, joints]
    return hidden.track, replace(truth, occluded=judged)


def run_hidden(
    config: Config,
    tracked: TrackedVideo,
    truth: BeamTruth,
    video: Path,
    folder: Path,
    *,
    overlay: bool = True,
    page: bool = True,
    progress: Progress = silent,
) -> dict:
    """Every try on every mask; of the first mask also result folders and their comparison.

    Args:
        config: as of the first part; its camera is the truth's.
        tracked: the people of the clip; the man is its longest track.
        folder: existing, of the demo's results; all goes into its ``limbs-hidden``.
    Returns: what ``hidden.json`` holds: a table of errors in mm, and what the gate did."""
    track = max(tracked.tracks, key=len)
    own = folder / FOLDER
    config = replace(config, evidence=replace(config.evidence, heldout=0.0))  # there is a truth
    rows: list[dict] = []
    gates: dict[str, str] = {}
    for mask, what in _WHAT.items():
        left, judge = limbs_hidden(track, truth, video, mask)
        errors: dict[str, dict] = {}
        for attempt in TRIES:
            settings = attempt.config(config)
            adapter = Adapter(config=settings)
            told = replace(tracked, tracks=[left])
            result = adapter.run(told, attempt.label, progress=progress)[0]
            body = adapter.body.cpu()
            errors.setdefault("base", judge.score(result.base, body, left.frames))
            errors[attempt.name] = judge.score(result.adapted, body, left.frames)
            if mask == "mix":
                gates[attempt.name] = gate_opened(result)
                place = own / attempt.folder
                place.mkdir(parents=True)
                write_results(
                    place, [result], body, tracked.info, config_to_yaml(settings), page=False,
                    overlay=overlay and attempt.label == RIGHT, progress=progress,
                )  # fmt: skip
                save_json(place / "demo.json", _as_truth(errors, attempt))
        rows += [{"row": f"{what}: {name}"} | {k: e[key] for k, e in errors.items()}
                 for name, key in _ERRORS.items()]  # fmt: skip
    numbers = {"title": "The same clip, limbs taken away: errors of what was taken, mm",
               "rows": rows, "gate": gates, "caption": _caption(gates)}  # fmt: skip
    save_json(own / NUMBERS, numbers)
    if page:
        folders = [own / attempt.folder for attempt in TRIES]
        compare(folders, own / "compare", video=video, progress=progress)
    return numbers


def _as_truth(errors: dict[str, dict], attempt: Try) -> dict:
    """Of one try what ``semtta compare`` shows as truth."""
    return {"frozen": errors["base"], "adapted": errors[attempt.name], "protocol": PROTOCOL}


def _caption(gates: dict[str, str]) -> str:
    """What the columns show, by what the gate did."""
    told = f"Right label: {gates['right label']}; wrong label: {gates['wrong label']}. "
    if gates["right label"].startswith("gate open in 0 "):
        told += ("Where the gate stays shut a label does nothing, right or wrong; the step from "
                 "'2D alone' to 'no label' is the motion model's. ")  # fmt: skip
    return told + "When labels help: docs/semantics.md."
