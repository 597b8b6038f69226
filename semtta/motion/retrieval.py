"""Which action a motion shows: a track's windows against the dictionary, smoothed over time.

The motion priors judge whether a *given* text fits. Without one, every name of the dictionary is
asked. Two corrections make that work on a regressor's predictions: the root is left out, because a
prediction's is in the camera's frame; and a linear map, fitted on predictions of known motion by
``tools/train_retrieval.py``, takes back what the regressor's usual errors do to the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.errors import SemttaError
from semtta.motion import load_embedded
from semtta.motion.prior import EmbeddedPrior
from semtta.motion.resample import fractional_index, resample_positions, stretches
from semtta.reading import read_npz, reading
from semtta.shipped import asset, file_sha256

_WHAT = "retrieval file of tools/train_retrieval.py"
_STRIDE = 0.5  # seconds between neighbouring windows
_SWITCH = 0.02  # chance that another action begins between two of them
_SHORTEST = 0.3  # seconds; a shorter run shows nothing


@dataclass(frozen=True)
class Named:
    """One action found in a track.

    Args:
        start, stop: half-open range of positions in the track.
        text: a name of the dictionary.
        confidence: in [0, 1], how likely the name is right among the dictionary's.
        others: the next likely names with theirs, best first.
    """

    start: int
    stop: int
    text: str
    confidence: float
    others: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Retrieval:
    """Names motions by the two shipped priors.

    Args:
        priors: of alignment and gate, one text space.
        names: L candidates.
        features: (L, D) unit.
        matrix: (2 D + 1, D) from the priors' features and a constant to a text feature.
        temperature: divides cosines before the softmax.
    """

    priors: tuple[EmbeddedPrior, EmbeddedPrior]
    names: tuple[str, ...]
    features: Tensor
    matrix: Tensor
    temperature: float

    @classmethod
    def load(cls, path: str | Path | None = None) -> Retrieval:
        """The shipped one, or another made by ``tools/train_retrieval.py``."""
        path = Path(path) if path else asset("motion/retrieval.npz")
        file = read_npz(path, _WHAT, ("labels", "matrix", "temperature", "priors"))
        with reading(path, _WHAT):
            names = tuple(map(str, file["labels"]))
            matrix = torch.from_numpy(file["matrix"].astype(np.float32))
            temperature = float(file["temperature"])
            made_for = list(map(str, file["priors"]))
            if matrix.dim() != 2:
                raise ValueError("its matrix is none")
        align, gate = load_embedded("embedded"), load_embedded("embedded-gate")
        if names != align.dictionary.labels or matrix.shape[1] != align.features.shape[1]:
            raise SemttaError(f"'{path}' belongs to another dictionary; make it anew.")
        if made_for != prior_hashes():
            raise SemttaError(f"'{path}' belongs to other motion priors; make it anew.")
        return cls((align, gate), names, align.features, matrix, temperature)

    def with_exemplars(self, motions: dict[str, Tensor]) -> Retrieval:
        """With further candidates, each by motions (K, 60, 24, 3, 3) that show it.

        A name that is there already, in whatever case, is found by the motions instead of by its
        text."""
        if not motions:
            return self
        replaced = {name.lower() for name in motions}
        kept = [i for i, name in enumerate(self.names) if name.lower() not in replaced]
        own = [F.normalize(self.embed(motion).mean(0), dim=0) for motion in motions.values()]
        return replace(
            self,
            names=(*(self.names[i] for i in kept), *motions),
            features=torch.cat((self.features[kept], torch.stack(own))),
        )

    def embed(self, motion: Tensor) -> Tensor:
        """(S, 60, 24, 3, 3) local rotations at 30 fps, any root -> (S, D) unit."""
        raw = F.pad(raw_features(self.priors, motion), (0, 1), value=1.0)
        return F.normalize(raw @ self.matrix)

    def similarity(self, motion: Tensor) -> Tensor:
        """(S, L) cosines of motions (S, 60, 24, 3, 3) with every name."""
        return self.embed(motion) @ self.features.T

    def name(self, rotmats: Tensor, times: Tensor) -> list[Named]:
        """The actions of one track, in order; stretches under 0.3 s between gaps have none.

        Args:
            rotmats: (T, 24, 3, 3), root first (ignored).
            times: (T,) seconds."""
        found = []
        for part in runs(times):
            found += self._name_run(rotmats[part], times[part].double(), part.start)
        return found

    def _name_run(self, rotmats: Tensor, times: Tensor, first: int) -> list[Named]:
        motion, middle = windows(rotmats, times)
        # Overlapping windows are no independent witnesses: together they count as many as fit.
        span = float(times[-1] - times[0]) / 2
        weight = max(1.0, span) / len(motion)
        evidence = weight * (self.similarity(motion) / self.temperature).log_softmax(1)
        path, posterior = decode(evidence, _SWITCH)
        cuts = [0, *(i for i in range(1, len(path)) if path[i] != path[i - 1]), len(path)]
        found = []
        for a, b in zip(cuts[:-1], cuts[1:]):
            low = 0 if a == 0 else _first_after(times, (middle[a - 1] + middle[a]) / 2)
            high = len(times) if b == len(path) else _first_after(
                times, (middle[b - 1] + middle[b]) / 2
            )  # fmt: skip
            chance = posterior[a:b].mean(0)
            label = int(path[a])
            rest = [i for i in chance.argsort(descending=True).tolist() if i != label][:4]
            others = tuple((self.names[i], float(chance[i])) for i in rest)
            found.append(
                Named(first + low, first + high, self.names[label], float(chance[label]), others)
            )
        return found


def prior_hashes() -> list[str]:
    """SHA-256 of the two shipped priors, which a retrieval file belongs to."""
    return [file_sha256(asset(f"motion/prior_{name}.pt")) for name in ("align", "gate")]


@torch.no_grad()
def raw_features(priors: Sequence[EmbeddedPrior], motion: Tensor) -> Tensor:
    """(S, 60, 24, 3, 3) -> (S, 2 D): what each prior makes of the motion of an upright root."""
    upright = torch.eye(3).expand(*motion.shape[:2], 1, 3, 3)
    motion = torch.cat((upright, motion[:, :, 1:].float().cpu()), 2)
    parts = [
        torch.cat([prior.embed_motion(part) for part in motion.split(128)]) for prior in priors
    ]
    return torch.cat(parts, 1)


def runs(times: Tensor) -> list[slice]:
    """The stretches of a track, between gaps in its times (T,), that show something: 0.3 s."""
    return [p for p in stretches(times) if float(times[p][-1] - times[p][0]) >= _SHORTEST]


def windows(rotmats: Tensor, times: Tensor) -> tuple[Tensor, list[float]]:
    """Windows of two seconds of one run, and their middles in seconds.

    A shorter run is one window with its last frame repeated. Returns: (W, 60, 24, 3, 3), W."""
    length = 59 / 30
    spare = max(float(times[-1] - times[0]) - length, 0.0)
    starts = np.linspace(0.0, spare, round(spare / _STRIDE) + 1)
    steps = torch.arange(60, dtype=torch.float64) / 30
    grid = torch.stack([fractional_index(times, times[0] + start + steps) for start in starts])
    shown = min(length, float(times[-1] - times[0]))
    middles = [float(times[0]) + float(start) + shown / 2 for start in starts]
    return resample_positions(rotmats, grid), middles


def decode(evidence: Tensor, switch: float) -> tuple[Tensor, Tensor]:
    """The most likely sequence of states, and each state's chance at each step.

    Args:
        evidence: (W, L) log-likelihoods.
        switch: chance of another state at the next step.
    Returns: (W,) states, (W, L) chances (forward-backward)."""
    evidence = evidence.double()
    count, states = evidence.shape
    other = np.log(switch / max(1, states - 1))
    step = evidence.new_full((states, states), other)
    step.fill_diagonal_(np.log(1 - switch))
    best, back = evidence[0], []
    forward, backward = [evidence[0]], [torch.zeros_like(evidence[0])]
    for i in range(1, count):
        value, came = (best[:, None] + step).max(0)
        best = value + evidence[i]
        back.append(came)
        forward.append((forward[-1][:, None] + step).logsumexp(0) + evidence[i])
        later = backward[-1] + evidence[count - i]
        backward.append((step + later[None]).logsumexp(1))
    path = [int(best.argmax())]
    for came in reversed(back):
        path.append(int(came[path[-1]]))
    posterior = (torch.stack(forward) + torch.stack(backward[::-1])).softmax(-1)
    return torch.tensor(path[::-1]), posterior.float()


def _first_after(times: Tensor, moment: float) -> int:
    return int((times < moment).sum())
