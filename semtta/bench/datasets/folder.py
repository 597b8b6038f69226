"""A data set on disk as a benchmark: everything that the sets have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from semtta.bench.benchmark import Item, Sample
from semtta.bench.datasets.evidence import DETECT, find_evidence, require_folder
from semtta.bench.datasets.recording import BodyTruth, JointTruth, Recording
from semtta.bench.datasets.truth import TrackTruth, require_bodies
from semtta.bench.protocols import Protocol
from semtta.config_schema import LabelsConfig
from semtta.doctor import Finding
from semtta.errors import SemttaError
from semtta.keypoints import Track
from semtta.labels import Labels, as_labels
from semtta.reading import read_json, reading

_SMALLEST_BOX = 2.0  # pixels


@dataclass(frozen=True)
class DataSet:
    """One data set: a row of the table in ``bench.datasets``.

    Args:
        name: on the command line.
        title: in tables.
        splits: that it has.
        items: (root, split) -> its tracks; reads annotations only.
        read: (root, item, protocol) -> one of them.
        findings: (root, split) -> what is there and what is missing; raises nothing.
        own_2d: what its own 2D joints are.
        genders: of its true bodies, empty if it has none.
        limits: sentences for beneath a table.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    items: Callable[[Path, str], list[Item]]
    read: Callable[[Path, Item, Protocol], Recording]
    findings: Callable[[Path, str], list[Finding]]
    own_2d: str
    genders: tuple[str, ...] = ()
    limits: str = ""


