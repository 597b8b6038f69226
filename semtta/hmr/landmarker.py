"""BlazePose (full) as a module that can learn: the shipped landmark network, weight for weight.

Architecture: Google, MediaPipe Pose (Bazarevsky et al. 2020); what runs in ``people.blazepose`` as
an ONNX file is written out here, and its weights are read from that file. Its batch norms were
folded into the convolutions before it was published: of every norm, the shift lives on as a bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.hmr.onnx_weights import convolutions
from semtta.shipped import asset

FILE = "pose/blazepose_full.onnx"
SIZE = 256  # side of the crop
GRID = 64  # of the heat-maps
POINTS = 39  # 33 landmarks, then two that place the next crop, then four of hands
_REACH = 3  # heat-map cells on each side of a point that say where it is exactly

# Inverted bottlenecks: channels inside and after, kernel, stride; one stage per resolution.
_STAGES = (
    ((64, 24, 3, 2), (144, 24, 3, 1)),
    ((144, 32, 5, 2), (192, 32, 5, 1)),
    ((192, 64, 3, 2), (384, 64, 3, 1), (384, 64, 3, 1), (384, 88, 5, 1), (528, 88, 5, 1),
     (528, 88, 5, 1)),
    ((528, 144, 5, 2), (864, 144, 5, 1), (864, 144, 5, 1), (864, 144, 5, 1)),
)  # fmt: skip
_MAPS, _DEEP, _POINTWISE = 48, 864, 288


class Conv(nn.Conv2d):
    """Convolution with bias that keeps the size (stride 1) or halves it; ``relu6`` where wanted."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *,
                 depthwise: bool = False, active: bool = True):  # fmt: skip
        groups = inputs if depthwise else 1
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return F.relu6(x) if self.active else x


def _separable(inputs: int, outputs: int, active: bool = True) -> nn.Sequential:
    """3x3 in each channel, then 1x1 between them."""
    return nn.Sequential(Conv(inputs, inputs, 3, depthwise=True),
                         Conv(inputs, outputs, active=active))  # fmt: skip


class Inverted(nn.Module):
    """Inverted bottleneck (Sandler et al. 2018): (B, Cin, H, W) -> (B, C, H/s, W/s)."""

    def __init__(self, inputs: int, inner: int, outputs: int, kernel: int, stride: int):
        super().__init__()
        self.expand = Conv(inputs, inner)
        self.spread = Conv(inner, inner, kernel, stride, depthwise=True)
        self.reduce = Conv(inner, outputs, active=False)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.reduce(self.spread(self.expand(x)))
        return out + x if self.shortcut else out


