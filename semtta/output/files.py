"""Result files: written whole or not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import roma
import torch

from semtta.body import Body
from semtta.errors import SemttaError
from semtta.files import Arrays, write_npz
from semtta.geometry import nearest_rotvecs
from semtta.labels.coverage import covered
from semtta.output.amplitude import motion_amplitude
from semtta.output.axes import Axes, y_up, z_up
from semtta.output.summary import gain, kept_frames, summary
from semtta.skeletons import SMPL24
from semtta.tta.gated import label_runs
from semtta.tta.limbs import never_seen, seen_limbs
from semtta.tta.result import Motion, Result, World


def is_result(path: Path) -> bool:
    """Whether a folder is one that ``semtta adapt`` wrote."""
    return (path / "config.yaml").is_file() and any(path.glob("track-*.npz"))


def track_arrays(result: Result, fps: float, body: Body) -> Arrays:
    """Everything of one result as named arrays; the schema is in ``docs/outputs.md``."""
    evidence, detections = result.evidence, result.detections
    arrays: Arrays = {
        "track_id": np.int64(result.track.id),
        "frames": result.track.frames.numpy(),
        "times": result.track.times.double().numpy(),
        "fps": np.float64(fps),
        "boxes": result.track.boxes.numpy(),
        "crops": result.boxes.numpy(),
        "focal": np.float64(result.camera.focal),
        "center": np.array(result.camera.center),
        "labels": np.array([label or "" for label in result.labels]),
        "landmark_names": np.array(detections.skeleton.joints),
        "detected_xy": detections.xy.numpy(),
        "detected_conf": detections.conf.numpy(),
        "evidence_xy": evidence.xy.numpy(),
        "evidence_weight": (evidence.weight * evidence.present).numpy(),
        "filled_in_epoch": evidence.filled_in.numpy(),
        "smpl_joint_names": np.array(SMPL24.joints),
    }
    if result.base_share is not None:
        arrays["base_share"] = result.base_share.numpy()
    if result.heldout is not None:
        arrays["heldout_base_px"] = result.heldout.base.numpy()
        arrays["heldout_adapted_px"] = result.heldout.adapted.numpy()
    if result.similarity is not None:
        arrays["similarity"] = result.similarity.cpu().numpy()
    if result.gate_similarity is not None:
        arrays["gate_similarity"] = result.gate_similarity.cpu().numpy()
    if result.sigma is not None:
        arrays["sigma"] = np.float64(result.sigma)
    world = found_world(result)
    for prefix, motion in (("base", result.base), ("", result.adapted)):
        parts = _motion_arrays(motion)
        if world is not None:
            parts |= _world_arrays(motion, body, y_up(world))
        for key, value in parts.items():
            arrays[f"{prefix}_{key}" if prefix else key] = value
    if world is not None:
        arrays["world_from_camera"] = world.rotation.numpy()
        arrays["ground"] = np.float64(world.ground)
        arrays["world_confidence"] = np.float64(world.confidence)
    return arrays


def found_world(result: Result) -> World | None:
    """Up and the floor, if they were looked for and found."""
    world = result.world
    return world if world is not None and world.confidence > 0 else None


def _motion_arrays(motion: Motion) -> dict[str, np.ndarray]:
    pose = nearest_rotvecs(roma.rotmat_to_rotvec(motion.rotmats)).flatten(1)
    return {
        "global_orient": pose[:, :3].numpy(),
        "body_pose": pose[:, 3:].numpy(),
        "betas": motion.betas.numpy(),
        "trans": motion.trans.numpy(),
        "trans_raw": motion.trans_raw.numpy(),
        "cam": motion.cam.numpy(),
        "landmarks2d": motion.landmarks2d.numpy(),
    }


def _world_arrays(motion: Motion, body: Body, axes: Axes) -> dict[str, np.ndarray]:
    """The motion in the world: joints and vertices = body(orient, pose, betas) + trans."""
    orient = roma.rotmat_to_rotvec(axes.rotmats(motion.rotmats)[:, 0])
    pelvis = _pelvis(motion, body)  # SMPL turns about it
    return {
        "global_orient_world": nearest_rotvecs(orient[:, None])[:, 0].numpy(),
        "trans_world": (axes.points(motion.trans + pelvis) - pelvis).numpy(),
    }


def _pelvis(motion: Motion, body: Body) -> torch.Tensor:
    """(T, 3) metres, where each frame's own shape has it in the rest pose."""
    return body.joints(torch.eye(3).expand(24, 3, 3), motion.betas)[:, 0]


