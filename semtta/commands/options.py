"""Options that several commands share, and what they make of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from semtta.cache import Cache

Overrides = Annotated[
    Optional[list[str]],
    typer.Argument(metavar="[key=value]...", help="Settings, e.g. optimizer.epochs=8."),
]
Output = Annotated[Optional[Path], typer.Option("-o", "--output", help="Output folder.")]
Device = Annotated[Optional[str], typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Seed = Annotated[Optional[int], typer.Option(help="Same seed, same result.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")]
NoOverlay = Annotated[bool, typer.Option("--no-overlay", help="Skip overlay.mp4.")]
OverlayScale = Annotated[
    Optional[float],
    typer.Option("--overlay-scale", help="Its pictures' size, 0.1 to 1. Default: up to 1280 px."),
]
OverlayLayout = Annotated[
    str, typer.Option("--overlay-layout", help="side (base beside adapted), wipe or adapted.")
]
Start = Annotated[
    Optional[str], typer.Option(help="First frame, a number or a time: 120, 4s, 1:02.5.")
]
End = Annotated[Optional[str], typer.Option(help="The frame after the last one, as --start.")]
FocalLength = Annotated[
    Optional[str],
    typer.Option(
        "--focal",
        help="1200px, 26mm (35 mm equivalent), 4.2mm/5.6mm (lens / sensor), or exif. Default: "
        "guessed.",
    ),
]
Height = Annotated[
    Optional[float], typer.Option(help="Of the person, standing, in metres: how far is then known.")
]
BetasFile = Annotated[
    Optional[Path],
    typer.Option("--betas", help="The person's shape: ten betas (.json, .npy, .npz), or a result."),
]
Fps = Annotated[Optional[float], typer.Option(help="Of a folder of images. Default: 30.")]
DictionaryFile = Annotated[
    Optional[Path], typer.Option("--dictionary", help="Your own names, a text file.")
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Look for people anew, and keep nothing for later runs.")
]
OneLabel = Annotated[Optional[str], typer.Option(help="One text for the whole video.")]
ConfigName = Annotated[str, typer.Option(help="Shipped name or YAML path.")]
BodyModels = Annotated[Optional[Path], typer.Option(help="Folder of SMPL files.")]
TrackChoice = Annotated[str, typer.Option(help="largest, all, or a track id.")]
Estimator = Annotated[
    Optional[Path], typer.Option(help="A checkpoint of `semtta pose2d` as 2D detector.")
]
StaticCamera = Annotated[
    bool, typer.Option("--static-camera", help="It stands still: find up and the floor.")
]
Online = Annotated[
    bool,
    typer.Option("--online", help="Each second for good, by what came until a second after it."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, load everything, then stop.")
]
NoPage = Annotated[bool, typer.Option("--no-page", help="Skip result.html.")]


def as_overrides(named: dict, overrides: list[str] | None) -> list[str]:
    """The options that were given as settings, then the user's own ``key=value``."""
    from semtta.settings_files import as_override

    given = [as_override(key, value) for key, value in named.items() if value is not None]
    return given + list(overrides or [])


def look_at(no_overlay: bool, no_page: bool) -> str:
    """What in the output folder is to be looked at first."""
    if not no_page:
        return "; open result.html in a browser"
    return "" if no_overlay else "; look at overlay.mp4"


def split_words(words: list[str]) -> tuple[list[Path], list[str]]:
    """Videos and settings: the first word is a video, then ``key=value`` is a setting unless
    there is a file of that name."""
    rest = words[1:]
    settings = [word for word in rest if is_setting(word)]
    return [Path(words[0]), *(Path(w) for w in rest if not is_setting(w))], settings


def is_setting(word: str) -> bool:
    """Whether a word is ``key=value`` and no file of that name."""
    try:
        return "=" in word and not Path(word).exists()
    except (OSError, ValueError):  # no name that a file could have
        return True


def kept_for_later(kept: Cache | None) -> str:
    """What a run that is stopped leaves, and how to go on; see ``process.if_stopped``."""
    if kept is None:
        return "nothing was kept (no cache), the same command starts anew"
    return "the people found and every finished track are kept, the same command goes on"


def user_cache(no_cache: bool) -> Cache | None:
    """Where detections are kept; None = nowhere, as where the user has no home."""
    from semtta.cache import Cache
    from semtta.places import user_cache_folder

    try:
        user_cache_folder()
    except RuntimeError:
        return None
    return None if no_cache else Cache.of_user()
