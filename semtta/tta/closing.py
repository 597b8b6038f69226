"""What a finished motion passes, base and adapted alike: one body, no tremor, a path to walk.

A regressor looks at every frame on its own. Its mistakes along the viewing ray are invisible in 2D:
the mesh fits every picture and yet shakes in depth.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from semtta.config import Config
from semtta.geometry import Camera, project
from semtta.geometry.spline import spline_rotations
from semtta.hmr.base import Prediction
from semtta.tta.evidence import Evidence
from semtta.tta.path import solve_path
from semtta.tta.result import Motion
from semtta.tta.shape import track_shape, worn
from semtta.tta.view import View


def closed_motion(
    prediction: Prediction, view: View, evidence: Evidence, times: Tensor, config: Config,
    shape: Tensor | None = None,
) -> Motion:  # fmt: skip
    """A prediction of every frame as the motion that is handed out.

    Args:
        prediction: of T frames.
        view: body, camera and crops.
        evidence: 2D targets; the detections in it place the path.
        times: (T,) seconds.
        config: ``shape.mode`` and ``closing``.
        shape: (10,) of the one body; None = the median of these frames.
    Returns: the motion, on the CPU."""
    frames = torch.arange(len(prediction.rotmats), device=prediction.rotmats.device)
    raw, weak = view.translation(prediction, frames), view.weak(prediction, frames)
    closed = prediction
    if config.shape.mode == "track":
        one = track_shape(closed.betas) if shape is None else shape
        metric = view.crop.camera == "metric"
        closed = worn(view.body, closed.betas, one, metric).put_on(closed, frames)
    if config.closing.filter == "spline":
        rotmats = closed.rotmats
        smooth = spline_rotations(rotmats.cpu(), times.cpu(), config.closing.cutoff)
        closed = replace(closed, rotmats=smooth.to(rotmats))
    landmarks = view.landmarks(closed)
    if config.closing.path == "frames":
        pixels = view.project(closed, frames, landmarks)
        return _motion(closed, weak, view.translation(closed, frames), raw, pixels)
    trans = _path(landmarks, raw, evidence, times, view.camera, config).to(raw)
    center = landmarks.new_tensor(view.camera.center)
    pixels = project(landmarks + trans[:, None], view.camera.focal, center)
    return _motion(closed, weak, trans, raw, pixels)


def _path(
    landmarks: Tensor, raw: Tensor, evidence: Evidence, times: Tensor, camera: Camera,
    config: Config,
) -> Tensor:  # fmt: skip
    seen = evidence.detected.to(raw) * evidence.raw.conf.to(raw)
    parts = (landmarks, raw, evidence.raw.xy, seen, times)
    landmarks, start, target, weight, times = (part.cpu() for part in parts)
    return solve_path(landmarks, start, target, weight, times, camera, config.closing)


def as_it_is(prediction: Prediction, view: View) -> Motion:
    """A prediction of every frame as a motion, nothing changed."""
    frames = torch.arange(len(prediction.rotmats), device=prediction.rotmats.device)
    raw = view.translation(prediction, frames)
    pixels = view.project(prediction, frames, view.landmarks(prediction))
    return _motion(prediction, view.weak(prediction, frames), raw, raw, pixels)


def _motion(
    prediction: Prediction, cam: Tensor, trans: Tensor, raw: Tensor, pixels: Tensor
) -> Motion:
    parts = (prediction.rotmats, prediction.betas, trans, cam, pixels, raw)
    return Motion(*(part.detach().cpu() for part in parts))
