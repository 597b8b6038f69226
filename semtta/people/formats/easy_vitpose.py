"""easy_ViTPose: ``{"keypoints": [{identity: [[y, x, score], ...]}, ...], "skeleton": {...}}``.

One object a frame. The vertical coordinate comes first.
"""

from __future__ import annotations

from semtta.errors import SemttaError
from semtta.people.formats.joint_names import named_skeleton
from semtta.people.formats.sheet import Counted, Row, Sheet, identity, triples
from semtta.people.formats.source import Source
from semtta.skeletons import COCO17

TITLE = "easy_ViTPose JSON"


def sniff(source: Source) -> bool:
    content = source.content if source.kind == "json" else None
    if not isinstance(content, dict) or not isinstance(content.get("keypoints"), list):
        return False
    frames = [frame for frame in content["keypoints"] if frame]
    return all(isinstance(frame, dict) for frame in frames[:10])


def read(source: Source) -> Sheet:
    rows, counted = [], Counted()
    for i, frame in enumerate(source.content["keypoints"]):
        where = f"'{source.path}', frame {i}"
        if not isinstance(frame, (dict, type(None))):
            raise SemttaError(f"{where}: an object with one entry a person is expected.")
        for who, values in (frame or {}).items():
            here = f"{where}, person {who}"
            points = triples(values, here)[:, [1, 0, 2]]
            counted.check(len(points), here)
            rows.append(Row(here, i, points, person=identity(who, here)))
    names = source.content.get("skeleton")
    named = None
    if isinstance(names, dict) and len(names) == counted.count:
        ordered = [names.get(str(i)) for i in range(counted.count)]
        named = named_skeleton([str(name) for name in ordered])
    allowed = (named,) if named else counted.allowed or (COCO17,)
    return Sheet(rows, allowed, length=len(source.content["keypoints"]))
