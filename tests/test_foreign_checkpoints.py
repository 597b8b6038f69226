"""Checkpoints as training scripts leave them: the weights found, nothing run, no size believed."""

from __future__ import annotations

import os
import pickle
import struct
import time
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from semtta.checkpoints import load_strictly, read_weights
from semtta.errors import SemttaError, SemttaWarning
from semtta.hmr.lifter import load_lifter
from semtta.motion.denoiser import load_denoiser
from semtta.motion.prior import EmbeddedPrior
from semtta.shipped import asset
from semtta.tensor_files import read_tensors

KNOWN = "second.weight"
WHAT = "a small network"


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2, bias=False)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def weights(seed: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return Small().state_dict()


def prefixed(prefix: str, seed: int = 3) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in weights(seed).items()}


def load(path: Path) -> dict[str, Tensor]:
    found = read_weights(path, WHAT, known=KNOWN)
    with torch.device("meta"):
        net = Small()
    return load_strictly(net, found, path, WHAT).state_dict()


def same(found: dict[str, Tensor]) -> bool:
    return all(torch.equal(found[k], v) for k, v in weights().items() if v.is_floating_point())


# Prefixes and wrappers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "model.", "hmr.", "module._orig_mod.", "net.module.",
               "anything.at_all."]
)  # fmt: skip
@pytest.mark.parametrize("legacy", [True, False])
def test_a_prefix_that_all_weights_share_is_stripped(tmp_path, prefix, legacy):
    path = tmp_path / "c.pt"
    torch.save({"state_dict": prefixed(prefix)}, path, _use_new_zipfile_serialization=not legacy)
    assert same(load(path))


@pytest.mark.parametrize(
    "wrapper",
    ["ema", "state_dict_model", "net", "generator", "whatever", "state_dict.model", "a.state.b"],
)
def test_wrappers_are_found_whatever_they_are_called(tmp_path, wrapper):
    content = weights()
    for name in reversed(wrapper.split(".")):
        content = {name: content, "epoch": 3}
    torch.save(content, tmp_path / "c.pt")
    assert same(load(tmp_path / "c.pt"))


def test_averages_are_second_to_the_weights_and_two_networks_are_refused(tmp_path):
    path = tmp_path / "c.pt"
    torch.save({"state_dict": prefixed("model.") | prefixed("model_ema.", 4)}, path)
    with pytest.warns(SemttaWarning, match="'model_ema' beside the network is not read"):
        assert same(load(path))
    torch.save({"generator": weights(), "other": weights(5)}, path)
    with pytest.raises(SemttaError, match="more than one network .'generator', 'other'."):
        load(path)


def test_what_training_leaves_is_announced_and_anything_else_refused(tmp_path):
    path = tmp_path / "c.pt"
    extras = {"discriminator.conv.weight": torch.ones(2), "smpl.v_template": torch.ones(2, 3),
              "loss_fn.weight": torch.ones(1)}  # fmt: skip
    torch.save({"model": weights() | {"discriminator.conv.weight": torch.ones(2)}}, path)
    with pytest.warns(SemttaWarning, match="'discriminator' beside the network is not read"):
        assert same(load(path))
    torch.save({"model": prefixed("hmr.") | extras}, path)
    with pytest.warns(SemttaWarning, match="'discriminator', 'smpl', 'loss_fn' beside"):
        assert same(load(path))
    torch.save({"model": weights() | {"second.extra": torch.ones(1)}}, path)
    with pytest.raises(SemttaError, match="unknown tensor 'second.extra'"):
        load(path)
    less = weights()
    del less["first.bias"]
    torch.save({"model": less}, path)
    with pytest.raises(SemttaError, match="it lacks 'first.bias'"):
        load(path)


