"""Each switch of CLIP2Pose changes what it says, and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from test_pose2d_training import SOURCE, TARGET, estimator, settings

from semtta.errors import SemttaError
from semtta.pose2d.adapt import DomainAdapter
from semtta.pose2d.checkpoint import load_checkpoint, save_checkpoint
from semtta.pose2d.clip2pose import Clip2Pose
from semtta.pose2d.loop import Batches
from semtta.pose2d.methods.registry import make_strategy
from semtta.pose2d.prompts import PROMPTS
from semtta.pose2d.settings import check_settings, load_settings


@pytest.fixture(autouse=True)
def _one_thread(_few_threads):
    torch.set_num_threads(1)


def strategy_of(**changes):
    named = {f"clip2pose__{key}": value for key, value in changes.items()}
    config = check_settings(settings(strategy="clip2pose", **named))
    return make_strategy(estimator(), config)


def parts_of(model) -> set[str]:
    """Parts of the semantic branch that hold parameters."""
    return {name.split(".")[0] for name, _ in model.named_parameters()} - {"estimator", "tower"}


def terms_of(strategy) -> set[str]:
    domains = Batches(SOURCE, TARGET, 1, strategy.model.estimator, strategy.config).next(0, 0.0)
    ((losses, _),) = strategy.phases(domains)
    return set(losses)


def stirred(model: Clip2Pose) -> Clip2Pose:
    """The same model, its zero weights replaced, so that whatever reaches the maps shows."""
    with torch.no_grad():
        for name in ("gate", "added"):
            for p in getattr(model, name, torch.nn.Identity()).parameters():
                p.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    return model.eval()


def depends_on_text(model: Clip2Pose) -> bool:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        before = stirred(model)(images)
        if model.prompt_spec.prompts == "sdp":
            model.structure.tokens.add_(torch.randn_like(model.structure.tokens))
        else:
            model.words.names.add_(torch.randn_like(model.words.names))
        return not torch.equal(before, model(images))


BRANCH = {"structure", "image", "domain"}


def test_the_whole_method_has_every_part():
    whole = strategy_of()
    assert parts_of(whole.model) == BRANCH | {"gate", "direction"}
    assert terms_of(whole) == {"sup", "adv", "align"}
    assert depends_on_text(whole.model)


def test_without_dal_neither_its_weights_nor_its_term_are_there():
    off = strategy_of(dal=False)
    assert parts_of(off.model) == BRANCH | {"gate"} and terms_of(off) == {"sup", "adv"}
    assert depends_on_text(off.model)


def test_without_smvf_no_text_reaches_the_maps():
    off = strategy_of(smvf=False)
    assert parts_of(off.model) == BRANCH | {"direction"}
    assert terms_of(off) == {"sup", "adv", "align"} and not depends_on_text(off.model)


def test_the_row_of_sdp_alone_is_the_baseline_unless_the_text_is_added():
    printed, added = (strategy_of(smvf=False, dal=False, without_smvf=w) for w in ("none", "add"))
    images = torch.randn(2, 3, 64, 64)
    for strategy in (printed, added):
        net = strategy.model.eval()
        assert torch.equal(net(images), net.estimator(images)), "starts as the network without text"
        assert terms_of(strategy) == {"sup", "adv"}
    assert parts_of(printed.model) == BRANCH and not depends_on_text(printed.model)
    assert parts_of(added.model) == BRANCH | {"added"} and depends_on_text(added.model)


def test_without_sdp_there_is_no_text():
    off = strategy_of(sdp=False, smvf=False, dal=False)
    base = make_strategy(estimator(), settings(strategy="adversarial"))
    assert not isinstance(off.model, Clip2Pose) and type(off) is type(base)
    again = [DomainAdapter(estimator(), settings(strategy="adversarial")),
             DomainAdapter(estimator(), settings(strategy="clip2pose", clip2pose__sdp=False,
                           clip2pose__smvf=False, clip2pose__dal=False))]  # fmt: skip
    first, second = (a.fit(SOURCE, TARGET).model.state_dict() for a in again)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("kind", PROMPTS)
def test_prompts_of_figure_3(kind, tmp_path):
    strategy = strategy_of(prompts=kind)
    model, images = strategy.model, torch.randn(3, 3, 64, 64)
    learnt = {"sdp": BRANCH, "words": set()}.get(kind, {"words"})
    assert parts_of(model) == learnt | {"gate", "direction"}
    with torch.no_grad():
        if kind != "sdp" and model.words.image is not None:
            model.words.image.widen.weight.normal_()  # starts without a shift
        shared, own = model.prompt(model.estimator.features(images))
        e = model.describe(images).embedding
    tokens = {"sdp": 16 + 10 + 1, "words": 16}.get(kind, 16 + 10)
    assert len(shared) + own.shape[1] == tokens == model.prompt_spec.length(16) - 2
    assert (e.std(0).max() > 1e-3) == (kind in ("sdp", "cocoop"))  # who looks at the image
    assert depends_on_text(model) and terms_of(strategy) == {"sup", "adv", "align"}
    stirred(model)
    again = load_checkpoint(save_checkpoint(tmp_path / "m.pt", model))
    assert torch.equal(again(images), model(images))


def test_names_stand_where_coop_and_cocoop_have_them():
    for kind in ("coop", "cocoop"):
        model = strategy_of(prompts=kind).model
        shared, own = model.prompt(model.estimator.features(torch.randn(2, 3, 64, 64)))
        whole = torch.cat((shared.expand(2, -1, -1), own), 1)
        assert torch.equal(whole[:, 10:], model.words.names.expand(2, -1, -1))
        first = model.words.context if kind == "coop" else model.words.image.tokens
        assert torch.allclose(whole[:, :10], first.expand(2, -1, -1))


def test_numbers_of_figure_5():
    assert len(strategy_of(graph_layers=5).model.structure.weights) == 5
    few = strategy_of(image_tokens=4).model
    assert len(few.image.tokens) == 4
    weights = [dict(zip(("align", "sup"), _values(w))) for w in (0.2, 0.4)]
    assert weights[1]["align"] == pytest.approx(2 * weights[0]["align"], rel=1e-5)
    assert weights[1]["sup"] == weights[0]["sup"]


def _values(weight: float) -> list[float]:
    torch.manual_seed(0)
    strategy = strategy_of(alignment_weight=weight)
    domains = Batches(SOURCE, TARGET, 1, strategy.model.estimator, strategy.config).next(0, 0.0)
    ((losses, _),) = strategy.phases(domains)
    return [float(losses[name].detach()) for name in ("align", "sup")]


def test_frozen_for_good_moves_neither_weights_nor_statistics_of_the_backbone():
    net = estimator()
    before = copy.deepcopy(net.state_dict())
    config = settings(strategy="clip2pose", freeze_backbone=True, optimizer__epochs=2)
    model = DomainAdapter(net, config).fit(SOURCE, TARGET, evaluate=lambda m: {}).model
    after = model.estimator.state_dict()
    moved = {key.split(".")[0] for key in before if not torch.equal(after[key], before[key])}
    assert moved == {"upsampling", "head"}
    fresh = make_strategy(estimator(), config).model
    learnt = {name.split(".")[0] for name, p in fresh.named_parameters() if p.requires_grad}
    assert learnt == BRANCH | {"gate", "direction", "estimator"}


def test_the_literal_settings_differ_in_the_frozen_backbone_alone():
    read, literal = load_settings("pose2d_body"), load_settings("pose2d_body_literal")
    assert literal.freeze_backbone and not read.freeze_backbone
    literal.freeze_backbone = False
    assert read == literal


@pytest.mark.parametrize(
    ("words", "said"),
    [(["clip2pose.sdp=false"], "set both to false"), (["clip2pose.prompts=cup"], "prompts"),
     (["clip2pose.without_smvf=add"], "smvf=false"),
     (["bn=adabn", "freeze_backbone=true"], "adabn")],
)  # fmt: skip
def test_switches_that_contradict_each_other_are_refused(words, said):
    with pytest.raises(SemttaError, match=said) as error:
        load_settings("pose2d_cpu", words)
    assert "\n" not in str(error.value)
