import io
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from semtta.config import load_config
from semtta.hmr.base import CropSpec
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
    assert chunk == 9  # (80 % of 8192 - 600 crops of 0.287) / 640
    assert note(8192.0, f"optimizer.chunk={chunk}", monkeypatch=monkeypatch) is None
    assert note(8192.0, f"optimizer.chunk={chunk + 1}", monkeypatch=monkeypatch)
    assert "model.trainable=head" in note(500.0, monkeypatch=monkeypatch)
    assert note(8192.0, frames=5, monkeypatch=monkeypatch) is None
    assert note(8192.0, "strategy=frozen", monkeypatch=monkeypatch) is None
    half = note(8192.0, "optimizer.precision=bf16", monkeypatch=monkeypatch)
    assert "90 GiB of 8 GiB" in half


def test_what_just_fits_in_four_fifths_of_what_is_free_fits(monkeypatch):
    class Exact(Hungry):
        frame_mb = {"all": (2.0, 1.0)}

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2**16, 1, bias=False)  # 1 MiB with gradient and moments

    config = load_config("default", ["optimizer.precision=fp32"])
    for room, frames, fits in ((5.0, 1, True), (4.99, 1, False), (8.75, 2, True)):
        monkeypatch.setattr(memory, "available_mb", lambda device, room=room: room)
        assert (memory.memory_note(config, Exact(), frames, 30.0) is None) == fits
    sentence = memory.memory_note(config, Exact(), 4, 30.0)  # 5 MiB and 2 a frame, of 7
    assert "optimizer.chunk=1 makes it fit (same result)." in sentence
    assert "chunk" not in memory.memory_note(config, Exact(), 5, 30.0)


def test_frames_count_where_frames_are_drawn_and_seconds_where_segments_are(monkeypatch):
    segments = ["optimizer.batch_segments=2", "optimizer.batch_frames=32"]
    assert "75 GiB of 8 GiB" in note(8192.0, *segments, monkeypatch=monkeypatch)
    other = [*segments, "strategy=cycleadapt"]
    assert "20 GiB of 8 GiB" in note(8192.0, *other, monkeypatch=monkeypatch)
    config = load_config("default", [*segments, "optimizer.precision=fp32"])
    slow = memory.memory_note(config, Hungry(), 600, 15.0)
    assert "38 GiB of 8 GiB" in slow


@pytest.mark.parametrize(("strategy", "room", "advice"), [
    ("cycleadapt", 8192.0, "optimizer.batch_frames=9 makes it fit."),
    ("semtta", 65536.0, "optimizer.batch_segments=1 makes it fit."),
    ("semtta", 130000.0, "optimizer.batch_segments=2 makes it fit."),
    ("semtta", 8192.0, "optimizer.train_mode=false with optimizer.chunk=9 makes it fit."),
    ("semtta", 1200.0, "optimizer.train_mode=false with optimizer.chunk=1 makes it fit."),
    ("semtta", 500.0, "model.trainable=head needs the least."),
])  # fmt: skip
def test_a_network_in_training_mode_is_not_cut_into_chunks(strategy, room, advice, monkeypatch):
    settings = (f"strategy={strategy}", "optimizer.train_mode=true")
    assert note(room, *settings, monkeypatch=monkeypatch).endswith(advice)


def test_precision_is_that_of_an_image_network(monkeypatch):
    monkeypatch.setattr(memory, "resolve_precision",
                        lambda precision, device, images: "bf16" if images else "fp32")  # fmt: skip
    assert "90 GiB of 8 GiB" in note(8192.0, monkeypatch=monkeypatch)


def test_what_a_gpu_reads_is_sent_and_not_kept(monkeypatch):
    class Far(Hungry):
        def parameters(self, recurse=True):
            return (SimpleNamespace(device=torch.device("cuda"), numel=lambda: 0) for _ in "x")

    monkeypatch.setattr(memory, "available_mb", lambda device: {"cuda": 8192.0}[device.type])
    config = load_config("default", ["optimizer.precision=fp32", "optimizer.batch_segments=4"])
    sentence = memory.memory_note(config, Far(), 10**6, 30.0)
    assert "150 GiB of 8 GiB" in sentence and "optimizer.chunk=10" in sentence
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 2**20, 9 * 2**20))
    assert memory.available_mb(torch.device("cuda")) == 3


def test_nothing_is_said_of_models_and_layers_that_nobody_measured(monkeypatch):
    assert note(1.0, "model.trainable=last", monkeypatch=monkeypatch) is None
    monkeypatch.delattr(Hungry, "frame_mb")
    assert note(1.0, monkeypatch=monkeypatch) is None


def test_what_is_kept_of_every_frame_counts(monkeypatch):
    head = "model.trainable=head"
    assert note(8192.0, head, frames=600, monkeypatch=monkeypatch) is None
    long = note(8192.0, head, frames=1000, monkeypatch=monkeypatch)
    assert "10 GiB of 8 GiB" in long  # 1000 cached results of 10 MiB, and 240 MiB
    assert "window.frames=631 makes it fit" in long
    fits = (head, "window.frames=600")
    assert note(8192.0, *fits, frames=1000, monkeypatch=monkeypatch) is None
    assert "shorter video" in note(1024.0, head, frames=1000, monkeypatch=monkeypatch)
    bf16 = (head, "optimizer.precision=bf16")
    assert "6 GiB of 4 GiB" in note(4096.0, *bf16, frames=1000, monkeypatch=monkeypatch)
    # crops of 224 x 224 x 3 in half precision of a million frames, and 150 GiB of activations
    assert "430 GiB of 8 GiB" in note(8192.0, frames=10**6, monkeypatch=monkeypatch)


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


def test_free_memory_is_what_linux_says_is_available(monkeypatch):
    said = "MemTotal:  999999 kB\nMemFree:  1 kB\nMemAvailable:   5120 kB\n"
    monkeypatch.setattr(memory, "open", lambda path: io.StringIO(said), raising=False)
    assert memory.available_mb(torch.device("cpu")) == 5
    for odd in ("MemFree: 1 kB\n", "no such lines\n", "MemAvailable: much kB\n"):
        monkeypatch.setattr(memory, "open", lambda path, odd=odd: io.StringIO(odd), raising=False)
        assert memory.available_mb(torch.device("cpu")) > 100  # of the whole machine


def test_free_memory_is_the_machine_s_where_nothing_says_what_is_free(monkeypatch):
    def nothing(path):
        raise OSError

    monkeypatch.setattr(memory, "open", nothing, raising=False)
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 3 * 2**18)  # of 4 KiB
    assert memory.available_mb(torch.device("cpu")) == 3 * 2**10
    monkeypatch.delattr(memory.os, "sysconf")
    assert memory.available_mb(torch.device("cpu")) == 4 * 2**10
