"""Arrays: this library's own .npz, and (T, J, 3) in .npy, .npz or .pt as ViTPose's users save it.

The own form has ``xy`` (T, J, 2), ``conf`` (T, J), ``skeleton`` (its name), and may have
``frames`` (T,) and ``boxes`` (T, 4) x0 y0 x1 y1; of one person. Other arrays may be (T, J, 3)
x, y, confidence, (T, J, 2), or (T, N, J, 3) of N people.
"""

from __future__ import annotations

import zipfile

import numpy as np

from semtta.errors import SemttaError
from semtta.people.formats.sheet import Row, Sheet, check_many, skeleton_named, skeletons_of
from semtta.people.formats.source import WHAT, Source
from semtta.reading import MEBI, check_file, npz_names, read_npy, read_npz, reading

TITLE = "arrays"
_OWN = ("xy", "conf", "skeleton", "frames", "boxes")
_POINTS = ("keypoints", "keypoints_2d", "keypoints2d", "kpts", "kp2d", "poses2d", "joints2d",
           "vitpose", "reconstruction", "arr_0")  # fmt: skip
_SCORES = ("scores", "keypoint_scores", "conf", "confidence", "visibility")
_LIMIT = 384 * MEBI


def sniff(source: Source) -> bool:
    if source.kind == "json":
        content = source.content
        if isinstance(content, dict):
            return any(isinstance(content.get(name), list) for name in _POINTS)
        return _depth(content) >= 3
    return source.kind in ("npz", "npy") or (
        source.kind == "torch" and zipfile.is_zipfile(source.path)
    )


def read(source: Source) -> Sheet:
    path = source.path
    if source.kind == "json":
        content = source.content
        data = content if isinstance(content, dict) else {_POINTS[0]: content}
        kept = {k: np.array(data[k], np.float64) for k in (*_POINTS, *_SCORES) if k in data}
        return _from_dictionary(kept, path)
    if source.kind == "npy":
        return _points(read_npy(path, WHAT), None, path)
    if source.kind == "torch":
        return _from_dictionary(_tensors(path), path)
    names = npz_names(path, WHAT)
    if "xy" in names or "skeleton" in names:
        return _own(path)
    return _from_dictionary(read_npz(path, WHAT, [*_POINTS, *_SCORES]), path)


def _depth(content) -> int:
    """How many lists lie around the first number; 0 if there is none."""
    depth = 0
    while isinstance(content, list) and content:
        content, depth = content[0], depth + 1
    return depth if isinstance(content, (int, float)) else 0


def _own(path) -> Sheet:
    data = read_npz(path, WHAT, _OWN)
    missing = [name for name in ("xy", "conf", "skeleton") if name not in data]
    if missing:
        raise SemttaError(f"'{path}' lacks {', '.join(missing)}; xy, conf, skeleton are expected.")
    bones = skeleton_named(str(data["skeleton"]))
    xy, conf = _floats(data["xy"], path, "xy"), _floats(data["conf"], path, "conf")
    count = len(xy) if xy.ndim else 0
    check_many(count, f"'{path}'", xy.size)
    if xy.shape != (count, len(bones), 2) or conf.shape != (count, len(bones)):
        raise SemttaError(
            f"'{path}': xy {xy.shape} and conf {conf.shape} do not fit {bones.name}; expected "
            f"(T, {len(bones)}, 2) and (T, {len(bones)})."
        )
    frames = data.get("frames", np.arange(count))
    if frames.shape != (count,) or frames.dtype.kind not in "iu" or (np.diff(frames) <= 0).any():
        raise SemttaError(f"'{path}': 'frames' must be {count} increasing whole numbers.")
    boxes = data.get("boxes")
    if boxes is not None:
        boxes = _floats(boxes, path, "boxes")
        if boxes.shape != (count, 4):
            raise SemttaError(f"'{path}': 'boxes' is {boxes.shape}, expected ({count}, 4).")
    points = np.concatenate([xy, conf[..., None]], -1)
    rows = [
        Row(f"'{path}', row {t}", int(frames[t]), points[t], None if boxes is None else boxes[t], 0)
        for t in range(count)
    ]
    return Sheet(rows, (bones,), exact=True)


