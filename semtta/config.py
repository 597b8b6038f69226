"""Typed settings: a dataclass is the schema, OmegaConf reads files and ``key=value`` overrides."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from semtta.config_limits import BOUNDS, CHOICES
from semtta.config_schema import Config
from semtta.errors import SemttaError, shortened
from semtta.focal import parse_focal
from semtta.reading import reason
from semtta.settings_files import check_values, read_settings

# Of settings that name a result, and of a result that is given to an adapter.
REFINED_WHOLE = "a result is refined as a whole; leave window.frames out."


def shipped_configs() -> dict[str, Path]:
    """Names and paths of the shipped settings files."""
    folder = Path(str(resources.files("semtta.configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_config(name: str | Path = "default", overrides: Sequence[str] = ()) -> Config:
    """Settings from a shipped name or a YAML path, with ``key=value`` overrides; raises
    ``SemttaError`` for an unknown file or key (with the nearest one) and for a wrong value."""
    config = read_settings(Config, name, shipped_configs(), overrides, "semtta config show default")
    validate(config)
    return config


def validate(config: Config) -> None:
    """Raise ``SemttaError`` for a value that no run could use."""
    try:
        values = OmegaConf.structured(config)
    except OmegaConfBaseException as error:  # made in Python, where nothing looked at types
        raise SemttaError(f"settings: {reason(error)}.") from None
    check_values(values, CHOICES, BOUNDS)
    if config.optimizer.chunk is not None and config.optimizer.train_mode:
        raise SemttaError("optimizer.chunk needs optimizer.train_mode=false to be exact.")
    if config.select == "auto" and not config.evidence.heldout:
        raise SemttaError("select=auto decides by held-out joints: it needs evidence.heldout.")
    _check_smoothing(config)
    _check_shape(config)
    _check_window(config)
    if config.mode == "online":
        check_online(config)
    if config.camera.focal is not None:
        parse_focal(config.camera.focal)
    price, center = config.labels.price, config.camera.center
    if price is not None and len(price) != 2:
        raise SemttaError("labels.price must be two numbers: per million tokens read, written.")
    robust = config.evidence.robust
    if isinstance(robust, str) and robust != "auto":
        raise SemttaError(
            f"evidence.robust must be auto, null or a positive share of the crop, not {robust}."
        )
    size = config.detector.size
    if isinstance(size, str) and size != "auto":
        raise SemttaError(
            f"detector.size must be auto or a number of pixels, not '{shortened(size)}'."
        )
    if center is not None and len(center) != 2:
        raise SemttaError("camera.center must be two numbers, [cx, cy] in pixels.")
    if len(config.optimizer.betas) != 2:
        raise SemttaError("optimizer.betas must be two numbers in [0, 1).")


def _check_smoothing(config: Config) -> None:
    """Raise ``SemttaError`` for settings that the smoother could not follow."""
    smoothing = config.smoothing
    if smoothing.kind == "mdnet" and smoothing.fit_windows == "drawn":
        raise SemttaError("smoothing.kind=mdnet is fitted with smoothing.fit_windows=pass only.")
    if smoothing.kind in ("denoiser", "gaussian") and not smoothing.completion:
        for key, value in (
            ("gate.source", config.gate.source),
            ("evidence.fill_source", config.evidence.fill_source),
        ):
            if value == "completed":
                raise SemttaError(
                    f"{key}=completed needs smoothing.completion=true: nothing is completed where "
                    "the denoiser is not told what is unseen."
                )


def _check_shape(config: Config) -> None:
    """Raise ``SemttaError`` for a person of one shape and of many."""
    shape = config.shape
    told = [key for key in ("betas", "height", "mass") if getattr(shape, key) is not None]
    if told and shape.mode == "per_frame":
        raise SemttaError(f"shape.{told[0]} is of one body, shape.mode=per_frame of one for each "
                          "frame; leave one of them out.")  # fmt: skip


def _check_window(config: Config) -> None:
    """Raise ``SemttaError`` for windows that cannot be, or of what has others or none."""
    frames, overlap = config.window.frames, config.window.overlap
    if frames is None:
        return
    if frames < 3 * overlap:  # else a frame would be in three of them
        raise SemttaError(f"window.frames must be at least three times window.overlap ({overlap}), "
                          f"not {frames}.")  # fmt: skip
    if config.mode == "online":
        raise SemttaError("window.frames is for a track that is there as a whole; online has "
                          "windows of its own (online.step, online.before).")  # fmt: skip
    if config.model.name == "result" or config.model.trainable == "frames":
        raise SemttaError(REFINED_WHOLE)


def check_online(config: Config) -> None:
    """Raise ``SemttaError`` for settings that need a whole track, where frames are handed out while
    others are still to come."""
    if config.select == "auto":
        raise SemttaError("select=auto decides by joints that are held out of a whole track; "
                          "online there is none: take adapted or base.")  # fmt: skip
    if config.camera.motion == "static":
        raise SemttaError("the floor under a camera that stands still is looked for over a whole "
                          "track; leave --static-camera (camera.motion) out online.")  # fmt: skip
    if config.model.name == "result" or config.model.trainable == "frames":
        raise SemttaError("a result is there as a whole and is refined as a whole, not online.")


def config_to_yaml(config: Config, *, labels: bool = True) -> str:
    """The settings as YAML, every key written out.

    Args:
        labels: with the group of that name, which says where texts come from and does not touch a
            run whose texts are given."""
    settings = OmegaConf.structured(config)
    if not labels:
        settings = OmegaConf.masked_copy(settings, [key for key in settings if key != "labels"])
    return OmegaConf.to_yaml(settings)
