"""Meshes, one file a frame in a folder: Wavefront OBJ (text) and PLY (binary)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semtta.body import Body
from semtta.output.axes import y_up
from semtta.output.load import SavedTrack

_BLOCK = 32  # frames whose meshes are in memory at a time


def write_obj(track: SavedTrack, folder: Path, body: Body) -> None:
    """The adapted body, y up, metres: 000012.obj is frame 12 of the video."""
    faces = body.faces.numpy() + 1
    end = "f %d %d %d\n" * len(faces) % tuple(faces.flatten().tolist())
    lines = "v %.6f %.6f %.6f\n" * body.num_vertices
    for frame, vertices in _meshes(track, body):
        text = lines % tuple(vertices.flatten().tolist()) + end
        (folder / f"{frame:06d}.obj").write_text(text, encoding="ascii", newline="\n")


def write_ply(track: SavedTrack, folder: Path, body: Body) -> None:
    """The same, little-endian binary."""
    triangles = np.empty(len(body.faces), [("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, body.faces.numpy()
    header = "\n".join([
        "ply", "format binary_little_endian 1.0", f"element vertex {body.num_vertices}",
        "property float x", "property float y", "property float z",
        f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header\n",
    ]).encode()  # fmt: skip
    for frame, vertices in _meshes(track, body):
        content = header + vertices.astype("<f4").tobytes() + triangles.tobytes()
        (folder / f"{frame:06d}.ply").write_bytes(content)


def _meshes(track: SavedTrack, body: Body) -> Iterator[tuple[int, np.ndarray]]:
    """Frame number and (V, 3) metres, y up."""
    motion, frames = track.adapted, track.track.frames.tolist()
    axes = y_up(track.world)
    for start in range(0, len(frames), _BLOCK):
        block = slice(start, start + _BLOCK)
        vertices = body.vertices(motion.rotmats[block], motion.betas[block])
        vertices = axes.points(vertices + motion.trans[block, None])
        yield from zip(frames[block], vertices.numpy())
