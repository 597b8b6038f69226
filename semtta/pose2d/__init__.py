"""Domain-adaptive 2D pose: CLIP2Pose (Li et al., AAAI 2026) and its peers."""

from __future__ import annotations

from semtta.lazy import lazy_exports

# Public names and where they live; loaded on first use, so that the command line stays quick.
_EXPORTS = {
    "DomainAdapter": "semtta.pose2d.adapt",
    "Fitted": "semtta.pose2d.adapt",
    "load_checkpoint": "semtta.pose2d.checkpoint",
    "save_checkpoint": "semtta.pose2d.checkpoint",
    "Clip2Pose": "semtta.pose2d.clip2pose",
    "estimate_keypoints": "semtta.pose2d.detect",
    "estimate_track": "semtta.pose2d.detect",
    "Estimator": "semtta.pose2d.estimator",
    "EstimatorSpec": "semtta.pose2d.estimator",
    "evaluate": "semtta.pose2d.evaluate",
    "predict": "semtta.pose2d.evaluate",
    "LAYOUTS": "semtta.pose2d.layouts",
    "load_set": "semtta.pose2d.layouts",
    "Entry": "semtta.pose2d.samples",
    "KeypointSet": "semtta.pose2d.samples",
    "Pose2DConfig": "semtta.pose2d.settings",
    "load_settings": "semtta.pose2d.settings",
    "BODY16": "semtta.pose2d.skeletons",
    "HAND21": "semtta.pose2d.skeletons",
    "render_people": "semtta.pose2d.synth",
    "synthetic_set": "semtta.pose2d.synth",
    "unlabelled_set": "semtta.pose2d.unlabelled",
}

__all__ = sorted(_EXPORTS)
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
