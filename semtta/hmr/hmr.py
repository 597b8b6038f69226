"""HMR (Kanazawa et al. 2018): ResNet-50 and an iterative regressor, as SPIN and its heirs use it.

One class reads the checkpoints of SPIN (batch norm, 331 keys) and of CycleAdapt, BOA and DynaBOA
(group norm, 172 keys); the keys themselves tell which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.errors import SemttaError
from semtta.hmr.base import Batch, Prediction
from semtta.hmr.preprocess import ImageCropSpec
from semtta.hmr.resnet import ResNet50, batch_norm, group_norm
from semtta.reading import read_npz, reading
from semtta.shipped import file_sha256

_JOINTS, _POSE, _BETAS, _CAM = 24, 144, 10, 3
_ITERATIONS = 3
_INITIAL = ("init_pose", "init_shape", "init_cam")
_WHAT = "an HMR checkpoint (SPIN, CycleAdapt, BOA or DynaBOA)"

# SPIN and BOA see 1.2 times the person's box, CycleAdapt and DynaBOA the box itself.
SPIN_CROP = ImageCropSpec(size=224, box_scale=1.2, rule="rounded")
CYCLEADAPT_CROP = ImageCropSpec(size=224, box_scale=1.0)
DYNABOA_CROP = ImageCropSpec(size=224, box_scale=1.0, rule="rounded")
CROPS = {
    "spin": SPIN_CROP, "boa": SPIN_CROP, "cycleadapt": CYCLEADAPT_CROP, "dynaboa": DYNABOA_CROP,
}  # fmt: skip


class HMR(ResNet50):
    """``HumanMeshRegressor`` that reads normalised RGB crops of 224 pixels.

    Norms always use the statistics of the checkpoint; dropout is active after ``train()`` only.

    Args:
        norm: "batch" (SPIN) or "group" (CycleAdapt, BOA, DynaBOA).
        sha256: hash of the file that the weights came from, "" if they came from none.
    """

    frame_mb = {"all": (90.0, 0.0), "norm": (90.0, 0.0), "last": (6.0, 0.77), "head": (0.1, 0.01)}

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def __init__(self, norm: str = "batch", sha256: str = ""):
        if norm not in ("batch", "group"):
            raise ValueError(f"norm must be 'batch' or 'group', not '{norm}'")
        super().__init__(batch_norm if norm == "batch" else group_norm)
        self.crop = SPIN_CROP if norm == "batch" else CYCLEADAPT_CROP
        self.sha256 = sha256
        self.fc1 = nn.Linear(self.channels + _POSE + _BETAS + _CAM, 1024)
        self.drop1 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(1024, 1024)
        self.drop2 = nn.Dropout(0.5)
        self.decpose = nn.Linear(1024, _POSE)
        self.decshape = nn.Linear(1024, _BETAS)
        self.deccam = nn.Linear(1024, _CAM)
        upright = torch.eye(3)[:, :2].flatten().repeat(_JOINTS)
        self.register_buffer("init_pose", upright[None])
        self.register_buffer("init_shape", torch.zeros(1, _BETAS))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0.0, 0.0]]))

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
        _check_images(images, self.crop.size)
        stages = self.stages(images)
        pooled = stages[-1].float().mean((2, 3))
        prediction, hidden = self._iterate(pooled)
        return prediction, (*stages, pooled, *hidden)

    def split(self, scope: str) -> tuple[Callable, Callable] | None:
        """The layers that ``parameter_groups(scope)`` leaves alone, and the rest."""
        if scope == "head":
            return self._pooled, lambda pooled: self._iterate(pooled)[0]
        if scope == "last":
            return self._third, lambda x: self._iterate(self.layer4(x).float().mean((2, 3)))[0]
        return None

    def _third(self, images: Tensor) -> Tensor:
        """(B, 1024, 14, 14), the input of the last stage."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer3(self.layer2(self.layer1(x)))

    def _pooled(self, images: Tensor) -> Tensor:
        """(B, 2048) pooled features."""
        return self.layer4(self._third(images)).float().mean((2, 3))

    def _iterate(self, pooled: Tensor) -> tuple[Prediction, list[Tensor]]:
        """Iterative error feedback: pooled features (B, 2048) -> prediction, hidden layers."""
        with torch.autocast(pooled.device.type, enabled=False):  # angles want full precision
            return self._regress(pooled.to(self.fc1.weight.dtype))

    def _regress(self, pooled: Tensor) -> tuple[Prediction, list[Tensor]]:
        pose, betas, cam = (getattr(self, name).expand(len(pooled), -1) for name in _INITIAL)
        hidden = []
        for _ in range(_ITERATIONS):
            first = self.fc1(torch.cat((pooled, pose, betas, cam), dim=1))
            dropped = self.drop1(first)
            second = self.fc2(dropped)  # the official network has no activation here
            x = self.drop2(second)
            pose = pose + self.decpose(x)
            betas = betas + self.decshape(x)
            cam = cam + self.deccam(x)
            hidden += [first, dropped, second]
        return Prediction(_decode(pose), betas, cam), hidden

    def parameter_groups(self, scope: str) -> list[nn.Parameter]:
        """Parameters that adaptation may move.

        Args:
            scope: "all"; "last" = last stage of the ResNet and regressor; "head" = regressor;
                "norm" = scales and shifts of the norms."""
        head: list[nn.Module] = [self.fc1, self.fc2, self.decpose, self.decshape, self.deccam]
        groups: dict[str, list[nn.Module]] = {
            "all": [self],
            "last": [self.layer4, *head],
            "head": head,
            "norm": self.norms(),
        }
        if scope not in groups:
            raise SemttaError(f"unknown scope '{scope}'; known: all, last, head, norm.")
        return [p for module in groups[scope] for p in module.parameters()]