def test_nothing_is_said_of_a_file_that_holds_the_network_alone(tmp_path):
    torch.save({"model": weights(), "optimizer": {"state": {0: torch.ones(3)}}}, tmp_path / "c.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(load(tmp_path / "c.pt"))


# TorchScript --------------------------------------------------------------------------------------


class Scripted(Small):
    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList([nn.Conv1d(2, 2, 1), nn.Sequential(nn.Linear(2, 2))])
        self.register_buffer("sixteen", torch.arange(3).half())


def test_a_torchscript_archive_reads_as_its_state_dict(tmp_path):
    module = Scripted()
    torch.jit.script(module).save(tmp_path / "s.pt")
    found = read_tensors(tmp_path / "s.pt", WHAT, scripted=True)
    assert found.keys() == module.state_dict().keys()
    assert all(torch.equal(found[k], v) for k, v in module.state_dict().items())
    with pytest.raises(SemttaError, match="is a TorchScript program, not a small network"):
        read_tensors(tmp_path / "s.pt", WHAT)


class Writes(nn.Module):
    """Saves a tensor to a chosen file as soon as ``torch.jit.load`` revives it."""

    def __init__(self, target: str):
        super().__init__()
        self.target = target
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str, bool]:
        return self.weight, self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]):
        torch.save(state[0], state[1])
        self.weight, self.target, self.training = state


def test_no_code_of_a_torchscript_archive_is_run(tmp_path):
    target, path = tmp_path / "owned", tmp_path / "s.pt"
    torch.jit.script(Writes(str(target))).save(path)
    assert not target.exists()
    read_tensors(path, WHAT, scripted=True)
    assert not target.exists()
    torch.jit.load(path)  # what the file is made for
    assert target.exists()


# Sizes --------------------------------------------------------------------------------------------


def repacked(source: Path, target: Path, change=None, method=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(name, data) if change else data)
    return target


def test_compressed_checkpoints_are_unpacked_up_to_a_limit(tmp_path, monkeypatch):
    torch.save(weights(), tmp_path / "c.pt")
    path = repacked(tmp_path / "c.pt", tmp_path / "d.pt", None, zipfile.ZIP_DEFLATED)
    assert same(load(path))
    monkeypatch.setattr("semtta.tensor_files._UNPACKED_LIMIT", 60)
    with pytest.raises(SemttaError, match="compressed tensors have more than"):
        load(path)


def test_storages_that_claim_more_than_there_is_are_refused(tmp_path):
    torch.save(weights(), tmp_path / "c.pt")

    def shorter(name, data):
        return data[:8] if name.endswith("/data/0") else data

    with pytest.raises(SemttaError, match="claims more numbers than there are"):
        load(repacked(tmp_path / "c.pt", tmp_path / "d.pt", shorter))

    path = tmp_path / "big.pt"
    repeated = torch.ones(1).expand(1 << 20, 1 << 10)
    torch.save({"model": weights() | {"first.weight": repeated}}, path)
    with pytest.raises(SemttaError, match="'first.weight' is .1048576, 1024., not .4, 3."):
        load(path)


def test_a_small_file_that_claims_a_huge_network_is_refused(tmp_path):
    class Huge(nn.Module):
        def __init__(self):
            super().__init__()
            self.second = nn.Linear(1 << 14, 1 << 14, bias=False)

    path = tmp_path / "c.pt"
    torch.save({"second.weight": torch.ones(1).expand(1 << 14, 1 << 14)}, path)
    with torch.device("meta"):
        net = Huge()
    with pytest.raises(SemttaError, match="claims 268435456 weights, which it does not have"):
        load_strictly(net, read_weights(path, WHAT), path, WHAT)


@pytest.mark.parametrize(
    "read, shipped, entry, size",
    [
        (load_denoiser, "motion/denoiser.pt", "config", "layers"),
        (load_denoiser, "motion/denoiser.pt", "config", "width"),
        (load_lifter, "hmr/lifter.pt", "settings", "blocks"),
        (load_lifter, "hmr/lifter.pt", "settings", "width"),
        (EmbeddedPrior.load, "motion/prior_align.pt", "settings", "layers"),
        (EmbeddedPrior.load, "motion/prior_align.pt", "settings", "width"),
    ],
)
@pytest.mark.parametrize("value", [10**9, -1, 0, "x", None, 2.5, 2048])
def test_sizes_in_a_checkpoint_are_no_bombs(tmp_path, read, shipped, entry, size, value):
    content = torch.load(asset(shipped), weights_only=True)
    content[entry] = dict(content[entry]) | {size: value}
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(SemttaError, match="c.pt'"):
        read(tmp_path / "c.pt")


