"""OpenPifPaf: one JSON value a line (videos) or one ``.predictions.json`` an image."""

from __future__ import annotations

from collections.abc import Iterator

from semtta.errors import SemttaError
from semtta.people.formats.sheet import Counted, Row, Sheet, corners, identity, triples, whole
from semtta.people.formats.source import Source
from semtta.skeletons import COCO17

TITLE = "OpenPifPaf predictions"


def sniff(source: Source) -> bool:
    content = source.sample if source.kind == "folder" else (
        source.content if source.kind == "json" else None
    )  # fmt: skip
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, dict):
        return False
    return "predictions" in content or (
        source.kind == "folder" and {"keypoints", "category_id"} <= content.keys()
    )


def read(source: Source) -> Sheet:
    rows, counted, names = [], Counted(), []
    for name, where, people in _frames(source):
        names.append(name)
        if not isinstance(people, list):
            raise SemttaError(f"{where}: a list 'predictions' is expected.")
        for i, person in enumerate(people):
            here = f"{where}, person {i}"
            if not isinstance(person, dict) or "keypoints" not in person:
                raise SemttaError(f"{here}: 'keypoints' are expected.")
            points = triples(person["keypoints"], here)
            counted.check(len(points), here)
            who = identity(person.get("id_", person.get("track_id")), here)
            rows.append(Row(here, name, points, corners(person.get("bbox"), here, True), who))
    return Sheet(rows, counted.allowed or (COCO17,), first=None, frames=tuple(names))


def _frames(source: Source) -> Iterator[tuple[int | str, str, object]]:
    if source.kind == "folder":
        for name, where, content in source.contents():
            people = content.get("predictions") if isinstance(content, dict) else content
            yield name.removesuffix(".predictions"), where, people
        return
    content = source.content
    for i, frame in enumerate(content if isinstance(content, list) else [content]):
        where = f"'{source.path}', line {i + 1}"
        if not isinstance(frame, dict):
            raise SemttaError(f"{where}: an object with 'predictions' is expected.")
        number = frame.get("frame", i)
        yield number if whole(number) else str(number), where, frame.get("predictions")
