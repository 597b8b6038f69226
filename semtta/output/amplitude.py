"""How far joints move, against another motion: what a filter that takes jitter also takes.

Jitter alone praises whoever stands still: a Gaussian that halves it may take 40 % of an arm's
swing. So each joint's range of motion is held against the same joint's of another motion, the
base or the truth. About the pelvis, in windows of two seconds: over a whole track, the way a person
turns would hide what became of a swing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from semtta.body import Body
from semtta.skeletons import LIMB12, SMPL24, Skeleton
from semtta.tta.result import Motion

WINDOW = 2.0  # seconds: a stride or two
_STILL = 0.05  # metres; a joint whose range is smaller trembles more than it moves
_FEWEST = 5  # frames
_LIMBS = {
    f"{side} {limb}": tuple(f"{side}_{joint}" for joint in joints)
    for side in ("left", "right")
    for limb, joints in (("arm", ("elbow", "wrist")), ("leg", ("knee", "ankle")))
}


@dataclass(frozen=True)
class Amplitude:
    """Ranges of motion as shares of another motion's; 1 = as far.

    Args:
        joints: by name, of those that move in the other motion.
        limbs: the same of elbow and wrist, of knee and ankle together.
    """

    joints: dict[str, float]
    limbs: dict[str, float]

    @property
    def median(self) -> float:
        """Over the joints that move; NaN if none does."""
        return median(self.joints.values()) if self.joints else math.nan

    @property
    def least(self) -> tuple[str, float]:
        """The limb that lost most of its swing; "" and NaN if none moves."""
        return min(self.limbs.items(), key=lambda item: item[1], default=("", math.nan))

    def numbers(self) -> dict:
        """For files."""
        limb, share = self.least
        return {"median": self.median, "least_limb": limb, "least": share, "limbs": self.limbs,
                "joints": self.joints}  # fmt: skip

    def __str__(self) -> str:
        limb, share = self.least
        if math.isnan(self.median):
            return ""
        return f"{100 * self.median:.0f} %" + (f", {limb} {100 * share:.0f} %" if limb else "")


def amplitude(
    joints: Tensor, other: Tensor, times: Tensor, skeleton: Skeleton = SMPL24,
    roots: tuple[str, ...] = ("pelvis",),
) -> Amplitude:  # fmt: skip
    """Ranges of motion of a motion against another's, in units of each one's own body.

    Args:
        joints, other: (T, J, 3) metres, the same frames.
        times: (T,) seconds.
        skeleton: of the joints.
        roots: whose mean the joints move about.
    Returns: nothing of joints that move less than 5 cm in the other motion."""
    about = skeleton.indices(roots)
    mine, theirs = (ranges(x, times, about) for x in (joints, other))
    ratio = mine / theirs * (_size(other, skeleton) / _size(joints, skeleton))
    moves = theirs >= _STILL  # never of NaN
    shares = {name: float(ratio[i]) for i, name in enumerate(skeleton.joints) if moves[i]}
    limbs = {}
    for limb, names in _LIMBS.items():
        known = [name for name in names if name in shares]
        if known:
            weight = theirs[skeleton.indices(known)]
            limbs[limb] = float((ratio[skeleton.indices(known)] * weight).sum() / weight.sum())
    return Amplitude(shares, limbs)


def motion_amplitude(motion: Motion, other: Motion, times: Tensor, body: Body) -> Amplitude:
    """The same of two motions of one track.

    Args:
        body: of both, on the CPU."""
    joints, others = (body.joints(m.rotmats, m.betas) for m in (motion, other))
    return amplitude(joints, others, times)


def ranges(joints: Tensor, times: Tensor, roots: list[int]) -> Tensor:
    """(J,) metres from the 5th to the 95th percentile along a joint's main direction, mean over
    windows of two seconds that overlap by half; NaN of fewer than five frames.

    Args:
        joints: (T, J, 3) metres; times: (T,) seconds.
        roots: whose mean the joints move about."""
    count = len(joints)
    if count < _FEWEST or not bool(joints.isfinite().all()):
        return joints.new_full((joints.shape[1],), math.nan).double()
    about = joints.double() - joints[:, roots].double().mean(1, keepdim=True)
    step = float(times.double().diff().median())
    length = min(count, max(_FEWEST, round(WINDOW / step) + 1))
    starts = sorted({*range(0, count - length + 1, max(1, length // 2)), count - length})
    found = []
    for start in starts:
        window = about[start : start + length]
        window = (window - window.mean(0)).transpose(0, 1)  # (J, N, 3)
        main = torch.linalg.eigh(window.mT @ window).eigenvectors[..., -1:]
        along = (window @ main)[..., 0]
        low, high = along.quantile(along.new_tensor([0.05, 0.95]), dim=1)
        found.append(high - low)
    return torch.stack(found).mean(0)


def _size(joints: Tensor, skeleton: Skeleton) -> float:
    """Mean length of the bones, metres: a taller body swings as much farther."""
    edges = [edge for edge in LIMB12.edges if all(name in skeleton for name in edge)]
    first, second = (joints[:, skeleton.indices(ends)].double() for ends in zip(*edges))
    return float((first - second).norm(dim=-1).mean())
