"""The compared methods: what each one's paper says that it does, on tiny sets."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from test_pose2d_training import SOURCE, TARGET, blob_set, estimator, settings

from semtta.errors import SemttaError
from semtta.pose2d import runs
from semtta.pose2d.adapt import DomainAdapter
from semtta.pose2d.clip2pose import Clip2Pose
from semtta.pose2d.loop import Batches
from semtta.pose2d.methods.ad_clip import entropy
from semtta.pose2d.methods.registry import METHODS, make_strategy
from semtta.pose2d.methods.sfhpe import contrast, information, spatial
from semtta.pose2d.settings import STRATEGIES, load_settings, shipped_settings
from semtta.pose2d.teachers import consensus, follow, still_copy, surest


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


def ready(strategy: str, **changes):
    """A strategy and what one step shows it."""
    config = settings(strategy=strategy, **changes)
    made = make_strategy(estimator(), config)
    source = None if made.source_free else SOURCE
    net = getattr(made.model, "estimator", made.model)
    return made, Batches(source, TARGET, made.views, net, config).next(1, 0.5)


def terms(strategy, domains) -> dict[str, float]:
    ((losses, _),) = strategy.phases(domains)
    return {name: float(loss.detach()) for name, loss in losses.items()}


def test_every_method_has_its_own_settings_file():
    loaded = {name: load_settings(name).strategy for name in shipped_settings()}
    simple = {"bn_only", "adversarial"}  # controls: nobody's paper
    assert set(loaded.values()) == set(STRATEGIES) - simple and set(METHODS) == set(STRATEGIES)
    rates = {load_settings(f"pose2d_{n}").optimizer.lr for n in ("cc_ssl", "regda", "uniframe")}
    assert rates == {2.5e-4, 0.1, 1e-4}


# ------------------------------------------------------------------------------- teachers


def test_views_that_agree_are_believed_and_those_that_do_not_are_not():
    eye = torch.eye(2, 3).expand(1, 2, 3)
    turned = torch.tensor([[[0.0, -1, 10], [1, 0, 0]]])
    points = torch.tensor([[[4.0, 7], [1, 2]]])
    seen = points @ turned[..., :2].mT + turned[:, None, :, 2]
    seen[:, 1] += 8  # the second joint elsewhere
    height = torch.full((1, 2), 0.8)
    mean, sure = consensus([points, seen], [height, height], [eye, turned], eye, 2.0)
    assert torch.allclose(mean[0, 0], points[0, 0]) and sure[0, 0] == pytest.approx(0.8)
    assert float(sure[0, 1]) == pytest.approx(0.8 * math.exp(-4), rel=1e-4)  # 4 pixels on each axis
    assert surest(sure, 0.5).tolist() == [[1, 0]] and surest(sure, 1.0).tolist() == [[1, 1]]


def test_a_still_copy_stays_and_a_follower_follows():
    net = estimator()
    still = still_copy(net)
    assert not still.training and not any(p.requires_grad for p in still.parameters())
    with torch.no_grad():
        net.head.bias.add_(1)
    assert torch.allclose(still.head.bias, net.head.bias - 1)
    follow(still, net, 0.75)
    assert torch.allclose(still.head.bias, net.head.bias - 0.75)


# ------------------------------------------------------------------------------- methods


def test_cc_ssl_labels_with_the_model_of_the_last_round():
    strategy, domains = ready("cc_ssl", cc_ssl__views=2, cc_ssl__weight=3.0,
                              optimizer__iterations=2)  # fmt: skip
    assert strategy.views == 3 and strategy.labeller is not strategy.model
    before = copy.deepcopy(strategy.labeller.state_dict())
    with torch.no_grad():
        strategy.model.head.bias.add_(1)
    strategy.after_step()
    assert torch.equal(strategy.labeller.head.bias, before["head.bias"])
    strategy.after_step()  # the last of a round of two
    assert torch.equal(strategy.labeller.head.bias, strategy.model.head.bias)
    first = terms(strategy, domains)
    strategy.config.cc_ssl.weight = 6.0
    again = terms(strategy, domains)
    assert again["pseudo"] == pytest.approx(2 * first["pseudo"], rel=1e-4)


def test_more_joints_are_let_in_by_and_by():
    strategy, domains = ready("cc_ssl", cc_ssl__views=2)
    found = {}
    for progress in (0.0, 1.0):
        strategy.config.cc_ssl.first, strategy.config.cc_ssl.last = 0.0, 1.0
        found[progress] = terms(strategy, _at(domains, progress))["pseudo"]
    assert found[1.0] > 4 * found[0.0]


def _at(domains, progress):
    return type(domains)(**{**vars(domains), "progress": progress})


def test_old_labels_fade_out_as_new_ones_fade_in_and_judges_reverse():
    strategy, domains = ready("mdam", mdam__weight=1.0)
    early, late = (terms(strategy, _at(domains, p)) for p in (0.0, 1.0))
    assert early["new"] == 0 and late["old"] == 0 and early["old"] > 0 and late["new"] > 0
    assert {"sup", "adv", "mixup"} <= set(early)
    strategy.config.mdam.mixup = 0.0
    assert "mixup" not in terms(strategy, domains)
    learnt = {id(p) for g in strategy.optimizers[0].param_groups for p in g["params"]}
    wanted = {id(p) for part in (strategy.student, strategy.judges) for p in part.parameters()}
    assert learnt == wanted


def test_sfhpe_sees_no_source():
    target = blob_set(3, 1, tint=120)
    results = []
    for source in (None, SOURCE, blob_set(4, 9)):
        fitted = DomainAdapter(estimator(), settings(strategy="sfhpe")).fit(source, target)
        results.append(fitted.model.state_dict())
    assert all(torch.equal(results[0][k], other[k]) for other in results[1:] for k in other)
    strategy, domains = ready("sfhpe")
    assert len(domains.source) == 0 and set(terms(strategy, domains)) == {
        "protect", "contrast", "information"}  # fmt: skip
    with pytest.raises(SemttaError, match="needs a source"):
        DomainAdapter(estimator(), settings(strategy="uniframe")).fit(None, target)
    config = settings(strategy="sfhpe", target__root=".")
    with pytest.raises(SemttaError, match=r"estimator\.checkpoint"):
        runs.check_inputs(config, needs_target=True)


def test_the_space_of_probabilities():
    maps = torch.zeros(2, 3, 8, 8)
    maps[:, 0, 2, 5] = maps[:, 1, 6, 1] = maps[:, 2, 3, 3] = 1.0
    p = spatial(maps)
    assert p.shape == (2, 3, 2, 8) and torch.allclose(p.sum(-1), torch.ones(2, 3, 2))
    assert p[0, 0].argmax(-1).tolist() == [5, 2]  # x, then y
    assert contrast(p, p, 0.1) < contrast(p, p.flip(1), 0.1)
    same, moved = maps.clone(), maps.clone()
    moved[1] = moved[1].roll(3, -1).roll(2, -2)
    # images that differ have a wider mean: by a bit of two places each
    assert information(spatial(moved)) < information(spatial(same)) - 0.5
    assert information(spatial(maps)) < information(spatial(0.1 * maps)) + 1e-6


def test_ad_clip_reads_every_stage_and_sharpens_the_target():
    strategy, domains = ready("ad_clip", ad_clip__entropy=2.0)
    model = strategy.model
    assert model.prompt_spec.prompts == "stages" and not model.prompt_spec.dal
    maps = model.estimator.features(domains.source)
    _, own = model.prompt(maps)
    assert own.shape[1] == 8 + 16
    for stage in range(4):
        other = [m.detach().clone() for m in maps]
        other[stage] += torch.randn_like(other[stage])
        changed = (model.prompt(tuple(other))[1] - own).abs().amax((0, 2)) > 1e-6
        assert changed.nonzero()[:, 0].tolist() == [stage, 4 + stage]
    assert set(terms(strategy, domains)) == {"sup", "entropy"}
    flat, sharp = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    sharp[..., 1, 1] = 20
    assert float(entropy(flat)) == pytest.approx(2.7726, abs=1e-3) and entropy(sharp) < 0.01


def test_pda_attends_to_both_banks_and_keeps_the_base_branch():
    strategy, domains = ready("pda", pda__bank=3)
    assert set(terms(strategy, domains)) == {"sup", "pseudo", "sup_aligned", "pseudo_aligned"}
    assert [len(bank) for bank in strategy.banks] == [2, 2]
    terms(strategy, domains)
    assert [len(bank) for bank in strategy.banks] == [3, 3]  # the oldest is forgotten
    tuning, pooled = strategy.attention, torch.randn(2, strategy.banks[0].shape[1])
    other = [strategy.banks[0], strategy.banks[1] + 1]
    assert not torch.allclose(tuning(pooled, strategy.banks), tuning(pooled, other))
    strategy.config.pda.tuned = 0.0
    found = terms(strategy, domains)
    assert found["sup_aligned"] == pytest.approx(found["sup"], rel=1e-4)


def test_a_mean_teacher_with_the_parts_of_clip2pose():
    strategy, domains = ready("clip2pose_mt")
    assert isinstance(strategy.model, Clip2Pose) and strategy.student is not strategy.model
    assert set(terms(strategy, domains)) == {"sup", "adv", "align", "consistency"}
    assert {"confidence", "discriminator", "same_text"} <= set(strategy.gauges)
    learnt = {id(p) for g in strategy.optimizers[0].param_groups for p in g["params"]}
    assert learnt >= {id(p) for p in strategy.student.parameters() if p.requires_grad}
    assert not learnt & {id(p) for p in strategy.model.parameters()}
    plain, domains = ready("clip2pose_mt", clip2pose__dal=False, clip2pose__smvf=False)
    assert set(terms(plain, domains)) == {"sup", "adv", "consistency"}
