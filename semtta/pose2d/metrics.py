"""PCK@a, the share of joints that are found within a of the crop's size.

Ours: a joint's rate is counted over the whole set, a group's is the mean of its joints' rates,
"All" the mean over all joints that the skeleton counts; a joint that is never labelled is left
out. Two other ways of averaging are in use, and tell up to twenty points less or more for the
very same predictions, so numbers must say how they came about:

``regda``
    Rates per batch; groups are means over joints *with -1 for a joint that a batch does not
    show*; then the mean over batches.
``uniframe``
    Rates per batch; per joint the mean over those batches that show it; then groups.

Both weigh a batch by its images, whichever of them are labelled, compare cells of the heat maps,
and leave out joints in the first two rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.pose2d.heatmaps import decode
from semtta.pose2d.skeletons import GroupedSkeleton

AGGREGATIONS = ("joints", "regda", "uniframe")
_BORDER = 1  # cells: the peers count a joint only beyond


@dataclass(frozen=True)
class Pck:
    """Result over a set.

    Args:
        threshold: a, as a share of the crop's size.
        aggregation: of ``AGGREGATIONS``.
        groups: heading -> per cent, None where no joint is labelled; "All" is the last.
        joints: (K,) per cent, NaN where a joint is never labelled.
        labelled: number of labelled joints.
    """

    threshold: float
    aggregation: str
    groups: dict[str, float | None]
    joints: Tensor
    labelled: int


def pck(
    found: Tensor, truth: Tensor, labelled: Tensor, size: float, skeleton: GroupedSkeleton,
    threshold: float = 0.05,
) -> Pck:  # fmt: skip
    """PCK counted over a whole set.

    Args:
        found, truth: (N, K, 2) pixels of square crops.
        labelled: (N, K), > 0 where truth is known.
        size: side of the crops, pixels.
        skeleton: of the K joints.
        threshold: a; strictly less is a hit.
    """
    if found.shape != truth.shape or found.shape[-2] != len(skeleton):
        raise SemttaError(f"predictions {tuple(found.shape)} and truth {tuple(truth.shape)} do not "
                          f"fit skeleton '{skeleton.name}'.")  # fmt: skip
    known = labelled > 0
    hit = ((found - truth).norm(dim=-1) / size < threshold) & known
    rates = 100 * hit.sum(0) / known.sum(0)  # 0 / 0 is NaN
    return Pck(threshold, "joints", group_means(rates, skeleton), rates, int(known.sum()))


def group_means(rates: Tensor, skeleton: GroupedSkeleton) -> dict[str, float | None]:
    """(K,) rates, NaN = not labelled, to means over each group's labelled joints."""
    means = {}
    for heading, joints in skeleton.group_indices.items():
        mean = float(rates[joints].nanmean())
        means[heading] = None if mean != mean else mean
    return means


def batch_accuracy(output: Tensor, target: Tensor, threshold: float = 0.05) -> Tensor:
    """The peers' accuracy of one batch.

    Args:
        output, target: (B, K, H, W) heat maps.
        threshold: a.

    Returns:
        (K,) share of hits, -1 for a joint that no image of the batch shows.
    """
    distance = cell_distances(output, target)
    known = distance >= 0
    # Their distances are in tenths of the map's size, so that a is 10 times as large.
    hits = ((distance < 10 * threshold) & known).sum(0)
    return torch.where(known.any(0), hits / known.sum(0), -1.0)


def cell_distances(output: Tensor, target: Tensor) -> Tensor:
    """(B, K) distances between highest cells in tenths of the map's size; -1 = not counted."""
    height, width = target.shape[-2:]
    found, truth = decode(output)[0].double(), decode(target)[0].double()
    # [height, width] against (x, y) is the peers' own, and right for squares only
    distance = ((found - truth) / (found.new_tensor([height, width]) / 10)).norm(dim=-1)
    return torch.where((truth > _BORDER).all(-1), distance, -1.0)


def aggregate_regda(batches: Tensor, counts: Tensor, skeleton: GroupedSkeleton) -> dict[str, float]:
    """(batches, K) of :func:`batch_accuracy` and (batches,) images -> per cent by group."""
    return {
        heading: 100 * float((batches[:, joints].mean(1) * counts).sum() / counts.sum())
        for heading, joints in skeleton.group_indices.items()
    }


def aggregate_uniframe(
    batches: Tensor, counts: Tensor, skeleton: GroupedSkeleton
) -> dict[str, float]:
    """(batches, K) of :func:`batch_accuracy` and (batches,) images -> per cent by group."""
    weight = counts[:, None] * (batches >= 0)
    rates = (batches * weight).sum(0) / weight.sum(0).clamp_min(1)
    return {
        heading: 100 * float(rates[joints].mean())
        for heading, joints in skeleton.group_indices.items()
    }


def legacy_pck(
    batches: Tensor, counts: Tensor, skeleton: GroupedSkeleton, aggregation: str,
    threshold: float = 0.05,
) -> Pck:  # fmt: skip
    """A peer's result from the accuracies of all batches.

    Args:
        batches: (batches, K) of :func:`batch_accuracy`.
        counts: (batches,) images in each; the last one is often smaller.
    """
    ways = {"regda": aggregate_regda, "uniframe": aggregate_uniframe}
    if aggregation not in ways:
        raise SemttaError(f"aggregation must be one of {', '.join(AGGREGATIONS)}.")
    rates = torch.where(batches >= 0, batches, torch.nan).nanmean(0) * 100
    groups: dict[str, float | None] = {**ways[aggregation](batches, counts, skeleton)}
    return Pck(threshold, aggregation, groups, rates, int((batches >= 0).sum()))
