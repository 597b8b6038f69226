"""A masked motion model: removes jitter and drift, and completes hidden limbs in phase.

Where a Gaussian only averages neighbouring frames, the model has learned how bodies move: told
which rotations had no 2D evidence, it infers them from the visible rest of the body, so hidden
legs of a walk keep step with the arms. Its output is the target of the smoothing loss (Eq. 9)
and may be fine-tuned on the video itself by masked reconstruction (CycleAdapt, Nam et al. 2023).

The result is equivariant to the camera: rotating every global orientation of the input rotates
the output alike, whatever the tilt, because the network only sees orientations relative to
their mean over the window.
"""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import roma
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.geometry import columns_to_rotmat, gaussian_smooth, rotmat_to_columns
from semtta.shipped import asset

FPS = 30.0
WINDOW = 60  # frames, 2 s
STRIDE = 15  # frames between the starts of overlapping windows
MAX_GAP = 0.2  # seconds; a longer gap in time splits the track
JOINTS = 24
_FORMAT = "semtta-denoiser-1"
_SIGMAS = (1.0, 2.0, 4.0)  # frames; Gaussians that the network mixes per joint and frame


@dataclass(frozen=True)
class DenoiserConfig:
    """Shape of the network.

    Args:
        width: size of a token.
        layers: transformer blocks.
        heads: attention heads.
        patch: frames per token.
        text_dim: D of the text embeddings.
    """

    width: int = 224
    layers: int = 5
    heads: int = 7
    patch: int = 2
    text_dim: int = 384


