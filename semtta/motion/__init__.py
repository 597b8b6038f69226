"""Motion and text: the priors that say whether a motion shows its label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from semtta.errors import SemttaError
from semtta.shipped import asset

if TYPE_CHECKING:
    from semtta.motion.prior import MotionPrior

_SHIPPED = {"embedded": "motion/prior_align.pt", "embedded-gate": "motion/prior_gate.pt"}


def load_prior(name: str = "embedded", checkpoint: str | Path | None = None) -> MotionPrior:
    """A motion prior by name.

    Args:
        name: ``embedded`` (for the alignment loss) or ``embedded-gate`` (for the gate).
        checkpoint: another checkpoint of ``tools/train_prior.py`` instead of the shipped one.
    """
    if name not in _SHIPPED:
        raise SemttaError(f"unknown motion prior '{name}'; known: {', '.join(_SHIPPED)}.")
    from semtta.motion.prior import EmbeddedPrior

    path = Path(checkpoint) if checkpoint else asset(_SHIPPED[name])
    if not path.is_file():
        raise SemttaError(f"no motion prior at '{path}'.")
    return EmbeddedPrior.load(path)
