"""HMR (Kanazawa et al. 2018): ResNet-50 and an iterative regressor, as SPIN and its heirs use it.

One class reads the checkpoints of SPIN (batch norm, 331 keys) and of CycleAdapt, BOA and DynaBOA
(group norm, 172 keys); the keys themselves tell which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.errors import SemttaError
from semtta.hmr.base import Batch, Prediction, check_images, parameters_of
from semtta.hmr.iterative import IterativeRegressor, with_mean_params
from semtta.hmr.preprocess import ImageCropSpec
from semtta.hmr.resnet import ResNet50, batch_norm, group_norm, pool
from semtta.shipped import file_sha256

_WHAT = "an HMR checkpoint (SPIN, CycleAdapt, BOA or DynaBOA)"

# SPIN and BOA see 1.2 times the person's box, CycleAdapt and DynaBOA the box itself.
SPIN_CROP = ImageCropSpec(size=224, box_scale=1.2, rule="rounded")
CYCLEADAPT_CROP = ImageCropSpec(size=224, box_scale=1.0)
DYNABOA_CROP = ImageCropSpec(size=224, box_scale=1.0, rule="rounded")
CROPS = {
    "spin": SPIN_CROP, "boa": SPIN_CROP, "cycleadapt": CYCLEADAPT_CROP, "dynaboa": DYNABOA_CROP,
}  # fmt: skip


@dataclass(frozen=True)
class HMRSettings:
    """Size of the network; the default is the released one (27 million parameters).

    Args:
        width: channels of ResNet's stem.
        blocks: of its stages.
        hidden: width of the regressor.
    """

    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    hidden: int = 1024

    @staticmethod
    def tiny() -> HMRSettings:
        """A network of the same classes that runs in milliseconds."""
        return HMRSettings(4, (1, 1, 1, 1), 32)


class HMR(ResNet50, IterativeRegressor):
    """``HumanMeshRegressor`` that reads normalised RGB crops of 224 pixels.

    Norms always use the statistics of the checkpoint; dropout is active after ``train()`` only.

    Args:
        norm: "batch" (SPIN) or "group" (CycleAdapt, BOA, DynaBOA).
        sha256: hash of the file that the weights came from, "" if they came from none.
        settings: size of the network.
    """

    parallel = True
    frame_mb = {"all": (90.0, 0.0), "norm": (90.0, 0.0), "last": (6.0, 0.77), "head": (0.1, 0.01)}

    def __init__(
        self,
        norm: str = "batch",
        sha256: str = "",
        settings: HMRSettings = HMRSettings(),
    ):
        if norm not in ("batch", "group"):
            raise ValueError(f"norm must be 'batch' or 'group', not '{norm}'")
        layer = batch_norm if norm == "batch" else group_norm
        super().__init__(layer, settings.width, settings.blocks)
        self.crop = SPIN_CROP if norm == "batch" else CYCLEADAPT_CROP
        self.sha256 = sha256
        self.add_regressor(self.channels, settings.hidden)

    def forward(self, batch: Batch) -> Prediction:
        """inputs (B, 3, 224, 224) -> prediction for the B crops."""
        return self.regress(batch.inputs)

    def regress(self, images: Tensor) -> Prediction:
        """(B, 3, 224, 224) normalised RGB -> prediction."""
        return self.regress_with_features(images)[0]

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """The 15 intermediate results of :meth:`regress_with_features`."""
        return self.regress_with_features(images)[1]

    def regress_with_features(self, images: Tensor) -> tuple[Prediction, tuple[Tensor, ...]]:
        """Prediction, and what DynaBOA (Guan et al. 2022) compares between teacher and student.

        Args:
            images: (B, 3, 224, 224) normalised RGB.
        Returns: prediction, and 15 tensors in DynaBOA's order: 0 first convolution (B, 64, 112,
            112); 1-4 the stages, to (B, 2048, 7, 7); 5 pooled (B, 2048); then three times fc1,
            its dropout, fc2 (B, 1024), so 12 is fc1 of the last iteration."""
        check_images(images, self.crop.size, "HMR")
        stages = self.stages(images)
        pooled = pool(stages[-1])
        prediction, hidden = self.iterate(pooled)
        return prediction, (*stages, pooled, *hidden)

    def split(self, scope: str) -> tuple[Callable, Callable] | None:
        """The layers that ``parameter_groups(scope)`` leaves alone, and the rest."""
        if scope == "head":
            return self.pooled, lambda batch: self.iterate(batch.inputs)[0]
        if scope == "last":
            before, after = self.before_last()
            return before, lambda batch: self.iterate(after(batch.inputs))[0]
        return None

    def parameter_groups(self, scope: str) -> list[nn.Parameter]:
        """Parameters that adaptation may move.

        Args:
            scope: "all"; "last" = last stage of the ResNet and regressor; "head" = regressor;
                "norm" = scales and shifts of the norms."""
        head = self.regressor()
        groups: dict[str, list[nn.Module]] = {
            "all": [self],
            "last": [*self.last_stage(), *head],
            "head": head,
            "norm": self.norms(),
        }
        return parameters_of(groups, scope)


def load_hmr(
    checkpoint: str | Path,
    mean_params: str | Path | None = None,
    crop: str | None = None,
    settings: HMRSettings = HMRSettings(),
) -> HMR:
    """HMR from a checkpoint of SPIN, CycleAdapt, BOA or DynaBOA, float32 on the CPU, in eval mode.

    Args:
        checkpoint: file with the weights under ``model`` (or bare), ``module.`` prefixes allowed.
        mean_params: SPIN's ``smpl_mean_params.npz``; read only if the checkpoint does not hold
            the mean parameters itself.
        crop: whose crops the network was trained on: "spin", "boa", "cycleadapt", "dynaboa".
            None = SPIN's with batch norm, CycleAdapt's with group norm: the files of BOA and
            DynaBOA cannot be told from CycleAdapt's.
        settings: size of the network in the file.

    Raises:
        SemttaError: a file is missing, damaged, unsafe, or of another network.
    """
    if crop is not None and crop not in CROPS:
        raise SemttaError(f"unknown crop '{crop}'; known: {', '.join(CROPS)}.")
    path = Path(checkpoint)
    weights = read_weights(path, _WHAT, known="decpose.weight")
    weights = with_mean_params(weights, path, mean_params)
    with torch.device("meta"):
        model = HMR("batch" if "bn1.running_mean" in weights else "group", settings=settings)
    if crop is not None:
        model.crop = CROPS[crop]
    model.sha256 = file_sha256(path)
    return load_strictly(model, weights, path, _WHAT)
