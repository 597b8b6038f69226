"""A virtual 2D detector: what ``semtta.people.track_video`` would have said about known landmarks.

The landmarks' errors come from ``landmark_noise`` (2D and 3D errors correlated over time,
confidence that falls with the error). On top of it comes what happens in videos: somebody or
something crosses in front of the legs, the picture ends above the feet, an arm is lost for a
while, left and right are exchanged, hidden legs are invented. How often and how wrongly was set
beside what the library's detector does on the beam benchmark's clips. The result passes the
library's own gate: no state shorter than 0.1 s, feet no better known than the ankle, smoothing,
boxes around what was seen, 3D only where enough of the body is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from semtta.bench.landmark_noise import NoiseModel, Random, observe
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D, Track
from semtta.people import gating
from semtta.skeletons import BODY27, LIMB12

_LEG_PARTS = ("knee", "ankle", "heel", "big_toe")
_ARM_PARTS = ("elbow", "wrist", "pinky", "index", "thumb")
_LEGS = [BODY27.indices(f"{side}_{part}" for part in _LEG_PARTS) for side in ("left", "right")]
_ARMS = [BODY27.indices(f"{side}_{part}" for part in _ARM_PARTS) for side in ("left", "right")]
_HIPS = BODY27.indices(("left_hip", "right_hip"))
_ANKLES = BODY27.indices(("left_ankle", "right_ankle"))
_LIMBS = BODY27.indices(LIMB12.joints)
_FLIP = list(BODY27.flip)
_FAR_OFF = 0.09  # 2D error, share of the person's extent, that the gate hardly misses
_ENOUGH = 0.75  # share of limb joints with which a frame's 3D landmarks are fully believed


@dataclass(frozen=True)
class Level:
    """How hard the detector has it.

    Args:
        name: "easy", "medium", "hard".
        noise: errors of the landmarks that are seen.
        covered: range of the share of frames in which something stands before the legs.
        width: range of its width, share of the person's extent.
        top: range of its upper edge: 0 = hips, 1 = ankles, below 0 = above the hips.
        truncated: probability that instead the picture's lower edge cuts the legs off all along.
        cut: range of that edge, measured as ``top``.
        arm: probability that an arm is lost for 0.3-1 s.
        swap: probability that left and right are exchanged for 0.2-0.5 s.
        guess: probability that a leg, where it is hidden, is guessed for 0.5-1.5 s.
        gone: whether one arm, one leg or both legs are not found in any frame.
    """

    name: str
    noise: NoiseModel
    covered: tuple[float, float] = (0.0, 0.0)
    width: tuple[float, float] = (0.45, 0.7)
    top: tuple[float, float] = (0.1, 0.4)
    truncated: float = 0.0
    cut: tuple[float, float] = (0.1, 0.9)
    arm: float = 0.0
    swap: float = 0.0
    guess: float = 0.0
    gone: bool = False


_EASY = NoiseModel(
    pixel=0.006, jitter=0.2, limb_offset=0.04, misplaced=0.1, definition=0.05, depth=0.22,
    flip=0.01, tilt=0.10, depth_scale=(0.8, 1.1), scale=(0.9, 1.05), space=0.010,
    hidden=0.0, blink=0.02, no_space=0.0, stranger=0.0, box=(1.1, 1.35), box_shift=0.05,
)  # fmt: skip
_MEDIUM = NoiseModel(
    pixel=0.008, jitter=0.25, limb_offset=0.07, misplaced=0.25, definition=0.06, depth=0.28,
    flip=0.03, tilt=0.13, depth_scale=(0.75, 1.15), scale=(0.87, 1.1), space=0.015,
    hidden=0.0, blink=0.06, no_space=0.0, stranger=0.0, box=(1.1, 1.4), box_shift=0.06,
)  # fmt: skip
_HARD = NoiseModel(
    pixel=0.012, jitter=0.35, limb_offset=0.10, misplaced=0.5, definition=0.07, depth=0.35,
    flip=0.06, tilt=0.18, depth_scale=(0.7, 1.2), scale=(0.85, 1.15), space=0.022,
    hidden=0.0, blink=0.15, no_space=0.0, stranger=0.0, box=(1.05, 1.5), box_shift=0.08,
)  # fmt: skip
LEVELS = (
    Level("easy", _EASY),
    Level("medium", _MEDIUM, covered=(0.3, 0.5), truncated=0.2, arm=0.3, swap=0.1, guess=0.5),
    Level("hard", _HARD, covered=(0.5, 0.7), width=(0.6, 1.0), top=(-0.2, 0.2), truncated=0.35,
          cut=(-0.1, 0.6), arm=0.6, swap=0.3, guess=0.6),
)  # fmt: skip
# Beside the three, which get harder in everything: one limb taken away, all else easy.
GONE = Level("gone", _EASY, gone=True)


@dataclass(frozen=True)
class Detection:
    """What was said about T frames.

    Args:
        track: evidence as the library's detector gives it, ``BODY27``.
        hidden: (T, 27) landmarks that nobody could see, or that were not found.
        covered: (T, 27) landmarks behind the occluder or below the picture.
    """

    track: Track
    hidden: Tensor
    covered: Tensor


@torch.no_grad()
def detect(
    points: Tensor,
    times: Tensor,
    camera: Camera,
    size: tuple[int, int],
    level: Level,
    generator: torch.Generator,
) -> Detection:
    """Look at one person.

    Args:
        points: (T, 27, 3) true BODY27 landmarks, metres, camera frame.
        times: (T,) seconds.
        camera: of the image; ``size``: its width and height, pixels.
        level: how hard it is.
        generator: source of all randomness."""
    random = Random(times.float(), generator)
    center = points.new_tensor(camera.center)
    truth = points[..., :2] / points[..., 2:].clamp_min(0.3) * camera.focal + center
    extent = (truth.amax(1) - truth.amin(1)).amax(-1).median()
    covered, bottom = _covered(truth, extent, random, level)
    edge = min(bottom, size[1])
    covered = covered | (truth < -0.5).any(-1) | (truth[..., 0] > size[0] - 0.5)
    covered = covered | (truth[..., 1] > edge - 0.5)
    seen = observe(points[None], random, level.noise)
    xy, space = seen.xy[0] * camera.focal + center, seen.space[0]
    belief = _belief(seen.conf[0], (xy - truth).norm(dim=-1) / extent, random)
    belief = belief * ~(covered | _lost_arm(random, level))
    xy, space, belief = _guess(xy, space, belief, covered, edge, extent, random, level)
    xy, space, belief = _swap(xy, space, belief, random, level)
    if level.gone:  # drawn last: the levels of a scene share their random numbers
        belief = belief * ~_gone_limb(random)
    track = _gate(xy, space, belief, times, (size[0], edge), random)
    return Detection(track, covered | (track.keypoints.conf == 0), covered)


def _belief(conf: Tensor, error: Tensor, random: Random) -> Tensor:
    """(T, 27) after the gate has asked two networks: near 1, far off is doubted, not always."""
    doubted = 1 - torch.exp(-((error / _FAR_OFF) ** 2))
    return conf**0.4 * (1 - random.uniform(0.2, 1.0) * doubted)


def _covered(truth: Tensor, extent: Tensor, random: Random, level: Level) -> tuple[Tensor, float]:
    """(T, 27) what is behind the occluder, and where the picture ends (infinity: nowhere)."""
    frames = len(truth)
    share, width = random.uniform(*level.covered), random.uniform(*level.width) * extent
    top, cut = random.uniform(*level.top), random.uniform(*level.cut)
    begin, side = random.uniform(0, 1), 1 - 2 * random.choice(2)
    truncated = bool(random.chance(level.truncated))
    hips, ankles = truth[:, _HIPS, 1].mean(1), truth[:, _ANKLES, 1].mean(1)
    legs = truth[:, sum(_LEGS, [])]
    if truncated:
        low, high = float(hips.median()), float(ankles.median())
        return torch.zeros(truth.shape[:2], dtype=torch.bool), low + float(cut) * (high - low)
    length = round(float(share) * frames)
    if length == 0:
        return torch.zeros(truth.shape[:2], dtype=torch.bool), float("inf")
    # It passes at constant speed relative to the legs: their middle is covered ``length`` frames.
    middle = round(float(begin) * (frames - length)) + (length - 1) / 2
    offset = float(side) * width * (torch.arange(frames) - middle) / length
    x = _calm(legs[..., 0].mean(1), random) + offset
    y = _calm(hips + float(top) * (ankles - hips), random)
    across = (truth[..., 0] - x[:, None]).abs() < width / 2
    return across & (truth[..., 1] > y[:, None]), float("inf")


def _calm(values: Tensor, random: Random, seconds: float = 0.3) -> Tensor:
    """(T,) smoothed: occluders do not dance with the legs."""
    if len(values) == 1:
        return values
    sigma = seconds / float(random.times.diff().median())
    return torch.from_numpy(gaussian_filter1d(values.numpy(), sigma, mode="nearest"))


def _lost_arm(random: Random, level: Level) -> Tensor:
    """(T, 27) an arm that is not found for some time."""
    inside = _stretch(random, level.arm, (0.3, 1.0))
    mask = torch.zeros(len(random.times), len(BODY27), dtype=torch.bool)
    mask[:, _ARMS[int(random.choice(2))]] = inside[:, None]
    return mask


def _gone_limb(random: Random) -> Tensor:
    """(27,) what is never found: an arm, a leg or both legs."""
    limbs = (*_ARMS, *_LEGS, sum(_LEGS, []))
    mask = torch.zeros(len(BODY27), dtype=torch.bool)
    mask[limbs[int(random.choice(len(limbs)))]] = True
    return mask


def _stretch(random: Random, probability: float, seconds: tuple[float, float]) -> Tensor:
    """(T,) a stretch of time of a length in the range, or none."""
    times = random.times - random.times[0]
    happens = random.chance(probability)
    length = random.uniform(*seconds)
    begin = random.uniform(0, 1) * (times[-1] - length).clamp_min(0)
    return happens & (times >= begin) & (times < begin + length)


def _guess(
    xy: Tensor, space: Tensor, belief: Tensor, covered: Tensor, bottom: float, extent: Tensor,
    random: Random, level: Level,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Hidden legs that the detector invents now and then, wrongly and sure of itself.

    What lies not far below the picture is invented just above its edge."""
    wrong2d = random.wander(0.3, 1, len(BODY27), 2)[0] * 0.06 * extent
    wrong3d = random.wander(0.3, 1, len(BODY27), 3)[0] * 0.12
    sure = random.uniform(0.4, 0.95, 1)
    guessed = torch.zeros_like(covered)
    for leg in _LEGS:
        guessed[:, leg] = _stretch(random, level.guess, (0.5, 1.5))[:, None]
    guessed &= covered & (xy[..., 1] < bottom + 0.25 * extent)
    invented = xy + wrong2d
    edge = bottom - 1 - wrong2d[..., 1].abs()
    invented[..., 1] = torch.minimum(invented[..., 1], edge)
    belief = torch.where(guessed, sure, belief)
    xy = torch.where(guessed[..., None], invented, xy)
    return xy, torch.where(guessed[..., None], space + wrong3d, space), belief


