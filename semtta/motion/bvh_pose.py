"""From a BVH skeleton's posed joints to SMPL's rotations.

Two facts are kept apart. *Gravity*: which axis of the file's world points up. *Rest pose*: where
the bones point when every rotation is zero. In most files the zero pose is a person who stands in
the file's own axes, and tells both; in others (LAFAN1) it has every bone along one axis, and how a
joint's axes lie in the body is seen from the motion itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.errors import SemttaError, announce
from semtta.skeletons import SMPL24, SMPL_PARENTS

# Joints whose bone is turned to SMPL's rest direction, and the joint at the bone's other end.
_CORRECTED = {
    f"{side}_{joint}": f"{side}_{end}"
    for side in ("left", "right")
    for joint, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"),
                       ("elbow", "wrist"))
}  # fmt: skip
_UPRIGHT = 0.7  # cosine to the vertical of a person from the ankles to the head
_SOME, _MOST = 0.2, 0.5  # shares of the frames
_HEIGHT = (0.5, 1.6)  # of a standing person's pelvis, in lengths of the leg
_SHAPE = 15.0  # degrees between the same bones of two bodies
_PARALLEL = 1e-8  # radians
_TWISTED = 60.0  # degrees about a bone that no limb has on the mean of a motion


@dataclass(frozen=True)
class Posed:
    """A skeleton in motion, in the file's axes and units.

    Args:
        places: SMPL joint -> column.
        world: (N, J, 3, 3) global rotations relative to the zero pose.
        rest: (J, 3) joints of the zero pose.
        posed: (N, J, 3) joints.
        is_smpl: the joints are SMPL's by name, so its bones differ by the body's shape only.
    """

    places: dict[str, int]
    world: Tensor
    rest: Tensor
    posed: Tensor
    is_smpl: bool = False

    def between(self, joints: Tensor, *names: str) -> Tensor:
        """Middle of some joints, (..., J, 3) -> (..., 3)."""
        return joints[..., [self.places[name] for name in names], :].mean(-2)


def smpl_rotations(path: Path, motion: Posed, body: Tensor) -> tuple[Tensor, Tensor]:
    """Local rotations (N, 24, 3, 3), and the turn (3, 3) of the file's world to SMPL's.

    Args:
        path: for messages.
        body: (24, 3) joints of SMPL's rest pose."""
    facing = _facing(path, motion)
    up, stands = facing[1], _stands(motion, facing)
    found = _gravity(path, motion, up if stands else None)
    # the world of a file whose zero pose stands upright is turned to where that pose looks
    turn = facing if torch.equal(found, up) else _smallest_turn(found, torch.eye(3).to(up)[1])
    world, rest = turn @ motion.world @ facing.T, motion.rest @ facing.T
    fit = _Fit(motion.places, world, rest, body.to(world), known=stands)
    if motion.is_smpl and stands and fit.largest_turn() < _SHAPE:
        fit.correction_of = {}
    return fit.local(), turn


def _facing(path: Path, motion: Posed) -> Tensor:
    """(3, 3) from the zero pose's axes to SMPL's: its left = +x, up = +y."""
    hips = motion.between(motion.rest, "left_hip", "right_hip")
    up = motion.between(motion.rest, "left_shoulder", "right_shoulder") - hips
    left = motion.between(motion.rest, "left_hip") - motion.between(motion.rest, "right_hip")
    if min(float(left.norm()), float(up.norm())) < 1e-6:
        raise SemttaError(f"'{path}': the skeleton's zero pose has no width or no height.")
    # The nearest of the file's axes, not the exact directions: a spine may lean.
    axis = torch.eye(3, dtype=up.dtype)
    y = axis[up.abs().argmax()] * up[up.abs().argmax()].sign()
    left = left - (left @ y) * y
    if float(left.norm()) < 1e-6:
        raise SemttaError(f"'{path}': the skeleton's zero pose has no width or no height.")
    x = axis[left.abs().argmax()] * left[left.abs().argmax()].sign()
    return torch.stack((x, y, torch.linalg.cross(x, y)))


