"""A semantic baseline (the paper's Table 3): pull towards the poses of another motion.

CycleAdapt with one more term, the L1 distance between local rotations and those of an exemplar
motion of the same label. The two motions are unpaired: the exemplar knows neither the phase nor
the style of the video, which is what the paper holds against this technique. There the exemplar
is generated from the label by MotionGPT; here it is the dictionary's, generated procedurally.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.hmr.base import Prediction
from semtta.motion.dictionary import Dictionary
from semtta.motion.resample import resample_positions
from semtta.tta import losses
from semtta.tta.cycleadapt import CycleAdapt
from semtta.tta.run import Run
from semtta.tta.strategy import Draw


class Unpaired(CycleAdapt):
    """CycleAdapt + ``unpaired.weight`` x L1 to an exemplar's local poses.

    Args:
        networks: denoiser and exemplars are used.
    """

    reads: tuple[str, ...] = ("denoiser", "exemplars")

    def begin(self, run: Run) -> None:
        super().begin(run)
        self.poses, self.known = exemplar_poses(
            self.networks.exemplars, run.labels, run.track.times
        )
        self.poses, self.known = self.poses.to(run.device), self.known.to(run.device)

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict[str, Tensor]:
        terms = super().loss(run, draw, prediction)
        weight = self.known[draw.frames][:, None].expand(-1, 23)
        if weight.any():
            terms["unpaired"] = run.config.unpaired.weight * losses.pose_smoothing_loss(
                prediction.rotmats[:, 1:], self.poses[draw.frames], weight, draw.count
            )
        return terms


def exemplar_poses(
    exemplars: Dictionary | None, labels: list[str | None], times: Tensor
) -> tuple[Tensor, Tensor]:
    """Local poses of each frame's exemplar, played at its own speed over and over.

    Args:
        labels: one text or None per frame.
        times: (T,) seconds.
    Returns: (T, 23, 3, 3), all joints but the root; (T,) in {0, 1}, zero without an exemplar."""
    poses = torch.eye(3).repeat(len(labels), 23, 1, 1)
    known = torch.zeros(len(labels))
    for label in {label for label in labels if label}:
        motion = exemplars.exemplar_pose(label) if exemplars is not None else None
        if motion is None:
            continue
        rows = torch.tensor([i for i, text in enumerate(labels) if text == label])
        poses[rows] = resample_positions(motion, times[rows].cpu().double() * 30 % len(motion))
        known[rows] = 1
    return poses, known
