"""What a 2D detector's landmarks are on a body: fixed mixtures of joints and skin vertices."""

from __future__ import annotations

from semtta.skeletons import SMPL24

# Distance at which detectors draw the hips of a body of mean shape, metres. Hip *joints* differ
# between bodies: 0.22 m apart on the CC0 body, about 0.13 m on SMPL, whose hip centres lie far
# inside, while annotators click near the outer hip. One width makes the 2D evidence mean the
# same on every body.
HIP_WIDTH = 0.20

_FACE = {"nose": "nose", "left_eye": "leye", "right_eye": "reye", "left_ear": "lear",
         "right_ear": "rear"}  # fmt: skip
_FEET = {"heel": "Heel", "big_toe": "BigToe", "small_toe": "SmallToe"}

Mixture = dict[str, float]  # SMPL joint name, or vertex name with a leading "v:", -> weight


def landmark_mixtures(hip_factor: float, vertices: set[str]) -> dict[str, Mixture]:
    """Every landmark that a body with these named vertices knows.

    Args:
        hip_factor: how far the hips are moved out from their midpoint, in units of the distance
            from the midpoint to the hip joint.
        vertices: names of the vertices the body has (smplx's names).

    Returns:
        landmark name -> mixture whose weights sum to one.
    """
    near, far = (1 + hip_factor) / 2, (1 - hip_factor) / 2
    table: dict[str, Mixture] = {
        "neck": {"left_shoulder": 0.5, "right_shoulder": 0.5},
        "mid_hip": {"left_hip": 0.5, "right_hip": 0.5},
        "left_hip": {"left_hip": near, "right_hip": far},
        "right_hip": {"right_hip": near, "left_hip": far},
    }
    table |= {landmark: {f"v:{vertex}": 1.0} for landmark, vertex in _FACE.items()}
    for side in ("left", "right"):
        for part in ("shoulder", "elbow", "wrist", "knee", "ankle"):
            table[f"{side}_{part}"] = {f"{side}_{part}": 1.0}
        for finger in ("pinky", "index", "thumb"):  # BlazePose marks knuckles, not tips
            table[f"{side}_{finger}"] = {f"{side}_wrist": 0.5, f"v:{side[0]}{finger}": 0.5}
        for part, vertex in _FEET.items():
            table[f"{side}_{part}"] = {f"v:{side[0].upper()}{vertex}": 1.0}

    def known(mixture: Mixture) -> bool:
        return all(not source.startswith("v:") or source[2:] in vertices for source in mixture)

    return {name: mixture for name, mixture in table.items() if known(mixture)}


def mixture_row(mixture: Mixture, vertices: list[str]) -> list[float]:
    """Weights over the 24 SMPL joints followed by the named vertices."""
    row = [0.0] * (len(SMPL24) + len(vertices))
    for source, weight in mixture.items():
        if source.startswith("v:"):
            row[len(SMPL24) + vertices.index(source[2:])] += weight
        else:
            row[SMPL24.index(source)] += weight
    return row
