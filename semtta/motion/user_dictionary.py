"""The user's own action names beside the shipped ones: a text file, with or without motions.

One name a line; ``#`` begins a comment. Other ways to say it follow a colon, an exemplar motion
(BVH or AMASS npz, seen from the text file's folder) follows an ``@``::

    pruning a hedge
    serve a tennis ball: tennis serve, serving
    pirouette: ballet turn @ motions/pirouette.bvh

A name without a motion is understood through its words, as any free text is; it can be given by
hand or by a vision-language model. A name with a motion is understood through that motion, and can
be found by retrieval too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.motion.dictionary import Dictionary
from semtta.motion.motion_files import list_motions, read_motion
from semtta.motion.phrase_reader import Reading
from semtta.motion.prior import EmbeddedPrior
from semtta.motion.text import text_key
from semtta.reading import MEBI, read_text

_LIMIT = 4 * MEBI
_MOST_MOTIONS = 200
_LENGTH, _STRIDE, _MOST = 60, 15, 40  # frames of a window, between two, windows of a motion
_MATCHED = 0.9  # of the least similarity among an exemplar's own windows: others' will be lower


@dataclass(frozen=True)
class UserDictionary:
    """Names that the user added.

    Args:
        names: in the file's order.
        phrases: other text -> name.
        motions: name -> (K, 60, 24, 3, 3) windows of its exemplar, y up, first frame facing +z.
    """

    names: tuple[str, ...] = ()
    phrases: dict[str, str] = field(default_factory=dict)
    motions: dict[str, Tensor] = field(default_factory=dict)

    def resolve(self, text: str) -> str:
        """The user's name that a text means, or the text itself."""
        key = text_key(text)
        return self._by_key.get(key) or self.phrases.get(key, text)

    @cached_property
    def _by_key(self) -> dict[str, str]:
        return {text_key(name): name for name in reversed(self.names)}

    @classmethod
    def load(cls, path: str | Path | None) -> UserDictionary:
        """Read a file; None = nothing added. Raises ``SemttaError`` that names the line."""
        if path is None:
            return cls()
        path = Path(path)
        lines = read_text(path, "dictionary", _LIMIT).splitlines()
        names: dict[str, str] = {}  # by their keys
        phrases: dict[str, str] = {}
        motions: dict[str, Tensor] = {}
        for number, line in enumerate(lines, 1):
            entry = line.split("#")[0].strip()
            if not entry:
                continue
            where = f"dictionary '{path}', line {number}"
            entry, _, motion = (part.strip() for part in entry.partition("@"))
            name, _, others = (part.strip() for part in entry.partition(":"))
            _check_name(name, names, where)
            names[text_key(name)] = name
            for other in filter(None, (o.strip() for o in others.split(","))):
                phrases[text_key(other)] = name
            if motion and len(motions) == _MOST_MOTIONS:
                raise SemttaError(f"{where}: {_MOST_MOTIONS} motions at most are read.")
            if motion:
                motions[name] = _windows(path.parent / motion, where)
        return cls(tuple(names.values()), phrases, motions)


def _check_name(name: str, names: Collection[str], where: str) -> None:
    if not any(c.isalpha() for c in name):
        raise SemttaError(f"{where}: the name is missing.")
    if text_key(name) in names:
        raise SemttaError(f"{where}: '{name}' stands there twice.")
    if text_key(name) == "other":
        raise SemttaError(f"{where}: 'other' is the answer for what no name fits.")


def _windows(path: Path, where: str) -> Tensor:
    if not path.is_file():
        raise SemttaError(f"{where}: there is no motion file '{path}'.")
    entries = list_motions(path)
    rotmats = torch.from_numpy(read_motion(entries[0]).rotmats).float()
    if len(rotmats) < 15:
        raise SemttaError(f"{where}: the motion '{path}' is shorter than half a second.")
    starts = list(range(0, max(1, len(rotmats) - _LENGTH + 1), _STRIDE))[:_MOST]
    rows = torch.tensor(starts)[:, None] + torch.arange(_LENGTH)
    cut = rotmats[rows.clamp_max(len(rotmats) - 1)]
    return _facing_forward(cut)


