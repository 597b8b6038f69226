"""Strategies by name, and the networks that each of them reads."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn

from semtta.config import Config
from semtta.errors import SemttaError
from semtta.motion.prior import MotionPrior
from semtta.tta.cycleadapt import CycleAdapt
from semtta.tta.discriminator import Discriminator
from semtta.tta.semtta import Semtta
from semtta.tta.smoothing import load_smoothing_network
from semtta.tta.strategy import Frozen, Networks, Strategy
from semtta.tta.unpaired import Unpaired

STRATEGIES: dict[str, type[Strategy]] = {
    "semtta": Semtta,
    "cycleadapt": CycleAdapt,
    "discriminator": Discriminator,
    "unpaired": Unpaired,
    "frozen": Frozen,
}


def strategy_class(config: Config) -> type[Strategy]:
    """What ``config.strategy`` names; without epochs nothing adapts."""
    return STRATEGIES["frozen" if config.optimizer.epochs == 0 else config.strategy]


def load_networks(
    config: Config, labelled: bool, given: Networks, device: torch.device
) -> Networks:
    """The networks that the settings need and that are not ``given``, frozen, on the device.

    Args:
        labelled: whether there are labels at all."""
    from semtta.motion import load_prior
    from semtta.motion.dictionary import Dictionary

    reads = strategy_class(config).reads
    networks = given
    if "prior" in reads and reads_text(config, labelled):
        if networks.prior is None:
            a = config.alignment
            prior = load_prior(
                a.prior, a.checkpoint, clip=a.clip, bpe=a.bpe, exemplars=a.exemplars,
                translation=a.translation, text_vectors=a.text_vectors, reads=config.labels.text,
            )  # fmt: skip
            networks = replace(networks, prior=prior)
        if networks.gate_prior is None:
            gate = networks.prior
            if config.gate.prior == "independent":
                checkpoint = config.gate.checkpoint
                gate = load_prior("embedded-gate", checkpoint, reads=config.labels.text)
            networks = replace(networks, gate_prior=gate)
        _check_threshold(config, networks.gate_prior)
    if "denoiser" in reads and networks.denoiser is None:
        networks = replace(networks, denoiser=load_smoothing_network(config.smoothing))
    if "exemplars" in reads and labelled and networks.exemplars is None:
        networks = replace(networks, exemplars=Dictionary.load(reads=config.labels.text))
    for module in (networks.prior, networks.gate_prior, networks.denoiser):
        if isinstance(module, nn.Module):
            module.to(device).eval().requires_grad_(False)
    return networks


def _check_threshold(config: Config, gate: MotionPrior | None) -> None:
    """Raise ``SemttaError`` if nothing says from which similarity on the gate is open."""
    if gate is not None and config.gate.sigma is None and math.isnan(gate.sigma):
        raise SemttaError("the gate reads a prior whose threshold is not known: find it with "
                          "tools/calibrate_prior.py, give gate.sigma, or let the gate read another "
                          "prior (gate.prior=independent).")  # fmt: skip


def build_strategy(config: Config, labelled: bool, networks: Networks) -> Strategy:
    """A strategy for one run; the priors are withheld where no text is used."""
    if not reads_text(config, labelled):
        networks = replace(networks, prior=None, gate_prior=None)
    return strategy_class(config)(networks)


def reads_text(config: Config, labelled: bool) -> bool:
    """Whether the motion-text priors have anything to do."""
    return labelled and (config.alignment.weight > 0 or config.evidence.fill)
