"""Licensed data sets in their official layouts, as benchmarks under named protocols."""

from __future__ import annotations

from pathlib import Path

from semtta.bench.datasets.egobody import EGOBODY
from semtta.bench.datasets.emdb import EMDB
from semtta.bench.datasets.folder import DataSet, FolderBenchmark
from semtta.bench.datasets.mpi3dhp import MPI3DHP
from semtta.bench.datasets.threedpw import THREEDPW
from semtta.bench.protocols import get_protocol
from semtta.errors import SemttaError

__all__ = ["DATASETS", "DataSet", "FolderBenchmark", "get_dataset", "open_dataset"]

DATASETS = {data.name: data for data in (THREEDPW, MPI3DHP, EGOBODY, EMDB)}


def get_dataset(name: str) -> DataSet:
    """A data set by name; raises ``SemttaError`` naming those that are known."""
    if name not in DATASETS:
        raise SemttaError(f"unknown data set '{name}'; known: {', '.join(DATASETS)}.")
    return DATASETS[name]


def open_dataset(
    name: str,
    root: str | Path,
    protocol: str | None = None,
    poses2d: str | Path | None = None,
    labels: str | Path | None = None,
    body_models: str | Path | None = None,
    split: str | None = None,
    model_box_scale: float = 1.0,
) -> FolderBenchmark:
    """A data set on disk under one protocol.

    Args:
        name: 3dpw, 3dhp, egobody or emdb.
        root: folder of the set.
        protocol: by name; None = the set's usual one (spin14, 3dhp17, ego24, emdb24).
        poses2d: None = the set's own 2D joints; "detect" = the built-in detector; else a folder
            with an OpenPose folder, ``.json`` or ``.npz`` per sequence or track.
        labels: folder of label files, or a JSON object {track or sequence: text}.
        body_models: folder searched first for SMPL bodies and joint regressors.
        split: of the set; None = the protocol's.
        model_box_scale: ``crop.box_scale`` of the network that will run, so that the protocol's
            enlargement of the box is not applied twice; see :class:`FolderBenchmark`.
    Raises: ``SemttaError`` for an unknown name, protocol or split; files are looked for by
        ``items`` and ``load``."""
    data = get_dataset(name)
    rules = get_protocol(protocol, name)
    if split is not None and split not in data.splits:
        raise SemttaError(f"data set '{name}' has no split '{split}'; use "
                          f"{', '.join(data.splits)}.")  # fmt: skip
    if not model_box_scale > 0:
        raise SemttaError(f"model_box_scale must be positive, not {model_box_scale}.")
    return FolderBenchmark(
        data=data,
        root=Path(root),
        rules=rules,
        splits=rules.splits if split is None else (split,),
        poses2d=poses2d,
        labels=None if labels is None else Path(labels),
        body_models=None if body_models is None else Path(body_models),
        model_box_scale=model_box_scale,
    )
