"""The training loop and its strategies on tiny sets; generated hands are learnt."""

from __future__ import annotations

import copy
import inspect
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from semtta.errors import SemttaError
from semtta.pose2d.adapt import DomainAdapter
from semtta.pose2d.augment import Augmentation
from semtta.pose2d.clip2pose import Clip2Pose
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.pose2d.evaluate import evaluate, predict, spread, table
from semtta.pose2d.loop import Batches, learning_rate, prepare
from semtta.pose2d.methods.registry import METHODS, make_strategy
from semtta.pose2d.methods.uniframe import restyle
from semtta.pose2d.samples import Entry, KeypointSet
from semtta.pose2d.settings import SOURCE_FREE, STRATEGIES, Pose2DConfig
from semtta.pose2d.skeletons import BODY16, HAND21
from semtta.pose2d.teachers import move


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)  # the networks here are too small to be shared


SPEC = EstimatorSpec("body16", "efficientnet_lite0", 64, 8, sigma=1.5, subpixel=True)


def hand_points(rng: np.random.Generator, size: int) -> np.ndarray:
    """(21, 2) an open or half-closed hand seen from the front, somewhere in the picture."""
    turn = rng.uniform(-0.6, 0.6)
    points = [np.zeros(2)]
    for finger in range(5):
        angle = turn + (finger - 2) * 0.32 + rng.normal(0, 0.04)
        at = np.array([np.sin(angle), -np.cos(angle)]) * (0.2 if finger == 0 else 0.34)
        for bone in range(4):
            points.append(at.copy())
            bend = angle + bone * rng.uniform(-0.1, 0.25)
            at = at + np.array([np.sin(bend), -np.cos(bend)]) * (0.13 - 0.02 * bone)
    points = np.array(points)
    return points * size * rng.uniform(0.85, 1) + size * np.array([0.5, 0.85])


def hand_set(count: int, seed: int, size: int = 64) -> KeypointSet:
    """Drawn hands on plain backgrounds."""
    rng = np.random.default_rng(seed)
    entries = []
    for _ in range(count):
        xy = hand_points(rng, size)
        image = np.full((size, size, 3), rng.uniform(0, 90, 3), np.uint8)
        skin = tuple(map(float, rng.uniform(0.6, 1) * np.array([250, 200, 170])))
        palm = xy[[0, 1, 5, 9, 13, 17]].astype(np.int32)
        cv2.fillConvexPoly(image, cv2.convexHull(palm), skin, cv2.LINE_AA)
        for a, b in HAND21.edge_indices():
            ends = (tuple(map(int, xy[i].round())) for i in (a, b))
            cv2.line(image, *ends, skin, 4, cv2.LINE_AA)
        entries.append(Entry(image, None, xy, np.ones(21)))
    return KeypointSet("hands", HAND21, entries)


def blob_set(count: int, seed: int, tint: int = 0, labels: bool = True) -> KeypointSet:
    """Pictures of sixteen dots."""
    rng = np.random.default_rng(seed)
    entries = []
    for _ in range(count):
        xy = rng.uniform(8, 56, (16, 2))
        image = rng.integers(0, 60, (64, 64, 3)).astype(np.uint8) + np.uint8(tint)
        for x, y in xy.astype(int):
            cv2.circle(image, (int(x), int(y)), 3, (200, 220, 240), -1)
        entries.append(Entry(image, None, xy, np.full(16, float(labels))))
    return KeypointSet("blobs", BODY16, entries)


def settings(**changes) -> Pose2DConfig:
    config = Pose2DConfig(augment=Augmentation(rotation=10, shear=0, scale=[0.9, 1.1]))
    config.clip2pose.text, config.adversary.hidden = "builtin", 16
    config.optimizer.epochs, config.optimizer.iterations = 1, 1
    config.optimizer.batch, config.optimizer.workers = 2, 1
    config.optimizer.name, config.optimizer.lr = "adam", 1e-3
    for key, value in changes.items():
        part, _, name = key.partition("__")
        setattr(getattr(config, part) if name else config, name or part, value)
    return config


def estimator(spec: EstimatorSpec = SPEC) -> Estimator:
    torch.manual_seed(0)
    return Estimator(spec)


SOURCE, TARGET = blob_set(5, 0), blob_set(3, 1, tint=120)


# --------------------------------------------------------------------------- strategies


