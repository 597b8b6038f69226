"""The overlay: meshes and 2D evidence drawn over the video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from semtta.engine import Progress, silent, threaded_map
from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.keypoints import Keypoints2D
from semtta.output.layout import OverlayOptions, sheet_cell, sheet_frames, write_sheet
from semtta.output.render import DEFAULT_COLOR, render_mesh
from semtta.video import VideoSource, probe, read_frames, write_timed

_SEEN_COLOR = (255, 214, 64)
_FILLED_COLOR = (255, 70, 140)
_VISIBLE_CONFIDENCE = 0.3
_PER_PERSON = 120  # radii of a joint's mark in a person's height

Renderer = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Panel:
    """One person in one picture of the overlay.

    Panels with the same title share a picture: that is how several people are drawn.

    Args:
        title: written in the corner.
        frames: (T,) frame indices of the video; other frames show the plain image.
        vertices: (T, V, 3) metres, camera frame, translation included; or a function of
            t = 0..T-1 that computes (V, 3).
        faces: (F, 3).
        K: (3, 3) intrinsics of the full image, pixels.
        color: RGB of the mesh.
        alpha: opacity of the mesh.
        keypoints: 2D evidence to draw, one row per frame.
        filled: (T, J) bool: joints that were filled in, drawn in another colour.
    """

    title: str
    frames: Tensor | np.ndarray
    vertices: Tensor | np.ndarray | Callable[[int], Tensor | np.ndarray]
    faces: Tensor | np.ndarray
    K: Tensor | np.ndarray
    color: tuple[int, int, int] = DEFAULT_COLOR
    alpha: float = 0.92
    keypoints: Keypoints2D | None = None
    filled: Tensor | np.ndarray | None = None

    @cached_property
    def rows(self) -> dict[int, int]:
        """Frame index in the video -> row t."""
        return {int(frame): t for t, frame in enumerate(self.frames)}

    def mesh(self, t: int) -> np.ndarray:
        """(V, 3) vertices at row t."""
        return _array(self.vertices(t) if callable(self.vertices) else self.vertices[t])

    def resized(self, x: float, y: float) -> Panel:
        """The same for a picture that is x times as wide and y times as high.

        The centre of the top-left pixel stays the origin, though that pixel now covers more."""
        scale, shift = np.array([x, y]), np.array([(x - 1) / 2, (y - 1) / 2])
        K = _array(self.K).astype(np.float64)
        K[:2] *= scale[:, None]
        K[:2, 2] += shift
        points = self.keypoints
        if points is not None:
            xy = points.xy * torch.from_numpy(scale).to(points.xy)
            points = replace(points, xy=xy + torch.from_numpy(shift).to(points.xy))
        return replace(self, K=K, keypoints=points)


def find_renderer(name: str) -> Renderer:
    """What draws meshes: ``own`` (on the CPU, needs nothing) or ``pytorch3d``.

    Raises ``SemttaError`` for another name, or if pytorch3d is not installed."""
    if name == "own":
        return render_mesh
    if name != "pytorch3d":
        raise SemttaError(f"unknown renderer '{name}'; use own or pytorch3d.")
    from semtta.output import render_pytorch3d

    render_pytorch3d.require_pytorch3d()
    return render_pytorch3d.render_mesh


def write_overlay(
    path: str | Path,
    video_path: VideoSource,
    panels: list[Panel],
    *,
    options: OverlayOptions | None = None,
    thumbnails: Path | None = None,
    progress: Progress = silent,
    renderer: Renderer = render_mesh,
    workers: int = 2,
) -> Path:
    """Write the video with the panels drawn over it, frames at their own times, with its sound.

    Args:
        path: target .mp4; appears only when whole.
        video_path: the video the frame indices belong to.
        panels: people and pictures, in the order of the pictures from left to right.
        options: size and layout.
        thumbnails: target of a contact sheet (.jpg) of the last picture.
        progress: stage ``overlay`` after every frame; notes on the sound.
        renderer: draws one mesh, as ``render_mesh`` does.
        workers: threads that draw.
    """
    if not panels:
        raise SemttaError("an overlay needs at least one panel.")
    options = options or OverlayOptions()
    info = probe(video_path)
    size = options.picture_size(info.width, info.height)
    titles = options.drawn(panel.title for panel in panels)
    panels = [
        panel.resized(size[0] / info.width, size[1] / info.height)
        for panel in panels
        if panel.title in titles
    ]
    shown = (int(frame) for panel in panels for frame in panel.frames)
    kept, cells = set(sheet_frames(shown)), []

    def draw(item: tuple[int, float, np.ndarray]):
        index, seconds, image = item
        pictures = draw_pictures(image, index, panels, renderer)
        cell = sheet_cell(pictures[-1]) if index in kept else None
        return seconds, options.arranged(pictures, titles, seconds), cell

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        drawn = threaded_map(draw, read_frames(video_path, size=size), workers)
        span = info.span
        for done, (seconds, frame, cell) in enumerate(drawn, 1):
            if cell is not None:
                cells.append(cell)
            yield seconds, frame
            progress("overlay", done, None if span is None else span[1] - span[0], {})

    written = write_timed(
        path, frames(), info.fps, options.frame_size(len(titles), size),
        preset="veryfast", sound=info.path if info.images is None else None,
        note=lambda text: progress("note", 0, None, {"text": text}),
    )  # fmt: skip
    if thumbnails is not None and cells:
        write_sheet(thumbnails, cells)
    return written


def still(
    path: str | Path,
    video_path: VideoSource,
    panels: list[Panel],
    frame: int,
    *,
    renderer: Renderer = render_mesh,
) -> np.ndarray:
    """One composed frame as an image file (.png or .jpg) and as (H, W, 3) uint8 RGB."""
    path = Path(path)
    for index, _, image in read_frames(video_path):
        if index == frame:
            picture = compose(image, index, panels, renderer)
            break
    else:
        raise SemttaError(f"'{video_path}' has no frame {frame}.")
    ok, data = cv2.imencode(path.suffix or ".png", picture[..., ::-1])
    if not ok:
        raise SemttaError(f"cannot write a picture of kind '{path.suffix}'; use .png or .jpg.")
    with whole_file(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return picture


def compose(
    image: np.ndarray, index: int, panels: list[Panel], renderer: Renderer = render_mesh
) -> np.ndarray:
    """All pictures of one frame side by side: (H, W, 3) -> (H, W * pictures, 3) uint8 RGB."""
    titles = list(dict.fromkeys(panel.title for panel in panels))
    pictures = draw_pictures(image, index, panels, renderer)
    return OverlayOptions().arranged(pictures, titles, seconds=0.0)


def draw_pictures(
    image: np.ndarray, index: int, panels: list[Panel], renderer: Renderer = render_mesh
) -> list[np.ndarray]:
    """The pictures of one frame without titles, in their order: (H, W, 3) uint8 RGB each."""
    pictures = []
    for title in dict.fromkeys(panel.title for panel in panels):
        people = [p for p in panels if p.title == title and index in p.rows]
        meshes = [(person, person.mesh(person.rows[index])) for person in people]
        # Nearer people cover those behind them.
        meshes.sort(key=lambda pair: -np.nan_to_num(pair[1][:, 2].mean(), nan=np.inf))
        picture = image if meshes else image.copy()
        for person, vertices in meshes:  # the renderer returns a new image
            picture = renderer(
                picture, vertices, _array(person.faces), _array(person.K), person.color,
                person.alpha,
            )  # fmt: skip
        for person, vertices in meshes:
            if person.keypoints is not None:
                _draw_keypoints(picture, person, person.rows[index], vertices)
        pictures.append(picture)
    return pictures


def _array(value: Tensor | np.ndarray) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _draw_keypoints(picture: np.ndarray, panel: Panel, t: int, vertices: np.ndarray) -> None:
    """Bones and joints with confidence; filled ones in another colour. In place."""
    assert panel.keypoints is not None
    xy, conf = _array(panel.keypoints.xy[t]), _array(panel.keypoints.conf[t])
    filled = np.zeros(len(conf), bool) if panel.filled is None else _array(panel.filled)[t]
    shown = (conf >= _VISIBLE_CONFIDENCE) | filled
    shown &= np.isfinite(xy).all(1) & (np.abs(xy) < 1e5).all(1)
    if not shown.any():
        return
    radius = _mark_radius(picture, panel, vertices)
    # cv2 takes fixed-point numbers: 4 fractional bits.
    points = [(round(x * 16), round(y * 16)) for x, y in np.where(shown[:, None], xy, 0).tolist()]
    thick = max(1, round(0.6 * radius))

    def color(*joints):
        return _FILLED_COLOR if any(filled[j] for j in joints) else _SEEN_COLOR

    for a, b in panel.keypoints.skeleton.edge_indices():
        if shown[a] and shown[b]:
            cv2.line(picture, points[a], points[b], color(a, b), thick, cv2.LINE_AA, 4)
    for j in np.flatnonzero(shown):
        for size, paint in ((1.25 * radius, (30, 30, 30)), (radius, color(j))):
            cv2.circle(picture, points[j], round(size * 16), paint, -1, cv2.LINE_AA, 4)


def _mark_radius(picture: np.ndarray, panel: Panel, vertices: np.ndarray) -> float:
    """Of a joint, pixels: by the size of the whole person, whatever of it was detected."""
    vertices = vertices[np.isfinite(vertices).all(1)]
    depth = float(np.median(vertices[:, 2])) if len(vertices) else 0.0
    if depth <= 0:
        return 1.0
    height = float(_array(panel.K)[1, 1]) * float(np.ptp(vertices, axis=0).max()) / depth
    return max(1.0, min(height, max(picture.shape)) / _PER_PERSON)
