"""semtta: semantics-aware test-time adaptation of human mesh recovery to one video."""

from __future__ import annotations

from semtta.lazy import lazy_exports

__version__ = "0.1.0"

# Public names and where they live; loaded on first use so that `import semtta` is instant.
_EXPORTS = {
    "Adapter": "semtta.tta.adapter",
    "Result": "semtta.tta.result",
    "Keypoints2D": "semtta.keypoints",
    "Track": "semtta.keypoints",
    "TrackedVideo": "semtta.people",
    "SemttaError": "semtta.errors",
    "load_model": "semtta.hmr",
    "load_prior": "semtta.motion",
    "load_body": "semtta.body",
    "load_config": "semtta.config",
    "load_result": "semtta.output.load",
    "export": "semtta.output.exports",
    "compare": "semtta.output.comparison",
    "track_video": "semtta.people",
}

__all__ = sorted(_EXPORTS)
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
