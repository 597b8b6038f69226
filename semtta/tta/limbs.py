"""Which limbs the evidence shows: a good fit says nothing about the others."""

from __future__ import annotations

from semtta.tta.evidence import Evidence
from semtta.tta.result import Result

_PARTS = {"leg": ("knee", "ankle"), "arm": ("elbow", "wrist")}


def seen_limbs(evidence: Evidence) -> dict[str, float]:
    """Share of each limb's joints that were seen, over all frames."""
    skeleton, shares = evidence.raw.skeleton, {}
    for limb, joints in _PARTS.items():
        for side in ("left", "right"):
            names = [f"{side}_{joint}" for joint in joints if f"{side}_{joint}" in skeleton]
            if names:
                shown = evidence.detected[:, skeleton.indices(names)]
                shares[f"{side} {limb}"] = float(shown.double().mean())
    return shares


def never_seen(result: Result) -> str:
    """A sentence about limbs that no frame shows, "" if there are none."""
    limbs = [limb for limb, share in seen_limbs(result.evidence).items() if share == 0]
    if not limbs or not bool(result.evidence.detected.any()):
        return ""
    names = ", ".join(limbs)
    if not result.history:
        return f"never seen: {names} (the network's guess)"
    config = result.provenance.get("config", {})
    hold, smoothing = config.get("hold", {}), config.get("smoothing", {})
    if hold.get("after") is None:
        return f"never seen: {names} (not fitted, but moved by the fit of the rest)"
    completed = hold["to"] == "completed" and config.get("strategy") == "semtta"
    completed &= smoothing.get("kind") == "denoiser" and smoothing.get("weight", 0) > 0
    maker = "frozen network" + (" and motion model" if completed else "")
    return f"never seen: {names} (as the {maker} had them, not fitted)"
