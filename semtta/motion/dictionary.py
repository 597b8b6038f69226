"""The library's list of action names: phrases that mean them and an exemplar root for each.

Of recorded motion only the *global* rotation of one exemplar per name is shipped, turned so that
its first frame faces +z; the alignment loss puts it in place of the predicted one, whose frame is
the camera's (seed paper, Section "semantics-motion alignment"). Local poses, which only the
baselines ``unpaired`` and ``discriminator`` read, are of generated motion; names of which no motion
is generated (dances, fights) have none.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion.resample import resample_positions
from semtta.motion.text import TextEncoder
from semtta.shipped import asset

# Words that say who, not what: "a person is sitting" must not be near "a person is kicking".
_FILLERS = frozenset(
    "a an the person man woman boy girl people someone somebody he she they is are his her "
    "their".split()
)


@dataclass(frozen=True)
class Dictionary:
    """Action names with their phrases and exemplar roots.

    Args:
        labels: L action names, unique.
        phrases: P texts, every label among them.
        phrase_label: (P,) index of the label that each phrase means.
        roots: (L, 60, 3, 3) float32, y up, first frame facing +z, 30 fps.
        poses: (M, 30, 23, 3) axis-angle of all joints but the root, 15 fps.
        pose_of: (L,) row of ``poses``, -1 for a label without.
        text: encoder used to find the nearest phrase.
    """

    labels: tuple[str, ...]
    phrases: tuple[str, ...]
    phrase_label: Tensor
    roots: Tensor
    poses: Tensor
    pose_of: Tensor
    text: TextEncoder

    @classmethod
    def load(cls, path: str | Path | None = None, text: TextEncoder | None = None) -> Dictionary:
        """The shipped dictionary, or one made by ``tools/build_dictionary.py``."""
        path = Path(path) if path else asset("motion/dictionary.npz")
        try:
            with np.load(path) as file:
                labels, phrases = file["labels"], file["phrases"]
                phrase_label, roots = file["phrase_label"], file["roots"]
                poses, pose_of = file["poses"], file["pose_of"]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise SemttaError(f"'{path}' is not a motion dictionary; make one with "
                              "tools/build_dictionary.py.") from error  # fmt: skip
        fits = roots.shape == (len(labels), 60, 3) and len(phrases) == len(phrase_label)
        fits = fits and poses.shape[1:] == (30, 23, 3) and len(pose_of) == len(labels)
        if not fits or pose_of.max(initial=-1) >= len(poses):
            raise SemttaError(f"the dictionary '{path}' is inconsistent; make it anew.")
        return cls(
            labels=tuple(map(str, labels)),
            phrases=tuple(map(str, phrases)),
            phrase_label=torch.from_numpy(phrase_label.astype(np.int64)),
            roots=roma.rotvec_to_rotmat(torch.from_numpy(roots.astype(np.float32))),
            poses=torch.from_numpy(poses.astype(np.float32)),
            pose_of=torch.from_numpy(pose_of.astype(np.int64)),
            text=text or TextEncoder.load(),
        )

    @cached_property
    def _exact(self) -> dict[str, int]:
        known = {p.lower(): int(i) for p, i in zip(self.phrases, self.phrase_label, strict=True)}
        return {**known, **{label.lower(): i for i, label in enumerate(self.labels)}}

    @cached_property
    def phrase_features(self) -> Tensor:
        """(P, D) unit text features of the phrases."""
        return torch.stack([self.feature(phrase) for phrase in self.phrases])

    def feature(self, text: str) -> Tensor:
        """(D,) unit text feature of the words that say what is done."""
        words = [w for w in text.split() if w.lower() not in _FILLERS]
        return self.text.encode([" ".join(words) or text])[0]

    def find(self, text: str) -> int | None:
        """Index of the label that this very phrase means, or None."""
        return self._exact.get(" ".join(text.lower().split()))

    def nearest(self, text: str) -> str:
        """The label whose phrase is nearest to a free text."""
        index = self.find(text)
        if index is None:
            feature = self.feature(text)
            index = int(self.phrase_label[(self.phrase_features @ feature).argmax()])
        return self.labels[index]

    def exemplar_root(self, text: str) -> Tensor:
        """Global rotation (60, 3, 3) of the exemplar of the nearest label."""
        return self.roots[self.labels.index(self.nearest(text))]

    def exemplar_pose(self, text: str) -> Tensor | None:
        """Local rotations (60, 23, 3, 3) at 30 fps of the nearest label's exemplar, or None."""
        row = int(self.pose_of[self.labels.index(self.nearest(text))])
        if row < 0:
            return None
        poses = roma.rotvec_to_rotmat(self.poses[row])
        return resample_positions(poses, (torch.arange(60) / 2).clamp_max(len(poses) - 1))