@dataclass(frozen=True)
class FolderBenchmark:
    """The tracks of a data set under one protocol (a ``bench.benchmark.Benchmark``).

    Args:
        data: which set.
        root: its folder.
        rules: the protocol.
        splits: of the set.
        poses2d: 2D evidence, see :func:`find_evidence`.
        labels: folder of ``<track or sequence>.json`` (or ``<sequence>/labels.json``), or one
            JSON object {track or sequence: text}; None = no labels. Frames count as in the
            names of the set's images.
        body_models: folder searched first for SMPL bodies and regressors.
        model_box_scale: ``crop.box_scale`` of the network that will run. A network enlarges
            ``Track.boxes`` by this factor itself, so the boxes here are the person's extent
            times ``rules.box_scale / model_box_scale``: the crop has the protocol's size once,
            whatever the network. With the default, 1, the boxes are the protocol's crops.
        min_confidence: labels below it count as none (``labels.min_confidence``).
    """

    data: DataSet
    root: Path
    rules: Protocol
    splits: tuple[str, ...]
    poses2d: str | Path | None = None
    labels: Path | None = None
    body_models: Path | None = None
    model_box_scale: float = 1.0
    min_confidence: float = LabelsConfig.min_confidence

    @property
    def name(self) -> str:
        return self.data.name

    @property
    def protocol(self) -> str:
        return self.rules.name

    @property
    def limits(self) -> str:
        source = self.data.own_2d if self.poses2d is None else "2D joints brought by the user"
        if str(self.poses2d) == DETECT:
            source = "2D joints by the built-in detector, matched to the true boxes"
        return " ".join(part for part in (
            self.rules.describe(), f"2D: {source}.", self.data.limits) if part)  # fmt: skip

    def fitted(self, box_scale: float, min_confidence: float) -> FolderBenchmark:
        """The same for a network with this ``crop.box_scale`` and labels at least so sure."""
        return replace(self, model_box_scale=box_scale, min_confidence=min_confidence)

    def items(self) -> list[Item]:
        self._require_files()
        with reading(self.root, self.data.title):
            found = [item for split in self.splits for item in self.data.items(self.root, split)]
        if not found:
            raise SemttaError(f"'{self.root}' holds no {self.data.title} track of this split.")
        return [replace(item, label=self._common_label(item)) for item in found]

    def load(self, item: Item) -> Sample:
        with reading(self.root, f"{self.data.title}, track {item.name}, in"):
            whole = self.data.read(self.root, item, self.rules)
        counted = self._counted(whole, item)
        recording = _take(whole, counted)
        if not recording.camera.focal > 0:
            raise SemttaError(
                f"track {item.name} has the focal length {recording.camera.focal:g}; its camera's "
                "intrinsics are damaged."
            )
        truth = TrackTruth(
            self.rules, recording.truth, recording.frames, recording.images.fps, self.body_models
        )
        found = find_evidence(recording, whole.images, self.poses2d, (item.name, item.sequence))
        track = Track(
            id=recording.person,
            frames=recording.frames,
            times=recording.frames.double() / recording.images.fps,
            boxes=enlarge(recording.boxes, self.rules.box_scale / self.model_box_scale),
            keypoints=found.keypoints,
            landmarks3d=found.landmarks3d,
            conf3d=found.conf3d,
        )
        labels = self._labels(item)
        texts: list[str | None] = [None] * len(track)
        if labels is not None:
            count = len(whole.images.names)
            labels.check(count, count / whole.images.fps)
            texts = labels.for_track(track)
        sits = any("sit" in text for text in texts if text is not None)
        wrong = {"wrong_label": "walk"} if sits else {}
        return Sample(item, track, recording.camera, texts, truth, video=recording.images, **wrong)

    def _require_files(self) -> None:
        if not self.root.is_dir():
            raise SemttaError(f"there is no folder '{self.root}' with {self.data.title}.")
        if self.poses2d is not None and str(self.poses2d) != DETECT:
            require_folder(self.poses2d)
        genders = self.data.genders if self.rules.truth == "gendered" else ()
        require_bodies(self.rules, genders, self.body_models)

    def _counted(self, recording: Recording, item: Item) -> Tensor:
        chosen = torch.ones(len(recording.frames), dtype=torch.bool)
        for name in self.rules.frames:
            chosen &= recording.masks[name]
        if not chosen.any():
            raise SemttaError(
                f"track {item.name} has no frame with {' and '.join(self.rules.frames)}, so "
                f"protocol {self.rules.name} counts nothing of it."
            )
        return torch.nonzero(chosen)[:, 0]

    def _labels(self, item: Item) -> Labels | None:
        labels = self._named_labels(item)
        return None if labels is None else labels.confident(self.min_confidence)

    def _named_labels(self, item: Item) -> Labels | None:
        if self.labels is None:
            return None
        path = Path(self.labels)
        if path.is_dir():
            names = (f"{item.name}.json", f"{item.sequence}.json")
            candidates = [*(path / name for name in names), path / item.sequence / "labels.json"]
            return as_labels(next((file for file in candidates if file.is_file()), None))
        texts = read_json(path, "label file")
        if not isinstance(texts, dict):
            raise SemttaError(f"'{path}' must be an object {{track or sequence: text}}.")
        text = texts.get(item.name, texts.get(item.sequence))
        if text is not None and not isinstance(text, str):
            raise SemttaError(f"'{path}': the label of {item.name} must be a text.")
        return as_labels(text)

    def _common_label(self, item: Item) -> str | None:
        labels = self._labels(item)
        texts = {span.text for span in labels.spans} if labels is not None else set()
        return texts.pop() if len(texts) == 1 else None


def enlarge(boxes: Tensor, factor: float) -> Tensor:
    """(..., 4) x0 y0 x1 y1 grown about their centres; none becomes smaller than two pixels."""
    low, high = boxes[..., :2], boxes[..., 2:]
    middle, half = (low + high) / 2, ((high - low) / 2 * factor).clamp_min(_SMALLEST_BOX / 2)
    return torch.cat((middle - half, middle + half), -1)


def _take(recording: Recording, chosen: Tensor) -> Recording:
    """Only these positions; pictures of other frames are not read."""
    frames = recording.frames[chosen]
    wanted = set(frames.tolist())
    names = tuple(
        name if frame in wanted else None for frame, name in enumerate(recording.images.names)
    )
    truth = recording.truth
    if isinstance(truth, BodyTruth):
        truth = replace(truth, rotmats=truth.rotmats[chosen], betas=truth.betas[chosen])
    else:
        truth = JointTruth(truth.joints[chosen], truth.skeleton)
    return replace(
        recording,
        frames=frames,
        images=replace(recording.images, names=names),
        boxes=recording.boxes[chosen],
        keypoints=recording.keypoints[chosen],
        truth=truth,
        masks={},
    )