class _Block(nn.Module):
    """Pre-norm block over time: attention (far: rhythm), depthwise convolution (near), MLP."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_conv = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(S, N, width) -> (S, N, width)."""
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        attended = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)))
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        x = x + self.conv(self.norm_conv(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp(self.norm_mlp(x))


class MotionDenoiser(nn.Module):
    """Denoises and completes windows of SMPL rotations.

    Per joint and frame the output is a mixture of the input, filled over what was not seen, and
    of three Gaussians of it, plus a correction. The mixture makes a good smoother of an
    untrained network; the correction is what it learns about motion.
    """

    def __init__(self, config: DenoiserConfig = DenoiserConfig()):
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch
        tokens = WINDOW // patch
        self.embed = nn.Linear(patch * JOINTS * 13, width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.text = nn.Linear(config.text_dim, width)
        self.no_text = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(_Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.correction = nn.Linear(width, patch * JOINTS * 6)
        self.mixture = nn.Linear(width, patch * JOINTS * (1 + len(_SIGMAS)))
        for head in (self.correction, self.mixture):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        frame = torch.arange(float(WINDOW))
        kernels = [torch.exp(-0.5 * ((frame[:, None] - frame) / s) ** 2) for s in _SIGMAS]
        self.register_buffer("kernels", torch.stack(kernels), persistent=False)

    def forward(self, rotmats: Tensor, seen: Tensor, text: Tensor | None = None) -> Tensor:
        """Denoise windows.

        Args:
            rotmats: (S, 60, 24, 3, 3) at 30 fps, global orientation first, camera frame.
            seen: (S, 60, 24) in [0, 1]; 0 = no evidence of what this rotation moves. Unseen
                rotations are not read, unless a joint was never seen in the whole window.
            text: (S, D) label embeddings or None; rows of zeros mean "no label".
        Returns: (S, 60, 24, 3, 3) rotations in the camera frame."""
        if rotmats.shape[1:] != (WINDOW, JOINTS, 3, 3) or seen.shape != rotmats.shape[:3]:
            raise SemttaError(
                f"the denoiser wants rotations (S, {WINDOW}, {JOINTS}, 3, 3) and seen (S, "
                f"{WINDOW}, {JOINTS}), not {tuple(rotmats.shape)} and {tuple(seen.shape)}."
            )
        seen = seen.to(rotmats).clamp(0, 1)
        x = fill_unseen(rotmat_to_columns(rotmats), seen)
        x, frame = _canonical(x)
        smoothed = self._smooth(x, seen)
        features = torch.cat((x, x - smoothed[:, 1], seen[..., None]), dim=-1)
        hidden = self._encode(features, text)
        shape = (len(x), WINDOW, JOINTS, -1)
        weights = self.mixture(hidden).reshape(shape).softmax(-1)
        candidates = torch.cat((x[:, None], smoothed), dim=1)
        x = torch.einsum("btjk,bktjc->btjc", weights, candidates)
        x = x + self.correction(hidden).reshape(shape)
        out = columns_to_rotmat(x)
        root = frame[:, None, None] @ out[:, :, :1]
        return torch.cat((root, out[:, :, 1:]), dim=2)

    def _smooth(self, x: Tensor, seen: Tensor) -> Tensor:
        """The Gaussians of x (S, 60, 24, 6), trusting what was seen: (S, 3, 60, 24, 6)."""
        trust = (0.1 + seen)[..., None]
        weighted = torch.cat((x * trust, trust), dim=-1).flatten(2)
        sums = torch.matmul(self.kernels.to(x), weighted[:, None]).unflatten(-1, (JOINTS, 7))
        return sums[..., :6] / sums[..., 6:]

    def _encode(self, features: Tensor, text: Tensor | None) -> Tensor:
        """(S, 60, 24, 13), (S, D) | None -> tokens (S, 60 / patch, width)."""
        tokens = self.embed(features.reshape(len(features), WINDOW // self.config.patch, -1))
        label = self.no_text.expand(len(features), -1)
        if text is not None:
            given = text.abs().sum(-1, keepdim=True) > 0
            label = torch.where(given, self.text(text.to(features)), label)
        tokens = tokens + self.position + label[:, None]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


def _canonical(x: Tensor) -> tuple[Tensor, Tensor]:
    """Express global orientations relative to their mean over the window.

    Args:
        x: (S, T, J, 6) columns of rotations, joint 0 global.
    Returns: the same with joint 0 relative, and the mean orientations (S, 3, 3)."""
    mean = roma.special_procrustes(columns_to_rotmat(x[:, :, 0]).mean(1))
    columns = x[:, :, 0].unflatten(-1, (2, 3)) @ mean[:, None]  # row vectors: (M^T c)^T = c^T M
    return torch.cat((columns.flatten(-2)[:, :, None], x[:, :, 1:]), dim=2), mean


def fill_unseen(x: Tensor, seen: Tensor) -> Tensor:
    """Interpolate linearly over frames that were not seen; joints never seen stay as they are.

    Args:
        x: (S, T, J, C) values.
        seen: (S, T, J) in [0, 1]; frames of at least 0.5 are the support, others are blended
            between their own value (seen 0.5) and the interpolation (seen 0).
    Returns: (S, T, J, C)."""
    length = x.shape[1]
    support = seen >= 0.5
    frame = torch.arange(length, device=x.device)[None, :, None].expand_as(support)
    before = torch.where(support, frame, -1).cummax(1).values
    after = torch.where(support, frame, length).flip(1).cummin(1).values.flip(1)
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


def save_denoiser(denoiser: MotionDenoiser, path: str | Path) -> None:
    """Write the weights as float16, by way of a temporary name."""
    state = {name: value.half() for name, value in denoiser.state_dict().items()}
    path = Path(path)
    temporary = path.with_suffix(".tmp")
    torch.save({"format": _FORMAT, "config": asdict(denoiser.config), "state": state}, temporary)
    temporary.replace(path)


def load_denoiser(path: str | Path | None = None) -> MotionDenoiser:
    """The shipped denoiser, or another file of the same format, in eval mode on the CPU.

    Raises ``SemttaError`` if the file is missing, damaged or something else."""
    path = asset("motion/denoiser.pt") if path is None else Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no denoiser file '{path}'.")
    wrong = SemttaError(
        f"'{path}' is damaged or not a semtta denoiser; train one with tools/train_denoiser.py."
    )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError,
            pickle.UnpicklingError, BadZipFile) as error:  # fmt: skip
        raise wrong from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise wrong
    try:
        denoiser = MotionDenoiser(DenoiserConfig(**content["config"]))
        state = {name: value.float() for name, value in content["state"].items()}
        denoiser.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise wrong from error
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise wrong
    return denoiser.eval()


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

    Stretches between gaps of more than 0.2 s are treated one by one: nothing is bridged. Each is
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
    out = torch.empty_like(rotmats)
    for run in _runs(times):
        windows, at = _windows(rotmats[run], times[run], seen[run], _per_frame(text, times)[run])
        with torch.no_grad():
            pieces = [
                denoiser(windows.rotmats[i : i + 64], windows.seen[i : i + 64],
                         windows.text[i : i + 64] if text is not None else None)
                for i in range(0, len(windows.rotmats), 64)
            ]  # fmt: skip
        grid = _merge(torch.cat(pieces), windows)
        local = times[run].double() - times[run][0].double()
        result = _interpolate(grid, at, torch.ones_like(grid[..., 0, 0]), local)
        out[run] = _gaussian_blocks(result, local, gaussian) if gaussian > 0 else result
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
    out = denoiser(rotmats, seen * (1 - hidden), text)
    return ((out - rotmats).abs() * (hidden * seen)[..., None, None]).mean()


def fit_video(
    denoiser: MotionDenoiser,
    rotmats: Tensor,
    times: Tensor,
    seen: Tensor,
    *,
    steps: int,
    lr: float,
    generator: torch.Generator,
    text: Tensor | None = None,
    batch: int = 16,
) -> list[float]:
    """Fine-tune the denoiser in place on one video by masked reconstruction.

    Args:
        denoiser: changed in place; hand in a copy to keep the original.
        rotmats, times, seen, text: as in :func:`denoise_track`.
        steps: gradient steps, each on ``batch`` windows drawn with replacement.
        lr: learning rate of Adam, betas (0.5, 0.9) as in CycleAdapt.
        generator: draws windows and masks.
    Returns: the loss of each step."""
    parts = [_windows(rotmats[run], times[run], seen[run], _per_frame(text, times)[run])[0]
             for run in _runs(times)]  # fmt: skip
    poses = torch.cat([part.rotmats for part in parts]).detach()
    weights = torch.cat([part.seen for part in parts])
    labels = torch.cat([part.text for part in parts]) if text is not None else None
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=lr, betas=(0.5, 0.9))
    losses = []
    for _ in range(steps):
        pick = torch.randint(len(poses), (min(batch, len(poses)),), generator=generator)
        label = None if labels is None else labels[pick]
        loss = masked_reconstruction_loss(denoiser, poses[pick], weights[pick], generator, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@dataclass(frozen=True)
class _Windows:
    rotmats: Tensor  # (S, 60, 24, 3, 3)
    seen: Tensor  # (S, 60, 24)
    text: Tensor  # (S, D)
    index: Tensor  # (S, 60) frame on the 30 fps grid; the padding repeats the last


def _runs(times: Tensor) -> list[slice]:
    """Stretches of a track without a gap longer than ``MAX_GAP``."""
    breaks = (times.diff() > MAX_GAP).nonzero()[:, 0] + 1
    edges = [0, *breaks.tolist(), len(times)]
    return [slice(a, b) for a, b in zip(edges, edges[1:]) if b > a]


def _per_frame(text: Tensor | None, times: Tensor) -> Tensor:
    if text is None:
        return torch.zeros(len(times), 0, device=times.device)
    return text.expand(len(times), -1) if text.dim() == 1 else text


def _windows(
    rotmats: Tensor, times: Tensor, seen: Tensor, text: Tensor
) -> tuple[_Windows, Tensor]:
    """Overlapping windows at 30 fps of one stretch, and the grid's times (N,) from its start."""
    local = times.double() - times[0].double()
    count = int(torch.ceil(local[-1] * FPS - 1e-2)) + 1
    at = torch.arange(count, device=times.device, dtype=torch.float64) / FPS
    seen = seen.to(rotmats)
    poses = _interpolate(rotmats, local, seen, at)
    weights = _linear(seen, local, at)
    nearest = torch.searchsorted((local[1:] + local[:-1]) / 2, at)
    starts = [*range(0, count - WINDOW, STRIDE), max(count - WINDOW, 0)]
    index = torch.tensor(starts, device=at.device)[:, None] + torch.arange(
        WINDOW, device=at.device
    )
    index = index.clamp(max=count - 1)
    label = F.normalize(text[nearest][index].mean(1), dim=-1)
    return _Windows(poses[index], weights[index], label, index), at


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
    return left, right, ((at - times[left]) / span).clamp(0, 1)


def _linear(values: Tensor, times: Tensor, at: Tensor) -> Tensor:
    """(T, J) at ``times`` -> (N, J) at ``at``, linear, constant outside."""
    left, right, share = _bracket(times, at)
    return torch.lerp(values[left], values[right], share[:, None].to(values))


def _interpolate(rotmats: Tensor, times: Tensor, trust: Tensor, at: Tensor) -> Tensor:
    """(T, J, 3, 3) at ``times`` -> (N, J, 3, 3) at ``at``; trusted neighbours (T, J) first."""
    left, right, share = _bracket(times, at)
    share = share[:, None].to(rotmats)
    low, high = (1 - share) * (trust[left] + 1e-3), share * (trust[right] + 1e-3)
    mean = low[..., None, None] * rotmats[left] + high[..., None, None] * rotmats[right]
    return roma.special_procrustes(mean / (low + high)[..., None, None])


def _gaussian_blocks(rotmats: Tensor, times: Tensor, sigma: float, block: int = 240) -> Tensor:
    """``gaussian_smooth`` with memory linear in the length; the tails cut off are below 4 sigma."""
    out = []
    for start in range(0, len(times), block):
        first, last = times[start], times[min(start + block, len(times)) - 1]
        near = (times >= first - 4 * sigma) & (times <= last + 4 * sigma)
        smooth = gaussian_smooth(rotmats[near], times[near], sigma)
        inside = (times[near] >= first) & (times[near] <= last)
        out.append(smooth[inside])
    return torch.cat(out)