def test_every_named_strategy_is_made_somewhere_and_no_module_imports_in_a_circle():
    assert tuple(METHODS) == STRATEGIES
    folder = Path(inspect.getfile(Pose2DConfig)).parent
    imports = {}
    for path in folder.rglob("*.py"):
        text = path.read_text("utf8")
        name = ".".join(("semtta.pose2d", *path.relative_to(folder).with_suffix("").parts))
        imports[name] = set(re.findall(r"^ *from (semtta\.pose2d[\w.]*) import", text, re.M))
    while leaves := [name for name, found in imports.items() if not found & set(imports)]:
        for name in leaves:
            del imports[name]
    assert not imports  # those left import each other, also within functions


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns_and_repeats_itself(strategy):
    results = []
    for labels in (True, False):  # the target's labels are not read
        net = estimator()
        before = copy.deepcopy(net.state_dict())
        target = blob_set(3, 1, tint=120, labels=labels)
        config = settings(strategy=strategy, optimizer__iterations=2)
        fitted = DomainAdapter(net, config).fit(SOURCE, target)
        assert not fitted.model.training and len(fitted.history) == 1
        learnt = "protect" if strategy in SOURCE_FREE else "sup"
        assert fitted.history[0][learnt] > 0 and fitted.history[0]["images_per_second"] > 0
        after = fitted.model.state_dict()
        prefix = "estimator." if isinstance(fitted.model, Clip2Pose) else ""
        for part in ("backbone.conv_stem.weight", "upsampling.0.weight", "head.weight"):
            assert not torch.equal(after[prefix + part], before[part]), part
        assert all(torch.isfinite(v).all() for v in after.values() if v.is_floating_point())
        results.append(after)
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_one_target_image_is_enough():
    one = KeypointSet("one", BODY16, TARGET.entries[:1])
    for strategy in ("clip2pose", "uniframe"):
        net = estimator()
        before = net.head.weight.detach().clone()
        fitted = DomainAdapter(net, settings(strategy=strategy)).fit(SOURCE, one)
        assert all(np.isfinite(value) for value in fitted.history[-1].values())
        assert not torch.equal(net.head.weight, before)


def test_bn_only_differs_from_source_only_in_statistics_alone():
    source, bn, adabn = (estimator() for _ in range(3))
    DomainAdapter(source, settings(strategy="source_only")).fit(SOURCE)
    DomainAdapter(bn, settings(strategy="bn_only")).fit(SOURCE, TARGET)
    DomainAdapter(adabn, settings(strategy="bn_only", bn="adabn")).fit(SOURCE, TARGET)
    a, b, c = source.state_dict(), bn.state_dict(), adabn.state_dict()
    for key in a:
        if "running" in key:
            assert not torch.equal(a[key], b[key]) and not torch.equal(a[key], c[key])
        elif "tracked" not in key:
            assert torch.equal(a[key], b[key]) and torch.equal(a[key], c[key])
    # the first norm's statistics under adabn are the target's own
    with torch.no_grad():
        images = np.stack([e.image for e in TARGET.entries])
        x = prepare(torch.from_numpy(images), adabn)
        means = [adabn.backbone.conv_stem(x[i : i + 2]).mean((0, 2, 3)) for i in (0,)]
        means.append(adabn.backbone.conv_stem(x[2:]).mean((0, 2, 3)))
    assert torch.allclose(adabn.backbone.bn1.running_mean, sum(means) / 2, atol=1e-4)


@pytest.mark.parametrize("strategy", ["clip2pose", "uniframe"])
def test_frozen_statistics_stay_as_they_came(strategy):
    net = estimator()
    before = copy.deepcopy(net.state_dict())
    config = settings(strategy=strategy, bn="frozen", optimizer__epochs=2)
    fitted = DomainAdapter(net, config).fit(SOURCE, TARGET, evaluate=lambda model: {})
    after = getattr(fitted.model, "estimator", fitted.model).state_dict()
    for key in before:
        if "running" in key:
            assert torch.equal(before[key], after[key])
    assert not torch.equal(before["head.weight"], after["head.weight"])


@pytest.mark.parametrize("strategy", ["bn_only", "adversarial", "clip2pose"])
def test_one_batch_for_both_domains(strategy):
    """With bn=joint the first norm sees both domains at once: its statistics say so."""
    net = estimator()
    config = settings(strategy=strategy, bn="joint", optimizer__iterations=1)
    seen = []
    net.backbone.conv_stem.register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    DomainAdapter(net, config).fit(SOURCE, TARGET)
    assert [len(x) for x in seen] == [4]  # two images of each domain
    share = net.backbone.bn1.momentum
    assert torch.allclose(net.backbone.bn1.running_mean, share * seen[0].mean((0, 2, 3)), atol=1e-5)


def test_the_papers_words_taken_literally():
    net = estimator()
    before = copy.deepcopy(net.state_dict())
    config = settings(strategy="clip2pose", freeze_backbone=True)
    model = DomainAdapter(net, config).fit(SOURCE, TARGET).model
    after = model.estimator.state_dict()
    weights = [k for k, _ in net.named_parameters()]
    moved = {k.split(".")[0] for k in weights if not torch.equal(after[k], before[k])}
    assert moved == {"upsampling", "head"}


