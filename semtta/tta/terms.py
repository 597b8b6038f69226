"""Loss terms that more than one strategy has, weighted as the settings say."""

from __future__ import annotations

from torch import Tensor

from semtta.config_schema import SmoothingConfig
from semtta.hmr.base import Prediction
from semtta.tta import losses
from semtta.tta.run import Run
from semtta.tta.strategy import Draw


def reprojection_term(
    run: Run, draw: Draw, prediction: Prediction, landmarks: Tensor
) -> dict[str, Tensor]:
    """Eq. 5 against the evidence as it stands.

    Args:
        landmarks: (B, J, 3) of the prediction, without translation."""
    config, evidence, frames = run.config.reprojection, run.evidence, draw.frames
    if not config.weight:
        return {}
    loss = losses.reprojection_loss(
        run.view.project(prediction, frames, landmarks), evidence.xy[frames],
        evidence.weight[frames], run.view.crop_scale(frames), draw.count, config.reduction,
    )  # fmt: skip
    return {"reprojection": config.weight * loss}


def divides_by_visible(run: Run) -> bool:
    """Whether the 2D loss has a divisor that is not in proportion to the frames."""
    return run.config.reprojection.reduction == "visible" and run.config.reprojection.weight > 0


def landmarks3d_term(run: Run, draw: Draw, landmarks: Tensor) -> dict[str, Tensor]:
    """The detector's own 3D landmarks on joints it saw; not in the paper, off there.

    Args:
        landmarks: (B, J, 3) of the prediction, without translation."""
    config, view, frames = run.config.evidence3d, run.view, draw.frames
    own, conf = run.track.landmarks3d, run.track.conf3d
    if not config.weight or own is None or conf is None:
        return {}
    weight = conf[frames] * run.evidence.detected[frames]
    target = view.from_crop_axes(own[frames], frames)
    hips = view.skeleton.indices(["left_hip", "right_hip"])
    loss = losses.landmark3d_loss(landmarks, target, weight, hips, draw.count)
    return {"landmarks3d": config.weight * loss}


def smoothing_terms(
    config: SmoothingConfig,
    prediction: Prediction,
    rotmats: Tensor,
    betas: Tensor,
    weight: Tensor,
    count: Tensor,
) -> dict[str, Tensor]:
    """Eq. 9.

    Args:
        rotmats, betas: (B, 24, 3, 3) and (B, 10), the targets.
        weight: (B, 24) of each rotation.
        count: (B,) how often each frame stands in the batch."""
    pose = losses.pose_smoothing_loss(prediction.rotmats, rotmats, weight, count)
    shape = losses.shape_smoothing_loss(prediction.betas, betas, count)
    return {
        "smoothing": config.weight * pose,
        "shape": config.weight * config.shape_weight * shape,
    }
