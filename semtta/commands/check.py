"""``semtta check``: which method does a video good, by detections that none of them was shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

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
from semtta.commands.options import (
    BodyModels,
    Device,
    End,
    Fps,
    NoCache,
    OneLabel,
    Overrides,
    Overwrite,
    Quiet,
    Seed,
    Start,
    as_overrides,
    user_cache,
)
from semtta.errors import SemttaError
from semtta.messages import out, progress_bars

if TYPE_CHECKING:
    from semtta.jobs.check import Judged


def check(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A file, or a folder of images.")],
    overrides: Overrides = None,
    labels: Annotated[Optional[Path], typer.Option(help="Label file.")] = None,
    label: OneLabel = None,
    result: Annotated[
        Optional[Path], typer.Option(help="Another program's result as the base, as of refine.")
    ] = None,
    config: Annotated[
        Optional[str],
        typer.Option(help="Shipped name or YAML path. Default: default, of a result refine."),
    ] = None,
    model: Annotated[Optional[str], typer.Option(help="lifter, lifter-narrow, hmr, ...")] = None,
    body_models: BodyModels = None,
    track: Annotated[
        Optional[str], typer.Option(help="largest, all, or a number. Default: largest.")
    ] = None,
    start: Start = None,
    end: End = None,
    poses2d: Poses2D = None,
    poses2d_format: PosesFormat = None,
    poses2d_size: PosesSize = None,
    poses2d_first: PosesFirst = None,
    skeleton: PosesSkeleton = None,
    fps: Fps = None,
    output: Annotated[
        Optional[Path], typer.Option("-o", "--output", help="Also write the table as JSON.")
    ] = None,
    overwrite: Overwrite = False,
    device: Device = None,
    seed: Seed = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
) -> None:
    """Compare base, filter and adaptation on VIDEO: part of the detections is shown to no method,
    and all are measured there. Nothing else is written."""
    from semtta.video import cut_video, open_images

    if labels is not None and label is not None:
        raise SemttaError("give either --labels or --label, not both.")
    if output is not None:
        from semtta.files import check_writable

        if output.exists() and not overwrite:
            raise SemttaError(f"'{output}' exists; add --overwrite to replace it.")
        check_writable(output.absolute().parent)
    if result is not None and model is not None:
        raise SemttaError("give either --model or --result, not both.")
    settings = config or ("default" if result is None else "refine")
    named = {"model.name": model, "device": device, "seed": seed}
    words = as_overrides(named, overrides)
    given, who = None, track or "largest"
    if result is not None:
        from semtta.config import load_config
        from semtta.jobs.refine import prepare_refinement

        given, who, _ = prepare_refinement(
            load_config(settings, words), result, Path("nowhere"), track, body_models=body_models
        )
    from semtta.jobs.check import check_video

    options = poses_options(poses2d, poses2d_format, skeleton, poses2d_size, poses2d_first)
    with progress_bars(quiet) as progress:
        rows = check_video(
            cut_video(open_images(video, fps), start, end), settings, words, labels or label,
            given=given, tracks=who, poses2d=poses2d, poses2d_options=options,
            body_models=body_models, cache=user_cache(no_cache), progress=progress,
        )  # fmt: skip
    if not quiet:
        _print(rows, result is not None)
    if output is not None:
        from semtta.files import whole_file

        with whole_file(output, overwrite=overwrite) as partial:
            text = json.dumps([row.as_json() for row in rows], indent=1)
            partial.write_text(text + "\n", encoding="utf-8")


def _print(rows: list[Judged], of_result: bool) -> None:
    from rich.table import Table

    for number in dict.fromkeys(row.track for row in rows):
        of_track = [row for row in rows if row.track == number]
        best = min(row.heldout_px for row in of_track)
        count = of_track[0].joint_frames
        caption = f"Held out: {count} detections that no method was shown"
        caption += ", but the base may have been fitted to them. " if of_result else ". "
        caption += "The fit to the others says nothing of quality. "
        told = all(row.uncertainty is not None for row in of_track)
        caption += "Changes within ± are chance." if told else "Too little to tell from chance."
        table = Table(title=f"Track {number}", title_justify="left", caption=caption,
                      caption_justify="left")  # fmt: skip
        for heading in ("", "held out, px", "against base", "fit, px", "jitter, mm/frame²"):
            table.add_column(heading, justify="right" if heading else "left")
        for row in of_track:
            mark = "[bold]" if row.heldout_px == best else ""
            spread = "" if row.uncertainty is None else f" ± {row.uncertainty:.1f}"
            change = f"{row.change:+.1f}{spread}" if row.method != "base" else ""
            table.add_row(
                mark + escape(row.method), f"{row.heldout_px:.1f}", change, f"{row.fit_px:.1f}",
                f"{row.jitter_mm:.1f}",
            )  # fmt: skip
        out.print(table)
