"""A masked motion model: removes jitter and drift, and completes hidden limbs in phase.

Where a Gaussian only averages neighbouring frames, the model has learned how bodies move: told
which rotations had no 2D evidence, and how the root moves, it infers them from the visible rest of
the body, so hidden legs of a walk keep step with the arms. It says how sure it is: where it is
not, what it was given stays. Its output is the target of the smoothing loss (Eq. 9) and may be
fine-tuned on the video itself by masked reconstruction (CycleAdapt, Nam et al. 2023).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import roma
import torch
from torch import Tensor

from semtta.checkpoints import check_fit, load_strictly, tensors, write_checkpoint
from semtta.engine import shuffled_batches
from semtta.errors import SemttaError
from semtta.geometry import gaussian_smooth, nearest_rotation
from semtta.motion.denoiser_input import fill_unseen
from semtta.motion.denoiser_net import WINDOW, DenoiserConfig, MotionDenoiser
from semtta.motion.denoiser_windows import (
    STRIDE,
    Windows,
    check_track,
    gather,
    grid_of,
    interpolate,
    joined,
    merged,
    merged_values,
    per_frame,
    resample_values,
    seconds_from_first,
)
from semtta.motion.resample import stretches
from semtta.reading import reading
from semtta.shipped import asset
from semtta.tensor_files import read_tensors

_FORMAT = "semtta-denoiser-3"
_OLDER = ("semtta-denoiser-1", "semtta-denoiser-2")
_WHAT = "a semtta denoiser"
_DOUBT = math.radians(45)  # a completion that errs by so much counts half


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
    if isinstance(content, dict) and content.get("format") in _OLDER:
        raise SemttaError(f"'{path}' is a denoiser of an older format that was told neither of the "
                          "root nor of gaps; train one with tools/train_denoiser.py.")  # fmt: skip
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SemttaError(f"'{path}' is not {_WHAT}; train one with tools/train_denoiser.py.")
    with reading(path, "denoiser"):
        config, state = DenoiserConfig(**content["config"]), tensors(content["state"])
        with torch.device("meta"):  # costs nothing, whatever the file says
            check_fit(MotionDenoiser(config), state, path, _WHAT)
        return load_strictly(MotionDenoiser(config), state, path, _WHAT)


def complete_track(
    denoiser: MotionDenoiser,
    rotmats: Tensor,
    times: Tensor,
    seen: Tensor,
    text: Tensor | None = None,
    *,
    gaussian: float = 1 / 30,
    trans: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Denoise and complete a track of any length and frame rate.

    Stretches between gaps of more than 0.25 s are treated one by one: nothing is bridged. Each is
    brought to 30 fps, cut into overlapping windows (a short one repeats its last frame), denoised,
    merged by a weighted chordal mean, and brought back to its own times. What nobody has seen is
    then mixed with the guess that was handed in, by certainty: at 0 the guess stays as it is.

    Args:
        denoiser: the model.
        rotmats: (T, 24, 3, 3) camera frame.
        times: (T,) seconds, increasing.
        seen: (T, 24) in [0, 1].
        text: (T, D) label embedding per frame (zeros: no label), (D,) for all, or None.
        gaussian: standard deviation of the closing filter, seconds; 0 = none. It is a Gaussian
            whose loss is filtered and given back, so that fast limbs keep their swing.
        trans: (T, 3) pelvis in the camera frame, metres; None: no root movement told.
    Returns: (T, 24, 3, 3) targets, and (T, 24) certainty in [0, 1]: 1 = as good as seen."""
    check_track(rotmats, times, seen, text, trans)
    out, certainty = torch.empty_like(rotmats), torch.empty_like(rotmats[..., 0, 0])
    for run in stretches(times):
        path = None if trans is None else trans[run]
        words = per_frame(text, times)[run]
        stretch = grid_of(rotmats[run], times[run], seen[run], words, trans=path)
        windows = gather(stretch, stretch.index)
        with torch.no_grad():
            poses, deviation = _completed(denoiser, windows, text is not None)
        local = seconds_from_first(times[run])
        poses = merged(poses, windows)
        poses = interpolate(poses, stretch.at, torch.ones_like(poses[..., 0, 0]), local)
        deviation = resample_values(merged_values(deviation, windows), stretch.at, local)
        certainty[run] = _certainty(deviation, seen[run].to(deviation))
        kept = torch.lerp(rotmats[run], poses, certainty[run][..., None, None])
        poses = nearest_rotation(kept)
        out[run] = _settled(poses, local, gaussian) if gaussian > 0 else poses
    return out, certainty


def _completed(denoiser: MotionDenoiser, windows: Windows, labelled: bool) -> tuple[Tensor, Tensor]:
    """What the network makes of all windows, 64 at a time."""
    pieces = []
    for i in range(0, len(windows.rotmats), 64):
        part = slice(i, i + 64)
        text = windows.text[part] if labelled else None
        trans = None if windows.trans is None else windows.trans[part]
        pieces.append(denoiser.complete(windows.rotmats[part], windows.seen[part], text, trans))
    poses, deviations = zip(*pieces)
    return torch.cat(poses), torch.cat(deviations)


def _certainty(deviation: Tensor, seen: Tensor) -> Tensor:
    """The weight of a completion beside the guess that was handed in; 1 where it is seen.

    Args:
        deviation: (T, 24) radians per axis.
        seen: (T, 24) in [0, 1]."""
    doubt = (3 * (deviation / _DOUBT) ** 2) ** 2  # steep: half-sure completions would fade
    return 1 - (1 - seen.clamp(0, 1)) * doubt / (1 + doubt)


def _settled(rotmats: Tensor, times: Tensor, sigma: float) -> Tensor:
    """A Gaussian, and the same over what it took away: at 2 Hz a swing loses 1 %, not 8 %."""
    once = gaussian_smooth(rotmats, times, sigma)
    return nearest_rotation(2 * once - gaussian_smooth(once, times, sigma))


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
        rotmats, seen, text: as in :meth:`MotionDenoiser.complete`.
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
    return torch.where(kept, rotmats, roma.special_gramschmidt(filled))


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
        rotmats, times, seen, text: as in :func:`complete_track`.
        steps: gradient steps; None = one pass, where windows are not ``drawn``.
        lr: learning rate of Adam, betas (0.5, 0.9) as in CycleAdapt.
        generator: draws windows and masks.
        drawn: each step sees 16 windows, drawn with replacement of those half a second apart; else
            all windows a frame apart come by in shuffled batches of 32, as in CycleAdapt.
        optimizer: carries its state from one call to the next; None = a new one.
    Returns: the loss of each step."""
    check_track(rotmats, times, seen, text)
    parts = [
        grid_of(rotmats[run], times[run], seen[run], per_frame(text, times)[run],
                STRIDE if drawn else 1)
        for run in stretches(times)
    ]  # fmt: skip
    track = joined(parts)
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
        windows = gather(track, track.index[pick.to(track.index.device)])
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
