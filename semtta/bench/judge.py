"""An independent judge of what a motion shows: does it name the action that was performed?

Errors of joints say little about whether hidden legs *walk*. The judge is a motion prior of its
own (``tools/train_prior.py --which judge``): another fold of the clips, another seed, and it has
no part in any adaptation, so a motion cannot have been fitted to please it. It judges as
``semtta.motion.retrieval`` does, by windows of two seconds with the root left out, among all names
of the dictionary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semtta.motion.prior import EmbeddedPrior
from semtta.motion.resample import resample_positions
from semtta.motion.retrieval import runs, windows
from semtta.shipped import asset


@dataclass(frozen=True)
class Judge:
    """Compares motions with the dictionary's names.

    Args:
        prior: which no adaptation uses.
    """

    prior: EmbeddedPrior

    @classmethod
    def load(cls) -> Judge:
        """The shipped one."""
        return cls(EmbeddedPrior.load(asset("motion/prior_judge.pt")))

    def score(
        self, rotmats: Tensor, times: Tensor, labels: Sequence[str | None]
    ) -> dict[str, float | None]:
        """Whether a track's motion is named as what was done.

        Args:
            rotmats: (T, 24, 3, 3) local rotations, root first (ignored).
            times: (T,) seconds.
            labels: T texts or None; the commonest one counts.
        Returns: ``named``, 1 or 0, whether the label comes first among all names, and
            ``label_similarity``, the cosine with it, in means over all windows; None where no
            label is a name of the dictionary, or no stretch is long enough to show one."""
        known, found = self._index(labels), runs(times)
        if known is None or not found:
            return {"named": None, "label_similarity": None}
        parts = [
            resample_positions(rotmats[part], windows(times[part].double())[0]) for part in found
        ]
        mean = self._similarity(torch.cat(parts).float().cpu()).mean(0)
        return {
            "named": float(int(mean.argmax()) == known),
            "label_similarity": float(mean[known]),
        }

    @torch.no_grad()
    def _similarity(self, motion: Tensor) -> Tensor:
        """(S, 60, 24, 3, 3) -> (S, L) cosines with every name, of upright roots."""
        upright = torch.eye(3).expand(*motion.shape[:2], 1, 3, 3)
        motion = torch.cat((upright, motion[:, :, 1:]), 2)
        rows = [self.prior.embed_motion(part) for part in motion.split(128)]
        return torch.cat(rows) @ self.prior.features.T

    def _index(self, labels: Sequence[str | None]) -> int | None:
        """Place of the commonest label among the dictionary's names."""
        counts = Counter(label for label in labels if label is not None)
        return self.prior.dictionary.find(counts.most_common(1)[0][0]) if counts else None
