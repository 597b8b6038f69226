"""Which networks a strategy is given, and the frames of its steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from semtta import motion
from semtta.config import load_config
from semtta.motion.dictionary import Dictionary
from semtta.tta import strategies
from semtta.tta.cycleadapt import CycleAdapt
from semtta.tta.semtta import Semtta
from semtta.tta.strategies import build_strategy, load_networks, reads_text, strategy_class
from semtta.tta.strategy import Draw, Frozen, Networks

CPU = torch.device("cpu")
PLAIN = ("alignment.weight=0.1", "evidence.fill=true", "gate.prior=same")


class Named(nn.Module):
    """A network that knows what it was loaded as."""

    sigma = 0.5

    def __init__(self, *name, **settings):
        super().__init__()
        self.name, self.settings = name, settings
        self.layer = nn.Linear(2, 2)

    def at_rest(self):
        return not self.training and not any(p.requires_grad for p in self.parameters())


@pytest.fixture
def loaded(monkeypatch):
    """Every network that is loaded, in its order."""
    found = []

    def load(*name, **settings):
        found.append(Named(*name, **settings))
        return found[-1]

    monkeypatch.setattr(motion, "load_prior", load)
    monkeypatch.setattr(strategies, "load_smoothing_network", lambda config: load(config.kind))
    monkeypatch.setattr(Dictionary, "load", classmethod(lambda cls, reads: "the dictionary"))
    return found


def networks(*overrides, labelled=True, given=None):
    config = load_config("default", [*PLAIN, *overrides])
    return load_networks(config, labelled, given or Networks(), CPU)


def test_the_prior_that_pulls_is_also_the_gates_where_that_is_the_same(loaded):
    found = networks("alignment.prior=motionclip", "alignment.checkpoint=a.pt", "alignment.clip=b",
                     "alignment.bpe=c", "alignment.exemplars=d",
                     "alignment.translation=ankle", "alignment.text_vectors=e")  # fmt: skip
    prior, denoiser = loaded
    assert prior.name == ("motionclip", "a.pt")
    assert prior.settings == dict(
        clip="b", bpe="c", exemplars="d", translation="ankle", text_vectors="e", reads="table"
    )
    assert found.prior is found.gate_prior is prior and found.denoiser is denoiser
    assert found.exemplars is None and denoiser.name == ("denoiser",)
    assert all(network.at_rest() for network in loaded)


def test_an_independent_gate_reads_a_prior_of_its_own(loaded):
    found = networks("gate.prior=independent", "gate.checkpoint=g.pt")
    assert [n.name for n in loaded] == [("embedded", None), ("embedded-gate", "g.pt"),
                                        ("denoiser",)]  # fmt: skip
    assert (found.prior, found.gate_prior, found.denoiser) == tuple(loaded)
    assert all(network.at_rest() for network in loaded)


def test_networks_that_are_given_are_kept_and_put_to_rest(loaded):
    given = Networks(Named("p"), Named("g"), Named("d"))
    assert networks("gate.prior=independent", given=given) == given and not loaded
    assert given.prior.at_rest() and given.gate_prior.at_rest() and given.denoiser.at_rest()
    only_prior = networks(given=Networks(prior=given.prior, denoiser=given.denoiser))
    assert only_prior.gate_prior is given.prior and not loaded


@pytest.mark.parametrize(
    ("overrides", "labelled", "text"),
    [((), True, True), ((), False, False), (("alignment.weight=0",), True, True),
     (("evidence.fill=false",), True, True),
     (("alignment.weight=0", "evidence.fill=false"), True, False)],
)  # fmt: skip
def test_priors_are_loaded_and_handed_on_where_text_is_used(loaded, overrides, labelled, text):
    config = load_config("default", [*PLAIN, *overrides])
    assert reads_text(config, labelled) == text
    found = networks(*overrides, labelled=labelled)
    assert [n.name[0] for n in loaded] == ["embedded"] * text + ["denoiser"]
    strategy = build_strategy(config, labelled, Networks(Named("p"), Named("g"), found.denoiser))
    assert isinstance(strategy, Semtta) and strategy.denoiser is found.denoiser
    assert (strategy.prior is not None) == (strategy.gate_prior is not None) == text


@pytest.mark.parametrize(
    ("name", "labelled", "names"),
    [("cycleadapt", True, ["denoiser"]), ("unpaired", True, ["denoiser", "exemplars"]),
     ("unpaired", False, ["denoiser"]), ("discriminator", True, ["denoiser", "exemplars"]),
     ("frozen", True, [])],
)  # fmt: skip
def test_a_strategy_gets_what_it_reads_and_nothing_else(loaded, name, labelled, names):
    found = networks(f"strategy={name}", labelled=labelled)
    assert [field for field, value in vars(found).items() if value is not None] == names
    if "exemplars" in names:
        assert found.exemplars == "the dictionary"
        kept = networks(f"strategy={name}", given=Networks(exemplars="my own"))
        assert kept.exemplars == "my own"


def test_without_epochs_every_strategy_is_the_frozen_one():
    assert strategy_class(load_config("default", ["strategy=cycleadapt"])) is CycleAdapt
    for name in ("semtta", "cycleadapt"):
        config = load_config("default", [f"strategy={name}", "optimizer.epochs=0"])
        assert strategy_class(config) is Frozen


def test_the_frozen_strategy_draws_nothing_and_says_nothing():
    frozen = Frozen()
    frozen.begin(None)
    assert list(frozen.batches(None, 0)) == []
    assert frozen.loss(None, None, None) == {} and frozen.end_epoch(None, 0) == {}


def test_a_draw_predicts_each_frame_once_and_knows_where_its_segments_are():
    pieces = [(torch.tensor([4, 5, 6]), 7), (torch.tensor([1, 2]), -1), (torch.tensor([5, 6]), 0),
              (torch.tensor([4, 5, 6]), 7)]  # fmt: skip
    draw = Draw.of(pieces, CPU)
    assert draw.frames.tolist() == [1, 2, 4, 5, 6] and draw.count.tolist() == [1, 1, 2, 3, 3]
    assert draw.count.dtype == torch.float32 and draw.segments == (7, 0, 7)
    assert [draw.frames[rows].tolist() for rows in draw.rows] == [[4, 5, 6], [5, 6], [4, 5, 6]]
