"""How bad the detectors were that the lifters were trained with."""

from __future__ import annotations

from semtta.bench.landmark_noise import NoiseModel

BROAD = NoiseModel()
NARROW = NoiseModel(
    pixel=0.003, limb_offset=0.0, misplaced=0.0, definition=0.0, depth=0.05, flip=0.0, tilt=0.03,
    depth_scale=(0.95, 1.05), scale=(0.97, 1.03), space=0.004, hidden=0.05, blink=0.02,
    no_space=0.02, stranger=0.0, box=(1.05, 1.25), box_shift=0.03,
)  # fmt: skip
