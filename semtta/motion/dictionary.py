"""The library's list of action names: phrases that mean them and an exemplar root for each.

Of recorded motion only the *global* rotation of one exemplar per name is shipped, turned so that
its first frame faces +z; the alignment loss puts it in place of the predicted one, whose frame is
the camera's (seed paper, Section "semantics-motion alignment"). Local poses, which only the
baselines ``unpaired`` and ``discriminator`` read, are of generated motion; names of which no motion
is generated (dances, fights) have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion.compound import contradict, in_turn, is_whole, joined
from semtta.motion.phrase_reader import Encoder, PhraseReader, Reading, load_encoder
from semtta.motion.resample import resample_positions
from semtta.motion.text import TextEncoder, text_key
from semtta.motion.words import content_words
from semtta.reading import read_npz, reading
from semtta.shipped import asset
from semtta.skeletons import SMPL24

_ARRAYS = ("labels", "phrases", "phrase_label", "roots", "poses", "pose_of")
_OTHERS = "others"  # absent in dictionaries made before there was such a list
_NOT_ITSELF = 0.99  # the most that a text other than a phrase can have: it may be its words turned
_SAME = 0.8  # nearness above which a compound text is one that the dictionary has
_MOST_PARTS = 3  # that a body does at once; more are a list of what comes in turn
_PART, _SURE = 0.6, 0.75  # nearness of parts of a compound text, and of one that counts alone
# Names whose legs and root are the point; in a compound text the others give the upper body.
_LEGS = re.compile(
    r"walk|run|jog|sprint|march|sneak|limp|skip|stumble|climb|jump|hop|kick|sit|squat|lunge|kneel|"
    r"stand|balance|crawl|spin|turn|dance|groove|lie|fall|get up|bend|swim"
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
        text: the word table, whose features the priors know.
        others: texts of actions that no label describes.
        encoder: reads free texts; None = the word table.
    """

    labels: tuple[str, ...]
    phrases: tuple[str, ...]
    phrase_label: Tensor
    roots: Tensor
    poses: Tensor
    pose_of: Tensor
    text: TextEncoder
    others: tuple[str, ...] = ()
    encoder: Encoder | None = None

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        text: TextEncoder | None = None,
        reads: str = "table",
    ) -> Dictionary:
        """The shipped dictionary, or one made by ``tools/build_dictionary.py``.

        Args:
            reads: what reads free texts, a value of ``labels.text``.
        Raises ``SemttaError`` for a file that is none, or if what is to read is not installed."""
        path = Path(path) if path else asset("motion/dictionary.npz")
        text = text or TextEncoder.load()
        encoder = load_encoder(reads, text)
        found = read_npz(path, "motion dictionary", (*_ARRAYS, _OTHERS))
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
                text=text,
                others=tuple(map(str, found.get(_OTHERS, ()))),
                encoder=encoder,
            )

    @cached_property
    def _exact(self) -> dict[str, int]:
        known = {p.lower(): int(i) for p, i in zip(self.phrases, self.phrase_label)}
        return {**known, **{label.lower(): i for i, label in enumerate(self.labels)}}

    @cached_property
    def _inflected(self) -> dict[tuple[str, ...], int]:
        """Phrases by the sorted stems of their words, without those that mean two things."""
        found: dict[tuple[str, ...], set[int]] = {}
        for phrase, meant in zip(self.phrases, self.phrase_label.tolist()):
            found.setdefault(self._stems(phrase), set()).add(meant)
        return {stems: meant.pop() for stems, meant in found.items() if len(meant) == 1}

    @cached_property
    def reader(self) -> PhraseReader:
        """What compares free texts with the phrases."""
        meanings = self.phrase_label.tolist()
        return PhraseReader(self.phrases, meanings, self.others, self.encoder or self.text)

    def _stems(self, text: str) -> tuple[str, ...]:
        lexicon = self.reader.lexicon
        return tuple(sorted(lexicon.stems(lexicon.mend(text))))

    def feature(self, text: str) -> Tensor:
        """(D,) unit feature, by the word table, of the words that say what is done."""
        return self.text.encode([" ".join(content_words(text)) or text])[0]

    def find(self, text: str) -> int | None:
        """Index of the label that this very phrase means, or None.

        Neither case nor endings count, nor who does it: "a man walks" is "walk"."""
        exact = self._exact.get(text_key(text))
        return self._inflected.get(self._stems(text)) if exact is None else exact

    def nearness(self, text: str) -> tuple[Tensor, float]:
        """(L,) nearness of each label's nearest phrase, and that of the nearest other action.

        Raises ``SemttaError`` for a text without a known word."""
        self.feature(text)  # what the priors have no word for is refused, whatever reads
        near, other = self.reader.nearness(text)
        best = torch.full((len(self.labels),), float("-inf"))
        best = best.scatter_reduce(0, self.phrase_label, near, "amax")
        return best.clamp_max(_NOT_ITSELF), other

    def nearest(self, text: str) -> str:
        """The label whose phrase is nearest to a free text, however far that is."""
        index = self.find(text)
        return self.labels[int(self.nearness(text)[0].argmax()) if index is None else index]

    def ranked(self, text: str, count: int = 5) -> list[tuple[str, float]]:
        """The labels nearest to a text, each with the nearness of its nearest phrase.

        Raises ``SemttaError`` for a text without a known word."""
        best, _ = self.nearness(text)
        if (exact := self.find(text)) is not None:
            best[exact] = 1.0
        order = best.argsort(descending=True)[:count].tolist()
        return [(self.labels[i], float(best[i])) for i in order]

    def read(self, text: str) -> Reading:
        """What a text is taken for: a name, the nearest one, several at once, or nothing known.

        Raises ``SemttaError`` for a text without a known word."""
        name, near, known = self._meant(text)
        if near == 1.0:
            return Reading(text, "name", (name,), near)
        if self._is_in_turn(text):
            return Reading(text, "in turn", (name,), near)
        parts = () if near > _SAME and known and is_whole(name) else self._parts(text)
        if contradict(parts) or len(parts) > _MOST_PARTS:
            return Reading(text, "in turn", (name,), near)
        if len(parts) > 1:
            return Reading(text, "parts", tuple(parts), min(parts.values()))
        if parts and max(parts.values()) > near:
            (name, near), known = parts.popitem(), True
        return Reading(text, "near" if known else "unknown", (name,), near)

    def parts(self, text: str) -> tuple[str, ...]:
        """Labels of a compound text ("walking and waving"), the one of the legs first.

        Empty for a text that is one action, that the dictionary has as a whole ("walking and
        throwing"), of which less than two parts are known, or whose parts follow one another."""
        reading = self.read(text)
        return reading.names if reading.kind == "parts" else ()

    def _meant(self, text: str) -> tuple[str, float, bool]:
        """The nearest label, how near it is (1 for a phrase), and whether it is meant."""
        index = self.find(text)
        if index is not None:
            return self.labels[index], 1.0, True
        best, other = self.nearness(text)
        near, known = float(best.max()), max(self.reader.known, min(other, _NOT_ITSELF))
        return self.labels[int(best.argmax())], near, near >= known

    def _pieces(self, texts: Iterable[str]) -> list[tuple[str, float]]:
        """What each piece of a text means, and how near it is: 0 for one that means nothing."""
        found = []
        for text in texts:
            try:
                name, near, known = self._meant(text)
            except SemttaError:  # no known word
                name, near, known = "", 0.0, False
            found.append((name, near if known else 0.0))
        return found

    def _is_in_turn(self, text: str) -> bool:
        pieces, surely = in_turn(text)
        return len(pieces) > 1 and (surely or all(near for _, near in self._pieces(pieces)))

    def _parts(self, text: str) -> dict[str, float]:
        """The labels of the pieces of a text and how near they are, the one of the legs first.

        One alone: the rest says nothing that is known, or the same. None: no piece is sure."""
        pieces = joined(text)
        if len(pieces) < 2:
            return {}
        found = self._pieces(piece for piece, _ in pieces)
        if any(joint == "with" for _, joint in pieces):
            # What comes after a "with" is mostly a thing, and then the text is one action.
            least = [1.0 if joint == "with" else _SURE for _, joint in pieces]
            found = found if all(near >= low for (_, near), low in zip(found, least)) else []
        elif not all(near >= _PART for _, near in found):
            found = [part for part in found if part[1] >= _SURE][:1]
        parts: dict[str, float] = {}
        for name, near in found:
            parts.setdefault(name, near)
        words = {name: set(name.split()) for name in parts}
        order = sorted(parts, key=lambda name: not _LEGS.search(name))
        return {n: parts[n] for n in order if not any(words[n] < words[other] for other in parts)}

    def exemplar_root(self, text: str) -> Tensor:
        """Global rotation (60, 3, 3) of the exemplar of the nearest label.

        That of a compound text is its part's that moves the legs."""
        return self.roots[self.labels.index(self.read(text).names[0])]

    def exemplar_pose(self, text: str) -> Tensor | None:
        """Local rotations (60, 23, 3, 3) at 30 fps of the nearest label's exemplar, or None.

        That of a compound text has the legs of its first part and the rest of its second."""
        names = self.read(text).names
        if len(names) == 1:
            return self._pose(names[0])
        legs, rest = self._pose(names[0]), self._pose(names[1])
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
