"""Domain-adaptive 2D pose: CLIP2Pose (Li et al., AAAI 2026) and its peers."""

from semtta.pose2d.adapt import DomainAdapter, Fitted
from semtta.pose2d.checkpoint import load_checkpoint, save_checkpoint
from semtta.pose2d.clip2pose import Clip2Pose
from semtta.pose2d.detect import estimate_keypoints, estimate_track
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.pose2d.evaluate import evaluate, predict
from semtta.pose2d.layouts import LAYOUTS, load_set
from semtta.pose2d.samples import Entry, KeypointSet
from semtta.pose2d.settings import Pose2DConfig, load_settings
from semtta.pose2d.skeletons import BODY16, HAND21
from semtta.pose2d.synth import render_people, synthetic_set
from semtta.pose2d.unlabelled import unlabelled_set

__all__ = [
    "BODY16", "HAND21", "LAYOUTS", "Clip2Pose", "DomainAdapter", "Entry", "Estimator",
    "EstimatorSpec", "Fitted", "KeypointSet", "Pose2DConfig", "estimate_keypoints",
    "estimate_track", "evaluate", "load_checkpoint", "load_set", "load_settings", "predict",
    "render_people", "save_checkpoint", "synthetic_set", "unlabelled_set",
]  # fmt: skip
