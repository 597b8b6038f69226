"""What came out of one adaptation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from semtta.body import Body
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D, Track
from semtta.motion.phrase_reader import Reading
from semtta.tta.evidence import Evidence
from semtta.tta.heldout import HeldoutErrors
from semtta.video import ImageSequence


@dataclass(frozen=True)
class Motion:
    """One body over T frames in front of the full image's camera.

    Args:
        rotmats: (T, 24, 3, 3) SMPL rotations, global orientation first, camera axes.
        betas: (T, 10).
        trans: (T, 3) metres, camera frame; add it to the body's joints and vertices.
        cam: (T, 3) weak perspective in the crop, as the model gave it.
        landmarks2d: (T, J, 2) projected landmarks of the evidence's skeleton, image pixels.
        trans_raw: (T, 3) metres, as ``cam`` alone gives it, frame by frame.
    """

    rotmats: Tensor
    betas: Tensor
    trans: Tensor
    cam: Tensor
    landmarks2d: Tensor
    trans_raw: Tensor


@dataclass(frozen=True)
class World:
    """The room around a camera that stands still: y up, the floor at y = 0, the camera above x = z
    = 0, x right in the picture.

    Args:
        rotation: (3, 3) from camera axes to the world's.
        ground: metres, height of the floor along the world's y, seen from the camera (negative).
        confidence: in [0, 1], the least of ``checks``; 0 = not found, and the axes are the
            camera's own after half a turn about x.
        checks: what was looked at, by name, each in [0, 1].
        note: the same in one sentence.
    """

    rotation: Tensor
    ground: float
    confidence: float
    checks: dict[str, float]
    note: str


@dataclass(frozen=True)
class Heard:
    """What became of the labels of one track.

    Args:
        seconds: length of the motions that the prior reads; a shorter run of a label is padded, or
            left out (``tta.gated.short_runs``).
        step: seconds between two of its frames.
        readings: what each label is taken for, by its text; none of a prior that does not say.
        opened: labels for which the gate was open in some frame, at any time of the adaptation.
    """

    seconds: float
    step: float
    readings: dict[str, Reading]
    opened: frozenset[str]

    def is_known(self, label: str) -> bool:
        """Whether a motion can show the label; one that cannot pulls nothing."""
        return label not in self.readings or self.readings[label].is_known


R = TypeVar("R", bound="Result")


@dataclass(frozen=True)
class Result:
    """Base and adapted motion of one track, and how it came about. All tensors on the CPU.

    Args:
        track: as detected (frame numbers, times, boxes, 2D evidence).
        base: of the model as it was; adapted: of the model after adaptation.
        camera: intrinsics used for ``trans`` and the projection.
        boxes: (T, 3) square crops, pixels.
        evidence: 2D targets after adaptation, with the epoch in which joints were filled.
        labels: one text or None per frame.
        similarity, gate_similarity: (T,) motion-text similarity after adaptation by the prior
            that pulled and by the one that the gate read; NaN without a label, None without prior.
        sigma: threshold of the gate, None without prior.
        history: one dict of named numbers per epoch.
        provenance: settings, versions and hashes of what was used.
        world: of a camera that stands still, None where nobody asked (``camera.motion``).
        heard: what became of the labels; None without labels or prior, and of a loaded result.
        base_share: (T,) how much of the base is in ``adapted`` in each frame, by ``select``; None =
            nothing anywhere.
        heldout: base and adapted where the fit was shown nothing (``evidence.heldout``), before
            any choice between the two; None = nothing was held out.
    """

    track: Track
    base: Motion
    adapted: Motion
    camera: Camera
    boxes: Tensor
    evidence: Evidence
    labels: list[str | None]
    similarity: Tensor | None
    gate_similarity: Tensor | None
    sigma: float | None
    history: list[dict] = field(default_factory=list)
    provenance: dict = field(default_factory=dict)
    world: World | None = None
    heard: Heard | None = None
    base_share: Tensor | None = None
    heldout: HeldoutErrors | None = None

    def at(self: R, rows: Tensor) -> R:
        """The same in some of its frames only, (N,) rows; whatever it is, it stays of that class.

        What was learnt per epoch is that of all frames."""

        def cut(motion: Motion) -> Motion:
            cuts = {part.name: getattr(motion, part.name)[rows] for part in fields(motion)}
            return replace(motion, **cuts)

        def chosen(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[rows]

        evidence = self.evidence
        of_frames = ("xy", "present", "weight", "filled_in", "raw")
        return replace(
            self,
            track=self.track.at(rows),
            base=cut(self.base), adapted=cut(self.adapted), boxes=self.boxes[rows],
            evidence=replace(evidence,
                             **{name: getattr(evidence, name)[rows] for name in of_frames}),
            labels=[self.labels[row] for row in rows.tolist()],
            similarity=chosen(self.similarity), gate_similarity=chosen(self.gate_similarity),
            base_share=chosen(self.base_share),
            heldout=None if self.heldout is None else self.heldout.at(rows),
        )  # fmt: skip

    def save(
        self,
        folder: str | Path,
        *,
        video: str | Path | ImageSequence | None = None,
        body: Body | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write this track as ``semtta adapt`` does (docs/outputs.md), whole or not at all.

        Args:
            video: for the overlay and the page, which are left out without it, and its frame rate,
                which is else told from the frames' times.
            body: that the result was made with; None = found by what the result says.
            overwrite: replace an earlier result.
        Returns: the folder. Raises ``SemttaError`` for a place that is taken, another video, and a
        body that is not found."""
        from semtta.output.of_result import save

        return save(self, folder, video=video, body=body, overwrite=overwrite)

    @staticmethod
    def load(folder: str | Path, track: int | None = None) -> Result:
        """One track of a result folder; ``semtta.load_result`` reads all of them.

        Args:
            track: its number; None = the only one.
        Raises ``SemttaError`` for a folder that is none, or is damaged."""
        from semtta.output.of_result import load

        return load(folder, track)

    def export(
        self,
        formats: str | Iterable[str],
        output: str | Path,
        *,
        body: Body | None = None,
        every: int | None = None,
        overwrite: bool = False,
    ) -> list[Path]:
        """Write this track in the formats of other programs, see ``semtta.export``.

        Args:
            formats: names, or one text with commas between them.
            output: folder.
            body: as in :meth:`save`.
            every: take every n-th frame for mesh sequences.
        Returns: what was written."""
        from semtta.output.of_result import export_result

        return export_result(self, formats, output, body=body, every=every, overwrite=overwrite)

    def render(
        self,
        path: str | Path,
        video: str | Path | ImageSequence,
        *,
        body: Body | None = None,
        scale: float | None = None,
        layout: str = "side",
    ) -> Path:
        """Draw base and adapted mesh over the video, as ``overlay.mp4`` has them.

        Args:
            path: target .mp4; it appears only when whole.
            body: as in :meth:`save`.
            scale, layout: of the pictures, see ``OverlayOptions``.
        Raises ``SemttaError`` for another video than the result's."""
        from semtta.output.of_result import render

        return render(self, path, video, body=body, scale=scale, layout=layout)

    @property
    def detections(self) -> Keypoints2D:
        """The 2D evidence as it was detected."""
        return self.evidence.raw
