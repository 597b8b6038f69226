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
    Device,
    FocalLength,
    Height,
    NoOverlay,
    NoPage,
    Output,
    OverlayLayout,
    OverlayScale,
    Overrides,
    Overwrite,
    Quiet,
    Seed,
    as_overrides,
    look_at,
)
from semtta.errors import SemttaError
from semtta.messages import out, progress_bars


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
    label: Annotated[Optional[str], typer.Option(help="One text for the whole video.")] = None,
    config: Annotated[str, typer.Option(help="Shipped name or YAML path.")] = "refine",
    body: Annotated[
        Optional[str], typer.Option(help="cc0, smpl, or a file. Default: the result's.")
    ] = None,
    body_models: Annotated[Optional[Path], typer.Option(help="Folder of SMPL files.")] = None,
    poses2d: Poses2D = None,
    poses2d_format: PosesFormat = None,
    poses2d_size: PosesSize = None,
    poses2d_first: PosesFirst = None,
    skeleton: PosesSkeleton = None,
    fps: Annotated[Optional[float], typer.Option(help="Of a folder of images; else 30.")] = None,
    track: Annotated[
        Optional[str],
        typer.Option(help="Of the result: its number, or all. Default: its only one."),
    ] = None,
    static_camera: Annotated[
        bool, typer.Option("--static-camera", help="It stands still: find up and the floor.")
    ] = False,
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, load everything, then stop.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Refine a result of VIDEO: start from what is there, write what `semtta adapt` writes."""
    from semtta.config import load_config
    from semtta.output.layout import OverlayOptions
    from semtta.video import open_images

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
    from semtta.jobs.labels import LABELLERS  # PyTorch, after what can be said without it
    from semtta.jobs.refine import SameLayout, prepare_refinement
    from semtta.jobs.video import adapt_video

    folder = output or Path("semtta-out") / f"{video.stem}-refined"
    settings, tracks, read = prepare_refinement(
        settings, result, folder, track, body=body, body_models=body_models
    )
    beside = SameLayout(read) if written_as else None
    labeller = labels if labels in LABELLERS else None
    given: str | Path | None = label
    if labels is not None and labeller is None:
        given = Path(labels)
    with progress_bars(quiet) as progress:
        adapt_video(
            open_images(video, fps), given, settings, folder,
            tracks=tracks, poses2d=poses2d,
            poses2d_options=poses_options(
                poses2d, poses2d_format, skeleton, poses2d_size, poses2d_first
            ),
            body_models=body_models, labeller=labeller, overlay=not no_overlay,
            overlay_options=drawn, page=not no_page, overwrite=overwrite, progress=progress,
            dry_run=dry_run, beside=beside,
        )  # fmt: skip
    if dry_run:
        out.print("Everything is in place; nothing was written.")
        return
    if not quiet:
        summary(folder)
        where = look_at(no_overlay, no_page)
        out.print(
            f"Results in [bold]{escape(str(folder))}[/bold]: track-XX.npz, report.json{where}."
        )
