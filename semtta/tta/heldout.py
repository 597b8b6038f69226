"""Detections that the fit is not shown, so that base and adapted can be measured by them.

How well a motion fits what it was fitted to says nothing: it can follow every error of the
detector, and turn limbs that nobody sees. So whole limbs are held out for a quarter of a second
each, spread over the track: neither the fit nor a regressor that reads 2D is shown them, and base
and adapted are both measured there. It is a second run that is measured, with the same settings:
what is handed out was shown everything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semtta.engine import make_generator
from semtta.keypoints import Keypoints2D, Track
from semtta.skeletons import Skeleton

SURE = 0.5  # confidence from which a detection may stand as truth
LIMBS = {
    "leg": ("knee", "ankle", "heel", "big_toe", "small_toe"),
    "arm": ("elbow", "wrist", "pinky", "index", "thumb"),
}
_JUDGED = 2  # the first joints of a limb: hands and feet are too small to tell anything
_SECONDS = 1 / 4
_SHORTEST = 20  # frames: of a shorter track every detection is needed


@dataclass(frozen=True)
class HeldoutErrors:
    """2D errors of one track where neither fit nor regressor was shown the joints.

    Args:
        base, adapted: (T, J) pixels, NaN for all that was not held out.
    """

    base: Tensor
    adapted: Tensor

    @property
    def mean(self) -> tuple[float, float]:
        """Of base and adapted, pixels."""
        return float(self.base.nanmean()), float(self.adapted.nanmean())

    @property
    def count(self) -> int:
        """How many joint-frames are measured."""
        return int((~self.base.isnan()).sum())

    @property
    def stretches(self) -> list[slice]:
        """Runs of frames in which the same joints are measured: they err alike, so each is one
        sample."""
        there = ~self.base.isnan()
        new = torch.ones(len(there), dtype=torch.bool)
        new[1:] = (there[1:] != there[:-1]).any(1)
        starts = new.nonzero()[:, 0].tolist()
        runs = [slice(a, b) for a, b in zip(starts, [*starts[1:], len(there)], strict=True)]
        return [run for run in runs if bool(there[run.start].any())]

    def changes(self) -> Tensor:
        """(S,) pixels from base to adapted in each stretch, negative = better."""
        change = self.adapted - self.base
        return torch.stack([change[run].nanmean() for run in self.stretches])

    def at(self, rows: Tensor) -> HeldoutErrors | None:
        """Of some frames only; None if nothing was held out there."""
        part = HeldoutErrors(self.base[rows], self.adapted[rows])
        return part if part.count else None


def limb_members(skeleton: Skeleton) -> list[list[int]]:
    """Landmarks of each limb below hip and shoulder, knee or elbow first; limbs that the skeleton
    lacks are left out."""
    limbs = []
    for parts in LIMBS.values():
        for side in ("left", "right"):
            names = [f"{side}_{part}" for part in parts]
            if all(name in skeleton for name in names[:_JUDGED]):
                limbs.append([skeleton.index(name) for name in names if name in skeleton])
    return limbs


def draw_heldout(points: Keypoints2D, times: Tensor, share: float, seed: int) -> Tensor:
    """What the fit is not shown.

    The track is cut into as many equal parts as limbs are to be held out; in each of them one of
    the limbs that have had fewest turns goes, where knee and ankle (elbow and wrist) were sure.

    Args:
        points: all detections.
        times: (T,) seconds.
        share: of the limbs' frames.
        seed: with the detections it decides what is drawn, whatever the method.
    Returns: (T, J) bool, nothing where the track is too short to do without."""
    frames = len(times)
    heldout = torch.zeros(frames, len(points.skeleton), dtype=torch.bool)
    limbs = limb_members(points.skeleton)
    if not share or frames < _SHORTEST or not limbs:
        return heldout
    length = max(2, round(_SECONDS / float(times.cpu().diff().median())))
    conf = points.conf.cpu()
    sure = torch.stack([(conf[:, limb[:_JUDGED]] >= SURE).all(1) for limb in limbs])
    parts = round(share * len(limbs) * frames / length)  # none, where the share is not one
    generator, turns = make_generator(seed), torch.zeros(len(limbs))
    for part in range(parts):
        first, last = part * frames // parts, (part + 1) * frames // parts
        if last - first < length:
            continue
        fits = sure[:, first:last].unfold(1, length, 1).all(-1)  # (limbs, starts)
        able = fits.any(1)
        if not bool(able.any()):
            continue
        limb = _one_of(able & (turns == turns[able].min()), generator)
        start = first + _one_of(fits[limb], generator)
        heldout[start : start + length, limbs[limb]] = True
        turns[limb] += 1
    return heldout & (conf > 0)


def _one_of(which: Tensor, generator: torch.Generator) -> int:
    """One of the places that are true, each as likely."""
    places = which.nonzero()[:, 0]
    return int(places[int(torch.randint(len(places), (1,), generator=generator))])


def without(track: Track, heldout: Tensor) -> Track:
    """A track that does not show what is held out; its boxes stay.

    Args:
        heldout: (T, J) bool."""
    out = heldout.to(track.keypoints.conf.device)
    points = track.keypoints
    left = replace(
        points,
        xy=points.xy.masked_fill(out[..., None], 0.0), conf=points.conf.masked_fill(out, 0.0),
    )  # fmt: skip
    if track.landmarks3d is None or track.conf3d is None:
        return replace(track, keypoints=left)
    space = track.landmarks3d.masked_fill(out[..., None], 0.0)
    conf3d = track.conf3d.masked_fill(out, 0.0)
    return replace(track, keypoints=left, landmarks3d=space, conf3d=conf3d)


def judged(heldout: Tensor, points: Keypoints2D) -> Tensor:
    """(T, J) bool: the joints that base and adapted are measured by."""
    main = torch.zeros(len(points.skeleton), dtype=torch.bool)
    main[[joint for limb in limb_members(points.skeleton) for joint in limb[:_JUDGED]]] = True
    return heldout.cpu() & (points.conf.cpu() >= SURE) & main


def heldout_errors(
    heldout: Tensor | None, points: Keypoints2D, base: Tensor, adapted: Tensor
) -> HeldoutErrors | None:
    """Base and adapted where the fit saw nothing; None where nothing was held out.

    Args:
        heldout: (T, J) bool.
        points: all detections.
        base, adapted: (T, J, 2) projected landmarks, pixels."""
    if heldout is None:
        return None
    measured = judged(heldout, points)
    if not bool(measured.any()):
        return None

    def errors(landmarks: Tensor) -> Tensor:
        distance = (landmarks.cpu() - points.xy.cpu()).norm(dim=-1)
        return torch.where(measured, distance, torch.nan)

    return HeldoutErrors(errors(base), errors(adapted))
