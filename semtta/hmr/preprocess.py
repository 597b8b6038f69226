"""From a video frame to what an image network reads: square crops, normalised."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.hmr.base import CropSpec

_LARGEST = 4  # sides of a box over the image's larger side, beyond which it is no person's


@dataclass(frozen=True)
class ImageCropSpec(CropSpec):
    """``CropSpec`` of a network that reads images.

    Args:
        aspect: width over height of what the network looks at inside the crop; a person's box is
            widened or heightened to it before its larger side is taken (4D-Humans: 0.75).
        rule: how the authors cut, which their weights expect. "affine" (CycleAdapt): exactly the
            square, interpolated in floating point, aliasing left in. "blurred" (4D-Humans): the
            same from a frame that is blurred where it is shrunk a lot, else rounded to whole grey
            levels. "rounded" (SPIN, BOA, DynaBOA): corners cut off to whole pixels, then resized.
            "nearest" (CLIFF): corners of what the network looks at rounded to whole pixels, then
            resized, aliasing left in.
    """

    aspect: float = 1.0
    rule: str = "affine"


def person_squares(boxes: Tensor, spec: CropSpec) -> Tensor:
    """The square that a network's authors cut around a person's box.

    Args:
        boxes: (..., 4) x0 y0 x1 y1, image pixels.
        spec: of the network.
    Returns: (..., 3) centre x, centre y, side, image pixels; may reach beyond the image."""
    low, high = boxes[..., :2], boxes[..., 2:]
    width, height = (high - low).unbind(-1)
    aspect = getattr(spec, "aspect", 1.0)
    # of a box grown to the aspect; the crop is square and a narrow network looks at its middle
    side = torch.maximum(height, width / aspect) if aspect < 1 else torch.maximum(height, width)
    return torch.cat(((low + high) / 2, (side * spec.box_scale)[..., None]), dim=-1)


def crop_pixels(image: np.ndarray, square: Tensor, spec: CropSpec) -> np.ndarray:
    """One crop, black beyond the image.

    Args:
        image: (H, W, 3) uint8.
        square: (3,) centre x, centre y, side, image pixels.
        spec: of the network.
    Returns: (size, size, 3) float32 in [0, 255]."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise SemttaError(f"frames must be (H, W, 3) uint8, not {image.shape} {image.dtype}.")
    x, y, side = (float(v) for v in square)
    if not np.isfinite([x, y, side]).all() or side <= 0:
        raise SemttaError(f"cannot cut a crop around the box centre ({x}, {y}), side {side}.")
    rule = getattr(spec, "rule", "affine")
    if rule in ("rounded", "nearest") and side > _LARGEST * max(image.shape):
        raise SemttaError(f"a box of {side:.0f} pixels is far larger than the image.")
    if rule == "rounded":
        return _resized(_whole_pixels(image, (x, y, side), spec.size), spec.size)
    if rule == "nearest":
        return _window(image, (x, y, side), spec)
    scale = spec.size / side
    left, top = 0, 0
    # 4D-Humans: factor f = side / size / 2, blur of (f - 1) / 2 pixels where f > 1.1
    factor = 0.5 / scale
    if rule == "affine":
        image = image.astype(np.float32)
    elif factor > 1.1:
        image, left, top = _blurred(image, (x, y, side), (factor - 1) / 2)
    shift = spec.size / 2 - scale * np.array([x - left, y - top])
    affine = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    crop = cv2.warpAffine(image, affine, (spec.size, spec.size), flags=cv2.INTER_LINEAR)
    return crop.astype(np.float32, copy=False)


def square_to_crop(square: tuple[float, float, float], size: int) -> np.ndarray:
    """(3, 3) map of SPIN's lineage from image to crop pixels, homogeneous."""
    x, y, side = square
    shift = [size * (0.5 - x / side), size * (0.5 - y / side)]
    return np.array([[size / side, 0.0, shift[0]], [0.0, size / side, shift[1]], [0.0, 0.0, 1.0]])


def _whole_pixels(image: np.ndarray, square: tuple[float, float, float], size: int) -> np.ndarray:
    """The whole pixels (h, w, 3) float32 that SPIN's lineage cuts around a square.

    Corners are cut off towards zero, so that a side may lose or gain a pixel; where a corner lies
    on a whole pixel the rounding of the inverted matrix decides, as in the official code."""
    corners = np.linalg.inv(square_to_crop(square, size)) @ [[0, size], [0, size], [1, 1]]
    (left, right), (top, bottom) = corners[:2].astype(int)
    return _part(image, left, top, max(right, left + 1), max(bottom, top + 1))


