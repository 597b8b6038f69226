"""Figures of a detector's errors: the numbers that a noise model is made of.

Rows are pictures: ``points`` (N, 27, 3) true landmarks and ``root`` (N, 3, 3) in camera axes,
``space`` (N, 27, 3) and ``conf3d`` what the detector says of them, ``true_xy`` and ``xy`` in
pixels with ``conf`` (N, 27), ``hidden`` (N, 27) what the picture does not show, ``run`` (N,) the
run that a picture belongs to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.bench.landmark_groups import HIPS, SHOULDERS
from semtta.geometry import ray_rotation
from semtta.skeletons import BODY27
from tools.training.views import VIEWS, facing, flexion, turned_by, view_of

_SIDES = ("left", "right")
BONES = {
    "thigh": [BODY27.indices((f"{s}_hip", f"{s}_knee")) for s in _SIDES],
    "shank": [BODY27.indices((f"{s}_knee", f"{s}_ankle")) for s in _SIDES],
    "foot": [BODY27.indices((f"{s}_heel", f"{s}_big_toe")) for s in _SIDES],
    "upper arm": [BODY27.indices((f"{s}_shoulder", f"{s}_elbow")) for s in _SIDES],
    "forearm": [BODY27.indices((f"{s}_elbow", f"{s}_wrist")) for s in _SIDES],
}
_STEEP = 0.4  # depth over length beyond which a bone's depth has a sign worth asking
_BENDS = (0, 20, 45, 75, 110, 180)  # degrees
_TRUNK = [*HIPS, *SHOULDERS]


def figures(rows: dict[str, Tensor]) -> dict:
    """All figures; lengths in metres or shares of the person's extent, angles in degrees."""
    points, space = (_centred(x.double()) for x in (rows["points"], rows["space"]))
    # the detector's axes are those of the crop that it looks at
    points = points @ ray_rotation(_middle(rows["points"].double()))
    seen = (rows["conf3d"] > 0) & ~rows["hidden"]
    whole = seen[:, _TRUNK].all(1)
    factor = _factors(points, space, seen)
    space = space / factor[:, None, None]
    view = view_of(facing(rows["root"].double()))
    return {
        "pictures": len(points),
        "missed": int(rows.get("missed", torch.tensor(0))),
        "scale": _spread(factor[whole].log()) | {"median": _number(factor[whole].median())},
        "trunk": _trunk(points[whole], space[whole], view[whole]),
        "bones": {name: _bone(points, space, seen, pairs, rows["run"])
                  for name, pairs in BONES.items()},
        "hinges": _hinges(points, space, seen, view),
        "landmarks_mm": _landmarks(points, space, seen),
        "plane": _plane(rows),
        "hidden": _hidden(rows),
    }  # fmt: skip


def _centred(points: Tensor) -> Tensor:
    return points - points[:, HIPS].mean(1, keepdim=True)


def _middle(points: Tensor) -> Tensor:
    plane = points[..., :2] / points[..., 2:]
    return (plane.amin(1) + plane.amax(1)) / 2


def _factors(points: Tensor, space: Tensor, seen: Tensor) -> Tensor:
    """(N,) the detector's size of a person over the true one, across the view."""
    x, y = (p[..., :2] * seen[..., None] for p in (points, space))
    return (x * y).sum((1, 2)) / x.square().sum((1, 2)).clamp_min(1e-6)


def _trunk(points: Tensor, space: Tensor, view: Tensor) -> dict:
    """Tilt (towards the camera, positive) and roll of the trunk, and where it faces."""
    up, said_up = (p[:, SHOULDERS].mean(1) for p in (points, space))
    tilt = torch.atan2(said_up[:, 2], -said_up[:, 1]) - torch.atan2(up[:, 2], -up[:, 1])
    roll = torch.atan2(said_up[:, 0], -said_up[:, 1]) - torch.atan2(up[:, 0], -up[:, 1])
    found = {"tilt_deg": _spread(_wrapped(tilt)), "roll_deg": _spread(_wrapped(roll))}
    for name, pair in (("hips", HIPS), ("shoulders", SHOULDERS)):
        across, said = (p[:, pair[0]] - p[:, pair[1]] for p in (points, space))
        true_yaw, yaw = (torch.rad2deg(torch.atan2(a[:, 2], a[:, 0])) for a in (across, said))
        off = turned_by(yaw, true_yaw)
        found[f"{name}_yaw"] = {
            VIEWS[i]: {"median_deg": _number(off[view == i].median()),
                       "over_60": _number((off[view == i] > 60).double().mean())}
            for i in range(len(VIEWS)) if (view == i).any()
        }  # fmt: skip
    return found


def _wrapped(radians: Tensor) -> Tensor:
    return torch.rad2deg(torch.atan2(radians.sin(), radians.cos()))


