"""The network of the masked motion model against its definition."""

from __future__ import annotations

import pytest
import roma
import torch
import torch.nn.functional as F
from golden_weights import noise
from torch import Tensor

from semtta.errors import SemttaError
from semtta.geometry import columns_to_rotmat, rotmat_to_columns
from semtta.motion import denoiser
from semtta.motion.denoiser import load_denoiser, without_unseen
from semtta.motion.denoiser_input import fill_unseen
from semtta.motion.denoiser_net import DenoiserConfig, MotionDenoiser
from semtta.shipped import asset

SMALL = DenoiserConfig(width=12, layers=2, heads=3, patch=4, text_dim=5)


def motion(name: str, *shape: int) -> Tensor:
    """(*shape, 24, 3, 3) moderate rotations that depend on the name alone."""
    return roma.rotvec_to_rotmat(0.4 * torch.from_numpy(noise(name, *shape, 24, 3)))


def evidence(name: str, *shape: int) -> Tensor:
    """(*shape, 24) in [0, 1], at both ends as well."""
    return (0.5 + torch.from_numpy(noise(name, *shape, 24))).clamp(0, 1)


def test_sizes_up_to_the_largest_are_taken_and_no_others():
    most = dict(width=4096, layers=64, heads=256, patch=60, text_dim=8192)
    for sizes in (most, dict.fromkeys(most, 1)):
        DenoiserConfig(**sizes)
    for name, value in most.items():
        for wrong in (value + 1, 0, float(value), True):
            with pytest.raises(ValueError, match="whole numbers from 1 to"):
                DenoiserConfig(**{**most, name: wrong})
    with pytest.raises(ValueError, match="cannot have 7 heads"):
        DenoiserConfig(heads=7)
    with pytest.raises(ValueError, match="tokens of 7"):
        DenoiserConfig(patch=7)


def test_the_shipped_network_has_the_usual_sizes():
    assert load_denoiser().config == DenoiserConfig()


def bell(sigma: float) -> Tensor:
    apart = torch.arange(60.0)[:, None] - torch.arange(60.0)
    return torch.exp(-((apart / sigma) ** 2) / 2)


