import re

import torch
from torch import nn

from semtta.config import load_config
from semtta.tta import memory


class Hungry(nn.Module):
    activation_mb = 640.0

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(10, 10)

    def parameter_groups(self, scope):
        return list(self.parameters())


def note(room, *overrides, frames=600, monkeypatch=None):
    monkeypatch.setattr(memory, "available_mb", lambda: room)
    config = load_config("default", ["optimizer.batch_segments=4", *overrides])
    return memory.memory_note(config, Hungry(), frames, 30.0)


def test_a_run_that_fits_says_nothing_and_one_that_does_not_names_what_makes_it_fit(monkeypatch):
    assert note(1e6, monkeypatch=monkeypatch) is None
    sentence = note(8192.0, monkeypatch=monkeypatch)
    assert "150 GiB of 8 GiB" in sentence
    chunk = int(re.search(r"optimizer\.chunk=(\d+)", sentence).group(1))
    assert note(8192.0, f"optimizer.chunk={chunk}", monkeypatch=monkeypatch) is None
    assert "model.trainable=head" in note(500.0, monkeypatch=monkeypatch)
    assert note(8192.0, frames=5, monkeypatch=monkeypatch) is None


def test_free_memory_is_a_plausible_number():
    assert 100 < memory.available_mb() < 1e8
    assert torch.cuda.is_available() or memory.available_mb() < 1e7
