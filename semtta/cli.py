"""The command line: arguments, messages, exit codes.

Anything wrong with the input is one sentence on stderr and exit code 2; Ctrl-C is exit code 130,
SIGTERM 143; a traceback is a bug.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape
from typer.core import TyperGroup

from semtta.bench.command import bench
from semtta.commands.compare import compare
from semtta.commands.export import export
from semtta.commands.inputs import (
    Poses2D,
    PosesFirst,
    PosesFormat,
    PosesSize,
    PosesSkeleton,
    inputs,
    poses_options,
)
from semtta.commands.view import view
from semtta.errors import SemttaError
from semtta.label_command import dictionary_app, label
from semtta.messages import out, progress_bars, show_announcements, to_stderr
from semtta.pose2d.command import app as pose2d_app
from semtta.process import STOPPED, quiet_libraries, stoppable


class _Commands(TyperGroup):
    """All commands. What is wrong with their arguments is one sentence too: Typer's own message
    would hand the arguments to the terminal as they are."""

    def make_context(self, *args, **settings):
        with _usage_errors():
            return super().make_context(*args, **settings)

    def invoke(self, ctx):
        with _usage_errors():
            return super().invoke(ctx)


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        name = type(error).__name__
        if not hasattr(error, "format_message") or name.startswith("NoArgs"):  # that one is help
            raise
        message = error.format_message().rstrip(".")
        raise SemttaError(f"{message}; see --help.") from None


app = typer.Typer(
    cls=_Commands,
    help="Adapt a human mesh regressor to one video, guided by 2D keypoints and by text.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
config_app = typer.Typer(help="Shipped settings files.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(pose2d_app, name="pose2d")
app.add_typer(dictionary_app, name="dictionary")

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
NoPage = Annotated[bool, typer.Option("--no-page", help="Skip result.html.")]


@app.command()
def adapt(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A file, or a folder of images.")],
    overrides: Overrides = None,
    labels: Annotated[
        Optional[str],
        typer.Option(help="Label file; or auto (retrieval), vlm (the model in labels.model)."),
    ] = None,
    label: Annotated[Optional[str], typer.Option(help="One text for the whole video.")] = None,
    config: Annotated[str, typer.Option(help="Shipped name or YAML path.")] = "default",
    model: Annotated[
        Optional[str], typer.Option(help="lifter, lifter-narrow, hmr or hmr2.")
    ] = None,
    checkpoint: Annotated[Optional[Path], typer.Option(help="Weights for the model.")] = None,
    prior: Annotated[Optional[str], typer.Option(help="embedded or motionclip.")] = None,
    prior_checkpoint: Annotated[Optional[Path], typer.Option(help="Weights for the prior.")] = None,
    clip: Annotated[Optional[Path], typer.Option(help="CLIP ViT-B/32, for motionclip.")] = None,
    body: Annotated[Optional[str], typer.Option(help="cc0, smpl, or a file.")] = None,
    body_models: Annotated[Optional[Path], typer.Option(help="Folder of SMPL files.")] = None,
    poses2d: Poses2D = None,
    poses2d_format: PosesFormat = None,
    poses2d_size: PosesSize = None,
    poses2d_first: PosesFirst = None,
    skeleton: PosesSkeleton = None,
    estimator: Annotated[
        Optional[Path], typer.Option(help="A checkpoint of `semtta pose2d` as 2D detector.")
    ] = None,
    fps: Annotated[Optional[float], typer.Option(help="Of a folder of images; else 30.")] = None,
    track: Annotated[str, typer.Option(help="largest, all, or a track id.")] = "largest",
    static_camera: Annotated[
        bool, typer.Option("--static-camera", help="It stands still: find up and the floor.")
    ] = False,
    output: Output = None,
    device: Device = None,
    seed: Seed = None,
    no_overlay: NoOverlay = False,
    overlay_scale: OverlayScale = None,
    overlay_layout: OverlayLayout = "side",
    no_page: NoPage = False,
    renderer: Annotated[str, typer.Option(help="Of the overlay: own or pytorch3d.")] = "own",
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, load everything, then stop.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Adapt to VIDEO and write track-XX.npz, overlay.mp4, report.json."""
    from semtta.config import load_config
    from semtta.output.layout import OverlayOptions
    from semtta.video import open_images

    if labels is not None and label is not None:
        raise SemttaError("give either --labels or --label, not both.")
    named = {
        "model.name": model, "model.checkpoint": checkpoint, "alignment.prior": prior,
        "alignment.checkpoint": prior_checkpoint, "alignment.clip": clip, "body.name": body,
        "camera.motion": "static" if static_camera else None, "device": device, "seed": seed,
    }  # fmt: skip
    settings = load_config(config, _overrides(named, overrides))
    drawn = OverlayOptions(overlay_scale, overlay_layout)
    from semtta.jobs import adapt_video  # PyTorch, after what can be said without it
    from semtta.label_jobs import LABELLERS

    folder = output or Path("semtta-out") / video.stem
    labeller = labels if labels in LABELLERS else None
    given: str | Path | None = label
    if labels is not None and labeller is None:
        given = Path(labels)
    with _progress(quiet) as progress:
        results = adapt_video(
            open_images(video, fps), given, settings, folder,
            tracks=track, poses2d=poses2d,
            poses2d_options=poses_options(
                poses2d, poses2d_format, skeleton, poses2d_size, poses2d_first
            ),
            estimator=estimator, body_models=body_models,
            labeller=labeller, overlay=not no_overlay, overlay_options=drawn, page=not no_page,
            renderer=renderer, overwrite=overwrite, progress=progress, dry_run=dry_run,
        )  # fmt: skip
    if dry_run:
        out.print("Everything is in place; nothing was written.")
        return
    if not quiet:
        _summary(results)
        where = _look_at(no_overlay, no_page)
        out.print(
            f"Results in [bold]{escape(str(folder))}[/bold]: track-XX.npz, report.json{where}."
        )


