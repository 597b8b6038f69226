"""Typed settings of training and adaptation; names and defaults are those of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from omegaconf import OmegaConf

from semtta.config_limits import MAX_SEED
from semtta.errors import SemttaError
from semtta.pose2d.augment import Augmentation
from semtta.pose2d.estimator import EstimatorSpec
from semtta.pose2d.layouts import LAYOUTS
from semtta.pose2d.prompts import PROMPTS, PromptSpec
from semtta.settings_files import check_values, read_settings

KINDS = ("coco", "renders", "frames", *LAYOUTS)
STRATEGIES = ("source_only", "bn_only", "adversarial", "clip2pose", "cc_ssl", "mdam", "regda",
              "uniframe", "sfhpe", "ad_clip", "pda", "clip2pose_mt")  # fmt: skip
SOURCE_FREE = ("sfhpe",)  # shown no image of the source
TEXT = ("clip2pose", "ad_clip", "pda", "clip2pose_mt")  # those that read CLIP's text tower
# those that can pass both domains in one batch
JOINT = ("source_only", "bn_only", "adversarial", "clip2pose", "ad_clip")


@dataclass
class EstimatorConfig:
    skeleton: str = "body16"  # body16 | hand21
    backbone: str = "resnet101"  # resnet18 | resnet50 | resnet101 | efficientnet_lite0
    size: int = 256  # side of the crops, pixels
    deconv: int = 256  # channels of the head
    layers: int = 3  # deconvolutions: maps of size / 32 * 2^layers cells
    sigma: float = 2.0  # cells
    subpixel: bool = False  # Gaussians around the joint itself instead of its cell
    imagenet: str | None = None  # ImageNet weights of the backbone; None = random
    checkpoint: str | None = None  # an estimator to go on from, instead of all of the above

    def spec(self) -> EstimatorSpec:
        return EstimatorSpec(self.skeleton, self.backbone, self.size, self.deconv, self.layers,
                             self.sigma, self.subpixel)  # fmt: skip


@dataclass
class DataConfig:
    kind: str = "coco"  # coco | renders | frames | a data set of semtta.pose2d.layouts
    root: str | None = None
    split: str | None = None  # None = the data set's first; of rendered hands: photo | flat
    count: int = 8000  # of renders made in memory
    seed: int = 0  # of renders
    boxes: str = "whole"  # of frames: whole | people | a JSON file
    cache: bool = True  # hold the crops in memory


@dataclass
class OptimizerConfig:
    name: str = "sgd"  # sgd | adam
    lr: float = 1e-4
    momentum: float = 0.9  # of sgd
    nesterov: bool = False  # of sgd, as RegDA has it
    weight_decay: float = 1e-4  # of sgd; adam takes none, as in UniFrame
    backbone_lr_mult: float = 1.0
    schedule: str = "steps"  # steps | cosine | inverse (RegDA's second stage)
    milestones: list[int] = field(default_factory=lambda: [45, 60])  # epochs, a tenth after each
    epochs: int = 70
    iterations: int = 500  # in an epoch
    batch: int = 32  # of the source, and as many of the target
    precision: str = "fp32"  # auto | fp32 | bf16
    workers: int = 2  # threads that cut crops


@dataclass
class Clip2PoseConfig:
    text: str = "clip"  # clip | builtin | random (the control)
    clip: str | None = None  # CLIP's text tower, for text=clip
    layers: int = 12  # of a random tower; 0 = the built-in one's control
    prompts: str = "sdp"  # sdp | coop | cocoop | words: the prompts of Figure 3
    sdp: bool = True  # false: no text at all, the empty row of Tables 4 and 5
    smvf: bool = True  # false: no gate
    dal: bool = True  # false: no alignment, and no direction that it would learn
    without_smvf: str = "none"  # none | add: what e does to the map where there is no gate
    names: bool = True  # start the structure tokens from the joints' names; else N(0, 0.02)
    image_tokens: int = 10  # M
    graph_layers: int = 3  # n
    gate_bias: float = 2.0
    alignment_weight: float = 0.3  # lambda
    text_precision: str = "bf16"  # bf16 | fp32: of the frozen tower


@dataclass
class AdversaryConfig:
    weight: float = 1.0
    hidden: int = 1024
    alpha: float = 10.0  # of the warm-up over the whole training; 0 = full strength at once


@dataclass
class CcsslConfig:
    views: int = 5  # that must agree
    first: float = 0.2  # share of the joints that counts at the start, the surest ones
    last: float = 0.8  # and at the end
    weight: float = 10.0  # of self-made labels


@dataclass
class MdamConfig:
    share: float = 0.5  # of the joints that count, the surest ones
    weight: float = 90.0  # of the mean teacher's labels when all is done
    adversary: float = 5e-4  # of the domain classifiers
    momentum: float = 0.999  # of the teacher
    mixup: float = 0.75  # alpha of the Beta distribution; 0 = none


@dataclass
class RegdaConfig:
    margin: float = 4.0
    trade_off: float = 1.0
    strength: float = 0.1  # to which the features' gradient through the second head grows
    scale: float = 1.0  # of the head at the start; 16 makes logits of maps trained on squares


@dataclass
class UniframeConfig:
    momentum: float = 0.999  # of the teacher
    mask_ratio: float = 0.5  # share of the joints that the student learns
    weight: float = 1.0  # of consistency
    style: float = 0.5  # how often a domain is shown in the other one's colours
    occlude: float = 0.5  # how often an image has one of its confident joints covered
    confident: float = 0.9  # height of the teacher's map from which a joint is


@dataclass
class SfhpeConfig:
    share: float = 0.5  # of the joints that count, the surest ones
    momentum: float = 0.999  # of the intermediate model
    contrast: float = 1.0  # weight of the contrast between joints
    temperature: float = 0.1  # of that contrast
    information: float = 1.0  # weight of information maximisation


@dataclass
class AdclipConfig:
    entropy: float = 1.0  # weight of the target's entropy


@dataclass
class PdaConfig:
    share: float = 0.5  # of the joints whose labels count on the target, the surest ones
    target: float = 1.0  # weight of self-made labels
    bank: int = 1024  # features of each domain that are remembered
    tuned: float = 0.1  # how much of what is attended to is added to a feature


@dataclass
class Pose2DConfig:
    strategy: str = "clip2pose"
    seed: int = 0
    device: str = "auto"
    smoke: bool = False  # a few hundred images and iterations, to see that everything runs
    loss: str = "sum"  # sum (Eq. 8) | mean (the peers' code)
    # separate = a pass for each domain, running statistics of both; joint = one batch; adabn =
    # statistics of the target alone, computed at the end; frozen = those that the estimator came
    # with, for targets too uniform to have statistics of their own (one person, one scene)
    bn: str = "separate"
    freeze_backbone: bool = False  # the paper's words taken literally: weights and statistics
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    source: DataConfig = field(default_factory=DataConfig)
    target: DataConfig = field(default_factory=lambda: DataConfig(kind="frames"))
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: Augmentation = field(default_factory=Augmentation)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    clip2pose: Clip2PoseConfig = field(default_factory=Clip2PoseConfig)
    cc_ssl: CcsslConfig = field(default_factory=CcsslConfig)
    mdam: MdamConfig = field(default_factory=MdamConfig)
    regda: RegdaConfig = field(default_factory=RegdaConfig)
    uniframe: UniframeConfig = field(default_factory=UniframeConfig)
    sfhpe: SfhpeConfig = field(default_factory=SfhpeConfig)
    ad_clip: AdclipConfig = field(default_factory=AdclipConfig)
    pda: PdaConfig = field(default_factory=PdaConfig)


_CHOICES = {
    "strategy": STRATEGIES,
    "source.kind": KINDS,
    "target.kind": KINDS,
    "loss": ("sum", "mean"),
    "bn": ("separate", "joint", "adabn", "frozen"),
    "optimizer.name": ("sgd", "adam"),
    "optimizer.schedule": ("steps", "cosine", "inverse"),
    "optimizer.precision": ("auto", "fp32", "bf16"),
    "clip2pose.text": ("clip", "builtin", "random"),
    "clip2pose.prompts": PROMPTS,
    "clip2pose.without_smvf": ("none", "add"),
    "clip2pose.text_precision": ("bf16", "fp32"),
}
# Least and most of every numeric setting; an estimator and a prompt ask more
_BOUNDS = {
    "seed": (0, MAX_SEED), "source.seed": (0, MAX_SEED), "target.seed": (0, MAX_SEED),
    "source.count": (1, 1_000_000), "target.count": (1, 1_000_000),
    "estimator.size": (32, 1024), "estimator.deconv": (1, 4096), "estimator.layers": (1, 5),
    "estimator.sigma": (0.1, 100.0),
    "optimizer.lr": (0.0, 1e3), "optimizer.momentum": (0.0, 1.0),
    "optimizer.weight_decay": (0.0, 10.0), "optimizer.backbone_lr_mult": (0.0, 1e3),
    "optimizer.milestones": (0, 1_000_000), "optimizer.epochs": (1, 100_000),
    "optimizer.iterations": (1, 1_000_000), "optimizer.batch": (2, 4096),
    "optimizer.workers": (1, 256),
    "augment.rotation": (0, 180), "augment.shear": (0, 80), "augment.scale": (0.1, 10.0),
    "augment.translate": (0, 1), "augment.colour": (0, 1), "augment.blur": (0, 50),
    "adversary.weight": (0.0, 1e6), "adversary.hidden": (1, 16_384), "adversary.alpha": (0, 1000),
    "clip2pose.layers": (0, 48), "clip2pose.image_tokens": (0, 64),
    "clip2pose.graph_layers": (0, 64), "clip2pose.gate_bias": (-100, 100),
    "clip2pose.alignment_weight": (0.0, 1e6),
    "regda.margin": (0.0, 1e6), "regda.trade_off": (0.0, 1e6), "regda.strength": (0, 1),
    "regda.scale": (0.01, 1e3),
    "uniframe.momentum": (0, 1), "uniframe.mask_ratio": (0, 1), "uniframe.weight": (0.0, 1e6),
    "uniframe.style": (0, 1), "uniframe.occlude": (0, 1), "uniframe.confident": (0, 1),
    "cc_ssl.views": (1, 32), "cc_ssl.first": (0, 1), "cc_ssl.last": (0, 1),
    "cc_ssl.weight": (0.0, 1e6),
    "mdam.share": (0, 1), "mdam.weight": (0.0, 1e6), "mdam.adversary": (0.0, 1e6),
    "mdam.momentum": (0, 1), "mdam.mixup": (0.0, 100.0),
    "sfhpe.share": (0, 1), "sfhpe.momentum": (0, 1), "sfhpe.contrast": (0.0, 1e6),
    "sfhpe.temperature": (1e-3, 100.0), "sfhpe.information": (0.0, 1e6),
    "ad_clip.entropy": (0.0, 1e6), "pda.share": (0, 1), "pda.target": (0.0, 1e6),
    "pda.bank": (1, 1_000_000), "pda.tuned": (0.0, 100.0),
}  # fmt: skip


def shipped_settings() -> dict[str, Path]:
    """Names and paths of the shipped files."""
    folder = Path(str(resources.files("semtta.configs"))) / "pose2d"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_settings(name: str | Path, overrides: Sequence[str] = ()) -> Pose2DConfig:
    """Settings from a shipped name or a YAML path, with ``key=value`` overrides.

    Raises ``SemttaError`` for an unknown file, an unknown key (with the nearest known one), a
    value of the wrong type or out of range."""
    config = read_settings(
        Pose2DConfig, name, shipped_settings(), overrides, "semtta pose2d config pose2d_cpu"
    )
    return check_settings(smoke_sized(config) if config.smoke else config)


def check_settings(config: Pose2DConfig) -> Pose2DConfig:
    """The settings themselves; raises ``SemttaError`` for a value that no run could use."""
    values = OmegaConf.structured(config)
    check_values(values, _CHOICES, _BOUNDS)
    scale = config.augment.scale
    if len(scale) != 2 or scale[0] > scale[1]:
        raise SemttaError("augment.scale must be two numbers, least and most.")
    if config.bn == "joint" and config.strategy not in JOINT:
        raise SemttaError(f"strategy '{config.strategy}' passes the domains one after the other; "
                          "use bn=separate or bn=adabn.")  # fmt: skip
    if config.bn == "adabn" and config.freeze_backbone:
        raise SemttaError("bn=adabn would move the statistics that freeze_backbone=true holds; "
                          "choose one of them.")  # fmt: skip
    parts = config.clip2pose
    if config.strategy in TEXT[1:] and not parts.sdp:
        raise SemttaError(f"strategy '{config.strategy}' reads a text; leave clip2pose.sdp=true.")
    if not parts.sdp and (parts.smvf or parts.dal):
        raise SemttaError("clip2pose.sdp=false leaves no text for clip2pose.smvf and "
                          "clip2pose.dal; set both to false.")  # fmt: skip
    if parts.smvf and parts.without_smvf != "none":
        raise SemttaError("clip2pose.without_smvf says what replaces the gate; set "
                          "clip2pose.smvf=false with it.")  # fmt: skip
    PromptSpec(config.clip2pose.image_tokens, config.clip2pose.graph_layers)
    config.estimator.spec()
    return config


def smoke_sized(config: Pose2DConfig) -> Pose2DConfig:
    """The same settings for a run of a minute or two."""
    config.source.count = min(config.source.count, 300)
    config.optimizer.epochs, config.optimizer.iterations = 1, min(30, config.optimizer.iterations)
    config.optimizer.batch = min(config.optimizer.batch, 16)
    return config


def settings_yaml(config: Pose2DConfig) -> str:
    """The settings as YAML, every key written out."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
