"""Pictures made worse: dark, blurred by motion, noisy, small, compressed, tinted.

Each kind has three strengths and a seed; the same seed gives the same pixels. Only pixels change:
the camera and the truth stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from semtta.errors import SemttaError

STRENGTHS = (1, 2, 3)

_DARK = ((1.5, 0.5, 2.0), (2.0, 0.3, 4.0), (2.5, 0.2, 6.0))  # gamma, gain, noise in grey levels
_BLUR = (0.01, 0.02, 0.04)  # length of the smear, share of the picture's height
_NOISE = (15.0, 30.0, 60.0)  # standard deviation, grey levels
_SMALLER = (3, 6, 10)  # times
_QUALITY = (20, 10, 4)  # of JPEG, of 100
_CAST = (0.25, 0.5, 0.75)  # share of two of the colours that is taken away, at most


@dataclass(frozen=True)
class Degradation:
    """How pictures are made worse.

    Args:
        kind: of ``KINDS``.
        strength: 1, 2 or 3.
    """

    kind: str
    strength: int

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.kind}{self.strength}"

    def __call__(self, frames: Iterator[np.ndarray], seed: int = 0) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB -> the same sizes."""
        change, clip = KINDS[self.kind], np.random.default_rng([seed, 0])
        fixed = clip.random(3)
        for t, frame in enumerate(frames):
            random = np.random.default_rng([seed, 1, t])
            yield change(frame, self.strength - 1, random, fixed)


def degradation(text: str) -> Degradation:
    """``kind:strength``, as ``dark:2``; raises ``SemttaError`` for any other."""
    kind, _, strength = text.partition(":")
    if kind not in KINDS or strength not in map(str, STRENGTHS):
        raise SemttaError(
            f"'{text}' is no degradation; give one of {', '.join(KINDS)} and its strength from 1 "
            "to 3, as in dark:2."
        )
    return Degradation(kind, int(strength))


_Change = Callable[[np.ndarray, int, np.random.Generator, np.ndarray], np.ndarray]


def _dark(frame: np.ndarray, level: int, random: np.random.Generator, _) -> np.ndarray:
    """Little light: dark parts lose most, and the sensor's noise stands out."""
    gamma, gain, noise = _DARK[level]
    light = 255 * gain * (frame / np.float32(255)) ** np.float32(gamma)
    return _bytes(light + noise * random.standard_normal(frame.shape, np.float32))


def _blur(frame: np.ndarray, level: int, random: np.random.Generator, _) -> np.ndarray:
    """A camera that shakes: each frame smeared along a direction of its own."""
    length = max(3, round(_BLUR[level] * frame.shape[0]))
    angle = random.uniform(0, np.pi)
    half = (length - 1) / 2
    along = np.linspace(-half, half, 8 * length)
    size = 2 * int(np.ceil(half)) + 1
    kernel = np.zeros((size, size), np.float32)
    rows = np.rint(size // 2 + along * np.sin(angle)).astype(int)
    columns = np.rint(size // 2 + along * np.cos(angle)).astype(int)
    np.add.at(kernel, (rows, columns), 1.0)
    return cv2.filter2D(frame, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _noise(frame: np.ndarray, level: int, random: np.random.Generator, _) -> np.ndarray:
    """Gaussian, each pixel and colour by itself."""
    return _bytes(frame + _NOISE[level] * random.standard_normal(frame.shape, np.float32))


def _small(frame: np.ndarray, level: int, *_) -> np.ndarray:
    """Few pixels, then shown at the old size."""
    height, width = frame.shape[:2]
    size = (max(1, width // _SMALLER[level]), max(1, height // _SMALLER[level]))
    shrunk = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


def _compressed(frame: np.ndarray, level: int, *_) -> np.ndarray:
    """JPEG of low quality, frame by frame."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY[level]]
    _done, packed = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), quality)
    shown = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(shown[..., ::-1])


def _tinted(frame: np.ndarray, level: int, _, fixed: np.ndarray) -> np.ndarray:
    """Coloured light: one colour stays, the others fade; the same in all frames."""
    fade = (fixed.max() - fixed) / max(float(np.ptp(fixed)), 1e-9)
    return _bytes(frame * (1 - _CAST[level] * fade).astype(np.float32))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


KINDS: dict[str, _Change] = {
    "dark": _dark, "blur": _blur, "noise": _noise, "small": _small, "jpeg": _compressed,
    "tint": _tinted,
}  # fmt: skip