class Block(nn.Module):
    """A separable convolution beside a shortcut, of the same size or half of it."""

    def __init__(self, channels: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.spread = nn.Conv2d(channels, channels, 3, stride, 2 - stride, groups=channels)
        self.mix = Conv(channels, channels, active=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return F.relu6(x + self.mix(F.relu6(self.spread(x))))
        inside = F.relu6(self.spread(F.pad(x, (0, 1, 0, 1))))
        return F.relu6(F.max_pool2d(x, 2) + self.mix(inside))


class Landmarker(nn.Module):
    """RGB crops -> 39 points, in crop pixels and in metres, and whether there is a person."""

    def __init__(self):
        super().__init__()
        self.stem = Conv(3, 24, 3, stride=2)
        self.first = _separable(24, 16, active=False)
        channels, stages, sides = 16, [], []
        for blocks in _STAGES:
            layers = []
            for inner, outputs, kernel, stride in blocks:
                layers.append(Inverted(channels, inner, outputs, kernel, stride))
                channels = outputs
            stages.append(nn.Sequential(*layers))
            sides.append(_separable(channels, _MAPS))
        self.stages = nn.ModuleList(stages)
        self.sides = nn.ModuleList(sides[:-1])
        self.deep = nn.Sequential(Conv(channels, _DEEP), Conv(_DEEP, _DEEP, 3, depthwise=True))
        self.top = _separable(_DEEP, _MAPS)
        self.heatmaps = Conv(_MAPS, POINTS, active=False)
        self.neck = _separable(_DEEP, _POINTWISE)
        self.body = nn.Sequential(
            *(Block(_POINTWISE, stride) for stride in (2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1))
        )
        self.points = nn.Conv2d(_POINTWISE, 5 * POINTS, 2)
        self.world = nn.Conv2d(_POINTWISE, 3 * POINTS, 2)
        self.flag = nn.Conv2d(_POINTWISE, 1, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What MediaPipe's graph makes of the network's outputs.

        Args:
            images: (B, 3, 256, 256) RGB in [0, 1].
        Returns: points (B, 39, 4): x, y in crop pixels from the crop's corner, refined by the
            heat-maps; logits of visibility and presence. World (B, 39, 3) metres, hip-centred,
            axes of the crop. Flag (B,) logit of a person."""
        return read_out(*self.outputs(images))

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Raw: points (B, 39, 5): x, y, z, logits of visibility and presence; world (B, 39, 3);
        flag (B,) logit; heat-maps (B, 39, 64, 64) logits."""
        deep, heatmaps = self.trunk(images)
        return *self.tail(deep), heatmaps

    def trunk(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 864, 8, 8) and heat-maps (B, 39, 64, 64) of images (B, 3, 256, 256)."""
        x = self.first(self.stem(images.contiguous(memory_format=torch.channels_last)))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        deep = self.deep(x)
        up = self.top(deep)
        for side, x in zip(reversed(self.sides), reversed(maps[:-1])):
            up = F.interpolate(up, scale_factor=2, mode="bilinear") + side(x)
        return deep, self.heatmaps(up)

    def tail(self, deep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points, world and flag, in the precision of the weights, of features (B, 864, 8, 8)."""
        x = self.body(self.neck(deep.contiguous(memory_format=torch.channels_last)))
        with torch.autocast(x.device.type, enabled=False):  # a pixel is a 256th, and so is bf16's
            x = x.to(self.points.weight.dtype)
            points, world = self.points(x).flatten(1), self.world(x).flatten(1)
            return (points.unflatten(1, (POINTS, 5)), world.unflatten(1, (POINTS, 3)),
                    self.flag(x).flatten())  # fmt: skip

    def in_file_order(self) -> list[nn.Conv2d]:
        """Convolutions as the shipped graph computes them: a map's side branch comes after the
        first layer that leaves its resolution."""
        found: list[nn.Conv2d] = []

        def add(*modules: nn.Module) -> None:
            found.extend(m for part in modules for m in part.modules() if isinstance(m, nn.Conv2d))

        add(self.stem, self.first, self.stages[0])
        for side, stage in zip(self.sides, self.stages[1:]):
            begin = len(found)
            add(stage)
            after = found[begin + 1 :]
            del found[begin + 1 :]
            add(side)
            found.extend(after)
        add(self.deep, self.top, self.heatmaps, self.neck, self.body)
        return [*found, self.points, self.world, self.flag]


def read_out(
    points: Tensor, world: Tensor, flag: Tensor, heatmaps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of :meth:`Landmarker.outputs` what :meth:`Landmarker.forward` returns."""
    xy = refine(points[..., :2], heatmaps.to(points))
    return torch.cat((xy, points[..., 3:]), dim=-1), world, flag


def refine(xy: Tensor, heatmaps: Tensor) -> Tensor:
    """Replace points by the centroid of the heat-map around them, as ``people.blazepose.refine``.

    Gradients reach the heat-map, and the point itself where it stays.

    Args:
        xy: (B, J, 2) crop pixels.
        heatmaps: (B, J, 64, 64) logits."""
    cell = (xy.detach() * (GRID / SIZE)).floor().long()
    inside = ((cell >= 0) & (cell < GRID)).all(-1)
    steps = torch.arange(-_REACH, _REACH + 1, device=xy.device)
    columns, rows = (cell[..., i, None] + steps for i in (0, 1))  # (B, J, K)
    valid = _on_grid(rows)[..., :, None] & _on_grid(columns)[..., None, :]
    at = rows.clamp(0, GRID - 1)[..., :, None] * GRID + columns.clamp(0, GRID - 1)[..., None, :]
    weights = heatmaps.flatten(2).gather(2, at.flatten(2)).sigmoid().view_as(at) * valid
    total = weights.sum((-1, -2)).clamp_min(1e-9)
    x = (weights * columns[..., None, :]).sum((-1, -2)) / total
    y = (weights * rows[..., :, None]).sum((-1, -2)) / total
    refined = torch.stack((x, y), dim=-1) * (SIZE / GRID)
    use = inside & (weights.amax((-1, -2)) >= 0.5)
    return torch.where(use[..., None], refined, xy)


def _on_grid(index: Tensor) -> Tensor:
    return (index >= 0) & (index < GRID)


def load_landmarker() -> Landmarker:
    """The shipped network, float32 on the CPU, in eval mode."""
    model = Landmarker()
    shipped = convolutions(asset(FILE))
    with torch.no_grad():
        for layer, (weight, bias) in zip(model.in_file_order(), shipped, strict=True):
            assert layer.bias is not None and layer.weight.shape == weight.shape
            found = torch.from_numpy(weight.copy())
            # a quarter quicker on a CPU
            layer.weight.data = found.contiguous(memory_format=torch.channels_last)
            layer.bias.copy_(torch.from_numpy(bias.copy()))
    return model.eval()
