"""Data sets as rows of one table: joint map, crop rule, reader; no class for each.

A reader (``semtta.pose2d.readers``) knows the files and returns every labelled person or hand in
the data set's own joint order; the row says what those joints are called here.

Where the code of RegDA and UniFrame does what nobody would want, it is not repeated:

- ``surreal`` takes SURREAL's shoulders; theirs are the collar bones (``surreal_regda``, to compare
  with their tables).
- The four versions of a FreiHAND photo stay on one side of the split.
- Test samples of Human3.6M are drawn without replacement.
- Labels stay floating-point pixels instead of heat-map cells.
- Hands become *left* hands by mirroring those known to be right, as their code does (its comment
  says the opposite); hands of unknown side stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from semtta.errors import SemttaError
from semtta.pose2d import readers
from semtta.pose2d.readers import Labelled, image_size
from semtta.pose2d.samples import Entry, KeypointSet
from semtta.pose2d.skeletons import BODY16, HAND21, GroupedSkeleton
from semtta.reading import read_json, reading

_BOX_SCALE = 1.5  # RegDA's, around the joints
JointMap = Sequence["int | tuple[int, ...] | None"]


@dataclass(frozen=True)
class Layout:
    """One data set.

    Args:
        name: how commands and configs call it.
        skeleton: ours.
        joints: for each of ours the data set's index, several indices to be averaged, or None.
        read: (folder, split) -> labelled people.
        splits: names that ``read`` knows; the first one is the default.
        test: the default for evaluation; empty = the last of ``splits``.
        crop: ``whole`` image, square around the ``joints`` (inside the image where its size is
            known, as in RegDA), or around the given ``box``.
        scale: of that square.
        note: what its users should know.
    """

    name: str
    skeleton: GroupedSkeleton
    joints: JointMap
    read: Callable[[Path, str], list[Labelled]]
    splits: tuple[str, ...]
    crop: str
    scale: float = 1.0
    test: str = ""
    note: str = ""

    @property
    def test_split(self) -> str:
        """What is measured on where nobody says otherwise."""
        return self.test or self.splits[-1]


# SURREAL's images are mirrored against its joints: SMPL's left ones are on the person's right.
_SURREAL = (7, 4, 1, 2, 5, 8, 0, 6, 12, 15, 20, 18, 16, 17, 19, 21)
_SURREAL_REGDA = (7, 4, 1, 2, 5, 8, 0, 9, 12, 15, 20, 18, 13, 14, 19, 21)
_LSP = (0, 1, 2, 3, 4, 5, None, None, 12, 13, 6, 7, 8, 9, 10, 11)
_H36M = (3, 2, 1, 4, 5, 6, 0, (14, 11), 8, 10, 16, 15, 14, 11, 12, 13)
_RHD = tuple([0] + [4 * finger + i for finger in range(5) for i in (4, 3, 2, 1)])  # tips first
_AS_IS = tuple(range(21))

LAYOUTS = {
    row.name: row
    for row in (
        Layout("surreal", BODY16, _SURREAL, readers.surreal, ("train", "val", "test"), "whole",
               note="RegDA's processed crops; shoulders and thorax as SURREAL's authors take them"),
        Layout("surreal_regda", BODY16, _SURREAL_REGDA, readers.surreal, ("train", "val", "test"),
               "whole", note="collar bones for shoulders, as RegDA and UniFrame"),
        Layout("lsp", BODY16, _LSP, readers.lsp, ("all", "train", "test"), "whole",
               test="all", note="the peers adapt to and test on all 2000 images"),
        Layout("lsp_extended", BODY16, _LSP, readers.lsp_extended, ("all",), "joints", 1.4),
        Layout("human36m", BODY16, _H36M, readers.human36m, ("train", "test"), "joints",
               _BOX_SCALE),
        Layout("rhd", HAND21, _RHD, readers.rhd, ("training", "evaluation"), "joints", _BOX_SCALE),
        Layout("h3d", HAND21, _AS_IS, readers.h3d, ("train", "test"), "whole"),
        Layout("freihand", HAND21, _AS_IS, readers.freihand, ("train", "test"), "joints",
               _BOX_SCALE),
        Layout("wholebody_hands", HAND21, _AS_IS, readers.wholebody_hands, ("train", "val"), "box",
               _BOX_SCALE, note="no split of the paper is known; the official ones"),
    )
}  # fmt: skip


def load_set(kind: str, root: str | Path, split: str | None = None,
             skeleton: GroupedSkeleton = BODY16) -> KeypointSet:  # fmt: skip
    """A labelled data set.

    Args:
        kind: name in ``LAYOUTS``, or ``coco`` for a COCO-style folder (see :func:`coco_set`).
        root: its folder.
        split: one of the layout's; None = the first.
        skeleton: of a COCO-style folder.

    Raises ``SemttaError`` naming the file that is missing, or what in it is wrong.
    """
    root = Path(root)
    if not root.is_dir():
        raise SemttaError(f"there is no folder '{root}' for data set '{kind}'.")
    if kind == "coco":
        if split is not None:
            raise SemttaError(f"a COCO-style folder has no splits, but '{split}' is asked for.")
        return coco_set(root, skeleton)
    if kind not in LAYOUTS:
        raise SemttaError(f"unknown data set '{kind}'; use coco, {', '.join(LAYOUTS)}.")
    layout = LAYOUTS[kind]
    split = split or layout.splits[0]
    if split not in layout.splits:
        raise SemttaError(f"data set '{kind}' has no split '{split}'; use one of "
                          f"{', '.join(layout.splits)}.")  # fmt: skip
    people = layout.read(root, split)
    if not people:
        raise SemttaError(f"'{root}' has no usable sample of {kind}, split '{split}'.")
    entries = [_entry(person, layout.joints, layout.crop, layout.scale) for person in people]
    return KeypointSet(f"{kind}-{split}", layout.skeleton, entries)


def _entry(person: Labelled, joints: JointMap, crop: str, scale: float) -> Entry:
    """A reader's person in our skeleton, with its crop."""
    points, visible = np.asarray(person.points, np.float64), np.asarray(person.visible, bool)
    visible = visible & np.isfinite(points).all(-1)
    xy, weight = np.zeros((len(joints), 2)), np.zeros(len(joints))
    for j, source in enumerate(joints):
        chosen = [] if source is None else [source] if isinstance(source, int) else list(source)
        if not all(i < len(points) for i in chosen):
            raise SemttaError(f"'{person.name}' has {len(points)} joints, but more are expected.")
        if chosen and visible[chosen].all():
            xy[j], weight[j] = points[chosen].mean(0), 1
    square = None
    if crop == "box" and person.box is not None:
        low, high = np.reshape(person.box, (2, 2))
        square = square_around(low, high, scale)
    elif crop != "whole":
        if not visible.any():
            raise SemttaError(f"'{person.name}' has no visible joint to crop around.")
        low, high = points[visible].min(0), points[visible].max(0)
        if person.size is None:
            square = square_around(low, high, scale)
        else:
            left, upper, right, lower = inside_square((*low, *high), scale, *person.size)
            square = np.array([(left + right) / 2, (upper + lower) / 2, right - left + 1])
    return Entry(person.image, square, xy, weight, person.mirror, person.name, person.size)


