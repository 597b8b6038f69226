"""The control that costs nothing: the frozen model's motion, smoothed over time."""

from __future__ import annotations

from dataclasses import replace

from semtta.bench.methods import FILTER_SIGMA
from semtta.body import Body
from semtta.geometry import gaussian_smooth, project
from semtta.tta.result import Motion, Result


def filtered(result: Result, body: Body) -> Motion:
    """The adapted motion after a Gaussian over time, in rotation space.

    Args:
        result: of any method.
        body: on the CPU."""
    motion = result.adapted
    rotmats = gaussian_smooth(motion.rotmats, result.track.times, FILTER_SIGMA)
    skeleton = result.track.keypoints.skeleton
    points = body.landmarks(rotmats, motion.betas, skeleton) + motion.trans[:, None]
    center = points.new_tensor(result.camera.center)
    seen = project(points, result.camera.focal, center)
    return replace(motion, rotmats=rotmats, landmarks2d=seen)
