"""What the commands do: sets and estimators from settings, training, evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from semtta.body import load_body
from semtta.engine import Progress, pick_device, silent
from semtta.errors import SemttaError
from semtta.files import check_writable, whole_file
from semtta.pose2d.adapt import DomainAdapter, Fitted
from semtta.pose2d.backbones import load_imagenet
from semtta.pose2d.checkpoint import load_checkpoint, save_checkpoint
from semtta.pose2d.clip2pose import Clip2Pose
from semtta.pose2d.estimator import Estimator
from semtta.pose2d.layouts import LAYOUTS, load_set
from semtta.pose2d.samples import KeypointSet
from semtta.pose2d.settings import KINDS, SOURCE_FREE, TEXT, DataConfig, Pose2DConfig
from semtta.pose2d.skeletons import HAND21, GroupedSkeleton, grouped_skeleton
from semtta.pose2d.synth import synthetic_set
from semtta.pose2d.synth_hand import STYLES, hand_set
from semtta.pose2d.text import clip_path
from semtta.pose2d.unlabelled import unlabelled_set

_MANY = 2000  # renders from which on a second process pays


def open_set(
    data: DataConfig, skeleton: str, size: int, progress: Progress = silent
) -> KeypointSet:
    """The images that a part of the settings names.

    Raises ``SemttaError`` if it names none, or they are not there."""
    joints = grouped_skeleton(skeleton)
    if data.kind == "renders":
        return _renders(data, joints, size)
    if data.root is None:
        raise SemttaError(f"data of kind '{data.kind}' needs its folder.")
    if data.kind == "frames":
        found = unlabelled_set(data.root, joints, size, data.boxes, progress)
    else:
        found = load_set(data.kind, data.root, data.split, joints)
    if found.skeleton != joints:
        raise SemttaError(f"the set '{found.name}' has skeleton '{found.skeleton.name}', but the "
                          f"estimator '{skeleton}'.")  # fmt: skip
    absent = found.missing()
    if absent:
        raise SemttaError(f"the set '{found.name}' lacks {len(absent)} of its images, first "
                          f"'{absent[0]}'.")  # fmt: skip
    return found.cached(size) if data.cache else found


def _renders(data: DataConfig, joints: GroupedSkeleton, size: int) -> KeypointSet:
    """Bodies, or hands of the style that ``split`` names."""
    processes = 2 if data.count >= _MANY else 1
    if joints == HAND21:
        style = data.split or STYLES[0]
        return hand_set(data.count, data.seed, size, style, processes=processes)
    if data.split is not None:
        raise SemttaError(f"renders of bodies have no part '{data.split}'; those of hands have "
                          f"{' and '.join(STYLES)}.")  # fmt: skip
    return synthetic_set(data.count, data.seed, size, load_body("cc0"), processes=processes)


def open_estimator(config: Pose2DConfig, device: torch.device) -> Estimator:
    """A new estimator, with ImageNet weights where they are given, or the one of a checkpoint."""
    settings = config.estimator
    if settings.checkpoint is not None:
        model = load_checkpoint(settings.checkpoint, device)
        if isinstance(model, Clip2Pose):
            raise SemttaError(f"'{settings.checkpoint}' is adapted already; go on from the "
                              "checkpoint of `semtta pose2d train`.")  # fmt: skip
        return _channels_last(model)
    torch.manual_seed(config.seed)
    estimator = Estimator(settings.spec())
    if settings.imagenet is not None:
        load_imagenet(estimator.backbone, settings.imagenet)
    return _channels_last(estimator.to(device))


def _channels_last(estimator: Estimator) -> Estimator:
    """With the layout of weights in which convolutions are faster."""
    return estimator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped


def run_training(
    config: Pose2DConfig, output: Path, *, needs_target: bool, overwrite: bool = False,
    progress: Progress = silent,
) -> tuple[Path, Fitted]:  # fmt: skip
    """Train or adapt, and write ``model.pt`` and ``history.json`` to a folder.

    Everything is opened before the first step, and nothing is replaced without ``overwrite``."""
    file = output / "model.pt"
    if file.exists() and not overwrite:
        raise SemttaError(f"'{file}' exists; choose another --output or add --overwrite.")
    check_writable(output)
    check_inputs(config, needs_target)
    device = pick_device(config.device)
    estimator = open_estimator(config, device)
    spec = estimator.spec
    source = target = None
    if config.strategy not in SOURCE_FREE:
        source = open_set(config.source, spec.skeleton, spec.size, progress)
    if needs_target:
        target = open_set(config.target, spec.skeleton, spec.size, progress)
    fitted = DomainAdapter(estimator, config).fit(source, target, progress=progress)
    with whole_file(output / "history.json") as temporary:
        temporary.write_text(json.dumps(fitted.history, indent=1), encoding="utf8")
    return save_checkpoint(file, fitted.model, config), fitted


def check_inputs(config: Pose2DConfig, needs_target: bool) -> None:
    """Raise ``SemttaError`` for what can be known to fail before minutes of rendering."""
    if not needs_target and config.strategy != "source_only":
        raise SemttaError(f"strategy '{config.strategy}' needs a target; use `semtta pose2d adapt` "
                          "or strategy=source_only.")  # fmt: skip
    source = {} if config.strategy in SOURCE_FREE else {"source": config.source}
    opened = source | ({"target": config.target} if needs_target else {})
    for name, data in opened.items():
        if data.kind == "renders":
            continue
        if data.root is None:
            raise SemttaError(f"data of kind '{data.kind}' needs its folder; give {name}.root.")
        if not Path(data.root).exists():
            raise SemttaError(f"there is no folder or video '{data.root}': {name}.root does not "
                              "exist.")  # fmt: skip
    if config.strategy in SOURCE_FREE and config.estimator.checkpoint is None:
        raise SemttaError(f"strategy '{config.strategy}' sees no source; give an estimator that "
                          "was trained on one: estimator.checkpoint=FILE.")  # fmt: skip
    check_assets(config)


def check_assets(config: Pose2DConfig) -> None:
    """Raise ``SemttaError`` if a file of weights that the settings name or need is not there."""
    weights = config.estimator.imagenet
    if weights is not None and not Path(weights).is_file():
        raise SemttaError(f"there is no ImageNet checkpoint '{weights}' for the backbone.")
    reads = config.strategy in TEXT and config.clip2pose.sdp
    if reads and config.clip2pose.text == "clip":
        clip_path(config.clip2pose.clip)


def labelled_set(
    kind: str, root: Path | None, split: str | None, model_size: int, skeleton: str
) -> KeypointSet:
    """A set for evaluation: the split for testing where none is named.

    Raises ``SemttaError`` if it is no labelled set, or not there."""
    if kind == "frames":
        raise SemttaError("frames have no labels to measure by; use a labelled data set.")
    if kind not in KINDS:
        raise SemttaError(f"unknown data set '{kind}'; use one of {', '.join(KINDS)}.")
    if kind == "renders":
        # never a training seed by chance
        other = DataConfig(kind, split=split, count=500, seed=1_000_003)
        return open_set(other, skeleton, model_size)
    if root is None:
        raise SemttaError(f"--data {kind} needs its folder; give --root FOLDER.")
    if kind in LAYOUTS:
        split = split or LAYOUTS[kind].test_split
    return open_set(DataConfig(kind, str(root), split, cache=False), skeleton, model_size)


def named_checkpoints(words: Sequence[str]) -> list[tuple[str, Path]]:
    """``NAME=FILE``, or a file alone, whose folder is its name, to names and files."""
    found = []
    for word in words:
        name, equals, file = word.partition("=")
        if Path(word).exists() or not equals or not name:
            found.append((Path(word).absolute().parent.name, Path(word)))
        else:
            found.append((name, Path(file)))
    return found


def thresholds(text: str) -> Sequence[float]:
    """``0.05,0.1`` -> numbers; raises ``SemttaError`` for anything else."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < value <= 1 for value in values):
        raise SemttaError(f"--pck must be shares of the crop like 0.05,0.1, not '{text}'.")
    return values
