"""A result as the base of a refinement: this library's own ``track-XX.npz``, read and checked.

Whatever program made a result, the refiner knows it as a :class:`ResultFile`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D
from semtta.reading import read_npz, reading
from semtta.shipped import file_sha256
from semtta.skeletons import SKELETONS, Skeleton

_WHAT = "result"
_NAME = re.compile(r"track-(\d{1,9})\.npz")
_LARGEST = 1e9  # of any number that is a length, an angle or a pixel
_SHAPES = {
    "track_id": (), "frames": ("T",), "global_orient": ("T", 3), "body_pose": ("T", 69),
    "betas": ("T", 10), "trans": ("T", 3), "focal": (), "center": (2,), "boxes": ("T", 4),
    "detected_xy": ("T", "J", 2), "detected_conf": ("T", "J"), "landmark_names": ("J",),
}  # fmt: skip
_EVIDENCE = ("boxes", "detected_xy", "detected_conf", "landmark_names")  # all of them or none


@dataclass(frozen=True)
class ResultTrack:
    """One person of a result.

    Args:
        id: as the file numbers people.
        frames: (T,) numbers of the video's frames, strictly increasing, gaps allowed.
        rotmats: (T, 24, 3, 3) SMPL rotations, global orientation first, camera axes.
        betas: (T, 10).
        trans: (T, 3) metres in front of the camera; added to the body's joints.
        focal: (T,) pixels; None = the file does not say.
        center: (T, 2) principal point, pixels; None = the middle of the picture.
        boxes: (T, 4) x0 y0 x1 y1, pixels; None = the file has none.
        keypoints: the 2D evidence that the file holds; None = none.
    """

    id: int
    frames: Tensor
    rotmats: Tensor
    betas: Tensor
    trans: Tensor
    focal: Tensor | None = None
    center: Tensor | None = None
    boxes: Tensor | None = None
    keypoints: Keypoints2D | None = None

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class ResultFile:
    """What a program said of a video.

    Args:
        path: the file or folder.
        tracks: at least one person.
        sha256: of the file; of a folder, of its first track's.
        remarks: sentences about what was guessed or left out.
    """

    path: Path
    tracks: tuple[ResultTrack, ...]
    sha256: str
    remarks: tuple[str, ...] = ()


def read_result(path: str | Path) -> ResultFile:
    """A ``track-XX.npz``, or a folder of them; the adapted motion is what counts.

    Raises ``SemttaError`` if it is neither, or damaged."""
    path = Path(path)
    files = [path]
    if path.is_dir():
        with reading(path, _WHAT):
            files = sorted(file for file in path.iterdir() if _NAME.fullmatch(file.name))
        if not files:
            raise SemttaError(f"result '{path}' has no track-XX.npz.")
    tracks = tuple(_track(file) for file in files)
    if len({track.id for track in tracks}) < len(tracks):
        raise SemttaError(f"result '{path}' has two files of one track.")
    return ResultFile(path, tracks, file_sha256(files[0]))


def _track(path: Path) -> ResultTrack:
    found = read_npz(path, _WHAT, _SHAPES)
    missing = [name for name in _SHAPES if name not in found and name not in _EVIDENCE]
    if missing:
        raise SemttaError(
            f"result '{path}' is no track-XX.npz of this library: it has no '{missing[0]}'."
        )
    seen = all(name in found for name in _EVIDENCE)
    with reading(path, _WHAT):
        arrays = _checked({k: v for k, v in found.items() if seen or k not in _EVIDENCE})
        frames = arrays["frames"].astype(np.int64)
        if not len(frames) or frames[0] < 0 or (np.diff(frames) <= 0).any():
            raise ValueError("its frame numbers do not increase from 0")
        if not 0 < arrays["focal"] or (arrays["trans"][:, 2] <= 0).any():
            raise ValueError("its person is not in front of a camera")
        pose = np.concatenate((arrays["global_orient"], arrays["body_pose"]), 1)
        rotvecs = torch.from_numpy(pose).double().unflatten(1, (24, 3))
        numbers = {name: torch.from_numpy(array).float() for name, array in arrays.items()
                   if array.dtype.kind != "U"}  # fmt: skip
        return ResultTrack(
            id=int(arrays["track_id"]),
            frames=torch.from_numpy(frames),
            rotmats=roma.rotvec_to_rotmat(rotvecs).float(),
            betas=numbers["betas"],
            trans=numbers["trans"],
            focal=numbers["focal"].expand(len(frames)),
            center=numbers["center"].expand(len(frames), 2),
            boxes=numbers["boxes"] if seen else None,
            keypoints=_keypoints(numbers, arrays["landmark_names"]) if seen else None,
        )


def _checked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays, if shapes, kinds and ranges are what they should be."""
    sizes = {"T": len(np.atleast_1d(arrays["frames"])),
             "J": len(np.atleast_1d(arrays.get("landmark_names", ())))}  # fmt: skip
    for name, array in arrays.items():
        shape = tuple(n if isinstance(n, int) else sizes[n] for n in _SHAPES[name])
        if array.shape != shape:
            raise ValueError(f"'{name}' has shape {array.shape}, expected {shape}")
        if array.dtype.kind not in ("U" if name == "landmark_names" else "iuf"):
            raise ValueError(f"'{name}' holds {array.dtype}")
        if array.dtype.kind == "f" and not (np.abs(array) <= _LARGEST).all():
            raise ValueError(f"'{name}' holds NaN, infinite or impossible numbers")
    return arrays


def _keypoints(numbers: dict[str, Tensor], names: np.ndarray) -> Keypoints2D:
    joints = tuple(str(name) for name in names)
    own = (skeleton for skeleton in SKELETONS.values() if skeleton.joints == joints)
    skeleton = next(own, Skeleton("landmarks", joints))
    return Keypoints2D(numbers["detected_xy"], numbers["detected_conf"], skeleton)
