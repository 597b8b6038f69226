"""Motion that the masked motion model learns from: windows, the root's path, a text."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.bench.mocap_split import TRAIN, load_split
from semtta.motion.denoiser_net import WINDOW
from tools.training import motions, phrases, procedural
from tools.training.corruption import Corruptor, slow_noise

WALKS = ("walk", "walk slowly", "walk fast", "walk backwards")
_REPEATS = 16  # performances of each procedural action
_MIXED = 500  # performances of two actions, at once or one after the other
_PROCEDURAL = 0.6  # weight of what is made up beside what is recorded


class Library:
    """All training motion in one array, drawn from as random windows with a label."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.clips: list[tuple[np.ndarray, np.ndarray]] = []
        self.texts: list[list[str]] = []
        self.chances: list[float] = []

    def add(self, motion, texts: list[str], weight: float) -> None:
        """A clip or performance: anything with ``rotmats`` and ``trans``."""
        self.clips.append((motion.rotmats, motion.trans))
        self.texts.append([text for text in dict.fromkeys(texts) if text])
        self.chances.append(weight)

    def closed(self) -> Library:
        """Ready to be drawn from."""
        self.rotmats = torch.from_numpy(np.concatenate([rotmats for rotmats, _ in self.clips]))
        self.trans = torch.from_numpy(np.concatenate([trans for _, trans in self.clips]))
        self.length = torch.tensor([len(trans) for _, trans in self.clips])
        self.start = self.length.cumsum(0) - self.length
        self.weights = torch.tensor(self.chances)
        self.mirrored = [[motions.mirror_text(text) for text in group] for group in self.texts]
        names = sorted({text for group in self.texts + self.mirrored for text in group})
        self.row = {name: i for i, name in enumerate(names)}
        self.embedding = None if self.encoder is None else self.encoder.encode(names).float()
        return self

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Windows (count, 60, 24, 3, 3), paths (count, 60, 3) and label embeddings (count, D),
        half of them zero."""
        rand = torch.rand(6, count, generator=generator)
        clip = torch.multinomial(self.weights, count, True, generator=generator)
        speed = torch.where(rand[0] < 0.5, 1.0, 0.75 + 0.6 * rand[1])
        room = (self.length[clip] - 1 - (WINDOW - 1) * speed).clamp_min(0)
        at = (rand[2] * room)[:, None] + torch.arange(WINDOW) * speed[:, None]
        at = torch.minimum(at, (self.length[clip] - 1)[:, None].float())
        # now and then the track ends early and its last frame is repeated
        short = torch.where(rand[3] < 0.05, 8 + 40 * rand[1], float(WINDOW))
        at = torch.minimum(at, at[:, :1] + short[:, None] * speed[:, None])
        low = at.floor().long()
        high = torch.minimum(low + 1, self.length[clip][:, None] - 1)
        base, share = self.start[clip][:, None], (at - low)[..., None]
        trans = torch.lerp(self.trans[base + low], self.trans[base + high], share)
        share = share[..., None, None]
        poses = torch.lerp(self.rotmats[base + low], self.rotmats[base + high], share)
        poses = roma.special_gramschmidt(poses[..., :2])
        flip = rand[4] < 0.5
        poses[flip] = torch.from_numpy(motions.mirror(poses[flip].numpy()))
        trans[flip] = torch.from_numpy(motions.mirror_trans(trans[flip].numpy()))
        return poses, trans, self._labels(clip, flip, generator)

    def _labels(self, clip: Tensor, flip: Tensor, generator: torch.Generator) -> Tensor | None:
        if self.embedding is None:
            return None
        choice = torch.rand(2, len(clip), generator=generator)
        out = torch.zeros(len(clip), self.embedding.shape[1])
        for i, c in enumerate(clip.tolist()):
            group = (self.mirrored if flip[i] else self.texts)[c]
            if group and choice[0, i] < 0.5:
                out[i] = self.embedding[self.row[group[int(choice[1, i] * len(group))]]]
        return out


def build_library(path: Path, seed: int, encoder) -> Library:
    """Recorded clips, weighted so that long dances do not drown the rest, and procedural ones."""
    library, split = Library(encoder), load_split()
    for clip in motions.load_clips(path, TRAIN):
        known = split.find(clip.name)
        action = known.action if known is not None else ""
        words = [clip.text, action, clip.label or "", *phrases.PHRASES.get(clip.label or "", ())]
        weight = math.sqrt(len(clip)) * (0.5 if known is not None and known.animated else 1.0)
        library.add(clip, words, weight * (1.5 if clip.label in WALKS else 1.0))
    recorded = sum(library.chances)
    rng = np.random.default_rng(seed)
    count = _REPEATS * len(procedural.ACTIONS) + _MIXED
    weight = _PROCEDURAL * recorded / count
    for name in procedural.ACTIONS:
        for _ in range(_REPEATS):
            library.add(procedural.perform(name, rng, 90), procedural.texts(name), weight)
    for k in range(_MIXED):
        if k % 2:
            upper, lower = rng.choice(procedural.UPPER), rng.choice(procedural.LOWER)
            made = procedural.compose(str(upper), str(lower), rng, 90)
            library.add(made, [str(upper), str(lower)], weight)
        else:
            first, second = (str(name) for name in rng.choice(procedural.ACTIONS, 2))
            library.add(procedural.chain((first, second), rng, 120), [], weight)
    return library.closed()


def restyle(poses: Tensor, corruptor: Corruptor) -> Tensor:
    """Another body's posture: a constant turn per joint (3 degrees), for half of the windows."""
    turn = 3 * corruptor.normal(len(poses), 1, 24, 3)
    turn = turn * (corruptor.uniform(len(poses), 1, 1, 1) < 0.5)
    turn[:, :, 0] = 0
    return poses @ roma.rotvec_to_rotmat(torch.deg2rad(turn))


