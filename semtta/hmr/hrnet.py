"""HRNet (Wang et al. 2020) as it classifies images: maps of several sizes that keep exchanging what
they know, brought together to one vector of features.

Names of the layers are those of the authors' ``cls_hrnet``, which pretrained files use; the default
size is their W48.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from semtta.hmr.resnet import Backbone, Bottleneck, batch_norm, pool


@dataclass(frozen=True)
class HRNetSettings:
    """Size of the network; the default is HRNet-W48-C.

    Args:
        width: channels of the finest map; each coarser one has twice as many.
        blocks: in each branch of a module, and in the first stage.
        modules: of the stages with two, three and four maps.
        stem: channels of the first convolutions.
        head: of the bottlenecks that bring the maps together, a quarter of their outputs.
        channels: of the pooled features.
    """

    width: int = 48
    blocks: int = 4
    modules: tuple[int, int, int] = (1, 4, 3)
    stem: int = 64
    head: tuple[int, int, int, int] = (32, 64, 128, 256)
    channels: int = 2048

    @staticmethod
    def tiny() -> HRNetSettings:
        """A network of the same classes that runs in milliseconds."""
        return HRNetSettings(4, 1, (1, 1, 1), 4, (8, 8, 8, 8), 32)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, C, H, W) -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = _conv3(channels, channels)
        self.bn1 = batch_norm(channels)
        self.conv2 = _conv3(channels, channels)
        self.bn2 = batch_norm(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class Exchange(nn.Module):
    """Every map goes through its own blocks, then every map becomes the sum of all, each brought to
    its size.

    Args:
        channels: of the maps, the finest first; each is half as wide and high as the one before.
        blocks: in each branch.
    """

    def __init__(self, channels: Sequence[int], blocks: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(count) for _ in range(blocks))) for count in channels
        )
        places = range(len(channels))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_bridge(channels, source, target) for source in places)
            for target in places
        )
        self.relu = nn.ReLU()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for bridges in self.fuse_layers:
            parts = [bridge(x) for bridge, x in zip(bridges.children(), maps, strict=True)]
            fused.append(self.relu(sum(parts[1:], parts[0])))
        return fused


def _bridge(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """From the map at ``source`` to the size of that at ``target``."""
    inputs, outputs = channels[source], channels[target]
    if source == target:
        return nn.Identity()
    if source > target:  # coarser: fewer channels, then larger
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, bias=False),
            batch_norm(outputs),
            nn.Upsample(scale_factor=2.0 ** (source - target), mode="nearest"),
        )
    halvings = target - source
    steps = [_convolved(inputs, inputs, 2) for _ in range(halvings - 1)]
    return nn.Sequential(*steps, nn.Sequential(_conv3(inputs, outputs, 2), batch_norm(outputs)))


def _conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def _convolved(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(
        _conv3(inputs, outputs, stride), batch_norm(outputs), nn.ReLU(inplace=True)
    )


class HRNet(Backbone):
    """The backbone."""

    def __init__(self, settings: HRNetSettings = HRNetSettings()):
        super().__init__()
        stem, self.channels = settings.stem, settings.channels
        self.conv1, self.bn1 = _conv3(3, stem, 2), batch_norm(stem)
        self.conv2, self.bn2 = _conv3(stem, stem, 2), batch_norm(stem)
        self.relu = nn.ReLU(inplace=True)
        first = [Bottleneck(stem, stem, 1, batch_norm)]
        first += [Bottleneck(4 * stem, stem, 1, batch_norm) for _ in range(settings.blocks - 1)]
        self.layer1 = nn.Sequential(*first)
        widths = [settings.width * 2**i for i in range(4)]
        self.transition1 = nn.ModuleList((
            _convolved(4 * stem, widths[0], 1),
            nn.Sequential(_convolved(4 * stem, widths[1], 2)),
        ))  # fmt: skip
        self.transition2 = _another(widths[:3])
        self.transition3 = _another(widths)
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(*(Exchange(widths[:count], settings.blocks) for _ in range(modules)))
            for count, modules in zip((2, 3, 4), settings.modules, strict=True)
        )
        outputs = [4 * count for count in settings.head]
        self.incre_modules = nn.ModuleList(
            nn.Sequential(Bottleneck(width, count, 1, batch_norm))
            for width, count in zip(widths, settings.head, strict=True)
        )
        self.downsamp_modules = nn.ModuleList(
            _biased(inputs, after, 3, 2) for inputs, after in zip(outputs, outputs[1:])
        )
        self.final_layer = _biased(outputs[-1], self.channels, 1, 1)

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), sides that 32 divides -> (B, channels)."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer1(self.relu(self.bn2(self.conv2(x))))
        maps = self.stage2([step(x) for step in self.transition1])
        maps = self.stage3([*maps, self.transition2[-1](maps[-1])])
        maps = self.stage4([*maps, self.transition3[-1](maps[-1])])
        whole, *coarser = [more(x) for more, x in zip(self.incre_modules, maps, strict=True)]
        for smaller, x in zip(self.downsamp_modules, coarser, strict=True):
            whole = x + smaller(whole)
        return pool(self.final_layer(whole))

    def last_stage(self) -> list[nn.Module]:
        return [self.transition3, self.stage4, self.incre_modules, self.downsamp_modules,
                self.final_layer]  # fmt: skip


def _another(widths: Sequence[int]) -> nn.ModuleList:
    """The maps as they are, and one more, made of the coarsest."""
    kept = [nn.Identity() for _ in widths[:-1]]
    return nn.ModuleList((*kept, nn.Sequential(_convolved(widths[-2], widths[-1], 2))))


def _biased(inputs: int, outputs: int, side: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, padding=side // 2),
        batch_norm(outputs),
        nn.ReLU(inplace=True),
    )