def _from_dictionary(data, path) -> Sheet:
    if not isinstance(data, dict):
        return _points(np.asarray(data), None, path)
    name = next((key for key in _POINTS if key in data), None)
    if name is None:
        known = ", ".join(str(key)[:40] for key in list(data)[:8]) or "nothing that is read"
        raise SemttaError(
            f"'{path}' holds {known}; expected xy, conf and skeleton, or {', '.join(_POINTS[:3])}."
        )
    scores = next((data[key] for key in _SCORES if key in data), None)
    return _points(np.asarray(data[name]), scores, path)


def _points(array: np.ndarray, scores, path) -> Sheet:
    """(T, J, 2 or 3) or (T, N, J, 2 or 3) with the scores that may lie beside them; MediaPipe's
    33 points may have four numbers."""
    notes: tuple[str, ...] = ()
    if array.ndim == 4 and array.shape[0] == 1 and array.shape[1] > 20:
        array, notes = array[0], ("it is a batch of one: taken as the frames of one person.",)
    wide = array.shape[-1] if array.ndim else 0
    if array.ndim not in (3, 4) or not (wide in (2, 3) or (wide == 4 and array.shape[-2] == 33)):
        raise SemttaError(
            f"'{path}': keypoints of shape {array.shape}; expected (T, J, 3) x, y, confidence, or "
            "(T, N, J, 3) of N people."
        )
    check_many(array.size // max(1, array.shape[-2] * wide), f"'{path}'", array.size)
    array = _floats(array, path, "keypoints")
    skeletons = skeletons_of(array.shape[-2], f"'{path}'")
    if wide == 4:  # x, y, z, visibility
        array = array[..., [0, 1, 3]]
    elif wide == 3 and scores is not None:
        array = array[..., :2]
        notes += ("its scores are the confidences, not the third number of a point.",)
    if array.shape[-1] == 2:
        if scores is not None:
            scores = _floats(np.asarray(scores), path, "scores").reshape(-1)
            if scores.size != array[..., 0].size:
                raise SemttaError(f"'{path}': its scores do not fit keypoints {array.shape}.")
            scores = scores.reshape(array.shape[:-1])
        else:  # zeros and NaN are missing, whatever else is there counts fully
            scores = (np.isfinite(array).all(-1) & array.any(-1)).astype(float)
            notes += ("it has no confidences: every point that is there counts fully.",)
        array = np.concatenate([array, scores[..., None]], -1)
    people = array.reshape(len(array), -1, *array.shape[-2:])
    alone = 0 if people.shape[1] == 1 else None
    rows = [
        Row(f"'{path}', row {t}" + ("" if alone == 0 else f", person {n}"), t, points, None, alone)
        for t, frame in enumerate(people)
        for n, points in enumerate(frame)
    ]
    return Sheet(rows, skeletons, length=len(array), notes=notes)


def _tensors(path):
    """A tensor, or a dictionary of tensors, as arrays; PyTorch's safe loader runs nothing."""
    import torch

    def array(tensor: torch.Tensor) -> np.ndarray:
        check_many(0, f"'{path}'", tensor.numel())  # a view may claim more than the file has
        return tensor.detach().to(torch.float32).numpy()

    check_file(path, WHAT, _LIMIT)
    with reading(path, WHAT):
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > _LIMIT:
                raise ValueError(f"unpacked it has more than {_LIMIT // MEBI} MiB")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(content, dict):
            kept = {str(key): value for key, value in content.items()}
            return {k: array(v) for k, v in kept.items() if isinstance(v, torch.Tensor)}
        if isinstance(content, (list, tuple)) and content:
            content = torch.stack([torch.as_tensor(part) for part in content])
        if not isinstance(content, torch.Tensor):
            raise ValueError(f"it holds a {type(content).__name__}, not keypoints")
        return array(content)


def _floats(array: np.ndarray, path, name: str) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise SemttaError(f"'{path}': '{name}' does not hold numbers.")
    return array.astype(np.float64)
