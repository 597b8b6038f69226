"""What one adaptation gained and what became of its labels: numbers, and the same in sentences."""

from __future__ import annotations

import math

from semtta.body import Body
from semtta.labels.coverage import covered
from semtta.output.amplitude import Amplitude
from semtta.output.measures import acceleration, distances, shake
from semtta.tta.gated import gate_opened, short_runs, shut_out
from semtta.tta.limbs import never_seen
from semtta.tta.result import Motion, Result

# What is measured without truth: key in the report, name and unit in the summary.
_GAINS = (
    ("error_px", "2D error", "px"),
    ("acceleration_mm", "jitter", "mm/frame²"),
    ("shake_mm", "depth jitter", "mm/frame²"),
)


def gain(result: Result, body: Body) -> dict[str, dict[str, float]]:
    """Base and adapted of everything that can be measured without truth.

    Args:
        body: of the result, on the CPU.
    Returns: by name ``{"base": …, "adapted": …}``: ``error_px`` to the detections,
    ``acceleration_mm`` of the joints about the pelvis and ``shake_mm`` of its distance, per frame²;
    NaN where there is nothing to measure. ``heldout_px`` to detections that the fit was not shown,
    with their number as ``joint_frames``, where some were held out."""
    base, adapted = (_measured(motion, result, body) for motion in (result.base, result.adapted))
    gained = {key: {"base": base[key], "adapted": adapted[key]} for key, _, _ in _GAINS}
    if result.heldout is not None:
        unshown = dict(zip(("base", "adapted"), result.heldout.mean, strict=True))
        gained["heldout_px"] = unshown | {"joint_frames": result.heldout.count}
    return gained


def _measured(motion: Motion, result: Result, body: Body) -> dict[str, float]:
    joints = body.joints(motion.rotmats, motion.betas) + motion.trans[:, None]
    return {
        "error_px": float(distances(motion, result).nanmean()),
        "acceleration_mm": acceleration(joints, result.track.frames),
        "shake_mm": shake(motion, result, body),
    }


def summary(
    result: Result, gained: dict[str, dict[str, float]], moved: Amplitude | None = None
) -> list[str]:
    """What a user should know of one track, a line each, the first one naming it.

    Args:
        gained: of :func:`gain`.
        moved: how far the adapted joints move against the base's."""
    lines = [_first_line(result)]
    words = [_from_to(name, gained[key], unit) for key, name, unit in _GAINS if key in gained]
    if moved is not None and moved.joints:  # whoever stands still has no range
        words.append(f"range of motion against the base's {moved}")
    if words:
        lines.append("; ".join(filter(None, words)))
    if unshown := gained.get("heldout_px"):
        base, adapted, count = (unshown[key] for key in ("base", "adapted", "joint_frames"))
        of_result = result.provenance.get("model", {}).get("name") == "Refiner"
        doubt = "; the base may have been fitted to them" if of_result else ""
        lines.append(
            f"held-out joints: base {base:.1f} px, adapted {adapted:.1f} px ({count} "
            f"joint-frames{doubt})"
        )
    if kept := kept_frames(result):
        asked = result.provenance.get("config", {}).get("select") == "base"
        why = ("select=base" if asked
               else "the adapted motion did no better on held-out joints there")  # fmt: skip
        lines.append(f"the base is kept in {kept} of {len(result.labels)} frames: {why}")
    lines.append("; ".join(_of_labels(result)))
    lines.append(_in_parts(result))
    lines.append(f"focal length {result.camera.focal:.0f} px, {result.camera.origin}")
    if told := _told_body(result):
        lines.append(told)
    if unseen := never_seen(result):
        lines.append(unseen)
    if result.world is not None:
        sure = result.world.confidence
        lines.append(f"world motion with confidence {sure:.2f}" if sure else "no world motion")
    return [line for line in lines if line]


def _in_parts(result: Result) -> str:
    """Windows of a long track, or how much a frame was adapted to that came after it; nothing where
    that is the whole track."""
    config = result.provenance.get("config") or {}
    if config.get("mode") != "online":
        windows = max((entry.get("window", 0) for entry in result.history), default=0)
        return f"adapted in {windows} windows" if windows else ""
    ahead = config.get("online", {}).get("ahead", 0.0)
    return f"online: adapted to what came until {ahead:g} s after each frame"


def kept_frames(result: Result) -> int:
    """Frames in which more of the base than of the adapted motion is handed out."""
    return 0 if result.base_share is None else int((result.base_share > 0.5).sum())


def label_remarks(result: Result) -> list[str]:
    """A sentence about labels that did nothing or were cut short; none where all is as expected."""
    doubts = list(filter(None, (shut_out(result), short_runs(result))))
    if not doubts:
        return []
    text = "; ".join(filter(None, (gate_opened(result), *doubts)))
    return [f"{text[0].upper()}{text[1:]}."]


def _first_line(result: Result) -> str:
    frames = result.track.frames
    first, last = int(frames[0]), int(frames[-1])
    words = f"track {result.track.id}: {len(frames)} frames ({first} to {last})"
    if not bool(result.evidence.detected.any()):
        words += "; no 2D evidence: nothing to adapt to"
    return words


def _told_body(result: Result) -> str:
    """Which body the settings told; nothing where it is the model's own."""
    shape = (result.provenance.get("config") or {}).get("shape") or {}
    told = (("height", " m"), ("mass", " kg"), ("betas", ""))
    words = [f"{shape[key]}{unit} (shape.{key})" for key, unit in told if shape.get(key)]
    return f"one body as told: {', '.join(words)}" if words else ""


def _from_to(name: str, values: dict[str, float], unit: str) -> str:
    base, adapted = values["base"], values["adapted"]
    if not (math.isfinite(base) and math.isfinite(adapted)):
        return ""
    digits = 1 if unit == "px" or max(base, adapted) >= 10 else 2
    return f"{name} {base:.{digits}f} -> {adapted:.{digits}f} {unit}"


def _of_labels(result: Result) -> list[str]:
    labelled = covered(result.labels)
    if not labelled:
        return ["no labels used: the alignment term was off"]
    words = [f"labels cover {labelled} of {len(result.labels)} frames", gate_opened(result)]
    words += [shut_out(result), short_runs(result)]
    words.append(f"{100 * result.evidence.filled_share():.0f} % of missing joints filled")
    return [word for word in words if word]
