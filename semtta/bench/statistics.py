"""Means over tracks and their confidence intervals.

Means are weighted by frames, as in the evaluation code of this field: the mean over all frames of
all tracks. Errors of occluded joints are weighted by how many there are. Every method of one table
is averaged over the same tracks: those that all of them finished.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
FEWEST_GROUPS = 5  # with fewer independent groups a bootstrap interval means nothing
ALL = "all"
ERRORS = (
    "mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "mpjpe_occluded_mm", "pa_mpjpe_occluded_mm", "accel_mm",
    "accel_m_s2", "abs_accel_mm", "depth_jitter_mm", "foot_slide_mm", "heldout", "heldout_legs",
    "heldout_arm", "heldout_random", "heldout_visible",
)  # fmt: skip
HARM = 0.1  # a track is counted as harmed when its error grows by more than this share
OTHERS = (
    "filled", "similarity", "gate_similarity", "reprojection_px", "labelled", "leg_swing_percent",
    "step_error_hz", "range_percent", "range_least_percent", "range_base_percent",
    "named", "named_true", "label_similarity",
)  # fmt: skip


def weight(row: dict, metric: str) -> float:
    """What a track's number counts in a mean; 0 where there is no number."""
    if row.get(metric) is None:
        return 0.0
    if metric.endswith("_occluded_mm"):
        return float(row.get("occluded") or 0)
    return float(row.get("frames") or row.get("track_frames") or 1)


def weighted_mean(rows: Iterable[dict], metric: str) -> float | None:
    """Mean of a metric over rows, None if nothing was measured."""
    pairs = [(w, float(row[metric])) for row in rows if (w := weight(row, metric))]
    total = sum(w for w, _ in pairs)
    return sum(w * value for w, value in pairs) / total if total else None


