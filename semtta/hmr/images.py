"""The crops of one track: cut once per video, kept small, normalised when they are read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from semtta.engine import threaded_map
from semtta.errors import SemttaError
from semtta.hmr.base import CropSpec
from semtta.hmr.preprocess import crop_pixels, normalize
from semtta.keypoints import Track
from semtta.video import read_frames


@dataclass(frozen=True)
class ImageCrops:
    """What an image network reads for every frame of a track.

    Args:
        pixels: (T, size, size, 3) float16 in [0, 255], RGB, on the CPU: 0.3 MB a frame at 224.
        spec: of the network.
        device: where crops are wanted.
    """

    pixels: Tensor
    spec: CropSpec
    device: torch.device

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, frames: Tensor) -> Tensor:
        """(B,) positions in the track -> (B, 3, size, size) normalised, on the device."""
        pixels = self.pixels[frames.cpu()]
        if self.device.type == "cuda":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        return normalize(pixels.to(self.device), self.spec)


def read_crops(
    video: str | Path, track: Track, squares: Tensor, spec: CropSpec, device: torch.device
) -> ImageCrops:
    """Read a video once and cut a track's crops.

    Args:
        video: the file that the track's frame numbers count.
        squares: (T, 3) centre x, centre y, side, image pixels."""
    rows = {int(frame): t for t, frame in enumerate(track.frames)}
    squares = squares.cpu()
    pixels = torch.zeros(len(track), spec.size, spec.size, 3, dtype=torch.float16)

    def cut(item) -> None:
        index, _, image = item
        if index in rows:
            t = rows[index]
            pixels[t] = torch.from_numpy(crop_pixels(image, squares[t], spec)).half()

    last = int(track.frames[-1])
    needed = islice(read_frames(video), last + 1)
    count = sum(1 for _ in threaded_map(cut, needed, workers=2))
    if count <= last:
        raise SemttaError(f"'{video}' has {count} frames, but track {track.id} goes on to {last}.")
    return ImageCrops(pixels, spec, device)
