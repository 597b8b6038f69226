"""Pieces of a step on threads of their own: nothing but the time depends on how many there are."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
import torch
from test_adapter import TinyPrior
from test_image_models import CAMERA, CLIP, person
from torch import nn

from semtta.config import load_config
from semtta.hmr.hmr import HMR, HMRSettings
from semtta.threads import allowed_threads, spinning_note, threads_for
from semtta.tta import memory, pieces
from semtta.tta.adapter import Adapter
from semtta.tta.pieces import Pieces, pieces_for
from semtta.tta.steps import accumulate_gradient
from semtta.tta.strategy import Draw

CPU = torch.device("cpu")
SETTINGS = (
    "device=cpu", "smoothing.kind=gaussian", "smoothing.from_epoch=0", "optimizer.epochs=1",
    "optimizer.lr=1e-3", "evidence.heldout=0", "closing.filter=none", "closing.path=frames",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return HMR("group", settings=HMRSettings.tiny()).eval()


def adapted(model, threads, *overrides, labels=None):
    torch.set_num_threads(threads)
    config = load_config("paper_hmr", [*SETTINGS, *overrides])
    prior = TinyPrior()
    adapter = Adapter(model, config=config, prior=prior, gate_prior=prior)
    seen = set()
    progress = lambda *_: seen.add(torch.get_num_threads())  # noqa: E731
    result = adapter.adapt(person(), CAMERA, labels, progress, CLIP)
    assert seen == {1} and torch.get_num_threads() == threads
    return result


@pytest.mark.parametrize("label, chunk, precision", [
    (None, 3, "fp32"), ("walk", 3, "fp32"), ("walk", "null", "bf16"),
])  # fmt: skip
def test_a_run_is_the_same_on_any_number_of_threads(model, label, chunk, precision, monkeypatch):
    monkeypatch.setattr(pieces, "_FRAMES", 5)
    labels = None if label is None else [label] * 12
    settings = (f"optimizer.chunk={chunk}", f"optimizer.precision={precision}")
    one, *others = (adapted(model, n, *settings, labels=labels) for n in (1, 3))
    assert ("loss_alignment" in one.history[0]) == (label is not None)
    assert not torch.equal(one.base.rotmats, one.adapted.rotmats)
    for other in others:
        assert torch.equal(one.base.rotmats, other.base.rotmats)
        assert torch.equal(one.adapted.rotmats, other.adapted.rotmats)
        assert torch.equal(one.adapted.trans, other.adapted.trans)
        assert one.history == other.history


def test_what_adaptation_leaves_alone_is_the_same_on_any_number_of_threads(model):
    one, two = (adapted(model, n, "model.trainable=head", "optimizer.chunk=3") for n in (1, 2))
    assert torch.equal(one.adapted.rotmats, two.adapted.rotmats) and one.history == two.history


# ---------------------------------------------------------------------- one step


class Strategy:
    """A sum over frames, or a product of two of its parts."""

    def __init__(self, coupled):
        self.coupled = coupled

    def couples(self, run, draw):
        return self.coupled

    def loss(self, run, draw, prediction):
        values = prediction.betas.square().sum(1) + prediction.rotmats[:, 3, 0, 1]
        mean = (values * draw.count).sum() / draw.count.sum()
        return {"a": mean, "b": mean.square() if self.coupled else 2 * mean}


def gradient(run, coupled, cut, chunk=None):
    run.pieces = cut
    run.model.zero_grad(set_to_none=True)
    draw = Draw(torch.arange(11), 1.0 + torch.arange(11) % 3)
    terms = accumulate_gradient(run, Strategy(coupled), draw, chunk)
    found = [p.grad for p in run.model.parameters() if p.grad is not None]
    return torch.cat([g.flatten() for g in found]), [float(term) for term in terms.values()]


@pytest.fixture
def run(model):
    from semtta.tta.run import Run

    config = load_config("paper_hmr", SETTINGS)
    images = torch.randn(11, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(1)
    return Run(model=model, view=None, track=range(11), inputs=images, evidence=None, labels=[],
               config=config, generator=None, progress=None)  # fmt: skip


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("chunk", [None, 4])
def test_pieces_have_the_gradient_of_the_whole(run, coupled, chunk):
    whole, terms = gradient(run, coupled, Pieces())
    alone, found = gradient(run, coupled, Pieces(4, 1), chunk)
    assert torch.allclose(whole, alone, atol=1e-6 * float(whole.abs().max()), rtol=1e-4)
    assert found == pytest.approx(terms, rel=1e-5)
    shared, same = gradient(run, coupled, Pieces(4, 3), chunk)
    assert torch.equal(alone, shared) and same == found


def test_gradients_are_added_in_order_however_long_a_piece_takes(run, monkeypatch):
    expected, _ = gradient(run, False, Pieces(2, 1))
    forward = run.forward

    def late(frames):
        time.sleep(0.03 if int(frames[0]) % 4 == 0 else 0)
        return forward(frames)

    monkeypatch.setattr(run, "forward", late)
    found, _ = gradient(run, False, Pieces(2, 3))
    assert torch.equal(found, expected)


def test_pieces_are_worked_on_side_by_side_on_one_thread_each(model, monkeypatch):
    meet, seen, forward = threading.Barrier(2, timeout=20), [], model.forward

    def together(batch):
        if torch.is_grad_enabled():
            meet.wait()  # would break if the other piece were not there at the same time
            seen.append((torch.get_num_threads(), threading.get_ident()))
        return forward(batch)

    monkeypatch.setattr(model, "forward", together)
    adapted(model, 2, "optimizer.chunk=6", "optimizer.epochs=1", "optimizer.steps_per_epoch=1")
    assert {threads for threads, _ in seen} == {1} and len({who for _, who in seen}) == 2


def test_a_fault_in_a_piece_is_the_run_s(run, monkeypatch):
    def broken(frames):
        raise ValueError(f"frame {int(frames[0])}")

    monkeypatch.setattr(run, "forward", broken)
    with pytest.raises(ValueError, match="frame 0"):
        gradient(run, False, Pieces(4, 2))


# ---------------------------------------------------------------------- how many


def test_dropout_and_landmarks_are_left_in_one_piece(model):
    torch.set_num_threads(2)
    plain = load_config("paper_hmr", ["optimizer.chunk=null", *SETTINGS])
    assert pieces_for(model, plain, CPU) == Pieces(8, 2)
    private = HMR("group", settings=HMRSettings.tiny())
    private.parallel = False  # as of somebody's own network that says nothing
    assert pieces_for(private, plain, CPU) == Pieces(8, 1)
    assert pieces_for(model, plain, torch.device("meta")) == Pieces()
    assert pieces_for(model, load_config("paper_hmr", SETTINGS), CPU) == Pieces(16, 2)
    assert pieces_for(model, load_config("cycleadapt"), CPU) == Pieces()
    reads_landmarks = nn.Module()
    reads_landmarks.crop = replace(model.crop, reads="keypoints")
    assert pieces_for(reads_landmarks, plain, CPU) == Pieces()


def test_no_more_workers_than_memory_is_there_for(model, monkeypatch):
    config = load_config("paper_hmr", ["optimizer.precision=fp32", *SETTINGS])
    trained = sum(p.numel() for p in model.parameters()) * 4 / 2**20
    need = 2.2 * 16 * HMR.frame_mb["all"][0] + trained  # of a worker
    for fit in (0, 1, 2, 3, 9):
        room = ((fit + 0.5) * need + 5 * trained) / 0.8
        monkeypatch.setattr(memory, "available_mb", lambda device, room=room: room)
        assert memory.fitting_threads(config, model, 16, 4) == min(max(fit, 1), 4)


def test_a_run_knows_the_threads_of_its_caller():
    torch.set_num_threads(3)
    with threads_for(False, CPU), threads_for(False, CPU):
        assert (torch.get_num_threads(), allowed_threads()) == (1, 3)
    with threads_for(True, CPU):
        assert (torch.get_num_threads(), allowed_threads()) == (3, 3)
    with pytest.raises(ValueError, match="on the way"), threads_for(False, CPU):
        raise ValueError("on the way")
    torch.set_num_threads(2)
    assert allowed_threads() == 2
    with threads_for(False, torch.device("meta")):
        assert torch.get_num_threads() == 2


def test_threads_that_would_spin_are_named(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    torch.set_num_threads(2)
    assert "OMP_WAIT_POLICY=PASSIVE" in spinning_note(True, CPU)
    assert spinning_note(False, CPU) == spinning_note(True, torch.device("meta")) == ""
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert spinning_note(True, CPU) == ""
    monkeypatch.delenv("OMP_WAIT_POLICY")
    torch.set_num_threads(1)
    assert spinning_note(True, CPU) == ""
