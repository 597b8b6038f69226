"""A measure without labels: does a network say of a crop's mirror image what it says of the crop?

No training here mirrors (views are turned, sheared, scaled, moved and coloured), so a mirror image
is new to every method, to a mean teacher's student too. A network that is wrong in the same way on
both sides agrees with itself: ``docs/pose2d.md`` says how far the measure goes with PCK where there
are labels.
"""

from __future__ import annotations

import torch

from semtta.pose2d.clip2pose import Model, estimator_of
from semtta.pose2d.evaluate import Predictions, predict
from semtta.pose2d.metrics import pck
from semtta.pose2d.samples import KeypointSet


def mirror_agreement(
    model: Model, images: KeypointSet, guess: Predictions, threshold: float = 0.05
) -> dict[str, float | None] | None:
    """Share of joints that are found at the same place in a crop and in its mirror image.

    Args:
        guess: what the model says of the crops themselves, see :func:`predict`.
        threshold: share of the crop within which a place is the same, as of PCK.

    Returns:
        heading -> per cent, "All" last; None for joints that have no left and right: to a network
        of left hands a mirrored one is no hand that it knows."""
    estimator = estimator_of(model)
    skeleton = estimator.spec.joints
    if tuple(skeleton.flip) == tuple(range(len(skeleton))):
        return None
    other = predict(model, images, mirrored=True).found
    everywhere = torch.ones(other.shape[:2])
    return pck(other, guess.found, everywhere, estimator.spec.size, skeleton, threshold).groups
