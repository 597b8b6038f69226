"""ResNet-50 (He et al. 2016) with the parameter names that every public checkpoint uses.

The stride of a block sits on its 3x3 convolution ("version 1.5"). Two normalisations exist among
HMR's descendants under the same names ``bn*``: batch norm, and group norm with four groups for
networks that are trained or adapted on one video.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]

_EXPANSION = 4


def batch_norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)


def group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(4, channels)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut: (B, Cin, H, W) -> (B, 4 C, H/s, W/s)."""

    def __init__(self, inputs: int, channels: int, stride: int, norm: Norm):
        super().__init__()
        outputs = _EXPANSION * channels
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = norm(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = norm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class Backbone(nn.Module):
    """Convolutions from an image to pooled features; batch norms keep the statistics of their
    checkpoint also in training mode, because statistics of a few neighbouring frames of one person
    are worse than none."""

    channels: int  # of the pooled features

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, channels)."""
        raise NotImplementedError

    def last_stage(self) -> list[nn.Module]:
        """What "last" moves of it."""
        raise NotImplementedError

    def before_last(self) -> tuple[Callable, Callable] | None:
        """What comes before the last stage, images -> one tensor, and from there to the pooled
        features; None where no single tensor lies between."""
        return None

    def train(self, mode: bool = True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def norms(self) -> list[nn.Module]:
        """Every normalisation layer."""
        return [m for m in self.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm))]


class ResNet50(Backbone):
    """The backbone.

    Args:
        norm: builds a normalisation of so many channels.
        width: channels of the stem, 64 in every released network.
        blocks: of the four stages.
    """

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(
        self, norm: Norm = batch_norm, width: int = 64, blocks: Sequence[int] = (3, 4, 6, 3)
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = width
        for stage, count in enumerate(blocks):
            channels, layers = width * 2**stage, []
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(inputs, channels, stride, norm))
                inputs = _EXPANSION * channels
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.channels = inputs

    def stages(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of (B, 3, H, W): the first convolution before its norm (B, 64, H/2, W/2),
        then the four stages, (B, 256, H/4, W/4) to (B, 2048, H/32, W/32)."""
        stem = self.conv1(images)
        x = self.maxpool(self.relu(self.bn1(stem)))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return stem, first, second, third, self.layer4(third)

    def third(self, images: Tensor) -> Tensor:
        """(B, 1024, H/16, W/16), the input of the last stage."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer3(self.layer2(self.layer1(x)))

    def pooled(self, images: Tensor) -> Tensor:
        return pool(self.layer4(self.third(images)))

    def last_stage(self) -> list[nn.Module]:
        return [self.layer4]

    def before_last(self) -> tuple[Callable, Callable]:
        return self.third, lambda x: pool(self.layer4(x))


def pool(x: Tensor) -> Tensor:
    """(B, C, H, W) -> mean (B, C), in full precision."""
    return x.mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))