@dataclass(frozen=True)
class Sums:
    """A metric summed within groups of dependent tracks: both (G,), mm x weight and weight."""

    values: np.ndarray
    weights: np.ndarray

    def mean(self) -> float | None:
        total = self.weights.sum()
        return float(self.values.sum() / total) if total else None

    def resampled(self, counts: np.ndarray) -> np.ndarray:
        """Means (B,) with each group taken as often as ``counts`` (B, G) says; NaN if empty."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return (counts @ self.values) / (counts @ self.weights)


def group_sums(rows: Sequence[dict], metric: str, groups: Sequence[str]) -> Sums:
    """Sums by ``row["group"]``. Rows of one item under several seeds share its weight."""
    seeds: dict[str, int] = {}
    for row in rows:
        seeds[row["item"]] = seeds.get(row["item"], 0) + (weight(row, metric) > 0)
    index = {group: i for i, group in enumerate(groups)}
    values, weights = np.zeros(len(groups)), np.zeros(len(groups))
    for row in rows:
        w = weight(row, metric)
        if w:
            w /= seeds[row["item"]]
            values[index[row["group"]]] += w * row[metric]
            weights[index[row["group"]]] += w
    return Sums(values, weights)


def bootstrap_counts(groups: Sequence[str], resamples: int = RESAMPLES) -> np.ndarray:
    """(B, G) how often each group is drawn; the same groups give the same draws.

    One set of draws for all methods makes their differences paired."""
    seed = zlib.crc32("\n".join(groups).encode())
    count = len(groups)
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples)


def interval(samples: np.ndarray) -> list[float] | None:
    """The middle 95 % of bootstrap samples."""
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return None
    low, high = np.percentile(samples, (2.5, 97.5))
    return [float(low), float(high)]


def summarise_rows(
    rows: Sequence[dict],
    references: Sequence[str] = ("frozen", "cycleadapt"),
    by: str = "level",
    resamples: int = RESAMPLES,
) -> list[dict]:
    """One row per model, level (or sequence, label, part), method and seed.

    Args:
        rows: of single tracks; those with ``error`` are left out, and with them that track for
            every method of the same model.
        references: methods that the others are compared with, in percent.
        by: ``level``, ``sequence``, ``label`` or ``part``; a row over all of them (``"all"``) comes
            last.
    Returns: ``data, protocol, model, level, method, seed`` (a number, or "mean of n"), ``tracks``,
        ``frames``, the means, ``ci95`` ({metric: [low, high]}, by a bootstrap over groups of
        dependent tracks), ``versus`` ({reference: {metric: {percent, ci95,
        better, of}}}, paired; better on so many tracks).
        ``single_seed`` marks the rows that a row over all seeds follows. With ``by`` another
        column than the level, that column holds the value and ``level`` is "all"."""
    summary = []
    for data, protocol, model in _distinct(rows, ("data", "protocol", "model")):
        mine = [
            r for r in rows if (r["data"], r["protocol"], r["model"]) == (data, protocol, model)
        ]
        kept = common_tracks(mine)
        ordered = sorted(kept, key=lambda row: (row.get("order", 0), row["item"]))
        values = list(dict.fromkeys(str(row.get(by) or "") for row in ordered))
        for value in [*values, ALL] if len(values) > 1 else values:
            part = kept if value == ALL else [r for r in kept if str(r.get(by) or "") == value]
            level = value if by == "level" else ALL
            head = {"data": data, "protocol": protocol, "model": model, "level": level}
            if by != "level":
                head[by] = value
            summary += _summarise_part(head, part, references, resamples)
    return summary


def common_tracks(rows: Sequence[dict]) -> list[dict]:
    """Rows of one model on the tracks that every method finished, with every seed it ran.

    A method that finished no track is left out."""
    good = [row for row in rows if "error" not in row]
    seeds: dict[str, set] = {}
    finished: dict[str, dict[str, set]] = {}
    for row in rows:
        seeds.setdefault(row["method"], set()).add(row["seed"])
    for row in good:
        finished.setdefault(row["method"], {}).setdefault(row["item"], set()).add(row["seed"])
    whole = [
        {item for item, done in items.items() if done == seeds[method]}
        for method, items in finished.items()
    ]
    whole = [items for items in whole if items]
    common = set.intersection(*whole) if whole else set()
    return [row for row in good if row["item"] in common]


def _summarise_part(head: dict, rows: list[dict], references, resamples: int) -> list[dict]:
    groups = sorted({row["group"] for row in rows})
    counts = bootstrap_counts(groups, resamples) if len(groups) >= FEWEST_GROUPS else None
    metrics = [metric for metric in ERRORS if any(weight(row, metric) for row in rows)]

    def sums(part: list[dict]) -> dict[str, Sums]:
        return {metric: group_sums(part, metric, groups) for metric in metrics}

    by_method = {name: [r for r in rows if r["method"] == name] for name, in
                 _distinct(rows, ("method",))}  # fmt: skip
    totals = {name: sums(mine) for name, mine in by_method.items()}
    summary = []
    for name, mine in by_method.items():
        seeds = sorted({row["seed"] for row in mine})
        for seed in seeds if len(seeds) > 1 else []:
            part = [row for row in mine if row["seed"] == seed]
            row = _row(head, name, seed, part) | {"single_seed": True}
            summary.append(row | {"ci95": _intervals(sums(part), counts)})
        row = _row(head, name, f"mean of {len(seeds)}" if len(seeds) > 1 else seeds[0], mine)
        versus = {
            reference: {
                m: (
                    log_ratio(mine, by_method[reference], m, groups, counts)
                    if m.startswith("heldout")
                    else _difference(totals[name][m], totals[reference][m], counts)
                )
                | tracks_better(mine, by_method[reference], m)
                for m in metrics
            }
            for reference in references
            if reference in totals and reference != name
        }
        summary.append(row | {"ci95": _intervals(totals[name], counts), "versus": versus})
    return summary


def _intervals(sums: dict[str, Sums], counts: np.ndarray | None) -> dict[str, list | None]:
    if counts is None:
        return {}
    return {metric: interval(part.resampled(counts)) for metric, part in sums.items()}


def _difference(method: Sums, reference: Sums, counts: np.ndarray | None) -> dict:
    """Change against a reference in percent, negative is better."""
    ours, theirs = method.mean(), reference.mean()
    if ours is None or not theirs:
        return {"percent": None, "ci95": None}
    ci95 = None
    if counts is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = method.resampled(counts) / reference.resampled(counts)
        ci95 = interval(100 * (ratio - 1))
    return {"percent": 100 * (ours / theirs - 1), "ci95": ci95}


def log_ratio(
    rows: Sequence[dict],
    reference: Sequence[dict],
    metric: str,
    groups: Sequence[str],
    counts: np.ndarray | None,
) -> dict:
    """Change against a reference in percent, as the mean of paired log-ratios over people.

    Errors in per cent of a height differ by clip more than by method: a ratio of means would be
    that of the worst clips. Tracks of a group are averaged first; groups count alike."""
    ours, theirs = _by_item(rows, metric), _by_item(reference, metric)
    group_of = {row["item"]: row["group"] for row in rows}
    ratios: dict[str, list[float]] = {group: [] for group in groups}
    for item in ours.keys() & theirs.keys():
        if ours[item] > 0 and theirs[item] > 0:
            ratios[group_of[item]].append(float(np.log(ours[item] / theirs[item])))
    values = np.array([np.mean(found) if found else 0.0 for found in ratios.values()])
    weights = np.array([float(bool(found)) for found in ratios.values()])
    sums = Sums(values, weights)
    mean = sums.mean()
    if mean is None:
        return {"percent": None, "ci95": None}
    ci95 = None
    if counts is not None:
        ci95 = interval(100 * (np.exp(sums.resampled(counts)) - 1))
    return {"percent": float(100 * (np.exp(mean) - 1)), "ci95": ci95}


def tracks_better(rows: Sequence[dict], reference: Sequence[dict], metric: str) -> dict:
    """On how many tracks a method is below a reference, and more than a tenth above it, of how
    many; means over the seeds."""
    ours, theirs = _by_item(rows, metric), _by_item(reference, metric)
    both = [item for item in ours if item in theirs]
    return {
        "better": sum(ours[i] < theirs[i] for i in both),
        "harmed": sum(ours[i] > (1 + HARM) * theirs[i] for i in both),
        "of": len(both),
    }


def _by_item(rows: Sequence[dict], metric: str) -> dict[str, float]:
    """Mean over the seeds of each track that was measured."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row.get(metric) is not None:
            values.setdefault(row["item"], []).append(row[metric])
    return {item: sum(found) / len(found) for item, found in values.items()}


def _row(head: dict, method: str, seed, rows: list[dict]) -> dict:
    tracks = {row["item"]: row for row in rows}
    total = sum(row.get("track_frames") or row.get("frames") or 0 for row in rows)
    seconds = [row["seconds"] for row in rows if row.get("seconds") is not None]
    return head | {
        "method": method,
        "seed": seed,
        "tracks": len(tracks),
        "groups": len({row["group"] for row in rows}),
        "clips": len({row.get("sequence") for row in rows}),
        "frames": sum(row.get("frames") or 0 for row in tracks.values()),
        **{metric: weighted_mean(rows, metric) for metric in (*ERRORS, *OTHERS)},
        "ms_per_frame": 1000 * sum(seconds) / total if seconds and total else None,
        "settings": ",".join(sorted({str(row.get("settings")) for row in rows})),
        "ci95": {},
        "versus": {},
        "single_seed": False,
    }


def _distinct(rows: Sequence[dict], names: Sequence[str]) -> list[tuple]:
    return list(dict.fromkeys(tuple(row[name] for name in names) for row in rows))
