"""Motions optimised to please one prior, as lessons for the other."""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.motion.movement import MOVEMENT, body_movement
from semtta.motion.prior import EmbeddedPrior
from tools.training.corruption import Corruptor
from tools.training.denoiser_data import as_told, from_camera
from tools.training.motions import remove_yaw
from tools.training.prior_data import (
    LENGTH,
    Pool,
    corrupt,
    draw_windows,
    gaussian_over_time,
    optimise_towards,
    orthonormal,
    perturb,
)


class Adversaries:
    """A bank of motions optimised against the align prior, renewed while the gate learns.

    Each has the label it was pulled to and whether it is truly so (it showed that label before).
    """

    def __init__(self, prior: EmbeddedPrior, pool: Pool, roots: Tensor, accepted: Tensor,
                 generator: torch.Generator, size: int = 1536):  # fmt: skip
        self.prior, self.pool, self.roots, self.generator = prior, pool, roots, generator
        self.size = size
        self.corruptor = Corruptor(generator)
        self.rotmats = torch.empty(0, LENGTH, 24, 3, 3)
        self.movement = torch.empty(0, LENGTH, MOVEMENT)
        self.label = torch.empty(0, dtype=torch.long)
        self.true = torch.empty(0, dtype=torch.bool)
        self.ok = accepted

    def renew(self, count: int = 64) -> None:
        g = self.generator
        drawn = draw_windows(self.pool, count, g)
        path = as_told(from_camera(drawn.trans, self.corruptor), self.corruptor)
        label, moved = drawn.label, body_movement(drawn.rotmats[:, :, 0], path)
        start = torch.from_numpy(remove_yaw(drawn.rotmats.numpy()))
        u = torch.rand(count, generator=g)
        true, stuck = u < 0.35, u > 0.75
        target = label.clone()
        for i in torch.nonzero(~true & ~stuck).flatten().tolist():
            weight = (~self.ok[label[i]]).double()
            weight[self.pool.labels.index("walk")] *= 12
            target[i] = torch.multinomial(weight, 1, generator=g)
        broken, drop = corrupt(self.pool, start, label, g)
        start = torch.where(stuck[:, None, None, None, None], broken, start)
        start = perturb(start, g)
        keep = ~stuck | (drop > 0.6)
        start, target, true, moved = start[keep], target[keep], true[keep], moved[keep]
        lr = (1.0, 2.0, 3.0)[int(torch.randint(3, (), generator=g))] * 1e-2
        smooth = (0.0, 5.0, 20.0, 80.0)[int(torch.randint(4, (), generator=g))]
        steps = (20, 60)
        made = optimise_towards(self.prior.embed_motion, start, self.roots[target],
                                self.prior.features[target], steps, lr, smooth)  # fmt: skip
        self.rotmats = torch.cat((self.rotmats, *made))[-self.size :]
        self.movement = torch.cat((self.movement, *[moved] * len(steps)))[-self.size :]
        self.label = torch.cat((self.label, *[target] * len(steps)))[-self.size :]
        self.true = torch.cat((self.true, *[true] * len(steps)))[-self.size :]

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rotations, the movement of what they were made from, labels, whether they are true."""
        g = self.generator
        k = torch.randint(len(self.label), (count,), generator=g)
        rotmats = self.rotmats[k]
        if float(torch.rand((), generator=g)) < 0.4:  # smoothness must not tell them apart
            sigma = 0.6 + 2 * float(torch.rand((), generator=g))
            rotmats = orthonormal(gaussian_over_time(rotmats, sigma))
        if float(torch.rand((), generator=g)) < 0.5:
            rotmats = perturb(rotmats, g)
        return rotmats, self.movement[k], self.label[k], self.true[k]