def test_too_many_objects_are_refused(tmp_path):
    path = tmp_path / "c.pt"
    torch.save({}, tmp_path / "a.pt")
    many = b"\x80\x02]" + b"(" + b"}" * 2_100_000 + b"e."
    repacked(tmp_path / "a.pt", path, lambda n, d: many if n.endswith("data.pkl") else d)
    with pytest.raises(SemttaError, match="too many objects"):
        read_tensors(path, WHAT)


# Pickles ------------------------------------------------------------------------------------------


class Calls:
    def __init__(self, function, *args):
        self.made = function, args

    def __reduce__(self):
        return self.made


def test_a_pickle_cannot_change_what_reads_it(tmp_path):
    """BUILD gives any object a state, the functions that a file may name included."""
    torch.save({}, tmp_path / "a.pt")
    for module, name in (("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")):
        code = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"}U\x01aK\x01sb."
        path = repacked(tmp_path / "a.pt", tmp_path / "b.pt",
                        lambda n, d, code=code: code if n.endswith("data.pkl") else d)  # fmt: skip
        with pytest.raises(SemttaError, match="damaged or not"):
            read_tensors(path, WHAT)


@pytest.mark.parametrize("legacy", [True, False])
def test_no_payload_is_run(tmp_path, legacy):
    made = tmp_path / "made"
    payloads = [Calls(os.mkdir, str(made)), Calls(eval, f"open({str(made)!r}, 'w')"),
                Calls(os.system, f"touch {made}"),
                Calls(pickle.loads, pickle.dumps(Calls(os.mkdir, str(made))))]  # fmt: skip
    for payload in payloads:
        torch.save({"model": weights(), "x": payload}, tmp_path / "c.pt",
                   _use_new_zipfile_serialization=not legacy)  # fmt: skip
        assert same(load(tmp_path / "c.pt")) and not made.exists()


def test_safetensors_that_lie_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    for header in ('{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4]}}',
                   '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
                   '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}',
                   '{"a": 3}', "[1]", "[" * 100_000):  # fmt: skip
        path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4))
        with pytest.raises(SemttaError, match="damaged or not"):
            read_tensors(path, WHAT)
    path.write_bytes(struct.pack("<Q", 1 << 60))
    with pytest.raises(SemttaError, match="longer than the file"):
        read_tensors(path, WHAT)


def test_dictionaries_that_hold_each_other_have_an_end(tmp_path):
    held = {}
    for _ in range(4):
        held = {str(i): held for i in range(100)}
    torch.save(held, tmp_path / "a.pt")
    start = time.process_time()
    with pytest.raises(SemttaError, match="a.pt"):
        load(tmp_path / "a.pt")
    torch.save({**held, "model": weights()}, tmp_path / "b.pt")
    assert same(load(tmp_path / "b.pt")) and time.process_time() - start < 3
    torch.save({"model": weights(), "epoch": {"model": {}}}, tmp_path / "c.pt")
    assert same(load(tmp_path / "c.pt"))


@pytest.mark.parametrize(
    "wrap", ["module.", "_orig_mod.", "_fsdp_wrapped_module.", "module._orig_mod."]
)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_part_that_is_wrapped_by_itself_is_the_same(tmp_path, wrap, prefix):
    def wrapped(key: str) -> str:
        first, _, rest = key.partition(".")
        return f"{prefix}{first}.{wrap}{rest}" if key == list(weights())[0] else f"{prefix}{key}"

    torch.save({wrapped(key): value for key, value in weights().items()}, tmp_path / "a.pt")
    assert same(load(tmp_path / "a.pt"))
    torch.save({f"{wrap}{key}" if i else key: v for i, (key, v) in enumerate(weights().items())},
               tmp_path / "b.pt")  # fmt: skip
    assert same(load(tmp_path / "b.pt"))
