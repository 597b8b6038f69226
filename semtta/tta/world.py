"""Where up is and where the floor, from people in front of a camera that stands still.

A camera that does not move shares its frame with the room, so what a body says about gravity adds
up over a track. Two things are said: the line from the feet's middle to the hips of someone who
stands or walks points up on average (people keep their balance; trunks lean); and soles that do
not move stand on one plane. Both are fitted at once, over the direction of up ``u`` and the floor's
height ``h``:

    sum_i w_i rho((u . x_i - c_i - h) / 5 cm) + |u - line|^2 / spread^2

with a sole's landmark x_i averaged over the time for which it rests, its height c_i above the
ground when the foot is flat, and rho Cauchy's. Nothing here knows how the camera is held: turning
the camera turns the answer with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.body import Body
from semtta.skeletons import SMPL24, Skeleton
from semtta.tta.result import Result, World

LEAST_CONFIDENCE = 0.3  # below it no world is handed out
_SIDES = ("left", "right")
_PARTS = ("heel", "big_toe", "small_toe")
SOLES = Skeleton("soles", tuple(f"{side}_{part}" for side in _SIDES for part in _PARTS))
_STRAIGHT = 0.9  # of a leg's length between hip and ankle: it carries
_ALONG = 35.0  # degrees between trunk and carrying leg of someone who stands or walks
_RESTING = 0.4  # m/s of a sole's landmark
_LOW = 0.06  # metres above the lowest landmark of the frame
_SHORTEST = 0.1  # seconds that a landmark rests
_NOISE = 0.05  # metres, of a contact
_KNEE = 2.0  # deviations at which a contact counts half
_BALANCE = 8.0  # degrees that a track's mean line may lean: networks err in the same direction
_UNSEEN = 0.5  # the check of a camera that nobody could check
_ROUNDS, _STEPS = 3, 20  # of finding contacts, and of the fit in each
# What each check needs to be (nothing, everything) of a confident answer.
_RAMPS = {
    "camera": (0.006, 0.002),  # diagonals, largest shift of the background
    "standing": (0.3, 1.0),  # seconds
    "feet seen": (0.1, 0.5),  # share of the standing frames
    "contacts": (0.0, 4.0),  # feet that come to rest
    "flat floor": (0.12, 0.04),  # metres, median distance of contacts from it
    "balance": (25.0, 10.0),  # degrees between the fitted up and the people's mean line
    "direction": (12.0, 3.0),  # degrees, standard deviation of the fit
    "picture upright": (60.0, 45.0),  # degrees between up and the picture's: lying people
}
_SAYS = {
    "standing": "nobody stands or walks for long enough",
    "feet seen": "the feet are hardly ever seen",
    "contacts": "too few feet come to rest",
    "flat floor": "the feet do not rest on one plane",
    "balance": "the feet and the legs disagree about where up is",
    "direction": "the direction of up stays open",
    "picture upright": "the picture would be turned too far (a person lying down?)",
    "camera": "the background moves, so the camera does",
    "picture": "no picture shows whether the camera moves",
}


@dataclass(frozen=True)
class _Look:
    """What one track says, T frames, camera axes, metres.

    Args:
        soles: (T, 6, 3) landmarks; seen: (T, 6) whether the 2D evidence shows that foot.
        rest: (6,) heights of the landmarks above the ground in the rest pose.
        line: (T, 3) unit, feet to hips; standing: (T,) bool.
        times: (T,) seconds; joined: (T - 1,) bool, whether no frame is missing behind it.
    """

    soles: Tensor
    seen: Tensor
    rest: Tensor
    line: Tensor
    standing: Tensor
    times: Tensor
    joined: Tensor


def find_world(results: Sequence[Result], body: Body, shift: float | None) -> World:
    """One world for all tracks of a video; see the module's head.

    Args:
        results: at least one; the adapted motions are read.
        body: theirs, on the CPU.
        shift: of the background, see ``semtta.video.camera_shift``; None = could not be seen.
    Returns: the world; with confidence 0 and the picture's own axes if it cannot be told."""
    checks = {"picture": _UNSEEN} if shift is None else {"camera": _ramp("camera", shift)}
    if not bool(body.has_landmarks(SOLES).all()):
        return _refused({"feet seen": 0.0}, "this body has no landmarks on its soles")
    looks = [_look(result, body) for result in results]
    standing = sum(float(_durations(look)[look.standing].sum()) for look in looks)
    checks["standing"] = _ramp("standing", standing)
    lines = torch.cat([look.line[look.standing] for look in looks])
    seen = torch.cat([look.seen[look.standing].any(1) for look in looks])
    checks["feet seen"] = _ramp("feet seen", float(seen.double().mean()) if len(seen) else 0.0)
    if min(checks.values()) == 0:
        return _refused(checks)
    line = _robust_mean(lines)
    up = line
    for _ in range(_ROUNDS):
        found = [_contacts(look, up) for look in looks]
        points, heights, weights = (torch.cat(part) for part in zip(*[f[:3] for f in found]))
        if not len(points):
            return _refused(checks | {"contacts": 0.0})
        up, floor, deviation = _fit(points, heights, weights, line, up)
    off = (points @ up - heights - floor).abs()
    checks |= {
        "contacts": _ramp("contacts", sum(f[3] for f in found)),
        "flat floor": _ramp("flat floor", float(off.median())),
        "balance": _ramp("balance", _degrees(up, line)),
        "direction": _ramp("direction", deviation),
        "picture upright": _ramp("picture upright", _degrees(up, up.new_tensor([0.0, -1, 0]))),
    }
    confidence = min(checks.values())
    if confidence < LEAST_CONFIDENCE:
        return _refused(checks)
    note = _note(up, floor, deviation, checks)
    return World(upright(up).float(), float(floor), confidence, checks, note)


