"""What a table asks for, as jobs: one training and its measurement each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import semtta
from semtta.bench.pose2d.sets import OPEN, OPEN_HANDS, SIZES, is_unlabelled
from semtta.bench.pose2d.tables import Method, Pair, PoseTable
from semtta.errors import SemttaError
from semtta.pose2d.settings import (
    SOURCE_FREE,
    Clip2PoseConfig,
    Pose2DConfig,
    load_settings,
    settings_yaml,
)

MODES = ("paper", "open", "quick")


@dataclass(frozen=True)
class Job:
    """One row to be computed.

    Args:
        order: of the method in the table.
        config: of the training.
        stage1: of the estimator that it goes on from; None = it starts anew.
        also: sets that are measured on beside the pair's own.
        settings: hash of all that the row depends on.
    """

    table: str
    mode: str
    pair: Pair
    method: Method
    order: int
    seed: int
    config: Pose2DConfig
    stage1: Pose2DConfig | None
    settings: str
    also: tuple[str, ...] = ()

    def head(self) -> dict:
        """The part of the row that is known before the work."""
        pair = self.pair.name
        return {
            "data": "pose2d", "protocol": f"{self.table}, {self.mode}", "item": pair,
            "order": self.order, "sequence": pair, "level": self.mode, "group": pair,
            "model": self.config.estimator.backbone, "method": self.method.name,
            "seed": self.seed, "settings": self.settings, "version": semtta.__version__,
        }  # fmt: skip

    def failed(self, reason: str) -> dict:
        """The row of a job that could not be done."""
        return self.head() | {"error": " ".join(reason.split())}


def pairs_of(table: PoseTable, mode: str, target: str | None = None) -> tuple[Pair, ...]:
    """The domains of a table; on open data one pair stands for all of them.

    Args:
        target: of open data, instead of the mode's own: of ``OPEN`` or, for a table of hands,
            ``OPEN_HANDS``, a COCO-style folder, or, of bodies, a video or a folder of them.
    Raises ``SemttaError`` for a target that is none of these."""
    if mode == "paper":
        return table.pairs
    hands = table.skeleton == "hand21"
    known = (OPEN_HANDS if hands else OPEN)[1:]
    target = target or (known[0] if hands else SIZES[mode].target)
    unlabelled = not hands and is_unlabelled(target)
    if not (target in known or unlabelled or Path(target, "annotations.json").is_file()):
        videos = "" if hands else ", a video or a folder of videos"
        raise SemttaError(f"--target of table '{table.name}' must be {', '.join(known)}, a folder "
                          f"of labelled images with annotations.json{videos}, not "
                          f"'{target}'.")  # fmt: skip
    return (Pair(f"renders → {Path(target).name}", "renders", target),)


def plan(
    table: PoseTable, mode: str, seeds: Sequence[int], overrides: Sequence[str] = (),
    methods: Sequence[str] = (), assets: Sequence[str] = (), target: str | None = None,
) -> list[list[Job]]:  # fmt: skip
    """Every job; those that share a source and a seed, and so an estimator of stage 1, together.

    Args:
        overrides: ``key=value`` for everything.
        methods: only these rows.
        target: of open data, see ``pairs_of``.
        assets: ``key=value`` of the user's files; a method may say otherwise (``text=random``).
    Raises ``SemttaError`` for settings that no run could use."""
    chosen = [m for m in table.methods if not m.left_out and (not methods or m.name in methods)]
    unknown = [name for name in methods if name not in [m.name for m in chosen]]
    if unknown or not chosen:
        names = ", ".join(m.name for m in table.methods if not m.left_out)
        raise SemttaError(f"table '{table.name}' computes no '{', '.join(unknown)}'; it has "
                          f"{names}.")  # fmt: skip
    tasks: dict[tuple[str, int], list[Job]] = {}
    pairs = pairs_of(table, mode, target)
    begin = cache(lambda: _stage1(table, mode, overrides, assets))  # the same for every method
    trained = [(m, *_settings(table, mode, m, overrides, assets, begin)) for m in chosen]
    for pair in pairs:
        also = SIZES[mode].also if mode in SIZES else ()
        also = tuple(s for s in also if s != pair.target) if pair.target in also else ()
        for method, config, stage1 in trained:
            settings, order = digest(pair, config, stage1), table.methods.index(method)
            for seed in seeds:
                own, first = (c and replace(c, seed=seed) for c in (config, stage1))
                assert own is not None
                job = Job(table.name, mode, pair, method, order, seed, own, first,
                          settings, also)  # fmt: skip
                tasks.setdefault((pair.source, seed), []).append(job)
    return list(tasks.values())


def _settings(
    table: PoseTable, mode: str, method: Method, overrides: Sequence[str], assets: Sequence[str],
    begin: Callable[[], Pose2DConfig],
) -> tuple[Pose2DConfig, Pose2DConfig | None]:  # fmt: skip
    """Those of a method, and of the estimator that it goes on from, if there is one."""
    size = SIZES.get(mode)
    follow = [*_common(table, mode, assets), *(size.steps if size else ()), *method.overrides]
    config = load_settings(method.settings, [*follow, *overrides])
    goes_on = method.stage1 or size or config.strategy in SOURCE_FREE
    return config, begin() if goes_on else None


def _stage1(
    table: PoseTable, mode: str, overrides: Sequence[str], assets: Sequence[str]
) -> Pose2DConfig:
    """Those of the estimator that methods go on from: what one of them is told does not train it
    anew."""
    size = SIZES.get(mode)
    words = [*_common(table, mode, assets), *(size.stage1 if size else ()), *overrides]
    return replace(load_settings(table.stage1, words), strategy="source_only",
                   clip2pose=Clip2PoseConfig())  # fmt: skip


def _common(table: PoseTable, mode: str, assets: Sequence[str]) -> list[str]:
    """``key=value`` for stage 1 and all that follows it."""
    size = SIZES.get(mode)
    return [f"estimator.skeleton={table.skeleton}", *table.overrides,
            *(size.settings if size else ()), *assets]  # fmt: skip


def digest(pair: Pair, *configs: Pose2DConfig | None) -> str:
    """Twelve digits of settings and sets, wherever these lie; seeds stand beside it in a row."""
    parts = [pair.source, pair.target, pair.measured]
    for config in configs:
        if config is not None:
            weights, text = config.estimator.imagenet, config.clip2pose.clip
            plain = replace(
                config, seed=0, device="auto",
                estimator=replace(config.estimator, imagenet=weights and Path(weights).name),
                clip2pose=replace(config.clip2pose, clip=text and Path(text).name),
            )  # fmt: skip
            parts.append(settings_yaml(plain))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
