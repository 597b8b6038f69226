"""What can be measured of a motion without truth: its fit to the detections, and how it shakes."""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.body import Body
from semtta.output.skinned import joint_motion
from semtta.tta.result import Motion, Result


def distances(motion: Motion, result: Result) -> Tensor:
    """(T, J) pixels from the projection to the detections; NaN where a joint was not detected, or
    is none of the body's."""
    distance = (motion.landmarks2d - result.detections.xy).norm(dim=-1)
    seen = result.evidence.detected & result.evidence.known
    return torch.where(seen, distance, torch.nan)


def frame_errors(motion: Motion, result: Result) -> Tensor:
    """(T,) mean distance of the projection to the detections, pixels; NaN without any."""
    return distances(motion, result).nanmean(1)


def shake(motion: Motion, result: Result, body: Body) -> float:
    """Mean second difference of the pelvis' distance, mm per frame²; NaN without three frames
    in a row."""
    depth = torch.from_numpy(joint_motion(motion, body).root[:, 2]).double()
    return 1000 * _second_difference(depth[:, None], result.track.frames)


def acceleration(joints: Tensor, frames: Tensor) -> float:
    """Mean length of the joints' second differences about the pelvis, mm per frame²; NaN without
    three frames in a row.

    Args:
        joints: (T, 24, 3) metres.
        frames: (T,) numbers in the video."""
    return 1000 * _second_difference(joints - joints[:, :1], frames)


def gate_open_share(result: Result) -> float:
    """Share of the labelled frames in which the gate is open; NaN without labels."""
    if result.gate_similarity is None or result.sigma is None:
        return float("nan")
    gate = result.gate_similarity[~result.gate_similarity.isnan()]
    return float((gate > result.sigma).float().mean()) if len(gate) else float("nan")


def _second_difference(values: Tensor, frames: Tensor) -> float:
    """Mean length over triples of frames in a row; values (T, ..., D)."""
    steady = frames[2:] - frames[:-2] == 2
    if not steady.any():
        return float("nan")
    return float(values.double().diff(n=2, dim=0).norm(dim=-1)[steady].mean())
