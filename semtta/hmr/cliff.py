"""CLIFF (Li et al. 2022): HMR that is told where in the image its crop lies.

The layout of its files, its 6D rotations (HMR's interleaved columns), its crop and what it is told
are those of the authors' demo: ``demo.py``, ``common/imutils.py``, ``models/cliff_*/cliff.py`` of
``huawei-noah/noah-research``, folder CLIFF. Its keys tell whether the encoder is a ResNet-50 or an
HRNet-W48.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.hmr.base import Batch, Prediction, boxes_of, check_images, parameters_of
from semtta.hmr.hrnet import HRNet, HRNetSettings
from semtta.hmr.iterative import IterativeRegressor, with_mean_params
from semtta.hmr.preprocess import ImageCropSpec
from semtta.hmr.resnet import Backbone, ResNet50, batch_norm
from semtta.shipped import file_sha256

_SIZE, _MARGIN = 256, 32  # side of the crop; columns left and right that the network never sees
_BOX = 3
_WHAT = "a CLIFF checkpoint (ResNet-50 or HRNet-W48)"
# What a person's box was in training, so that what the network is told is about -1 to 1.
_SPREAD, _SIDE, _SIDE_SPREAD = 2.8, 0.24, 0.06
_FRAME_MB = {
    "resnet50": {"all": (88.0, 0.0), "norm": (88.0, 0.0), "last": (6.0, 0.75), "head": (0.1, 0.01)},
    "hrnet48": {
        "all": (232.0, 0.0),
        "norm": (232.0, 0.0),
        "last": (84.0, 0.0),
        "head": (0.1, 0.01),
    },
}


@dataclass(frozen=True)
class CLIFFSettings:
    """Size of the network; the default is the released one.

    Args:
        width, blocks: of the ResNet, if that is the encoder.
        hrnet: of the HRNet, if that is.
        hidden: width of the regressor.
    """

    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    hrnet: HRNetSettings = HRNetSettings()
    hidden: int = 1024

    @staticmethod
    def tiny() -> CLIFFSettings:
        """A network of the same classes that runs in milliseconds."""
        return CLIFFSettings(4, (1, 1, 1, 1), HRNetSettings.tiny(), 32)


class CLIFF(IterativeRegressor):
    """``HumanMeshRegressor`` that reads normalised RGB crops of 256 pixels, looks at the middle 192
    columns of them, and reads where they lie before the camera.

    Norms always use the statistics of the checkpoint; dropout is active after ``train()`` only.

    Args:
        encoder: "resnet50" or "hrnet48".
        settings: size of the network.
        sha256: hash of the file that the weights came from, "" if they came from none.
    """

    crop = ImageCropSpec(size=_SIZE, box_scale=1.1, aspect=0.75, rule="nearest", camera="full")

    def __init__(
        self,
        encoder: str = "resnet50",
        settings: CLIFFSettings = CLIFFSettings(),
        sha256: str = "",
    ):
        super().__init__()
        self.sha256 = sha256
        self.encoder: Backbone
        if encoder == "resnet50":
            self.encoder = ResNet50(batch_norm, settings.width, settings.blocks)
        elif encoder == "hrnet48":
            self.encoder = HRNet(settings.hrnet)
        else:
            raise ValueError(f"encoder must be 'resnet50' or 'hrnet48', not '{encoder}'")
        self.frame_mb = _FRAME_MB[encoder]
        self.parallel = True
        self.add_regressor(self.encoder.channels + _BOX, settings.hidden)

    def forward(self, batch: Batch) -> Prediction:
        """inputs (B, 3, 256, 256) and boxes -> prediction for the B crops."""
        return self._answer(self._pooled(batch.inputs), batch)

    def _seen(self, images: Tensor) -> Tensor:
        check_images(images, self.crop.size, "CLIFF")
        return images[..., _MARGIN:-_MARGIN]

    def _pooled(self, images: Tensor) -> Tensor:
        return self.encoder.pooled(self._seen(images))

    def _answer(self, pooled: Tensor, batch: Batch) -> Prediction:
        told = box_info(boxes_of(batch, "CLIFF")).to(pooled)
        return self.iterate(torch.cat((pooled, told), dim=1))[0]

    def split(self, scope: str) -> tuple[Callable, Callable] | None:
        """The layers that ``parameter_groups(scope)`` leaves alone, and the rest."""
        if scope == "head":
            return self._pooled, lambda batch: self._answer(batch.inputs, batch)
        parts = self.encoder.before_last() if scope == "last" else None
        if parts is None:
            return None
        before, after = parts
        return (
            lambda images: before(self._seen(images)),
            lambda batch: self._answer(after(batch.inputs), batch),
        )

    def parameter_groups(self, scope: str) -> list[nn.Parameter]:
        """Parameters that adaptation may move.

        Args:
            scope: "all"; "last" = last stage of the encoder and regressor; "head" = regressor;
                "norm" = scales and shifts of the norms."""
        head = self.regressor()
        groups: dict[str, list[nn.Module]] = {
            "all": [self],
            "last": [*self.encoder.last_stage(), *head],
            "head": head,
            "norm": self.encoder.norms(),
        }
        return parameters_of(groups, scope)


def box_info(boxes: Tensor) -> Tensor:
    """What CLIFF is told of its crops.

    Args:
        boxes: (B, 3) in the normalised image plane, see ``Batch``.
    Returns: (B, 3): the centre's two numbers times 2.8; (side - 0.24) / 0.06."""
    return torch.cat((_SPREAD * boxes[:, :2], (boxes[:, 2:] - _SIDE) / _SIDE_SPREAD), dim=1)


def load_cliff(
    checkpoint: str | Path,
    mean_params: str | Path | None = None,
    settings: CLIFFSettings = CLIFFSettings(),
) -> CLIFF:
    """CLIFF from the authors' file, float32 on the CPU, in eval mode.

    Args:
        checkpoint: e.g. ``hr48-PA43.0_MJE69.0_MVE81.2_3dpw.pt``; weights under ``model``, with the
            prefix ``module.``.
        mean_params: SPIN's ``smpl_mean_params.npz``; read only if the checkpoint does not hold
            the mean parameters itself.
        settings: size of the network in the file.

    Raises:
        SemttaError: a file is missing, damaged, unsafe, or of another network.
    """
    path = Path(checkpoint)
    weights = read_weights(path, _WHAT, known="decpose.weight")
    weights = with_mean_params(weights, path, mean_params)
    hrnet = any(key.startswith("encoder.stage4.") for key in weights)
    with torch.device("meta"):
        model = CLIFF("hrnet48" if hrnet else "resnet50", settings)
    model.sha256 = file_sha256(path)
    return load_strictly(model, weights, path, _WHAT)
