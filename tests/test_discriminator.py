"""VIBE's motion discriminator against the official one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semtta.errors import SemttaError
from semtta.motion.discriminator import LENGTH, MotionDiscriminator, load_discriminator


def test_the_discriminator_answers_as_the_official_one(official_discriminator, golden):
    net = MotionDiscriminator().eval()
    assert set(net.state_dict()) == set(official_discriminator) and len(net.state_dict()) == 16
    net.load_state_dict(official_discriminator)
    numbers = np.random.RandomState(0).standard_normal((4, LENGTH, 69)).astype(np.float32)
    with torch.no_grad():
        out = net(torch.from_numpy(numbers))
        one = net(torch.from_numpy(numbers[:1]))
    torch.testing.assert_close(out, golden("vibe_motion_disc/out.npz")["out"], atol=1e-6, rtol=0)
    torch.testing.assert_close(one, out[:1], atol=1e-6, rtol=0)


def test_the_discriminator_is_read_from_a_file(official_discriminator, tmp_path):
    path = tmp_path / "disc.pt"
    torch.save({"disc_motion_state_dict": official_discriminator, "epoch": 3}, path)
    net = load_discriminator(path)
    for key, value in net.state_dict().items():
        assert torch.equal(value, official_discriminator[key])
    torch.save({f"judge.{key}": v for key, v in official_discriminator.items()}, path)
    assert load_discriminator(path).gru.hidden_size == 1024
    torch.save({"model": {"gru.weight_ih_l0": torch.zeros(3)}}, path)
    with pytest.raises(SemttaError, match="motion discriminator"):
        load_discriminator(path)
