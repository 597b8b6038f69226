"""CLIFF's ``*_cliff_*.npz``: a row for each detection in each image, without identities."""

from __future__ import annotations

import numpy as np

from semtta.hmr.results import checks
from semtta.hmr.results.content import Content, replaced
from semtta.hmr.results.parts import Found, Refined, ResultTrack
from semtta.hmr.results.writing import like, posed

TITLE = "CLIFF's npz"
STALE = ("pred_joints",)


def sniff(content: Content) -> bool:
    return content.has("pose", "shape", "global_t", "focal_l", "detection_all")


def read(content: Content) -> Found:
    where, data = f"'{content.path}'", content.data
    pose = checks.take(data, "pose", where, (None, 72), (None, 24, 3, 3))
    count = len(pose)
    found = checks.take(data, "detection_all", where, (count, None))
    if found.shape[1] < 5:
        found = checks.take(data, "detection_all", where, (count, 8))
    rotmats = checks.smpl_rotations(pose, f"{where}, 'pose'")
    betas = checks.shape_of(data, "shape", count, where)
    trans = checks.place_of(data, "global_t", count, where)
    focal = checks.focal_of(data["focal_l"], count, f"{where}, 'focal_l'")
    alone = len(np.unique(found[:, 0])) == count
    who = np.zeros(count, int) if alone else checks.linked(found[:, 0], found[:, 1:5])
    tracks: list[ResultTrack] = []
    for person in range(int(who.max()) + 1 if count else 0):
        rows = np.flatnonzero(who == person)
        rows = rows[np.argsort(found[rows, 0], kind="stable")]
        frames = checks.increasing(found[rows, 0], f"{where}, 'detection_all'")
        tracks.append(ResultTrack(
            id=len(tracks) + 1, key=tuple(rows.tolist()), frames=frames, rotmats=rotmats[rows],
            betas=betas[rows], trans=trans[rows], focal=focal[rows],
            boxes=checks.boxes_of(found[rows, 1:5]),
        ))  # fmt: skip
    names = data.get("imgname")
    covers = len(names) if isinstance(names, np.ndarray) and names.ndim == 1 else None
    remarks = () if alone else ("it does not say who is who: people were followed by how their "
                                "boxes overlap.",)  # fmt: skip
    return Found(tuple(tracks), covers=covers, remarks=remarks)


def write(content: Content, track: ResultTrack, refined: Refined):
    assert isinstance(track.key, tuple)
    rows, data = np.array(track.key), content.data
    values = {"pose": posed(data["pose"][rows], refined.rotmats)}
    if refined.betas is not None:
        values["shape"] = like(data["shape"][rows], refined.betas)
    if refined.trans is not None:
        values["global_t"] = like(data["global_t"][rows], refined.trans)
    for key, value in values.items():
        array = data[key].copy()
        array[rows] = value
        data = replaced(data, key, array)
    return data
