"""Time and peak memory of one adaptation step, network by network.

    python tools/benchmark_speed.py            # hmr, hmr2 (tiny), lifter
    python tools/benchmark_speed.py --full     # and HMR2.0's ViT-H

Every row runs in a process of its own on random weights and inputs (timings do not depend on
them): plain fp32 full batch, two-pass chunks, bf16, and the scopes. Ratios are within one run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from semtta.config import load_config
from semtta.engine import make_generator, resolve_precision, silent
from semtta.hmr.base import Prediction
from semtta.tta import losses
from semtta.tta.run import Run
from semtta.tta.steps import accumulate_gradient
from semtta.tta.strategy import Draw

# name, model, batch, settings
ROWS = (
    ("hmr fp32, whole batch", "hmr", 32, ["optimizer.precision=fp32"]),
    ("hmr fp32, two passes of 8", "hmr", 32, ["optimizer.precision=fp32", "optimizer.chunk=8"]),
    ("hmr bf16, whole batch", "hmr", 32, ["optimizer.precision=bf16"]),
    ("hmr bf16, two passes of 8", "hmr", 32, ["optimizer.precision=bf16", "optimizer.chunk=8"]),
    ("hmr fp32, last", "hmr", 32, ["optimizer.precision=fp32", "model.trainable=last"]),
    ("hmr fp32, head", "hmr", 32, ["optimizer.precision=fp32", "model.trainable=head"]),
    ("hmr fp32, 4 x 60 frames, chunks of 8", "hmr", 240,
     ["optimizer.precision=fp32", "optimizer.chunk=8"]),
    ("hmr2 tiny fp32", "hmr2-tiny", 32, ["optimizer.precision=fp32"]),
    ("lifter", "lifter", 120, []),
)  # fmt: skip
FULL = (
    ("hmr2 ViT-H fp32, head", "hmr2", 32, ["optimizer.precision=fp32", "model.trainable=head",
                                           "optimizer.chunk=4"]),
    ("hmr2 ViT-H bf16, all, chunks of 1", "hmr2", 4, ["optimizer.precision=bf16",
                                                      "optimizer.chunk=1"]),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="ViT-H: 3-6 GiB of memory, minutes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    rows = [*ROWS, *(FULL if args.full else ())]
    if args.row is not None:
        print(json.dumps(measure(rows[args.row], args)))
        return
    table = Table(title=f"one optimiser step, {args.threads} threads, {args.device}")
    for heading in ("", "batch", "ms per frame", "peak GiB", "of hmr fp32"):
        table.add_column(heading, justify="left" if not heading else "right")
    reference = None
    for i, (name, _, batch, _) in enumerate(rows):
        if args.only and args.only not in name:
            continue
        command = [sys.executable, str(Path(__file__)), "--row", str(i), *sys.argv[1:]]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            table.add_row(name, str(batch), "-", "-", done.stderr.strip().splitlines()[-1][:60])
            continue
        result = json.loads(done.stdout.splitlines()[-1])
        reference = reference or result["ms"]
        ratio = f"{result['ms'] / reference:.2f}" if name.startswith("hmr ") else ""
        table.add_row(name, str(batch), f"{result['ms']:.1f}", f"{result['gib']:.2f}", ratio)
    Console(width=110).print(table)


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "hmr":
        from semtta.hmr.hmr import HMR

        return HMR("batch").eval()
    if name.startswith("hmr2"):
        from semtta.hmr.hmr2 import HMR2, HMR2Settings

        return HMR2(HMR2Settings.tiny() if name == "hmr2-tiny" else HMR2Settings()).eval()
    from semtta.hmr import load_model

    return load_model(name)


class Stepper:
    """A strategy with a loss that reads every output, so that only the network is timed."""

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict:
        parts = (prediction.rotmats, prediction.betas, prediction.cam)
        return {"all": sum(x.abs().mean() for x in parts)}


class Frames(list):
    """As long as a track."""


def measure(row: tuple, args) -> dict:
    _, name, batch, overrides = row
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    config = load_config("default", overrides)
    model = build(name).to(device)
    images = model.crop.reads == "image"
    shape = (3, model.crop.size, model.crop.size) if images else (9, 194)
    run = Run(
        model=model, view=None, track=Frames([0] * batch),
        inputs=torch.randn(batch, *shape, device=device), evidence=None, labels=[], config=config,
        generator=make_generator(0), progress=silent,
        precision=resolve_precision(config.optimizer.precision, device, images),
    )  # fmt: skip
    run.cache_prefix(config.model.trainable)
    draw = Draw(torch.arange(batch, device=device), torch.ones(batch, device=device))
    optimizer = torch.optim.Adam(model.parameter_groups(config.model.trainable), 1e-6)
    best = float("inf")
    for step in range(args.steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        terms = accumulate_gradient(run, Stepper(), draw, config.optimizer.chunk)
        optimizer.step()
        losses.total(terms).item()
        if step:  # the first one warms up
            best = min(best, time.perf_counter() - start)
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"ms": 1000 * best / batch, "gib": peak}


if __name__ == "__main__":
    main()
