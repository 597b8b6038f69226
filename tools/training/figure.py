"""A figure whose joint angles add up to SMPL rotations: what the procedural actions draw with."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from semtta.skeletons import SMPL24

FPS = 30.0
SIDES = ("left", "right")


class Figure:
    """Joint angles in degrees that an action adds up, turned into rotations at the end.

    Flexion is positive everywhere: hip and shoulder swing forward, knee and elbow close,
    the ankle lifts the toes, the spine bends forward. ``raise_`` lifts an arm sideways from
    hanging (0) over horizontal (75) to overhead (150).
    """

    def __init__(self, frames: int, rng: np.random.Generator):
        self.rng = rng
        self.time = np.arange(frames) / FPS
        self.seconds = frames / FPS
        self.angles = np.zeros((24, frames, 3))  # pitch x, yaw y, roll z
        self.arms = {side: {key: np.zeros(frames) for key in ("raise", "forward", "twist", "bend")}
                     for side in SIDES}  # fmt: skip
        for side in SIDES:
            self.arm(side, raise_=rng.normal(0, 5), forward=rng.normal(0, 4),
                     bend=abs(rng.normal(12, 6)))  # fmt: skip

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

    def leg(self, side: str, hip=0.0, knee=0.0, ankle=0.0, spread=0.0, twist=0.0) -> None:
        out = 1 if side == "left" else -1
        self.joint(f"{side}_hip", -hip, out * twist, out * spread)
        self.joint(f"{side}_knee", knee)
        self.joint(f"{side}_ankle", -ankle)

    def legs(self, **angles) -> None:
        for side in SIDES:
            self.leg(side, **angles)

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

    def cycle(self, hertz: float, phase: float | None = None) -> np.ndarray:
        """Phase angle in radians, started at random unless told."""
        phase = self.between(0, 2 * np.pi) if phase is None else phase
        return 2 * np.pi * hertz * self.time + phase

    def pulse(self, low: float, high: float) -> np.ndarray:
        """Slow repetition between 0 and 1, started near 0."""
        return 0.5 - 0.5 * np.cos(self.cycle(self.between(low, high), self.between(-0.5, 0.5)))

    def rotmats(self) -> np.ndarray:
        """(frames, 24, 3, 3) float32, with a little sway and tremor on every joint."""
        angles = self.angles
        rate = self.rng.uniform(0.1, 0.5, (24, 1, 3))
        phase = self.rng.uniform(0, 2 * np.pi, (24, 1, 3))
        sway = 1.5 * np.sin(2 * np.pi * rate * self.time[None, :, None] + phase)
        posture = self.rng.normal(0, 1.5, (24, 1, 3))
        angles = angles + sway + posture
        rotation = Rotation.from_euler("YXZ", angles[..., [1, 0, 2]].reshape(-1, 3), degrees=True)
        out = rotation.as_matrix().reshape(24, -1, 3, 3)
        for side, sign in (("left", 1), ("right", -1)):
            arm = self.arms[side]
            shoulder, elbow = SMPL24.index(f"{side}_shoulder"), SMPL24.index(f"{side}_elbow")
            turn = Rotation.from_euler(
                "XZX",
                np.stack([-arm["forward"], sign * (arm["raise"] - 75), arm["twist"]], -1),
                degrees=True,
            )
            out[shoulder] = turn.as_matrix() @ out[shoulder]
            flex = Rotation.from_euler("Y", -sign * arm["bend"][:, None], degrees=True)
            out[elbow] = flex.as_matrix() @ out[elbow]
        return out.transpose(1, 0, 2, 3).astype(np.float32)
