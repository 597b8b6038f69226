"""``semtta pose2d``: train, adapt, eval, render, config; ``bench`` has a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape
from rich.table import Table

from semtta.commands.config import print_files
from semtta.commands.options import Device, Overrides, Overwrite, Quiet, Seed, as_overrides
from semtta.commands.pose2d_bench import bench_command
from semtta.errors import SemttaError
from semtta.messages import out, progress_bars

app = typer.Typer(
    help="2D keypoints of a domain without labels: estimators trained on labelled images and "
    "adapted (CLIP2Pose and its peers).",
    no_args_is_help=True,
)

app.command("bench")(bench_command)

Config = Annotated[str, typer.Option(help="Shipped name or YAML path.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Output folder.")]


@app.command()
def train(
    overrides: Overrides = None,
    config: Config = "pose2d_cpu",
    source: Annotated[Optional[Path], typer.Option(help="Folder of labelled images.")] = None,
    imagenet: Annotated[Optional[Path], typer.Option(help="Weights of the backbone.")] = None,
    output: Output = Path("semtta-out/pose2d-train"),
    device: Device = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train an estimator on labelled images alone."""
    named = {"source.root": source, "estimator.imagenet": imagenet, "device": device, "seed": seed,
             "strategy": "source_only"}  # fmt: skip
    _fit(config, named, overrides, output, False, overwrite, quiet)


