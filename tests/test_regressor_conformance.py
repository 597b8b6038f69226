"""What every human mesh regressor promises, held against all of them (``regressors.KINDS``)."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch
from regressors import FRAMES, KINDS, Kind, walk
from test_adapter import CAMERA, PLAIN, TinyPrior
from torch import Tensor, nn

from semtta.body import load_body
from semtta.config import load_config
from semtta.engine import adapting, autocast
from semtta.errors import SemttaError
from semtta.geometry import plane_boxes
from semtta.hmr import MODELS, RESULT, prepare_inputs
from semtta.hmr.base import Batch, HumanMeshRegressor, Prediction
from semtta.tta.adapter import Adapter

SCOPES = ("all", "last", "head", "norm")
FILES = [kind for kind in KINDS if kind.load is not None]
NAMES = ("rotmats", "betas", "cam")


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A video of noise, as images."""
    path = tmp_path_factory.mktemp("noise")
    draw = np.random.RandomState(0)
    for i in range(FRAMES):
        coarse = draw.randint(0, 256, (60, 80, 3)).astype(np.uint8)
        cv2.imwrite(str(path / f"{i:03d}.png"), cv2.resize(coarse, (640, 480)))
    return path


@dataclass(frozen=True)
class Subject:
    """A regressor and what it reads of a track of ``FRAMES`` frames."""

    kind: Kind
    model: nn.Module
    batch: Batch


@pytest.fixture(scope="module", params=KINDS, ids=[kind.name for kind in KINDS])
def subject(request, folder):
    model = request.param.build()
    frames = torch.arange(FRAMES)
    inputs, squares = prepare_inputs(model, walk(), CAMERA, folder, load_body())
    assert len(inputs) == FRAMES and squares.shape == (FRAMES, 3)
    yield Subject(request.param, model, Batch(frames, inputs[frames], plane_boxes(squares, CAMERA)))


def part(batch: Batch, index: Tensor | slice) -> Batch:
    return Batch(batch.frames[index], batch.inputs[index], batch.boxes[index])


def moved(batch: Batch, *to) -> Batch:
    return Batch(batch.frames, batch.inputs.to(*to), batch.boxes.to(*to))


def close(ours: Prediction, theirs: Prediction, atol: float) -> None:
    for name in NAMES:
        a, b = getattr(ours, name), getattr(theirs, name)
        torch.testing.assert_close(a, b, atol=atol * max(1, float(b.detach().abs().max())), rtol=0)


def loss_of(prediction: Prediction) -> Tensor:
    """One number that all of a prediction's numbers change."""
    weigh = torch.linspace(0.5, 1.5, 9).view(3, 3)
    rotations = (prediction.rotmats * weigh).sum()
    return rotations + prediction.betas.square().sum() + prediction.cam.square().sum()


def named(model: nn.Module, scope: str) -> set[str]:
    names = {id(p): name for name, p in model.named_parameters()}
    chosen = model.parameter_groups(scope)
    assert len({id(p) for p in chosen}) == len(chosen)  # an optimiser wants each once
    return {names[id(p)] for p in chosen}


def one_sentence(error: Exception) -> str:
    text = str(error)
    assert text.endswith(".") and ". " not in text and "\n" not in text
    return text


def test_every_model_has_a_place_in_the_list():
    assert {name for kind in KINDS for name in kind.models} == {*MODELS, RESULT}


def test_it_answers_with_rotations_shape_and_camera(subject):
    model = subject.model
    assert isinstance(model, HumanMeshRegressor)
    assert model.crop.reads in ("image", "keypoints", "parameters")
    assert model.crop.camera in ("full", "crop", "metric")
    with torch.no_grad():
        found = model(subject.batch)
        again = model(subject.batch)
    assert found.rotmats.shape == (FRAMES, 24, 3, 3)
    assert found.betas.shape == (FRAMES, 10) and found.cam.shape == (FRAMES, 3)
    assert all(torch.isfinite(getattr(found, name)).all() for name in NAMES)
    assert all(getattr(found, name).dtype == torch.float32 for name in NAMES)
    eye = torch.eye(3).expand_as(found.rotmats)
    torch.testing.assert_close(found.rotmats @ found.rotmats.mT, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(found.rotmats), torch.ones(FRAMES, 24))
    assert all(torch.equal(getattr(found, name), getattr(again, name)) for name in NAMES)
    assert (found.rotmats[0] - found.rotmats[-1]).abs().max() > 1e-7  # it reads what it is given


