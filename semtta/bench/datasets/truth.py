"""Measuring a motion against the truth of a track, as its protocol says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from semtta.bench.datasets.recording import BodyTruth, JointTruth
from semtta.bench.datasets.regressors import open_regressor, require_regressor
from semtta.bench.metrics import (
    acceleration_errors,
    aligned_joint_errors,
    joint_errors,
    mean_or_none,
    range_of_motion,
    vertex_errors,
)
from semtta.bench.protocols import Protocol
from semtta.body import Body, JointRegressor, load_body
from semtta.body.search import require_body_file
from semtta.errors import SemttaError
from semtta.skeletons import SMPL24, Skeleton
from semtta.tta.result import Motion

_CHUNK = 64  # frames whose meshes are in memory at once


@dataclass(frozen=True)
class TrackTruth:
    """Truth of one track's T counted frames.

    Args:
        protocol: what is measured.
        truth: body or annotated joints of these frames.
        frames: (T,) frame numbers; accelerations are not taken across gaps.
        fps: frame rate of the set.
        body_models: folder with the user's SMPL bodies and regressors, searched first.
    """

    protocol: Protocol
    truth: BodyTruth | JointTruth
    frames: Tensor
    fps: float
    body_models: Path | None = None

    @torch.no_grad()
    def score(self, motion: Motion, body: Body) -> dict[str, float | None]:
        """Means over the track's frames, see ``bench.benchmark.Truth``; where the protocol asks
        for it also ``accel_m_s2``.

        Args:
            motion: (T, ...) as predicted for exactly these frames.
            body: neutral SMPL, on the CPU.
        Raises ``SemttaError`` for the CC0 body: its joints are not SMPL's."""
        protocol = self.protocol
        if body.name == "cc0":
            raise SemttaError(
                f"protocol {protocol.name} measures SMPL joints; adapt with the neutral SMPL body "
                "(setting body.name=smpl)."
            )
        if len(motion.rotmats) != len(self.frames):
            raise SemttaError(
                f"a motion of {len(motion.rotmats)} frames does not fit {len(self.frames)} "
                "true ones."
            )
        parts = [
            self._compare(motion, body, slice(start, start + _CHUNK))
            for start in range(0, len(self.frames), _CHUNK)
        ]
        predicted, true = (torch.cat([part[i] for part in parts]) for i in range(2))
        skeleton = self._skeleton(body)
        chosen, roots = skeleton.indices(protocol.joints), skeleton.indices(protocol.roots)
        acceleration = acceleration_errors(predicted, true, roots, self.frames)[:, chosen]
        if protocol.drop_ends:
            acceleration = acceleration[1:-1]
        numbers = {
            "frames": len(self.frames),
            "mpjpe_mm": mean_or_none(joint_errors(predicted, true, roots)[:, chosen]),
            "pa_mpjpe_mm": mean_or_none(
                aligned_joint_errors(predicted[:, chosen], true[:, chosen])
            ),
            "accel_mm": mean_or_none(acceleration),
        }
        numbers |= range_of_motion(predicted, true, skeleton, protocol.roots, self.fps, self.frames)
        if protocol.mesh is not None:
            numbers["mpvpe_mm"] = mean_or_none(torch.cat([part[2] for part in parts]))
        if protocol.per_second:
            value = numbers["accel_mm"]
            numbers["accel_m_s2"] = None if value is None else value * self.fps**2 / 1000
        return numbers

    def _compare(self, motion: Motion, body: Body, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted and true joints (B, J, 3) in the body's regressor order, and the errors of
        the vertices (B,), each frame's mean."""
        predicted, mesh = self._joints(body, motion.rotmats[part], motion.betas[part])
        if isinstance(self.truth, JointTruth):
            order = _order(self.truth.skeleton, self._skeleton(body))
            joints = self.truth.joints[part][:, order]
            return predicted, joints, torch.zeros(0)
        true_body = self._true_body(self.truth.gender)
        true, true_mesh = self._joints(true_body, self.truth.rotmats[part], self.truth.betas[part])
        true = true[:, _order(self._skeleton(true_body), self._skeleton(body))]
        if self.protocol.mesh is None or mesh is None or true_mesh is None:
            return predicted, true, torch.zeros(0)
        if mesh.shape != true_mesh.shape:
            raise SemttaError(
                f"the predicted body has {mesh.shape[1]} vertices and the true one "
                f"{true_mesh.shape[1]}; both must be SMPL."
            )
        root: Tensor | None = None
        true_root: Tensor | None = None
        if self.protocol.mesh == "root":
            indices = self._skeleton(body).indices(self.protocol.roots)
            root, true_root = predicted[:, indices].mean(1), true[:, indices].mean(1)
        return predicted, true, vertex_errors(mesh, true_mesh, root, true_root).mean(1)

    def _joints(self, body: Body, rotmats: Tensor, betas: Tensor) -> tuple[Tensor, Tensor | None]:
        kind, needs_mesh = self.protocol.regressor, self.protocol.mesh is not None
        if kind == "smpl24":
            mesh = body.vertices(rotmats, betas) if needs_mesh else None
            return body.joints(rotmats, betas), mesh
        mesh = body.vertices(rotmats, betas)
        return self._regressor(body)(mesh), mesh

    def _skeleton(self, body: Body) -> Skeleton:
        return SMPL24 if self.protocol.regressor == "smpl24" else self._regressor(body).skeleton

    def _regressor(self, body: Body) -> JointRegressor:
        kind = self.protocol.regressor
        path = require_regressor(kind, self.protocol.name, self.body_models)
        return _regressor(kind, path, path.stat().st_mtime_ns, body)

    def _true_body(self, gender: str) -> Body:
        return _body("neutral" if self.protocol.truth == "neutral" else gender, self.body_models)


def _order(source: Skeleton, target: Skeleton) -> list[int]:
    return source.indices(target.joints)


def require_bodies(protocol: Protocol, genders: Iterable[str], body_models: Path | None) -> None:
    """Read every body and regressor that scoring will need, before hours are spent.

    Raises ``SemttaError`` for one that is missing or damaged."""
    if protocol.regressor != "smpl24":
        path = require_regressor(protocol.regressor, protocol.name, body_models)
        neutral = _body("neutral", body_models)
        _regressor(protocol.regressor, path, path.stat().st_mtime_ns, neutral)
    for gender in ("neutral", *genders):
        _body(gender, body_models)


def _body(gender: str, body_models: Path | None) -> Body:
    path = require_body_file(gender, body_models)
    return _read_body(gender, body_models, path.stat().st_mtime_ns)


@lru_cache(maxsize=3)
def _read_body(gender: str, body_models: Path | None, modified: int) -> Body:
    return load_body("smpl", gender=gender, search=body_models)


@lru_cache(maxsize=8)
def _regressor(kind: str, path: Path, modified: int, body: Body) -> JointRegressor:
    return open_regressor(kind, path, body)
