"""What the masked motion model is told of a window: fills, how long limbs go unseen, the root."""

from __future__ import annotations

import torch
from torch import Tensor

FPS = 30.0
LONGEST = 30  # frames; a limb unseen for longer is as unknown as one unseen for this long
FASTEST = 8.0  # metres per second; the root jumps faster only where a regressor lost it
ROOT_FEATURES = 10


def nearest_seen(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest frames with evidence (at least 0.5) at or before, and at or after, each frame.

    Args:
        seen: (S, T, J) in [0, 1].
    Returns: two (S, T, J) of frame numbers; -1 where there is none before, T where none after."""
    length, support = seen.shape[1], seen >= 0.5
    frame = torch.arange(length, device=seen.device)[None, :, None].expand_as(support)
    before = torch.where(support, frame, -1).cummax(1).values
    after = torch.where(support, frame, length).flip(1).cummin(1).values.flip(1)
    return before, after


def unseen_time(seen: Tensor) -> Tensor:
    """How long each joint has been and will be unseen, as shares of a second at most.

    Args:
        seen: (S, T, J) in [0, 1].
    Returns: (S, T, J, 3): time from the last frame that saw it and to the next (1 = a second or
        more), and 1 where the window never sees it."""
    length = seen.shape[1]
    before, after = nearest_seen(seen)
    frame = torch.arange(length, device=seen.device)[None, :, None]
    since = torch.where(before < 0, LONGEST, frame - before).clamp(max=LONGEST) / LONGEST
    until = torch.where(after >= length, LONGEST, after - frame).clamp(max=LONGEST) / LONGEST
    never = ((before < 0) & (after >= length)).to(since)
    return torch.stack((since, until, never), dim=-1).to(seen)


def root_movement(trans: Tensor, frame: Tensor, kernels: Tensor) -> Tensor:
    """How the pelvis moves, as the body sees it: the cadence of hidden legs is in it.

    A velocity is metres per second at two time scales, not metres over depth: what a regressor
    says of the pelvis is in units of the body, and so are the strides of its legs. Where the
    camera stands tells which part of the velocity is depth, the least certain one.

    Args:
        trans: (S, T, 3) pelvis in the camera frame, metres; windows of zeros: not told.
        frame: (S, 3, 3) camera-frame rotation of the body over the window.
        kernels: (2, T, T) filters over time, rows sum to 1.
    Returns: (S, T, 10): fine and coarse velocity, direction from the camera, told."""
    told = (trans.abs().sum((1, 2)) > 0).to(trans)[:, None, None].expand(-1, trans.shape[1], 1)
    smooth = torch.matmul(kernels, (trans - trans[:, :1])[:, None])  # (S, 2, T, 3)
    velocity = torch.gradient(smooth, dim=2)[0] * FPS
    velocity = velocity * (FASTEST / velocity.norm(dim=-1, keepdim=True).clamp_min(FASTEST))
    ray = trans / trans.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    turned = torch.cat((velocity[:, 0], velocity[:, 1], ray), dim=-1).unflatten(-1, (3, 3))
    return torch.cat(((turned @ frame[:, None]).flatten(-2), told), dim=-1)


def fill_unseen(x: Tensor, seen: Tensor) -> Tensor:
    """Interpolate linearly over frames that were not seen; joints never seen stay as they are.

    Args:
        x: (S, T, J, C) values.
        seen: (S, T, J) in [0, 1]; frames of at least 0.5 are the support, others are blended
            between their own value (seen 0.5) and the interpolation (seen 0).
    Returns: (S, T, J, C)."""
    length = x.shape[1]
    frame = torch.arange(length, device=x.device)[None, :, None].expand_as(seen)
    before, after = nearest_seen(seen)
    before, after = (
        torch.where(before < 0, after, before),
        torch.where(after >= length, before, after),
    )
    never = before >= length  # no support on either side
    before, after = (torch.where(never, frame, side) for side in (before, after))

    def take(index: Tensor) -> Tensor:
        return x.gather(1, index[..., None].expand_as(x))

    ratio = (frame - before) / (after - before).clamp_min(1)
    filled = torch.lerp(take(before), take(after), ratio[..., None].to(x))
    return torch.lerp(filled, x, (2 * seen).clamp(max=1)[..., None])
