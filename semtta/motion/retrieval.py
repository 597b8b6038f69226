"""Which action a person shows: a track's windows against the dictionary, smoothed over time.

The motion priors judge whether a *given* text fits. Without one, every name of the dictionary is
asked, of the detector's landmarks (``landmark_encoder``), so that neither a regressor's errors nor
the gate's are among its own. Confidence is absolute: a logistic regression, fitted on people that
training has not seen, a part of whom do what has no name here, says how likely the first name is
right at all. Names that mean nearly the same stand together as a family: whoever surely walks,
slowly or fast, is said to walk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.body import load_body
from semtta.checkpoints import load_strictly, tensors
from semtta.errors import SemttaError
from semtta.motion.dictionary import Dictionary
from semtta.motion.landmark_encoder import LandmarkEncoder, Landmarks
from semtta.motion.resample import fractional_index, stretches
from semtta.reading import reading
from semtta.shipped import asset
from semtta.skeletons import BODY27
from semtta.tensor_files import read_tensors

FORMAT = "semtta-retrieval-2"
_WHAT = "a retrieval file of tools/train_retrieval.py"
_STRIDE = 0.5  # seconds between neighbouring windows
_SWITCH = 0.02  # chance that another action begins between two of them
_SHORTEST = 0.3  # seconds; a shorter run shows nothing
_SURELY = 0.6  # share of its family above which one name is said
_SIDES, _AWAY, _ROOM = 8, 4.0, 1.2  # views of an exemplar, metres to the camera, box over extent


@dataclass(frozen=True)
class Named:
    """One action found in a track.

    Args:
        start, stop: half-open range of positions in the track.
        text: a name of the dictionary.
        confidence: in [0, 1], how likely the name is right; low where no name fits.
        others: the next likely names and their shares beside it, best first.
    """

    start: int
    stop: int
    text: str
    confidence: float
    others: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Retrieval:
    """Names what people do.

    Args:
        encoder: from landmarks to text features.
        names: L candidates.
        families: the family of each, called by its first name.
        features: (L, D) unit.
        temperature: divides cosines before the softmax.
        reliability: weights of :func:`reliability_inputs`.
    """

    encoder: LandmarkEncoder
    names: tuple[str, ...]
    families: tuple[str, ...]
    features: Tensor
    temperature: float
    reliability: Tensor

    @classmethod
    def load(cls, path: str | Path | None = None) -> Retrieval:
        """The shipped one, or another made by ``tools/train_retrieval.py``."""
        path = Path(path) if path else asset("motion/retrieval.pt")
        saved = read_tensors(path, _WHAT)
        if not isinstance(saved, dict) or saved.get("format") != FORMAT:
            raise SemttaError(f"'{path}' is not {_WHAT}; make it anew.")
        with reading(path, _WHAT):
            names = tuple(map(str, saved["labels"]))
            families = tuple(map(str, saved["families"]))
            features = F.normalize(saved["features"].float())
            weights = torch.tensor(saved["reliability"], dtype=torch.float32)
            heat = float(saved["temperature"])
            size = saved["settings"]["dim"]
            sound = features.shape == (len(names), size) and len(families) == len(names)
            sound = sound and set(families) <= set(names) and weights.shape == (4,) and heat > 0
            if not (sound and torch.isfinite(features).all() and torch.isfinite(weights).all()):
                raise ValueError("its names and numbers do not fit")
            with torch.device("meta"):
                encoder = LandmarkEncoder(size)
            encoder = load_strictly(encoder, tensors(saved["state"]), path, _WHAT)
        if names != Dictionary.load().labels:
            raise SemttaError(f"'{path}' belongs to another dictionary; make it anew.")
        return cls(encoder.requires_grad_(False).eval(), names, families, features, heat, weights)

    def with_exemplars(self, motions: Mapping[str, Tensor]) -> Retrieval:
        """With further candidates, each by motions (K, 60, 24, 3, 3) that show it.

        They are looked at from all sides. A name that is there already, in whatever case, is found
        by the motions instead of by its text."""
        if not motions:
            return self
        replaced = {name.lower() for name in motions}
        kept = [i for i, name in enumerate(self.names) if name.lower() not in replaced]
        own = [F.normalize(self.embed(seen_from_all_sides(motion)).mean(0), dim=0)
               for motion in motions.values()]  # fmt: skip
        return replace(
            self,
            names=(*(self.names[i] for i in kept), *motions),
            families=(*(self.families[i] for i in kept), *motions),
            features=torch.cat((self.features[kept], torch.stack(own))),
        )

    @torch.no_grad()
    def embed(self, seen: Landmarks) -> Tensor:
        """Windows of 60 frames at 30 fps -> (S, D) unit."""
        rows = torch.arange(len(seen.xy)).split(128)
        return torch.cat([self.encoder(seen.at(part)) for part in rows])

    def similarity(self, seen: Landmarks) -> Tensor:
        """(S, L) cosines of windows with every name."""
        return self.embed(seen) @ self.features.T

    def name(self, seen: Landmarks, times: Tensor) -> list[Named]:
        """The actions of one track, in order; stretches under 0.3 s between gaps have none.

        Args:
            seen: landmarks of T frames, see :func:`semtta.hmr.features.seen_landmarks`.
            times: (T,) seconds."""
        found = []
        for part in runs(times):
            found += self._name_run(seen.at(part), times[part].double(), part.start)
        return found

    def _name_run(self, seen: Landmarks, times: Tensor, first: int) -> list[Named]:
        grid, middle = windows(times)
        similarity = self.similarity(seen.at(grid.round().long()))
        _, kinds = family_shares(similarity, self.temperature, self.families)
        # Overlapping windows are no independent witnesses: together they count as many as fit.
        span = float(times[-1] - times[0]) / 2
        weight = max(1.0, span) / len(grid)
        path = decode(weight * kinds.log(), _SWITCH)
        cuts = [0, *(i for i in range(1, len(path)) if path[i] != path[i - 1]), len(path)]
        found = []
        for a, b in zip(cuts[:-1], cuts[1:]):
            low = 0 if a == 0 else _first_after(times, (middle[a - 1] + middle[a]) / 2)
            high = len(times) if b == len(path) else _first_after(
                times, (middle[b - 1] + middle[b]) / 2
            )  # fmt: skip
            found.append(self._named(similarity[a:b].mean(0), int(path[a]), first + low,
                                     first + high))  # fmt: skip
        return found

    def _named(self, similarity: Tensor, kind: int, start: int, stop: int) -> Named:
        share, kinds = (x[0] for x in family_shares(similarity[None], self.temperature,
                                                    self.families))  # fmt: skip
        family = list(dict.fromkeys(self.families))[kind]
        order = share.argsort(descending=True).tolist()
        best = next(i for i in order if self.families[i] == family)
        sure = float(share[best]) >= _SURELY * float(kinds[kind])
        rest = [i for i in order if self.families[i] != family][:4]
        inputs = reliability_inputs(similarity[None], self.temperature, self.families, kind)
        return Named(
            start, stop, self.names[best] if sure else family,
            float((inputs @ self.reliability).sigmoid()),
            tuple((self.names[i], float(share[i])) for i in rest),
        )  # fmt: skip


def family_index(families: Sequence[str]) -> Tensor:
    """(L,) number of each name's family, in order of appearance."""
    order = list(dict.fromkeys(families))
    return torch.tensor([order.index(family) for family in families])


