"""``semtta refine``: a video and another program's result in, an output folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from semtta.commands.adapt import summary
from semtta.commands.inputs import (
    Poses2D,
    PosesFirst,
    PosesFormat,
    PosesSize,
    PosesSkeleton,
    poses_options,
)
from semtta.commands.options import (
    BetasFile,
    BodyModels,
    ConfigName,
    Device,
    DryRun,
    End,
    Estimator,
    FocalLength,
    Fps,
    Height,
    NoCache,
    NoOverlay,
    NoPage,
    OneLabel,
    Output,
    OverlayLayout,
    OverlayScale,
    Overrides,
    Overwrite,
    Quiet,
    Seed,
    Start,
    StaticCamera,
    as_overrides,
    kept_for_later,
    look_at,
    user_cache,
)
from semtta.commands.verbose import Stopwatch, Verbose, tell_setup
from semtta.errors import SemttaError
from semtta.messages import out, progress_bars
from semtta.process import if_stopped


def refine(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A file, or a folder of images.")],
    overrides: Overrides = None,
    result: Annotated[
        Optional[Path],
        typer.Option(help="A file of GVHMR, WHAM, VIBE, ...; a track-XX.npz, or its folder."),
    ] = None,
    labels: Annotated[
        Optional[str],
        typer.Option(help="Label file; or auto (retrieval), vlm (the model in labels.model)."),
    ] = None,
    label: OneLabel = None,
    config: ConfigName = "refine",
    body: Annotated[
        Optional[str], typer.Option(help="cc0, smpl, or a file. Default: the result's.")
    ] = None,
    body_models: BodyModels = None,
    poses2d: Poses2D = None,
    poses2d_format: PosesFormat = None,
    poses2d_size: PosesSize = None,
    poses2d_first: PosesFirst = None,
    skeleton: PosesSkeleton = None,
    estimator: Estimator = None,
    fps: Fps = None,
    start: Start = None,
    end: End = None,
    track: Annotated[
        Optional[str],
        typer.Option(help="Of the result: its number, or all. Default: its only one."),
    ] = None,
    static_camera: StaticCamera = False,
    focal: FocalLength = None,
    height: Height = None,
    betas: BetasFile = None,
    written_as: Annotated[
        Optional[str],
        typer.Option("--as", help="same: also write FILE again, in its own layout."),
    ] = None,
    output: Output = None,
    device: Device = None,
    seed: Seed = None,
    no_overlay: NoOverlay = False,
    overlay_scale: OverlayScale = None,
    overlay_layout: OverlayLayout = "side",
    no_page: NoPage = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Refine a result of VIDEO: start from what is there, write what `semtta adapt` writes."""
    from semtta.config import load_config
    from semtta.output.layout import OverlayOptions

    if result is None:
        raise SemttaError("--result FILE is missing: what is to be refined.")
    if written_as not in (None, "same"):
        raise SemttaError(f"--as is 'same' or left out, not '{written_as}'.")
    if labels is not None and label is not None:
        raise SemttaError("give either --labels or --label, not both.")
    named = {
        "body.name": body, "camera.motion": "static" if static_camera else None,
        "camera.focal": focal, "shape.height": height, "shape.betas": betas,
        "device": device, "seed": seed,
    }  # fmt: skip
    settings = load_config(config, as_overrides(named, overrides))
    drawn = OverlayOptions(overlay_scale, overlay_layout)
    from semtta.jobs.asked import Asked  # PyTorch, after what can be said without it
    from semtta.jobs.labels import LABELLERS
    from semtta.jobs.refine import SameLayout, prepare_refinement
    from semtta.jobs.video import adapt_video
    from semtta.video import cut_video, open_images

    folder = output or Path("semtta-out") / f"{video.stem}-refined"
    settings, tracks, read = prepare_refinement(
        settings, result, folder, track, body=body, body_models=body_models
    )
    beside = SameLayout(read) if written_as else None
    asked = Asked(
        settings, tracks, poses2d,
        poses_options(poses2d, poses2d_format, skeleton, poses2d_size, poses2d_first),
        estimator, body_models, labeller=labels if labels in LABELLERS else None,
        overlay=not no_overlay, overlay_options=drawn, page=not no_page,
    )  # fmt: skip
    file = None if labels is None or asked.labeller else Path(labels)
    part = cut_video(open_images(video, fps), start, end)
    kept = user_cache(no_cache)
    if verbose:
        tell_setup(settings)
    watch = Stopwatch(verbose)
    with if_stopped(kept_for_later(kept)), progress_bars(quiet) as bars:
        adapt_video(part, file or label, asked, folder, overwrite=overwrite, dry_run=dry_run,
                    progress=watch.watch(bars), cache=kept, beside=beside)  # fmt: skip
    watch.tell()
    if dry_run:
        out.print("Everything is in place; nothing was written.")
        return
    if not quiet:
        summary(folder)
        where = look_at(no_overlay, no_page)
        out.print(
            f"Results in [bold]{escape(str(folder))}[/bold]: track-XX.npz, report.json{where}."
        )