def _decode(pose: Tensor) -> Tensor:
    """(B, 144) -> (B, 24, 3, 3). HMR's six numbers are the first two columns of the matrix,
    interleaved: R00 R01 R10 R11 R20 R21."""
    return roma.special_gramschmidt(pose.unflatten(1, (_JOINTS, 3, 2)))


def _check_images(images: Tensor, size: int) -> None:
    if images.dim() != 4 or tuple(images.shape[1:]) != (3, size, size):
        raise SemttaError(
            f"HMR reads images of shape (B, 3, {size}, {size}), not {tuple(images.shape)}."
        )


def load_hmr(
    checkpoint: str | Path, mean_params: str | Path | None = None, crop: str | None = None
) -> HMR:
    """HMR from a checkpoint of SPIN, CycleAdapt, BOA or DynaBOA, float32 on the CPU, in eval mode.

    Args:
        checkpoint: file with the weights under ``model`` (or bare), ``module.`` prefixes allowed.
        mean_params: SPIN's ``smpl_mean_params.npz``; read only if the checkpoint does not hold
            the mean parameters itself.
        crop: whose crops the network was trained on: "spin", "boa", "cycleadapt", "dynaboa".
            None = SPIN's with batch norm, CycleAdapt's with group norm: the files of BOA and
            DynaBOA cannot be told from CycleAdapt's.

    Raises:
        SemttaError: a file is missing, damaged, unsafe, or of another network.
    """
    if crop is not None and crop not in CROPS:
        raise SemttaError(f"unknown crop '{crop}'; known: {', '.join(CROPS)}.")
    path = Path(checkpoint)
    weights = read_weights(path, _WHAT, known="decpose.weight")
    if any(name not in weights for name in _INITIAL) and "decpose.weight" in weights:
        if mean_params is None:
            raise SemttaError(
                f"'{path}' holds no mean parameters (init_pose, init_shape, init_cam); name SPIN's "
                "smpl_mean_params.npz."
            )
        weights = {**read_mean_params(mean_params), **weights}
    with torch.device("meta"):
        model = HMR("batch" if "bn1.running_mean" in weights else "group")
    if crop is not None:
        model.crop = CROPS[crop]
    model.sha256 = file_sha256(path)
    return load_strictly(model, weights, path, _WHAT)


def read_mean_params(path: str | Path) -> dict[str, Tensor]:
    """SPIN's ``smpl_mean_params.npz`` as the buffers that start the iterative regressor.

    Returns: init_pose (1, 144), init_shape (1, 10), init_cam (1, 3), numbers as in the file."""
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no file of mean parameters '{path}'.")
    names = ("pose", "shape", "cam")
    try:
        found = read_npz(path, "SPIN's smpl_mean_params.npz", names)
        with reading(path, "SPIN's smpl_mean_params.npz"):
            arrays = {key: torch.from_numpy(found[key].astype(np.float32)) for key in names}
    except SemttaError as error:
        raise SemttaError(
            f"'{path}' is not SPIN's smpl_mean_params.npz with pose, shape, cam: {error}"
        ) from None
    for key, count in (("pose", _POSE), ("shape", _BETAS), ("cam", _CAM)):
        if arrays[key].numel() != count or not torch.isfinite(arrays[key]).all():
            raise SemttaError(f"'{path}': '{key}' must hold {count} finite numbers.")
    return {f"init_{key}": value.reshape(1, -1) for key, value in arrays.items()}