def test_the_tower_is_frozen_and_the_rest_of_the_branch_learns():
    config = settings(strategy="clip2pose", clip2pose__text="random", clip2pose__layers=1)
    net = estimator()
    strategy = make_strategy(net, config)
    chosen = {id(p) for g in strategy.optimizers[0].param_groups for p in g["params"]}
    tower = {id(p) for p in strategy.model.tower.parameters()}
    learnt = {id(p) for p in (*strategy.model.parameters(), *strategy.discriminator.parameters())}
    assert tower and chosen == learnt - tower


def test_a_second_head_disagrees_only_in_its_own_phase():
    strategy = make_strategy(estimator(), settings(strategy="regda"))
    model = strategy.model
    parts = {
        "features": [*model.backbone.parameters(), *model.upsampling.parameters()],
        "head": list(model.head.parameters()),
        "second": list(strategy.second.parameters()),
    }
    domains = Batches(SOURCE, TARGET, 1, model, settings()).next(0, 0.0)
    wanted = [{"features", "head", "second"}, {"second"}, {"features"}]
    for (losses, optimizers), names in zip(strategy.phases(domains), wanted, strict=True):
        for optimizer in optimizers:
            optimizer.zero_grad()
        before = {name: [p.detach().clone() for p in part] for name, part in parts.items()}
        sum(losses.values()).backward()
        for optimizer in optimizers:
            optimizer.step()
        moved = {name for name, part in parts.items()
                 if any(not torch.equal(a, b) for a, b in zip(part, before[name]))}  # fmt: skip
        assert moved == names


def test_views_and_styles_of_uniframe():
    a = torch.tensor([[[0.0, -2.0, 3], [2.0, 0, 1]]])
    b = torch.tensor([[[1.0, 0, 5], [0, 3.0, 0]]])
    crop = torch.tensor([[[4.0, 7.0]]])
    seen = crop @ a[..., :2].mT + a[:, None, :, 2]
    assert torch.allclose(move(seen, a, b), torch.tensor([[[9.0, 21.0]]]))
    x, style = torch.randn(2, 3, 8, 8), 4 + 2 * torch.randn(2, 3, 8, 8)
    y = restyle(x, style)
    assert torch.allclose(y.mean((2, 3)), style.mean((2, 3)), atol=1e-4)
    assert torch.allclose(y.std((2, 3)), style.std((2, 3)), atol=1e-3)


def test_the_teacher_of_uniframe_follows_its_student_and_is_kept():
    net = estimator()
    before = copy.deepcopy(net.state_dict())
    config = settings(strategy="uniframe", uniframe__momentum=0.75)
    strategy = make_strategy(net, config)
    assert strategy.model is net and strategy.student is not net
    with torch.no_grad():
        for parameter in strategy.student.parameters():
            parameter.add_(1)
    strategy.after_step()
    for name, parameter in net.named_parameters():
        assert torch.allclose(parameter, before[name] + 0.25, atol=1e-6)
    learnt = {id(p) for g in strategy.optimizers[0].param_groups for p in g["params"]}
    assert learnt == {id(p) for p in strategy.student.parameters()}
    assert DomainAdapter(net, config).fit(SOURCE, TARGET).model is net


def test_uniframe_covers_one_confident_joint_in_a_share_of_the_images():
    strategy = make_strategy(estimator(), settings(strategy="uniframe"))
    images = torch.rand(400, 3, 64, 64)
    points = torch.full((400, 16, 2), 60.0)
    points[:, 3] = torch.tensor([20.0, 40.0])
    height = torch.full((400, 16), 0.5)
    assert torch.equal(strategy._covered(images, points, height), images)  # none is sure
    height[:, 3] = 0.95
    changed = (strategy._covered(images, points, height) != images).any(1)
    covered = changed.flatten(1).any(1)
    assert 0.4 < covered.float().mean() < 0.6
    rows, columns = changed.any(0).nonzero().T
    assert rows.min() >= 37 and rows.max() <= 43  # 5 pixels around (20, 40)
    assert columns.min() >= 17 and columns.max() <= 23


# --------------------------------------------------------------------------- the loop


def test_what_does_not_fit_is_refused():
    adapter = DomainAdapter(estimator(), settings(strategy="clip2pose"))
    with pytest.raises(SemttaError, match="needs a target"):
        adapter.fit(SOURCE)
    with pytest.raises(SemttaError, match="hand21"):
        adapter.fit(hand_set(2, 0), TARGET)
    with pytest.raises(SemttaError, match="no labelled joint"):
        adapter.fit(blob_set(2, 0, labels=False), TARGET)
    with pytest.raises(SemttaError, match="batch"):
        DomainAdapter(estimator(), settings(optimizer__batch=1)).fit(SOURCE, TARGET)
    with pytest.raises(SemttaError, match="labels to measure"):
        evaluate(estimator(), blob_set(2, 0, labels=False))
    with pytest.raises(SemttaError, match="skeleton"):
        predict(estimator(), hand_set(1, 0))