def parts_of(rotmats: Tensor, seen: Tensor, trans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As documented: frame, six candidates (6, S, 60, 24, 6), what the transformer reads."""
    given = rotmat_to_columns(rotmats)
    filled = fill_unseen(given, seen)
    frame = roma.special_procrustes(columns_to_rotmat(filled[:, :, 0]).mean(1))

    def relative(x):
        root = torch.stack([x[:, :, 0, :3], x[:, :, 0, 3:]], -1)  # columns side by side
        root = frame.transpose(1, 2)[:, None] @ root
        return torch.cat((torch.cat((root[..., 0], root[..., 1]), -1)[:, :, None], x[:, :, 1:]), 2)

    def gaussian(x, sigma, trust):
        weight = bell(sigma).to(x)[None, :, :, None] * trust[:, None]
        return torch.einsum("stuj,sujc->stjc", weight / weight.sum(2, keepdim=True), x)

    def keeping_swing(x, sigma):
        once = gaussian(x, sigma, 0.1 + seen)
        return once + gaussian(x - once, sigma, 0.1 + seen)

    given, filled = relative(given), relative(filled)
    smooth = [keeping_swing(filled, sigma) for sigma in (1, 2, 4)]
    guess = gaussian(given, 4, torch.ones_like(seen))
    candidates = [filled, *smooth, guess, given.mean(1, keepdim=True).expand_as(given)]
    unseen = 1 - seen[..., None]
    joints = (filled, filled - smooth[1], (guess - filled) * unseen, seen[..., None], away(seen))
    read = torch.cat((torch.cat(joints, -1).flatten(2), root_of(trans, frame)), -1)
    return frame, torch.stack(candidates), read


def away(seen: Tensor) -> Tensor:
    """(S, 60, 24, 3): shares of a second since and until it is seen, and whether it never is."""
    apart = torch.arange(60.0)[:, None] - torch.arange(60.0)
    frames = [torch.where((seen >= 0.5)[:, None] & (a >= 0)[..., None], a[..., None], 30.0).amin(2)
              for a in (apart, -apart)]  # fmt: skip
    never = (seen < 0.5).all(1, keepdim=True).expand_as(seen)
    return torch.stack([*(f.clamp(max=30) / 30 for f in frames), never], -1).to(seen)


def root_of(trans: Tensor, frame: Tensor) -> Tensor:
    """(S, 60, 10): fine and coarse velocity, direction, told; seen from the body's frame."""

    def velocity(sigma):
        weight = (bell(sigma) / bell(sigma).sum(1, keepdim=True)).to(trans)
        step = torch.einsum("tu,suc->stc", weight, trans).diff(dim=1) * 30
        return torch.cat((step[:, :1], (step[:, 1:] + step[:, :-1]) / 2, step[:, -1:]), 1)

    told = trans.ne(0).flatten(1).any(1)[:, None, None].expand(-1, 60, 1)
    ray = trans / trans.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    seen = [torch.einsum("sji,stj->sti", frame, x) for x in (velocity(1), velocity(4), ray)]
    return torch.cat((*seen, told.to(trans)), -1)


def hidden_of(net: MotionDenoiser, read: Tensor, text: Tensor) -> Tensor:
    """What the transformer makes of it, (S, tokens, width), written out."""
    weights, config = dict(net.named_parameters()), net.config

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = linear(read.reshape(len(read), 60 // config.patch, -1), "embed") + weights["position"]
    said = text.ne(0).any(1, keepdim=True)
    x = x + torch.where(said, linear(text, "text"), weights["no_text"])[:, None]
    for at in (f"blocks.{i}" for i in range(config.layers)):
        qkv = linear(norm(x, f"{at}.norm_attention"), f"{at}.qkv").chunk(3, -1)
        heads = zip(*(part.chunk(config.heads, -1) for part in qkv))
        far = [(q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v for q, k, v in heads]
        x = x + linear(torch.cat(far, -1), f"{at}.out")
        near = F.pad(norm(x, f"{at}.norm_conv"), (0, 0, 2, 2)).unfold(1, 5, 1)
        x = x + (near * weights[f"{at}.conv.weight"][:, 0]).sum(-1) + weights[f"{at}.conv.bias"]
        x = x + linear(F.gelu(linear(norm(x, f"{at}.norm_mlp"), f"{at}.mlp.0")), f"{at}.mlp.2")
    return norm(x, "norm")


def mixed(logits: Tensor, correction: Tensor, seen: Tensor, frame: Tensor, candidates: Tensor):
    """Rotations of the mixture, in which averages over guesses count as far as nobody sees."""
    share = logits.softmax(-1)
    share[..., 4:] *= (1 - seen)[..., None]
    share = share / share.sum(-1, keepdim=True)
    out = columns_to_rotmat(torch.einsum("stjk,kstjc->stjc", share, candidates) + correction)
    out[:, :, 0] = frame[:, None] @ out[:, :, 0]
    return out


def test_a_file_that_does_not_fit_its_sizes_gets_no_memory(tmp_path, monkeypatch):
    made = []

    class Watched(MotionDenoiser):
        def __init__(self, config):
            super().__init__(config)
            made.append(self.position.device.type)

    monkeypatch.setattr(denoiser, "MotionDenoiser", Watched)
    content = torch.load(asset("motion/denoiser.pt"), weights_only=True)
    content["config"]["width"] = 384
    torch.save(content, tmp_path / "d.pt")
    with pytest.raises(SemttaError, match="is not a semtta denoiser: "):
        denoiser.load_denoiser(tmp_path / "d.pt")
    assert made == ["meta"]


def test_a_file_that_is_something_else_is_told_so(tmp_path):
    for content, words in (
        ([1], "train one with"),
        ({"format": 1}, "is not a semtta denoiser; train one with"),
        ({"format": "semtta-denoiser-1"}, "of an older format"),
        ({"format": "semtta-denoiser-2"}, "of an older format"),
        ({"format": "semtta-denoiser-3"}, "^denoiser '.*d.pt' cannot be read"),
    ):
        torch.save(content, tmp_path / "d.pt")
        with pytest.raises(SemttaError, match=words):
            denoiser.load_denoiser(tmp_path / "d.pt")


def test_a_file_keeps_what_deviations_are_multiplied_by(tmp_path):
    net = MotionDenoiser(SMALL)
    assert net.calibration == 1
    net.calibration.fill_(1.25)
    denoiser.save_denoiser(net, tmp_path / "d.pt")
    assert load_denoiser(tmp_path / "d.pt").calibration == 1.25


def window_parts(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Two windows with a joint never seen and one away for long; of one the path is told."""
    seen = evidence(name, 2, 60)
    seen[0, :, 5], seen[1, 8:57, 7], seen[1, :8, 7] = 0.2, 0, 1
    steps = 0.03 * torch.from_numpy(noise(name, 2, 60, 3))
    trans = torch.tensor([0.3, -0.8, 4.0]) + steps.cumsum(1)
    trans[1] = 0
    return motion(name, 2, 60), seen, trans


@torch.no_grad()
def test_an_untrained_network_is_the_mean_of_its_six_candidates_guesses_where_nobody_sees():
    net, (rotmats, seen, trans) = MotionDenoiser(SMALL), window_parts("a")
    read = []
    net.embed.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    out, deviation = net.complete(rotmats, seen, trans=trans)
    frame, candidates, wanted = parts_of(rotmats, seen, trans)
    assert wanted.shape[-1] == 24 * 22 + 10
    torch.testing.assert_close(read[0].reshape(wanted.shape), wanted, atol=1e-4, rtol=1e-5)
    nothing = torch.zeros(2, 60, 24, 6)
    mean = mixed(nothing, nothing, seen, frame, candidates)
    torch.testing.assert_close(out, mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(deviation, torch.full_like(seen, 0.15))
    assert 0.015 < net.position.std() < 0.025 and not net.no_text.any()


@torch.no_grad()
def test_evidence_counts_from_nothing_to_all():
    net, (rotmats, seen, trans) = with_known_weights(MotionDenoiser(SMALL)), window_parts("b")
    wide = 3 * seen - 1
    found, wanted = (net.complete(rotmats, s, trans=trans) for s in (wide, wide.clamp(0, 1)))
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(found[0], net(rotmats, seen, trans=trans), atol=0.1)


def with_known_weights(net: MotionDenoiser, size: float = 0.3) -> MotionDenoiser:
    for key, value in net.named_parameters():
        is_norm = ".norm" in f".{key}" and key.endswith("weight")
        value.data = size * torch.from_numpy(noise(key, *value.shape)) + is_norm
    return net.eval()


@torch.no_grad()
def test_a_trained_network_computes_what_it_was_trained_to():
    net = with_known_weights(MotionDenoiser(SMALL)).double()
    rotmats, seen, trans = (part.double() for part in window_parts("c"))
    text = torch.stack((torch.zeros(5), torch.from_numpy(noise("e", 5)))).double()
    frame, candidates, read = parts_of(rotmats, seen, trans)
    hidden = hidden_of(net, read, text)

    def head(layer):
        return (hidden @ layer.weight.T + layer.bias).reshape(2, 60, 24, -1)

    wanted = mixed(head(net.mixture), head(net.correction), seen, frame, candidates)
    doubts = head(net.deviation)[..., 0].exp()
    for scale in (1.0, 0.02):
        net.calibration.fill_(scale)
        out, deviation = net.complete(rotmats, seen, text, trans)
        torch.testing.assert_close(out, wanted, atol=1e-4, rtol=0)
        torch.testing.assert_close(deviation, (scale * doubts).clamp(0.01, 1.5), atol=0, rtol=1e-4)
    assert doubts.max() > 1.5 and 0.02 * doubts.min() < 0.01
    assert torch.equal(net(rotmats, seen, text, trans), out)


@torch.no_grad()
def test_rows_of_zeros_are_no_label_and_windows_of_zeros_no_path():
    net, (rotmats, seen, trans) = with_known_weights(MotionDenoiser(SMALL)), window_parts("d")
    text = torch.stack((torch.zeros(5), torch.from_numpy(noise("e", 5))))
    silent = net(rotmats, seen)
    spoken, told = net(rotmats, seen, text), net(rotmats, seen, trans=trans)
    torch.testing.assert_close(spoken[0], silent[0])
    torch.testing.assert_close(told[1], silent[1])
    for other in (spoken[1] - silent[1], told[0] - silent[0]):
        assert other.abs().max() > 0.05


def test_wrong_windows_are_refused():
    net, good, seen = MotionDenoiser(SMALL), motion("c", 2, 60), torch.ones(2, 60, 24)
    for rotmats, evidence in ((good[:, :, :23], seen), (good, seen[:1]), (good, seen[..., :23])):
        with pytest.raises(SemttaError, match="wants rotations"):
            net(rotmats, evidence)
    for text in (torch.zeros(1, 5), torch.zeros(2, 4)):
        with pytest.raises(SemttaError, match=r"wants label embeddings \(2, 5\)"):
            net(good, seen, text)


def test_what_was_half_seen_lies_between_its_own_value_and_the_line():
    x = torch.tensor([9.0, 0.0, 8.0, 4.0, 7.0])[None, :, None, None]
    seen = torch.tensor([0.0, 1.0, 0.25, 0.5, 0.0])[None, :, None]
    found = fill_unseen(x, seen).flatten()
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 5.0, 4.0, 4.0]))
    assert fill_unseen(x.to("meta"), seen.to("meta")).device.type == "meta"  # where it is given


def test_a_rotation_with_half_the_evidence_is_kept_as_it_is():
    rotmats = motion("f", 1, 60)
    seen = torch.ones(1, 60, 24)
    seen[:, 20:25], seen[:, 30:35] = 0.5, 0.49
    kept = (without_unseen(rotmats, seen) == rotmats).all(-1).all(-1).all(-1)[0]
    assert kept.nonzero().flatten().tolist() == [*range(30), *range(35, 60)]
