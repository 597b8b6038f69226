"""What the page shows, as JSON: texts and numbers, arrays as base64 of little-endian numbers."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from semtta.body import Body
from semtta.errors import printable
from semtta.output.skinned import (
    SkinnedMesh,
    check_finite,
    joint_motion,
    median_betas,
    skinned_mesh,
)
from semtta.skeletons import SMPL_PARENTS
from semtta.tta.result import Motion, Result

_TYPES = {"float32": "f32", "uint32": "u32", "int32": "i32", "uint8": "u8"}
_HIDDEN, _SEEN, _FILLED = 0, 1, 2
_MOST_POSED = 200  # frames whose meshes are looked at for the height of the grid


def packed(values: np.ndarray | Tensor) -> dict:
    """An array as the page's script unpacks it."""
    array = np.asarray(values)
    array = array.astype({"f": np.float32, "i": np.int32}.get(array.dtype.kind, array.dtype))
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"type": _TYPES[array.dtype.name], "data": data}


def body_data(mesh: SkinnedMesh) -> dict:
    """What all people of the page share: topology and skinning."""
    return {
        "parents": list(SMPL_PARENTS),
        "faces": packed(mesh.faces.ravel()),
        "joint_ids": packed(mesh.joint_ids.ravel()),
        "weights": packed(mesh.weights.ravel()),
    }


def track_data(result: Result, body: Body, heldout: tuple[Tensor, Tensor] | None = None) -> dict:
    """One person: meshes and their motion, evidence, labels, and what is drawn over time.

    Args:
        heldout: (T,) errors of base and adapted on joints kept from the adaptation, pixels."""
    check_finite(result)
    evidence, camera = result.evidence, result.camera
    known = torch.nonzero(evidence.known)[:, 0].tolist()
    skeleton = evidence.raw.skeleton
    place = {joint: i for i, joint in enumerate(known)}
    state = torch.full(evidence.present.shape, _HIDDEN, dtype=torch.uint8)
    state[evidence.detected] = _SEEN
    state[evidence.filled_in > 0] = _FILLED
    texts = list(dict.fromkeys(label for label in result.labels if label))
    of = {text: i for i, text in enumerate(texts)}
    return {
        "id": result.track.id,
        "frames": packed(result.track.frames),
        "labels": [printable(text) for text in texts],
        "label_of": packed(np.array([of.get(label, -1) for label in result.labels], np.int32)),
        "focal": camera.focal,
        "center": list(camera.center),
        "similarity": _series(result.similarity),
        "gate_similarity": _series(result.gate_similarity),
        "sigma": result.sigma,
        "joints": [printable(skeleton.joints[j]) for j in known],
        "edges": [(place[a], place[b]) for a, b in skeleton.edge_indices()
                  if a in place and b in place],
        "state": packed(state[:, known].flatten()),
        "points": packed(evidence.xy[:, known].flatten()),
        "floor": _floor(result, body),
        "base": _motion_data(result.base, result, body, heldout and heldout[0]),
        "adapted": _motion_data(result.adapted, result, body, heldout and heldout[1]),
        "tiles": _tiles(result, body),
    }  # fmt: skip


def frame_errors(motion: Motion, result: Result) -> Tensor:
    """(T,) mean distance of the projection to the detections, pixels; NaN without any."""
    return _distances(motion, result).nanmean(1)


def shake(motion: Motion, result: Result, body: Body) -> float:
    """Mean second difference of the pelvis' distance, mm per frame²; NaN without three frames
    in a row."""
    depth = torch.from_numpy(joint_motion(motion, body).root[:, 2]).double()
    steady = (result.track.frames.diff() == 1).unfold(0, 2, 1).all(1) if len(depth) > 2 else None
    if steady is None or not steady.any():
        return float("nan")
    return 1000 * float(depth.diff(n=2).abs()[steady].mean())


def _motion_data(motion: Motion, result: Result, body: Body, heldout_error: Tensor | None) -> dict:
    mesh, moves = skinned_mesh(body, median_betas(motion)), joint_motion(motion, body)
    return {
        "rest": packed(mesh.vertices.ravel()),
        "joints": packed(mesh.joints.ravel()),
        "rotations": packed(moves.rotations.ravel()),
        "root": packed(moves.root.ravel()),
        "error": packed(frame_errors(motion, result)),
        "heldout_error": None if heldout_error is None else packed(heldout_error),
    }


def _distances(motion: Motion, result: Result) -> Tensor:
    """(T, J) pixels; NaN where a joint was not detected, or is none of the body's."""
    distance = (motion.landmarks2d - result.detections.xy).norm(dim=-1)
    seen = result.evidence.detected & result.evidence.known
    return torch.where(seen, distance, torch.nan)


def _series(values: Tensor | None) -> dict | None:
    return None if values is None or values.isnan().all() else packed(values)


def _floor(result: Result, body: Body) -> float:
    """Height of the grid in the camera frame (y down): where the lowest vertices are."""
    step = -(-len(result.track) // _MOST_POSED)
    motion = result.adapted
    vertices = body.vertices(motion.rotmats[::step], motion.betas[::step])
    lowest = (vertices[..., 1] + motion.trans[::step, None, 1]).amax(1)
    return float(lowest.quantile(0.9))


def _tiles(result: Result, body: Body) -> list[dict[str, str]]:
    """The few numbers that say whether it was worth it."""

    def change(title: str, before: float, after: float, unit: str) -> dict[str, str]:
        if not np.isfinite([before, after]).all():
            return {"title": title, "value": "–", "note": "no 2D evidence"}
        percent = round(100 * (after / before - 1)) if before > 0 else 0
        share = f"{percent:+d} %".replace("-", "−") if percent else ""
        return {"title": title, "value": f"{before:.1f} → {after:.1f}", "note": f"{unit}  {share}"}

    def mean_error(motion: Motion) -> float:
        return float(_distances(motion, result).nanmean())

    tiles = [
        change("2D error, base → adapted", mean_error(result.base), mean_error(result.adapted),
               "px"),
    ]  # fmt: skip
    shakes = [shake(motion, result, body) for motion in (result.base, result.adapted)]
    if np.isfinite(shakes).all():
        tiles.append(change("shake along the ray", *shakes, "mm/frame²"))
    evidence = result.evidence
    missing = int((evidence.known & ~evidence.detected).sum())
    tiles.append({
        "title": "hidden joints filled", "value": f"{100 * evidence.filled_share():.0f} %",
        "note": f"of {missing} in {len(result.track)} frames",
    })  # fmt: skip
    if _series(result.gate_similarity) is not None and result.sigma is not None:
        gate = result.gate_similarity[~result.gate_similarity.isnan()]
        share = float((gate > result.sigma).float().mean())
        tiles.append({
            "title": "gate open", "value": f"{100 * share:.0f} %",
            "note": f"of {len(gate)} labelled frames",
        })  # fmt: skip
    return tiles


def all_times(results: Sequence[Result], fps: float) -> list[float]:
    """Seconds of every frame up to the last known one, where there is no video to ask."""
    known = {int(f): float(t) for r in results for f, t in zip(r.track.frames, r.track.times)}
    frames = sorted(known)
    if frames[0] > 0:
        known[0] = known[frames[0]] - frames[0] / fps
        frames = [0, *frames]
    seconds = [known[frame] for frame in frames]
    return np.interp(np.arange(frames[-1] + 1), frames, seconds).tolist()
