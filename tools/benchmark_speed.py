"""Time and peak memory of one optimiser step, network by network.

    python tools/benchmark_speed.py                           # hmr, hmr2 (tiny), lifter; CPU
    python tools/benchmark_speed.py --full                    # and HMR2.0's ViT-H
    python tools/benchmark_speed.py --device cuda --full --out speed.md
    python tools/benchmark_speed.py --against official --threads 1 --cpu-time
    python tools/benchmark_speed.py --against official --busy --batches 16 --steps 20

On random weights and pictures, which timings do not depend on. Each ratio compares with the first
row of its group; on the CPU every row runs in a process of its own, whose peak is its memory.
``--against official``: with what CycleAdapt's released step computes, in turns in one process. The
``semtta`` command lets waiting threads sleep; here OMP_WAIT_POLICY=PASSIVE in front does.
From a clone without installation: PYTHONPATH=. in front, with torch, numpy, opencv, roma and
omegaconf at hand.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import official_step
import torch
from speed_rows import Row, cpu_rows, cuda_rows

from semtta.config import Config
from semtta.engine import make_generator, resolve_precision, silent
from semtta.files import whole_file
from semtta.hmr.base import Prediction
from semtta.hmr.images import ImageCrops
from semtta.threads import threads_for
from semtta.tta.pieces import pieces_for
from semtta.tta.run import Run
from semtta.tta.segments import draw_batches, find_segments
from semtta.tta.steps import accumulate_gradient
from semtta.tta.strategy import Draw

HEADINGS = ("", "frames", "ms per frame and step", "once per frame, ms", "peak GiB", "ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="ViT-H: 3-6 GiB of memory, minutes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="timed steps, the best one counts")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--out", type=Path, help="write the table here too, Markdown")
    parser.add_argument("--against", choices=["official"], help="instead: CycleAdapt's step")
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 16, 32], help="of --against")
    parser.add_argument("--cpu-time", action="store_true", help="of --against, on a busy machine")
    parser.add_argument(
        "--busy",
        action="store_true",
        help="of --against: step by step, beside a process that keeps a core busy",
    )
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = torch.device(args.device)
    on_gpu = device.type == "cuda"
    rows = (cuda_rows if on_gpu else cpu_rows)(args.full)
    torch.set_num_threads(args.threads)
    if args.row is not None:
        print(json.dumps(measure(rows[args.row], device, args.steps)))
        return
    if args.against:
        against_official(args, device)
        return
    lines = [f"One optimiser step on {machine(device, args.threads)}, PyTorch {torch.__version__}.",
             "", "| " + " | ".join(HEADINGS) + " |", "|---" + "|--:" * (len(HEADINGS) - 1) + "|",
             ]  # fmt: skip
    print("\n".join(lines), flush=True)
    references: dict[str, float] = {}
    for i, row in enumerate(rows):
        if args.only and args.only not in row.name:
            continue
        result = measure(row, device, args.steps) if on_gpu else measure_alone(i)
        if "ms" in result:
            ratio = result["ms"] / references.setdefault(row.group, result["ms"])
            once = f"{result['once']:.2f}" if result["once"] else ""
            cells = (f"{result['ms']:.2f}", once, f"{result['gib']:.2f}", f"{ratio:.2f}")
        else:
            cells = (result["problem"], "", "", "")
        lines.append("| " + " | ".join((row.name, str(row.batch), *cells)) + " |")
        print(lines[-1], flush=True)
        if args.out:  # after every row: a run that is cut short leaves what it has
            with whole_file(args.out) as temporary:
                temporary.write_text("\n".join(lines) + "\n", encoding="utf8")


def against_official(args: argparse.Namespace, device: torch.device) -> None:
    clock = time.process_time if args.cpu_time else lambda: now(device)
    if args.busy:
        for batch in args.batches:
            for line in official_step.beside_a_busy_core(batch, device, args.steps, clock):
                print(line, flush=True)
        return
    what = f"{'CPU time' if args.cpu_time else 'time'} on {machine(device, args.threads)}"
    for line in official_step.table(what, args.batches, device, args.steps, clock):
        print(line, flush=True)


def machine(device: torch.device, threads: int) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{threads} threads of {platform.processor() or platform.machine()}"


def measure_alone(index: int) -> dict:
    """One row in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--row", str(index), *sys.argv[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"problem": (done.stderr.strip().splitlines() or ["failed"])[-1][:60]}
    return json.loads(done.stdout.splitlines()[-1])


