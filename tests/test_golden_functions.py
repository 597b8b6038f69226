"""The official functions of SPIN, CycleAdapt, DynaBOA and MotionCLIP on stored arrays: those that
no other test compares with."""

from __future__ import annotations

import numpy as np
import roma
import torch

from semtta.bench.metrics import (
    acceleration_errors,
    aligned_joint_errors,
    joint_errors,
    vertex_errors,
)
from semtta.geometry import columns_to_rotmat, procrustes_align, square_boxes, to_image
from semtta.hmr.hmr import CYCLEADAPT_CROP
from semtta.hmr.iterative import decode
from semtta.hmr.preprocess import square_to_crop
from semtta.motion.mdnet import _from_numbers

FOURTEEN = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]  # of Human3.6M's 17, SPIN's order


def close(ours, official, atol=1e-4):
    torch.testing.assert_close(
        torch.as_tensor(ours).double(), torch.as_tensor(official).double(), atol=atol, rtol=1e-6
    )


def test_axis_angle_and_back(golden):
    z = golden("functions/rotations.npz")
    rotmats = roma.rotvec_to_rotmat(z["aa"].double())
    close(rotmats, z["cycleadapt_batch_rodrigues"])
    six = rotmats[..., :2].flatten(-2)  # two columns, interleaved
    close(six, z["cycleadapt_axis_angle_to_6d"])
    close(six, z["cycleadapt_rotmat_to_6d"])
    rotvec = roma.rotmat_to_rotvec(z["spin_rot6d_to_rotmat"].double())
    close(rotvec, z["dynaboa_rotation_matrix_to_angle_axis"])
    close(rotvec, z["cycleadapt_rot6d_to_axis_angle"])


def test_six_numbers_in_all_three_layouts(golden):
    z = golden("functions/rotations.npz")
    d6 = z["d6"]
    pose = d6.reshape(-1)[:144][None]  # 24 of the 32
    close(decode(pose)[0], z["spin_rot6d_to_rotmat"][:24])
    for official in ("spin_rot6d_to_rotmat", "cycleadapt_rot6d_to_rotmat"):
        close(_from_numbers(pose)[0], z[official][:24])
    rows = columns_to_rotmat(d6).transpose(-1, -2)  # the same numbers read as two rows
    close(rows, z["motionclip_rotation_6d_to_matrix"])
    matrix = z["motionclip_axis_angle_to_matrix"]
    close(matrix[:, :2].flatten(1), z["motionclip_matrix_to_rotation_6d"])


def test_boxes_and_cameras_of_crops(golden):
    z = golden("functions/camera.npz")
    xywh = z["bbox"].float()
    corners = torch.cat((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), -1)
    boxes, official = square_boxes(corners, 1.25), z["cycleadapt_process_bbox_125"]
    close(boxes[:, :2] - boxes[:, 2:] / 2, official[:, :2])
    close(boxes[:, 2], official[:, 2])

    # the full image's camera that shows what the crop's shows: CycleAdapt stores focal and centre
    boxes = square_boxes(corners)
    middle = to_image(torch.full((3, 1, 2), 112.0), boxes, 224)[:, 0]
    close(middle, z["princpt"])
    close(5000 * boxes[:, 2:] / 224, z["focal"][:, :1], atol=2e-3)

    z = golden("functions/crop.npz")
    x, y, width, height = z["bbox"].tolist()
    square = (x + width / 2, y + height / 2, max(width, height) * CYCLEADAPT_CROP.box_scale)
    close(square_to_crop(square, 224)[:2], z["cycleadapt_trans"])


def test_errors(golden):
    z = golden("functions/metrics.npz")
    predicted, truth = z["pred17"].double() / 1000, z["gt17"].double() / 1000
    plain = joint_errors(predicted, truth, [0])[:, FOURTEEN].mean(1)
    close(plain, z["spin_mpjpe"])
    close(plain.mean(), 193.27704307420646, atol=1e-6)
    ours, theirs = (x[:, FOURTEEN] - x[:, :1] for x in (predicted, truth))
    aligned = aligned_joint_errors(ours, theirs).mean(1)
    close(aligned, z["spin_pa_mpjpe"])
    close(aligned.mean(), 74.31169484022703, atol=1e-6)
    for official in ("spin_aligned", "cycleadapt_aligned"):
        close(1000 * procrustes_align(ours, theirs), z[official], atol=1e-6)
    acceleration = acceleration_errors(predicted, truth, [0])
    close(acceleration[:, FOURTEEN].mean(1), z["cycleadapt_accel"])

    vertices = np.random.RandomState(33).standard_normal((16, 200, 3)) * 300
    moved = vertices + np.random.RandomState(34).standard_normal((16, 200, 3)) * 30
    a, b = (torch.from_numpy(v) / 1000 for v in (vertices, moved))
    ours = vertex_errors(a, b, predicted[:, 0], truth[:, 0]).mean(1)
    close(ours, z["cycleadapt_mpvpe"])
