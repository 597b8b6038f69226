"""Rotations, cameras, crops and alignment: pure functions on tensors.

Camera frame, image pixels and all other axes and units: ``docs/conventions.md``. Rotations are
matrices everywhere.
"""

from semtta.geometry.boxes import crop_affine, keypoint_boxes, square_boxes, to_crop, to_image
from semtta.geometry.camera import (
    Camera,
    check_camera,
    crop_translation,
    default_focal,
    full_translation,
    image_camera,
    plane_boxes,
    project,
    ray_rotation,
    weak_perspective,
)
from semtta.geometry.procrustes import procrustes_align, root_align
from semtta.geometry.rotations import (
    MIRROR_SMPL24,
    chordal_mean,
    columns_to_rotmat,
    gaussian_smooth,
    geodesic_degrees,
    mirror_pose,
    nearest_rotation,
    nearest_rotvecs,
    rotmat_to_columns,
)

__all__ = [
    "Camera", "MIRROR_SMPL24", "check_camera", "chordal_mean", "columns_to_rotmat", "crop_affine",
    "crop_translation", "default_focal", "full_translation", "gaussian_smooth",
    "geodesic_degrees", "image_camera", "keypoint_boxes", "mirror_pose", "nearest_rotation",
    "nearest_rotvecs", "plane_boxes", "procrustes_align", "project", "ray_rotation", "root_align",
    "rotmat_to_columns", "square_boxes", "to_crop", "to_image", "weak_perspective",
]  # fmt: skip
