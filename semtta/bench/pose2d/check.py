"""Which files of the tables are there: `semtta pose2d bench check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from semtta.bench.pose2d.tables import PoseTable
from semtta.errors import SemttaError
from semtta.pose2d.layouts import LAYOUTS, load_set
from semtta.pose2d.text import clip_path


@dataclass(frozen=True)
class Found:
    """One thing that a table needs.

    Args:
        said: how many images, or what is missing.
        whole: whether it can be used.
    """

    name: str
    needed_by: str
    said: str
    whole: bool


def check_sets(
    tables: Sequence[PoseTable], roots: Mapping[str, Path], imagenet: Path | None,
    clip: Path | None,
) -> list[Found]:  # fmt: skip
    """Every data set of some tables, the weights of the backbone and the text tower."""
    users: dict[str, list[str]] = {}
    for table in tables:
        for name in table.sets():
            users.setdefault(name, []).append(table.name)
    found = [_set(name, ", ".join(names), roots.get(name)) for name, names in users.items()]
    there = imagenet is not None and imagenet.is_file()
    said = str(imagenet) if there else "missing: --imagenet FILE, torchvision's ResNet-101"
    found.append(Found("ImageNet weights", "all", said, there))
    try:
        text, is_there = str(clip_path(str(clip) if clip else None)), True
    except SemttaError:
        text, is_there = "missing: --clip FILE, ViT-B/32", False
    return [*found, Found("CLIP's text tower", "all", text, is_there)]


def _set(name: str, users: str, root: Path | None) -> Found:
    if root is None:
        return Found(name, users, f"missing: --root {name.upper()}=FOLDER", False)
    counts = []
    try:
        for split in dict.fromkeys((LAYOUTS[name].splits[0], LAYOUTS[name].test_split)):
            images = load_set(name, root, split)
            lost = images.missing()
            if lost:
                return Found(name, users, f"{len(lost)} images missing, first {lost[0]}", False)
            counts.append(f"{split} {len(images)}")
    except SemttaError as error:
        return Found(name, users, str(error), False)
    return Found(name, users, ", ".join(counts), True)
