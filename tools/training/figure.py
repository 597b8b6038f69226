"""A figure whose joint angles add up to SMPL rotations: what the procedural actions draw with."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from semtta.skeletons import SMPL24
from tools.training.motions import forward_kinematics
from tools.training.roots import FPS, Footing, level_between

SIDES = ("left", "right")
# Degrees that joints keep to: flexion of the leg, angles of the arm.
_LEG_RANGE = {"hip": (-130, 40), "knee": (0, 150), "ankle": (-40, 55)}
_ARM_RANGE = {"raise": (-20, 160), "forward": (-65, 185), "twist": (-110, 110), "bend": (0, 148)}
_HINGES = SMPL24.indices([f"{side}_{part}" for side in SIDES for part in ("knee", "elbow")])
_LEGS = SMPL24.indices([f"{s}_{p}" for s in SIDES for p in ("hip", "knee", "ankle", "foot")])
_FLAT_WITHIN = 0.1  # metres over the lower foot in which a sole still turns to the ground


class Figure:
    """Joint angles in degrees that an action adds up, turned into rotations at the end.

    Flexion is positive everywhere: hip and shoulder swing forward, knee and elbow close,
    the ankle lifts the toes, the spine bends forward. ``raise_`` lifts an arm sideways from
    hanging (0) over horizontal (75) to overhead (150). A figure has habits of its own: posture,
    how it carries its arms, how wide its movements are, a tempo that is not quite steady.
    """

    def __init__(self, frames: int, rng: np.random.Generator):
        self.rng = rng
        self.frames = frames
        self.seconds = frames / FPS
        self.time = self._clock(frames)
        self.angles = np.zeros((24, frames, 3))  # pitch x, yaw y, roll z
        self.arms = {side: {key: np.zeros(frames) for key in ("raise", "forward", "twist", "bend")}
                     for side in SIDES}  # fmt: skip
        self.footing = Footing.standing(frames)
        self.flat = {side: np.ones(frames) for side in SIDES}
        self.levelled: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._habits()

    def _clock(self, frames: int) -> np.ndarray:
        """Seconds that run a little faster and slower than true ones."""
        t, slow = np.arange(frames) / FPS, self.between(2.5, 6)
        phase, size = self.between(0, 2 * np.pi), self.between(0, 0.12) * slow / (2 * np.pi)
        return t + size * (np.sin(2 * np.pi * t / slow + phase) - np.sin(phase))

    def _habits(self) -> None:
        normal = self.rng.normal
        self.vigour = {side: float(np.exp(normal(0, 0.1))) for side in SIDES}
        for side in SIDES:
            self.arm(side, raise_=normal(0, 6), forward=normal(0, 5), twist=normal(0, 8),
                     bend=abs(normal(12, 8)))  # fmt: skip
            self.joint(f"{side}_wrist", normal(0, 12), normal(0, 6), normal(0, 8))
        self.spine(bend=normal(2, 4), lean=normal(0, 1.5), turn=normal(0, 2))
        self.joint("neck", pitch=normal(0, 4))
        self.joint("head", pitch=normal(0, 5), yaw=normal(0, 4))
        self.legs(twist=normal(6, 5), spread=normal(1, 2))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def a_side(self, right: float = 0.5) -> tuple[str, str]:
        """A random side and its opposite."""
        return ("right", "left") if self.chance(right) else ("left", "right")

    def joint(self, name: str, pitch=0.0, yaw=0.0, roll=0.0) -> None:
        angles = self.angles[SMPL24.index(name)]
        angles[:, 0] += pitch
        angles[:, 1] += yaw
        angles[:, 2] += roll

    def spine(self, bend=0.0, turn=0.0, lean=0.0) -> None:
        for name, share in (("spine1", 0.4), ("spine2", 0.3), ("spine3", 0.3)):
            self.joint(name, share * bend, share * turn, share * lean)

    def bow_down(self, angle, spine: float = 0.6) -> None:
        """The trunk bent forward, partly in the hips, over legs that stay as they are."""
        self.joint("pelvis", pitch=(1 - spine) * angle)
        self.legs(hip=(1 - spine) * angle)
        self.spine(bend=spine * angle)

    def leg(self, side: str, hip=0.0, knee=0.0, ankle=0.0, spread=0.0, twist=0.0) -> None:
        out = 1 if side == "left" else -1
        self.joint(f"{side}_hip", -hip, out * twist, out * spread)
        self.joint(f"{side}_knee", knee)
        self.joint(f"{side}_ankle", -ankle)

    def legs(self, **angles) -> None:
        for side in SIDES:
            self.leg(side, **angles)

    def crouch(self, knee, spread=0.0) -> None:
        """Both knees bent over feet that stay flat, the trunk a little behind them."""
        self.legs(hip=0.62 * knee, knee=knee, spread=spread)
        self.spine(bend=0.12 * knee)

    def arm(self, side: str, raise_=0.0, forward=0.0, twist=0.0, bend=0.0) -> None:
        arm = self.arms[side]
        arm["raise"] += raise_
        arm["forward"] += forward
        arm["twist"] += twist
        arm["bend"] += bend

    def both_arms(self, **angles) -> None:
        for side in SIDES:
            self.arm(side, **angles)

    def ramp(self, start: float, length: float) -> np.ndarray:
        """0 before ``start`` seconds, 1 after ``start + length``, smooth in between."""
        u = np.clip((self.time - start) / length, 0, 1)
        return u * u * (3 - 2 * u)

    def bump(self, centre: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((self.time - centre) / width) ** 2)

    def between_times(self, start: float, end: float, fade: float = 0.3) -> np.ndarray:
        """1 from ``start`` to ``end``, faded in before and out after."""
        return self.ramp(start - fade, fade) * (1 - self.ramp(end, fade))

    def cycle(self, hertz: float, phase: float | None = None) -> np.ndarray:
        """Phase angle in radians, started at random unless told."""
        phase = self.between(0, 2 * np.pi) if phase is None else phase
        return 2 * np.pi * hertz * self.time + phase

    def pulse(self, low: float, high: float) -> np.ndarray:
        """Slow repetition between 0 and 1, started near 0."""
        return 0.5 - 0.5 * np.cos(self.cycle(self.between(low, high), self.between(-0.5, 0.5)))

    def wander(self, size: float, slowest: float = 0.1, fastest: float = 0.5) -> np.ndarray:
        """A few slow sinusoids added up, about ``size`` high."""
        waves = [np.sin(self.cycle(self.between(slowest, fastest))) for _ in range(3)]
        return size * sum(waves) / np.sqrt(3)

    # What carries the figure -----------------------------------------------------------------

    def fly(self, flags: np.ndarray, forward=0.0, aside=0.0) -> None:
        """Off the ground where ``flags``, at so many metres a second forwards and to the left."""
        self.footing.flight[:] |= flags
        self.footing.glide[flags, 2] = forward
        self.footing.glide[flags, 0] = aside

    def turn(self, degrees) -> None:
        self.footing.heading[:] += degrees

    def sit(self, share=1.0) -> None:
        """On a seat: the pelvis keeps its place."""
        self.footing.seat[:] = np.maximum(self.footing.seat, share)

    def lie(self, *groups: tuple[str, ...], tilt: bool = True) -> None:
        """On the floor; of two groups of joints both touch it, pitched until they do."""
        self.footing.floor[:] = True
        for side in SIDES:
            self.flat[side][:] = 0
        self.levelled = (groups[0], groups[1]) if groups and tilt else None

    # Rotations -------------------------------------------------------------------------------

    def rotmats(self) -> np.ndarray:
        """(frames, 24, 3, 3) float32, with a little sway and tremor on every joint."""
        angles = self._swaying()
        for part, (low, high) in _LEG_RANGE.items():
            for joint in SMPL24.indices([f"{side}_{part}" for side in SIDES]):
                angles[joint, :, 0] = np.clip(angles[joint, :, 0], low, high)
        rotation = Rotation.from_euler("YXZ", angles[..., [1, 0, 2]].reshape(-1, 3), degrees=True)
        out = rotation.as_matrix().reshape(24, -1, 3, 3)
        for side, sign in (("left", 1), ("right", -1)):
            arm = {key: self._in_range(side, key) for key in self.arms[side]}
            shoulder, elbow = SMPL24.index(f"{side}_shoulder"), SMPL24.index(f"{side}_elbow")
            turn = Rotation.from_euler(
                "XZX",
                np.stack([-arm["forward"], sign * (arm["raise"] - 75), arm["twist"]], -1),
                degrees=True,
            )
            out[shoulder] = turn.as_matrix() @ out[shoulder]
            flex = Rotation.from_euler("Y", -sign * arm["bend"][:, None], degrees=True)
            out[elbow] = flex.as_matrix()
        out = self._soles_down(out.transpose(1, 0, 2, 3))
        return out if self.levelled is None else level_between(out, *self.levelled)

    def _in_range(self, side: str, key: str) -> np.ndarray:
        angle = self.arms[side][key]
        middle = angle.mean()
        return np.clip(middle + self.vigour[side] * (angle - middle), *_ARM_RANGE[key])

    def _swaying(self) -> np.ndarray:
        rate = self.rng.uniform(0.1, 0.5, (24, 1, 3))
        phase = self.rng.uniform(0, 2 * np.pi, (24, 1, 3))
        size, posture = np.full((24, 1, 1), 1.5), self.rng.normal(0, 1.5, (24, 1, 3))
        size[_LEGS] = 0.3  # both feet stand
        size[_HINGES], posture[_HINGES, :, 1:] = 0, 0
        return self.angles + posture + size * np.sin(2 * np.pi * rate * self.time[:, None] + phase)

    def _soles_down(self, rotmats: np.ndarray) -> np.ndarray:
        """Ankles bent so that soles near the ground lie on it, as far as ``flat`` and they go."""
        out = rotmats.astype(np.float32)
        joints = forward_kinematics(out)
        balls = {side: joints[:, SMPL24.index(f"{side}_ankle"), 1] for side in SIDES}
        lowest = np.minimum(*balls.values())
        for side in SIDES:
            near = np.clip(1 - (balls[side] - lowest) / _FLAT_WITHIN, 0, 1)
            share = self.flat[side] * near * near * (3 - 2 * near)
            shin = out[:, 0]
            for part in ("hip", "knee"):
                shin = shin @ out[:, SMPL24.index(f"{side}_{part}")]
            ankle = SMPL24.index(f"{side}_ankle")
            up = (shin @ out[:, ankle])[..., 1]
            axis = np.cross(up, np.array([0.0, 1.0, 0.0]))
            size = np.linalg.norm(axis, axis=1, keepdims=True)
            angle = np.minimum(np.arctan2(size, up[:, 1:2]), np.deg2rad(50))
            turn = Rotation.from_rotvec(axis / np.maximum(size, 1e-9) * angle * share[:, None])
            out[:, ankle] = shin.swapaxes(-1, -2) @ turn.as_matrix() @ shin @ out[:, ankle]
        return out
