"""Whether 2D poses can be what they are taken for: confidences, order of joints, picture size.

Every reader's rows pass here before they mean anything. What is mended is said, what cannot be is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from semtta.errors import SemttaError
from semtta.people.formats.joint_names import by_name
from semtta.people.formats.sheet import Row, Sheet
from semtta.skeletons import BODY27, SKELETONS, Skeleton

Announce = Callable[[str], None]

_OVERSHOOT = 0.05  # heat-map maxima overshoot [0, 1] a little
_FEW = 0.02  # share of points with an impossible confidence that are bad rows, no other quantity
_SCORES_TO = 30.0  # RTMPose's and RTMW's scores are no probabilities and reach about 10
_SURE_SCORE = 0.95  # quantile of such scores that counts as certain
_SHARES = 2.0  # points that never get farther than this are no pixels
_MARGIN, _OUTSIDE = 0.10, 0.25  # of the picture; of the points
_PAIRS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"),
          ("shoulder", "hip"))  # fmt: skip
# Log ratio of left and right bones. On motion capture seen from random sides the right order has
# 0.05 (95 %: 0.22), a wrong one 0.5 (5 %: 0.16 to 0.54); of two orders the right one is lower in
# 99 % of 480 clips.
_EVEN, _UNEVEN, _CLEARLY = 0.12, 0.35, 0.6
_SIZE = re.compile(r"(\d+)x(\d+)$")


@dataclass(frozen=True)
class Scale:
    """From the file's coordinates to pixels of the video: ``xy * factor + shift``."""

    factor: np.ndarray
    shift: np.ndarray

    def points(self, points: np.ndarray) -> np.ndarray:
        return np.concatenate([points[:, :2] * self.factor + self.shift, points[:, 2:]], 1)

    def box(self, box: np.ndarray) -> np.ndarray:
        return (box.reshape(2, 2) * self.factor + self.shift).reshape(-1)


def clean_rows(rows: Sequence[Row], announce: Announce) -> list[Row]:
    """Rows whose numbers are numbers; points that are none count as missing, and it is said.

    Raises ``SemttaError`` if that is the rule rather than the exception."""
    cleaned, spoilt, first = [], 0, ""
    for row in rows:
        points = row.points
        finite = np.isfinite(points).all(1)
        lost = ~finite & ~(np.nan_to_num(points[:, 2]) <= 0) & ~np.isnan(points[:, 2])
        # Detectors mark a missing point by the place (0, 0) or (-1, -1).
        nowhere = finite & (points[:, 2] > 0) & np.isin(points[:, :2], (0, -1)).all(1)
        if not finite.all() or nowhere.any():
            points = np.where(finite[:, None] & ~nowhere[:, None], points, 0.0)
        if lost.any() or (row.box is not None and not np.isfinite(row.box).all()):
            spoilt, first = spoilt + 1, first or row.where
        cleaned.append(replace(row, points=points))
    if spoilt and spoilt * 2 > len(rows):
        raise SemttaError(
            f"{first}: NaN or infinite numbers, as in {spoilt} of {len(rows)} rows; mark missing "
            "joints by confidence 0."
        )
    if spoilt:
        announce(f"{spoilt} of {len(rows)} rows hold NaN or infinite numbers (first: {first}); "
                 "those points count as missing.")  # fmt: skip
    return cleaned


def confidences(rows: Sequence[Row], announce: Announce) -> list[Row]:
    """Confidences in [0, 1]; scores that are none are divided by what a sure joint has.

    Raises ``SemttaError`` for a quantity that is no confidence, such as a depth."""
    values = np.concatenate([row.points[:, 2] for row in rows])
    # -1 marks what is missing; a few impossible values are bad rows, many another quantity.
    negative = (values < -_OVERSHOOT) & (values != -1)
    if negative.mean() > _FEW or (values > _SCORES_TO).mean() > _FEW:
        worst = max(rows, key=lambda row: _strangeness(row.points[:, 2]))
        raise SemttaError(
            f"{worst.where}: confidences from {worst.points[:, 2].min():g} to "
            f"{worst.points[:, 2].max():g}; expected 0 to 1 (is the third number a depth?)."
        )
    bad = negative | (values > _SCORES_TO)
    if bad.any():
        announce(f"{int(bad.sum())} of {len(values)} points have an impossible confidence and "
                 "count as missing.")  # fmt: skip
    good = values[~bad]
    high, divisor = float(good.max(initial=0.0)), 1.0
    if high > 1 + _OVERSHOOT:
        divisor = max(1.0, float(np.quantile(good[good > 0], _SURE_SCORE)))
    if divisor > 1:
        announce(
            f"confidences reach {high:.3g}: taken as scores, as RTMPose has them, and divided by "
            f"{divisor:.3g} (their 95th percentile), with 1 as the most."
        )

    def mended(points: np.ndarray) -> np.ndarray:
        conf = np.where(points[:, 2] > _SCORES_TO, 0.0, points[:, 2])
        return np.column_stack([points[:, :2], np.clip(conf / divisor, 0, 1)])

    return [replace(row, points=mended(row.points)) for row in rows]


def _strangeness(conf: np.ndarray) -> float:
    return float(max(-np.where(conf == -1, 0, conf).min(), conf.max() / _SCORES_TO))


