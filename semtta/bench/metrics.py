"""Errors of 3D joints, meshes and 2D joints; every function works on one track.

Lengths come in metres and errors in millimetres. Which joints, which root and which frames are
the protocol's business (``semtta.bench.protocols``).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from semtta.geometry import procrustes_align, root_align
from semtta.output.amplitude import amplitude
from semtta.skeletons import Skeleton

RESTING = 0.15  # m/s below which an ankle stands on the ground


def joint_errors(predicted: Tensor, truth: Tensor, roots: list[int]) -> Tensor:
    """MPJPE before the mean: distances after subtracting each side's own root.

    Args:
        predicted, truth: (T, J, 3) metres.
        roots: joints whose mean is the root.
    Returns: (T, J) mm."""
    difference = root_align(predicted, roots) - root_align(truth, roots)
    return 1000 * difference.norm(dim=-1)


def aligned_joint_errors(predicted: Tensor, truth: Tensor) -> Tensor:
    """PA-MPJPE before the mean: distances after a similarity transform per frame, (T, J) mm."""
    return 1000 * (procrustes_align(predicted, truth) - truth).norm(dim=-1)


def vertex_errors(
    predicted: Tensor,
    truth: Tensor,
    predicted_root: Tensor | None = None,
    true_root: Tensor | None = None,
) -> Tensor:
    """MPVPE (PVE, V2V) before the mean.

    Args:
        predicted, truth: (T, V, 3) metres.
        predicted_root, true_root: (T, 3) subtracted from each side's mesh; None leaves the meshes
            where their bodies put them (VIBE, BOA, DynaBOA).
    Returns: (T, V) mm."""
    if predicted_root is not None:
        predicted = predicted - predicted_root[:, None]
    if true_root is not None:
        truth = truth - true_root[:, None]
    return 1000 * (predicted - truth).norm(dim=-1)


def acceleration_errors(
    predicted: Tensor, truth: Tensor, roots: list[int], frames: Tensor | None = None
) -> Tensor:
    """Norm of the difference of second differences of root-aligned joints.

    Args:
        predicted, truth: (T, J, 3) metres.
        roots: joints whose mean is the root.
        frames: (T,) frame numbers; only triples of consecutive frames are compared. None: all
            frames are consecutive.
    Returns: (at most T - 2, J) mm per frame squared, at the frame rate given; times fps² it is
        mm/s² (WHAM, EMDB)."""
    a, b = root_align(predicted, roots), root_align(truth, roots)
    errors = 1000 * (a.diff(n=2, dim=0) - b.diff(n=2, dim=0)).norm(dim=-1)
    if frames is None:
        return errors
    return errors[(frames[2:] - frames[:-2]) == 2]


def correct_keypoints(
    predicted: Tensor, truth: Tensor, size: Tensor, present: Tensor, threshold: float = 0.05
) -> Tensor:
    """PCK: share of 2D joints that lie nearer to the truth than a share of the person's size.

    Args:
        predicted, truth: (T, J, 2) pixels.
        size: (T,) what the threshold is a share of, pixels (side of the box, head, torso).
        present: (T, J) bool, joints that have a truth.
        threshold: share of the size; nearer is correct, exactly as far is not.
    Returns: (J,) in [0, 1], NaN for joints that are never present."""
    near = (predicted - truth).norm(dim=-1) < threshold * size[:, None]
    return (near & present).sum(0) / present.sum(0)


def summarise(
    predicted: Tensor,
    truth: Tensor,
    roots: list[int],
    occluded: Tensor | None = None,
    frames: Tensor | None = None,
    placed: Tensor | None = None,
) -> dict[str, float | None]:
    """The numbers of one track.

    Args:
        predicted, truth: (T, J, 3) metres.
        roots: joints whose mean is the root.
        occluded: (T, J) bool, joints whose errors are also given on their own.
        frames: (T,) frame numbers, if some are missing between them.
        placed: (T, J, 3) predicted joints where the motion puts them in front of the camera;
            ``truth`` is then there too. None = not measured.
    Returns: ``frames`` (T), ``mpjpe_mm``, ``pa_mpjpe_mm``, ``accel_mm``, ``occluded`` (how many
        joint-frames), what :func:`steadiness` measures, ``mpjpe_occluded_mm``,
        ``pa_mpjpe_occluded_mm`` (root and alignment from all joints). None = nothing to measure."""
    aligned = aligned_joint_errors(predicted, truth)
    plain = joint_errors(predicted, truth, roots)
    hidden = torch.zeros_like(plain, dtype=torch.bool) if occluded is None else occluded
    return {
        "frames": len(plain),
        "mpjpe_mm": mean_or_none(plain),
        "pa_mpjpe_mm": mean_or_none(aligned),
        "accel_mm": mean_or_none(acceleration_errors(predicted, truth, roots, frames)),
        **({} if placed is None else steadiness(placed, truth, roots, frames)),
        "occluded": int(hidden.sum()),
        "mpjpe_occluded_mm": mean_or_none(plain[hidden]),
        "pa_mpjpe_occluded_mm": mean_or_none(aligned[hidden]),
    }


def steadiness(
    placed: Tensor, truth: Tensor, roots: list[int], frames: Tensor | None = None
) -> dict[str, float | None]:
    """How steady a motion is in space, in front of the camera, not only about its own root.

    Args:
        placed, truth: (T, J, 3) metres, camera frame.
        roots: joints whose mean is the root.
        frames: (T,) frame numbers; only triples of consecutive frames count. None: all do.
    Returns: ``abs_accel_mm``: error of the joints' second differences; ``depth_jitter_mm`` and
        ``true_depth_jitter_mm``: mean size of the root's second difference along the optical axis,
        as predicted and in truth. All in mm per frame squared; None = nothing to measure."""
    whole = torch.ones(max(len(placed) - 2, 0), dtype=torch.bool)
    if frames is not None:
        whole = (frames[2:] - frames[:-2]) == 2
    wrong = (placed.diff(n=2, dim=0) - truth.diff(n=2, dim=0)).norm(dim=-1)

    def jitter(joints: Tensor) -> Tensor:
        return joints[:, roots].mean(1)[:, 2].diff(n=2).abs()

    numbers = {
        "abs_accel_mm": wrong, "depth_jitter_mm": jitter(placed),
        "true_depth_jitter_mm": jitter(truth),
    }  # fmt: skip
    return {name: mean_or_none(1000 * values[whole]) for name, values in numbers.items()}


def foot_slide(
    placed: Tensor, truth: Tensor, ankles: list[int], fps: float, frames: Tensor | None = None
) -> float | None:
    """How far a predicted ankle moves from frame to frame while the true one rests.

    Args:
        placed, truth: (T, J, 3) metres, camera frame of a camera that stands still.
        ankles: joints that are looked at.
        fps: frames a second, of both.
        frames: (T,) frame numbers; only neighbours count. None: all are.
    Returns: mean over joint-frames whose true speed is below 0.15 m/s, mm per frame; None where
        there are none."""
    resting = truth[:, ankles].diff(dim=0).norm(dim=-1) * fps < RESTING
    if frames is not None:
        resting &= (frames.diff() == 1)[:, None]
    return mean_or_none(1000 * placed[:, ankles].diff(dim=0).norm(dim=-1)[resting])


def range_of_motion(
    predicted: Tensor,
    truth: Tensor,
    skeleton: Skeleton,
    roots: tuple[str, ...],
    fps: float,
    frames: Tensor | None = None,
) -> dict[str, float | None]:
    """How far joints move against how far they truly do; see ``output.amplitude``.

    Args:
        predicted, truth: (T, J, 3) metres.
        skeleton: of the joints; ``roots``: whose mean they move about.
        fps: frames a second; frames: (T,) frame numbers. None: all are consecutive.
    Returns: ``range_percent``, the median of the joints that truly move, and
        ``range_least_percent`` of the limb that has least; 100 is right. None = nobody moves."""
    numbers = torch.arange(len(truth)) if frames is None else frames
    found = amplitude(predicted, truth, numbers.double() / fps, skeleton, roots)
    shares = {"range_percent": found.median, "range_least_percent": found.least[1]}
    return {key: 100 * x if math.isfinite(x) else None for key, x in shares.items()}


def mean_or_none(values: Tensor) -> float | None:
    """Mean of a tensor, None if it is empty."""
    return float(values.double().mean()) if values.numel() else None
