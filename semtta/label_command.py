"""``semtta label`` and ``semtta dictionary``: their options, and what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from semtta.errors import SemttaError

PROVIDERS = ("prior", "openai")
out = Console()

dictionary_app = typer.Typer(help="Action names that the priors know.", no_args_is_help=True)
DictionaryFile = Annotated[
    Optional[Path], typer.Option("--dictionary", help="Your own names, a text file.")
]


def label(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Any file OpenCV reads.")],
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
    track: Annotated[str, typer.Option(help="largest, all, or a track id.")] = "largest",
    poses2d: Annotated[Optional[Path], typer.Option(help="Your own 2D poses.")] = None,
    config: Annotated[str, typer.Option(help="Shipped name or YAML path.")] = "default",
    output: Annotated[
        Optional[Path], typer.Option("-o", "--output", help="Default: VIDEO's name.labels.json.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> None:
    """Write labels.json for VIDEO: by retrieval, by a vision-language model, or to fill in."""
    from semtta.config import load_config
    from semtta.label_jobs import Labeller, describe, template_of, write_strips
    from semtta.labels import save_labels
    from semtta.messages import progress_bars
    from semtta.tta.adapter import Adapter, find_people, select_tracks
    from semtta.video import probe

    if template + dry_run + (provider is not None and not dry_run) != 1:
        raise SemttaError(
            "say who labels: --provider prior (nothing is sent), --provider openai with --model "
            "(and --base-url for another server), --dry-run to see what would be sent, or "
            "--template for a file to fill in."
        )
    if provider not in (None, *PROVIDERS):
        raise SemttaError(f"unknown provider '{provider}'; use {' or '.join(PROVIDERS)}.")
    named = {
        "labels.model": model, "labels.base_url": base_url, "labels.max_requests": max_requests,
        "labels.dictionary": dictionary,
    }  # fmt: skip
    given = [f"{key}={value}" for key, value in named.items() if value is not None]
    settings = load_config(config, [*given, *(overrides or [])])
    path = output or Path(f"{video.stem}.{'strips' if dry_run else 'labels.json'}")
    if path.exists() and not overwrite:
        raise SemttaError(f"'{path}' exists already; add --overwrite to replace it.")
    probe(video)
    labeller = None
    if provider is not None and not dry_run:
        kind = "auto" if provider == "prior" else "vlm"
        labeller = Labeller.load(kind, settings, lambda text: _say(text, quiet))
    adapter = Adapter(config=settings) if provider == "prior" and not dry_run else None
    with progress_bars(quiet, out) as progress:
        tracked = find_people(video, track, poses2d, progress, settings.detector.size)
        chosen = select_tracks(tracked, track)
        if dry_run:
            strips = write_strips(path, tracked, chosen, settings)
            _say(f"Nothing was sent. Would be sent: {describe(strips)}; see {path}.", quiet)
            return
        if labeller is None:
            labels = template_of(tracked, chosen)
        else:
            labels = labeller.label(tracked, chosen, adapter, settings.labels.frames, progress)
        save_labels(path, labels)
    if not quiet:
        _print_labels(labels, tracked.info.fps, settings.labels.min_confidence)
    _finish(path, labeller, settings.labels.price, quiet)


def _finish(path: Path, labeller, price, quiet: bool) -> None:
    """The last words, and the exit code after Ctrl-C."""
    outcome = labeller.outcome if labeller is not None else None
    if outcome is not None:
        usage = labeller.asker.usage
        cost = usage.cost(price)
        money = "cost unknown: labels.price=[IN,OUT] per million tokens" if cost is None else (
            f"cost {cost:.4f}"
        )  # fmt: skip
        _say(
            f"{usage.requests} requests, {usage.from_cache} answers from the cache; {usage.read} "
            f"tokens read, {usage.written} written; {money}.", quiet,
        )  # fmt: skip
        for number, reason in outcome.unanswered:
            _say(f"Segment {number} got no answer: {reason}.", quiet)
        if outcome.stopped:
            Console(stderr=True).print(
                f"semtta: not everything was labelled ({outcome.stopped}); what was answered is in "
                f"'{path}' and in the cache; the same command with --overwrite goes on.",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
            raise typer.Exit(130 if outcome.interrupted else 1)
    _say(f"Labels in {path}; check them, then: semtta adapt VIDEO --labels {path}", quiet)


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        out.print(escape(text), highlight=False, soft_wrap=True)


def _print_labels(labels, fps: float, least: float) -> None:
    table = Table()
    for heading in ("track", "frames", "seconds", "label", "confidence", "or"):
        table.add_column(heading, justify="right" if heading in ("track", "confidence") else "left")
    for span in labels.spans:
        faint = f"{span.confidence:.2f}" if span.confidence >= least else (
            f"{span.confidence:.2f}, not used"
        )  # fmt: skip
        table.add_row(
            str(span.track), f"{span.start}-{span.end - 1}",
            f"{span.start / fps:.1f}-{span.end / fps:.1f}", escape(span.text),
            faint if span.text else "to fill in", escape(", ".join(span.others)),
        )  # fmt: skip
    out.print(table)


# ---------------------------------------------------------------------- dictionary


def _vocabulary(dictionary: Path | None):
    from semtta.config import load_config
    from semtta.label_jobs import Vocabulary

    given = [f"labels.dictionary={dictionary}"] if dictionary else []
    return Vocabulary.load(load_config("default", given))


@dictionary_app.command("ls")
def dictionary_ls(dictionary: DictionaryFile = None) -> None:
    """Every name, and the other ways to say it."""
    vocabulary = _vocabulary(dictionary)
    shipped = vocabulary.dictionary
    others: dict[str, list[str]] = {name: [] for name in vocabulary.names}
    for phrase, index in zip(shipped.phrases, shipped.phrase_label.tolist()):
        if phrase != shipped.labels[index]:
            others[shipped.labels[index]].append(phrase)
    for phrase, name in (vocabulary.added.phrases or {}).items():
        others[name].append(phrase)
    for name, phrases in others.items():
        mark = " [green](yours)[/green]" if name in vocabulary.added.names else ""
        said = f"  {escape(', '.join(phrases))}" if phrases else ""
        out.print(f"[bold]{escape(name)}[/bold]{mark}{said}", highlight=False, soft_wrap=True)


@dictionary_app.command("search")
def dictionary_search(
    text: Annotated[str, typer.Argument(help="Any text that you would give as a label.")],
    dictionary: DictionaryFile = None,
) -> None:
    """What the priors make of a text: a name, parts of it, or nothing they know."""
    vocabulary = _vocabulary(dictionary)
    shipped, own = vocabulary.dictionary, vocabulary.added.resolve(text)
    ranked = shipped.ranked(text)
    parts = shipped.parts(text)
    if own in vocabulary.added.names:
        _say(f"'{text}' is your name '{own}'.", False)
    elif shipped.find(text) is not None:
        _say(f"'{text}' is the dictionary's '{shipped.nearest(text)}'.", False)
    elif parts:
        _say(f"'{text}' is read as {' + '.join(parts)}; legs and root from '{parts[0]}'.", False)
    elif ranked[0][1] < 0.6:
        _say(f"'{text}' is like no name of the dictionary; the gate will hardly open.", False)
    else:
        _say(f"'{text}' is not in the dictionary; it is read as a mixture of:", False)
    for name, cosine in ranked:
        out.print(f"  {cosine:.2f}  {escape(name)}", highlight=False)
