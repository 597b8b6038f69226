"""Which images a run sees: the paper's sets from their folders, or open ones that need none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from semtta.bench.beam import BeamTrackTruth, beam_truth, open_beam
from semtta.bench.beam_variants import pixels
from semtta.errors import SemttaError
from semtta.pose2d.augment import NO_CHANGE
from semtta.pose2d.layouts import LAYOUTS, coco_set, square_around
from semtta.pose2d.runs import labelled_set, open_set
from semtta.pose2d.samples import Entry, KeypointSet, cut_crop
from semtta.pose2d.settings import DataConfig
from semtta.pose2d.skeletons import BODY16, grouped_skeleton
from semtta.pose2d.unlabelled import BOX_SCALE, unlabelled_set
from semtta.shipped import asset
from semtta.skeletons import LIMB12
from semtta.video import VIDEO_ENDINGS, read_frames, video_files

# Sets that need no folder: four clips of one man on a beam, the same with a person in front, the
# first ones dark, blurred, noisy and compressed; the shipped clip.
BEAM = ("beam", "beam_occluded", "beam_degraded")
OPEN = ("renders", *BEAM, "clip")
# Of tables of hands: those of one renderer as the source, those of the other one as the target
OPEN_HANDS = ("renders", "hands_flat")
_FLAT_SEED, _FLAT_TRAIN, _FLAT_TEST = 1_000_003, 2000, 500  # other hands than the source's
_CLIP_CAMERA = 1  # the shipped clip is camera 2, with a person in front


@dataclass(frozen=True)
class Size:
    """Of a run on open data.

    Args:
        target: of bodies, where nobody names another one; the source are renders.
        also: sets that are only measured on, where the target is one of theirs.
        settings: ``key=value`` for every method and stage 1.
        stage1, steps: ``key=value`` for stage 1 alone, and for what follows it.
    """

    target: str
    also: tuple[str, ...]
    settings: tuple[str, ...]
    stage1: tuple[str, ...]
    steps: tuple[str, ...]


# A few hundred steps of a small network: teachers that follow as fast, one round of labels
_SMALL = (
    "estimator.backbone=efficientnet_lite0", "estimator.sigma=1.5", "estimator.subpixel=true",
    "source.kind=renders", "source.cache=true", "optimizer.workers=1", "optimizer.epochs=1",
    "optimizer.precision=fp32", "augment.rotation=30", "augment.shear=10",
    "augment.scale=[0.75,1.25]", "augment.translate=0.06", "adversary.hidden=256",
    "clip2pose.text=builtin", "clip2pose.layers=0", "uniframe.momentum=0.98", "mdam.momentum=0.98",
    "sfhpe.momentum=0.98",
)  # fmt: skip
_FAST = ("optimizer.name=adam", "optimizer.lr=1e-3", "optimizer.schedule=cosine", "loss=sum")
SIZES = {
    "open": Size(
        "beam", BEAM,
        (*_SMALL, "estimator.size=128", "estimator.deconv=128", "source.count=8000"),
        (*_FAST, "optimizer.iterations=3000"), ("optimizer.iterations=300",),
    ),
    "quick": Size(
        "clip", (),
        (*_SMALL, "estimator.size=64", "estimator.deconv=16", "source.count=200",
         "optimizer.batch=8", "cc_ssl.views=2"),
        (*_FAST, "optimizer.iterations=60"), ("optimizer.iterations=15",),
    ),
}  # fmt: skip


def parse_roots(words: Sequence[str]) -> dict[str, Path]:
    """``LSP=FOLDER`` words to folders by set; raises ``SemttaError`` for an unknown set."""
    roots = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not equals or not folder or name.lower() not in LAYOUTS:
            raise SemttaError(f"--root must be SET=FOLDER with a set of {', '.join(LAYOUTS)}, not "
                              f"'{word}'.")  # fmt: skip
        roots[name.lower()] = Path(folder)
    return roots


def is_root(word: str) -> bool:
    """Whether a word names the folder of a data set, and is no setting."""
    return word.partition("=")[0].lower() in LAYOUTS and "=" in word


def open_images(
    name: str, part: str, skeleton: str, size: int, data: DataConfig,
    roots: Mapping[str, Path], wheel: str | None = None,
) -> KeypointSet:  # fmt: skip
    """The images of one set.

    Args:
        name: of ``LAYOUTS``, ``OPEN`` or ``OPEN_HANDS``, or a COCO-style folder, or videos.
        part: ``train`` or ``test``.
        data: settings of a source that is rendered.
        wheel: package file of the beam clips.

    Raises ``SemttaError`` if they are not there."""
    if name == "renders":
        return open_set(data, skeleton, size)
    if name == "hands_flat":
        return flat_hands(part, size, data)
    if name in BEAM:
        images = beam_set("occluded" if name == "beam_occluded" else "clean", wheel, size)
        return degraded(images) if name == "beam_degraded" else images
    if name == "clip":
        return clip_set(size)
    if is_unlabelled(name):
        return strangers(Path(name), skeleton, size)
    if name not in LAYOUTS:
        return coco_set(name, grouped_skeleton(skeleton)).cached(size)
    if name not in roots:
        raise SemttaError(f"data set '{name}' has no folder; give --root {name.upper()}=FOLDER.")
    if part == "test":
        return labelled_set(name, roots[name], None, size, skeleton)
    return open_set(DataConfig(name, str(roots[name]), cache=False), skeleton, size)


def is_unlabelled(target: str) -> bool:
    """Whether a target is a video, or a folder of videos, that nobody has labelled."""
    path = Path(target)
    if path.is_dir():
        return not (path / "annotations.json").is_file() and bool(video_files(path))
    return path.is_file() and path.suffix.lower() in VIDEO_ENDINGS


def strangers(path: Path, skeleton: str, size: int) -> KeypointSet:
    """Everybody whom the built-in detector follows in a video or a folder of videos; no labels."""
    joints, entries = grouped_skeleton(skeleton), list[Entry]()
    for video in video_files(path) if path.is_dir() else [path]:
        entries += unlabelled_set(video, joints, size, boxes="people").entries
    return KeypointSet(path.name, joints, entries)


def flat_hands(part: str, size: int, source: DataConfig) -> KeypointSet:
    """Hands of the other renderer, for training or for testing; of a small source as few."""
    testing = part == "test"
    count = min(source.count, _FLAT_TEST if testing else _FLAT_TRAIN)
    data = DataConfig("renders", split="flat", count=count, seed=_FLAT_SEED + testing)
    return open_set(data, "hand21", size)


def beam_set(level: str, wheel: str | None, size: int) -> KeypointSet:
    """All frames of the four clips of a level, around the boxes of the built-in detector."""
    benchmark = open_beam(wheel, levels=(level,))
    entries = []
    for item in benchmark.items():
        sample = benchmark.load(item)
        assert isinstance(sample.truth, BeamTrackTruth) and sample.video is not None
        truth = sample.truth.clip
        points = pixels(truth.joints, truth.camera).numpy()
        boxes = dict(zip(sample.track.frames.tolist(), sample.track.boxes.numpy()))
        for index, _, image in read_frames(sample.video):
            if index in boxes and index < len(points):
                box = boxes[index]
                entries.append(_frame(image, points[index], box[:2], box[2:], BOX_SCALE, size,
                                      f"{item.name}, frame {index}"))  # fmt: skip
    return KeypointSet(f"beam-{level}", BODY16, entries)


def clip_set(size: int, scale: float = 1.4) -> KeypointSet:
    """The frames of the shipped clip, around the true joints: no detector has to look."""
    truth = beam_truth(_CLIP_CAMERA, with_occluder=True)
    points = pixels(truth.joints, truth.camera).numpy()
    entries = []
    for index, _, image in read_frames(asset("demo/cam02_occluded.mp4")):
        if index < len(points):
            low, high = points[index].min(0), points[index].max(0)
            entries.append(_frame(image, points[index], low, high, scale, size,
                                  f"shipped clip, frame {index}"))  # fmt: skip
    return KeypointSet("shipped clip", BODY16, entries)


def _frame(
    image: np.ndarray, limbs: np.ndarray, low: np.ndarray, high: np.ndarray, scale: float,
    size: int, name: str,
) -> Entry:  # fmt: skip
    """A frame cut now: whole frames of all clips would fill the memory."""
    places = BODY16.indices(LIMB12.joints)
    xy, weight = np.zeros((len(BODY16), 2)), np.zeros(len(BODY16))
    xy[places], weight[places] = limbs, 1
    square = square_around(low, high, scale)
    crop = cut_crop(Entry(image, square, xy, weight, name=name), size, NO_CHANGE)
    return Entry(crop.image, None, crop.xy, crop.weight, name=name)


def degraded(images: KeypointSet) -> KeypointSet:
    """The same crops as a bad camera in a dark room sees them; the same noise every time."""

    def spoil(index: int, entry: Entry) -> Entry:
        assert isinstance(entry.image, np.ndarray)
        rng = np.random.default_rng([7, index])
        x = cv2.GaussianBlur(entry.image.astype(np.float32), (0, 0), 1.0)
        x = 255 * (x / 255) ** 1.6 * 0.5 + rng.normal(0, 8, x.shape)
        spoilt = x.clip(0, 255).astype(np.uint8)
        _, coded = cv2.imencode(".jpg", spoilt, (cv2.IMWRITE_JPEG_QUALITY, 30))
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert image is not None  # it was written a line above
        return replace(entry, image=image)

    entries = [spoil(i, entry) for i, entry in enumerate(images.entries)]
    return KeypointSet(f"{images.name}, degraded", images.skeleton, entries)