def amass_arrays(result: Result, fps: float, body: Body) -> Arrays:
    """The adapted motion as Blender's SMPL add-ons and readers of AMASS files expect it.

    z up and y away from the camera, one body shape for all frames, 52 joints: 22 of the body, then
    30 of the hands at rest. ``poses_smpl72`` keeps the 24 SMPL joints. Frames are numbered without
    gaps. Betas of a body that is not SMPL mean another shape to SMPL, so they are zero then. SMPL
    turns about the pelvis joint, which is not its origin, so the translation takes up what turning
    the axes moves: the pelvis is where it was, on the body of the betas that are written."""
    motion = result.adapted
    axes = z_up(result.world)
    pose = nearest_rotvecs(roma.rotmat_to_rotvec(axes.rotmats(motion.rotmats))).flatten(1)
    betas = motion.betas.median(0).values if body.is_smpl else torch.zeros(10)
    pelvis = body.joints(torch.eye(3).expand(24, 3, 3), betas)[0]
    trans = axes.points(motion.trans + _pelvis(motion, body)) - pelvis
    poses = np.zeros((len(pose), 156), np.float32)
    poses[:, :66] = pose[:, :66].numpy()
    # Both spellings of the rate: some readers know one, some the other.
    rate = np.float64(_whole_rate(fps))
    return {
        "poses": poses,
        "trans": trans.numpy(),
        "betas": np.concatenate([betas.numpy(), np.zeros(6, np.float32)]),
        "gender": np.array(body.gender),
        "mocap_framerate": rate,
        "mocap_frame_rate": rate,
        "fps": np.float64(fps),
        "surface_model_type": np.array("smplh"),
        "poses_smpl72": pose.numpy(),
        "frame": np.array("z-up"),
    }


def _whole_rate(fps: float) -> float:
    """The whole number that a video's rate stands for, if it is near: 29.97 is 30.

    Blender's add-ons cut the rate to a whole number and take every frame, or every second one, by
    it: 29 would be too slow for their 30, 59 would play at half the speed."""
    whole = max(1, round(fps))
    return float(whole) if abs(fps - whole) <= 0.01 * whole else fps


def save_npz(path: Path, arrays: Arrays) -> None:
    """Compressed npz; raises ``SemttaError`` where the disk does not take it."""
    try:
        with open(path, "wb") as file:
            write_npz(file, arrays)
    except OSError as error:
        raise SemttaError(f"'{path.name}' cannot be written: {error.strerror}.") from None


def report(result: Result, body: Body) -> dict:
    """What happened, per epoch and per frame, as JSON-ready numbers (NaN becomes null).

    Args:
        body: of the result, on the CPU."""
    gained = gain(result, body)
    moved = motion_amplitude(result.adapted, result.base, result.track.times, body)
    similarity = [] if result.similarity is None else result.similarity.tolist()
    gate = [] if result.gate_similarity is None else result.gate_similarity.tolist()
    values = [g for g in gate if not math.isnan(g)]
    counts, edges = np.histogram(values, bins=20, range=(-1, 1))
    return clean(
        {
            "track": result.track.id,
            "frames": len(result.track),
            "summary": summary(result, gained, moved),
            "gain": gained,
            "range_of_motion": moved.numbers(),
            "camera": {
                "focal": result.camera.focal,
                "center": list(result.camera.center),
                "focal_origin": result.camera.origin,
            },
            "labels": sorted({label for label in result.labels if label}),
            "labelled_frames": covered(result.labels),
            "label_readings": _readings(result),
            "sigma": result.sigma,
            "detected_share": float((result.detections.conf > 0).float().mean()),
            "filled_share": result.evidence.filled_share(),
            "seen_limbs": seen_limbs(result.evidence),
            "never_seen": never_seen(result),
            "base_kept_frames": kept_frames(result),
            "epochs": result.history,
            "per_frame": {
                "frame": result.track.frames.tolist(),
                "label": result.labels,
                "similarity": similarity,
                "gate_similarity": gate,
                "gate_open": [result.sigma is not None and g > result.sigma for g in gate],
                "filled": (result.evidence.filled_in > 0).sum(1).tolist(),
            },
            "label_runs": _label_runs(result),
            "gate_histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            "provenance": result.provenance,
        }
        | _world_report(result.world)
    )


def _world_report(world: World | None) -> dict:
    """Nothing if nobody asked for a world."""
    if world is None:
        return {}
    return {
        "world": {
            "note": world.note, "confidence": world.confidence, "checks": world.checks,
            "world_from_camera": world.rotation.tolist(), "ground": world.ground,
        }
    }  # fmt: skip


def _readings(result: Result) -> dict[str, dict]:
    """What each label was taken for."""
    heard = result.heard
    return {} if heard is None else {
        label: {"kind": reading.kind, "names": list(reading.names),
                "nearness": float(reading.nearness), "known": reading.is_known,
                "gate_opened": label in heard.opened}
        for label, reading in heard.readings.items()
    }  # fmt: skip


def _label_runs(result: Result) -> list[dict]:
    """Each stretch of frames with one label: how similar the motion was, how far the gate open."""
    frames = result.track.frames.tolist()
    runs = []
    for part in label_runs(result):
        a, b = part.start, part.stop
        run: dict = {"first": frames[a], "last": frames[b - 1], "label": part.label,
                     "seconds": part.seconds, "use": part.use or None}  # fmt: skip
        if result.similarity is not None:
            run["similarity"] = float(result.similarity[a:b].nanmean())
        if result.gate_similarity is not None and result.sigma is not None:
            gate = result.gate_similarity[a:b]
            run["gate_similarity"] = float(gate.nanmean())
            run["gate_open"] = float((gate > result.sigma).float().mean())
        runs.append(run)
    return runs


def clean(value):
    """JSON has no NaN: replace it by null, recursively."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def save_json(path: Path, data) -> None:
    path.write_text(json.dumps(clean(data), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
