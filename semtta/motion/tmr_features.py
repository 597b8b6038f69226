"""What the encoders of TMR's family read: one layout for each, and the numbers of MotionFix's.

Three releases share one encoder (``semtta.motion.tmr``) and tell motion in three ways. A
:class:`Layout` owns what stands where and in which unit; a :class:`TMRFeatures` makes it of local
rotations, differentiably, and normalises it with the release's own mean and standard deviation.

What an adaptation has no trustworthy number for is the pelvis's path: a camera's depth is off by
decimetres from frame to frame. It is made of the pose (:func:`planted_path`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.motion.encoder import joint_positions

SECONDS = 2.0  # of motion that a prior is shown


@dataclass(frozen=True)
class Block:
    """Neighbouring numbers of a frame: how many, what they are, and in which unit."""

    name: str
    size: int
    holds: str


@dataclass(frozen=True)
class Layout:
    """The numbers of one frame, in their order.

    Args:
        name: how files call it.
        title: how messages call it.
        fps: frame rate at which it was trained.
        up: the axis that points up.
        blocks: what stands one after the other.
        epsilon: how the release keeps a standard deviation from being zero: "added" to it
            (1e-12), or under the "root" (``sqrt(std² + 1e-5)``).
        text_size: channels of the text states that its text encoder reads.
        texts: which network makes those states.
    """

    name: str
    title: str
    fps: float
    up: str
    blocks: tuple[Block, ...]
    epsilon: str
    text_size: int
    texts: str

    @property
    def size(self) -> int:
        return sum(block.size for block in self.blocks)

    @property
    def slices(self) -> dict[str, slice]:
        """Where each block stands, by its name."""
        found, start = {}, 0
        for block in self.blocks:
            found[block.name] = slice(start, start + block.size)
            start += block.size
        return found

    def split(self, features: Tensor) -> dict[str, Tensor]:
        """Views of features (..., size), by the names of the blocks."""
        return {name: features[..., where] for name, where in self.slices.items()}


# Read in atnikos/motionfix (src/data/features.py, src/tmr): order, rows, frame of the step, first
# step zero. Not told there: in which direction the people of its training face at first, and
# whether its weights were trained at the 30 frames a second at which MotionFix is judged by them.
MOTIONFIX = Layout(
    name="motionfix", title="MotionFix-TMR", fps=30.0, up="z", epsilon="added",
    text_size=768, texts="DistilBERT (distilbert-base-uncased), one state a token",
    blocks=(
        Block("step", 3, "pelvis now minus pelvis before, metres, in the pelvis's axes before; "
                         "zero in the first frame"),
        Block("body", 21 * 6, "local rotations of SMPL's joints 1-21, each as its first two rows"),
        Block("root", 6, "global rotation of the pelvis in a world with z up, first two rows"),
    ),
)  # fmt: skip
# Read in nv-tlabs/kimodo (kimodo/motion_rep, kimodo/skeleton). Not told there: whether the weights
# were trained on every heading; what kimodo itself judges by them starts at heading 0.
SOMA = Layout(
    name="soma", title="TMR-SOMA", fps=30.0, up="y", epsilon="root",
    text_size=4096, texts="LLM2Vec (Llama 3 8B), one vector a text",
    blocks=(
        Block("root", 3, "pelvis, metres; x and z are zero in the first frame, y is its height"),
        Block("heading", 2, "cosine and sine of the angle about y; 0 faces +z"),
        Block("joints", 29 * 3, "SOMA's joints 1-29, metres; x and z from the pelvis, y from the "
                                "ground"),
        Block("velocities", 30 * 3, "of all joints, metres a second, forward differences, the "
                                    "last twice"),
        Block("contacts", 4, "1 where left foot, left toe, right foot, right toe are below 0.10 m "
                             "and slower than 0.15 m/s"),
    ),
)  # fmt: skip
# Read in Mathux/TMR (src/guofeats), which took it from HumanML3D.
HUMANML = Layout(
    name="humanml3d", title="TMR", fps=20.0, up="y", epsilon="added",
    text_size=768, texts="DistilBERT (distilbert-base-uncased), one state a token",
    blocks=(
        Block("turn", 1, "half the angle about y to the next frame, radians"),
        Block("travel", 2, "pelvis to the next frame, x and z, metres, in the next heading's axes"),
        Block("height", 1, "of the pelvis, metres"),
        Block("joints", 21 * 3, "SMPL's joints 1-21 in the heading's axes, metres; x and z from "
                                "the pelvis, y from the ground"),
        Block("rotations", 21 * 6, "of the bones that end in them, first two columns, by "
                                   "HumanML3D's inverse kinematics"),
        Block("velocities", 22 * 3, "of joints 0-21 to the next frame, metres, in the heading's "
                                    "axes"),
        Block("contacts", 4, "1 where left ankle, left foot, right ankle, right foot move less "
                             "than sqrt(0.002) m to the next frame"),
    ),
)  # fmt: skip
LAYOUTS = {layout.size: layout for layout in (MOTIONFIX, SOMA, HUMANML)}


class TMRFeatures(nn.Module):
    """Local rotations to one layout's normalised numbers.

    Args:
        mean, std: (layout.size,), the release's own; ``SemttaError`` if they are not finite or
            cannot be divided by.
        fps: frame rate of what will be read; None = the layout's.
    """

    layout: Layout
    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, std: Tensor, fps: float | None = None):
        super().__init__()
        layout = self.layout
        for name, value in (("mean", mean), ("std", std)):
            if tuple(value.shape) != (layout.size,) or not value.isfinite().all():
                raise SemttaError(f"the {name} of {layout.title}'s motions must be {layout.size} "
                                  f"finite numbers, not {tuple(value.shape)}.")  # fmt: skip
        if (std < 0).any() or (layout.epsilon == "added" and not std.all()):
            raise SemttaError(f"the standard deviation of {layout.title}'s motions has numbers "
                              "that are not positive.")  # fmt: skip
        self.fps = layout.fps if fps is None else fps
        scale = std + 1e-12 if layout.epsilon == "added" else (std**2 + 1e-5).sqrt()
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", scale.float())

    def raw(self, rotmats: Tensor) -> Tensor:
        """(S, T, 24, 3, 3) local rotations, the root's with z up -> (S, T', size), as in the
        layout; differentiable."""
        raise NotImplementedError

    def forward(self, rotmats: Tensor) -> Tensor:
        """The same, minus the mean, over the standard deviation."""
        return (self.raw(rotmats) - self.mean) / self.scale


class MotionFixFeatures(TMRFeatures):
    """135 numbers a frame, SMPL's rotations as they are; see :data:`MOTIONFIX`.

    Motions are turned about z so that they face at first where those of the mean face on average:
    the training's own heading if it had one, and of no consequence if it had none.

    Args:
        mean, std: (135,).
        rest: (24, 3) metres, joints of the unposed body, for the path only.
        fps: as above.
    """

    layout = MOTIONFIX
    rest: Tensor

    def __init__(self, mean: Tensor, std: Tensor, rest: Tensor, fps: float | None = None):
        super().__init__(mean, std, fps)
        rows = self.layout.split(self.mean)["root"].unflatten(-1, (2, 3))
        if float(rows[:, 1].norm()) > _UPRIGHT:  # the pelvis's own up lies in the ground's plane
            raise SemttaError(f"the mean of {self.layout.title}'s motions is that of people who "
                              "do not stand along z; give the files of one release.")  # fmt: skip
        self.heading = float(torch.atan2(rows[1, 2], rows[0, 2]))
        self.register_buffer("rest", rest)

    def raw(self, rotmats: Tensor) -> Tensor:
        root = self._headed(rotmats[:, :, 0])
        joints = (root[:, :, None] @ joint_positions(rotmats, self.rest)[..., None])[..., 0]
        path = planted_path(joints, self.layout.up)
        step = (root[:, :-1].mT @ path.diff(dim=1)[..., None])[..., 0]
        body = rotmats[:, :, 1:22, :2].flatten(2)
        return torch.cat((F.pad(step, (0, 0, 1, 0)), body, root[..., :2, :].flatten(2)), -1)

    def _headed(self, root: Tensor) -> Tensor:
        """(S, T, 3, 3) turned about z, all frames alike."""
        facing = root[:, 0, :2, 2]
        angle = self.heading - torch.atan2(facing[:, 1], facing[:, 0])
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        turn = torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1), -1)
        return turn.unflatten(-1, (3, 3))[:, None] @ root


_UPRIGHT = 0.6  # sine of the angle to the vertical


def planted_path(joints: Tensor, up: str) -> Tensor:
    """The pelvis's path if whatever is lowest stands on the ground and does not slide.

    From a frame to the next the joint that is lowest in both together stays where it is; the
    lowest joint of each frame is at height 0. A flight phase is told as a short one, a ride not
    at all.

    Args:
        joints: (S, T, J, 3) metres from the pelvis, in the world's axes.
        up: the axis that points up, "y" or "z".
    Returns: (S, T, 3) metres; the first frame is over the origin. Differentiable."""
    axis = "xyz".index(up)
    height = joints[..., axis]
    floor = height.amin(-1)
    above = height - floor[..., None]
    held = (above[:, :-1] + above[:, 1:]).argmin(-1)[..., None, None].expand(-1, -1, 1, 3)
    step = (joints[:, :-1].gather(2, held) - joints[:, 1:].gather(2, held))[:, :, 0]
    path = F.pad(step, (0, 0, 1, 0)).cumsum(1)
    vertical = torch.arange(3, device=joints.device) == axis
    return torch.where(vertical, -floor[..., None], path)
