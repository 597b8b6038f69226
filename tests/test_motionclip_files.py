"""Checkpoints of MotionCLIP: sizes come from the file, and nothing in it is run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_motionclip import tiny_state

from semtta.errors import SemttaError
from semtta.motion.motionclip import load_motionclip


def test_sizes_come_from_the_file(tmp_path):
    torch.save({"state_dict": tiny_state()}, tmp_path / "c.pth.tar")
    encoder = load_motionclip(tmp_path / "c.pth.tar")
    assert (encoder.joints, encoder.muQuery.shape[1]) == (25, 64)
    assert len(encoder.seqTransEncoder.layers) == 2
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    state = {key: value for key, value in tiny_state().items() if "layers.1" not in key}
    state["encoder.skelEmbedding.weight"] = torch.ones(64, 24 * 6)
    torch.save({f"net.{key}": value for key, value in state.items()}, tmp_path / "c.pth.tar")
    encoder = load_motionclip(tmp_path / "c.pth.tar")
    assert (encoder.joints, len(encoder.seqTransEncoder.layers)) == (24, 1)


LINEAR = "encoder.seqTransEncoder.layers.0.linear1.bias"


def more(layer: int) -> str:
    return f"encoder.seqTransEncoder.layers.{layer}.x"


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("encoder.sigmaQuery"), "lacks 'sigmaQuery'"),
    (lambda s: s.update({"encoder.more": torch.ones(2)}), "unknown tensor 'more'"),
    (lambda s: s["encoder.muQuery"].fill_(torch.nan), "not finite"),
    (lambda s: s.update({"encoder.muQuery": torch.ones(3, 64)}), r"'muQuery' is \(3, 64\)"),
    (lambda s: s.update({"encoder.skelEmbedding.weight": torch.ones(64, 75)}), "75 numbers"),
    (lambda s: s.pop("encoder.skelEmbedding.weight"), "no motion encoder"),
    (lambda s: s.update({"encoder.skelEmbedding.weight": torch.ones(64)}), "no motion encoder"),
    (lambda s: s.update({LINEAR: torch.tensor(1.0)}), "no motion encoder"),
    (lambda s: s.update({more(i): torch.ones(1) for i in range(65)}), "has 65 layers"),
    (lambda s: s.update({more(i): torch.ones(1) for i in range(64)}), "it lacks"),
])  # fmt: skip
def test_wrong_checkpoints_are_refused(tmp_path, change, message):
    state = tiny_state()
    change(state)
    torch.save(state, tmp_path / "c.pth.tar")
    with pytest.raises(SemttaError, match=message):
        load_motionclip(tmp_path / "c.pth.tar")


class _Settings:
    """A foreign object beside the weights, as training scripts leave them."""

    revived = 0

    def __init__(self):
        self.rate = 1.0

    def __setstate__(self, state):
        _Settings.revived += 1


def test_foreign_objects_are_not_revived(tmp_path):
    state = tiny_state()
    beside = {"args": _Settings(), "order": np.arange(3), "by": {_Settings(): 1}}
    torch.save({"state_dict": state, **beside}, tmp_path / "c.pth.tar")
    encoder = load_motionclip(tmp_path / "c.pth.tar")
    assert torch.equal(encoder.skelEmbedding.weight, state["encoder.skelEmbedding.weight"])
    assert _Settings.revived == 0


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_no_code_of_a_file_is_run(tmp_path):
    made = tmp_path / "made"
    torch.save({"state_dict": tiny_state(), "epoch": _Bomb(str(made))}, tmp_path / "c.pth.tar")
    load_motionclip(tmp_path / "c.pth.tar")
    assert not made.exists()
