"""A masked motion model: removes jitter and drift, and completes hidden limbs in phase.

Where a Gaussian only averages neighbouring frames, the model has learned how bodies move: told
which rotations had no 2D evidence, it infers them from the visible rest of the body, so hidden
legs of a walk keep step with the arms. Its output is the target of the smoothing loss (Eq. 9)
and may be fine-tuned on the video itself by masked reconstruction (CycleAdapt, Nam et al. 2023).
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path

import roma
import torch
import torch.nn.functional as F
from torch import Tensor

from semtta.checkpoints import check_fit, load_strictly, tensors, write_checkpoint
from semtta.engine import shuffled_batches
from semtta.errors import SemttaError
from semtta.geometry import gaussian_smooth
from semtta.motion.denoiser_net import (
    JOINTS,
    WINDOW,
    DenoiserConfig,
    MotionDenoiser,
    fill_unseen,
)
from semtta.motion.resample import stretches
from semtta.reading import reading
from semtta.shipped import asset
from semtta.tensor_files import read_tensors

FPS = 30.0
STRIDE = 15  # frames between the starts of overlapping windows
_FORMAT = "semtta-denoiser-2"
_WHAT = "a semtta denoiser"


def save_denoiser(denoiser: MotionDenoiser, path: str | Path) -> None:
    """Write the weights as float16, by way of a temporary name."""
    state = {name: value.half() for name, value in denoiser.state_dict().items()}
    content = {"format": _FORMAT, "config": asdict(denoiser.config), "state": state}
    write_checkpoint(path, content)


def load_denoiser(path: str | Path | None = None) -> MotionDenoiser:
    """The shipped denoiser, or another file of the same format, in eval mode on the CPU.

    Raises ``SemttaError`` if the file is missing, damaged or something else."""
    path = asset("motion/denoiser.pt") if path is None else Path(path)
    content = read_tensors(path, _WHAT)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SemttaError(f"'{path}' is not {_WHAT}; train one with tools/train_denoiser.py.")
    with reading(path, "denoiser"):
        config, state = DenoiserConfig(**content["config"]), tensors(content["state"])
        with torch.device("meta"):  # costs nothing, whatever the file says
            check_fit(MotionDenoiser(config), state, path, _WHAT)
        return load_strictly(MotionDenoiser(config), state, path, _WHAT)


def denoise_track(
    denoiser: MotionDenoiser,
    rotmats: Tensor,
    times: Tensor,
    seen: Tensor,
    text: Tensor | None = None,
    *,
    gaussian: float = 1 / 30,
) -> Tensor:
    """Denoise a track of any length and frame rate.

    Stretches between gaps of more than 0.25 s are treated one by one: nothing is bridged. Each is
    brought to 30 fps, cut into overlapping windows (a short one repeats its last frame), denoised,
    merged by a weighted chordal mean, and brought back to its own times.

    Args:
        denoiser: the model.
        rotmats: (T, 24, 3, 3) camera frame.
        times: (T,) seconds, increasing.
        seen: (T, 24) in [0, 1].
        text: (T, D) label embedding per frame (zeros: no label), (D,) for all, or None.
        gaussian: standard deviation of the closing Gaussian filter, seconds; 0 = none.
    Returns: (T, 24, 3, 3)."""
    _check(rotmats, times, seen, text)
    out = torch.empty_like(rotmats)
    for run in stretches(times):
        stretch = _grid(rotmats[run], times[run], seen[run], _per_frame(text, times)[run])
        windows = _gather(stretch, stretch.index)
        with torch.no_grad():
            pieces = [
                denoiser(windows.rotmats[i : i + 64], windows.seen[i : i + 64],
                         windows.text[i : i + 64] if text is not None else None)
                for i in range(0, len(windows.rotmats), 64)
            ]  # fmt: skip
        grid = _merge(torch.cat(pieces), windows)
        local = _seconds(times[run])
        result = _interpolate(grid, stretch.at, torch.ones_like(grid[..., 0, 0]), local)
        out[run] = gaussian_smooth(result, local, gaussian) if gaussian > 0 else result
    return out


def masked_reconstruction_loss(
    denoiser: MotionDenoiser,
    rotmats: Tensor,
    seen: Tensor,
    generator: torch.Generator,
    text: Tensor | None = None,
) -> Tensor:
    """Self-supervised loss on the video's own windows (CycleAdapt, Nam et al. 2023, Eq. 2).

    Half of the frames, always with the middle one, are hidden; the L1 distance between rotation
    matrices is taken on what was hidden and had evidence, everything else counts as zero.

    Args:
        rotmats, seen, text: as in :meth:`MotionDenoiser.forward`.
        generator: draws the hidden frames (on the CPU).
    Returns: scalar."""
    count = len(rotmats)
    order = torch.rand(count, WINDOW, generator=generator)
    order[:, WINDOW // 2] = -1.0
    hidden = order.argsort(1).argsort(1) < WINDOW // 2
    hidden = hidden.to(rotmats)[..., None]
    remaining = seen * (1 - hidden)
    out = denoiser(without_unseen(rotmats, remaining), remaining, text)
    return ((out - rotmats).abs() * (hidden * seen)[..., None, None]).mean()


def without_unseen(rotmats: Tensor, seen: Tensor) -> Tensor:
    """Windows (S, T, J, 3, 3) whose unseen rotations are interpolated instead of guessed."""
    filled = fill_unseen(rotmats.flatten(-2), seen).unflatten(-1, (3, 3))
    kept = (seen >= 0.5)[..., None, None]
    return torch.where(kept, rotmats, roma.special_gramschmidt(filled[..., :2]))


def fit_video(
    denoiser: MotionDenoiser,
    rotmats: Tensor,
    times: Tensor,
    seen: Tensor,
    *,
    steps: int | None,
    lr: float,
    generator: torch.Generator,
    text: Tensor | None = None,
    drawn: bool = True,
    optimizer: torch.optim.Optimizer | None = None,
) -> list[float]:
    """Fine-tune the denoiser in place on one video by masked reconstruction.

    Args:
        denoiser: changed in place; hand in a copy to keep the original.
        rotmats, times, seen, text: as in :func:`denoise_track`.
        steps: gradient steps; None = one pass, where windows are not ``drawn``.
        lr: learning rate of Adam, betas (0.5, 0.9) as in CycleAdapt.
        generator: draws windows and masks.
        drawn: each step sees 16 windows, drawn with replacement of those half a second apart; else
            all windows a frame apart come by in shuffled batches of 32, as in CycleAdapt.
        optimizer: carries its state from one call to the next; None = a new one.
    Returns: the loss of each step."""
    _check(rotmats, times, seen, text)
    parts = [
        _grid(rotmats[run], times[run], seen[run], _per_frame(text, times)[run],
              STRIDE if drawn else 1)
        for run in stretches(times)
    ]  # fmt: skip
    track = _joined(parts)
    denoiser.requires_grad_(True)  # a denoiser that only makes targets may have been frozen
    optimizer = optimizer or denoiser_optimizer(denoiser, lr)
    for group in optimizer.param_groups:
        group["lr"] = lr
    count, losses = len(track.index), []
    picks = shuffled_batches(count, 32, steps, generator)
    if drawn:
        assert steps is not None  # windows that are drawn are no pass
        size = (min(16, count),)
        picks = (torch.randint(count, size, generator=generator) for _ in range(steps))
    for pick in picks:
        windows = _gather(track, track.index[pick.to(track.index.device)])
        label = None if text is None else windows.text
        with torch.enable_grad():
            loss = masked_reconstruction_loss(
                denoiser, windows.rotmats, windows.seen, generator, label
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def denoiser_optimizer(denoiser: MotionDenoiser, lr: float) -> torch.optim.Adam:
    """Adam as CycleAdapt uses it."""
    return torch.optim.Adam(denoiser.parameters(), lr=lr, betas=(0.5, 0.9))


@dataclass(frozen=True)
class _Grid:
    """A stretch at 30 fps, and where its windows lie."""

    rotmats: Tensor  # (N, 24, 3, 3)
    seen: Tensor  # (N, 24)
    text: Tensor  # (N, D)
    index: Tensor  # (S, 60) frames of each window; the padding repeats the last
    at: Tensor  # (N,) seconds from the start of the stretch


@dataclass(frozen=True)
class _Windows:
    rotmats: Tensor  # (S, 60, 24, 3, 3)
    seen: Tensor  # (S, 60, 24)
    text: Tensor  # (S, D)
    index: Tensor  # (S, 60) frame on the 30 fps grid; the padding repeats the last


def _check(rotmats: Tensor, times: Tensor, seen: Tensor, text: Tensor | None) -> None:
    """Counts that belong together, times that increase."""
    frames = len(rotmats)
    lengths = {len(times), len(seen)}
    if text is not None and text.dim() == 2:
        lengths.add(len(text))
    if rotmats.shape[1:] != (JOINTS, 3, 3) or lengths != {frames} or frames == 0:
        raise SemttaError(
            f"a track to denoise needs rotations (T, {JOINTS}, 3, 3) with one time, one row of "
            f"seen and one row of text per frame, not {tuple(rotmats.shape)} with {lengths}."
        )
    if not (times.diff() > 0).all():
        raise SemttaError("times of a track must be strictly increasing.")


def _per_frame(text: Tensor | None, times: Tensor) -> Tensor:
    if text is None:
        return torch.zeros(len(times), 0, device=times.device)
    return text.expand(len(times), -1) if text.dim() == 1 else text


def _grid(
    rotmats: Tensor, times: Tensor, seen: Tensor, text: Tensor, stride: int = STRIDE
) -> _Grid:
    """One stretch at 30 fps, its windows ``stride`` frames apart (the last one always)."""
    local = _seconds(times)
    count = int(torch.ceil(local[-1] * FPS - 1e-2)) + 1
    at = torch.arange(count, dtype=torch.float64) / FPS
    seen = seen.to(rotmats)
    poses = _interpolate(rotmats, local, seen, at)
    weights = _linear(seen, local, at)
    nearest = torch.searchsorted((local[1:] + local[:-1]) / 2, at)
    starts = [*range(0, count - WINDOW, stride), max(count - WINDOW, 0)]
    index = torch.tensor(starts)[:, None] + torch.arange(WINDOW)
    index = index.clamp(max=count - 1).to(rotmats.device)
    return _Grid(poses, weights, text[nearest.to(text.device)], index, at)


def _joined(parts: list[_Grid]) -> _Grid:
    """Several stretches as one; no window crosses from one to the next."""
    first = [0, *itertools.accumulate(len(part.rotmats) for part in parts)]
    return _Grid(
        torch.cat([part.rotmats for part in parts]).detach(),
        torch.cat([part.seen for part in parts]),
        torch.cat([part.text for part in parts]),
        torch.cat([part.index + start for part, start in zip(parts, first)]),
        torch.cat([part.at for part in parts]),
    )


def _gather(track: _Grid, index: Tensor) -> _Windows:
    """Windows of the frames (S, 60)."""
    label = F.normalize(track.text[index.to(track.text.device)].mean(1), dim=-1)
    return _Windows(track.rotmats[index], track.seen[index], label, index)


def _seconds(times: Tensor) -> Tensor:
    """Times from the first, float64 on the CPU (not every accelerator has float64)."""
    times = times.cpu().double()
    return times - times[0]


def _merge(out: Tensor, windows: _Windows) -> Tensor:
    """Windows (S, 60, 24, 3, 3) -> grid (N, 24, 3, 3), weighted chordal mean.

    A window counts most in its middle, and for each joint in proportion to how much of it the
    window has seen: a neighbour that saw the limb knows more about it."""
    ramp = torch.sin(torch.pi * (torch.arange(WINDOW, device=out.device) + 0.5) / WINDOW) ** 2
    evidence = 0.02 + windows.seen.mean(1)
    weights = ((1e-3 + ramp)[None, :, None] * evidence[:, None]).to(out)
    total = out.new_zeros(int(windows.index.max()) + 1, JOINTS, 3, 3)
    total.index_add_(0, windows.index.flatten(), (out * weights[..., None, None]).flatten(0, 1))
    return roma.special_procrustes(total)


def _bracket(times: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbouring frames of each moment, and the share (N,) of the right one."""
    right = torch.searchsorted(times, at).clamp(max=len(times) - 1)
    left = (right - 1).clamp_min(0)
    span = (times[right] - times[left]).clamp_min(1e-9)
    return left, right, ((at - times[left]) / span).clamp(0, 1).float()


def _linear(values: Tensor, times: Tensor, at: Tensor) -> Tensor:
    """(T, J) at ``times`` -> (N, J) at ``at``, linear, constant outside."""
    left, right, share = (x.to(values.device) for x in _bracket(times, at))
    return torch.lerp(values[left], values[right], share[:, None].to(values))


def _interpolate(rotmats: Tensor, times: Tensor, trust: Tensor, at: Tensor) -> Tensor:
    """(T, J, 3, 3) at ``times`` -> (N, J, 3, 3) at ``at``; trusted neighbours (T, J) first."""
    left, right, share = (x.to(rotmats.device) for x in _bracket(times, at))
    share = share[:, None].to(rotmats)
    low, high = (1 - share) * (trust[left] + 1e-3), share * (trust[right] + 1e-3)
    mean = low[..., None, None] * rotmats[left] + high[..., None, None] * rotmats[right]
    return roma.special_procrustes(mean / (low + high)[..., None, None])
