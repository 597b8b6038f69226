"""From results to the files of an output folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semtta.body import Body
from semtta.engine import Progress, silent
from semtta.keypoints import Keypoints2D
from semtta.output.files import amass_arrays, report, save_json, save_npz, track_arrays
from semtta.output.glb import left_out, write_glb
from semtta.output.layout import OverlayOptions
from semtta.output.overlay import Panel, Renderer, write_overlay
from semtta.output.render import render_mesh
from semtta.tta.result import Motion, Result
from semtta.video import VideoInfo

BASE_COLOR, ADAPTED_COLOR = (176, 176, 186), (96, 168, 232)


def write_results(
    folder: Path,
    results: list[Result],
    body: Body,
    info: VideoInfo,
    settings: str,
    *,
    overlay: bool = True,
    overlay_options: OverlayOptions | None = None,
    page: bool = True,
    renderer: Renderer = render_mesh,
    asked: dict[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Fill an existing folder: npz and GLB per track, overlay video, page, report, settings.

    Args:
        folder: usually what ``new_folder`` gave.
        results: one per track, of one video.
        body: as used by the adapter.
        info: of the video.
        settings: YAML of what was run.
        overlay, page: whether to make ``overlay.mp4`` with ``thumbnails.jpg``, and ``result.html``.
        overlay_options: size and layout of the overlay.
        renderer: of the overlay.
        asked: what the run was asked for (``jobs.asked``), by which another run knows it."""
    for text in left_out(body):
        progress("note", 0, None, {"text": text})
    for result in results:
        name = f"track-{result.track.id:02d}"
        save_npz(folder / f"{name}.npz", track_arrays(result, info.fps, body))
        save_npz(folder / f"{name}_amass.npz", amass_arrays(result, info.fps, body))
        write_glb(result, folder / f"{name}.glb", body)
    head = {"video": info.path.name, "fps": info.fps, "range": range_of(info)}
    head |= {"asked": asked} if asked else {}
    save_json(folder / "report.json", head | {"tracks": [report(r, body) for r in results]})
    (folder / "config.yaml").write_text(settings, encoding="utf-8")
    if overlay:
        panels = overlay_panels(results, body)
        write_overlay(
            folder / "overlay.mp4", info.source, panels, options=overlay_options,
            thumbnails=folder / "thumbnails.jpg", renderer=renderer, progress=progress,
        )  # fmt: skip
    if page:
        from semtta.output.page import write_page

        write_page(folder / "result.html", results, body, title=info.path.name, fps=info.fps,
                   video=info.source, progress=progress)  # fmt: skip


def range_of(info: VideoInfo) -> dict[str, str | None] | None:
    """Which part of a video was read; None = all of it."""
    return None if info.cut is None else dict(zip(("start", "end"), info.cut.edges))


def overlay_panels(results: list[Result], body: Body) -> list[Panel]:
    """Base with the detections on the left, adapted with the moved evidence on the right."""
    return [_panel("base", r.base, r, body, BASE_COLOR, moved=False) for r in results] + [
        _panel("adapted", r.adapted, r, body, ADAPTED_COLOR, moved=True) for r in results
    ]


def _panel(
    title: str, motion: Motion, result: Result, body: Body, color: tuple[int, int, int], moved: bool
) -> Panel:
    def vertices(t: int) -> np.ndarray:
        mesh = body.vertices(motion.rotmats[t], motion.betas[t]) + motion.trans[t]
        return mesh.numpy()

    evidence, skeleton = result.evidence, result.detections.skeleton
    points = Keypoints2D(result.detections.xy, evidence.detected.float(), skeleton)
    filled = None
    if moved:
        points = Keypoints2D(evidence.xy, evidence.present.float(), skeleton)
        filled = evidence.filled_in > 0
    return Panel(
        title, result.track.frames, vertices, body.faces, result.camera.matrix(), color,
        keypoints=points, filled=filled,
    )  # fmt: skip
