"""What `benchmark_speed.py` measures, row by row."""

from __future__ import annotations

from dataclasses import dataclass

PAPER = 240  # frames in the paper's batch: four segments of 60
CLIP = 100  # frames of the clip whose segments overlap


@dataclass(frozen=True)
class Row:
    """One measurement.

    Args:
        group: rows that are compared with the first of them.
        name: what it shows.
        model: hmr, hmr2, hmr2-tiny or lifter.
        batch: frames of the step.
        precision: fp32, tf32 (CUDA), bf16 or auto.
        chunk: frames held at a time, None = all.
        scope: what learns.
        segments: None = the batch as it is; else the four segments of a draw from a clip of
            ``CLIP`` frames, "shared" = a frame in several of them is predicted once, "separate" =
            each segment is predicted on its own.
        coupled: whether the loss couples frames: chunks then take two passes.
    """

    group: str
    name: str
    model: str
    batch: int
    precision: str = "fp32"
    chunk: int | None = None
    scope: str = "all"
    segments: str | None = None
    coupled: bool = True


def cpu_rows(full: bool) -> list[Row]:
    rows = [
        Row("hmr", "hmr fp32, whole batch", "hmr", 32),
        Row("hmr", "hmr fp32, two passes of 8", "hmr", 32, chunk=8),
        Row("hmr", "hmr bf16, whole batch", "hmr", 32, "bf16"),
        Row("hmr", "hmr bf16, two passes of 8", "hmr", 32, "bf16", 8),
        Row("hmr", "hmr bf16, one pass of 8", "hmr", 32, "bf16", 8, coupled=False),
        Row("hmr", "hmr fp32, last", "hmr", 32, scope="last"),
        Row("hmr", "hmr fp32, head", "hmr", 32, scope="head"),
        Row("hmr", "hmr fp32, 4 x 60 frames, two passes of 8", "hmr", PAPER, chunk=8),
        Row("hmr", "hmr bf16, 4 x 60 frames, two passes of 8", "hmr", PAPER, "bf16", 8),
        *sharing_rows("hmr", "auto", 8),
        Row("hmr2 tiny", "hmr2 tiny fp32", "hmr2-tiny", 32),
        Row("lifter", "lifter", "lifter", 120),
    ]
    if full:
        rows += [
            Row("hmr2", "hmr2 ViT-H fp32, head", "hmr2", 32, chunk=4, scope="head"),
            Row("hmr2", "hmr2 ViT-H bf16, all, two passes of 1", "hmr2", 4, "bf16", 1),
        ]
    return rows


def cuda_rows(full: bool) -> list[Row]:
    """The paper's batch; what does not fit says so."""
    rows = []
    for model in ("hmr", "hmr2") if full else ("hmr",):
        for precision in ("fp32", "tf32", "bf16"):
            for how, chunk in (("whole batch", None), ("two passes of 60", 60),
                               ("one pass of 60", 60)):  # fmt: skip
                name, coupled = f"{model} {precision}, all, {how}", how[:3] == "two"
                rows.append(Row(model, name, model, PAPER, precision, chunk, coupled=coupled))
        for scope in ("last", "head"):
            for precision in ("fp32", "bf16"):
                name = f"{model} {precision}, {scope}, whole batch"
                rows.append(Row(model, name, model, PAPER, precision, None, scope))
        rows += sharing_rows(model, "bf16", None)
    return rows


def sharing_rows(model: str, precision: str, chunk: int | None) -> list[Row]:
    group = f"{model}, overlapping segments"
    settings = (model, CLIP, precision, chunk, "all")
    return [
        Row(group, f"{model} {precision}, {CLIP} frames, 4 segments each on its own", *settings,
            "separate"),
        Row(group, f"{model} {precision}, {CLIP} frames, 4 segments share frames", *settings,
            "shared"),
    ]  # fmt: skip
