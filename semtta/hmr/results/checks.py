"""Numbers of a result file, checked: shapes, finite values, rotations, frames, people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import roma
import torch
from torch import Tensor

from semtta.errors import SemttaError, shortened
from semtta.hmr.results.parts import ResultTrack
from semtta.keypoints import Keypoints2D
from semtta.skeletons import Skeleton

MOST_FRAMES = 120_000  # of a track: more than an hour
MOST_PEOPLE = 2000
_MOST_NUMBERS = 60_000_000  # of one array
_BETA, _FAR, _PIXEL = 30.0, 10_000.0, 1e6  # what no betas, metres, pixels go beyond
_TURNS = 4 * np.pi  # radians of one rotation vector
_ALIGNED = 0.02  # how far a matrix may be off a rotation
JOINTS = 22  # of SMPL's 24 without the hands, which SMPL-X has elsewhere


def plain(value, where: str) -> np.ndarray:
    """An array of finite numbers of whatever a file holds; raises ``SemttaError``."""
    if isinstance(value, Tensor):
        if value.numel() > _MOST_NUMBERS:  # a view may claim more than the file has
            raise SemttaError(f"{where}: {value.numel()} numbers are no result.")
        value = value.detach().to(torch.float64 if value.is_floating_point() else value.dtype)
        value = value.numpy()
    if isinstance(value, np.ndarray) and value.size > _MOST_NUMBERS:
        raise SemttaError(f"{where}: {value.size} numbers are no result.")
    try:
        array = np.asarray(value)
        array = array if array.dtype.kind != "O" else np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise SemttaError(f"{where}: holds no array of numbers.") from None
    if array.dtype.kind not in "fiub":
        raise SemttaError(f"{where}: holds {array.dtype}, not numbers.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise SemttaError(f"{where}: holds NaN or infinite numbers.")
    return array


def take(holder, key: str, where: str, *shapes: tuple, most: float = np.inf) -> np.ndarray:
    """One array of a dictionary.

    Args:
        shapes: that it may have; None in one is any length, one length everywhere in it.
        most: magnitude that its numbers do not exceed.
    Raises ``SemttaError`` naming key and shapes."""
    if not isinstance(holder, Mapping) or key not in holder:
        raise SemttaError(f"{where}: '{key}' is missing.")
    array = plain(holder[key], f"{where}, '{key}'")
    for shape in shapes:
        if len(shape) == array.ndim and all(n in (None, m) for n, m in zip(shape, array.shape)):
            break
    else:
        wanted = " or ".join(str(shape).replace("None", "T") for shape in shapes)
        raise SemttaError(f"{where}: '{key}' has shape {array.shape}, expected {wanted}.")
    if array.size and np.abs(array).max() > most:
        raise SemttaError(f"{where}: '{key}' holds {np.abs(array).max():.3g}, which is impossible.")
    return array


def rotations(vectors: np.ndarray, where: str) -> Tensor:
    """(..., 3, 3) of rotation vectors (..., 3), radians."""
    found = torch.from_numpy(np.ascontiguousarray(vectors))
    angle = float(found.norm(dim=-1).max()) if found.numel() else 0.0
    if angle > _TURNS:
        raise SemttaError(f"{where}: turns joints by {angle:.0f} radians; is it in degrees?")
    return roma.rotvec_to_rotmat(found).float()


def exact(matrices: np.ndarray, where: str) -> Tensor:
    """(..., 3, 3) of matrices that are nearly rotations."""
    found = torch.from_numpy(np.ascontiguousarray(matrices))
    off = (found @ found.mT - torch.eye(3, dtype=found.dtype)).abs().amax((-2, -1))
    if found.numel() and (float(off.max()) > _ALIGNED or float(torch.linalg.det(found).min()) < 0):
        raise SemttaError(f"{where}: holds matrices that are no rotations.")
    return roma.special_procrustes(found).float()


def smpl_rotations(vectors: np.ndarray, where: str) -> Tensor:
    """(T, 24, 3, 3) of (T, 66 or more) or (T, 72) rotation vectors, or (T, 24, 3, 3) matrices.

    Of bodies with more than 24 joints (SMPL-H, SMPL-X) the first 22 are the same."""
    if vectors.ndim == 4:
        found = exact(vectors, where)
    else:
        found = rotations(vectors.reshape(len(vectors), -1, 3), where)
    return found if found.shape[1] == 24 else with_hands(found[:, :JOINTS])


def with_hands(rotmats: Tensor) -> Tensor:
    """(T, 24, 3, 3) of (T, 22, 3, 3): hands at rest."""
    return torch.cat((rotmats, torch.eye(3).expand(len(rotmats), 2, 3, 3)), 1)


def vectors(rotmats: Tensor, like: np.ndarray | None = None) -> np.ndarray:
    """(..., 3) rotation vectors, each of the forms that mean the same the one nearest to another.

    Args:
        like: (..., 3) those of before, which may be longer than half a turn."""
    found = roma.rotmat_to_rotvec(rotmats.double())
    if like is not None:
        angle = found.norm(dim=-1, keepdim=True)
        before = torch.from_numpy(np.asarray(like, np.float64)).reshape(found.shape)
        axis = torch.where(angle > 1e-6, found / angle, torch.zeros_like(found))
        turns = ((before * axis).sum(-1, keepdim=True) - angle) / (2 * torch.pi)
        found = found + turns.round() * 2 * torch.pi * axis
    return found.numpy()


def frames_of(holder, key: str, count: int, where: str) -> Tensor:
    """(T,) int64 frames, strictly increasing; raises ``SemttaError``."""
    array = take(holder, key, where, (count,), (count, 1)).reshape(-1)
    return increasing(array, f"{where}, '{key}'")


def increasing(array: np.ndarray, where: str) -> Tensor:
    """(T,) int64 of whole numbers from 0 that increase."""
    if not len(array) or len(array) > MOST_FRAMES:
        raise SemttaError(f"{where}: {len(array)} frames; from 1 to {MOST_FRAMES} are read.")
    if (array != np.round(array)).any() or array.min() < 0 or array.max() > 1e8:
        raise SemttaError(f"{where}: holds what are no numbers of frames.")
    if (np.diff(array) <= 0).any():
        raise SemttaError(f"{where}: frames do not increase; a person may be there once in each.")
    return torch.from_numpy(array.astype(np.int64))


def shape_of(holder, key: str, count: int, where: str) -> Tensor:
    """(T, 10) betas; one set for all frames is repeated, more than ten are cut."""
    array = take(holder, key, where, (count, None), (None,), (1, None), most=_BETA)
    array = array.reshape(-1, array.shape[-1])
    if array.shape[1] < 10:
        raise SemttaError(f"{where}: '{key}' has {array.shape[1]} betas, 10 are expected.")
    return single(np.broadcast_to(array[:, :10], (count, 10)))


def place_of(holder, key: str, count: int, where: str) -> Tensor:
    """(T, 3) metres."""
    return single(take(holder, key, where, (count, 3), (count, 1, 3), most=_FAR).reshape(-1, 3))


def single(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def focal_of(value, count: int, where: str) -> Tensor:
    """(T,) pixels of one focal length or one a frame."""
    array = plain(value, where).reshape(-1)
    if array.size not in (1, count) or not (array > 0).all() or array.max() > _PIXEL:
        raise SemttaError(f"{where}: holds no focal length.")
    return single(np.broadcast_to(array, (count,)))


def center_of(value, count: int, where: str) -> Tensor:
    """(T, 2) pixels of one principal point or one a frame."""
    array = plain(value, where).reshape(-1, 2)
    if len(array) not in (1, count) or np.abs(array).max() > _PIXEL:
        raise SemttaError(f"{where}: holds no principal point.")
    return single(np.broadcast_to(array, (count, 2)))


def matrix_of(holder, key: str, count: int, where: str) -> tuple[Tensor, Tensor]:
    """Focal lengths (T,) and centres (T, 2) of intrinsic matrices, one or one a frame."""
    array = take(holder, key, where, (count, 3, 3), (3, 3), (1, 3, 3)).reshape(-1, 3, 3)
    array = np.broadcast_to(array, (count, 3, 3))
    where = f"{where}, '{key}'"
    return focal_of(array[:, :2].diagonal(0, 1, 2).mean(1), count, where), center_of(
        array[:, :2, 2], count, where)  # fmt: skip


def boxes_of(corners: np.ndarray) -> Tensor | None:
    """(T, 4) boxes x0 y0 x1 y1; None where one has no size."""
    good = np.isfinite(corners).all() and np.abs(corners).max() < _PIXEL
    return single(corners) if good and (corners[:, 2:] > corners[:, :2]).all() else None


def points_of(points: np.ndarray, skeleton: Skeleton) -> Keypoints2D:
    """Detections (T, J, 3) x, y, confidence."""
    conf = np.clip(points[..., 2], 0, 1)
    return Keypoints2D(single(points[..., :2] * (conf > 0)[..., None]), single(conf), skeleton)


def linked(frames: Sequence[int] | np.ndarray, boxes: np.ndarray, gap: int = 12) -> np.ndarray:
    """(N,) who is who among N boxes x0 y0 x1 y1 in frames, from 0: the best overlaps first."""
    who = np.full(len(boxes), -1)
    last: dict[int, tuple[int, np.ndarray]] = {}
    frames_ = np.asarray(frames)
    for frame in np.unique(frames_):
        rows = np.flatnonzero(frames_ == frame)
        near = [p for p, (seen, _) in last.items() if frame - seen <= gap]
        pairs = sorted(((_overlap(boxes[row], last[p][1]), row, p) for row in rows for p in near),
                       key=lambda pair: -pair[0])  # fmt: skip
        taken: set[int] = set()
        for share, row, person in pairs:
            if share > 0.2 and who[row] < 0 and person not in taken:
                who[row] = person
                taken.add(person)
        for row in rows:
            if who[row] < 0:
                who[row] = len(last)
            last[int(who[row])] = (int(frame), boxes[row])
    return who


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    common = float(sides.prod())
    both = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - common
    return common / both if both > 0 else 0.0


def doubts(tracks: Sequence[ResultTrack]) -> tuple[str, ...]:
    """Remarks about people on their heads (another program's axes, as a rule) or behind the
    camera."""
    found = []
    for track in tracks:
        if float(track.rotmats[:, 0, 1, 1].median()) > 0.3:  # the body's up points down
            found.append(f"person {track.id} is upside down in the camera's axes (y down) most of "
                         "the time; is the file of another program or edited?")  # fmt: skip
        behind = 0 if track.trans is None else int((track.trans[:, 2] <= 0).sum())
        if behind:
            found.append(f"person {track.id} is behind the camera in {behind} of {len(track)} "
                         "frames.")  # fmt: skip
    return tuple(found)


def named(key) -> str:
    return shortened(str(key), 40)
