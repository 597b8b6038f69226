"""``semtta adapt``: a video, labels and settings in, an output folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from semtta.commands.inputs import (
    Poses2D,
    PosesFirst,
    PosesFormat,
    PosesSize,
    PosesSkeleton,
    poses_options,
)
from semtta.commands.many import adapt_each
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
    Online,
    Output,
    OverlayLayout,
    OverlayScale,
    Overwrite,
    Quiet,
    Seed,
    Start,
    StaticCamera,
    TrackChoice,
    as_overrides,
    kept_for_later,
    look_at,
    split_words,
    user_cache,
)
from semtta.commands.verbose import Stopwatch, Verbose, tell_setup
from semtta.errors import SemttaError
from semtta.messages import out, progress_bars
from semtta.process import if_stopped


def adapt(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO... [key=value]...",
            help="A file, or a folder of images; several, a folder of videos, or a list.txt of "
            "paths; then settings, e.g. optimizer.epochs=8.",
        ),
    ],
    labels: Annotated[
        Optional[str],
        typer.Option(
            help="Label file; auto (retrieval), vlm (the model in labels.model). Of several "
            "videos: a folder of NAME.labels.json; default: beside each."
        ),
    ] = None,
    label: OneLabel = None,
    config: ConfigName = "default",
    model: Annotated[
        Optional[str],
        typer.Option(help="lifter, lifter-narrow, blazehmr, hmr, hmr2, camerahmr or cliff."),
    ] = None,
    checkpoint: Annotated[Optional[Path], typer.Option(help="Weights for the model.")] = None,
    prior: Annotated[Optional[str], typer.Option(help="embedded, motionclip or tmr.")] = None,
    prior_checkpoint: Annotated[Optional[Path], typer.Option(help="Weights for the prior.")] = None,
    clip: Annotated[Optional[Path], typer.Option(help="CLIP ViT-B/32, for motionclip.")] = None,
    body: Annotated[Optional[str], typer.Option(help="cc0, smpl, or a file.")] = None,
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
    track: TrackChoice = "largest",
    online: Online = False,
    static_camera: StaticCamera = False,
    focal: FocalLength = None,
    height: Height = None,
    betas: BetasFile = None,
    output: Output = None,
    device: Device = None,
    seed: Seed = None,
    no_overlay: NoOverlay = False,
    overlay_scale: OverlayScale = None,
    overlay_layout: OverlayLayout = "side",
    no_page: NoPage = False,
    renderer: Annotated[str, typer.Option(help="Of the overlay: own or pytorch3d.")] = "own",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    engine: Annotated[
        Optional[str], typer.Option(help="Several videos: local, or ray (RAY_ADDRESS).")
    ] = None,
    workers: Annotated[
        Optional[int], typer.Option(help="Several videos: processes. Default: one a core.")
    ] = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Adapt to VIDEO and write track-XX.npz, overlay.mp4, report.json.

    Several videos get a folder each; the same command goes on where it was stopped."""
    from semtta.config import load_config
    from semtta.output.layout import OverlayOptions

    if labels is not None and label is not None:
        raise SemttaError("give either --labels or --label, not both.")
    named = {
        "model.name": model, "model.checkpoint": checkpoint, "alignment.prior": prior,
        "alignment.checkpoint": prior_checkpoint, "alignment.clip": clip, "body.name": body,
        "mode": "online" if online else None,
        "camera.motion": "static" if static_camera else None, "camera.focal": focal,
        "shape.height": height, "shape.betas": betas, "device": device, "seed": seed,
    }  # fmt: skip
    sources, overrides = split_words(arguments)
    settings = load_config(config, as_overrides(named, overrides))
    drawn = OverlayOptions(overlay_scale, overlay_layout)
    from semtta.jobs.asked import Asked  # PyTorch, after what can be said without it
    from semtta.jobs.labels import LABELLERS
    from semtta.jobs.many import AdaptEach
    from semtta.jobs.sources import is_several, left_out
    from semtta.jobs.video import adapt_video
    from semtta.video import cut_video, open_images

    asked = Asked(
        settings, track, poses2d,
        poses_options(poses2d, poses2d_format, skeleton, poses2d_size, poses2d_first),
        estimator, body_models, labeller=labels if labels in LABELLERS else None,
        overlay=not no_overlay, overlay_options=drawn, page=not no_page, renderer=renderer,
    )  # fmt: skip
    file = None if labels is None or asked.labeller else Path(labels)
    kept = user_cache(no_cache)
    if engine is not None or workers is not None or is_several(sources):
        if poses2d is not None:
            raise SemttaError("--poses2d belongs to one video; adapt it alone, without --engine "
                              "and --workers.")  # fmt: skip
        each = AdaptEach(asked, label, file, fps, start, end, overwrite, dry_run, kept)
        adapt_each(
            each, sources, output=output, engine=engine or "local", workers=workers, quiet=quiet
        )
        return
    video = sources[0]
    folder = output or Path("semtta-out") / video.stem
    if verbose:
        tell_setup(settings)
    watch = Stopwatch(verbose)
    with if_stopped(kept_for_later(kept)), progress_bars(quiet) as bars:
        for text in left_out(video):
            bars("note", 0, None, {"text": text})
        part = cut_video(open_images(video, fps), start, end)
        adapt_video(part, file or label, asked, folder, overwrite=overwrite,
                    progress=watch.watch(bars), dry_run=dry_run, cache=kept)  # fmt: skip
    watch.tell()
    if dry_run:
        out.print("Everything is in place; nothing was written.")
        return
    if not quiet:
        summary(folder)
        where = look_at(no_overlay, no_page)
        out.print(
            f"Results in [bold]{escape(str(folder))}[/bold]: track-XX.npz, report.json{where}.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def summary(folder: Path) -> None:
    """What the report in a result's folder says of each track."""
    from semtta.reading import read_json

    for track in read_json(folder / "report.json", "report")["tracks"]:
        first, *rest = track["summary"]
        out.print(escape(first), highlight=False, soft_wrap=True)
        for line in rest:
            out.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
