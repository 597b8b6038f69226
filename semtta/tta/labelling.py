"""Labels from the base model's own prediction, by retrieval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from semtta.geometry import Camera
from semtta.keypoints import Track
from semtta.labels import LabelSpan
from semtta.motion.retrieval import Retrieval
from semtta.tta.adapter import Adapter
from semtta.video import ImageSequence


def base_rotmats(
    adapter: Adapter,
    track: Track,
    camera: Camera,
    video: str | Path | ImageSequence | None = None,
) -> Tensor:
    """What the adapter's model makes of a track before any adaptation: (T, 24, 3, 3), CPU."""
    config = replace(adapter.config, strategy="frozen")
    frozen = Adapter(adapter.model, config=config, body=adapter.body)
    return frozen.adapt(track, camera, video=video).base.rotmats


def retrieved_labels(
    adapter: Adapter,
    retrieval: Retrieval,
    track: Track,
    camera: Camera,
    video: str | Path | ImageSequence | None = None,
) -> list[LabelSpan]:
    """What the person seems to do, as spans in frames of the video.

    Args:
        adapter: with the model that predicts.
        retrieval: names motions.
        track, camera, video: as for ``Adapter.adapt``."""
    found = retrieval.name(base_rotmats(adapter, track, camera, video), track.times)
    return [
        LabelSpan(
            named.text, int(track.frames[named.start]), int(track.frames[named.stop - 1]) + 1,
            track.id, "prior", named.confidence, tuple(name for name, _ in named.others[:3]),
        )
        for named in found
    ]  # fmt: skip
