"""What each setting of an adaptation may be: the words of those that choose, bounds of numbers."""

from __future__ import annotations

MAX_SEED = 2**63 - 1

CHOICES = {
    "strategy": ("semtta", "cycleadapt", "discriminator", "unpaired", "frozen"),
    "select": ("adapted", "auto", "base"),
    "optimizer.schedule": ("cosine", "warmup_cosine"),
    "alignment.text": ("label", "random"),
    "cycleadapt.targets": ("fresh", "stale"),
    "camera.motion": ("unknown", "static"),
    "model.trainable": ("all", "last", "head", "norm", "frames"),
    "optimizer.precision": ("auto", "fp32", "bf16"),
    "body.gender": ("neutral", "male", "female"),
    "reprojection.reduction": ("all", "visible"),
    "alignment.target": ("one", "label"),
    "alignment.reach": ("all", "unseen", "undecided"),
    "gate.prior": ("same", "independent"),
    "gate.source": ("current", "unaligned", "completed"),
    "gate.guards": ("fill", "label"),
    "alignment.translation": ("zeros", "ankle"),
    "smoothing.kind": ("denoiser", "mdnet", "gaussian", "none"),
    "shape.mode": ("track", "per_frame"),
    "closing.filter": ("spline", "none"),
    "closing.path": ("track", "frames"),
    "hold.to": ("base", "completed"),
    "evidence.update": ("ema", "none"),
    "smoothing.shape_target": ("window", "first"),
    "smoothing.fit_windows": ("pass", "drawn"),
    "smoothing.fit_state": ("kept", "fresh"),
    "evidence.fill_source": ("prediction", "completed"),
    "evidence.fill_weight": ("one", "similarity"),
    "evidence.fill_limbs": ("all", "legs"),
    "labels.text": ("auto", "table", "minilm"),
}
_WEIGHT = (0.0, 1e6)
_RATE = (0.0, 1e3)  # of learning; far above any that converges
# Least and most of every numeric setting. The upper ends are far beyond use: they keep a slip of
# the finger or a stranger's file from asking for days or for all memory.
BOUNDS = {
    "seed": (0, MAX_SEED),
    "camera.focal": (1.0, 1e7), "camera.center": (-1e7, 1e7), "detector.size": (64, 2048),
    "optimizer.lr": _RATE, "optimizer.min_lr": _RATE, "optimizer.betas": (0.0, 0.999999),
    "optimizer.epochs": (0, 10_000), "optimizer.batch_segments": (1, 10_000),
    "optimizer.batch_frames": (1, 100_000), "optimizer.coverage": (0.01, 1000.0),
    "optimizer.steps_per_epoch": (1, 100_000), "optimizer.chunk": (1, 100_000),
    "optimizer.anchor": (0.0, 1.0),
    "reprojection.weight": _WEIGHT,
    "alignment.weight": _WEIGHT, "alignment.from_epoch": (0, 10_000),
    "alignment.stride": (1, 10_000), "gate.sigma": (-10.0, 10.0),
    "smoothing.weight": _WEIGHT, "smoothing.unseen_weight": _WEIGHT,
    "smoothing.guidance": (0.0, 100.0), "smoothing.arm_guess": (0.0, 1.0),
    "smoothing.shape_weight": _WEIGHT, "smoothing.sigma": (1e-3, 10.0),
    "smoothing.fit_steps": (0, 100_000), "smoothing.fit_lr": _RATE,
    "smoothing.from_epoch": (0, 10_000),
    "shape.height": (0.3, 3.0), "shape.mass": (1.0, 600.0),
    "closing.cutoff": (0.1, 1000.0), "closing.along": (1e-3, 1e4),
    "closing.across": (1e-3, 1e4), "closing.noise": (1e-4, 1.0),
    "hold.after": (1e-3, 1e6),
    "evidence.min_confidence": (0.0, 1e6), "evidence.alpha": (0.0, 1.0),
    "evidence.fill_from_epoch": (0, 10_000), "evidence.robust": (1e-6, 1e6),
    "evidence.heldout": (0.0, 0.25),
    "evidence3d.weight": _WEIGHT,
    "discriminator.weight": _WEIGHT, "discriminator.hidden": (1, 16_384),
    "discriminator.lr": _RATE, "discriminator.weight_decay": (0.0, 10.0),
    "unpaired.weight": _WEIGHT,
    "labels.min_confidence": (0.0, 1.0), "labels.frames": (4, 8),
    "labels.max_requests": (0, 1_000_000), "labels.timeout": (0.1, 86_400.0),
    "labels.retries": (0, 100), "labels.price": (0.0, 1e6),
}  # fmt: skip
