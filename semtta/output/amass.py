"""AMASS files of an existing result, at a whole rate and without gaps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import roma
import torch

from semtta.body import Body
from semtta.files import Arrays, write_npz
from semtta.geometry import nearest_rotvecs
from semtta.output.axes import Axes, z_up
from semtta.output.evenly import EvenMotion, evenly, whole_rate
from semtta.output.files import amass_arrays
from semtta.output.load import SavedTrack

_SMPLX_JOINTS = 55  # 22 of the body, jaw, two eyes, 30 of the hands


def write_amass156(track: SavedTrack, path: Path, body: Body) -> None:
    """52 joints of SMPL-H, as ``semtta adapt`` writes them."""
    even = evenly(track, whole_rate(track.fps))
    sampled = replace(track, adapted=even.motion)
    _save(path, amass_arrays(sampled, even.rate, body))


def write_amass165(track: SavedTrack, path: Path, body: Body) -> None:
    """55 joints of SMPL-X."""
    _save(path, smplx_arrays(evenly(track, whole_rate(track.fps)), body, z_up(track.world)))


def smplx_arrays(even: EvenMotion, body: Body, axes: Axes) -> Arrays:
    """The motion as AMASS has it for SMPL-X: z up, face and hands at rest.

    Betas are zero, since those of SMPL and of the CC0 body mean something else there. ``trans`` is
    the pelvis; SMPL-X's own lies below the origin, so its figure stands lower by that constant."""
    motion = even.motion
    rotmats = axes.rotmats(motion.rotmats)
    poses = np.zeros((len(rotmats), _SMPLX_JOINTS, 3), np.float32)
    poses[:, :22] = nearest_rotvecs(roma.rotmat_to_rotvec(rotmats[:, :22].double())).numpy()
    upright = torch.eye(3).expand(len(rotmats), 24, 3, 3)
    trans = axes.points(motion.trans + body.joints(upright, motion.betas)[:, 0])
    rate = np.float64(even.rate)
    return {
        "poses": poses.reshape(len(poses), -1),
        "trans": trans.numpy(),
        "betas": np.zeros(16, np.float32),
        "num_betas": np.int64(16),
        "gender": np.array(body.gender),
        "surface_model_type": np.array("smplx"),
        "mocap_framerate": rate,
        "mocap_frame_rate": rate,
        "mocap_time_length": np.float64(len(poses) / even.rate),
        "root_orient": poses[:, 0],
        "pose_body": poses[:, 1:22].reshape(len(poses), -1),
        "pose_jaw": poses[:, 22],
        "pose_eye": poses[:, 23:25].reshape(len(poses), -1),
        "pose_hand": poses[:, 25:].reshape(len(poses), -1),
    }


def _save(path: Path, arrays: Arrays) -> None:
    with open(path, "wb") as file:
        write_npz(file, arrays)
