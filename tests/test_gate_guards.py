"""What a shut gate keeps out: filled joints only, or all that the label does."""

from __future__ import annotations

import pytest
import torch
from test_adapter import CAMERA, TinyPrior, adapter, same, walker
from test_method import OPEN, begun

LISTENING = (*OPEN[1:-1], "alignment.weight=1", "alignment.from_epoch=0", "gate.sigma=0.5",
             "evidence.fill_from_epoch=0")  # fmt: skip
TWO = ["walk"] * 65 + ["gurn"] * 65


def halved(strategy, run):
    """The gate agrees with the segments of "walk" alone."""
    walks = torch.tensor([label == "walk" for label in strategy.segments.labels])
    strategy._gated = lambda *_: torch.where(walks, 0.9, -0.9)
    strategy._look(run, 0)
    return walks


def begun_in_halves(guards, *overrides):
    run, strategy = begun(*LISTENING, f"gate.guards={guards}", *overrides, prior=TinyPrior(0.6),
                          track=walker(130), texts=TWO)  # fmt: skip
    walks = halved(strategy, run)
    return run, strategy, walks


@pytest.mark.parametrize(("guards", "pulled"), [("fill", {"walk", "gurn"}), ("label", {"walk"})])
def test_the_label_pulls_everywhere_or_only_where_the_gate_is_open(guards, pulled):
    run, strategy, _ = begun_in_halves(guards)
    found, frames = set(), torch.zeros(130)
    for draw in strategy.batches(run, 0):
        frames[draw.frames] += 1
        found |= {strategy.segments.labels[i] for i in draw.segments}
        terms = strategy.loss(run, draw, run.forward(draw.frames))
        assert ("alignment" in terms) == bool(draw.segments)
    assert found == pulled
    assert (frames[66:129] > 0).all()  # what is not heard is still fitted


def test_a_segment_that_is_drawn_is_itself_among_those_that_are_heard():
    run, strategy, walks = begun_in_halves("label")
    strategy._gated = lambda *_: torch.where(walks, -0.9, 0.9)  # the later ones alone
    strategy._look(run, 0)
    for draw in strategy.batches(run, 0):
        for i, rows in zip(draw.segments, draw.rows, strict=True):
            assert strategy.segments.labels[i] == "gurn"
            assert torch.equal(draw.frames[rows], strategy.segments.windows[i])


@pytest.mark.parametrize(("guards", "told"), [("fill", 130), ("label", 65)])
def test_the_motion_model_is_told_the_label_everywhere_or_where_it_is_heard(guards, told):
    run, strategy, _ = begun_in_halves(guards)
    strategy.text = torch.ones(130, 3)
    text = strategy._heard_text(run)
    assert text.any(1).tolist() == [True] * told + [False] * (130 - told)
    strategy._gated = lambda *_: torch.full((len(strategy.segments),), -0.9)
    strategy._look(run, 0)
    nothing = strategy._heard_text(run)
    assert torch.equal(nothing, strategy.text) if guards == "fill" else nothing is None


@pytest.mark.parametrize("guards", ["fill", "label"])
def test_a_label_that_is_never_heard_changes_nothing_if_the_gate_guards_it(guards):
    settings = (*LISTENING, "optimizer.epochs=2", f"gate.guards={guards}")
    mine = adapter(*settings, prior=TinyPrior(-0.4))
    told, plain = (mine.adapt(walker(), CAMERA, texts) for texts in (["walk"] * 70, None))
    assert same(told.adapted, plain.adapted) == (guards == "label")
    assert ("loss_alignment" in told.history[0]) == (guards == "fill")
