"""What is compared in a benchmark: settings, the label that is given, and a filter afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import semtta
from semtta.config import Config, config_to_yaml, load_config
from semtta.errors import SemttaError
from semtta.hmr import LIFTERS, MODELS, PIXELS
from semtta.shipped import ROOT, file_sha256

LABELS = ("right", "wrong", "auto", "none")
FILTERS = ("none", "gaussian")
_TRUTH = "evidence.heldout=0"  # there is something better to measure by
FILTER_SIGMA = 1 / 30  # seconds: a frame at 30 frames a second

# Settings file by model. The default belongs to the shipped lifters; an image network's are the
# paper's.
OURS = {
    "lifter": "default", "lifter-narrow": "default", "blazehmr": "paper_image",
    "hmr": "paper_hmr", "hmr2": "paper_hmr2", "camerahmr": "paper_hmr2", "cliff": "paper_hmr",
    "result": "refine",
}  # fmt: skip
PAPER = OURS | {"lifter": "paper_lifter", "lifter-narrow": "paper_lifter"}
CYCLEADAPT = dict.fromkeys(MODELS, "cycleadapt") | dict.fromkeys(
    (*LIFTERS, PIXELS), "cycleadapt_lifter"
)


@dataclass(frozen=True)
class Method:
    """One way to get a motion from a track.

    Args:
        name: as printed.
        settings: shipped name or path of a settings file, or one of these per model.
        overrides: ``key=value`` on top of the file.
        label: which label is given: the right one, that of another action, those that retrieval
            finds in the base model's prediction, or none.
        filter: what the motion goes through afterwards; ``gaussian`` is over time, in rotation
            space, with the standard deviation ``FILTER_SIGMA``.
    """

    name: str
    settings: str | Mapping[str, str] = field(default_factory=lambda: dict(OURS))
    overrides: tuple[str, ...] = ()
    label: str = "right"
    filter: str = "none"

    def __post_init__(self):
        if self.label not in LABELS:
            raise SemttaError(
                f"method '{self.name}': label must be one of {', '.join(LABELS)}, "
                f"not '{self.label}'."
            )
        if self.filter not in FILTERS:
            raise SemttaError(
                f"method '{self.name}': filter must be one of {', '.join(FILTERS)}, "
                f"not '{self.filter}'."
            )

    def config(self, model: str, overrides: Sequence[str] = ()) -> Config:
        """Settings for a model. What the method says wins over the overrides for all methods.

        Raises ``SemttaError`` for settings that no run could use, naming the method."""
        file = self.settings
        if not isinstance(file, str):
            if model not in file:
                known = ", ".join(file)
                raise SemttaError(
                    f"method '{self.name}' has no settings for model '{model}' (only {known})."
                )
            file = file[model]
        try:
            same = ["optimizer.precision=fp32"] if file == "cycleadapt" else []  # as `paper_*` has
            model_name = f"model.name={model}"
            return load_config(file, [_TRUTH, *same, *overrides, *self.overrides, model_name])
        except SemttaError as error:
            raise SemttaError(f"method '{self.name}': {error}") from None


_NO_TEXT = ("alignment.weight=0", "evidence.fill=false")
_STEP_2D = (*_NO_TEXT, "evidence.update=none", "smoothing.kind=none", "evidence3d.weight=0")
_STEP_SMOOTH = (*_NO_TEXT, "evidence.update=none")
_STEP_ALIGN = ("evidence.fill=false", "evidence.update=none")
_STEP_EMA = ("evidence.fill=false",)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        # Controls without adaptation. What reads no text is given no label.
        Method("frozen", overrides=("strategy=frozen",), label="none"),
        Method("frozen+gauss", overrides=("strategy=frozen",), label="none", filter="gaussian"),
        # The method with the shipped settings, and the steps towards it.
        Method("2d", overrides=_STEP_2D, label="none"),
        Method("2d+smooth", overrides=_STEP_SMOOTH, label="none"),
        Method("2d+smooth+align", overrides=_STEP_ALIGN),
        Method("2d+smooth+align+ema", overrides=_STEP_EMA),
        Method("semtta"),
        # Controls of the text.
        Method("semtta-nolabel", label="none"),
        Method("semtta-wronglabel", label="wrong"),
        Method("semtta-auto", label="auto"),
        Method("semtta-random", overrides=("alignment.text=random",)),
        # The paper's settings, and the steps of its Table 4.
        Method("paper-2d+smooth", PAPER, _STEP_SMOOTH, label="none"),
        Method("paper-2d+smooth+align", PAPER, _STEP_ALIGN),
        Method("paper-2d+smooth+align+ema", PAPER, _STEP_EMA),
        Method("paper", PAPER),
        # What the paper compares with.
        Method("cycleadapt", CYCLEADAPT, label="none"),
        # How much of the difference is the shape alone.
        Method(
            "cycleadapt+shape",
            CYCLEADAPT,
            ("smoothing.shape_target=first", "smoothing.shape_weight=0.1"),
            label="none",
        ),
        # Both as frames arrive.
        Method("semtta-online", overrides=("mode=online",)),
        Method("cycleadapt-online", CYCLEADAPT, ("mode=online",), label="none"),
        Method("discriminator", CYCLEADAPT, ("strategy=discriminator",)),
        Method("unpaired", CYCLEADAPT, ("strategy=unpaired",)),
    )
}


def find_methods(names: Sequence[str], own: Sequence[Method] = ()) -> list[Method]:
    """Methods by name, the user's own first; raises ``SemttaError`` for an unknown one."""
    known = METHODS | {method.name: method for method in own}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SemttaError(f"no method '{unknown[0]}'; known are {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)]


def settings_hash(
    method: Method,
    config: Config,
    inputs: Mapping[str, str],
    files: Mapping[str, str] | None = None,
) -> str:
    """Twelve digits that change with whatever changes a result, the seed apart.

    Args:
        inputs: what else the benchmark was opened with (2D source, labels).
        files: hashes of the user's own files, see ``used_files``."""
    auto = method.label == "auto"
    parts = {
        "version": semtta.__version__,
        "config": config_to_yaml(replace(config, seed=0), labels=auto),
        "label": method.label,
        "filter": method.filter,
        "inputs": dict(inputs),
        "shipped": {
            str(path.relative_to(ROOT)): file_sha256(path)
            for folder in ("body", "hmr", "motion")
            for path in sorted((ROOT / folder).rglob("*"))
            if path.is_file() and (auto or path.name != "retrieval.pt")
        },
    }
    if files:
        parts["files"] = dict(files)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
