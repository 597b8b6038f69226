"""Detections taken away from a track, so that what a method says about them can be judged.

Limbs go as occlusion takes them: whole, for a while or throughout. What is left must not tell
where they were: their 2D and 3D are wiped, and the boxes are drawn anew around the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semtta.bench.seeding import named_generator
from semtta.errors import SemttaError
from semtta.geometry import Camera, keypoint_boxes, ray_rotation
from semtta.keypoints import Keypoints2D, Track
from semtta.people.rois import steady
from semtta.skeletons import LIMB12, Skeleton
from semtta.tta.heldout import LIMBS, SURE

MASKS = ("mix", "gone")
CLASSES = ("legs", "arm", "random", "visible")
_LIMB_SHARE = 0.4  # of the frames, for which legs, and an arm, are hidden in ``mix``
_RANDOM_SHARE = 0.05  # of the other limb joints
_RUN = 5  # frames for which a random joint stays away


@dataclass(frozen=True)
class Hidden:
    """A track with detections taken away.

    Args:
        track: what is left.
        truth: the detections before.
        classes: name -> (T, J) bool, sure detections that are judged as this class; "visible" are
            those that are left, for the fit.
        height: pixels, the person's: median over the frames of the larger side of the extent of
            all sure detections.
    """

    track: Track
    truth: Keypoints2D
    classes: dict[str, Tensor]
    height: float

    def score(self, skeleton: Skeleton, landmarks2d: Tensor) -> dict[str, float | None]:
        """Mean distance to the detections, in percent of the person's height.

        Args:
            skeleton, landmarks2d: (T, J', 2) image pixels, of a motion.
        Returns: ``heldout_legs``, ``heldout_arm``, ``heldout_random``, ``heldout_visible``,
            ``heldout`` (over all that was taken away); None where there is nothing."""
        names = self.truth.skeleton.joints
        missing = [name for name in LIMB12.joints if name in names and name not in skeleton]
        if missing:
            raise SemttaError(f"the motion has no 2D place of '{missing[0]}' to compare.")
        known = [j for j, name in enumerate(names) if name in skeleton]
        at = landmarks2d[:, skeleton.indices(names[j] for j in known)].cpu()
        off = 100 * (at - self.truth.xy[:, known]).norm(dim=-1) / self.height
        numbers = {f"heldout_{name}": _mean(off, self.classes[name][:, known]) for name in CLASSES}
        taken = torch.stack([self.classes[name] for name in CLASSES[:-1]]).any(0)
        return numbers | {"heldout": _mean(off, taken[:, known])}


def hide(track: Track, which: str, name: str, camera: Camera) -> Hidden:
    """Take detections away.

    Args:
        track: with 2D of knees, ankles, elbows and wrists.
        which: ``mix`` (both legs for 40 % of the frames, one arm for another 40 %, 5 % of the other
            limb joints for five frames each) or ``gone`` (both legs throughout).
        name: all that is drawn follows from it.
        camera: of the full image; the detector's own 3D is seen along the boxes, which change.

    Raises ``SemttaError`` if the skeleton has no limbs, or nothing is left to draw a box around."""
    if which not in MASKS:
        raise SemttaError(f"unknown mask '{which}'; use {', '.join(MASKS)}.")
    points = track.keypoints
    if any(joint not in points.skeleton for joint in LIMB12.joints):
        raise SemttaError(f"2D of skeleton '{points.skeleton.name}' lacks limb joints to hide.")
    draws = named_generator(f"heldout:{which}:{name}")
    groups = _groups(points.skeleton, which, len(track), draws)
    sure = points.conf >= SURE
    limbs = torch.zeros(len(points.skeleton), dtype=torch.bool)
    limbs[points.skeleton.indices(LIMB12.joints)] = True
    taken = torch.stack(list(groups.values())).any(0)
    classes = {kind: groups[kind] & sure & limbs for kind in CLASSES[:-1]}
    classes["visible"] = ~taken & sure & limbs
    left = _without(track, taken, camera)
    return Hidden(left, points, classes, _height(points, sure))


def _groups(
    skeleton: Skeleton, which: str, frames: int, draws: torch.Generator
) -> dict[str, Tensor]:
    """(T, J) bool of each class; a joint belongs to the first that takes it."""
    groups = {name: torch.zeros(frames, len(skeleton), dtype=torch.bool) for name in CLASSES[:-1]}
    legs = _members(skeleton, LIMBS["leg"], ("left", "right"))
    if which == "gone":
        groups["legs"][:, legs] = True
        return groups
    side = ("left", "right")[int(torch.randint(2, (1,), generator=draws))]
    for name, joints in (("legs", legs), ("arm", _members(skeleton, LIMBS["arm"], (side,)))):
        length = max(1, round(_LIMB_SHARE * frames))
        start = int(torch.randint(frames - length + 1, (1,), generator=draws))
        groups[name][start : start + length, joints] = True
    limbs = skeleton.indices(LIMB12.joints)
    free = (~(groups["legs"] | groups["arm"]))[:, limbs]
    wanted = _RANDOM_SHARE * float(free.sum())
    for spot in torch.randperm(frames * len(limbs), generator=draws).tolist():
        if groups["random"].sum() >= wanted:
            break
        frame, joint = spot // len(limbs), limbs[spot % len(limbs)]
        rows = slice(frame, frame + _RUN)
        groups["random"][rows, joint] = ~(groups["legs"] | groups["arm"])[rows, joint]
    return groups


def _members(skeleton: Skeleton, parts: tuple[str, ...], sides: tuple[str, ...]) -> list[int]:
    names = [f"{side}_{part}" for side in sides for part in parts]
    return [skeleton.index(name) for name in names if name in skeleton]


def _without(track: Track, taken: Tensor, camera: Camera) -> Track:
    """The track without the landmarks of ``taken`` (T, J), which leave no trace."""
    points = track.keypoints
    conf = points.conf.masked_fill(taken, 0)
    gone = conf == 0  # what was missing before means nothing either
    xy = points.xy.masked_fill(gone[..., None], 0)
    try:
        boxes = _steady(keypoint_boxes(xy, conf), track.times)
    except ValueError:
        raise SemttaError(f"track {track.id} has no detections beside the hidden ones.") from None
    left = replace(track, keypoints=replace(points, xy=xy, conf=conf), boxes=boxes)
    if track.landmarks3d is None or track.conf3d is None:
        return replace(left, landmarks3d=None, conf3d=None)
    conf3d = track.conf3d.masked_fill(taken, 0)
    turn = _looking_at(boxes, camera).mT @ _looking_at(track.boxes, camera)
    space = (track.landmarks3d @ turn.mT).masked_fill((conf3d == 0)[..., None], 0)
    return replace(left, landmarks3d=space, conf3d=conf3d)


def _steady(boxes: Tensor, times: Tensor) -> Tensor:
    """Boxes as the built-in detector hands them on: smoothed over a tenth of a second."""
    if len(times) < 2:
        return boxes
    width = 0.1 / float(times.diff().median())
    return torch.from_numpy(steady(boxes.double().numpy(), width)).to(boxes)


def _looking_at(boxes: Tensor, camera: Camera) -> Tensor:
    """(T, 3, 3) axes of a camera that looks at the middle of each box -> axes of the full one."""
    center = boxes.new_tensor(camera.center)
    return ray_rotation(((boxes[:, :2] + boxes[:, 2:]) / 2 - center) / camera.focal)


def _height(points: Keypoints2D, sure: Tensor) -> float:
    low = points.xy.masked_fill(~sure[..., None], torch.inf).amin(1)
    high = points.xy.masked_fill(~sure[..., None], -torch.inf).amax(1)
    extent = (high - low).amax(-1)[sure.sum(1) >= 2]
    if not len(extent):
        raise SemttaError("nobody's detections are sure enough to be judged by.")
    return float(extent.median())


def _mean(off: Tensor, which: Tensor) -> float | None:
    return float(off[which].double().mean()) if bool(which.any()) else None
