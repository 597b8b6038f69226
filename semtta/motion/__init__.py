"""Motion and text: the priors that say whether a motion shows its label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from semtta.errors import SemttaError
from semtta.shipped import asset
from semtta.user_files import require_user_file

if TYPE_CHECKING:
    from semtta.motion.prior import EmbeddedPrior, MotionPrior

_SHIPPED = {"embedded": "motion/prior_align.pt", "embedded-gate": "motion/prior_gate.pt"}


def load_prior(
    name: str = "embedded",
    checkpoint: str | Path | None = None,
    *,
    clip: str | Path | None = None,
    bpe: str | Path | None = None,
    exemplars: str | Path | None = None,
    translation: str = "zeros",
    text_vectors: str | Path | None = None,
    reads: str = "table",
) -> MotionPrior:
    """A motion prior by name.

    Args:
        name: ``embedded`` (for the alignment loss), ``embedded-gate`` (for the gate),
            ``motionclip`` (the paper's, from the user's files) or ``tmr`` (TMR, MotionFix-TMR or
            TMR-SOMA, from the user's files).
        checkpoint: another checkpoint of ``tools/train_prior.py``, MotionCLIP's, or a folder of
            TMR's family.
        exemplars: of ``motionclip`` and ``tmr``, see
            :meth:`~semtta.motion.exemplars.ExemplarRoots.load`.
        clip, bpe, translation: of ``motionclip`` only, see
            :class:`~semtta.motion.motionclip.MotionCLIPPrior`.
        text_vectors: of ``tmr`` only, see ``semtta.motion.tmr_texts``.
        reads: of the embedded ones only: what reads free texts, a value of ``labels.text``.
    """
    if name == "tmr":
        from semtta.motion.tmr import TMRPrior

        return TMRPrior.load(require_user_file("tmr", checkpoint), text_vectors, exemplars)
    if name == "motionclip":
        from semtta.motion.motionclip import MotionCLIPPrior

        return MotionCLIPPrior.load(
            require_user_file("motionclip", checkpoint), require_user_file("clip", clip),
            bpe=bpe, exemplars=exemplars, translation=translation,
        )  # fmt: skip
    if name not in _SHIPPED:
        known = ", ".join((*_SHIPPED, "motionclip", "tmr"))
        raise SemttaError(f"unknown motion prior '{name}'; known: {known}.")
    return load_embedded(name, checkpoint, reads)


def load_embedded(
    name: str = "embedded", checkpoint: str | Path | None = None, reads: str = "table"
) -> EmbeddedPrior:
    """One of the shipped priors, or of their kind: ``embedded`` or ``embedded-gate``.

    Args:
        reads: what reads free texts, a value of ``labels.text``."""
    from semtta.motion.dictionary import Dictionary
    from semtta.motion.prior import EmbeddedPrior

    path = Path(checkpoint) if checkpoint else asset(_SHIPPED[name])
    if not path.is_file():
        raise SemttaError(f"no motion prior at '{path}'.")
    return EmbeddedPrior.load(path, Dictionary.load(reads=reads))
