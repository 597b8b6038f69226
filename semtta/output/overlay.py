"""Side-by-side overlay: meshes and 2D evidence drawn over the video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from semtta.engine import threaded_map
from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.keypoints import Keypoints2D
from semtta.output.render import DEFAULT_COLOR, render_mesh
from semtta.video import ImageSequence, probe, read_frames, write_video

_SEEN_COLOR = (255, 214, 64)
_FILLED_COLOR = (255, 70, 140)
_VISIBLE_CONFIDENCE = 0.3

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
    video_path: str | Path | ImageSequence,
    panels: list[Panel],
    *,
    fps: float | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    renderer: Renderer = render_mesh,
    workers: int = 2,
) -> Path:
    """Write the video with the panels side by side, each at full resolution.

    Args:
        path: target .mp4; appears only when whole.
        video_path: the video the frame indices belong to.
        panels: people and pictures, in the order of the pictures from left to right.
        fps: of the target; default is the video's own.
        progress: called as progress(done, total) after every frame; total may be None.
        renderer: draws one mesh, as ``render_mesh`` does.
        workers: threads that draw.
    """
    if not panels:
        raise SemttaError("an overlay needs at least one panel.")
    info = probe(video_path)
    pictures = len({panel.title for panel in panels})
    size = (pictures * info.width, info.height)

    def draw(item: tuple[int, float, np.ndarray]) -> np.ndarray:
        index, _, image = item
        return compose(image, index, panels, renderer)

    def frames() -> Iterator[np.ndarray]:
        for done, frame in enumerate(threaded_map(draw, read_frames(video_path), workers), 1):
            yield frame
            if progress is not None:
                progress(done, info.frames)

    return write_video(path, frames(), fps or info.fps, size)


def still(
    path: str | Path,
    video_path: str | Path | ImageSequence,
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
        for person in people:
            if person.keypoints is not None:
                _draw_keypoints(picture, person, person.rows[index])
        _draw_title(picture, title)
        pictures.append(picture)
    return np.concatenate(pictures, 1)


def _array(value: Tensor | np.ndarray) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _draw_keypoints(picture: np.ndarray, panel: Panel, t: int) -> None:
    """Bones and joints with confidence; filled ones in another colour. In place."""
    xy, conf = _array(panel.keypoints.xy[t]), _array(panel.keypoints.conf[t])
    filled = np.zeros(len(conf), bool) if panel.filled is None else _array(panel.filled)[t]
    shown = (conf >= _VISIBLE_CONFIDENCE) | filled
    shown &= np.isfinite(xy).all(1) & (np.abs(xy) < 1e5).all(1)
    if not shown.any():
        return
    reach = np.ptp(xy[shown], axis=0).max()
    radius = int(np.clip(reach / 120, 2, 9))
    # cv2 takes fixed-point numbers: 4 fractional bits.
    points = [(round(x * 16), round(y * 16)) for x, y in np.where(shown[:, None], xy, 0).tolist()]

    def color(*joints):
        return _FILLED_COLOR if any(filled[j] for j in joints) else _SEEN_COLOR

    for a, b in panel.keypoints.skeleton.edge_indices():
        if shown[a] and shown[b]:
            cv2.line(picture, points[a], points[b], color(a, b), radius // 2 + 1, cv2.LINE_AA, 4)
    for j in np.flatnonzero(shown):
        cv2.circle(picture, points[j], (radius + 1) * 16, (30, 30, 30), -1, cv2.LINE_AA, 4)
        cv2.circle(picture, points[j], radius * 16, color(j), -1, cv2.LINE_AA, 4)


def _draw_title(picture: np.ndarray, title: str) -> None:
    """White text on a darkened box in the top-left corner. In place."""
    if not title:
        return
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(picture.shape[0], 600) / 1300
    thickness = max(1, round(2 * scale))
    (width, height), descent = cv2.getTextSize(title, font, scale, thickness)
    pad = round(0.6 * height)
    x, y = pad, pad
    box = picture[y : y + height + descent + pad, x : x + width + 2 * pad]
    box[:] = (box * 0.35).astype(np.uint8)
    origin = (x + pad, y + height + (descent + pad) // 2)
    cv2.putText(picture, title, origin, font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
