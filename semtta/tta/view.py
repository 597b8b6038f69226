"""How a prediction lands in the image of its track."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from semtta.body import Body
from semtta.config_schema import CameraConfig
from semtta.geometry import (
    Camera,
    check_camera,
    crop_translation,
    full_translation,
    project,
    ray_rotation,
    to_image,
    weak_perspective,
)
from semtta.hmr.base import CropSpec, HumanMeshRegressor, Prediction
from semtta.skeletons import Skeleton
from semtta.video import VideoSource
from semtta.video.lens import video_camera


def camera_of(
    model: HumanMeshRegressor,
    settings: CameraConfig,
    width: int,
    height: int,
    video: VideoSource | None = None,
) -> Camera:
    """Intrinsics of an image of this size, pixels: as the settings say, else as the model knows
    (a result's own), else guessed.

    Args:
        video: whose metadata are read if the settings say so.
    Raises ``SemttaError`` for a camera that cannot have taken it."""
    of_model = getattr(model, "camera", None)
    own = None if of_model is None else of_model(width, height)
    if own is not None and settings.focal is None:
        cx, cy = settings.center or own.center
        return check_camera(Camera(own.focal, (cx, cy), own.origin), width, height)
    return video_camera(width, height, settings.focal, settings.center, video)


@dataclass(frozen=True)
class View:
    """Body, camera and crops of one track.

    Args:
        body: turns rotations and betas into landmarks.
        camera: of the full image.
        boxes: (T, 3) square crops, image pixels.
        crop: the model's crop.
        skeleton: landmarks that the 2D evidence names.
    """

    body: Body
    camera: Camera
    boxes: Tensor
    crop: CropSpec
    skeleton: Skeleton

    def landmarks(self, prediction: Prediction) -> Tensor:
        """(B, J, 3) metres, camera axes, without translation."""
        return self.body.landmarks(prediction.rotmats, prediction.betas, self.skeleton)

    def translation(self, prediction: Prediction, frames: Tensor) -> Tensor:
        """(B, 3) metres in front of the full image's camera.

        A model with a camera of the crop is moved to where the full camera sees it at the same
        place and size (4D-Humans' ``cam_crop_to_full``)."""
        if self.crop.camera == "metric":
            return prediction.cam
        return full_translation(prediction.cam, self.boxes[frames], self.camera)

    def weak(self, prediction: Prediction, frames: Tensor) -> Tensor:
        """(B, 3) weak perspective s, tx, ty in the crop, whatever the model's camera is."""
        if self.crop.camera == "metric":
            return weak_perspective(prediction.cam, self.boxes[frames], self.camera)
        return prediction.cam

    def project(self, prediction: Prediction, frames: Tensor, landmarks: Tensor) -> Tensor:
        """Landmarks (B, J, 3) of a prediction to image pixels (B, J, 2)."""
        if self.crop.camera != "crop":
            points = landmarks + self.translation(prediction, frames)[:, None]
            center = points.new_tensor(self.camera.center)
            return project(points, self.camera.focal, center)
        size = self.crop.size
        points = landmarks + crop_translation(prediction.cam, size, self.crop.focal)[:, None]
        center = points.new_full((2,), size / 2)
        return to_image(project(points, self.crop.focal, center), self.boxes[frames], size)

    def from_crop_axes(self, points: Tensor, frames: Tensor) -> Tensor:
        """(B, J, 3) in the axes of a camera that looks at each frame's box -> camera axes."""
        center = points.new_tensor(self.camera.center)
        turn = ray_rotation((self.boxes[frames, :2] - center) / self.camera.focal)
        return points @ turn.transpose(-1, -2)

    def crop_scale(self, frames: Tensor) -> Tensor:
        """(B, 1, 1) crop pixels per image pixel, the unit of the 2D loss."""
        return (self.crop.size / self.boxes[frames, 2])[:, None, None]
