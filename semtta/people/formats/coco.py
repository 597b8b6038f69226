"""COCO's results (mmpose 0.x, ViTPose, AlphaPose, RTMPose and many more) and annotations.

Results are a list of ``{image_id, keypoints, score?, box?|bbox?, idx?|track_id?}``; annotations an
object with ``images``, ``annotations`` and ``categories``, whose third number is a visibility.
"""

from __future__ import annotations

import numpy as np

from semtta.errors import SemttaError
from semtta.people.formats.joint_names import named_skeleton
from semtta.people.formats.sheet import Counted, Row, Sheet, corners, identity, triples, whole
from semtta.people.formats.source import Source
from semtta.skeletons import COCO17, Skeleton

TITLE = "COCO keypoints"
# COCO's visibility: absent, hidden (its place is somebody's guess), visible.
_VISIBILITY = {0: 0.0, 1: 0.5, 2: 1.0}


def sniff(source: Source) -> bool:
    if source.kind != "json":
        return False
    content = source.content
    if isinstance(content, dict):
        return isinstance(content.get("annotations"), list) and "images" in content
    if not isinstance(content, list):
        return False
    return not content or (isinstance(content[0], dict) and "image_id" in content[0])


def read(source: Source) -> Sheet:
    if isinstance(source.content, dict):
        return _annotations(source)
    rows, counted = [], Counted()
    for i, item in enumerate(source.content):
        where = f"'{source.path}', entry {i}"
        if not isinstance(item, dict) or "image_id" not in item or "keypoints" not in item:
            raise SemttaError(f"{where}: 'image_id' and 'keypoints' are expected.")
        points = triples(item["keypoints"], where)
        counted.check(len(points), where)
        image = item["image_id"]
        box = corners(item.get("box", item.get("bbox")), where, sized=True)
        person = identity(item.get("idx", item.get("track_id")), where)
        rows.append(Row(where, image if whole(image) else str(image), points, box, person))
    return Sheet(rows, counted.allowed or (COCO17,))


def _annotations(source: Source) -> Sheet:
    path, content = source.path, source.content
    images = _images(content["images"], f"'{path}'")
    rows, counted = [], Counted()
    for i, item in enumerate(content["annotations"]):
        where = f"'{path}', annotation {i}"
        if not isinstance(item, dict):
            raise SemttaError(f"{where}: an object is expected.")
        if not item.get("keypoints") or item.get("iscrowd"):
            continue
        image = images.get(_key(item.get("image_id")))
        if image is None:
            raise SemttaError(f"{where}: there is no image {str(item.get('image_id'))[:40]!r}.")
        points = _with_confidence(triples(item["keypoints"], where))
        counted.check(len(points), where)
        person = identity(item.get("track_id", item.get("instance_id")), where)
        box = corners(item.get("bbox"), where, sized=True)
        rows.append(Row(where, image["name"], points, box, person))
    named = _categories(content.get("categories"), counted.count)
    sizes = {image["size"] for image in images.values() if image["size"] is not None}
    if len(sizes) > 1:
        raise SemttaError(f"'{path}': its images have different sizes; a video has one.")
    return Sheet(
        rows, (named,) if named else counted.allowed or (COCO17,),
        size=next(iter(sizes), None), frames=tuple(image["name"] for image in images.values()),
    )  # fmt: skip


def _images(images, where: str) -> dict:
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise SemttaError(f"{where}: 'images' must be a list of objects.")
    found = {}
    for image in images:
        width, height = image.get("width"), image.get("height")
        sized = all(isinstance(n, (int, float)) and n > 0 for n in (width, height))
        found[_key(image.get("id"))] = {
            "name": str(image.get("file_name", image.get("id"))),
            "size": (float(width), float(height)) if sized else None,
        }
    return found


def _key(value):
    return value if isinstance(value, (int, str)) else None


def _with_confidence(points: np.ndarray) -> np.ndarray:
    flags = points[:, 2]
    if not np.isin(flags, list(_VISIBILITY)).all():
        return points  # somebody wrote confidences
    points = points.copy()
    points[:, 2] = np.select([flags == v for v in _VISIBILITY], list(_VISIBILITY.values()))
    return points


def _categories(categories, count: int | None) -> Skeleton | None:
    """The order that the file gives its points, if it names them."""
    if not isinstance(categories, list):
        return None
    for category in categories:
        names = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(names, list) and len(names) == count:
            return named_skeleton([str(name) for name in names])
    return None