def test_inputs_of_another_shape_are_refused(subject):
    if subject.model.crop.reads != "image":
        pytest.skip("reads no images")
    narrow = Batch(subject.batch.frames, subject.batch.inputs[..., 32:-32], subject.batch.boxes)
    size = subject.model.crop.size
    with pytest.raises(SemttaError) as caught:
        subject.model(narrow)
    said = f"(B, 3, {size}, {size}), not ({FRAMES}, 3, {size}, {size - 64})"
    if subject.kind.packed:
        whole = subject.batch.inputs.shape[1]
        said = f"rows of {whole} numbers a frame, not ({FRAMES}, {whole - 64})"
    assert said in one_sentence(caught.value)


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FILES, ids=[kind.name for kind in FILES])
def test_a_file_of_weights_is_read_to_the_last_tensor(kind, tmp_path):
    path, weights = tmp_path / "weights.pt", kind.build().state_dict()
    torch.save(kind.file(weights), path)
    loaded = kind.load(path)
    assert not loaded.training and len(loaded.sha256) == 64
    assert all(p.requires_grad and p.device.type == "cpu" for p in loaded.parameters())
    state = loaded.state_dict()
    assert state.keys() == weights.keys()
    floating = {k: v for k, v in weights.items() if v.is_floating_point()}
    assert all(torch.equal(state[k], v) for k, v in floating.items())

    def refused(changed: dict[str, Tensor]) -> str:
        torch.save(kind.file(changed), path)
        with pytest.raises(SemttaError) as caught:
            kind.load(path)
        assert str(path) in str(caught.value)
        return one_sentence(SemttaError(str(caught.value).replace(str(path), "file")))

    # of the first, a middle and the last tensor, so that no part of the network is left out
    learnt = [key for key in floating if not key.startswith("init_")]  # those may lie elsewhere
    for key in (learnt[0], learnt[len(learnt) // 2], learnt[-1]):
        missing = {k: v for k, v in weights.items() if k != key}
        assert f"it lacks '{key}'" in refused(missing)
        odd = floating[key].new_zeros(7, *floating[key].shape)
        assert f"'{key}' is {tuple(odd.shape)}, not" in refused(weights | {key: odd})
    surplus = weights | {f"{key}_more": torch.zeros(2)}
    assert f"it has the unknown tensor '{key}_more'" in refused(surplus)
    broken = weights | {key: torch.full_like(floating[key], torch.nan)}
    assert f"'{key}' is not finite" in refused(broken)


# --- what adaptation moves ------------------------------------------------------------------


def test_a_scope_is_what_gets_gradients(subject):
    model = subject.model
    for scope in SCOPES:
        chosen = named(model, scope)
        assert chosen
        with adapting(model, model.parameter_groups(scope)):
            loss_of(model(subject.batch)).backward()
            found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            assert found.keys() == chosen, scope
            assert all(torch.isfinite(gradient).all() for gradient in found.values())
            silent = {name for name, gradient in found.items() if not gradient.any()}
        if subject.kind.packed:  # in this noise it sees nobody: its own tests show it people
            continue
        # HMR2.0's query says nothing, so that what would read it learns nothing
        assert {n for n in silent if "to_token_embedding.weight" not in n} == set(), scope


def test_scopes_lie_in_each_other(subject):
    everything, last, head, norm = (named(subject.model, scope) for scope in SCOPES)
    free = {"free.weight"}  # of a result, a scope of its own: "frames"
    assert everything == {name for name, _ in subject.model.named_parameters()} - free
    assert head < last < everything and norm < everything
    with pytest.raises(SemttaError) as caught:
        subject.model.parameter_groups("tail")
    assert one_sentence(caught.value) == "unknown scope 'tail'; known: all, last, head, norm."


# --- parts of a batch, parts of a network ---------------------------------------------------


def test_frames_do_not_see_each_other(subject):
    chunks = (slice(0, 1), slice(1, 4), slice(4, FRAMES))
    with torch.no_grad():
        whole = subject.model(subject.batch)
        parts = Prediction.cat([subject.model(part(subject.batch, chunk)) for chunk in chunks])
        turned = subject.model(part(subject.batch, torch.arange(FRAMES).flip(0)))
    close(parts, whole, 1e-5)
    close(turned[torch.arange(FRAMES).flip(0)], whole, 1e-5)


@pytest.mark.parametrize("precision, atol", [("fp32", 1e-6), ("bf16", 2e-2)])
def test_layers_that_stay_and_the_rest_are_the_whole(subject, precision, atol):
    model, batch = subject.model, subject.batch
    split = getattr(model, "split", lambda scope: None)
    for scope in SCOPES:
        parts = split(scope)
        kept_mb = getattr(model, "frame_mb", {}).get(scope, (0.0, 0.0))[1]
        assert (parts is not None) == (kept_mb > 0)
        if parts is None:
            continue
        prefix, rest = parts
        group = model.parameter_groups(scope)
        with adapting(model, group), autocast(torch.device("cpu"), precision):
            whole = model(batch)
            kept = prefix(batch.inputs)
            assert isinstance(kept, Tensor) and len(kept) == FRAMES
            assert not kept.requires_grad  # nothing that learns lies before
            answer = rest(Batch(batch.frames, kept, batch.boxes))
        close(answer, whole, atol)
        assert answer.rotmats.dtype == torch.float32


# --- precision and device -------------------------------------------------------------------


def test_double_precision_computes_in_it(subject):
    model = copy.deepcopy(subject.model).double()
    with torch.no_grad():
        found = model(moved(subject.batch, torch.float64))
        single = subject.model(subject.batch)
    assert all(getattr(found, name).dtype == torch.float64 for name in NAMES)
    close(Prediction(*(getattr(found, name).float() for name in NAMES)), single, 1e-4)
    eye = torch.eye(3).double().expand_as(found.rotmats)
    atol = 1e-6 if model.crop.reads == "parameters" else 1e-12  # a result has its own digits
    torch.testing.assert_close(found.rotmats @ found.rotmats.mT, eye, atol=atol, rtol=0)


def test_half_precision_answers_in_full(subject):
    with torch.no_grad():
        full = subject.model(subject.batch)
        with autocast(torch.device("cpu"), "bf16"):
            found = subject.model(subject.batch)
    eye = torch.eye(3).expand_as(found.rotmats)
    rotmats = found.rotmats.float()
    torch.testing.assert_close(rotmats @ rotmats.mT, eye, atol=1e-5, rtol=0)
    close(Prediction(*(getattr(found, name).float() for name in NAMES)), full, 0.1)


def test_everything_is_computed_where_the_inputs_are(subject, monkeypatch):
    """On the meta device a tensor that stayed behind is an error, and nothing is computed."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no meta
    model = copy.deepcopy(subject.model).to("meta")
    found = model(moved(subject.batch, "meta"))
    assert all(getattr(found, name).device.type == "meta" for name in NAMES)
    assert found.rotmats.shape == (FRAMES, 24, 3, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_answers_as_the_processor_does(subject, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model = copy.deepcopy(subject.model).cuda()
    with torch.no_grad():
        found = model(moved(subject.batch, "cuda"))
        close(Prediction(*(getattr(found, name).cpu() for name in NAMES)),
              subject.model(subject.batch), 1e-3)  # fmt: skip


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if k.released is not None and hasattr(k.make(), "frame_mb")],
    ids=lambda kind: kind.name,
)  # fmt: skip
def test_it_says_what_a_cached_frame_holds(kind):
    with torch.device("meta"):
        model = kind.released().eval()
    assert set(model.frame_mb) == set(SCOPES)
    order = [model.frame_mb[scope][0] for scope in ("all", "norm", "last", "head")]
    assert order == sorted(order, reverse=True) and order[-1] > 0
    images = torch.zeros(1, 3, model.crop.size, model.crop.size, device="meta")
    for scope in SCOPES:
        parts = model.split(scope)
        kept = 0.0 if parts is None else parts[0](images).nbytes / 2**20
        assert model.frame_mb[scope][1] == pytest.approx(kept, abs=0.01)


# --- a whole run ----------------------------------------------------------------------------


def adapt(model: nn.Module, folder, *overrides: str):
    settings = [*PLAIN, "optimizer.epochs=1", "optimizer.coverage=1", "optimizer.lr=1e-3",
                "optimizer.precision=fp32", "shape.mode=track",
                "evidence.update=none"]  # fmt: skip
    config = load_config("default", [*settings, *overrides])
    prior = TinyPrior()
    adapter = Adapter(model, config=config, prior=prior, gate_prior=prior)
    return adapter.adapt(walk(), CAMERA, video=folder)


@pytest.fixture(scope="module")
def whole(subject, folder):
    return adapt(subject.model, folder)


def test_a_run_leaves_it_as_it_was_and_repeats_itself(subject, folder, whole):
    model = subject.kind.build()
    next(model.parameters()).requires_grad_(False)  # somebody's own choice
    before = copy.deepcopy(model.state_dict())
    flags = [p.requires_grad for p in model.parameters()]
    again = adapt(model, folder)
    for name in ("rotmats", "betas", "trans", "landmarks2d"):
        assert torch.equal(getattr(again.adapted, name), getattr(whole.adapted, name))
        assert torch.equal(getattr(again.base, name), getattr(whole.base, name))
    assert (again.adapted.rotmats - again.base.rotmats).abs().max() > 1e-3
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == flags and not model.training
    assert all(p.grad is None for p in model.parameters())


def test_in_chunks_a_run_gives_the_whole_batch(subject, folder, whole):
    parts = adapt(subject.model, folder, "optimizer.chunk=4")
    for name in ("rotmats", "betas", "trans"):
        ours, theirs = getattr(parts.adapted, name), getattr(whole.adapted, name)
        scale = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(ours, theirs, atol=1e-3 * scale, rtol=0)
