"""Does one job after the other in one process, and keeps the sets that it has opened."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from semtta.bench.pose2d.plan import Job, digest
from semtta.bench.pose2d.sets import open_images
from semtta.engine import pick_device
from semtta.errors import SemttaError
from semtta.output.files import clean
from semtta.pose2d.adapt import DomainAdapter
from semtta.pose2d.checkpoint import save_checkpoint
from semtta.pose2d.clip2pose import Model, estimator_of
from semtta.pose2d.evaluate import measure, predict
from semtta.pose2d.mirror import mirror_agreement
from semtta.pose2d.runs import check_assets, open_estimator
from semtta.pose2d.samples import KeypointSet
from semtta.pose2d.settings import SOURCE_FREE, Pose2DConfig

THRESHOLDS = (0.05, 0.1)


class PoseRunner:
    """Pickles without what is loaded, so that every worker process gets its own.

    Args:
        roots: folders of data sets.
        stage1: folder of the estimators that methods go on from; kept, used by every table.
        wheel: package file of the beam clips.
    """

    def __init__(self, roots: Mapping[str, Path], stage1: Path, wheel: str | None = None):
        self.roots, self.stage1, self.wheel = dict(roots), stage1, wheel
        self._sets: dict[tuple, KeypointSet] = {}

    def __getstate__(self) -> dict:
        return vars(self) | {"_sets": {}}

    def check(self, job: Job) -> None:
        """Raise ``SemttaError`` for what can be known to fail before hours of training."""
        for config in (job.config, job.stage1):
            if config is not None:
                check_assets(config)
        for name in (job.pair.source, job.pair.target, job.pair.measured):
            if job.mode == "paper" and (name not in self.roots or not self.roots[name].is_dir()):
                raise SemttaError(f"data set '{name}' has no folder; give --root {name.upper()}="
                                  "FOLDER (`semtta pose2d bench check` lists all).")  # fmt: skip

    def __call__(self, job: Job) -> dict:
        """The row of one job. Whatever goes wrong stands in it as ``error``."""
        try:
            return self._row(job)
        except SemttaError as error:
            return job.failed(str(error))
        except Exception as error:  # one bad row must not end a run of days
            return job.failed(f"{type(error).__name__}: {error}")

    def _row(self, job: Job) -> dict:
        begun = time.perf_counter()
        # opened first: what is not there is said before anything is trained
        test = self._images(job, job.pair.measured, "test", job.config)
        model, last = self._trained(job)
        groups, agreed = _measured(model, test)
        if groups[str(THRESHOLDS[0])]["All"] is None and (test.labelled or agreed is None):
            raise SemttaError(f"'{test.name}' labels no joint that counts.")
        others = {name: _measured(model, self._images(job, name, "test", job.config))
                  for name in job.also}  # fmt: skip
        also = {name: pck for name, (pck, _) in others.items()}
        mirrored = {job.pair.measured: agreed} | {name: same for name, (_, same) in others.items()}
        numbers = {name: value for name, value in last.items() if math.isfinite(value)}
        return clean(job.head() | {
            "images": len(test), "seconds": time.perf_counter() - begun, "history": numbers,
            "pck": groups, "also": also, "mirrored": mirrored,
        })  # fmt: skip

    def _trained(self, job: Job) -> tuple[Model, dict[str, float]]:
        config = job.config
        if job.stage1 is not None:
            file = self._first(job, job.stage1)
            estimator = replace(config.estimator, checkpoint=str(file), imagenet=None)
            config = replace(config, estimator=estimator)
        return self._fit(job, config)

    def _first(self, job: Job, config: Pose2DConfig) -> Path:
        """The estimator of stage 1, trained if nobody has yet."""
        alone = replace(job.pair, target=job.pair.source, test="")
        file = self.stage1 / f"{digest(alone, config)}-{job.seed}.pt"
        if not file.is_file():
            model, _ = self._fit(job, config)
            save_checkpoint(file, model, config)  # whole or not at all
        return file

    def _fit(self, job: Job, config: Pose2DConfig) -> tuple[Model, dict[str, float]]:
        estimator = open_estimator(config, pick_device(config.device))
        source = target = None
        if config.strategy not in SOURCE_FREE:
            source = self._images(job, job.pair.source, "train", config)
        if config.strategy != "source_only":
            target = self._images(job, job.pair.target, "train", config)
        fitted = DomainAdapter(estimator, config).fit(source, target)
        return fitted.model, fitted.history[-1]

    def _images(self, job: Job, name: str, part: str, config: Pose2DConfig) -> KeypointSet:
        spec = config.estimator
        key = (name, part, spec.skeleton, spec.size, config.source.count, config.source.seed)
        if key not in self._sets:
            self._sets[key] = open_images(name, part, spec.skeleton, spec.size, config.source,
                                          self.roots, self.wheel)  # fmt: skip
        return self._sets[key]


def _measured(
    model: Model, images: KeypointSet
) -> tuple[dict[str, dict[str, float | None]], float | None]:
    """Threshold -> group -> per cent; and how many joints mirror images leave where they are, per
    cent."""
    guess, estimator = predict(model, images), estimator_of(model)
    found = {str(a): measure(guess, estimator, a, "joints").groups for a in THRESHOLDS}
    same = mirror_agreement(model, images, guess, THRESHOLDS[0])
    return found, None if same is None else same["All"]
