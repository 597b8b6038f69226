"""What a window of an online run leaves to the next one.

The weights go on, drawn back some of the way to the base (a soft reset): an online run that only
adds to what it has learnt drifts, one that starts anew every time learns nothing of the person. The
body goes on, too: its shape is the median over all windows so far, so it settles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from semtta.config import Config
from semtta.tta.loop import pull_back
from semtta.tta.run import Run
from semtta.tta.shape import track_shape


@dataclass
class Carried:
    """State of one person's online run.

    Args:
        config: of the whole run.
        learnt: weights with which the next window begins; None = there was no window yet.
        told: (10,) the shape that the settings told of the first window.
        bases, shapes: (10,) the shape of base and adapted in each window.
    """

    config: Config
    learnt: list[Tensor] | None = None
    told: Tensor | None = None
    bases: list[Tensor] = field(default_factory=list)
    shapes: list[Tensor] = field(default_factory=list)

    @property
    def settings(self) -> Config:
        """Of the next window. Once something is learnt there is no reason to wait: what a run
        leaves for a later epoch begins with the first."""
        config, optimizer = self.config, self.config.optimizer
        if self.learnt is None or optimizer.epochs == 0:
            return config
        return replace(
            config,
            optimizer=replace(optimizer, epochs=config.online.epochs),
            alignment=replace(config.alignment, from_epoch=0),
            smoothing=replace(config.smoothing, from_epoch=0),
            evidence=replace(config.evidence, fill_from_epoch=0),
        )

    @torch.no_grad()
    def begin(self, run: Run, weights: Sequence[nn.Parameter]) -> list[Tensor]:
        """Go on where the window before has stopped.

        Args:
            run: with the first prediction of the network as it is.
            weights: of the network as it is, those that learn.
        Returns: what they were."""
        base = [weight.detach().clone() for weight in weights]
        if self.learnt is not None:
            for weight, value in zip(weights, self.learnt, strict=True):
                weight.copy_(value)
            run.latest = run.predict_all()
        return base

    @torch.no_grad()
    def end(self, run: Run, weights: Sequence[nn.Parameter], base: Sequence[Tensor]) -> None:
        """Keep what the next window needs; the weights are moved to where it begins.

        Args:
            run: adapted.
            base: what :meth:`begin` returned."""
        pull_back(weights, base, self.config.online.reset)
        self.learnt = [weight.detach().clone() for weight in weights]
        self.told = None if run.worn is None else run.worn.betas
        self.bases.append(track_shape(run.first.betas))
        self.shapes.append(track_shape(run.latest.betas))

    @property
    def settled(self) -> tuple[Tensor, Tensor]:
        """(10,) the shapes of base and adapted, as far as they are known by now."""
        return track_shape(torch.stack(self.bases)), track_shape(torch.stack(self.shapes))
