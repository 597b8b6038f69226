"""2D evidence that moves: the EMA and the gated fill-in at the end of each epoch (Eq. 6-8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semtta.keypoints import Keypoints2D


@dataclass
class Evidence:
    """The 2D targets of one track, in image pixels.

    Args:
        xy: (T, J, 2) pixels.
        present: (T, J) bool, v of the paper.
        weight: (T, J) of each present joint in the loss, 1 for a detection.
        filled_in: (T, J) epoch (from 1) at whose end a joint was filled, 0 = never.
        known: (J,) bool, joints that the detector draws and the body has: only these can ever be
            evidence, so spine, collars and hands are never invented.
        raw: the detections as they came, never changed.
    """

    xy: Tensor
    present: Tensor
    weight: Tensor
    filled_in: Tensor
    known: Tensor
    raw: Keypoints2D

    @classmethod
    def from_keypoints(
        cls, keypoints: Keypoints2D, known: Tensor, min_confidence: float
    ) -> Evidence:
        """Detections with a confidence of at least ``min_confidence`` are present."""
        xy, conf = keypoints.xy, keypoints.conf
        present = (conf > 0) & (conf >= min_confidence) & known
        return cls(
            xy=torch.where(present[..., None], xy, torch.zeros_like(xy)),
            present=present,
            weight=present.to(xy.dtype),
            filled_in=torch.zeros_like(present, dtype=torch.long),
            known=known,
            raw=keypoints,
        )

    @property
    def detected(self) -> Tensor:
        """(T, J) bool: present from the start, so what the fit goes by."""
        return self.present & (self.filled_in == 0)

    def doubt(self, expected: Tensor, side: Tensor, scale: float) -> None:
        """Weigh detections by how well they fit an expected motion, as a Cauchy loss does.

        Invented limbs and exchanged sides lie far from both the regressor's prediction and what
        the other limbs make likely; filled joints keep their weight.

        Args:
            expected: (T, J, 2) where the motion would put the joints, pixels.
            side: (T,) of the crops, pixels.
            scale: distance at which a detection counts half, share of the crop's side."""
        distance = (expected - self.raw.xy).norm(dim=-1) / side[:, None]
        weight = 1 / (1 + (distance / scale) ** 2)
        self.weight = torch.where(self.detected, weight, self.weight)

    def average(
        self,
        projected: Tensor,
        alpha: float,
        filling: Tensor | None = None,
        detected: bool = True,
        by_confidence: bool = False,
    ) -> None:
        """Eq. 7: J <- alpha J + (1 - alpha) J^ where J is present, filled joints included.

        Args:
            projected: (T, J, 2) this epoch's projection, pixels.
            alpha: share of the old evidence.
            filling: (T, J, 2) what filled joints are averaged with; None = the projection, as in
                the paper.
            detected: whether detections move too, as in the paper.
            by_confidence: of a detection only what it is unsure of moves: 1 - alpha becomes
                (1 - alpha) (1 - confidence)."""
        filled = self.filled_in > 0
        kept = torch.full_like(self.weight, alpha)
        if by_confidence:
            unsure = (1 - self.raw.conf).clamp(0, 1).to(kept)
            kept = torch.where(filled, kept, 1 - (1 - alpha) * unsure)
        if not detected:
            kept = torch.where(filled, kept, 1.0)
        if filling is not None:
            projected = torch.where(filled[..., None], filling, projected)
        moved = torch.lerp(projected, self.xy, kept[..., None])
        moves = self.present & (kept < 1)
        self.xy = torch.where(moves[..., None], moved, self.xy)

    def fill(
        self,
        projected: Tensor,
        gate: Tensor,
        epoch: int,
        weight: Tensor,
        barred: Tensor | None = None,
    ) -> int:
        """Eq. 6: missing joints of the frames that pass the gate take the projection.

        Args:
            projected: (T, J, 2) pixels; may lie outside the image (truncation).
            gate: (T,) bool.
            epoch: from 1, written to ``filled_in``.
            weight: (T,) of the filled joints in the loss.
            barred: (T, J) bool, joints that stay missing all the same.
        Returns: how many joints were filled."""
        new = ~self.present & self.known & gate[:, None]
        if barred is not None:
            new &= ~barred
        self.xy = torch.where(new[..., None], projected, self.xy)
        self.weight = torch.where(new, weight[:, None].to(self.weight), self.weight)
        self.filled_in = torch.where(new, torch.full_like(self.filled_in, epoch), self.filled_in)
        self.present = self.present | new
        return int(new.sum())

    def cpu(self) -> Evidence:
        """The same on the CPU."""
        raw = Keypoints2D(self.raw.xy.cpu(), self.raw.conf.cpu(), self.raw.skeleton)
        parts = (self.xy, self.present, self.weight, self.filled_in, self.known)
        xy, present, weight, filled_in, known = (part.cpu() for part in parts)
        return Evidence(xy, present, weight, filled_in, known, raw)

    def filled_share(self) -> float:
        """Filled joints over those that were missing at the start (0 if none was)."""
        missing = int((self.known & ~self.detected).sum())
        return float((self.filled_in > 0).sum()) / missing if missing else 0.0