def from_camera(trans: Tensor, corruptor: Corruptor) -> Tensor:
    """The pelvis' path (B, T, 3) as a camera 2 to 8 m away sees it, axes as they were.

    The network turns with the camera, so only where it stands matters."""
    batch, length = trans.shape[:2]
    distance = corruptor.uniform(batch, 1, low=2, high=8)
    azimuth = corruptor.uniform(batch, 1, high=2 * math.pi)
    height = corruptor.uniform(batch, 1, low=0.2, high=2.2)
    camera = torch.stack((distance * azimuth.sin(), height, distance * azimuth.cos()), -1)
    return trans - trans[:, length // 2, None] * torch.tensor([1.0, 0.0, 1.0]) - camera


def as_told(path: Tensor, corruptor: Corruptor) -> Tensor:
    """A path (B, T, 3) in the camera frame as a regressor tells it.

    It is off in scale (a guessed focal length) and most of all in depth, with jitter and drift.
    For a quarter of the windows nothing is told: zeros."""
    batch, length = path.shape[:2]
    depth = path.norm(dim=-1, keepdim=True)
    ray = path / depth.clamp_min(1e-6)
    level = corruptor.uniform(batch, 1, 1) ** 2
    jitter, drift = (corruptor.normal(batch, length, 3) for _ in range(2))
    sideways = (0.004 * jitter + 0.008 * slow_noise(drift, 8.0)) * depth * level
    jitter, drift = corruptor.normal(2, batch, length, 1)
    along = (0.012 * jitter + 0.03 * slow_noise(drift, 8.0)) * depth * level
    focal = (0.15 * corruptor.normal(batch, 1, 1)).exp()
    told = corruptor.uniform(batch, 1, 1) < 0.75
    axis = ray[:, length // 2, None]  # of the camera, about which depth is stretched
    stretched = path + (focal - 1) * (path * axis).sum(-1, keepdim=True) * axis
    return (stretched + sideways + along * ray) * told