@app.command()
def adapt(
    target: Annotated[
        Optional[Path],
        typer.Argument(metavar="TARGET", help="Video, or folder of images, without labels."),
    ] = None,
    overrides: Overrides = None,
    config: Config = "pose2d_cpu",
    source: Annotated[Optional[Path], typer.Option(help="Folder of labelled images.")] = None,
    checkpoint: Annotated[
        Optional[Path], typer.Option(help="Of `semtta pose2d train`, to go on from.")
    ] = None,
    imagenet: Annotated[
        Optional[Path], typer.Option(help="Weights of the backbone, without --checkpoint.")
    ] = None,
    strategy: Annotated[
        Optional[str],
        typer.Option(help="clip2pose, clip2pose_mt, uniframe, bn_only, ...; see the page."),
    ] = None,
    clip: Annotated[Optional[Path], typer.Option(help="CLIP's text tower; text=clip.")] = None,
    boxes: Annotated[
        Optional[str], typer.Option(help="whole, people, or a JSON file of boxes.")
    ] = None,
    output: Output = Path("semtta-out/pose2d-adapt"),
    device: Device = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Adapt an estimator to TARGET, whose labels nobody has."""
    words = list(overrides or [])
    if target is not None and not target.exists() and "=" in str(target):
        words, target = [str(target), *words], None  # no target: the first word is a setting
    if clip is not None:
        words = ["clip2pose.text=clip", *words]
    if checkpoint is not None and imagenet is not None:
        raise SemttaError("give either --checkpoint or --imagenet, not both.")
    named = {"target.root": target, "source.root": source, "estimator.checkpoint": checkpoint,
             "estimator.imagenet": imagenet, "strategy": strategy, "clip2pose.clip": clip,
             "target.boxes": boxes, "device": device, "seed": seed}  # fmt: skip
    _fit(config, named, words, output, True, overwrite, quiet)


@app.command("eval")
def evaluate_command(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]CHECKPOINT...",
            help="Several are rows of one table; those of one NAME are its seeds.",
        ),
    ],
    data: Annotated[str, typer.Option(help="coco, renders, or a data set's name.")] = "coco",
    root: Annotated[Optional[Path], typer.Option(help="Its folder.")] = None,
    split: Annotated[Optional[str], typer.Option(help="Of the data set.")] = None,
    pck: Annotated[str, typer.Option(help="Shares of the crop, by comma.")] = "0.05,0.1",
    aggregation: Annotated[str, typer.Option(help="joints, regda or uniframe.")] = "joints",
    refine: Annotated[
        Optional[str], typer.Option(help="none, quarter or subpixel; default: the model's.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables as Markdown.")] = False,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """PCK of checkpoints on labelled images, by groups of joints, mean ± deviation of seeds."""
    from semtta.engine import pick_device
    from semtta.pose2d.checkpoint import load_checkpoint
    from semtta.pose2d.clip2pose import estimator_of
    from semtta.pose2d.evaluate import (
        check_refinement,
        compare,
        headings,
        table,
        table_rows,
    )
    from semtta.pose2d.metrics import AGGREGATIONS
    from semtta.pose2d.runs import labelled_set, named_checkpoints, thresholds

    levels = thresholds(pck)
    _one_of("--aggregation", aggregation, AGGREGATIONS)
    if refine is not None:
        _one_of("--refine", refine, ("none", "quarter", "subpixel"))
    check_refinement(refine, aggregation)  # before images are made
    where = pick_device(device or "auto")
    models = [(name, load_checkpoint(file, where)) for name, file in named_checkpoints(checkpoints)]
    spec = estimator_of(models[0][1]).spec
    images = labelled_set(data, root, split, spec.size, spec.skeleton)
    with progress_bars(quiet) as progress:
        results = compare(models, images, levels, aggregation, refine, progress=progress)
    title = f"{images.name}, {len(images)} images, averaged as '{aggregation}'"
    for a in levels:
        if markdown:
            print(f"PCK@{a:g}, {title}\n\n{table(results[a], spec.joints)}")
            continue
        shown = Table(title=f"PCK@{a:g}, {title}", title_justify="left")
        shown.add_column("method")
        for heading in headings(spec.joints):
            shown.add_column(heading, justify="right")
        for row in table_rows(results[a], spec.joints):
            shown.add_row(*map(escape, row))
        out.print(shown)


@app.command()
def render(
    count: Annotated[int, typer.Option(help="How many.")] = 8000,
    size: Annotated[int, typer.Option(help="Side of the images, pixels.")] = 128,
    body: Annotated[str, typer.Option(help="cc0, smpl, or a file.")] = "cc0",
    hands: Annotated[
        Optional[str], typer.Option(metavar="STYLE", help="Left hands instead: photo or flat.")
    ] = None,
    output: Output = Path("semtta-out/renders"),
    seed: Annotated[int, typer.Option(help="Same seed, same images.")] = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write labelled renders of the body, or of hands, as a COCO-style folder."""
    from semtta.body import load_body
    from semtta.pose2d.settings import MAX_SEED
    from semtta.pose2d.synth import write_renders
    from semtta.pose2d.synth_hand import write_hands

    if not 0 <= seed <= MAX_SEED:
        raise SemttaError(f"--seed must lie between 0 and {MAX_SEED}.")
    if count < 1 or not 32 <= size <= 1024:
        raise SemttaError("--count must be at least 1 and --size between 32 and 1024 pixels.")
    with progress_bars(quiet) as progress:
        if hands is not None:
            write_hands(output, count, seed, size, hands, overwrite=overwrite, progress=progress)
        else:
            write_renders(output, count, seed, size, load_body(body), overwrite=overwrite,
                          progress=progress)  # fmt: skip
    if not quiet:
        out.print(f"{count} renders in [bold]{output}[/bold]: images/, annotations.json.")


@app.command("config")
def config_command(
    name: Annotated[Optional[str], typer.Argument(help="Shipped name or YAML path.")] = None,
    overrides: Overrides = None,
) -> None:
    """Names of the shipped settings files, or every setting of one."""
    from semtta.pose2d.settings import load_settings, settings_yaml, shipped_settings

    if name is not None:
        print(settings_yaml(load_settings(name, overrides or [])), end="")
        return
    print_files(shipped_settings())


def _fit(
    config: str, named: dict, overrides: list[str] | None, output: Path, needs_target: bool,
    overwrite: bool, quiet: bool,
) -> None:  # fmt: skip
    from semtta.pose2d.runs import run_training
    from semtta.pose2d.settings import load_settings

    settings = load_settings(config, as_overrides(named, overrides))
    with progress_bars(quiet) as progress:
        file, fitted = run_training(
            settings, output, needs_target=needs_target, overwrite=overwrite, progress=progress
        )
    if quiet:
        return
    last = fitted.history[-1]
    words = [f"{name} {last[name]:.3f}" for name in ("sup", "adv", "align") if name in last]
    out.print(f"[bold]{file}[/bold]: {', '.join(words)}; "
              f"{last['images_per_second']:.0f} images/s.", highlight=False)  # fmt: skip


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SemttaError(f"{option} must be one of {', '.join(known)}, not '{value}'.")
