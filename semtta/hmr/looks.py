"""What ``blazehmr`` reads of a frame: its crop, where that lies, and what was seen around it.

Crops are the built-in detector's: squares turned with the trunk, steady over time, placed by the
hips and shoulders of the 2D evidence. Where somebody else is near, the landmark network may follow
him; then a closer or mirrored crop is taken, in which it follows whom the evidence shows. Beside
its pixels a frame knows the map from its crop to the picture, and the landmarks of its neighbours
in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from semtta.engine import threaded_map
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.hmr.base import CropSpec
from semtta.hmr.features import FEATURES, OFFSETS, lifter_features
from semtta.hmr.images import ImageCrops
from semtta.hmr.preprocess import normalize
from semtta.keypoints import Keypoints2D, Track
from semtta.people.blazepose import CROP, Roi, crop
from semtta.people.fusion import agreement
from semtta.people.gating import person_size
from semtta.people.rois import roi_track
from semtta.skeletons import BODY27, COCO17
from semtta.video import VideoSource, read_frames

PLACE = 6 + len(BODY27)  # the map from a crop to the picture, and which landmarks may be believed
_IMAGE = 3 * CROP * CROP
_OTHERS = tuple((size, mirrored) for size in (1.0, 0.85, 0.75) for mirrored in (False, True))[1:]
_STRANGER = 0.05  # distance to the evidence, in person sizes, from which another crop is tried

Seen = tuple[Tensor, Tensor, Tensor, Tensor]
Look = Callable[[Tensor, Tensor], Seen]


@dataclass(frozen=True)
class LandmarkCrops(ImageCrops):
    """Crops of a track with what a network has to know beside their pixels.

    Args:
        pixels: (T, 256, 256, 3) uint8 RGB, mirrored where the map is.
        beside: (T, 33 + W * FEATURES) of each crop its place (see :func:`unpacked`), then the
            lifter's window, on the device.
    """

    beside: Tensor

    def _ready(self, pixels: Tensor, frames: list[int]) -> Tensor:
        """(B, 3 * 256 * 256 + 33 + W * FEATURES); see :func:`unpacked`."""
        return torch.cat((super()._ready(pixels, frames).flatten(1), self.beside[frames]), dim=1)


def unpacked(inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, 3, 256, 256) in [0, 1], places (B, 33) and windows (B, W, FEATURES).

    A place is the affine map (2, 3) from crop pixels to the normalised image plane, and for each of
    the 27 landmarks 1 or, where the 2D evidence says that it is hidden, 0.

    Raises ``SemttaError`` for rows of another length."""
    whole = _IMAGE + PLACE + len(OFFSETS) * FEATURES
    if inputs.dim() != 2 or inputs.shape[1] != whole:
        raise SemttaError(
            f"blazehmr reads rows of {whole} numbers a frame, not {tuple(inputs.shape)}."
        )
    images, beside = inputs[:, :_IMAGE], inputs[:, _IMAGE:]
    return (images.unflatten(1, (3, CROP, CROP)), beside[:, :PLACE],
            beside[:, PLACE:].unflatten(1, (len(OFFSETS), FEATURES)))  # fmt: skip


def read_looks(
    video: VideoSource, track: Track, camera: Camera, spec: CropSpec, look: Look
) -> LandmarkCrops:
    """Cut a track's crops, and look at every one once.

    Args:
        video: what the track's frame numbers count.
        look: images (B, 3, 256, 256) and places (B, 33) -> landmarks, as ``BlazeHMR.look``."""
    device = track.boxes.device
    rows = {int(frame): t for t, frame in enumerate(track.frames)}
    choose = _Chooser(track, camera, spec, look)
    shape = (len(track), CROP, CROP, 3)
    pixels = torch.zeros(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    places = track.boxes.new_zeros(len(track), PLACE)
    seen: dict[int, Seen] = {}

    def cut(item) -> None:
        index, _, image = item
        if index in rows:
            t = rows[index]
            chosen, places[t], seen[t] = choose(image, t)
            pixels[t] = torch.from_numpy(chosen)

    last = int(track.frames[-1])
    count = sum(1 for _ in threaded_map(cut, islice(read_frames(video), last + 1), workers=2))
    if count <= last:
        raise SemttaError(f"'{video}' has {count} frames, but track {track.id} goes on to {last}.")
    xy, conf, space, conf3d = (torch.cat([seen[t][i] for t in range(len(track))]) for i in range(4))
    said = replace(track, keypoints=Keypoints2D(_pixels(xy, camera), conf, BODY27),
                   landmarks3d=space, conf3d=conf3d)  # fmt: skip
    window = lifter_features(said, camera).flatten(1)
    return LandmarkCrops(pixels, spec, device, torch.cat((places, window), dim=1))


class _Chooser:
    """Which crop of a frame the network is shown, and what it says of it.

    Args: as of :func:`read_looks`."""

    def __init__(self, track: Track, camera: Camera, spec: CropSpec, look: Look):
        self.camera, self.spec, self.look = camera, spec, look
        self.like = track.boxes
        self.rois = track_rois(track)
        points = track.keypoints.to_skeleton(COCO17)
        self.xy, self.conf = _arrays(points.xy, points.conf)
        self.size = person_size(*_arrays(track.boxes))
        body = track.keypoints.to_skeleton(BODY27)
        lacks = [name not in track.keypoints.skeleton for name in BODY27.joints]
        self.known = ((body.conf > 0) | torch.tensor(lacks, device=self.like.device)).to(self.like)

    def __call__(self, image: np.ndarray, t: int) -> tuple[np.ndarray, Tensor, Seen]:
        """Pixels (256, 256, 3), place (33,) and landmarks (1, ...) of a frame's crop."""
        first = self._looked(image, t, 1.0, False)
        if first[0] < _STRANGER:
            return first[1:]
        looks = [first, *(self._looked(image, t, *other) for other in _OTHERS)]
        return min(looks, key=lambda found: found[0])[1:]

    def _looked(self, image: np.ndarray, t: int, size: float, mirrored: bool):
        """Distance to the evidence in person sizes, pixels, place, landmarks."""
        roi = Roi(self.rois[t].center, self.rois[t].size * size, self.rois[t].angle)
        pixels, affine = crop(image, roi), roi.to_image()
        if mirrored:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            affine = affine @ np.array([[-1.0, 0, CROP], [0, 1, 0], [0, 0, 1]])
        affine[:, 2] -= self.camera.center
        plane = self.like.new_tensor((affine / self.camera.focal).ravel())
        place = torch.cat((plane, self.known[t]))
        shown = normalize(torch.from_numpy(pixels)[None].to(place.device), self.spec)
        with torch.no_grad():  # here: it holds for one thread
            seen = self.look(shown, place[None])
        (points,) = _arrays(_pixels(seen[0][0], self.camera))
        off = agreement(points, self.xy[t], self.conf[t], self.size[t])
        return float(off), pixels, place, seen


def track_rois(track: Track) -> list[Roi]:
    """The detector's crops, from whatever 2D evidence a track has."""
    points = track.keypoints.to_skeleton(COCO17)
    return roi_track(*_arrays(points.xy, points.conf, track.boxes, track.times))


def _pixels(xy: Tensor, camera: Camera) -> Tensor:
    """Normalised image plane -> image pixels."""
    return xy * camera.focal + xy.new_tensor(camera.center)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [x.detach().cpu().double().numpy() for x in tensors]
