"""Predictions on a set, their PCK, and tables laid out as the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.pose2d.augment import NO_CHANGE
from semtta.pose2d.clip2pose import Model, estimator_of
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.heatmaps import decode
from semtta.pose2d.loop import prepare
from semtta.pose2d.metrics import Pck, batch_accuracy, legacy_pck, pck
from semtta.pose2d.samples import KeypointSet, cut_batch
from semtta.pose2d.skeletons import GroupedSkeleton


@dataclass(frozen=True)
class Predictions:
    """Keypoints of a set's N crops, pixels of the crop.

    Args:
        found: (N, K, 2).
        height: (N, K) heights of the maps' peaks.
        truth, weight: (N, K, 2) and (N, K), as labelled.
        legacy: (batches, K) the peers' accuracy of each batch, for every threshold asked for.
        counts: (batches,) crops in each.
    """

    found: Tensor
    height: Tensor
    truth: Tensor
    weight: Tensor
    legacy: dict[float, Tensor]
    counts: Tensor


@torch.no_grad()
def predict(
    model: Model, images: KeypointSet, *, refine: str | None = None, batch: int = 32,
    thresholds: Sequence[float] = (), mirrored: bool = False, workers: int = 2,
    progress: Progress = silent,
) -> Predictions:  # fmt: skip
    """Keypoints of every crop; the model's mode is put back.

    Args:
        refine: of :func:`decode`; None = the estimator's own.
        batch: crops at a time; the peers' way of averaging depends on it.
        thresholds: for which the peers' accuracies are kept.
        mirrored: show the mirror images; keypoints come back where they are in the crops.
    """
    estimator = estimator_of(model)
    spec, training = estimator.spec, model.training
    refine = refine or spec.refine
    if images.skeleton != spec.joints:
        raise SemttaError(f"the set '{images.name}' has skeleton '{images.skeleton.name}', but the "
                          f"estimator '{spec.skeleton}'.")  # fmt: skip
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    legacy: dict[float, list[Tensor]] = {a: [] for a in thresholds}
    model.eval()
    for start in range(0, len(images), batch):
        order = np.arange(start, min(start + batch, len(images)))
        crops = cut_batch(images, order, spec.size, [NO_CHANGE] * len(order), workers)
        shown = crops.images.flip(2) if mirrored else crops.images
        maps = model(prepare(shown, estimator)).float().cpu()
        cells, height = decode(maps, refine)
        at = spec.to_pixels(cells)
        if mirrored:  # pixels, since a cell's place is its corner's
            at[..., 0] = spec.size - 1 - at[..., 0]
            at, height = (x[:, list(spec.joints.flip)] for x in (at, height))
        parts.append((at, height, crops.xy, crops.weight))
        if legacy:
            wanted, _ = spec.encode(crops.xy, crops.weight)
            for a, rows in legacy.items():
                rows.append(batch_accuracy(maps, wanted, a))
        progress("evaluation", min(start + batch, len(images)), len(images), {})
    model.train(training)
    stacked = {a: torch.stack(rows) for a, rows in legacy.items()}
    counts = torch.tensor([len(part[0]) for part in parts])
    found, height, truth, weight = (torch.cat(part) for part in zip(*parts))
    return Predictions(found, height, truth, weight, stacked, counts)


def evaluate(
    model: Model, images: KeypointSet, threshold: float = 0.05, aggregation: str = "joints",
    refine: str | None = None, batch: int = 32,
) -> Pck:  # fmt: skip
    """PCK of a model on a labelled set; see :mod:`semtta.pose2d.metrics` for aggregations."""
    found = compare([("", model)], images, (threshold,), aggregation, refine, batch)
    return found[threshold][""][0]


def check_refinement(refine: str | None, aggregation: str) -> None:
    """Raise ``SemttaError`` for the peers' numbers, which know cells only, if they are refined."""
    if refine is not None and aggregation != "joints":
        raise SemttaError(f"the aggregation '{aggregation}' compares the highest cells; it goes "
                          "without refinement.")  # fmt: skip


def compare(
    models: Sequence[tuple[str, Model]], images: KeypointSet, thresholds: Sequence[float] = (0.05,),
    aggregation: str = "joints", refine: str | None = None, batch: int = 32,
    progress: Progress = silent,
) -> dict[float, dict[str, list[Pck]]]:  # fmt: skip
    """PCK of several models on a labelled set.

    Args:
        models: names and models; those of one name are seeds of one method.
        thresholds: shares of the crop.
        aggregation: of :mod:`semtta.pose2d.metrics`.
        refine: of :func:`decode`, for ``joints`` alone; None = each model's own.

    Returns:
        threshold -> name -> one result for each model.

    Raises ``SemttaError`` if the set has no labels, or the peers' numbers are to be refined."""
    if not images.labelled:
        raise SemttaError(f"the set '{images.name}' has no labels to measure by.")
    check_refinement(refine, aggregation)
    legacy = () if aggregation == "joints" else thresholds
    results: dict[float, dict[str, list[Pck]]] = {a: {} for a in thresholds}
    for name, model in models:
        guess = predict(model, images, refine=refine, batch=batch, thresholds=legacy,
                        progress=progress)  # fmt: skip
        for a in thresholds:
            result = measure(guess, estimator_of(model), a, aggregation)
            results[a].setdefault(name, []).append(result)
    return results


def measure(guess: Predictions, estimator: Estimator, threshold: float, aggregation: str) -> Pck:
    """PCK of predictions that are at hand."""
    spec = estimator.spec
    if aggregation != "joints":
        if threshold not in guess.legacy:
            raise SemttaError(f"the peers' accuracies at {threshold} were not kept.")
        batches = guess.legacy[threshold]
        return legacy_pck(batches, guess.counts, spec.joints, aggregation, threshold)
    return pck(guess.found, guess.truth, guess.weight, spec.size, spec.joints, threshold)


# ------------------------------------------------------------------------------- tables


def headings(skeleton: GroupedSkeleton) -> list[str]:
    """Columns of the paper's tables: the groups and "All"."""
    return list(skeleton.group_indices)


def table_rows(rows: dict[str, list[Pck]], skeleton: GroupedSkeleton) -> list[list[str]]:
    """Cells of a table like the paper's Tables 1-6: the method, then the columns' numbers.

    Args:
        rows: method -> its results, one for each seed; mean +- standard deviation of several.
    """
    return [
        [method, *(spread([result.groups[c] for result in results]) for c in headings(skeleton))]
        for method, results in rows.items()
    ]


def table(rows: dict[str, list[Pck]], skeleton: GroupedSkeleton) -> str:
    """:func:`table_rows` as Markdown."""
    columns = headings(skeleton)
    lines = ["| method | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += ["| " + " | ".join(cells) + " |" for cells in table_rows(rows, skeleton)]
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float | None]) -> str:
    """Mean of several runs, with their standard deviation where there are two or more."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean = f"{np.mean(known):.1f}"
    return mean if len(known) < 2 else f"{mean} ± {np.std(known, ddof=1):.1f}"
