"""What a motion-text prior makes of one track: how well its segments agree with their texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from semtta.motion.movement import body_movement
from semtta.motion.phrase_reader import Reading
from semtta.motion.prior import MotionPrior
from semtta.motion.text import random_directions
from semtta.tta.segments import Segments

_MOST_REMARKS = 10


def text_remarks(prior: MotionPrior | None, texts: Iterable[str]) -> list[str]:
    """What was guessed about texts, a sentence each; a prior that does not say has none."""
    remark = getattr(prior, "remark", lambda text: "")
    found = [said for text in sorted(set(texts)) if (said := remark(text))]
    more = [f"{len(found) - _MOST_REMARKS} more labels are no names of the dictionary; 'semtta "
            "dictionary search TEXT' says how each is read."]  # fmt: skip
    return found if len(found) <= _MOST_REMARKS else found[:_MOST_REMARKS] + more


def text_readings(prior: MotionPrior | None, texts: Iterable[str]) -> dict[str, Reading]:
    """What a prior takes each text for; nothing of one that does not say."""
    read = getattr(prior, "reading", None)
    return {} if read is None else {text: read(text) for text in sorted(set(texts))}


@dataclass
class Meaning:
    """A motion-text prior applied to one track's segments.

    Args:
        prior: embeds motion and text; frozen.
        text: (S, D) unit, the text of each segment.
        roots: (S, length, 3, 3) the exemplar root of each segment's label.
        ceiling: (S,) similarity of the label's true motions.
        sigma: threshold of the gate.
        known: (S,) whether the prior knows the label.
    """

    prior: MotionPrior
    text: Tensor
    roots: Tensor
    ceiling: Tensor
    sigma: float
    known: Tensor

    @classmethod
    def of(
        cls,
        prior: MotionPrior,
        segments: Segments,
        device: torch.device,
        sigma: float | None,
        random_text: int | None = None,
    ) -> Meaning:
        """
        Args:
            sigma: of the gate; None = the prior's own.
            random_text: seed of directions that stand in place of the text features (a control);
                exemplar roots and ceilings stay the labels'. None = the text."""
        names = sorted(set(segments.labels))
        row = torch.tensor([names.index(label) for label in segments.labels])
        text = prior.embed_text(names)
        if random_text is not None:
            text = random_directions(names, text.shape[1], random_text)
        text = text.to(device)[row]
        roots = torch.stack([prior.exemplar_root(name) for name in names]).to(device)[row]
        ceiling = torch.tensor([float(prior.matched(name)) for name in names])[row].to(device)
        speak = getattr(prior, "spoken", lambda label: label)
        known = torch.tensor([bool(speak(name)) for name in names], dtype=torch.bool)[row]
        sigma = prior.sigma if sigma is None else sigma
        return cls(prior, text, roots, ceiling, sigma, known)

    @property
    def moving(self) -> bool:
        """Whether the prior reads how the body moves about."""
        return bool(getattr(self.prior, "moving", False))

    def similarity(self, motion: Tensor, which: Tensor, path: Tensor | None = None) -> Tensor:
        """Cosine of segments and their texts (Eq. 3), differentiable.

        Args:
            motion: (S', length, 24, 3, 3) rotations at the prior's frame times, camera axes; the
                global rotation is replaced by the label's exemplar, so that the gradient reaches
                local rotations only and no camera frame is ever shown to the prior.
            which: (S',) segment indices.
            path: (S', length, 3) pelvis in the camera frame, for a prior that is ``moving``.
        Returns: (S',)."""
        posed = torch.cat((self.roots[which][:, :, None], motion[:, :, 1:]), dim=2)
        if path is None or not self.moving:
            embedded = self.prior.embed_motion(posed)
        else:
            movement = body_movement(motion[:, :, 0], path)
            embedded = self.prior.embed_motion(posed, movement)  # type: ignore[call-arg]
        return (embedded * self.text[which]).sum(-1)

    @torch.no_grad()
    def all_similarities(
        self, rotmats: Tensor, segments: Segments, chunk: int = 128, path: Tensor | None = None
    ) -> Tensor:
        """(S,) similarities of every segment of the track (T, 24, 3, 3), whose pelvis is where
        ``path`` (T, 3) says."""
        parts = [
            self.similarity(
                segments.resample(rotmats, which), which,
                None if path is None else segments.resample_path(path, which),
            )
            for which in torch.arange(len(segments), device=rotmats.device).split(chunk)
        ]  # fmt: skip
        return torch.cat(parts)
