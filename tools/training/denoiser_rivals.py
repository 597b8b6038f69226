"""What the masked motion model was compared with: a temporal MLP, and a network that draws."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semtta.geometry import rotmat_to_columns
from semtta.motion.denoiser_net import JOINTS, WINDOW, DenoiserConfig, MotionDenoiser

LATENT = 24
_CONFIG = DenoiserConfig()


class _MixerBlock(nn.Module):
    """Pre-norm block of two MLPs, one over time and one over channels."""

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.norm_time, self.norm_channel = nn.LayerNorm(width), nn.LayerNorm(width)
        self.time = nn.Sequential(
            nn.Linear(tokens, 4 * tokens), nn.GELU(), nn.Linear(4 * tokens, tokens)
        )
        self.channel = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(S, N, width) -> (S, N, width)."""
        x = x + self.time(self.norm_time(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel(self.norm_channel(x))


class MixerDenoiser(MotionDenoiser):
    """The same inputs and outputs with a mixer in the place of the transformer."""

    def __init__(self, config: DenoiserConfig = _CONFIG):
        super().__init__(config)
        tokens = WINDOW // config.patch
        self.blocks = nn.ModuleList(
            _MixerBlock(tokens, config.width) for _ in range(config.layers + 1)
        )


class DrawingDenoiser(MotionDenoiser):
    """A conditional variational autoencoder: what the visible leaves open is a latent draw.

    In training the latent comes from the whole true window; afterwards it is drawn from a
    standard normal distribution, and ``draws`` completions are averaged. Their spread adds to the
    deviation."""

    def __init__(self, config: DenoiserConfig = _CONFIG, draws: int = 4):
        super().__init__(config)
        width, self.draws = config.width // 2, draws
        self.posterior = nn.Sequential(
            nn.Conv1d(JOINTS * 6, width, 5, stride=3, padding=2), nn.GELU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.GELU(),
            nn.Flatten(), nn.Linear(10 * width, 2 * LATENT),
        )  # fmt: skip
        self.latent = nn.Linear(LATENT, config.width, bias=False)
        self.drawn: Tensor | None = None
        self.divergence = torch.zeros(())

    def look(self, clean: Tensor, generator: torch.Generator) -> None:
        """Take the latent of the next pass from the true windows (S, 60, 24, 3, 3)."""
        turned = clean[:, :1, :1].transpose(-1, -2) @ clean[:, :, :1]
        columns = rotmat_to_columns(torch.cat((turned, clean[:, :, 1:]), dim=2)).flatten(2)
        mean, log_variance = self.posterior(columns.transpose(1, 2)).chunk(2, dim=-1)
        noise = torch.randn(mean.shape, generator=generator)
        self.drawn = mean + noise * (0.5 * log_variance).exp()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        self.divergence = divergence.sum(-1).mean()

    def complete(self, rotmats, seen, text=None, trans=None):
        if self.drawn is not None:
            return super().complete(rotmats, seen, text, trans)
        generator = torch.Generator().manual_seed(0)
        pairs = []
        for _ in range(self.draws):
            self.drawn = torch.randn(len(rotmats), LATENT, generator=generator)
            pairs.append(super().complete(rotmats, seen, text, trans))
        self.drawn = None
        poses = torch.stack([pose for pose, _ in pairs])
        mean = torch.linalg.svd(poses.mean(0))
        spread = (poses - poses.mean(0)).square().sum((-1, -2)).mean(0) / 6
        noise = torch.stack([deviation for _, deviation in pairs]).square().mean(0)
        return mean.U @ mean.Vh, (spread + noise).sqrt()

    def _tokens(self, features: Tensor) -> Tensor:
        return super()._tokens(features) + self.latent(self.drawn)[:, None]


RIVALS = {"transformer": MotionDenoiser, "mixer": MixerDenoiser, "drawing": DrawingDenoiser}
