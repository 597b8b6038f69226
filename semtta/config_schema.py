"""The schema of the settings of an adaptation: a dataclass for each section, with what each means.

Names and defaults of the method's settings are those of the paper; the embedded networks want
others, which stand in ``configs/default.yaml`` with the reason beside each.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ModelConfig:
    # lifter | lifter-narrow | blazehmr | hmr | hmr2 | camerahmr | cliff: the regressor; result:
    # what corrects another's result
    name: str = "lifter"
    checkpoint: str | None = None  # its weights (or the result); None = shipped, or usual names
    mean_params: str | None = None  # smpl_mean_params.npz, for hmr and cliff checkpoints without
    crop: str | None = None  # spin | boa | cycleadapt | dynaboa: crops an hmr checkpoint saw
    # all | last | head | norm: what adaptation may move; of a result also frames: a correction of
    # each frame by itself, as SMPLify does
    trainable: str = "all"


@dataclass
class BodyConfig:
    name: str = "cc0"  # cc0 | smpl | path of an SMPL-format file
    gender: str = "neutral"  # whose shape space; of smpl only


@dataclass
class CameraConfig:
    # pixels, or a text: 26mm (35 mm equivalent), 4.2mm/5.6mm (lens / width of the sensor), exif
    # (as the video's metadata say); None = the image diagonal
    focal: int | float | str | None = None
    center: list[float] | None = None  # cx, cy in pixels; None = the image's centre
    motion: str = "unknown"  # unknown | static: then up and the floor are looked for as well


@dataclass
class DetectorConfig:
    # long side of the people detector's input, pixels; auto = 448, and a closer look at parts of
    # the picture where somebody is lost or people are small or many
    size: int | str = "auto"


@dataclass
class OptimizerConfig:
    lr: float = 5e-5  # of Adam, at its highest
    min_lr: float = 1e-6  # where the schedule ends
    betas: list[float] = field(default_factory=lambda: [0.5, 0.9])  # of Adam
    schedule: str = "cosine"  # cosine | warmup_cosine: per epoch; the second is CycleAdapt's
    epochs: int = 6  # after each one the evidence moves
    batch_segments: int = 4  # segments of one step, each as long as the prior reads
    batch_frames: int = 32  # of the strategies that draw frames: cycleadapt and its relatives
    coverage: float = 2.0  # how often an epoch sees each frame; of strategies that draw segments
    # exact number of batches an epoch, whatever the track's length; None = by coverage, or one
    # pass over the frames in cycleadapt and its relatives
    steps_per_epoch: int | None = None
    # soft reset: how much of the way back to the first weights is gone after each step. 0 = none,
    # 1 = nothing is learnt; a video of many scenes forgets what it saw some 1/anchor steps ago
    anchor: float = 0.0
    train_mode: bool = False  # dropout and batch statistics on while it adapts
    # frames held with their activations at a time, on the CPU by each thread; None = the batch
    chunk: int | None = None
    precision: str = "auto"  # auto | fp32 | bf16: of image networks; fp32 is the reference


@dataclass
class ReprojectionConfig:
    weight: float = 0.1  # lambda 1
    reduction: str = "all"  # all | visible: divisor of the mean


@dataclass
class AlignmentConfig:
    weight: float = 0.2  # lambda 2
    prior: str = "embedded"  # embedded | motionclip | tmr: the one that pulls
    checkpoint: str | None = None  # its file or folder; None = shipped, or the usual names
    clip: str | None = None  # CLIP ViT-B/32's text tower, for motionclip
    bpe: str | None = None  # CLIP's vocabulary, where it does not lie beside the tower
    exemplars: str | None = None  # global rotations by label, for motionclip and tmr
    text_vectors: str | None = None  # table of texts, for tmr, where it is not in its folder
    translation: str = "zeros"  # zeros | ankle: MotionCLIP's 25th row
    text: str = "label"  # label | random: a random direction for each label, as a control
    target: str = "one"  # one | label: pull up to 1, or up to the label's own similarity
    # which local rotations the pull moves: all; unseen = of which there is no 2D evidence;
    # undecided = of which the motion model is not sure either
    reach: str = "all"
    from_epoch: int = 0  # first epoch with the pull
    stride: int = 1  # first frames of neighbouring segments are this far apart


@dataclass
class GateConfig:
    prior: str = "same"  # same | independent: as the pull's, or a second one that it does not touch
    checkpoint: str | None = None  # of the independent one; None = shipped
    # current = this epoch's predictions; unaligned = the last ones that the alignment loss has
    # not touched; completed = those after the denoiser has completed their unseen limbs
    source: str = "current"
    # what a shut gate keeps out. fill = filled joints, as in the paper; label = all that the label
    # does: it pulls, and is told to the denoiser, only where motion and text agree
    guards: str = "fill"
    sigma: float | None = None  # None = the prior's own


@dataclass
class SmoothingConfig:
    kind: str = "denoiser"  # denoiser | mdnet | gaussian | none: what makes the targets
    checkpoint: str | None = None  # of denoiser or mdnet; None = shipped, or the usual names
    weight: float = 1.0  # of the rotations
    unseen_weight: float = 1.0  # factor on rotations whose evidence is missing
    shape_weight: float = 0.001  # of betas
    # what betas are pulled to. window = their mean over the latest windows; first = the frozen
    # network's mean over the track: a body's size and distance look alike in 2D
    shape_target: str = "window"
    sigma: float = 0.05  # seconds; gaussian, and the denoiser's light finish
    text: bool = False  # tell the denoiser the label
    # how much further than it says itself the label turns what the denoiser is not sure of (the
    # guidance of diffusion models: 1 = as it says)
    guidance: float = 1.0
    # tell the shipped denoiser (or the filter) which rotations lack 2D evidence, so that it
    # completes them; neither CycleAdapt nor the paper does, and MDNet cannot be told
    completion: bool = False
    # how much the regressor's guess of an unseen arm counts beside what is seen: 0 = an arm is
    # completed from the rest alone, as legs are; 1 = as if it were seen
    arm_guess: float = 0.0
    # masked-reconstruction steps of the denoiser after each epoch; None = as fit_windows says,
    # 0 = never
    fit_steps: int | None = None
    # pass = every window once in shuffled batches of 32, as CycleAdapt does; drawn = a step for
    # every 16 frames, each on 16 windows half a second apart, drawn with replacement
    fit_windows: str = "pass"
    # kept = one Adam for the whole video, as CycleAdapt has; fresh = a new one after each epoch
    fit_state: str = "kept"
    fit_lr: float = 5e-5  # at its highest; it follows optimizer.schedule
    from_epoch: int = 1  # the paper has no target in the first epoch


@dataclass
class ShapeConfig:
    mode: str = "track"  # track | per_frame: one body, the track's median, in what is handed out
    # the person's betas: ten numbers as .json, .npy or .npz, or a track-XX.npz. They belong to one
    # body; the whole adaptation wears them, and so does the base, but not that of a refinement
    betas: str | None = None
    height: float | None = None  # metres, standing: of all shapes the nearest of that height
    mass: float | None = None  # kilograms, by the mesh's volume: and of that mass


@dataclass
class ClosingConfig:
    """What the finished motion passes, base and adapted alike (``tta.closing``)."""

    filter: str = "spline"  # spline | none: of rotations
    cutoff: float = 6.0  # Hz at which the spline leaves half of a movement; biomechanics' usual
    path: str = "track"  # track | frames: translation solved over the track, or frame by frame
    along: float = 3.0  # usual acceleration of a person along the ray, m/s^2
    across: float = 20.0  # and across it
    noise: float = 0.015  # of a frame's 2D evidence, as a share of the person's height in it


@dataclass
class HoldConfig:  # of limbs that no evidence shows, see tta.hold; the paper holds nothing
    after: float | None = None  # seconds from the nearest evidence at which a rotation is held
    to: str = "base"  # base | completed: as the denoiser completes the base from what is seen
    depth: bool = False  # while the legs are held, so is the distance


@dataclass
class EvidenceConfig:
    min_confidence: float = 0.3  # a joint below it is missing
    update: str = "ema"  # ema | none: Eq. 7 after each epoch, or never
    alpha: float = 0.9  # of Eq. 7: the share of the old evidence
    ema_visible: bool = True  # the paper averages detected joints too, not only filled ones
    ema_by_confidence: bool = False  # of a detection only what it is unsure of moves
    fill: bool = True  # Eq. 6: missing joints, where the gate is open
    fill_from_epoch: int = 0  # first epoch that fills
    fill_source: str = "prediction"  # prediction | completed: what a filled joint is taken from
    fill_weight: str = "one"  # one | similarity: how much a filled joint counts
    fill_limbs: str = "all"  # all | legs: which missing joints may be filled
    refresh_filled: bool = False  # filled joints are averaged with fill_source, not the prediction
    # share of the crop at which a detection that the motion does not expect counts half; auto =
    # the regressor's own (``model.robust``), null = every detection is believed
    robust: float | str | None = None
    # share of the limbs that a second run is not shown, for a quarter of a second each, so that
    # base and adapted can be measured by them; 0 = no second run; online there is none
    heldout: float = 0.0


@dataclass
class Evidence3DConfig:
    weight: float = 0.0  # L1 to the detector's 3D landmarks on seen joints, metres


@dataclass
class OnlineConfig:  # of mode=online, see tta.stream
    step: float = 1.0  # seconds that are handed out at a time
    ahead: float = 1.0  # seconds that must have followed a frame: the lifter looks that far
    before: float = 1.0  # seconds that are fitted once more, so that a step does not stand alone
    epochs: int = 2  # on each step but the first, which takes optimizer.epochs
    # soft reset: how much of the way back to the first weights is gone between two steps. 0 = none,
    # 1 = each step begins with the network as it was
    reset: float = 0.1


@dataclass
class WindowConfig:  # of long tracks, see tta.windows
    # a track with more frames is adapted in windows of at most so many, each a run of its own: it
    # bounds what a run holds, and a stopped run goes on behind the last one; null = all at once
    frames: int | None = None
    # frames that neighbours share, in which one motion goes over to the next; 2 s of them or more,
    # which is what the prior reads at a time
    overlap: int = 60


@dataclass
class CycleAdaptConfig:
    # What the denoiser stage reads. fresh = a full pass after the HMR stage; stale = predictions
    # kept from its training steps, as the official code does
    targets: str = "fresh"


@dataclass
class DiscriminatorConfig:
    weight: float = 0.2  # the paper is silent; as lambda 2
    hidden: int = 1024  # VIBE's width
    lr: float = 1e-4  # VIBE's, of the discriminator
    weight_decay: float = 1e-4  # VIBE's
    checkpoint: str | None = None  # VIBE's file; None = random weights


@dataclass
class UnpairedConfig:
    weight: float = 0.2  # the paper is silent; as lambda 2


@dataclass
class LabelsConfig:  # where texts come from: semtta label, --labels auto and vlm
    min_confidence: float = 0.4  # labels below it get no alignment and no gate
    text: str = "table"  # what reads free texts: table | minilm | auto = minilm where installed
    dictionary: str | None = None  # the user's own action names
    model: str | None = None  # of the vision-language server
    base_url: str | None = None  # of any server that speaks OpenAI's API; None = OpenAI's own
    api_key_env: str = "OPENAI_API_KEY"  # environment variable with the key; local ones need none
    frames: int = 6  # pictures on a strip
    max_requests: int = 200  # the budget, retries included
    timeout: float = 60.0  # seconds for an answer
    retries: int = 4  # of a request that failed
    verify: bool = True  # a second question about every answer
    price: list[float] | None = None  # per million tokens read and written, for the cost printed
    cache: str | None = None  # folder of answers; None = semtta in the user's cache folder


@dataclass
class Config:
    # semtta | cycleadapt | discriminator | unpaired | frozen: the method; frozen adapts nothing
    strategy: str = "semtta"
    # adapted | auto | base: what is handed out. auto = the base where held-out detections
    # (evidence.heldout) are no nearer to the adapted motion
    select: str = "adapted"
    # offline | online: what is learnt of the whole track, or step by step, of what has been seen
    mode: str = "offline"
    seed: int = 0  # same seed, same result on the same machine
    device: str = "auto"  # auto | cpu | cuda | cuda:1 | mps: where it computes
    model: ModelConfig = field(default_factory=ModelConfig)
    body: BodyConfig = field(default_factory=BodyConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    reprojection: ReprojectionConfig = field(default_factory=ReprojectionConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    closing: ClosingConfig = field(default_factory=ClosingConfig)
    hold: HoldConfig = field(default_factory=HoldConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    evidence3d: Evidence3DConfig = field(default_factory=Evidence3DConfig)
    online: OnlineConfig = field(default_factory=OnlineConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    cycleadapt: CycleAdaptConfig = field(default_factory=CycleAdaptConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    unpaired: UnpairedConfig = field(default_factory=UnpairedConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