@app.command()
def demo(
    overrides: Overrides = None,
    output: Output = None,
    config: Annotated[str, typer.Option(help="Shipped name or YAML path.")] = "default",
    model: Annotated[Optional[str], typer.Option(help="lifter or lifter-narrow.")] = None,
    device: Device = None,
    seed: Seed = None,
    no_overlay: NoOverlay = False,
    overlay_scale: OverlayScale = None,
    overlay_layout: OverlayLayout = "side",
    no_page: NoPage = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Adapt to the shipped real clip and measure against its triangulated truth."""
    from semtta.config import load_config
    from semtta.output.layout import OverlayOptions

    named = {"model.name": model, "device": device, "seed": seed}
    settings = load_config(config, _overrides(named, overrides))
    drawn = OverlayOptions(overlay_scale, overlay_layout)
    from semtta.jobs import run_demo

    folder = output or Path("semtta-out") / "demo"
    with _progress(quiet) as progress:
        numbers = run_demo(
            settings, folder, overlay=not no_overlay, overlay_options=drawn, page=not no_page,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
    _demo_table(numbers)
    where = _look_at(no_overlay, no_page)
    out.print(f"Results in [bold]{escape(str(folder))}[/bold]{where}.")


@app.command()
def doctor(
    body_models: Annotated[Optional[Path], typer.Option(help="Folder of SMPL files.")] = None,
) -> None:
    """Say what is installed, found and missing, and how to get it."""
    from semtta.doctor import examine, table

    out.print(table(examine(body_models)))


app.command()(label)
app.command()(inputs)
app.command()(export)
app.command()(view)
app.command()(compare)
app.command()(bench)


@config_app.command("ls")
def config_ls() -> None:
    """Names of the shipped settings files."""
    from semtta.config import shipped_configs

    for name, path in shipped_configs().items():
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        out.print(f"[bold]{name:16s}[/bold] {first}", highlight=False)


@config_app.command("show")
def config_show(
    name: Annotated[str, typer.Argument(help="Shipped name or YAML path.")] = "default",
    overrides: Overrides = None,
) -> None:
    """Every setting, as it would be run."""
    from semtta.config import config_to_yaml, load_config

    print(config_to_yaml(load_config(name, overrides or [])), end="")


def main() -> None:
    """Entry point of the ``semtta`` command."""
    # Before PyTorch is imported: idle threads that sleep cost nothing on an idle machine, those
    # that spin cost a multiple of the time on a busy one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # its faults are said in one sentence
    show_announcements()
    with stoppable(), quiet_libraries():
        _run()


def _run() -> None:
    try:
        app(standalone_mode=True)
    except SemttaError as error:
        text = f"[red]semtta:[/red] {escape(str(error))}"
        to_stderr().print(text, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        _stopped()
        sys.exit(130)
    except SystemExit as stop:  # Typer turns Ctrl-C into a silent exit
        interrupted = isinstance(getattr(stop.__context__, "__cause__", None), KeyboardInterrupt)
        if interrupted or stop.code in STOPPED:
            _stopped()
        raise


# ---------------------------------------------------------------------- messages


def _stopped() -> None:
    to_stderr().print("semtta: stopped; no unfinished result was kept.")


def _look_at(no_overlay: bool, no_page: bool) -> str:
    """What in the output folder is to be looked at first."""
    if not no_page:
        return "; open result.html in a browser"
    return "" if no_overlay else "; look at overlay.mp4"


def _overrides(named: dict, overrides: list[str] | None) -> list[str]:
    from semtta.settings_files import as_override

    given = [as_override(key, value) for key, value in named.items() if value is not None]
    return given + list(overrides or [])


def _progress(quiet: bool):
    return progress_bars(quiet, out)


def _summary(results) -> None:
    from semtta.labels.coverage import covered

    for result in results:
        labelled = covered(result.labels)
        last = result.history[-1] if result.history else {}
        words = [f"track {result.track.id}: {len(result.track)} frames"]
        if math.isfinite(last.get("reprojection_px", math.inf)):
            words.append(f"2D error {last['reprojection_px']:.1f} px")
        if not bool(result.evidence.detected.any()):
            words.append("no 2D evidence: nothing to adapt to")
        if labelled:
            words.append(f"labels cover {labelled} of {len(result.labels)} frames")
            words.append(f"{100 * result.evidence.filled_share():.0f} % of missing joints filled")
        else:
            words.append("no labels used: the alignment term was off")
        if result.world is not None:
            sure = result.world.confidence
            words.append(f"world motion with confidence {sure:.2f}" if sure else "no world motion")
        out.print("; ".join(words) + ".", highlight=False)


def _demo_table(numbers: dict) -> None:
    from rich.table import Table

    from semtta.output.comparison.truth import ROWS

    rows = (*ROWS, ("2D error, px", "reprojection_px"))
    table = Table(title=numbers["title"], caption=numbers["caption"], caption_justify="left")
    for heading in ("", "base", "adapted", "change"):
        table.add_column(heading, justify="left" if not heading else "right")
    for heading, key in rows:
        base, adapted = numbers["frozen"][key], numbers["adapted"][key]
        change = f"{100 * (adapted / base - 1):+.0f} %"
        table.add_row(heading, f"{base:.1f}", f"{adapted:.1f}", change)
    out.print(table)