def _bone(points: Tensor, space: Tensor, seen: Tensor, pairs: list, run: Tensor) -> dict:
    """How a bone's depth over its length follows the true one; lengths; signs."""
    ends = torch.tensor(pairs)
    known = seen[:, ends].all(-1)
    true, said = (p[:, ends[:, 1]] - p[:, ends[:, 0]] for p in (points, space))
    length, said_length = true.norm(dim=-1), said.norm(dim=-1)
    deep, said_deep = true[..., 2] / length, said[..., 2] / said_length.clamp_min(1e-6)
    x, y = deep[known], said_deep[known]
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum().clamp_min(1e-6)
    rest = torch.where(known, said_deep - y.mean() - slope * (deep - x.mean()), torch.nan)
    steep = known & (deep.abs() > _STEEP)
    wrong = (said_deep * deep < 0)[steep].double().mean()
    ratio = (said_length / length)[known].log()
    return {"slope": _number(slope), "offset": _number(y.mean() - slope * x.mean()),
            "lean": _spread(rest[known]), "within_run": _within(rest, run),
            "wrong_sign": _number(wrong), "length": _spread(ratio),
            "count": int(known.sum())}  # fmt: skip


def _within(values: Tensor, run: Tensor) -> float | None:
    """Spread of (N, 2) values about the mean of their run; NaN = unknown."""
    off = []
    for number in run.unique():
        part = values[run == number]
        off.append(part - part.nanmean(0, keepdim=True))
    off = torch.cat(off)
    return _number(off[~off.isnan()].abs().quantile(0.683))


def _hinges(points: Tensor, space: Tensor, seen: Tensor, view: Tensor) -> dict:
    """Error of flexion by view and by true flexion."""
    found = {}
    for hinge, names in (("knee", ("hip", "knee", "ankle")),
                         ("elbow", ("shoulder", "elbow", "wrist"))):  # fmt: skip
        joints = torch.tensor([BODY27.indices(f"{s}_{n}" for n in names) for s in _SIDES])
        known = seen[:, joints].all(-1)
        true = flexion(points, hinge)
        error = flexion(space, hinge) - true
        table = {}
        for i, name in enumerate(VIEWS):
            here = known & (view == i)[:, None]
            table[name] = {
                f"{low}-{high}": _spread(error[here & (true >= low) & (true < high)])
                for low, high in zip(_BENDS, _BENDS[1:])
                if (here & (true >= low) & (true < high)).sum() >= 5
            }
        found[hinge] = table
    return found


def _landmarks(points: Tensor, space: Tensor, seen: Tensor) -> dict:
    """Spread along the picture's axes and along the view, of each kind of landmark."""
    error = 1000 * (space - points)
    found = {}
    for name in sorted({n.split("_", 1)[-1] for n in BODY27.joints}):
        index = [i for i, n in enumerate(BODY27.joints) if n.split("_", 1)[-1] == name]
        off = error[:, index][seen[:, index]]
        if len(off) > 4:
            found[name] = {"across": _number(off[:, :2].abs().quantile(0.683), 0),
                           "deep": _number(off[:, 2].abs().quantile(0.683), 0),
                           "deep_bias": _number(off[:, 2].median(), 0)}  # fmt: skip
    return found


def _plane(rows: dict[str, Tensor]) -> dict:
    """2D error of what is believed and shown, share of the person's extent."""
    extent = (rows["true_xy"].amax(1) - rows["true_xy"].amin(1)).amax(-1)
    error = (rows["xy"] - rows["true_xy"]).norm(dim=-1) / extent[:, None]
    error = error[(rows["conf"] > 0) & ~rows["hidden"]]
    levels = torch.tensor([0.5, 0.9, 0.97], dtype=error.dtype)
    return dict(zip(("median", "90%", "97%"), (_number(v, 4) for v in error.quantile(levels))))


def _hidden(rows: dict[str, Tensor]) -> dict:
    """What is believed of landmarks that are shown, and of those that are not."""
    shown, gone = rows["conf"][~rows["hidden"]], rows["conf"][rows["hidden"]]
    found = {"shown_believed": _number((shown > 0).double().mean())}
    if len(gone):
        sure = gone[gone > 0]
        found["hidden_believed"] = _number((gone > 0).double().mean())
        found["hidden_conf"] = _number(sure.median() if len(sure) else 0.0)
    return found


def _spread(values: Tensor) -> dict:
    """Median, and half the width of the middle 68 %."""
    values = values[~values.isnan()]
    if not len(values):
        return {"bias": None, "spread": None}
    bias = values.median()
    return {"bias": _number(bias), "spread": _number((values - bias).abs().quantile(0.683))}


def _number(value, digits: int = 3) -> float | None:
    value = float(value)
    return None if value != value else round(value, digits)
