"""Labelled and unlabelled images as one kind of set, and crops cut from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from semtta.engine import threaded_map
from semtta.errors import SemttaError
from semtta.pose2d.augment import NO_CHANGE, View, apply_look
from semtta.pose2d.skeletons import GroupedSkeleton
from semtta.video import read_image

_LARGEST = 100  # sides of an image: a square beyond shows a dot, and its blur would take forever


@dataclass(frozen=True)
class Entry:
    """One person or hand in one image.

    Args:
        image: file, or (H, W, 3) uint8 RGB.
        square: (3,) centre x, centre y, side of its crop, image pixels; None = the whole image.
        xy: (K, 2) image pixels; whatever where ``weight`` is 0.
        weight: (K,) 1 = labelled.
        mirror: whether the crop is mirrored, joints keeping their names (left and right hands).
        name: for messages.
        size: width, height of the image that ``xy`` counts in; None = unknown.
    """

    image: Path | np.ndarray
    square: np.ndarray | None
    xy: np.ndarray
    weight: np.ndarray
    mirror: bool = False
    name: str = ""
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class KeypointSet:
    """Images of one domain.

    Args:
        name: of the data set, for tables.
        skeleton: of the labels.
        entries: the images.
    """

    name: str
    skeleton: GroupedSkeleton
    entries: Sequence[Entry]

    def __post_init__(self):
        if not len(self.entries):
            raise SemttaError(f"the set '{self.name}' has no images.")
        joints = len(self.skeleton)
        for entry in self.entries:
            if np.shape(entry.xy) != (joints, 2) or np.shape(entry.weight) != (joints,):
                raise SemttaError(
                    f"'{entry.name or self.name}' has {len(entry.xy)} joints, but skeleton "
                    f"'{self.skeleton.name}' has {joints}."
                )

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def labelled(self) -> int:
        """Number of labelled joints."""
        return int(sum((entry.weight > 0).sum() for entry in self.entries))

    def missing(self) -> list[Path]:
        """Files of the set that are not there."""
        files = (e.image for e in self.entries if not isinstance(e.image, np.ndarray))
        return [file for file in files if not file.is_file()]

    def cached(self, size: int) -> KeypointSet:
        """The same set with every crop cut once and held in memory (3 size^2 bytes each).

        Entries that are in memory already stay as they are: frames of a video have a margin, for
        views that look beyond the crop."""

        def cut(entry: Entry) -> Entry:
            if isinstance(entry.image, np.ndarray):
                return entry
            crop = cut_crop(entry, size, NO_CHANGE)
            return Entry(crop.image, None, crop.xy, crop.weight, False, entry.name)

        return replace(self, entries=list(threaded_map(cut, self.entries, workers=2)))


@dataclass(frozen=True)
class Crop:
    """One crop.

    Args:
        image: (S, S, 3) uint8 RGB.
        xy: (K, 2) crop pixels.
        weight: (K,), 0 where a joint is not labelled or outside the crop.
        affine: (2, 3) from the crop without a view's change to this one.
    """

    image: np.ndarray
    xy: np.ndarray
    weight: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Batch:
    """B crops as tensors on the CPU; shapes as in :class:`Crop`, images (B, S, S, 3) uint8."""

    images: Tensor
    xy: Tensor
    weight: Tensor
    affine: Tensor


def cut_crop(entry: Entry, size: int, view: View) -> Crop:
    """Cut an entry's square to ``size`` pixels as a view sees it; edges are repeated beyond.

    Raises ``SemttaError`` naming an image that cannot be read or is not the one that was annotated,
    or a square that is none."""
    image = _pixels(entry)
    height, width = image.shape[:2]
    square = entry.square
    if square is None:
        square = np.array([(width - 1) / 2, (height - 1) / 2, max(width, height)])
    x, y, side = (float(v) for v in square)
    if not np.isfinite([x, y, side]).all() or not 1 <= side <= _LARGEST * max(width, height):
        raise SemttaError(f"'{entry.name}' has no crop: centre ({x:g}, {y:g}), side {side:g} "
                          f"pixels, in an image of {width} x {height}.")  # fmt: skip
    apart = np.abs([x - width / 2, y - height / 2]) > (side + np.array([width, height])) / 2
    if apart.any() and np.any(entry.weight):  # unlabelled boxes of a tracker may leave the image
        raise SemttaError(f"'{entry.name}' lies outside its image of {width} x {height} pixels.")
    scale = size / side
    # pixel centres on both sides: the square's middle falls between the middle two pixels
    middle = (size - 1) / 2
    base = np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y], [0, 0, 1.0]])
    if entry.mirror:
        base = np.array([[-1.0, 0, size - 1], [0, 1, 0], [0, 0, 1]]) @ base
    change = view.matrix(size)
    affine = change @ base
    pixels = _warp(image, affine, size)
    xy = entry.xy @ affine[:2, :2].T + affine[:2, 2]
    inside = ((xy >= -0.5) & (xy < size - 0.5)).all(1)
    weight = np.where(inside & np.isfinite(xy).all(1), entry.weight, 0.0)
    xy = np.where(weight[:, None] > 0, xy, 0.0)
    return Crop(apply_look(pixels, view), xy.astype(np.float32), weight.astype(np.float32),
                change[:2].astype(np.float32))  # fmt: skip


def _warp(image: np.ndarray, affine: np.ndarray, size: int) -> np.ndarray:
    """The (size, size, 3) part of an image that a (3, 3) affine shows, blurred where it shrinks."""
    shrink = np.sqrt(abs(np.linalg.det(affine[:2, :2])))
    if shrink < 0.7:  # only the part that is seen is blurred
        corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]])
        seen = (corners @ np.linalg.inv(affine).T)[:, :2]
        margin = 3 / shrink
        limit = np.array(image.shape[1::-1])
        low = np.clip(np.floor(seen.min(0) - margin), 0, limit - 1).astype(int)
        high = np.clip(np.ceil(seen.max(0) + margin), low + 1, limit).astype(int)
        image = cv2.GaussianBlur(image[low[1] : high[1], low[0] : high[0]], (0, 0), 0.45 / shrink)
        affine = affine @ np.array([[1.0, 0, low[0]], [0, 1, low[1]], [0, 0, 1]])
    return cv2.warpAffine(image, affine[:2], (size, size), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)  # fmt: skip


def _pixels(entry: Entry) -> np.ndarray:
    """The image, as long as it is the one that was annotated."""
    if isinstance(entry.image, np.ndarray):
        return entry.image
    image = read_image(entry.image)
    height, width = image.shape[:2]
    if entry.size not in (None, (width, height)):
        turned = entry.size == (height, width)
        why = "its EXIF tag turns it, or it was saved turned" if turned else "it was resized"
        raise SemttaError(
            f"'{entry.name}' was annotated in an image of {entry.size[0]} x {entry.size[1]} "
            f"pixels, but '{entry.image}' has {width} x {height}: {why}; annotate the image as it "
            "is, or save it as it was."
        )
    return image


def cut_batch(
    images: KeypointSet, indices: np.ndarray, size: int, views: Sequence[View], workers: int = 1
) -> Batch:
    """Crops of some entries, (B,) indices, each with its own view."""
    jobs = list(zip(indices, views, strict=True))

    def cut(job: tuple[int, View]) -> Crop:
        return cut_crop(images.entries[job[0]], size, job[1])

    crops = [cut(job) for job in jobs] if workers < 2 else list(threaded_map(cut, jobs, workers))
    parts = zip(*((c.image, c.xy, c.weight, c.affine) for c in crops))
    return Batch(*(torch.from_numpy(np.stack(part)) for part in parts))


def shuffled(count: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Endless batches of indices (batch,): every image once before any comes again. A set smaller
    than a batch repeats inside it."""
    waiting = np.empty(0, np.int64)
    while True:
        while len(waiting) < batch:
            waiting = np.concatenate((waiting, rng.permutation(count)))
        yield waiting[:batch]
        waiting = waiting[batch:]
