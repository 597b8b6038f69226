"""What ``semtta check`` does: methods on one video, judged by detections that none was shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from semtta.bench.filtered import filtered
from semtta.bench.methods import METHODS, Method
from semtta.body import Body, load_body
from semtta.cache import Cache
from semtta.config import Config, load_config
from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.hmr import load_model
from semtta.hmr.base import HumanMeshRegressor
from semtta.jobs.labels import extended_priors
from semtta.keypoints import Track
from semtta.labels import Labels, as_labels
from semtta.motion.user_dictionary import UserDictionary
from semtta.output.measures import acceleration, distances
from semtta.people import Poses2DOptions
from semtta.tta.adapter import Adapter
from semtta.tta.heard import checked_labels
from semtta.tta.heldout import HeldoutErrors, draw_heldout, heldout_errors, judged, without
from semtta.tta.people import find_people, known_people, select_tracks
from semtta.tta.result import Motion, Result
from semtta.video import VideoSource

SHARE = 0.1  # of the limbs, held out from every method alike
_METHODS = ("frozen", "frozen+gauss", "2d+smooth", "semtta-nolabel", "semtta")
_FEWEST = 4  # stretches: of fewer no uncertainty is told
NAMES = {
    "frozen": "base", "frozen+gauss": "base, filtered", "2d+smooth": "2D and smoothing",
    "semtta-nolabel": "semtta, no label", "semtta": "semtta, label",
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """One method on one track.

    Args:
        track: its number.
        method: as printed.
        heldout_px: mean distance to the detections that it was not shown.
        change, uncertainty: of that against the base, and two standard errors of it over the
            stretches that were held out, pixels; None = too few of them.
        joint_frames: how many detections judge.
        fit_px: mean distance to those that it was shown: no measure of quality.
        jitter_mm: mean second difference of the joints about the pelvis, per frame².
    """

    track: int
    method: str
    heldout_px: float
    change: float
    uncertainty: float | None
    joint_frames: int
    fit_px: float
    jitter_mm: float

    def as_json(self) -> dict:
        """All of it by name."""
        return asdict(self)


def check_video(
    video: VideoSource,
    settings: str,
    overrides: Sequence[str],
    labels: Labels | str | Path | None = None,
    *,
    given: Config | None = None,
    tracks: str = "largest",
    poses2d: Path | None = None,
    poses2d_options: Poses2DOptions | None = None,
    body_models: Path | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> list[Judged]:
    """Run the methods side by side; nothing is written.

    Args:
        settings, overrides: as of ``semtta adapt``; every method changes what it is about.
        labels: of the video; None = the method without a label only.
        given: settings whose model and body count instead (those of a result).
        cache: where detections are kept; None = nowhere.
    Returns: one entry per track and method, tracks one after the other.
    Raises ``SemttaError`` for anything wrong with the input, and for tracks too short to hold
    anything out."""
    labels = as_labels(labels)
    names = [name for name in _METHODS if name != "semtta" or labels is not None]
    configs = {name: _config(METHODS[name], settings, overrides, given) for name in names}
    config = configs["semtta-nolabel"]
    body = load_body(config.body.name, gender=config.body.gender, search=body_models)
    added = UserDictionary.load(config.labels.dictionary)
    chosen = config.model
    model = load_model(chosen.name, chosen.checkpoint, chosen.mean_params, chosen.crop)
    assert isinstance(model, HumanMeshRegressor)  # load_model makes no others
    options = replace(
        poses2d_options or Poses2DOptions(), min_confidence=config.evidence.min_confidence
    )
    tracked = find_people(
        video, tracks, poses2d, progress, config.detector.size, options, cache, model=model
    )
    if labels is not None:
        labels = checked_labels(labels, tracked, config.labels.min_confidence, progress)
    first = Adapter(model, config=config, body=body)
    camera = first.camera(tracked.info.width, tracked.info.height, tracked.info.source)
    tracked = known_people(first.model, tracked, camera, first.body, progress)
    people = {track.id: track for track in select_tracks(tracked, tracks)}
    unshown = {id: _drawn(track, config.seed) for id, track in people.items()}
    shown = [without(track, unshown[id]) for id, track in people.items()]
    tracked = replace(tracked, tracks=shown)
    rows: list[Judged] = []
    for number, name in enumerate(names):
        progress("check", number, len(names), {"summary": NAMES[name]})
        told = labels if name == "semtta" else None
        priors = extended_priors(configs[name], added) if told is not None else {}
        adapter = Adapter(model, config=configs[name], body=body, **priors)
        results = adapter.run(tracked, told, tracks="all", progress=silent if number else progress)
        for result in results:
            id = result.track.id
            rows.append(_judged(result, name, people[id], unshown[id], body.cpu()))
    progress("check", len(names), len(names), {})
    return sorted(rows, key=lambda row: row.track)  # stable: methods keep their order


def _config(
    method: Method, settings: str, overrides: Sequence[str], given: Config | None
) -> Config:
    chosen = given or load_config(settings, overrides)
    own = replace(method, settings=settings)
    config = own.config(chosen.model.name, [*overrides, "evidence.heldout=0", "select=adapted"])
    return replace(config, model=chosen.model, body=chosen.body)


def _drawn(track: Track, seed: int) -> Tensor:
    """What of a person no method is shown."""
    heldout = draw_heldout(track.keypoints, track.times, SHARE, seed)
    if not bool(judged(heldout, track.keypoints).any()):
        raise SemttaError(
            f"track {track.id} has nothing to judge by: it is too short, or no knee and ankle, or "
            "elbow and wrist, is sure for a quarter of a second."
        )
    return heldout


def _judged(result: Result, name: str, person: Track, unshown: Tensor, body: Body) -> Judged:
    motion = result.base if name == "frozen" else result.adapted  # of a result, it is as it came
    if METHODS[name].filter != "none":
        motion = filtered(result, body)
    errors = heldout_errors(unshown, person.keypoints, result.base.landmarks2d, motion.landmarks2d)
    assert errors is not None  # _drawn has looked
    change, uncertainty = _change(errors)
    return Judged(
        result.track.id, NAMES[name], errors.mean[1], change, uncertainty, errors.count,
        float(distances(motion, result).nanmean()),
        acceleration(_joints(motion, body), result.track.frames),
    )  # fmt: skip


def _change(errors: HeldoutErrors) -> tuple[float, float | None]:
    """Mean change from base to adapted, and two standard errors of it over the stretches."""
    change = errors.mean[1] - errors.mean[0]
    samples = errors.changes()
    if len(samples) < _FEWEST:
        return change, None
    return change, 2 * float(samples.std()) / len(samples) ** 0.5


def _joints(motion: Motion, body: Body) -> Tensor:
    return body.joints(motion.rotmats, motion.betas) + motion.trans[:, None]
