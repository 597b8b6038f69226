"""The keypoint estimator: a backbone and deconvolutions (SimpleBaseline, Xiao et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.pose2d.backbones import make_backbone
from semtta.pose2d.heatmaps import cells_to_pixels, encode
from semtta.pose2d.skeletons import GroupedSkeleton, grouped_skeleton

_SMALLEST, _LARGEST = 64, 2048  # pixels


@dataclass(frozen=True)
class EstimatorSpec:
    """What an estimator is, apart from its weights.

    Args:
        skeleton: ``body16`` or ``hand21``.
        backbone: of ``semtta.pose2d.backbones.BACKBONES``.
        size: side of the square crop, pixels, a multiple of 32.
        deconv: channels of the deconvolutions (the paper's head: 256).
        layers: of deconvolutions, each doubles the map: 3 = a quarter of the crop's size.
        sigma: of the Gaussians, cells.
        subpixel: learn Gaussians around the joint itself, not around its cell (the peers').
    """

    skeleton: str = "body16"
    backbone: str = "resnet101"
    size: int = 256
    deconv: int = 256
    layers: int = 3
    sigma: float = 2.0
    subpixel: bool = False

    def __post_init__(self):
        grouped_skeleton(self.skeleton)
        if self.size % 32 or not _SMALLEST <= self.size <= _LARGEST:
            raise SemttaError(f"the crop's size must be a multiple of 32 from {_SMALLEST} to "
                              f"{_LARGEST} pixels, not {self.size}.")  # fmt: skip
        if not 1 <= self.deconv <= 4096 or not 1 <= self.layers <= 4 or not 0 < self.sigma < 100:
            raise SemttaError("an estimator needs 1 to 4096 channels deconv, 1 to 4 layers, and "
                              "sigma between 0 and 100.")  # fmt: skip

    @property
    def joints(self) -> GroupedSkeleton:
        return grouped_skeleton(self.skeleton)

    @property
    def refine(self) -> str:
        """How keypoints are read off the maps; see ``heatmaps.decode``."""
        return "subpixel" if self.subpixel else "quarter"

    def encode(self, xy: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Crop pixels (..., K, 2) and (..., K) -> heat maps to be learnt and their weights."""
        sides = ((self.size,) * 2, (self.map_size,) * 2)
        return encode(xy, visible, *sides, self.sigma, self.subpixel)

    def to_pixels(self, cells: Tensor) -> Tensor:
        """(..., 2) cells -> pixels of the crop."""
        return cells_to_pixels(cells, (self.size,) * 2, (self.map_size,) * 2)

    @property
    def map_size(self) -> int:
        """Side of the heat maps, cells."""
        return self.size // 32 * 2**self.layers


class Deconvolutions(nn.Sequential):
    """(B, C, S/32, S/32) -> (B, deconv, map_size, map_size)."""

    def __init__(self, inputs: int, channels: int, layers: int):
        blocks: list[nn.Module] = []
        for _ in range(layers):
            blocks += [nn.ConvTranspose2d(inputs, channels, 4, 2, 1, bias=False),
                       nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]  # fmt: skip
            inputs = channels
        super().__init__(*blocks)
        for module in self:
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.001)


def last_layer(inputs: int, joints: int) -> nn.Conv2d:
    """1x1 convolution to the joints' maps, as SimpleBaseline starts it."""
    layer = nn.Conv2d(inputs, joints, 1)
    nn.init.normal_(layer.weight, std=0.001)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class Estimator(nn.Module):
    """Crops to heat maps.

    Args:
        spec: what it is.
    """

    def __init__(self, spec: EstimatorSpec):
        super().__init__()
        self.spec = spec
        self.backbone = make_backbone(spec.backbone)
        self.upsampling = Deconvolutions(self.backbone.channels[-1], spec.deconv, spec.layers)
        self.head = last_layer(spec.deconv, len(spec.joints))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, S, S) normalised -> f_1..f_4, the last one being the paper's z."""
        return self.backbone(images)

    def maps(self, z: Tensor) -> Tensor:
        """(B, C, S/32, S/32) -> heat maps (B, K, H, W)."""
        return self.head(self.upsampling(z))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) normalised -> heat maps (B, K, H, W)."""
        return self.maps(self.features(images)[-1])
