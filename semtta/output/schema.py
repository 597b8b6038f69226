"""What a track's file holds: names, shapes and kinds of its arrays (docs/outputs.md)."""

from __future__ import annotations

import numpy as np

LARGEST = 1e9  # of any number that is a length, an angle or a pixel
# Arrays of a track's file: shape (T frames, J landmarks) and kind ("S" where it may be text).
MOTION = {
    "global_orient": ("T", 3), "body_pose": ("T", 69), "betas": ("T", 10), "trans": ("T", 3),
    "trans_raw": ("T", 3), "cam": ("T", 3), "landmarks2d": ("T", "J", 2),
}  # fmt: skip
SHAPES = {
    **MOTION, **{f"base_{name}": shape for name, shape in MOTION.items()},
    "track_id": (), "frames": ("T",), "times": ("T",), "fps": (), "boxes": ("T", 4),
    "crops": ("T", 3), "focal": (), "center": (2,), "labels": ("T",), "landmark_names": ("J",),
    "detected_xy": ("T", "J", 2), "detected_conf": ("T", "J"), "evidence_xy": ("T", "J", 2),
    "evidence_weight": ("T", "J"), "filled_in_epoch": ("T", "J"), "similarity": ("T",),
    "gate_similarity": ("T",), "sigma": (), "world_from_camera": (3, 3), "ground": (),
    "world_confidence": (), "heldout_base_px": ("T", "J"),
    "heldout_adapted_px": ("T", "J"), "base_share": ("T",),
}  # fmt: skip
WORLD = ("world_from_camera", "ground", "world_confidence")  # absent where it was not found
HELDOUT = ("heldout_base_px", "heldout_adapted_px")  # where something was
# the first three: with labels
_OPTIONAL = ("similarity", "gate_similarity", "sigma", "base_share", *WORLD, *HELDOUT)
_INTEGERS = ("track_id", "frames", "filled_in_epoch")
TEXTS = ("labels", "landmark_names")


def check_arrays(arrays: dict[str, np.ndarray]) -> None:
    """Every array is there, and has the shape, kind and range of numbers of the schema; integers
    become int64, other numbers float32, times float64."""
    sizes = {"T": len(np.atleast_1d(arrays.get("frames", ()))),
             "J": len(np.atleast_1d(arrays.get("landmark_names", ())))}  # fmt: skip
    for name, pattern in SHAPES.items():
        if name not in arrays:
            if name in _OPTIONAL:
                continue
            raise ValueError(f"it has no '{name}'")
        array, shape = arrays[name], tuple(n if isinstance(n, int) else sizes[n] for n in pattern)
        kinds = "U" if name in TEXTS else "iu" if name in _INTEGERS else "iuf"
        if array.dtype.kind not in kinds:
            raise ValueError(f"'{name}' holds {array.dtype}")
        if array.shape != shape:
            raise ValueError(f"'{name}' has shape {array.shape}, expected {shape}")
        if name in TEXTS:
            continue
        if name not in _OPTIONAL and not (np.abs(array.astype(np.float64)) <= LARGEST).all():
            raise ValueError(f"'{name}' holds NaN, infinite or impossible numbers")
        kind = np.int64 if name in _INTEGERS else np.float32
        arrays[name] = array.astype(np.float64 if name == "times" else kind) if shape else array
    if not sizes["T"]:
        raise ValueError("it has no frames")
    if not (arrays["frames"][0] >= 0 and (np.diff(arrays["times"]) > 0).all()):
        raise ValueError("its frame numbers or times do not increase from 0")
    if not (float(arrays["fps"]) > 1e-3 and float(arrays["focal"]) > 0):
        raise ValueError("its frame rate or focal length is not positive")
    if not (arrays["track_id"] > 0 and (arrays["evidence_weight"] >= 0).all()):
        raise ValueError("its track id or a weight is negative")
