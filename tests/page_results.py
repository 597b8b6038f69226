"""A saved track without a run: what ``track-XX.npz`` would hold."""

import numpy as np
import torch

from semtta.body import load_body
from semtta.skeletons import BODY27, SMPL24


def saved_track(frames=range(12), track_id=1, fps=30.0, labels=None, seed=0) -> dict:
    """Someone who waves in front of the camera; base is rougher than adapted, one wrist filled."""
    rng = np.random.default_rng(seed)
    frames = np.asarray(list(frames))
    count, joints = len(frames), len(BODY27)
    pose = 0.2 * rng.standard_normal((1, 24, 3)) + 0.05 * rng.standard_normal((count, 24, 3))
    pose[:, 0] = [np.pi, 0, 0]  # upright: the body's y is up, the camera's down
    pose[:, 16, 2] += np.sin(frames / 5)
    betas = 0.5 * rng.standard_normal((1, 10)) + 0.02 * rng.standard_normal((count, 10))
    trans = np.array([0.2, 0.1, 4.0]) + 0.02 * rng.standard_normal((count, 3))
    focal, center = 800.0, np.array([320.0, 240.0])
    arrays = {
        "track_id": np.int64(track_id), "frames": frames, "times": frames / fps,
        "fps": np.float64(fps), "focal": np.float64(focal), "center": center,
        "boxes": np.tile(np.float32([200, 60, 440, 420]), (count, 1)),
        "crops": np.tile(np.float32([320, 240, 400]), (count, 1)),
        "labels": np.array(labels or ["waving"] * count),
        "landmark_names": np.array(BODY27.joints), "smpl_joint_names": np.array(SMPL24.joints),
        "similarity": np.float32(rng.uniform(0.4, 0.9, count)),
        "gate_similarity": np.float32(rng.uniform(0.2, 0.9, count)), "sigma": np.float64(0.5),
    }  # fmt: skip
    body = load_body()
    for prefix, wobble in (("", 0.0), ("base_", 0.1)):
        rotvecs = pose + wobble * rng.standard_normal(pose.shape) * (np.arange(24) > 0)[:, None]
        points = body.landmarks(_rotmats(rotvecs), torch.tensor(betas).float(), BODY27).numpy()
        points = points + trans[:, None]
        arrays |= {
            f"{prefix}global_orient": np.float32(rotvecs[:, 0]),
            f"{prefix}body_pose": np.float32(rotvecs[:, 1:].reshape(count, 69)),
            f"{prefix}betas": np.float32(betas), f"{prefix}trans": np.float32(trans),
            f"{prefix}cam": np.zeros((count, 3), np.float32),
            f"{prefix}landmarks2d": np.float32(points[..., :2] / points[..., 2:] * focal + center),
        }  # fmt: skip
    conf = np.full((count, joints), 0.9, np.float32)
    hidden = BODY27.index("right_wrist")
    conf[count // 2 :, hidden] = 0
    filled = np.zeros((count, joints), np.int64)
    filled[count // 2 : -1, hidden] = 3
    seen = np.float32(arrays["landmarks2d"] + rng.standard_normal((count, joints, 2)))
    return arrays | {
        "detected_xy": seen * (conf > 0)[..., None], "detected_conf": conf, "evidence_xy": seen,
        "evidence_weight": np.float32((conf > 0) | (filled > 0)), "filled_in_epoch": filled,
    }  # fmt: skip


def _rotmats(rotvecs: np.ndarray) -> torch.Tensor:
    import roma

    return roma.rotvec_to_rotmat(torch.tensor(rotvecs).float())
