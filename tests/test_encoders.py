"""The two motion encoders against their definition and on known weights."""

from __future__ import annotations

import warnings

import pytest
import torch
from golden_weights import noise
from test_denoiser_network import motion, with_known_weights

from semtta.body import load_body
from semtta.motion.encoder import AlignEncoder, GateEncoder, joint_positions
from semtta.shipped import asset

REST = torch.from_numpy(noise("rest", 24, 3))


def test_joint_positions_are_those_of_the_body_about_its_pelvis():
    body, rotmats = load_body(), motion("a", 5)
    rotmats[:, 0] = torch.eye(3)
    joints = body.joints(rotmats, torch.zeros(5, 10))[:, :24]
    found = joint_positions(motion("a", 5), body.joint_template)
    torch.testing.assert_close(found, joints - joints[:, :1], atol=1e-5, rtol=0)


def test_what_the_gate_reads_are_positions_and_velocities():
    gate, rotmats = GateEncoder(3, width=4), motion("b", 2, 60)
    assert not gate.rest.any() and not gate.mean.any() and (gate.std == 1).all()
    gate.rest.copy_(REST)
    found = gate.features(rotmats)
    place = joint_positions(rotmats, REST)[:, :, 1:].flatten(2)
    speed = place.diff(dim=1)
    assert torch.equal(found[..., :69], place) and torch.equal(found[:, 1:, 69:], speed)
    assert torch.equal(found[:, 0, 69:], speed[:, 0])


@torch.no_grad()
def test_known_weights_give_known_features():
    align = with_known_weights(AlignEncoder(4, width=12, layers=2, heads=3, patch=6))
    gate = with_known_weights(GateEncoder(4, width=8, dilations=(1, 3)))
    gate.rest.copy_(REST)
    gate.mean.copy_(torch.from_numpy(noise("mean", 138)))
    gate.std.copy_(1 + torch.from_numpy(noise("std", 138)).abs())
    golden = {
        align: [[-0.1131, -0.3734, 0.3414, -0.8551], [-0.2138, -0.3967, 0.3223, -0.8325]],
        gate: [[0.3796, 0.3329, -0.0106, -0.8631], [0.4506, 0.3839, -0.0608, -0.8036]],
    }
    for encoder, wanted in golden.items():
        found = encoder(motion("c", 2, 60))
        torch.testing.assert_close(found, torch.tensor(wanted), atol=2e-4, rtol=0)
        assert torch.equal(encoder.train()(motion("c", 2, 60)), found)  # no dropout


def test_a_channel_that_never_moves_has_a_gradient():
    gate, rotmats = GateEncoder(4, width=8, dilations=()), motion("d", 1, 60).requires_grad_(True)
    gate.rest.copy_(REST)
    gate.inlet.weight.data.zero_()
    gate(rotmats).sum().backward()
    assert rotmats.grad.isfinite().all() and gate.inlet.bias.grad.isfinite().all()


@pytest.mark.parametrize("kind, encoder", [("align", AlignEncoder), ("gate", GateEncoder)])
def test_shipped_weights_have_the_usual_sizes(kind, encoder):
    state = torch.load(asset(f"motion/prior_{kind}.pt"), weights_only=True)["state"]
    own = encoder(128).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in state.items()}


def test_a_new_encoder_starts_with_small_positions_and_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = AlignEncoder(4)
    for parameter in (encoder.position, encoder.query):
        assert 0.015 < parameter.std() < 0.025
