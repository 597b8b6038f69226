"""The crops of one track: cut once per video, kept small, normalised when they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from semtta.engine import threaded_map
from semtta.errors import SemttaError
from semtta.hmr.base import CropSpec
from semtta.hmr.preprocess import crop_pixels, normalize
from semtta.keypoints import Track
from semtta.video import VideoSource, read_frames


@dataclass(frozen=True)
class ImageCrops:
    """What an image network reads for every frame of a track.

    Args:
        pixels: (T, size, size, 3) float16 in [0, 255], RGB, on the CPU: 0.3 MB a frame at 224;
            pinned where the device is a CUDA one.
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
        rows = frames.tolist()
        return self._ready(self._send(rows), rows)

    def prefetch(self, chunks: Sequence[Tensor]) -> Iterator[Tensor]:
        """``self[chunk]`` for one chunk of positions after the other.

        On CUDA the pixels of the next chunk travel while the caller computes on this one; elsewhere
        every chunk is cut when it is asked for."""
        if self.device.type != "cuda":
            yield from (self[chunk] for chunk in chunks)
            return
        rows = [chunk.tolist() for chunk in chunks]  # now: reading the device waits for its work
        start, finish = _beside(self._send, self.device)
        for part, pixels in zip(rows, one_ahead(rows, start, finish), strict=True):
            yield self._ready(pixels, part)

    def _ready(self, pixels: Tensor, frames: list[int]) -> Tensor:
        """Pixels (B, size, size, 3) of some frames as the network reads them."""
        return normalize(pixels, self.spec)

    def _send(self, frames: list[int]) -> Tensor:
        """Pixels (B, size, size, 3) of some frames on the device."""
        if self.device.type != "cuda":
            return self.pixels[frames].to(self.device)
        # frame by frame, because only the original is pinned and gathering it would be a copy more
        sent = self.pixels.new_empty((len(frames), *self.pixels.shape[1:]), device=self.device)
        for row, frame in zip(sent, frames, strict=True):
            row.copy_(self.pixels[frame], non_blocking=True)
        return sent


def one_ahead(items: Iterable, start: Callable, finish: Callable) -> Iterator:
    """``finish(start(item))`` in order, where the next item is started before one is handed out."""
    waiting = None
    for item in items:
        started = (start(item),)
        if waiting is not None:
            yield finish(*waiting)
        waiting = started
    if waiting is not None:
        yield finish(*waiting)


def _beside(send: Callable, device: torch.device) -> tuple[Callable, Callable]:
    """``send`` on a stream of its own, and what makes its result fit for the caller's stream."""
    stream = torch.cuda.Stream(device)

    def start(frames: list[int]) -> tuple[Tensor, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            return send(frames), stream.record_event()

    def finish(started: tuple[Tensor, torch.cuda.Event]) -> Tensor:
        sent, arrived = started
        current = torch.cuda.current_stream(device)
        current.wait_event(arrived)
        sent.record_stream(current)  # its memory is free for others when the caller is done
        return sent

    return start, finish


def read_crops(
    video: VideoSource,
    track: Track,
    squares: Tensor,
    spec: CropSpec,
    device: torch.device,
) -> ImageCrops:
    """Read a video once and cut a track's crops.

    Args:
        video: what the track's frame numbers count.
        squares: (T, 3) centre x, centre y, side, image pixels."""
    rows = {int(frame): t for t, frame in enumerate(track.frames)}
    squares = squares.cpu()
    shape = (len(track), spec.size, spec.size, 3)
    pixels = torch.zeros(shape, dtype=torch.float16, pin_memory=device.type == "cuda")

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
