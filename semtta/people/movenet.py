"""MoveNet MultiPose: up to six people per image, COCO-17 keypoints with scores and boxes.

Network: Google, MoveNet MultiPose Lightning (Apache-2.0), converted by
``tools/convert_pose_nets.py``.
"""

from __future__ import annotations

import cv2
import numpy as np

from semtta.people.onnx_session import open_session
from semtta.people.tracker import Detections

_MULTIPLE = 32  # input sides must be divisible by the coarsest stride


class MoveNet:
    """The network with its pre- and post-processing.

    Args:
        size: long side of the network's input in pixels; larger finds smaller people and costs
            more (about 25 / 45 ms per portrait frame at 384 / 512 on two cores).
        threads: intra-op threads.
    """

    def __init__(self, size: int = 384, threads: int = 1):
        self.size = size
        self.session = open_session("pose/movenet_multipose.onnx", threads)

    def __call__(self, image: np.ndarray, min_score: float = 0.1) -> Detections:
        """Detect people in an RGB image (H, W, 3) uint8; scores below ``min_score`` are left out.

        Keypoint coordinates are not clipped and may lie outside the image.
        """
        canvas, scale = letterbox(image, self.size)
        people = self.session.run(None, {"image": canvas[None]})[0][0]
        return decode(people[people[:, 55] >= min_score], canvas.shape[:2], scale)


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale the long side to ``size``, pad right and bottom with black to multiples of 32.

    Returns the canvas and the scale factors of x and y (2,) that were really applied.
    """
    height, width = image.shape[:2]
    factor = size / max(height, width)
    new = (max(round(width * factor), 1), max(round(height * factor), 1))
    mode = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, new, interpolation=mode)
    padded = [-(-n // _MULTIPLE) * _MULTIPLE for n in small.shape[:2]]
    canvas = np.zeros((*padded, 3), np.uint8)
    canvas[: new[1], : new[0]] = small
    return canvas, np.array([new[0] / width, new[1] / height])


def decode(people: np.ndarray, canvas: tuple[int, int], scale: np.ndarray) -> Detections:
    """Network rows (N, 56) to pixels of the original image.

    Args:
        people: 17 x (y, x, score), ymin, xmin, ymax, xmax, score; in units of the canvas.
        canvas: height, width of the network's input.
        scale: (2,) x and y factors from image to canvas.
    """
    keypoints = people[:, :51].reshape(-1, 17, 3).astype(np.float64)
    size = np.array([canvas[1], canvas[0]])
    # The network counts from pixel centres, so that its half pixels must be scaled too.
    xy = (keypoints[..., 1::-1] * size + 0.5) / scale - 0.5
    corners = (people[:, [52, 51, 54, 53]].reshape(-1, 2, 2) * size + 0.5) / scale - 0.5
    boxes = corners.reshape(-1, 4)
    conf = np.clip(keypoints[..., 2], 0, 1)
    return Detections(boxes, np.clip(people[:, 55], 0, 1).astype(np.float64), xy, conf)