def _swap(
    xy: Tensor, space: Tensor, belief: Tensor, random: Random, level: Level
) -> tuple[Tensor, Tensor, Tensor]:
    """Left taken for right for some time."""
    swapped = _stretch(random, level.swap, (0.2, 0.5))[:, None]
    points = torch.where(swapped[..., None], xy[:, _FLIP], xy)
    space = torch.where(swapped[..., None], space[:, _FLIP], space)
    return points, space, torch.where(swapped, belief[:, _FLIP], belief)


def _gate(
    xy: Tensor, space: Tensor, belief: Tensor, times: Tensor, size: tuple[float, float],
    random: Random,
) -> Track:  # fmt: skip
    """The library's gate on what the networks said; see ``semtta.people.gating.gate``."""
    seconds, points = times.double().numpy(), xy.double().numpy()
    inside = (points >= -0.5).all(-1) & (points <= np.array(size) - 0.5).all(-1)
    believed = gating.follow(belief.double().numpy())
    seen = gating.hysteresis(np.where(inside, believed, 0), seconds) & inside
    seen = gating.follow(seen.astype(float)) > 0
    strength = np.where(seen, np.clip(believed, 0.1, 1), 0)
    enough = np.clip(seen[:, _LIMBS].mean(1) / _ENOUGH, 0, 1)
    trusted = gating.hysteresis(enough[:, None], seconds)[:, 0]
    boxes = _boxes(points, seen, size, random)
    boxes = gating.person_boxes(points, seen, boxes, seconds)
    keypoints = Keypoints2D(
        torch.from_numpy(gating.smooth(points, strength, seconds)).float(),
        torch.from_numpy(strength).float(),
        BODY27,
    )
    world = gating.smooth(space.double().numpy(), strength + 1e-3, seconds)
    return Track(
        id=1,
        frames=torch.arange(len(times)),
        times=times.double(),
        boxes=torch.from_numpy(boxes).float(),
        keypoints=keypoints,
        landmarks3d=torch.from_numpy(world).float(),
        conf3d=torch.from_numpy(strength * trusted[:, None]).float(),
    )


def _boxes(
    points: np.ndarray, seen: np.ndarray, size: tuple[float, float], random: Random
) -> np.ndarray:
    """(T, 4) the person detector's boxes: around what is seen, with a loose margin, in the image.

    Frames in which hardly anything is seen keep the whole person's box."""
    keep = np.where(seen.sum(1, keepdims=True) >= 8, seen, True)[..., None]
    low = np.where(keep, points, np.inf).min(1)
    high = np.where(keep, points, -np.inf).max(1)
    margin = (high - low).max(-1, keepdims=True) * float(random.uniform(0.0, 0.08))
    shake = (0.01 * random.wander(0.2, 1, 4)[0]).double().numpy()
    boxes = np.concatenate((low - margin, high + margin), axis=1)
    boxes = boxes + shake * (high - low).max(-1, keepdims=True)
    limit = np.array([*size, *size]) - 0.5
    boxes = np.clip(boxes, -0.5, limit)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return boxes
