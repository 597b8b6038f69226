"""The library's list of action names: phrases that mean them and an exemplar root for each.

Of recorded motion only the *global* rotation of one exemplar per name is shipped, turned so that
its first frame faces +z; the alignment loss puts it in place of the predicted one, whose frame is
the camera's (seed paper, Section "semantics-motion alignment"). Local poses, which only the
baselines ``unpaired`` and ``discriminator`` read, are of generated motion; names of which no motion
is generated (dances, fights) have none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion.resample import resample_positions
from semtta.motion.text import TextEncoder, text_key
from semtta.reading import read_npz, reading
from semtta.shipped import asset
from semtta.skeletons import SMPL24

_ARRAYS = ("labels", "phrases", "phrase_label", "roots", "poses", "pose_of")
# Words that say who, not what: "a person is sitting" must not be near "a person is kicking".
_FILLERS = frozenset(
    "a an the person man woman boy girl people someone somebody he she they is are his her "
    "their".split()
)
_JOINED = re.compile(r"\s+(?:and|while|with)\s+|\s*[,+&]\s*", re.IGNORECASE)
_KNOWN = 0.6  # cosine to a phrase above which a part of a compound text is an action
_SAME = 0.8  # cosine above which a compound text is one that the dictionary has
# Names whose legs and root are the point; in a compound text the others give the upper body.
_LEGS = re.compile(
    r"walk|run|march|sneak|stumble|climb|jump|hop|kick|sit|squat|kneel|stand|balance|crawl|spin|"
    r"turn|dance|lie|fall|get up|bend"
)
# All joints but the root, as they stand in ``Dictionary.poses``.
_LOWER = [
    i
    for i, name in enumerate(SMPL24.joints[1:])
    if name.split("_")[-1] in ("hip", "knee", "ankle", "foot")
]


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
        found = read_npz(path, "motion dictionary", _ARRAYS)
        missing = [name for name in _ARRAYS if name not in found]
        if missing:
            raise SemttaError(f"'{path}' is not a motion dictionary: it has no {missing[0]}; make "
                              "one with tools/build_dictionary.py.")  # fmt: skip
        labels, phrases, phrase_label, roots, poses, pose_of = (found[name] for name in _ARRAYS)
        with reading(path, "motion dictionary"):
            fits = roots.shape == (len(labels), 60, 3) and len(phrases) == len(phrase_label)
            fits = fits and poses.shape[1:] == (30, 23, 3) and len(pose_of) == len(labels)
            fits = fits and pose_of.max(initial=-1) < len(poses) and np.isfinite(roots).all()
            meant = phrase_label.astype(np.int64)
            if not fits or not ((meant >= 0) & (meant < len(labels))).all():
                raise SemttaError(f"the dictionary '{path}' is inconsistent; make it anew.")
            return cls(
                labels=tuple(map(str, labels)),
                phrases=tuple(map(str, phrases)),
                phrase_label=torch.from_numpy(meant),
                roots=roma.rotvec_to_rotmat(torch.from_numpy(roots.astype(np.float32))),
                poses=torch.from_numpy(poses.astype(np.float32)),
                pose_of=torch.from_numpy(pose_of.astype(np.int64)),
                text=text or TextEncoder.load(),
            )

    @cached_property
    def _exact(self) -> dict[str, int]:
        known = {p.lower(): int(i) for p, i in zip(self.phrases, self.phrase_label)}
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
        return self._exact.get(text_key(text))

    def nearest(self, text: str) -> str:
        """The label whose phrase is nearest to a free text."""
        index = self.find(text)
        if index is None:
            feature = self.feature(text)
            index = int(self.phrase_label[(self.phrase_features @ feature).argmax()])
        return self.labels[index]

    def ranked(self, text: str, count: int = 5) -> list[tuple[str, float]]:
        """The labels nearest to a text, each with the cosine of its nearest phrase.

        Raises ``SemttaError`` for a text without a known word."""
        cosine = self.phrase_features @ self.feature(text)
        best = torch.full((len(self.labels),), float("-inf"))
        best = best.scatter_reduce(0, self.phrase_label, cosine, "amax")
        if (exact := self.find(text)) is not None:
            best[exact] = 1.0
        order = best.argsort(descending=True)[:count].tolist()
        return [(self.labels[i], float(best[i])) for i in order]

    def parts(self, text: str) -> tuple[str, ...]:
        """Labels of a compound text ("walking and waving"), the one of the legs first.

        Empty for a text that is one action, that the dictionary has as a whole ("walking and
        throwing"), or of which a part is unknown."""
        pieces = [piece for piece in _JOINED.split(text.strip()) if piece]
        if len(pieces) < 2 or self.find(text) is not None:
            return ()
        try:
            whole, nearness = self.ranked(text, 1)[0]
            ranked = [self.ranked(piece, 1)[0] for piece in pieces]
        except SemttaError:  # a part without a known word
            return ()
        if (nearness > _SAME and _JOINED.search(whole)) or any(c < _KNOWN for _, c in ranked):
            return ()
        labels = tuple(dict.fromkeys(label for label, _ in ranked))
        return tuple(sorted(labels, key=lambda x: not _LEGS.search(x))) if len(labels) > 1 else ()

    def exemplar_root(self, text: str) -> Tensor:
        """Global rotation (60, 3, 3) of the exemplar of the nearest label.

        That of a compound text is its part's that moves the legs."""
        parts = self.parts(text)
        return self.roots[self.labels.index(parts[0] if parts else self.nearest(text))]

    def exemplar_pose(self, text: str) -> Tensor | None:
        """Local rotations (60, 23, 3, 3) at 30 fps of the nearest label's exemplar, or None.

        That of a compound text has the legs of its first part and the rest of its second."""
        parts = self.parts(text)
        if not parts:
            return self._pose(self.nearest(text))
        legs, rest = self._pose(parts[0]), self._pose(parts[1])
        if legs is None or rest is None:
            return None
        composed = rest.clone()
        composed[:, _LOWER] = legs[:, _LOWER]
        return composed

    def _pose(self, label: str) -> Tensor | None:
        row = int(self.pose_of[self.labels.index(label)])
        if row < 0:
            return None
        poses = roma.rotvec_to_rotmat(self.poses[row])
        return resample_positions(poses, torch.arange(60) / 2)
