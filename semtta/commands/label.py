"""``semtta label``: a video in, labels.json out."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.markup import escape
from rich.table import Table

from semtta.commands.inputs import (
    Poses2D,
    PosesFirst,
    PosesFormat,
    PosesSize,
    PosesSkeleton,
    poses_options,
)
from semtta.commands.options import (
    ConfigName,
    DictionaryFile,
    End,
    Fps,
    NoCache,
    Start,
    TrackChoice,
    user_cache,
)
from semtta.errors import SemttaError
from semtta.messages import out, progress_bars, say, tell, to_stderr

if TYPE_CHECKING:  # everything heavy is imported when a command runs
    from semtta.config import Config
    from semtta.jobs.labels import Labeller
    from semtta.labels import Labels
    from semtta.people import TrackedVideo

PROVIDERS = {"prior": "auto", "openai": "vlm"}  # as users say it: as ``Labeller`` does


def label(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A file, or a folder of images.")],
    overrides: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="[key=value]...", help="Settings, e.g. labels.frames=8."),
    ] = None,
    provider: Annotated[
        Optional[str],
        typer.Option(help="prior: retrieval, nothing is sent. openai: any compatible server."),
    ] = None,
    base_url: Annotated[
        Optional[str],
        typer.Option(help="Server, e.g. http://localhost:11434/v1; default OpenAI's."),
    ] = None,
    model: Annotated[Optional[str], typer.Option(help="Vision-language model to ask.")] = None,
    max_requests: Annotated[Optional[int], typer.Option(help="Budget, retries included.")] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Write a file to fill in by hand; no labels.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the images that would be sent; send nothing.")
    ] = False,
    dictionary: DictionaryFile = None,
    fps: Fps = None,
    start: Start = None,
    end: End = None,
    track: TrackChoice = "largest",
    poses2d: Poses2D = None,
    poses2d_format: PosesFormat = None,
    poses2d_size: PosesSize = None,
    poses2d_first: PosesFirst = None,
    skeleton: PosesSkeleton = None,
    config: ConfigName = "default",
    output: Annotated[
        Optional[Path], typer.Option("-o", "--output", help="Default: VIDEO's name.labels.json.")
    ] = None,
    unit: Annotated[str, typer.Option(help="Of the ranges: seconds or frames.")] = "seconds",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    no_cache: NoCache = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> None:
    """Write labels.json for VIDEO: by retrieval, by a vision-language model, or to fill in."""
    from semtta.jobs.labels import Labeller, describe, in_seconds, template_of, write_strips
    from semtta.labels import save_labels
    from semtta.tta.people import find_people, select_tracks
    from semtta.video import cut_video, open_images, probe

    task = _task(provider, template, dry_run)
    if unit not in ("seconds", "frames"):
        raise SemttaError(f"--unit is seconds or frames, not '{unit}'.")
    poses = poses_options(poses2d, poses2d_format, skeleton, poses2d_size, poses2d_first)
    options = {
        "model": model, "base_url": base_url, "max_requests": max_requests,
        "dictionary": None if dictionary is None else str(dictionary),
    }  # fmt: skip
    settings = _settings(config, overrides, options)
    path = output or Path(f"{video.stem}.{'strips' if dry_run else 'labels.json'}")
    _check_output(path, task, overwrite)
    source = cut_video(open_images(video, fps), start, end)
    probe(source)
    announce = partial(tell, quiet=quiet)
    kind = PROVIDERS.get(task)
    labeller = Labeller.load(kind, settings, announce) if kind else None
    with progress_bars(quiet) as progress:
        tracked = find_people(
            source, track, poses2d, progress, settings.detector.size,
            replace(poses, min_confidence=settings.evidence.min_confidence),
            user_cache(no_cache),
        )  # fmt: skip
        chosen = select_tracks(tracked, track)
        if task == "strips":
            strips = write_strips(path, tracked, chosen, settings, overwrite)
            say(f"Nothing was sent. Would be sent: {describe(strips)}; see {path}.", quiet)
            return
        if labeller is None:
            labels = template_of(tracked, chosen)
        else:
            labels = labeller.label(tracked, chosen, settings.labels.frames, progress)
        save_labels(path, labels if unit == "frames" else in_seconds(labels, tracked), overwrite)
    if not quiet:
        _print_labels(labels, tracked, settings.labels.min_confidence)
    _finish(path, labeller, quiet)


def _task(provider: str | None, template: bool, dry_run: bool) -> str:
    """What is wanted: ``template``, ``strips`` or a provider; ``SemttaError`` if not one thing."""
    if provider is not None and provider not in PROVIDERS:
        raise SemttaError(f"unknown provider '{provider}'; use {' or '.join(PROVIDERS)}.")
    if dry_run and provider == "prior":
        raise SemttaError("--provider prior sends nothing that --dry-run could show; leave one of "
                          "them out.")  # fmt: skip
    wanted = ["template"] if template else []
    if dry_run:
        wanted.append("strips")
    elif provider is not None:
        wanted.append(provider)
    if len(wanted) != 1:
        raise SemttaError(
            "say who labels: --provider prior (nothing is sent), --provider openai with --model "
            "(and --base-url for another server), --dry-run to see what would be sent, or "
            "--template for a file to fill in."
        )
    return wanted[0]


def _settings(config: str, overrides: list[str] | None, options: dict) -> Config:
    """Settings; options of the group ``labels`` are taken as they are, not read as YAML: a path
    may hold what YAML takes for a comment."""
    from semtta.config import load_config, validate

    settings = load_config(config, overrides or [])
    given = {key: value for key, value in options.items() if value is not None}
    settings = replace(settings, labels=replace(settings.labels, **given))
    validate(settings)
    return settings


def _check_output(path: Path, task: str, overwrite: bool) -> None:
    """Find out before the work, and before anything is paid for, that a result has no place."""
    wants_folder = task == "strips"
    if os.path.exists(path) and path.is_dir() != wants_folder:
        kind, wanted = ("a file", "a folder") if wants_folder else ("a folder", "a file")
        raise SemttaError(f"'{path}' is {kind}; --output must name {wanted} here.")
    if os.path.exists(path) and not overwrite:
        raise SemttaError(f"'{path}' exists already; add --overwrite to replace it.")
    if wants_folder:
        return  # it makes the folders on the way
    if not path.parent.is_dir():
        raise SemttaError(f"'{path}' cannot be written: there is no folder '{path.parent}'.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SemttaError(f"'{path}' cannot be written: the folder is read-only.")


def _finish(path: Path, labeller: Labeller | None, quiet: bool) -> None:
    """The last words, and the exit code where not everything was labelled."""
    outcome = labeller.outcome if labeller is not None else None
    if outcome is not None and outcome.stopped:
        to_stderr().print(
            f"semtta: not everything was labelled ({outcome.stopped}); what was answered is in "
            f"'{path}' and in the cache; the same command with --overwrite goes on.",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(130 if outcome.interrupted else 1)
    done = f"Ranges in {path}; fill in their texts" if labeller is None else (
        f"Labels in {path}; check them"
    )  # fmt: skip
    say(f"{done}, then: semtta adapt VIDEO --labels {path}", quiet)


def _print_labels(labels: Labels, tracked: TrackedVideo, least: float) -> None:
    """One line an entry.

    Args:
        labels: every range given, in frames.
        tracked: whose times the frames have.
        least: confidence below which an entry is not used."""
    table = Table()
    for heading in ("track", "frames", "seconds", "label", "confidence", "or"):
        table.add_column(heading, justify="right" if heading in ("track", "confidence") else "left")
    for span in labels.spans:
        confidence = f"{span.confidence:.2f}"
        if not span.text:
            confidence = "to fill in"
        elif span.confidence < least or span.confidence == 0:
            confidence += ", not used"
        assert span.start is not None and span.end is not None  # every range is given
        start, end = int(span.start), int(span.end) - 1
        first, last = float(tracked.times[start]), float(tracked.times[end])
        table.add_row(
            str(span.track), f"{start}-{end}", f"{first:.1f}-{last:.1f}",
            escape(span.text), confidence, escape(", ".join(span.others)),
        )  # fmt: skip
    out.print(table)