def upright(up: Tensor) -> Tensor:
    """(3, 3) rotation from camera axes to y up, x right in the picture and z towards the camera,
    as far as ``up`` (3,), a unit vector in camera axes, lets them."""
    ahead = up.new_tensor([0.0, 0.0, 1.0])
    if float((up @ ahead).abs()) > 0.99:  # a camera that looks straight down or up
        ahead = up.new_tensor([0.0, float(up[2]), 0.0])
    z = F.normalize(-(ahead - (ahead @ up) * up), dim=0)
    return torch.stack((torch.linalg.cross(up, z), up, z))


# ---------------------------------------------------------------------- what a track says


def _look(result: Result, body: Body) -> _Look:
    motion, evidence = result.adapted, result.evidence
    place = motion.trans.double()[:, None]
    soles = body.landmarks(motion.rotmats, motion.betas, SOLES).double() + place
    flat = torch.eye(3).expand(24, 3, 3), motion.betas.median(0).values
    ground = body.vertices(*flat)[:, 1].min()
    joints = body.joints(motion.rotmats, motion.betas).double() + place
    hips, knees, ankles = (
        joints[:, SMPL24.indices([f"{side}_{name}" for side in _SIDES])]
        for name in ("hip", "knee", "ankle")
    )
    length = (hips - knees).norm(dim=-1) + (knees - ankles).norm(dim=-1)
    straight, carrying = ((hips - ankles).norm(dim=-1) / length).max(1)
    leg = F.normalize((hips - ankles)[torch.arange(len(hips)), carrying])
    trunk = F.normalize(joints[:, SMPL24.index("neck")] - hips.mean(1))
    along = (leg * trunk).sum(1) > torch.cos(torch.deg2rad(torch.tensor(_ALONG)))
    return _Look(
        soles=soles,
        seen=_seen_feet(evidence),
        rest=(body.landmarks(*flat, SOLES)[:, 1] - ground).double(),
        line=F.normalize((hips - ankles).mean(1)),
        standing=(straight > _STRAIGHT) & along,
        times=result.track.times.double(),
        joined=result.track.frames.diff() == 1,
    )


def _seen_feet(evidence) -> Tensor:
    """(T, 6) whether the 2D evidence shows anything of the foot that a landmark belongs to."""
    skeleton, feet = evidence.raw.skeleton, []
    for side in _SIDES:
        names = [f"{side}_{part}" for part in ("ankle", *_PARTS) if f"{side}_{part}" in skeleton]
        feet += [evidence.detected[:, skeleton.indices(names)].any(1)] * len(_PARTS)
    return torch.stack(feet, 1)


def _durations(look: _Look) -> Tensor:
    """(T,) seconds that each frame stands for."""
    usual = look.times.diff().median() if len(look.times) > 1 else look.times.new_tensor(0.0)
    steps = torch.where(look.joined, look.times.diff(), usual)
    return torch.cat((steps, steps.new_zeros(1) + usual))


