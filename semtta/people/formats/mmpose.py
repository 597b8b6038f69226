"""MMPose 1.x: what its inferencer and its demos write.

A list of ``{frame_id, instances}`` or an object ``{meta_info, instance_info}`` around it; of single
images a folder with one list of instances each. An instance has ``keypoints``,
``keypoint_scores`` and a ``bbox`` of two corners.
"""

from __future__ import annotations

from collections.abc import Iterator

from semtta.errors import SemttaError
from semtta.people.formats.joint_names import named_skeleton
from semtta.people.formats.sheet import (
    Counted,
    Row,
    Sheet,
    corners,
    identity,
    whole,
    with_scores,
)
from semtta.people.formats.source import Source
from semtta.skeletons import COCO17, Skeleton

TITLE = "MMPose predictions"


def sniff(source: Source) -> bool:
    if source.kind == "folder":
        content = source.sample
        return isinstance(content, list) and _is_instance(content[0])
    if source.kind != "json":
        return False
    content = source.content
    if isinstance(content, dict):
        return isinstance(content.get("instance_info"), list)
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and ("instances" in first or _is_instance(first))


def read(source: Source) -> Sheet:
    rows, counted, names = [], Counted(), []
    for name, where, instances in _frames(source):
        names.append(name)
        if not isinstance(instances, list):
            raise SemttaError(f"{where}: a list of instances is expected.")
        for i, instance in enumerate(instances):
            here = f"{where}, instance {i}"
            if not _is_instance(instance):
                raise SemttaError(f"{here}: 'keypoints' and 'keypoint_scores' are expected.")
            points = with_scores(instance["keypoints"], instance["keypoint_scores"], here)
            counted.check(len(points), here)
            person = identity(instance.get("track_id", instance.get("instance_id")), here)
            box = corners(instance.get("bbox"), here, sized=False)
            rows.append(Row(here, name, points, box, person))
    named = _named(source, counted.count)
    # The demos count from 1, the inferencer from 0.
    demo = source.kind == "json" and isinstance(source.content, dict)
    allowed = (named,) if named else counted.allowed or (COCO17,)
    return Sheet(rows, allowed, first=int(demo), frames=tuple(names))


def _is_instance(value) -> bool:
    return isinstance(value, dict) and {"keypoints", "keypoint_scores"} <= value.keys()


def _frames(source: Source) -> Iterator[tuple[int | str, str, object]]:
    if source.kind == "folder":
        yield from source.contents()
        return
    content = source.content
    frames = content["instance_info"] if isinstance(content, dict) else content
    if isinstance(frames, list) and frames and _is_instance(frames[0]):  # one image
        yield source.path.stem, f"'{source.path}'", frames
        return
    for i, frame in enumerate(frames):
        where = f"'{source.path}', frame {i}"
        if not isinstance(frame, dict):
            raise SemttaError(f"{where}: an object with 'instances' is expected.")
        number = frame.get("frame_id", i)
        yield number if whole(number) else str(number), where, frame.get("instances")


def _named(source: Source, count: int | None) -> Skeleton | None:
    """The order that the file's own description gives its points."""
    about = source.content.get("meta_info") if (
        source.kind == "json" and isinstance(source.content, dict)
    ) else None  # fmt: skip
    names = about.get("keypoint_id2name") if isinstance(about, dict) else None
    if not isinstance(names, dict) or len(names) != count:
        return None
    ordered = [names.get(str(i)) for i in range(count)]
    return named_skeleton([str(name) for name in ordered])
