"""What a benchmark is to the code that runs methods on it: a list of items, each with truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from semtta.body import Body
from semtta.geometry import Camera
from semtta.keypoints import Track
from semtta.tta.result import Motion
from semtta.video import ImageSequence


@dataclass(frozen=True)
class Item:
    """One track of a benchmark, before anything is read.

    Args:
        name: unique within the benchmark, the same in every run.
        sequence: what a per-sequence table groups by.
        level: variant or difficulty ("clean", "medium"), empty where there is only one.
        label: what the person does, where one text holds for the whole track.
        group: tracks of one group depend on each other (all motion of one performer, people of one
            video); confidence intervals resample groups.
        part: what of a benchmark with several parts it belongs to ("new action").
    """

    name: str
    sequence: str
    level: str = ""
    label: str | None = None
    group: str = ""
    part: str = ""


class Truth(Protocol):
    """What a track really was, under the benchmark's protocol."""

    def score(self, motion: Motion, body: Body) -> dict[str, float | None]:
        """Means over the track's counted frames, body on the CPU.

        Keys: ``frames`` (how many counted), ``mpjpe_mm``, ``pa_mpjpe_mm``, ``accel_mm``; where it
        makes sense ``accel_m_s2``, ``mpvpe_mm``, ``occluded`` (joint-frames),
        ``mpjpe_occluded_mm``, ``pa_mpjpe_occluded_mm``; where the truth has a place in front of
        the camera what ``metrics.steadiness`` says, and ``foot_slide_mm``; of limb joints what
        ``gait.legs_over_time`` says. None = nothing to measure."""
        ...


@dataclass(frozen=True)
class Sample:
    """One item, read.

    Args:
        item: which.
        track: 2D evidence.
        camera: of the full image.
        labels: one text or None per frame.
        wrong_label: the name of another action, for the control with a wrong label.
        truth: measures motions of this track.
        video: file, folder or list of images, for models that read images.
    """

    item: Item
    track: Track
    camera: Camera
    labels: Sequence[str | None]
    truth: Truth
    wrong_label: str = "sit on a chair"
    video: Path | ImageSequence | None = None


class Benchmark(Protocol):
    """A set of tracks with truth. Picklable: worker processes get a copy.

    Attributes:
        name: "beam", "3dpw", ...
        protocol: name of the protocol, stored and printed with every number.
        limits: sentences printed beneath every table.
    """

    @property
    def name(self) -> str: ...

    @property
    def protocol(self) -> str: ...

    @property
    def limits(self) -> str: ...

    def items(self) -> list[Item]:
        """All tracks in a fixed order; cheap, reads no image.

        Raises ``SemttaError`` if files are missing, with the sentence that mends it."""
        ...

    def load(self, item: Item) -> Sample:
        """Read one track with its evidence and truth."""
        ...
