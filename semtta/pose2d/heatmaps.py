"""Keypoints as heat maps, and back.

Positions are written (x, y) and sizes (width, height). A crop of S pixels and its map of W cells
share their origin: cell c lies at pixel c * S / W. Maps are Gaussians of height 1, cut off at
three standard deviations, not normalised (Xiao et al. 2018; RegDA, UniFrame).
"""

from __future__ import annotations

import torch
from torch import Tensor

_REACH = 3  # standard deviations


def encode(
    xy: Tensor,
    visible: Tensor,
    image_size: tuple[int, int],
    map_size: tuple[int, int],
    sigma: float = 2.0,
    subpixel: bool = False,
) -> tuple[Tensor, Tensor]:
    """Heat maps to be learnt.

    Args:
        xy: (..., K, 2) pixels of the crop.
        visible: (..., K) weight of each joint, 0 = not labelled.
        image_size: width, height of the crop, pixels.
        map_size: width, height of the maps, cells.
        sigma: cells.
        subpixel: centre the Gaussian on the joint itself instead of on its cell.

    Returns:
        maps (..., K, H, W) and weights (..., K): those given, 0 where the joint's cell lies
        outside. Maps of joints without weight are zero.
    """
    width, height = map_size
    stride = xy.new_tensor([image_size[0] / width, image_size[1] / height])
    cell = torch.trunc(xy / stride + 0.5)  # towards zero, as the peers' int() does
    limit = xy.new_tensor([width, height])
    inside = (cell >= 0).all(-1) & (cell < limit).all(-1)  # not where it is no number
    weight = visible * inside
    center = torch.where((weight > 0)[..., None], xy / stride if subpixel else cell, torch.nan)

    def along(size: int, mu: Tensor) -> Tensor:
        off = torch.arange(size, device=xy.device) - mu[..., None]
        return torch.exp(-0.5 * (off / sigma) ** 2) * (off.abs() <= _REACH * sigma)

    maps = along(height, center[..., 1])[..., :, None] * along(width, center[..., 0])[..., None, :]
    return torch.where((weight > 0)[..., None, None], maps, 0.0), weight


def decode(maps: Tensor, refine: str = "none") -> tuple[Tensor, Tensor]:
    """The highest cell of every map.

    Args:
        maps: (..., K, H, W).
        refine: ``none`` = the cell itself (RegDA, UniFrame); ``quarter`` = a quarter of a cell
            towards the higher neighbour, on each axis (Newell et al. 2016; Xiao et al. 2018);
            ``subpixel`` = the peak of the Gaussian through the cell and its two neighbours.

    Returns:
        (..., K, 2) cells as x, y and (..., K) heights. A map without a positive value decodes to
        (0, 0).
    """
    height, width = maps.shape[-2:]
    top, index = maps.flatten(-2).max(-1)
    x, y = index % width, index // width
    cells = torch.stack((x, y), -1).to(maps.dtype)
    positive = top > 0
    if refine != "none":
        # the peers' condition: at least two cells from the left and upper border, one from others
        inner = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
        cells = cells + _offset(maps, x, y, top, refine) * (inner & positive)[..., None]
    return cells * positive[..., None], top


def _offset(maps: Tensor, x: Tensor, y: Tensor, top: Tensor, refine: str) -> Tensor:
    height, width = maps.shape[-2:]
    flat = maps.flatten(-2)

    def at(dx: int, dy: int) -> Tensor:
        column, row = (x + dx).clamp(0, width - 1), (y + dy).clamp(0, height - 1)
        return flat.gather(-1, (row * width + column)[..., None])[..., 0]

    before = torch.stack((at(-1, 0), at(0, -1)), -1)
    after = torch.stack((at(1, 0), at(0, 1)), -1)
    if refine == "quarter":
        return 0.25 * torch.sign(after - before)
    if refine != "subpixel":
        raise ValueError(f"refine must be none, quarter or subpixel, not '{refine}'")
    tiny = 1e-6
    low, high = before.clamp_min(tiny).log(), after.clamp_min(tiny).log()
    bend = 2 * top.clamp_min(tiny).log()[..., None] - low - high
    return 0.5 * (high - low) / bend.clamp_min(1e-4)


def cells_to_pixels(
    cells: Tensor, image_size: tuple[int, int], map_size: tuple[int, int]
) -> Tensor:
    """(..., 2) cells -> pixels of the crop."""
    stride = [image_size[0] / map_size[0], image_size[1] / map_size[1]]
    return cells * cells.new_tensor(stride)