def in_order(
    rows: Sequence[Row], allowed: Sequence[Skeleton], least: float, announce: Announce
) -> tuple[list[Row], Skeleton]:
    """Rows in the order of a known skeleton: of those that are allowed, the one that makes a body.

    Args:
        allowed: skeletons that the number of points allows, likeliest first.
        least: confidence from which a joint counts."""
    uneven = [_unevenness(rows, bones, least) for bones in allowed]
    best = 0
    if len(allowed) > 1 and uneven[0] > _EVEN:  # not so for NaN: too little is seen
        other = int(np.nanargmin(uneven))
        best = other if uneven[other] < _CLEARLY * uneven[0] else 0
    bones = allowed[best]
    if best:
        announce(f"{len(rows[0].points)} points in the order of {bones.name}, not "
                 f"{allowed[0].name}: only so left and right limbs are alike.")  # fmt: skip
    elif uneven[0] > _UNEVEN:
        announce(f"in the order of {bones.name} these joints make no body (left and right limbs "
                 "differ in length); if it is another order, say --skeleton.")  # fmt: skip
    if bones.name not in SKELETONS:
        ordered = [replace(r, points=by_name(r.points, bones.joints, BODY27)) for r in rows]
        return ordered, BODY27
    return [replace(row, points=row.points[: len(bones)]) for row in rows], bones


def _unevenness(rows: Sequence[Row], bones: Skeleton, least: float) -> float:
    """Median over limbs of |log(left / right)| of their lengths over all rows; NaN if unknown."""
    sample = rows[:: max(1, len(rows) // 500)]
    points = np.stack([row.points[: len(bones)] for row in sample])
    ratios = []
    for start, end in _PAIRS:
        lengths = []
        for side in ("left", "right"):
            if f"{side}_{start}" not in bones or f"{side}_{end}" not in bones:
                break
            a, b = (points[:, bones.index(f"{side}_{part}")] for part in (start, end))
            seen = (a[:, 2] >= least) & (b[:, 2] >= least)
            if seen.sum() < max(3, 0.1 * len(points)):
                break
            lengths.append(float(np.median(np.linalg.norm(a[seen, :2] - b[seen, :2], axis=1))))
        if len(lengths) == 2 and min(lengths) > 0:
            ratios.append(abs(np.log(lengths[0] / lengths[1])))
    return float(np.median(ratios)) if len(ratios) >= 3 else float("nan")


def scale_of(sheet: Sheet, told: str | None, picture: tuple[int, int], where: str) -> Scale:
    """How the file's coordinates become pixels of the video.

    Args:
        told: what the user says: ``WIDTHxHEIGHT`` of the picture in which the points were found,
            ``unit`` (0 to 1), ``signed`` (-1 to 1); None = what the file says, else pixels.
        picture: width, height of the video.
        where: the file, for messages.
    Raises ``SemttaError`` if the file was made for a picture of another size."""
    size = np.array(picture, np.float64)
    none = np.zeros(2)
    if told is not None:
        if told == "signed":
            return Scale(size / 2, size / 2 - 0.5)
        match = _SIZE.match(told)
        if told == "unit":
            return Scale(size, none - 0.5)
        if not match:
            raise SemttaError(f"--poses2d-size is WIDTHxHEIGHT, unit or signed, not '{told}'.")
        given = np.array([int(match.group(1)), int(match.group(2))], np.float64)
        if (given <= 0).any():
            raise SemttaError(f"--poses2d-size: a picture of {told} pixels has no pixels.")
        return Scale(size / given, none)
    if sheet.unit == "picture":
        return Scale(size, none - 0.5)
    if sheet.size is not None and not np.allclose(sheet.size, size, atol=1.0):
        raise SemttaError(
            f"{where} says its picture has {sheet.size[0]:g}x{sheet.size[1]:g} pixels, the video "
            f"has {picture[0]}x{picture[1]}; give --poses2d-size "
            f"{sheet.size[0]:.0f}x{sheet.size[1]:.0f} to scale it, or the video it belongs to."
        )
    return Scale(np.ones(2), none)


def in_picture(
    rows: Sequence[Row], picture: tuple[int, int], least: float, where: str, announce: Announce
) -> list[Row]:
    """Rows whose points can be pixels of this picture; single points that cannot count as missing.

    Args:
        rows: scaled already.
        least: confidence from which a point counts.
    Raises ``SemttaError`` if the points as a whole cannot be."""
    points = np.concatenate([row.points[row.points[:, 2] >= least, :2] for row in rows])
    size = np.array(picture, np.float64)
    if float(np.abs(points).max()) <= _SHARES and size.min() > 8 * _SHARES:
        signed = points.min() < -0.05
        raise SemttaError(
            f"{where}: its points lie between {points.min():.2g} and {points.max():.2g}: shares "
            f"of a picture, not pixels; add --poses2d-size {'signed' if signed else 'unit'} to "
            "have them scaled."
        )
    share = float(_beyond(points, size, _MARGIN).mean())
    if share > _OUTSIDE:
        low, high = points.min(0), points.max(0)
        raise SemttaError(
            f"{where}: {share:.0%} of its points lie outside the picture of {picture[0]}x"
            f"{picture[1]} pixels (x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to "
            f"{high[1]:.0f}); give --poses2d-size WIDTHxHEIGHT of the picture they were found in, "
            "or the video that they belong to."
        )
    kept, lost = [], 0
    for row in rows:
        far = _beyond(row.points[:, :2], size, 1.0)
        lost += int((far & (row.points[:, 2] >= least)).sum())
        kept.append(replace(row, points=np.where(far[:, None], 0.0, row.points)))
    if lost:
        announce(f"{lost} points lie farther outside the picture than it is large; they count as "
                 "missing.")  # fmt: skip
    return kept


def _beyond(xy: np.ndarray, size: np.ndarray, margin: float) -> np.ndarray:
    """(N,) whether points (N, 2) lie outside the picture by more than this share of it."""
    return np.any((xy < -margin * size) | (xy > (1 + margin) * size), axis=1)