def _facing_forward(motion: Tensor) -> Tensor:
    """Roots turned about y so that each first frame faces +z: (K, 60, 24, 3, 3)."""
    forward = motion[:, 0, 0, :, 2]
    yaw = torch.atan2(forward[:, 0], forward[:, 2])
    c, s, zero, one = yaw.cos(), yaw.sin(), torch.zeros_like(yaw), torch.ones_like(yaw)
    turn = torch.stack((c, zero, -s, zero, one, zero, s, zero, c), -1).reshape(-1, 1, 3, 3)
    out = motion.clone()
    out[:, :, 0] = turn @ motion[:, :, 0]
    return out


class ExtendedPrior(nn.Module):
    """An embedded prior that also knows the user's names.

    A name with a motion has the mean feature of that motion's windows as its text feature, and
    its root as exemplar; the threshold and everything else stay the prior's."""

    def __init__(self, prior: EmbeddedPrior, added: UserDictionary):
        super().__init__()
        self.prior, self.added = prior, added
        self.fps, self.length, self.sigma = prior.fps, prior.length, prior.sigma
        self._feature: dict[str, Tensor] = {}
        self._reached: dict[str, float] = {}
        for name, motion in added.motions.items():
            with torch.no_grad():
                rows = prior.embed_motion(motion.to(prior.features))
            mean = F.normalize(rows.mean(0), dim=0)
            self._feature[name] = mean
            self._reached[name] = _MATCHED * float((rows @ mean).min())

    @property
    def dictionary(self) -> Dictionary:
        return self.prior.dictionary

    def resolve(self, label: str) -> str:
        """The user's name that a label means, or the label itself."""
        return self.added.resolve(label)

    def embed_text(self, labels: Sequence[str]) -> Tensor:
        """(L, D) unit features."""
        names = [self.added.resolve(label) for label in labels]
        rows = [
            self._feature[name].to(self.prior.features)
            if name in self._feature
            else self.prior.embed_text([name])[0]
            for name in names
        ]
        return torch.stack(rows) if rows else self.prior.embed_text([])

    @property
    def moving(self) -> bool:
        """Whether the prior reads how the body moves about."""
        return self.prior.moving

    def embed_motion(self, rotmats: Tensor, movement: Tensor | None = None) -> Tensor:
        """(S, 60, 24, 3, 3) -> (S, D) unit; differentiable."""
        if movement is None:
            return self.prior.embed_motion(rotmats)
        return self.prior.embed_motion(rotmats, movement)

    def exemplar_root(self, label: str) -> Tensor:
        """(60, 3, 3) global rotation of the name's own motion, or of the nearest shipped one."""
        name = self.added.resolve(label)
        if name in self._feature:
            motion = self.added.motions[name]
            return motion[len(motion) // 2, :, 0].to(self.prior.features)
        return self.prior.exemplar_root(name)

    def reading(self, label: str) -> Reading:
        """What a label is taken for: the user's name, or what the prior makes of it."""
        name = self.added.resolve(label)
        return Reading(label, "name", (name,), 1.0) if name in self._feature else (
            self.prior.reading(name)
        )  # fmt: skip

    def spoken(self, label: str) -> str:
        """The user's name that a label means, or what the prior makes of it."""
        name = self.added.resolve(label)
        return name if name in self._feature else self.prior.spoken(name)

    def remark(self, label: str) -> str:
        """How a label is understood, as a sentence; "" where there is nothing to guess."""
        name = self.added.resolve(label)
        return "" if name in self._feature else self.prior.remark(name)

    def matched(self, label: str) -> float:
        """Similarity that true motions of the name reach."""
        name = self.added.resolve(label)
        return self._reached[name] if name in self._reached else self.prior.matched(name)
