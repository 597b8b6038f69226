"""Frames without labels as a target domain: a folder of images or a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semtta.engine import Progress, silent
from semtta.errors import SemttaError
from semtta.keypoints import Track
from semtta.pose2d.augment import NO_CHANGE
from semtta.pose2d.layouts import read_boxes, square_around
from semtta.pose2d.samples import Entry, KeypointSet, cut_crop
from semtta.pose2d.skeletons import GroupedSkeleton
from semtta.video import list_images, read_frames

BOX_SCALE = 1.2  # squares around people found by the built-in detector
_KEEP = 1.25  # crops of video frames are kept this much wider, for views that look beyond


def unlabelled_set(
    path: str | Path, skeleton: GroupedSkeleton, size: int, boxes: str = "whole",
    progress: Progress = silent,
) -> KeypointSet:  # fmt: skip
    """A target domain.

    Args:
        path: folder of images (of any sizes) or a video.
        size: side of the crops that the network reads; frames of a video are kept no larger.
        boxes: ``whole`` = the whole image; ``people`` = around everybody whom the built-in
            detector follows through the video; or a JSON file, image name -> x0 y0 x1 y1.

    Raises ``SemttaError`` if nothing is there, or nobody is found.
    """
    path = Path(path)
    if boxes == "people":
        from semtta.people import track_video

        tracked = track_video(
            path, progress=lambda done, total: progress("people", done, total, {})
        )
        return track_set(path, tracked.tracks, skeleton, size)
    if path.is_dir():
        if boxes != "whole" and not Path(boxes).is_file():
            raise SemttaError(f"boxes must be whole, people or a JSON file, but '{boxes}' is none.")
        given = None if boxes == "whole" else read_boxes(boxes)
        return _images(path, skeleton, given)
    if boxes != "whole":
        raise SemttaError("boxes from a file belong to a folder of images; use boxes=people for "
                          "a video.")  # fmt: skip
    entries = [
        _kept(image, None, size, skeleton, f"{path.name}, frame {index}")
        for index, _, image in read_frames(path)
    ]
    return KeypointSet(path.name, skeleton, entries)


def track_set(
    video: str | Path, tracks: list[Track], skeleton: GroupedSkeleton, size: int,
    scale: float = BOX_SCALE,
) -> KeypointSet:  # fmt: skip
    """Crops around the people of a video; the frames are read once."""
    wanted: dict[int, list[tuple[int, np.ndarray]]] = {}
    for track in tracks:
        for frame, box in zip(track.frames.tolist(), track.boxes.numpy()):
            square = square_around(box[:2], box[2:], scale)
            wanted.setdefault(frame, []).append((track.id, square))
    entries = []
    for index, _, image in read_frames(video):
        for person, square in wanted.get(index, ()):
            name = f"{Path(video).name}, frame {index}, person {person}"
            entries.append(_kept(image, square, size, skeleton, name))
    return KeypointSet(Path(video).name, skeleton, entries)


def _images(
    folder: Path, skeleton: GroupedSkeleton, boxes: dict[str, np.ndarray] | None
) -> KeypointSet:
    entries = []
    for image in list_images(folder):
        square = None
        if boxes is not None:
            if image.name not in boxes:
                raise SemttaError(f"the boxes have none for image '{image.name}'.")
            box = boxes[image.name]
            square = square_around(box[:2], box[2:], 1.0)
        entries.append(_blank(image, square, skeleton, image.name))
    return KeypointSet(folder.name, skeleton, entries)


def _blank(image, square, skeleton: GroupedSkeleton, name: str) -> Entry:
    joints = len(skeleton)
    return Entry(image, square, np.zeros((joints, 2)), np.zeros(joints), name=name)


def _kept(
    image: np.ndarray, square: np.ndarray | None, size: int, skeleton: GroupedSkeleton, name: str
) -> Entry:
    """An entry that holds only a margin around its square, at about the network's resolution."""
    height, width = image.shape[:2]
    if square is None:
        square = np.array([(width - 1) / 2, (height - 1) / 2, max(width, height)])
    wide = round(size * _KEEP)
    grown = square * [1, 1, wide / size]
    crop = cut_crop(_blank(image, grown, skeleton, name), wide, NO_CHANGE)
    inner = np.array([(wide - 1) / 2, (wide - 1) / 2, size])
    return _blank(crop.image, inner, skeleton, name)