def square_around(low: np.ndarray, high: np.ndarray, scale: float) -> np.ndarray:
    """(3,) centre and side of the square around a box, grown by ``scale``, pixels."""
    side = max(float(np.max(high - low)), 1.0) * scale
    return np.array([*(low + high) / 2, side])


def inside_square(
    box: Sequence[float], scale: float, width: int, height: int
) -> tuple[int, int, int, int]:
    """RegDA's crop: the square of whole pixels around a box, moved into the image.

    Args:
        box: x0, y0, x1, y1, pixels.
        scale: of the longer side.
        width, height: of the image.

    Returns:
        left, upper, right, lower, the last pixels included.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(round(scale * (x1 - x0)), round(scale * (y1 - y0)), 1)
    side = min(side, width, height)
    left = min(max(round((x0 + x1) / 2 - side / 2), 0), width - side)
    upper = min(max(round((y0 + y1) / 2 - side / 2), 0), height - side)
    return left, upper, left + side - 1, upper + side - 1


def coco_set(folder: str | Path, skeleton: GroupedSkeleton, scale: float = 1.0) -> KeypointSet:
    """A folder with ``annotations.json`` in COCO's keypoint format and its images.

    Images lie in ``images/`` or beside the file. The category's ``keypoints`` names are matched
    with the skeleton's; joints that the file lacks are not labelled, others are ignored.

    Args:
        scale: of the square around an annotation's ``bbox``; around the joints, and by 1.5, where
            there is none."""
    folder = Path(folder)
    file, what = folder / "annotations.json", "COCO keypoint file"
    content = read_json(file, what)
    with reading(file, what):
        names = {c["id"]: [str(n) for n in c.get("keypoints", [])] for c in content["categories"]}
        images = {image["id"]: image for image in content["images"]}
        people = [
            _coco_entry(row, names, images, file, skeleton, scale) for row in content["annotations"]
        ]
    return KeypointSet(folder.name, skeleton, people)


def _coco_entry(
    row: dict, names: dict, images: dict, file: Path, skeleton: GroupedSkeleton, scale: float
) -> Entry:
    """One annotation.

    Args:
        names: category -> names of its keypoints.
        images: id -> the file's row."""
    triples = np.asarray(row["keypoints"], np.float64).reshape(-1, 3)
    own, image = names[row["category_id"]], images[row["image_id"]]
    if len(own) != len(triples):
        raise SemttaError(f"'{file}': annotation {row.get('id')} has {len(triples)} "
                          f"keypoints, its category names {len(own)}.")  # fmt: skip
    box = row.get("bbox")
    corners = None if box is None else np.array([*box[:2], box[0] + box[2] - 1,
                                                 box[1] + box[3] - 1], float)  # fmt: skip
    person = Labelled(_image(file.parent, image["file_name"]), triples[:, :2], triples[:, 2] > 0,
                      box=corners, name=f"{file.name}, annotation {row.get('id')}")  # fmt: skip
    joints = [own.index(n) if n in own else None for n in skeleton.joints]
    if all(j is None for j in joints):
        raise SemttaError(f"'{file}' names no joint of skeleton '{skeleton.name}'; its "
                          f"keypoints are {', '.join(own[:5])}...")  # fmt: skip
    crop, grown = ("joints", _BOX_SCALE)
    if corners is not None:
        crop, grown = "box", _pixel_scale(corners, scale)
    # the size is not the person's: it would move a square that leaves the image
    return replace(_entry(person, joints, crop, grown), size=image_size(image))


def _pixel_scale(corners: np.ndarray, scale: float) -> float:
    """``scale`` for whole pixels, so that the box (0, 0, w, h) is the whole image."""
    extent = max(float((corners[2:] - corners[:2]).max()), 1.0)
    return scale * (extent + 1) / extent


def _image(folder: Path, name: str) -> Path:
    inside = folder / "images" / name
    return inside if inside.is_file() else folder / name


def read_boxes(path: str | Path) -> dict[str, np.ndarray]:
    """Boxes of unlabelled images: a JSON object, file name -> [x0, y0, x1, y1] pixels."""
    what = "file of boxes by image name"
    content = read_json(path, what)
    with reading(path, what):
        boxes = {str(name): np.asarray(box, np.float64).reshape(4) for name, box in content.items()}
        if not all(np.isfinite(b).all() and (b[2:] > b[:2]).all() for b in boxes.values()):
            raise ValueError("a box must be x0 < x1, y0 < y1")
        return boxes
