"""The two motion encoders against their definition and on known weights."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from golden_weights import noise
from test_denoiser_network import motion, with_known_weights

from semtta.body import load_body
from semtta.motion.encoder import AlignEncoder, GateEncoder, joint_positions
from semtta.motion.landmark_encoder import FRAME, LandmarkEncoder, landmark_features
from semtta.motion.movement import MOVEMENT
from semtta.motion.retrieval import seen_from_all_sides
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
    wanted = [[-0.1131, -0.3734, 0.3414, -0.8551], [-0.2138, -0.3967, 0.3223, -0.8325]]
    found = align(motion("c", 2, 60))
    torch.testing.assert_close(found, torch.tensor(wanted), atol=2e-4, rtol=0)
    assert torch.equal(align.train()(motion("c", 2, 60)), found)  # no dropout


def taps(x, layer, dilation=1, stride=1):
    """A convolution over time (S, C, T), tap by tap."""
    reach = (layer.kernel_size[0] // 2) * dilation
    padded = F.pad(x, (reach, reach))
    out = layer.bias[:, None]
    for k in range(layer.kernel_size[0]):
        part = padded[:, :, k * dilation : k * dilation + x.shape[2] : 1]
        out = out + layer.weight[:, :, k] @ part
    return out[:, :, ::stride]


def tower_of(tower, x):
    """What a tower makes of (S, T, C), step by step."""
    x = F.gelu(taps(x.transpose(1, 2), tower.inlet, stride=2))
    for block, dilation in zip(tower.blocks, (1, 3)):
        mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
        y = (x - mean) / (var + 1e-5).sqrt()
        y = y * block.norm.weight[:, None] + block.norm.bias[:, None]
        y = F.gelu(taps(y, block.spread, dilation))
        x = x + block.mix.weight[:, :, 0] @ y + block.mix.bias[:, None]
    pooled = torch.cat((x.mean(2), (x.var(2) + 1e-4).sqrt(), x.amax(2)), 1)
    norm, first, _, last = tower.outlet
    y = F.layer_norm(pooled, pooled.shape[1:]) * norm.weight + norm.bias
    y = F.gelu(y @ first.weight.T + first.bias) @ last.weight.T + last.bias
    return y / y.norm(dim=1, keepdim=True)


@torch.no_grad()
@pytest.mark.parametrize("moving", [False, True])
def test_the_gate_computes_what_its_parts_say(moving):
    gate = with_known_weights(GateEncoder(4, width=8, dilations=(1, 3), moving=moving))
    gate.rest.copy_(REST)
    gate.mean.copy_(torch.from_numpy(noise("mean", 138)))
    gate.std.copy_(1 + torch.from_numpy(noise("std", 138)).abs())
    rotmats, moved = motion("c", 2, 60), torch.from_numpy(noise("m", 2, 60, MOVEMENT))
    read = (gate.features(rotmats) - gate.mean) / gate.std
    if moving:
        read = torch.cat((read, moved), -1)
    found = gate(rotmats, moved)
    torch.testing.assert_close(found, tower_of(gate.tower, read), atol=1e-4, rtol=0)
    assert torch.equal(gate.train()(rotmats, moved), found)  # no dropout


@torch.no_grad()
def test_the_reader_of_landmarks_is_a_tower_over_their_features():
    reader = with_known_weights(LandmarkEncoder(4, width=8, dilations=(1, 3)))
    reader.mean.copy_(torch.from_numpy(noise("mean", FRAME)))
    reader.std.copy_(1 + torch.from_numpy(noise("std", FRAME)).abs())
    seen = seen_from_all_sides(motion("d", 1, 60))
    read = (landmark_features(seen) - reader.mean) / reader.std
    torch.testing.assert_close(reader(seen), tower_of(reader.tower, read), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="landmarks of shape"):
        reader(seen.at(slice(0, 1)).__class__(*(x[:, :59] for x in (
            seen.xy, seen.conf, seen.space, seen.conf3d, seen.box))))  # fmt: skip


def test_a_channel_that_never_moves_has_a_gradient():
    gate, rotmats = GateEncoder(4, width=8, dilations=()), motion("d", 1, 60).requires_grad_(True)
    gate.rest.copy_(REST)
    gate.tower.inlet.weight.data.zero_()
    gate(rotmats).sum().backward()
    assert rotmats.grad.isfinite().all() and gate.tower.inlet.bias.grad.isfinite().all()


@pytest.mark.parametrize("kind, encoder", [("align", AlignEncoder), ("gate", GateEncoder)])
def test_shipped_weights_have_the_usual_sizes(kind, encoder):
    state = torch.load(asset(f"motion/prior_{kind}.pt"), weights_only=True)["state"]
    own = (encoder(128, moving=True) if kind == "gate" else encoder(128)).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in state.items()}


def test_a_new_encoder_starts_with_small_positions_and_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = AlignEncoder(4)
    for parameter in (encoder.position, encoder.query):
        assert 0.015 < parameter.std() < 0.025
