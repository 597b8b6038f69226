"""Soft reset: weights are drawn back to where they began, as far as they are told."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_adapter import CAMERA, adapter, same, tiny_model, walker

from semtta.tta import loop
from semtta.tta.loop import pull_back

TRACK = walker(40)


def adapted(anchor, monkeypatch=None, *overrides):
    """The result, and how far the weights were at the end from where they began."""
    model, ends = tiny_model(), []
    start = [p.detach().clone() for p in model.parameters()]
    if monkeypatch is not None:
        whole = loop.fine_tune

        def watched(run, strategy, parameters, base):
            whole(run, strategy, parameters, base)
            ends.extend(p.detach().clone() for p in run.model.parameters())

        monkeypatch.setattr("semtta.tta.fit.fine_tune", watched)
    settings = [] if anchor is None else [f"optimizer.anchor={anchor}"]
    result = adapter(*settings, *overrides, model=model).adapt(TRACK, CAMERA)
    away = sum(float((a - b).square().sum()) for a, b in zip(ends, start)) ** 0.5
    return result, away


@given(st.floats(0, 1), st.integers(0, 99))
def test_it_is_the_formula(share, seed):
    draw = torch.Generator().manual_seed(seed)
    weights, start = ([torch.randn(3, generator=draw), torch.randn(2, 2, generator=draw)]
                      for _ in range(2))  # fmt: skip
    before = [weight.clone() for weight in weights]
    pull_back(weights, start, share)
    for now, was, first in zip(weights, before, start):
        torch.testing.assert_close(now, was - share * (was - first), atol=1e-6, rtol=1e-5)
    pull_back(weights, start, 1.0)
    assert all(map(torch.equal, weights, start))


def test_without_it_nothing_changes_and_with_all_of_it_nothing_is_learnt():
    plain, off = adapted(None)[0], adapted(0)[0]
    assert same(plain.adapted, off.adapted) and plain.history == off.history
    whole = adapted(1)[0]
    assert same(whole.adapted, whole.base) and not same(plain.adapted, plain.base)


def test_the_more_the_nearer_to_the_base(monkeypatch):
    away = [adapted(share, monkeypatch)[1] for share in (0, 0.05, 0.5, 1)]
    assert away[0] > 1.1 * away[1] and away[1] > 1.1 * away[2] and away[3] == 0


@pytest.mark.parametrize("value", ["1.5", "-0.1"])
def test_it_is_a_share(value):
    with pytest.raises(Exception, match="optimizer.anchor"):
        adapter(f"optimizer.anchor={value}")