def _stands(motion: Posed, facing: Tensor) -> bool:
    """Whether the zero pose is a standing person: each ankle a leg's length below its hip."""
    rest = motion.rest @ facing.T
    for side in ("left", "right"):
        hip, ankle = (rest[motion.places[f"{side}_{part}"]] for part in ("hip", "ankle"))
        if float(hip[1] - ankle[1]) < 0.6 * leg_length(rest, motion.places.get, side):
            return False
    return True


def _gravity(path: Path, motion: Posed, up: Tensor | None) -> Tensor:
    """(3,) the axis of the file's world that points up.

    Args:
        up: of a zero pose that stands, which is believed as long as the person stands along it
            now and then; None = the zero pose says nothing."""
    top = "head" if "head" in motion.places else "left_shoulder"
    person = motion.between(motion.posed, top) - motion.between(
        motion.posed, "left_ankle", "right_ankle"
    )
    person = F.normalize(person)
    axes = torch.cat((torch.eye(3), -torch.eye(3))).to(person)
    share = (person @ axes.T > _UPRIGHT).double().mean(0)
    best = axes[share.argmax()]
    if up is None:
        if float(share.max()) > _MOST:
            return best
        announce(f"'{path}': the person does not stand in most frames and the zero pose is none "
                 "of a standing person; +y is taken to be up.")  # fmt: skip
        return axes[1]
    if float(share.max()) <= _MOST or float((person @ up > _UPRIGHT).double().mean()) > _SOME:
        return up
    if _is_height(motion, best) and not _is_height(motion, up):
        announce(f"'{path}': its zero pose stands along {_name(up)}, the person in it along "
                 f"{_name(best)}, which is taken to be up.")  # fmt: skip
        return best
    announce(f"'{path}': the person lies along {_name(best)} or that axis points up; as in the "
             f"zero pose, {_name(up)} is taken to be up.")  # fmt: skip
    return up


def _is_height(motion: Posed, axis: Tensor) -> bool:
    """Whether the pelvis is usually as high along an axis as on a standing person's legs."""
    height = float((motion.between(motion.posed, "pelvis") @ axis).median())
    low, high = _HEIGHT
    length = leg_length(motion.rest, motion.places.get, "left")
    return low * length < height < high * length


def _name(axis: Tensor) -> str:
    k = int(axis.abs().argmax())
    return ("+" if float(axis[k]) > 0 else "-") + "xyz"[k]


class _Fit:
    """Global SMPL rotations of global rotations relative to the zero pose, joint by joint.

    Args:
        places: SMPL joint -> column.
        world: (N, J, 3, 3), rest: (J, 3), in SMPL's axes.
        body: (24, 3).
        known: whether the joints' axes lie in the zero pose as in SMPL's, but for the limbs.
    """

    def __init__(self, places: dict, world: Tensor, rest: Tensor, body: Tensor, known: bool):
        self.places, self.world, self.rest, self.body = places, world, rest, body
        self.known = known
        self.correction: dict[str, Tensor] = {}
        self.correction_of = _CORRECTED

    def largest_turn(self) -> float:
        """Degrees between the bones of the zero pose and SMPL's."""
        turns = []
        for joint, end in _CORRECTED.items():
            if end in self.places:  # the hands may be missing
                bone = self.body[SMPL24.index(end)] - self.body[SMPL24.index(joint)]
                target = self.rest[self.places[end]] - self.rest[self.places[joint]]
                turns.append(np.rad2deg(_angle(bone, target)))
        return max(turns)

    def local(self) -> Tensor:
        """(N, 24, 3, 3)."""
        turned: list[Tensor] = []
        local: list[Tensor] = []
        eye = torch.eye(3).to(self.world)
        for index, joint in enumerate(SMPL24.joints):
            parent = SMPL_PARENTS[index]
            if joint not in self.places:  # moves with its parent
                turned.append(turned[parent])
                local.append(eye.expand(len(self.world), 3, 3))
                continue
            above = turned[parent] if parent >= 0 else None
            source = self.world[:, self.places[joint]]
            turned.append(source @ self._correct(joint, index, parent, source, above))
            local.append(turned[index] if above is None else above.mT @ turned[index])
        return torch.stack(local, 1)

    def _correct(self, joint: str, index: int, parent: int, source: Tensor, above) -> Tensor:
        """(3, 3) from SMPL's rest axes of a joint to those of the zero pose."""
        eye, end = torch.eye(3).to(source), self.correction_of.get(joint, "")
        if end in self.places:
            bone = self.body[SMPL24.index(end)] - self.body[index]
            target = self.rest[self.places[end]] - self.rest[self.places[joint]]
            found = _smallest_turn(bone, target)
            if not self.known:
                # how the axes lie, to whole quarter turns; the rest is the smallest turn again
                found = found @ _untwist(bone, above.mT @ source @ found)
                axes = _nearest_axes(found.mT[None])
                found = _smallest_turn(axes @ bone, target) @ axes
        elif not self.known:
            found = eye if above is None else _nearest_axes(above.mT @ source)
        elif joint.endswith(("elbow", "wrist")):  # as the rest of the arm
            found = self.correction.get(SMPL24.joints[parent], eye)
        else:
            return eye
        self.correction[joint] = found
        return found


