import re

import torch
from torch import nn

from semtta.config import load_config
from semtta.hmr.base import CropSpec
from semtta.hmr.hmr import HMR
from semtta.hmr.hmr2 import HMR2, HMR2Settings
from semtta.tta import memory


class Hungry(nn.Module):
    frame_mb = {"all": (640.0, 0.0), "head": (1.0, 10.0)}
    crop = CropSpec()

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(10, 10)

    def parameter_groups(self, scope):
        return list(self.parameters())


def note(room, *overrides, frames=600, monkeypatch=None):
    monkeypatch.setattr(memory, "available_mb", lambda device: room)
    settings = ["optimizer.batch_segments=4", "optimizer.precision=fp32", *overrides]
    return memory.memory_note(load_config("default", settings), Hungry(), frames, 30.0)


def test_a_run_that_fits_says_nothing_and_one_that_does_not_names_what_makes_it_fit(monkeypatch):
    assert note(1e6, monkeypatch=monkeypatch) is None
    sentence = note(8192.0, monkeypatch=monkeypatch)
    assert "150 GiB of 8 GiB" in sentence
    chunk = int(re.search(r"optimizer\.chunk=(\d+)", sentence).group(1))
    assert note(8192.0, f"optimizer.chunk={chunk}", monkeypatch=monkeypatch) is None
    assert note(8192.0, f"optimizer.chunk={chunk + 1}", monkeypatch=monkeypatch)
    assert "model.trainable=head" in note(500.0, monkeypatch=monkeypatch)
    assert note(8192.0, frames=5, monkeypatch=monkeypatch) is None
    assert note(8192.0, "strategy=frozen", monkeypatch=monkeypatch) is None
    half = note(8192.0, "optimizer.precision=bf16", monkeypatch=monkeypatch)
    assert "90 GiB of 8 GiB" in half


def test_what_is_kept_of_every_frame_counts(monkeypatch):
    head = "model.trainable=head"
    assert note(8192.0, head, frames=600, monkeypatch=monkeypatch) is None
    long = note(8192.0, head, frames=1000, monkeypatch=monkeypatch)
    assert "10 GiB of 8 GiB" in long and "shorter video" in long  # 1000 cached results of 10 MiB
    # crops of 224 x 224 x 3 in half precision of a million frames, and 150 GiB of activations
    assert "430 GiB of 8 GiB" in note(8192.0, frames=10**6, monkeypatch=monkeypatch)


def test_models_say_what_a_cached_frame_holds():
    tiny = HMR2(HMR2Settings.tiny())
    for model, scope in ((HMR("group"), "last"), (HMR("group"), "head"), (tiny, "head")):
        prefix, _ = model.eval().split(scope)
        with torch.no_grad():
            kept = prefix(torch.zeros(1, 3, model.crop.size, model.crop.size)).nbytes / 2**20
        if model is tiny:
            kept *= HMR2Settings().width / tiny.settings.width  # as the released size has it
        said = model.frame_mb[scope][1]
        assert abs(said - kept) < 0.01
    assert all(
        (model.frame_mb[scope][1] > 0) == (model.split(scope) is not None)
        for model in (HMR("group"), tiny)
        for scope in model.frame_mb
    )


def test_free_memory_is_a_plausible_number():
    assert 100 < memory.available_mb(torch.device("cpu")) < 1e7


def test_weights_gradients_and_moments_count(monkeypatch):
    class Heavy(Hungry):
        frame_mb = {"all": (1.0, 0.0), "last": (1.0, 0.0)}

        def __init__(self):
            super().__init__()
            self.body, self.end = (
                nn.Linear(2**14, size, bias=False, device="meta") for size in (2**14, 2**13)
            )  # 1 GiB and half of it

        def parameter_groups(self, scope):
            return list(self.parameters()) if scope == "all" else list(self.end.parameters())

    monkeypatch.setattr(memory, "available_mb", lambda device: 1024.0)
    settings = ["optimizer.precision=fp32", "optimizer.batch_segments=4"]
    for scope, gib in (("all", 4 * 1.5), ("last", 1.5 + 3 * 0.5)):
        config = load_config("default", [*settings, f"model.trainable={scope}"])
        assert f"about {gib:.0f} GiB of 1 GiB" in memory.memory_note(config, Heavy(), 60, 30.0)


def test_free_memory_is_the_machine_s_where_nothing_says_what_is_free(monkeypatch):
    def nothing(path):
        raise OSError

    monkeypatch.setattr(memory, "open", nothing, raising=False)
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 3 * 2**18)  # of 4 KiB
    assert memory.available_mb(torch.device("cpu")) == 3 * 2**10
