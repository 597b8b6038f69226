"""Runs methods on the tracks of a benchmark: what is to be done, and one piece of it.

A job is one method on one track with one seed. A task is the list of an item's jobs, so that the
item is read once. Jobs know nothing of each other: any order, any process, the same rows.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

import semtta
from semtta.bench.benchmark import Benchmark, Item, Sample
from semtta.bench.filtered import filtered
from semtta.bench.judge import Judge
from semtta.bench.methods import Method, settings_hash
from semtta.bench.rows import row_key
from semtta.body import Body, load_body
from semtta.config import Config
from semtta.errors import SemttaError
from semtta.hmr import load_model
from semtta.labels import Labels
from semtta.motion.retrieval import Retrieval
from semtta.output.amplitude import motion_amplitude
from semtta.output.files import clean
from semtta.output.summary import kept_frames
from semtta.tta.adapter import Adapter
from semtta.tta.labelling import retrieved_labels
from semtta.tta.result import Motion, Result
from semtta.tta.used_files import used_files


@dataclass(frozen=True)
class Job:
    """One row to be computed.

    Args:
        order: place of the item in the benchmark, for tables in its order.
        settings: hash of ``config`` and what else matters.
    """

    data: str
    protocol: str
    item: Item
    order: int
    model: str
    method: Method
    seed: int
    config: Config
    settings: str

    def head(self) -> dict:
        """The part of the row that is known before the work."""
        item = self.item
        return {
            "data": self.data, "protocol": self.protocol, "item": item.name,
            "order": self.order,
            "sequence": item.sequence, "level": item.level, "group": item.group or item.name,
            "part": item.part, "label": item.label, "model": self.model, "method": self.method.name,
            "seed": self.seed, "settings": self.settings, "version": semtta.__version__,
        }  # fmt: skip

    def failed(self, reason: str) -> dict:
        """The row of a job that could not be done."""
        return self.head() | {"error": " ".join(reason.split())}


Task = list[Job]


def plan(
    benchmark: Benchmark,
    items: Sequence[Item],
    models: Sequence[str],
    methods: Sequence[Method],
    seeds: Sequence[int],
    overrides: Sequence[str] = (),
    inputs: Mapping[str, str] | None = None,
    body_models: Path | None = None,
) -> list[Task]:
    """Every job, one task per item.

    Args:
        overrides: ``key=value`` for all methods.
        inputs: what else the benchmark was opened with, see ``settings_hash``.
        body_models: folder of SMPL files.
    Raises ``SemttaError`` for settings that no run could use."""
    chosen = []
    for model in models:
        for method in methods:
            config = method.config(model, overrides)
            files = used_files(config, body_models)
            settings = settings_hash(method, config, inputs or {}, files)
            chosen.append((model, method, config, settings))
    return [
        [
            Job(benchmark.name, benchmark.protocol, item, order, model, method, seed,
                replace(config, seed=seed), settings)
            for model, method, config, settings in chosen
            for seed in seeds
        ]
        for order, item in enumerate(items)
    ]  # fmt: skip


def missing(tasks: Sequence[Task], done: Collection[tuple]) -> list[Task]:
    """The tasks without the jobs whose keys are done; tasks with nothing left drop out."""
    left = [[job for job in task if row_key(job.head()) not in done] for task in tasks]
    return [task for task in left if task]


class TrackRunner:
    """Does one job after the other in one process, and keeps what it has loaded.

    Pickles without what is loaded, so that every worker process gets its own.

    Args:
        benchmark: where items come from.
        body_models: folder of SMPL files.
    """

    def __init__(self, benchmark: Benchmark, body_models: Path | None = None):
        self.benchmark, self.body_models = benchmark, body_models
        self._forget()

    def _forget(self) -> None:
        self._sample: Sample | None = None
        self._loaded: tuple[Item, float, float] | None = None
        self._models: dict[str, torch.nn.Module] = {}
        self._bodies: dict[str, Body] = {}
        self._adapters: dict[str, Adapter] = {}
        self._retrieval: Retrieval | None = None
        self._judge: Judge | None = None

    def __getstate__(self) -> dict:
        return {"benchmark": self.benchmark, "body_models": self.body_models}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()

    def check(self, tasks: Sequence[Task]) -> None:
        """Load every network once, so that a missing file ends the run before it begins."""
        seen = set()
        for job in (job for task in tasks for job in task):
            labelled = job.method.label != "none"
            key = (_networks(job.config), labelled)
            if key not in seen:
                seen.add(key)
                self._adapter(job.config).load_networks(labelled)

    def __call__(self, job: Job) -> dict:
        """The row of one job. Whatever goes wrong with the track stands in it as ``error``."""
        try:
            return self._row(job)
        except SemttaError as error:
            return job.failed(str(error))
        except Exception as error:  # one bad track must not end a run of hours
            return job.failed(f"{type(error).__name__}: {error}")

    def _row(self, job: Job) -> dict:
        adapter = self._adapter(job.config)
        least = job.config.labels.min_confidence
        sample = self._load(job.item, adapter.model.crop.box_scale, least)
        labels = self._labels(sample, job.method.label, adapter)
        torch.manual_seed(job.seed)  # for networks with dropout, which draw from the global source
        start = time.perf_counter()
        result = adapter.adapt(sample.track, sample.camera, labels, video=sample.video)
        plain = job.method.filter == "none"
        motion = result.adapted if plain else filtered(result, self._body(job.config))
        seconds = time.perf_counter() - start
        last = result.history[-1] if result.history else {}
        row = job.head() | {
            "track_frames": len(sample.track),
            "labelled": sum(label is not None for label in labels) / len(labels),
            "seconds": seconds,
            "similarity": last.get("similarity"),
            "gate_similarity": last.get("gate_similarity"),
            "filled": last.get("filled"),
            "reprojection_px": last.get("reprojection_px"),
        }
        moved = motion_amplitude(motion, result.base, result.track.times, self._body(job.config))
        row["range_base_percent"] = 100 * moved.median if moved.joints else None
        row |= self._judged(sample, motion) | _heldout(result)
        return clean(row | _finite(sample.truth.score(motion, self._body(job.config))))

    def _judged(self, sample: Sample, motion: Motion) -> dict[str, float | None]:
        """What an independent judge calls the motion, and, where it is known, the true one."""
        self._judge = self._judge or Judge.load()
        judged = self._judge.score(motion.rotmats, sample.track.times, sample.labels)
        true = getattr(sample.truth, "rotmats", None)
        if true is None:
            return judged
        truly = self._judge.score(true, sample.track.times, sample.labels)
        return judged | {"named_true": truly["named"]}

    def _labels(self, sample: Sample, which: str, adapter: Adapter) -> list[str | None]:
        if which == "none":
            return [None] * len(sample.track)
        if which == "wrong":
            return [None if label is None else sample.wrong_label for label in sample.labels]
        if which == "auto":
            self._retrieval = self._retrieval or Retrieval.load()
            spans = retrieved_labels(self._retrieval, sample.track, sample.camera)
            found = Labels(tuple(spans)).confident(adapter.config.labels.min_confidence)
            return found.for_track(sample.track)
        return list(sample.labels)

    def _load(self, item: Item, box_scale: float, min_confidence: float) -> Sample:
        """The item, of a benchmark that fits the settings (``FolderBenchmark.fitted``)."""
        wanted = (item, box_scale, min_confidence)
        if self._sample is None or self._loaded != wanted:
            fitted = getattr(self.benchmark, "fitted", None)
            benchmark = self.benchmark if fitted is None else fitted(box_scale, min_confidence)
            self._sample, self._loaded = benchmark.load(item), wanted
        return self._sample

    def _adapter(self, config: Config) -> Adapter:
        """One adapter per set of networks; settings that load nothing are switched in it."""
        key = _networks(config)
        if key not in self._adapters:
            model = json.dumps(asdict(config.model) | {"trainable": None})
            if model not in self._models:
                chosen = config.model
                self._models[model] = load_model(
                    chosen.name, chosen.checkpoint, chosen.mean_params, chosen.crop
                )
            # The adapter may move its body to another device; the one that scores stays here.
            body = copy.deepcopy(self._body(config))
            self._adapters[key] = Adapter(self._models[model], config=config, body=body)
        adapter = self._adapters[key]
        adapter.config = config
        return adapter

    def _body(self, config: Config) -> Body:
        key = json.dumps(asdict(config.body))
        if key not in self._bodies:
            self._bodies[key] = load_body(
                config.body.name, gender=config.body.gender, search=self.body_models
            )
        return self._bodies[key]


def _heldout(result: Result) -> dict[str, float | None]:
    """2D errors of base and adapted where neither was shown anything, before any filter."""
    mean = (None, None) if result.heldout is None else result.heldout.mean
    numbers = dict(zip(("heldout_base_px", "heldout_px"), mean, strict=True))
    return numbers | {"base_kept": kept_frames(result) / len(result.labels)}


def _finite(numbers: dict[str, float | None]) -> dict[str, float | None]:
    """The numbers; raises ``SemttaError`` if the motion is none. Without an error of its own
    the track would drop out of this method's mean only, and flatter it."""
    main = ("heldout",) if "heldout" in numbers else ("mpjpe_mm", "pa_mpjpe_mm")
    for name in main:
        value = numbers.get(name)
        if value is None or not math.isfinite(value):
            raise SemttaError("the motion holds NaN or infinite numbers: the adaptation diverged.")
    return numbers


def _networks(config: Config) -> str:
    """What an adapter loads from these settings: equal settings, equal networks."""
    tuned = {"weight", "target", "reach", "from_epoch", "stride"}
    alignment = {k: v for k, v in asdict(config.alignment).items() if k not in tuned}
    gate = {k: v for k, v in asdict(config.gate).items() if k in ("prior", "checkpoint")}
    parts = [config.strategy, config.device, asdict(config.model), asdict(config.body), alignment,
             gate, asdict(config.smoothing), asdict(config.discriminator)]  # fmt: skip
    return json.dumps(parts, sort_keys=True)