def _smallest_turn(a: Tensor, b: Tensor) -> Tensor:
    """(3, 3) the smallest rotation that takes direction a to direction b."""
    axis, angle = torch.linalg.cross(a, b), _angle(a, b)
    if angle < _PARALLEL:  # so is what has no length
        return torch.eye(3).to(a)
    if angle < np.pi - _PARALLEL:
        return roma.rotvec_to_rotmat(axis / axis.norm() * angle)
    across = torch.linalg.cross(a, torch.eye(3).to(a)[a.abs().argmin()])
    return roma.rotvec_to_rotmat(across / across.norm() * np.pi)


def _angle(a: Tensor, b: Tensor) -> float:
    """Radians between two directions of any length; 0 if one has none."""
    return float(torch.atan2(torch.linalg.cross(a, b).norm(), a @ b))


def _untwist(bone: Tensor, local: Tensor) -> Tensor:
    """(3, 3) quarter turns about a bone that take out a twist which no limb has.

    Args:
        local: (N, 3, 3) rotations relative to the parent, in SMPL's axes."""
    bone = bone / bone.norm()
    quaternion = roma.rotmat_to_unitquat(local)  # x y z w
    along = quaternion[..., :3] @ bone
    angle = torch.view_as_complex(torch.stack((quaternion[..., 3], along), -1).contiguous()) ** 2
    mean = float(torch.rad2deg(angle.mean().angle()))
    quarters = 0 if abs(mean) < _TWISTED else round(mean / 90)
    return roma.rotvec_to_rotmat(-bone * (quarters * np.pi / 2))


def _nearest_axes(local: Tensor) -> Tensor:
    """(3, 3) of the 24 ways in which axes can lie, the one that leaves a joint turned least.

    Args:
        local: (N, 3, 3) rotations relative to the parent."""
    eye = torch.eye(3).to(local)
    ways = []
    for i in range(3):
        for j in range(3):
            for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                if i != j:
                    x, y = a * eye[i], b * eye[j]
                    ways.append(torch.stack((x, y, torch.linalg.cross(x, y)), -1))
    ways.sort(key=lambda way: -float(way.trace()))  # none, if it is as good
    angles = [roma.rotmat_geodesic_distance(local @ way, eye.expand_as(local)).mean()
              for way in ways]  # fmt: skip
    return ways[int(torch.stack(angles).argmin())]


def leg_length(positions: Tensor, place, side: str = "left") -> float:
    """Length of thigh and shank."""
    hip, knee, ankle = (positions[place(f"{side}_{part}")] for part in ("hip", "knee", "ankle"))
    return float((knee - hip).norm() + (ankle - knee).norm())