def family_shares(
    similarity: Tensor, temperature: float, families: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Cosines (N, L) -> shares of the names (N, L), and of their families (N, F) in order."""
    share = (similarity / temperature).softmax(1)
    count = len(set(families))
    return share, share.new_zeros(len(share), count).index_add(1, family_index(families), share)


def reliability_inputs(
    similarity: Tensor, temperature: float, families: Sequence[str], kind: int | None = None
) -> Tensor:
    """What says whether a family is right: its best cosine, its share, the lead in it, 1.

    Args:
        similarity: (N, L) cosines.
        kind: number of the family; None = each row's first.
    Returns: (N, 4)."""
    _, kinds = family_shares(similarity, temperature, families)
    chosen = kinds.argmax(1) if kind is None else torch.full((len(kinds),), kind)
    inside = family_index(families)[None] == chosen[:, None]
    cosine = similarity.masked_fill(~inside, -torch.inf).amax(1, keepdim=True)
    own = kinds.gather(1, chosen[:, None])
    other = kinds.scatter(1, chosen[:, None], 0.0).amax(1, keepdim=True)
    return torch.cat((4 * cosine, 4 * own, 4 * (own - other), torch.ones_like(own)), 1)


def seen_from_all_sides(motion: Tensor) -> Landmarks:
    """Motions (K, T, 24, 3, 3), y up, as a perfect detector sees them from eight sides: (8 K, T)
    frames, those of the first side first, which is from the front."""
    body, shape = load_body(), motion.shape[:2]
    betas = torch.zeros(1, 10).expand(shape.numel(), -1)
    points = body.landmarks(motion.flatten(0, 1).float(), betas, BODY27).unflatten(0, shape)
    looks = []
    for k in range(_SIDES):
        c, s = math.cos(2 * math.pi * k / _SIDES), math.sin(2 * math.pi * k / _SIDES)
        looks.append(points @ points.new_tensor([[c, 0, s], [0, -1, 0], [s, 0, -c]]).T)
    space = torch.cat(looks)
    space = space - space[..., BODY27.indices(["left_hip", "right_hip"]), :].mean(2, keepdim=True)
    plane = space[..., :2] / (space[..., 2:] + _AWAY)
    low, high = plane.amin(2), plane.amax(2)
    side = (high - low).amax(-1, keepdim=True) * _ROOM
    sure = torch.ones(space.shape[:-1])
    return Landmarks(plane, sure, space, sure, torch.cat(((low + high) / 2, side), -1))


def runs(times: Tensor) -> list[slice]:
    """The stretches of a track, between gaps in its times (T,), that show something: 0.3 s."""
    return [p for p in stretches(times) if float(times[p][-1] - times[p][0]) >= _SHORTEST]


def windows(times: Tensor) -> tuple[Tensor, list[float]]:
    """Windows of two seconds of one run, and their middles in seconds.

    A shorter run is one window with its last frame repeated. Returns: (W, 60) fractional positions
    in the run, W."""
    length = 59 / 30
    spare = max(float(times[-1] - times[0]) - length, 0.0)
    starts = np.linspace(0.0, spare, round(spare / _STRIDE) + 1)
    steps = torch.arange(60, dtype=torch.float64) / 30
    grid = torch.stack([fractional_index(times, times[0] + start + steps) for start in starts])
    shown = min(length, float(times[-1] - times[0]))
    return grid, [float(times[0]) + float(start) + shown / 2 for start in starts]


def decode(evidence: Tensor, switch: float) -> Tensor:
    """The most likely sequence of states (Viterbi).

    Args:
        evidence: (W, L) log-likelihoods.
        switch: chance of another state at the next step.
    Returns: (W,) states."""
    evidence = evidence.double()
    count, states = evidence.shape
    step = evidence.new_full((states, states), np.log(switch / max(1, states - 1)))
    step.fill_diagonal_(np.log(1 - switch))
    best, back = evidence[0], []
    for i in range(1, count):
        value, came = (best[:, None] + step).max(0)
        best = value + evidence[i]
        back.append(came)
    path = [int(best.argmax())]
    for came in reversed(back):
        path.append(int(came[path[-1]]))
    return torch.tensor(path[::-1])


def _first_after(times: Tensor, moment: float) -> int:
    return int((times < moment).sum())