def _part(image: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Pixels (bottom - top, right - left, 3) float32, black beyond the image."""
    part = np.zeros((bottom - top, right - left, 3), np.float32)
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(v, 0, width)) for v in (left, right))
    y0, y1 = (int(np.clip(v, 0, height)) for v in (top, bottom))
    part[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return part


def _window(image: np.ndarray, square: tuple[float, float, float], spec: CropSpec) -> np.ndarray:
    """CLIFF's crop: what the network looks at is cut as whole pixels and resized on its own; the
    columns beside it stay black."""
    x, y, side = square
    seen = round(spec.size * getattr(spec, "aspect", 1.0))
    half = side / 2 * np.array([seen / spec.size, 1.0])
    left, top, right, bottom = (int(v) for v in np.round([[x, y] - half, [x, y] + half]).flatten())
    part = _part(image, left, top, max(right, left + 1), max(bottom, top + 1))
    crop = np.zeros((spec.size, spec.size, 3), np.float32)
    margin = (spec.size - seen) // 2
    crop[:, margin : margin + seen] = cv2.resize(part, (seen, spec.size))
    return crop


def _resized(part: np.ndarray, size: int) -> np.ndarray:
    """(h, w, 3) -> (size, size, 3) float32 as skimage resizes: blurred by (factor - 1) / 2 pixels
    along the axes that shrink, bilinear, edges mirrored."""
    sigma_y, sigma_x = (max(0.0, (n / size - 1) / 2) for n in part.shape[:2])
    if sigma_x or sigma_y:
        kernel = tuple(2 * int(4 * sigma + 0.5) + 1 for sigma in (sigma_x, sigma_y))
        # a sigma of zero would let OpenCV choose one, but then the kernel is a single pixel
        part = cv2.GaussianBlur(part, kernel, sigma_x, None, sigma_y, cv2.BORDER_REFLECT_101)
    return _interpolated(_interpolated(part, size, axis=0), size, axis=1)


def _interpolated(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Bilinear resizing along one axis, exact (OpenCV's own repeats edges)."""
    last = x.shape[axis] - 1
    place = (np.arange(size) + 0.5) * (last + 1) / size - 0.5
    low = np.floor(place).astype(int)
    weight = np.expand_dims(place - low, [i for i in range(3) if i != axis]).astype(np.float32)
    before, after = (
        np.take(x, np.clip(last - np.abs(last - np.abs(k)), 0, last), axis) for k in (low, low + 1)
    )
    return before * (1 - weight) + after * weight


def _blurred(
    image: np.ndarray, square: tuple[float, float, float], sigma: float
) -> tuple[np.ndarray, int, int]:
    """The part of the Gaussian-filtered image that a square needs: (h, w, 3) float32, and the
    place of its top-left pixel. Same numbers as filtering the whole image (edges repeated)."""
    x, y, side = square
    radius = int(4 * sigma + 0.5)  # where scipy and skimage truncate the kernel
    reach = side / 2 + radius + 2
    height, width = image.shape[:2]
    left, right = (int(np.clip(v, 0, width)) for v in (x - reach, x + reach + 1))
    top, bottom = (int(np.clip(v, 0, height)) for v in (y - reach, y + reach + 1))
    part = image[top:bottom, left:right].astype(np.float32)
    if not part.size:  # the square lies outside the image
        return np.zeros((1, 1, 3), np.float32), left, top
    kernel = (2 * radius + 1, 2 * radius + 1)
    return cv2.GaussianBlur(part, kernel, sigma, borderType=cv2.BORDER_REPLICATE), left, top


def normalize(pixels: Tensor, spec: CropSpec) -> Tensor:
    """(..., size, size, 3) RGB in [0, 255] -> (..., 3, size, size) float32, as the network reads
    it."""
    x = pixels.float().movedim(-1, -3)
    mean, std = (255 * x.new_tensor(v)[:, None, None] for v in (spec.mean, spec.std))
    return ((x - mean) / std).contiguous()


def crop_image(image: np.ndarray, square: Tensor, spec: CropSpec) -> Tensor:
    """RGB frame (H, W, 3) uint8 and square (3,) -> (3, size, size) as the network reads it."""
    return normalize(torch.from_numpy(crop_pixels(image, square, spec)), spec)