def measure(row: Row, device: torch.device, steps: int) -> dict:
    """ms per frame and step, ms per frame of what runs once per video, peak memory."""
    if device.type != "cuda":
        result = run_steps(row, device, steps)
        return result | {"gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    torch.backends.cuda.matmul.allow_tf32 = row.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = row.precision == "tf32"
    torch.cuda.reset_peak_memory_stats(device)
    try:
        result = run_steps(row, device, steps)
    except torch.OutOfMemoryError:
        result = {"problem": "does not fit"}
    result["gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    gc.collect()
    torch.cuda.empty_cache()
    return result


def run_steps(row: Row, device: torch.device, steps: int) -> dict:
    config = Config()
    config.optimizer.chunk, config.model.trainable = row.chunk, row.scope
    config.optimizer.precision = "fp32" if row.precision == "tf32" else row.precision
    model = build(row.model, device)
    parameters = model.parameter_groups(row.scope)
    chosen = {id(p) for p in parameters}
    for p in model.parameters():
        p.requires_grad_(id(p) in chosen)
    images = model.crop.reads == "image"
    run = Run(
        model=model, view=None, track=range(row.batch), inputs=inputs_of(model, row.batch, device),
        evidence=None, labels=[], config=config, generator=make_generator(0), progress=silent,
        precision=resolve_precision(config.optimizer.precision, device, images),
        pieces=pieces_for(model, config, device),
    )  # fmt: skip
    draws, strategy = draws_of(row, device), Stepper(row.coupled)
    optimizer = torch.optim.Adam(parameters, 1e-6)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        for draw in draws:
            accumulate_gradient(run, strategy, draw, row.chunk)
        optimizer.step()

    best = float("inf")
    with threads_for(False, device):
        start = now(device)
        run.cache_prefix(row.scope)
        once = now(device) - start if run.rest is not None else 0.0
        for i in range(steps + 1):
            start = now(device)
            step()
            if i:  # the first one warms up
                best = min(best, now(device) - start)
    return {"ms": 1000 * best / row.batch, "once": 1000 * once / row.batch}


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def build(name: str, device: torch.device) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "lifter":
        from semtta.hmr import load_model

        return load_model(name).to(device)
    with torch.device(device):  # a large network is filled where it will be
        if name == "hmr":
            from semtta.hmr.hmr import HMR

            return HMR("batch").eval()
        from semtta.hmr.hmr2 import HMR2, HMR2Settings

        return HMR2(HMR2Settings.tiny() if name == "hmr2-tiny" else HMR2Settings()).eval()


def inputs_of(model: torch.nn.Module, count: int, device: torch.device):
    if model.crop.reads != "image":
        return torch.randn(count, 9, 194, device=device)
    pixels = 255 * torch.rand(count, model.crop.size, model.crop.size, 3)
    pixels = pixels.half()
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    return ImageCrops(pixels, model.crop, device)


def draws_of(row: Row, device: torch.device) -> list[Draw]:
    """The batch, or the segments of one draw from a clip at 30 frames a second."""
    windows = [torch.arange(row.batch)]
    if row.segments:
        frames = torch.arange(row.batch)
        segments = find_segments(frames, frames / 30, ["walk"] * row.batch, fps=30.0, length=60)
        weights = torch.ones(len(segments))
        (batch,) = draw_batches(
            segments, weights, batch_segments=4, coverage=4 * 60 / row.batch,
            generator=make_generator(0),
        )  # fmt: skip
        windows = [frames for frames, _ in batch]
    if row.segments == "shared":
        windows = [torch.cat(windows).unique()]
    return [Draw(w.to(device), torch.ones(len(w), device=device)) for w in windows]


class Stepper:
    """A strategy with a loss that reads every output, so that only the network is timed."""

    def __init__(self, coupled: bool):
        self.coupled = coupled

    def couples(self, run: Run, draw: Draw) -> bool:
        return self.coupled

    def loss(self, run: Run, draw: Draw, prediction: Prediction) -> dict:
        parts = (prediction.rotmats, prediction.betas, prediction.cam)
        return {"all": sum(x.abs().mean() for x in parts)}


if __name__ == "__main__":
    main()
