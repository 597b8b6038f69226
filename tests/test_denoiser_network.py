"""The network of the masked motion model against its definition."""

from __future__ import annotations

import pytest
import roma
import torch
from golden_weights import noise
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.geometry import columns_to_rotmat, rotmat_to_columns
from semtta.motion import denoiser
from semtta.motion.denoiser import load_denoiser, without_unseen
from semtta.motion.denoiser_net import DenoiserConfig, MotionDenoiser, fill_unseen
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


def parts_of(rotmats: Tensor, seen: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """Window by window as documented: frame, six candidates, what the transformer reads."""
    given = rotmat_to_columns(rotmats)
    filled = fill_unseen(given, seen)
    frame = roma.special_procrustes(columns_to_rotmat(filled[:, :, 0]).mean(1))

    def relative(x):
        root = torch.stack([x[:, :, 0, :3], x[:, :, 0, 3:]], -1)  # columns side by side
        root = frame.transpose(1, 2)[:, None] @ root
        return torch.cat((torch.cat((root[..., 0], root[..., 1]), -1)[:, :, None], x[:, :, 1:]), 2)

    def gaussian(x, sigma, trust):
        apart = torch.arange(60.0)[:, None] - torch.arange(60.0)
        weight = torch.exp(-((apart / sigma) ** 2) / 2)[None, :, :, None] * trust[:, None]
        return torch.einsum("stuj,sujc->stjc", weight / weight.sum(2, keepdim=True), x)

    given, filled = relative(given), relative(filled)
    smooth = [gaussian(filled, sigma, 0.1 + seen) for sigma in (1, 2, 4)]
    guess = gaussian(given, 4, torch.ones_like(seen))
    candidates = [filled, *smooth, guess, given.mean(1, keepdim=True).expand_as(given)]
    unseen = 1 - seen[..., None]
    read = torch.cat((filled, filled - smooth[1], (guess - filled) * unseen, seen[..., None]), -1)
    return frame, candidates, read


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
        ({"format": 1}, "train one with"),
        ({"format": "semtta-denoiser-2"}, "^denoiser '.*d.pt' cannot be read"),
    ):
        torch.save(content, tmp_path / "d.pt")
        with pytest.raises(SemttaError, match=words):
            denoiser.load_denoiser(tmp_path / "d.pt")


@torch.no_grad()
def test_an_untrained_network_is_the_mean_of_its_six_candidates():
    net, rotmats, seen = MotionDenoiser(SMALL), motion("a", 2, 60), evidence("b", 2, 60)
    read = []
    net.embed.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    out = net(rotmats, seen)
    frame, candidates, wanted = parts_of(rotmats, seen)
    torch.testing.assert_close(read[0].reshape(wanted.shape), wanted, atol=1e-5, rtol=1e-5)
    mean = columns_to_rotmat(torch.stack(candidates).mean(0))
    mean[:, :, 0] = frame[:, None] @ mean[:, :, 0]
    torch.testing.assert_close(out, mean, atol=1e-5, rtol=0)
    assert 0.015 < net.position.std() < 0.025 and not net.no_text.any()
    torch.testing.assert_close(net(rotmats, 3 * seen - 1), net(rotmats, (3 * seen - 1).clamp(0, 1)))


def with_known_weights(net: nn.Module, size: float = 0.3) -> nn.Module:
    for key, value in net.named_parameters():
        is_norm = ".norm" in f".{key}" and key.endswith("weight")
        value.data = size * torch.from_numpy(noise(key, *value.shape)) + is_norm
    return net.eval()


@torch.no_grad()
def test_a_trained_network_computes_what_it_was_trained_to():
    """Golden numbers of known weights: shipped ones would mean nothing to another network."""
    net = with_known_weights(MotionDenoiser(SMALL))
    rotmats, seen = motion("c", 2, 60), evidence("d", 2, 60)
    text = torch.stack((torch.zeros(5), torch.from_numpy(noise("e", 5))))
    with_text, without = net(rotmats, seen, text), net(rotmats, seen)
    wanted = [[[-0.3888, -0.5625, 0.7545], [0.5052, -0.3682, 0.2525], [-0.0041, 0.9213, -0.0866]],
              [[0.4072, -0.0812, 0.5797], [0.5689, -0.1818, 0.6692],
               [0.6526, 0.6358, -0.4662]]]  # fmt: skip
    shown = with_text[:, ::29, ::11, 0, 1]
    torch.testing.assert_close(shown, torch.tensor(wanted), atol=1e-3, rtol=0)
    torch.testing.assert_close(with_text[0], without[0])  # a row of zeros is no label
    assert (with_text[1] - without[1]).abs().max() > 0.05


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