def test_a_loss_that_explodes_is_said():
    net = estimator()
    nn.init.constant_(net.head.bias, float("inf"))
    with pytest.raises(SemttaError, match="not finite at step 0"):
        DomainAdapter(net, settings(strategy="source_only")).fit(SOURCE)


def test_rates():
    config = settings(optimizer__epochs=70, optimizer__iterations=10, optimizer__lr=1e-4)
    rates = [learning_rate(10 * epoch, config) for epoch in (0, 44, 45, 59, 60, 69)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])
    config.optimizer.schedule = "inverse"
    assert learning_rate(10000, config) == pytest.approx(1e-4 * 2**-0.75)
    config.optimizer.schedule = "cosine"
    assert learning_rate(0, config) == 1e-4 and learning_rate(699, config) < 3e-6
    config.optimizer.backbone_lr_mult = 0.1
    (optimizer,) = make_strategy(estimator(), config).optimizers
    assert [g["factor"] for g in optimizer.param_groups] == [0.1, 1.0]


def test_evaluation_is_called_after_every_epoch_and_the_last_one_is_kept():
    seen = []

    def look(model):
        seen.append(model.training)
        return {"pck": float(len(seen))}

    config = settings(strategy="source_only", optimizer__epochs=3)
    fitted = DomainAdapter(estimator(), config).fit(SOURCE, evaluate=look)
    assert seen == [False] * 3 and [h["pck"] for h in fitted.history] == [1, 2, 3]


def test_predictions_of_perfect_maps_are_the_labels():
    class Perfect(Estimator):
        def forward(self, images):
            maps, _ = self.spec.encode(self.wanted[: len(images)], torch.ones(len(images), 16))
            self.wanted = self.wanted[len(images) :]
            return maps

    net = Perfect(SPEC)
    wanted = torch.from_numpy(np.stack([e.xy for e in SOURCE.entries])).float()
    net.wanted = wanted
    guess = predict(net, SOURCE, batch=2, thresholds=(0.05,))
    assert (guess.found - guess.truth).norm(dim=-1).max() < 1.5  # border cells are not refined
    net.wanted = wanted
    assert evaluate(net, SOURCE, batch=2).groups["All"] == pytest.approx(100)
    net.wanted = wanted
    legacy = evaluate(net, SOURCE, aggregation="uniframe", batch=2)
    assert legacy.groups["All"] == pytest.approx(100)
    text = table({"perfect": [legacy, legacy]}, BODY16)
    assert "| perfect | 100.0 ± 0.0 |" in text and "Ankle | All" in text
    assert spread([None]) == "-" and spread([1.0, None]) == "1.0" and spread([1, 3]) == "2.0 ± 1.4"


def test_hands_are_learnt():
    spec = EstimatorSpec("hand21", "efficientnet_lite0", 64, 16, sigma=1.5, subpixel=True)
    source, target = hand_set(24, 0), hand_set(6, 1)
    config = settings(strategy="clip2pose", optimizer__iterations=6, optimizer__epochs=2,
                      optimizer__batch=4, optimizer__lr=5e-3)  # fmt: skip
    net = estimator(spec)
    history = DomainAdapter(net, config).fit(source, target).history
    start = 21 * 1.5**2 * np.pi  # of maps that are zero
    assert history[1]["sup"] < history[0]["sup"] < 1.2 * start
    assert history[1]["sup"] < 0.85 * start


def test_the_benchmark_says_whose_spread_it_reports(tmp_path):
    from tools import benchmark_pose2d as benchmark

    groups = {name: 0.0 for name in benchmark.headings(BODY16)}
    rows = [(benchmark.STAGE1, 0, 30.0)]
    rows += [(m, s, v + s) for m, v in (("bn_only", 40.0), ("clip2pose", 42.0)) for s in (0, 1)]
    (tmp_path / "rows").mkdir()

    def written():
        for method, seed, value in rows:
            found = {str(a): groups | {"All": value} for a in benchmark.THRESHOLDS}
            row = {"method": method, "seed": seed, "pck": {"target": found}}
            path = tmp_path / "rows" / f"{method}-{seed}.json"
            path.write_text(json.dumps(row), encoding="utf8")
        return benchmark.report(benchmark.parse(["--output", str(tmp_path)]))

    text = written()
    assert "- clip2pose: 2.0 ± 0.0" in text and "seeds of the adaptation (1 est" in text
    rows.append((benchmark.STAGE1, 1, 31.0))
    assert "seeds of the whole pipeline" in written()
