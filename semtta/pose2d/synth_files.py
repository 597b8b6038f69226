"""Renders on disk: a COCO-style folder, whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from semtta.engine import Progress
from semtta.errors import SemttaError
from semtta.files import new_folder
from semtta.pose2d.skeletons import GroupedSkeleton
from semtta.reading import read_json, reading

_DESCRIPTION = "renders of "  # by which a written folder is known again


def inside(xy: np.ndarray, size: int) -> np.ndarray:
    """(K,) bool: which points (K, 2) lie in an image of that size."""
    return np.all((xy >= 0) & (xy <= size - 1), axis=1)


def write_folder(
    folder: str | Path, renders: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], count: int,
    skeleton: GroupedSkeleton, category: str, what: str, overwrite: bool, progress: Progress,
) -> Path:  # fmt: skip
    """Write renders as a COCO-style folder: ``images/*.jpg`` and ``annotations.json``.

    The folder is whole or absent; earlier renders are replaced only with ``overwrite``, and other
    files never.

    Args:
        renders: image (S, S, 3) uint8 RGB, joints (K, 2) pixels and how each is seen (K,), COCO's
            2 visible, 1 hidden, 0 outside.
        category: name of what is shown.
        what: of whom, and by which seed.
    Raises ``SemttaError`` if it cannot be written."""
    folder = Path(folder)
    with new_folder(folder, overwrite, _holds_renders) as partial:
        (partial / "images").mkdir()
        images, annotations = [], []
        for i, (image, xy, seen) in enumerate(renders):
            name, size = f"{i:06d}.jpg", len(image)
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
            (partial / "images" / name).write_bytes(data.tobytes())
            triples = np.concatenate([xy, seen[:, None]], 1)
            images.append({"id": i, "file_name": name, "width": size, "height": size})
            annotations.append({"id": i, "image_id": i, "category_id": 1,
                                "bbox": [0, 0, size, size],
                                "keypoints": np.round(triples, 2).ravel().tolist()})  # fmt: skip
            progress("renders", i + 1, count, {})
        edges = [[a + 1, b + 1] for a, b in skeleton.edge_indices()]
        categories = [{"id": 1, "name": category, "keypoints": list(skeleton.joints),
                       "skeleton": edges}]  # fmt: skip
        content = {"info": {"description": _DESCRIPTION + what}, "images": images,
                   "annotations": annotations, "categories": categories}  # fmt: skip
        (partial / "annotations.json").write_text(json.dumps(content), encoding="utf8")
    return folder


def _holds_renders(folder: Path) -> bool:
    """Whether a folder is one of :func:`write_folder`."""
    file, what = folder / "annotations.json", "file of renders"
    try:
        content = read_json(file, what)
        with reading(file, what):
            ours = content["info"]["description"].startswith(_DESCRIPTION)
    except SemttaError:
        return False
    return ours and {path.name for path in folder.iterdir()} == {"images", "annotations.json"}
