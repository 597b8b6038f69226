"""What the page shows, as JSON: texts and numbers, arrays as base64 of little-endian numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from semtta.body import Body
from semtta.errors import printable
from semtta.output.amplitude import motion_amplitude
from semtta.output.measures import distances, frame_errors, gate_open_share, shake
from semtta.output.skinned import (
    SkinnedMesh,
    check_finite,
    joint_motion,
    median_betas,
    skinned_mesh,
)
from semtta.output.summary import label_remarks
from semtta.skeletons import SMPL_PARENTS
from semtta.tta.result import Motion, Result

_TYPES = {"float32": "f32", "uint32": "u32", "int32": "i32", "uint8": "u8"}
_HIDDEN, _SEEN, _FILLED = 0, 1, 2
_NO_LABEL, _NOT_THERE = -1, -2
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
    """One person: base and adapted meshes and their motion, evidence, labels, and what is drawn
    over time.

    Args:
        heldout: (T,) errors of base and adapted on joints kept from the adaptation, pixels."""
    check_finite(result)
    frames = result.track.frames
    base, adapted = heldout or (None, None)
    return evidence_data(result, frames) | {
        "told": [told_data("", result, frames)],
        "floor": floor([result.adapted], body),
        "motions": {
            "base": motion_data(result.base, result, body, frames, {"heldout_error": base}),
            "adapted": motion_data(result.adapted, result, body, frames,
                                   {"heldout_error": adapted}),
        },
        "tiles": _tiles(result, body),
        "remarks": [printable(text) for text in label_remarks(result)],
    }  # fmt: skip


def evidence_data(result: Result, onto: Tensor) -> dict:
    """One person's camera and 2D evidence.

    Args:
        onto: (U,) frames that the person's arrays have a row for, among them all of the result."""
    evidence = result.evidence
    known = torch.nonzero(evidence.known)[:, 0].tolist()
    skeleton = evidence.raw.skeleton
    place = {joint: i for i, joint in enumerate(known)}
    state = torch.full(evidence.present.shape, _HIDDEN, dtype=torch.uint8)
    state[evidence.detected] = _SEEN
    state[evidence.filled_in > 0] = _FILLED
    frames = result.track.frames
    return {
        "id": result.track.id,
        "frames": packed(onto),
        **_camera(result),
        "joints": [printable(skeleton.joints[j]) for j in known],
        "edges": [(place[a], place[b]) for a, b in skeleton.edge_indices()
                  if a in place and b in place],
        "state": packed(_spread(state[:, known], frames, onto, _HIDDEN).ravel()),
        "points": packed(_spread(evidence.xy[:, known], frames, onto, 0.0).ravel()),
    }  # fmt: skip


def told_data(name: str, result: Result, onto: Tensor) -> dict:
    """What one result knows of the person's labels, over the frames ``onto``.

    Args:
        name: of the result, where a page has several."""
    texts = list(dict.fromkeys(label for label in result.labels if label))
    of = {text: i for i, text in enumerate(texts)}
    label_of = np.array([of.get(label or "", _NO_LABEL) for label in result.labels], np.int32)
    frames = result.track.frames
    return {
        "name": name,
        "labels": [printable(text) for text in texts],
        "label_of": packed(_spread(label_of, frames, onto, _NOT_THERE)),
        "similarity": _series(result.similarity, frames, onto),
        "gate_similarity": _series(result.gate_similarity, frames, onto),
        "sigma": result.sigma,
    }


def motion_data(
    motion: Motion, result: Result, body: Body, onto: Tensor, series: Mapping[str, Tensor | None]
) -> dict:
    """One motion of a person over the frames ``onto``: its mesh, what moves it, what is drawn.

    Args:
        series: more numbers of every frame of the result, (T,), by name; None = it has none."""
    mesh, moves = skinned_mesh(body, median_betas(motion)), joint_motion(motion, body)
    frames = result.track.frames
    drawn = {"error": frame_errors(motion, result), **series}
    return {
        "rest": packed(mesh.vertices.ravel()),
        "joints": packed(mesh.joints.ravel()),
        "rotations": packed(_spread(moves.rotations, frames, onto, np.nan).ravel()),
        "root": packed(_spread(moves.root, frames, onto, np.nan).ravel()),
        **_camera(result),
        **{name: None if values is None else packed(_spread(values, frames, onto, np.nan))
           for name, values in drawn.items()},
    }  # fmt: skip


def _camera(result: Result) -> dict:
    return {"focal": result.camera.focal, "center": list(result.camera.center)}


def _spread(values: np.ndarray | Tensor, frames: Tensor, onto: Tensor, blank: float) -> np.ndarray:
    """Rows of (T, ...) values at their frames among those of ``onto``, ``blank`` at the others."""
    values = np.asarray(values)
    rows = np.full((len(onto), *values.shape[1:]), blank, values.dtype)
    rows[np.searchsorted(onto.numpy(), frames.numpy())] = values
    return rows


def _series(values: Tensor | None, frames: Tensor, onto: Tensor) -> dict | None:
    if values is None or values.isnan().all():
        return None
    return packed(_spread(values, frames, onto, np.nan))


def floor(motions: Sequence[Motion], body: Body) -> float:
    """Height of the grid in the camera frame (y down): where the lowest vertices are."""
    lowest = []
    for motion in motions:
        step = -(-len(motion.trans) // _MOST_POSED)
        vertices = body.vertices(motion.rotmats[::step], motion.betas[::step])
        lowest.append((vertices[..., 1] + motion.trans[::step, None, 1]).amax(1))
    return float(torch.cat(lowest).quantile(0.9))


def _tiles(result: Result, body: Body) -> list[dict[str, str]]:
    """The few numbers that say whether it was worth it."""

    def change(title: str, before: float, after: float, unit: str) -> dict[str, str]:
        if not np.isfinite([before, after]).all():
            return {"title": title, "value": "–", "note": "no 2D evidence"}
        percent = round(100 * (after / before - 1)) if before > 0 else 0
        share = f"{percent:+d} %".replace("-", "−") if percent else ""
        return {"title": title, "value": f"{before:.1f} → {after:.1f}", "note": f"{unit}  {share}"}

    def mean_error(motion: Motion) -> float:
        return float(distances(motion, result).nanmean())

    tiles = [
        change("2D error, base → adapted", mean_error(result.base), mean_error(result.adapted),
               "px"),
    ]  # fmt: skip
    before, after = (shake(motion, result, body) for motion in (result.base, result.adapted))
    if np.isfinite([before, after]).all():
        tiles.append(change("shake along the ray", before, after, "mm/frame²"))
    moved = motion_amplitude(result.adapted, result.base, result.track.times, body)
    if moved.joints:
        limb, share = moved.least
        least = f"; {limb} {100 * share:.0f} %" if limb else ""
        tiles.append({
            "title": "range of motion", "value": f"{100 * moved.median:.0f} %",
            "note": f"of the base's{least}",
        })  # fmt: skip
    evidence = result.evidence
    missing = int((evidence.known & ~evidence.detected).sum())
    tiles.append({
        "title": "hidden joints filled", "value": f"{100 * evidence.filled_share():.0f} %",
        "note": f"of {missing} in {len(result.track)} frames",
    })  # fmt: skip
    share = gate_open_share(result)
    if result.gate_similarity is not None and np.isfinite(share):
        labelled = int((~result.gate_similarity.isnan()).sum())
        tiles.append({
            "title": "gate open", "value": f"{100 * share:.0f} %",
            "note": f"of {labelled} labelled frames",
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
