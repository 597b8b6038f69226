"""CycleAdapt's motion denoiser MDNet (Nam et al. 2023): network, use and adaptation to a video.

Windows of 49 frames at the video's own rate, rotations in the camera's frame; frames are hidden
by zeros. Its 6D layout, two columns interleaved, is known in this file only.
"""

from __future__ import annotations

import copy
from pathlib import Path

import roma
import torch
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.engine import shuffled_batches
from semtta.errors import SemttaError
from semtta.motion.denoiser import without_unseen
from semtta.motion.resample import stretches

WINDOW = 49  # frames
_JOINTS = 24
_CHANNELS = _JOINTS * 6
_HIDDEN = 24  # frames that training hides beside the middle one
_WHAT = "an MDNet checkpoint of CycleAdapt"


class _ChannelNorm(nn.Module):
    """Normalisation over the channels of each frame."""

    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, _CHANNELS, 1))
        self.beta = nn.Parameter(torch.zeros(1, _CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(1, keepdim=True) + 1e-5)
        return centred * scale * self.alpha + self.beta


class _TimeMix(nn.Module):
    """Residual linear layer over time."""

    def __init__(self):
        super().__init__()
        linear = nn.Linear(WINDOW, WINDOW)
        nn.init.xavier_uniform_(linear.weight, gain=1e-8)
        nn.init.zeros_(linear.bias)
        self.fc0 = nn.ModuleDict({"fc": linear})
        self.norm0 = _ChannelNorm()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm0(self.fc0["fc"](x))


class MDNet(nn.Module):
    """Linear layers over channels, over time (four times) and over channels again."""

    def __init__(self, layers: int = 4):
        super().__init__()
        self.motion_fc_in = nn.Linear(_CHANNELS, _CHANNELS)
        blocks = nn.Sequential(*(_TimeMix() for _ in range(layers)))
        self.motion_mlp = nn.ModuleDict({"mlps": blocks})
        self.motion_fc_out = nn.Linear(_CHANNELS, _CHANNELS)
        nn.init.xavier_uniform_(self.motion_fc_out.weight, gain=1e-8)
        nn.init.zeros_(self.motion_fc_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(S, 49, 144) interleaved 6D, hidden frames zero -> (S, 49, 144)."""
        x = self.motion_mlp["mlps"](self.motion_fc_in(x).transpose(1, 2))
        return self.motion_fc_out(x.transpose(1, 2))


def load_mdnet(path: str | Path) -> MDNet:
    """CycleAdapt's ``md_basemodel.pt``, frozen, in eval mode on the CPU.

    Raises ``SemttaError`` if the file is missing, damaged or something else."""
    weights = read_weights(path, _WHAT, known="motion_fc_in.weight")
    with torch.device("meta"):
        net = MDNet()
    return load_strictly(net, weights, path, _WHAT).requires_grad_(False)


@torch.no_grad()
def mdnet_track(net: MDNet, rotmats: Tensor, times: Tensor, *, batch: int = 256) -> Tensor:
    """Denoise a track: every window of 49 frames with its even frames hidden, then the mean.

    The mean over the windows that cover a frame is taken of the 6D numbers, as CycleAdapt does.
    Stretches between gaps of more than 0.25 s are treated one by one; one shorter than a window
    repeats its last frame.

    Args:
        net: the model.
        rotmats: (T, 24, 3, 3) camera frame.
        times: (T,) seconds, strictly increasing; only gaps matter, the rate is the video's own.
        batch: windows at a time.
    Returns: (T, 24, 3, 3)."""
    out = torch.empty_like(rotmats)
    for run in _checked_stretches(rotmats, times):
        windows = _windows(rotmats[run])
        shown = (torch.arange(WINDOW) % 2).to(rotmats)[:, None]
        pieces = [net(part * shown) for part in windows.split(batch)]
        sequence = slide_mean(torch.cat(pieces))[: run.stop - run.start]
        out[run] = _from_numbers(sequence)
    return out


def mdnet_fit(
    net: MDNet,
    rotmats: Tensor,
    times: Tensor,
    *,
    generator: torch.Generator,
    lr: float = 5e-5,
    batch: int = 32,
    steps: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> list[float]:
    """Adapt the net in place to one video by masked reconstruction (CycleAdapt, Eq. 2).

    Args:
        net: changed in place; hand in a copy to keep the original.
        rotmats, times: as in :func:`mdnet_track`.
        generator: orders the windows and draws the hidden frames (on the CPU).
        lr: learning rate of Adam, betas (0.5, 0.9).
        batch: windows per step.
        steps: None = one pass over all windows, as in a CycleAdapt cycle.
        optimizer: carries its state from one call to the next; None = a new one with ``lr``.
    Returns: the loss of each step."""
    windows = torch.cat(
        [_windows(rotmats[run]) for run in _checked_stretches(rotmats, times)]
    ).detach()
    net.requires_grad_(True)  # a net that only makes targets may have been frozen
    optimizer = optimizer or mdnet_optimizer(net, lr)
    losses: list[float] = []
    for pick in shuffled_batches(len(windows), batch, steps, generator):
        chosen = windows[pick.to(windows.device)]
        hidden = draw_hidden(len(chosen), generator).to(chosen.device)
        with torch.enable_grad():
            loss = mdnet_loss(net, chosen, hidden)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def mdnet_optimizer(net: MDNet, lr: float = 5e-5) -> torch.optim.Adam:
    """Adam as CycleAdapt uses it."""
    return torch.optim.Adam(net.parameters(), lr=lr, betas=(0.5, 0.9))


def draw_hidden(count: int, generator: torch.Generator) -> Tensor:
    """(count, 49) bool: the middle frame and 24 of the others, drawn at random."""
    order = torch.rand(count, WINDOW, generator=generator)
    order[:, WINDOW // 2] = -1.0
    return order.argsort(1).argsort(1) <= _HIDDEN


def mdnet_loss(net: MDNet, windows: Tensor, hidden: Tensor) -> Tensor:
    """L1 of hidden frames; the others stay in the mean as zeros.

    Args:
        windows: (S, 49, 144) interleaved 6D.
        hidden: (S, 49) bool."""
    weight = hidden.to(windows)[..., None]
    return ((net(windows * (1 - weight)) - windows).abs() * weight).mean()


def slide_mean(windows: Tensor) -> Tensor:
    """Stride-1 windows (S, W, D) -> sequence (S + W - 1, D): mean over what covers a frame."""
    count, width, dim = windows.shape
    index = torch.arange(count)[:, None] + torch.arange(width)
    index = index.flatten().to(windows.device)
    total = windows.new_zeros(count + width - 1, dim).index_add_(0, index, windows.flatten(0, 1))
    return total / torch.bincount(index)[:, None]


class MDNetSmoother:
    """MDNet as the smoother of one track: targets of Eq. 9, adapted after each epoch.

    Works on a copy: the net of the next video starts from its own weights again.

    Args:
        net: of :func:`load_mdnet`.
        times: (T,) seconds.
        lr: of Adam.
        steps: gradient steps after each epoch; None = one pass over all windows, 0 = never.
        keep_state: one Adam as long as this object, as in CycleAdapt; else a new one each epoch.
    """

    def __init__(
        self, net: MDNet, times: Tensor, *, lr: float = 5e-5, steps: int | None = None,
        keep_state: bool = True,
    ):  # fmt: skip
        self.net, self.times, self.steps = copy.deepcopy(net), times, steps
        self.keep_state = keep_state
        self.optimizer = mdnet_optimizer(self.net, lr)

    def target(
        self, rotmats: Tensor, seen: Tensor, text: Tensor | None, trans: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(T, 24, 3, 3), and ones: MDNet hides whole frames, whatever they show, reads neither
        text nor movement, and has no doubts."""
        return mdnet_track(self.net, rotmats, self.times), torch.ones_like(seen)

    def complete(self, rotmats: Tensor, seen: Tensor, trans: Tensor | None = None) -> Tensor:
        """The same after unseen rotations (T, 24) were interpolated from seen ones over time."""
        return self.target(without_unseen(rotmats[None], seen[None])[0], seen, None)[0]

    def fit(
        self, rotmats: Tensor, seen: Tensor, generator: torch.Generator, lr: float | None = None
    ) -> list[float]:
        """The loss of each step; ``lr`` from now on, None = as before."""
        if self.steps == 0:
            return []
        if lr is None:
            lr = self.optimizer.param_groups[0]["lr"]
        if not self.keep_state:
            self.optimizer = mdnet_optimizer(self.net, lr)
        self.optimizer.param_groups[0]["lr"] = lr
        return mdnet_fit(
            self.net, rotmats, self.times, generator=generator, steps=self.steps,
            optimizer=self.optimizer,
        )  # fmt: skip


def _checked_stretches(rotmats: Tensor, times: Tensor) -> list[slice]:
    """Stretches of a track without a long gap; raises ``SemttaError`` for one that is none."""
    frames = len(rotmats)
    if rotmats.shape[1:] != (_JOINTS, 3, 3) or frames == 0 or times.shape != (frames,):
        raise SemttaError(
            f"a track to denoise needs rotations (T, {_JOINTS}, 3, 3) with one time each, not "
            f"{tuple(rotmats.shape)} with {tuple(times.shape)}."
        )
    if not (times.diff() > 0).all():
        raise SemttaError("times of a track must be strictly increasing.")
    return stretches(times)


def _windows(rotmats: Tensor) -> Tensor:
    """(T, 24, 3, 3) -> (max(T - 48, 1), 49, 144) interleaved 6D; a short one repeats its last."""
    numbers = rotmats[..., :2].flatten(1)  # R[:, :2] row by row
    shown = torch.arange(max(len(numbers), WINDOW)).clamp(max=len(numbers) - 1)
    return numbers[shown.to(numbers.device)].unfold(0, WINDOW, 1).transpose(1, 2)


def _from_numbers(x: Tensor) -> Tensor:
    """(T, 144) interleaved 6D -> (T, 24, 3, 3)."""
    return roma.special_gramschmidt(x.unflatten(-1, (_JOINTS, 3, 2)))
