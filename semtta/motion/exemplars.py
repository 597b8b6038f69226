"""Global rotations of one exemplar motion per label, in the frame of MotionCLIP's training data.

That data is AMASS as recorded: z points up. The library's own dictionary is y up and is turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion.dictionary import Dictionary
from semtta.motion.text import text_key
from semtta.reading import npz_names, read_npz, reason

LENGTH = 60  # frames at 30 fps
_Y_TO_Z_UP = (math.pi / 2, 0.0, 0.0)  # rotation vector


@dataclass(frozen=True)
class ExemplarRoots:
    """Labels with the global rotations of their exemplars.

    Args:
        labels: L texts.
        roots: (L, 60, 3, 3), z up, 30 fps.
        phrases: other texts -> index of the label that they mean.
    """

    labels: tuple[str, ...]
    roots: Tensor
    phrases: dict[str, int]

    @classmethod
    def load(cls, path: str | Path) -> ExemplarRoots:
        """From an npz file: a dictionary of this library, or one array for each label.

        The array named by a label is its exemplar's global rotation at 30 fps, z up as in AMASS:
        (T, 3) axis-angle or (T, 3, 3) matrices. More than 60 frames are cut, a shorter one
        repeats its last. Raises ``SemttaError`` if the file is anything else."""
        path = Path(path)
        if not path.is_file():
            raise SemttaError(f"there is no file '{path}' to read exemplar roots from.")
        try:
            names = npz_names(path, "file of exemplar roots")
            if {"labels", "phrases", "phrase_label", "roots"} <= set(names):
                return cls.of(Dictionary.load(path))
            arrays = read_npz(path, "file of exemplar roots", names)
            roots = {label: _matrices(array) for label, array in arrays.items()}
        except Exception as error:  # whatever is in their place
            raise SemttaError(
                f"'{path}' does not hold exemplar roots ({reason(error)}): it must be an npz file "
                "with one array of rotations, (T, 3) or (T, 3, 3), named by each label."
            ) from error
        if not roots:
            raise SemttaError(f"'{path}' holds no exemplar at all.")
        return cls(tuple(roots), torch.stack(list(roots.values())), {})

    @classmethod
    def of(cls, dictionary: Dictionary) -> ExemplarRoots:
        """The exemplars of this library's dictionary, turned from y up to z up."""
        turn = roma.rotvec_to_rotmat(torch.tensor(_Y_TO_Z_UP))
        pairs = zip(dictionary.phrases, dictionary.phrase_label.tolist())
        return cls(dictionary.labels, turn @ dictionary.roots, {text_key(p): i for p, i in pairs})

    def find(self, text: str) -> int | None:
        """Index of the first label that is this very text, or that a phrase means, or None."""
        for i, label in enumerate(self.labels):
            if text_key(label) == text_key(text):
                return i
        return self.phrases.get(text_key(text))


def _matrices(array: np.ndarray) -> Tensor:
    """(T, 3) axis-angle or (T, 3, 3) matrices -> (60, 3, 3); raises ``ValueError``."""
    roots = torch.from_numpy(np.asarray(array[:LENGTH], np.float32))
    if len(roots) == 0 or roots.shape[1:] not in ((3,), (3, 3)) or not roots.isfinite().all():
        raise ValueError("no rotations")
    if roots.dim() == 2:
        roots = roma.rotvec_to_rotmat(roots)
    elif not roma.is_rotation_matrix(roots, epsilon=1e-2):
        raise ValueError("no rotations")
    return roots[torch.arange(LENGTH).clamp_max(len(roots) - 1)]
