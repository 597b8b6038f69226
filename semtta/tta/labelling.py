"""Labels from what the detector saw, by retrieval."""

from __future__ import annotations

from semtta.geometry import Camera
from semtta.hmr.features import seen_landmarks
from semtta.keypoints import Track
from semtta.labels import LabelSpan
from semtta.motion.landmark_encoder import Landmarks
from semtta.motion.retrieval import Retrieval


def retrieved_labels(retrieval: Retrieval, track: Track, camera: Camera) -> list[LabelSpan]:
    """What the person seems to do, as spans in frames of the video.

    Args:
        retrieval: names what landmarks show.
        track: with the detector's landmarks.
        camera: intrinsics of the image."""
    found = retrieval.name(Landmarks(*seen_landmarks(track, camera)), track.times)
    return [
        LabelSpan(
            named.text, int(track.frames[named.start]), int(track.frames[named.stop - 1]) + 1,
            track.id, "prior", named.confidence, tuple(name for name, _ in named.others[:3]),
        )
        for named in found
    ]  # fmt: skip