def _contacts(look: _Look, up: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """Landmarks that rest: mean places (N, 3), heights above the ground (N,), weights (N,), and
    how many feet come to rest."""
    height = look.soles @ up - look.rest
    low = height < height.amin(1, keepdim=True) + _LOW
    step = look.soles.diff(dim=0).norm(dim=-1) / look.times.diff()[:, None]
    slow = (step < _RESTING) & look.joined[:, None]
    slow = F.pad(slow, (0, 0, 0, 1)) & F.pad(slow, (0, 0, 1, 0))  # on both sides of the frame
    rests = slow & low & look.seen & look.standing[:, None]
    long = _durations(look)
    points, heights, weights, feet = [], [], [], 0
    for k in range(rests.shape[1]):
        for first, end in _runs(rests[:, k]):
            seconds = float(long[first:end].sum())
            if seconds >= _SHORTEST:
                points.append(look.soles[first:end, k].mean(0))
                heights.append(look.rest[k])
                weights.append(min(1.0, seconds / (2 * _SHORTEST)))
    for side in rests.split(len(_PARTS), 1):
        feet += sum(float(long[first:end].sum()) >= _SHORTEST for first, end in _runs(side.any(1)))
    if not points:
        return look.soles.new_zeros(0, 3), look.rest[:0], look.rest[:0], 0
    return torch.stack(points), torch.stack(heights), look.rest.new_tensor(weights), feet


def _runs(flags: Tensor) -> list[tuple[int, int]]:
    """First and one past the last index of each stretch of True."""
    edges = torch.nonzero(F.pad(flags.int(), (1, 1)).diff())[:, 0].tolist()
    return list(zip(edges[::2], edges[1::2]))


# ---------------------------------------------------------------------- what all say together


def _robust_mean(directions: Tensor) -> Tensor:
    """(3,) unit: the direction with the least sum of angles to (N, 3) unit vectors."""
    mean = F.normalize(directions.mean(0), dim=0)
    for _ in range(_STEPS):
        weight = 1 / (directions - mean).norm(dim=1).clamp_min(0.01)
        mean = F.normalize((weight[:, None] * directions).sum(0), dim=0)
    return mean


def _fit(
    points: Tensor, heights: Tensor, weights: Tensor, line: Tensor, up: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Up (3,), the floor's height along it, and the standard deviation of up in degrees."""
    floor = (points @ up - heights).median()
    spread = torch.deg2rad(points.new_tensor(_BALANCE))
    for _ in range(_STEPS):
        aside = torch.linalg.svd(up[None]).Vh[1:]  # (2, 3): the directions in which up can turn
        rows = torch.cat((points @ aside.T, -torch.ones(len(points), 1).to(points)), 1)
        off = points @ up - heights - floor
        share = weights / (1 + (off / (_KNEE * _NOISE)) ** 2) / _NOISE**2
        normal = rows.T @ (share[:, None] * rows)
        right = rows.T @ (share * off)
        normal[:2, :2] += torch.eye(2).to(normal) / spread**2
        right[:2] += aside @ (up - line) / spread**2
        step = -torch.linalg.solve(normal, right)
        up = F.normalize(up + step[:2] @ aside, dim=0)
        floor = floor + step[2]
        if float(step.abs().max()) < 1e-6:
            break
    covariance = torch.linalg.inv(normal)
    return up, floor, float(torch.rad2deg(torch.linalg.eigvalsh(covariance[:2, :2])[-1].sqrt()))


def _degrees(a: Tensor, b: Tensor) -> float:
    return float(torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(), a @ b)))


def _ramp(name: str, value: float) -> float:
    none, all_ = _RAMPS[name]
    return min(1.0, max(0.0, (value - none) / (all_ - none)))


def _note(up: Tensor, floor: Tensor, deviation: float, checks: dict[str, float]) -> str:
    tilt = _degrees(up, up.new_tensor([0.0, -1, 0]))
    text = (
        f"the camera stands {-float(floor):.2f} m above the floor, tilted by {tilt:.0f} degrees, "
        f"give or take {deviation:.0f}"
    )
    weak = [_SAYS[name] for name, value in checks.items() if value < 0.7]
    doubt = f"; in doubt: {', '.join(weak)}" if weak else ""
    return f"{text} (confidence {min(checks.values()):.2f}{doubt})."


def _refused(checks: dict[str, float], why: str = "") -> World:
    worst = min(checks, key=checks.__getitem__)
    text = f"no world motion: {why or _SAYS[worst]}; the motion stays in the camera's frame."
    up = torch.tensor([0.0, -1.0, 0.0])
    return World(upright(up), 0.0, 0.0, checks, text)
