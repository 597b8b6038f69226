"""Whether labels did anything: in which of their frames motion and text agreed."""

from __future__ import annotations

from torch import Tensor

from semtta.tta.result import Result

_MOST = 4  # labels that are named


def open_frames(result: Result) -> Tensor | None:
    """(T,) bool, in which frames the gate was open at the end; None without labels or a gate."""
    if result.gate_similarity is None or result.sigma is None:
        return None
    return result.gate_similarity > result.sigma  # NaN is above nothing


def gate_opened(result: Result) -> str:
    """A phrase like "gate open in 41 of 70 frames ('walk')"; "" without labels or a gate."""
    opened = open_frames(result)
    if opened is None:
        return ""
    frames: dict[str, list[bool]] = {}
    for label, is_open in zip(result.labels, opened.tolist(), strict=True):
        if label:
            frames.setdefault(label, []).append(is_open)
    if not frames:
        return ""
    said = [f"{sum(shown)} of {len(shown)} frames ('{label}')" for label, shown in frames.items()]
    rest = f" and of {len(said) - _MOST} more labels" if len(said) > _MOST else ""
    return f"gate open in {', '.join(said[:_MOST])}{rest}"
