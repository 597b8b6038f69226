"""Random views of a crop: an affine map and a change of its looks."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np


@dataclass(frozen=True)
class View:
    """How a crop is shown.

    Args:
        rotation, shear: degrees.
        scale: > 1 = nearer.
        shift: x, y as shares of the crop's size.
        gain: factor on each RGB channel.
        bias: added to all channels, grey levels.
        contrast: factor around the middle grey.
        blur: standard deviation, pixels; 0 = none.
    """

    rotation: float = 0.0
    scale: float = 1.0
    shear: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bias: float = 0.0
    contrast: float = 1.0
    blur: float = 0.0

    def matrix(self, size: int) -> np.ndarray:
        """(3, 3) affine between crops of ``size`` pixels, around their middle."""
        turn, slant = np.radians(self.rotation), np.tan(np.radians(self.shear))
        cos, sin = np.cos(turn) * self.scale, np.sin(turn) * self.scale
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, slant], [0, 1]])
        middle = np.full(2, (size - 1) / 2)
        affine = np.eye(3)
        affine[:2, :2] = linear
        affine[:2, 2] = middle - linear @ middle + size * np.asarray(self.shift)
        return affine


NO_CHANGE = View()


@dataclass
class Augmentation:
    """What views are drawn; UniFrame's ranges for bodies by default.

    Args:
        rotation, shear: largest angle to either side, degrees.
        scale: least and most.
        translate: largest shift to either side, share of the crop.
        colour: largest change of brightness, contrast and of single channels, share.
        blur: largest standard deviation, pixels.
    """

    rotation: float = 60.0
    shear: float = 30.0
    scale: list[float] = field(default_factory=lambda: [0.6, 1.3])
    translate: float = 0.05
    colour: float = 0.25
    blur: float = 0.8

    def draw(self, rng: np.random.Generator) -> View:
        """One view."""

        def around(reach: float) -> float:
            return float(rng.uniform(-reach, reach))

        def gain() -> float:
            return 1 + around(self.colour / 2)

        return View(
            rotation=around(self.rotation),
            scale=float(rng.uniform(self.scale[0], self.scale[1])),
            shear=around(self.shear),
            shift=(around(self.translate), around(self.translate)),
            gain=(gain(), gain(), gain()),
            bias=128 * around(self.colour),
            contrast=1 + around(self.colour),
            blur=float(rng.uniform(0, self.blur)),
        )


def apply_look(image: np.ndarray, view: View) -> np.ndarray:
    """A crop (S, S, 3) uint8 with a view's colours and blur."""
    if view.blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), view.blur)
    slope = view.contrast * np.asarray(view.gain)
    if np.allclose(slope, 1) and view.bias == 0:
        return image
    levels = np.arange(256)[:, None] - 128
    table = np.clip(levels * slope + 128 + view.bias, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None])
